//! Which runner has which job, and what becomes of it.

use crate::world::*;
use reqwest::Method;
use scale_in_guard::testing::fake_github::NewRunner;
use serde_json::{Value, json};

#[tokio::test]
async fn a_job_occupies_its_runner_until_it_is_over() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    let id = github.register(acme, "r-1");
    let job = github.queue_job(ATLAS, &["self-hosted"]);
    assert!(!github.is_occupied(acme, "r-1"));
    assert_eq!(world.statuses(RUNS, "workflow_runs").await, ["queued"]);

    github.assign(job, acme, "r-1");
    assert!(github.is_occupied(acme, "r-1"));
    assert!(world.is_shown_busy("r-1").await);
    let path = format!("/repos/{ATLAS}/actions/jobs/{job}");
    let (_, _, row) = world.get(&path).await;
    assert_eq!(row["runner_id"], json!(id));
    assert_eq!(row["runner_name"], "r-1");

    let other = github.add_job_to_run(job, &["gpu"]);
    github.finish_job(job);
    assert!(!github.is_occupied(acme, "r-1"));
    assert!(!world.is_shown_busy("r-1").await);
    let running = format!("{RUNS}?status=in_progress");
    assert_eq!(world.rows(&running, "workflow_runs").await.len(), 1);

    github.finish_job(other);
    assert!(world.rows(&running, "workflow_runs").await.is_empty());
    let success = format!("{RUNS}?status=success");
    let success = world.rows(&success, "workflow_runs").await;
    assert_eq!(success[0]["conclusion"], "success");
    github.assign(job, acme, "r-1");
    assert!(!github.is_occupied(acme, "r-1"), "what is over stays over");
}

#[tokio::test]
async fn an_ephemeral_runner_is_gone_after_its_job() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    let ephemeral = NewRunner {
        ephemeral: true,
        ..NewRunner::named("r-1")
    };
    let id = github.register_with(acme, ephemeral);
    let job = github.start_job(acme, "r-1", ATLAS);
    assert_eq!(world.names(RUNNERS).await, ["r-1"]);
    github.finish_job(job);
    let path = format!("{RUNNERS}/{id}");
    assert_eq!(world.status(Method::GET, &path).await, 404);

    let ephemeral = NewRunner {
        ephemeral: true,
        ..NewRunner::named("r-2")
    };
    github.register_with(acme, ephemeral);
    github.start_job(acme, "r-2", ATLAS);
    assert!(github.kill(acme, "r-2").was_occupied);
    assert_eq!(world.names(RUNNERS).await, ["r-2"], "the dead leave theirs");
}

#[tokio::test]
async fn a_flag_belongs_to_a_registration_and_a_job_to_a_machine() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    let old = github.register(acme, "r-1");
    github.register(acme, "r-2");
    let job = github.start_job(acme, "r-1", ATLAS);
    let new = github.register(acme, "r-1");
    assert_ne!(old, new);
    assert!(!world.is_shown_busy("r-1").await);
    assert!(github.is_occupied(acme, "r-1"), "the machine is the same");

    github.assign(job, acme, "r-2");
    assert!(world.is_shown_busy("r-2").await);
    assert!(!github.is_occupied(acme, "r-1"));
    github.set_waiting(job, "queued");
    assert!(!world.is_shown_busy("r-2").await);
    assert!(!github.is_occupied(acme, "r-2"));
}

#[tokio::test]
async fn the_dead_are_told_from_the_killed() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    world.register_many(2);
    let job = github.start_job(acme, "r-0", ATLAS);
    github.deregister(acme, "r-0");
    assert!(github.kill(acme, "r-0").was_occupied, "listed or not");
    assert!(!github.kill(acme, "r-0").was_occupied, "twice is once");
    assert!(!github.kill(acme, "r-1").was_occupied);
    let (_, _, row) = world
        .get(&format!("/repos/{ATLAS}/actions/jobs/{job}"))
        .await;
    assert_eq!(row["conclusion"], "failure");
    assert_eq!(world.rows(RUNNERS, "runners").await[0]["status"], "offline");
}

#[tokio::test]
async fn a_job_that_is_run_again_is_shown_in_its_last_attempt() {
    let world = World::new().await;
    let github = &world.github;
    let first = github.start_job(&world.acme, "r-1", ATLAS);
    github.finish_job_as(first, "failure");
    let again = github.rerun_job(first);
    let (_, _, row) = world
        .get(&format!("/repos/{ATLAS}/actions/jobs/{again}"))
        .await;
    assert_eq!(row["run_attempt"], 2);
    let jobs = format!("{RUNS}/{}/jobs", row["run_id"]);
    assert_eq!(world.statuses(&jobs, "jobs").await, ["queued"]);
    let all = format!("{jobs}?filter=all");
    assert_eq!(world.statuses(&all, "jobs").await, ["completed", "queued"]);
}

#[tokio::test]
async fn delete_refuses_a_busy_runner_unless_the_flag_lies() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    let id = github.register(acme, "r-1");
    let job = github.start_job(acme, "r-1", ATLAS);
    let path = format!("{RUNNERS}/{id}");
    let answer = world.ask(Method::DELETE, &path).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 422);
    let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    let why = "Bad request - Runner \"r-1\" is currently running a job and cannot be deleted.";
    assert_eq!(body["message"], why);

    github.lie_busy(acme, "r-1", Some(false));
    assert_eq!(world.status(Method::DELETE, &path).await, 204);
    assert_eq!(world.status(Method::GET, &path).await, 404);
    assert_eq!(world.status(Method::DELETE, &path).await, 404);
    assert!(github.is_occupied(acme, "r-1"), "the job runs on");
    let (_, _, row) = world
        .get(&format!("/repos/{ATLAS}/actions/jobs/{job}"))
        .await;
    assert_eq!(row["status"], "in_progress");
}

#[tokio::test]
async fn a_job_is_dispatched_only_to_a_runner_that_is_registered_online_and_idle() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    let dispatch = || github.dispatch(acme, "r-1", ATLAS);
    assert_eq!(dispatch(), None, "nobody knows it");
    assert!(!github.is_registered(acme, "r-1"));
    github.register(acme, "r-1");
    github.set_status(acme, "r-1", "offline");
    assert_eq!(dispatch(), None, "offline");
    github.connect(acme, "r-1");
    assert!(github.is_registered(acme, "r-1"));
    let job = dispatch().unwrap();
    assert!(github.is_occupied(acme, "r-1"));
    assert_eq!(dispatch(), None, "it has a job");
    github.finish_job(job);
    github.deregister(acme, "r-1");
    assert_eq!(dispatch(), None, "deregistered");
    assert!(!github.is_occupied(acme, "r-1"));
}
