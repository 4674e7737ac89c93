//! Is the runner old enough to have been given work?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    time::{after, age},
};

/// Holds for `min_age` after the runner came up.
#[derive(Debug)]
pub(crate) struct Age;

impl Rule for Age {
    fn name(&self) -> &'static str {
        "age"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        judge(look)
    }
}

pub(crate) fn judge(look: &Look<'_>) -> Finding {
    let came_up = look.memory.came_up(look.runner);
    let from = came_up.unwrap_or(look.now);
    if age(look.now, from) >= look.policy.min_age {
        return Finding::Clear;
    }
    let retry_at = after(from, look.policy.min_age);
    Finding::Hold(HoldReason::new(Cause::TooYoung(came_up), retry_at))
}
