//! The runner's log, line by line and as a picture: real lines of the versions 2.159 to 2.336, in
//! several cultures, and what forgers write.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)] // a test that cannot go on stops

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use scale_in_guard::{
    Policy,
    lease::{Heartbeat, LeaseState, Report},
    runner_log::{LogEvent, LogReader, Renewal, has_header, parse},
};

const JOB: &str = "42b445e6-82dd-5f8b-a498-a9859d5322d2";
const OTHER: &str = "8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

#[test]
fn every_line_of_the_catalogue_means_what_it_says() {
    use LogEvent::*;
    let request = Renewal::Request("581691");
    let job = Renewal::Job(JOB);
    let for_ten_minutes = Some(TimeDelta::minutes(10));
    for (level_and_source, message, event) in [
        (
            "INFO JobDispatcher",
            "Job request 0 for plan 7d3e9a10-6f0c-4d59-8c2b-3f1e5d7a9c03 job {JOB} received.",
            JobReceived {
                request: "0",
                job: JOB,
            },
        ),
        (
            "INFO JobDispatcher",
            "Start renew job request 581691 for job {JOB}.",
            RenewalBegun {
                request: "581691",
                job: JOB,
            },
        ),
        (
            "INFO JobDispatcher",
            "Successfully renew job request 581691, job is valid till 08/17/2026 02:19:49",
            Renewed {
                renewal: request,
                valid_for: for_ten_minutes,
            },
        ),
        (
            "INFO JobDispatcher",
            "Successfully renew job {JOB}, job is valid till 08/17/2026 02:19:49",
            Renewed {
                renewal: job,
                valid_for: for_ten_minutes,
            },
        ),
        (
            "INFO JobDispatcher",
            "Send job request message to worker for job {JOB}.",
            WorkerSent { job: JOB },
        ),
        (
            "INFO JobDispatcher",
            "Worker finished for job {JOB}. Code: 100",
            WorkerFinished { job: JOB },
        ),
        (
            "INFO JobDispatcher",
            "Worker finished for job {JOB}. Code: \u{2212}1073741510",
            WorkerFinished { job: JOB },
        ),
        (
            "INFO JobDispatcher",
            "finish job request for job {JOB} with result: Succeeded",
            JobFinished { job: JOB },
        ),
        (
            "ERR  JobDispatcher",
            "Catch exception during renew runner job {JOB}.",
            RenewalFailing { renewal: job },
        ),
        (
            "ERR  JobDispatcher",
            "Catch exception during renew runner jobrequest 581691.",
            RenewalFailing { renewal: request },
        ),
        (
            "INFO JobDispatcher",
            "Retrying lock renewal for job {JOB}. Job is valid until 08/17/2026 02:22:49.",
            RenewalFailing { renewal: job },
        ),
        (
            "INFO JobDispatcher",
            "Lock renewal has run out of retry, stop renew lock for job {JOB}.",
            RenewalStopped { renewal: job },
        ),
        (
            "INFO JobDispatcher",
            "TaskAgentJobNotFoundException received when renew job {JOB}, job is no longer valid, stop renew job request.",
            RenewalStopped { renewal: job },
        ),
        (
            "INFO JobDispatcher",
            "TaskAgentJobTokenExpiredException received renew job request 581691, job is no longer valid, stop renew job request.",
            RenewalStopped { renewal: request },
        ),
        (
            "INFO JobDispatcher",
            "Unable to renew job request for job {JOB} for the first time, stop dispatching job to worker.",
            RenewalStopped { renewal: job },
        ),
        (
            "INFO JobDispatcher",
            "job renew has been cancelled, stop renew job {JOB}.",
            RenewalStopped { renewal: job },
        ),
        (
            "INFO JobDispatcher",
            "job renew has been canceled, stop renew job request 581691.",
            RenewalStopped { renewal: request },
        ),
        (
            "INFO JobDispatcher",
            "Job cancellation request {JOB} received, cancellation timeout 0,5 minutes.",
            CancelRequested { job: JOB },
        ),
        (
            "INFO BrokerMessageListener",
            "Session created.",
            SessionCreated,
        ),
        ("INFO MessageListener", "Session created.", SessionCreated),
        (
            "INFO Terminal",
            "WRITE LINE: 2026-08-17 02:09:49Z: Listening for Jobs",
            Listening,
        ),
        (
            "INFO Runner",
            "Refresh message received, kick-off selfupdate background process.",
            UpdateBegun,
        ),
        ("INFO SelfUpdaterV2", "An update is available.", UpdateBegun),
        (
            "INFO Terminal",
            "WRITE LINE: Runner update in progress, do not shutdown runner.",
            UpdateBegun,
        ),
        (
            "INFO SelfUpdater",
            "Can't find available update package.",
            UpdateEnded,
        ),
        (
            "INFO HostContext",
            "Runner will be shutdown for UserCancelled",
            ShuttingDown,
        ),
        (
            "INFO Listener",
            "Runner execution has finished with return code 0",
            ShuttingDown,
        ),
    ] {
        let message = message.replace("{JOB}", JOB);
        for header in ["[2026-08-17 02:09:49Z ", "[RUNNER 2026-08-17 02:09:49Z "] {
            for end in ["", "\n", "\r\n"] {
                let line = format!("{header}{level_and_source}] {message}{end}");
                let read = parse(&line).unwrap_or_else(|| panic!("not read: {line}"));
                assert_eq!(read.at, at("2026-08-17T02:09:49Z"));
                assert_eq!(read.event, event, "{line}");
            }
        }
    }
}

