//! What observers hear, under names that stay, and that they cannot change what they observe.
#![cfg(all(feature = "testing", feature = "metrics"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a test that cannot go on should say where"
)]

use chrono::{DateTime, TimeDelta, Utc};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use scale_in_guard::{
    Decision, Guard, Job, JobStatus, JobsView, Registration, Runner, Signal, Status, Verdict,
    permit::Refused,
    runner::RunnerRef,
    telemetry,
    testing::{FakeGitHub, ManualClock, ScriptedSource},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

struct World {
    clock: ManualClock,
    flag: ScriptedSource,
    jobs: ScriptedSource,
    guard: Guard,
    runner: Runner,
}

fn start() -> DateTime<Utc> {
    "2026-05-14T02:00:00Z".parse().unwrap()
}

fn view(jobs: Vec<Job>) -> JobsView {
    JobsView {
        complete: true,
        jobs,
    }
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(start());
        let flag = ScriptedSource::registration(Registration::registered(false, Status::Online));
        let jobs = ScriptedSource::jobs(view(vec![]));
        let guard = Guard::builder()
            .clock(clock.clone())
            .source(flag.clone())
            .source(jobs.clone());
        Self {
            clock,
            flag,
            jobs,
            guard: guard.build().unwrap(),
            runner: Runner::new("r-1", "repo:acme/atlas").unwrap(),
        }
    }

    /// A job that the flag denies, then nobody, then a permit that is redeemed, and one that came too late.
    async fn story(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut ask = async || {
            let decision = self.guard.can_terminate(&self.runner).await;
            verdicts.push(decision.verdict());
            decision
        };
        let named = Some(RunnerRef::named("r-1"));
        let job = Job::new(7, JobStatus::InProgress, named);
        self.jobs.says(Signal::Jobs(view(vec![job])));
        let _ = ask().await;
        self.jobs.says(Signal::Jobs(view(vec![])));
        self.flag.fails("down");
        let _ = ask().await;
        self.flag
            .says(Signal::Registration(Registration::registered(
                false,
                Status::Online,
            )));
        let _ = ask().await;
        self.clock.advance(TimeDelta::minutes(5));
        let Decision::Terminate(late) = ask().await else {
            panic!("the window is over");
        };
        self.clock.advance(TimeDelta::seconds(11));
        let _refused = self.guard.redeem(late).await.unwrap_err();
        let Decision::Terminate(permit) = ask().await else {
            panic!("it is still vacant");
        };
        let _go = self.guard.redeem(permit).await.unwrap();
        verdicts
    }
}

/// Each counter with its labels.
fn counters(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let counted = snapshotter.snapshot().into_vec().into_iter();
    counted
        .filter_map(|(key, _, _, value)| {
            let key = key.key();
            let mut labels: Vec<_> = key
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            labels.sort();
            match value {
                DebugValue::Counter(count) => {
                    Some((format!("{} {}", key.name(), labels.join(" ")), count))
                }
                _ => None,
            }
        })
        .collect()
}

#[tokio::test]
async fn what_is_decided_asked_and_done_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    World::new().story().await;
    let counted = counters(&snapshotter);
    let count = |name: &str, labels: &str| {
        let key = format!("{name} {labels}");
        let missing = || panic!("{key} is not in {counted:#?}");
        counted.get(&key).copied().unwrap_or_else(missing)
    };
    let decided = |outcome, reason| {
        let labels = format!("mode=live outcome={outcome} reason={reason}");
        count(telemetry::DECISIONS, &labels)
    };
    assert_eq!(decided("terminate", "vacant"), 2);
    assert_eq!(decided("hold", "registration_unreadable"), 1);
    let held = |reason: &str| count(telemetry::HOLDS, &format!("reason={reason}"));
    assert_eq!(held("job_in_progress"), 1);
    assert_eq!(held("registration_unreadable"), 1);
    let lied = "occupied=jobs vacant=registration";
    assert_eq!(count(telemetry::DESYNCS, lied), 1);
    assert_eq!(count(telemetry::GOES, "basis=vacant fenced=false"), 1);
    assert_eq!(count(telemetry::REFUSALS, "reason=expired"), 1);
    assert_eq!(count(telemetry::SOURCE_FAILURES, "source=scripted"), 1);
}

