//! The instances of one owner: one survey of all their runners, then the way out for those that may go.

use crate::{
    cloud::{CloudError, Tagged},
    plan::{Course, Found, Seen, by_age, plan},
    report::{Outcome, Reason, Summary, Verdict, reasons},
    scale_down::{ScaleDown, TO_CONCLUDE, locked},
};
use futures::{Stream, StreamExt, stream};
use scale_in_guard::{
    Decision, Go, Runner, Scope,
    clock::{Clock, SystemClock},
    guard::{Machine, MachinesError, Mode, Retirement, Setback, Survey, Sweep},
    instance::{Instance, InstanceId},
    runner::{RunnerId, RunnerName},
    time::Instant as Moment,
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Mutex,
    time::Duration,
};
use tokio::time::Instant;

/// Drains that are gone on with at the same time: a few reads of GitHub's, and one call to EC2 each. The jobs that they
/// all want are read once for those that want them together.
const GO_ON_AT_ONCE: usize = 64;

/// Drains that are begun at the same time. The client sends one write a second, as GitHub advises; more than a few
/// that wait for their turn would wait for longer than a permit lasts.
const BEGIN_AT_ONCE: usize = 3;

/// What a drain needs to begin: a look, and GitHub's answer to the DELETE, which can take its 10 seconds.
const TO_BEGIN: Duration = Duration::from_secs(15);

/// What a drain that has settled needs to end: a look, and EC2's answer.
const TO_END: Duration = Duration::from_secs(10);

/// What is left for writing down what became of a termination.
const TO_REMEMBER: Duration = Duration::from_secs(2);

/// One owner, in one invocation.
pub(crate) struct Owner<'a> {
    pub(crate) of: &'a ScaleDown,
    pub(crate) scope: &'a Scope,
    /// When the invocation ends.
    pub(crate) ends: Instant,
    pub(crate) summary: &'a Mutex<Summary>,
}

/// An instance, and the runners on it.
struct Host {
    tagged: Tagged,
    machine: Machine,
}

