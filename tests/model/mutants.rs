//! Planted mutants: each is the real code but for one thing that it leaves out.

use crate::code::Code;
use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Policy,
    beat::Beat,
    fence::{Drain, Fence, FenceRefused, Mark, State},
};

/// A drain seems to have settled as soon as it is written.
pub(crate) struct SettleSkipped;

impl Code for SettleSkipped {
    fn age(&self, fence: &Fence, age: TimeDelta, policy: &Policy) -> TimeDelta {
        match fence.state() {
            State::Draining(_) => age + policy.settle,
            _ => age,
        }
    }
}

/// A step of one drain is made on whatever drain stands.
pub(crate) struct NonceNotCompared;

impl Code for NonceNotCompared {
    fn mark(&self, fence: &Fence, mark: Mark) -> Mark {
        match fence.state() {
            State::Draining(drain) | State::Terminating { drain, .. } => Mark {
                nonce: drain.nonce.clone(),
                ..mark
            },
            _ => mark,
        }
    }
}

/// What was read of the fence before the evidence was asked for does not matter.
pub(crate) struct EpochNotCompared;

impl Code for EpochNotCompared {
    fn drain(
        &self,
        fence: &Fence,
        _: u64,
        drain: Drain,
        age: TimeDelta,
    ) -> Result<Fence, FenceRefused> {
        fence.drain(fence.epoch(), drain, age)
    }

    fn terminate_at_once(
        &self,
        fence: &Fence,
        _: u64,
        drain: Drain,
        age: TimeDelta,
        policy: &Policy,
    ) -> Result<Fence, FenceRefused> {
        fence.terminate_at_once(fence.epoch(), drain, age, policy)
    }
}

/// Whoever wrote that it terminates is waited for without an end.
pub(crate) struct TerminatingNeverLapses;

impl Code for TerminatingNeverLapses {
    fn age(&self, fence: &Fence, age: TimeDelta, _: &Policy) -> TimeDelta {
        match fence.state() {
            State::Terminating { .. } => TimeDelta::zero(),
            _ => age,
        }
    }
}

/// A beacon whose last word was *no job* counts as alive for ever.
pub(crate) struct SilenceIsVacancy;

impl Code for SilenceIsVacancy {
    fn heard_at(
        &self,
        beat: &Beat,
        written_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> DateTime<Utc> {
        match beat.heartbeat.idle_since {
            Some(_) => now,
            None => written_at,
        }
    }
}

/// A starting job does not take the fence back from a drain.
pub(crate) struct TakeLoses;

impl Code for TakeLoses {
    fn take(&self, fence: &Fence, sequence: u64) -> Fence {
        match fence.state() {
            State::Draining(_) => fence.clone(),
            _ => fence.take(sequence),
        }
    }
}

/// The second look may be begun before the drain has settled, and its evidence is stamped when it is used.
pub(crate) struct OldEvidence;

impl Code for OldEvidence {
    fn looks_early(&self) -> bool {
        true
    }

    fn asked_at(&self, _: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        now
    }
}

/// A guard that thaws with a go in its hands uses it.
pub(crate) struct ExpiredGo;

impl Code for ExpiredGo {
    fn checks_the_go(&self) -> bool {
        false
    }
}

/// A guard that thaws, or goes on with what another one announced, calls DELETE without looking how old that is.
pub(crate) struct ExpiredDelete;

impl Code for ExpiredDelete {
    fn checks_before_delete(&self) -> bool {
        false
    }
}
