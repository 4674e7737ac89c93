//! Does somebody object?

use super::{Finding, Look, Rule};
use crate::{
    evidence::{Claim, Signal, Witness},
    hold::{Cause, HoldReason},
    seen::failure,
};

/// Holds while a witness of the user's own says occupied or cannot be heard, and while an operator
/// has pinned the runner.
#[derive(Debug)]
pub(crate) struct Objections;

impl Rule for Objections {
    fn name(&self) -> &'static str {
        "objection"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Own]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        judge(look)
    }
}

pub(crate) fn judge(look: &Look<'_>) -> Finding {
    let mut objection: Option<HoldReason> = None;
    for evidence in look.evidence {
        let reason = match &evidence.signal {
            Signal::Own(own)
                if own.claim == Claim::Occupied
                    && own.until.is_none_or(|until| look.now < until) =>
            {
                let retry_at = own.until.unwrap_or(look.now).max(look.after_grace());
                HoldReason::new(Cause::Objection(own.note.clone()), retry_at)
            }
            Signal::Pinned(pin) if pin.until.is_none_or(|until| look.now < until) => {
                HoldReason::new(Cause::Pinned(pin.note.clone(), pin.until), pin.until)
            }
            _ => continue,
        };
        // Of several, the one that stands longest speaks; one without an end outlasts the others.
        let lasts = |reason: &HoldReason| {
            (
                reason.retry_at.is_none(),
                reason.retry_at,
                reason.to_string(),
            )
        };
        if objection
            .as_ref()
            .is_none_or(|known| lasts(known) < lasts(&reason))
        {
            objection = Some(reason);
        }
    }
    match objection {
        Some(reason) => Finding::Hold(reason),
        None if failure(look.evidence, Witness::Own, look.now, look.policy).is_some() => {
            look.unheard(Witness::Own, Cause::ObjectionUnreadable)
        }
        None => Finding::Abstain,
    }
}
