//! The last decision about a runner in short, as it is kept beside the memory of its looks.

use super::Mode;
use crate::{
    decision::{Basis, Decision, Verdict},
    evidence::{Claim, Witness},
    memory::Memory,
    policy::Policy,
    stage::Stage,
    time::{Instant, age},
};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// A decision in short, and for how long it has been the same: of the same verdict, for the same reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The first look that decided so.
    pub at: Instant,
    /// The latest look that decided so, and that was written down: one within a third of
    /// [`Policy::max_observation_gap`](crate::Policy) of another is not.
    pub last: Instant,
    /// How many later looks were written down that decided so, too.
    #[serde(default)]
    pub again: u64,
    /// What was decided.
    pub verdict: Verdict,
    /// On what grounds the runner might go; `None` where it had to stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// Whether the guard was in shadow mode: then nothing was let go, whatever the verdict.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_shadow: bool,
    /// The runner's stage.
    pub stage: Stage,
    /// The codes of the reasons to hold, in the order of the rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<Arc<str>>,
    /// Since when the runner had been vacant, by the latest look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vacant_since: Option<Instant>,
    /// When to ask again, by the latest look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Instant>,
    /// Which witnesses contradicted each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desync: Option<Disagreement>,
}

/// Who said *occupied* and who said *vacant* at one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// Who said that the runner has a job.
    pub occupied: Vec<Witness>,
    /// Who said that it has none.
    pub vacant: Vec<Witness>,
}

impl Outcome {
    /// What was decided at this look, for the first time as far as it tells.
    pub(super) fn of(decision: &Decision, mode: Mode) -> Self {
        let assessment = decision.assessment();
        let claims = assessment.claims;
        let desync = claims.desync().then(|| Disagreement {
            occupied: claims.who(Claim::Occupied).collect(),
            vacant: claims.who(Claim::Vacant).collect(),
        });
        Self {
            at: assessment.at,
            last: assessment.at,
            again: 0,
            verdict: decision.verdict(),
            basis: match decision {
                Decision::Terminate(permit) => Some(permit.basis()),
                Decision::Hold(_) => None,
            },
            in_shadow: mode == Mode::Shadow,
            stage: assessment.stage,
            codes: decision
                .reasons()
                .map(|reason| reason.code_str().into())
                .collect(),
            vacant_since: assessment.vacant_since,
            retry_at: decision.retry_at(),
            desync,
        }
    }

    /// Whether both decide the same for the same reasons.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let what = |outcome: &Self| {
            let Self {
                verdict,
                basis,
                in_shadow,
                stage,
                ..
            } = outcome;
            (*verdict, *basis, *in_shadow, *stage)
        };
        what(self) == what(other) && self.codes == other.codes && self.desync == other.desync
    }

    /// This one, after `known`: it goes on with it where it is the same.
    pub(super) fn after(self, known: Option<&Self>) -> Self {
        match known {
            Some(known) if known.is_same(&self) => Self {
                at: known.at,
                again: known.again.saturating_add(1),
                ..self
            },
            _ => self,
        }
    }

    /// Whether it must be written over what was `written`: it is another one, or that was written long ago.
    pub(super) fn is_news(&self, written: Option<&Self>, policy: &Policy) -> bool {
        let often_enough = policy.observation_gap() / 3;
        written.is_none_or(|written| {
            !written.is_same(self) || age(self.last, written.last) >= often_enough
        })
    }
}

/// What is remembered of one runner: what the engine left, and the last outcome.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Remembered {
    #[serde(flatten)]
    pub(crate) memory: Memory,
    #[serde(
        default,
        rename = "outcome",
        deserialize_with = "if_readable",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) outcome: Option<Outcome>,
}

/// An outcome that a later version wrote may not be readable; no window hangs on it.
fn if_readable<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}
