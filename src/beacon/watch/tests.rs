use super::*;
use crate::beacon::{
    RootProcesses,
    hook::{HookEvent, mark},
};
use chrono::TimeDelta;
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::PathBuf,
    time::SystemTime,
};
use tempfile::TempDir;

const JOB: &str = "42b445e6-82dd-5f8b-a498-a9859d5322d2";
const OTHER: &str = "8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21";
const PAGE: &str = "20260514-020000";

const NONE: RootProcesses = RootProcesses {
    listener: false,
    worker: false,
    unattributed_worker: false,
    log_deleted: false,
};
const LISTENER: RootProcesses = RootProcesses {
    listener: true,
    ..NONE
};
const WORKER: RootProcesses = RootProcesses {
    worker: true,
    ..LISTENER
};
const ANYBODYS: RootProcesses = RootProcesses {
    unattributed_worker: true,
    ..NONE
};

/// Seconds after the start of every story.
fn at(second: i64) -> Instant {
    let start: Instant = "2026-05-14T02:00:00Z".parse().unwrap();
    after(start, TimeDelta::seconds(second))
}

/// A line of the runner's log.
fn line(second: i64, source: &str, message: &str) -> String {
    let stamp = at(second).format("%Y-%m-%d %H:%M:%SZ");
    format!("[{stamp} INFO {source}] {message}\n")
}

fn listening(second: i64) -> String {
    let stamp = at(second).format("%Y-%m-%d %H:%M:%SZ");
    line(
        second,
        "Terminal",
        &format!("WRITE LINE: {stamp}: Listening for Jobs"),
    )
}

fn received(second: i64, job: &str) -> String {
    line(
        second,
        "JobDispatcher",
        &format!("Job request 0 for plan {OTHER} job {job} received."),
    )
}

fn renewed(second: i64, job: &str) -> String {
    line(
        second,
        "JobDispatcher",
        &format!("Successfully renew job {job}, job is valid till never"),
    )
}

fn finished(second: i64, job: &str) -> String {
    line(
        second,
        "JobDispatcher",
        &format!("finish job request for job {job} with result: Succeeded"),
    )
}

fn no_job(second: i64) -> String {
    line(second, "Runner", "nothing")
}

/// A runner's folder.
struct Host {
    folder: TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("_diag")).unwrap();
        fs::write(folder.path().join("run.sh"), "").unwrap();
        Self { folder }
    }

    fn root(&self) -> RunnerRoot {
        RunnerRoot::open(self.folder.path()).unwrap()
    }

    fn page(&self, page: &str) -> PathBuf {
        self.root().logs().join(format!("Runner_{page}-utc.log"))
    }

    fn logs_to(&self, page: &str, lines: impl AsRef<str>) -> &Self {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .open(self.page(page))
            .unwrap();
        file.write_all(lines.as_ref().as_bytes()).unwrap();
        self
    }

    fn logs(&self, lines: impl AsRef<str>) -> &Self {
        self.logs_to(PAGE, lines)
    }

    /// A hook ran, on the host's clock.
    fn hook(&self, event: HookEvent, second: i64) {
        mark(self.folder.path(), event).unwrap();
        let name = match event {
            HookEvent::Started => "scale-in-guard.started",
            HookEvent::Completed => "scale-in-guard.completed",
        };
        let mut options = File::options();
        let file = options
            .write(true)
            .open(self.root().logs().join(name))
            .unwrap();
        file.set_modified(SystemTime::from(at(second))).unwrap();
    }

    fn begin(&self, second: i64) -> Watching {
        let watch = Watch::begin(self.root(), at(second), Arc::new(Policy::default()));
        Watching(watch.unwrap())
    }
}

struct Watching(Watch);

impl Watching {
    fn look(&mut self, seen: RootProcesses, second: i64) -> Look {
        let processes = Processes::seen(self.0.root(), seen);
        self.0.look(&processes, at(second))
    }

    /// Looks where the system tells nothing.
    fn look_alone(&mut self, second: i64) -> Look {
        self.0.look(&Processes::unknown(), at(second))
    }

    /// Looks every 20 seconds and once more at the end.
    fn looks(&mut self, seen: RootProcesses, seconds: std::ops::RangeInclusive<i64>) {
        let end = *seconds.end();
        for second in seconds.step_by(20) {
            self.look(seen, second);
        }
        self.look(seen, end);
    }

