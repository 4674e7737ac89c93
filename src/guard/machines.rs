//! Which runners are on which machines: what GitHub lists and what was seen there before, put together by the rule
//! for names.

use super::Guard;
use crate::{
    github::{GitHub, GitHubError, RunnerRow},
    instance::{Instance, InstanceId, NameRule},
    records::Kept,
    runner::{Runner, RunnerId, RunnerName, Scope},
    store::{Kind, StoreError},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};
use thiserror::Error;

/// How many names are remembered of one machine. A job on any other is seen by the machine's id in its name.
const MOST: usize = 4;

/// How many of them are written at the same time.
const AT_ONCE: usize = 64;

/// A machine, and every runner that is known to be on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The machine.
    pub instance: Instance,
    /// Its runners. Never none: a machine on which nobody knows a runner has one by the name that the rule tells, or
    /// by its own. So it goes through the stages, as a runner that never registered, or has departed.
    pub runners: Vec<Runner>,
    /// Whether the rule alone tells what its runner is called. Otherwise another may register under a name that nobody
    /// foresees.
    pub named_by_rule: bool,
}

/// Why it is not known which runners are on which machines.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MachinesError {
    /// GitHub's list of runners could not be read.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// What was seen before could not be read, or what is seen not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rule never placed a runner.
    #[error(
        "of the runners that GitHub lists in {scope} none is on any of these {instances} instances by the rule {rule:?}, and none ever was: a machine whose runner is not known is no phantom before one is; see the rule for names"
    )]
    Unplaced {
        /// Where the runners are.
        scope: Scope,
        /// How many instances there are.
        instances: usize,
        /// The rule.
        rule: String,
    },
}

/// The record of a scope: by which rules a runner was ever found on a machine. A wrong rule makes phantoms of all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Placed {
    by: BTreeSet<String>,
}

/// The record of one machine: the names seen on it, the one seen last at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    names: Vec<RunnerName>,
}

impl Seen {
    fn see(&mut self, name: &RunnerName) {
        if !self.names.contains(name) {
            self.names.push(name.clone());
        }
        let surplus = self.names.len().saturating_sub(MOST);
        self.names.drain(..surplus);
    }
}

impl Guard {
    /// Which runners are on these machines, all of which take jobs of one scope. Where the rule tells the name of a
    /// machine's runner nobody is asked. Otherwise GitHub's list is read, a request for each hundred runners, and what
    /// was seen on a machine is remembered: a runner that is listed no more has departed, and not the machine lost its
    /// runner.
    ///
    /// Each runner has its machine's id, so that a job on any runner whose name has the id in it holds it.
    ///
    /// # Errors
    /// [`MachinesError`] when GitHub's list or the store could not be read or written.
    pub async fn machines(
        &self,
        github: &GitHub,
        scope: &Scope,
        rule: &NameRule,
        instances: Vec<Instance>,
    ) -> Result<Vec<Machine>, MachinesError> {
        let mut known = BTreeSet::new();
        let distinct = instances
            .into_iter()
            .filter(|instance| known.insert(instance.id.clone()));
        let instances: Vec<_> = distinct.collect();
        let mut machines = Vec::with_capacity(instances.len());
        if matches!(rule, NameRule::Equals | NameRule::Template { .. }) {
            for instance in instances {
                let name = rule.name_of_none(&instance.id);
                machines.push(machine(scope, instance, [(name, None)], true));
            }
            return Ok(machines);
        }
        let listing = github.runners(scope).await?;
        let listed = Listed::sort(&listing.rows, rule, &instances);
        let records = &self.inner.records;
        if !instances.is_empty() {
            self.is_placed(scope, rule, &listed, instances.len())
                .await?;
        }
        let key = |instance: &Instance| {
            let name = RunnerName::from(instance.id.clone());
            records.of_runner(scope, Kind::Machine, &name)
        };
        let keys: Vec<_> = instances.iter().map(key).collect();
        let kept: Vec<Kept<Seen>> = records.read(&keys).await?;
        let mut news = Vec::new();
        for ((instance, kept), key) in instances.into_iter().zip(kept).zip(keys) {
            let rows = listed.on(&instance.id);
            let mut seen = kept.value.clone();
            for (name, _) in rows {
                seen.see(name);
            }
            if seen != kept.value {
                let names: Vec<_> = rows.iter().map(|(name, _)| name.clone()).collect();
                news.push((key, names));
            }
            let gone = seen.names.into_iter();
            let gone = gone.filter(|name| !rows.iter().any(|(listed, _)| listed == name));
            let gone = gone.map(|name| (name, None));
            let there = rows.iter().map(|(name, id)| (name.clone(), Some(*id)));
            let mut runners: Vec<_> = there.chain(gone).collect();
            if runners.is_empty() {
                runners.push((rule.name_of_none(&instance.id), None));
            }
            machines.push(machine(scope, instance, runners, false));
        }
        let writes = stream::iter(news).map(async |(key, names)| {
            let see = |seen: &mut Seen| names.iter().for_each(|name| seen.see(name));
            records.update(&key, see).await
        });
        let writes = writes.buffer_unordered(AT_ONCE);
        writes.try_collect::<()>().await?;
        Ok(machines)
    }
}

