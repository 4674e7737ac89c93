//! The fold for one runner: what its log, its processes and its hooks show, as one heartbeat.

use super::{Blindness, LogTail, Processes, RunnerRoot, hook::HookWatch};
use crate::{
    lease::{Heartbeat, HostJob, JobLease, LeaseState, Report},
    policy::Policy,
    runner_log::LogReader,
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use std::sync::Arc;

/// A restart that the log tells of may be a job's name that forges it: then the runner's own next lines, of the same
/// second, open its job anew.
const A_RESTART: TimeDelta = TimeDelta::seconds(10);

/// What a job is called that only a hook has told of.
fn hook_job() -> HostJob {
    HostJob::new("hook")
}

/// What one look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Look {
    /// A job was received, or shows itself for the first time: in the log, by its worker, or by its hook.
    pub started: bool,
    /// Something that whoever reads the heartbeat should learn at once. The time of the look alone is not.
    pub changed: bool,
}

/// Watches one runner.
///
/// *No job* is said by what is there to be seen, never by silence: only where a process of this runner was
/// seen before, none of its workers is there, and its whole log was read and leaves no job.
///
/// ```no_run
/// # use scale_in_guard::{Policy, beacon::{Processes, RunnerRoot, Watch}, clock::{Clock, SteadyClock}};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = SteadyClock::start();
/// let root = RunnerRoot::open("/home/runner/actions-runner")?;
/// let mut watch = Watch::begin(root, clock.now(), Policy::default().into())?;
/// loop {
///     let processes = Processes::scan([watch.root()]);
///     let look = watch.look(&processes, clock.now());
///     println!("{look:?}: {:?}", watch.heartbeat());
///     std::thread::sleep(std::time::Duration::from_secs(1));
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Watch {
    root: RunnerRoot,
    policy: Arc<Policy>,
    log: LogTail,
    reader: LogReader,
    hooks: HookWatch,
    heartbeat: Heartbeat,
    /// A hook's job that nothing else has shown yet.
    hooked: Option<Hooked>,
    /// Whether a process of this runner was ever seen: else that none is seen proves nothing.
    sight: bool,
    /// Since when the log has said that the listener was started anew, and left a job behind.
    orphaned_since: Option<Instant>,
    looked: bool,
}

/// A job of which only a hook has told.
#[derive(Debug, Clone, Copy)]
struct Hooked {
    /// The mark's date, on the clock of the host.
    marked_at: Instant,
    noticed_at: Instant,
}

impl Watch {
    /// Begins: reads the log back as far as it takes to know the present. What it tells counts as told now. A
    /// log that is not there yet is none of the errors.
    ///
    /// # Errors
    /// [`Blindness::UnknownFormat`]: this version of the runner writes what nobody here can read.
    pub fn begin(root: RunnerRoot, now: Instant, policy: Arc<Policy>) -> Result<Self, Blindness> {
        match Self::begin_anyway(root, now, policy) {
            (_, Err(error @ Blindness::UnknownFormat { .. })) => Err(error),
            (watch, _) => Ok(watch),
        }
    }

    /// The same, also where nothing of its log can be understood: then it is blind.
    pub(super) fn begin_anyway(
        root: RunnerRoot,
        now: Instant,
        policy: Arc<Policy>,
    ) -> (Self, Result<(), Blindness>) {
        let mut watch = Self {
            log: LogTail::new(root.logs()),
            reader: LogReader::default(),
            hooks: HookWatch::new(&root),
            heartbeat: Heartbeat::new(now),
            hooked: None,
            sight: false,
            orphaned_since: None,
            looked: false,
            root,
            policy,
        };
        let read = watch.read_log(now).1;
        if let Err(blindness) = &read {
            watch.hear(Report::Blind(blindness.to_string().into()), now);
        }
        (watch, read)
    }

    /// The runner.
    #[must_use]
    pub fn root(&self) -> &RunnerRoot {
        &self.root
    }

    /// What it has seen so far.
    #[must_use]
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// The last word: it goes. That takes back *no job*.
    pub fn going(&mut self, now: Instant) {
        self.hear(Report::Going, now);
    }