    /// Since when it says *no job*.
    fn idle(&self) -> Option<i64> {
        let since = self.0.heartbeat.idle_since?;
        Some(age(since, at(0)).num_seconds())
    }

    fn open(&self) -> Vec<String> {
        let open = self.0.heartbeat.leases.iter();
        open.filter(|lease| lease.state == LeaseState::Open)
            .map(|lease| lease.job.to_string())
            .collect()
    }

    fn blind(&self) -> Option<&str> {
        self.0.heartbeat.blind.as_deref()
    }
}

fn news(started: bool, changed: bool) -> Look {
    Look { started, changed }
}

#[test]
fn a_job_from_its_receipt_to_its_end() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(10);
    assert_eq!(watch.look(LISTENER, 11), news(false, true));
    assert_eq!(watch.idle(), Some(10));
    assert_eq!(watch.look(LISTENER, 12), news(false, false));
    assert_eq!(watch.idle(), Some(10), "kept from look to look");
    assert_eq!(watch.0.heartbeat.heard_at, at(12));

    host.logs(received(13, JOB));
    assert_eq!(watch.look(LISTENER, 13), news(true, true));
    assert_eq!((watch.idle(), watch.open()), (None, vec![JOB.to_owned()]));
    // Its worker is not there yet.
    assert_eq!(watch.look(LISTENER, 14), news(false, false));
    assert_eq!(watch.idle(), None);
    assert_eq!(watch.look(WORKER, 15), news(true, true));
    assert_eq!(watch.look(WORKER, 16), news(false, false));
    host.logs(renewed(17, JOB));
    assert_eq!(watch.look(WORKER, 17), news(false, true));

    host.logs(finished(20, JOB));
    assert_eq!(watch.look(WORKER, 20), news(false, true));
    assert_eq!(
        (watch.idle(), watch.open().len()),
        (None, 0),
        "its worker is there"
    );
    assert_eq!(watch.look(LISTENER, 21), news(false, true));
    assert_eq!(watch.idle(), Some(21));
    assert_eq!(watch.look(LISTENER, 22), news(false, false));

    watch.0.going(at(23));
    assert_eq!(watch.idle(), None);
}

#[test]
fn a_job_that_is_over_before_the_next_look_has_started_all_the_same() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(10);
    watch.look(LISTENER, 10);
    host.logs(received(11, JOB) + &finished(12, JOB));
    assert_eq!(watch.look(LISTENER, 12), news(true, true));
    assert_eq!(watch.idle(), Some(12));
}

#[test]
fn a_look_that_finds_nothing_new_is_a_sign_of_life_alone() {
    let host = Host::new();
    let mut watch = host.begin(0);
    watch.look_alone(1);
    host.logs(no_job(2));
    assert!(watch.look_alone(2).changed, "it sees");
    host.logs(no_job(3));
    assert_eq!(watch.look_alone(3), news(false, false));
    assert_eq!((watch.0.heartbeat.heard_at, watch.idle()), (at(3), None));
}

#[test]
fn without_sight_the_log_alone_serves() {
    let host = Host::new();
    host.logs(no_job(0));
    let mut watch = host.begin(0);
    for second in 1..30 {
        watch.look(NONE, second);
    }
    assert_eq!(watch.idle(), None, "no process, and no word of the log");
    host.logs(received(30, JOB) + &renewed(30, JOB));
    assert!(watch.look(NONE, 30).started);
    watch.looks(NONE, 31..=2_000);
    assert_eq!(
        watch.idle(),
        None,
        "it ran out long ago, but its worker could not be seen"
    );
    host.logs(finished(2_001, JOB));
    watch.look(NONE, 2_001);
    assert_eq!(watch.idle(), Some(2_001));
}

#[test]
fn absence_proves_nothing_at_a_look_where_the_system_tells_nothing() {
    let host = Host::new();
    host.logs(no_job(0));
    let mut watch = host.begin(0);
    watch.look(WORKER, 1);
    watch.look_alone(2);
    assert_eq!(watch.idle(), None);
    assert!(watch.0.heartbeat.worker_since.is_some());
    // A sight that was proven stays proven.
    watch.look(NONE, 3);
    assert_eq!(watch.idle(), Some(3));
}