impl Owner<'_> {
    /// Looks at all of these instances, and lets go which may.
    ///
    /// # Errors
    /// [`MachinesError`] when nobody knows which runners are on them.
    pub(crate) async fn scale_down(&self, instances: Vec<Tagged>) -> Result<(), MachinesError> {
        let fleet = self.fleet(instances).await?;
        let runners = fleet.iter().flat_map(|one| one.machine.runners.clone());
        let survey = self.of.guard.look_over(runners).await;
        let courses = self.plan(&fleet, &survey);
        let (mut standing, mut wanted) = (Vec::new(), HashMap::new());
        for (index, (one, course)) in fleet.iter().zip(courses).enumerate() {
            match course {
                Course::Stay(reasons) => self.tell(one, &Outcome::new(Verdict::Hold, reasons)),
                Course::GoOn { since } => standing.push((since, one)),
                Course::Begin => {
                    let names = one.machine.runners.iter().map(|runner| runner.name.clone());
                    wanted.extend(names.map(|name| (name, index)));
                }
            }
        }
        standing.sort_by(|(a, _), (b, _)| by_age(*a, *b));
        let ended = self
            .go_on_with(standing.into_iter().map(|(_, one)| one))
            .await;
        if ended.all_failed() {
            // Whatever is drained now would lose its registration and stay.
            let rest: HashSet<usize> = wanted.into_values().collect();
            let rest = rest.into_iter().filter_map(|index| fleet.get(index));
            rest.for_each(|one| self.tell(one, &terminations_fail()));
            return Ok(());
        }
        let sweep = survey.sweep(|seen| wanted.contains_key(&seen.runner.name));
        self.begin(&fleet, sweep, wanted).await;
        Ok(())
    }

    /// The runners on each of these instances.
    async fn fleet(&self, instances: Vec<Tagged>) -> Result<Vec<Host>, MachinesError> {
        let ScaleDown {
            guard,
            github,
            settings,
            ..
        } = self.of;
        let known = instances.iter().map(|tagged| Instance {
            id: tagged.id.clone(),
            launched_at: tagged.launched_at,
        });
        let machines = guard.machines(github, self.scope, &settings.rule, known.collect());
        let machines = machines.await?.into_iter();
        let mut machines: HashMap<InstanceId, Machine> = machines
            .map(|machine| (machine.instance.id.clone(), machine))
            .collect();
        let fleet = instances.into_iter().filter_map(|tagged| {
            let mut machine = machines.remove(&tagged.id)?;
            // Of several nobody knows which of them wrote its number down.
            if let [only] = machine.runners.as_mut_slice() {
                only.id = only.id.or(tagged.runner_id.map(RunnerId));
            }
            Some(Host { tagged, machine })
        });
        Ok(fleet.collect())
    }

    fn plan(&self, fleet: &[Host], survey: &Survey) -> Vec<Course> {
        let held = survey.held().map(|assessment| (assessment, false));
        let candidates = survey.candidates().map(|assessment| (assessment, true));
        let found: HashMap<&RunnerName, Found<'_>> = held
            .chain(candidates)
            .map(|(assessment, may_go)| {
                let found = Found { assessment, may_go };
                (&assessment.runner.name, found)
            })
            .collect();
        let seen: Vec<_> = fleet
            .iter()
            .map(|Host { tagged, machine }| Seen {
                tagged,
                found: machine
                    .runners
                    .iter()
                    .filter_map(|runner| found.get(&runner.name).copied())
                    .collect(),
                machine,
            })
            .collect();
        let settings = &self.of.settings;
        let now = SystemClock.now();
        let keep = settings.idle.at(now);
        let (courses, kept) = plan(&seen, keep, settings.minimum_running_time, now);
        locked(self.summary).idle_kept += kept;
        courses
    }

    /// Goes on with the drains that stand, the oldest first.
    async fn go_on_with<'f>(&self, standing: impl Iterator<Item = &'f Host>) -> Ended {
        let ended = &Mutex::new(Ended::default());
        stream::iter(standing)
            .for_each_concurrent(GO_ON_AT_ONCE, |one| async move {
                let outcome = match self.of.guard.mode() {
                    Mode::Shadow => Outcome::because(
                        Verdict::Hold,
                        "permit_outstanding",
                        "a drain of an invocation in live mode stands, and shadow mode leaves it",
                    ),
                    Mode::Live if self.left() < TO_END => postponed(),
                    Mode::Live => self.go_on(&one.machine).await,
                };
                locked(ended).count(outcome.verdict);
                self.tell(one, &outcome);
            })
            .await;
        std::mem::take(&mut *locked(ended))
    }

    /// Begins to drain those that the sweep lets go, as long as there is time.
    async fn begin(&self, fleet: &[Host], sweep: Sweep, wanted: HashMap<RunnerName, usize>) {
        let all: HashSet<usize> = wanted.values().copied().collect();
        let begun: HashSet<usize> = self
            .swept(fleet, sweep, wanted)
            .map(|(index, decisions)| async move {
                if let Some(one) = fleet.get(index) {
                    self.tell(one, &self.act_on(&one.machine, decisions).await);
                }
                index
            })
            .buffer_unordered(BEGIN_AT_ONCE)
            .collect()
            .await;
        let rest = all.difference(&begun).filter_map(|&index| fleet.get(index));
        rest.for_each(|one| self.tell(one, &postponed()));
    }

    /// The machines that the sweep has decided on, runner for runner.
    fn swept<'s>(
        &'s self,
        fleet: &'s [Host],
        sweep: Sweep,
        wanted: HashMap<RunnerName, usize>,
    ) -> impl Stream<Item = (usize, Vec<Decision>)> + 's {
        let decided: HashMap<usize, Vec<Decision>> = HashMap::new();
        stream::unfold(
            (sweep, wanted, decided),
            move |(mut sweep, wanted, mut decided)| async move {
                while self.left() >= TO_BEGIN {
                    let decision = sweep.next().await?;
                    let runner = &decision.assessment().runner;
                    let Some(&index) = wanted.get(&runner.name) else {
                        continue;
                    };
                    let decisions = decided.entry(index).or_default();
                    decisions.push(decision);
                    let runners = fleet.get(index).map_or(0, |one| one.machine.runners.len());
                    if decisions.len() == runners {
                        let decisions = decided.remove(&index)?;
                        return Some(((index, decisions), (sweep, wanted, decided)));
                    }
                }
                None
            },
        )
    }

    /// Begins to drain a machine, if all its runners may go.
    async fn act_on(&self, machine: &Machine, decisions: Vec<Decision>) -> Outcome {
        let would_go =
            |decision: &Decision| decision.outside_shadow() == scale_in_guard::Verdict::Terminate;
        if self.of.guard.mode() == Mode::Shadow && decisions.iter().all(would_go) {
            return Outcome::because(Verdict::WouldGo, "shadow_mode", "shadow mode: it would go");
        }
        let held = decisions.iter().flat_map(|held| reasons(held.assessment()));
        let held: Vec<Reason> = held.collect();
        if !held.is_empty() {
            return Outcome::new(Verdict::Hold, held);
        }
        match decisions.into_iter().next() {
            Some(Decision::Terminate(permit)) if machine.runners.len() == 1 => {
                outcome(self.of.guard.drain(permit).await)
            }
            _ => self.go_on(machine).await,
        }
    }

    /// Lets a machine go as far as it can.
    async fn go_on(&self, machine: &Machine) -> Outcome {
        let (guard, instance) = (&self.of.guard, &machine.instance.id);
        match machine.runners.as_slice() {
            [only] => {
                let terminate = async |go: Go| self.terminate(instance, go.deadline()).await;
                outcome(guard.retire(only, terminate).await)
            }
            all => {
                let terminate = async |goes: Vec<Go>| {
                    let first = goes.iter().map(Go::deadline).min();
                    self.terminate(instance, first.unwrap_or_default()).await
                };
                outcome(guard.retire_together(all, terminate).await)
            }
        }
    }

    /// Terminates an instance, within the life of the go and of the invocation.
    async fn terminate(&self, instance: &InstanceId, until: Moment) -> Result<(), CloudError> {
        let left = (until - SystemClock.now()).to_std().unwrap_or_default();
        let left = left.min(self.left().saturating_sub(TO_CONCLUDE + TO_REMEMBER));
        match left.is_zero() {
            true => Err(CloudError::late()),
            false => self.of.cloud.terminate(instance, left).await,
        }
    }

    /// How much of the invocation is left.
    fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    fn tell(&self, one: &Host, outcome: &Outcome) {
        let Host { tagged, machine } = one;
        let name = |runner: &Runner| runner.name.clone();
        let runners: Vec<_> = machine.runners.iter().map(name).collect();
        locked(self.summary).tell(&tagged.id, Some(self.scope), &runners, outcome);
    }
}

