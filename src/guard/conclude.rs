//! Deciding and remembering: read, decide, write, and again if somebody else wrote in between.

use super::Guard;
use crate::{
    clock::Deadline,
    decision::{Decision, Verdict},
    evidence::{Evidence, Witness},
    memory::Memory,
    records::{ATTEMPTS, Kept},
    runner::Runner,
    store::{Key, Kind, StoreError, Swap, Version},
};
use std::sync::Arc;

/// The memory of a runner, as it could be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Recalled {
    memory: Arc<Memory>,
    version: Option<Version>,
    /// What is the matter with it: a reason to hold.
    trouble: Option<String>,
    /// Whether this look can be kept: not where nobody knows what is there.
    can_be_kept: bool,
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

    fn read(read: Result<Kept<Memory>, StoreError>) -> Self {
        match read {
            Ok(Kept {
                value,
                version,
                lost,
                ..
            }) => Self {
                memory: Arc::new(value),
                version,
                trouble: lost,
                can_be_kept: true,
            },
            // Begun anew: this look is the first that it keeps.
            Err(lost @ StoreError::Lost { .. }) => Self {
                can_be_kept: true,
                ..Self::unreadable(lost.to_string())
            },
            Err(error) => Self::unreadable(error.to_string()),
        }
    }
}

impl Guard {
    fn key(&self, runner: &Runner) -> Key {
        let records = &self.inner.records;
        records.of_runner(&runner.scope, Kind::Memory, &runner.name)
    }

    /// What earlier looks left of a runner.
    pub(super) async fn recall(&self, runner: &Runner, deadline: Deadline) -> Recalled {
        let key = self.key(runner);
        match deadline.meet(self.inner.records.read_one(&key)).await {
            Ok(read) => Recalled::read(read),
            Err(late) => Recalled::unreadable(format!("{}: {late}", self.inner.records.describe())),
        }
    }

    /// What earlier looks left of each of these runners, in one read.
    pub(super) async fn recall_all(&self, runners: &[Runner], deadline: Deadline) -> Vec<Recalled> {
        let keys: Vec<_> = runners.iter().map(|runner| self.key(runner)).collect();
        let trouble = match deadline.meet(self.inner.records.read(&keys)).await {
            Ok(Ok(kept)) => return kept.into_iter().map(Ok).map(Recalled::read).collect(),
            Ok(Err(error)) => Recalled::read(Err(error)),
            Err(late) => Recalled::unreadable(format!("{}: {late}", self.inner.records.describe())),
        };
        vec![trouble; runners.len()]
    }

    /// Decides on what was gathered, without keeping it.
    pub(super) fn decide(
        &self,
        runner: &Runner,
        evidence: &[Evidence],
        recalled: &Recalled,
    ) -> (Decision, Memory) {
        let now = self.now();
        let mut evidence = evidence.to_vec();
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
        deadline: Deadline,
    ) -> Decision {
        let key = self.key(runner);
        let records = &self.inner.records;
        for _ in 0..ATTEMPTS {
            let (decision, memory) = self.decide(runner, &evidence, &recalled);
            // A permit is always written: so it is known that nobody wrote in between.
            let is_worth_it = decision.verdict() == Verdict::Terminate
                || recalled.trouble.is_some()
                || memory.is_news(&recalled.memory, self.policy());
            if !recalled.can_be_kept || !is_worth_it {
                return decision;
            }
            let write = records.write(&key, recalled.version, &memory);
            let what = match deadline.meet(write).await {
                Ok(Ok(Swap::Done(_))) => return decision,
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
            return self.decide(runner, &evidence, &recalled).0;
        }
        recalled.trouble = Some(records.contended().to_string());
        self.decide(runner, &evidence, &recalled).0
    }
}