#[test]
fn a_worker_proves_sight_as_a_listener_does() {
    for (seen, idle) in [(LISTENER, Some(2)), (WORKER, Some(2)), (NONE, None)] {
        let host = Host::new();
        host.logs(no_job(0));
        let mut watch = host.begin(0);
        let only = RootProcesses {
            listener: seen == LISTENER,
            ..seen
        };
        watch.0.look(&Processes::seen(watch.0.root(), only), at(1));
        watch.0.going(at(1)); // takes back whatever was said
        watch.look(NONE, 2);
        assert_eq!(watch.idle(), idle, "{seen:?}");
    }
}

#[test]
fn a_worker_without_a_job_holds_by_itself() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    assert_eq!(watch.look(WORKER, 2), news(true, true));
    assert_eq!(watch.idle(), None);
    watch.look(WORKER, 3);
    assert_eq!(watch.look(LISTENER, 4), news(false, true));
    assert_eq!(
        (watch.idle(), watch.0.heartbeat.worker_since),
        (Some(4), None)
    );
}

#[test]
fn a_job_whose_worker_has_gone_holds_until_its_lease_ran_out_and_more() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    host.logs(received(0, JOB));
    watch.look(WORKER, 0);
    watch.looks(LISTENER, 1..=899);
    assert_eq!(watch.idle(), None);
    assert_eq!(watch.look(LISTENER, 900), news(false, true));
    assert_eq!(watch.idle(), Some(900));
}

#[test]
fn a_job_of_a_listener_that_was_started_anew_holds_while_its_worker_is_there() {
    let host = Host::new();
    host.logs(listening(0) + &received(0, JOB));
    let mut watch = host.begin(0);
    watch.look(WORKER, 1);
    host.logs_to("20260514-020010", listening(10));
    watch.look(WORKER, 10);
    assert_eq!(watch.idle(), None);
    watch.looks(LISTENER, 11..=19);
    assert_eq!(watch.idle(), None);
    watch.look(LISTENER, 20);
    assert_eq!(watch.idle(), Some(20));
}

#[test]
fn a_lease_that_is_renewed_after_its_end_holds_while_it_is_live() {
    let host = Host::new();
    host.logs(listening(0) + &received(0, JOB) + &finished(5, JOB) + &renewed(6, JOB));
    let mut watch = host.begin(10);
    watch.look(LISTENER, 10);
    let heartbeat = watch.0.heartbeat();
    assert!(heartbeat.live_lease(at(10)).is_some(), "{heartbeat:?}");
    watch.looks(LISTENER, 11..=609);
    assert!(watch.0.heartbeat().vacant_since(at(609)).is_none());
    watch.look(LISTENER, 610);
    assert!(watch.0.heartbeat().leases.is_empty());
}

#[test]
fn history_is_no_start() {
    let host = Host::new();
    host.logs(listening(0) + &received(1, JOB) + &finished(2, JOB));
    let mut watch = host.begin(100);
    assert_eq!(watch.look(LISTENER, 100), news(false, true));
    assert_eq!(watch.idle(), Some(100));
}

#[test]
fn a_beacon_that_starts_in_the_middle_of_a_job_reads_it_back() {
    let host = Host::new();
    host.logs(listening(0) + &received(1, JOB));
    // The page was full.
    host.logs_to("20260514-021000", no_job(600));
    let mut watch = host.begin(605);
    assert_eq!(watch.look(LISTENER, 605), news(true, true));
    assert_eq!((watch.idle(), watch.open()), (None, vec![JOB.to_owned()]));
    let until = watch.0.heartbeat().live_lease(at(605)).unwrap().until;
    assert_eq!(until, at(1_205), "as if it was told now");
    assert_eq!(watch.look(LISTENER, 606), news(false, false));
}

#[test]
fn a_log_that_is_not_there_yet_blinds() {
    let host = Host::new();
    fs::remove_dir(host.root().logs()).unwrap();
    let mut watch = host.begin(0);
    assert!(watch.blind().unwrap().contains("_diag"));
    assert_eq!(watch.look(LISTENER, 1), news(false, true));
    assert_eq!(watch.look(LISTENER, 2), news(false, false));
    assert_eq!(watch.idle(), None, "a listener, no worker, and no log");
    fs::create_dir(host.root().logs()).unwrap();
    assert!(watch.look(LISTENER, 3).changed, "it says another thing");
    host.logs(listening(4));
    assert_eq!(watch.look(LISTENER, 4), news(false, true));
    assert_eq!((watch.idle(), watch.blind()), (Some(4), None));
}

