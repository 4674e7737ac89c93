//! A beacon that ends: killed, or told to.

use crate::world::{HoldCode, NAME, World};
use scale_in_guard::{clock::SystemClock, evidence::Claim, lease::LeaseState};

const JOB: &str = "8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21";

/// A line of the dispatcher's, stamped long ago: only its receipt counts.
fn dispatcher(message: &str) -> String {
    format!("[2026-01-01 00:00:00Z INFO JobDispatcher] {message}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beacon_killed_in_the_middle_of_a_job_holds_and_reads_back() {
    let world = World::new().await;
    let (mut runner, beacon, guard) = world.idle().await;
    let job = runner.start();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    beacon.kill();
    let left = world.beat(NAME).await.expect("its last heartbeat");
    assert!(!left.going);
    world
        .stays_held_for(&guard, NAME, HoldCode::LeaseLive)
        .await;

    let _beacon = world.beacon([runner.root()]);
    let read = world.beat_that(NAME, |beat| beat.boot != left.boot).await;
    assert!(read.sequence > left.sequence);
    let open = read.heartbeat.unfinished().expect("the job");
    assert_eq!(open.job.to_string(), job);
    assert!(read.heartbeat.worker_since.is_some());
    world
        .stays_held_for(&guard, NAME, HoldCode::LeaseLive)
        .await;
    runner.finish();
    let _ = world.vacant(&guard, NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_beacon_left_holds_beyond_its_lease() {
    let world = World::with([("lease_ttl", "3s")], SystemClock).await;
    let (mut runner, beacon, guard) = world.idle().await;
    // A lease as long as the policy says, which no renewal of the log's lengthens.
    let received = format!("Job request 0 for plan {JOB} job {JOB} received.");
    runner.raw(&dispatcher(&received));
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    beacon.kill();
    let hold = world.held_for(&guard, NAME, HoldCode::JobNotFinished).await;
    assert!(
        hold.reasons()
            .all(|reason| reason.code() != HoldCode::LeaseLive)
    );
    world
        .stays_held_for(&guard, NAME, HoldCode::JobNotFinished)
        .await;

    // What is read back counts as told now.
    let _beacon = world.beacon([runner.root()]);
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    let finished = format!("finish job request for job {JOB} with result: Succeeded");
    runner.raw(&dispatcher(&finished));
    let _ = world.vacant(&guard, NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_came_and_went_while_no_beacon_ran_is_over() {
    let world = World::new().await;
    let (mut runner, beacon, guard) = world.idle().await;
    beacon.kill();
    world.held_for(&guard, NAME, HoldCode::BeaconSilent).await;
    runner.start();
    world
        .stays_held_for(&guard, NAME, HoldCode::BeaconSilent)
        .await;
    runner.finish();
    let _beacon = world.beacon([runner.root()]);
    let permit = world.vacant(&guard, NAME).await;
    let vacant_since = permit.assessment().vacant_since.expect("a window");
    assert!(permit.issued_at() - vacant_since >= world.policy().grace);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beacon_that_is_told_to_end_says_a_last_word_that_is_not_vacant() {
    let world = World::with([("corroboration", "lease")], SystemClock).await;
    let (mut runner, beacon, guard) = world.idle().await;
    let (code, told) = beacon.terminate().await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("last word"), "{told}");
    let last = world.beat(NAME).await.expect("its last word");
    assert!(last.going);
    assert_eq!(last.heartbeat.idle_since, None);
    let decision = world.ask(&guard, NAME).await;
    assert_eq!(decision.assessment().claims.lease, Claim::Unknown);
    world.held_for(&guard, NAME, HoldCode::BeaconSilent).await;

    // And in the middle of a job.
    let beacon = world.beacon([runner.root()]);
    let _ = world.vacant(&guard, NAME).await;
    runner.start();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    let (code, told) = beacon.terminate().await;
    assert_eq!(code, Some(0), "{told}");
    let last = world.beat(NAME).await.expect("its last word");
    assert!(last.going);
    let left = last.heartbeat.leases.iter().map(|lease| lease.state);
    assert_eq!(left.collect::<Vec<_>>(), [LeaseState::Open]);
    world
        .stays_held_for(&guard, NAME, HoldCode::LeaseLive)
        .await;
}