#[tokio::test]
async fn requests_to_github_and_what_is_left_of_them_are_told() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let clock = ManualClock::at(start());
    let fake = FakeGitHub::start(clock.clone()).await.unwrap();
    let scope = "org:acme".parse().unwrap();
    fake.add_scope(&scope);
    let github = scale_in_guard::github::GitHub::builder(fake.token().to_owned());
    let github = github.api_url(fake.url()).clock(clock).build().unwrap();
    let tokens = scale_in_guard::github::RegistrationTokens::new(github);
    tokens.registration_token(&scope).await.unwrap();
    let heard: Vec<_> = snapshotter.snapshot().into_vec();
    let has = |name: &str| heard.iter().any(|(key, ..)| key.key().name() == name);
    assert!(has(telemetry::GITHUB_REQUESTS), "{heard:?}");
    assert!(has(telemetry::GITHUB_SECONDS), "{heard:?}");
    assert!(has(telemetry::GITHUB_REMAINING), "{heard:?}");
}

/// A recorder that breaks at whatever it is told.
struct Broken;

impl CounterFn for Broken {
    fn increment(&self, _: u64) {
        panic!("a broken counter");
    }
    fn absolute(&self, _: u64) {
        panic!("a broken counter");
    }
}

impl Recorder for Broken {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Self))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("a broken gauge");
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("a broken histogram");
    }
}

#[tokio::test]
async fn an_observer_that_breaks_changes_no_decision() {
    let unobserved = World::new().story().await;
    let _guard = set_default_local_recorder(&Broken);
    assert_eq!(World::new().story().await, unobserved);
}

/// A recorder that takes eleven seconds to count a go.
struct Slow(ManualClock);

impl CounterFn for Slow {
    fn increment(&self, _: u64) {
        self.0.advance(TimeDelta::seconds(11));
    }
    fn absolute(&self, _: u64) {}
}

impl Recorder for Slow {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match key.name() == telemetry::GOES {
            true => Counter::from_arc(Arc::new(Self(self.0.clone()))),
            false => Counter::noop(),
        }
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn an_observer_that_blocks_makes_a_refusal_and_no_late_go() {
    let world = World::new();
    let _ = world.guard.can_terminate(&world.runner).await;
    world.clock.advance(TimeDelta::minutes(5));
    let Decision::Terminate(permit) = world.guard.can_terminate(&world.runner).await else {
        panic!("the window is over");
    };
    let slow = Slow(world.clock.clone());
    let _guard = set_default_local_recorder(&slow);
    let late = world.guard.redeem(permit).await.unwrap_err();
    assert!(matches!(late, Refused::Expired { .. }), "{late}");
    // And nothing is left outstanding.
    let again = world.guard.can_terminate(&world.runner).await;
    assert_eq!(again.verdict(), Verdict::Terminate);
}

#[test]
fn the_docs_list_every_metric_and_no_other() {
    let names = |text: &str, before: &str, after: char| -> BTreeSet<String> {
        let found = text.match_indices(before);
        found
            .map(|(at, _)| &text[at + before.len() - "scale_in_guard_".len()..])
            .map(|rest| rest[..rest.find(after).unwrap()].to_owned())
            .collect()
    };
    let in_code = names(
        include_str!("../src/telemetry.rs"),
        "\"scale_in_guard_",
        '"',
    );
    let in_docs = names(
        include_str!("../docs/observability.md"),
        "| `scale_in_guard_",
        '`',
    );
    assert!(in_code.len() > 15, "{in_code:?}");
    assert_eq!(in_docs, in_code);
}