#[test]
fn a_log_that_comes_attests_what_it_says_also_without_sight() {
    let host = Host::new();
    let mut watch = host.begin(0);
    watch.look(NONE, 1);
    host.logs(listening(2));
    watch.look(NONE, 2);
    assert_eq!((watch.idle(), watch.blind()), (Some(2), None));
}

#[test]
fn a_log_that_goes_takes_back_no_job_and_ends_none() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    assert_eq!(watch.idle(), Some(0));
    fs::remove_dir_all(host.root().logs()).unwrap();
    assert_eq!(watch.look(LISTENER, 2), news(false, true));
    assert_eq!((watch.idle(), watch.blind().is_some()), (None, true));
    assert!(watch.look(WORKER, 3).started, "it still sees a worker");
    watch.looks(LISTENER, 4..=2_000);
    assert_eq!(watch.idle(), None);
    assert!(watch.0.heartbeat.worker_since.is_some());
    fs::create_dir(host.root().logs()).unwrap();
    host.logs(listening(2_001));
    watch.look(LISTENER, 2_001);
    assert_eq!((watch.idle(), watch.blind()), (Some(2_001), None));
}

#[test]
fn a_log_of_an_unknown_format_is_an_error_at_the_start_and_blinds_later() {
    let unknown = "{\"time\": 1}\n".repeat(30);
    let host = Host::new();
    host.logs(&unknown);
    let error = Watch::begin(host.root(), at(0), Arc::new(Policy::default())).unwrap_err();
    assert!(matches!(error, Blindness::UnknownFormat { .. }));

    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    host.logs_to("20260514-030000", &unknown);
    watch.look(LISTENER, 2);
    assert_eq!((watch.idle(), watch.blind().is_some()), (None, true));
}

#[test]
fn a_worker_that_could_be_anybodys_counts_for_this_runner() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    assert!(watch.look(ANYBODYS, 2).started);
    assert_eq!((watch.idle(), watch.blind()), (None, None));
    assert!(watch.0.heartbeat.worker_since.is_some());
    watch.look(LISTENER, 3);
    assert_eq!(
        (watch.idle(), watch.0.heartbeat.worker_since),
        (Some(3), None)
    );
}

#[test]
fn a_worker_that_could_be_anybodys_never_sticks_to_a_runner_that_is_not_seen() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(NONE, 1);
    assert_eq!(watch.idle(), Some(0), "the log's word");
    watch.look(ANYBODYS, 2);
    assert_eq!((watch.idle(), watch.blind().is_some()), (None, true));
    watch.look(NONE, 3);
    assert_eq!((watch.idle(), watch.blind()), (None, None));
    assert_eq!(watch.0.heartbeat.worker_since, None);
}

#[test]
fn a_gap_in_the_looks_begins_the_vacancy_anew() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    watch.look(LISTENER, 60);
    assert_eq!(watch.idle(), Some(0));
    assert_eq!(watch.look(LISTENER, 120), news(false, true));
    assert_eq!(watch.idle(), Some(120));
}

#[test]
fn an_update_is_told_at_once() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    host.logs(line(2, "SelfUpdaterV2", "An update is available."));
    assert_eq!(watch.look(LISTENER, 2), news(false, true));
    assert_eq!(watch.look(LISTENER, 3), news(false, false));
    host.logs(line(4, "BrokerMessageListener", "Session created."));
    assert_eq!(watch.look(LISTENER, 4), news(false, true));
}

