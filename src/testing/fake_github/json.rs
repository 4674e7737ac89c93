//! Rows as GitHub writes them.

mod app;
mod repository;

use super::{
    seen::{Seen, SeenJob, SeenRun},
    truth::{Registered, State},
    view::View,
};
use crate::time::{At, Instant};
pub(super) use app::{app, installation, permissions};
use repository::repository;
use serde_json::{Map, Value, json};

/// The commit that every run is about.
const COMMIT: &str = "1cf9b1e0f6b1d8ee2ea0ad2d1b4c9a3f5c1f0e77";
const GIVEN_LABELS: [&str; 3] = ["self-hosted", "Linux", "X64"];

fn stamp(at: Instant) -> String {
    At(at).to_string()
}

/// A runner.
pub(super) fn runner(seen: Seen<'_>, known: &Registered) -> Value {
    let runner = &known.runner;
    let labels = runner.labels.iter().enumerate();
    let labels: Vec<Value> = labels
        .map(|(at, name)| json!({ "id": at + 1, "name": name, "type": label_type(name) }))
        .collect();
    let row = json!({
        "id": known.id,
        "name": runner.name,
        "os": "linux",
        "status": runner.status,
        "busy": seen.is_busy(known),
        "ephemeral": runner.ephemeral,
        "runner_group_id": known.group,
        "version": runner.version,
        "labels": labels,
    });
    let row = if seen.view.is_strange {
        estranged(row, &["os", "runner_group_id", "ephemeral", "version"])
    } else {
        row
    };
    overlaid(row, seen.runner_fields(known))
}

fn label_type(name: &str) -> &'static str {
    let is_given = GIVEN_LABELS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name));
    if is_given { "read-only" } else { "custom" }
}

/// A job of a run of this repository.
pub(super) fn job(base: &str, repository: &str, shown: &SeenJob<'_>, view: &View) -> Value {
    let (job, state) = (shown.job, shown.state);
    let (id, run) = (job.id.0, job.run);
    let seat = state.seat.as_ref();
    let api = format!("{base}/repos/{repository}");
    let web = format!("https://github.com/{repository}");
    let row = json!({
        "id": id,
        "run_id": run,
        "run_attempt": job.attempt,
        "run_url": format!("{api}/actions/runs/{run}"),
        "node_id": format!("CR_{id}"),
        "head_sha": COMMIT,
        "head_branch": "main",
        "workflow_name": "CI",
        "url": format!("{api}/actions/jobs/{id}"),
        "html_url": format!("{web}/actions/runs/{run}/job/{id}"),
        "check_run_url": format!("{api}/check-runs/{id}"),
        "name": job.name,
        "status": &*state.status,
        "conclusion": state.conclusion.as_deref(),
        "created_at": stamp(job.created_at),
        // GitHub gives a queued job a start, too.
        "started_at": stamp(state.started_at.unwrap_or(job.created_at)),
        "completed_at": state.completed_at.map(stamp),
        "steps": steps(state),
        "labels": job.labels,
        "runner_id": seat.map(|seat| seat.id),
        "runner_name": seat.map(|seat| &*seat.name),
        "runner_group_id": seat.map(|_| 1),
        "runner_group_name": seat.map(|_| "Default"),
    });
    let row = if view.is_strange {
        estranged(row, &["node_id", "run_url", "check_run_url", "steps"])
    } else {
        row
    };
    overlaid(row, view.job_fields.get(&job.id))
}

/// The steps that are over, and the one that the job is in, or was in when it ended.
fn steps(state: &State) -> Vec<Value> {
    let Some(started_at) = state.started_at else {
        return Vec::new();
    };
    let begun = [started_at].into_iter().chain(state.steps.iter().copied());
    let ended = state.steps.iter().copied().map(Some);
    let step = |(number, (begun, ended)): (usize, (Instant, Option<Instant>))| {
        let name = match number {
            0 => "Set up job".into(),
            number => format!("Step {number}"),
        };
        let (status, conclusion) = match ended {
            Some(_) => ("completed", Some("success")),
            None => (&*state.status, state.conclusion.as_deref()),
        };
        json!({
            "name": name,
            "number": number + 1,
            "status": status,
            "conclusion": conclusion,
            "started_at": stamp(begun),
            "completed_at": ended.or(state.completed_at).map(stamp),
        })
    };
    let steps = begun.zip(ended.chain([None]));
    steps.enumerate().map(step).collect()
}

