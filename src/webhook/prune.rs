//! What is forgotten of the ledger, and when.

use crate::{
    ledger::{LONGEST_JOB, Ledger, LedgerJob},
    store::Kind,
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use std::cmp::Reverse;

/// How much longer than any job an open one is kept: clocks differ.
const MARGIN: TimeDelta = TimeDelta::hours(1);

/// How long a job that waits is kept. `job_pending` is minutes; what waits for longer is no sign of a job on its way.
const WAITING: TimeDelta = TimeDelta::days(1);

/// How long the end of a wait is kept: a `queued` that comes later than this after its job began would hold as any
/// new one does, for `job_pending`.
const WAIT_OVER: TimeDelta = TimeDelta::hours(1);

/// How many closed jobs are kept whole, so that the record tells what became of them.
const WHOLE: usize = 16;

/// How many closed jobs are kept of a runner, and how many ended waits in a slot. Beyond it the one that ended first
/// is forgotten: if it were delivered again, it would hold until another witness closes it.
const MOST_CLOSED: usize = 1_024;

/// How many waiting jobs are kept in a slot.
const MOST_WAITING: usize = 1_024;

/// Forgets what is of no more use in a record of this kind. It tells how many jobs it forgot that a guard could have
/// missed.
pub(super) fn prune(ledger: &mut Ledger, kind: Kind, now: Instant) -> usize {
    let jobs = std::mem::take(ledger);
    let (closed, open): (Vec<_>, Vec<_>) =
        jobs.into_iter().partition(|job| job.closed_at.is_some());
    let (waiting, open): (Vec<_>, Vec<_>) = open.into_iter().partition(LedgerJob::has_no_runner);
    let closed_for = if kind == Kind::Queue {
        WAIT_OVER
    } else {
        LONGEST_JOB
    };
    let (waiting, missed) = the_last(waiting, WAITING, MOST_WAITING, now);
    let (closed, _) = the_last(closed, closed_for, MOST_CLOSED, now);
    let whole = if kind == Kind::Queue { 0 } else { WHOLE };
    let closed = closed
        .into_iter()
        .enumerate()
        .map(|(place, job)| reduced(job, place < whole));
    // An open job is kept for as long as it can run.
    let longest = after(now, -(LONGEST_JOB + MARGIN));
    let open = open
        .into_iter()
        .filter(|job| job.opened_at.is_none_or(|at| at > longest));
    *ledger = waiting.into_iter().chain(closed).chain(open).collect();
    missed
}

/// The latest of these, no older than that, newest first; and how many were too many.
fn the_last(
    mut jobs: Vec<LedgerJob>,
    oldest: TimeDelta,
    most: usize,
    now: Instant,
) -> (Vec<LedgerJob>, usize) {
    let at = |job: &LedgerJob| job.closed_at.or(job.waits_since()).or(job.waited_at);
    jobs.retain(|job| at(job).is_some_and(|at| age(now, at) <= oldest));
    jobs.sort_by_key(|job| Reverse((at(job), job.id, job.attempt)));
    let too_many = jobs.len().saturating_sub(most);
    jobs.truncate(most);
    (jobs, too_many)
}

/// A closed job, without what nobody asks of it any more.
fn reduced(job: LedgerJob, is_whole: bool) -> LedgerJob {
    let job = LedgerJob {
        labels: Vec::new(),
        queued_at: None,
        queued_again_at: None,
        waited_at: None,
        ..job
    };
    match is_whole {
        true => job,
        false => LedgerJob {
            runners: Vec::new(),
            repository: None,
            opened_at: None,
            ..job
        },
    }
}
