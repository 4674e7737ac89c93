//! The guard: it asks every witness, decides, and remembers.

mod builder;
mod conclude;
mod coverage;
mod fencing;
mod gather;
mod history;
mod host;
#[cfg(feature = "github")]
mod machines;
#[cfg(feature = "github")]
mod muster;
mod outcome;
mod pins;
mod release;
mod retire;
mod scopes;
mod select;
mod status;
mod sweep;
mod together;
mod told;

pub use builder::{BuildError, GuardBuilder};
pub use coverage::{Coverage, Permits, Window};
pub use history::{AsScenario, Decided, Episode, History, Said, histories, history};
#[cfg(feature = "github")]
pub use machines::{Machine, MachinesError};
#[cfg(feature = "github")]
pub use muster::{Muster, MusterReport, Mustered};
pub use outcome::{Disagreement, Outcome};
pub use pins::{PinError, pin, pins, unpin};
pub use release::{Release, Released, is_known, release};
pub use retire::{Retirement, Setback};
pub use scopes::{KnownScope, scopes};
pub use status::{FleetStatus, RunnerStatus, status};
pub use sweep::{Survey, Sweep};

use self::{conclude::Aim, fencing::new_nonce, sweep::Whom};
use crate::{
    clock::{Clock, Deadline, monotonic},
    decision::Decision,
    engine::Engine,
    fence::{Deregistration, Drain, Ended, Fence, FenceRefused, Mark, Nonce},
    fleet::Roster,
    permit::{Go, Permit, Refused},
    policy::Policy,
    records::Records,
    registrar::Registrar,
    runner::{Runner, Scope},
    shadow::{Shadow, ShadowSummary},
    source::{Ask, Depth, EvidenceSource, Round, SecondLook, Share},
    store::{Key, Kind, StoreError},
    telemetry,
};
use chrono::TimeDelta;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};
use tracing::Instrument;

/// Whether the guard hands out permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It does.
    #[default]
    Live,
    /// It decides, remembers, counts and logs as it would, and hands out none.
    Shadow,
}

/// May this runner be terminated now? It asks its witnesses at the same time, weighs what they say
/// against what it remembers, and answers with a permit or with every reason why not.
///
/// Cheap to clone; clones are one guard. It needs a tokio runtime, with its timer.
///
/// ```
/// use scale_in_guard::{Decision, Guard, Runner};
/// # use scale_in_guard::{Evidence, source::{Ask, EvidenceSource, Trouble}};
/// # #[derive(Debug)]
/// # struct Deployments;
/// # #[async_trait::async_trait]
/// # impl EvidenceSource for Deployments {
/// #     fn name(&self) -> &str { "deployments" }
/// #     async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
/// #         Ok(vec![ask.objects_if(true, "a deployment runs")])
/// #     }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let guard = Guard::builder().source(Deployments).build()?;
/// let runner = Runner::new("i-06cbe04821ccba677", "repo:acme/atlas")?;
/// match guard.can_terminate(&runner).await {
///     Decision::Terminate(permit) => println!("terminate {}", guard.redeem(permit).await?.runner().name),
///     Decision::Hold(hold) => println!("{hold}; ask again at {:?}", hold.retry_at()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    sources: Vec<Arc<dyn EvidenceSource>>,
    records: Records,
    clock: Arc<dyn Clock>,
    registrar: Option<Arc<dyn Registrar>>,
    mode: Mode,
    /// Whether a receiver of webhooks keeps a ledger in the same store.
    has_webhooks: bool,
    keeps_history: bool,
    /// The scopes that are known to be in the index.
    indexed: Mutex<HashSet<Scope>>,
}

/// How much of a deadline is left for writing down what was decided.
const TO_REMEMBER: TimeDelta = TimeDelta::seconds(1);

impl Guard {
    /// A guard to be put together: its witnesses, its memory, its policy.
    pub fn builder() -> GuardBuilder {
        GuardBuilder::default()
    }

