//! A GitHub that fails again and again: who asks it, who does not, and how it is found to be back.

use crate::world::*;
use scale_in_guard::{
    clock::Clock, github::GitHubError, runner::RunnerId, testing::fake_github::Fault,
};
use std::time::Duration;

const REPO: &str = "repo:acme/atlas";

fn down_until(error: &GitHubError) -> i64 {
    let until = error.retry_at().unwrap_or_else(|| panic!("{error}"));
    until.timestamp()
}

async fn world() -> (World, GitHub, RunnerId) {
    let world = World::of(REPO).await;
    let id = world.github.register(&world.scope, "r-1");
    let github = GitHub::builder(world.github.token().to_owned()).clock(world.clock.clone());
    let github = impatient(github.api_url(world.github.url()));
    (world, github.build().unwrap(), id)
}

#[tokio::test]
async fn after_eight_failures_in_a_row_nobody_asks_until_one_probe_succeeds() {
    for fault in [
        Fault::status(503),
        Fault::Cut,
        Fault::CutBody,
        Fault::html(502),
    ] {
        let (world, github, id) = world().await;
        let began = world.clock.now().timestamp();
        world.github.fail("", fault.clone(), None);
        for _ in 0..2 {
            let error = github.runner(&world.scope, id).await.unwrap_err();
            assert!(error.is_transient(), "{error}");
        }
        assert_eq!(world.github.request_count(), 8, "{fault:?}");
        let calls = (0..50).map(|_| github.clone());
        let calls = calls.map(|github| {
            let scope = world.scope.clone();
            async move { github.runner(&scope, id).await }
        });
        for error in futures::future::join_all(calls).await {
            let error = error.unwrap_err();
            assert_eq!(down_until(&error), began + 10);
            let said = error.to_string();
            for word in [
                "not asked",
                "since 2026-05-14T02:00:00Z",
                "asked again at 2026-05-14T02:00:10Z",
            ] {
                assert!(said.contains(word), "{word}: {said}");
            }
        }
        assert_eq!(world.github.request_count(), 8, "{fault:?}");
        // A probe each time, and twice as long a pause, up to a minute.
        let (mut opened, mut requests) = (0, 8);
        for (pause, next) in [(10, 20), (20, 40), (40, 60), (60, 60)] {
            opened += pause;
            world
                .clock
                .set(world.clock.now() + TimeDelta::seconds(pause));
            let calls = (0..20).map(|_| github.runner(&world.scope, id));
            for error in futures::future::join_all(calls).await {
                error.unwrap_err();
            }
            requests += 1;
            assert_eq!(world.github.request_count(), requests, "{fault:?}");
            let error = github.runner(&world.scope, id).await.unwrap_err();
            assert_eq!(down_until(&error), began + opened + next);
        }
        world.github.clear_faults();
        world.clock.advance(minutes(1));
        github.runner(&world.scope, id).await.unwrap();
        let calls = (0..20).map(|_| github.runner(&world.scope, id));
        for found in futures::future::join_all(calls).await {
            assert!(found.unwrap().0.is_some(), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn those_who_wait_for_their_turn_when_it_opens_do_not_ask_either() {
    let (world, _, id) = world().await;
    let client = GitHub::builder(world.github.token().to_owned())
        .clock(world.clock.clone())
        .api_url(world.github.url())
        .retry(Retry::none())
        .limits(Limits {
            at_once: 4,
            ..Limits::none()
        });
    let github = client.build().unwrap();
    world.github.latency(Duration::from_millis(10));
    world.github.fail("", Fault::status(502), None);
    let calls = (0..60).map(|_| github.runner(&world.scope, id));
    for error in futures::future::join_all(calls).await {
        error.unwrap_err();
    }
    // Of four that fail together one counts.
    let asked = world.github.request_count();
    assert!((8..=36).contains(&asked), "{asked}");
}

#[tokio::test]
async fn what_one_client_saw_of_an_outage_no_other_has_to_believe() {
    let (world, github, id) = world().await;
    world.github.fail("", Fault::status(502), None);
    for _ in 0..3 {
        github.runner(&world.scope, id).await.unwrap_err();
    }
    world.github.clear_faults();
    let handle = github.within(Duration::from_secs(3));
    assert!(
        handle.runner(&world.scope, id).await.is_err(),
        "the same client"
    );
    assert!(world.client().runner(&world.scope, id).await.is_ok());
}

#[tokio::test]
async fn a_refusal_is_no_outage() {
    let (world, github, id) = world().await;
    for code in [401, 403, 404, 410, 451, 422] {
        world.github.fail("", Fault::status(code), Some(20));
        for _ in 0..20 {
            let _ = github.runner(&world.scope, id).await;
        }
    }
    assert!(github.runner(&world.scope, id).await.unwrap().0.is_some());
}

#[tokio::test]
async fn whoever_had_no_time_to_wait_says_nothing_of_github() {
    let (world, github, id) = world().await;
    world.github.fail("", Fault::Hang, Some(20));
    let hurried = github.within(Duration::from_millis(5));
    for _ in 0..20 {
        hurried.runner(&world.scope, id).await.unwrap_err();
    }
    assert!(github.runner(&world.scope, id).await.unwrap().0.is_some());
}

#[tokio::test]
async fn a_guard_tells_since_when_and_until_when_and_looks_again_by_itself() {
    let world = World::of(REPO).await;
    let id = world.github.register(&world.scope, "r-1");
    let guard = world.guard();
    let runner = world.runner("r-1").with_id(id.0);
    let began = world.clock.now();
    world.github.fail("", Fault::status(502), None);
    // Of the two witnesses' requests, those that fail together count as one.
    for _ in 0..2 {
        let _ = guard.can_terminate(&runner).await;
    }
    let asked = world.github.request_count();
    let held = guard.can_terminate(&runner).await;
    assert_eq!(world.github.request_count(), asked, "it is known");
    for code in [HoldCode::RegistrationUnreadable, HoldCode::JobsUnreadable] {
        assert!(held_for(&held, code).contains("GitHub has been failing since"));
        let reason = held.reasons().find(|reason| reason.code() == code).unwrap();
        assert_eq!(reason.retry_at(), Some(began + TimeDelta::seconds(10)));
    }
    world.github.clear_faults();
    world.clock.set(began + TimeDelta::seconds(10));
    // One of the two witnesses is the probe.
    let _ = guard.can_terminate(&runner).await;
    let answered = guard.can_terminate(&runner).await;
    assert!(!codes(&answered).contains(&HoldCode::RegistrationUnreadable));
    assert!(!codes(&answered).contains(&HoldCode::JobsUnreadable));
}

#[tokio::test]
async fn jobs_that_fail_alone_do_not_keep_registrations_from_being_read_for_long() {
    let world = World::of(REPO).await;
    let fleet: Vec<_> = (0..5)
        .map(|number| {
            let name = format!("r-{number}");
            let id = world.github.register(&world.scope, &name);
            world.runner(&name).with_id(id.0)
        })
        .collect();
    let guard = world.guard();
    world.github.fail("/actions/runs", Fault::status(502), None);
    let mut unread = 0;
    for _ in 0..30 {
        for decision in sweep(&guard, fleet.clone()).await {
            assert_eq!(decision.verdict(), Verdict::Hold);
        }
        let held = guard.can_terminate(&fleet[0]).await;
        let is_unread = codes(&held).contains(&HoldCode::RegistrationUnreadable);
        unread = if is_unread { unread + 1 } else { 0 };
        assert!(unread <= 1, "not twice in a row");
        world.clock.advance(TimeDelta::seconds(10));
    }
}
