//! The intake: a beacon reports through it, and what its host can forge is of its own runner alone.
#![cfg(all(feature = "testing", feature = "intake"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should say where"
)]

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use scale_in_guard::{
    Scope,
    beacon::{Reporter, Word},
    clock::{Clock, SystemClock},
    decision::Basis,
    fence::{Deregistration, Drain, Fence, Incarnation, Nonce, State},
    intake::{BeaconSecret, Intake, IntakeError, IntakeKey, IntakeStore},
    lease::Heartbeat,
    runner::RunnerName,
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::MemoryStore,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc};
use tokio::net::TcpListener;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn scope() -> Scope {
    "org:acme".parse().unwrap()
}

fn name(text: &str) -> RunnerName {
    text.parse().unwrap()
}

fn key() -> IntakeKey {
    IntakeKey::new(KEY).unwrap()
}

fn secret_of(runner: &str) -> BeaconSecret {
    key().secret_of(&scope(), &name(runner))
}

fn record_of(runner: &str, kind: Kind) -> Key {
    Key::of_runner("*".into(), scope(), kind, name(runner))
}

fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// A server with nothing but an intake.
async fn serve(intake: Intake) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let intake = Arc::new(intake);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let intake = Arc::clone(&intake);
            let service = service_fn(move |request: Request<Incoming>| {
                let intake = Arc::clone(&intake);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let header = head.headers.get("authorization");
                    let header = header.and_then(|value| value.to_str().ok());
                    let target = head.uri.path_and_query().unwrap().as_str();
                    let answer = intake.answer(head.method.as_str(), target, header, &body);
                    let answer = answer.await;
                    let response = Response::builder().status(answer.status);
                    Ok::<_, Infallible>(response.body(Full::new(Bytes::from(answer.body))).unwrap())
                }
            });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    url
}

async fn read(store: &impl Store, runner: &str, kind: Kind) -> Option<Record> {
    let read = store.read(&[record_of(runner, kind)]).await.unwrap();
    read.into_iter().next().unwrap()
}

async fn fence_of(store: &impl Store, runner: &str) -> Fence {
    let record = read(store, runner, Kind::Fence).await;
    record.map_or(Fence::default(), |record| {
        serde_json::from_str(&record.value).unwrap()
    })
}

fn started() -> Word {
    let mut heartbeat = Heartbeat::new(now());
    heartbeat.worker_since = Some(now());
    Word {
        heartbeat,
        started: true,
        going: false,
    }
}

fn idle() -> Word {
    Word {
        heartbeat: Heartbeat::new(now()),
        started: false,
        going: false,
    }
}

fn drain() -> Drain {
    Drain {
        nonce: Nonce::new("d-1"),
        basis: Basis::Vacant,
        of: Incarnation::default(),
        deregistration: Deregistration::NotWanted,
    }
}

#[tokio::test]
async fn a_beacon_reports_and_takes_its_fence_through_it() {
    let store = Arc::new(MemoryStore::new());
    let url = serve(Intake::new(store.clone(), [key()])).await;
    let intake = IntakeStore::new(&url, secret_of("r-1")).unwrap();
    let mut reporter = Reporter::new(intake, &scope(), &name("r-1"), None, now());
    reporter.report(&idle(), &SystemClock).await.unwrap();
    assert!(read(&store, "r-1", Kind::Heartbeat).await.is_some());
    // A guard announces that it is to go, and a job starts.
    let draining = Fence::default();
    let draining = draining.drain(0, drain(), TimeDelta::zero()).unwrap();
    let text = serde_json::to_string(&draining).unwrap();
    let fence = record_of("r-1", Kind::Fence);
    assert!(matches!(
        store.swap(&fence, None, &text).await.unwrap(),
        Swap::Done(_)
    ));
    reporter.report(&started(), &SystemClock).await.unwrap();
    let taken = fence_of(&store, "r-1").await;
    assert!(matches!(taken.state(), State::Taken { .. }), "{taken:?}");
    assert_eq!(taken.epoch(), 1);
}

