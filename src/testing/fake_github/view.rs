//! What is wrong with GitHub's view of the truth.

use super::{FakeGitHub, truth::JobId};
use crate::runner::Scope;
use chrono::TimeDelta;
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// A runner's name in its scope.
pub(super) type Name = (Scope, String);

/// How the view differs from the truth: by default not at all.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) busy_lag: TimeDelta,
    pub(super) jobs_lag: TimeDelta,
    pub(super) busy_lies: HashMap<Name, bool>,
    pub(super) unlisted: HashSet<Name>,
    pub(super) hidden_by_id: HashSet<Name>,
    pub(super) hidden_jobs: HashSet<JobId>,
    pub(super) run_statuses: HashMap<u64, Arc<str>>,
    pub(super) run_lists_are_silent: bool,
    pub(super) drifts: bool,
    pub(super) claimed_total: Option<usize>,
    pub(super) skew: TimeDelta,
    pub(super) is_strange: bool,
    pub(super) runner_fields: HashMap<Name, Map<String, Value>>,
    pub(super) job_fields: HashMap<JobId, Map<String, Value>>,
}

fn name_of(scope: &Scope, name: &str) -> Name {
    (scope.clone(), name.into())
}

/// Puts something into a set, or takes it out.
fn set<T: std::hash::Hash + Eq>(set: &mut HashSet<T>, value: T, is_in: bool) {
    if is_in {
        set.insert(value);
    } else {
        set.remove(&value);
    }
}

/// The fields of an object; none of anything else.
fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The view.
impl FakeGitHub {
    /// Lets the busy flags follow the truth only after so long.
    pub fn lag_busy(&self, lag: TimeDelta) {
        self.change(|world, _| world.view.busy_lag = lag);
    }

    /// Pins a runner's busy flag, also for a registration to come. `None`: it follows the truth again.
    pub fn lie_busy(&self, scope: &Scope, name: &str, busy: Option<bool>) {
        let name = name_of(scope, name);
        self.change(|world, _| match busy {
            Some(busy) => world.view.busy_lies.insert(name, busy),
            None => world.view.busy_lies.remove(&name),
        });
    }

    /// Shows jobs and runs as they were so long ago; younger ones not at all.
    pub fn lag_jobs(&self, lag: TimeDelta) {
        self.change(|world, _| world.view.jobs_lag = lag);
    }

    /// Hides a job, and its run with the last of its jobs; or shows it again.
    pub fn hide_job(&self, job: JobId, is_hidden: bool) {
        self.change(|world, _| set(&mut world.view.hidden_jobs, job, is_hidden));
    }

    /// Pins the status of a job's run, which the job's own need not follow. `None`: it follows its
    /// jobs again.
    pub fn show_run_as(&self, job: JobId, status: Option<&str>) {
        self.change(|world, _| {
            let Some(run) = world.truth.jobs.get(&job).map(|job| job.run) else {
                return;
            };
            match status {
                Some(status) => world.view.run_statuses.insert(run, status.into()),
                None => world.view.run_statuses.remove(&run),
            };
        });
    }

    /// Empties every list of runs that is filtered by a status, with a total of 0, as GitHub's search index does for hours.
    /// The list of all runs stays as it is. Or fills them again.
    pub fn silence_run_lists(&self, are_silent: bool) {
        self.change(|world, _| world.view.run_lists_are_silent = are_silent);
    }

    /// Leaves a runner out of the listing, whose total agrees; asked for by number it is there. Or
    /// lists it again.
    pub fn omit_from_listing(&self, scope: &Scope, name: &str, is_omitted: bool) {
        let name = name_of(scope, name);
        self.change(|world, _| set(&mut world.view.unlisted, name, is_omitted));
    }

    /// Answers 404 to whoever asks for a runner by number; the listing has it. Or shows it again.
    pub fn hide_by_id(&self, scope: &Scope, name: &str, is_hidden: bool) {
        let name = name_of(scope, name);
        self.change(|world, _| set(&mut world.view.hidden_by_id, name, is_hidden));
    }

    /// Lets rows move up by one between the first page of a listing and the others: the row that
    /// should open the second page is on none. The total stays true.
    pub fn drift_between_pages(&self, drifts: bool) {
        self.change(|world, _| world.view.drifts = drifts);
    }

    /// Claims this many rows in every listing. `None`: as many as there are.
    pub fn claim_total(&self, total: Option<usize>) {
        self.change(|world, _| world.view.claimed_total = total);
    }

    /// Sets the clock of the `Date` header off by so much.
    pub fn clock_off(&self, skew: TimeDelta) {
        self.change(|world, _| world.view.skew = skew);
    }

    /// Shows what a later GitHub may come to show: unknown fields in every row, nulls where there was
    /// always a value, and at the end of each listing of runners and of jobs a row of an unknown status.
    pub fn extra_fields(&self, is_strange: bool) {
        self.change(|world, _| world.view.is_strange = is_strange);
    }

    /// Shows these fields of a runner instead of its own, or besides them: `json!({"busy": null})`.
    /// An empty object: none.
    pub fn show_runner_fields(&self, scope: &Scope, name: &str, shown: Value) {
        let name = name_of(scope, name);
        self.change(|world, _| world.view.runner_fields.insert(name, fields(shown)));
    }

    /// Shows these fields of a job instead of its own, or besides them. An empty object: none.
    pub fn show_job_fields(&self, job: JobId, shown: Value) {
        self.change(|world, _| world.view.job_fields.insert(job, fields(shown)));
    }
}
