//! The whole way out: look, announce, deregister, settle, look again, terminate. Each call goes on where the
//! record of the runner's fence says that the last one stopped, whoever made it.

use super::{
    Guard, Mode,
    fencing::{NoStep, new_nonce},
    host::Host,
    outcome::Remembered,
};
use crate::{
    clock::Deadline,
    decision::{Basis, Decision, Hold},
    evidence::{Claim, Witness},
    fence::{
        DRAIN_LAPSES, Deregistration, Drain, Ended, Fence, FenceRefused, Incarnation, Mark, Next,
        State,
    },
    fleet::Roster,
    permit::{Go, Permit, Refused},
    policy::Policy,
    registrar::Deregistered,
    runner::Runner,
    source::{Round, SecondLook},
    store::Kind,
    time::{At, Instant, after, age},
};
use chrono::TimeDelta;
use std::{convert::Infallible, fmt, sync::Arc};
use thiserror::Error;
use tracing::Instrument;

/// How far a call of [`Guard::retire`] came.
#[derive(Debug)]
#[must_use = "a retirement goes on only if it is called again"]
pub enum Retirement<E> {
    /// The runner must stay.
    Held(Hold),
    /// The second look could not tell. The drain stands: call again, until it lapses.
    Undecided {
        /// Why.
        hold: Hold,
        /// When the drain lapses.
        lapses_at: Instant,
    },
    /// It is announced that the runner goes, and it is deregistered if the guard deregisters. Call again.
    Draining {
        /// When the second look can be made.
        resume_at: Instant,
        /// How far deregistering has come.
        deregistration: Deregistration,
    },
    /// A step was not made. Call again, at this instant at the earliest where it is known.
    Stopped {
        /// Why.
        why: Setback,
        /// When calling again can help.
        retry_at: Option<Instant>,
    },
    /// The runner has a job, and was deregistered before that showed: GitHub's own flag had let it go. It must
    /// stay until the job is over; whether GitHub lets the job end well is not known. It is told once.
    DeregisteredWhileOccupied {
        /// Who says that there is a job.
        by: String,
    },
    /// Terminate was called, and did not fail.
    Terminated(Basis),
    /// Terminate was called, and failed: it may have been done or not. Another try needs a new decision.
    Failed(E),
}

/// Why a step of a retirement was not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Setback {
    /// The permit was not redeemed, or the fence not written.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is not known whether the runner was deregistered. Calling again asks again.
    #[error("nobody knows whether it was deregistered: {what}; call again")]
    Deregistering {
        /// What went wrong.
        what: Arc<str>,
    },
    /// GitHub would not deregister it: it has a job.
    #[error("GitHub will not deregister it, for it has a job; ask again")]
    Occupied,
    /// No runner was named: nothing says that a machine without one may go.
    #[error("no runner was named; ask about the one that the machine was to become")]
    Nobody,
    /// A job can come to it at any time, and so nobody can be told that it may go later.
    #[error(
        "GitHub still has it registered, and this guard does not deregister; build it with .deregister(…)"
    )]
    StillRegistered,
}

impl From<NoStep> for Setback {
    fn from(no_step: NoStep) -> Self {
        Self::Refused(no_step.into())
    }
}

impl<E> Retirement<E> {
    /// When calling again can help, where a clock can tell. `None` once terminate was called.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        match self {
            Self::Held(hold) => hold.retry_at(),
            Self::Undecided { hold, lapses_at } => {
                Some(hold.retry_at().unwrap_or(*lapses_at).min(*lapses_at))
            }
            Self::Draining { resume_at, .. } => Some(*resume_at),
            Self::Stopped { retry_at, .. } => *retry_at,
            Self::DeregisteredWhileOccupied { .. } | Self::Terminated(_) | Self::Failed(_) => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Retirement<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(hold) => hold.fmt(f),
            Self::Undecided { hold, lapses_at } => {
                write!(f, "drained until {}, and undecided: {hold}", At(*lapses_at))
            }
            Self::Draining {
                resume_at,
                deregistration,
            } => {
                f.write_str(match deregistration {
                    Deregistration::Done => "draining, deregistered",
                    Deregistration::Refuted => "draining; GitHub keeps it registered, as expected",
                    Deregistration::Due | Deregistration::NotWanted | Deregistration::Absent => {
                        "draining"
                    }
                })?;
                write!(f, ": to be looked at again at {}", At(*resume_at))
            }
            Self::Stopped { why, .. } => write!(f, "stopped: {why}"),
            Self::DeregisteredWhileOccupied { by } => {
                write!(
                    f,
                    "it has a job, and was deregistered before that showed: {by}"
                )
            }
            Self::Terminated(basis) => write!(f, "terminated: {basis}"),
            Self::Failed(error) => write!(f, "terminate failed: {error}"),
        }
    }
}

