//! GitHub's limits: what is left to others stays theirs, a pause is kept, and none lasts for ever.

use crate::world::*;
use scale_in_guard::{
    clock::Clock,
    policy::RequestReserve,
    runner::RunnerId,
    testing::fake_github::{Fault, FaultOn},
};
use std::time::Duration;

const REPO: &str = "repo:acme/atlas";

fn fleet(world: &World, count: usize) -> Vec<Runner> {
    let register = |number: usize| {
        let name = format!("r-{number:03}");
        let id = world.github.register(&world.scope, &name);
        world.runner(&name).with_id(id.0)
    };
    (0..count).map(register).collect()
}

fn sparing(world: &World, reserve: RequestReserve) -> Guard {
    let policy = Policy {
        request_reserve: reserve,
        ..Policy::default()
    };
    world.builder().policy(policy).build().unwrap()
}

/// Sweeps, selections and questions, all at the same time.
async fn all_at_once(guard: &Guard, fleet: &[Runner]) -> Vec<Decision> {
    let sweeps = (0..5).map(|_| sweep(guard, fleet.to_vec()));
    let selections = (0..3).map(|_| pull(guard.select(fleet.to_vec(), 10)));
    let asks = fleet.iter().map(|runner| guard.can_terminate(runner));
    let (sweeps, selections, asks) = tokio::join!(
        futures::future::join_all(sweeps),
        futures::future::join_all(selections),
        futures::future::join_all(asks)
    );
    let many = sweeps.into_iter().chain(selections).flatten();
    many.chain(asks).collect()
}

#[tokio::test]
async fn the_reserve_is_left_to_others_whatever_is_asked_at_once() {
    for (limit, reserve, left) in [
        (40, RequestReserve::Count(15), 15),
        (38, RequestReserve::Percent(10), 4),
        (55, RequestReserve::Percent(90), 50),
        (30, RequestReserve::Count(30), 30),
        (20, RequestReserve::Count(0), 0),
    ] {
        let world = World::of(REPO).await;
        let fleet = fleet(&world, 30);
        world.github.rate_limit(limit);
        world.github.latency(Duration::from_millis(2));
        let guard = sparing(&world, reserve);
        let began = world.clock.now();
        for time in 0..4 {
            let decisions = all_at_once(&guard, &fleet).await;
            let spent = world.github.primary_requests();
            // Of a limit that is all reserved, one request learned that.
            let most = (limit - left).max(1);
            assert!(spent <= most, "{reserve:?} of {limit}: {spent}, {time}");
            let limited: Vec<_> = decisions
                .iter()
                .filter(|decision| codes(decision).contains(&HoldCode::RateLimited))
                .collect();
            assert!(!limited.is_empty(), "{reserve:?} of {limit}");
            for decision in limited {
                assert_eq!(decision.verdict(), Verdict::Hold);
                let code = HoldCode::RateLimited;
                let reason = decision.reasons().find(|reason| reason.code() == code);
                let reset = began + TimeDelta::hours(1);
                assert_eq!(reason.unwrap().retry_at(), Some(reset));
            }
        }
        let spent = world.github.primary_requests();
        assert!(spent + 2 >= limit - left, "{spent} of what it may have");
        // The next hour has as many again.
        world.clock.set(began + TimeDelta::hours(1));
        let decision = guard.can_terminate(&fleet[0]).await;
        let is_limited = codes(&decision).contains(&HoldCode::RateLimited);
        assert_eq!(is_limited, left + 5 > limit, "{reserve:?} of {limit}");
    }
}

