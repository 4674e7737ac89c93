//! The human exit from a hold.

use crate::world::{World, codes, held, minutes, never, runner, seconds};
use scale_in_guard::{
    HoldCode, JobsView, Policy, Signal, Verdict, clock::Clock, guard::Retirement, lease::Report,
    policy::Corroboration,
};

/// A beacon died in mid-job, and nobody has a complete view of the jobs: no clock ends that.
#[tokio::test]
async fn what_a_dead_beacon_left_is_released_and_vacancy_counts_from_then() {
    let world = World::new();
    let guard = world.guard();
    let mut beacon = world.beacon();
    beacon.job_starts().await;
    world.jobs.says(Signal::Jobs(JobsView {
        complete: false,
        jobs: vec![],
    }));
    for _ in 0..8 {
        world.later(minutes(5));
        let held = guard.can_terminate(&runner()).await;
        assert_eq!(held.verdict(), Verdict::Hold);
    }
    let stuck = guard.can_terminate(&runner()).await;
    assert!(codes(&stuck).contains(&HoldCode::JobNotFinished));
    let (scope, name) = (runner().scope, runner().name);
    let told = guard
        .release(&scope, &name, "ops", "the host is gone")
        .await
        .unwrap();
    assert!(told.was_known);
    assert_eq!(told.releases.len(), 1);
    let told = &told.releases[0];
    assert_eq!(
        (&*told.by, &*told.note, told.at),
        ("ops", "the host is gone", world.clock.now())
    );
    let released = guard.can_terminate(&runner()).await;
    // It clears nothing: somebody independent of the flag must still say vacant.
    assert!(codes(&released).contains(&HoldCode::Uncorroborated));
    assert!(!codes(&released).contains(&HoldCode::JobNotFinished));
    assert!(!codes(&released).contains(&HoldCode::BeaconSilent));
    world.jobs.says(Signal::Jobs(crate::world::no_jobs()));
    let first = guard.can_terminate(&runner()).await;
    assert_eq!(codes(&first), [HoldCode::GraceWindow]);
    world.later(minutes(5));
    let free = guard.can_terminate(&runner()).await;
    assert_eq!(free.verdict(), Verdict::Terminate);
    // It is written down for good.
    let told = guard.release(&scope, &name, "ops", "again").await.unwrap();
    let notes: Vec<_> = told.releases.iter().map(|release| &*release.note).collect();
    assert_eq!(notes, ["the host is gone", "again"]);
}

#[tokio::test]
async fn a_live_lease_and_what_is_heard_later_hold_all_the_same() {
    let world = World::new();
    let guard = world.guard();
    let mut beacon = world.beacon();
    beacon.job_starts().await;
    world.later(seconds(120));
    let (scope, name) = (runner().scope, runner().name);
    guard
        .release(&scope, &name, "ops", "impatient")
        .await
        .unwrap();
    let live = guard.can_terminate(&runner()).await;
    assert!(codes(&live).contains(&HoldCode::LeaseLive));
    world.later(minutes(9));
    let run_out = guard.can_terminate(&runner()).await;
    assert!(!codes(&run_out).contains(&HoldCode::JobNotFinished));
    beacon.says(Report::Worker).await;
    let heard = guard.can_terminate(&runner()).await;
    assert!(codes(&heard).contains(&HoldCode::JobNotFinished));
}

#[tokio::test]
async fn a_drain_is_ended_and_its_permits_are_worth_nothing() {
    let world = World::new();
    let guard = world.guard();
    world.drain(&guard).await;
    let (scope, name) = (runner().scope, runner().name);
    guard
        .release(&scope, &name, "ops", "keep it")
        .await
        .unwrap();
    world.later(seconds(90));
    assert_eq!(
        held(&guard.retire(&runner(), never).await),
        [HoldCode::GraceWindow]
    );
}

#[tokio::test]
async fn a_permit_from_before_the_release_is_refused() {
    let world = World::new();
    let guard = world.guard();
    world.pass_the_window(&guard).await;
    let scale_in_guard::Decision::Terminate(permit) = guard.can_terminate(&runner()).await else {
        panic!("the window is over")
    };
    let (scope, name) = (runner().scope, runner().name);
    guard
        .release(&scope, &name, "ops", "keep it")
        .await
        .unwrap();
    assert!(guard.redeem(permit).await.is_err());
}

/// What is believed to be gone may have been seen: a released runner is no phantom.
#[tokio::test]
async fn a_released_runner_does_not_become_a_phantom() {
    let world = World::new();
    let policy = Policy {
        corroboration: Corroboration::Lease,
        ..Policy::default()
    };
    let guard = world.builder().policy(policy).build().unwrap();
    world.is_gone();
    let launched = runner().launched_at(world.clock.now());
    let mut beacon = world.beacon();
    beacon.job_starts().await;
    let _ = guard.can_terminate(&launched).await;
    let (scope, name) = (launched.scope.clone(), launched.name.clone());
    for _ in 0..4 {
        world.later(minutes(5));
        guard.release(&scope, &name, "ops", "gone").await.unwrap();
        let held = guard.retire(&launched, never).await;
        assert!(matches!(held, Retirement::Held(_)), "{held:?}");
    }
    let stage = guard.can_terminate(&launched).await.assessment().stage;
    assert_eq!(stage, scale_in_guard::Stage::Departed);
}

#[tokio::test]
async fn a_name_of_which_nothing_was_known_is_told() {
    let world = World::new();
    let guard = world.guard();
    let name = "r-l".parse().unwrap();
    let told = guard
        .release(&runner().scope, &name, "ops", "typo")
        .await
        .unwrap();
    assert!(!told.was_known);
}