#[test]
fn a_hook_tells_of_a_job_until_its_real_one_shows() {
    // By the log, by a worker, by the log's end of it; or by nothing.
    type Shows = fn(&Host, &mut Watching);
    let rows: [(&str, Shows, bool); 5] = [
        (
            "log",
            |host, watch| {
                host.logs(received(10, JOB));
                watch.look(LISTENER, 12);
            },
            true,
        ),
        (
            "worker",
            |_, watch| {
                watch.look(WORKER, 12);
            },
            true,
        ),
        (
            "its end",
            |host, watch| {
                host.logs(received(9, JOB) + &finished(11, JOB));
                watch.look(LISTENER, 12);
            },
            true,
        ),
        (
            "an end before it",
            |host, watch| {
                host.logs(received(8, JOB) + &finished(9, JOB));
                watch.look(LISTENER, 12);
            },
            false,
        ),
        (
            "nothing",
            |_, watch| {
                watch.look(LISTENER, 12);
            },
            false,
        ),
    ];
    for (row, shows, is_shown) in rows {
        let host = Host::new();
        host.logs(listening(0));
        let mut watch = host.begin(0);
        watch.look(LISTENER, 1);
        host.hook(HookEvent::Started, 10);
        assert_eq!(watch.look(LISTENER, 10), news(true, true), "{row}");
        assert_eq!(
            (watch.idle(), watch.open()),
            (None, vec!["hook".to_owned()]),
            "{row}"
        );
        assert_eq!(watch.look(LISTENER, 11), news(false, false), "{row}");
        // That it completed clears nothing.
        host.hook(HookEvent::Completed, 11);
        assert_eq!(watch.look(LISTENER, 11), news(false, false), "{row}");
        assert_eq!(watch.idle(), None, "{row}");

        shows(&host, &mut watch);
        assert_eq!(watch.0.hooked.is_none(), is_shown, "{row}");
        let hook = watch.open().contains(&"hook".to_owned());
        assert_eq!(hook, !is_shown, "{row}");
        if !is_shown {
            watch.looks(LISTENER, 13..=609);
            assert_eq!(watch.idle(), None, "{row}");
            watch.look(LISTENER, 610);
            assert_eq!(watch.idle(), Some(610), "{row}");
        }
    }
}

#[test]
fn a_hook_whose_real_job_goes_on_holds_by_that() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    // Noticed at one look, and the log with it.
    host.hook(HookEvent::Started, 10);
    host.logs(received(9, JOB));
    assert!(watch.look(LISTENER, 10).started);
    assert_eq!((watch.idle(), watch.open()), (None, vec![JOB.to_owned()]));
    host.logs(finished(20, JOB));
    watch.look(LISTENER, 20);
    assert_eq!(watch.idle(), Some(20));
}

#[test]
fn a_hook_whose_job_was_never_seen_leaves_no_word_without_sight() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look_alone(1);
    assert_eq!(watch.idle(), Some(0));
    host.hook(HookEvent::Started, 10);
    for second in (10..=620).step_by(10) {
        watch.look_alone(second);
        assert_eq!(watch.idle(), None, "{second}");
    }
    assert_eq!((watch.open().len(), watch.blind()), (0, None));
    host.logs(received(630, JOB) + &finished(631, JOB));
    watch.look_alone(631);
    assert_eq!(watch.idle(), Some(631));
}

#[test]
fn a_restart_of_the_listener_does_not_take_back_a_hook() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    host.hook(HookEvent::Started, 10);
    watch.look(LISTENER, 10);
    host.logs_to("20260514-020011", listening(11));
    watch.look(LISTENER, 11);
    assert!(watch.0.heartbeat().live_lease(at(11)).is_some());
    assert!(watch.0.heartbeat().vacant_since(at(11)).is_none());
}

#[test]
fn a_mark_from_before_the_start_counts_while_its_job_could_have_a_lease() {
    for (marked_at, counts) in [
        (0, false),
        (399, false),
        (400, false),
        (401, true),
        (2_000, true),
    ] {
        let host = Host::new();
        host.hook(HookEvent::Started, marked_at);
        host.logs(listening(300));
        let mut watch = host.begin(1_000);
        assert_eq!(watch.look(LISTENER, 1_000).started, counts, "{marked_at}");
        assert_eq!(watch.idle().is_none(), counts, "{marked_at}");
    }
}

#[test]
fn what_a_hook_left_after_a_job_whose_end_is_logged_holds_nothing() {
    let host = Host::new();
    host.logs(listening(0) + &received(900, JOB) + &finished(950, JOB));
    host.hook(HookEvent::Started, 905);
    host.hook(HookEvent::Completed, 945);
    let mut watch = host.begin(1_000);
    watch.look(LISTENER, 1_000);
    assert_eq!(watch.idle(), Some(1_000));
}

