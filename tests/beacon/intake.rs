//! A beacon that must not reach the store reports through the intake that `webhook` serves, with a secret of its own.

use crate::world::{HoldCode, NAME, Program, World, eventually, is_taken, program, run};
use scale_in_guard::fence::State;
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The secret of a runner, as whoever launches it gets it.
fn secret_of(scope: &str, name: &str) -> String {
    let mut command = program();
    command
        .env("INTAKE_KEY", KEY)
        .args(["beacon-secret", "--key-env", "INTAKE_KEY"])
        .args(["--scope", scope, "--runner", name]);
    let ran = run(&mut command);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{ran:?}");
    ran.out.trim().to_owned()
}

/// The intake, and where it listens.
async fn intake(world: &World) -> (Program, String) {
    let out = world.path("intake.out");
    let mut command = program();
    command
        .env("INTAKE_KEY", KEY)
        .env("WEBHOOK_SECRET", "s3cret")
        .args(["webhook", "--json", "--listen", "127.0.0.1:0"])
        .args([
            "--secret-env",
            "WEBHOOK_SECRET",
            "--beacon-key-env",
            "INTAKE_KEY",
            "--store",
        ])
        .arg(format!("sqlite:{}", world.database().display()));
    let server = Program::start_into(&mut command, &world.path("intake"), &out);
    let url = eventually("where it listens", async || {
        let told: Value = serde_json::from_str(&fs::read_to_string(&out).ok()?).ok()?;
        Some(format!("http://{}", told["listening"].as_str()?))
    });
    (server, url.await)
}

fn beacon(world: &World, url: &str, secret: &str, root: &Path) -> Command {
    let mut command = program();
    command
        .env("SCALE_IN_GUARD_LOG", "info")
        .env("SCALE_IN_GUARD_BEACON_SECRET", secret)
        .args(["beacon", "--interval", "1s", "--report", url])
        .arg("--policy")
        .arg(world.policy_file())
        .arg("--runner-root")
        .arg(root);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_holds_and_takes_its_fence_through_the_intake() {
    let world = World::new().await;
    let (_server, url) = intake(&world).await;
    let mut runner = world.runner(NAME);
    runner.listen();
    let secret = secret_of("repo:Acme/Atlas", NAME);
    let mut command = beacon(&world, &url, &secret, runner.root());
    let beacon = Program::start(&mut command, &world.path("beacon"));
    let guard = world.guard();
    drop(world.vacant(&guard, NAME).await);
    runner.start();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    let fence = world.fence_that(NAME, is_taken).await;
    assert!(matches!(fence.state(), State::Taken { .. }));
    runner.finish();
    drop(world.vacant(&guard, NAME).await);
    let (code, told) = beacon.terminate().await;
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains(&secret), "{told}");
    world.beat_that(NAME, |beat| beat.going).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_another_runners_secret_nothing_is_reported() {
    let world = World::new().await;
    let (_server, url) = intake(&world).await;
    let mut runner = world.runner(NAME);
    runner.listen();
    for (scope, name) in [("repo:acme/atlas", "atlas-2"), ("repo:acme/web", NAME)] {
        let secret = secret_of(scope, name);
        let mut command = beacon(&world, &url, &secret, runner.root());
        let beacon = Program::start(&mut command, &world.path("beacon"));
        beacon.tells("401").await;
        assert_eq!(world.beat(NAME).await, None);
        assert!(!beacon.told().contains(&secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intake_that_is_away_is_tried_again_and_a_wrong_setting_is_2() {
    let world = World::new().await;
    let runner = world.runner(NAME);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let secret = secret_of("repo:acme/atlas", NAME);
    let mut command = beacon(&world, &nobody, &secret, runner.root());
    let mut away = Program::start(&mut command, &world.path("beacon"));
    away.tells("not reported").await;
    assert!(away.ended().is_none());
    for (url, secret, said) in [
        ("http://guard.example.com", &*secret, "use https"),
        ("guard.example.com", &secret, "https://HOST"),
        (&nobody, "", "beacon-secret"),
        (&nobody, "r-1=a\nb", "NAME=SECRET"),
    ] {
        let mut command = beacon(&world, url, secret, runner.root());
        let ran = run(command.stdout(Stdio::piped()));
        assert_eq!(ran.code, Some(2), "{url}: {ran:?}");
        assert!(ran.err.contains(said), "{url}: {ran:?}");
    }
}
