//! A runner that is configured while the beacon is there already.

use crate::world::{HoldCode, NAME, Program, URL, World};
use std::{fs, path::Path};

/// Saves another `.runner`, at once.
fn configure(root: &Path, name: &str, id: u64) {
    let settings = format!(r#"{{"agentId":{id},"agentName":"{name}","gitHubUrl":"{URL}"}}"#);
    let unfinished = root.join(".runner.new");
    fs::write(&unfinished, settings).expect("settings");
    fs::rename(unfinished, root.join(".runner")).expect("a .runner");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_a_runner_that_is_not_configured_yet() {
    let world = World::new().await;
    let mut runner = world.runner(NAME);
    let settings = runner.root().join(".runner");
    let away = world.path("settings");
    fs::rename(&settings, &away).expect("settings");
    let mut command = world.beacon_command([runner.root()]);
    let mut beacon = Program::start(command.args(["--wait", "5m"]), &world.path("beacon"));
    let guard = world.guard();
    runner.listen();
    // Nothing shows that it waits: it says nothing, and stays.
    for _ in 0..5 {
        let _ = world.ask(&guard, NAME).await;
        assert_eq!(beacon.ended(), None, "{}", beacon.told());
        assert_eq!(world.beat(NAME).await, None);
    }
    fs::rename(&away, &settings).expect("settings");
    let _ = world.vacant(&guard, NAME).await;
    runner.start();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_configured_anew_is_reported_and_the_old_one_has_gone() {
    let world = World::new().await;
    let (mut runner, _beacon, guard) = world.idle().await;
    let id = world.register("atlas-2");
    configure(runner.root(), "atlas-2", id);
    let anew = world.beat_that("atlas-2", |_| true).await;
    assert_eq!(anew.runner.map(|id| id.0), Some(id));
    let gone = world.beat_that(NAME, |beat| beat.going).await;
    let _ = world.vacant(&guard, "atlas-2").await;

    runner.start();
    world.held_for(&guard, "atlas-2", HoldCode::LeaseLive).await;
    world.held_for(&guard, NAME, HoldCode::BeaconSilent).await;
    assert_eq!(world.beat(NAME).await, Some(gone));

    // The same name under another number is another runner, too.
    runner.finish();
    let id = world.register("atlas-2");
    configure(runner.root(), "atlas-2", id);
    let anew = world
        .beat_that("atlas-2", |beat| beat.runner.is_some_and(|now| now.0 == id))
        .await;
    assert!(!anew.going);
    let _ = world.vacant(&guard, "atlas-2").await;
}
