//! What a receiver answers, and when.

use crate::world::{
    FakeStore, Mood, SECRET, acme, deliver, keep, noon, of_runner, own, receiver, told,
};
use chrono::TimeDelta;
use scale_in_guard::{
    runner::RunnerName,
    store::{Key, Kind, Store, Swap},
    testing::ManualClock,
    webhook::{Headers, MAX_BODY, sign},
};
use std::sync::atomic::Ordering;

fn clock() -> ManualClock {
    ManualClock::at(noon())
}

#[tokio::test]
async fn each_status_is_for_what_it_is_for() {
    let clock = clock();
    let store = FakeStore::new(&clock);
    let receiver = receiver(store.clone(), &clock).start();
    let body = told("queued", 7).body();
    let fine = sign(SECRET, &body);
    let other = sign("other", &body);
    let event = Some("workflow_job");
    let signed = |signature| Headers {
        event,
        signature,
        ..Headers::default()
    };
    let ask =
        async |headers: Headers<'_>, body: &[u8]| receiver.receive(&headers, body).await.status();
    assert_eq!(ask(signed(Some(&fine)), &body).await, 200);
    assert_eq!(
        ask(
            Headers {
                event: Some("ping"),
                ..signed(Some(&fine))
            },
            &body
        )
        .await,
        200
    );
    assert_eq!(
        ask(
            Headers {
                event: Some("push"),
                ..signed(Some(&fine))
            },
            &body
        )
        .await,
        200
    );
    assert_eq!(
        ask(
            Headers {
                event: None,
                ..signed(Some(&fine))
            },
            &body
        )
        .await,
        400
    );
    for wrong in [None, Some(&*other), Some("sha256=zz")] {
        assert_eq!(ask(signed(wrong), &body).await, 401);
        // Who is not believed is told nothing else.
        assert_eq!(
            ask(
                Headers {
                    event: Some("ping"),
                    ..signed(wrong)
                },
                b""
            )
            .await,
            401
        );
    }
    let nonsense = sign(SECRET, b"{}");
    assert_eq!(ask(signed(Some(&nonsense)), b"{}").await, 400);
    assert_eq!(
        ask(signed(Some(&fine)), &vec![b' '; MAX_BODY + 1]).await,
        413
    );
    store.is(Mood::Away);
    assert_eq!(
        ask(signed(Some(&fine)), &told("queued", 7).body()).await,
        503
    );
    let tally = receiver.tally();
    assert_eq!((tally.stored, tally.ignored), (1, 2));
    let refused = tally.refused;
    assert_eq!(
        (
            refused.unauthorized,
            refused.unreadable,
            refused.too_large,
            refused.unavailable
        ),
        (6, 2, 1, 1)
    );
    assert_eq!(tally.last_stored_at, Some(noon()));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_keeps_nobody_waiting_for_ever() {
    let clock = clock();
    let store = FakeStore::new(&clock);
    let receiver = receiver(store.clone(), &clock).start();
    let began = tokio::time::Instant::now();
    store.is(Mood::Hangs);
    let body = told("in_progress", 7).on(5, "r-1").body();
    let outcome = deliver(&receiver, &body).await;
    assert_eq!(outcome.status(), 503, "{outcome}");
    let waited = began.elapsed().as_secs();
    assert!((8..10).contains(&waited), "{waited} s: GitHub gives 10");
    store.is(Mood::Well);
    // The writer may be at the last one still; it gives up in time.
    keep(&receiver, told("in_progress", 7).on(5, "r-1")).await;
    assert_eq!(of_runner(&store, &acme(), "r-1").await.len(), 1);
    assert!(receiver.reach_store().await.is_ok());
    store.is(Mood::Hangs);
    assert!(receiver.reach_store().await.is_err());
}

#[tokio::test]
async fn a_record_that_another_receiver_wrote_is_read_and_folded_again() {
    let clock = clock();
    let store = FakeStore::new(&clock);
    let receiver = receiver(store.clone(), &clock).start();
    store.is(Mood::Contended(6));
    keep(&receiver, told("in_progress", 7).on(5, "r-1")).await;
    assert_eq!(of_runner(&store, &acme(), "r-1").await.len(), 1);
    // Not for ever.
    store.is(Mood::Contended(usize::MAX));
    let outcome = deliver(&receiver, &told("in_progress", 8).on(5, "r-1").body()).await;
    assert_eq!(outcome.status(), 503, "{outcome}");
    store.is(Mood::Well);
    keep(&receiver, told("in_progress", 8).on(5, "r-1")).await;
    assert_eq!(of_runner(&store, &acme(), "r-1").await.len(), 2);
}

#[tokio::test]
async fn what_is_delivered_again_is_not_written_again() {
    let clock = clock();
    let store = FakeStore::new(&clock);
    let receiver = receiver(store.clone(), &clock).start();
    keep(&receiver, told("in_progress", 7).on(5, "r-1")).await;
    let before = store.swaps.load(Ordering::SeqCst);
    keep(&receiver, told("in_progress", 7).on(5, "r-1")).await;
    // The mark alone.
    assert_eq!(store.swaps.load(Ordering::SeqCst) - before, 1);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_begun_anew_and_that_is_told() {
    let clock = clock();
    let store = FakeStore::new(&clock);
    let name: RunnerName = "r-1".parse().unwrap();
    let key = Key::of_runner("*".into(), acme(), Kind::Jobs, name);
    assert!(matches!(
        store.swap(&key, None, "gibberish").await,
        Ok(Swap::Done(_))
    ));
    let receiver = receiver(store.clone(), &clock).start();
    keep(&receiver, told("in_progress", 7).on(5, "r-1")).await;
    assert_eq!(of_runner(&store, &acme(), "r-1").await.len(), 1);
    receiver.stop().await;
    assert_eq!(own(&store, &acme()).await.missed, 1);
}

#[tokio::test]
async fn what_a_later_version_wrote_is_not_lost() {
    let clock = clock();
    let store = FakeStore::new(&clock);
    let names = [
        (Kind::Jobs, "r-1"),
        (Kind::Queue, "slot-07"),
        (Kind::Receiver, "receiver-1"),
    ];
    let keys =
        names.map(|(kind, name)| Key::of_runner("*".into(), acme(), kind, name.parse().unwrap()));
    for key in &keys {
        assert!(matches!(
            store.swap(key, None, r#"{"later":{"a":1}}"#).await,
            Ok(Swap::Done(_))
        ));
    }
    let receiver = receiver(store.clone(), &clock).start();
    keep(&receiver, told("in_progress", 7).on(5, "r-1")).await;
    for record in store.read(&keys).await.unwrap() {
        let value = record.unwrap().value;
        assert!(
            value.contains(r#""later":{"a":1}"#) && value.len() > 50,
            "{value}"
        );
    }
}

#[tokio::test]
async fn a_stopped_receiver_refuses() {
    let clock = clock();
    let store = FakeStore::new(&clock);
    let receiver = receiver(store, &clock)
        .patience(TimeDelta::seconds(1))
        .start();
    receiver.stop().await;
    let outcome = deliver(&receiver, &told("queued", 7).body()).await;
    assert_eq!(outcome.status(), 503);
    receiver.stop().await;
}
