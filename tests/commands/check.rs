//! `check`: one runner, one answer, one exit code.

use crate::deployment::{Deployment, Unread};

const REPO: &str = "repo:acme/atlas";

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_may_go_is_0_and_one_that_must_stay_is_1() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let patient = world.run("check", &["--runner", "r-1"]);
    assert_eq!(patient.code, 1, "{}", patient.err);
    assert!(patient.out.starts_with("HOLD r-1"), "{}", patient.out);
    assert!(patient.out.contains("grace_window"), "{}", patient.out);
    let hasty = world.run("check", &["--runner", "r-1", "--policy", &world.hasty()]);
    assert_eq!(hasty.code, 0, "{}{}", hasty.out, hasty.err);
    assert!(hasty.out.starts_with("TERMINATE r-1"), "{}", hasty.out);
    world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    let lied_to = world.run("check", &["--runner", "r-1", "--policy", &world.hasty()]);
    assert_eq!(lied_to.code, 1);
    assert!(lied_to.out.contains("job_in_progress"), "{}", lied_to.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_goes_on_between_calls_in_the_users_state_folder() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let vacant_since = |arguments: &[&str]| {
        let ran = world.run(
            "check",
            &[&["--runner", "r-1", "--json"], arguments].concat(),
        );
        (
            ran.json()[0]["vacant_since"].as_str().unwrap().to_owned(),
            ran.err,
        )
    };
    let (first, told) = vacant_since(&[]);
    assert!(told.contains("memory.sqlite is new"), "{told}");
    let (second, told) = vacant_since(&[]);
    assert_eq!(first, second, "the window goes on");
    assert!(!told.contains("is new"), "{told}");
    assert!(world.path("state/scale-in-guard/memory.sqlite").exists());
    let (elsewhere, _) = vacant_since(&["--store", "memory"]);
    assert_ne!(first, elsewhere);
    let own = format!("sqlite:{}", world.path("own/deep/file.db").display());
    let (elsewhere, _) = vacant_since(&["--store", &own]);
    assert_ne!(first, elsewhere);
    assert_eq!(vacant_since(&["--store", &own]).0, elsewhere);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_memory_holds_starts_anew_and_says_so() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let file = world.file(
        "memory.db",
        "this is no database, and never was one".repeat(400),
    );
    let store = format!("sqlite:{file}");
    let arguments = [
        "--runner",
        "r-1",
        "--store",
        &store,
        "--policy",
        &world.hasty(),
    ];
    let ran = world.run("check", &arguments);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("memory_unreadable"), "{}", ran.out);
    assert!(ran.out.contains("begun anew"), "{}", ran.out);
    let ran = world.run("check", &arguments);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_one_line_and_the_coverage_stands_apart() {
    let world = Deployment::of("org:acme").await;
    world.github.register(&world.scope, "r-1");
    let ran = world.run("check", &["--runner", "r-1", "--json"]);
    let told = ran.json();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["verdict"], "hold");
    assert_eq!(told[0]["runner"]["name"], "r-1");
    assert_eq!(ran.err.matches("org:acme: asks").count(), 1, "{}", ran.err);
    assert!(
        ran.err.contains("on whose host a beacon is alive"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_needs_all_its_repositories_by_name() {
    let world = Deployment::of("org:acme").await;
    world.github.register(&world.scope, "r-1");
    world.github.add_repository("acme/atlas");
    world.github.add_repository("acme/web");
    let hasty = world.hasty();
    let check = |more: &[&str]| {
        let arguments = [
            &["--runner", "r-1", "--policy", &hasty, "--store", "memory"],
            more,
        ]
        .concat();
        world.run("check", &arguments)
    };
    assert_eq!(check(&[]).code, 1);
    assert_eq!(check(&["--repos", "acme/atlas,acme/web"]).code, 1);
    let all = check(&["--repos", "acme/atlas,acme/web", "--repos-are-all"]);
    assert_eq!(all.code, 0, "{}", all.out);
    world.github.start_job(&world.scope, "r-1", "acme/web");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    let held = check(&["--repos", "acme/atlas,acme/web", "--repos-are-all"]);
    assert_eq!(held.code, 1);
    assert!(held.out.contains("job_in_progress"), "{}", held.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_ask_hears_2_and_why() {
    let world = Deployment::of(REPO).await;
    let cases: [(&[&str], &str); 16] = [
        (&["--scope", "acme"], "repo:OWNER/NAME"),
        (&["--scope", "repo:acme/.."], "is a path"),
        (&["--runner", ""], "empty"),
        (&["--runner", "a\nb"], "'\\n'"),
        (&["--id", "-1"], "-1"),
        (&["--launched-at", "yesterday"], "yesterday"),
        (&["--repos", "acme/web"], "leave it out"),
        (&["--repos-are-all"], "--repos"),
        (&["--repos", "atlas"], "OWNER/NAME"),
        (&["--api-url", "ftp://github.com"], "ftp"),
        (&["--api-url", "api.github.com"], "https://"),
        (&["--api-url", "http://github.example.com"], "plain http"),
        (
            &["--api-url", "https://me:secret@github.example.com"],
            "credentials",
        ),
        (&["--store", "postgres://x"], "sqlite:PATH"),
        (&["--policy", "nowhere.toml"], "nowhere.toml"),
        (&["--store", "sqlite:/dev/null/x/memory.db"], "/dev/null/x"),
    ];
    for (arguments, said) in cases {
        let mut command = world.command();
        command.arg("check");
        if !arguments.contains(&"--scope") {
            command.args(["--scope", REPO]);
        }
        if !arguments.contains(&"--runner") {
            command.args(["--runner", "r-1"]);
        }
        let ran = world.ran(command.args(arguments));
        assert_eq!(ran.code, 2, "{arguments:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.contains("secret"), "{}", ran.err);
        assert!(ran.out.is_empty(), "{}", ran.out);
    }
    assert_eq!(world.github.request_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_read_strictly() {
    let world = Deployment::of(REPO).await;
    for (text, said) in [
        ("graze = \"5m\"", "graze"),
        ("grace = \"-5m\"", "grace"),
        ("grace = 300", "grace"),
        ("grace = \"5m\"\ngrace = \"6m\"", "grace"),
        ("beacon_ttl = \"1h\"", "lease_ttl"),
        ("max_permits_per_sweep = \"0%\"", "max_permits_per_sweep"),
        ("request_reserve = \"95%\"", "request_reserve"),
        ("request_reserve = 0.1", "request_reserve"),
        ("not toml", "policy.toml"),
    ] {
        let policy = world.file("policy.toml", text);
        let ran = world.run("check", &["--runner", "r-1", "--policy", &policy]);
        assert_eq!(ran.code, 2, "{text}: {}", ran.err);
        assert!(
            ran.err.contains(said) && ran.err.contains("policy.toml"),
            "{text}: {}",
            ran.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_missing_or_refused_is_2() {
    let world = Deployment::of(REPO).await;
    let arguments = ["check", "--scope", REPO, "--runner", "r-1"];
    for (token, said) in [
        (None, "GITHUB_TOKEN is not set"),
        (Some(""), "GITHUB_TOKEN is not set"),
        (Some("two words"), "no token has"),
        (Some("ghp_of_somebody_else"), "401"),
    ] {
        let mut command = world.command();
        command.args(arguments).env_remove("GITHUB_TOKEN");
        if let Some(token) = token {
            command.env("GITHUB_TOKEN", token);
        }
        let ran = world.ran(&mut command);
        assert_eq!(ran.code, 2, "{token:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{token:?}: {}", ran.err);
        assert!(
            !ran.err.contains("ghp_of") && !ran.err.contains("two words"),
            "{}",
            ran.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_reads_like_a_manual_page() {
    let world = Deployment::of(REPO).await;
    for subcommand in ["check", "sweep"] {
        let ran = world.ran(world.command().args([subcommand, "--help"]));
        assert_eq!(ran.code, 0);
        for said in ["Exit status:", "Example", "GITHUB_TOKEN", "--shadow"] {
            let told = ran.out.contains(said) || subcommand == "sweep" && said == "GITHUB_TOKEN";
            assert!(told, "{subcommand}: {said}: {}", ran.out);
        }
    }
    let ran = world.ran(world.command().args(["completions", "bash"]));
    assert!(ran.out.contains("scale-in-guard") && ran.out.contains("--repos-are-all"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_nothing_goes_and_a_summary_tells_in_two_lines() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let hasty = world.hasty();
    let check = || {
        world.run(
            "check",
            &["--runner", "r-1", "--shadow", "--policy", &hasty],
        )
    };
    let ran = check();
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("shadow_mode"), "{}", ran.out);
    let beside = "the guard would terminate, busy-only would terminate";
    assert!(ran.err.contains(beside), "{}", ran.err);
    world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    assert_eq!(check().code, 1);
    assert_eq!(check().code, 1);
    let mut command = world.command();
    command
        .env_remove("GITHUB_TOKEN")
        .args(["shadow", "--scope", REPO]);
    let told = world.ran(&mut command);
    assert_eq!(told.code, 0, "{}", told.err);
    assert_eq!(told.out.lines().count(), 2, "{}", told.out);
    assert!(told.out.contains("killed 1 running job"), "{}", told.out);
    let told = world.ran(command.arg("--json")).json();
    assert_eq!(told[0]["kills_spared"], 1);
    assert_eq!(told[0]["looks"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_can_read_is_never_a_yes() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "busy");
    world.github.register(&world.scope, "idle");
    world.github.start_job(&world.scope, "busy", "acme/atlas");
    let hasty = world.hasty();
    for json in [&["--json"][..], &[]] {
        let arguments = |name| {
            let asked = [
                "check", "--scope", REPO, "--policy", &hasty, "--runner", name,
            ];
            [&asked[..], json].concat()
        };
        assert_eq!(world.unread(&arguments("busy"), Unread::Out), 2);
        assert_eq!(world.unread(&arguments("idle"), Unread::Out), 2);
        // What is told on standard error changes nothing.
        assert_eq!(world.unread(&arguments("busy"), Unread::Err), 1);
        assert_eq!(world.unread(&arguments("idle"), Unread::Err), 0);
    }
}
