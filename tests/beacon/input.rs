//! What the beacon makes of folders, settings and logs that are of no use.

use crate::{
    stand_in::StandIn,
    world::{HoldCode, NAME, Program, URL, World, program, run},
};
use scale_in_guard::{Decision, clock::SystemClock, evidence::Claim};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A page that no runner wrote, later than any other.
fn unknown_page(root: &Path) -> PathBuf {
    fs::create_dir_all(root.join("_diag")).expect("a folder for logs");
    let page = root.join("_diag/Runner_20991231-000000-utc.log");
    fs::write(&page, "{\"level\":\"info\"}\n".repeat(30)).expect("a page");
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_no_use_at_the_start_is_2_and_says_what_to_do() {
    let world = World::new().await;
    let runner = |name: &str, url| StandIn::install(&world.path(name), name, url, 7);
    let written = |name: &str, settings: &str| {
        let runner = runner(name, Some(URL));
        fs::write(runner.root().join(".runner"), settings).expect("settings");
    };
    fs::create_dir(world.path("empty")).expect("a folder");
    fs::write(world.path("file"), "").expect("a file");
    written("unparsable", "{\"agentId\":");
    written("nameless", "{\"agentId\":7}");
    written(
        "elsewhere",
        r#"{"agentName":"a","gitHubUrl":"https://github.com"}"#,
    );
    runner("fresh", Some(URL));
    fs::remove_file(world.path("fresh/.runner")).expect("no settings");
    runner("known", Some(URL));
    runner("no-url", None);
    StandIn::install_jit(&world.path("jit"), "jit", 7);
    unknown_page(runner("strange", Some(URL)).root());
    for (name, options, said) in [
        ("nowhere", &[][..], "give the folder that holds run.sh"),
        ("file", &[], "give the folder that holds run.sh"),
        (
            "empty",
            &[],
            "give the folder into which the runner was unpacked",
        ),
        ("fresh", &[], "run config.sh"),
        ("fresh", &["--wait", "500ms"], "run config.sh"),
        ("unparsable", &[], "configure the runner anew"),
        ("nameless", &[], "has no agentName"),
        ("elsewhere", &[], "leads to no repository"),
        ("no-url", &[], "give --scope"),
        ("jit", &[], "give --scope"),
        ("known", &["--scope", "org:acme"], "leave --scope out"),
        ("strange", &[], "unknown version"),
        (
            "known",
            &["--runner-root", "."],
            "give the folder into which the runner was unpacked",
        ),
        ("known", &["--interval", "2s"], "take a quarter of it"),
        (
            "known",
            &["--interval", "500ms"],
            "once a second is the most",
        ),
        ("known", &["--interval", "soon"], "15s or 2m"),
    ] {
        let path = world.path(name);
        let mut command = world.beacon_command([&*path]);
        if options.contains(&"--interval") {
            // The one that is given already would be in the way.
            command = program();
            command.args(["beacon", "--store", "sqlite:/dev/null/none"]);
            let policy = world.path("policy.toml");
            command
                .arg("--runner-root")
                .arg(&path)
                .arg("--policy")
                .arg(policy);
        }
        command.current_dir(world.path("empty"));
        let ran = run(command.args(options));
        assert_eq!(ran.code, Some(2), "{name} {options:?}: {ran:?}");
        assert!(ran.err.contains(said), "{name} {options:?}: {ran:?}");
    }
    let mut twice = world.beacon_command([&*world.path("known"), &*world.path("known/.")]);
    let ran = run(&mut twice);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("name each runner once"), "{ran:?}");
    assert!(!world.database().exists(), "nothing was reported");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_just_in_time_runner_is_of_the_scope_that_is_given() {
    let world = World::new().await;
    let id = world.register(NAME);
    let mut runner = StandIn::install_jit(&world.path(NAME), NAME, id);
    runner.listen();
    let mut command = world.beacon_command([runner.root()]);
    command.args(["--scope", "repo:Acme/Atlas"]);
    let _beacon = Program::start(&mut command, &world.path("beacon"));
    let guard = world.guard();
    let _ = world.vacant(&guard, NAME).await;
    runner.start();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
}

/// Whatever blinds it, it says so, and nobody takes it for vacant.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_becomes_of_no_use_is_never_vacant() {
    let world = World::with([("corroboration", "lease")], SystemClock).await;
    let (mut runner, mut beacon, guard) = world.idle().await;
    let diag = runner.root().join("_diag");
    let away = world.path("diag");

    let page = unknown_page(runner.root());
    assert_blind(&world, &guard, "unknown version").await;
    fs::remove_file(page).expect("no page");
    let _ = world.vacant(&guard, NAME).await;

    fs::rename(&diag, &away).expect("no log");
    assert_blind(&world, &guard, "there is no log folder").await;
    fs::create_dir(&diag).expect("an empty folder");
    assert_blind(&world, &guard, "there is no Runner_").await;
    fs::remove_dir(&diag).expect("no folder");
    fs::rename(&away, &diag).expect("the log");
    let _ = world.vacant(&guard, NAME).await;

    // A job of which it knew holds, and so does its worker, which it still sees.
    runner.start();
    world.held_for(&guard, NAME, HoldCode::LeaseLive).await;
    fs::rename(&diag, &away).expect("no log");
    assert_blind(&world, &guard, "there is no log folder").await;
    world
        .stays_held_for(&guard, NAME, HoldCode::LeaseLive)
        .await;
    fs::rename(&away, &diag).expect("the log");
    runner.finish();
    let _ = world.vacant(&guard, NAME).await;

    // The whole runner is gone.
    runner.exit();
    fs::remove_dir_all(runner.root()).expect("no runner");
    assert_blind(&world, &guard, "there is no log folder").await;
    assert_eq!(beacon.ended(), None);
}

async fn assert_blind(world: &World, guard: &scale_in_guard::Guard, why: &str) {
    let is_blind = |beat: &scale_in_guard::beat::Beat| {
        let blind = beat.heartbeat.blind.as_deref();
        blind.is_some_and(|said| said.contains(why))
    };
    world.beat_that(NAME, is_blind).await;
    for _ in 0..3 {
        let decision = world.ask(guard, NAME).await;
        assert_ne!(decision.assessment().claims.lease, Claim::Vacant);
        assert!(matches!(decision, Decision::Hold(_)), "{decision:?}");
    }
}
