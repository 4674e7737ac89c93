//! From the first look to terminate, where nothing is in the way; and what a caller that is gone leaves.

use crate::world::{
    World, assert_draining, codes, fine, held, minutes, never, runner, seconds, start,
};
use scale_in_guard::{
    Basis, Decision, HoldCode, Verdict,
    clock::Clock,
    fence::{Deregistration, FenceRefused},
    guard::{Retirement, Setback},
    permit::Refused,
};

#[tokio::test]
async fn a_vacant_runner_goes_in_three_calls() {
    let world = World::new();
    let guard = world.guard();
    let first = guard.retire(&runner(), never).await;
    assert_eq!(held(&first), [HoldCode::GraceWindow, HoldCode::TooYoung]);
    assert_eq!(first.retry_at(), Some(start() + minutes(5)));
    world.later(minutes(5));
    let drained = guard.retire(&runner(), never).await;
    let resume_at = world.clock.now() + seconds(90);
    assert!(
        matches!(drained, Retirement::Draining { resume_at: at, deregistration: Deregistration::NotWanted } if at == resume_at),
        "{drained:?}"
    );
    assert_eq!(drained.retry_at(), Some(resume_at));
    world.later(seconds(89));
    let early = guard.retire(&runner(), never).await;
    assert!(
        matches!(early, Retirement::Draining { resume_at: at, .. } if at == resume_at),
        "{early:?}"
    );
    world.later(seconds(1));
    let mut gone = Vec::new();
    let done = guard
        .retire(&runner(), async |go| {
            gone.push((go.runner().clone(), go.basis(), go.fenced()));
            Ok::<_, ()>(())
        })
        .await;
    assert!(
        matches!(done, Retirement::Terminated(Basis::Vacant)),
        "{done:?}"
    );
    assert_eq!(gone, [(runner(), Basis::Vacant, false)]);
    assert_eq!(done.retry_at(), None);
}

#[tokio::test]
async fn any_guard_on_the_store_goes_on_where_the_last_one_stopped() {
    let world = World::new();
    world.drain(&world.guard()).await;
    world.later(seconds(90));
    let done = world.guard().retire(&runner(), fine).await;
    assert!(matches!(done, Retirement::Terminated(_)), "{done:?}");
}

#[tokio::test]
async fn who_meets_a_drain_holds_until_it_lapses_and_vacancy_counts_anew() {
    let world = World::new();
    let guard = world.guard();
    world.drain(&guard).await;
    let drained_at = world.clock.now();
    for _ in 0..3 {
        world.later(minutes(3));
        let met = world.guard().can_terminate(&runner()).await;
        assert_eq!(codes(&met), [HoldCode::PermitOutstanding]);
        assert_eq!(met.retry_at(), Some(drained_at + minutes(10)));
    }
    world.later(minutes(1));
    let lapsed = guard.can_terminate(&runner()).await;
    assert_eq!(codes(&lapsed), [HoldCode::GraceWindow]);
    assert_eq!(lapsed.retry_at(), Some(world.clock.now() + minutes(5)));
    world.later(minutes(5));
    let anew = guard.can_terminate(&runner()).await;
    assert_eq!(anew.verdict(), Verdict::Terminate);
    // And from there the whole way, by a drain of its own.
    let again = guard.retire(&runner(), never).await;
    assert_draining(&again);
    world.later(seconds(90));
    let done = guard.retire(&runner(), fine).await;
    assert!(matches!(done, Retirement::Terminated(_)), "{done:?}");
}