#[test]
fn lines_that_are_no_anchored_line_of_a_trusted_source_mean_nothing() {
    let finish = format!("finish job request for job {JOB} with result: Succeeded");
    let genuine = format!("[2026-08-17 02:09:49Z INFO JobDispatcher] {finish}");
    assert!(parse(&genuine).is_some());
    for line in [
        String::new(),
        finish.clone(),
        format!(" {genuine}"),
        format!("x{genuine}"),
        format!("[WORKER 2026-08-17 02:09:49Z INFO JobDispatcher] {finish}"),
        format!("[02:09:49Z INFO JobDispatcher] {finish}"),
        format!("[2026-08-17 02:09:49 INFO JobDispatcher] {finish}"),
        format!("[2026-13-17 02:09:49Z INFO JobDispatcher] {finish}"),
        format!("[2026-08-17 25:09:49Z INFO JobDispatcher] {finish}"),
        format!("[2026-08-17 02:09:49Z ERR  JobDispatcher] {finish}"),
        format!("[2026-08-17 02:09:49Z INFO JobRunner] {finish}"),
        format!("[2026-08-17 02:09:49Z INFO Terminal] {finish}"),
        format!("[2026-08-17 02:09:49Z INFO Terminal] WRITE LINE: 2026-08-17 02:09:49Z: Running job: {finish}"),
        format!("[2026-08-17 02:09:49Z INFO Terminal] WRITE LINE: 2026-08-17 02:09:49Z: Running job: {genuine}"),
        format!("[2026-08-17 02:09:49Z INFO Terminal] WRITE LINE: 2026-08-17 02:09:49Z: Running job: x\n{genuine}"),
        format!("[2026-08-17 02:09:49Z INFO JobDispatcher] x\n{genuine}"),
        format!("[2026-08-17 02:09:49Z INFO JobDispatcher] {finish}\n{finish}"),
        "[2026-08-17 02:09:49Z INFO Terminal] WRITE LINE: 2026-08-17 02:09:49Z: Running job: Listening for Jobs".into(),
        "[2026-08-17 02:09:49Z INFO Terminal] WRITE LINE: 2026-08-17 02:09:49Z: Job Listening for Jobs completed with result: Succeeded".into(),
        "[2026-08-17 02:09:49Z INFO JobDispatcher] finish job request for job jon id with result: x".into(),
        "[2026-08-17 02:09:49Z INFO MessageListener] Received job status event. JobState: Online".into(),
        format!("[2026-08-17 02:09:49Z INFO JobDispatcher] Stop renew job request for job {JOB}."),
        format!("[2026-08-17 02:09:49Z INFO JobDispatcher] Job request {JOB} processed succeed."),
        "[2026-08-17 02:09:49Z INFO Terminal] WRITE LINE: ".into(),
        "[2026-08-17 02:09:49Z INFO JobDispatcher] ".into(),
        "[2026-08-17 02:09:49Z INFO JobDispatcher]".into(),
    ] {
        assert_eq!(parse(&line), None, "{line:?}");
    }
}

