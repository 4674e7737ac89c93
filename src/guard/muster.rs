//! The muster of a scope: which machines may be asked about first, kept in the store for whoever has two seconds to
//! find a few among thousands.

use super::{
    Guard, Survey,
    fencing::new_nonce,
    machines::Machine,
    retire::{Never, Retirement, Standing},
};
use crate::{
    clock::Deadline,
    decision::{Assessment, Basis},
    evidence::Signal,
    fence::{DRAIN_LAPSES, Deregistration, Drain, Fence, Incarnation, Next, Phase},
    instance::InstanceId,
    runner::{Runner, RunnerName, Scope},
    source::{Round, SecondLook, Share},
    store::{Key, Kind, StoreError},
    time::{Instant, age},
};
use futures::{StreamExt, future, stream};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How many runners are on the machines that a muster names: those vacant for longest. It is read, and written, in one
/// piece, and by those who have two seconds.
const MOST: usize = 3_000;

/// How many absent runners a sweep drains, or looks at again: each is a request or two. The others wait for the next.
const ABSENT: usize = 100;

/// How many machines without runners are looked at again at the same time.
const AT_ONCE: usize = 8;

/// Which machines of a scope could go, as the last sweep of all of them found. It is where to look, and nothing
/// follows from it: each is looked at again before anything is done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Muster {
    /// When it was taken; `None` where none ever was.
    pub taken_at: Option<Instant>,
    /// How many machines the sweep looked at.
    pub swept: usize,
    /// Since when most beacons were silent, where they were: then it names no machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Instant>,
    /// Those drained first, then those vacant for longest.
    pub machines: Vec<Mustered>,
}

/// A machine in a muster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mustered {
    /// The machine.
    pub instance: InstanceId,
    /// Every runner that is known to be on it.
    pub runners: Vec<Runner>,
    /// Whether another can register on it under a name that nobody foresees.
    #[serde(default)]
    pub named_by_rule: bool,
    /// Since when all of them have been vacant.
    pub vacant_since: Instant,
    /// When it was drained, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_at: Option<Instant>,
}

impl Mustered {
    fn rank(&self) -> (bool, Instant, Instant, &InstanceId) {
        let drained_at = self.drained_at.unwrap_or(self.vacant_since);
        let is_drained = self.drained_at.is_some();
        (!is_drained, drained_at, self.vacant_since, &self.instance)
    }
}

impl Muster {
    /// A machine was drained then.
    fn drained(&mut self, instance: &InstanceId, at: Instant) {
        let mut machines = self.machines.iter_mut();
        if let Some(machine) = machines.find(|machine| machine.instance == *instance) {
            machine.drained_at.get_or_insert(at);
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.machines.sort_by(|a, b| a.rank().cmp(&b.rank()));
    }
}

/// What a sweep of all machines of a scope found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct MusterReport {
    /// How many machines there are.
    pub machines: usize,
    /// How many of them could go.
    pub vacant: usize,
    /// How many are drained.
    pub drained: usize,
    /// How many runners are held, by their first reason.
    pub held: BTreeMap<&'static str, usize>,
}

