//! What an answer costs of GitHub's budget, and what is never reused.

use crate::world::*;
use scale_in_guard::testing::fake_github::Fault;
use std::{collections::BTreeMap, time::Duration};

const REPO: &str = "repo:acme/atlas";

#[tokio::test]
async fn a_sweep_reads_each_list_once_and_each_permit_costs_one_request() {
    let world = World::of(REPO).await;
    let fleet: Vec<_> = (0..250)
        .map(|number| {
            let name = format!("r-{number:03}");
            let id = world.github.register(&world.scope, &name);
            world.runner(&name).with_id(id.0)
        })
        .collect();
    for runner in &fleet[..25] {
        world
            .github
            .start_job(&world.scope, runner.name.as_str(), "acme/atlas");
    }
    let guard = world.guard();
    let held = sweep(&guard, fleet.clone()).await;
    assert_eq!(held.len(), 250);
    let reads = BTreeMap::from([("listing", 3), ("runs", 5), ("jobs", 25)]);
    assert_eq!(kinds(world.asked()), reads);

    world.clock.advance(minutes(5));
    let mut pulled = guard.sweep(fleet.clone());
    let mut permits = 0;
    while permits < 10 {
        let decision = pulled.next().await.unwrap();
        permits += usize::from(decision.verdict() == Verdict::Terminate);
    }
    let mut reads = reads;
    reads.insert("runner", 10);
    assert_eq!(kinds(world.asked()), reads);
}

#[tokio::test]
async fn a_sweep_over_busy_runners_reads_no_jobs() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    world.github.start_job(&world.scope, "r-1", "acme/atlas");
    let decision = sweep(&world.guard(), [world.runner("r-1")]).await.remove(0);
    held_for(&decision, HoldCode::Busy);
    assert_eq!(kinds(world.asked()), BTreeMap::from([("listing", 1)]));
}

#[tokio::test]
async fn asks_at_the_same_time_share_one_read_of_the_jobs() {
    let world = World::of(REPO).await;
    world.github.latency(Duration::from_millis(100));
    let names: Vec<_> = (0..20).map(|number| format!("r-{number}")).collect();
    let runners: Vec<_> = names
        .iter()
        .map(|name| {
            let id = world.github.register(&world.scope, name);
            world.runner(name).with_id(id.0)
        })
        .collect();
    let guard = world.guard();
    let asks = runners.iter().map(|runner| guard.can_terminate(runner));
    let decisions = futures::future::join_all(asks).await;
    assert_eq!(decisions.len(), 20);
    let kinds = kinds(world.asked());
    assert_eq!(kinds["runner"], 20);
    assert!(kinds["runs"] < 5 * 20, "{kinds:?}");
}

#[tokio::test]
async fn an_ask_that_is_given_up_takes_nobody_with_it_who_shares_its_read() {
    let world = World::of(REPO).await;
    let id = world.github.register(&world.scope, "r-1");
    let runner = world.runner("r-1").with_id(id.0);
    let guard = world.guard();
    world.github.fail("/actions/runs", Fault::Hang, Some(1));
    let given_up = {
        let (guard, runner) = (guard.clone(), runner.clone());
        tokio::spawn(async move { guard.can_terminate(&runner).await.verdict() })
    };
    let runs_asked = || kinds_of(&world).contains_key("runs");
    while !runs_asked() {
        tokio::task::yield_now().await;
    }
    let other = {
        let guard = guard.clone();
        let runner = runner.clone();
        tokio::spawn(async move { guard.can_terminate(&runner).await })
    };
    // Both are waiting for the read that hangs, once the other has asked for its runner.
    while kinds_of(&world).get("runner").copied() < Some(2) {
        tokio::task::yield_now().await;
    }
    given_up.abort();
    let decision = other.await.unwrap();
    assert!(
        codes(&decision).contains(&HoldCode::GraceWindow),
        "{}",
        decision.explain()
    );
    assert!(
        !codes(&decision).contains(&HoldCode::JobsUnreadable),
        "{}",
        decision.explain()
    );
}

#[tokio::test]
async fn a_read_that_began_too_long_ago_is_not_shared() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = ["a", "b"].map(|name| {
        let id = world.github.register(&world.scope, name);
        world.runner(name).with_id(id.0)
    });
    let _ = sweep(&guard, fleet.clone()).await;
    world.clock.advance(minutes(5));
    world.github.latency(Duration::from_millis(100));
    world.github.clear_requests();
    let first = {
        let (guard, runner) = (guard.clone(), fleet[0].clone());
        tokio::spawn(async move { guard.can_terminate(&runner).await.verdict() })
    };
    while kinds_of(&world).get("runs").copied() < Some(5) {
        tokio::task::yield_now().await;
    }
    // The last list of runs is on its way, and answers what was so before the job.
    world.github.start_job(&world.scope, "b", "acme/atlas");
    world.github.lie_busy(&world.scope, "b", Some(false));
    world.clock.advance(TimeDelta::seconds(16));
    let decision = guard.can_terminate(&fleet[1]).await;
    held_for(&decision, HoldCode::JobInProgress);
    let _ = first.await.unwrap();
}