    /// Looks once. `processes` was scanned before, so that a worker that has gone since has left its end in the log.
    pub fn look(&mut self, processes: &Processes, now: Instant) -> Look {
        let before = self.heartbeat.clone();
        let is_first = !self.looked;
        self.looked = true;

        // Whether it is still blind is known at the end. Nobody reads the heartbeat before.
        let lives = match before.blind {
            Some(_) => Report::Sees,
            None => Report::Alive,
        };
        self.hear(lives, now);

        let processes = processes.of(&self.root);
        let seen = processes.unwrap_or_default();
        self.sight |= seen.listener || seen.worker;
        // Without sight nothing could ever tell that somebody's worker is gone.
        let worker = seen.worker || (seen.unattributed_worker && self.sight);
        let mut started = false;
        if worker {
            started |= self.heartbeat.worker_since.is_none();
            self.hear(Report::Worker, now);
        }

        // Before the log: whatever a hook ran in, the log has told of by then.
        let mark = self.hooks.look();
        let is_recent = |&at: &Instant| !is_first || age(now, at) < self.policy.lease_ttl;
        if let Some(marked_at) = mark.filter(is_recent) {
            started = true;
            self.hooked = Some(Hooked {
                marked_at,
                noticed_at: now,
            });
            let (job, at) = (hook_job(), marked_at);
            self.hear(Report::Started { job, at }, now);
        }

        let (opened, read) = self.read_log(now);
        started |= opened;
        if is_first {
            started |= self.heartbeat.unfinished().is_some();
        }

        self.settle_hook(worker, now);
        let mut leases = self.heartbeat.leases.iter();
        let is_orphaned = leases.any(|lease| lease.state == LeaseState::Orphaned);
        self.orphaned_since = is_orphaned.then(|| self.orphaned_since.unwrap_or(now));
        let blind = match read {
            Err(blindness) => Some(blindness.to_string()),
            Ok(()) if seen.log_deleted => {
                Some("the runner writes to a log that was deleted; restart the runner".to_owned())
            }
            Ok(()) if seen.unattributed_worker && !self.sight => {
                Some("a Runner.Worker runs that nothing shows to be another runner's".to_owned())
            }
            Ok(()) => None,
        };
        match blind {
            Some(why) => self.hear(Report::Blind(why.into()), now),
            None if self.sight && processes.is_some() && !worker && self.is_over(now) => {
                self.hear(Report::Listening, now);
            }
            None => {}
        }
        Look {
            started,
            changed: is_first || differs(&before, &self.heartbeat),
        }
    }

    fn hear(&mut self, report: Report, now: Instant) {
        self.heartbeat.hear(report, now, &self.policy);
    }

    /// Folds what the log says anew; also, whether a job was opened by it.
    fn read_log(&mut self, now: Instant) -> (bool, Result<(), Blindness>) {
        let Self {
            log,
            reader,
            heartbeat,
            policy,
            ..
        } = self;
        let mut opened = false;
        let read = log.look(&mut |line| {
            let report = reader.read(line);
            let job = match &report {
                Report::Alive => return,
                Report::Started { job, .. } | Report::Renewed { job, .. } => Some(job.clone()),
                _ => None,
            };
            let is_open = |heartbeat: &Heartbeat| {
                let open = |lease: &JobLease| {
                    lease.state == LeaseState::Open && Some(&lease.job) == job.as_ref()
                };
                heartbeat.leases.iter().any(open)
            };
            let was_open = is_open(heartbeat);
            heartbeat.hear(report, now, policy);
            opened |= !was_open && is_open(heartbeat);
        });
        (opened, read)
    }

    /// Whether every job that was told of is over: finished, of a listener that was started anew, or run out for so
    /// long that its worker would be seen.
    fn is_over(&self, now: Instant) -> bool {
        let is_over = |lease: &JobLease| match lease.state {
            LeaseState::Finished(_) => lease.until <= now,
            LeaseState::Orphaned => self
                .orphaned_since
                .is_some_and(|since| after(since, A_RESTART) <= now),
            LeaseState::Open => after(lease.until, self.policy.lease_overrun) <= now,
        };
        self.hooked.is_none() && self.heartbeat.leases.iter().all(is_over)
    }

    /// Ends the hook's own job: when its real one shows, or when it could have no lease any more.
    fn settle_hook(&mut self, worker: bool, now: Instant) {
        let Some(Hooked {
            marked_at,
            noticed_at,
        }) = self.hooked
        else {
            return;
        };
        let job = hook_job();
        let shows_it = |lease: &JobLease| match lease.state {
            _ if lease.job == job => false,
            LeaseState::Open => now < lease.until,
            LeaseState::Orphaned => false,
            // One job at a time: what ended after the mark began before it. A log's stamp is of the whole second.
            LeaseState::Finished(end) => marked_at < after(end, TimeDelta::seconds(1)),
        };
        let is_shown = worker || self.heartbeat.leases.iter().any(shows_it);
        let has_run_out = after(noticed_at, self.policy.lease_ttl) <= now;
        if !is_shown && !has_run_out {
            return;
        }
        self.hooked = None;
        let at = marked_at;
        self.hear(Report::Finished { job, at }, now);
        if !is_shown {
            // A job ran that nothing here showed. That nothing shows one now is no word.
            self.hear(Report::Blind("a hook's job was never seen".into()), now);
            self.hear(Report::Sees, now);
        }
    }
}

/// Whether two heartbeats differ in more than their times.
fn differs(before: &Heartbeat, after: &Heartbeat) -> bool {
    let word = |heartbeat: &Heartbeat| {
        let Heartbeat {
            worker_since,
            idle_since,
            updating_since,
            ..
        } = *heartbeat;
        (worker_since, idle_since, updating_since)
    };
    word(before) != word(after) || before.blind != after.blind || before.leases != after.leases
}

#[cfg(test)]
mod tests;
