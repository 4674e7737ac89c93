//! A runner that is asked about by another name than GitHub's: absence proves nothing while a registration that nobody
//! accounts for may be that very machine.

use crate::world::*;
use scale_in_guard::{
    clock::Clock, guard::GuardBuilder, instance::NameRule, sources::Others, stores::MemoryStore,
};
use std::sync::Arc;

const REPO: &str = "repo:acme/atlas";

/// A fleet of which one machine is asked about by its instance's id, and has a job under its host's name.
async fn fleet() -> (World, [Runner; 2]) {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "i-0aaaa");
    world.github.register(&world.scope, "ip-10-0-0-5");
    world
        .github
        .start_job(&world.scope, "ip-10-0-0-5", "acme/atlas");
    let launched = world.clock.now();
    world.clock.advance(minutes(1));
    let runners = ["i-0aaaa", "i-0bbbb"].map(|name| world.runner(name).launched_at(launched));
    (world, runners)
}

/// What guards of one deployment share.
fn store(world: &World) -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new().with_clock(world.clock.clone()))
}

/// Whether the misnamed runner gets a permit within 40 minutes of sweeps, or of asks by itself.
async fn goes(world: &World, guard: GuardBuilder, runners: &[Runner; 2], by_itself: bool) -> bool {
    let guard = guard.build().unwrap();
    let mut held = false;
    for _ in 0..40 {
        let decisions = match by_itself {
            true => vec![guard.can_terminate(&runners[1]).await],
            false => sweep(&guard, runners.clone()).await,
        };
        for decision in decisions {
            let assessment = decision.assessment();
            if assessment.runner.name != runners[1].name {
                continue;
            }
            held |= codes(&decision).contains(&HoldCode::UnaccountedRunners);
            if decision.verdict() == Verdict::Terminate {
                return true;
            }
        }
        world.clock.advance(minutes(1));
    }
    assert!(held, "and says why");
    false
}

#[tokio::test]
async fn a_machine_under_another_name_is_no_phantom() {
    for by_itself in [false, true] {
        let (world, runners) = fleet().await;
        let store = store(&world);
        // So the scope is known to be the autoscaler's.
        let guard = world.builder().store(store.clone()).build().unwrap();
        sweep(&guard, runners.clone()).await;
        let guard = world.builder().store(store);
        assert!(!goes(&world, guard, &runners, by_itself).await);
    }
}

#[tokio::test]
async fn each_way_out_gives_a_true_phantom_back() {
    type Way = fn(GuardBuilder) -> GuardBuilder;
    let ways: [(&str, Way); 3] = [
        ("by name", |guard| {
            guard.others(Others::none().named("IP-*"))
        }),
        ("by label", |guard| {
            guard.others(Others::none().labelled("linux"))
        }),
        ("by rule", |guard| guard.runner_names(NameRule::Equals)),
    ];
    for (row, way) in ways {
        for by_itself in [false, true] {
            let (world, runners) = fleet().await;
            let store = store(&world);
            if by_itself {
                // So the scope is known to be the autoscaler's.
                let guard = world.builder().store(store.clone()).build().unwrap();
                sweep(&guard, runners.clone()).await;
            }
            let guard = way(world.builder().store(store));
            assert!(goes(&world, guard, &runners, by_itself).await, "{row}");
        }
    }
    let (world, mut runners) = fleet().await;
    runners[1] = runners[1].clone().with_id(4_711);
    assert!(
        goes(&world, world.builder(), &runners, false).await,
        "its number is known"
    );
    let (world, runners) = fleet().await;
    let store = store(&world);
    let guard = world.builder().store(store.clone()).build().unwrap();
    let all = runners
        .clone()
        .into_iter()
        .chain([world.runner("ip-10-0-0-5")]);
    sweep(&guard, all).await;
    let guard = world.builder().store(store);
    assert!(
        goes(&world, guard, &runners, true).await,
        "every runner was asked about once"
    );
}

/// The rule places the registration on the very machine that is asked about.
#[tokio::test]
async fn a_rule_that_places_it_holds_the_machine() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "i-0aaaa");
    world.github.register(&world.scope, "ghr-i-0bbbb");
    let launched = world.clock.now();
    world.clock.advance(minutes(1));
    let runners = ["i-0aaaa", "i-0bbbb"].map(|name| world.runner(name).launched_at(launched));
    for rule in ["contains", "ends-with", "template:ghr-{instance}"] {
        let guard = world.builder().runner_names(rule.parse().unwrap());
        assert!(!goes(&world, guard, &runners, false).await, "{rule}");
    }
}

#[tokio::test]
async fn of_two_rows_of_one_name_the_occupied_one_counts() {
    for first in [true, false] {
        let world = World::of(REPO).await;
        world.github.register(&world.scope, "r-1");
        world.github.register(&world.scope, "r-2");
        world.github.lie_busy(&world.scope, "r-1", Some(first));
        world.github.lie_busy(&world.scope, "r-2", Some(!first));
        let twin = serde_json::json!({"name": "r-1"});
        world.github.show_runner_fields(&world.scope, "r-2", twin);
        let guard = world.builder().build().unwrap();
        let decision = sweep(&guard, [world.runner("r-1")]).await.remove(0);
        held_for(&decision, HoldCode::Busy);
    }
}