/// The log's stamps are of whole seconds: a job of which both fall into one is over all the same.
#[test]
fn a_mark_in_the_second_of_its_jobs_end_is_that_jobs() {
    for (late, is_over) in [(999, true), (1_000, false)] {
        let host = Host::new();
        host.logs(listening(0));
        let mut watch = host.begin(0);
        watch.look(LISTENER, 1);
        host.hook(HookEvent::Started, 20);
        let mark = host.folder.path().join("_diag/scale-in-guard.started");
        let mark = fs::File::options().write(true).open(mark).unwrap();
        let at = std::time::SystemTime::from(at(20)) + std::time::Duration::from_millis(late);
        mark.set_modified(at).unwrap();
        host.logs(received(20, JOB) + &finished(20, JOB));
        watch.look(LISTENER, 22);
        assert_eq!(watch.0.hooked.is_none(), is_over, "{late} ms");
    }
}

#[test]
fn a_second_hook_while_the_first_holds_begins_anew() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    host.hook(HookEvent::Started, 10);
    watch.look(LISTENER, 10);
    watch.looks(LISTENER, 20..=500);
    host.hook(HookEvent::Started, 500);
    assert_eq!(watch.look(LISTENER, 501), news(true, true));
    watch.looks(LISTENER, 510..=1_100);
    assert_eq!(watch.idle(), None);
    watch.look(LISTENER, 1_101);
    assert_eq!(watch.idle(), Some(1_101));
}

#[test]
fn a_log_that_is_behind_says_no_vacancy() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    let chunk = format!("{}\n", "x".repeat(1023)).repeat(1024);
    for _ in 0..65 {
        host.logs(&chunk);
    }
    host.logs(received(2, JOB));
    watch.look(LISTENER, 2);
    assert_eq!((watch.idle(), watch.blind().is_some()), (None, true));
    assert!(watch.look(LISTENER, 3).started);
    assert_eq!((watch.idle(), watch.blind()), (None, None));
}

#[test]
fn a_mark_that_comes_counts_whatever_the_hosts_clock_says() {
    for marked_at in [-100_000, 100_000] {
        let host = Host::new();
        host.logs(listening(0));
        let mut watch = host.begin(0);
        watch.look(LISTENER, 1);
        host.hook(HookEvent::Started, marked_at);
        assert_eq!(watch.look(LISTENER, 2), news(true, true), "{marked_at}");
        assert_eq!(watch.idle(), None, "{marked_at}");
    }
}

#[test]
fn an_older_job_that_ran_out_or_was_orphaned_is_not_the_hooks() {
    for (row, restarts, second) in [("ran out", false, 700), ("orphaned", true, 30)] {
        let host = Host::new();
        host.logs(listening(0) + &received(1, JOB));
        let mut watch = host.begin(1);
        for second in (1..second).step_by(20) {
            watch.look_alone(second);
        }
        if restarts {
            host.logs(listening(second));
        }
        host.hook(HookEvent::Started, second);
        watch.look_alone(second);
        assert!(watch.0.hooked.is_some(), "{row}");
    }
}

#[test]
fn a_log_that_was_deleted_under_its_runner_says_nothing_more() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    assert_eq!(watch.idle(), Some(0));
    let deleted = RootProcesses {
        log_deleted: true,
        ..LISTENER
    };
    watch.look(deleted, 2);
    assert_eq!(watch.idle(), None);
    assert!(
        watch
            .blind()
            .is_some_and(|what| what.contains("restart the runner"))
    );
    watch.look(LISTENER, 3);
    assert_eq!((watch.idle(), watch.blind()), (Some(3), None));
}

/// A job's name with a line break can forge a restart, between the job's receipt and its worker; the next line of
/// the runner's own opens the job anew.
#[test]
fn a_restart_that_nothing_confirms_ends_no_job_at_once() {
    let host = Host::new();
    host.logs(listening(0));
    let mut watch = host.begin(0);
    watch.look(LISTENER, 1);
    host.logs(received(10, JOB) + &listening(10));
    watch.look(LISTENER, 10);
    watch.look(LISTENER, 19);
    assert!(watch.0.heartbeat().live_lease(at(19)).is_some());
    host.logs(renewed(19, JOB));
    watch.look(LISTENER, 21);
    assert_eq!(watch.open(), [JOB]);
    // A real one is over when the job that it left is not renewed, and no worker shows.
    host.logs(listening(30));
    let vacant = |watch: &Watching, second| watch.0.heartbeat().vacant_since(at(second)).is_some();
    watch.looks(LISTENER, 30..=39);
    assert!(!vacant(&watch, 39));
    watch.look(LISTENER, 40);
    assert!(vacant(&watch, 40));
}
