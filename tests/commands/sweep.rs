//! `sweep`: many runners, a decision a line.

use crate::deployment::{Deployment, Unread};

const REPO: &str = "repo:acme/atlas";

#[tokio::test(flavor = "multi_thread")]
async fn every_runner_gets_its_line_and_a_summary_ends_it() {
    let world = Deployment::of(REPO).await;
    for name in ["idle", "busy", "lied-about"] {
        world.github.register(&world.scope, name);
    }
    for name in ["busy", "lied-about"] {
        world.github.start_job(&world.scope, name, "acme/atlas");
    }
    world
        .github
        .lie_busy(&world.scope, "lied-about", Some(false));
    let runners = world.file(
        "runners.jsonl",
        "{\"name\": \"idle\"}\n\n{\"name\": \"busy\", \"id\": 2}\r\n{\"name\": \"lied-about\"}",
    );
    let ran = world.run(
        "sweep",
        &["--runners", &runners, "--policy", &world.hasty()],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.out);
    assert!(lines[2].starts_with("terminate  idle"), "{}", ran.out);
    for said in [
        "asked about 3: 1 may go, 2 held",
        "GitHub requests",
        "held for busy: 1",
        "held for job_in_progress: 1",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    assert_eq!(ran.err.matches("asks github runners").count(), 1);
    let counted = world.github.request_count();
    assert!(
        ran.err.contains(&format!("{counted} GitHub requests")),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_each_line_stands_beside_busy_only_and_two_lines_sum_up() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "lied-about");
    world
        .github
        .start_job(&world.scope, "lied-about", "acme/atlas");
    world
        .github
        .lie_busy(&world.scope, "lied-about", Some(false));
    let runners = world.file("runners.jsonl", "{\"name\": \"lied-about\"}");
    let ran = world.run("sweep", &["--shadow", "--runners", &runners]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let beside = "in shadow: the guard would hold, busy-only would terminate";
    assert!(ran.out.contains(beside), "{}", ran.out);
    assert!(
        ran.err.contains("spared: ") && ran.err.contains("\ncost: "),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_no_runner_is_told_with_its_number_and_the_others_are_judged() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "idle");
    let lines = [
        &b"{\"name\": \"idle\"}"[..],
        b"nonsense",
        b"{\"name\": \"x\", \"nmae\": 1}",
        b"{\"id\": 7}",
        b"{\"name\": \"\"}",
        b"{\"name\": \"late\", \"launched_at\": \"yesterday\"}",
        b"{\"name\": \"idle\"}",
        b"\xff\xfe",
        b"{\"name\": \"other\"}",
    ];
    let mut command = world.command();
    command
        .args([
            "sweep",
            "--scope",
            REPO,
            "--runners",
            "-",
            "--json",
            "--policy",
            &world.hasty(),
        ])
        .write_stdin(lines.join(&b"\n"[..]));
    let ran = world.ran(&mut command);
    assert_eq!(ran.code, 2, "{}", ran.err);
    let told = ran.json();
    assert_eq!(told.len(), 2, "{}", ran.out);
    assert_eq!(told[0]["runner"]["name"], "other");
    assert_eq!(told[1]["verdict"], "terminate");
    for line in 2..=8 {
        assert!(
            ran.err.contains(&format!("-:{line}: ")),
            "line {line}: {}",
            ran.err
        );
    }
    assert!(
        ran.err.contains("nmae") && ran.err.contains("line 1 already"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_or_a_token_that_is_refused_is_2() {
    let world = Deployment::of(REPO).await;
    let ran = world.run("sweep", &["--runners", "nowhere.jsonl"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("nowhere.jsonl"), "{}", ran.err);
    let empty = world.file("empty.jsonl", "");
    let ran = world.run("sweep", &["--runners", &empty]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("asked about 0"), "{}", ran.err);
    let one = world.file("one.jsonl", "{\"name\": \"r-1\"}");
    let mut command = world.command();
    command.env("GITHUB_TOKEN", "ghp_wrong");
    let ran = world.ran(command.args(["sweep", "--scope", REPO, "--runners", &one]));
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.out.contains("registration_unreadable"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_nobody_reads_does_not_look_like_a_whole_one() {
    let world = Deployment::of(REPO).await;
    let lines: String = (0..100)
        .map(|n| format!("{{\"name\": \"r-{n}\"}}\n"))
        .collect();
    let runners = world.file("runners.jsonl", lines);
    let arguments = ["sweep", "--scope", REPO, "--json", "--runners", &runners];
    assert_eq!(world.unread(&arguments, Unread::Out), 2);
    // What is told on standard error changes nothing.
    assert_eq!(world.unread(&arguments, Unread::Err), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_end_is_one_fault() {
    let world = Deployment::of(REPO).await;
    let mut lines = "x".repeat(3 << 20);
    lines.push_str("\n[\"idle\", null, null, [], null]\n{\"name\": \"idle\"}");
    let runners = world.file("runners.jsonl", lines);
    let ran = world.run("sweep", &["--runners", &runners, "--json"]);
    assert_eq!(ran.code, 2);
    assert_eq!(ran.json().len(), 1);
    assert!(
        ran.err.contains("runners.jsonl:1: longer than"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("runners.jsonl:2: no JSON object"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_may_go_says_until_when() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "idle");
    let runners = world.file("runners.jsonl", "{\"name\": \"idle\"}");
    let hasty = world.hasty();
    let ran = world.run("sweep", &["--runners", &runners, "--policy", &hasty]);
    assert!(
        ran.out.contains("terminate  idle  vacant, until 20"),
        "{}",
        ran.out
    );
    let ran = world.run(
        "sweep",
        &["--runners", &runners, "--policy", &hasty, "--json"],
    );
    assert!(ran.json()[0]["expires_at"].is_string());
}