#[tokio::test]
async fn it_gives_the_age_of_the_store_behind_it() {
    let clock = scale_in_guard::testing::ManualClock::at(now());
    let store = Arc::new(MemoryStore::new().with_clock(clock.clone()));
    let url = serve(Intake::new(store.clone(), [key()])).await;
    let intake = IntakeStore::new(&url, secret_of("r-1")).unwrap();
    let mut reporter = Reporter::new(
        IntakeStore::new(&url, secret_of("r-1")).unwrap(),
        &scope(),
        &name("r-1"),
        None,
        now(),
    );
    reporter.report(&idle(), &SystemClock).await.unwrap();
    clock.advance(TimeDelta::seconds(42));
    let record = read(&intake, "r-1", Kind::Heartbeat).await.unwrap();
    assert_eq!(record.age, TimeDelta::seconds(42));
    let behind = read(&store, "r-1", Kind::Heartbeat).await.unwrap();
    assert_eq!(record, behind);
}

#[tokio::test]
async fn one_runners_secret_changes_no_others_record() {
    let store = Arc::new(MemoryStore::new());
    let url = serve(Intake::new(store.clone(), [key()])).await;
    let own = IntakeStore::new(&url, secret_of("r-1")).unwrap();
    for runner in ["r-2", "r-11", "R-1"] {
        let mut reporter = Reporter::new(
            IntakeStore::new(&url, secret_of("r-1")).unwrap(),
            &scope(),
            &name(runner),
            None,
            now(),
        );
        let error = reporter.report(&idle(), &SystemClock).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("401"), "{error}");
        assert!(!error.contains(secret_of("r-1").expose_secret()), "{error}");
        assert_eq!(read(&store, runner, Kind::Heartbeat).await, None);
    }
    // No other kind, and no listing, leaves the host.
    for kind in [Kind::Memory, Kind::Releases, Kind::Pins] {
        let error = own.read(&[record_of("r-1", kind)]).await.unwrap_err();
        assert!(
            error.to_string().contains("heartbeats and fences"),
            "{error}"
        );
    }
    own.scan("*", &scope(), Kind::Heartbeat).await.unwrap_err();
}

/// What an intake answers to a PUT with these words.
async fn put(intake: &Intake, target: &str, secret: Option<&BeaconSecret>, body: Value) -> u16 {
    let header = secret.map(|secret| format!("Bearer {}", secret.expose_secret()));
    let body = body.to_string();
    let answer = intake.answer("PUT", target, header.as_deref(), body.as_bytes());
    answer.await.status
}

#[tokio::test]
async fn of_a_fence_a_host_can_make_nothing_but_what_a_starting_job_makes() {
    let store = Arc::new(MemoryStore::new());
    let intake = Intake::new(store.clone(), [key()]);
    let secret = secret_of("r-1");
    let target = "/beacons/fence?scope=org:acme&runner=r-1";
    let draining = Fence::default();
    let draining = draining.drain(0, drain(), TimeDelta::zero()).unwrap();
    let text = serde_json::to_string(&draining).unwrap();
    let swapped = store
        .swap(&record_of("r-1", Kind::Fence), None, &text)
        .await;
    let Swap::Done(Version(version)) = swapped.unwrap() else {
        panic!("nobody else writes");
    };
    let expected = version.to_string();
    let write = |fence: &Fence| json!({"expected": expected, "value": serde_json::to_string(fence).unwrap()});
    let forged = [
        Fence::default(),
        draining.release(),
        draining.take(7).take(7),
        Fence::default().take(7).take(7).take(7),
        draining.clone(),
    ];
    for fence in forged {
        assert_eq!(
            put(&intake, target, Some(&secret), write(&fence)).await,
            403,
            "{fence:?}"
        );
    }
    let taken = write(&draining.take(7));
    assert_eq!(put(&intake, target, None, taken.clone()).await, 401);
    assert_eq!(
        put(&intake, target, Some(&secret_of("r-2")), taken.clone()).await,
        401
    );
    assert_eq!(
        fence_of(&store, "r-1").await,
        draining,
        "nothing was written"
    );
    assert_eq!(
        put(&intake, target, Some(&secret), taken.clone()).await,
        200
    );
    assert_eq!(put(&intake, target, Some(&secret), taken).await, 409);
    assert_eq!(fence_of(&store, "r-1").await, draining.take(7));
}

