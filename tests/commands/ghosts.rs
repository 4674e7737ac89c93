//! `ghosts`: registrations that no instance stands behind.

use crate::deployment::{Deployment, Unread};
use scale_in_guard::testing::fake_github::{Fault, FaultOn, NewRunner};

async fn haunted_by(names: &[&str]) -> Deployment {
    let world = Deployment::of("org:acme").await;
    for name in names {
        let runner = NewRunner::named(name).never_connected();
        world.github.register_with(&world.scope, runner);
    }
    let first = world.run("ghosts", &["--remove"]);
    assert_eq!(first.code, 0, "{}", first.err);
    world.github.clear_requests();
    world
}

/// A policy under which a ghost may go at the second look.
fn hasty(world: &Deployment) -> String {
    world.file("ghosts.toml", "registration_deadline = \"1ms\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_listed_and_removed_only_when_that_is_asked_for() {
    let world = haunted_by(&["r-1", "r-2"]).await;
    world.github.register(&world.scope, "alive");
    let young = world.run("ghosts", &["--remove"]);
    assert_eq!(young.code, 0, "{}", young.err);
    assert_eq!(young.out.lines().count(), 2, "{}", young.out);
    assert!(
        young.out.starts_with("waits      r-1  1  seen since 20"),
        "{}",
        young.out
    );
    assert!(
        young.err.contains("2 never connected: 2 waits"),
        "{}",
        young.err
    );
    let hasty = hasty(&world);
    let listed = world.run("ghosts", &["--policy", &hasty, "--json"]).json();
    assert_eq!(listed[0]["ghost"], "removable");
    assert_eq!(listed[0]["name"], "r-1");
    let runners = world.file("runners.jsonl", "{\"name\": \"R-2\"}");
    let arguments = ["--policy", &hasty, "--remove", "--runners", &runners];
    let removed = world.run("ghosts", &arguments);
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert!(
        removed.out.starts_with("removed    r-1  1"),
        "{}",
        removed.out
    );
    assert!(
        removed.out.contains("you have an instance"),
        "{}",
        removed.out
    );
    let left = world
        .run("ghosts", &[&arguments[..], &["--json"]].concat())
        .json();
    assert_eq!(left.len(), 1);
    assert_eq!(
        (&left[0]["ghost"], &left[0]["kept"]),
        (&"kept".into(), &"named".into())
    );
    assert!(left[0]["removable_at"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_no_runner_keeps_them_all() {
    let world = haunted_by(&["r-1"]).await;
    let hasty = hasty(&world);
    let runners = world.file("runners.jsonl", "{\"nmae\": \"r-1\"}");
    let arguments = ["--policy", &hasty, "--remove", "--runners", &runners];
    let ran = world.run("ghosts", &arguments);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("nmae"), "{}", ran.err);
    assert!(ran.out.starts_with("removable  r-1"), "{}", ran.out);
    assert_eq!(
        world.github.request_count(),
        1,
        "it was listed, and no more"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_done_is_told_by_the_exit_status() {
    let delete = || FaultOn::path("/actions/runners/").method("DELETE");
    for (on, fault, code, said) in [
        (delete(), Fault::status(502), 1, "failed"),
        (delete(), Fault::status(422), 1, "refused"),
        (
            delete(),
            Fault::lacks_permission("x=write"),
            2,
            "self_hosted_runners:write",
        ),
        (FaultOn::any(), Fault::status(401), 2, "401"),
        (FaultOn::any(), Fault::slow_down(60), 1, "ask again at"),
    ] {
        let world = haunted_by(&["r-1", "r-2"]).await;
        world.github.fail(on, fault, None);
        let ran = world.run("ghosts", &["--remove", "--policy", &hasty(&world)]);
        assert_eq!(ran.code, code, "{said}: {}{}", ran.out, ran.err);
        let told = format!("{}{}", ran.out, ran.err);
        assert!(told.contains(said), "{told}");
    }
    let world = haunted_by(&["r-1"]).await;
    for (arguments, said) in [
        (["--store", "postgres://x"], "sqlite:PATH"),
        (["--policy", "nowhere.toml"], "nowhere.toml"),
        (["--runners", "nowhere.jsonl"], "nowhere.jsonl"),
    ] {
        let ran = world.run("ghosts", &arguments);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
    assert_eq!(world.github.request_count(), 0);
    assert_eq!(
        world.unread(&["ghosts", "--scope", "org:acme"], Unread::Out),
        2
    );
    let help = world.ran(world.command().args(["ghosts", "--help"]));
    for said in ["Exit status:", "GITHUB_TOKEN", "Example", "--runners"] {
        assert!(help.out.contains(said), "{said}: {}", help.out);
    }
}
