//! The guard with scripted witnesses on a manual clock: what it asks, when, and what it makes of silence.
#![cfg(feature = "testing")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Decision, Evidence, Guard, HoldCode, Job, JobStatus, JobsView, Policy, Registration, Runner,
    Signal, Status, Verdict, Witness,
    clock::Clock,
    evidence::{Claim, Own},
    fleet::Roster,
    guard::{GuardBuilder, Permits, Window},
    permit::Refused,
    policy::{Corroboration, PermitBudget},
    runner::RunnerRef,
    source::{Ask, Cost, EvidenceSource, Reach, Trouble},
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::MemoryStore,
    testing::{ManualClock, MockEvidenceSource, ScriptedSource},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const SCOPE: &str = "repo:acme/atlas";

fn start() -> DateTime<Utc> {
    "2026-05-14T02:00:00Z".parse().unwrap()
}

fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

fn runner(name: &str) -> Runner {
    Runner::new(name, SCOPE).unwrap()
}

fn idle() -> Registration {
    Registration::registered(false, Status::Online)
}

fn busy() -> Registration {
    Registration::registered(true, Status::Online)
}

fn no_jobs() -> JobsView {
    JobsView {
        complete: true,
        jobs: vec![],
    }
}

fn running_on(name: &str) -> JobsView {
    let job = Job::new(7, JobStatus::InProgress, Some(RunnerRef::named(name)));
    JobsView {
        complete: true,
        jobs: vec![job],
    }
}

/// A deployment with both of GitHub's witnesses, as they are scripted.
struct World {
    clock: ManualClock,
    flag: ScriptedSource,
    jobs: ScriptedSource,
    store: Arc<MemoryStore>,
}

impl World {
    fn new() -> Self {
        Self {
            clock: ManualClock::at(start()),
            flag: ScriptedSource::registration(idle()),
            jobs: ScriptedSource::jobs(no_jobs()).costing(Cost::Scan),
            store: Arc::new(MemoryStore::new()),
        }
    }

    fn builder(&self) -> GuardBuilder {
        Guard::builder()
            .clock(self.clock.clone())
            .source(self.flag.clone())
            .source(self.jobs.clone())
            .store(self.store.clone())
    }

    fn guard(&self) -> Guard {
        self.builder().build().unwrap()
    }

    /// Looks until the grace window is over.
    async fn pass_the_window(&self, guard: &Guard, runner: &Runner) {
        let _ = guard.can_terminate(runner).await;
        self.clock.advance(minutes(5));
    }
}

fn codes(decision: &Decision) -> Vec<HoldCode> {
    decision.reasons().map(|reason| reason.code()).collect()
}

fn held_for(decision: &Decision, code: HoldCode) -> String {
    let reason = decision.reasons().find(|reason| reason.code() == code);
    let reason = reason.unwrap_or_else(|| panic!("{code} not in {:?}", codes(decision)));
    reason.to_string()
}

#[tokio::test]
async fn a_vacant_runner_gets_its_permit_after_the_grace_window_and_it_is_redeemed_once() {
    let world = World::new();
    let (guard, runner) = (world.guard(), runner("r-1"));
    let first = guard.can_terminate(&runner).await;
    assert_eq!(first.verdict(), Verdict::Hold);
    assert_eq!(first.retry_at(), Some(start() + minutes(5)));
    world.clock.advance(minutes(5));
    let Decision::Terminate(permit) = guard.can_terminate(&runner).await else {
        panic!("the window is over");
    };
    world.clock.advance(TimeDelta::seconds(9));
    let go = guard.redeem(permit).await.unwrap();
    assert_eq!(go.runner(), &runner);
}

