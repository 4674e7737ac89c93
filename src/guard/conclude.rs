//! Deciding and remembering: read, decide, write, and again if somebody else wrote in between.

use super::{
    Guard, TO_REMEMBER,
    host::Host,
    outcome::{Outcome, Remembered},
    pins::Pinned,
    told::{self, Queues, Told},
};
use crate::{
    clock::{Deadline, Late, monotonic},
    decision::{Decision, Verdict},
    evidence::{Evidence, Witness, shown_id},
    fence::Nonce,
    ledger::LedgerJob,
    memory::Memory,
    records::{ATTEMPTS, Over},
    runner::{Runner, RunnerId},
    store::{Key, Kind, Record, StoreError, Swap},
};
use std::sync::Arc;

/// What the store knows of a runner, as it could be read: what earlier looks left, and what its host and its
/// fence say.
#[derive(Debug, Clone, Default)]
pub(super) struct Recalled {
    memory: Arc<Memory>,
    /// The last decision.
    outcome: Option<Outcome>,
    over: Over,
    /// `None` where it could not be read.
    host: Option<Host>,
    /// What webhooks told, where there are any.
    told: Option<Told>,
    pins: Arc<Pinned>,
    /// What is the matter with it: a reason to hold.
    trouble: Option<String>,
    /// Whether this look can be kept: not where nobody knows what is there.
    can_be_kept: bool,
}

/// What a look is for, and so what is kept of it beside the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// A permit: what was decided is kept.
    Permit,
    /// A survey: that a runner must stay is kept. That it may go is no outcome yet, for it is looked at by itself
    /// before it may.
    Survey,
    /// The memory alone: nobody hears what was decided.
    Memory,
}

impl Aim {
    /// Whether this decision is what somebody hears.
    fn keeps(self, verdict: Verdict) -> bool {
        match self {
            Self::Permit => true,
            Self::Survey => verdict == Verdict::Hold,
            Self::Memory => false,
        }
    }
}

impl Recalled {
    /// What earlier looks left.
    pub(super) fn shared(&self) -> Arc<Memory> {
        self.memory.clone()
    }

    fn unreadable(what: String) -> Self {
        Self {
            trouble: Some(what),
            ..Self::default()
        }
    }

    fn unread(error: &StoreError) -> Self {
        Self {
            // Begun anew: this look is the first that it keeps.
            can_be_kept: matches!(error, StoreError::Lost { .. }),
            ..Self::unreadable(error.to_string())
        }
    }

    /// The open jobs that webhooks told of the runner.
    pub(super) fn told_open(&self, runner: &Runner) -> Vec<LedgerJob> {
        let told = self.told.iter();
        told.flat_map(|told| told.open_on(runner))
            .filter(|job| !self.memory.has_closed(job.id, job.attempt))
            .collect()
    }

    /// What the runner's host and its fence say.
    pub(super) fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }
}

impl Guard {
    fn keys(&self, runner: &Runner) -> [Key; 3] {
        let Runner { scope, name, .. } = runner;
        let records = &self.inner.records;
        [
            records.of_runner(scope, Kind::Memory, name),
            records.of_host(scope, Kind::Heartbeat, name),
            records.of_host(scope, Kind::Fence, name),
        ]
    }

    /// What the store knows of a runner.
    pub(super) async fn recall(&self, runner: &Runner, deadline: Deadline) -> Recalled {
        let recalled = self
            .recall_all(std::slice::from_ref(runner), deadline)
            .await;
        recalled.into_iter().next().unwrap_or_default()
    }

    /// What the store knows of each of these runners, and of the jobs that wait for any of them, in one read.
    pub(super) async fn recall_all(&self, runners: &[Runner], deadline: Deadline) -> Vec<Recalled> {
        let records = &self.inner.records;
        let has_webhooks = self.inner.has_webhooks;
        let keys_of = |runner| {
            let jobs = has_webhooks.then(|| told::key(runner));
            self.keys(runner).into_iter().chain(jobs)
        };
        let mut keys = Pinned::keys(records, runners);
        let pin_keys = keys.len();
        keys.extend(runners.iter().flat_map(keys_of));
        if has_webhooks {
            keys.extend(told::queues(runners));
        }
        let asked_at = self.now();
        let trouble = match deadline.meet(records.read_unparsed(&keys)).await {
            Ok(Ok(read)) => {
                let mut read = keys.iter().zip(read);
                let pins = read.by_ref().take(pin_keys);
                let pins = Arc::new(Pinned::read(records, pins, asked_at));
                let hosts: Vec<_> = runners
                    .iter()
                    .map_while(|_| {
                        let mut next = || read.next();
                        let (memory, beat, fence) = (next()?, next()?, next()?);
                        let jobs = match has_webhooks {
                            true => Some(next()?),
                            false => None,
                        };
                        Some((memory, Host::read(records, beat, fence, asked_at), jobs))
                    })
                    .collect();
                // What is left are the queues.
                let queues = Queues::read(records, read, asked_at, self.policy());
                let of_each = runners.iter().zip(hosts);
                return of_each
                    .map(|(runner, (memory, host, jobs))| {
                        let told =
                            jobs.map(|jobs| Told::read(records, jobs, &queues, runner, asked_at));
                        self.recalled(memory, host, told, pins.clone())
                    })
                    .collect();
            }
            Ok(Err(error)) => Recalled::unread(&error),
            Err(Late) => Recalled::unreadable(format!("{}: {Late}", records.describe())),
        };
        vec![trouble; runners.len()]
    }