#[tokio::test]
async fn a_go_of_which_nothing_was_heard_lapses_and_the_runner_is_reclaimed_by_a_new_decision() {
    let world = World::new();
    let guard = world.guard();
    world.drain(&guard).await;
    world.later(seconds(90));
    // The caller dies between the go and the cloud's answer.
    let runner = runner();
    let (calls, called) = tokio::sync::oneshot::channel();
    let call = guard.retire(&runner, async |_go| {
        calls.send(()).unwrap();
        std::future::pending::<Result<(), ()>>().await
    });
    tokio::select! {
        done = call => panic!("{done:?}"),
        called = called => called.unwrap(),
    }
    let other = world.guard();
    let met = other.retire(&runner, never).await;
    let lapses_at = world.clock.now() + seconds(11 + 60);
    assert!(
        matches!(&met, Retirement::Stopped { why: Setback::Refused(Refused::Fence(FenceRefused::Outstanding { .. })), retry_at } if *retry_at == Some(lapses_at)),
        "{met:?}"
    );
    world.later(seconds(70));
    let still = other.can_terminate(&runner).await;
    assert_eq!(codes(&still), [HoldCode::PermitOutstanding]);
    world.later(seconds(1));
    assert_eq!(
        held(&other.retire(&runner, never).await),
        [HoldCode::GraceWindow]
    );
    world.later(minutes(5));
    let anew = other.retire(&runner, never).await;
    assert_draining(&anew);
    world.later(seconds(90));
    let done = other.retire(&runner, fine).await;
    assert!(matches!(done, Retirement::Terminated(_)), "{done:?}");
}

#[tokio::test]
async fn a_terminate_that_fails_needs_a_new_decision() {
    let world = World::new();
    let guard = world.guard();
    world.drain(&guard).await;
    world.later(seconds(90));
    let failed = guard.retire(&runner(), async |_| Err("throttled")).await;
    assert!(
        matches!(failed, Retirement::Failed("throttled")),
        "{failed:?}"
    );
    let next = guard.retire(&runner(), never).await;
    assert_draining(&next);
}

#[tokio::test]
async fn shadow_mode_holds_and_drains_nobody() {
    let world = World::new();
    let shadow = world.builder().shadow().build().unwrap();
    world.pass_the_window(&shadow).await;
    let held = held(&shadow.retire(&runner(), never).await);
    assert_eq!(held, [HoldCode::ShadowMode]);
    let live = world.guard().can_terminate(&runner()).await;
    assert_eq!(live.verdict(), Verdict::Terminate);
}

#[tokio::test]
async fn a_second_look_that_cannot_tell_keeps_the_drain() {
    let world = World::new();
    let guard = world.guard();
    world.drain(&guard).await;
    world.later(seconds(90));
    world.jobs.fails("502 Bad Gateway");
    let unheard = guard.retire(&runner(), never).await;
    assert!(held(&unheard).contains(&HoldCode::JobsUnreadable));
    world
        .jobs
        .says(scale_in_guard::Signal::Jobs(crate::world::no_jobs()));
    let done = guard.retire(&runner(), fine).await;
    assert!(matches!(done, Retirement::Terminated(_)), "{done:?}");
}

#[tokio::test]
async fn a_second_look_that_finds_a_job_gives_the_runner_back() {
    let world = World::new();
    let guard = world.guard();
    world.drain(&guard).await;
    world.later(seconds(90));
    world
        .jobs
        .says(scale_in_guard::Signal::Jobs(crate::world::a_job()));
    let occupied = guard.retire(&runner(), never).await;
    assert!(held(&occupied).contains(&HoldCode::JobInProgress));
    let Decision::Hold(hold) = guard.can_terminate(&runner()).await else {
        panic!("it has a job")
    };
    let outstanding = |code| code == HoldCode::PermitOutstanding;
    assert!(!hold.reasons().any(|reason| outstanding(reason.code())));
}

#[tokio::test]
async fn whoever_asks_about_a_runner_that_was_just_terminated_gets_no_second_go() {
    let world = World::new();
    let guard = world.guard();
    world.drain(&guard).await;
    world.later(seconds(90));
    let done = guard.retire(&runner(), fine).await;
    assert!(matches!(done, Retirement::Terminated(_)), "{done:?}");
    // Its list is a moment old, and GitHub shows the runner still: registered, online and idle.
    let late = world.guard();
    for age in [0, 70] {
        let met = late.can_terminate(&runner()).await;
        assert_eq!(codes(&met), [HoldCode::PermitOutstanding], "{age}");
        world.later(seconds(70));
    }
    // A runner that outlives it is not held for ever.
    let lapsed = late.can_terminate(&runner()).await;
    assert_eq!(codes(&lapsed), [HoldCode::GraceWindow]);
}
