//! GitHub's lists of runs by status can be empty for hours, while its list of all runs is right.

use crate::world::*;
use scale_in_guard::stores::MemoryStore;
use std::sync::Arc;

const REPO: &str = "repo:acme/atlas";

async fn world() -> (World, [Guard; 2], Runner) {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let store = Arc::new(MemoryStore::new().with_clock(world.clock.clone()));
    // The second is another process: it has no more than the store.
    let guards = [(); 2].map(|()| world.builder().store(store.clone()).build().unwrap());
    let runner = world.runner("r-1");
    let _ = guards[0].can_terminate(&runner).await;
    world.clock.advance(minutes(5));
    (world, guards, runner)
}

/// A job begins, and the flag and the lists by status deny it.
fn begin_unseen(world: &World) -> scale_in_guard::testing::fake_github::JobId {
    let job = world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    world.github.silence_run_lists(true);
    job
}

#[tokio::test]
async fn a_job_that_no_list_by_status_shows_is_among_the_newest_runs() {
    let (world, [guard, _], runner) = world().await;
    let job = begin_unseen(&world);
    for _ in 0..30 {
        held_for(&guard.can_terminate(&runner).await, HoldCode::JobInProgress);
        world.clock.advance(minutes(1));
    }
    world.github.finish_job(job);
    assert!(world.until_it_may_go(&guard, &runner, 5).await.is_some());
}

#[tokio::test]
async fn a_run_that_was_in_progress_is_over_when_github_says_so_of_it() {
    let (world, [guard, another], runner) = world().await;
    let job = world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    held_for(&guard.can_terminate(&runner).await, HoldCode::JobInProgress);
    // A hundred and more newer ones hide it, and the lists by status go silent.
    for number in 0..120 {
        let other = world
            .github
            .start_job(&world.scope, &format!("other-{number}"), "acme/atlas");
        world.github.finish_job(other);
    }
    world.github.silence_run_lists(true);
    world.clock.advance(minutes(1));
    for guard in [&guard, &another] {
        for _ in 0..10 {
            held_for(&guard.can_terminate(&runner).await, HoldCode::JobInProgress);
            world.clock.advance(minutes(1));
        }
    }
    world.github.finish_job(job);
    assert!(world.until_it_may_go(&another, &runner, 5).await.is_some());
}

#[tokio::test]
async fn another_runners_unlisted_run_makes_the_view_partial() {
    let (world, [guard, _], runner) = world().await;
    world.github.start_job(&world.scope, "r-2", "acme/atlas");
    world.github.silence_run_lists(true);
    held_for(
        &guard.can_terminate(&runner).await,
        HoldCode::Uncorroborated,
    );
    world.github.silence_run_lists(false);
    assert!(world.until_it_may_go(&guard, &runner, 6).await.is_some());
}