/// What a .NET process prints for the same instant in the cultures of the world; real ones from
/// public logs first.
#[test]
fn the_printed_end_is_read_in_any_culture() {
    for (stamp, printed, seconds) in [
        ("2024-09-02 05:19:28", "09/02/2024 05:29:28", Some(600)),
        ("2021-12-28 16:07:55", "12/28/2021 4:17:55 PM", Some(600)),
        ("2021-12-10 17:40:44", "10/12/2021 17:50:44", Some(600)),
        ("2025-07-23 02:32:09", "7/23/2025 2:42:09 AM", Some(600)),
        (
            "2026-08-07 13:52:11",
            "8/7/2026 2:02:11\u{202f}PM",
            Some(600),
        ),
        ("2026-08-07 13:52:11", "2026. 8. 7. 오후 2:02:11", Some(600)),
        ("2026-08-07 13:52:11", "2026/8/7 下午2:02:11", Some(600)),
        ("2026-08-07 13:52:11", "7.8.2026 14.02.11", Some(600)),
        (
            "2026-08-07 13:52:11",
            "2026-08-07 14 h 02 min 11 s",
            Some(600),
        ),
        (
            "2026-08-07 13:52:11",
            "7.08.2026\u{202f}г. 14:02:11 ч.",
            Some(600),
        ),
        ("2026-08-07 13:52:11", "7/8/2569 14:02:11", Some(600)),
        ("2026-08-07 23:55:00", "08/08/2026 00:05:00", Some(600)),
        // A server's clock that is ahead, or behind, within reason.
        ("2026-08-07 13:52:11", "08/07/2026 14:07:11", Some(900)),
        ("2026-08-07 13:52:11", "08/07/2026 13:58:11", Some(360)),
        // Out of reason: another zone, garbage.
        ("2026-08-07 13:52:11", "08/07/2026 14:07:12", None),
        ("2026-08-07 13:52:11", "08/07/2026 13:57:10", None),
        ("2026-08-07 13:52:11", "08/07/2026 16:02:11", None),
        ("2026-08-07 13:52:11", "soon", None),
        ("2026-08-07 13:52:11", "", None),
        ("2026-08-07 13:52:11", "14:02", None),
        ("2026-08-07 13:52:11", "99999999999999999999:02:11", None),
    ] {
        let line = format!(
            "[{stamp}Z INFO JobDispatcher] Successfully renew job {JOB}, job is valid till {printed}"
        );
        let LogEvent::Renewed { valid_for, .. } = parse(&line).expect(&line).event else {
            panic!("{line}")
        };
        assert_eq!(valid_for, seconds.map(TimeDelta::seconds), "{printed}");
    }
}

/// Feeds lines to a reader, each received a second after its own stamp.
fn picture(lines: &[String]) -> Heartbeat {
    let policy = Policy::default();
    let mut reader = LogReader::default();
    let mut heartbeat: Option<Heartbeat> = None;
    for line in lines {
        let stamp = line.trim_start_matches("[RUNNER ").trim_start_matches('[');
        let received_at = at(&stamp[..20].replace(' ', "T")) + TimeDelta::seconds(1);
        heartbeat
            .get_or_insert_with(|| Heartbeat::new(received_at))
            .hear(reader.read(line), received_at, &policy);
    }
    heartbeat.expect("a line")
}

fn line(time: &str, message: &str) -> String {
    format!("[2026-08-17 {time}Z INFO JobDispatcher] {message}")
}