    /// May `runner` be terminated now?
    ///
    /// Never an error: a source that fails, panics or is late is a reason to hold, and so is a memory that
    /// cannot be read or written. It answers within [`Policy::ask_deadline`].
    pub async fn can_terminate(&self, runner: &Runner) -> Decision {
        let deadline = Deadline::within(self.policy().ask_deadline);
        let round = Round::of_one(runner);
        let asked = async {
            let decision = self.look(runner, round, deadline, None).await;
            self.answer(decision, deadline).await
        };
        let (name, scope) = (&runner.name, &runner.scope);
        asked
            .instrument(tracing::debug_span!("can_terminate", runner = %name, %scope))
            .await
    }

    /// May these runners be terminated now? A stream of decisions, one for each: first those that must
    /// stay, then, longest vacant first, those that may go.
    ///
    /// What GitHub lists is read once for all of them, and the jobs only if some runner needs them. A
    /// permit is made, after a look at its very runner, when it is pulled: act on it before you pull the
    /// next. Give it every runner that the autoscaler has: one that is missing is taken to have
    /// departed. Of two with the same scope and name, the first counts.
    pub fn sweep(&self, runners: impl IntoIterator<Item = Runner>) -> Sweep {
        let runners = runners.into_iter().collect();
        Sweep::over(self.clone(), runners, Share::All, Whom::Everyone)
    }

    /// May these runners be terminated now, which are not all that the autoscaler has? As
    /// [`sweep`](Self::sweep), but nothing follows from a runner that is not asked about.
    pub fn sweep_some(&self, runners: impl IntoIterator<Item = Runner>) -> Sweep {
        let runners = runners.into_iter().collect();
        Sweep::over(self.clone(), runners, Share::Some, Whom::Everyone)
    }

    /// Which of these instances never became a runner, and may they go? As [`sweep`](Self::sweep) over every runner
    /// that the autoscaler has, but it decides, and costs more than the listing, only for those that GitHub does not
    /// list and that no look ever found registered, or whose registration could not be read.
    pub fn phantoms(&self, runners: impl IntoIterator<Item = Runner>) -> Sweep {
        let runners = runners.into_iter().collect();
        Sweep::over(self.clone(), runners, Share::All, Whom::NeverRegistered)
    }

    /// As [`phantoms`](Self::phantoms), but nothing follows from a runner that is not asked about.
    pub fn phantoms_some(&self, runners: impl IntoIterator<Item = Runner>) -> Sweep {
        let runners = runners.into_iter().collect();
        Sweep::over(self.clone(), runners, Share::Some, Whom::NeverRegistered)
    }

    /// Up to `most` of these runners that may go, longest vacant first. As [`sweep_some`](Self::sweep_some), nothing
    /// follows from a runner that is not asked about, and permits are made as they are pulled; but it looks first at
    /// those that memory shows vacant for long enough, one by one, and with `most` permits the stream ends: who
    /// takes 5 of 30,000 runners pays for 5, where memory is warm.
    ///
    /// Where memory does not show enough of them, or too many of them turn out to be held, all others are surveyed
    /// as in a sweep. Those that must stay come only then, after the permits, and only if there were fewer permits
    /// than `most`; of those that nobody asked about nothing comes. Neither more permits than
    /// [`Policy::max_permits_per_sweep`] of all candidates come, nor does it go on where GitHub's request limit is
    /// spent. In [shadow mode](Mode::Shadow) what would be a permit counts as one: it comes as a hold for
    /// `shadow_mode`, and the stream ends with `most` of these.
    pub fn select(&self, candidates: impl IntoIterator<Item = Runner>, most: usize) -> Sweep {
        Sweep::selecting(self.clone(), candidates.into_iter().collect(), most)
    }

