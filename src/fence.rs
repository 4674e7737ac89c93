//! The fence of one runner: the record by which a guard announces that the runner is to go, and which a
//! starting job takes back. Pure: every store drives it with the same code.
//!
//! A record holds no instant. How long ago it was written is told by the store, by one clock for all who
//! write and read ([`Record::age`](crate::store::Record::age)).

use crate::{
    decision::Basis,
    policy::Policy,
    runner::{Runner, RunnerId},
    time::{Instant, Span, after, age},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use thiserror::Error;

/// How long a drain stands in which nothing happens.
pub const DRAIN_LAPSES: TimeDelta = TimeDelta::minutes(10);

/// How long after a go could last a termination of which nothing was heard stands.
pub const TERMINATING_LAPSES: TimeDelta = TimeDelta::seconds(60);

/// The name of one drain: no other has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(Arc<str>);

impl Nonce {
    /// A nonce of this text, which must never have been one.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
}

/// Which runner of a name it is about. Another number, or another launch, is another runner: no drain of the
/// earlier one is about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Incarnation {
    /// Its registration's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<RunnerId>,
    /// When its instance was launched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launched_at: Option<Instant>,
}

impl Incarnation {
    /// What is known of a runner; `seen` is the number that its registration showed.
    #[must_use]
    pub fn of(runner: &Runner, seen: Option<RunnerId>) -> Self {
        Self {
            id: seen.or(runner.id),
            launched_at: runner.launched_at,
        }
    }

    /// Whether these are two runners: another number, or another launch. The one comparison of all who remember.
    pub(crate) fn differs(self, other: Self) -> bool {
        let ids = self.id.zip(other.id);
        let launches = self.launched_at.zip(other.launched_at);
        ids.is_some_and(|(a, b)| a != b)
            || launches.is_some_and(|(a, b)| age(a, b).abs() > crate::memory::SAME_LAUNCH)
    }
}

/// How far deregistering has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deregistration {
    /// The guard does not deregister.
    NotWanted,
    /// To be asked for. It may have been, and the answer was lost: asking again does no harm.
    Due,
    /// GitHub removed it, or knew it no more: no new job can come.
    Done,
    /// GitHub says that it has a job, which is what the basis of this drain refutes.
    Refuted,
    /// There was nothing to deregister, and a look at everybody who is registered, after the drain had settled, found
    /// that there still is not: no later look has to list them all again.
    Absent,
}

/// A runner that is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Its name.
    pub nonce: Nonce,
    /// On what grounds the first look let it go.
    pub basis: Basis,
    /// Which runner.
    #[serde(default)]
    pub of: Incarnation,
    /// How far deregistering has come.
    pub deregistration: Deregistration,
}

/// Where a fence stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
pub enum State {
    /// Nobody does anything.
    #[default]
    Free,
    /// A starting job took it.
    Taken {
        /// The number of the beacon's report at that moment. A later report knows of the job.
        sequence: u64,
        /// Whether the runner had been deregistered when the job took it, and nobody has reported that yet.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        deregistered: bool,
    },
    /// The runner is to go, and whoever starts a job may take it back.
    Draining(Drain),
    /// Somebody has the right to call terminate.
    Terminating {
        /// The drain that led here.
        drain: Drain,
        /// How long the go could last from the writing of this, in seconds.
        go_seconds: i64,
    },
}

/// Why a step of a fence was refused. Nothing was written; ask again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FenceRefused {
    /// A starting job took the fence.
    #[error("a job that started took the fence; ask again when it is over")]
    Taken,
    /// Another drain or termination of this runner is under way.
    #[error("somebody is letting this runner go already, it may be an earlier call of your own; ask again in {}", Span(*.lapses_in))]
    Outstanding {
        /// When that lapses, if nothing more is heard of it.
        lapses_in: TimeDelta,
    },
    /// The drain was given up, or lapsed, or another one took its place.
    #[error("this drain is over: it lapsed, or was given up; begin anew")]
    NotMine,
    /// The runner has not been drained for long enough.
    #[error("drained, and to be looked at again in {}", Span(*.settled_in))]
    NotSettled {
        /// When it will have been.
        settled_in: TimeDelta,
    },
    /// The runner is to be deregistered first.
    #[error("it is not deregistered yet")]
    Registered,
}

