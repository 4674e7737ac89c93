//! The fleet as the store knows it.

use crate::world::*;
use chrono::TimeDelta;
use scale_in_guard::{
    Stage,
    evidence::Target,
    guard::{scopes, status},
    store::{Key, Kind, Store},
};

#[tokio::test(start_paused = true)]
async fn each_runner_is_shown_with_the_last_decision_and_its_pins_by_name() {
    let world = World::new();
    let guard = world.guard();
    let _ = world.until_it_may_go(&guard, &runner("b")).await;
    world.shows(true, &["linux"]);
    let _ = guard.can_terminate(&runner("a")).await;
    let name = "a".parse().unwrap();
    let target = Target::Runner {
        scope: scope(),
        name,
    };
    let until = world.now() + TimeDelta::hours(2);
    guard
        .pin_until(target, "ann", "a look", until)
        .await
        .unwrap();
    world.clock.advance(TimeDelta::seconds(30));
    let shown = status(world.store.clone(), API, &scope(), world.now())
        .await
        .unwrap();
    let names: Vec<_> = shown
        .runners
        .iter()
        .map(|shown| shown.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let [a, b] = &shown.runners[..] else { panic!() };
    assert_eq!(
        a.last_occupied,
        a.outcome.as_ref().map(|outcome| outcome.last)
    );
    assert_eq!(&*a.pins[0].note, "a look");
    assert_eq!(b.stage, Some(Stage::Serving));
    assert!(b.vacant_since.is_some() && b.pins.is_empty());
    let table = shown.to_string();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("RUNNER  STAGE"), "{table}");
    assert!(
        lines[1].contains("for 1h 59m") && lines[1].contains("hold 30s ago: busy"),
        "{table}"
    );
    assert!(
        lines[2].contains("terminate") && lines[2].ends_with(": vacant"),
        "{table}"
    );
    assert_eq!(
        lines[3],
        "org:acme: 2 runners, 0 occupied by a lease, 1 vacant, 1 pinned, 1 may go"
    );
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!(json["runners"][1]["outcome"]["verdict"], "terminate");
    world.later(120);
    let (recent, left_out) = status(world.store.clone(), API, &scope(), world.now())
        .await
        .unwrap()
        .within(TimeDelta::hours(1));
    assert_eq!((recent.runners.len(), left_out), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn the_store_knows_the_scopes_of_every_github_in_which_something_was_decided() {
    let world = World::new();
    let there = world.builder().api("github.acme.example").build().unwrap();
    for guard in [world.guard(), there, world.guard()] {
        let _ = guard.can_terminate(&runner("a")).await;
    }
    let known = scopes(world.store.clone()).await.unwrap();
    let known: Vec<_> = known
        .iter()
        .map(|known| (&*known.api, known.scope.to_string()))
        .collect();
    assert_eq!(
        known,
        [
            (API, SCOPE.to_owned()),
            ("github.acme.example", SCOPE.to_owned())
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_shown_as_that() {
    let world = World::new();
    let key = Key::of_runner(API.into(), scope(), Kind::Memory, "a".parse().unwrap());
    let _ = world.store.swap(&key, None, "garbled").await.unwrap();
    let shown = status(world.store.clone(), API, &scope(), world.now())
        .await
        .unwrap();
    assert!(shown.to_string().contains("cannot be read"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_of_a_later_version_loses_no_window() {
    let world = World::new();
    let guard = world.guard();
    let it = runner("a");
    let _ = world.until_it_may_go(&guard, &it).await;
    let key = Key::of_runner(API.into(), scope(), Kind::Memory, it.name.clone());
    let read = world.store.read(std::slice::from_ref(&key)).await.unwrap();
    let record = read[0].as_ref().unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&record.value).unwrap();
    value["outcome"]["stage"] = "of_a_later_version".into();
    let value = value.to_string();
    let swap = world.store.swap(&key, Some(record.version), &value);
    let _ = swap.await.unwrap();
    let decision = guard.can_terminate(&it).await;
    assert_eq!(codes(&decision), [""; 0]);
}
