//! The ledger of `workflow_job` webhooks: a fold over verified deliveries that gives the same
//! state for every order and repetition of them. It can hold; it never clears, for deliveries are
//! lost.

use crate::{
    lease::Heartbeat,
    policy::Policy,
    runner::{Runner, RunnerId, RunnerRef},
    seen::{Beacons, JobsSeen, Labels, Left},
    time::{Instant, after, age, latest},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// After this a job that a webhook opened is over in any case: no job on a self-hosted runner may
/// last longer (GitHub's documented limit for self-hosted jobs).
pub const LONGEST_JOB: TimeDelta = TimeDelta::days(5);

/// What a `workflow_job` delivery says has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The job waits for a runner.
    Queued,
    /// The job waits for something else.
    Waiting,
    /// A runner has it.
    InProgress,
    /// It is over.
    Completed,
    /// An action that this version does not know.
    #[serde(other)]
    Other,
}

/// One verified delivery, reduced to what is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What happened.
    pub action: Action,
    /// GitHub's number of the job.
    pub job_id: u64,
    /// Which attempt of its run; 1 for the first.
    pub attempt: u32,
    /// The runner it names. On `queued` and `waiting` it means nothing and is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<RunnerRef>,
    /// The labels it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Arc<str>>,
    /// The repository whose job it is, OWNER/NAME, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Arc<str>>,
    /// When we received it, on our clock. GitHub's own stamps attest nothing.
    pub received_at: Instant,
}

/// What webhooks told of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger {
    jobs: Vec<LedgerJob>,
}

/// What webhooks told of one attempt of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerJob {
    /// GitHub's number of the job.
    pub id: u64,
    /// Which attempt.
    pub attempt: u32,
    /// The runners that were said to have it, or to have had it: more than one only where
    /// deliveries contradict each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runners: Vec<RunnerRef>,
    /// The labels it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Arc<str>>,
    /// The repository whose job it is, OWNER/NAME, where it is known: GitHub's job endpoint asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Arc<str>>,
    /// When we first heard that it was queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Instant>,
    /// When we last heard that it was queued, by another delivery than the first. A job that once waited for something
    /// else than a runner, such as an approval, is queued again when that is given: that is its dispatch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_again_at: Option<Instant>,
    /// When we first heard that it waits for something else than a runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_at: Option<Instant>,
    /// When we first heard that a runner had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Instant>,
    /// When we first heard that it was over. A closed job is never opened again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Instant>,
}

/// A job of the ledger, and an instant of it: when it was opened, or when it was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// GitHub's number of the job.
    pub id: u64,
    /// Which attempt.
    pub attempt: u32,
    /// When it was.
    pub at: Instant,
    /// Of a closed one: when we first heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Instant>,
}

impl Noted {
    /// A job that is open since then.
    fn open(id: u64, attempt: u32, at: Instant) -> Self {
        let told_at = None;
        Self {
            id,
            attempt,
            at,
            told_at,
        }
    }
}

/// The earlier of two instants that may be unknown.
fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

impl LedgerJob {
    /// What one delivery tells, by itself. `None` where that is nothing.
    pub(crate) fn told_by(delivery: Delivery) -> Option<Self> {
        let at = |action| (delivery.action == action).then_some(delivery.received_at);
        let mut job = Self {
            id: delivery.job_id,
            attempt: delivery.attempt,
            runners: Vec::new(),
            labels: delivery.labels,
            repository: delivery.repository,
            queued_at: at(Action::Queued),
            queued_again_at: None,
            waited_at: at(Action::Waiting),
            opened_at: at(Action::InProgress),
            closed_at: at(Action::Completed),
        };
        if job.opened_at.or(job.closed_at).is_some() {
            job.runners.extend(delivery.runner);
        }
        let tells = [job.queued_at, job.waited_at, job.opened_at, job.closed_at];
        tells.iter().any(Option::is_some).then_some(job)
    }

    /// Takes in what was told of the same job, in any order and any number of times.
    fn merge(&mut self, told: Self) {
        let queued = [
            self.queued_at,
            self.queued_again_at,
            told.queued_at,
            told.queued_again_at,
        ];
        self.queued_at = queued.into_iter().flatten().min();
        self.queued_again_at = queued
            .into_iter()
            .max()
            .flatten()
            .filter(|&at| Some(at) > self.queued_at);
        self.waited_at = earliest(self.waited_at, told.waited_at);
        self.opened_at = earliest(self.opened_at, told.opened_at);
        self.closed_at = earliest(self.closed_at, told.closed_at);
        self.labels = std::mem::take(&mut self.labels).max(told.labels);
        self.repository = self.repository.take().max(told.repository);
        for runner in told.runners {
            if let Err(place) = self.runners.binary_search(&runner) {
                self.runners.insert(place, runner);
            }
        }
    }

    fn number(&self) -> (u64, u32) {
        (self.id, self.attempt)
    }

    /// Whether it is not over, and no delivery says which runner has it.
    pub(crate) fn has_no_runner(&self) -> bool {
        self.closed_at.is_none() && self.runners.is_empty()
    }

