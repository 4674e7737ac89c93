//! The truth through the view: what the API shows.

use super::{
    World,
    truth::{Job, JobId, Registered, Run, State, Truth},
    view::{Name, View},
};
use crate::{
    runner::{RunnerId, Scope},
    time::Instant,
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};

/// What is seen now.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) truth: &'a Truth,
    pub(super) view: &'a View,
    pub(super) now: Instant,
}

/// A job as it is shown.
#[derive(Clone, Copy)]
pub(super) struct SeenJob<'a> {
    pub(super) job: &'a Job,
    pub(super) state: &'a State,
}

/// A run as it is shown.
#[derive(Clone)]
pub(super) struct SeenRun<'a> {
    pub(super) run: &'a Run,
    pub(super) status: Arc<str>,
    pub(super) conclusion: Option<Arc<str>>,
    pub(super) attempt: u32,
    pub(super) updated_at: Instant,
}

impl World {
    /// What is seen at this instant.
    pub(super) fn seen(&self, now: Instant) -> Seen<'_> {
        Seen {
            truth: &self.truth,
            view: &self.view,
            now,
        }
    }
}

fn name_of(known: &Registered) -> Name {
    (known.scope.clone(), known.runner.name.clone())
}

impl<'a> Seen<'a> {
    /// Whether a runner is shown busy.
    pub(super) fn is_busy(self, known: &Registered) -> bool {
        let lie = self.view.busy_lies.get(&name_of(known)).copied();
        let flag = known.busy.lagged(self.now, self.view.busy_lag).copied();
        lie.or(flag).unwrap_or(false)
    }

    /// The runners that a listing has, in the order they registered.
    pub(super) fn listed(self, scope: &Scope) -> impl Iterator<Item = &'a Registered> {
        let of_scope = self.truth.registrations.iter();
        of_scope
            .filter(move |known| known.scope == *scope)
            .filter(move |known| !self.view.unlisted.contains(&name_of(known)))
    }

    /// A runner by number.
    pub(super) fn numbered(self, scope: &Scope, id: RunnerId) -> Option<&'a Registered> {
        let mut known = self.truth.registrations.iter();
        known
            .find(|known| known.scope == *scope && known.id == id)
            .filter(|known| !self.view.hidden_by_id.contains(&name_of(known)))
    }

    /// The fields of a runner that a test set.
    pub(super) fn runner_fields(self, known: &Registered) -> Option<&'a Map<String, Value>> {
        self.view.runner_fields.get(&name_of(known))
    }

    /// A job of a repository, by number.
    pub(super) fn job(self, repository: &str, id: JobId) -> Option<SeenJob<'a>> {
        let job = self.truth.jobs.get(&id)?;
        self.run_in(repository, job.run)?;
        self.shown(id)
    }

    fn shown(self, id: JobId) -> Option<SeenJob<'a>> {
        let job = self.truth.jobs.get(&id)?;
        let state = job.states.lagged(self.now, self.view.jobs_lag)?;
        let is_hidden = self.view.hidden_jobs.contains(&id);
        (!is_hidden).then_some(SeenJob { job, state })
    }

    fn run_in(self, repository: &str, run: u64) -> Option<&'a Run> {
        let run = self.truth.runs.get(&run);
        run.filter(|run| run.repository.eq_ignore_ascii_case(repository))
    }

    /// The jobs of a run: of every attempt, or each in its last.
    pub(super) fn jobs(
        self,
        repository: &str,
        run: u64,
        every_attempt: bool,
    ) -> Option<Vec<SeenJob<'a>>> {
        let jobs = self.jobs_of(self.run_in(repository, run)?);
        if jobs.is_empty() {
            return None;
        }
        Some(if every_attempt { jobs } else { latest(&jobs) })
    }

    fn jobs_of(self, run: &Run) -> Vec<SeenJob<'a>> {
        run.jobs.iter().filter_map(|&id| self.shown(id)).collect()
    }

    /// The runs of a repository, the newest first.
    pub(super) fn runs(self, repository: &str) -> impl Iterator<Item = SeenRun<'a>> {
        let newest_first = self.truth.runs.values().rev();
        newest_first
            .filter(move |run| run.repository.eq_ignore_ascii_case(repository))
            .filter_map(move |run| self.run(run))
    }

    fn run(self, run: &'a Run) -> Option<SeenRun<'a>> {
        let jobs = latest(&self.jobs_of(run));
        let pinned = self.view.run_statuses.get(&run.id).cloned();
        let updated_at = jobs.iter().map(|job| job.state.since).max()?;
        let status = pinned.unwrap_or_else(|| status_of(&jobs));
        Some(SeenRun {
            run,
            conclusion: (&*status == "completed").then(|| conclusion_of(&jobs)),
            status,
            attempt: jobs.iter().map(|job| job.job.attempt).max()?,
            updated_at,
        })
    }
}

/// Each job in its last attempt.
fn latest<'a>(jobs: &[SeenJob<'a>]) -> Vec<SeenJob<'a>> {
    let by_name: BTreeMap<&str, JobId> = jobs
        .iter()
        .map(|job| (&*job.job.name, job.job.id))
        .collect();
    let is_last = |job: &&SeenJob<'_>| by_name.get(&*job.job.name) == Some(&job.job.id);
    jobs.iter().filter(is_last).copied().collect()
}

/// The status of a run with these jobs.
fn status_of(jobs: &[SeenJob<'_>]) -> Arc<str> {
    let is = |status: &'static str| move |job: &SeenJob<'_>| &*job.state.status == status;
    if jobs.iter().all(is("completed")) {
        return "completed".into();
    }
    if jobs.iter().any(is("in_progress")) || jobs.iter().any(is("completed")) {
        return "in_progress".into();
    }
    let first = jobs.first().map(|job| job.state.status.clone());
    first.unwrap_or_else(|| "queued".into())
}

/// The conclusion of a run with these jobs: success, or the first other one.
fn conclusion_of(jobs: &[SeenJob<'_>]) -> Arc<str> {
    let conclusions = jobs.iter().filter_map(|job| job.state.conclusion.clone());
    let mut failures = conclusions.filter(|conclusion| &**conclusion != "success");
    failures.next().unwrap_or_else(|| "success".into())
}
