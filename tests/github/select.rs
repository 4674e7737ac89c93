//! A few of many: who is asked about, what that costs, and when it ends.

use crate::world::*;
use scale_in_guard::{policy::PermitBudget, testing::fake_github::Fault};
use std::collections::BTreeMap;

const REPO: &str = "repo:acme/atlas";

/// What GitHub was asked for a permit each, beside one scan of the jobs.
fn permits(count: usize) -> BTreeMap<&'static str, usize> {
    BTreeMap::from([("runner", count), ("runs", 5)])
}

/// Registered runners that nobody has looked at.
fn fleet(world: &World, names: impl IntoIterator<Item = String>) -> Vec<Runner> {
    let register = |name: String| {
        let id = world.github.register(&world.scope, &name);
        world.runner(&name).with_id(id.0)
    };
    names.into_iter().map(register).collect()
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("r-{number:03}"))
}

/// The same, all vacant for as long as it takes.
async fn vacant(world: &World, guard: &Guard, count: usize) -> Vec<Runner> {
    let fleet = fleet(world, numbered(count));
    let _ = sweep(guard, fleet.clone()).await;
    world.clock.advance(minutes(5));
    let _ = world.asked();
    fleet
}

fn names(decisions: &[Decision]) -> Vec<&str> {
    let names = decisions
        .iter()
        .map(|decision| decision.assessment().runner.name.as_str());
    names.collect()
}

fn verdicts(decisions: &[Decision]) -> Vec<Verdict> {
    decisions.iter().map(Decision::verdict).collect()
}

/// A job that only the jobs show.
fn start_job(world: &World, name: &str) {
    world.github.start_job(&world.scope, name, "acme/atlas");
    world.github.lie_busy(&world.scope, name, Some(false));
}

#[tokio::test]
async fn with_a_warm_memory_permits_cost_a_request_each_and_no_listing() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = vacant(&world, &guard, 250).await;
    let decisions = pull(guard.select(fleet, 5)).await;
    assert_eq!(verdicts(&decisions), [Verdict::Terminate; 5]);
    assert_eq!(kinds(world.asked()), permits(5));
}

#[tokio::test]
async fn nothing_is_asked_before_it_is_pulled() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = vacant(&world, &guard, 3).await;
    let mut selection = guard.select(fleet, 3);
    assert!(world.asked().is_empty());
    assert!(selection.next().await.is_some());
    assert_eq!(kinds(world.asked()), permits(1));
}

#[tokio::test]
async fn none_wanted_asks_nothing() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = vacant(&world, &guard, 3).await;
    assert!(pull(guard.select(fleet, 0)).await.is_empty());
    assert!(pull(guard.select([], 7)).await.is_empty());
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn the_longest_vacant_come_first_then_the_oldest_then_by_name() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let [d, b, c, a] = ["d", "b", "c", "a"].map(|name| fleet(&world, [name.into()]).remove(0));
    let launched = "2026-05-14T00:00:00Z".parse().unwrap();
    let c = c.launched_at(launched);
    let _ = sweep(&guard, [d.clone()]).await;
    world.clock.advance(minutes(1));
    let all = [a, b, c, d];
    for _ in 0..2 {
        let _ = sweep(&guard, all.clone()).await;
        world.clock.advance(minutes(5));
    }
    let decisions = pull(guard.select(all.clone(), 4)).await;
    assert_eq!(names(&decisions), ["d", "c", "a", "b"]);
    let turned = all.into_iter().rev();
    let decisions = pull(guard.select(turned, 4)).await;
    assert_eq!(names(&decisions), ["d", "c", "a", "b"]);
}

#[tokio::test]
async fn a_runner_given_twice_is_given_once() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = vacant(&world, &guard, 2).await;
    let twice = fleet.iter().chain(&fleet).cloned();
    let decisions = pull(guard.select(twice, 9)).await;
    assert_eq!(names(&decisions), ["r-000", "r-001"]);
    assert_eq!(
        kinds(world.asked()),
        permits(2),
        "and nobody is left for a listing"
    );
}

#[tokio::test]
async fn a_cold_memory_costs_one_listing_and_what_must_stay_comes_last() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = fleet(&world, numbered(3));
    let decisions = pull(guard.select(fleet.clone(), 2)).await;
    assert_eq!(names(&decisions), ["r-000", "r-001", "r-002"]);
    for decision in &decisions {
        held_for(decision, HoldCode::GraceWindow);
    }
    let reads = BTreeMap::from([("listing", 1), ("runs", 5)]);
    assert_eq!(kinds(world.asked()), reads);

    // One that nobody has looked at is no better than one that must stay.
    world.clock.advance(minutes(5));
    start_job(&world, "r-000");
    let new = crate::select::fleet(&world, ["new".into()]);
    let decisions = pull(guard.select(new.into_iter().chain(fleet), 3)).await;
    assert_eq!(names(&decisions), ["r-001", "r-002", "r-000", "new"]);
    assert_eq!(decisions[1].verdict(), Verdict::Terminate);
    held_for(&decisions[2], HoldCode::JobInProgress);
    held_for(&decisions[3], HoldCode::GraceWindow);
}

