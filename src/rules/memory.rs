//! Could what earlier looks left be read, and will this look be kept?

use super::{Finding, Look, Rule};
use crate::{evidence::Witness, hold::Cause};

/// Holds while the memory of earlier looks could not be read or written: nobody knows since when the
/// runner has been vacant. It abstains otherwise.
#[derive(Debug)]
pub(crate) struct MemoryKept;

impl Rule for MemoryKept {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Memory]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        if look.seen.roll.unheard(Witness::Memory) {
            look.unheard(Witness::Memory, Cause::MemoryUnreadable)
        } else {
            Finding::Abstain
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        evidence::Witness,
        hold::HoldCode::MemoryUnreadable,
        rules::cases::{Case, Found, event, failed, failed_until, until},
        stage::Stage,
    };

    #[test]
    fn a_memory_that_failed_holds_in_every_stage() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage);
            let now = case.now();
            assert_eq!(case.found("memory"), Found::Abstain, "kept: {stage}");
            let lost = case.clone().and(failed(Witness::Memory, now));
            assert_eq!(lost.found("memory"), event(MemoryUnreadable), "{stage}");
            let later = case.and(failed_until(Witness::Memory, now + 60, now));
            assert_eq!(later.found("memory"), until(MemoryUnreadable, now + 60));
        }
    }
}
