//! The lease picture: what the beacon on a runner's host has told, folded into what is known now.

use crate::{
    policy::Policy,
    time::{Instant, after, age, latest},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::{
    fmt::{self, Write},
    sync::Arc,
};

/// How long a self-update holds, at the most: the runner is back within seconds of one.
pub const SELF_UPDATE_HOLDS: TimeDelta = TimeDelta::minutes(10);

/// How far ahead of ours the clock of whoever received a heartbeat may be before the heartbeat
/// counts as silent. The same bound as for GitHub's clock.
const RECEIVER_SKEW: TimeDelta = crate::fleet::MAX_GITHUB_SKEW;

/// How many leases one runner's picture holds. A runner has one job at a time, and two overlap
/// only while the first is being cancelled.
const LEASES: usize = 8;

/// No text of a host's is shown beyond so many characters.
const LONGEST_SHOWN: usize = 256;

/// A job as the runner's host names it: a GUID in its log, or `request N` where a legacy runner's
/// log could not be joined. Not the job's number in GitHub's REST API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostJob(Arc<str>);

impl HostJob {
    /// The name, as the host writes it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for HostJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Plain(&self.0))
    }
}

/// A text that a host wrote, as it may be shown: of bounded length, in one line, and nothing that a terminal obeys. A job
/// can write it.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.chars().take(LONGEST_SHOWN);
        shown
            .map(|c| {
                if c.is_control() {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            })
            .try_for_each(|c| f.write_char(c))
    }
}

/// One thing a beacon reports. Stamps (`at`) are on the clock of the runner's host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// Alive, and nothing new.
    Alive,
    /// A job was received, started, or sent to its worker: that counts as a renewal, and opens a
    /// job anew that was finished before.
    Started {
        /// The job.
        job: HostJob,
        /// When.
        at: Instant,
    },
    /// A job's lease was renewed.
    Renewed {
        /// The job.
        job: HostJob,
        /// When.
        at: Instant,
        /// How long the runner's log says the lease is valid, where it says so. It may lengthen
        /// the lease, never shorten it.
        valid_for: Option<TimeDelta>,
    },
    /// The dispatcher finished a job.
    Finished {
        /// The job.
        job: HostJob,
        /// When.
        at: Instant,
    },
    /// No job and no worker process: the beacon looked.
    Listening,
    /// A worker process is there.
    Worker,
    /// The runner's log says that its listener began to listen: it was started anew. Nothing
    /// renews an older lease now, but its worker may run on until that lease runs out.
    Restarted,
    /// A self-update began.
    UpdateBegun,
    /// A self-update ended, or there was none to make.
    UpdateEnded,
    /// The beacon's last word: it is going. That is not *vacant*.
    Going,
    /// The beacon cannot see what goes on, and says why: its log is gone, or of no known format. That takes
    /// back *no job*, and while it lasts nothing says it anew.
    Blind(Arc<str>),
    /// The beacon sees again.
    Sees,
}

/// The lease of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLease {
    /// The job.
    pub job: HostJob,
    /// The latest renewal, on the host's clock, no further ahead of its receipt than
    /// [`Policy::max_clock_skew`].
    pub renewed_at: Instant,
    /// Until when it says *occupied*: while open, when it runs out; once finished, when we
    /// received that.
    pub until: Instant,
    /// How far it has come.
    pub state: LeaseState,
}

impl JobLease {
    /// Moves it to a clock that shows so much more.
    pub(crate) fn moved(&mut self, by: TimeDelta) {
        self.renewed_at = after(self.renewed_at, by);
        self.until = after(self.until, by);
        if let LeaseState::Finished(end) = &mut self.state {
            *end = after(*end, by);
        }
    }
}

/// How far a lease has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Its job was not reported finished.
    Open,
    /// Its runner was started anew: it runs out and is then over.
    Orphaned,
    /// The dispatcher finished its job, at this instant of the host's clock.
    Finished(Instant),
}

/// Everything a beacon has told about its runner, as it was received. Instants are those of the
/// receipt, on our clock, unless they say otherwise.
///
/// ```
/// use chrono::{DateTime, TimeDelta, Utc};
/// use scale_in_guard::{Policy, lease::{Heartbeat, HostJob, Report}};
///
/// let policy = Policy::default();
/// let start: DateTime<Utc> = "2026-05-14T02:00:00Z".parse()?;
/// let mut heartbeat = Heartbeat::new(start);
/// let job = HostJob::new("8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21");
/// heartbeat.hear(Report::Renewed { job, at: start, valid_for: None }, start, &policy);
///
/// assert!(heartbeat.live_lease(start + TimeDelta::seconds(599)).is_some());
/// assert!(heartbeat.live_lease(start + TimeDelta::seconds(600)).is_none());
/// # Ok::<(), chrono::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The latest report.
    pub heard_at: Instant,
    /// The leases reported since the last look that found no job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<JobLease>,
    /// Since when it has been heard without a break.
    pub watched_since: Instant,
    /// Since when a worker process has been there: since the first report of one after the last
    /// report of listening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_since: Option<Instant>,
    /// The latest report of a job, of its end, or of a worker process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_job_at: Option<Instant>,
    /// Since when it has been heard without a break, and said that there is no job. `None` while
    /// it says that there is one, or cannot know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Instant>,
    /// Since when a self-update is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updating_since: Option<Instant>,
    /// What the beacon cannot see. While there is anything, it never says that there is no job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<Arc<str>>,
    /// Whether its last report was that it goes: it is silent from then on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

