//! The engine: from what witnesses said, and what earlier looks left, to a decision. It does no IO
//! and reads no clock.

use crate::{
    decision::{Assessment, Claims, Decision, Hold, RuleFinding},
    evidence::{Claim, Evidence, Recent, Signal},
    hold::{Cause, HoldReason, Missing},
    lease::Heartbeat,
    memory::Memory,
    permit::Permit,
    policy::{Policy, PolicyError},
    rules::{Finding, Look, OTHERS, Rule, WITNESSES},
    runner::Runner,
    seen::{RegistrationSeen, Seen},
    stage::stage_of,
    time::{Instant, after},
    vacancy::{self, Vacancy},
};
use std::sync::Arc;

/// The rules, under a policy. Cheap to clone and to share.
///
/// ```
/// use chrono::{DateTime, TimeDelta, Utc};
/// use scale_in_guard::{Decision, Engine, Evidence, JobsView, Memory, Policy, Registration, Runner, Status};
///
/// let engine = Engine::new(Policy::default())?;
/// let runner = Runner::new("i-06cbe04821ccba677", "repo:acme/atlas")?;
/// let mut memory = Memory::default();
/// let start: DateTime<Utc> = "2026-05-14T02:00:00Z".parse()?;
/// let mut look = |now| {
///     let idle = Registration::registered(false, Status::Online);
///     let no_jobs = JobsView { complete: true, jobs: vec![] };
///     let evidence = vec![Evidence::registration(idle, now), Evidence::jobs(no_jobs, now)];
///     engine.decide(&runner, evidence, &mut memory, now)
/// };
///
/// let Decision::Hold(hold) = look(start) else { panic!("one look is not enough") };
/// assert_eq!(hold.retry_at(), Some(start + TimeDelta::minutes(5)));
/// assert!(matches!(look(start + TimeDelta::minutes(5)), Decision::Terminate(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Engine {
    policy: Arc<Policy>,
    rules: Vec<Arc<dyn Rule>>,
}

impl Engine {
    /// An engine with the built-in rules.
    ///
    /// # Errors
    /// [`PolicyError`], naming the keys, when the policy is out of range or contradicts itself.
    pub fn new(policy: Policy) -> Result<Self, PolicyError> {
        policy.validate()?;
        Ok(Self {
            policy: Arc::new(policy),
            rules: Vec::new(),
        })
    }

    /// The same engine with one more rule. It can hold; it cannot clear what another rule holds.
    #[must_use]
    pub fn with_rule(mut self, rule: impl Rule + 'static) -> Self {
        self.rules.push(Arc::new(rule));
        self
    }

    #[cfg(feature = "guard")]
    pub(crate) fn with_rules(mut self, rules: Vec<Arc<dyn Rule>>) -> Self {
        self.rules.extend(rules);
        self
    }

