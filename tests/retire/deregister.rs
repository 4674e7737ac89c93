//! Deregistering: GitHub takes it, refuses, fails, lies.

use crate::world::{
    FakeRegistrar, ID, World, a_job, assert_draining, assert_draining_as, fine, held, minutes,
    never, registered, runner, seconds,
};
use scale_in_guard::{
    Basis, Guard, HoldCode, Registration, Signal, Status,
    fence::Deregistration,
    guard::{Retirement, Setback},
    lease::Report,
    permit::Refused,
    registrar::Deregistered::{Occupied, Removed, Unknown},
    store::{Key, Kind, Store},
};

fn guard(world: &World, registrar: &FakeRegistrar) -> Guard {
    let builder = world.builder().deregister(registrar.clone());
    builder.build().unwrap()
}

async fn counted(world: &World) -> u64 {
    let key = Key::of_scope("api.github.com".into(), runner().scope, Kind::Fleet);
    let read = world.store.read(&[key]).await.unwrap();
    let roster: scale_in_guard::fleet::Roster = match &read[0] {
        Some(record) => serde_json::from_str(&record.value).unwrap(),
        None => return 0,
    };
    roster.deregistered_while_occupied()
}

#[tokio::test]
async fn it_is_deregistered_settles_and_goes_without_its_registration() {
    for gone in [Removed, Unknown] {
        // Also where the listing beside its absence is worth nothing.
        let untrusted = Registration::Absent {
            beside_listing: false,
            scope_is_ours: true,
            listing_is_empty: false,
            was_shown: false,
            unaccounted: Vec::new(),
        };
        for absent in [Registration::absent(), untrusted] {
            let world = World::new();
            let registrar = FakeRegistrar::answering([Some(gone)]);
            let guard = guard(&world, &registrar);
            world.pass_the_window(&guard).await;
            let drained = guard.retire(&runner(), never).await;
            assert_draining_as(&drained, Deregistration::Done);
            world.flag.says(Signal::Registration(absent));
            world.later(seconds(89));
            let early = guard.retire(&runner(), never).await;
            assert_draining(&early);
            world.later(seconds(1));
            let done = guard.retire(&runner(), fine).await;
            assert!(
                matches!(done, Retirement::Terminated(Basis::Vacant)),
                "{done:?}"
            );
            assert_eq!(registrar.asked(), 1);
        }
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again_at_once_and_the_runner_settles_from_then() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([None, None, Some(Unknown)]);
    let guard = guard(&world, &registrar);
    world.pass_the_window(&guard).await;
    for _ in 0..2 {
        let lost = guard.retire(&runner(), never).await;
        assert!(
            matches!(&lost, Retirement::Stopped { why: Setback::Deregistering { what }, .. } if what.contains("502")),
            "{lost:?}"
        );
        world.later(seconds(4));
    }
    world.is_gone();
    let drained = guard.retire(&runner(), never).await;
    assert_draining_as(&drained, Deregistration::Done);
    world.later(seconds(89));
    let early = guard.retire(&runner(), never).await;
    assert_draining(&early);
    world.later(seconds(1));
    let done = guard.retire(&runner(), fine).await;
    assert!(matches!(done, Retirement::Terminated(_)), "{done:?}");
}

/// DELETE may end a job: it is not called on what was looked at a while ago.
#[tokio::test]
async fn what_let_it_go_is_not_acted_on_later_and_a_new_look_begins() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([None, Some(Unknown)]);
    let guard = guard(&world, &registrar);
    world.pass_the_window(&guard).await;
    let _ = guard.retire(&runner(), never).await;
    world.later(seconds(10));
    let late = guard.retire(&runner(), never).await;
    assert!(
        matches!(
            late,
            Retirement::Stopped {
                why: Setback::Refused(Refused::Expired { .. }),
                ..
            }
        ),
        "{late:?}"
    );
    assert_eq!(registrar.asked(), 1);
    // It was removed all the same: then it has departed, and is reclaimed as such.
    world.is_gone();
    let mut minutes_waited = 0;
    while !matches!(
        guard.retire(&runner(), never).await,
        Retirement::Draining { .. }
    ) {
        world.later(minutes(1));
        minutes_waited += 1;
        assert!(minutes_waited < 8, "it is never reclaimed");
    }
    world.later(seconds(90));
    let done = guard.retire(&runner(), fine).await;
    assert!(
        matches!(done, Retirement::Terminated(Basis::Departed)),
        "{done:?}"
    );
}

