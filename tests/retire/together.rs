//! The runners of one machine: all go, or none; and those that somebody else terminates.

use crate::world::{World, assert_draining, held, minutes, registered, seconds};
use async_trait::async_trait;
use scale_in_guard::{
    Basis, Go, Guard, HoldCode, Job, JobStatus, JobsView, Registration, Runner, Signal, Status,
    fence::Deregistration,
    guard::{Retirement, Setback},
    lease::Report,
    registrar::{Deregistered, Registrar},
    runner::{RunnerId, RunnerName, RunnerRef},
    source::Trouble,
};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

fn runners() -> Vec<Runner> {
    let named = |name| Runner::new(name, crate::world::SCOPE).unwrap();
    vec![named("r-1"), named("r-2")]
}

async fn never(_: Vec<Go>) -> Result<(), Infallible> {
    panic!("terminate was called")
}

/// Notes whom it is asked to deregister.
#[derive(Debug, Clone, Default)]
struct Noting(Arc<Mutex<Vec<RunnerName>>>);

impl Noting {
    fn asked(&self) -> Vec<String> {
        let asked = self.0.lock().unwrap();
        asked.iter().map(ToString::to_string).collect()
    }
}

#[async_trait]
impl Registrar for Noting {
    async fn deregister(&self, runner: &Runner, _: RunnerId) -> Result<Deregistered, Trouble> {
        self.0.lock().unwrap().push(runner.name.clone());
        Ok(Deregistered::Removed)
    }
}

async fn look_for_the_window(world: &World, guard: &Guard) {
    for runner in runners() {
        let _ = guard.can_terminate(&runner).await;
    }
    world.later(minutes(5));
}

fn occupied(world: &World, name: &str) {
    let job = Job::new(7, JobStatus::InProgress, Some(RunnerRef::named(name)));
    world.jobs.says(Signal::Jobs(JobsView {
        complete: true,
        jobs: vec![job],
    }));
}

#[tokio::test]
async fn all_of_them_go_and_terminate_is_called_once() {
    let world = World::new();
    let guard = world.guard();
    look_for_the_window(&world, &guard).await;
    assert_draining(&guard.retire_together(&runners(), never).await);
    world.later(seconds(89));
    assert_draining(&guard.retire_together(&runners(), never).await);
    world.later(seconds(1));
    let mut gone = Vec::new();
    let done = guard
        .retire_together(&runners(), async |goes| {
            gone.extend(goes.into_iter().map(|go| go.runner().clone()));
            Ok::<_, Infallible>(())
        })
        .await;
    assert!(
        matches!(done, Retirement::Terminated(Basis::Vacant)),
        "{done:?}"
    );
    assert_eq!(gone, runners());
    let again = guard.retire_together(&runners(), never).await;
    assert!(
        matches!(again, Retirement::Stopped { .. }),
        "no second go: {again:?}"
    );
}

#[tokio::test]
async fn none_is_drained_while_one_of_them_has_a_job() {
    for name in ["r-1", "r-2"] {
        let world = World::new();
        let registrar = Noting::default();
        let guard = world
            .builder()
            .deregister(registrar.clone())
            .build()
            .unwrap();
        look_for_the_window(&world, &guard).await;
        occupied(&world, name);
        let kept = guard.retire_together(&runners(), never).await;
        assert!(held(&kept).contains(&HoldCode::JobInProgress), "{kept:?}");
        assert_eq!(registrar.asked(), [] as [String; 0], "{name}");
    }
}

#[tokio::test]
async fn a_job_that_takes_the_fence_of_one_keeps_them_all() {
    let world = World::new();
    let guard = world.guard();
    let mut beacon = world.beacon();
    beacon.says(Report::Listening).await;
    for _ in 0..24 {
        for runner in runners() {
            let _ = guard.can_terminate(&runner).await;
        }
        world.later(seconds(15));
        beacon.says(Report::Listening).await;
    }
    assert_draining(&guard.retire_together(&runners(), never).await);
    beacon.job_starts().await;
    for _ in 0..8 {
        world.later(seconds(15));
        beacon.says(Report::Worker).await;
        let kept = guard.retire_together(&runners(), never).await;
        assert!(!matches!(kept, Retirement::Terminated(_)), "{kept:?}");
    }
}

