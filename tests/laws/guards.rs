//! The guard, and mutants of it: each breaks one law.

use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Basis, Decision, Engine, Evidence, Finding, HoldCode, Memory, Policy, Registration, Runner,
    Signal, Verdict, evidence::Claim,
};

/// What a guard answers: all that the laws speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) basis: Option<Basis>,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) retry_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reason {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) exit: String,
    pub(crate) retry_at: Option<DateTime<Utc>>,
}

impl Answer {
    pub(crate) fn terminates(&self) -> bool {
        self.verdict == Verdict::Terminate
    }

    pub(crate) fn holds_for(&self, code: HoldCode) -> bool {
        self.reasons
            .iter()
            .any(|reason| reason.code == code.as_str())
    }
}

fn answer(decision: &Decision) -> Answer {
    let reasons = decision.reasons().map(|reason| Reason {
        code: reason.code_str().to_owned(),
        message: reason.to_string(),
        exit: reason.code().exit().to_owned(),
        retry_at: reason.retry_at(),
    });
    Answer {
        verdict: decision.verdict(),
        basis: match decision {
            Decision::Terminate(permit) => Some(permit.basis()),
            Decision::Hold(_) => None,
        },
        reasons: reasons.collect(),
        retry_at: decision.retry_at(),
    }
}

/// The real guard, or one of the planted mutants.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Guard {
    Real,
    /// Law 1: the first rule with an opinion decides.
    FirstOpinionWins,
    /// Law 2: a failed read is dropped.
    DropsFailures,
    /// Law 3: the flag is enough.
    TrustsTheFlag,
    /// Law 4: a clear jobs view outweighs a lease.
    JobsOutweighLease,
    /// Law 5: the majority of the witnesses decides.
    MajorityDecides,
    /// Law 6: `check().unwrap_or(true)`.
    UnwrapsOrTrue,
    /// Law 7: its clock falls back by half an hour, every hour.
    ClockFallsBack,
    /// Law 8: it says to come back far too late.
    RetriesTooLate,
    /// Law 8: it gives no reasons.
    GivesNoReasons,
    /// Law 9: it forgets earlier looks.
    Forgets,
    /// Law 10: a beacon that is silent holds for ever.
    SilenceHoldsForEver,
    /// Law 10: a reason without an exit.
    NamesNoExit,
}

impl Guard {
    pub(crate) fn look(
        self,
        runner: &Runner,
        evidence: Vec<Evidence>,
        memory: &mut Memory,
        now: DateTime<Utc>,
    ) -> Answer {
        let engine = Engine::new(Policy::default()).expect("the default policy");
        let failed = evidence
            .iter()
            .any(|evidence| matches!(evidence.signal, Signal::Failed(_)));
        let silent = evidence.iter().any(|evidence| {
            matches!(&evidence.signal, Signal::Lease(beacon) if !beacon.is_alive(now, engine.policy()))
        });
        let decide =
            |evidence, memory: &mut Memory, now| engine.decide(runner, evidence, memory, now);
        let terminate = |reasons| Answer {
            verdict: Verdict::Terminate,
            basis: Some(Basis::Vacant),
            reasons,
            retry_at: None,
        };
        match self {
            Self::Real => answer(&decide(evidence, memory, now)),
            Self::FirstOpinionWins => {
                let decision = decide(evidence, memory, now);
                let findings = &decision.assessment().findings;
                let opinion = findings
                    .iter()
                    .find(|found| found.finding != Finding::Abstain);
                match opinion.map(|found| &found.finding) {
                    Some(Finding::Clear) => terminate(answer(&decision).reasons),
                    _ => answer(&decision),
                }
            }
            Self::DropsFailures => {
                let heard = evidence
                    .into_iter()
                    .filter(|evidence| !matches!(evidence.signal, Signal::Failed(_)));
                answer(&decide(heard.collect(), memory, now))
            }
            Self::TrustsTheFlag => without("corroboration", &decide(evidence, memory, now)),
            Self::JobsOutweighLease => {
                let decision = decide(evidence, memory, now);
                match decision.assessment().claims.jobs {
                    Claim::Vacant => without("lease", &decision),
                    _ => answer(&decision),
                }
            }
            Self::MajorityDecides => {
                let decision = decide(evidence, memory, now);
                let claims = decision.assessment().claims;
                if claims.who(Claim::Vacant).count() > claims.who(Claim::Occupied).count() {
                    return terminate(Vec::new());
                }
                answer(&decision)
            }
            Self::UnwrapsOrTrue if failed => terminate(Vec::new()),
            Self::UnwrapsOrTrue => answer(&decide(evidence, memory, now)),
            Self::ClockFallsBack => {
                let back = TimeDelta::minutes(now.timestamp().div_euclid(1_800).rem_euclid(2) * 30);
                let evidence = evidence.into_iter().map(|evidence| Evidence {
                    asked_at: now - back,
                    ..evidence
                });
                answer(&decide(evidence.collect(), memory, now - back))
            }
            Self::RetriesTooLate => {
                let mut answer = answer(&decide(evidence, memory, now));
                answer.retry_at = answer.retry_at.map(|at| at + TimeDelta::minutes(3));
                answer
            }
            Self::GivesNoReasons => Answer {
                reasons: Vec::new(),
                ..answer(&decide(evidence, memory, now))
            },
            Self::Forgets => answer(&decide(evidence, &mut Memory::default(), now)),
            Self::SilenceHoldsForEver => {
                let mut answer = answer(&decide(evidence, memory, now));
                if silent {
                    answer.verdict = Verdict::Hold;
                }
                answer
            }
            Self::NamesNoExit => {
                let mut answer = answer(&decide(evidence, memory, now));
                for reason in &mut answer.reasons {
                    reason.exit.clear();
                }
                answer
            }
        }
    }
}

/// The answer as if there were no such rule.
fn without(rule: &str, decision: &Decision) -> Answer {
    let mut answer = answer(decision);
    let held: Vec<_> = decision
        .assessment()
        .findings
        .iter()
        .filter(|found| found.rule != rule && found.finding.reason().is_some())
        .collect();
    // Without the rule its looks would have been vacant ones, and the window long over.
    if held.iter().all(|found| found.rule == "grace") {
        answer.verdict = Verdict::Terminate;
        answer.basis = Some(Basis::Vacant);
    }
    answer
}

/// A runner that GitHub shows registered and free.
pub(crate) fn free() -> Registration {
    Registration::registered(false, scale_in_guard::Status::Online)
}
