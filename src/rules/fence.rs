//! Is somebody letting this runner go already?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    fence::{Deregistration, Incarnation, Phase},
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
                    let gone = drain.deregistration == Deregistration::Done;
                    (gone && registered).then(|| (after(look.now, lapses_in), true))
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