/// How often each kind of thing has been asked for so far.
fn kinds_of(world: &World) -> BTreeMap<&'static str, usize> {
    let requests = world.github.requests();
    kinds(requests.into_iter().map(|request| request.path).collect())
}

#[tokio::test]
async fn a_vacant_word_is_never_reused_and_an_occupied_one_may_be() {
    let world = World::of(REPO).await;
    let id = world.github.register(&world.scope, "r-1");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    let guard = world.guard();
    let runner = world.runner("r-1").with_id(id.0);
    let _ = guard.can_terminate(&runner).await;
    // The clock stands still, and a job starts.
    let job = world.github.start_job(&world.scope, "r-1", "acme/atlas");
    let decision = guard.can_terminate(&runner).await;
    held_for(&decision, HoldCode::JobInProgress);
    let _ = world.asked();
    let decision = guard.can_terminate(&runner).await;
    held_for(&decision, HoldCode::JobInProgress);
    assert_eq!(kinds(world.asked()), BTreeMap::from([("runner", 1)]));
    // For as long as it is evidence, and no longer.
    world.github.finish_job(job);
    world.clock.advance(TimeDelta::seconds(31));
    let decision = guard.can_terminate(&runner).await;
    assert!(!codes(&decision).contains(&HoldCode::JobInProgress));
}

#[tokio::test]
async fn a_sweep_that_is_pulled_slowly_reads_again() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|name| {
            let id = world.github.register(&world.scope, name);
            world.runner(name).with_id(id.0)
        })
        .collect();
    let _ = sweep(&guard, fleet.clone()).await;
    world.clock.advance(minutes(5));
    let mut pulled = guard.sweep(fleet);
    let first = pulled.next().await.unwrap();
    assert_eq!(first.verdict(), Verdict::Terminate);
    let _ = world.asked();
    // Terminating takes its time; meanwhile a job starts on the next.
    world.clock.advance(minutes(2));
    let next = match first.assessment().runner.name.as_str() {
        "a" => "b",
        _ => "a",
    };
    world.github.start_job(&world.scope, next, "acme/atlas");
    world.github.lie_busy(&world.scope, next, Some(false));
    let second = pulled.next().await.unwrap();
    assert_eq!(second.assessment().runner.name.as_str(), next);
    held_for(&second, HoldCode::JobInProgress);
}

#[tokio::test]
async fn an_hour_of_sweeps_in_the_steady_state_costs_less_than_a_third_of_its_requests() {
    let world = World::of("org:acme").await;
    let repositories: Vec<_> = (0..60)
        .map(|number| format!("acme/r-{number:02}"))
        .collect();
    for repository in &repositories {
        world.github.add_repository(repository);
    }
    let fleet: Vec<_> = (0..100)
        .map(|number| {
            let name = format!("i-{number:03}");
            let id = world.github.register(&world.scope, &name);
            world.runner(&name).with_id(id.0)
        })
        .collect();
    let jobs: Vec<_> = fleet
        .iter()
        .zip(&repositories)
        .take(40)
        .map(|(runner, repository)| {
            let name = runner.name.as_str();
            world.github.start_job(&world.scope, name, repository)
        })
        .collect();
    let all = repositories
        .iter()
        .map(|repository| repository.parse().unwrap());
    let guard = world.asking(Repositories::all(all)).build().unwrap();
    // The first sweep reads everything; then an hour of sweeps begins, between which every job makes progress.
    let _ = sweep(&guard, fleet.clone()).await;
    assert_eq!(world.github.primary_requests(), 1 + 60 * 5 + 40);
    world.github.clear_requests();
    for _ in 0..12 {
        world.clock.advance(minutes(5));
        for &job in &jobs {
            world.github.progress(job);
        }
        let mut decisions = guard.sweep(fleet.clone());
        while let Some(decision) = decisions.next().await {
            // Whoever may go is taken when somebody needs it.
            if decision.verdict() == Verdict::Terminate {
                break;
            }
        }
    }
    // For each sweep the listing, two lists of runs and one of jobs for each run, and one runner that may go.
    assert_eq!(world.github.primary_requests(), 12 * (1 + 2 * 40 + 40 + 1));
    // Where nothing changes, it is the listing and whoever may go.
    world.github.clear_requests();
    world.clock.advance(minutes(5));
    let mut decisions = guard.sweep(fleet.clone());
    while decisions.next().await.unwrap().verdict() == Verdict::Hold {}
    assert_eq!(world.github.primary_requests(), 2);
    assert_eq!(world.github.request_count(), 2 + 60 * 5 + 40);
}
