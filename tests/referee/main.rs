//! Concurrency, for real: guard processes and beacon processes over one store, on runners whose jobs start and end
//! at random, while GitHub's flag lies. A referee that sees only the truth counts.
//!
//! The ordinary run is small. The whole one takes some minutes:
//!
//! ```text
//! cargo test --features cli,testing --test referee -- --ignored --nocapture --test-threads 1
//! ```
//!
//! `REFEREE_SEED=7` for another seed than the usual one; as far as real processes are reproducible, it is.

#![cfg(all(feature = "cli", feature = "testing", target_os = "linux"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod host;
mod life;
mod processes;
mod redis_server;
mod store;
mod truth;

use chrono::TimeDelta;
use fastrand::Rng;
use host::Host;
use life::Place;
use processes::Setting;
use redis_server::RedisServer;
use scale_in_guard::{Policy, Scope, clock::SystemClock, testing::FakeGitHub};
use std::{
    env, fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use store::{Server, SqliteFile};
use tokio::time::{Instant, sleep};
use truth::{Counts, Referee, Way};

/// The windows of minutes are seconds here.
const POLICY: &str = r#"
grace = "3s"
min_age = "1s"
job_pending = "0s"
beacon_ttl = "4s"
settle = "8s"
permit_ttl = "2s"
evidence_max_age = "5s"
ask_deadline = "5s"
corroboration = "lease"
"#;

/// A beacon looks once a second.
const LOOK: TimeDelta = TimeDelta::seconds(1);

/// The window that docs/verification.md states, where a beacon alone is believed: blind window, a look, `beacon_ttl`,
/// and what a permit allows.
fn window(policy: &Policy) -> TimeDelta {
    life::BLIND_WINDOW + LOOK + policy.beacon_ttl + policy.permit_ttl
}

/// How much of everything.
struct Size {
    runners: usize,
    guards: usize,
    beacons: usize,
    /// For how long jobs come.
    busy_for: Duration,
    /// For how long the store is away in the middle of that.
    away_for: Duration,
    /// For how long a beacon is dead, after that.
    dead_for: Duration,
    /// From one ask of a guard to its next.
    pause: Duration,
    /// Within what every vacant runner must be reclaimed, once no job comes any more.
    reclaimed_within: Duration,
    /// Whether those are waited for, too, that were deregistered while they had a job: their absence counts after a
    /// minute.
    and_departed: bool,
}

const SMALL: Size = Size {
    runners: 100,
    guards: 4,
    beacons: 2,
    busy_for: Duration::from_secs(20),
    away_for: Duration::from_secs(3),
    dead_for: Duration::from_secs(10),
    pause: Duration::from_millis(40),
    reclaimed_within: Duration::from_secs(90),
    and_departed: false,
};

const WHOLE: Size = Size {
    runners: 500,
    guards: 8,
    beacons: 4,
    busy_for: Duration::from_secs(60),
    away_for: Duration::from_secs(6),
    dead_for: Duration::from_secs(12),
    pause: Duration::from_millis(40),
    reclaimed_within: Duration::from_secs(180),
    and_departed: true,
};

#[test]
fn a_small_fleet_over_a_sqlite_file() {
    over_sqlite(&SMALL);
}

#[test]
#[ignore = "some minutes: .ci/run runs it"]
fn five_hundred_runners_over_a_sqlite_file() {
    over_sqlite(&WHOLE);
}

#[test]
fn a_small_fleet_over_redis() {
    over_redis(&SMALL);
}

#[test]
#[ignore = "some minutes: .ci/run runs it"]
fn five_hundred_runners_over_redis() {
    over_redis(&WHOLE);
}

fn over_sqlite(size: &Size) {
    let folder = tempfile::tempdir().expect("a folder");
    referee(size, SqliteFile::in_folder(folder.path()));
}

fn over_redis(size: &Size) {
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(server) = RedisServer::in_folder(folder.path()) {
        referee(size, server);
    }
}

/// Plays it, prints what was counted, and asserts what must be true.
fn referee(size: &Size, store: impl Server + 'static) {
    let seed = env::var("REFEREE_SEED").map_or(6, |seed| seed.parse().expect("a number"));
    println!("seed {seed}, store {}", store.name());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let counts = runtime.block_on(play(size, store, seed));
    println!("{counts}");
    let window = window(&toml::from_str(POLICY).expect("a policy"));
    let deleted = counts.deleted_under.iter();
    let unseen: Vec<_> = deleted.filter(|&&age| age >= window).collect();
    let departing = match size.and_departed {
        true => &counts.departing[..],
        false => &[],
    };
    let names = counts.forbidden(window);
    let names: Vec<_> = names.iter().map(|kill| (&kill.runner, kill)).collect();
    let faults = [
        (names.len(), format!("jobs were killed: {names:#?}")),
        (
            counts.second_goes.len(),
            format!("second goes: {:?}", counts.second_goes),
        ),
        (unseen.len(), format!("DELETE under jobs of {unseen:?}")),
        (
            counts.stranded.len() + departing.len(),
            format!("stranded: {:#?} {departing:#?}", counts.stranded),
        ),
    ];
    let faults: Vec<_> = faults
        .into_iter()
        .filter_map(|(count, what)| (count > 0).then_some(what))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(counts.jobs > size.runners && counts.retired > 0 && counts.redeemed > 0);
}

async fn play(size: &Size, mut store: impl Server + 'static, seed: u64) -> Counts {
    let mut rng = Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let github = FakeGitHub::start(SystemClock).await.expect("a port");
    let scope: Scope = "org:acme".parse().expect("a scope");
    github.add_repository("acme/atlas");
    github.rate_limit(1_000_000);
    github.lag_busy(TimeDelta::seconds(2));
    // Of somebody else: an empty listing would be doubted for ten minutes.
    github.register(&scope, "not-ours");
    let referee = Referee::new(github, scope);
    let setting = Setting {
        store: store.url(),
        policy: folder.path().join("policy.toml"),
        folder: folder.path().to_owned(),
    };
    fs::write(&setting.policy, POLICY).expect("the policy");

    let jobs_are_over = Arc::new(AtomicBool::new(false));
    let idle = host::idle_program(folder.path());
    let mut places: Vec<Place> = (0..size.runners)
        .map(|number| Place {
            number,
            host: Host::new(folder.path().join(format!("host-{number:03}")), &idle),
            rng: rng.fork(),
            referee: referee.clone(),
            is_over: jobs_are_over.clone(),
        })
        .collect();
    // A beacon begins only where a runner is configured.
    for place in &mut places {
        place.host.vanish(place.number);
    }
    let roots: Vec<_> = places.iter().map(|it| it.host.root().to_owned()).collect();
    let roots_of_each: Vec<_> = roots.chunks(size.runners.div_ceil(size.beacons)).collect();
    let mut beacons: Vec<_> = roots_of_each
        .iter()
        .enumerate()
        .map(|(number, roots)| setting.beacon(number, roots))
        .collect();
    let lives: Vec<_> = places
        .into_iter()
        .map(|it| tokio::spawn(it.live()))
        .collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let ways = [Way::Retire, Way::Redeem].into_iter().cycle();
    let mut guards: Vec<_> = (0..size.guards)
        .zip(ways)
        .map(|(number, way)| setting.guard(number, way, &referee, size.pause, &is_over, rng.fork()))
        .collect();

    let a_part = (size.busy_for - size.away_for - size.dead_for) / 3;
    sleep(a_part).await;
    store.stop();
    sleep(size.away_for).await;
    store.start();
    sleep(a_part).await;
    drop(beacons.remove(0)); // without a word
    sleep(size.dead_for).await;
    beacons.push(setting.beacon(0, roots_of_each[0]));
    sleep(a_part).await;
    jobs_are_over.store(true, Ordering::SeqCst);

    let since = Instant::now();
    loop {
        let (left, departing) = referee.left();
        let is_done = left == 0 || left == departing && !size.and_departed;
        if is_done || since.elapsed() > size.reclaimed_within {
            let seconds = since.elapsed().as_secs();
            println!("{seconds} s after the last job was dispatched, {left} runners are left");
            break;
        }
        for process in guards.iter_mut().chain(&mut beacons) {
            assert!(process.runs(), "a process ended before its time");
        }
        sleep(Duration::from_millis(500)).await;
    }
    is_over.store(true, Ordering::SeqCst);
    drop((guards, beacons));
    for life in lives {
        life.abort();
    }
    referee.counts()
}