/// What a survey found of one runner.
enum Found<'s> {
    /// It could go, and is registered.
    Vacant(&'s Assessment),
    /// It could go, and is absent.
    Absent(&'s Assessment),
    /// It is drained.
    Drained {
        seen: &'s Assessment,
        drain: &'s Drain,
        written_at: Instant,
    },
}

impl Guard {
    /// Sweeps all machines of a scope, and writes down which of them could go, for
    /// a [termination policy](Self::mustered) to begin with. To be called every few minutes,
    /// more often than [`Policy::max_observation_gap`](crate::Policy::max_observation_gap); it reads GitHub's list.
    ///
    /// Machines whose runners never registered, or have departed, it drains as well, and looks at again the next time:
    /// only beside that list can they go. Nothing is deregistered. In shadow mode it drains none.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written down.
    pub async fn muster(
        &self,
        scope: &Scope,
        machines: Vec<Machine>,
    ) -> Result<MusterReport, StoreError> {
        let began_at = self.now();
        let runners = machines.iter().flat_map(|machine| machine.runners.clone());
        let survey = self.look_over(runners).await;
        let confirmed = self.drain_the_absent(&machines, &survey).await;
        let mut report = MusterReport {
            machines: machines.len(),
            ..MusterReport::default()
        };
        let found = Found::all(&survey);
        let held = survey.held();
        for held in held.filter(|seen| !found.contains_key(&seen.runner.name)) {
            if let Some(reason) = held.reasons().next() {
                let count = report.held.entry(reason.code().as_str()).or_default();
                *count = count.saturating_add(1);
            }
        }
        let mut muster = Muster {
            taken_at: Some(began_at),
            swept: machines.len(),
            silent_since: survey.silent_since(),
            machines: Vec::new(),
        };
        // Where most beacons fell silent it is more likely that we do not hear them than that they are gone.
        if muster.silent_since.is_none() {
            let listed = machines
                .into_iter()
                .filter_map(|machine| mustered(machine, &found, &confirmed));
            muster.machines = listed.collect();
        }
        muster.sort();
        let mut left = MOST;
        muster.machines.retain(|machine| {
            let fits = machine.runners.len() <= left;
            left = left.saturating_sub(machine.runners.len());
            fits
        });
        report.vacant = muster.machines.len();
        let drained = muster.machines.iter();
        let drained = drained.filter(|machine| machine.drained_at.is_some());
        report.drained = drained.count();
        let take = |known: &mut Muster| {
            let mut taken = muster.clone();
            // Drained since this sweep looked at it.
            for machine in &known.machines {
                if let Some(at) = machine.drained_at.filter(|&at| at >= began_at) {
                    taken.drained(&machine.instance, at);
                }
            }
            *known = taken;
        };
        self.inner
            .records
            .update(&self.muster_key(scope), take)
            .await?;
        Ok(report)
    }

    /// The last muster of a scope.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be read.
    pub async fn mustered(&self, scope: &Scope) -> Result<Muster, StoreError> {
        let kept = self.inner.records.read_one(&self.muster_key(scope)).await?;
        Ok(kept.value)
    }

    /// Notes that a machine of the muster was drained.
    #[cfg(feature = "lambda")]
    pub(crate) async fn note_drained(
        &self,
        scope: &Scope,
        instance: &InstanceId,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let note = |muster: &mut Muster| muster.drained(instance, now);
        self.inner
            .records
            .update(&self.muster_key(scope), note)
            .await
    }

    fn muster_key(&self, scope: &Scope) -> Key {
        self.inner.records.of_scope(scope, Kind::Muster)
    }

    /// Drains the runners that never registered or have departed, of machines that nothing else holds; and looks again
    /// at those that are drained. Each is held by its own look if it must be. It tells which of them are still absent,
    /// and drained.
    async fn drain_the_absent(&self, machines: &[Machine], survey: &Survey) -> HashSet<RunnerName> {
        let found = Found::all(survey);
        let of_machine = |machine: &Machine| {
            let runners = machine.runners.iter();
            runners
                .map(|runner| found.get(&runner.name).map(|found| (runner.clone(), found)))
                .collect::<Option<Vec<_>>>()
        };
        // Those of machines on which each runner could go, or is on its way.
        let free = machines.iter().filter_map(of_machine).flatten();
        let is_absent = |(_, found): &(Runner, &Found<'_>)| match found {
            Found::Vacant(_) => false,
            Found::Absent(_) => true,
            Found::Drained { drain, .. } => {
                matches!(drain.basis, Basis::NeverRegistered | Basis::Departed)
            }
        };
        let budget = self.policy().max_permits_per_sweep;
        let mut left = budget.map_or(usize::MAX, |budget| budget.permits(survey.len()));
        let mut absent: Vec<_> = free
            .filter(is_absent)
            .filter(|(_, found)| found.is_due(self.now()))
            .map(|(runner, found)| (runner, matches!(found, Found::Drained { .. })))
            .filter(|(_, is_drained)| {
                let may_begin = left > 0;
                left = left.saturating_sub(usize::from(!is_drained));
                *is_drained || may_begin
            })
            .collect();
        // Its neighbours on the same machine are asked about as well, as the survey did.
        let runners = machines.iter().flat_map(|machine| &machine.runners);
        let round = &Round::of(runners, Share::Some);
        let deadline = Deadline::within(self.policy().ask_deadline * 3);
        // Those that are drained would lapse.
        absent.sort_by_key(|(_, is_drained)| !is_drained);
        absent.truncate(ABSENT);
        let steps = stream::iter(absent).map(async |(runner, is_drained)| {
            if deadline.left().is_zero() {
                return None;
            }
            let step = match is_drained {
                true => self.confirm_absence(&runner, round).await,
                false => self.ready(&runner, round).await.map(|_| false),
            };
            let is_confirmed = step.unwrap_or_else(|retirement| {
                tracing::debug!(runner = %runner.name, %retirement, "absent");
                false
            });
            is_confirmed.then_some(runner.name)
        });
        let confirmed = steps.buffer_unordered(AT_ONCE);
        confirmed.filter_map(future::ready).collect().await
    }

    /// Writes down that a drained runner that nobody ever saw registered, or that has departed, still is absent by a
    /// listing, and so begins its drain anew: until that lapses no look has to list everybody for it. `false` where
    /// it is too early.
    async fn confirm_absence(
        &self,
        runner: &Runner,
        round: &Round,
    ) -> Result<bool, Retirement<Never>> {
        let deadline = Deadline::within(self.policy().ask_deadline);
        let recalled = self.recall(runner, deadline).await;
        let Some((fence, written_at)) = recalled.host().map(super::host::Host::fence) else {
            return Ok(false);
        };
        let whom = Incarnation::of(runner, recalled.shared().id());
        let next = fence.next(whom, age(self.now(), written_at), self.policy());
        let Next::LookAgain(drain) = next else {
            return Ok(false);
        };
        let standing = Standing::of(drain.clone(), fence.epoch(), written_at, self.policy());
        let permit = self
            .second_look(runner, &standing, SecondLook::OfAny, round, deadline)
            .await?;
        if permit.shows_registration() {
            self.give_up(runner, &standing.mark).await;
            return Ok(false);
        }
        let renewed = Drain {
            nonce: new_nonce(),
            deregistration: Deregistration::Absent,
            ..standing.drain
        };
        let renew = |fence: &Fence, age| fence.renew(&standing.mark, renewed.clone(), age);
        match self.step(runner, renew).await {
            Ok(()) => Ok(true),
            Err(no_step) => Err(self.not_made(no_step)),
        }
    }
}

impl<'s> Found<'s> {
    /// What was found of each runner that could go, or is on its way.
    fn all(survey: &'s Survey) -> HashMap<RunnerName, Self> {
        let candidates = survey.candidates().map(|seen| {
            let found = match seen.stage.basis() {
                Some(Basis::NeverRegistered | Basis::Departed) => Self::Absent(seen),
                _ => Self::Vacant(seen),
            };
            (seen.runner.name.clone(), found)
        });
        let held = survey.held().filter_map(|seen| {
            let found = Self::drained(seen)?;
            Some((seen.runner.name.clone(), found))
        });
        candidates.chain(held).collect()
    }

    fn drained(seen: &'s Assessment) -> Option<Self> {
        let whom = Incarnation::of(&seen.runner, crate::evidence::shown_id(&seen.evidence));
        let mut fences = seen.evidence.iter();
        fences.find_map(|evidence| match &evidence.signal {
            Signal::Fence(fence) => match fence.phase(whom, seen.at) {
                Phase::Draining { drain, .. } => Some(Self::Drained {
                    seen,
                    drain,
                    written_at: fence.written_at,
                }),
                _ => None,
            },
            _ => None,
        })
    }

    /// Whether there is something to be done about it at a sweep: not where it was looked at again lately, for then it
    /// would have to settle anew.
    fn is_due(&self, now: Instant) -> bool {
        match self {
            Self::Drained {
                drain, written_at, ..
            } => {
                let is_new = age(now, *written_at) < DRAIN_LAPSES / 2;
                drain.deregistration != Deregistration::Absent || !is_new
            }
            _ => true,
        }
    }

    /// Since when it has been vacant.
    fn since(&self) -> Instant {
        match self {
            Self::Vacant(seen) | Self::Absent(seen) | Self::Drained { seen, .. } => {
                let since = seen.vacant_since.or(seen.runner.launched_at);
                since.unwrap_or(seen.at)
            }
        }
    }
}

/// A machine, if each of its runners could go without a list of all runners.
fn mustered(
    machine: Machine,
    found: &HashMap<RunnerName, Found<'_>>,
    confirmed: &HashSet<RunnerName>,
) -> Option<Mustered> {
    let found: Vec<_> = machine
        .runners
        .iter()
        .map(|runner| found.get(&runner.name))
        .collect::<Option<_>>()?;
    let is_open = |found: &Found<'_>| match found {
        Found::Vacant(_) => true,
        Found::Absent(_) => false,
        Found::Drained { seen, drain, .. } => {
            drain.deregistration == Deregistration::Absent
                || !matches!(drain.basis, Basis::NeverRegistered | Basis::Departed)
                || confirmed.contains(&seen.runner.name)
        }
    };
    if !found.iter().all(|&found| is_open(found)) {
        return None;
    }
    let drained_at: Option<Vec<_>> = found
        .iter()
        .map(|found| match found {
            Found::Drained { written_at, .. } => Some(*written_at),
            _ => None,
        })
        .collect();
    Some(Mustered {
        vacant_since: found.iter().map(|found| found.since()).max()?,
        drained_at: drained_at.and_then(|at| at.into_iter().max()),
        instance: machine.instance.id,
        runners: machine.runners,
        named_by_rule: machine.named_by_rule,
    })
}