/// A runner that is drained, settled, and clear at its second look.
#[derive(Debug)]
pub(super) struct Ready {
    permit: Permit,
    mark: Mark,
    deregistration: Deregistration,
}

impl Ready {
    /// Whether no job can come to it any more, as far as a guard can see to that.
    pub(super) fn is_out_of_reach(&self) -> bool {
        !self.permit.shows_registration() || self.deregistration == Deregistration::Refuted
    }
}

/// A retirement of this runner that stands in the record.
pub(super) struct Standing {
    pub(super) drain: Drain,
    pub(super) mark: Mark,
    settled_at: Instant,
    lapses_at: Instant,
}

impl Guard {
    /// Lets a runner go the whole way: a look, and, if it may go, the announcement of that in its fence; then
    /// it is deregistered, if the guard [deregisters](super::GuardBuilder::deregister); then it settles for
    /// [`Policy::settle`](crate::Policy::settle), in which a starting job takes the fence back; then a second
    /// look, only on what is asked for after that; then `terminate` is called, once, with a [`Go`].
    ///
    /// It never waits for all of that: each call goes as far as it can, and any later one, by any guard on
    /// the same store, goes on from there. Call it again until it says that the runner is terminated or held;
    /// a drain that nobody goes on with lapses after 10 minutes, and vacancy counts anew.
    ///
    /// `terminate` must call the cloud at once: what a pause inside of it lets happen, nobody sees. If it fails
    /// the runner is not tried again but by a new decision. In shadow mode every runner is held.
    ///
    /// ```no_run
    /// use scale_in_guard::{Guard, Runner, guard::Retirement};
    /// # async fn call_terminate(_: &Runner) -> std::io::Result<()> { Ok(()) }
    /// # async fn run(guard: Guard, runner: Runner) {
    /// let retirement = guard
    ///     .retire(&runner, async |go| call_terminate(go.runner()).await)
    ///     .await;
    /// match &retirement {
    ///     Retirement::Terminated(basis) => println!("gone: {basis}"),
    ///     later => println!("{later}; call again at {:?}", later.retry_at()),
    /// }
    /// # }
    /// ```
    pub async fn retire<E>(
        &self,
        runner: &Runner,
        terminate: impl AsyncFnOnce(Go) -> Result<(), E>,
    ) -> Retirement<E> {
        let (name, scope) = (&runner.name, &runner.scope);
        let span = tracing::debug_span!("retire", runner = %name, %scope);
        match self.go_on(runner).instrument(span).await {
            Err(retirement) => retirement.of(),
            Ok((go, mark)) => {
                let basis = go.basis();
                match terminate(go).await {
                    Ok(()) => {
                        self.end(runner, &mark, Ended::Terminated).await;
                        Retirement::Terminated(basis)
                    }
                    Err(error) => {
                        self.end(runner, &mark, Ended::Failed).await;
                        Retirement::Failed(error)
                    }
                }
            }
        }
    }

    /// Goes on as far as it can: to a go, or to where this call ends.
    async fn go_on(&self, runner: &Runner) -> Result<(Go, Mark), Retirement<Never>> {
        let ready = self.ready(runner, &Round::of_one(runner)).await?;
        self.depart(ready).await
    }

    /// The right to call terminate.
    pub(super) async fn depart(&self, ready: Ready) -> Result<(Go, Mark), Retirement<Never>> {
        let Ready { permit, mark, .. } = ready;
        let policy = self.policy();
        let terminate = |fence: &Fence, age: TimeDelta| fence.terminate(&mark, age, policy);
        match self.go(permit, &mark, terminate).await {
            Ok(go) => Ok((go, mark)),
            Err(refused) => Err(stopped(refused, None)),
        }
    }