    /// Since when the job waits for a runner, if it still does: it is queued, or it is in progress and no delivery
    /// says where.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        let waits = self.has_no_runner();
        let again = self.queued_again_at.filter(|_| self.waited_at.is_some());
        waits.then(|| latest(latest(self.queued_at, again), self.opened_at))?
    }
}

impl Extend<LedgerJob> for Ledger {
    /// Takes in what was told of these jobs.
    fn extend<I: IntoIterator<Item = LedgerJob>>(&mut self, jobs: I) {
        for told in jobs {
            let place = self
                .jobs
                .binary_search_by_key(&told.number(), LedgerJob::number);
            match place {
                Ok(known) => {
                    if let Some(job) = self.jobs.get_mut(known) {
                        job.merge(told);
                    }
                }
                Err(place) => self.jobs.insert(place, told),
            }
        }
    }
}

impl FromIterator<LedgerJob> for Ledger {
    fn from_iter<I: IntoIterator<Item = LedgerJob>>(jobs: I) -> Self {
        let mut ledger = Self::default();
        ledger.extend(jobs);
        ledger
    }
}

impl IntoIterator for Ledger {
    type Item = LedgerJob;
    type IntoIter = std::vec::IntoIter<LedgerJob>;

    fn into_iter(self) -> Self::IntoIter {
        self.jobs.into_iter()
    }
}

impl Ledger {
    /// Takes in one delivery.
    pub fn receive(&mut self, delivery: Delivery) {
        self.extend(LedgerJob::told_by(delivery));
    }

    /// The jobs, by number and attempt.
    #[must_use]
    pub fn jobs(&self) -> &[LedgerJob] {
        &self.jobs
    }
}

/// What the ledger says of one runner at one look.
#[derive(Debug, Default)]
pub(crate) struct LedgerSeen<'e> {
    /// An open job, and when it was opened: the latest.
    pub(crate) open: Option<Noted>,
    /// A queued job that could be on its way here, and since when.
    pub(crate) pending: Option<(&'e LedgerJob, Instant)>,
    /// The latest instant at which it says *occupied*.
    pub(crate) occupied_at: Option<Instant>,
    /// Jobs that another witness closed at this look.
    pub(crate) newly_closed: Vec<Noted>,
    /// Whether any delivery ever named this runner.
    pub(crate) named: bool,
}

/// Who else is asked whether a job of the ledger is over.
pub(crate) struct Others<'a> {
    pub(crate) runner: &'a Runner,
    pub(crate) labels: Labels<'a>,
    pub(crate) seen_id: Option<RunnerId>,
    pub(crate) jobs: &'a JobsSeen<'a>,
    pub(crate) beacons: Beacons<'a>,
    pub(crate) closed: &'a [Noted],
    /// What stands for those that were too many to be remembered.
    pub(crate) closed_through: Option<Noted>,
    /// When the runner left.
    pub(crate) left: Left,
    /// When it came up, if that was seen.
    pub(crate) came_up: Option<Instant>,
    /// The open job of the last look.
    pub(crate) open: Option<Noted>,
}

impl<'e> LedgerSeen<'e> {
    /// Reads one ledger into what is seen.
    pub(crate) fn read(
        &mut self,
        ledger: &'e Ledger,
        others: &Others<'_>,
        now: Instant,
        policy: &Policy,
    ) {
        for job in &ledger.jobs {
            if let Some(since) = job.waits_since() {
                let dispatched_at = since;
                let since = others.came_up.map_or(since, |came_up| since.max(came_up));
                if age(now, since) < policy.job_pending
                    && !others.left.misses(dispatched_at, policy)
                    && others.labels.fit(&job.labels)
                    && self.pending.is_none_or(|(_, known)| known < since)
                {
                    self.pending = Some((job, since));
                }
                continue;
            }
            let Some(told_at) = job.opened_at.or(job.closed_at) else {
                continue;
            };
            if !others.concerns(job, told_at) {
                continue;
            }
            self.named = true;
            let told = Noted::open(job.id, job.attempt, told_at);
            self.judge(told, job.closed_at, others, now, policy);
        }
    }

    /// A job that was open at the last look, and of which no ledger tells any more, is still open: a
    /// record can be lost.
    pub(crate) fn recall(
        &mut self,
        mut ledgers: impl Iterator<Item = &'e Ledger>,
        others: &Others<'_>,
        now: Instant,
        policy: &Policy,
    ) {
        let Some(open) = others.open else {
            return;
        };
        let tells = |ledger: &Ledger| {
            ledger
                .jobs
                .iter()
                .any(|job| (job.id, job.attempt) == (open.id, open.attempt))
        };
        if !ledgers.any(tells) {
            self.judge(open, None, others, now, policy);
        }
    }

    fn judge(
        &mut self,
        told: Noted,
        completed_at: Option<Instant>,
        others: &Others<'_>,
        now: Instant,
        policy: &Policy,
    ) {
        match completed_at.or_else(|| others.closed_at(told, now, policy)) {
            Some(at) => {
                if completed_at.is_none() && others.remembered(told).is_none() {
                    let told_at = Some(told.at);
                    self.newly_closed.push(Noted {
                        at,
                        told_at,
                        ..told
                    });
                }
                self.occupied_at = latest(self.occupied_at, Some(at.min(now)));
            }
            None => {
                self.occupied_at = Some(now);
                if self.open.is_none_or(|known| known.at < told.at) {
                    self.open = Some(told);
                }
            }
        }
    }
}

