//! Pins: whom each of them holds, for how long, and what it is worth where it cannot be read.

use crate::world::*;
use chrono::TimeDelta;
use scale_in_guard::{
    Decision, Runner, Verdict,
    evidence::{Pin, Target},
    guard::{PinError, Retirement, pin, pins, unpin},
    permit::Refused,
    runner::RunnerName,
    store::{Key, Kind, Store},
};

fn of(target: Target) -> Pin {
    Pin {
        target: Some(target),
        note: "being debugged".into(),
        by: Some("ann".into()),
        ..Pin::default()
    }
}

fn called(name: &str) -> Target {
    Target::Runner {
        scope: scope(),
        name: name.parse().unwrap(),
    }
}

fn labelled(label: &str) -> Target {
    Target::Label {
        scope: scope(),
        label: label.into(),
    }
}

fn elsewhere(scope: &str) -> Target {
    Target::Scope(scope.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_pin_holds_whom_it_is_about_and_nobody_else() {
    for (target, registered, given, holds) in [
        (called("r-1"), &["linux"][..], &[][..], true),
        (called("R-1"), &["linux"], &[], true),
        (called("r-2"), &["linux"], &[], false),
        (labelled("gpu"), &["linux", "GPU"], &[], true),
        (labelled("gpu"), &["linux"], &[], false),
        (labelled("gpu"), &["linux"], &["Gpu"], true),
        (labelled("gpu"), &["linux"], &["linux"], false),
        (labelled("gpu"), &[], &["linux"], false),
        // Nobody knows.
        (labelled("gpu"), &[], &[], true),
        (Target::Scope(scope()), &["linux"], &[], true),
        (elsewhere("org:ACME"), &["linux"], &[], true),
        (elsewhere("org:other"), &["linux"], &[], false),
        (elsewhere("repo:acme/acme"), &["linux"], &[], false),
        (Target::Everything, &["linux"], &[], true),
    ] {
        let world = World::new();
        world.shows(false, registered);
        let guard = world.guard();
        let runner = runner("r-1").with_labels(given.iter().copied());
        let Decision::Terminate(permit) = world.until_it_may_go(&guard, &runner).await else {
            panic!("it may go");
        };
        pin(world.store.clone(), of(target.clone()), world.now())
            .await
            .unwrap();
        let row = format!("{target}: {registered:?} {given:?}");
        let decision = guard.can_terminate(&runner).await;
        assert_eq!(decision.verdict() == Verdict::Hold, holds, "{row}");
        if holds {
            assert_eq!(codes(&decision), ["pinned"], "{row}");
            let why = decision.explain();
            assert!(
                why.contains("pinned by ann") && why.contains("being debugged"),
                "{why}"
            );
            let guesses = registered.is_empty() && given.is_empty();
            assert_eq!(why.contains("labels are not known"), guesses, "{why}");
            let json = serde_json::to_string(&decision).unwrap();
            assert!(json.contains("\"by\":\"ann\""), "{json}");
        }
        // Nor is a permit redeemed that was given before.
        match guard.redeem(permit).await {
            Err(Refused::Pinned { pin }) => {
                assert!(holds && &*pin.note == "being debugged", "{row}")
            }
            other => assert!(other.is_ok() && !holds, "{row}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pin_of_everything_reaches_every_github_on_the_store() {
    let world = World::new();
    let guard = world.builder().api("github.acme.example").build().unwrap();
    let runner = runner("r-1");
    let _ = world.until_it_may_go(&guard, &runner).await;
    pin(world.store.clone(), of(Target::Everything), world.now())
        .await
        .unwrap();
    assert_eq!(codes(&guard.can_terminate(&runner).await), ["pinned"]);
    let taken = unpin(world.store.clone(), &Target::Everything, world.now())
        .await
        .unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        guard.can_terminate(&runner).await.verdict(),
        Verdict::Terminate
    );
    let again = unpin(world.store.clone(), &Target::Everything, world.now())
        .await
        .unwrap();
    assert!(again.is_empty(), "it is not pinned any more");
}

#[tokio::test(start_paused = true)]
async fn a_pin_ends_by_itself_and_is_forgotten_a_day_later() {
    let world = World::new();
    let guard = world.guard();
    let it = runner("r-1");
    let _ = world.until_it_may_go(&guard, &it).await;
    let until = world.now() + TimeDelta::minutes(2);
    let pinned = Pin {
        until: Some(until),
        ..of(called("r-1"))
    };
    pin(world.store.clone(), pinned, world.now()).await.unwrap();
    let decision = guard.can_terminate(&it).await;
    assert_eq!(decision.retry_at(), Some(until));
    world.later(2);
    assert_eq!(guard.can_terminate(&it).await.verdict(), Verdict::Terminate);
    assert!(
        pins(world.store.clone(), Some(&scope()), world.now())
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        record(&world, &scope()).await["pins"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // Whose clock is ahead by hours forgets none that others still heed.
    for (ahead, left) in [(TimeDelta::hours(23), 2), (TimeDelta::hours(24), 1)] {
        pin(world.store.clone(), of(called("r-2")), world.now() + ahead)
            .await
            .unwrap();
        let kept = record(&world, &scope()).await;
        assert_eq!(kept["pins"].as_array().unwrap().len(), left, "{kept}");
    }
}

#[tokio::test(start_paused = true)]
async fn pins_that_have_ended_take_no_room_and_are_not_given_back() {
    let world = World::new();
    let until = Some(world.now() + TimeDelta::minutes(1));
    for count in 0..256 {
        let one = of(called(&format!("r-{count}")));
        let one = Pin { until, ..one };
        pin(world.store.clone(), one, world.now()).await.unwrap();
    }
    world.later(1);
    let another = pin(world.store.clone(), of(called("r-256")), world.now()).await;
    assert!(another.is_ok(), "{another:?}");
    let taken = unpin(world.store.clone(), &called("r-7"), world.now()).await;
    assert!(taken.unwrap().is_empty(), "it stood no more");
}

#[tokio::test(start_paused = true)]
async fn a_pin_ends_no_earlier_than_the_one_whose_place_it_takes() {
    let world = World::new();
    let at = |hours| Some(world.now() + TimeDelta::hours(hours));
    for (asked, stands) in [
        (at(2), at(2)),
        (at(1), at(2)),
        (at(3), at(3)),
        (None, None),
        (at(4), None),
    ] {
        let one = Pin {
            until: asked,
            ..of(called("r-1"))
        };
        let given = pin(world.store.clone(), one, world.now()).await.unwrap();
        assert_eq!(given.until, stands);
        let standing = pins(world.store.clone(), Some(&scope()), world.now()).await;
        assert_eq!(standing.unwrap(), [given]);
    }
    // Somebody else's is another one; and who wants an earlier end takes it away first.
    let by_bob = Pin {
        until: at(1),
        by: Some("bob".into()),
        ..of(called("r-1"))
    };
    let given = pin(world.store.clone(), by_bob, world.now()).await.unwrap();
    assert_eq!(given.until, at(1));
    let taken = unpin(world.store.clone(), &called("r-1"), world.now()).await;
    assert_eq!(taken.unwrap().len(), 2);
    let one = Pin {
        until: at(1),
        ..of(called("r-1"))
    };
    let given = pin(world.store.clone(), one, world.now()).await.unwrap();
    assert_eq!(given.until, at(1));
}

#[tokio::test(start_paused = true)]
async fn of_one_target_each_operator_has_one_pin_and_unpinning_takes_all() {
    let world = World::new();
    for (by, note) in [("ann", "one"), ("bob", "two"), ("ann", "three")] {
        let pinned = Pin {
            by: Some(by.into()),
            note: note.into(),
            ..of(called("r-1"))
        };
        pin(world.store.clone(), pinned, world.now()).await.unwrap();
    }
    let standing = pins(world.store.clone(), Some(&scope()), world.now())
        .await
        .unwrap();
    let notes: Vec<_> = standing.iter().map(|pin| &*pin.note).collect();
    assert_eq!(notes, ["two", "three"]);
    let taken = unpin(world.store.clone(), &called("r-1"), world.now())
        .await
        .unwrap();
    assert_eq!(taken.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_or_too_much_is_refused_by_its_name() {
    let world = World::new();
    let long = "x".repeat(513);
    let ended = world.now();
    for (key, wrong) in [
        (
            "target",
            Pin {
                target: None,
                ..of(Target::Everything)
            },
        ),
        ("label", of(labelled(" "))),
        ("label", of(labelled(&long))),
        (
            "note",
            Pin {
                note: "".into(),
                ..of(Target::Everything)
            },
        ),
        (
            "note",
            Pin {
                note: long.as_str().into(),
                ..of(Target::Everything)
            },
        ),
        (
            "note",
            Pin {
                note: "two\nlines".into(),
                ..of(Target::Everything)
            },
        ),
        (
            "by",
            Pin {
                by: Some(long.as_str().into()),
                ..of(Target::Everything)
            },
        ),
        (
            "until",
            Pin {
                until: Some(ended),
                ..of(Target::Everything)
            },
        ),
    ] {
        let refused = pin(world.store.clone(), wrong, world.now())
            .await
            .unwrap_err();
        assert!(
            matches!(refused, PinError::Refused { key: named, .. } if named == key),
            "{refused}"
        );
        assert!(refused.to_string().starts_with(key), "{refused}");
    }
    for count in 0..256 {
        let one = of(called(&format!("r-{count}")));
        pin(world.store.clone(), one, world.now()).await.unwrap();
    }
    let refused = pin(world.store.clone(), of(called("r-256")), world.now())
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("256 pins already"),
        "{refused}"
    );
    // Another one in the place of one that is there is not one more.
    pin(world.store.clone(), of(called("r-7")), world.now())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pin_set_during_a_sweep_holds_the_permits_pulled_afterwards() {
    let world = World::new();
    let guard = world.guard();
    let fleet: Vec<Runner> = (0..3).map(|count| runner(&format!("r-{count}"))).collect();
    for _ in 0..6 {
        let mut sweep = guard.sweep(fleet.clone());
        while sweep.next().await.is_some() {}
        world.later(1);
    }
    let mut sweep = guard.sweep(fleet);
    assert_eq!(sweep.next().await.unwrap().verdict(), Verdict::Terminate);
    pin(world.store.clone(), of(Target::Scope(scope())), world.now())
        .await
        .unwrap();
    while let Some(decision) = sweep.next().await {
        assert_eq!(codes(&decision), ["pinned"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_selection_passes_over_what_is_pinned() {
    let world = World::new();
    let guard = world.guard();
    let fleet: Vec<Runner> = (0..3).map(|count| runner(&format!("r-{count}"))).collect();
    for runner in &fleet {
        let _ = world.until_it_may_go(&guard, runner).await;
    }
    pin(world.store.clone(), of(called("r-0")), world.now())
        .await
        .unwrap();
    let mut selection = guard.select(fleet, 3);
    let mut gone = Vec::new();
    while let Some(decision) = selection.next().await {
        if decision.verdict() == Verdict::Terminate {
            gone.push(decision.assessment().runner.name.to_string());
        }
    }
    assert_eq!(gone, ["r-1", "r-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_retirement_heeds_a_pin_until_its_end() {
    let world = World::new();
    let guard = world.guard();
    let it = runner("r-1");
    let _ = world.until_it_may_go(&guard, &it).await;
    let never = async |_| -> Result<(), ()> { panic!("it is pinned") };
    assert!(matches!(
        guard.retire(&it, never).await,
        Retirement::Draining { .. }
    ));
    pin(world.store.clone(), of(called("r-1")), world.now())
        .await
        .unwrap();
    world.later(2);
    match guard.retire(&it, never).await {
        Retirement::Undecided { hold, .. } => assert!(hold.to_string().contains("pinned by ann")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn pins_that_cannot_be_read_hold_and_the_next_write_pins_all_of_it() {
    let world = World::new();
    let guard = world.guard();
    let it = runner("r-1");
    let Decision::Terminate(permit) = world.until_it_may_go(&guard, &it).await else {
        panic!("it may go");
    };
    let key = Key::of_scope("*".into(), scope(), Kind::Pins);
    let _ = world.store.swap(&key, None, "garbled").await.unwrap();
    let decision = guard.can_terminate(&it).await;
    assert_eq!(codes(&decision), ["objection_unreadable"]);
    assert!(
        decision.explain().contains("pins of org:acme"),
        "{}",
        decision.explain()
    );
    assert!(matches!(
        guard.redeem(permit).await,
        Err(Refused::PinsUnread { .. })
    ));
    assert!(
        pins(world.store.clone(), Some(&scope()), world.now())
            .await
            .is_err()
    );

    // Nor does the write that meets them take away what it puts in their place.
    let all = Target::Scope(scope());
    let taken = unpin(world.store.clone(), &all, world.now()).await.unwrap();
    assert!(taken.is_empty());
    assert_eq!(codes(&guard.can_terminate(&it).await), ["pinned"]);
    let standing = pins(world.store.clone(), Some(&scope()), world.now())
        .await
        .unwrap();
    assert_eq!(standing[0].target, Some(Target::Scope(scope())));
    unpin(world.store.clone(), &Target::Scope(scope()), world.now())
        .await
        .unwrap();
    let _ = world.until_it_may_go(&guard, &it).await;
}

#[tokio::test(start_paused = true)]
async fn a_guard_pins_and_unpins_as_well() {
    let world = World::new();
    let guard = world.guard();
    let name: RunnerName = "r-1".parse().unwrap();
    let target = Target::Runner {
        scope: scope(),
        name,
    };
    let until = world.now() + TimeDelta::hours(1);
    guard
        .pin_until(target.clone(), "ann", "a look", until)
        .await
        .unwrap();
    guard
        .pin(labelled("GPU"), "ann", "a benchmark")
        .await
        .unwrap();
    let standing = guard.pins(Some(&scope())).await.unwrap();
    assert_eq!(standing.len(), 2);
    assert_eq!(standing[0].since, Some(world.now()));
    assert_eq!(guard.unpin(&labelled("gpu")).await.unwrap().len(), 1);
    assert_eq!(guard.unpin(&target).await.unwrap().len(), 1);
}

async fn record(world: &World, scope: &scale_in_guard::Scope) -> serde_json::Value {
    let key = Key::of_scope("*".into(), scope.clone(), Kind::Pins);
    let read = world.store.read(&[key]).await.unwrap();
    serde_json::from_str(&read[0].as_ref().unwrap().value).unwrap()
}