    /// Goes on as far as it can without the right to call terminate: to where it could be asked for, or to where
    /// this call ends.
    pub(super) async fn ready(
        &self,
        runner: &Runner,
        round: &Round,
    ) -> Result<Ready, Retirement<Never>> {
        let deadline = Deadline::within(self.policy().ask_deadline);
        if self.mode() == Mode::Shadow {
            return Err(match self.first_look(runner, round, deadline).await {
                Decision::Hold(hold) => Retirement::Held(hold),
                // Shadow mode gives none.
                Decision::Terminate(_) => stopped(Refused::RunOut, None),
            });
        }
        let recalled = self.recall(runner, deadline).await;
        let Some((fence, written_at)) = recalled.host().map(Host::fence) else {
            // What could not be read holds.
            return Err(self.begin(runner, &Fence::default(), round, deadline).await);
        };
        let now = self.now();
        let whom = Incarnation::of(runner, recalled.shared().id());
        let standing =
            |drain: &Drain| Standing::of(drain.clone(), fence.epoch(), written_at, self.policy());
        match fence.next(whom, age(now, written_at), self.policy()) {
            Next::Look => Err(self.begin(runner, &fence, round, deadline).await),
            Next::Wait { lapses_in } => {
                let outstanding = FenceRefused::Outstanding { lapses_in };
                let retry_at = Some(after(now, lapses_in));
                Err(stopped(Refused::from(outstanding), retry_at))
            }
            Next::Deregister(drain) if age(now, written_at) < self.policy().permit_ttl => {
                Err(self.deregister(runner, &standing(drain), deadline).await)
            }
            // What let it go is too old to act on. Only a new look can say.
            Next::Deregister(drain) => {
                self.give_up(runner, &drain.mark(fence.epoch())).await;
                let expires_at = after(written_at, self.policy().permit_ttl);
                Err(stopped(Refused::Expired { expires_at, now }, Some(now)))
            }
            // A guard without a registrar began it. This one is to deregister, on what it sees itself.
            Next::Settle { drain, .. } | Next::LookAgain(drain) if self.would_deregister(drain) => {
                self.give_up(runner, &drain.mark(fence.epoch())).await;
                Err(self.begin(runner, &fence, round, deadline).await)
            }
            Next::Settle { drain, .. } => Err(standing(drain).draining()),
            Next::LookAgain(drain) => {
                let standing = standing(drain);
                self.look_again(runner, &fence, &standing, round, deadline)
                    .await
            }
        }
    }

    async fn first_look(&self, runner: &Runner, round: &Round, deadline: Deadline) -> Decision {
        let looked = self.look(runner, round.clone(), deadline, None).await;
        self.answer(looked, deadline).await
    }

    /// The first look, and the announcement.
    async fn begin(
        &self,
        runner: &Runner,
        fence: &Fence,
        round: &Round,
        deadline: Deadline,
    ) -> Retirement<Never> {
        match self.may_begin(runner, fence, round, deadline).await {
            Ok(permit) => self.announce(permit, deadline).await,
            Err(retirement) => retirement,
        }
    }

    /// The first look. It reports a job that took the fence of a runner that was deregistered.
    pub(super) async fn may_begin(
        &self,
        runner: &Runner,
        fence: &Fence,
        round: &Round,
        deadline: Deadline,
    ) -> Result<Permit, Retirement<Never>> {
        let decision = self.first_look(runner, round, deadline).await;
        let was_occupied = self.reports_taken(runner, fence).await;
        match decision {
            Decision::Hold(hold) if was_occupied => {
                let by = hold.to_string();
                Err(self.deregistered_while_occupied(runner, by).await)
            }
            Decision::Hold(hold) => Err(Retirement::Held(hold)),
            Decision::Terminate(permit) => {
                if was_occupied {
                    // The job is over already.
                    let by = "a job took its fence".to_owned();
                    let _told = self.deregistered_while_occupied(runner, by).await;
                }
                Ok(permit)
            }
        }
    }

    /// Whether a job took the fence of a runner that was deregistered, and this is the first to report it.
    async fn reports_taken(&self, runner: &Runner, fence: &Fence) -> bool {
        let State::Taken {
            deregistered: true, ..
        } = fence.state()
        else {
            return false;
        };
        let reported = |fence: &Fence, _| Ok(fence.reported());
        self.step(runner, reported).await.is_ok()
    }

    /// Whether this guard deregisters, and the drain of one that does not let a registered runner go.
    fn would_deregister(&self, drain: &Drain) -> bool {
        let was_registered = !matches!(drain.basis, Basis::NeverRegistered | Basis::Departed);
        self.inner.registrar.is_some()
            && was_registered
            && drain.deregistration == Deregistration::NotWanted
    }

    /// Begins the retirement of a runner that a sweep let go, with the permit that the sweep gave: the budget and
    /// the silence of most beacons are a sweep's affair, and [`retire`](Self::retire), which goes on from here,
    /// does not know them.
    pub async fn drain(&self, permit: Permit) -> Retirement<Infallible> {
        let deadline = Deadline::within(self.policy().ask_deadline);
        self.announce(permit, deadline).await
    }