#[tokio::test]
async fn what_github_refuses_as_busy_stays_and_its_vacancy_counts_anew() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([Some(Occupied)]);
    let guard = guard(&world, &registrar);
    world.pass_the_window(&guard).await;
    let refused = guard.retire(&runner(), never).await;
    assert!(
        matches!(
            refused,
            Retirement::Stopped {
                why: Setback::Occupied,
                ..
            }
        ),
        "{refused:?}"
    );
    world.later(seconds(1));
    assert_eq!(
        held(&guard.retire(&runner(), never).await),
        [HoldCode::GraceWindow]
    );
}

#[tokio::test]
async fn a_job_that_shows_after_the_delete_is_reported_once_and_counted() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([Some(Removed)]);
    let guard = guard(&world, &registrar);
    world.drain(&guard).await;
    world.is_gone();
    world.later(seconds(90));
    world.jobs.says(Signal::Jobs(a_job()));
    let occupied = guard.retire(&runner(), never).await;
    assert!(
        matches!(&occupied, Retirement::DeregisteredWhileOccupied { by } if by.contains("job 7")),
        "{occupied:?}"
    );
    assert_eq!(counted(&world).await, 1);
    let again = guard.retire(&runner(), never).await;
    assert!(held(&again).contains(&HoldCode::JobInProgress), "{again:?}");
    assert_eq!(counted(&world).await, 1);
}

#[tokio::test]
async fn a_job_that_takes_the_fence_of_a_deregistered_runner_is_reported_once_and_counted() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([Some(Removed)]);
    let guard = guard(&world, &registrar);
    let mut beacon = world.beacon();
    world.idle_for_the_window(&guard, &mut beacon).await;
    let drained = guard.retire(&runner(), never).await;
    assert_draining(&drained);
    world.is_gone();
    beacon.says(Report::Listening).await;
    world
        .go_on(&mut beacon, seconds(30), Report::Listening)
        .await;
    beacon.job_starts().await;
    let occupied = guard.retire(&runner(), never).await;
    assert!(
        matches!(&occupied, Retirement::DeregisteredWhileOccupied { by } if by.contains("lease")),
        "{occupied:?}"
    );
    let again = guard.retire(&runner(), never).await;
    assert!(held(&again).contains(&HoldCode::LeaseLive), "{again:?}");
    assert_eq!(counted(&world).await, 1);
    // The job ends, and the runner is reclaimed as one that departed.
    beacon.job_ends().await;
    let _ = guard.retire(&runner(), never).await;
    world
        .go_on(&mut beacon, minutes(6), Report::Listening)
        .await;
    let drained = guard.retire(&runner(), never).await;
    assert_draining(&drained);
    world
        .go_on(&mut beacon, seconds(90), Report::Listening)
        .await;
    let done = guard.retire(&runner(), fine).await;
    assert!(
        matches!(done, Retirement::Terminated(Basis::Departed)),
        "{done:?}"
    );
}

#[tokio::test]
async fn one_that_github_still_shows_is_not_gone() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([Some(Removed)]);
    let guard = guard(&world, &registrar);
    world.drain(&guard).await;
    world.later(seconds(90));
    assert_eq!(
        held(&guard.retire(&runner(), never).await),
        [HoldCode::StillRegistered]
    );
    world.is_gone();
    let done = guard.retire(&runner(), fine).await;
    assert!(matches!(done, Retirement::Terminated(_)), "{done:?}");
}