    /// Turns a permit into the right to call terminate now, once. Where a job took the runner's fence since
    /// the permit's witnesses were asked, another guard lets the runner go, or an operator pinned it since, it
    /// refuses. It may wait for the store for a second, three times.
    ///
    /// This is the short way, for a caller that has seconds and asks once: a job that starts now is not waited
    /// for. [`retire`](Self::retire) goes the whole way.
    ///
    /// # Errors
    /// [`Refused`] when it has expired, the clock was set back, the fence was taken, or could not be written, the
    /// runner was pinned, or its pins could not be read. Ask again.
    pub async fn redeem(&self, permit: Permit) -> Result<Go, Refused> {
        let drain = Drain {
            nonce: new_nonce(),
            basis: permit.basis(),
            of: permit.whom(),
            deregistration: Deregistration::NotWanted,
        };
        let epoch = permit.epoch();
        let mark = drain.mark(epoch);
        let policy = self.policy();
        let terminate =
            |fence: &Fence, age| fence.terminate_at_once(epoch, drain.clone(), age, policy);
        self.go(permit, &mark, terminate).await
    }

    /// Whether a permit would be redeemed now, without redeeming it: for a program that only answers, and whose
    /// answer somebody else acts on, such as the exit status of a command. It keeps no other guard off, and may
    /// be asked again. That the runner may go is noted, so that its departure is explained.
    ///
    /// # Errors
    /// As [`redeem`](Self::redeem).
    pub async fn verify(&self, permit: Permit) -> Result<(), Refused> {
        self.is_good(&permit)?;
        let runner = permit.runner();
        let epoch = permit.epoch();
        let whom = permit.whom();
        self.step(runner, |fence, age| {
            fence.is_open(epoch, whom, age).map(|()| fence.clone())
        })
        .await?;
        self.note_departure(runner).await;
        self.is_unpinned(&permit).await?;
        self.is_good(&permit)
    }

    /// Redeems a permit by this step of its fence.
    async fn go(
        &self,
        permit: Permit,
        mark: &Mark,
        terminate: impl Fn(&Fence, TimeDelta) -> Result<Fence, FenceRefused>,
    ) -> Result<Go, Refused> {
        let fenced = permit.has_live_beacon(self.policy());
        if let Err(refused) = self.pass(&permit, mark, fenced, terminate).await {
            telemetry::refused(permit.runner(), &refused);
            return Err(refused);
        }
        Ok(permit.into_go(fenced))
    }

    /// Takes this step, if the permit is good before and after.
    async fn pass(
        &self,
        permit: &Permit,
        mark: &Mark,
        fenced: bool,
        terminate: impl Fn(&Fence, TimeDelta) -> Result<Fence, FenceRefused>,
    ) -> Result<(), Refused> {
        self.is_good(permit)?;
        let runner = permit.runner();
        self.step(runner, terminate).await?;
        self.note_departure(runner).await;
        // With the fence in hand: who pins a runner from now on finds that it is going.
        let unpinned = self.is_unpinned(permit).await;
        let passed = unpinned.and_then(|()| self.is_good(permit)).and_then(|()| {
            // Whoever observes may take long over it: so it is told before the last look at the clock, not after.
            telemetry::went(runner, permit.basis(), fenced);
            self.is_good(permit)
        });
        if let Err(refused) = passed {
            self.end(runner, mark, Ended::GivenUp).await;
            return Err(refused);
        }
        Ok(())
    }

    /// Whether a permit is good, by either clock.
    fn is_good(&self, permit: &Permit) -> Result<(), Refused> {
        permit.is_good(self.now())?;
        match permit.has_run_out(monotonic()) {
            true => Err(Refused::RunOut),
            false => Ok(()),
        }
    }

    /// Ends a drain or a termination, whatever became of it.
    async fn end(&self, runner: &Runner, mark: &Mark, how: Ended) {
        self.close(runner, |fence| fence.end(mark, how)).await;
    }

    /// Explains to later listings where the runner went; without it they are doubted for a while.
    async fn note_departure(&self, runner: &Runner) {
        let name = &runner.name;
        self.note(runner, |roster| roster.redeemed(name)).await;
    }