    /// The announcement, and the DELETE.
    pub(super) async fn announce(&self, permit: Permit, deadline: Deadline) -> Retirement<Never> {
        let runner = permit.runner();
        let drain = Drain {
            nonce: new_nonce(),
            basis: permit.basis(),
            of: permit.whom(),
            deregistration: match &self.inner.registrar {
                // What is absent has no registration to take away.
                Some(_) if permit.shows_registration() => Deregistration::Due,
                _ => Deregistration::NotWanted,
            },
        };
        if drain.deregistration == Deregistration::Due && drain.of.id.is_none() {
            return deregistering("the number of its registration is not known; give it");
        }
        let epoch = permit.epoch();
        let unpinned = self.is_unpinned(&permit).await;
        if let Err(refused) = unpinned.and_then(|()| self.is_good(&permit)) {
            return stopped(refused, None);
        }
        let announce = |fence: &Fence, age| fence.drain(epoch, drain.clone(), age);
        if let Err(no_step) = self.step(runner, announce).await {
            return self.not_made(no_step);
        }
        let standing = Standing::of(drain, epoch, self.now(), self.policy());
        if standing.drain.deregistration != Deregistration::Due {
            return standing.draining();
        }
        // DELETE may end a job, and writing may have taken long.
        if let Err(late) = self.is_good(&permit) {
            self.give_up(runner, &standing.mark).await;
            return stopped(late, None);
        }
        self.deregister(runner, &standing, deadline).await
    }

    /// Takes the registration away, and writes down that it is gone.
    async fn deregister(
        &self,
        runner: &Runner,
        standing: &Standing,
        deadline: Deadline,
    ) -> Retirement<Never> {
        let (Some(registrar), Some(id)) = (&self.inner.registrar, standing.drain.of.id) else {
            return deregistering("this guard has no registrar, and the one that began has");
        };
        // Before: the answer may be lost, and a departure that nothing explains makes the whole listing doubted.
        self.note_departure(runner).await;
        // What waits for its turn for longer than a permit lasts follows from no look any more.
        let deadline = deadline.or_sooner(Deadline::within(self.policy().permit_ttl));
        let gone = match deadline.meet(registrar.deregister(runner, id)).await {
            Ok(Ok(gone)) => gone,
            Ok(Err(trouble)) => return deregistering(trouble.to_string()),
            Err(late) => return deregistering(late.to_string()),
        };
        let how = match gone {
            Deregistered::Removed | Deregistered::Unknown => Deregistration::Done,
            Deregistered::Occupied if refutes(standing.drain.basis) => Deregistration::Refuted,
            Deregistered::Occupied => {
                self.give_up(runner, &standing.mark).await;
                return self.said_busy(runner).await;
            }
        };
        let deregistered = |fence: &Fence, age| fence.deregistered(&standing.mark, how, age);
        match self.step(runner, deregistered).await {
            Ok(()) => Retirement::Draining {
                resume_at: after(self.now(), self.policy().settle),
                deregistration: how,
            },
            Err(no_step) => self.not_made(no_step),
        }
    }

    /// GitHub would not deregister it, for it has a job: vacancy counts anew.
    async fn said_busy(&self, runner: &Runner) -> Retirement<Never> {
        let now = self.now();
        let Runner { scope, name, .. } = runner;
        let key = self.inner.records.of_runner(scope, Kind::Memory, name);
        self.write_down(runner, &key, |known: &mut Remembered| {
            known.memory.flag_said_busy(now)
        })
        .await;
        Retirement::Stopped {
            why: Setback::Occupied,
            retry_at: Some(after(now, self.policy().grace)),
        }
    }

    /// The second look.
    async fn look_again(
        &self,
        runner: &Runner,
        fence: &Fence,
        standing: &Standing,
        round: &Round,
        deadline: Deadline,
    ) -> Result<Ready, Retirement<Never>> {
        let Standing { drain, mark, .. } = standing;
        let knowing = match drain.knows_absence() && !round.lists_always() {
            true => SecondLook::OfAbsent,
            false => SecondLook::OfAny,
        };
        let permit = self
            .second_look(runner, standing, knowing, round, deadline)
            .await?;
        let is_open = match drain.deregistration {
            // It was absent, and has registered since.
            Deregistration::NotWanted => self.inner.registrar.is_some(),
            // GitHub would not deregister it, for it had a job, and has none any more.
            Deregistration::Refuted => !refutes(permit.basis()),
            _ => false,
        };
        if permit.shows_registration() && is_open {
            // A job can come to it.
            self.give_up(runner, mark).await;
            return Err(self.begin(runner, fence, round, deadline).await);
        }
        Ok(Ready {
            permit,
            mark: mark.clone(),
            deregistration: drain.deregistration,
        })
    }

