//! The runs of a scope that were not over when last seen. GitHub's lists by status are a search index that can go
//! silently empty: a run is over when GitHub says so of that very run, not when a list lacks it.

use crate::{
    clock::Deadline,
    github::Repository,
    records::Records,
    runner::Scope,
    stage::ABSENCE_CONFIRMED_AFTER,
    store::{Kind, StoreError},
    time::{Instant, age},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How many jobs that GitHub does not know are remembered.
const MOST_UNKNOWN: usize = 1_024;

/// The record of kind [`Kind::Scan`] of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct OpenRuns {
    /// By repository, in lower case: the run, and since when GitHub answers 404 for it.
    open: BTreeMap<Arc<str>, BTreeMap<u64, Option<Instant>>>,
    /// Jobs that webhooks opened, and since when GitHub answers 404 for them.
    unknown: BTreeMap<u64, Instant>,
}

/// What a scan found of the runs of one repository.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those that are not over, or of which nobody could tell.
    pub(super) open: BTreeSet<u64>,
    /// Those for which GitHub answered 404.
    pub(super) unknown: BTreeSet<u64>,
}

/// What is remembered of a scope's runs between looks.
#[derive(Debug)]
pub(super) struct RunMemory {
    records: Records,
}

/// The runs that were not over when last seen.
#[derive(Debug, Default)]
pub(super) struct Recalled(OpenRuns);

impl Recalled {
    pub(super) fn of(&self, repository: &Repository) -> BTreeSet<u64> {
        let runs = self.0.open.get(&name(repository));
        runs.into_iter()
            .flat_map(|runs| runs.keys())
            .copied()
            .collect()
    }
}

impl RunMemory {
    pub(super) fn new(records: Records) -> Self {
        Self { records }
    }

    /// # Errors
    /// What is the matter, where the record could not be read.
    pub(super) async fn recall(
        &self,
        scope: &Scope,
        deadline: Deadline,
    ) -> Result<Recalled, String> {
        let key = self.records.of_scope(scope, Kind::Scan);
        match deadline.meet(self.records.read_one::<OpenRuns>(&key)).await {
            Ok(Ok(kept)) => match kept.lost {
                None => Ok(Recalled(kept.value)),
                Some(lost) => Err(lost),
            },
            Ok(Err(error)) => Err(error.to_string()),
            Err(late) => Err(late.to_string()),
        }
    }

    /// Remembers what a scan found.
    pub(super) async fn keep(
        &self,
        scope: &Scope,
        found: &BTreeMap<Repository, Found>,
        now: Instant,
        deadline: Deadline,
    ) {
        let key = self.records.of_scope(scope, Kind::Scan);
        let change = |runs: &mut OpenRuns| runs.take(found, now);
        let written = deadline.meet(self.records.update(&key, change)).await;
        let error = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        tracing::warn!(%scope, error, "which runs are not over could not be remembered");
    }

    /// GitHub answered 404 for a job that a webhook opened: whether it did so before, at least a minute ago.
    pub(super) async fn is_gone(
        &self,
        scope: &Scope,
        job: u64,
        now: Instant,
    ) -> Result<bool, StoreError> {
        let key = self.records.of_scope(scope, Kind::Scan);
        self.records
            .update(&key, |runs: &mut OpenRuns| {
                while runs.unknown.len() >= MOST_UNKNOWN && !runs.unknown.contains_key(&job) {
                    runs.unknown.pop_first();
                }
                let since = *runs.unknown.entry(job).or_insert(now);
                age(now, since) >= ABSENCE_CONFIRMED_AFTER
            })
            .await
    }
}

impl OpenRuns {
    fn take(&mut self, found: &BTreeMap<Repository, Found>, now: Instant) {
        for (repository, found) in found {
            let runs = self.open.entry(name(repository)).or_default();
            let unknown_since: BTreeMap<_, _> = found
                .unknown
                .iter()
                .map(|&run| (run, runs.get(&run).copied().flatten().unwrap_or(now)))
                .filter(|&(_, since)| age(now, since) < ABSENCE_CONFIRMED_AFTER)
                .collect();
            *runs = found.open.iter().map(|&run| (run, None)).collect();
            runs.extend(
                unknown_since
                    .into_iter()
                    .map(|(run, since)| (run, Some(since))),
            );
        }
        self.open.retain(|_, runs| !runs.is_empty());
    }
}

/// A repository's name, as it stands in the record.
fn name(repository: &Repository) -> Arc<str> {
    repository.to_string().to_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_run_is_forgotten_when_it_is_over_or_answered_404_twice_a_minute_apart() {
        let at = |second| Instant::UNIX_EPOCH + TimeDelta::seconds(second);
        let repository: Repository = "Acme/atlas".parse().unwrap();
        let found = |open: &[u64], unknown: &[u64]| {
            let found = Found {
                open: open.iter().copied().collect(),
                unknown: unknown.iter().copied().collect(),
            };
            BTreeMap::from([(repository.clone(), found)])
        };
        let mut runs = OpenRuns::default();
        let known = |runs: &OpenRuns| {
            Recalled(runs.clone())
                .of(&repository)
                .into_iter()
                .collect::<Vec<_>>()
        };
        runs.take(&found(&[1, 2], &[]), at(0));
        assert_eq!(known(&runs), [1, 2]);
        runs.take(&found(&[2], &[]), at(10));
        assert_eq!(known(&runs), [2]);
        runs.take(&found(&[], &[2]), at(20));
        runs.take(&found(&[], &[2]), at(79));
        assert_eq!(known(&runs), [2], "59 s apart");
        runs.take(&found(&[2], &[]), at(79));
        runs.take(&found(&[], &[2]), at(80));
        assert_eq!(known(&runs), [2], "it answered between");
        runs.take(&found(&[], &[2]), at(140));
        assert_eq!(runs, OpenRuns::default());
    }
}