    /// Writes something down about the scope.
    async fn note(&self, runner: &Runner, note: impl FnMut(&mut Roster)) {
        let key = self.inner.records.of_scope(&runner.scope, Kind::Fleet);
        self.write_down(runner, &key, note).await;
    }

    /// Writes something down without which nothing dangerous follows.
    async fn write_down<T>(&self, runner: &Runner, key: &Key, change: impl FnMut(&mut T))
    where
        T: DeserializeOwned + Serialize + Default + Clone + PartialEq,
    {
        let written = self.inner.records.update(key, change);
        let error = match Deadline::within(TO_REMEMBER).meet(written).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        tracing::warn!(runner = %runner.name, record = %key, error, "could not write down what became of it");
    }

    /// What this deployment can and cannot know about the runners of a scope, and what remains.
    #[must_use]
    pub fn coverage(&self, scope: &Scope) -> Coverage {
        Coverage::of(&self.inner.sources, self.policy(), scope)
    }

    /// GitHub minted us a registration token for this scope: so it is ours, and an empty listing of it may come to
    /// be believed. Call it wherever your autoscaler starts a runner; it writes once.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be read or written. Nothing dangerous follows: call it again with the next
    /// token.
    pub async fn minted(&self, scope: &Scope) -> Result<(), StoreError> {
        let key = self.inner.records.of_scope(scope, Kind::Fleet);
        self.inner.records.update(&key, Roster::minted).await
    }

    /// What shadow mode has counted in a scope, by this guard and by others on the same store.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be read.
    pub async fn shadow_summary(&self, scope: &Scope) -> Result<ShadowSummary, StoreError> {
        ShadowSummary::recorded(&self.inner.records, scope).await
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        self.inner.engine.policy()
    }

    /// Whether it hands out permits.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.inner.mode
    }

    /// Whether it deregisters a runner before it goes.
    #[must_use]
    pub fn deregisters(&self) -> bool {
        self.inner.registrar.is_some()
    }

    pub(crate) fn now(&self) -> crate::time::Instant {
        self.inner.clock.now()
    }

    /// One look at one runner, in depth: every source is asked about this very runner.
    async fn look(
        &self,
        runner: &Runner,
        round: Round,
        deadline: Deadline,
        second_look: Option<(&Nonce, SecondLook)>,
    ) -> Decision {
        let asking = deadline.less(TO_REMEMBER.min(self.policy().ask_deadline / 5));
        let recalled = self.recall(runner, asking).await;
        let ask = Ask::new(
            runner.clone(),
            self.now(),
            Depth::Permit,
            recalled.shared(),
            round,
            asking,
        );
        let ask = ask.with_told(recalled.told_open(runner));
        let (second_look_of, knowing) = second_look.unzip();
        let ask = ask.at_second_look(knowing);
        let evidence = self.gather(&ask, |_| true).await;
        let aim = Aim::Permit;
        self.conclude(runner, evidence, recalled, second_look_of, aim, deadline)
            .await
    }

    /// What the caller hears: in shadow mode it is counted, and there is no permit in it.
    async fn answer(&self, decision: Decision, deadline: Deadline) -> Decision {
        telemetry::decided(&decision, self.inner.mode);
        match self.inner.mode {
            Mode::Live => decision,
            Mode::Shadow => {
                self.count(&decision, deadline).await;
                decision.in_shadow()
            }
        }
    }

    async fn count(&self, decision: &Decision, deadline: Deadline) {
        let runner = &decision.assessment().runner;
        let records = &self.inner.records;
        let key = records.of_runner(&runner.scope, Kind::Shadow, &runner.name);
        let count = records.update(&key, |shadow: &mut Shadow| {
            shadow.look(decision, self.policy());
        });
        let deadline = Deadline::within(TO_REMEMBER).or_sooner(deadline);
        match deadline.meet(count).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(runner = %runner.name, %error, "shadow: not counted"),
            Err(late) => {
                tracing::warn!(runner = %runner.name, error = %late, "shadow: not counted")
            }
        }
    }
}
