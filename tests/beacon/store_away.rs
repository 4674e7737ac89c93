//! A store that is away for a while.

use crate::world::{Decision, HoldCode, NAME, Program, World, is_taken};
use rusqlite::Connection;
use std::fs;

/// Shuts out everybody else who wants to write, until it is dropped.
fn lock(world: &World) -> Connection {
    let lock = Connection::open(world.database()).expect("the file");
    lock.busy_timeout(std::time::Duration::from_secs(30))
        .expect("a timeout");
    lock.execute_batch("BEGIN EXCLUSIVE").expect("a lock");
    lock
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_started_while_the_store_was_away_is_reported_when_it_is_back() {
    let world = World::new().await;
    let (mut runner, beacon, guard) = world.idle().await;
    let lock = lock(&world);
    beacon.tells("not reported").await;
    let job = runner.start();
    let held = world.ask(&guard, NAME).await;
    assert!(matches!(held, Decision::Hold(_)), "{held:?}");
    drop(lock);
    world.fence_that(NAME, is_taken).await;
    let beat = world
        .beat_that(NAME, |beat| beat.heartbeat.unfinished().is_some())
        .await;
    let open = beat
        .heartbeat
        .unfinished()
        .map(|lease| lease.job.to_string());
    assert_eq!(open, Some(job));
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    beacon.tells("the store is back").await;
    runner.finish();
    let _ = world.vacant(&guard, NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_came_and_went_while_the_store_was_away_takes_no_fence() {
    let world = World::new().await;
    let (mut runner, beacon, guard) = world.idle().await;
    let lock = lock(&world);
    beacon.tells("not reported").await;
    runner.start();
    runner.finish();
    drop(lock);
    let over = |beat: &scale_in_guard::beat::Beat| {
        let heartbeat = &beat.heartbeat;
        heartbeat.last_job_at.is_some() && heartbeat.idle_since.is_some()
    };
    world.beat_that(NAME, over).await;
    assert_eq!(world.fence(NAME).await.epoch(), 0);
    let permit = world.vacant(&guard, NAME).await;
    let vacant_since = permit.assessment().vacant_since.expect("a window");
    assert!(permit.issued_at() - vacant_since >= world.policy().grace);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_folder_was_away_hears_the_present() {
    let world = World::new().await;
    let (mut runner, beacon, guard) = world.idle().await;
    let (folder, away) = (world.path("store"), world.path("away"));
    fs::rename(&folder, &away).expect("it goes away");
    beacon.tells("not reported").await;
    runner.start();
    fs::rename(&away, &folder).expect("it comes back");
    world.fence_that(NAME, is_taken).await;
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    runner.finish();
    let _ = world.vacant(&guard, NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_at_the_start_hears_it_later() {
    let world = World::new().await;
    let mut runner = world.runner(NAME);
    runner.listen();
    let folder = world.path("store");
    fs::remove_dir(&folder).expect("no folder");
    fs::write(&folder, "in the way").expect("a file");
    let beacon = world.beacon([runner.root()]);
    beacon.tells("not reported").await;
    runner.start();
    fs::remove_file(&folder).expect("out of the way");
    world.fence_that(NAME, is_taken).await;
    let guard = world.guard();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beacon_that_is_told_to_end_does_so_without_its_store() {
    let world = World::new().await;
    let (_runner, beacon, _guard) = world.idle().await;
    let lock = lock(&world);
    beacon.tells("not reported").await;
    let (code, told) = beacon.terminate().await;
    drop(lock);
    assert_eq!(code, Some(0), "{told}");
    let left = world.beat(NAME).await.expect("its last heartbeat");
    assert!(!left.going);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_beacons_of_one_runner_the_later_one_reports() {
    let world = World::new().await;
    let (mut runner, mut first, guard) = world.idle().await;
    let mut command = world.beacon_command([runner.root()]);
    let _second = Program::start(&mut command, &world.path("second"));
    assert_eq!(first.end().await, Some(2), "{}", first.told());
    assert!(first.told().contains("end one of them"), "{}", first.told());
    runner.start();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
}
