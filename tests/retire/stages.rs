//! The stages of runners that nothing else would ever give back, the whole way.

use crate::world::{
    Beacon, FakeRegistrar, World, assert_draining, fine, minutes, never, runner, seconds,
};
use scale_in_guard::{
    Basis, Guard, Policy, Stage, Status,
    clock::Clock,
    fence::Deregistration,
    guard::Retirement,
    lease::Report,
    policy::Corroboration,
    registrar::Deregistered::{self, Occupied, Removed},
};

fn guard(world: &World, answer: Deregistered) -> Guard {
    let registrar = FakeRegistrar::answering([Some(answer)]);
    world.builder().deregister(registrar).build().unwrap()
}

/// Looks every minute for so long, while the beacon says what it says every 15 seconds.
async fn watch(world: &World, guard: &Guard, mut beacon: Option<(&mut Beacon, Report)>, span: i64) {
    let end = world.clock.now() + minutes(span);
    while world.clock.now() < end {
        match &mut beacon {
            Some((beacon, report)) => world.go_on(beacon, minutes(1), report.clone()).await,
            None => world.later(minutes(1)),
        }
        let _ = guard.can_terminate(&runner()).await;
    }
}

/// From the first permit on: drain, settle, terminate; on these grounds.
async fn goes(world: &World, guard: &Guard, mut beacon: Option<(&mut Beacon, Report)>, on: Basis) {
    let drained = guard.retire(&runner(), never).await;
    let Retirement::Draining { deregistration, .. } = drained else {
        panic!("{drained:?}")
    };
    if deregistration == Deregistration::Done {
        world.is_gone();
    }
    match &mut beacon {
        Some((beacon, report)) => world.go_on(beacon, seconds(90), report.clone()).await,
        None => world.later(seconds(90)),
    }
    let done = guard.retire(&runner(), fine).await;
    assert!(
        matches!(&done, Retirement::Terminated(basis) if *basis == on),
        "{done:?}"
    );
}

async fn stage(guard: &Guard) -> Stage {
    guard.can_terminate(&runner()).await.assessment().stage
}

#[tokio::test]
async fn lost_offline_for_long_and_its_beacon_silent() {
    for answer in [Removed, Occupied] {
        let world = World::new();
        let guard = guard(&world, answer);
        let mut beacon = world.beacon();
        beacon.says(Report::Listening).await;
        let _ = guard.can_terminate(&runner()).await;
        // The host is gone: GitHub calls it offline, and still busy.
        world.is(true, Status::Offline);
        watch(&world, &guard, None, 14).await;
        assert_eq!(stage(&guard).await, Stage::Serving);
        watch(&world, &guard, None, 7).await;
        assert_eq!(stage(&guard).await, Stage::Lost);
        goes(&world, &guard, None, Basis::Lost).await;
    }
}

#[tokio::test]
async fn lost_goes_by_the_jobs_alone_also_where_a_lease_is_asked_for() {
    let world = World::new();
    let policy = Policy {
        corroboration: Corroboration::Both,
        ..Policy::default()
    };
    let registrar = FakeRegistrar::answering([Some(Removed)]);
    let builder = world.builder().policy(policy).deregister(registrar);
    let guard = builder.build().unwrap();
    world.is(false, Status::Offline);
    watch(&world, &guard, None, 22).await;
    assert_eq!(stage(&guard).await, Stage::Lost);
    goes(&world, &guard, None, Basis::Lost).await;
}

#[tokio::test]
async fn busy_refuted_by_the_jobs_and_a_live_beacon_for_an_hour() {
    for answer in [Removed, Occupied] {
        let world = World::new();
        let guard = guard(&world, answer);
        let mut beacon = world.beacon();
        world.is(true, Status::Online);
        beacon.says(Report::Listening).await;
        let _ = guard.can_terminate(&runner()).await;
        let idle = || Report::Listening;
        watch(&world, &guard, Some((&mut beacon, idle())), 59).await;
        assert_eq!(stage(&guard).await, Stage::Serving);
        watch(&world, &guard, Some((&mut beacon, idle())), 2).await;
        assert_eq!(stage(&guard).await, Stage::BusyRefuted);
        goes(
            &world,
            &guard,
            Some((&mut beacon, idle())),
            Basis::BusyRefuted,
        )
        .await;
    }
}

#[tokio::test]
async fn wedged_a_worker_that_outlived_its_job_for_an_hour() {
    for answer in [Removed, Occupied] {
        let world = World::new();
        let guard = guard(&world, answer);
        let mut beacon = world.beacon();
        world.is(true, Status::Online);
        beacon.job_starts().await;
        beacon.says(Report::Worker).await;
        world.later(seconds(15));
        beacon.job_ends().await;
        let worker = || Report::Worker;
        watch(&world, &guard, Some((&mut beacon, worker())), 59).await;
        assert_eq!(stage(&guard).await, Stage::Serving);
        watch(&world, &guard, Some((&mut beacon, worker())), 3).await;
        assert_eq!(stage(&guard).await, Stage::Wedged);
        goes(&world, &guard, Some((&mut beacon, worker())), Basis::Wedged).await;
    }
}

#[tokio::test]
async fn a_new_job_in_a_wedged_runner_that_is_drained_takes_it_back() {
    let world = World::new();
    let guard = guard(&world, Removed);
    let mut beacon = world.beacon();
    world.is(true, Status::Online);
    beacon.job_starts().await;
    beacon.says(Report::Worker).await;
    world.later(seconds(15));
    beacon.job_ends().await;
    watch(&world, &guard, Some((&mut beacon, Report::Worker)), 62).await;
    assert_eq!(stage(&guard).await, Stage::Wedged);
    let drained = guard.retire(&runner(), never).await;
    assert_draining(&drained);
    world.is_gone();
    world.go_on(&mut beacon, seconds(60), Report::Worker).await;
    beacon.job_starts().await;
    world.go_on(&mut beacon, seconds(30), Report::Worker).await;
    let taken = guard.retire(&runner(), never).await;
    assert!(
        matches!(taken, Retirement::DeregisteredWhileOccupied { .. }),
        "{taken:?}"
    );
}

#[tokio::test]
async fn a_beacon_that_speaks_again_in_a_lost_runner_that_is_drained_holds_it() {
    let world = World::new();
    let guard = guard(&world, Removed);
    world.is(false, Status::Offline);
    watch(&world, &guard, None, 22).await;
    let drained = guard.retire(&runner(), never).await;
    assert_draining(&drained);
    world.is_gone();
    world.later(seconds(89));
    let mut beacon = world.beacon();
    beacon.says(Report::Worker).await;
    world.later(seconds(1));
    let held = guard.retire(&runner(), never).await;
    assert!(
        matches!(held, Retirement::DeregisteredWhileOccupied { .. }),
        "{held:?}"
    );
}