/// A run of the repository of this number.
pub(super) fn run(base: &str, number: u64, shown: &SeenRun<'_>, is_strange: bool) -> Value {
    let run = shown.run;
    let name = &*run.repository;
    let api = format!("{base}/repos/{name}");
    let url = format!("{api}/actions/runs/{}", run.id);
    let repository = repository(base, name, number);
    let row = json!({
        "id": run.id,
        "name": "CI",
        "node_id": format!("WFR_{}", run.id),
        "check_suite_id": run.id,
        "check_suite_node_id": format!("CS_{}", run.id),
        "head_branch": "main",
        "head_sha": COMMIT,
        "path": ".github/workflows/ci.yml",
        "display_title": "A change",
        "run_number": 1,
        "run_attempt": shown.attempt,
        "event": "push",
        "status": &*shown.status,
        "conclusion": shown.conclusion.as_deref(),
        "workflow_id": 1,
        "workflow_url": format!("{api}/actions/workflows/1"),
        "url": url,
        "html_url": format!("https://github.com/{name}/actions/runs/{}", run.id),
        "jobs_url": format!("{url}/jobs"),
        "logs_url": format!("{url}/logs"),
        "artifacts_url": format!("{url}/artifacts"),
        "cancel_url": format!("{url}/cancel"),
        "rerun_url": format!("{url}/rerun"),
        "check_suite_url": format!("{api}/check-suites/{}", run.id),
        "previous_attempt_url": null,
        "pull_requests": [],
        "referenced_workflows": [],
        "created_at": stamp(run.created_at),
        "run_started_at": stamp(run.created_at),
        "updated_at": stamp(shown.updated_at),
        "actor": repository.get("owner"),
        "triggering_actor": repository.get("owner"),
        "head_commit": commit(run.created_at),
        "head_repository": repository,
        "repository": repository,
    });
    if is_strange {
        estranged(row, &["actor", "path", "run_number", "head_commit"])
    } else {
        row
    }
}

fn commit(at: Instant) -> Value {
    let somebody = json!({ "name": "Mona", "email": "mona@example.com" });
    json!({
        "id": COMMIT,
        "tree_id": COMMIT,
        "message": "A change",
        "timestamp": stamp(at),
        "author": somebody,
        "committer": somebody,
    })
}

/// A runner as a later GitHub may show one.
pub(super) fn strange_runner() -> Value {
    json!({
        "id": 4_000_000_000_u64,
        "name": "a-stranger",
        "os": "plan9",
        "status": "dozing",
        "busy": null,
        "labels": null,
        "moons": 2,
    })
}

/// A job of this run as a later GitHub may show one.
pub(super) fn strange_job(run: u64) -> Value {
    json!({
        "id": 69_000_000_000_u64,
        "run_id": run,
        "status": "levitating",
        "conclusion": null,
        "name": null,
        "labels": null,
        "created_at": null,
        "started_at": null,
        "runner_id": null,
        "runner_name": null,
        "moons": 2,
    })
}

/// A row with a field that nobody knows, and nulls for some that always had a value.
fn estranged(row: Value, nulls: &[&str]) -> Value {
    let mut shown = Map::new();
    shown.insert("moons".into(), json!([{ "name": null }, "Titan", 2]));
    shown.extend(nulls.iter().map(|&name| (name.into(), Value::Null)));
    overlaid(row, Some(&shown))
}

/// A row with these fields in place of its own.
fn overlaid(mut row: Value, shown: Option<&Map<String, Value>>) -> Value {
    if let (Some(row), Some(shown)) = (row.as_object_mut(), shown) {
        row.extend(shown.clone());
    }
    row
}