#[tokio::test]
async fn a_permit_that_comes_too_late_is_refused() {
    let world = World::new();
    let (guard, runner) = (world.guard(), runner("r-1"));
    world.pass_the_window(&guard, &runner).await;
    let Decision::Terminate(permit) = guard.can_terminate(&runner).await else {
        panic!("the window is over");
    };
    world.clock.advance(TimeDelta::seconds(10));
    let refused = guard.redeem(permit).await.unwrap_err();
    assert!(matches!(refused, Refused::Expired { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_panics_hangs_or_says_nothing_holds() {
    type Script = fn(&ScriptedSource);
    let scripts: [(&str, Script, &str); 4] = [
        (
            "fails",
            |source| source.fails("502 Bad Gateway"),
            "502 Bad Gateway",
        ),
        ("panics", ScriptedSource::panics, "it panicked: scripted"),
        ("hangs", ScriptedSource::hangs, "no answer in time"),
        (
            "is silent",
            ScriptedSource::says_nothing,
            "it gave no evidence",
        ),
    ];
    let objecting = ScriptedSource::objecting("-");
    for (row, script, said) in scripts {
        let world = World::new();
        let guard = world.builder().source(objecting.clone()).build().unwrap();
        objecting.says(Signal::Own(Own {
            claim: Claim::Unknown,
            note: "".into(),
            until: None,
        }));
        world.pass_the_window(&guard, &runner("r-1")).await;
        for (source, code) in [
            (&world.flag, HoldCode::RegistrationUnreadable),
            (&world.jobs, HoldCode::JobsUnreadable),
            (&objecting, HoldCode::ObjectionUnreadable),
        ] {
            script(source);
            let decision = guard.can_terminate(&runner("r-1")).await;
            let sentence = held_for(&decision, code);
            assert!(sentence.contains(said), "{row}: {sentence}");
            match code {
                HoldCode::RegistrationUnreadable => source.says(Signal::Registration(idle())),
                HoldCode::JobsUnreadable => source.says(Signal::Jobs(no_jobs())),
                _ => {}
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_slow_source_and_no_slow_memory_makes_an_ask_exceed_its_deadline() {
    let world = World::new();
    let began = tokio::time::Instant::now();
    world.flag.hangs();
    world.jobs.hangs();
    let decision = world.guard().can_terminate(&runner("r-1")).await;
    assert_eq!(decision.verdict(), Verdict::Hold);
    assert!(
        began.elapsed() <= Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );

    let began = tokio::time::Instant::now();
    let guard = world.builder().store(Hanging).build().unwrap();
    let decision = guard.can_terminate(&runner("r-1")).await;
    held_for(&decision, HoldCode::MemoryUnreadable);
    assert!(
        began.elapsed() <= Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

/// Says how long there is to answer, and answers after a second.
#[derive(Debug)]
struct Hurried;

#[async_trait]
impl EvidenceSource for Hurried {
    fn name(&self) -> &'static str {
        "hurried"
    }
    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        let left = ask.time_left();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(
            ask.time_left() + Duration::from_secs(1),
            left,
            "time goes on"
        );
        Ok(vec![ask.objects_if(true, &format!("{left:?}"))])
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_knows_how_long_there_is() {
    let world = World::new();
    let guard = world.builder().source(Hurried).build().unwrap();
    let sentence = held_for(
        &guard.can_terminate(&runner("r-1")).await,
        HoldCode::Objection,
    );
    assert!(
        sentence.ends_with(": 9s"),
        "one is kept for writing: {sentence}"
    );
    let decision = all(&guard, &["r-1"]).await.remove(0);
    let sentence = held_for(&decision, HoldCode::Objection);
    assert!(sentence.ends_with(": 30s"), "a read for many: {sentence}");

    let by_itself = Ask::about(runner("r-1"), start());
    assert_eq!(by_itself.time_left(), Duration::from_secs(30));
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(by_itself.time_left(), Duration::ZERO);
}

/// A store that never answers.
#[derive(Debug)]
struct Hanging;

#[async_trait]
impl Store for Hanging {
    fn describe(&self) -> String {
        "hanging".to_owned()
    }
    async fn read(&self, _: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        std::future::pending().await
    }
    async fn scan(
        &self,
        _: &str,
        _: &scale_in_guard::Scope,
        _: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        std::future::pending().await
    }
    async fn swap(&self, _: &Key, _: Option<Version>, _: &str) -> Result<Swap, StoreError> {
        std::future::pending().await
    }
}

/// Two of these answer only when both are being asked.
#[derive(Debug)]
struct Both(Arc<tokio::sync::Barrier>);

#[async_trait]
impl EvidenceSource for Both {
    fn name(&self) -> &str {
        "both"
    }
    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        self.0.wait().await;
        Ok(vec![ask.objects_if(true, "both were asked")])
    }
}

#[tokio::test(start_paused = true)]
async fn sources_are_asked_at_the_same_time() {
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    let guard = Guard::builder()
        .source(Both(barrier.clone()))
        .source(Both(barrier))
        .build()
        .unwrap();
    let decision = guard.can_terminate(&runner("r-1")).await;
    assert!(held_for(&decision, HoldCode::Objection).contains("both were asked"));
}

/// Takes its time on the manual clock.
#[derive(Debug)]
struct Slow(ManualClock, TimeDelta);

#[async_trait]
impl EvidenceSource for Slow {
    fn name(&self) -> &str {
        "slow"
    }
    fn witness(&self) -> Witness {
        Witness::Registration
    }
    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        self.0.advance(self.1);
        Ok(vec![Evidence::registration(idle(), ask.at())])
    }
}

#[tokio::test]
async fn evidence_is_as_old_as_its_first_request() {
    for (seconds, code) in [
        (30, HoldCode::Uncorroborated),
        (31, HoldCode::RegistrationUnreadable),
    ] {
        let clock = ManualClock::at(start());
        let slow = Slow(clock.clone(), TimeDelta::seconds(seconds));
        let guard = Guard::builder()
            .clock(clock.clone())
            .source(slow)
            .build()
            .unwrap();
        let decision = guard.can_terminate(&runner("r-1")).await;
        assert_eq!(decision.assessment().evidence[0].asked_at, start());
        assert_eq!(decision.assessment().at, clock.now());
        held_for(&decision, code);
    }
}

#[tokio::test]
async fn a_users_source_can_object_and_a_mock_stands_for_it() {
    let mut mock = MockEvidenceSource::new();
    mock.expect_name().return_const("mock".to_owned());
    mock.expect_witness().return_const(Witness::Own);
    mock.expect_reach().return_const(Reach::Holds);
    mock.expect_cost().return_const(Cost::Cheap);
    mock.expect_ask()
        .times(1)
        .returning(|ask| Ok(vec![ask.objects_if(true, "a deployment runs")]));
    let guard = Guard::builder().source(mock).build().unwrap();
    let decision = guard.can_terminate(&runner("r-1")).await;
    assert!(held_for(&decision, HoldCode::Objection).contains("a deployment runs"));
}

#[tokio::test]
async fn a_source_that_does_not_know_the_scope_is_not_asked() {
    let world = World::new();
    let foreign = ScriptedSource::objecting("-").reaching(Reach::Nothing);
    let guard = world.builder().source(foreign.clone()).build().unwrap();
    let _ = guard.can_terminate(&runner("r-1")).await;
    assert_eq!(foreign.asked(), 0);
}

#[tokio::test]
async fn another_guard_on_the_same_memory_goes_on_where_the_first_one_was() {
    let world = World::new();
    world.pass_the_window(&world.guard(), &runner("r-1")).await;
    let second = world.guard().can_terminate(&runner("r-1")).await;
    assert_eq!(second.verdict(), Verdict::Terminate);
    // The same name elsewhere is another runner.
    let elsewhere = world.builder().api("ghe.example.com").build().unwrap();
    let decision = elsewhere.can_terminate(&runner("r-1")).await;
    held_for(&decision, HoldCode::GraceWindow);
    let other = Runner::new("r-1", "org:acme").unwrap();
    let decision = world.guard().can_terminate(&other).await;
    held_for(&decision, HoldCode::GraceWindow);
}

/// A store whose reads or writes fail, or that loses races, as often as it is told to.
#[derive(Debug, Default)]
struct Failing {
    records: MemoryStore,
    reads: AtomicUsize,
    writes: AtomicUsize,
    conflicts: AtomicUsize,
    lost: AtomicUsize,
}

impl Failing {
    fn counts_down(count: &AtomicUsize) -> bool {
        let down = |left: usize| left.checked_sub(1);
        count
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, down)
            .is_ok()
    }

    fn broken(doing: &'static str) -> StoreError {
        StoreError::Unusable {
            store: "failing".to_owned(),
            doing,
            source: "the disk is gone".into(),
        }
    }
}

#[async_trait]
impl Store for Failing {
    fn describe(&self) -> String {
        "failing".to_owned()
    }
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        if Self::counts_down(&self.lost) {
            return Err(StoreError::Lost {
                store: self.describe(),
                what: "the file was gone".to_owned(),
            });
        }
        match Self::counts_down(&self.reads) {
            true => Err(Self::broken("read")),
            false => self.records.read(keys).await,
        }
    }
    async fn scan(
        &self,
        api: &str,
        scope: &scale_in_guard::Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        self.records.scan(api, scope, kind).await
    }
    async fn swap(
        &self,
        key: &Key,
        over: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        if Self::counts_down(&self.writes) {
            return Err(Self::broken("write"));
        }
        if Self::counts_down(&self.conflicts) {
            return Ok(Swap::Conflict);
        }
        self.records.swap(key, over, value).await
    }
}

#[tokio::test]
async fn a_memory_that_cannot_be_read_or_written_gives_no_permit() {
    let world = World::new();
    let store = Arc::new(Failing::default());
    let guard = world.builder().store(store.clone()).build().unwrap();
    world.pass_the_window(&guard, &runner("r-1")).await;
    for (row, count) in [("read", &store.reads), ("write", &store.writes)] {
        count.store(1, Ordering::SeqCst);
        let decision = guard.can_terminate(&runner("r-1")).await;
        let sentence = held_for(&decision, HoldCode::MemoryUnreadable);
        assert!(sentence.contains("the disk is gone"), "{row}: {sentence}");
    }
    let decision = guard.can_terminate(&runner("r-1")).await;
    assert_eq!(
        decision.verdict(),
        Verdict::Terminate,
        "the store answers again"
    );
}

#[tokio::test]
async fn a_race_is_decided_anew_and_one_without_end_holds() {
    let world = World::new();
    let store = Arc::new(Failing::default());
    let guard = world.builder().store(store.clone()).build().unwrap();
    world.pass_the_window(&guard, &runner("r-1")).await;
    store.conflicts.store(3, Ordering::SeqCst);
    let decision = guard.can_terminate(&runner("r-1")).await;
    assert_eq!(decision.verdict(), Verdict::Terminate);
    world.clock.advance(minutes(5));
    store.conflicts.store(usize::MAX, Ordering::SeqCst);
    let decision = guard.can_terminate(&runner("r-1")).await;
    held_for(&decision, HoldCode::MemoryUnreadable);
}

#[tokio::test]
async fn a_lost_memory_says_so_and_starts_the_window_anew() {
    let world = World::new();
    let store = Arc::new(Failing::default());
    let guard = world.builder().store(store.clone()).build().unwrap();
    world.pass_the_window(&guard, &runner("r-1")).await;
    store.lost.store(1, Ordering::SeqCst);
    let decision = guard.can_terminate(&runner("r-1")).await;
    let sentence = held_for(&decision, HoldCode::MemoryUnreadable);
    assert!(sentence.contains("begun anew"), "{sentence}");
}

#[tokio::test]
async fn a_corrupt_record_says_so_and_starts_the_window_anew() {
    let world = World::new();
    let guard = world.guard();
    world.pass_the_window(&guard, &runner("r-1")).await;
    let key = Key::of_runner(
        "api.github.com".into(),
        SCOPE.parse().unwrap(),
        Kind::Memory,
        "r-1".parse().unwrap(),
    );
    let kept = world.store.read(std::slice::from_ref(&key)).await.unwrap();
    let version = kept[0].as_ref().unwrap().version;
    let swap = world
        .store
        .swap(&key, Some(version), "{\"vacant\": 7")
        .await;
    assert!(matches!(swap, Ok(Swap::Done(_))));
    let decision = guard.can_terminate(&runner("r-1")).await;
    let sentence = held_for(&decision, HoldCode::MemoryUnreadable);
    assert!(sentence.contains("begun anew"), "{sentence}");
    let decision = guard.can_terminate(&runner("r-1")).await;
    let sentence = held_for(&decision, HoldCode::GraceWindow);
    assert!(
        sentence.contains("02:05:00"),
        "the window runs anew: {sentence}"
    );
    world.clock.advance(minutes(5));
    let decision = guard.can_terminate(&runner("r-1")).await;
    assert_eq!(decision.verdict(), Verdict::Terminate);
}

async fn a_minted_token_is_kept_in(store: impl Store + 'static) {
    let store = Arc::new(store);
    let guard = World::new().builder().store(store.clone()).build().unwrap();
    let scope = SCOPE.parse().unwrap();
    guard.minted(&scope).await.unwrap();
    let api = "api.github.com";
    let kept = store.scan(api, &scope, Kind::Fleet).await.unwrap();
    let roster: Roster = serde_json::from_str(&kept[0].1.value).unwrap();
    assert!(roster.scope_is_ours());
    guard.minted(&scope).await.unwrap();
    let again = store.scan(api, &scope, Kind::Fleet).await.unwrap();
    assert_eq!(again[0].1.version, kept[0].1.version, "it is written once");
    let other = "repo:acme/web".parse().unwrap();
    assert!(
        store
            .scan(api, &other, Kind::Fleet)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_minted_token_tells_whose_scope_it_is() {
    a_minted_token_is_kept_in(MemoryStore::new()).await;
    #[cfg(feature = "sqlite")]
    {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.db");
        a_minted_token_is_kept_in(scale_in_guard::stores::SqliteStore::open(file).unwrap()).await;
    }
    // A store that fails is the caller's to hear of, and it changes nothing but that.
    let store = Arc::new(Failing::default());
    let guard = World::new().builder().store(store.clone()).build().unwrap();
    store.writes.store(1, Ordering::SeqCst);
    let scope = SCOPE.parse().unwrap();
    assert!(guard.minted(&scope).await.is_err());
    guard.minted(&scope).await.unwrap();
    store.conflicts.store(usize::MAX, Ordering::SeqCst);
    guard.minted(&scope).await.unwrap();
}

#[tokio::test]
async fn a_look_that_tells_nothing_new_is_not_written() {
    let world = World::new();
    let store = Arc::new(Failing::default());
    let guard = world.builder().store(store.clone()).build().unwrap();
    let runner = runner("r-1").launched_at(start() - minutes(60));
    let _ = guard.can_terminate(&runner).await;
    store.writes.store(1, Ordering::SeqCst);
    world.clock.advance(minutes(3));
    let decision = guard.can_terminate(&runner).await;
    assert_eq!(
        codes(&decision),
        [HoldCode::GraceWindow],
        "nothing was written"
    );
    world.clock.advance(TimeDelta::seconds(20));
    let decision = guard.can_terminate(&runner).await;
    held_for(&decision, HoldCode::MemoryUnreadable);
}

#[tokio::test]
async fn an_outcome_that_alone_is_new_and_cannot_be_written_changes_nothing() {
    let world = World::new();
    let store = Arc::new(Failing::default());
    let guard = world.builder().store(store.clone()).build().unwrap();
    let _ = guard.can_terminate(&runner("r-1")).await;
    store.writes.store(1, Ordering::SeqCst);
    world.clock.advance(minutes(3));
    // It is old enough now: another reason, and no other memory.
    let decision = guard.can_terminate(&runner("r-1")).await;
    assert_eq!(codes(&decision), [HoldCode::GraceWindow]);
    assert_eq!(store.writes.load(Ordering::SeqCst), 0, "it was tried");
}

#[tokio::test]
async fn a_selection_goes_no_further_than_the_request_limit() {
    let world = World::new();
    let guard = world.guard();
    let names = ["a", "b", "c"];
    let _ = all(&guard, &names).await;
    world.clock.advance(minutes(5));
    let limited = Evidence::failed(Witness::Jobs, "429", start()).rate_limited();
    world.jobs.says(limited.signal);
    let asked = world.flag.asked();
    let mut selection = guard.select(names.map(runner), 3);
    let decision = selection.next().await.unwrap();
    assert_eq!(decision.assessment().runner.name.as_str(), "a");
    held_for(&decision, HoldCode::RateLimited);
    assert!(selection.next().await.is_none());
    assert_eq!(world.flag.asked(), asked + 1, "nobody else is asked");
}

async fn all(guard: &Guard, names: &[&str]) -> Vec<Decision> {
    let mut sweep = guard.sweep(names.iter().map(|name| runner(name)));
    let mut decisions = Vec::new();
    while let Some(decision) = sweep.next().await {
        decisions.push(decision);
    }
    decisions
}

#[tokio::test]
async fn a_sweep_answers_once_for_each_runner() {
    let world = World::new();
    let decisions = all(&world.guard(), &["a", "b", "a", "c"]).await;
    let names: Vec<_> = decisions
        .iter()
        .map(|decision| decision.assessment().runner.name.as_str().to_owned())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(all(&world.guard(), &[]).await.is_empty());
}

#[tokio::test]
async fn a_sweep_makes_no_scan_while_no_runner_passes_the_cheap_witnesses() {
    let world = World::new();
    let guard = world.guard();
    world.flag.says(Signal::Registration(busy()));
    let decisions = all(&guard, &["a", "b"]).await;
    assert!(
        decisions
            .iter()
            .all(|decision| codes(decision).contains(&HoldCode::Busy))
    );
    assert_eq!(world.jobs.asked(), 0);
    world.flag.says(Signal::Registration(idle()));
    let _ = all(&guard, &["a", "b"]).await;
    assert_eq!(world.jobs.asked(), 2);
}

#[tokio::test]
async fn a_sweep_gives_those_that_may_go_last_and_the_longest_vacant_first() {
    let world = World::new();
    let guard = world.guard();
    for name in ["c", "a", "b"] {
        let _ = guard.can_terminate(&runner(name)).await;
        world.clock.advance(minutes(1));
    }
    world.clock.advance(minutes(4));
    let decisions = all(&guard, &["a", "b", "c", "d"]).await;
    let told: Vec<_> = decisions
        .iter()
        .map(|decision| {
            let name = decision.assessment().runner.name.as_str().to_owned();
            (name, decision.verdict())
        })
        .collect();
    let may_go = |name: &str| (name.to_owned(), Verdict::Terminate);
    assert_eq!(
        told,
        [
            ("d".to_owned(), Verdict::Hold),
            may_go("c"),
            may_go("a"),
            may_go("b")
        ]
    );
}

#[tokio::test]
async fn a_permit_is_made_when_it_is_pulled() {
    let world = World::new();
    let guard = world.guard();
    let _ = all(&guard, &["a", "b"]).await;
    world.clock.advance(minutes(5));
    let mut sweep = guard.sweep([runner("a"), runner("b")]);
    let first = sweep.next().await.unwrap();
    assert_eq!(first.verdict(), Verdict::Terminate);
    // The caller takes its time with the first; meanwhile the second gets a job.
    world.clock.advance(minutes(1));
    world.jobs.says(Signal::Jobs(running_on("b")));
    let second = sweep.next().await.unwrap();
    held_for(&second, HoldCode::JobInProgress);
    world.jobs.says(Signal::Jobs(no_jobs()));
    let mut sweep = guard.sweep([runner("a")]);
    let Some(Decision::Terminate(permit)) = sweep.next().await else {
        panic!("a is vacant");
    };
    assert_eq!(permit.issued_at(), world.clock.now());
    assert!(sweep.next().await.is_none());
}

#[tokio::test]
async fn a_sweep_gives_no_more_permits_than_its_budget() {
    for (budget, permits) in [
        (PermitBudget::Count(0), 0),
        (PermitBudget::Count(2), 2),
        (PermitBudget::Percent(50), 2),
    ] {
        let world = World::new();
        let policy = Policy {
            max_permits_per_sweep: Some(budget),
            ..Policy::default()
        };
        let guard = world.builder().policy(policy).build().unwrap();
        let names = ["a", "b", "c", "d"];
        let _ = all(&guard, &names).await;
        world.clock.advance(minutes(5));
        let asked = world.flag.asked();
        let decisions = all(&guard, &names).await;
        let (given, spent): (Vec<_>, Vec<_>) = decisions
            .into_iter()
            .partition(|decision| decision.verdict() == Verdict::Terminate);
        assert_eq!(given.len(), permits, "{budget}");
        for decision in spent {
            assert_eq!(codes(&decision), [HoldCode::PermitBudgetSpent]);
        }
        assert_eq!(
            world.flag.asked() - asked,
            4 + permits,
            "a spent budget asks nobody"
        );
    }
}

#[tokio::test]
async fn whoever_a_survey_finds_and_nobody_wants_is_not_looked_at_again_and_takes_nothing_of_the_budget()
 {
    let world = World::new();
    let policy = Policy {
        max_permits_per_sweep: Some(PermitBudget::Count(2)),
        ..Policy::default()
    };
    let guard = world.builder().policy(policy).build().unwrap();
    let names = ["a", "b", "c", "d"];
    let _ = all(&guard, &names).await;
    world.clock.advance(minutes(5));
    let newcomer = ["a", "b", "c", "d", "e"].map(runner);
    let asked = world.flag.asked();
    let survey = guard.look_over(newcomer).await;
    assert_eq!(world.flag.asked() - asked, 5);
    let names = |seen: &scale_in_guard::Assessment| seen.runner.name.to_string();
    assert_eq!(survey.held().map(names).collect::<Vec<_>>(), ["e"]);
    let candidates: Vec<_> = survey.candidates().map(names).collect();
    assert_eq!(candidates, ["a", "b", "c", "d"]);
    let mut sweep = survey.sweep(|seen| !matches!(seen.runner.name.as_str(), "a" | "b"));
    let (mut held, mut given) = (Vec::new(), Vec::new());
    while let Some(decision) = sweep.next().await {
        match decision {
            Decision::Terminate(permit) => given.push(permit.runner().name.to_string()),
            Decision::Hold(hold) => held.push(names(hold.assessment())),
        }
    }
    assert_eq!(
        (held, given),
        (vec!["e".to_owned()], vec!["c".to_owned(), "d".to_owned()])
    );
    assert_eq!(world.flag.asked() - asked, 5 + 2);
}

#[tokio::test]
async fn a_sweep_holds_everyone_when_the_memory_cannot_be_read() {
    let world = World::new();
    let store = Arc::new(Failing::default());
    let guard = world.builder().store(store.clone()).build().unwrap();
    let _ = all(&guard, &["a", "b"]).await;
    world.clock.advance(minutes(5));
    store.reads.store(1, Ordering::SeqCst);
    for decision in all(&guard, &["a", "b"]).await {
        held_for(&decision, HoldCode::MemoryUnreadable);
    }
}

#[tokio::test]
async fn shadow_mode_decides_remembers_and_counts_and_gives_no_permit() {
    let world = World::new();
    let guard = world.builder().shadow().build().unwrap();
    let r = runner("r-1");
    // Ten minutes vacant: the guard would let it go after five.
    for _ in 0..=10 {
        let decision = guard.can_terminate(&r).await;
        assert_eq!(decision.verdict(), Verdict::Hold);
        world.clock.advance(minutes(1));
    }
    let decision = guard.can_terminate(&r).await;
    assert_eq!(codes(&decision), [HoldCode::ShadowMode]);
    assert_eq!(decision.outside_shadow(), Verdict::Terminate);
    // Then a job, whose flag lies for five minutes: one kill.
    world.clock.advance(minutes(1));
    world.jobs.says(Signal::Jobs(running_on("r-1")));
    for _ in 0..5 {
        let decision = guard.can_terminate(&r).await;
        assert_eq!(decision.outside_shadow(), Verdict::Hold);
        world.clock.advance(minutes(1));
    }
    let summary = guard.shadow_summary(&r.scope).await.unwrap();
    assert_eq!(summary.runners, 1);
    assert_eq!(summary.looks, 17);
    assert_eq!(summary.kills_spared, 1);
    assert_eq!(summary.kills_of_its_own, 0);
    assert_eq!(summary.vacant_seconds, 300);
    assert_eq!(summary.to_string().lines().count(), 2);
    // A sweep counts and gives none either.
    world.jobs.says(Signal::Jobs(no_jobs()));
    for decision in all(&guard, &["r-1", "r-2"]).await {
        assert_eq!(decision.verdict(), Verdict::Hold);
    }
    let summary = guard.shadow_summary(&r.scope).await.unwrap();
    assert_eq!((summary.runners, summary.looks), (2, 19));
}

#[tokio::test]
async fn coverage_says_what_a_deployment_can_know() {
    let world = World::new();
    let scope = SCOPE.parse().unwrap();
    let coverage = world.guard().coverage(&scope);
    assert_eq!(coverage.permits, Permits::Vacant);
    assert_eq!(coverage.window, Window::JobsLag);

    let partial = ScriptedSource::jobs(no_jobs()).reaching(Reach::Holds);
    let flag = || Guard::builder().source(world.flag.clone());
    let bare = flag().build().unwrap().coverage(&scope);
    let some = flag().source(partial).build().unwrap().coverage(&scope);
    for coverage in [bare, some] {
        assert_eq!(coverage.permits, Permits::WithBeacon, "{coverage}");
        assert_eq!(coverage.window, Window::Beacon(minutes(1)));
    }
    let jobs = Policy {
        corroboration: Corroboration::Jobs,
        ..Policy::default()
    };
    let bare = flag().policy(jobs).build().unwrap().coverage(&scope);
    assert_eq!(bare.permits, Permits::PhantomsOnly, "{bare}");
    assert_eq!(bare.window, Window::None);
    let both = Policy {
        corroboration: Corroboration::Both,
        ..Policy::default()
    };
    let wanting = world.builder().policy(both.clone()).build().unwrap();
    assert_eq!(wanting.coverage(&scope).permits, Permits::WithBeacon);
    let beacon = ScriptedSource::new(Witness::Lease, Signal::NeverHeard);
    let fenced = world.builder().policy(both).source(beacon).build().unwrap();
    assert_eq!(fenced.coverage(&scope).permits, Permits::Vacant);
    assert_eq!(fenced.coverage(&scope).window, Window::Beacon(minutes(1)));
    let own = Guard::builder()
        .source(ScriptedSource::objecting("-"))
        .build()
        .unwrap();
    assert_eq!(own.coverage(&scope).permits, Permits::None);
}

#[test]
fn a_guard_without_a_witness_or_with_a_bad_policy_is_not_built() {
    assert!(Guard::builder().build().is_err());
    let policy = Policy {
        grace: minutes(-1),
        ..Policy::default()
    };
    let error = World::new().builder().policy(policy).build().unwrap_err();
    assert!(error.to_string().contains("grace"), "{error}");
}

/// While it is asked, another guard looks at the same runner.
#[derive(Debug)]
struct Interloper(Guard);

#[async_trait]
impl EvidenceSource for Interloper {
    fn name(&self) -> &str {
        "interloper"
    }
    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        let _ = self.0.can_terminate(ask.runner()).await;
        Ok(vec![ask.objects_if(false, "-")])
    }
}

#[tokio::test]
async fn a_permit_takes_in_what_another_guard_saw_meanwhile() {
    let world = World::new();
    let runner = runner("r-1");
    world.pass_the_window(&world.guard(), &runner).await;
    // What this guard sees was written just now: nothing is new to it.
    let decision = world.guard().can_terminate(&runner).await;
    assert_eq!(decision.verdict(), Verdict::Terminate);
    let sees_it_busy = Guard::builder()
        .clock(world.clock.clone())
        .source(ScriptedSource::registration(busy()))
        .store(world.store.clone())
        .build()
        .unwrap();
    let guard = world.builder().source(Interloper(sees_it_busy));
    let decision = guard.build().unwrap().can_terminate(&runner).await;
    assert_eq!(
        codes(&decision),
        [HoldCode::GraceWindow],
        "{}",
        decision.explain()
    );
}

/// Says something else than it says that it would.
#[derive(Debug)]
struct Pretender(Witness, Reach, Signal);

#[async_trait]
impl EvidenceSource for Pretender {
    fn name(&self) -> &str {
        "pretender"
    }
    fn witness(&self) -> Witness {
        self.0
    }
    fn reach(&self, _: &scale_in_guard::Scope) -> Reach {
        self.1
    }
    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        let piece = Evidence::new("pretender", ask.at(), self.2.clone());
        Ok(vec![ask.objects_if(false, "-"), piece])
    }
}

#[tokio::test]
async fn a_source_speaks_as_no_other_witness_and_no_further_than_it_reaches() {
    let world = World::new();
    let own = Pretender(Witness::Own, Reach::Holds, Signal::Jobs(no_jobs()));
    let beacon = Pretender(Witness::Lease, Reach::Clears, Signal::Jobs(no_jobs()));
    for (pretender, code) in [
        (own, HoldCode::ObjectionUnreadable),
        (beacon, HoldCode::LeaseUnreadable),
    ] {
        let flag = Guard::builder().source(world.flag.clone());
        let guard = flag.source(pretender).build().unwrap();
        let decision = guard.can_terminate(&runner("r-1")).await;
        held_for(&decision, code);
        held_for(&decision, HoldCode::Uncorroborated);
    }
    let partial = ScriptedSource::jobs(no_jobs()).reaching(Reach::Holds);
    let flag = Guard::builder().source(world.flag.clone());
    let guard = flag.source(partial).build().unwrap();
    held_for(
        &guard.can_terminate(&runner("r-1")).await,
        HoldCode::Uncorroborated,
    );
}