#[test]
fn the_end_of_an_old_job_never_ends_a_newer_jobs_lease() {
    let mut lines = vec![
        line(
            "02:00:00",
            &format!("Job request 0 for plan {OTHER} job {OTHER} received."),
        ),
        line(
            "02:00:01",
            &format!("Successfully renew job {OTHER}, job is valid till 08/17/2026 02:10:01"),
        ),
        line(
            "02:00:30",
            &format!("Job request 0 for plan {JOB} job {JOB} received."),
        ),
        line(
            "02:00:31",
            &format!("Successfully renew job {JOB}, job is valid till 08/17/2026 02:10:31"),
        ),
        line(
            "02:00:40",
            &format!("finish job request for job {OTHER} with result: Canceled"),
        ),
        line(
            "02:00:40",
            &format!("Stop renew job request for job {OTHER}."),
        ),
    ];
    let heartbeat = picture(&lines);
    let now = at("2026-08-17T02:01:00Z");
    assert_eq!(
        heartbeat.live_lease(now).expect("live").job.to_string(),
        JOB
    );
    assert_eq!(heartbeat.vacant_since(now), None);
    lines.push(line(
        "02:00:50",
        &format!("Worker finished for job {JOB}. Code: 100"),
    ));
    assert_eq!(
        picture(&lines).vacant_since(now),
        Some(at("2026-08-17T02:00:51Z"))
    );
}

#[test]
fn a_legacy_renewal_is_joined_to_its_job() {
    let mut lines = vec![
        line(
            "02:00:00",
            &format!("Start renew job request 16319 for job {JOB}."),
        ),
        line(
            "02:00:01",
            "Successfully renew job request 16319, job is valid till 08/17/2026 02:10:01",
        ),
        line(
            "02:01:01",
            "Successfully renew job request 16319, job is valid till 08/17/2026 02:11:01",
        ),
    ];
    let heartbeat = picture(&lines);
    assert_eq!(heartbeat.leases.len(), 1);
    assert_eq!(heartbeat.leases[0].job.to_string(), JOB);
    lines.push(line(
        "02:02:00",
        &format!("finish job request for job {JOB} with result: Succeeded"),
    ));
    assert!(
        picture(&lines)
            .vacant_since(at("2026-08-17T02:02:30Z"))
            .is_some()
    );
}

#[test]
fn a_renewal_after_the_finish_line_holds_while_it_is_live_and_opens_nothing() {
    let lines = [
        line(
            "02:00:01",
            &format!("Successfully renew job {JOB}, job is valid till 08/17/2026 02:10:01"),
        ),
        line(
            "02:00:50",
            &format!("Worker finished for job {JOB}. Code: 100"),
        ),
        line(
            "02:01:01",
            &format!("Successfully renew job {JOB}, job is valid till 08/17/2026 02:11:01"),
        ),
        line(
            "02:01:20",
            &format!("finish job request for job {JOB} with result: Succeeded"),
        ),
    ];
    let heartbeat = picture(&lines[..3]);
    assert!(heartbeat.live_lease(at("2026-08-17T02:11:01Z")).is_some());
    assert_eq!(heartbeat.unfinished(), None);
    assert_eq!(
        heartbeat.vacant_since(at("2026-08-17T02:11:02Z")),
        Some(at("2026-08-17T02:11:02Z"))
    );
    // The finish line itself comes last: then it is over.
    let heartbeat = picture(&lines);
    assert_eq!(
        heartbeat.vacant_since(at("2026-08-17T02:01:30Z")),
        Some(at("2026-08-17T02:01:21Z"))
    );
}

#[test]
fn the_same_job_sent_again_is_open_again() {
    let lines = [
        line(
            "02:00:01",
            &format!("Successfully renew job {JOB}, job is valid till 08/17/2026 02:10:01"),
        ),
        line(
            "02:00:50",
            &format!("finish job request for job {JOB} with result: Canceled"),
        ),
        line(
            "02:01:50",
            &format!("Start renew job request 0 for job {JOB}."),
        ),
    ];
    let heartbeat = picture(&lines);
    assert_eq!(heartbeat.leases[0].state, LeaseState::Open);
    assert_eq!(heartbeat.vacant_since(at("2026-08-17T02:02:00Z")), None);
}

