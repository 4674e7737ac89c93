//! A job holds its runner while GitHub says that it is idle, and nobody else's.

use crate::world::{HoldCode, NAME, World, eventually, run, signal};
use scale_in_guard::{Basis, lease::LeaseState};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_holds_to_its_end_and_the_window_follows() {
    let world = World::new().await;
    let (mut runner, _beacon, guard) = world.idle().await;
    runner.start();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    world
        .stays_held_for(&guard, NAME, HoldCode::LeaseLive)
        .await;
    let checked = run(&mut world.command("check", NAME));
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.out.contains("lease_live"), "{checked:?}");
    runner.renew();
    world
        .stays_held_for(&guard, NAME, HoldCode::LeaseLive)
        .await;

    runner.finish();
    let permit = world.vacant(&guard, NAME).await;
    assert_eq!(permit.basis(), Basis::Vacant);
    let vacant_since = permit.assessment().vacant_since.expect("a window");
    assert!(permit.issued_at() - vacant_since >= world.policy().grace);
    eventually("a yes", async || {
        let checked = run(&mut world.command("check", NAME));
        (checked.code == Some(0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_received_holds_before_its_worker_is_there() {
    let world = World::new().await;
    let (mut runner, _beacon, guard) = world.idle().await;
    runner.receive();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    let beat = world.beat(NAME).await.expect("a heartbeat");
    assert_eq!(beat.heartbeat.worker_since, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runners_on_one_host_each_is_held_for_its_own_job() {
    let world = World::new().await;
    let (mut one, mut two) = (world.runner("atlas-1"), world.runner("atlas-2"));
    one.listen();
    two.listen();
    let _beacon = world.beacon([one.root(), two.root()]);
    let guard = world.guard();
    let _ = world.vacant(&guard, "atlas-1").await;
    one.start();
    world.held_for(&guard, "atlas-1", HoldCode::LeaseLive).await;
    let _ = world.vacant(&guard, "atlas-2").await;

    two.start();
    one.finish();
    world.held_for(&guard, "atlas-2", HoldCode::LeaseLive).await;
    let permit = world.vacant(&guard, "atlas-1").await;
    assert!(guard.redeem(permit).await.is_ok());
    world
        .stays_held_for(&guard, "atlas-2", HoldCode::LeaseLive)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_its_crashed_listener_left_holds_though_github_says_offline() {
    let world = World::new().await;
    let (mut runner, _beacon, guard) = world.idle().await;
    runner.start();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    runner.crash();
    world.github.set_status(&world.scope, NAME, "offline");
    world
        .stays_held_for(&guard, NAME, HoldCode::LeaseLive)
        .await;

    // It listens again, with a job left over.
    runner.listen();
    world.github.set_status(&world.scope, NAME, "online");
    let left = |state| state == LeaseState::Orphaned;
    let beat = world.beat_that(NAME, |beat| {
        beat.heartbeat.leases.iter().any(|lease| left(lease.state))
    });
    assert!(beat.await.heartbeat.worker_since.is_some());
    world
        .stays_held_for(&guard, NAME, HoldCode::LeaseLive)
        .await;
    assert!(runner.worker_runs());

    signal("KILL", runner.worker());
    let _ = world.vacant(&guard, NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_outlives_its_job_holds_until_it_is_gone() {
    let world = World::new().await;
    let (mut runner, _beacon, guard) = world.idle().await;
    runner.start();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    runner.wedge();
    world.held_for(&guard, NAME, HoldCode::WorkerAlive).await;
    runner.exit();
    world.github.set_status(&world.scope, NAME, "offline");
    world.held_for(&guard, NAME, HoldCode::Offline).await;
    world.held_for(&guard, NAME, HoldCode::WorkerAlive).await;
    world.github.set_status(&world.scope, NAME, "online");

    signal("KILL", runner.worker());
    let _ = world.vacant(&guard, NAME).await;
}