#[tokio::test]
async fn what_is_no_report_is_refused() {
    let intake = Intake::new(MemoryStore::new(), [key()]);
    let secret = secret_of("r-1");
    let beats = "/beacons/heartbeat?scope=org:acme&runner=r-1";
    let long = "x".repeat(65 << 10);
    for (target, body, status) in [
        (beats, json!({"expected": null, "value": "{}"}), 400),
        (beats, json!({"expected": null, "value": long}), 413),
        (beats, json!({"value": 1}), 400),
        (beats, json!({"expected": -1, "value": "{}"}), 400),
        ("/beacons/memory?scope=org:acme&runner=r-1", json!({}), 404),
        ("/beacons/heartbeat?scope=org:acme", json!({}), 400),
        ("/beacons/heartbeat?runner=r-1", json!({}), 400),
        ("/beacons/heartbeat?scope=acme&runner=r-1", json!({}), 400),
        ("/beacons/heartbeat?scope=org:acme&runner=", json!({}), 400),
        ("/beacons/", json!({}), 404),
        ("", json!({}), 404),
    ] {
        let got = put(&intake, target, Some(&secret), body.clone()).await;
        assert_eq!(got, status, "{target} {body:.60}");
    }
    let header = format!("Bearer {}", secret.expose_secret());
    for (method, status) in [("DELETE", 405), ("POST", 405), ("GET", 200)] {
        let answer = intake.answer(method, beats, Some(&header), b"").await;
        assert_eq!(answer.status, status, "{method}");
    }
    for header in [
        "",
        "Bearer",
        "Bearer ",
        &header.replace("Bearer", "Basic"),
        "Bearer é",
    ] {
        let answer = intake.answer("GET", beats, Some(header), b"").await;
        assert_eq!(answer.status, 401, "{header}");
    }
}

#[tokio::test]
async fn the_key_can_be_rotated() {
    let new = || IntakeKey::new(&KEY.replace('0', "9")).unwrap();
    let of_new = new().secret_of(&scope(), &name("r-1"));
    let target = "/beacons/heartbeat?scope=org:acme&runner=r-1";
    let both = Intake::new(MemoryStore::new(), [new(), key()]);
    let only = Intake::new(MemoryStore::new(), [new()]);
    for (intake, secret, status) in [
        (&both, &of_new, 200),
        (&both, &secret_of("r-1"), 200),
        (&only, &of_new, 200),
        (&only, &secret_of("r-1"), 401),
    ] {
        let header = format!("Bearer {}", secret.expose_secret());
        let answer = intake.answer("GET", target, Some(&header), b"").await;
        assert_eq!(answer.status, status);
    }
}

/// A store that never answers, or always fails.
#[derive(Debug)]
struct FakeAway {
    hangs: bool,
}

impl FakeAway {
    async fn fail<T>(&self) -> Result<T, StoreError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Err(StoreError::Unusable {
            store: "redis://user:hunter2@db".to_owned(),
            doing: "reading",
            source: "away".into(),
        })
    }
}

#[async_trait]
impl Store for FakeAway {
    fn describe(&self) -> String {
        "away".to_owned()
    }
    async fn read(&self, _: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        self.fail().await
    }
    async fn scan(&self, _: &str, _: &Scope, _: Kind) -> Result<Vec<(Key, Record)>, StoreError> {
        self.fail().await
    }
    async fn swap(&self, _: &Key, _: Option<Version>, _: &str) -> Result<Swap, StoreError> {
        self.fail().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_503_in_bounded_time_and_shows_the_host_nothing() {
    for hangs in [false, true] {
        let intake = Intake::new(FakeAway { hangs }, [key()]);
        let header = format!("Bearer {}", secret_of("r-1").expose_secret());
        let target = "/beacons/heartbeat?scope=org:acme&runner=r-1";
        let answer = intake.answer("GET", target, Some(&header), b"").await;
        assert_eq!(answer.status, 503);
        assert!(!answer.body.contains("hunter2"), "{}", answer.body);
    }
}

#[tokio::test]
async fn what_answers_there_must_be_an_intake_and_the_way_safe() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let away = IntakeStore::new(&nobody, secret_of("r-1")).unwrap();
    let error = away
        .read(&[record_of("r-1", Kind::Fence)])
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
    for url in [
        "http://intake.example.com",
        "https://user:hunter2@intake.example.com",
        "ftp://intake.example.com",
        "intake.example.com",
        "https://intake.example.com?x=1",
        "",
    ] {
        let error = IntakeStore::new(url, secret_of("r-1")).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let plain = IntakeStore::new("http://10.0.0.1", secret_of("r-1"));
    assert!(matches!(plain, Err(IntakeError::PlainHttp { .. })));
    let several = IntakeStore::of_several(&nobody, [(name("r-1"), secret_of("r-1"))]).unwrap();
    let error = several
        .read(&[record_of("r-2", Kind::Fence)])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no secret for r-2"), "{error}");
}