    /// The policy, to share.
    #[cfg(feature = "github")]
    pub(crate) fn shared_policy(&self) -> Arc<Policy> {
        self.policy.clone()
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// May `runner` be terminated at `now`?
    ///
    /// `evidence` is what the witnesses said in this look: none is evidence for holding. `memory`
    /// is what the last look of this runner left, `Memory::default()` before the first; it takes in
    /// this look and must be kept until the next one.
    ///
    /// The answer is never an error: a witness that could not be heard is evidence for holding.
    pub fn decide(
        &self,
        runner: &Runner,
        evidence: Vec<Evidence>,
        memory: &mut Memory,
        now: Instant,
    ) -> Decision {
        let policy = &*self.policy;
        let recent = Recent::among(&evidence, now, policy);
        let registration = RegistrationSeen::read(&evidence, recent);
        memory.identify(runner, registration.id(), now, policy);
        memory.observe_fence(runner, registration, &evidence, now);
        let seen = Seen::read(runner, registration, &evidence, recent, memory, now, policy);
        memory.observe(runner, &seen, &evidence, now, policy);
        let mut look = Look {
            runner,
            evidence: &evidence,
            seen: &seen,
            memory,
            policy,
            now,
            stage: stage_of(runner, &seen, memory, now, policy),
            vacancy: Vacancy::default(),
            findings: Vec::with_capacity(WITNESSES.len() + OTHERS.len() + self.rules.len()),
        };
        for rule in WITNESSES {
            look.ask(rule);
        }
        look.vacancy = vacancy::assess(&look);
        for rule in OTHERS {
            look.ask(rule);
        }
        for rule in &self.rules {
            look.ask(&**rule);
        }
        let findings = std::mem::take(&mut look.findings);
        let drained = seen.drained.map(|drain| drain.basis);
        let (stage, vacancy, claims) = (look.stage, look.vacancy, claims(&seen, now, policy));
        memory.remember_vacancy(&vacancy);
        if clock_is_off(&evidence) {
            memory.forget_windows();
        }
        let assessment = Assessment {
            runner: runner.clone(),
            at: now,
            stage,
            vacant_since: vacancy.since,
            last_registered: memory.last_registered(),
            findings,
            claims,
            evidence,
        };
        // What let it go at the first look is what lets it go.
        match stage.basis().map(|basis| drained.unwrap_or(basis)) {
            Some(basis) if assessment.reasons().next().is_none() => {
                Decision::Terminate(Permit::new(basis, assessment, policy))
            }
            _ => Decision::Hold(hold(assessment, policy)),
        }
    }
}

/// Whether our clock was found to be far from GitHub's. When it is put right, a window that it began would
/// seem to have lasted for as long as it was wrong.
fn clock_is_off(evidence: &[Evidence]) -> bool {
    let mut evidence = evidence.iter();
    evidence
        .any(|evidence| matches!(&evidence.signal, Signal::Fleet(report) if report.clock_is_off()))
}

/// Makes a refusal of an assessment. When to ask again: when the last of the reasons can be gone,
/// and no later than the observation gap, or the windows start anew.
fn hold(mut assessment: Assessment, policy: &Policy) -> Hold {
    if assessment.reasons().next().is_none() {
        // A stage that may never go has a rule that says why; were there none, it would still hold.
        assessment.findings.push(RuleFinding {
            rule: "stage",
            witnesses: &[],
            finding: Finding::Hold(HoldReason::new(
                Cause::RegistrationUnreadable(Missing::NotAsked),
                None,
            )),
        });
    }
    let look_by = after(assessment.at, policy.observation_gap());
    let retry_at = assessment.reasons().filter_map(HoldReason::retry_at).max();
    Hold {
        retry_at: retry_at.map(|at| at.clamp(assessment.at, look_by)),
        assessment,
    }
}

/// What each witness claims, for the reader and for the record of who contradicted whom.
fn claims(seen: &Seen<'_>, now: Instant, policy: &Policy) -> Claims {
    let registration = match seen.registration {
        RegistrationSeen::Registered { busy: true, .. } => Claim::Occupied,
        RegistrationSeen::Registered { busy: false, .. } => Claim::Vacant,
        _ => Claim::Unknown,
    };
    let jobs = match (&seen.jobs.running, seen.jobs.is_complete()) {
        (Some(_), _) => Claim::Occupied,
        (None, true) => Claim::Vacant,
        (None, false) => Claim::Unknown,
    };
    let occupied = |beacon: &Heartbeat| {
        let job = beacon.leaves_job() && beacon.is_alive(now, policy);
        beacon.live_lease(now).is_some() || job
    };
    let lease = match seen.beacons.attests_vacancy_since {
        _ if seen.beacons.heard().any(occupied) => Claim::Occupied,
        Some(_) => Claim::Vacant,
        None => Claim::Unknown,
    };
    let webhooks = seen.ledger.open.map_or(Claim::Unknown, |_| Claim::Occupied);
    Claims {
        registration,
        jobs,
        lease,
        webhooks,
    }
}
