//! What a beacon writes, and what a guard makes of it.
//!
//! The beacon writes in the time of its own host, and a guard reads in its own. Neither needs to know how far
//! the two are apart: the store tells how old the record is, and everything in it is moved by that.

use crate::{
    fence::{Fence, State},
    lease::{Heartbeat, HostJob, Report},
    policy::Policy,
    runner::RunnerId,
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A beacon's report: what it knows now, in the time of its own host. The beacon alone writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Which run of the beacon wrote it.
    pub boot: Arc<str>,
    /// When that run began, by the clock of its host: of two runs, the one that began later reports.
    pub began_at: Instant,
    /// Which report it is. A later one has a larger number, also across runs.
    pub sequence: u64,
    /// The registration's number, as the runner's own files have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<RunnerId>,
    /// When it was sent, by the clock of the host: what the heartbeat says, it says as of then.
    pub sent_at: Instant,
    /// What the beacon knew at its last look.
    pub heartbeat: Heartbeat,
    /// Whether it is its last word: the beacon was told to end. That is not *vacant*.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub going: bool,
}

impl Beat {
    /// What the beacon told, in the time of whoever received it at `at`.
    #[must_use]
    pub fn received(&self, at: Instant) -> Heartbeat {
        self.heartbeat.moved(age(at, self.sent_at))
    }
}

/// The job that took the fence, as long as the beacon has not reported more of it.
const TAKER: &str = "that took the fence";

/// What is known of a runner's host from its two records: the beacon's report, and the fence that a starting
/// job took. `None`: the beacon was never heard. Each comes with when it was written, on our clock; `known` is
/// the number that the runner is registered under.
///
/// A fence taken after the last report tells of a job that the report does not: the beacon took it, and the
/// report was lost. A report of another number is about another runner of this name: it attests nothing, and
/// what it says of a job holds only while the beacon that says it is alive.
#[must_use]
pub fn heard(
    beat: Option<(&Beat, Instant)>,
    fence: Option<(&Fence, Instant)>,
    known: Option<RunnerId>,
    now: Instant,
    policy: &Policy,
) -> Option<Heartbeat> {
    let heard = beat.and_then(|(beat, written_at)| {
        let mut heartbeat = beat.received(written_at);
        let another = beat.runner.zip(known).is_some_and(|(a, b)| a != b);
        if another && let Some(id) = beat.runner {
            heartbeat.idle_since = None;
            heartbeat.blind = Some(format!("it reports registration {id}, another one").into());
        }
        let speaks = heartbeat.is_alive(now, policy) || heartbeat.live_lease(now).is_some();
        (!another || speaks).then_some(heartbeat)
    });
    let last = beat.map_or(0, |(beat, _)| beat.sequence);
    match fence.map(|(fence, taken_at)| (fence.state(), taken_at)) {
        Some((State::Taken { sequence, .. }, taken_at)) if *sequence >= last => {
            let mut heartbeat = heard.unwrap_or_else(|| Heartbeat::new(taken_at));
            let job = HostJob::new(TAKER);
            let received_at = taken_at.max(heartbeat.heard_at);
            heartbeat.hear(Report::Started { job, at: taken_at }, received_at, policy);
            Some(heartbeat)
        }
        _ => heard,
    }
}

impl Heartbeat {
    /// The same, on a clock that shows so much more.
    fn moved(&self, by: TimeDelta) -> Self {
        let mut moved = self.clone();
        moved.heard_at = after(self.heard_at, by);
        moved.watched_since = after(self.watched_since, by);
        for at in [
            &mut moved.worker_since,
            &mut moved.last_job_at,
            &mut moved.idle_since,
            &mut moved.updating_since,
        ] {
            *at = at.map(|at| after(at, by));
        }
        for lease in &mut moved.leases {
            lease.moved(by);
        }
        moved
    }
}