impl Guard {
    /// Whether this rule ever placed a runner, now or before.
    async fn is_placed(
        &self,
        scope: &Scope,
        rule: &NameRule,
        listed: &Listed,
        instances: usize,
    ) -> Result<(), MachinesError> {
        let records = &self.inner.records;
        let key = records.of_scope(scope, Kind::Machine);
        let rule = rule.to_string();
        let placed: Kept<Placed> = records.read_one(&key).await?;
        if placed.value.by.contains(&rule) {
            return Ok(());
        }
        if listed.on.is_empty() {
            let scope = scope.clone();
            return Err(MachinesError::Unplaced {
                scope,
                instances,
                rule,
            });
        }
        let note = |placed: &mut Placed| placed.by.insert(rule.clone());
        records.update(&key, note).await?;
        Ok(())
    }
}

fn machine(
    scope: &Scope,
    instance: Instance,
    runners: impl IntoIterator<Item = (RunnerName, Option<RunnerId>)>,
    named_by_rule: bool,
) -> Machine {
    let runner = |(name, id)| Runner {
        id,
        launched_at: instance.launched_at,
        instance: Some(instance.id.clone()),
        ..Runner::called(name, scope.clone())
    };
    let runners = runners.into_iter().map(runner).collect();
    Machine {
        instance,
        runners,
        named_by_rule,
    }
}

/// The runners that GitHub lists, by their machine.
struct Listed {
    on: HashMap<InstanceId, Vec<(RunnerName, RunnerId)>>,
}

impl Listed {
    /// Finds the machine of each row: by each piece of its name that is as long as some id.
    fn sort(rows: &[RunnerRow], rule: &NameRule, instances: &[Instance]) -> Self {
        let lower = |instance: &InstanceId| instance.as_str().to_ascii_lowercase();
        let ids: HashMap<_, _> = instances
            .iter()
            .map(|instance| (lower(&instance.id), &instance.id))
            .collect();
        let lengths: BTreeSet<_> = ids.keys().map(String::len).collect();
        let mut on: HashMap<_, Vec<_>> = HashMap::new();
        for row in rows {
            let Ok(name) = row.name.parse::<RunnerName>() else {
                continue;
            };
            let lower = name.as_str().to_ascii_lowercase();
            let pieces = lengths
                .iter()
                .flat_map(|&length| lower.as_bytes().windows(length));
            let found: BTreeSet<_> = pieces
                .filter_map(|piece| match String::from_utf8_lossy(piece) {
                    Cow::Borrowed(piece) => ids.get(piece),
                    Cow::Owned(_) => None,
                })
                .filter(|id| rule.fits(name.as_str(), id))
                .collect();
            for &id in found {
                let runners = on.entry(id.clone()).or_default();
                runners.push((name.clone(), row.id));
            }
        }
        Self { on }
    }

    fn on(&self, instance: &InstanceId) -> &[(RunnerName, RunnerId)] {
        self.on.get(instance).map_or(&[], Vec::as_slice)
    }
}