#[tokio::test]
async fn what_github_counted_and_nobody_heard_of_is_not_taken_from_the_reserve() {
    let world = World::of(REPO).await;
    let fleet = fleet(&world, 1);
    world.github.rate_limit(30);
    let guard = sparing(&world, RequestReserve::Count(10));
    // So that it is known what is left.
    let _ = guard.can_terminate(&fleet[0]).await;
    world.github.fail("", Fault::CutAfter, None);
    for _ in 0..20 {
        let _ = guard.can_terminate(&fleet[0]).await;
        world.clock.advance(minutes(1));
    }
    assert!(
        world.github.primary_requests() <= 20,
        "{}",
        world.github.primary_requests()
    );
    // An answer tells how many it did count.
    world.github.clear_faults();
    world.clock.advance(minutes(60));
    let decision = guard.can_terminate(&fleet[0]).await;
    assert!(!codes(&decision).contains(&HoldCode::RateLimited));
}

#[tokio::test]
async fn the_first_request_alone_learns_the_limit_also_where_it_fails() {
    for fault in [None, Some(Fault::Cut), Some(Fault::html(502))] {
        let world = World::of(REPO).await;
        let fleet = fleet(&world, 20);
        world.github.rate_limit(12);
        world.github.latency(Duration::from_millis(20));
        if let Some(fault) = fault {
            world.github.fail("", fault, Some(1));
        }
        let guard = sparing(&world, RequestReserve::Count(4));
        let asks = async {
            let asks = fleet.iter().map(|runner| guard.can_terminate(runner));
            futures::future::join_all(asks).await
        };
        let alone = async {
            while world.github.request_count() == 0 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            world.github.most_at_once()
        };
        let (decisions, at_once) = tokio::join!(asks, alone);
        assert_eq!(at_once, 1, "all others wait for what it learns");
        assert_eq!(decisions.len(), 20);
        assert!(world.github.primary_requests() <= 8);
    }
}

