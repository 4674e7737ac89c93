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
                Phase::Draining { drain, .. } if look.seen.drained == Some(drain) => None,
                Phase::Draining { lapses_in, .. } | Phase::Terminating { lapses_in } => {
                    Some(after(look.now, lapses_in))
                }
            }
        });
        match outstanding.max() {
            Some(lapses_at) => Finding::Hold(HoldReason::new(
                Cause::PermitOutstanding(lapses_at),
                lapses_at,
            )),
            None if look.seen.roll.unheard(Witness::Fence) => {
                look.unheard(Witness::Fence, Cause::FenceUnreadable)
            }
            None => Finding::Abstain,
        }
    }
}
