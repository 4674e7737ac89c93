//! What is shown differs from what is so.

use crate::world::*;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_flag_lags_and_lies() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    github.register(acme, "r-1");
    github.lag_busy(minutes(5));
    let job = github.start_job(acme, "r-1", ATLAS);
    assert!(!world.is_shown_busy("r-1").await);
    world.clock.advance(minutes(4));
    assert!(!world.is_shown_busy("r-1").await);
    world.clock.advance(minutes(1));
    assert!(world.is_shown_busy("r-1").await);

    github.lie_busy(acme, "r-1", Some(false));
    assert!(!world.is_shown_busy("r-1").await);
    github.lie_busy(acme, "r-1", None);
    assert!(world.is_shown_busy("r-1").await);

    github.finish_job(job);
    assert!(world.is_shown_busy("r-1").await, "it lags both ways");
    github.lag_busy(TimeDelta::zero());
    assert!(!world.is_shown_busy("r-1").await);
    github.lie_busy(acme, "r-1", Some(true));
    assert!(world.is_shown_busy("r-1").await);
}

#[tokio::test]
async fn jobs_lag_and_hide() {
    let world = World::new().await;
    let github = &world.github;
    github.add_repository(ATLAS);
    github.lag_jobs(minutes(2));
    let job = github.queue_job(ATLAS, &[]);
    assert!(world.rows(RUNS, "workflow_runs").await.is_empty());
    world.clock.advance(minutes(1));
    github.assign(job, &world.acme, "r-1");
    world.clock.advance(minutes(1));
    assert_eq!(world.statuses(RUNS, "workflow_runs").await, ["queued"]);
    world.clock.advance(minutes(1));
    assert_eq!(world.statuses(RUNS, "workflow_runs").await, ["in_progress"]);

    github.show_run_as(job, Some("completed"));
    assert_eq!(world.statuses(RUNS, "workflow_runs").await, ["completed"]);
    let path = format!("/repos/{ATLAS}/actions/jobs/{job}");
    assert_eq!(world.get(&path).await.2["status"], "in_progress");
    github.show_run_as(job, None);

    github.hide_job(job, true);
    assert!(world.rows(RUNS, "workflow_runs").await.is_empty());
    assert_eq!(world.status(Method::GET, &path).await, 404);
    github.hide_job(job, false);
    assert_eq!(world.status(Method::GET, &path).await, 200);
}

#[tokio::test]
async fn a_runner_is_missing_from_the_listing_or_by_number() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    world.register_many(2);
    github.omit_from_listing(acme, "r-0", true);
    github.hide_by_id(acme, "r-1", true);
    assert_eq!(world.names(RUNNERS).await, ["r-1"]);
    assert_eq!(
        world.status(Method::GET, &format!("{RUNNERS}/1")).await,
        200
    );
    assert_eq!(
        world.status(Method::GET, &format!("{RUNNERS}/2")).await,
        404
    );
    github.omit_from_listing(acme, "r-0", false);
    github.hide_by_id(acme, "r-1", false);
    assert_eq!(world.names(RUNNERS).await, ["r-0", "r-1"]);
    assert_eq!(
        world.status(Method::GET, &format!("{RUNNERS}/2")).await,
        200
    );
}

#[tokio::test]
async fn what_a_later_github_may_show_is_shown() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    github.register(acme, "r-1");
    let job = github.start_job(acme, "r-1", ATLAS);
    github.extra_fields(true);
    let rows = world.rows(RUNNERS, "runners").await;
    assert_eq!((rows.len(), &rows[0]["os"]), (2, &Value::Null));
    assert_eq!(rows[1]["status"], "dozing");
    let runs = world.rows(RUNS, "workflow_runs").await;
    let jobs = format!("{RUNS}/{}/jobs", runs[0]["id"]);
    let statuses = world.statuses(&jobs, "jobs").await;
    assert_eq!(statuses, ["in_progress", "levitating"]);

    github.show_runner_fields(acme, "r-1", json!({ "busy": null }));
    github.show_job_fields(job, json!({ "runner_id": 0, "runner_name": "" }));
    assert_eq!(world.rows(RUNNERS, "runners").await[0]["busy"], Value::Null);
    assert_eq!(world.rows(&jobs, "jobs").await[0]["runner_id"], 0);
    github.extra_fields(false);
    github.show_runner_fields(acme, "r-1", json!({}));
    assert!(world.is_shown_busy("r-1").await);
}
