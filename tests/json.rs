//! The JSON of decisions, evidence and memory, pinned. docs/json.md describes every field.
#![allow(clippy::expect_used, clippy::panic)] // a test that cannot go on stops

use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Decision, Engine, Evidence, Job, JobStatus, JobsView, Memory, Policy, Registration, Runner,
    Signal, Status, Witness,
    evidence::{Claim, Own, Pin},
    fleet::{FleetReport, Snapshot},
    lease::{Heartbeat, HostJob, Report},
    ledger::{Action, Delivery, Ledger},
    runner::{RunnerId, RunnerRef},
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn runner() -> Runner {
    let runner = Runner::new("i-06cbe04821ccba677", "repo:acme/atlas").expect("a runner");
    runner
        .with_id(18_700)
        .launched_at(at("2026-05-14T01:40:00Z"))
        .with_labels(["self-hosted", "linux"])
}

/// Every kind of evidence there is, as of `now`.
fn every_signal(now: DateTime<Utc>) -> Vec<Evidence> {
    let policy = Policy::default();
    let mut beacon = Heartbeat::new(now - TimeDelta::seconds(80));
    beacon.hear(Report::UpdateBegun, now - TimeDelta::seconds(80), &policy);
    let job = HostJob::new("8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21");
    let renewed_at = now - TimeDelta::seconds(31);
    beacon.hear(
        Report::Renewed {
            job,
            at: renewed_at,
            valid_for: None,
        },
        now - TimeDelta::seconds(30),
        &policy,
    );
    beacon.hear(Report::Worker, now - TimeDelta::seconds(15), &policy);
    let mut ledger = Ledger::default();
    for (action, seconds) in [(Action::Queued, 40), (Action::InProgress, 35)] {
        ledger.receive(Delivery {
            action,
            job_id: 9102,
            attempt: 1,
            runner: Some(RunnerRef {
                id: Some(RunnerId(18_700)),
                name: Some("i-06cbe04821ccba677".into()),
            }),
            labels: vec!["linux".into()],
            repository: None,
            received_at: now - TimeDelta::seconds(seconds),
        });
    }
    let view = JobsView {
        complete: true,
        jobs: vec![Job {
            labels: vec!["linux".into()],
            changed_at: Some(now - TimeDelta::seconds(35)),
            ..Job::new(
                9102,
                JobStatus::InProgress,
                Some(RunnerRef::numbered(18_700)),
            )
        }],
    };
    let fleet = FleetReport {
        snapshot: Snapshot::Shrunken {
            believed_at: Some(now + TimeDelta::minutes(8)),
        },
        clock_skew_seconds: Some(-2),
        permits_left: Some(3),
        beacons_silent_since: None,
    };
    let own = Own {
        claim: Claim::Occupied,
        note: "a debugger is attached".into(),
        until: None,
    };
    let pin = Pin {
        note: "kept for the audit".into(),
        until: Some(now + TimeDelta::hours(2)),
        ..Pin::default()
    };
    vec![
        Evidence::registration(Registration::registered(false, Status::Online), now),
        Evidence::registration(Registration::absent(), now),
        Evidence::jobs(view, now - TimeDelta::seconds(2)),
        Evidence::lease(Some(beacon), now),
        Evidence::lease(None, now),
        Evidence::new("webhooks", now, Signal::Webhooks(ledger)),
        Evidence::new("fleet", now, Signal::Fleet(fleet)),
        Evidence::new("debugger", now, Signal::Own(own)),
        Evidence::new("operator", now, Signal::Pinned(pin)),
        Evidence::failed(
            Witness::Jobs,
            "GET /repos/acme/atlas/actions/runs: 502",
            now,
        ),
    ]
}

fn vacant(now: DateTime<Utc>) -> Vec<Evidence> {
    let idle = Registration::registered(false, Status::Online);
    vec![
        Evidence::registration(idle, now),
        Evidence::jobs(
            JobsView {
                complete: true,
                jobs: Vec::new(),
            },
            now,
        ),
        Evidence::lease(None, now),
    ]
}

fn decisions() -> (Decision, Decision, Memory) {
    let engine = Engine::new(Policy::default()).expect("the default policy");
    let start = at("2026-05-14T02:10:08Z");
    let mut memory = Memory::default();
    let hold = engine.decide(&runner(), every_signal(start), &mut memory, start);
    let occupied = memory.clone();
    let mut memory = Memory::default();
    let _ = engine.decide(&runner(), vacant(start), &mut memory, start);
    let now = start + TimeDelta::minutes(5);
    let terminate = engine.decide(&runner(), vacant(now), &mut memory, now);
    assert!(
        matches!(terminate, Decision::Terminate(_)),
        "{}",
        terminate.explain()
    );
    (hold, terminate, occupied)
}

#[test]
fn a_hold_with_every_kind_of_evidence() {
    insta::assert_json_snapshot!(decisions().0);
}

#[test]
fn a_permit() {
    insta::assert_json_snapshot!(decisions().1);
}

#[test]
fn a_memory() {
    insta::assert_json_snapshot!(decisions().2);
}

#[test]
fn a_policy() {
    insta::assert_json_snapshot!(Policy::default());
}

#[test]
fn explanations() {
    let (hold, terminate, _) = decisions();
    insta::assert_snapshot!("explain_hold", hold.explain());
    insta::assert_snapshot!("explain_terminate", terminate.explain());
}

/// What was logged can be judged again: evidence and memory read back as they were.
#[test]
fn evidence_and_memory_read_back() {
    let evidence = every_signal(at("2026-05-14T02:10:08Z"));
    let json = serde_json::to_string(&evidence).expect("plain values");
    assert_eq!(
        serde_json::from_str::<Vec<Evidence>>(&json).expect("the same"),
        evidence
    );
    let memory = decisions().2;
    let json = serde_json::to_string(&memory).expect("a plain value");
    assert_eq!(
        serde_json::from_str::<Memory>(&json).expect("the same"),
        memory
    );
}

/// What GitHub sends may hold words that this version does not know.
#[test]
fn unknown_words_of_github_are_read() {
    let job = r#"{"id": 7, "status": "hibernating", "runner": {"id": 5, "name": null, "rack": 3}, "new": {}}"#;
    let job: Job = serde_json::from_str(job).expect("a job");
    assert_eq!(job.status, JobStatus::Other);
    let status: Status = serde_json::from_str(r#""napping""#).expect("a status");
    assert_eq!(status, Status::Other);
}

/// A policy, or a history kept as a scenario, of an earlier version.
#[test]
fn a_key_that_means_nothing_any_more_is_read() {
    let read = |json| serde_json::from_str::<Policy>(json);
    let policy = read(r#"{"full_scan_every": "1h"}"#).unwrap();
    assert_eq!(policy, Policy::default());
    assert!(read(r#"{"full_scan_every": "-1h"}"#).is_err());
}