/// What a fence means to one who meets it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase<'f> {
    /// Nobody is letting this runner go.
    Open,
    /// Somebody was, and nothing more was heard: this is over, and vacancy counts anew.
    Lapsed(&'f Nonce),
    /// Somebody drains it.
    Draining {
        /// The drain.
        drain: &'f Drain,
        /// When it lapses.
        lapses_in: TimeDelta,
    },
    /// Somebody may be calling terminate.
    Terminating {
        /// When that lapses.
        lapses_in: TimeDelta,
    },
}

/// What a retirement does next, by where its fence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'f> {
    /// The first look; if the runner may go, [`Fence::drain`].
    Look,
    /// Deregister the runner, then [`Fence::deregistered`].
    Deregister(&'f Drain),
    /// Wait: it has not settled.
    Settle {
        /// The drain.
        drain: &'f Drain,
        /// When it will have settled.
        settled_in: TimeDelta,
    },
    /// The second look; if the runner may go, [`Fence::terminate`].
    LookAgain(&'f Drain),
    /// Wait: somebody may be calling terminate.
    Wait {
        /// When that lapses.
        lapses_in: TimeDelta,
    },
}

/// The fence of one runner. `Fence::default()` is that of one that nobody ever drained.
///
/// ```
/// use chrono::TimeDelta;
/// use scale_in_guard::{Basis, Policy, fence::{Deregistration, Drain, Fence, FenceRefused, Incarnation, Nonce}};
///
/// let (policy, just_now) = (Policy::default(), TimeDelta::zero());
/// let drain = Drain {
///     nonce: Nonce::new("one"),
///     basis: Basis::Vacant,
///     of: Incarnation::default(),
///     deregistration: Deregistration::NotWanted,
/// };
/// let mark = drain.mark(0);
/// let draining = Fence::default().drain(0, drain, just_now)?;
/// // A job starts: the beacon takes the fence, and nobody terminates.
/// let taken = draining.take(7);
/// assert_eq!(taken.terminate(&mark, policy.settle, &policy), Err(FenceRefused::Taken));
/// # Ok::<(), FenceRefused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fence {
    /// How often a starting job, or an operator, took it.
    epoch: u64,
    #[serde(flatten)]
    state: State,
    /// What became of the last drain, for the reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Ended>,
    /// Which runner a guard deregistered, or tried to.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Incarnation>,
}

/// What became of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ended {
    /// Terminate was called, and did not fail.
    Terminated,
    /// Terminate was called, and failed.
    Failed,
    /// The runner must stay after all.
    GivenUp,
    /// An operator ended it.
    Released,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminated => "terminated",
            Self::Failed => "terminate failed",
            Self::GivenUp => "given up",
            Self::Released => "released by an operator",
        })
    }
}

/// What a step of a drain must find: its epoch and its nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The fence's epoch when the drain began.
    pub epoch: u64,
    /// The drain's name.
    pub nonce: Nonce,
}

impl Drain {
    /// Whether it is known why the runner is absent, if it is.
    #[must_use]
    pub fn knows_absence(&self) -> bool {
        matches!(
            self.deregistration,
            Deregistration::Done | Deregistration::Absent
        )
    }

    /// The mark of this drain, in a fence of this epoch.
    #[must_use]
    pub fn mark(&self, epoch: u64) -> Mark {
        Mark {
            epoch,
            nonce: self.nonce.clone(),
        }
    }
}

impl Fence {
    /// How often a starting job, or an operator, took it.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a guard ever deregistered this runner, or tried to.
    #[must_use]
    pub fn removed(&self, whom: Incarnation) -> bool {
        self.removed.is_some_and(|of| !of.differs(whom))
    }

    /// What became of the last drain that ended.
    #[must_use]
    pub fn last(&self) -> Option<Ended> {
        self.last
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What it means to one who wants to know about `whom`, so long after it was written.
    #[must_use]
    pub fn phase(&self, whom: Incarnation, age: TimeDelta) -> Phase<'_> {
        let (drain, lapses_in) = match &self.state {
            State::Free | State::Taken { .. } => return Phase::Open,
            State::Draining(drain) => (drain, DRAIN_LAPSES - age),
            State::Terminating { drain, go_seconds } => {
                let go = TimeDelta::try_seconds(*go_seconds).unwrap_or(DRAIN_LAPSES);
                (drain, go.min(DRAIN_LAPSES) + TERMINATING_LAPSES - age)
            }
        };
        match &self.state {
            _ if drain.of.differs(whom) => Phase::Open,
            _ if lapses_in <= TimeDelta::zero() => Phase::Lapsed(&drain.nonce),
            State::Terminating { .. } => Phase::Terminating { lapses_in },
            _ => Phase::Draining { drain, lapses_in },
        }
    }

