//! A beacon that falls silent around the DELETE, and jobs of the queue after it.

use crate::world::{
    Beacon, FakeRegistrar, World, assert_draining, codes, fine, held, minutes, never, runner,
    seconds,
};
use scale_in_guard::{
    Guard, HoldCode, Job, JobStatus, JobsView, Policy, Signal, clock::Clock, guard::Retirement,
    lease::Report, policy::Corroboration, registrar::Deregistered::Removed,
};

fn guard(world: &World, corroboration: Corroboration) -> Guard {
    let policy = Policy {
        corroboration,
        ..Policy::default()
    };
    let registrar = FakeRegistrar::answering([Some(Removed)]);
    let builder = world.builder().policy(policy).deregister(registrar);
    builder.build().unwrap()
}

/// Drains it; the beacon was heard for the last time so many seconds before.
async fn drained(world: &World, guard: &Guard, beacon: &mut Beacon, silent_for: i64) {
    world.idle_for_the_window(guard, beacon).await;
    world.later(seconds(silent_for));
    let drained = guard.retire(&runner(), never).await;
    assert_draining(&drained);
    world.is_gone();
}

/// Its last word *no job* is older than the job that was dispatched just before the DELETE.
#[tokio::test]
async fn a_last_word_from_before_the_delete_clears_nothing_however_often_it_is_absent() {
    for corroboration in [Corroboration::Lease, Corroboration::Any] {
        let world = World::new();
        let guard = guard(&world, corroboration);
        let mut beacon = world.beacon();
        // Only the beacon could say vacant.
        world.jobs.says(Signal::Jobs(JobsView::default()));
        drained(&world, &guard, &mut beacon, 50).await;
        for _ in 0..120 {
            world.later(seconds(30));
            let retirement = guard.retire(&runner(), never).await;
            assert!(
                !matches!(retirement, Retirement::Draining { .. })
                    || retirement.retry_at() > Some(world.clock.now()),
                "{retirement:?}"
            );
        }
    }
}

/// GitHub's jobs view says that nothing runs; a plain look would hold on the silence, and so does this one.
#[tokio::test]
async fn a_beacon_that_falls_silent_around_the_delete_holds_as_it_does_before_it() {
    let world = World::new();
    let guard = guard(&world, Corroboration::Any);
    let mut beacon = world.beacon();
    drained(&world, &guard, &mut beacon, 50).await;
    world.later(seconds(91));
    let silent = guard.can_terminate(&runner()).await;
    assert!(
        codes(&silent).contains(&HoldCode::BeaconSilent),
        "{:?}",
        codes(&silent)
    );
    let silent = guard.retire(&runner(), never).await;
    assert!(
        held(&silent).contains(&HoldCode::BeaconSilent),
        "{silent:?}"
    );
    // 15 minutes after its last word the silence is over, beside a view that shows no job.
    let mut waited = 0;
    loop {
        match guard.retire(&runner(), fine).await {
            Retirement::Terminated(_) => break,
            _ => world.later(minutes(1)),
        }
        waited += 1;
        assert!(waited < 30, "it is never reclaimed");
    }
    assert!(waited >= 12, "{waited}");
}

/// The host goes down by itself once its runner is deregistered: what the beacon said last, it said of a runner
/// to which no new job could come.
#[tokio::test]
async fn a_last_word_from_long_enough_after_the_delete_counts() {
    for (heard_for, counts) in [(15, false), (30, true)] {
        let world = World::new();
        let guard = guard(&world, Corroboration::Lease);
        let mut beacon = world.beacon();
        drained(&world, &guard, &mut beacon, 0).await;
        world
            .go_on(&mut beacon, seconds(heard_for), Report::Listening)
            .await;
        world.later(seconds(120));
        let second = guard.retire(&runner(), fine).await;
        let gone = matches!(second, Retirement::Terminated(_));
        assert_eq!(gone, counts, "{heard_for}: {second:?}");
    }
}

#[tokio::test]
async fn a_job_that_was_queued_after_the_delete_cannot_come_here() {
    let world = World::new();
    let guard = guard(&world, Corroboration::Any);
    world.drain(&guard).await;
    world.is_gone();
    world.later(seconds(90));
    let queued = |at| {
        let mut job = Job::new(8, JobStatus::Queued, None);
        job.changed_at = Some(at);
        Signal::Jobs(JobsView {
            complete: true,
            jobs: vec![job],
        })
    };
    world.jobs.says(queued(world.clock.now() - seconds(89)));
    let before = guard.retire(&runner(), never).await;
    assert!(held(&before).contains(&HoldCode::JobPending), "{before:?}");
    world.later(seconds(2));
    world.jobs.says(queued(world.clock.now() - seconds(30)));
    let done = guard.retire(&runner(), fine).await;
    assert!(matches!(done, Retirement::Terminated(_)), "{done:?}");
}