impl Heartbeat {
    /// A beacon that was heard for the first time, and has said nothing yet.
    #[must_use]
    pub fn new(heard_at: Instant) -> Self {
        Self {
            heard_at,
            watched_since: heard_at,
            leases: Vec::new(),
            worker_since: None,
            last_job_at: None,
            idle_since: None,
            updating_since: None,
            blind: None,
            gone: false,
        }
    }

    /// Takes in one report, received at `received_at` on our clock. Reports are taken in the order
    /// in which they were received; a receipt stamped before the last one counts as simultaneous.
    pub fn hear(&mut self, report: Report, received_at: Instant, policy: &Policy) {
        if age(self.heard_at, received_at) > RECEIVER_SKEW {
            self.set_back(received_at, policy);
        }
        let now = received_at.max(self.heard_at);
        if age(now, self.heard_at) >= policy.beacon_ttl {
            // What happened during the silence is not known: only a new word can say.
            self.idle_since = None;
            self.watched_since = now;
        }
        self.heard_at = now;
        self.gone = report == Report::Going;
        match report {
            Report::Alive => {}
            Report::Started { job, at } => {
                self.leases
                    .retain(|lease| lease.job != job || lease.state == LeaseState::Open);
                self.renew(job, at, None, policy);
            }
            Report::Renewed { job, at, valid_for } => self.renew(job, at, valid_for, policy),
            Report::Finished { job, at } => self.finish(job, at, policy),
            Report::Listening => {
                let ends_one =
                    |lease: &JobLease| lease.state == LeaseState::Open || now < lease.until;
                if self.worker_since.is_some() || self.leases.iter().any(ends_one) {
                    self.last_job_at = Some(now);
                }
                self.leases.clear();
                self.worker_since = None;
                self.idle();
            }
            Report::Worker => {
                self.worker_since.get_or_insert(now);
                self.occupied();
            }
            Report::Restarted => {
                self.updating_since = None;
                for lease in &mut self.leases {
                    if lease.state == LeaseState::Open {
                        lease.state = LeaseState::Orphaned;
                    }
                }
                self.idle();
            }
            Report::UpdateBegun => {
                self.updating_since = self.self_update(now).or(Some(now));
            }
            Report::UpdateEnded => self.updating_since = None,
            Report::Going => self.idle_since = None,
            Report::Blind(what) => {
                self.blind = Some(what);
                self.idle_since = None;
            }
            Report::Sees => self.blind = None,
        }
    }

    /// The clock of whoever receives was set back, or had been ahead: nothing was heard later than
    /// now, and how long anything has been as it is, is not known.
    fn set_back(&mut self, now: Instant, policy: &Policy) {
        self.heard_at = now;
        self.watched_since = now;
        self.idle_since = None;
        self.worker_since = self.worker_since.map(|at| at.min(now));
        self.last_job_at = self.last_job_at.map(|at| at.min(now));
        self.updating_since = self.updating_since.map(|at| at.min(now));
        for lease in &mut self.leases {
            lease.until = lease.until.min(after(now, policy.lease_ttl));
        }
    }

    fn renew(&mut self, job: HostJob, at: Instant, valid_for: Option<TimeDelta>, policy: &Policy) {
        let now = self.heard_at;
        let renewed_at = at.min(after(now, policy.max_clock_skew));
        let ttl = valid_for.map_or(policy.lease_ttl, |valid| valid.max(policy.lease_ttl));
        let until = after(renewed_at.max(now), ttl);
        match self.leases.iter_mut().find(|lease| lease.job == job) {
            Some(lease) => match lease.state {
                // The same renewal told again is no renewal. A start and a renewal may bear one stamp, of which
                // the latter says how long the lease is valid.
                _ if lease.renewed_at == renewed_at => {
                    if lease.state == LeaseState::Open {
                        lease.until = lease.until.max(after(renewed_at, ttl));
                    }
                    return;
                }
                // Completing a job can take minutes, and its lease is renewed meanwhile. That does
                // not open the job again, but a live lease holds.
                LeaseState::Finished(end) if renewed_at > end => {
                    lease.renewed_at = renewed_at;
                    lease.until = lease.until.max(until);
                    return;
                }
                LeaseState::Finished(_) => return,
                LeaseState::Open | LeaseState::Orphaned => {
                    lease.renewed_at = renewed_at;
                    lease.until = lease.until.max(until);
                    lease.state = LeaseState::Open;
                }
            },
            None => self.insert(JobLease {
                job,
                renewed_at,
                until,
                state: LeaseState::Open,
            }),
        }
        self.occupied();
    }

