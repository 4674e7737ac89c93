//! The rules: one question each, one file each. Every rule sees the whole look and gives one
//! opinion; any hold holds, whatever the others say, and their order never matters.

pub(crate) mod age;
pub(crate) mod busy_flag;
#[cfg(test)]
pub(crate) mod cases;
pub(crate) mod corroboration;
pub(crate) mod fence;
pub(crate) mod fleet;
pub(crate) mod grace;
pub(crate) mod jobs;
pub(crate) mod lease;
pub(crate) mod memory;
pub(crate) mod objection;
pub(crate) mod registration;

use crate::{
    decision::RuleFinding,
    evidence::{Evidence, Witness},
    hold::{Cause, HoldReason, Missing},
    memory::Memory,
    policy::Policy,
    runner::Runner,
    seen::{Seen, Unheard, failure},
    stage::{Stage, turns_at},
    time::{Instant, after},
    vacancy::Vacancy,
};
use std::fmt;

/// One rule's opinion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The runner must stay.
    Hold(HoldReason),
    /// As far as this rule goes, it may leave. A user's own rule clears nothing but itself.
    Clear,
    /// The rule has no opinion.
    Abstain,
}

impl Finding {
    /// Its name in JSON and in explanations.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Hold(_) => "hold",
            Self::Clear => "clear",
            Self::Abstain => "abstain",
        }
    }

    /// The reason, where it holds.
    #[must_use]
    pub fn reason(&self) -> Option<&HoldReason> {
        match self {
            Self::Hold(reason) => Some(reason),
            _ => None,
        }
    }

    /// The opinion of two equal witnesses: a hold before an abstention before a clear; of two holds
    /// the one that lasts longer.
    pub(crate) fn stricter(self, other: Self) -> Self {
        let rank = |finding: &Self| match finding {
            Self::Clear => (0, None, String::new()),
            Self::Abstain => (1, None, String::new()),
            Self::Hold(reason) => (2, reason.retry_at, reason.to_string()),
        };
        if rank(&other) > rank(&self) {
            other
        } else {
            self
        }
    }

    pub(crate) fn holds(&self) -> bool {
        matches!(self, Self::Hold(_))
    }
}

/// One question about a runner: a pure function of the look, without a clock and without IO.
///
/// A rule of your own takes about ten lines, and can only ever add a reason to hold:
///
/// ```
/// use scale_in_guard::{Engine, Finding, HoldReason, Look, Policy, Rule};
///
/// /// Runners with a `release` label stay.
/// #[derive(Debug)]
/// struct Releases;
///
/// impl Rule for Releases {
///     fn name(&self) -> &'static str { "releases" }
///     fn judge(&self, look: &Look<'_>) -> Finding {
///         match look.runner().labels.iter().any(|label| &**label == "release") {
///             true => Finding::Hold(HoldReason::custom("release", "release runners stay", None)),
///             false => Finding::Clear,
///         }
///     }
/// }
/// let engine = Engine::new(Policy::default())?.with_rule(Releases);
/// # Ok::<(), scale_in_guard::policy::PolicyError>(())
/// ```
pub trait Rule: fmt::Debug + Send + Sync {
    /// Its name, in snake_case: it stands in decisions and in logs.
    fn name(&self) -> &'static str;

    /// The witnesses whose evidence it weighs, for the explanation.
    fn witnesses(&self) -> &'static [Witness] {
        &[]
    }

    /// Its opinion.
    fn judge(&self, look: &Look<'_>) -> Finding;
}

/// The rules about witnesses. What they find decides whether the look is a vacant one; each may
/// build on what those before it found.
pub(crate) static WITNESSES: [&dyn Rule; 4] = [
    &busy_flag::BusyFlag,
    &jobs::Jobs,
    &lease::Lease,
    &corroboration::Corroborated,
];

/// The other rules that every engine has.
pub(crate) static OTHERS: [&dyn Rule; 7] = [
    &grace::Grace,
    &age::Age,
    &registration::RegistrationSettled,
    &objection::Objections,
    &fleet::Fleet,
    &fence::Fenced,
    &memory::MemoryKept,
];

/// Everything there is to know at one look: what the rules judge.
#[derive(Debug)]
pub struct Look<'a> {
    pub(crate) runner: &'a Runner,
    pub(crate) evidence: &'a [Evidence],
    pub(crate) seen: &'a Seen<'a>,
    pub(crate) memory: &'a Memory,
    pub(crate) policy: &'a Policy,
    pub(crate) now: Instant,
    pub(crate) stage: Stage,
    pub(crate) vacancy: Vacancy,
    pub(crate) findings: Vec<RuleFinding>,
}

impl<'a> Look<'a> {
    /// The runner in question.
    #[must_use]
    pub fn runner(&self) -> &'a Runner {
        self.runner
    }

    /// What the witnesses said.
    #[must_use]
    pub fn evidence(&self) -> &'a [Evidence] {
        self.evidence
    }

    /// What earlier looks left, with this one taken in.
    #[must_use]
    pub fn memory(&self) -> &'a Memory {
        self.memory
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// The instant of the look.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The runner's stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Since when the runner has been vacant, if this look is a vacant one.
    #[must_use]
    pub fn vacant_since(&self) -> Option<Instant> {
        self.vacancy.since
    }

    /// Asks one rule, and keeps what it finds.
    pub(crate) fn ask(&mut self, rule: &dyn Rule) {
        let finding = rule.judge(self);
        self.findings.push(RuleFinding {
            rule: rule.name(),
            witnesses: rule.witnesses(),
            finding,
        });
    }

    fn found(&self, rule: &dyn Rule) -> Option<&Finding> {
        let mut findings = self.findings.iter();
        findings
            .find(|found| found.rule == rule.name())
            .map(|found| &found.finding)
    }

    /// Whether a rule that was asked before clears.
    pub(crate) fn clears(&self, rule: &dyn Rule) -> bool {
        self.found(rule) == Some(&Finding::Clear)
    }

    /// Whether a rule that was asked before holds. One that was not asked yet is taken to hold.
    pub(crate) fn holds(&self, rule: &dyn Rule) -> bool {
        self.found(rule).is_none_or(Finding::holds)
    }

    /// When a runner that is occupied now can have been vacant for long enough, at the earliest.
    pub(crate) fn after_grace(&self) -> Instant {
        let Policy { grace, min_age, .. } = *self.policy;
        let window = match self.stage {
            Stage::Departed | Stage::Unconfirmed => grace.min(min_age),
            _ => grace,
        };
        self.not_before(after(self.now, window))
    }

    /// `at`, or the earlier instant at which the runner could enter a stage that asks less.
    pub(crate) fn not_before(&self, at: Instant) -> Instant {
        let turns_at = turns_at(self.seen, self.memory, self.now, self.policy);
        match (self.stage, turns_at) {
            (Stage::Serving, Some(turns_at)) => at.min(turns_at.max(self.now)),
            _ => at,
        }
    }

    /// Holds because a witness could not be heard.
    pub(crate) fn unheard(&self, witness: Witness, cause: fn(Missing) -> Cause) -> Finding {
        let unheard = failure(self.evidence, witness, self.seen.recent);
        let retry_at = match unheard {
            Some(Unheard::Failed(failure)) => failure.retry_at.map(|at| at.max(self.now)),
            _ => None,
        };
        Finding::Hold(HoldReason::new(cause(Missing::of(unheard)), retry_at))
    }
}
