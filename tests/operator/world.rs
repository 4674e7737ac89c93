//! A guard over scripted witnesses and a store that counts, on a manual clock.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Decision, Guard, Job, JobStatus, JobsView, Registration, Runner, Scope, Signal, Status,
    Verdict,
    guard::GuardBuilder,
    runner::{RunnerId, RunnerRef},
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::MemoryStore,
    testing::{ManualClock, ScriptedSource},
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

pub(crate) const SCOPE: &str = "org:acme";
pub(crate) const API: &str = "api.github.com";

pub(crate) fn start() -> DateTime<Utc> {
    "2026-05-14T02:00:00Z".parse().unwrap()
}

pub(crate) fn scope() -> Scope {
    SCOPE.parse().unwrap()
}

pub(crate) fn runner(name: &str) -> Runner {
    Runner::new(name, SCOPE).unwrap()
}

pub(crate) fn codes(decision: &Decision) -> Vec<String> {
    let codes = decision
        .reasons()
        .map(|reason| reason.code_str().to_owned());
    codes.collect()
}

/// A store that tells what was done with it, and can refuse writes of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Counting {
    pub(crate) inner: Arc<MemoryStore>,
    swaps: Arc<Mutex<Vec<Kind>>>,
    reads: Arc<Mutex<Vec<usize>>>,
    pub(crate) refuses_history: Arc<AtomicBool>,
    pub(crate) hangs_on_history: Arc<AtomicBool>,
}

impl Counting {
    pub(crate) fn writes_of(&self, kind: Kind) -> usize {
        let swaps = self.swaps.lock().unwrap();
        swaps.iter().filter(|&&swapped| swapped == kind).count()
    }

    /// How many reads there were, and of how many keys.
    pub(crate) fn reads(&self) -> (usize, usize) {
        let reads = self.reads.lock().unwrap();
        (reads.len(), reads.iter().sum())
    }

    pub(crate) fn forget(&self) {
        self.swaps.lock().unwrap().clear();
        self.reads.lock().unwrap().clear();
    }
}

#[async_trait]
impl Store for Counting {
    fn describe(&self) -> String {
        "counting".to_owned()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        self.reads.lock().unwrap().push(keys.len());
        self.inner.read(keys).await
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        self.inner.scan(api, scope, kind).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        self.swaps.lock().unwrap().push(key.kind());
        if key.kind() == Kind::History && self.hangs_on_history.load(Relaxed) {
            std::future::pending::<()>().await;
        }
        if key.kind() == Kind::History && self.refuses_history.load(Relaxed) {
            return Err(StoreError::Unusable {
                store: self.describe(),
                doing: "writing",
                source: "full".into(),
            });
        }
        self.inner.swap(key, expected, value).await
    }
}

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) flag: ScriptedSource,
    pub(crate) jobs: ScriptedSource,
    pub(crate) store: Counting,
}

impl World {
    /// GitHub says `busy: false`, and shows no job.
    pub(crate) fn new() -> Self {
        let clock = ManualClock::at(start());
        Self {
            flag: ScriptedSource::registration(Registration::registered(false, Status::Online)),
            jobs: ScriptedSource::jobs(JobsView {
                complete: true,
                jobs: vec![],
            }),
            store: Counting {
                inner: Arc::new(MemoryStore::new().with_clock(clock.clone())),
                swaps: Arc::default(),
                reads: Arc::default(),
                refuses_history: Arc::default(),
                hangs_on_history: Arc::default(),
            },
            clock,
        }
    }

    pub(crate) fn builder(&self) -> GuardBuilder {
        Guard::builder()
            .clock(self.clock.clone())
            .source(self.flag.clone())
            .source(self.jobs.clone())
            .store(self.store.clone())
    }

    pub(crate) fn guard(&self) -> Guard {
        self.builder().build().unwrap()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        use scale_in_guard::clock::Clock;
        self.clock.now()
    }

    pub(crate) fn later(&self, minutes: i64) {
        self.clock.advance(TimeDelta::minutes(minutes));
    }

    /// From now on GitHub shows the runner with this flag and these labels.
    pub(crate) fn shows(&self, busy: bool, labels: &[&str]) {
        let shown = Registration::Registered {
            id: Some(RunnerId(18_700)),
            busy,
            status: Status::Online,
            labels: labels.iter().map(|&label| label.into()).collect(),
        };
        self.flag.says(Signal::Registration(shown));
    }

    /// From now on the jobs view shows these jobs of this runner, and nothing else but one of another runner.
    pub(crate) fn shows_jobs(&self, name: &str, jobs: &[u64]) {
        let on = |id, name: &str| Job::new(id, JobStatus::InProgress, Some(RunnerRef::named(name)));
        let of_this = jobs.iter().map(|&id| on(id, name));
        let view = JobsView {
            complete: true,
            jobs: of_this.chain([on(99, "somebody-else")]).collect(),
        };
        self.jobs.says(Signal::Jobs(view));
    }

    /// Looks until the runner may go.
    pub(crate) async fn until_it_may_go(&self, guard: &Guard, runner: &Runner) -> Decision {
        for _ in 0..12 {
            let decision = guard.can_terminate(runner).await;
            if decision.verdict() == Verdict::Terminate {
                return decision;
            }
            self.later(1);
        }
        panic!("it never may go");
    }
}
