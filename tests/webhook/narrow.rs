//! What webhooks told narrows which repositories' jobs are read, and never says *vacant* by itself.

use crate::world::{FakeStore, acme, at, deliver, keep, noon, receiver, told};
use chrono::TimeDelta;
use scale_in_guard::{
    Decision, Guard, HoldCode, Runner, Verdict,
    github::{GitHub, Limits, Repository, Retry},
    sources::Repositories,
    testing::{FakeGitHub, ManualClock},
    webhook::{Headers, Receiver},
};
use std::collections::BTreeSet;

const REPOSITORIES: [&str; 4] = ["acme/atlas", "acme/basalt", "acme/cobalt", "acme/noise"];

struct World {
    clock: ManualClock,
    github: FakeGitHub,
    store: FakeStore,
    receiver: Receiver,
    guard: Guard,
    runner: Runner,
    minute: i64,
    events: u64,
}

fn client(github: &FakeGitHub, clock: &ManualClock) -> GitHub {
    let client = GitHub::builder(github.token().to_owned()).api_url(github.url());
    let client = client.retry(Retry::none()).limits(Limits::none());
    client.clock(clock.clone()).build().unwrap()
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::at(noon());
        let github = FakeGitHub::start(clock.clone()).await.unwrap();
        github.add_scope(&acme());
        for repository in REPOSITORIES {
            github.add_repository(repository);
        }
        github.register(&acme(), "r-1");
        let store = FakeStore::new(&clock);
        let receiver = receiver(store.clone(), &clock).start();
        let repositories = REPOSITORIES.map(|name| name.parse::<Repository>().unwrap());
        let guard = Guard::builder()
            .clock(clock.clone())
            .store(store.clone())
            .github(client(&github, &clock), Repositories::all(repositories))
            .webhooks();
        Self {
            guard: guard.build().unwrap(),
            runner: Runner::new("r-1", "org:acme").unwrap(),
            clock,
            github,
            store,
            receiver,
            minute: 0,
            events: 0,
        }
    }

    /// An event of a repository, in which nothing happens to our runner.
    async fn event(&mut self, repository: &'static str) {
        self.events += 1;
        let queued = told("completed", 1_000 + self.events).of(repository);
        keep(&self.receiver, queued).await;
    }

    /// A minute later the receiver is heard again, and somebody asks.
    async fn look(&mut self) -> (Decision, BTreeSet<String>) {
        self.pass(1).await;
        self.ask().await
    }

    async fn pass(&mut self, minutes: i64) {
        for _ in 0..minutes {
            self.minute += 1;
            self.clock.set(at(self.minute * 60));
            self.event("acme/noise").await;
        }
    }

    async fn ask(&self) -> (Decision, BTreeSet<String>) {
        self.github.clear_requests();
        let decision = self.guard.can_terminate(&self.runner).await;
        let paths = self.github.requests().into_iter();
        let read = paths.filter_map(|request| {
            let path = request
                .path
                .strip_prefix("/repos/")?
                .strip_suffix("/actions/runs")?;
            Some(path.to_owned())
        });
        (decision, read.collect())
    }

    /// Each repository told of something, and a full scan rests on it.
    async fn settled() -> Self {
        let mut world = Self::new().await;
        for repository in REPOSITORIES {
            world.event(repository).await;
        }
        for _ in 0..6 {
            let (_, read) = world.look().await;
            assert_eq!(read, set(&REPOSITORIES), "nothing can be left out yet");
        }
        world.pass(1).await;
        world
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn what_nothing_was_told_of_since_a_full_scan_is_not_read_again_within_the_hour() {
    let mut world = World::settled().await;
    let (decision, read) = world.ask().await;
    assert_eq!(read, set(&["acme/noise"]));
    assert_eq!(decision.verdict(), Verdict::Terminate, "{decision:?}");
    for _ in 0..50 {
        let (_, read) = world.look().await;
        assert_eq!(read, set(&["acme/noise"]));
    }
    // The hour is over, and the next one rests on another full scan.
    let mut full = 0;
    for _ in 0..30 {
        let (_, read) = world.look().await;
        full += usize::from(read.len() == REPOSITORIES.len());
    }
    assert_eq!(full, 1);
}

#[tokio::test]
async fn what_was_told_of_is_read_at_each_look_from_then_on() {
    let mut world = World::settled().await;
    world.event("acme/basalt").await;
    for _ in 0..3 {
        let (_, read) = world.look().await;
        assert_eq!(read, set(&["acme/basalt", "acme/noise"]));
    }
    // A job there holds: by what was told, and by what is read.
    let job = world.github.start_job(&acme(), "r-1", "acme/basalt");
    world.github.lie_busy(&acme(), "r-1", Some(false));
    let (decision, _) = world.look().await;
    let codes: Vec<_> = decision.reasons().map(|reason| reason.code()).collect();
    assert!(codes.contains(&HoldCode::JobInProgress), "{codes:?}");
    world.github.finish_job(job);
}

#[tokio::test]
async fn a_repository_that_never_told_of_anything_is_always_read() {
    let mut world = World::new().await;
    for repository in ["acme/atlas", "acme/noise"] {
        world.event(repository).await;
    }
    for _ in 0..10 {
        let (_, read) = world.look().await;
        assert!(
            read.is_superset(&set(&["acme/basalt", "acme/cobalt"])),
            "{read:?}"
        );
    }
    // Its hook was never set up: a job there is seen all the same.
    world.github.start_job(&acme(), "r-1", "acme/cobalt");
    world.github.lie_busy(&acme(), "r-1", Some(false));
    let (decision, _) = world.look().await;
    assert_eq!(decision.verdict(), Verdict::Hold);
    assert!(
        decision
            .reasons()
            .any(|reason| reason.code() == HoldCode::JobInProgress)
    );
}

#[tokio::test]
async fn a_repository_with_a_run_that_is_not_over_is_always_read() {
    let mut world = World::new().await;
    for repository in REPOSITORIES {
        world.event(repository).await;
    }
    world.github.register(&acme(), "r-2");
    world.github.start_job(&acme(), "r-2", "acme/atlas");
    world.pass(7).await;
    for _ in 0..10 {
        let (_, read) = world.look().await;
        assert!(read.contains("acme/atlas"), "{read:?}");
    }
    assert_eq!(world.ask().await.1, set(&["acme/atlas", "acme/noise"]));
}

/// GitHub's lists lag: the event came before the scan, and the scan does not show it.
#[tokio::test]
async fn an_event_shortly_before_the_scan_keeps_its_repository_in_sight() {
    let mut world = World::new().await;
    for repository in REPOSITORIES {
        world.event(repository).await;
    }
    world.look().await.0.verdict();
    world.pass(5).await;
    // In the middle of what a scan could rest on.
    world.event("acme/basalt").await;
    world.look().await.0.verdict();
    for _ in 0..8 {
        let (_, read) = world.look().await;
        assert!(read.contains("acme/basalt"), "{read:?}");
    }
}

#[tokio::test]
async fn a_refusal_a_restart_a_silence_or_another_receiver_makes_everything_be_read() {
    // A refusal.
    let mut world = World::settled().await;
    let forged = Headers {
        event: Some("workflow_job"),
        signature: Some("sha256=00"),
        ..Headers::default()
    };
    assert_eq!(world.receiver.receive(&forged, b"{}").await.status(), 401);
    let (_, read) = world.look().await;
    assert_eq!(read, set(&REPOSITORIES), "a refusal");
    // What cannot be read.
    let mut world = World::settled().await;
    assert_eq!(deliver(&world.receiver, b"{").await.status(), 400);
    let (_, read) = world.look().await;
    assert_eq!(read, set(&REPOSITORIES), "an unreadable delivery");
    // A restart.
    let mut world = World::settled().await;
    world.receiver.stop().await;
    world.receiver = receiver(world.store.clone(), &world.clock).start();
    let (_, read) = world.look().await;
    assert_eq!(read, set(&REPOSITORIES), "a restart");
    // It has gone, and nobody came.
    let world = World::settled().await;
    world.receiver.stop().await;
    let (_, read) = world.ask().await;
    assert_eq!(read, set(&REPOSITORIES), "nobody listens");
    // Silence.
    let world = World::settled().await;
    world.clock.advance(TimeDelta::seconds(61));
    let (_, read) = world.ask().await;
    assert_eq!(read, set(&REPOSITORIES), "silence");
    // Another one.
    let mut world = World::settled().await;
    let other = receiver(world.store.clone(), &world.clock)
        .named("2")
        .unwrap();
    let other = other.start();
    keep(&other, told("completed", 77).of("acme/noise")).await;
    let (_, read) = world.look().await;
    assert_eq!(read, set(&REPOSITORIES), "another receiver");
}

#[tokio::test]
async fn a_run_that_nobody_told_of_ends_the_trust_in_its_repository() {
    let mut world = World::settled().await;
    assert_eq!(world.ask().await.1, set(&["acme/noise"]));
    // Its hook is gone: a job of another runner begins, and nobody tells.
    world.github.register(&acme(), "r-2");
    let job = world.github.start_job(&acme(), "r-2", "acme/cobalt");
    for _ in 0..60 {
        world.look().await.0.verdict();
    }
    world.github.finish_job(job);
    for _ in 0..70 {
        let (_, read) = world.look().await;
        assert!(read.contains("acme/cobalt"), "{read:?}");
    }
}

#[tokio::test]
async fn a_job_that_github_calls_over_is_closed_where_its_completed_was_lost() {
    let mut world = World::new().await;
    let job = world.github.start_job(&acme(), "r-1", "acme/atlas");
    let number = job.to_string().parse().unwrap();
    keep(&world.receiver, told("in_progress", number).on(1, "r-1")).await;
    let (decision, _) = world.look().await;
    assert_eq!(decision.verdict(), Verdict::Hold);
    world.github.finish_job(job);
    let (decision, _) = world.look().await;
    let codes: Vec<_> = decision.reasons().map(|reason| reason.code()).collect();
    assert!(!codes.contains(&HoldCode::WebhookJobOpen), "{codes:?}");
    world.pass(5).await;
    assert_eq!(world.ask().await.0.verdict(), Verdict::Terminate);
}

#[tokio::test]
async fn what_was_doubted_stays_so_through_a_silence_until_it_tells_again() {
    let mut world = World::settled().await;
    world.github.register(&acme(), "r-2");
    let job = world.github.start_job(&acme(), "r-2", "acme/cobalt");
    for _ in 0..65 {
        world.look().await.0.verdict();
    }
    world.github.finish_job(job);
    // A silence of the receiver, and what it told before must not count again.
    world.clock.advance(TimeDelta::minutes(2));
    world.ask().await.0.verdict();
    world.minute += 2;
    for _ in 0..20 {
        let (_, read) = world.look().await;
        assert!(read.contains("acme/cobalt"), "{read:?}");
    }
    world.event("acme/cobalt").await;
    for _ in 0..80 {
        world.look().await.0.verdict();
    }
    assert!(!world.ask().await.1.contains("acme/cobalt"));
}

#[tokio::test]
async fn a_repository_whose_receiver_has_gone_is_read() {
    let mut world = World::new().await;
    let other = receiver(world.store.clone(), &world.clock)
        .named("2")
        .unwrap();
    let other = other.start();
    for repository in ["acme/atlas", "acme/basalt", "acme/noise"] {
        world.event(repository).await;
    }
    keep(&other, told("completed", 77).of("acme/cobalt")).await;
    other.stop().await;
    world.pass(7).await;
    for _ in 0..20 {
        let (_, read) = world.look().await;
        assert!(read.contains("acme/cobalt"), "{read:?}");
    }
    assert_eq!(world.ask().await.1, set(&["acme/cobalt", "acme/noise"]));
}

#[tokio::test]
async fn a_name_that_nobody_ever_told_of_makes_all_prove_themselves_anew() {
    let mut world = World::settled().await;
    assert_eq!(world.ask().await.1, set(&["acme/noise"]));
    // acme/cobalt has another name now, and its events come under that.
    world.event("acme/copper").await;
    for _ in 0..80 {
        let (_, read) = world.look().await;
        assert!(read.contains("acme/cobalt"), "{read:?}");
    }
}

#[tokio::test]
async fn a_stranger_that_is_refused_before_any_delivery_is_known_of() {
    let mut world = World::settled().await;
    let other = receiver(world.store.clone(), &world.clock)
        .named("2")
        .unwrap();
    let other = other.start();
    let forged = Headers {
        event: Some("workflow_job"),
        signature: Some("sha256=00"),
        ..Headers::default()
    };
    assert_eq!(other.receive(&forged, b"{}").await.status(), 401);
    // It tells of itself in a second at the latest, by the clock of the machine.
    for _ in 0..300 {
        if world.ask().await.1 == set(&REPOSITORIES) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        world.look().await.0.verdict();
    }
    panic!("nobody heard of the other receiver");
}

#[tokio::test]
async fn a_job_that_cannot_be_asked_for_is_not_closed_by_a_view_that_passed_over() {
    let mut world = World::new().await;
    // One that is not of those that are read, and that tells of something now and then.
    world.event("acme/gone").await;
    for repository in REPOSITORIES {
        world.event(repository).await;
    }
    for _ in 0..7 {
        world.look().await.0.verdict();
    }
    assert_eq!(world.ask().await.1, set(&["acme/noise"]));
    keep(
        &world.receiver,
        told("in_progress", 4_711).on(1, "r-1").of("acme/gone"),
    )
    .await;
    for _ in 0..30 {
        let (decision, _) = world.look().await;
        let codes: Vec<_> = decision.reasons().map(|reason| reason.code()).collect();
        assert_eq!(decision.verdict(), Verdict::Hold, "{codes:?}");
    }
}

#[tokio::test]
async fn the_second_look_of_a_retirement_reads_everything() {
    let world = World::settled().await;
    let policy = scale_in_guard::Policy::default();
    let retire = async || {
        world
            .guard
            .retire(&world.runner, async |_| Ok::<(), String>(()))
            .await
    };
    let first = retire().await;
    assert!(
        matches!(first, scale_in_guard::guard::Retirement::Draining { .. }),
        "{first:?}"
    );
    world.clock.advance(policy.settle);
    keep(&world.receiver, told("completed", 99).of("acme/noise")).await;
    world.github.clear_requests();
    let second = retire().await;
    let asked = world.github.requests();
    let runs = |name: &str| {
        asked
            .iter()
            .any(|request| request.path == format!("/repos/{name}/actions/runs"))
    };
    assert!(REPOSITORIES.iter().all(|name| runs(name)), "{second:?}");
}
