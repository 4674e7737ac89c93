//! The custom termination policy of an Auto Scaling group: which of these instances are ready to go?

use super::{
    capacity::{ScaleIn, Slot, Wanted},
    findings::Notes,
    handler::Handler,
};
use crate::{
    decision::Hold,
    guard::{Guard, Mode, Muster, Mustered, Retirement},
    hold::HoldCode,
    runner::Scope,
    source::{Lists, Round, Share},
    time::{At, Span, age},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// How long Auto Scaling waits for the answer (user guide, "Limitations": the function must not run longer).
const AWS_WAITS: Duration = Duration::from_secs(2);

/// How long before its deadline an answer is given.
const MARGIN: Duration = Duration::from_millis(300);

/// How many drained machines are looked at again at the same time.
const AT_ONCE: usize = 16;

/// How many machines there are at the most in a scope that is listed in an invocation: ten requests, most of them at the
/// same time.
const SMALL: usize = 1_000;

/// How many machines that must stay are met, beside two for each that is to go, before it is given up: each is a
/// request, and the next sweep knows better.
const CHANCE: usize = 8;

/// The handler of a custom termination policy, for [`lambda_runtime::run`]: of the instances that Auto Scaling names it
/// answers with those that are ready to be terminated, of a group whose runners are registered in `scope`.
///
/// Auto Scaling picks among those it is told, later, and nothing can take back what it was told. So there are two
/// phases. An invocation drains at most as many machines as are to go, in the zones and markets that are asked for,
/// those vacant for longest first; and it answers with those that were drained, have settled, and are clear at a second
/// look. Until then the answer is an empty list, which is a valid one: the group asks again. A drained machine that was
/// not taken is named first the next time, until its drain lapses.
///
/// It begins with what [`Guard::muster`] wrote down, which [`scheduled_sweep`](super::scheduled_sweep) does every few
/// minutes, and asks GitHub about as many machines as are to go. Where nobody ever swept it names nothing, and says so.
/// It lists nothing where the rule for names is `equals` or a template. Where it is not, nobody knows under which name a
/// host may have registered anew, and so a drained machine is named beside a list of all: of 1,000 machines at the most.
///
/// It answers within the 2 seconds that AWS gives it, and within the invocation's own deadline, less 300 milliseconds,
/// with what is proved by then. Where nothing is, where the store or GitHub cannot be reached, and when something in
/// it panics, that is an empty list, and a reason in the log. The guard must deregister
/// ([`GuardBuilder::deregister`](crate::guard::GuardBuilder::deregister)): of a runner that is left registered nobody
/// can say now that it will have no job later. In shadow mode the list is always empty, and the log says who would be
/// drained.
///
/// ```no_run
/// use scale_in_guard::lambda::{self, Settings};
///
/// # async fn function() -> std::process::ExitCode {
/// lambda::run(async {
///     let settings = Settings::from_env()?;
///     let scope = settings.scope()?.clone();
///     let (guard, _) = settings.guard().await?;
///     Ok(lambda::termination_policy(guard, scope))
/// })
/// .await
/// # }
/// ```
#[must_use = "a handler does nothing until lambda_runtime::run has it"]
pub fn termination_policy(guard: Guard, scope: Scope) -> Handler {
    let policy = Arc::new(TerminationPolicy { guard, scope });
    Handler::new("termination_policy", MARGIN, move |event, left| {
        let policy = Arc::clone(&policy);
        async move { Ok(policy.answer(event, left).await) }
    })
    .within(AWS_WAITS)
}

struct TerminationPolicy {
    guard: Guard,
    scope: Scope,
}

/// What became of one machine.
enum Step {
    Ready,
    Draining,
    /// Outside shadow mode it would have been drained.
    WouldDrain,
    /// It may be drained, and could not be gone on with.
    Stuck(String),
    Held(String),
}

impl TerminationPolicy {
    /// The answer, in time.
    async fn answer(self: Arc<Self>, event: Value, left: Duration) -> Value {
        let notes = Notes::default();
        // A task of its own: a panic in it spoils no answer.
        let mut work = tokio::spawn(Arc::clone(&self).find(event, notes.clone()));
        let ended = tokio::time::timeout(left, &mut work).await;
        work.abort();
        let trouble = match ended {
            Ok(Ok(found)) => found.err(),
            Ok(Err(panic)) => Some(format!("a fault of ours: {panic}")),
            Err(_) => Some(format!("no more time, after {left:?}")),
        };
        notes.write(|findings| {
            findings.trouble = trouble;
            findings.log(&self.scope);
            json!({ "InstanceIDs": findings.ready })
        })
    }

    /// Finds what there is to answer; or says why it cannot go on.
    async fn find(self: Arc<Self>, event: Value, notes: Notes) -> Result<(), String> {
        let scale_in = serde_json::from_value::<ScaleIn>(event);
        let scale_in = scale_in.map_err(|error| format!("no event of Auto Scaling's: {error}"))?;
        let (group, cause) = (scale_in.group.clone(), scale_in.cause.clone());
        let mut wanted = scale_in.wanted();
        notes.write(|findings| {
            findings.group = group;
            findings.cause = cause;
            findings.asked = wanted.left();
            findings.candidates = wanted.candidates();
        });
        if wanted.left() == 0 {
            return Ok(());
        }
        if !self.guard.deregisters() {
            return Err("the guard does not deregister, and a runner that is left registered may have a job at any time: build it with .deregister(…)".to_owned());
        }
        let muster = self.mustered().await?;
        let mut machines = muster.machines.iter();
        if !machines.any(|machine| wanted.has(&machine.instance)) {
            return Err(match muster.silent_since {
                Some(since) => format!("most beacons are silent since {}", At(since)),
                None => format!(
                    "of the {} machines that the last sweep found vacant none is a candidate",
                    muster.machines.len()
                ),
            });
        }
        let rounds = Rounds::of(&muster);
        let taken_at = muster.taken_at;
        let is_drained = |machine: &Mustered| machine.drained_at.is_some();
        let (drained, others): (Vec<_>, _) = muster.machines.into_iter().partition(is_drained);
        let lately = drained
            .iter()
            .filter(|machine| machine.drained_at > taken_at);
        let budget = self.guard.policy().max_permits_per_sweep;
        let budget = budget.map_or(usize::MAX, |budget| {
            let permits = budget.permits(wanted.candidates());
            permits.saturating_sub(lately.count())
        });
        self.look_again(drained, &mut wanted, &rounds, &notes).await;
        self.drain(others, &mut wanted, budget, &rounds, &notes)
            .await;
        Ok(())
    }

    /// The last muster, if it is of now.
    async fn mustered(&self) -> Result<Muster, String> {
        let (scope, policy) = (&self.scope, self.guard.policy());
        let muster = self.guard.mustered(scope).await;
        let muster = muster.map_err(|error| error.to_string())?;
        let Some(taken_at) = muster.taken_at else {
            return Err(format!(
                "nobody has swept {scope} yet, and so nothing is known of its runners: run the scheduled sweep on the same store"
            ));
        };
        let old = age(self.guard.now(), taken_at);
        if old > policy.observation_gap() {
            return Err(format!(
                "the last sweep of {scope} was {} ago, and what was seen then says nothing of now: see the scheduled sweep",
                Span(old)
            ));
        }
        Ok(muster)
    }

    /// Names those drained machines that are clear at their second look.
    async fn look_again(
        &self,
        drained: Vec<Mustered>,
        wanted: &mut Wanted,
        rounds: &Rounds,
        notes: &Notes,
    ) {
        let taken = drained.into_iter().filter_map(|machine| {
            let slot = wanted.take(&machine.instance)?;
            Some((machine, slot))
        });
        let taken: Vec<_> = taken.collect();
        let looks = stream::iter(taken)
            .map(async |(machine, slot)| (self.step(&machine, rounds).await, machine, slot));
        let mut looks = looks.buffer_unordered(AT_ONCE);
        while let Some((step, machine, slot)) = looks.next().await {
            settle_up(step, &machine, slot, wanted, notes);
        }
    }

    /// Drains as many of the others as are still to go.
    async fn drain(
        &self,
        others: Vec<Mustered>,
        wanted: &mut Wanted,
        budget: usize,
        rounds: &Rounds,
        notes: &Notes,
    ) {
        let mut left = budget.min(wanted.left());
        let mut misses = left.saturating_mul(2).saturating_add(CHANCE);
        for machine in others {
            if left == 0 || misses == 0 {
                return;
            }
            let Some(slot) = wanted.take(&machine.instance) else {
                continue;
            };
            let step = self.step(&machine, rounds).await;
            match &step {
                Step::Held(_) => misses = misses.saturating_sub(1),
                Step::WouldDrain | Step::Stuck(_) => left = left.saturating_sub(1),
                Step::Ready | Step::Draining => {
                    left = left.saturating_sub(1);
                    let noted = self.guard.note_drained(&self.scope, &machine.instance);
                    if let Err(error) = noted.await {
                        // Its fence says so, and the next sweep will.
                        tracing::warn!(instance = %machine.instance, %error, "not noted that it is drained");
                    }
                }
            }
            settle_up(step, &machine, slot, wanted, notes);
        }
    }

    /// One machine, as far as it can go.
    async fn step(&self, machine: &Mustered, rounds: &Rounds) -> Step {
        let Some(round) = rounds.about(machine) else {
            return Step::Held("another runner may have registered on it under a name that the rule does not tell, and the scope is too large to list all: use the rule equals or a template".to_owned());
        };
        match self.guard.prepare_in(&machine.runners, round).await {
            // It was drained, and that is not noted yet: whatever else is registered on it was not looked for.
            Ok(()) if !round.lists_always() && !machine.named_by_rule => Step::Draining,
            Ok(()) => Step::Ready,
            Err(Retirement::Draining { .. }) => Step::Draining,
            Err(Retirement::Held(hold)) if self.would_go(&hold) => Step::WouldDrain,
            // Its drain stands.
            Err(undecided @ Retirement::Undecided { .. }) => Step::Stuck(undecided.to_string()),
            Err(held) => Step::Held(held.to_string()),
        }
    }

    /// Whether nothing but shadow mode holds it.
    fn would_go(&self, hold: &Hold) -> bool {
        let mut reasons = hold.reasons();
        self.guard.mode() == Mode::Shadow
            && reasons.all(|reason| reason.code() == HoldCode::ShadowMode)
    }
}

/// What is read for one look serves the others.
struct Rounds {
    /// In which nobody is listed.
    without: Round,
    /// In which everybody is, for machines on which anybody may have registered.
    with: Option<Round>,
}

impl Rounds {
    fn of(muster: &Muster) -> Self {
        let runners = muster.machines.iter().flat_map(|machine| &machine.runners);
        let of_all = Round::of(runners, Share::Some);
        Self {
            without: of_all.clone().with_listing(Lists::Never),
            with: (muster.swept <= SMALL).then(|| of_all.with_listing(Lists::Always)),
        }
    }

    /// In which a machine is looked at; `None` where it cannot be.
    fn about(&self, machine: &Mustered) -> Option<&Round> {
        match machine.named_by_rule || machine.drained_at.is_none() {
            true => Some(&self.without),
            false => self.with.as_ref(),
        }
    }
}

/// Writes down what became of a machine; one that must stay gives its part back.
fn settle_up(step: Step, machine: &Mustered, slot: Slot, wanted: &mut Wanted, notes: &Notes) {
    let instance = || machine.instance.clone();
    if matches!(step, Step::Held(_)) {
        wanted.give_back(slot);
    }
    notes.write(|findings| match step {
        Step::Ready => findings.ready.push(instance()),
        Step::Draining => findings.draining.push(instance()),
        Step::WouldDrain => findings.would_drain.push(instance()),
        Step::Held(why) | Step::Stuck(why) => findings.hold(&machine.instance, &why),
    });
}
