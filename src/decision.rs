//! The answer: a permit, or every reason why not.

use crate::{
    evidence::{Claim, Evidence, Witness},
    hold::{Cause, HoldCode, HoldReason},
    permit::Permit,
    rules::Finding,
    runner::Runner,
    stage::Stage,
    time::Instant,
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use std::fmt;

/// May the runner be terminated now?
///
/// ```
/// # use scale_in_guard::Decision;
/// # fn terminate(_: scale_in_guard::Permit) {}
/// # fn act(decision: Decision) {
/// match decision {
///     Decision::Terminate(permit) => terminate(permit),
///     Decision::Hold(hold) => println!("{hold}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a decision that nobody reads decides nothing"]
pub enum Decision {
    /// It may, now, once, with this permit.
    Terminate(Permit),
    /// It must stay.
    Hold(Hold),
}

/// The decision in one word, for logs and counters. It is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A permit was given.
    Terminate,
    /// None was.
    Hold,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Terminate => "terminate",
            Self::Hold => "hold",
        })
    }
}

/// On what grounds a runner may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Basis {
    /// Registered, and vacant for `grace`.
    Vacant,
    /// It never registered.
    NeverRegistered,
    /// It is gone from GitHub, and vacant.
    Departed,
    /// It has been offline and silent for long, and no job names it.
    Lost,
    /// Its `busy` flag was contradicted for long by the jobs and a live beacon.
    BusyRefuted,
    /// Its worker process outlived its job for long.
    Wedged,
}

impl Basis {
    /// Its name in JSON and in explanations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vacant => "vacant",
            Self::NeverRegistered => "never_registered",
            Self::Departed => "departed",
            Self::Lost => "lost",
            Self::BusyRefuted => "busy_refuted",
            Self::Wedged => "wedged",
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal, with all its reasons and the earliest instant at which asking again can help.
#[derive(Debug)]
pub struct Hold {
    pub(crate) retry_at: Option<Instant>,
    pub(crate) assessment: Assessment,
}

impl Hold {
    /// Every reason, in the order of the rules. There is at least one.
    pub fn reasons(&self) -> impl Iterator<Item = &HoldReason> {
        self.assessment.reasons()
    }

    /// When to ask again: the earliest instant at which the answer can change by the mere passing
    /// of time, and no later than the observation gap allows. `None` where only an event can help.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// What the decision rests on.
    #[must_use]
    pub fn assessment(&self) -> &Assessment {
        &self.assessment
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hold: ")?;
        for (index, reason) in self.reasons().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{reason}")?;
        }
        Ok(())
    }
}

/// Everything that a decision rests on: a plain value, to be logged, explained and replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The runner in question.
    pub runner: Runner,
    /// The instant of the look.
    pub at: Instant,
    /// The runner's stage.
    pub stage: Stage,
    /// Since when it has been vacant; `None` when this look is not a vacant one.
    pub vacant_since: Option<Instant>,
    /// The latest look that found it registered, this one included; `None` where none ever did.
    pub last_registered: Option<Instant>,
    /// What each rule found.
    pub findings: Vec<RuleFinding>,
    /// What each witness claims.
    pub claims: Claims,
    /// What the witnesses said.
    pub evidence: Vec<Evidence>,
}

impl Assessment {
    /// Every reason to hold, in the order of the rules.
    pub fn reasons(&self) -> impl Iterator<Item = &HoldReason> {
        self.findings
            .iter()
            .filter_map(|found| found.finding.reason())
    }
}

/// What one rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFinding {
    /// The rule's name.
    pub rule: &'static str,
    /// The witnesses whose evidence it weighs.
    pub witnesses: &'static [Witness],
    /// Its opinion.
    pub finding: Finding,
}

impl Serialize for RuleFinding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut found = serializer.serialize_struct("RuleFinding", 3)?;
        found.serialize_field("rule", self.rule)?;
        found.serialize_field("finding", self.finding.as_str())?;
        match self.finding.reason() {
            Some(reason) => found.serialize_field("reason", reason)?,
            None => found.skip_field("reason")?,
        }
        found.end()
    }
}

/// What each witness claims of the runner at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Claims {
    /// The `busy` flag.
    pub registration: Claim,
    /// The jobs view.
    pub jobs: Claim,
    /// The lease.
    pub lease: Claim,
    /// The webhook ledger. It never says vacant.
    pub webhooks: Claim,
}

