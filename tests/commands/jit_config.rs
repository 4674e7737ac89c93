//! `jit-config`: one registration, and its config alone on standard output.

use crate::deployment::{Deployment, Ran, Unread};
use scale_in_guard::testing::fake_github::{Fault, NewRunner};

const WANTED: [&str; 4] = ["--name", "r-1", "--label", "linux,gpu"];

fn jit_config(world: &Deployment, more: &[&str]) -> Ran {
    world.run("jit-config", &[&WANTED, more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_config_stands_alone_on_standard_output_and_nowhere_else() {
    let world = Deployment::of("org:acme").await;
    let more = [
        "--label",
        "x64",
        "--runner-group",
        "7",
        "--work-folder",
        "w",
    ];
    let ran = jit_config(&world, &more);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let config = ran.out.trim_end();
    assert_eq!(ran.out.lines().count(), 1);
    assert!(config.len() > 40 && !config.contains(' '), "{config}");
    assert!(!ran.err.contains(config), "{}", ran.err);
    assert!(ran.err.contains("registered \"r-1\" as 1"), "{}", ran.err);
    let sent = world.github.requests().remove(0).body.unwrap();
    assert_eq!(sent["labels"], serde_json::json!(["linux", "gpu", "x64"]));
    assert_eq!(
        (&sent["runner_group_id"], &sent["work_folder"]),
        (&7.into(), &"w".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_is_dealt_with_as_the_option_says() {
    for (if_taken, connected, code, outcome) in [
        (None, false, 0, "issued"),
        (Some("replace"), false, 0, "issued"),
        (Some("replace"), true, 1, "failed"),
        (Some("adopt"), true, 3, "adopted"),
        (Some("fresh-name"), true, 0, "issued"),
    ] {
        let world = Deployment::of("repo:acme/atlas").await;
        let runner = NewRunner::named("r-1").never_connected();
        world.github.register_with(&world.scope, runner);
        if connected {
            world.github.connect(&world.scope, "r-1");
        }
        let option = if_taken.map(|if_taken| ["--if-taken", if_taken]);
        let option = option.as_ref().map_or(&[][..], |option| &option[..]);
        let ran = jit_config(&world, &[option, &["--json"]].concat());
        assert_eq!(ran.code, code, "{if_taken:?}: {}", ran.err);
        let told = &ran.json()[0];
        assert_eq!(told["jit_config"], outcome, "{if_taken:?}");
        assert_eq!(told["encoded_jit_config"].is_string(), outcome == "issued");
        if !connected {
            assert_eq!(told["removed"], serde_json::json!([1]));
        }
        // Without JSON, nothing but a config is ever printed.
        let plain = jit_config(&world, option);
        assert_eq!(plain.code, code, "{if_taken:?}: {}", plain.err);
        assert_eq!(plain.out.is_empty(), outcome != "issued", "{}", plain.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_served_hears_whether_it_is_for_now() {
    for (fault, code, said) in [
        (Fault::status(401), 2, "401"),
        (
            Fault::lacks_permission("administration=write"),
            2,
            "administration:write",
        ),
        (Fault::status(404), 2, "administration:write"),
        (Fault::status(422), 2, "422"),
        (Fault::primary_limit(600), 1, "ask again at"),
        (Fault::slow_down(60), 1, "ask again at"),
    ] {
        let world = Deployment::of("repo:acme/atlas").await;
        world.github.fail("/generate-jitconfig", fault, None);
        let ran = jit_config(&world, &["--json"]);
        assert_eq!(ran.code, code, "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
        let told = &ran.json()[0];
        assert_eq!(told["jit_config"], "failed");
        assert_eq!(told["retry_at"].is_string(), code == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_would_refuse_is_refused_before_it_is_asked() {
    let world = Deployment::of("org:acme").await;
    let long = "x".repeat(65);
    for (arguments, said) in [
        (vec!["--name", "r-1"], "--label"),
        (vec!["--name", "r-1", "--label", ""], "labels"),
        (vec!["--name", "", "--label", "linux"], "empty"),
        (vec!["--name", &long, "--label", "linux"], "64"),
        (
            vec!["--name", "r-1", "--label", "linux", "--runner-group", "0"],
            "runner_group",
        ),
        (
            vec!["--name", "r-1", "--label", "linux", "--work-folder", " "],
            "work_folder",
        ),
        (
            vec!["--name", "r-1", "--label", "linux", "--if-taken", "steal"],
            "fresh-name",
        ),
    ] {
        let ran = world.run("jit-config", &arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
    }
    assert_eq!(world.github.request_count(), 0);
    let help = world.ran(world.command().args(["jit-config", "--help"]));
    for said in ["Exit status:", "SECRET", "GITHUB_TOKEN", "Example"] {
        assert!(help.out.contains(said), "{said}: {}", help.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_nobody_can_read_is_no_success() {
    let world = Deployment::of("org:acme").await;
    let arguments = [&["jit-config", "--scope", "org:acme"], &WANTED[..]].concat();
    assert_eq!(world.unread(&arguments, Unread::Out), 2);
    assert_eq!(world.unread(&arguments, Unread::Err), 0);
}
