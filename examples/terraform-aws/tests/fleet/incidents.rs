//! The two incidents in which a runner was terminated in the middle of its job: here it is not, and goes afterwards.

use crate::world::{REPO, World};

/// `busy: true` turns into `busy: false` while the second of two jobs runs.
#[tokio::test]
async fn a_flag_that_goes_stale_in_the_middle_of_a_job_terminates_nobody() {
    let Some(world) = World::new().await else {
        return;
    };
    let (function, one) = (world.function().await, world.one(REPO, &[]).await);
    let first = world.start_job(&one);
    world.round(&function).await;
    world.github.finish_job(first);
    let second = world.start_job(&one);
    world.round(&function).await;
    let told = function.last(&one.id).unwrap();
    assert!(
        told["codes"].as_array().unwrap().contains(&"busy".into()),
        "{told}"
    );
    world.github.lie_busy(&one.scope, &one.name, Some(false));
    world.stays(&function, &one).await;
    assert!(
        world.github.is_registered(&one.scope, &one.name),
        "nobody deregistered it"
    );
    let told = function.last(&one.id).unwrap();
    assert!(
        told["codes"]
            .as_array()
            .unwrap()
            .contains(&"job_in_progress".into()),
        "{told}"
    );
    world.github.finish_job(second);
    world.until_gone(&function, &[&one]).await;
}

/// The flag never says busy for the second of two jobs.
#[tokio::test]
async fn a_job_that_the_flag_never_shows_terminates_nobody() {
    let Some(world) = World::new().await else {
        return;
    };
    let (function, one) = (world.function().await, world.one(REPO, &[]).await);
    let first = world.start_job(&one);
    world.round(&function).await;
    world.github.finish_job(first);
    let second = world.start_unflagged_job(&one);
    world.stays(&function, &one).await;
    assert!(
        world.github.is_registered(&one.scope, &one.name),
        "nobody deregistered it"
    );
    world.github.finish_job(second);
    world.until_gone(&function, &[&one]).await;
}