    /// Decides at the second look; a drain of a runner that turns out to have a job is given up.
    pub(super) async fn second_look(
        &self,
        runner: &Runner,
        standing: &Standing,
        knowing: SecondLook,
        round: &Round,
        deadline: Deadline,
    ) -> Result<Permit, Retirement<Never>> {
        let Standing { drain, mark, .. } = standing;
        let second = Some((&drain.nonce, knowing));
        let looked = self.look(runner, round.clone(), deadline, second).await;
        let hold = match self.answer(looked, deadline).await {
            Decision::Terminate(permit) => return Ok(permit),
            Decision::Hold(hold) => hold,
        };
        if !is_occupied(&hold) {
            // A witness that could not be heard, or an objection.
            let lapses_at = standing.lapses_at;
            return Err(Retirement::Undecided { hold, lapses_at });
        }
        self.give_up(runner, mark).await;
        Err(match drain.deregistration == Deregistration::Done {
            true => {
                self.deregistered_while_occupied(runner, hold.to_string())
                    .await
            }
            false => Retirement::Held(hold),
        })
    }

    async fn deregistered_while_occupied(&self, runner: &Runner, by: String) -> Retirement<Never> {
        tracing::error!(runner = %runner.name, scope = %runner.scope, by, "deregistered_while_occupied");
        self.note(runner, Roster::was_occupied).await;
        Retirement::DeregisteredWhileOccupied { by }
    }

    /// Gives a drain up.
    pub(super) async fn give_up(&self, runner: &Runner, mark: &Mark) {
        self.close(runner, |fence| fence.give_up(mark)).await;
    }

    pub(super) fn not_made(&self, no_step: NoStep) -> Retirement<Never> {
        let retry_at = match &no_step {
            NoStep::Refused(FenceRefused::Outstanding { lapses_in }) => {
                Some(after(self.now(), *lapses_in))
            }
            _ => None,
        };
        stopped(no_step, retry_at)
    }
}

impl Standing {
    /// A drain in a fence of this epoch, whose last step was written then.
    pub(super) fn of(drain: Drain, epoch: u64, written_at: Instant, policy: &Policy) -> Self {
        Self {
            mark: drain.mark(epoch),
            drain,
            settled_at: after(written_at, policy.settle),
            lapses_at: after(written_at, DRAIN_LAPSES),
        }
    }

    fn draining(&self) -> Retirement<Never> {
        Retirement::Draining {
            resume_at: self.settled_at,
            deregistration: self.drain.deregistration,
        }
    }
}

/// Before terminate is called, nothing of it can fail.
pub(super) type Never = Infallible;

impl Retirement<Never> {
    pub(super) fn of<E>(self) -> Retirement<E> {
        match self {
            Self::Held(hold) => Retirement::Held(hold),
            Self::Undecided { hold, lapses_at } => Retirement::Undecided { hold, lapses_at },
            Self::Draining {
                resume_at,
                deregistration,
            } => Retirement::Draining {
                resume_at,
                deregistration,
            },
            Self::Stopped { why, retry_at } => Retirement::Stopped { why, retry_at },
            Self::DeregisteredWhileOccupied { by } => Retirement::DeregisteredWhileOccupied { by },
            Self::Terminated(basis) => Retirement::Terminated(basis),
            Self::Failed(never) => match never {},
        }
    }
}

pub(super) fn stopped(why: impl Into<Setback>, retry_at: Option<Instant>) -> Retirement<Never> {
    Retirement::Stopped {
        why: why.into(),
        retry_at,
    }
}

/// Whether who goes on these grounds may well be called busy.
fn refutes(basis: Basis) -> bool {
    matches!(basis, Basis::Lost | Basis::BusyRefuted | Basis::Wedged)
}

fn deregistering(what: impl Into<Arc<str>>) -> Retirement<Never> {
    let what = what.into();
    stopped(Setback::Deregistering { what }, None)
}

/// Whether some witness says that there is a job, and not only that it could not be heard.
fn is_occupied(hold: &Hold) -> bool {
    let claims = hold.assessment().claims;
    claims
        .who(Claim::Occupied)
        .any(|who| who != Witness::Registration)
        || hold
            .reasons()
            .any(|reason| reason.code() == crate::HoldCode::Busy)
}