    /// What a retirement of `whom` does next, so long after this was written.
    #[must_use]
    pub fn next(&self, whom: Incarnation, age: TimeDelta, policy: &Policy) -> Next<'_> {
        match self.phase(whom, age) {
            Phase::Open | Phase::Lapsed(_) => Next::Look,
            Phase::Terminating { lapses_in } => Next::Wait { lapses_in },
            Phase::Draining { drain, .. } if drain.deregistration == Deregistration::Due => {
                Next::Deregister(drain)
            }
            Phase::Draining { drain, .. } if age < policy.settle => Next::Settle {
                drain,
                settled_in: policy.settle - age,
            },
            Phase::Draining { drain, .. } => Next::LookAgain(drain),
        }
    }

    /// A starting job takes it, from every state. `sequence` is that of the beacon's last report.
    #[must_use]
    pub fn take(&self, sequence: u64) -> Self {
        Self {
            epoch: self.epoch.saturating_add(1),
            ..self.to(State::Taken {
                sequence,
                deregistered: self.has_deregistered(),
            })
        }
    }

    /// Whether the drain that stands, or that a job took over from, deregistered the runner.
    fn has_deregistered(&self) -> bool {
        match &self.state {
            State::Free => false,
            State::Taken { deregistered, .. } => *deregistered,
            // It is gone: a job that starts under its name is another instance's.
            State::Terminating { .. } if self.last == Some(Ended::Terminated) => false,
            State::Draining(drain) | State::Terminating { drain, .. } => {
                drain.deregistration == Deregistration::Done
            }
        }
    }

    /// The job that took it from a deregistered runner has been reported.
    #[must_use]
    pub fn reported(&self) -> Self {
        match self.state {
            State::Taken { sequence, .. } => self.to(State::Taken {
                sequence,
                deregistered: false,
            }),
            _ => self.clone(),
        }
    }

    /// Begins a drain. `epoch` is what was read *before* the evidence of the permit was asked for: a job that
    /// took the fence since then is not known to that permit.
    ///
    /// # Errors
    /// [`FenceRefused`] when a job took it since, or somebody else is letting the runner go.
    pub fn drain(&self, epoch: u64, drain: Drain, age: TimeDelta) -> Result<Self, FenceRefused> {
        self.is_open(epoch, drain.of, age)?;
        let removes = drain.deregistration == Deregistration::Due;
        Ok(Self {
            removed: removes.then_some(drain.of).or(self.removed),
            ..self.to(State::Draining(drain))
        })
    }

    /// Goes from nothing to terminating at once: without a drain, a job that starts meanwhile can take the
    /// fence until here and no longer.
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    pub fn terminate_at_once(
        &self,
        epoch: u64,
        drain: Drain,
        age: TimeDelta,
        policy: &Policy,
    ) -> Result<Self, FenceRefused> {
        self.is_open(epoch, drain.of, age)?;
        Ok(self.terminating(drain, policy))
    }

    /// Writes down how deregistering ended. The runner settles from here on.
    ///
    /// # Errors
    /// [`FenceRefused`] when this drain is over.
    pub fn deregistered(
        &self,
        mark: &Mark,
        how: Deregistration,
        age: TimeDelta,
    ) -> Result<Self, FenceRefused> {
        let mut drain = self.mine(mark, age)?.clone();
        drain.deregistration = how;
        Ok(self.to(State::Draining(drain)))
    }

    /// Goes on with a drain under another name, from the beginning: it settles again, and lapses later.
    ///
    /// # Errors
    /// [`FenceRefused`] when this drain is over.
    pub fn renew(&self, mark: &Mark, drain: Drain, age: TimeDelta) -> Result<Self, FenceRefused> {
        self.mine(mark, age)?;
        Ok(self.to(State::Draining(drain)))
    }

    /// Goes from draining to terminating: this is what a job that started in between makes fail.
    ///
    /// # Errors
    /// [`FenceRefused`] when a job took the fence, when this drain is over, or has not settled, or when the
    /// runner is to be deregistered first.
    pub fn terminate(
        &self,
        mark: &Mark,
        age: TimeDelta,
        policy: &Policy,
    ) -> Result<Self, FenceRefused> {
        let drain = self.mine(mark, age)?;
        if age < policy.settle {
            return Err(FenceRefused::NotSettled {
                settled_in: policy.settle - age,
            });
        }
        if drain.deregistration == Deregistration::Due {
            return Err(FenceRefused::Registered);
        }
        Ok(self.terminating(drain.clone(), policy))
    }

    /// Gives this drain up: the runner must stay. A termination that somebody began of it goes on.
    #[must_use]
    pub fn give_up(&self, mark: &Mark) -> Self {
        match &self.state {
            State::Terminating { .. } => self.clone(),
            _ => self.end(mark, Ended::GivenUp),
        }
    }

    /// Ends this drain or termination, whatever became of it. Where it is over already, nothing changes. One that
    /// succeeded stands until it lapses: whoever asks meanwhile about a runner that is gone, because the list that it
    /// goes by is a moment old, must not get a second go.
    #[must_use]
    pub fn end(&self, mark: &Mark, how: Ended) -> Self {
        match &self.state {
            State::Draining(drain) | State::Terminating { drain, .. }
                if drain.mark(self.epoch) == *mark =>
            {
                let stands = how == Ended::Terminated;
                Self {
                    last: Some(how),
                    ..if stands {
                        self.clone()
                    } else {
                        self.to(State::Free)
                    }
                }
            }
            _ => self.clone(),
        }
    }

    /// An operator ends whatever goes on: every permit that is out is worth nothing any more.
    #[must_use]
    pub fn release(&self) -> Self {
        Self {
            epoch: self.epoch.saturating_add(1),
            state: State::Free,
            last: Some(Ended::Released),
            removed: self.removed,
        }
    }

    fn to(&self, state: State) -> Self {
        Self {
            state,
            ..self.clone()
        }
    }

    fn terminating(&self, drain: Drain, policy: &Policy) -> Self {
        Self {
            // What became of an earlier drain says nothing about this one.
            last: None,
            ..self.to(State::Terminating {
                drain,
                go_seconds: policy.permit_ttl.num_seconds().saturating_add(1),
            })
        }
    }

    /// Whether something new may begin; `epoch` as for [`drain`](Self::drain).
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    pub fn is_open(
        &self,
        epoch: u64,
        whom: Incarnation,
        age: TimeDelta,
    ) -> Result<(), FenceRefused> {
        if self.epoch != epoch {
            return Err(FenceRefused::Taken);
        }
        match self.phase(whom, age) {
            Phase::Open | Phase::Lapsed(_) => Ok(()),
            Phase::Draining { lapses_in, .. } | Phase::Terminating { lapses_in } => {
                Err(FenceRefused::Outstanding { lapses_in })
            }
        }
    }

    /// The drain of this mark, if it still stands.
    fn mine(&self, mark: &Mark, age: TimeDelta) -> Result<&Drain, FenceRefused> {
        match &self.state {
            State::Taken { .. } => Err(FenceRefused::Taken),
            State::Draining(drain) if self.epoch == mark.epoch && drain.nonce == mark.nonce => {
                match age < DRAIN_LAPSES {
                    true => Ok(drain),
                    false => Err(FenceRefused::NotMine),
                }
            }
            _ => Err(FenceRefused::NotMine),
        }
    }
}