/// What became of the terminations of one invocation.
#[derive(Debug, Default)]
struct Ended {
    terminated: usize,
    failed: usize,
}

impl Ended {
    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Terminated => self.terminated += 1,
            Verdict::Failed => self.failed += 1,
            _ => {}
        }
    }

    fn all_failed(&self) -> bool {
        self.failed > 0 && self.terminated == 0
    }
}

fn terminations_fail() -> Outcome {
    Outcome::because(
        Verdict::Postponed,
        "terminations_fail",
        "it may go, but no termination of this invocation succeeded: see ec2:TerminateInstances, and EC2",
    )
    .alarming()
}

fn postponed() -> Outcome {
    Outcome::because(
        Verdict::Postponed,
        "no_time",
        "the invocation's time is nearly over: a later one goes on",
    )
}

/// What became of an instance, by what became of the way out of its runners.
fn outcome<E: fmt::Display>(retirement: Retirement<E>) -> Outcome {
    let text = retirement.to_string();
    match &retirement {
        Retirement::Held(hold) => Outcome::new(Verdict::Hold, reasons(hold.assessment()).collect()),
        Retirement::Undecided { hold, .. } => {
            Outcome::new(Verdict::Draining, reasons(hold.assessment()).collect())
        }
        Retirement::Draining { .. } => Outcome::because(Verdict::Draining, "draining", text),
        Retirement::Stopped { why, .. } => {
            let code = match why {
                Setback::Refused(refused) => refused.as_str(),
                Setback::Occupied => "occupied",
                Setback::Deregistering { .. } => "deregistering",
                _ => "stopped",
            };
            Outcome::because(Verdict::Stopped, code, text)
        }
        Retirement::DeregisteredWhileOccupied { .. } => {
            Outcome::because(Verdict::Hold, "deregistered_while_occupied", text).alarming()
        }
        Retirement::Terminated(basis) => {
            Outcome::because(Verdict::Terminated, basis.as_str(), text)
        }
        Retirement::Failed(_) => Outcome::because(Verdict::Failed, "terminate_failed", text),
    }
}