#[tokio::test]
async fn nobody_named_is_nobody_cleared() {
    let world = World::new();
    let guard = world.guard();
    let nobody = guard.retire_together(&[], never).await;
    assert!(
        matches!(
            nobody,
            Retirement::Stopped {
                why: Setback::Nobody,
                ..
            }
        ),
        "{nobody:?}"
    );
    let nobody = guard.prepare(&[]).await;
    assert!(
        matches!(
            nobody,
            Err(Retirement::Stopped {
                why: Setback::Nobody,
                ..
            })
        ),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn who_is_prepared_stays_so_and_goes_without_settling_again() {
    let world = World::new();
    let registrar = Noting::default();
    let guard = world
        .builder()
        .deregister(registrar.clone())
        .build()
        .unwrap();
    look_for_the_window(&world, &guard).await;
    assert_draining(&guard.prepare(&runners()).await.unwrap_err());
    assert_eq!(registrar.asked(), ["r-1", "r-2"]);
    world.is_gone();
    world.later(seconds(90));
    for _ in 0..3 {
        guard.prepare(&runners()).await.unwrap();
        world.later(seconds(30));
    }
    occupied(&world, "r-2");
    let kept = guard.prepare(&runners()).await.unwrap_err();
    assert!(
        matches!(kept, Retirement::DeregisteredWhileOccupied { .. }),
        "{kept:?}"
    );
    assert_eq!(registrar.asked().len(), 2);
}

#[tokio::test]
async fn of_runners_that_stay_registered_nobody_can_be_told_that_they_may_go_later() {
    let world = World::new();
    let guard = world.guard();
    look_for_the_window(&world, &guard).await;
    assert_draining(&guard.prepare(&runners()).await.unwrap_err());
    world.later(seconds(90));
    let open = guard.prepare(&runners()).await.unwrap_err();
    assert!(
        matches!(
            open,
            Retirement::Stopped {
                why: Setback::StillRegistered,
                ..
            }
        ),
        "{open:?}"
    );
}

#[tokio::test]
async fn one_that_registers_after_it_was_drained_as_absent_is_deregistered_first() {
    let world = World::new();
    let registrar = Noting::default();
    let guard = world
        .builder()
        .deregister(registrar.clone())
        .build()
        .unwrap();
    let one = &runners()[..1];
    let _ = guard.can_terminate(&one[0]).await;
    world.is_gone();
    for _ in 0..3 {
        world.later(minutes(3));
        let _ = guard.can_terminate(&one[0]).await;
    }
    let drained = guard.retire_together(one, never).await;
    assert!(
        matches!(
            drained,
            Retirement::Draining {
                deregistration: Deregistration::NotWanted,
                ..
            }
        ),
        "{drained:?}"
    );
    world
        .flag
        .says(Signal::Registration(registered(false, Status::Online, 9)));
    let mut last = None;
    for _ in 0..12 {
        world.later(seconds(90));
        let step = guard
            .retire_together(one, async |_| Ok::<_, Infallible>(()))
            .await;
        match &step {
            Retirement::Terminated(_) => panic!("registered, and not deregistered: {last:?}"),
            Retirement::Draining {
                deregistration: Deregistration::Done,
                ..
            } => break,
            _ => last = Some(step),
        }
    }
    assert_eq!(registrar.asked(), ["r-1"], "{last:?}");
    world
        .flag
        .says(Signal::Registration(Registration::absent()));
    world.later(seconds(90));
    let done = guard
        .retire_together(one, async |_| Ok::<_, Infallible>(()))
        .await;
    assert!(matches!(done, Retirement::Terminated(_)), "{done:?}");
}
