//! Is it settled whether the runner is registered, and connected?

use super::{Finding, Look, Rule};
use crate::{
    evidence::{Registration, Signal, Witness},
    hold::{Cause, HoldReason, Unconfirmed},
    memory::Run,
    seen::RegistrationSeen,
    stage::{ABSENCE_CONFIRMED_AFTER, Stage},
    time::after,
};
use std::sync::Arc;

/// Holds while the runner is launching, while its absence is not beyond doubt, and while it is
/// offline, until it has been so for `lost_after`: jobs do run on runners that REST calls offline.
#[derive(Debug)]
pub(crate) struct RegistrationSettled;

impl Rule for RegistrationSettled {
    fn name(&self) -> &'static str {
        "registration"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Registration]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        let Look {
            seen,
            memory,
            policy,
            now,
            ..
        } = *look;
        let hold = |cause, retry_at| Finding::Hold(HoldReason::new(cause, retry_at));
        match look.stage {
            Stage::Launching => {
                let deadline = memory.deadline(look.runner, now, policy);
                return hold(Cause::Launching(deadline), Some(deadline));
            }
            Stage::Unconfirmed => {
                let (why, retry_at) = unconfirmed(look);
                return hold(Cause::AbsenceUnconfirmed(why), retry_at);
            }
            _ => {}
        }
        if let RegistrationSeen::Absent {
            is_accounted: false,
            ..
        } = seen.registration
            && !memory.ever_seen()
        {
            return hold(Cause::UnaccountedRunners(unaccounted(look)), None);
        }
        let offline = matches!(
            seen.registration,
            RegistrationSeen::Registered { offline: true, .. }
        );
        if offline && !Run::has_lasted(memory.offline(), now, policy.lost_after) {
            let since = memory.offline().map(|run| run.since);
            let retry_at = after(since.unwrap_or(now), policy.lost_after);
            return hold(Cause::Offline(since, policy.lost_after), Some(retry_at));
        }
        Finding::Clear
    }
}

