//! The code under test, where a mutant may take its place. Every default is the real code and nothing else.

use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Policy,
    beat::Beat,
    fence::{Drain, Fence, FenceRefused, Mark},
};

pub(crate) trait Code: Sync {
    /// How old a fence seems.
    fn age(&self, _: &Fence, age: TimeDelta, _: &Policy) -> TimeDelta {
        age
    }

    /// Since when a beacon's last report has been there.
    fn heard_at(&self, _: &Beat, written_at: DateTime<Utc>, _now: DateTime<Utc>) -> DateTime<Utc> {
        written_at
    }

    /// When evidence says that it was asked for.
    fn asked_at(&self, asked_at: DateTime<Utc>, _now: DateTime<Utc>) -> DateTime<Utc> {
        asked_at
    }

    /// Whether a second look may begin before the drain has settled.
    fn looks_early(&self) -> bool {
        false
    }

    fn take(&self, fence: &Fence, sequence: u64) -> Fence {
        fence.take(sequence)
    }

    fn drain(
        &self,
        fence: &Fence,
        epoch: u64,
        drain: Drain,
        age: TimeDelta,
    ) -> Result<Fence, FenceRefused> {
        fence.drain(epoch, drain, age)
    }

    fn terminate_at_once(
        &self,
        fence: &Fence,
        epoch: u64,
        drain: Drain,
        age: TimeDelta,
        policy: &Policy,
    ) -> Result<Fence, FenceRefused> {
        fence.terminate_at_once(epoch, drain, age, policy)
    }

    /// The mark that a step of a drain compares.
    fn mark(&self, _: &Fence, mark: Mark) -> Mark {
        mark
    }

    /// Whether a guard that holds a go looks once more whether it has expired.
    fn checks_the_go(&self) -> bool {
        true
    }

    /// Whether a guard that is about to call DELETE looks once more how old what it rests on is.
    fn checks_before_delete(&self) -> bool {
        true
    }
}

/// The real code.
pub(crate) struct Real;

impl Code for Real {}
