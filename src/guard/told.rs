//! What webhooks told: of the jobs that a runner has or had, and of those that wait for one.

use crate::{
    evidence::{Evidence, Signal, Witness},
    fleet::MAX_GITHUB_SKEW,
    ledger::{Ledger, LedgerJob},
    ledger_records::{LedgerRecord, jobs_key, ledger_scope, slot_keys},
    policy::Policy,
    records::Records,
    runner::{Runner, Scope},
    store::{Key, Record},
    time::{Instant, after, age},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// For how many different things jobs can wait, in what is told about one runner.
const MOST_WANTED: usize = 64;

/// The record of what was told of a runner's jobs.
pub(super) fn key(runner: &Runner) -> Key {
    jobs_key(&ledger_scope(&runner.scope), &runner.name)
}

/// The records of the jobs that wait, of every scope of these runners, each once.
pub(super) fn queues(runners: &[Runner]) -> Vec<Key> {
    let scopes = runners
        .iter()
        .map(|runner| ledger_scope(&runner.scope).in_lower_case());
    let scopes: BTreeSet<_> = scopes.collect();
    scopes.iter().flat_map(slot_keys).collect()
}

/// One record as it was read: its jobs by our clock, or why there are none.
fn jobs(
    records: &Records,
    (key, record): (&Key, Option<Record>),
    asked_at: Instant,
) -> Result<Ledger, String> {
    let kept = records.parse::<LedgerRecord>(key, record);
    if let Some(lost) = kept.lost {
        return Err(lost);
    }
    let LedgerRecord {
        jobs, written_at, ..
    } = kept.value;
    // Whoever wrote it reckoned by its own clock, and the store tells how long ago that was.
    let behind = written_at.map(|at| age(after(asked_at, -kept.age), at));
    Ok(
        match behind.filter(|behind| behind.abs() > MAX_GITHUB_SKEW) {
            None => jobs,
            Some(behind) => {
                let moved = |at: Option<Instant>| at.map(|at| after(at, behind));
                let jobs = jobs.into_iter().map(|job| LedgerJob {
                    queued_at: moved(job.queued_at),
                    queued_again_at: moved(job.queued_again_at),
                    waited_at: moved(job.waited_at),
                    opened_at: moved(job.opened_at),
                    closed_at: moved(job.closed_at),
                    ..job
                });
                jobs.collect()
            }
        },
    )
}

/// The jobs that wait, by the scope of their ledger.
#[derive(Debug, Default)]
pub(super) struct Queues(BTreeMap<Scope, Queue>);

#[derive(Debug, Default)]
struct Queue {
    jobs: Vec<LedgerJob>,
    lost: Option<String>,
}

impl Queues {
    /// Of the jobs that wait for the same labels in the same repository the last one is enough: it holds the longest.
    pub(super) fn read<'k>(
        records: &Records,
        slots: impl Iterator<Item = (&'k Key, Option<Record>)>,
        asked_at: Instant,
        policy: &Policy,
    ) -> Self {
        let mut queues = Self::default();
        for slot in slots {
            let queue = queues.0.entry(slot.0.scope().clone()).or_default();
            match jobs(records, slot, asked_at) {
                Ok(jobs) => {
                    let matters = |job: &LedgerJob| match job.waits_since() {
                        Some(since) => age(asked_at, since) < policy.job_pending,
                        // In progress on a runner whose name nobody told.
                        None => job.closed_at.is_none() && !job.runners.is_empty(),
                    };
                    queue.jobs.extend(jobs.into_iter().filter(matters));
                }
                Err(lost) => queue.lost = Some(lost),
            }
        }
        for queue in queues.0.values_mut() {
            queue.jobs = the_last_of_each(std::mem::take(&mut queue.jobs));
        }
        queues
    }
}

/// Of those that wait for the same, the last. Where too many things are waited for, the last of the rest stands for
/// all of these, as a job that any runner could take.
fn the_last_of_each(jobs: Vec<LedgerJob>) -> Vec<LedgerJob> {
    type Wanted = (Vec<Arc<str>>, Option<Arc<str>>);
    let (waiting, mut kept): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .partition(|job| job.waits_since().is_some());
    let mut last: BTreeMap<Wanted, LedgerJob> = BTreeMap::new();
    for job in waiting {
        let wanted = (job.labels.clone(), job.repository.clone());
        match last.get_mut(&wanted) {
            Some(known) if known.waits_since() >= job.waits_since() => {}
            Some(known) => *known = job,
            None => {
                last.insert(wanted, job);
            }
        }
    }
    let mut last: Vec<_> = last.into_values().collect();
    last.sort_by_key(|job| Reverse(job.waits_since()));
    let rest = last.get(MOST_WANTED..).and_then(<[_]>::first).cloned();
    last.truncate(MOST_WANTED);
    kept.extend(last);
    kept.extend(rest.map(|job| LedgerJob {
        labels: Vec::new(),
        repository: None,
        ..job
    }));
    kept
}

/// What webhooks told that is about one runner.
#[derive(Debug, Clone)]
pub(super) struct Told {
    asked_at: Instant,
    ledger: Ledger,
    lost: Option<String>,
}

impl Told {
    pub(super) fn read(
        records: &Records,
        of_runner: (&Key, Option<Record>),
        queues: &Queues,
        runner: &Runner,
        asked_at: Instant,
    ) -> Self {
        let queue = queues.0.get(of_runner.0.scope());
        let (mut ledger, lost) = match jobs(records, of_runner, asked_at) {
            Ok(jobs) => (jobs, None),
            Err(lost) => (Ledger::default(), Some(lost)),
        };
        let waiting = queue.map_or(&[][..], |queue| &queue.jobs);
        ledger.extend(waiting.iter().cloned());
        // A repository's runner takes its jobs alone, and the owner has others, maybe with runners of this name.
        let jobs = ledger.into_iter().filter(|job| is_of(job, &runner.scope));
        Self {
            asked_at,
            ledger: jobs.collect(),
            lost: lost.or_else(|| queue?.lost.clone()),
        }
    }

    /// The jobs that are open, as far as was told, and name this runner.
    pub(super) fn open_on(&self, runner: &Runner) -> impl Iterator<Item = LedgerJob> {
        let jobs = self.ledger.jobs().iter();
        let open = jobs.filter(|job| {
            let named = || {
                job.runners
                    .iter()
                    .any(|named| named.names(runner, runner.id))
            };
            job.opened_at.is_some() && job.closed_at.is_none() && named()
        });
        open.cloned()
    }

    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let told = Signal::Webhooks(self.ledger.clone());
        let told = Evidence::new("webhooks", self.asked_at, told);
        let lost = self.lost.as_deref();
        let lost = lost.map(|what| Evidence::failed(Witness::Webhooks, what, self.asked_at));
        [told].into_iter().chain(lost).collect()
    }
}

/// Whether a job can be one of this scope's runners.
fn is_of(job: &LedgerJob, scope: &Scope) -> bool {
    match (scope, &job.repository) {
        (Scope::Repository { owner, name }, Some(repository)) => {
            repository.to_lowercase() == format!("{owner}/{name}").to_lowercase()
        }
        _ => true,
    }
}