/// The registrations that may be this runner under another name.
fn unaccounted(look: &Look<'_>) -> Vec<Arc<str>> {
    let mut names: Vec<_> = look
        .evidence
        .iter()
        .filter_map(|evidence| match &evidence.signal {
            Signal::Registration(Registration::Absent { unaccounted, .. }) => Some(unaccounted),
            _ => None,
        })
        .flatten()
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What an absence still wants, and when the next look can give it.
fn unconfirmed(look: &Look<'_>) -> (Unconfirmed, Option<crate::time::Instant>) {
    let Look {
        seen,
        memory,
        policy,
        now,
        ..
    } = *look;
    let (
        RegistrationSeen::Absent {
            counts: true,
            scope_is_ours,
            ..
        },
        Some(absent),
    ) = (seen.registration, memory.absent())
    else {
        return (Unconfirmed::NoListing, None);
    };
    let departed_at = after(absent.since, ABSENCE_CONFIRMED_AFTER);
    let deadline = memory.deadline(look.runner, now, policy);
    if memory.ever_seen() || memory.met_too_late(deadline) {
        return (Unconfirmed::SecondLook, Some(departed_at));
    }
    if !scope_is_ours {
        return (Unconfirmed::ForeignScope, None);
    }
    let overdue_since = memory.overdue().map_or(now, |run| run.since);
    (
        Unconfirmed::SecondLook,
        Some(after(overdue_since, policy.min_age)),
    )
}

#[cfg(test)]
mod tests {
    use crate::{
        evidence::{Evidence, Registration, Witness},
        hold::HoldCode::{AbsenceUnconfirmed, Launching, Offline, UnaccountedRunners},
        rules::cases::{
            Case, Found, absent, absent_where, at, busy, event, failed, heard, listening, no_jobs,
            of_another_status, offline, online, running, seconds, until, view, webhooks,
        },
        stage::Stage,
    };
    use Found::Clear;

    #[test]
    fn in_the_other_stages_a_runner_that_is_online_or_could_not_be_read_is_not_held() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage);
            let found = match stage {
                Stage::Launching => until(Launching, 600),
                Stage::Unconfirmed => until(AbsenceUnconfirmed, 120),
                _ => Clear,
            };
            case.assert("registration", stage, found, "in every stage");
        }
        let other = Case::once([of_another_status(0)]);
        other.assert("registration", Stage::Serving, Clear, "not offline");
        let busy = Case::once([busy(0)]);
        busy.assert(
            "registration",
            Stage::Serving,
            Clear,
            "that is the flag's to say",
        );
    }

    #[test]
    fn a_runner_may_be_launching_until_its_registration_deadline() {
        let launched = |second| Case::new().runner(|runner| runner.launched_at(at(second)));
        for (row, case, deadline) in [
            ("launched", launched(-60), 540),
            ("unknown launch: after our first look", Case::new(), 600),
        ] {
            for (evidence, kind) in [
                (absent as fn(i64) -> Evidence, "absent"),
                (|now| absent_where(false, false, now), "absent, perhaps"),
            ] {
                let row = format!("{row}: {kind}");
                let case = case.clone().look(0, [absent(0)]);
                let at = |now| case.clone().look(now, [evidence(now)]);
                let (before, hold) = (deadline - 1, until(Launching, deadline));
                at(before).assert("registration", Stage::Launching, hold, &row);
                assert_eq!(
                    at(deadline).judged("registration").0,
                    Stage::Unconfirmed,
                    "{row}"
                );
            }
        }
        let failed = Case::new().look(0, [failed(Witness::Registration, 0)]);
        let failed = failed.look(100, [absent(100)]);
        let hold = until(Launching, 700);
        failed.assert(
            "registration",
            Stage::Launching,
            hold,
            "a failed look is no look",
        );
        let early = launched(0).look(10, [online(10)]).look(20, [absent(20)]);
        let hold = until(AbsenceUnconfirmed, 80);
        early.assert("registration", Stage::Unconfirmed, hold, "registered once");
    }

    #[test]
    fn a_runner_never_seen_must_be_absent_twice_min_age_apart_after_its_deadline() {
        let absent_at = |looks: &[i64]| Case::new().looks(looks.to_vec(), |t| [absent(t)]);
        let hold = |second| until(AbsenceUnconfirmed, second);
        for (row, looks, stage, found) in [
            (
                "once after it",
                [0, 300, 600],
                Stage::Unconfirmed,
                hold(720),
            ),
            (
                "one second short",
                [0, 600, 719],
                Stage::Unconfirmed,
                hold(720),
            ),
            (
                "min_age apart",
                [0, 600, 720],
                Stage::NeverRegistered,
                Clear,
            ),
            ("and later", [0, 600, 721], Stage::NeverRegistered, Clear),
            (
                "one look before the deadline",
                [0, 599, 720],
                Stage::Unconfirmed,
                hold(840),
            ),
            (
                "a long gap between",
                [0, 600, 1201],
                Stage::Unconfirmed,
                hold(1321),
            ),
        ] {
            absent_at(&looks).assert("registration", stage, found, row);
        }
        let between = absent_at(&[0, 600]).look(660, [failed(Witness::Registration, 660)]);
        let between = between.look(720, [absent(720)]);
        between.assert(
            "registration",
            Stage::NeverRegistered,
            Clear,
            "failed looks do not count",
        );
        let foreign = |t| [absent_where(true, false, t)];
        let foreign = Case::new().looks([0, 600, 1200], foreign);
        let hold = event(AbsenceUnconfirmed);
        foreign.assert(
            "registration",
            Stage::Unconfirmed,
            hold,
            "a scope not known for ours",
        );
        let longer = absent_at(&[0, 600, 720]).policy(|policy| policy.min_age = seconds(121));
        let hold = until(AbsenceUnconfirmed, 721);
        longer.assert(
            "registration",
            Stage::Unconfirmed,
            hold,
            "as the policy says",
        );
        let waived = |looks: &[i64]| absent_at(looks).policy(|policy| policy.min_age = seconds(0));
        let stage = waived(&[0, 600]).judged("registration").0;
        assert_eq!(stage, Stage::Unconfirmed, "one look is not two");
        waived(&[0, 600, 601]).assert("registration", Stage::NeverRegistered, Clear, "two are");
        let later = absent_at(&[0, 600, 720]);
        let later = later.policy(|policy| policy.registration_deadline = seconds(601));
        let hold = until(AbsenceUnconfirmed, 840);
        later.assert(
            "registration",
            Stage::Unconfirmed,
            hold,
            "a deadline as the policy says",
        );
    }

    /// It may be registered as config.sh calls it, by its host's name.
    #[test]
    fn a_runner_never_seen_may_be_one_that_nobody_accounts_for() {
        let beside = |unaccounted: &[&str], t| {
            let absent = Registration::Absent {
                beside_listing: true,
                scope_is_ours: true,
                listing_is_empty: false,
                was_shown: false,
                unaccounted: unaccounted.iter().map(|&name| name.into()).collect(),
            };
            [Evidence::registration(absent, at(t))]
        };
        let foreign = |t| beside(&["ip-10-0-0-5"], t);
        let hold = event(UnaccountedRunners);
        let phantom = Case::new().looks([0, 600, 720], foreign);
        phantom.assert("registration", Stage::NeverRegistered, hold, "a phantom");
        let late = Case::new().runner(|runner| runner.launched_at(at(-601)));
        let late = late.looks([0, 60], foreign);
        late.assert(
            "registration",
            Stage::Departed,
            hold,
            "met after its deadline",
        );
        let seen = Case::new().look(-10, [online(-10)]).looks([0, 60], foreign);
        seen.assert(
            "registration",
            Stage::Departed,
            Clear,
            "it was seen by this name",
        );
        let said = Case::new().looks([0, 600, 720], |t| beside(&[], t));
        said.assert(
            "registration",
            Stage::NeverRegistered,
            Clear,
            "all are accounted for",
        );
        let of_two = Case::new().looks([0, 600, 720], |t| {
            let [one] = beside(&["ip-10-0-0-5"], t);
            [one, absent(t)]
        });
        of_two.assert(
            "registration",
            Stage::NeverRegistered,
            hold,
            "of two listings, one",
        );
    }

    #[test]
    fn a_runner_once_seen_or_met_too_late_must_be_absent_twice_sixty_seconds_apart() {
        let registered = || Case::new().look(-10, [online(-10)]);
        let named = |now| webhooks([(crate::ledger::Action::Completed, 1, -20)], now);
        let by_webhook = || {
            Case::new()
                .look(-700, [absent(-700)])
                .look(-650, [named(-650)])
        };
        let by_job = || {
            let case = Case::new().look(-700, [absent(-700)]);
            case.look(-650, [view(false, [running()], -650)])
        };
        let by_beacon = || {
            let case = Case::new().look(-700, [absent(-700)]);
            case.look(-650, [heard(listening(-660, -650), -650)])
        };
        let launched = |second| Case::new().runner(|runner| runner.launched_at(at(second)));
        for (row, case) in [
            ("registered", registered()),
            ("named by a webhook", by_webhook()),
            ("named by a job", by_job()),
            ("its beacon was heard", by_beacon()),
            ("met after its deadline", launched(-601)),
            ("met at its deadline", launched(-600)),
        ] {
            let gone = |looks: &[i64]| case.clone().looks(looks.to_vec(), |t| [absent(t)]);
            for (looks, stage, found) in [
                (vec![0], Stage::Unconfirmed, until(AbsenceUnconfirmed, 60)),
                (
                    vec![0, 59],
                    Stage::Unconfirmed,
                    until(AbsenceUnconfirmed, 60),
                ),
                (vec![0, 60], Stage::Departed, Clear),
                (vec![0, 30, 61], Stage::Departed, Clear),
                (vec![0, 600], Stage::Departed, Clear),
                (
                    vec![0, 601],
                    Stage::Unconfirmed,
                    until(AbsenceUnconfirmed, 661),
                ),
            ] {
                let case = gone(&looks);
                let row = format!("{row}: {looks:?}");
                case.assert("registration", stage, found, &row);
            }
        }
        let met_in_time = launched(-599).looks([0, 60], |t| [absent(t)]);
        let hold = until(AbsenceUnconfirmed, 180);
        met_in_time.assert(
            "registration",
            Stage::Unconfirmed,
            hold,
            "met before its deadline",
        );
        let back = registered().look(0, [absent(0)]).look(30, [online(30)]);
        let back = back.look(60, [absent(60)]);
        let hold = until(AbsenceUnconfirmed, 120);
        back.assert(
            "registration",
            Stage::Unconfirmed,
            hold,
            "registered between",
        );
        let foreign = registered().looks([0, 60], |t| [absent_where(true, false, t)]);
        foreign.assert("registration", Stage::Departed, Clear, "it was ours once");
    }

    #[test]
    fn an_absence_counts_only_beside_a_listing_that_can_be_trusted() {
        let hold = event(AbsenceUnconfirmed);
        let alone = |t| [absent_where(false, true, t)];
        let case = Case::new()
            .look(0, [online(0)])
            .looks([60, 120, 600], alone);
        case.assert("registration", Stage::Unconfirmed, hold, "never beside one");
        let once = Case::new().look(0, [online(0)]).look(60, [absent(60)]);
        let now_alone = once.clone().look(120, alone(120));
        now_alone.assert("registration", Stage::Unconfirmed, hold, "not now");
        let of_two = once.look(120, [absent(120), absent_where(false, true, 120)]);
        of_two.assert(
            "registration",
            Stage::Unconfirmed,
            hold,
            "of two, one without",
        );
    }

    #[test]
    fn a_runner_that_is_offline_is_held_until_lost_after() {
        let (serving, lost) = (Stage::Serving, Stage::Lost);
        let off = |t| [offline(false, t), no_jobs(t)];
        let since = |second: i64| until(Offline, second + 900);
        for (row, looks, stage, found) in [
            ("at once", vec![0], serving, since(0)),
            ("one second before", vec![0, 450, 899], serving, since(0)),
            ("at the limit", vec![0, 450, 900], lost, Clear),
            ("after it", vec![0, 450, 901], lost, Clear),
            ("the longest gap", vec![0, 600, 900], lost, Clear),
            ("a longer gap", vec![0, 601, 900], serving, since(601)),
        ] {
            Case::new()
                .looks(looks, off)
                .assert("registration", stage, found, row);
        }
        let back = Case::new().looks([0, 450], off).look(500, [online(500)]);
        let back = back.look(900, off(900));
        back.assert("registration", serving, since(900), "online between");
        let absent = Case::new().looks([0, 450], off).look(500, [absent(500)]);
        let absent = absent.look(900, off(900));
        absent.assert("registration", serving, since(900), "absent between");
        let unread = Case::new().looks([0, 450], off);
        let unread = unread
            .look(500, [failed(Witness::Registration, 500)])
            .look(900, off(900));
        unread.assert("registration", lost, Clear, "a look that failed between");
        let of_two = Case::new().looks([0, 450, 900], |t| [offline(false, t), online(t)]);
        of_two.assert(
            "registration",
            serving,
            Clear,
            "online, says another source",
        );
        let connected = Case::new().looks([0, 450, 900], off);
        let connected = connected.and(heard(listening(0, 900), 900));
        connected.assert("registration", serving, Clear, "its beacon is alive");
        let later = Case::new().looks([0, 450, 900], off);
        let later = later.policy(|policy| policy.lost_after = seconds(901));
        later.assert(
            "registration",
            serving,
            until(Offline, 901),
            "as the policy says",
        );
    }
}