/// What was read of a fence at one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceSeen {
    /// The fence.
    pub fence: Fence,
    /// When it was written, on our clock.
    pub written_at: Instant,
    /// The drain that this look is to end: the second look of that drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_look_of: Option<Nonce>,
}

impl FenceSeen {
    /// What it means at `now` to one who wants to know about `whom`.
    #[must_use]
    pub fn phase(&self, whom: Incarnation, now: Instant) -> Phase<'_> {
        self.fence.phase(whom, age(now, self.written_at))
    }

    /// The drain that this look is the second one of, once it has settled.
    pub(crate) fn second_look(
        &self,
        whom: Incarnation,
        now: Instant,
        policy: &Policy,
    ) -> Option<&Drain> {
        let settled = after(self.written_at, policy.settle) <= now;
        match self.phase(whom, now) {
            Phase::Draining { drain, .. } if settled => {
                (self.second_look_of.as_ref() == Some(&drain.nonce)).then_some(drain)
            }
            _ => None,
        }
    }
}

impl fmt::Display for FenceSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fence.state() {
            State::Free => match self.fence.last() {
                Some(ended) => write!(f, "free; the last drain: {ended}"),
                None => f.write_str("free"),
            },
            State::Taken { .. } => f.write_str("taken by a job that started"),
            State::Draining(drain) => {
                write!(f, "draining ({}), ", drain.basis)?;
                f.write_str(match drain.deregistration {
                    Deregistration::NotWanted => "left registered",
                    Deregistration::Due => "to be deregistered",
                    Deregistration::Done => "deregistered",
                    Deregistration::Refuted => "GitHub keeps it registered",
                    Deregistration::Absent => "absent at a second look",
                })
            }
            State::Terminating { drain, .. } => write!(f, "terminating ({})", drain.basis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: i64) -> TimeDelta {
        TimeDelta::seconds(count)
    }

