//! `retire` and `release`: the whole way, from the command line.

use crate::deployment::{Deployment, Ran, Unread};
use std::fs;

const REPO: &str = "repo:acme/atlas";

/// A policy under which a vacant runner may go at once, and settles within moments.
fn hasty(world: &Deployment) -> String {
    world.file(
        "hasty.toml",
        "grace = \"0s\"\nmin_age = \"0s\"\njob_pending = \"0s\"\nbeacon_ttl = \"1ms\"\nsettle = \"2ms\"\nlease_ttl = \"1m\"\n",
    )
}

fn retire(world: &Deployment, options: &[&str], command: &[&str]) -> Ran {
    let policy = hasty(world);
    let common = ["--runner", "r-1", "--policy", &policy];
    world.run("retire", &[&common, options, &["--"], command].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_runs_once_with_a_go_and_is_told_for_whom() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let gone = world.path("gone").display().to_string();
    let script = format!(
        "echo \"$SCALE_IN_GUARD_RUNNER $SCALE_IN_GUARD_SCOPE $SCALE_IN_GUARD_BASIS $SCALE_IN_GUARD_FENCED\" >> {gone}"
    );
    let command = ["/bin/sh", "-c", &script];
    let drained = retire(&world, &["--deregister"], &command);
    assert_eq!(drained.code, 3, "{}{}", drained.out, drained.err);
    assert!(
        drained.out.starts_with("draining, deregistered"),
        "{}",
        drained.out
    );
    assert!(!fs::exists(&gone).unwrap());
    let mut deletes = world.github.requests().into_iter();
    assert!(deletes.any(|request| request.method == "DELETE"));
    let done = retire(&world, &["--deregister", "--wait"], &command);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    assert_eq!(done.out, "terminated: vacant\n");
    assert_eq!(
        fs::read_to_string(&gone).unwrap(),
        "r-1 repo:acme/atlas vacant false\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_with_a_job_is_held_and_the_command_never_runs() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    let held = retire(&world, &["--deregister", "--wait"], &["/bin/false"]);
    assert_eq!(held.code, 1, "{}{}", held.out, held.err);
    assert!(held.out.contains("job_in_progress"), "{}", held.out);
    let json = retire(&world, &["--json"], &["/bin/false"]).json();
    assert_eq!(json[0]["retirement"], "held");
    assert_eq!(json[0]["decision"]["verdict"], "hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_one_line_a_step_whatever_the_command_prints() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let done = retire(&world, &["--wait", "--json"], &["/bin/echo", "noise"]);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    let steps = done.json();
    assert_eq!(steps[0]["retirement"], "draining");
    assert_eq!(steps[0]["deregistration"], "not_wanted");
    assert!(steps[0]["retry_at"].is_string());
    assert_eq!(steps.last().unwrap()["retirement"], "terminated");
    assert_eq!(steps.last().unwrap()["basis"], "vacant");
    assert!(done.err.contains("noise"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_or_is_not_there_is_4_and_needs_a_new_decision() {
    for command in ["/bin/false", "/no/such/command"] {
        let world = Deployment::of(REPO).await;
        world.github.register(&world.scope, "r-1");
        let failed = retire(&world, &["--wait"], &[command]);
        assert_eq!(failed.code, 4, "{}{}", failed.out, failed.err);
        assert!(
            failed.out.contains(&format!("terminate failed: {command}")),
            "{}",
            failed.out
        );
        let next = retire(&world, &[], &["/bin/true"]);
        assert_eq!(next.code, 3, "{}{}", next.out, next.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_between_the_go_and_the_command() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let done = retire(&world, &["--wait"], &["/bin/sh", "-c", "echo noise >&2"]);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    let at = |said: &str| done.err.find(said).unwrap();
    assert!(at("noise") < at("no live beacon"), "{}", done.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_was_done_also_where_nobody_reads_it() {
    let world = Deployment::of(REPO).await;
    let policy = hasty(&world);
    for (runner, unread) in [("r-1", Unread::Out), ("r-2", Unread::Err)] {
        world.github.register(&world.scope, runner);
        let arguments = [
            "retire",
            "--scope",
            REPO,
            "--runner",
            runner,
            "--policy",
            &policy,
            "--wait",
            "--",
            "/bin/true",
        ];
        assert_eq!(world.unread(&arguments, unread), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_and_a_refused_token_are_2() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let no_command = world.run("retire", &["--runner", "r-1"]);
    assert_eq!(no_command.code, 2);
    assert!(no_command.err.contains("COMMAND"), "{}", no_command.err);
    let mut wrong = world.command();
    wrong.env("GITHUB_TOKEN", "wrong").args([
        "retire",
        "--scope",
        REPO,
        "--runner",
        "r-1",
        "--",
        "/bin/true",
    ]);
    assert_eq!(world.ran(&mut wrong).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_written_down_and_ends_a_drain() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let drained = retire(&world, &[], &["/bin/true"]);
    assert_eq!(drained.code, 3, "{}{}", drained.out, drained.err);
    let outstanding = world.run("check", &["--runner", "r-1", "--policy", &hasty(&world)]);
    assert_eq!(outstanding.code, 1);
    assert!(
        outstanding.out.contains("permit_outstanding"),
        "{}",
        outstanding.out
    );
    let release = |note: &str, more: &[&str]| {
        world.run(
            "release",
            &[&["r-1", "--note", note, "--by", "ops"], more].concat(),
        )
    };
    let released = release("host is gone", &[]);
    assert_eq!(released.code, 0, "{}", released.err);
    assert!(
        released.out.contains("by ops: host is gone"),
        "{}",
        released.out
    );
    let freed = world.run("check", &["--runner", "r-1", "--policy", &hasty(&world)]);
    assert_eq!(freed.code, 0, "{}{}", freed.out, freed.err);
    let again = release("again", &["--json"]).json();
    assert_eq!(again.len(), 2);
    assert_eq!(
        (&again[0]["note"], &again[1]["by"]),
        (&"host is gone".into(), &"ops".into())
    );
    for note in ["", "  ", "two\nlines"] {
        let silent = world.run("release", &["r-1", "--note", note]);
        assert_eq!(silent.code, 2, "{}", silent.err);
    }
    let typo = world.run("release", &["r-l", "--note", "typo"]);
    assert!(
        typo.err.contains("nothing was known of r-l"),
        "{}",
        typo.err
    );
}
