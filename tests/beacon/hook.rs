//! The job hooks, where nothing else tells of a job.

use crate::world::{
    Decision, HoldCode, NAME, World, eventually, is_taken, program, run, says_vacant,
};
use scale_in_guard::clock::SystemClock;
use std::{fs, path::Path};

fn hook(root: &Path, event: &str) {
    let mut command = program();
    command.args(["hook", event, "--strict", "--runner-root"]);
    let ran = run(command.arg(root));
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_alone_takes_the_fence_and_holds_for_one_lease_at_the_most() {
    let world = World::with([("lease_ttl", "3s")], SystemClock).await;
    let runner = world.runner(NAME);
    fs::create_dir(runner.root().join("_diag")).expect("a folder for logs");
    let _beacon = world.beacon([runner.root()]);
    let guard = world.guard();
    world
        .beat_that(NAME, |beat| beat.heartbeat.blind.is_some())
        .await;
    hook(runner.root(), "started");
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    assert!(is_taken(world.fence(NAME).await.state()));

    // Nothing ever showed that job. The beacon is blind; GitHub's jobs say vacant.
    let permit = eventually("a permit", async || match world.ask(&guard, NAME).await {
        Decision::Terminate(permit) => Some(permit),
        Decision::Hold(_) => None,
    });
    let permit = permit.await;
    assert!(!says_vacant(&permit));
    let beat = world.beat(NAME).await.expect("a heartbeat");
    assert!(beat.heartbeat.blind.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_runs_before_the_beacon_begins_is_met_at_its_first_look() {
    let world = World::with([("lease_ttl", "3s")], SystemClock).await;
    let mut runner = world.runner(NAME);
    runner.listen();
    hook(runner.root(), "started");
    let _beacon = world.beacon([runner.root()]);
    let guard = world.guard();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    world.fence_that(NAME, is_taken).await;
    let _ = world.vacant(&guard, NAME).await;
}
