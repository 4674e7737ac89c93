//! The ways in which the module's own scale-down terminates a runner that has a job. None of them does here, and each
//! of the instances goes once its job is over.

use crate::world::{ORG, REPO, World};
use serde_json::Value;

/// The module asks for the flag, deletes the registration, and terminates: GitHub accepts the DELETE of a runner whose
/// flag is wrong.
#[tokio::test]
async fn a_stale_flag_and_a_delete_that_is_accepted_are_not_enough() {
    let Some(world) = World::new().await else {
        return;
    };
    let (function, one) = (world.function().await, world.one(REPO, &[]).await);
    // GitHub shows the job nowhere, until the runner is deregistered.
    let job = world.start_unflagged_job(&one);
    world.github.hide_job(job, true);
    let deregistered = async |_: &Value| {
        let is_registered = world.github.is_registered(&one.scope, &one.name);
        (!is_registered).then_some(())
    };
    world
        .until(&function, "it is deregistered", deregistered)
        .await;
    world.github.hide_job(job, false);
    let told = async |summary: &Value| {
        assert!(world.runs(&one).await, "{summary}");
        let told = function.last(&one.id)?;
        let codes = told["codes"].as_array()?.clone();
        codes
            .contains(&"deregistered_while_occupied".into())
            .then_some(told)
    };
    let told = world.until(&function, "it is told", told).await;
    assert_eq!(told["level"], "ERROR", "{told}");
    world.stays(&function, &one).await;
    world.github.finish_job(job);
    world.until_gone(&function, &[&one]).await;
}

/// The module reads 404 as "not busy".
#[tokio::test]
async fn a_runner_that_github_does_not_find_by_its_number_is_not_vacant() {
    let Some(world) = World::new().await else {
        return;
    };
    let (function, one) = (world.function().await, world.one(REPO, &[]).await);
    let job = world.start_unflagged_job(&one);
    world.round(&function).await;
    world.github.hide_by_id(&one.scope, &one.name, true);
    world.stays(&function, &one).await;
    world.github.finish_job(job);
    world.stays(&function, &one).await;
    world.github.hide_by_id(&one.scope, &one.name, false);
    world.until_gone(&function, &[&one]).await;
}

/// The module marks what its listing lacks, and terminates it the next time, without a question where no tag tells a
/// number.
#[tokio::test]
async fn a_runner_that_a_listing_lacks_twice_and_no_tag_numbers_is_no_orphan() {
    let Some(world) = World::new().await else {
        return;
    };
    for was_seen in [true, false] {
        let (function, one) = (world.function().await, world.one(ORG, &[]).await);
        if was_seen {
            world.round(&function).await;
        }
        let job = world.start_unflagged_job(&one);
        world.github.omit_from_listing(&one.scope, &one.name, true);
        world.stays(&function, &one).await;
        world.github.omit_from_listing(&one.scope, &one.name, false);
        world.github.finish_job(job);
        world.until_gone(&function, &[&one]).await;
    }
}

/// The module terminates what is marked, offline and busy: a runner that is cut off in the middle of its job is exactly
/// that.
#[tokio::test]
async fn a_mark_and_a_runner_that_is_offline_and_busy_are_not_enough() {
    let Some(world) = World::new().await else {
        return;
    };
    let one = world.one(REPO, &[("ghr:orphan", "true")]).await;
    let function = world.function().await;
    let job = world.start_job(&one);
    world.github.set_status(&one.scope, &one.name, "offline");
    // 15 minutes offline make a runner lost, if it has no job.
    for _ in 0..3 {
        world.stays(&function, &one).await;
    }
    world.github.finish_job(job);
    world.github.set_status(&one.scope, &one.name, "online");
    world.until_gone(&function, &[&one]).await;
}

/// Nobody looks at the mark: an instance that bears it and is idle goes as any other, and one without it, too.
#[tokio::test]
async fn a_mark_alone_says_nothing() {
    let Some(world) = World::new().await else {
        return;
    };
    let marked = world.one(REPO, &[("ghr:orphan", "true")]).await;
    let phantom = world.phantoms(1, REPO).await;
    let function = world.function().await;
    world.until_gone(&function, &[&marked, &phantom[0]]).await;
    let changes = world.ec2.changes();
    let others = changes
        .iter()
        .filter(|change| !change.starts_with("TerminateInstances"));
    assert_eq!(others.count(), 0, "no tag is written: {changes:?}");
}