#[tokio::test]
async fn another_runner_of_the_name_has_nothing_to_do_with_the_drain() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([Some(Removed)]);
    let guard = guard(&world, &registrar);
    world.drain(&guard).await;
    world.later(seconds(90));
    let anew = registered(false, Status::Online, ID + 1);
    world.flag.says(Signal::Registration(anew));
    let held = held(&guard.retire(&runner(), never).await);
    assert!(held.contains(&HoldCode::GraceWindow), "{held:?}");
    // And it is not held by it either.
    world.later(minutes(5));
    let known = runner().with_id(ID + 1);
    let decision = guard.can_terminate(&known).await;
    assert_eq!(decision.verdict(), scale_in_guard::Verdict::Terminate);
}

/// A guard without a registrar began; one that is to deregister does not terminate a registered runner.
#[tokio::test]
async fn a_guard_that_deregisters_begins_anew_what_one_began_that_does_not() {
    let world = World::new();
    world.drain(&world.guard()).await;
    world.later(seconds(90));
    let registrar = FakeRegistrar::answering([Some(Removed)]);
    let drained = guard(&world, &registrar).retire(&runner(), never).await;
    assert_draining_as(&drained, Deregistration::Done);
}

/// Nothing is taken away from a runner that is absent, and nothing is believed to have been.
#[tokio::test]
async fn an_absent_runner_is_not_called_deregistered() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([None]);
    let guard = guard(&world, &registrar);
    let _ = guard.can_terminate(&runner()).await;
    world.is_gone();
    let mut drained = guard.retire(&runner(), never).await;
    while !matches!(drained, Retirement::Draining { .. }) {
        world.later(minutes(1));
        drained = guard.retire(&runner(), never).await;
    }
    assert_draining_as(&drained, Deregistration::NotWanted);
    assert_eq!(registrar.asked(), 0);
    // GitHub drops it from a listing that is worth nothing: that proves nothing here.
    world.flag.says(Signal::Registration(Registration::Absent {
        beside_listing: false,
        scope_is_ours: true,
        listing_is_empty: false,
        was_shown: false,
        unaccounted: Vec::new(),
    }));
    world.later(seconds(90));
    let doubted = guard.retire(&runner(), never).await;
    assert!(
        held(&doubted).contains(&HoldCode::AbsenceUnconfirmed),
        "{doubted:?}"
    );
}

#[tokio::test]
async fn a_job_that_came_and_went_on_a_deregistered_runner_is_counted_too() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([Some(Removed)]);
    let guard = guard(&world, &registrar);
    let mut beacon = world.beacon();
    world.idle_for_the_window(&guard, &mut beacon).await;
    let drained = guard.retire(&runner(), never).await;
    assert_draining(&drained);
    world.is_gone();
    world
        .go_on(&mut beacon, seconds(30), Report::Listening)
        .await;
    beacon.job_starts().await;
    world.later(seconds(15));
    beacon.job_ends().await;
    for _ in 0..7 {
        let _ = guard.can_terminate(&runner()).await;
        world
            .go_on(&mut beacon, minutes(1), Report::Listening)
            .await;
    }
    let drained = guard.retire(&runner(), never).await;
    assert_draining(&drained);
    assert_eq!(counted(&world).await, 1);
}

#[tokio::test]
async fn a_permit_of_a_sweep_begins_a_retirement() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([Some(Removed)]);
    let guard = guard(&world, &registrar);
    world.pass_the_window(&guard).await;
    let mut sweep = guard.sweep([runner()]);
    let Some(scale_in_guard::Decision::Terminate(permit)) = sweep.next().await else {
        panic!("the window is over")
    };
    let drained = guard.drain(permit).await;
    assert_draining_as(&drained, Deregistration::Done);
}

#[tokio::test]
async fn a_guard_that_cannot_deregister_does_not_take_over_a_drain_that_wants_it() {
    let world = World::new();
    let registrar = FakeRegistrar::answering([None]);
    let one = guard(&world, &registrar);
    world.pass_the_window(&one).await;
    let _ = one.retire(&runner(), never).await;
    let other = world.guard().retire(&runner(), never).await;
    assert!(
        matches!(&other, Retirement::Stopped { why: Setback::Deregistering { what }, .. } if what.contains("registrar")),
        "{other:?}"
    );
}