#[tokio::test]
async fn a_job_that_began_since_is_a_miss_and_the_next_one_is_tried() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = vacant(&world, &guard, 6).await;
    start_job(&world, "r-000");
    start_job(&world, "r-002");
    let decisions = pull(guard.select(fleet, 2)).await;
    assert_eq!(names(&decisions), ["r-001", "r-003"], "misses are not told");
    assert_eq!(verdicts(&decisions), [Verdict::Terminate; 2]);
    let asked = kinds(world.asked());
    assert_eq!(
        (asked.get("runner"), asked.get("listing")),
        (Some(&4), None)
    );
}

#[tokio::test]
async fn many_misses_in_a_row_end_the_guessing() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = vacant(&world, &guard, 40).await;
    for runner in &fleet[..30] {
        world
            .github
            .start_job(&world.scope, runner.name.as_str(), "acme/atlas");
    }
    let decisions = pull(guard.select(fleet, 2)).await;
    assert_eq!(names(&decisions), ["r-030", "r-031"]);
    assert_eq!(verdicts(&decisions), [Verdict::Terminate; 2]);
    let asked = kinds(world.asked());
    // 12 misses, and what the survey left to be confirmed.
    assert_eq!((asked["runner"], asked["listing"]), (12 + 2, 1));
}

#[tokio::test]
async fn a_phantom_is_reached_by_the_survey() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = fleet(&world, numbered(1));
    let now = "2026-05-14T02:00:00Z".parse().unwrap();
    let phantom = world.runner("phantom").launched_at(now);
    let both = [fleet[0].clone(), phantom];
    for _ in 0..=12 {
        let _ = sweep(&guard, both.clone()).await;
        world.clock.advance(minutes(1));
    }
    start_job(&world, "r-000");
    let decisions = pull(guard.select(both, 1)).await;
    assert_eq!(names(&decisions), ["phantom"]);
    assert_eq!(
        decisions[0].verdict(),
        Verdict::Terminate,
        "{}",
        decisions[0].explain()
    );
}

#[tokio::test]
async fn the_kill_budget_is_of_all_candidates_and_ends_it_too() {
    let world = World::of(REPO).await;
    for (budget, given) in [
        (PermitBudget::Percent(10), 2),
        (PermitBudget::Count(3), 3),
        (PermitBudget::Count(0), 0),
    ] {
        let policy = Policy {
            max_permits_per_sweep: Some(budget),
            ..Policy::default()
        };
        let guard = world.builder().policy(policy).build().unwrap();
        let fleet = vacant(&world, &guard, 20).await;
        let decisions = pull(guard.select(fleet, 9)).await;
        assert_eq!(
            verdicts(&decisions),
            vec![Verdict::Terminate; given],
            "{budget}"
        );
        assert_eq!(
            kinds(world.asked()).get("runner").copied().unwrap_or(0),
            given
        );
    }
}

#[tokio::test]
async fn in_shadow_what_would_be_a_permit_counts_as_one() {
    let world = World::of(REPO).await;
    let guard = world.builder().shadow().build().unwrap();
    let fleet = vacant(&world, &guard, 5).await;
    let decisions = pull(guard.select(fleet, 2)).await;
    assert_eq!(names(&decisions), ["r-000", "r-001"]);
    for decision in &decisions {
        assert_eq!(codes(decision), [HoldCode::ShadowMode]);
    }
    assert_eq!(kinds(world.asked()), permits(2));
}

#[tokio::test]
async fn one_that_another_guard_lets_go_is_not_asked_about_first() {
    let world = World::of(REPO).await;
    let store = std::sync::Arc::new(scale_in_guard::stores::MemoryStore::new());
    let guard = world.builder().store(store).build().unwrap();
    let fleet = vacant(&world, &guard, 3).await;
    let mut first = pull(guard.select(fleet.clone(), 1)).await;
    let Some(Decision::Terminate(permit)) = first.pop() else {
        panic!("it may go");
    };
    let _go = guard.redeem(permit).await.unwrap();
    let _ = world.asked();
    world.clock.advance(TimeDelta::seconds(20));
    let decisions = pull(guard.select(fleet, 2)).await;
    assert_eq!(names(&decisions), ["r-001", "r-002"]);
    assert_eq!(kinds(world.asked()), permits(2));
}

#[tokio::test]
async fn what_cannot_be_read_lets_nobody_go_and_it_ends() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = vacant(&world, &guard, 30).await;
    world.github.fail("/actions/runners", Fault::Cut, None);
    let decisions = pull(guard.select(fleet, 1)).await;
    assert_eq!(decisions.len(), 30, "each once");
    for decision in &decisions {
        held_for(decision, HoldCode::RegistrationUnreadable);
    }
}