impl Claims {
    fn iter(self) -> impl Iterator<Item = (Witness, Claim)> {
        [
            (Witness::Registration, self.registration),
            (Witness::Jobs, self.jobs),
            (Witness::Lease, self.lease),
            (Witness::Webhooks, self.webhooks),
        ]
        .into_iter()
    }

    /// What this witness claims; unknown of one that is not listed.
    #[must_use]
    pub fn of(self, witness: Witness) -> Claim {
        let mut claims = self.iter().filter(|&(asked, _)| asked == witness);
        claims.next().map_or(Claim::Unknown, |(_, claim)| claim)
    }

    /// The witnesses that claim this.
    pub fn who(self, claim: Claim) -> impl Iterator<Item = Witness> {
        self.iter()
            .filter_map(move |(witness, said)| (said == claim).then_some(witness))
    }

    /// Whether two witnesses disagree: one says occupied, another vacant.
    #[must_use]
    pub fn desync(self) -> bool {
        self.who(Claim::Occupied).next().is_some() && self.who(Claim::Vacant).next().is_some()
    }
}

impl Decision {
    /// The same decision without its permit, as shadow mode answers: a hold for
    /// [`shadow_mode`](crate::HoldCode::ShadowMode) and nothing else. A hold stays as it is.
    pub fn in_shadow(self) -> Self {
        match self {
            Self::Terminate(permit) => {
                let reason = HoldReason::new(Cause::ShadowMode(permit.basis()), None);
                let mut assessment = permit.into_assessment();
                assessment.findings.push(RuleFinding {
                    rule: "shadow",
                    witnesses: &[],
                    finding: Finding::Hold(reason),
                });
                Self::Hold(Hold {
                    retry_at: None,
                    assessment,
                })
            }
            hold => hold,
        }
    }

    /// What the decision would be outside shadow mode. It is no permit.
    pub fn outside_shadow(&self) -> Verdict {
        let mut reasons = self.reasons();
        match (reasons.next(), reasons.next()) {
            (None, _) => Verdict::Terminate,
            (Some(only), None) if only.code() == HoldCode::ShadowMode => Verdict::Terminate,
            _ => Verdict::Hold,
        }
    }

    /// What the decision rests on.
    pub fn assessment(&self) -> &Assessment {
        match self {
            Self::Terminate(permit) => permit.assessment(),
            Self::Hold(hold) => hold.assessment(),
        }
    }

    /// The decision in one word, for logs and counters.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Terminate(_) => Verdict::Terminate,
            Self::Hold(_) => Verdict::Hold,
        }
    }

    /// Every reason to hold; none for a permit.
    pub fn reasons(&self) -> impl Iterator<Item = &HoldReason> {
        self.assessment().reasons()
    }

    /// When to ask again; see [`Hold::retry_at`]. `None` for a permit.
    pub fn retry_at(&self) -> Option<Instant> {
        match self {
            Self::Terminate(_) => None,
            Self::Hold(hold) => hold.retry_at,
        }
    }
}

/// The JSON of a decision; see docs/json.md for every field. There is no way back from JSON to a
/// decision: a permit cannot be read from a log.
impl Serialize for Decision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let assessment = self.assessment();
        let mut decision = serializer.serialize_struct("Decision", 13)?;
        decision.serialize_field("verdict", &self.verdict())?;
        decision.serialize_field("runner", &assessment.runner)?;
        decision.serialize_field("at", &assessment.at)?;
        decision.serialize_field("stage", &assessment.stage)?;
        decision.serialize_field("vacant_since", &assessment.vacant_since)?;
        decision.serialize_field("last_registered", &assessment.last_registered)?;
        match self {
            Self::Terminate(permit) => {
                decision.serialize_field("basis", &permit.basis())?;
                decision.serialize_field("expires_at", &permit.expires_at())?;
            }
            Self::Hold(hold) => {
                let reasons: Vec<_> = hold.reasons().collect();
                decision.serialize_field("reasons", &reasons)?;
                decision.serialize_field("retry_at", &hold.retry_at)?;
            }
        }
        decision.serialize_field("findings", &assessment.findings)?;
        decision.serialize_field("claims", &assessment.claims)?;
        decision.serialize_field("desync", &assessment.claims.desync())?;
        decision.serialize_field("evidence", &assessment.evidence)?;
        decision.end()
    }
}
