//! Does somebody object?

use super::{Finding, Look, Rule};
use crate::{
    evidence::{Claim, Signal, Witness},
    hold::{Cause, HoldReason},
    seen::Labels,
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
        let mut objection: Option<HoldReason> = None;
        let labels = Labels::read(look.runner, look.evidence, look.seen.recent);
        for evidence in look.evidence {
            let reason = match &evidence.signal {
                Signal::Own(own)
                    if own.claim == Claim::Occupied
                        && own.until.is_none_or(|until| look.now < until) =>
                {
                    let retry_at = own.until.unwrap_or(look.now).max(look.after_grace());
                    HoldReason::new(Cause::Objection(own.note.clone()), retry_at)
                }
                Signal::Pinned(pin) if pin.stands_at(look.now) => {
                    let is_a_guess = pin.wants_labels() && labels.are_unknown();
                    HoldReason::new(Cause::Pinned(pin.clone().into(), is_a_guess), pin.until)
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
            None if look.seen.roll.unheard(Witness::Own) => {
                look.unheard(Witness::Own, Cause::ObjectionUnreadable)
            }
            None => Finding::Abstain,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        evidence::{Claim, Evidence, Own, Signal, Witness},
        hold::HoldCode::{Objection, ObjectionUnreadable, Pinned},
        pin::Pin,
        rules::cases::{Case, Found, at, event, failed, failed_until, until},
        stage::Stage,
    };
    use Claim::{Occupied, Unknown, Vacant};

    fn own(claim: Claim, until: Option<i64>, asked: i64) -> Evidence {
        let own = Own {
            claim,
            note: "a deployment runs".into(),
            until: until.map(at),
        };
        Evidence::new("own", at(asked), Signal::Own(own))
    }

    fn pin(until: Option<i64>) -> Evidence {
        let pin = Pin {
            note: "being debugged".into(),
            until: until.map(at),
            ..Pin::default()
        };
        Evidence::new("operator", at(0), Signal::Pinned(pin))
    }

    #[test]
    fn a_witness_of_the_users_own_or_an_operator_can_hold_and_never_clears() {
        let (abstain, objects) = (Found::Abstain, until(Objection, 300));
        for (row, evidence, found) in [
            ("nobody", vec![], abstain),
            ("vacant", vec![own(Vacant, None, 0)], abstain),
            ("unknown", vec![own(Unknown, None, 0)], abstain),
            ("occupied", vec![own(Occupied, None, 0)], objects),
            (
                "one of three",
                vec![
                    own(Vacant, None, 0),
                    own(Occupied, None, 0),
                    own(Unknown, None, 0),
                ],
                objects,
            ),
            (
                "until after grace",
                vec![own(Occupied, Some(1000), 0)],
                until(Objection, 1000),
            ),
            (
                "until the next second",
                vec![own(Occupied, Some(1), 0)],
                objects,
            ),
            ("until now", vec![own(Occupied, Some(0), 0)], abstain),
            (
                "until a second ago",
                vec![own(Occupied, Some(-1), 0)],
                abstain,
            ),
            ("pinned", vec![pin(None)], event(Pinned)),
            ("pinned until then", vec![pin(Some(1))], until(Pinned, 1)),
            ("pinned until now", vec![pin(Some(0))], abstain),
            ("pinned until a second ago", vec![pin(Some(-1))], abstain),
            (
                "two pins, the longer",
                vec![pin(Some(5)), pin(Some(9))],
                until(Pinned, 9),
            ),
            (
                "a pin without an end",
                vec![pin(Some(5)), pin(None)],
                event(Pinned),
            ),
            (
                "an objection outlasted",
                vec![own(Occupied, None, 0), pin(None)],
                event(Pinned),
            ),
            (
                "failed",
                vec![failed(Witness::Own, 0)],
                event(ObjectionUnreadable),
            ),
            (
                "a limit with an end",
                vec![failed_until(Witness::Own, 77, 0)],
                until(ObjectionUnreadable, 77),
            ),
            (
                "one failed, one vacant",
                vec![own(Vacant, None, 0), failed(Witness::Own, 0)],
                event(ObjectionUnreadable),
            ),
            (
                "one failed, one occupied",
                vec![own(Occupied, None, 0), failed(Witness::Own, 0)],
                objects,
            ),
            ("29 s old", vec![own(Vacant, None, -29)], abstain),
            ("30 s old", vec![own(Vacant, None, -30)], abstain),
            (
                "31 s old",
                vec![own(Vacant, None, -31)],
                event(ObjectionUnreadable),
            ),
        ] {
            let mut turned = evidence.clone();
            turned.reverse();
            assert_eq!(Case::once(evidence).found("objection"), found, "{row}");
            assert_eq!(
                Case::once(turned).found("objection"),
                found,
                "{row}, turned"
            );
        }
    }

    #[test]
    fn an_objection_holds_in_every_stage() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage);
            let now = case.now();
            case.assert("objection", stage, Found::Abstain, "nobody objects");
            case.clone()
                .and(pin(None))
                .assert("objection", stage, event(Pinned), "pinned");
            let (reached, found) = case.and(own(Occupied, None, now)).judged("objection");
            assert_eq!(reached, stage);
            assert!(
                matches!(found, Found::Hold(Objection, Some(at)) if at >= now),
                "{stage}"
            );
        }
    }
}
