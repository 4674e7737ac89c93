//! Is somebody letting this runner go already?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    fence::{Incarnation, Phase},
    hold::{Cause, HoldReason},
    seen::fences,
    time::after,
};

/// Holds while a drain or a termination of this runner is under way that this look is not the second look of,
/// or that has not settled. It abstains otherwise: a fence says nothing about jobs.
#[derive(Debug)]
pub(crate) struct Fenced;

impl Rule for Fenced {
    fn name(&self) -> &'static str {
        "fence"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Fence]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        let whom = Incarnation::of(look.runner, look.memory.id());
        let outstanding = fences(look.evidence).filter_map(|fence| {
            match fence.phase(whom, look.now) {
                Phase::Open | Phase::Lapsed(_) => None,
                // The second look, and it has settled.
                Phase::Draining { drain, lapses_in } if look.seen.drained == Some(drain) => {
                    let registered = look.seen.registration.is_registered();
                    (drain.knows_absence() && registered)
                        .then(|| (after(look.now, lapses_in), true))
                }
                Phase::Draining { lapses_in, .. } | Phase::Terminating { lapses_in } => {
                    Some((after(look.now, lapses_in), false))
                }
            }
        });
        match outstanding.max() {
            Some((lapses_at, shown)) => {
                let cause = match shown {
                    true => Cause::StillRegistered(lapses_at),
                    false => Cause::PermitOutstanding(lapses_at),
                };
                Finding::Hold(HoldReason::new(cause, lapses_at))
            }
            None if look.seen.roll.unheard(Witness::Fence) => {
                look.unheard(Witness::Fence, Cause::FenceUnreadable)
            }
            None => Finding::Abstain,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        decision::Basis,
        evidence::Witness,
        fence::{Deregistration, Drain, Fence, Incarnation, Nonce},
        hold::HoldCode::{FenceUnreadable, PermitOutstanding, StillRegistered},
        policy::Policy,
        rules::cases::{
            Case, Found, absent, drained, event, failed, failed_until, fenced, no_jobs, online,
            seconds, until,
        },
        runner::RunnerId,
        stage::Stage,
    };
    use Found::Abstain;

    fn drain(of: Incarnation) -> Drain {
        Drain {
            nonce: Nonce::new("one"),
            basis: Basis::Vacant,
            of,
            deregistration: Deregistration::NotWanted,
        }
    }

    fn draining(of: Incarnation) -> Fence {
        Fence::default().drain(0, drain(of), seconds(0)).unwrap()
    }

    fn terminating() -> Fence {
        let policy = Policy::default();
        let who = Incarnation::default();
        Fence::default()
            .terminate_at_once(0, drain(who), seconds(0), &policy)
            .unwrap()
    }

    #[test]
    fn nobody_else_may_go_on_while_somebody_lets_the_runner_go_in_every_stage() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage).without(Witness::Fence);
            let now = case.now();
            assert_eq!(case.found("fence"), Abstain, "not asked: {stage}");
            let met = |fence: &Fence, age| {
                let fence = fenced(fence.clone(), now - age, None, now);
                case.clone().and(fence).found("fence")
            };
            assert_eq!(met(&Fence::default(), 5), Abstain, "free");
            assert_eq!(met(&Fence::default().take(3), 5), Abstain, "taken");
            let who = draining(Incarnation::default());
            for age in [0, 89, 90, 599] {
                let held = until(PermitOutstanding, now - age + 600);
                assert_eq!(met(&who, age), held, "{stage} {age}");
            }
            assert_eq!(met(&who, 600), Abstain, "lapsed");
            // A go of 10 s, and its rounding up to whole seconds.
            for age in [0, 70] {
                let held = until(PermitOutstanding, now - age + 71);
                assert_eq!(met(&terminating(), age), held, "{stage} {age}");
            }
            assert_eq!(met(&terminating(), 71), Abstain, "lapsed");
        }
    }

    #[test]
    fn a_fence_that_could_not_be_read_holds_in_every_stage() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage).without(Witness::Fence);
            let now = case.now();
            let unheard = case.clone().and(failed(Witness::Fence, now));
            assert_eq!(unheard.found("fence"), event(FenceUnreadable), "{stage}");
            let later = case.and(failed_until(Witness::Fence, now + 60, now));
            assert_eq!(later.found("fence"), until(FenceUnreadable, now + 60));
        }
    }

    #[test]
    fn the_second_look_is_let_through_once_it_has_settled_and_only_its_own() {
        let nonce = |name| Some(Nonce::new(name));
        for (second_look_of, written, found) in [
            (nonce("one"), 210, Abstain),
            (nonce("one"), 211, until(PermitOutstanding, 811)),
            (nonce("other"), 210, until(PermitOutstanding, 810)),
            (None, 210, until(PermitOutstanding, 810)),
        ] {
            let fence = draining(Incarnation::default());
            let fence = fenced(fence, written, second_look_of, 300);
            let case = Case::new().looks([0, 300], |t| [online(t), no_jobs(t)]);
            assert_eq!(case.and(fence).found("fence"), found, "{written}");
        }
    }

    #[test]
    fn a_drain_of_another_runner_of_the_name_is_none() {
        let numbered = |id| Incarnation {
            id: Some(RunnerId(id)),
            launched_at: None,
        };
        for (id, found) in [(7, until(PermitOutstanding, 600)), (8, Abstain)] {
            let case = Case::once([online(0), no_jobs(0)]).runner(|runner| runner.with_id(7));
            let fence = fenced(draining(numbered(id)), 0, None, 0);
            assert_eq!(case.and(fence).found("fence"), found, "{id}");
        }
    }

    #[test]
    fn what_github_says_it_removed_and_still_shows_holds() {
        let drained = || drained(Basis::Vacant, Deregistration::Done, 300);
        let case = Case::new().look(0, [online(0), no_jobs(0)]);
        let shown = case
            .clone()
            .look(390, [online(390), no_jobs(390), drained()]);
        shown.assert(
            "fence",
            Stage::Serving,
            until(StillRegistered, 900),
            "shown",
        );
        let gone = case.look(390, [absent(390), no_jobs(390), drained()]);
        gone.assert("fence", Stage::Drained, Abstain, "gone");
    }

    #[test]
    fn at_the_second_look_nothing_counts_that_was_asked_for_before_it_settled() {
        // It settled at 390; the jobs were asked for at 389, or at 390.
        for (asked, reaches) in [(389, false), (390, true)] {
            let drained = drained(Basis::Vacant, Deregistration::Done, 300);
            let case = Case::new().look(0, [online(0), no_jobs(0)]);
            let case = case.look(391, [absent(391), no_jobs(asked), drained]);
            assert_eq!(case.found("jobs") == Found::Clear, reaches, "{asked}");
        }
    }
}