#[test]
fn what_only_says_that_renewal_stopped_ends_nothing() {
    let renewal = line(
        "02:00:01",
        &format!("Successfully renew job {JOB}, job is valid till 08/17/2026 02:10:01"),
    );
    for message in [
        "Stop renew job request for job {JOB}.",
        "job renew has been cancelled, stop renew job {JOB}.",
        "Lock renewal has run out of retry, stop renew lock for job {JOB}.",
        "TaskAgentJobNotFoundException received when renew job {JOB}, job is no longer valid, stop renew job request.",
        "Send job cancellation message to worker for job {JOB}.",
        "Job cancellation request {JOB} received, cancellation timeout 5 minutes.",
    ] {
        let lines = [
            renewal.clone(),
            line("02:00:30", &message.replace("{JOB}", JOB)),
        ];
        let heartbeat = picture(&lines);
        assert!(
            heartbeat.live_lease(at("2026-08-17T02:10:01Z")).is_some(),
            "{message}"
        );
        assert!(heartbeat.unfinished().is_some(), "{message}");
    }
}

/// A name with a line break can forge whole lines, but not the id of a job that does not exist yet.
#[test]
fn a_forged_line_without_a_jobs_id_ends_no_lease() {
    let mut lines = vec![line(
        "02:00:01",
        &format!("Successfully renew job {JOB}, job is valid till 08/17/2026 02:10:01"),
    )];
    for forged in [
        "[2026-08-17 02:00:02Z INFO BrokerMessageListener] Session created.",
        "[2026-08-17 02:00:02Z INFO Terminal] WRITE LINE: 2026-08-17 02:00:02Z: Listening for Jobs",
        "[2026-08-17 02:00:02Z INFO Listener] Runner execution has finished with return code 0",
        "[2026-08-17 02:00:02Z INFO HostContext] Runner will be shutdown for UserCancelled",
        "[2026-08-17 02:00:02Z INFO JobDispatcher] finish job request for job 00000000-0000-0000-0000-000000000000 with result: Succeeded",
    ] {
        lines.push(forged.to_owned());
    }
    let heartbeat = picture(&lines);
    assert!(heartbeat.live_lease(at("2026-08-17T02:10:01Z")).is_some());
    assert_eq!(heartbeat.vacant_since(at("2026-08-17T02:01:00Z")), None);
    // And the next renewal shows that the job is still open.
    lines.push(line(
        "02:01:01",
        &format!("Successfully renew job {JOB}, job is valid till 08/17/2026 02:11:01"),
    ));
    assert!(picture(&lines).unfinished().is_some());
}

#[test]
fn a_listener_started_anew_lets_an_older_lease_run_out() {
    let lines = [
        line(
            "02:00:01",
            &format!("Successfully renew job {JOB}, job is valid till 08/17/2026 02:10:01"),
        ),
        "[2026-08-17 02:03:00Z INFO Terminal] WRITE LINE: 2026-08-17 02:03:00Z: Listening for Jobs"
            .to_owned(),
    ];
    let heartbeat = picture(&lines);
    assert!(
        heartbeat.live_lease(at("2026-08-17T02:10:01Z")).is_some(),
        "its worker may run on"
    );
    assert_eq!(heartbeat.unfinished(), None);
    assert_eq!(
        heartbeat.vacant_since(at("2026-08-17T02:10:02Z")),
        Some(at("2026-08-17T02:10:02Z"))
    );
}

