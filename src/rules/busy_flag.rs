//! Does GitHub say that the runner is busy?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    seen::RegistrationSeen,
};

/// Holds while GitHub says busy, or its word could not be read; clears on a fresh `busy: false`.
/// It abstains in the stages where the flag is not asked.
#[derive(Debug)]
pub(crate) struct BusyFlag;

impl Rule for BusyFlag {
    fn name(&self) -> &'static str {
        "busy_flag"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Registration]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        judge(look)
    }
}

pub(crate) fn judge(look: &Look<'_>) -> Finding {
    if !look.stage.asks_the_flag() {
        return Finding::Abstain;
    }
    match look.seen.registration {
        RegistrationSeen::Registered { busy: false, .. } => Finding::Clear,
        RegistrationSeen::Registered { busy: true, .. } => {
            Finding::Hold(HoldReason::new(Cause::Busy, look.after_grace()))
        }
        RegistrationSeen::Absent { .. } | RegistrationSeen::Unreadable => {
            look.unheard(Witness::Registration, Cause::RegistrationUnreadable)
        }
    }
}
