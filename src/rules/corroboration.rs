//! Does a witness independent of the `busy` flag say vacant?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    policy::Corroboration,
    stage::Stage,
};

/// Holds while neither the jobs view nor the lease clears, as the policy asks; one flag is never
/// enough. A phantom's witness is its absence, where it is known when its machine was launched; of a runner that is lost or wedged the jobs view is
/// enough, and needed.
#[derive(Debug)]
pub(crate) struct Corroborated;

impl Rule for Corroborated {
    fn name(&self) -> &'static str {
        "corroboration"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Jobs, Witness::Lease]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        let wanted = match look.stage {
            Stage::NeverRegistered if !look.runner.may_be_old() => return Finding::Clear,
            Stage::Lost | Stage::Wedged => Corroboration::Jobs,
            _ => look.policy.corroboration,
        };
        let jobs = || look.clears(&super::jobs::Jobs);
        let lease = || look.clears(&super::lease::Lease);
        let corroborated = match wanted {
            Corroboration::Any => jobs() || lease(),
            Corroboration::Jobs => jobs(),
            Corroboration::Lease => lease(),
            Corroboration::Both => jobs() && lease(),
        };
        if corroborated {
            Finding::Clear
        } else {
            Finding::Hold(HoldReason::new(Cause::Uncorroborated(wanted), None))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        evidence::{Evidence, Witness},
        hold::HoldCode::Uncorroborated,
        policy::Corroboration::{self, Any, Both, Jobs, Lease},
        rules::cases::{
            Case, Found, beat, event, failed, heard, listening, never_heard, no_jobs, offline,
            online, partial, running, view, working,
        },
        stage::Stage,
    };

    const POLICIES: [Corroboration; 4] = [Any, Jobs, Lease, Both];

    fn found(clear: bool) -> Found {
        if clear {
            Found::Clear
        } else {
            event(Uncorroborated)
        }
    }

    fn under(policy: Corroboration, case: Case) -> Case {
        case.policy(|chosen| chosen.corroboration = policy)
    }

    #[test]
    fn a_machine_of_unknown_age_may_have_lost_its_runner_before_we_looked() {
        let stage = Stage::NeverRegistered;
        let phantom = || Case::in_stage(stage).without(Witness::Jobs);
        let on_instance = |case: Case| {
            case.runner(|mut runner| {
                runner.instance = Some("i-06cbe048".parse().unwrap());
                runner
            })
        };
        let undated = |case: Case| {
            case.runner(|mut runner| {
                runner.launched_at = None;
                runner
            })
        };
        phantom().assert("corroboration", stage, found(true), "no machine is known");
        let machine = on_instance(undated(phantom()));
        machine.assert(
            "corroboration",
            stage,
            found(false),
            "nobody says how old it is",
        );
    }

    #[test]
    fn a_witness_beside_the_flag_must_say_vacant_as_the_policy_asks() {
        type Told = fn() -> Option<Evidence>;
        let views: [(bool, Told); 5] = [
            (true, || Some(no_jobs(0))),
            (false, || Some(partial(0))),
            (false, || Some(view(true, [running()], 0))),
            (false, || Some(failed(Witness::Jobs, 0))),
            (false, || None),
        ];
        let beacons: [(bool, Told); 6] = [
            (true, || Some(heard(listening(-60, 0), 0))),
            (false, || Some(heard(working(-60, 0), 0))),
            (false, || Some(heard(listening(-1000, -900), 0))),
            (false, || Some(failed(Witness::Lease, 0))),
            (false, || Some(never_heard(0))),
            (false, || None),
        ];
        for (jobs, view) in views {
            for (lease, beacon) in beacons {
                for policy in POLICIES {
                    let clear = match policy {
                        Any => jobs || lease,
                        Jobs => jobs,
                        Lease => lease,
                        Both => jobs && lease,
                    };
                    let told = [Some(online(0)), view(), beacon()];
                    let case = under(policy, Case::once(told.into_iter().flatten()));
                    let row = format!("{policy:?}, jobs {jobs}, lease {lease}");
                    case.assert("corroboration", Stage::Serving, found(clear), &row);
                }
            }
        }
    }

    #[test]
    fn a_phantoms_witness_is_its_absence() {
        for policy in POLICIES {
            let case = under(policy, Case::in_stage(Stage::NeverRegistered));
            let stage = Stage::NeverRegistered;
            let now = case.now();
            case.assert("corroboration", stage, Found::Clear, "beside a view");
            let bare = case.clone().without(Witness::Jobs);
            bare.assert("corroboration", stage, Found::Clear, "without a view");
            let unread = case.instead(failed(Witness::Jobs, now));
            unread.assert(
                "corroboration",
                stage,
                Found::Clear,
                "beside a view that failed",
            );
        }
    }

    #[test]
    fn of_a_runner_lost_or_wedged_the_jobs_are_enough_and_needed_whatever_the_policy_asks() {
        for policy in POLICIES {
            for stage in [Stage::Lost, Stage::Wedged] {
                let case = under(policy, Case::in_stage(stage));
                case.assert("corroboration", stage, Found::Clear, "clear");
            }
            let case = under(policy, Case::in_stage(Stage::Lost));
            let now = case.now();
            for view in [partial(now), view(true, [running()], now)] {
                let case = case.clone().instead(view);
                case.assert("corroboration", Stage::Lost, found(false), "not clear");
            }
            let bare = case.without(Witness::Jobs);
            bare.assert("corroboration", Stage::Lost, found(false), "no view");
        }
    }

    #[test]
    fn everywhere_else_the_policy_stands() {
        for policy in POLICIES {
            for stage in [
                Stage::Launching,
                Stage::Unconfirmed,
                Stage::Unreadable,
                Stage::Departed,
            ] {
                let case = under(policy, Case::in_stage(stage));
                let jobs_alone = found(matches!(policy, Any | Jobs));
                case.assert("corroboration", stage, jobs_alone, "by the jobs alone");
            }
            let refuted = under(policy, Case::in_stage(Stage::BusyRefuted));
            refuted.assert("corroboration", Stage::BusyRefuted, Found::Clear, "by both");
            let departed = under(policy, Case::in_stage(Stage::Departed));
            let now = departed.now();
            let last_word = heard(beat([(0, crate::lease::Report::Listening)]), now);
            let both = departed.clone().and(last_word.clone());
            both.assert("corroboration", Stage::Departed, Found::Clear, "by both");
            let lease_alone = departed.without(Witness::Jobs).and(last_word);
            let expected = found(matches!(policy, Any | Lease));
            lease_alone.assert("corroboration", Stage::Departed, expected, "by a last word");
        }
        let offline = Case::once([offline(false, 0)]);
        offline.assert(
            "corroboration",
            Stage::Serving,
            found(false),
            "nobody was asked",
        );
    }
}