    fn finish(&mut self, job: HostJob, at: Instant, policy: &Policy) {
        let now = self.heard_at;
        let end = at.min(after(now, policy.max_clock_skew));
        match self.leases.iter_mut().find(|lease| lease.job == job) {
            // The dispatcher says it twice, "worker finished" and "finish job request", and may have
            // renewed in between.
            Some(JobLease {
                state: LeaseState::Finished(known),
                until,
                ..
            }) => {
                *known = end.max(*known);
                *until = now.min(*until);
            }
            Some(lease) => {
                lease.state = LeaseState::Finished(end);
                lease.until = now;
                self.last_job_at = Some(now);
            }
            None => {
                self.insert(JobLease {
                    job,
                    renewed_at: end,
                    until: now,
                    state: LeaseState::Finished(end),
                });
                self.last_job_at = Some(now);
            }
        }
        self.idle();
    }

    /// Keeps the picture small: what is over goes first, then what runs out first.
    fn insert(&mut self, lease: JobLease) {
        if self.leases.len() >= LEASES {
            let least = self.leases.iter().enumerate().min_by_key(|(_, lease)| {
                (!matches!(lease.state, LeaseState::Finished(_)), lease.until)
            });
            if let Some((index, _)) = least {
                self.leases.swap_remove(index);
            }
        }
        self.leases.push(lease);
    }

    fn occupied(&mut self) {
        self.last_job_at = Some(self.heard_at);
        self.idle_since = None;
    }

    fn idle(&mut self) {
        let no_job = self.worker_since.is_none() && self.open_leases().next().is_none();
        if no_job && self.blind.is_none() {
            self.idle_since.get_or_insert(self.heard_at);
        }
    }

    fn open_leases(&self) -> impl Iterator<Item = &JobLease> {
        self.leases
            .iter()
            .filter(|lease| lease.state == LeaseState::Open)
    }

    /// A lease that is live at `now`: the one that lasts longest.
    #[must_use]
    pub fn live_lease(&self, now: Instant) -> Option<&JobLease> {
        let live = self.leases.iter().filter(|lease| now < lease.until);
        live.max_by_key(|lease| lease.until)
    }

    /// A job that was reported and not reported finished, live or not.
    #[must_use]
    pub fn unfinished(&self) -> Option<&JobLease> {
        self.open_leases().next()
    }

    /// Whether its last word leaves a job that was not reported over, or a worker process.
    pub(crate) fn leaves_job(&self) -> bool {
        self.unfinished().is_some() || self.worker_since.is_some()
    }

    /// Whether the beacon has been heard within [`Policy::beacon_ttl`], and did not say that it goes.
    #[must_use]
    pub fn is_alive(&self, now: Instant, policy: &Policy) -> bool {
        let from = after(now, -policy.beacon_ttl);
        !self.gone && from < self.heard_at && self.heard_at <= after(now, RECEIVER_SKEW)
    }

    /// Since when its last word has been *no job*; `None` when its last word was another, or a
    /// lease is live. Whether that word still counts depends on whether it is alive.
    #[must_use]
    pub fn vacant_since(&self, now: Instant) -> Option<Instant> {
        let idle_since = self.idle_since?;
        if self.live_lease(now).is_some() {
            return None;
        }
        Some(
            self.leases
                .iter()
                .fold(idle_since, |since, lease| since.max(lease.until)),
        )
    }

    /// The latest instant at which it says *occupied*, not later than `now`: of a lease its end or
    /// its running out, of a worker process the last report.
    #[must_use]
    pub fn last_occupied(&self, now: Instant) -> Option<Instant> {
        let leases = self.leases.iter().map(|lease| lease.until).max();
        let worker = self.worker_since.map(|_| self.heard_at);
        latest(latest(leases, self.last_job_at), worker).map(|at| at.min(now))
    }

    /// Since when a self-update is under way at `now`, if it is.
    #[must_use]
    pub fn self_update(&self, now: Instant) -> Option<Instant> {
        self.updating_since
            .filter(|&since| now < after(since, SELF_UPDATE_HOLDS))
    }

    /// Since when a worker process has outlived every job that was reported: the job's end is
    /// logged, or its lease ran out [`Policy::lease_overrun`] ago. `None` when there is no worker,
    /// no job that it could be, or a job that may still be running at `now`.
    #[must_use]
    pub fn outlived_since(&self, now: Instant, policy: &Policy) -> Option<Instant> {
        let worker_since = self.worker_since?;
        let ends = self.leases.iter().map(|lease| match lease.state {
            LeaseState::Finished(_) => lease.until,
            LeaseState::Open | LeaseState::Orphaned => after(lease.until, policy.lease_overrun),
        });
        let ended_at = ends.max()?;
        if age(worker_since, ended_at) > policy.beacon_ttl {
            return None; // it came after that job: it may have one of its own
        }
        let over_since = ended_at.max(worker_since).max(self.watched_since);
        (over_since <= now).then_some(over_since)
    }
}
