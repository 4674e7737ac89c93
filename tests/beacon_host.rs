//! A host with two runners, whose processes are real: what a beacon sees of each.
#![cfg(all(feature = "beacon", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Policy,
    beacon::{Processes, RunnerRoot, Watch},
};
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::Path,
    process::{Child, Command},
    sync::Arc,
};

const JOB: &str = "42b445e6-82dd-5f8b-a498-a9859d5322d2";

fn at(second: i64) -> DateTime<Utc> {
    let start: DateTime<Utc> = "2026-05-14T02:00:00Z".parse().unwrap();
    start + TimeDelta::seconds(second)
}

/// A program that waits, under the name of one of the runner's.
struct Running(Child);

impl Running {
    fn start(program: &Path) -> Self {
        fs::copy("/bin/sleep", program).unwrap();
        loop {
            match Command::new(program).arg("600").spawn() {
                Ok(child) => return Self(child),
                // Another test's fork may hold the copy open for writing.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn runner(folder: &Path) -> RunnerRoot {
    fs::create_dir_all(folder.join("bin.2.336.0")).unwrap();
    fs::create_dir(folder.join("_diag")).unwrap();
    std::os::unix::fs::symlink("bin.2.336.0", folder.join("bin")).unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap();
    let config = format!(
        "\u{feff}{{\"agentId\":7,\"agentName\":{name:?},\"gitHubUrl\":\"https://github.com/acme\"}}"
    );
    fs::write(folder.join(".runner"), config).unwrap();
    RunnerRoot::open(folder).unwrap()
}

fn log(root: &RunnerRoot, second: i64, message: &str) {
    let page = root.logs().join("Runner_20260514-020000-utc.log");
    let mut options = OpenOptions::new();
    let mut page = options.create(true).append(true).open(page).unwrap();
    let stamp = at(second).format("%Y-%m-%d %H:%M:%SZ");
    writeln!(page, "[{stamp} INFO JobDispatcher] {message}").unwrap();
}

#[test]
fn two_runners_on_one_host_are_told_apart() {
    let host = tempfile::tempdir().unwrap();
    let (a, ab) = (
        runner(&host.path().join("a")),
        runner(&host.path().join("ab")),
    );
    assert_eq!(a.read_config().unwrap().name.as_str(), "a");
    for root in [&a, &ab] {
        log(root, 0, "nothing");
    }
    let listeners: Vec<Running> = [&a, &ab]
        .map(|root| Running::start(&root.path().join("bin/Runner.Listener")))
        .into();

    let policy = Arc::new(Policy::default());
    let mut watches =
        [a.clone(), ab.clone()].map(|root| Watch::begin(root, at(1), Arc::clone(&policy)).unwrap());
    let mut look = |second| {
        let processes = Processes::scan([&a, &ab]);
        let mut looked = watches.iter_mut().map(|watch| {
            let look = watch.look(&processes, at(second));
            (look.started, watch.heartbeat().vacant_since(at(second)))
        });
        (looked.next().unwrap(), looked.next().unwrap())
    };
    assert_eq!(look(2), ((false, Some(at(2))), (false, Some(at(2)))));

    log(
        &ab,
        3,
        &format!("Job request 0 for plan {JOB} job {JOB} received."),
    );
    assert_eq!(look(3), ((false, Some(at(2))), (true, None)));
    let worker = Running::start(&ab.path().join("bin/Runner.Worker"));
    assert_eq!(look(4), ((false, Some(at(2))), (true, None)));
    assert_eq!(look(5), ((false, Some(at(2))), (false, None)));

    log(
        &ab,
        6,
        &format!("finish job request for job {JOB} with result: Succeeded"),
    );
    assert_eq!(look(6), ((false, Some(at(2))), (false, None)));
    drop(worker);
    assert_eq!(look(7), ((false, Some(at(2))), (false, Some(at(7)))));

    // A worker that no log tells of.
    let worker = Running::start(&a.path().join("bin/Runner.Worker"));
    assert_eq!(look(8), ((true, None), (false, Some(at(7)))));
    drop(worker);
    drop(listeners);
    assert_eq!(look(9), ((false, Some(at(9))), (false, Some(at(7)))));
}