impl Others<'_> {
    /// Whether the job names this runner, and not an earlier one of the same name: what was told
    /// before this instance was launched is not about it, unless the registration's number says so.
    fn concerns(&self, job: &LedgerJob, told_at: Instant) -> bool {
        let earlier = self
            .runner
            .launched_at
            .is_some_and(|launch| told_at < launch);
        job.runners.iter().any(|named| {
            let numbered = named.numbers(self.runner, self.seen_id);
            numbered || (!earlier && named.names(self.runner, self.seen_id))
        })
    }

    fn remembered(&self, told: Noted) -> Option<Instant> {
        let same = |closed: &&Noted| closed.id == told.id && closed.attempt == told.attempt;
        self.closed.iter().find(same).map(|closed| closed.at)
    }

    /// When another witness closed a job that no `completed` delivery closed.
    fn closed_at(&self, told: Noted, now: Instant, policy: &Policy) -> Option<Instant> {
        if let Some(at) = self.remembered(told) {
            return Some(at);
        }
        let over = after(told.at, LONGEST_JOB);
        if over <= now {
            return Some(over);
        }
        let gone = self.jobs.says_completed(told.id) || self.outlasted(told.at, now, policy);
        let through = self
            .closed_through
            .filter(|through| through.told_at >= Some(told.at));
        gone.then(|| through.map_or(now, |through| through.at))
    }

    /// Whether a live beacon knew of a job around the delivery and has known of none for so long
    /// since that it cannot be running.
    fn outlasted(&self, opened_at: Instant, now: Instant, policy: &Policy) -> bool {
        let outlasts = |beacon: &Heartbeat| {
            let vacant_since = beacon.vacant_since(now).zip(beacon.last_job_at);
            vacant_since.is_some_and(|(vacant_since, last_job_at)| {
                beacon.is_alive(now, policy)
                    && after(last_job_at, policy.lease_ttl) >= opened_at
                    && age(now, opened_at.max(vacant_since).max(last_job_at))
                        >= policy.silence_limit()
            })
        };
        self.beacons.heard().next().is_some() && self.beacons.heard().all(outlasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Instant {
        Instant::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn delivery(action: Action, second: i64) -> Delivery {
        Delivery {
            action,
            job_id: 7,
            attempt: 1,
            runner: Some(RunnerRef::named("r-1")),
            labels: Vec::new(),
            repository: None,
            received_at: at(second),
        }
    }

    #[test]
    fn every_order_and_repetition_gives_the_same_ledger() {
        let deliveries = [
            delivery(Action::Queued, 0),
            delivery(Action::InProgress, 5),
            delivery(Action::InProgress, 6),
            delivery(Action::Completed, 9),
        ];
        let fold = |order: &[usize]| {
            let mut ledger = Ledger::default();
            for &index in order {
                ledger.receive(deliveries[index].clone());
            }
            ledger
        };
        let expected = fold(&[0, 1, 2, 3]);
        for order in [
            vec![3, 2, 1, 0],
            vec![2, 0, 3, 1, 1, 2, 3, 0],
            vec![1, 3, 0, 2, 0],
        ] {
            assert_eq!(fold(&order), expected, "{order:?}");
        }
        assert_eq!(expected.jobs()[0].opened_at, Some(at(5)));
        assert_eq!(expected.jobs()[0].closed_at, Some(at(9)));
    }

    #[test]
    fn a_job_in_progress_nowhere_still_waits() {
        let mut ledger = Ledger::default();
        ledger.receive(delivery(Action::Queued, 0));
        let nowhere = |action, second| Delivery {
            runner: None,
            ..delivery(action, second)
        };
        ledger.receive(nowhere(Action::InProgress, 5));
        assert_eq!(ledger.jobs()[0].waits_since(), Some(at(5)));
        let mut ended = ledger.clone();
        ended.receive(nowhere(Action::Completed, 6));
        assert_eq!(ended.jobs()[0].waits_since(), None);
        ledger.receive(delivery(Action::InProgress, 7));
        assert_eq!(ledger.jobs()[0].waits_since(), None);
    }

    #[test]
    fn a_record_of_the_time_before_repositories_reads_as_ever() {
        let old = r#"[{"id":7,"attempt":1,"opened_at":"1970-01-01T00:00:05Z"}]"#;
        let ledger: Ledger = serde_json::from_str(old).unwrap();
        assert_eq!(ledger.jobs()[0].repository, None);
        assert_eq!(serde_json::to_string(&ledger).unwrap(), old);
    }

    #[test]
    fn a_queued_delivery_names_no_runner() {
        let mut ledger = Ledger::default();
        ledger.receive(delivery(Action::Queued, 0));
        assert_eq!(ledger.jobs()[0].runners, []);
    }
}