    fn drain(nonce: &str, deregistration: Deregistration) -> Drain {
        Drain {
            nonce: Nonce::new(nonce),
            basis: Basis::Vacant,
            of: Incarnation::default(),
            deregistration,
        }
    }

    fn draining(nonce: &str, deregistration: Deregistration) -> (Fence, Mark) {
        let drain = drain(nonce, deregistration);
        let mark = drain.mark(0);
        (Fence::default().drain(0, drain, seconds(0)).unwrap(), mark)
    }

    fn policy() -> Policy {
        Policy::default()
    }

    #[test]
    fn a_job_takes_it_from_every_state_and_everything_that_was_out_is_refused() {
        let (draining, mark) = draining("one", Deregistration::Done);
        let terminating = draining.terminate(&mark, seconds(90), &policy()).unwrap();
        for fence in [
            Fence::default(),
            draining,
            terminating,
            Fence::default().take(1),
        ] {
            let taken = fence.take(9);
            assert_eq!(taken.epoch(), fence.epoch() + 1);
            assert!(matches!(taken.state(), State::Taken { sequence: 9, .. }));
            let step = taken.terminate(&mark, seconds(90), &policy());
            assert_eq!(step, Err(FenceRefused::Taken));
            let known = drain("two", Deregistration::NotWanted);
            let step = taken.drain(fence.epoch(), known.clone(), seconds(0));
            assert_eq!(step, Err(FenceRefused::Taken), "decided before the job");
            assert!(
                taken.drain(taken.epoch(), known, seconds(0)).is_ok(),
                "decided after it"
            );
            assert_eq!(taken.end(&mark, Ended::GivenUp), taken);
        }
    }

    #[test]
    fn redeeming_asks_for_epoch_nonce_settling_and_deregistration() {
        let policy = policy();
        let (fence, mark) = draining("one", Deregistration::NotWanted);
        assert!(fence.terminate(&mark, seconds(90), &policy).is_ok());
        assert_eq!(
            fence.terminate(&mark, seconds(89), &policy),
            Err(FenceRefused::NotSettled {
                settled_in: seconds(1)
            })
        );
        for wrong in [
            Mark {
                epoch: 1,
                ..mark.clone()
            },
            Mark {
                nonce: Nonce::new("two"),
                ..mark.clone()
            },
        ] {
            let step = fence.terminate(&wrong, seconds(90), &policy);
            assert_eq!(step, Err(FenceRefused::NotMine));
            assert_eq!(fence.end(&wrong, Ended::GivenUp), fence);
        }
        let lapsed = fence.terminate(&mark, DRAIN_LAPSES, &policy);
        assert_eq!(lapsed, Err(FenceRefused::NotMine));
        let (due, mark) = draining("one", Deregistration::Due);
        let step = due.terminate(&mark, seconds(90), &policy);
        assert_eq!(step, Err(FenceRefused::Registered));
        let done = due
            .deregistered(&mark, Deregistration::Done, seconds(1))
            .unwrap();
        assert!(done.terminate(&mark, seconds(90), &policy).is_ok());
    }