    fn recalled(
        &self,
        (key, memory): (&Key, Option<Record>),
        host: Host,
        told: Option<Told>,
        pins: Arc<Pinned>,
    ) -> Recalled {
        let kept = self.inner.records.parse(key, memory);
        let Remembered { memory, outcome } = kept.value;
        Recalled {
            memory: Arc::new(memory),
            outcome,
            over: kept.over,
            host: Some(host),
            told,
            pins,
            trouble: kept.lost,
            can_be_kept: true,
        }
    }

    /// Decides on what was gathered, without keeping it.
    pub(super) fn decide(
        &self,
        runner: &Runner,
        evidence: &[Evidence],
        recalled: &Recalled,
        second_look_of: Option<&Nonce>,
    ) -> (Decision, Memory) {
        let now = self.now();
        let mut evidence = evidence.to_vec();
        let pins = recalled
            .pins
            .about(runner, (now, &evidence), now, self.policy());
        let pins: Vec<_> = pins.collect();
        evidence.extend(pins);
        if let Some(host) = &recalled.host {
            let known = number(runner, &evidence, &recalled.memory);
            evidence.extend(host.evidence(known, second_look_of, now, self.policy()));
        }
        if let Some(told) = &recalled.told {
            evidence.extend(told.evidence());
        }
        if let Some(what) = &recalled.trouble {
            evidence.push(Evidence::failed(Witness::Memory, what.as_str(), now));
        }
        let mut memory = (*recalled.memory).clone();
        let decision = self.inner.engine.decide(runner, evidence, &mut memory, now);
        (decision, memory)
    }

    /// Decides on what was gathered, and keeps the look. A look that cannot be kept gives no permit.
    pub(super) async fn conclude(
        &self,
        runner: &Runner,
        evidence: Vec<Evidence>,
        mut recalled: Recalled,
        second_look_of: Option<&Nonce>,
        aim: Aim,
        deadline: Deadline,
    ) -> Decision {
        let [key, ..] = self.keys(runner);
        if recalled.host.as_ref().is_some_and(Host::lost_its_fence) {
            self.begin_fence_anew(runner, deadline).await;
        }
        let decide = |recalled: &Recalled| self.decide(runner, &evidence, recalled, second_look_of);
        let records = &self.inner.records;
        for _ in 0..ATTEMPTS {
            let (decision, memory) = decide(&recalled);
            // A permit is always written: so it is known that nobody wrote in between.
            let is_worth_it = decision.verdict() == Verdict::Terminate
                || recalled.trouble.is_some()
                || memory.is_news(&recalled.memory, self.policy());
            if !recalled.can_be_kept || !is_worth_it {
                if aim.keeps(decision.verdict()) {
                    self.keep_outcome(&decision, &recalled, deadline).await;
                }
                return self.timed(decision);
            }
            let known = recalled.outcome.as_ref();
            let outcome = match aim.keeps(decision.verdict()) {
                true => Some(Outcome::of(&decision, self.mode()).after(known)),
                false => recalled.outcome.clone(),
            };
            let remembered = Remembered { memory, outcome };
            let write = records.write(&key, &recalled.over, &remembered);
            let what = match deadline.meet(write).await {
                Ok(Ok(Swap::Done(_))) => {
                    let before = &recalled.memory;
                    if let Some(outcome) = &remembered.outcome {
                        let outcomes = (known, outcome);
                        self.keep_history(&decision, before, outcomes, deadline)
                            .await;
                    }
                    return self.timed(decision);
                }
                Ok(Ok(Swap::Conflict)) => {
                    let trouble = recalled.trouble.take();
                    recalled = self.recall(runner, deadline).await;
                    // A look that met with trouble holds, whatever is found afterwards.
                    recalled.trouble = trouble.or(recalled.trouble);
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(late) => format!("{}: {late}", records.describe()),
            };
            recalled.trouble = Some(what);
            return decide(&recalled).0;
        }
        recalled.trouble = Some(records.contended().to_string());
        decide(&recalled).0
    }

    /// Keeps what was decided where nothing else of the look is worth writing, or where it was no look, such as that
    /// the budget of a sweep is spent. Nothing hangs on it: where somebody looked meanwhile, or it cannot be written,
    /// it is left.
    pub(super) async fn keep_outcome(
        &self,
        decision: &Decision,
        recalled: &Recalled,
        deadline: Deadline,
    ) {
        let known = recalled.outcome.as_ref();
        let outcome = Outcome::of(decision, self.mode()).after(known);
        if !recalled.can_be_kept || !outcome.is_news(known, self.policy()) {
            return;
        }
        let [key, ..] = self.keys(&decision.assessment().runner);
        let remembered = Remembered {
            memory: (*recalled.memory).clone(),
            outcome: Some(outcome.clone()),
        };
        let write = self.inner.records.write(&key, &recalled.over, &remembered);
        let by = Deadline::within(TO_REMEMBER).or_sooner(deadline);
        if let Ok(Ok(Swap::Done(_))) = by.meet(write).await {
            let outcomes = (known, &outcome);
            self.keep_history(decision, &recalled.memory, outcomes, deadline)
                .await;
        }
    }

    /// A permit expires by the monotonic clock, too: no setting of the wall clock stretches it.
    fn timed(&self, decision: Decision) -> Decision {
        match decision {
            Decision::Terminate(permit) => {
                let left = crate::time::age(permit.expires_at(), self.now());
                let left = left.min(self.policy().permit_ttl).to_std();
                let left = left.unwrap_or_default();
                Decision::Terminate(permit.expiring(monotonic() + left))
            }
            hold => hold,
        }
    }
}

/// The number that a runner is registered under, as far as anybody knows.
fn number(runner: &Runner, evidence: &[Evidence], memory: &Memory) -> Option<RunnerId> {
    shown_id(evidence).or(runner.id).or(memory.id())
}