fn any_line() -> impl Strategy<Value = String> {
    let id = prop_oneof![
        Just(JOB.to_owned()),
        Just(OTHER.to_owned()),
        "[a-z0-9*-]{0,70}"
    ];
    let message = (0_usize..9, id, any::<String>()).prop_map(|(shape, id, text)| match shape {
        0 => format!("Successfully renew job {id}, job is valid till {text}"),
        1 => format!("Successfully renew job request 7, job is valid till {text}"),
        2 => format!("finish job request for job {id} with result: {text}"),
        3 => format!("Worker finished for job {id}. Code: {text}"),
        4 => format!("Start renew job request 7 for job {id}."),
        5 => format!("Job request 7 for plan {id} job {id} received."),
        6 => format!("Retrying lock renewal for job {id}. {text}"),
        7 => format!("WRITE LINE: 2026-08-17 02:00:02Z: {text}"),
        _ => text,
    });
    let header = (
        prop_oneof![Just("["), Just("[RUNNER ")],
        0_u32..60,
        prop_oneof![
            Just("INFO JobDispatcher"),
            Just("ERR  JobDispatcher"),
            Just("INFO Terminal"),
            Just("INFO Runner")
        ],
    );
    let whole = (header, message).prop_map(|((open, second, source), message)| {
        format!("{open}2026-08-17 02:00:{second:02}Z {source}] {message}")
    });
    prop_oneof![4 => whole, 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    /// No line panics, and what is read is deterministic.
    #[test]
    fn any_line_can_be_read(line in any_line()) {
        prop_assert_eq!(parse(&line), parse(&line));
    }

    /// Nothing in a job's name, whatever it holds, means anything.
    #[test]
    fn no_name_of_a_job_means_anything(name in prop_oneof![any_line(), any::<String>()], end in any::<bool>()) {
        let text = if end { format!("Job {name} completed with result: Succeeded") } else { format!("Running job: {name}") };
        let line = format!("[2026-08-17 02:00:02Z INFO Terminal] WRITE LINE: 2026-08-17 02:00:02Z: {text}");
        prop_assert_eq!(parse(&line), None);
    }

    /// The line's own stamp and ten minutes are the lease: what is printed never shortens it, and
    /// lengthens it by five minutes at the most.
    #[test]
    fn a_renewal_is_live_for_ten_minutes_whatever_is_printed(printed in any::<String>(), hour in 0_u32..24, minute in 0_u32..60) {
        prop_assume!(!printed.contains(['\n', '\r']));
        for printed in [printed, format!("08/17/2026 {hour}:{minute:02}:01")] {
            let lines = [line("02:00:01", &format!("Successfully renew job {JOB}, job is valid till {printed}"))];
            let heartbeat = picture(&lines);
            prop_assert!(heartbeat.live_lease(at("2026-08-17T02:10:01Z")).is_some());
            prop_assert!(heartbeat.live_lease(at("2026-08-17T02:15:03Z")).is_none());
        }
    }

    /// While a renewed job has no finish line, whatever other lines come, it is open.
    #[test]
    fn only_its_own_finish_line_ends_a_job(lines in prop::collection::vec(any_line(), 0..12)) {
        let policy = Policy::default();
        let now = at("2026-08-17T02:00:00Z");
        let mine = "11111111-2222-5333-8444-555555555555";
        let mut reader = LogReader::default();
        let mut heartbeat = Heartbeat::new(now);
        let renewal = line("02:00:00", &format!("Successfully renew job {mine}, job is valid till 08/17/2026 02:10:00"));
        heartbeat.hear(reader.read(&renewal), now, &policy);
        let mut restarted = false;
        for line in &lines {
            let report = reader.read(line);
            restarted |= report == Report::Restarted;
            heartbeat.hear(report, now, &policy);
        }
        let others = heartbeat.leases.len();
        prop_assume!(others < 8); // a flood of jobs pushes the oldest out, and leaves seven that hold
        let lease = heartbeat.leases.iter().find(|lease| lease.job.to_string() == mine).expect("kept");
        prop_assert!(lease.state == LeaseState::Open || restarted);
        prop_assert!(heartbeat.live_lease(at("2026-08-17T02:09:59Z")).is_some());
    }
}

#[test]
fn a_header_is_known_whatever_the_line_says() {
    for (line, is_known) in [
        ("[2026-05-14 02:00:00Z ERR  Whatever] anything", true),
        (
            "[RUNNER 2026-05-14 02:00:00Z INFO Listener] Version: 2.336.0",
            true,
        ),
        ("[2026-05-14 02:00:00Z INFO Listener]", false),
        (
            "[14/05/2026 02:00:00 INFO Listener] Version: 2.336.0",
            false,
        ),
        ("   at GitHub.Runner.Listener.Runner.RunAsync()", false),
        ("", false),
    ] {
        assert_eq!(has_header(line), is_known, "{line}");
    }
}
