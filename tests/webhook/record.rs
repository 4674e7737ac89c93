//! What a receiver tells of itself, so that a guard can know what it was not told.

use crate::world::{FakeStore, Mood, acme, deliver, keep, noon, own, receiver, told};
use scale_in_guard::{runner::Scope, testing::ManualClock};
use std::time::Duration;
use tokio::time::sleep;

fn world() -> (ManualClock, FakeStore) {
    let clock = ManualClock::at(noon());
    let store = FakeStore::new(&clock);
    (clock, store)
}

#[tokio::test]
async fn an_event_is_counted_before_it_is_acknowledged() {
    let (clock, store) = world();
    let receiver = receiver(store.clone(), &clock).start();
    for (repository, events) in [("acme/Atlas", 1), ("acme/boreas", 2), ("ACME/atlas", 3)] {
        keep(&receiver, told("waiting", 7).of(repository)).await;
        let own = own(&store, &acme()).await;
        assert_eq!(own.events, events);
    }
    let told_of_itself = own(&store, &acme()).await;
    assert_eq!(
        (told_of_itself.started_at, told_of_itself.written_at),
        (noon(), noon())
    );
    assert!(!told_of_itself.gone);
}

#[tokio::test(start_paused = true)]
async fn it_tells_of_itself_when_nothing_comes() {
    let (clock, store) = world();
    let scopes: [Scope; 2] = [
        "repo:Acme/atlas".parse().unwrap(),
        "enterprise:acme-inc".parse().unwrap(),
    ];
    let receiver = receiver(store.clone(), &clock).scopes(scopes).start();
    sleep(Duration::from_millis(1)).await;
    for second in (15..=60).step_by(15) {
        clock.set(crate::world::at(second));
        sleep(Duration::from_secs(15)).await;
        for scope in ["org:acme", "enterprise:acme-inc"] {
            let own = own(&store, &scope.parse().unwrap()).await;
            assert_eq!(own.written_at, crate::world::at(second), "{scope}");
            assert_eq!(own.events, 0);
        }
    }
    receiver.stop().await;
    assert!(own(&store, &acme()).await.gone);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_of_soon() {
    let (clock, store) = world();
    let receiver = receiver(store.clone(), &clock).scopes([acme()]).start();
    store.is(Mood::Away);
    assert_eq!(
        deliver(&receiver, &told("queued", 7).body()).await.status(),
        503
    );
    assert_eq!(deliver(&receiver, b"{}").await.status(), 400);
    sleep(Duration::from_secs(60)).await;
    store.is(Mood::Well);
    sleep(Duration::from_secs(3)).await;
    let refused = own(&store, &acme()).await.refused;
    assert_eq!((refused.unavailable, refused.unreadable), (1, 1));
    assert_eq!(deliver(&receiver, b"{}").await.status(), 400);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(own(&store, &acme()).await.refused.unreadable, 2);
}

#[tokio::test]
async fn a_runner_that_cannot_be_looked_for_is_told_of() {
    let (clock, store) = world();
    let receiver = receiver(store.clone(), &clock).start();
    keep(&receiver, told("in_progress", 7).on(5, "")).await;
    keep(&receiver, told("in_progress", 8).on(5, "a\nb")).await;
    receiver.stop().await;
    assert_eq!(own(&store, &acme()).await.missed, 2);
}

#[tokio::test]
async fn another_run_or_a_lost_record_is_seen() {
    let (clock, store) = world();
    let first = receiver(store.clone(), &clock).start();
    keep(&first, told("queued", 7)).await;
    let before = own(&store, &acme()).await.boot;
    drop(first);
    let second = receiver(store.clone(), &clock).start();
    keep(&second, told("queued", 7)).await;
    let restarted = own(&store, &acme()).await.boot;
    assert_ne!(before, restarted);
    // Another receiver takes the same name, and then this one goes on: a guard sees a change each time.
    let third = receiver(store.clone(), &clock).start();
    keep(&third, told("queued", 7)).await;
    let taken = own(&store, &acme()).await.boot;
    keep(&second, told("queued", 7)).await;
    let back = own(&store, &acme()).await.boot;
    assert_eq!(
        std::collections::BTreeSet::from([before, restarted, taken, back]).len(),
        4
    );
}
