//! The stand-in is like a runner: in what it logs, in its processes and in its files.

use crate::stand_in::StandIn;
use chrono::TimeDelta;
use scale_in_guard::{
    Policy,
    lease::{Heartbeat, LeaseState},
    runner_log::{self, LogReader},
    time::Instant,
};
use std::fs;
use tempfile::TempDir;

const URL: &str = "https://github.com/acme/atlas";

fn listening() -> (TempDir, StandIn) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut runner = StandIn::install(&dir.path().join("atlas-1"), "atlas-1", Some(URL), 7);
    runner.listen();
    (dir, runner)
}

fn log(runner: &StandIn) -> String {
    let pages = runner.pages();
    let texts = pages
        .iter()
        .map(|page| fs::read_to_string(page).expect("a page"));
    texts.collect()
}

/// The log as a picture, every line received when it is stamped, and the last one's stamp.
fn picture(runner: &StandIn) -> (Heartbeat, Instant) {
    let (policy, log) = (Policy::default(), log(runner));
    let mut reader = LogReader::default();
    let mut picture: Option<(Heartbeat, Instant)> = None;
    for line in log.lines() {
        let Some(at) = runner_log::parse(line).map(|line| line.at) else {
            continue;
        };
        let (heartbeat, last) = picture.get_or_insert_with(|| (Heartbeat::new(at), at));
        heartbeat.hear(reader.read(line), at, &policy);
        *last = at;
    }
    picture.expect("lines that mean something")
}

#[test]
fn a_listener_listens_and_has_no_job() {
    let (_dir, runner) = listening();
    let (heartbeat, now) = picture(&runner);
    assert!(heartbeat.vacant_since(now).is_some());
    assert!(log(&runner).contains("Listening for Jobs\n"));
}

#[test]
fn a_job_has_a_lease_and_a_worker_until_it_is_finished() {
    let (_dir, mut runner) = listening();
    let job = runner.start();
    let (heartbeat, now) = picture(&runner);
    let lease = heartbeat.live_lease(now).expect("a live lease");
    assert_eq!(lease.job.to_string(), job);
    assert_eq!(lease.until, lease.renewed_at + TimeDelta::seconds(600));
    assert_eq!(lease.state, LeaseState::Open);
    assert_eq!(heartbeat.vacant_since(now), None);

    assert!(runner.worker_runs());
    let process = |file: &str| {
        let path = format!("/proc/{}/{file}", runner.worker());
        fs::read_to_string(path).expect("a process")
    };
    assert_eq!(process("comm"), "Runner.Worker\n");
    let program = runner.root().join("bin/Runner.Worker");
    let started = format!("{}\0spawnclient\x0010\x0013\0", program.display());
    assert_eq!(process("cmdline"), started);

    runner.finish();
    let (heartbeat, now) = picture(&runner);
    assert!(heartbeat.live_lease(now).is_none());
    assert!(heartbeat.unfinished().is_none());
    assert!(heartbeat.vacant_since(now).is_some());
    assert!(!runner.worker_runs());
    assert!(log(&runner).contains(&format!("Worker finished for job {job}. Code: 100\n")));

    assert_ne!(runner.start(), job);
    assert!(runner.worker_runs());
}

#[test]
fn a_job_that_is_received_has_a_lease_before_its_worker_starts() {
    let (_dir, mut runner) = listening();
    let job = runner.receive();
    let (heartbeat, now) = picture(&runner);
    assert!(heartbeat.live_lease(now).is_some());
    assert!(!log(&runner).contains("Process started"));
    assert_eq!(runner.start(), job);
    assert!(runner.worker_runs());
}

#[test]
fn a_renewal_is_one_line_more() {
    let (_dir, mut runner) = listening();
    let job = runner.start();
    let renewals = |runner: &StandIn| {
        let renewal = format!("Successfully renew job {job}, job is valid till ");
        log(runner).matches(&renewal).count()
    };
    assert_eq!(renewals(&runner), 1);
    runner.renew();
    assert_eq!(renewals(&runner), 2);
}

#[test]
fn a_wedged_worker_outlives_its_job_and_its_listener() {
    let (_dir, mut runner) = listening();
    runner.start();
    runner.wedge();
    let (heartbeat, now) = picture(&runner);
    assert!(heartbeat.live_lease(now).is_none());
    assert!(heartbeat.vacant_since(now).is_some());
    assert!(!log(&runner).contains("Worker finished"));
    assert!(runner.worker_runs());
    runner.exit();
    assert!(runner.worker_runs());
}

#[test]
fn a_wedged_worker_can_be_killed() {
    let (_dir, mut runner) = listening();
    runner.start();
    runner.wedge();
    runner.kill_worker();
    assert!(!runner.worker_runs());
}

#[test]
fn a_job_fails_with_its_worker() {
    let (_dir, mut runner) = listening();
    let job = runner.start();
    runner.kill_worker();
    assert!(!runner.worker_runs());
    let log = log(&runner);
    assert!(log.contains(&format!("Worker finished for job {job}. Code: 137\n")));
    assert!(log.contains(&format!(
        "finish job request for job {job} with result: Failed\n"
    )));
}

#[test]
fn a_crash_leaves_the_worker_and_no_word() {
    let (_dir, mut runner) = listening();
    let job = runner.start();
    let before = log(&runner);
    runner.crash();
    assert_eq!(log(&runner), before);
    assert!(runner.worker_runs());

    runner.listen();
    let (heartbeat, now) = picture(&runner);
    let lease = heartbeat.live_lease(now).expect("its lease");
    assert_eq!(lease.job.to_string(), job);
    assert_eq!(lease.state, LeaseState::Orphaned);
}

#[test]
fn a_shutdown_cancels_the_job() {
    let (_dir, mut runner) = listening();
    let job = runner.start();
    runner.exit();
    assert!(!runner.worker_runs());
    let log = log(&runner);
    assert!(log.contains(&format!(
        "finish job request for job {job} with result: Canceled\n"
    )));
    assert!(log.ends_with("INFO Listener] Runner execution has finished with return code 0\n"));
}

#[test]
fn a_page_follows_the_one_before() {
    let (_dir, mut runner) = listening();
    runner.page();
    runner.raw("what a job is called");
    let pages = runner.pages();
    assert_eq!(pages.len(), 2);
    let last = fs::read_to_string(&pages[1]).expect("a page");
    assert_eq!(last, "what a job is called\n");
}

#[test]
fn the_settings_are_as_the_runner_saves_them() {
    let dir = tempfile::tempdir().expect("a directory");
    for url in [Some(URL), None] {
        let runner = StandIn::install(dir.path(), "a \"b\"", url, 7);
        let text = fs::read_to_string(runner.root().join(".runner")).expect("settings");
        let json = text.strip_prefix('\u{feff}').expect("a byte-order mark");
        let settings: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(settings["agentId"], 7);
        assert_eq!(settings["agentName"], "a \"b\"");
        assert_eq!(settings["useV2Flow"], true);
        assert_eq!(settings.get("gitHubUrl").and_then(|url| url.as_str()), url);
    }
}

#[test]
fn the_settings_of_a_just_in_time_runner_are_strings() {
    let dir = tempfile::tempdir().expect("a directory");
    let runner = StandIn::install_jit(dir.path(), "atlas-1", 7);
    let json = fs::read_to_string(runner.root().join(".runner")).expect("settings");
    let settings: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(settings["AgentId"], "7");
    assert_eq!(settings["AgentName"], "atlas-1");
    assert_eq!(settings.get("GitHubUrl"), None);
}