#[tokio::test]
async fn a_github_without_a_limit_is_not_throttled() {
    let world = World::of(REPO).await;
    let fleet = fleet(&world, 200);
    // An Enterprise Server names no limit.
    let bare = |body: &str| Fault::Status {
        code: 200,
        body: body.to_owned(),
        headers: ["Limit", "Remaining", "Reset", "Used", "Resource"]
            .map(|name| (format!("X-RateLimit-{name}"), String::new()))
            .to_vec(),
    };
    let runs = bare(r#"{"total_count":0,"workflow_runs":[]}"#);
    world.github.fail("/actions/runs?", runs, None);
    // The first that fits counts: the longest numbers come first.
    for runner in fleet.iter().rev() {
        let body = format!(
            r#"{{"id":{},"name":"{}","busy":false,"status":"online"}}"#,
            runner.id.unwrap().0,
            runner.name
        );
        let path = format!("/actions/runners/{}", runner.id.unwrap().0);
        world.github.fail(&*path, bare(&body), None);
    }
    let guard = sparing(&world, RequestReserve::Percent(90));
    let asks = fleet.iter().map(|runner| guard.can_terminate(runner));
    for decision in futures::future::join_all(asks).await {
        let found = codes(&decision);
        assert!(!found.contains(&HoldCode::RateLimited), "{found:?}");
        assert!(
            !found.contains(&HoldCode::RegistrationUnreadable),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn never_more_requests_are_under_way_than_github_allows() {
    let world = World::of("org:acme").await;
    let names: Vec<_> = (0..30).map(|number| format!("acme/r-{number}")).collect();
    let mut runners = Vec::new();
    for (number, repository) in names.iter().enumerate() {
        world.github.add_repository(repository);
        for run in 0..8 {
            world
                .github
                .start_job(&world.scope, &format!("other-{number}-{run}"), repository);
        }
    }
    for number in 0..150 {
        let name = format!("r-{number}");
        let id = world.github.register(&world.scope, &name);
        runners.push(world.runner(&name).with_id(id.0));
    }
    let limits = Limits {
        points_per_minute: u32::MAX,
        ..Limits::default()
    };
    assert_eq!(limits.at_once, 90);
    let client = GitHub::builder(world.github.token().to_owned())
        .api_url(world.github.url())
        .limits(limits);
    let repositories = names.iter().map(|name| name.parse().unwrap());
    let guard = Guard::builder()
        .clock(world.clock.clone())
        .github(client.build().unwrap(), Repositories::all(repositories));
    let guard = guard.build().unwrap();
    world.github.rate_limit(1_000_000);
    let _ = guard.can_terminate(&runners[0]).await;
    world.github.latency(Duration::from_millis(20));
    let asks = runners.iter().map(|runner| guard.can_terminate(runner));
    futures::future::join_all(asks).await;
    let most = world.github.most_at_once();
    assert!((20..=90).contains(&most), "{most}");
}

#[tokio::test]
async fn what_has_not_changed_costs_nothing_of_the_limit() {
    let world = World::of(REPO).await;
    let fleet = fleet(&world, 2);
    for number in 0..10 {
        world
            .github
            .start_job(&world.scope, &format!("other-{number}"), "acme/atlas");
    }
    let guard = world.guard();
    let _ = guard.can_terminate(&fleet[0]).await;
    world.github.clear_requests();
    for _ in 0..5 {
        world.clock.advance(minutes(1));
        let _ = guard.can_terminate(&fleet[0]).await;
    }
    // A runner each time; its lists of runs and jobs say that they are what they were.
    assert_eq!(world.github.primary_requests(), 5);
    assert_eq!(world.github.request_count(), 5 * (1 + 5 + 10));
}

#[tokio::test]
async fn in_a_pause_nothing_is_sent_not_even_by_those_who_waited_for_their_turn() {
    let world = World::of(REPO).await;
    let id = world.github.register(&world.scope, "r-1");
    let client = GitHub::builder(world.github.token().to_owned())
        .clock(world.clock.clone())
        .api_url(world.github.url())
        .limits(Limits {
            at_once: 2,
            ..Limits::none()
        });
    let github = client.build().unwrap();
    world.github.latency(Duration::from_millis(20));
    let pause = FaultOn::path("/actions/runners/").after(5);
    world.github.fail(pause, Fault::slow_down(30), None);
    let until = world.clock.now() + TimeDelta::seconds(30);
    let calls = (0..40).map(|_| github.runner(&world.scope, id));
    let told = futures::future::join_all(calls).await;
    let refused: Vec<_> = told.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 35);
    for error in &refused {
        assert!(error.is_rate_limited(), "{error}");
        assert_eq!(error.retry_at(), Some(until), "{error}");
    }
    // The one that was under way beside it.
    assert!(
        world.github.request_count() <= 7,
        "{}",
        world.github.request_count()
    );
    world.github.clear_faults();
    world.github.clear_requests();
    world.clock.set(until - TimeDelta::seconds(1));
    github.runner(&world.scope, id).await.unwrap_err();
    github.remove_runner(&world.scope, id).await.unwrap_err();
    github.runners(&world.scope).await.unwrap_err();
    assert_eq!(world.github.request_count(), 0);
    world.clock.set(until);
    assert!(github.runner(&world.scope, id).await.unwrap().0.is_some());
}

#[tokio::test]
async fn many_that_are_refused_at_once_wait_a_minute_and_not_an_hour() {
    let world = World::of(REPO).await;
    world.github.latency(Duration::from_millis(20));
    let github = GitHub::builder(world.github.token().to_owned()).clock(world.clock.clone());
    let github = impatient(github.api_url(world.github.url()));
    let github = github.build().unwrap();
    let untold = Fault::Status {
        code: 403,
        body: r#"{"message":"You have exceeded a secondary rate limit."}"#.to_owned(),
        headers: vec![],
    };
    world.github.fail("", untold, None);
    let calls = (1..=40).map(|id| github.runner(&world.scope, RunnerId(id)));
    for error in futures::future::join_all(calls).await {
        error.unwrap_err();
    }
    world.github.clear_faults();
    let error = github.runners(&world.scope).await.unwrap_err();
    let until = world.clock.now() + minutes(1);
    assert_eq!(error.retry_at(), Some(until));
}
