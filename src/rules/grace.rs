//! Has the runner been vacant for long enough?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    stage::Stage,
    time::{after, age},
};

/// Holds while the runner has been vacant for less than `grace`, in every stage but
/// `never_registered`. In `departed`, where the lease clears, it is enough that the runner has been
/// absent and vacant for `min_age`.
#[derive(Debug)]
pub(crate) struct Grace;

impl Rule for Grace {
    fn name(&self) -> &'static str {
        "grace"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        judge(look)
    }
}

pub(crate) fn judge(look: &Look<'_>) -> Finding {
    let Look {
        memory,
        policy,
        now,
        stage,
        vacancy,
        ..
    } = *look;
    if stage == Stage::NeverRegistered {
        return Finding::Clear;
    }
    let could_be_since = vacancy.could_be_since.unwrap_or(now);
    let absent_since = memory.absent().map_or(now, |run| run.since);
    let short = stage == Stage::Departed && super::lease::judge(look) == Finding::Clear;
    let (wanted, from) = if short && policy.min_age < policy.grace {
        (policy.min_age, could_be_since.max(absent_since))
    } else {
        (policy.grace, could_be_since)
    };
    match vacancy.since {
        Some(_) if age(now, from) >= wanted => Finding::Clear,
        since => {
            let retry_at = after(from, wanted).max(now);
            Finding::Hold(HoldReason::new(
                Cause::GraceWindow { since, wanted },
                retry_at,
            ))
        }
    }
}