    #[test]
    fn one_at_a_time_until_it_lapses() {
        let policy = policy();
        let (fence, mark) = draining("one", Deregistration::NotWanted);
        let other = || drain("two", Deregistration::NotWanted);
        for (age, left) in [(0, 600), (599, 1)] {
            let outstanding = Err(FenceRefused::Outstanding {
                lapses_in: seconds(left),
            });
            assert_eq!(fence.drain(0, other(), seconds(age)), outstanding);
            let at_once = fence.terminate_at_once(0, other(), seconds(age), &policy);
            assert_eq!(at_once, outstanding);
        }
        assert!(fence.drain(0, other(), DRAIN_LAPSES).is_ok());
        let terminating = fence.terminate(&mark, seconds(90), &policy).unwrap();
        assert!(terminating.drain(0, other(), seconds(70)).is_err());
        assert!(terminating.drain(0, other(), seconds(71)).is_ok());
        assert_eq!(
            terminating.end(&mark, Ended::Failed).last(),
            Some(Ended::Failed)
        );
        let freed = terminating.end(&mark, Ended::Failed);
        assert!(freed.drain(0, other(), seconds(0)).is_ok());
    }

    #[test]
    fn a_retirement_goes_on_by_where_it_stands() {
        let (who, policy) = (Incarnation::default(), policy());
        let next = |fence: &Fence, age| match fence.next(who, seconds(age), &policy) {
            Next::Look => "look",
            Next::Deregister(_) => "deregister",
            Next::Settle { .. } => "settle",
            Next::LookAgain(_) => "look again",
            Next::Wait { .. } => "wait",
        };
        let (due, mark) = draining("one", Deregistration::Due);
        let done = due
            .deregistered(&mark, Deregistration::Done, seconds(0))
            .unwrap();
        let terminating = done.terminate(&mark, seconds(90), &policy).unwrap();
        for (fence, age, expected) in [
            (&Fence::default(), 0, "look"),
            (&due, 0, "deregister"),
            (&due, 599, "deregister"),
            (&due, 600, "look"),
            (&done, 89, "settle"),
            (&done, 90, "look again"),
            (&done, 600, "look"),
            (&terminating, 70, "wait"),
            (&terminating, 71, "look"),
            (&done.take(0), 0, "look"),
            (&done.release(), 0, "look"),
        ] {
            assert_eq!(next(fence, age), expected, "{fence:?} {age}");
        }
    }

    #[test]
    fn a_record_reads_back_as_written() {
        let (due, mark) = draining("one", Deregistration::Due);
        let done = due
            .deregistered(&mark, Deregistration::Done, seconds(0))
            .unwrap();
        let terminating = done.terminate(&mark, seconds(90), &policy()).unwrap();
        let ended = terminating.end(&mark, Ended::Terminated);
        for fence in [
            Fence::default(),
            due,
            done.clone(),
            done.take(3),
            terminating,
            ended,
        ] {
            let json = serde_json::to_string(&fence).unwrap();
            let back: Fence = serde_json::from_str(&json).unwrap();
            assert_eq!(back, fence, "{json}");
        }
        // What it cannot be taken for is no fence.
        for text in ["{}", "{\"epoch\":1}", "{\"epoch\":1,\"state\":\"melting\"}"] {
            assert!(serde_json::from_str::<Fence>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_job_that_takes_a_deregistered_runner_is_known_until_it_was_reported() {
        let (due, mark) = draining("one", Deregistration::Due);
        let told = |fence: &Fence| {
            matches!(
                fence.state(),
                State::Taken {
                    deregistered: true,
                    ..
                }
            )
        };
        assert!(!told(&due.take(1)));
        let done = due
            .deregistered(&mark, Deregistration::Done, seconds(0))
            .unwrap();
        let taken = done.take(1);
        assert!(told(&taken) && told(&taken.take(2)));
        let terminating = done.terminate(&mark, seconds(90), &policy()).unwrap();
        assert!(told(&terminating.take(1)), "it may not be gone yet");
        let gone = terminating.end(&mark, Ended::Terminated);
        assert!(!told(&gone.take(1)), "a new instance of its name");
        // What became of an earlier one does not count.
        let again = drain("two", Deregistration::Due);
        let second = again.mark(0);
        let due = gone.drain(0, again, DRAIN_LAPSES).unwrap();
        let done = due.deregistered(&second, Deregistration::Done, seconds(0));
        let terminating = done.unwrap().terminate(&second, seconds(90), &policy());
        let terminating = terminating.unwrap();
        assert_eq!(terminating.last(), None);
        assert!(told(&terminating.take(1)));
        let reported = taken.reported();
        assert!(!told(&reported));
        assert_eq!(reported.epoch(), taken.epoch());
    }
}
