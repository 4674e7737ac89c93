//! `registration-token`: a token alone on standard output, or why there is none.

use crate::deployment::Deployment;
use chrono::TimeDelta;
use scale_in_guard::{
    clock::{Clock, SystemClock},
    testing::fake_github::{FakeApp, FakeGitHub, Fault, NewRunner},
    time::Instant,
};

const ENDPOINT: &str = "/actions/runners/registration-token";

#[tokio::test(flavor = "multi_thread")]
async fn the_token_stands_alone_and_a_runner_registers_with_it() {
    let world = Deployment::of("org:acme").await;
    world.github.fail(ENDPOINT, Fault::html(502), Some(1));
    let ran = world.run("registration-token", &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let token = ran.out.trim_end();
    assert_eq!(ran.out.lines().count(), 1);
    let registered = world
        .github
        .register_with_token(&world.scope, token, NewRunner::named("r-1"));
    assert!(registered.is_ok(), "{registered:?}");
    assert!(!ran.err.contains(token), "{}", ran.err);

    let ran = world.run("registration-token", &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["scope"], "org:acme");
    assert!(told["token"].is_string());
    let expires_at: Instant = serde_json::from_value(told["expires_at"].clone()).unwrap();
    assert!(expires_at > SystemClock.now() + TimeDelta::minutes(55));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_it_says_why_and_whether_to_try_again() {
    let world = Deployment::of("org:acme").await;
    for (fault, code, said) in [
        (Fault::html(502), 1, "try again at"),
        (Fault::slow_down(600), 1, "try again at"),
        (
            Fault::lacks_permission("organization_self_hosted_runners=write"),
            2,
            "it needs organization_self_hosted_runners:write",
        ),
        (
            Fault::status(404),
            2,
            "organization_self_hosted_runners:write",
        ),
        (Fault::status(401), 2, "the token was refused"),
    ] {
        world.github.clear_faults();
        world.github.fail(ENDPOINT, fault, None);
        let ran = world.run("registration-token", &["--patience", "200ms"]);
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
        assert!(ran.err.contains("no registration token for org:acme"));
        assert!(!ran.err.contains(world.github.token()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_asks_as_its_installation() {
    let world = Deployment::of("org:acme").await;
    let app = FakeApp::new(4711, "Iv23liabc").installed(77, "acme");
    world.github.install_app(&app);
    let key = world.file("key.pem", FakeGitHub::app_key());
    let scope = world.scope.to_string();
    let base = ["registration-token", "--scope", &scope];
    let by_flags = ["--app-id", "4711", "--app-key", &key];
    let mut command = world.command();
    let ran = world.ran(command.env_remove("GITHUB_TOKEN").args(base).args(by_flags));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut command = world.command();
    let by_environment = command
        .env_remove("GITHUB_TOKEN")
        .env("GITHUB_APP_ID", "Iv23liabc")
        .env("GITHUB_APP_PRIVATE_KEY", FakeGitHub::app_key())
        .env("GITHUB_APP_INSTALLATION_ID", "77");
    let ran = world.ran(by_environment.args(base));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(world.github.registration_tokens(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_2_and_name_the_setting() {
    let world = Deployment::of("org:acme").await;
    world.github.install_app(&FakeApp::new(4711, "Iv23liabc"));
    let key = FakeGitHub::app_key();
    let public = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----";
    let rows: [(&[(&str, &str)], &str); 8] = [
        (&[], "GITHUB_TOKEN is not set"),
        (
            &[("GITHUB_TOKEN", "t"), ("GITHUB_APP_ID", "1")],
            "GITHUB_TOKEN and GITHUB_APP_ID are both set",
        ),
        (&[("GITHUB_APP_ID", "4711")], "GITHUB_APP_PRIVATE_KEY"),
        (
            &[
                ("GITHUB_APP_ID", "4711"),
                ("GITHUB_APP_PRIVATE_KEY", "no key"),
            ],
            "GITHUB_APP_PRIVATE_KEY: it is no PEM",
        ),
        (
            &[
                ("GITHUB_APP_ID", "4711"),
                ("GITHUB_APP_PRIVATE_KEY", public),
            ],
            "GITHUB_APP_PRIVATE_KEY: it is a public key",
        ),
        (
            &[
                ("GITHUB_APP_ID", "4711"),
                ("GITHUB_APP_PRIVATE_KEY_FILE", "/nowhere.pem"),
            ],
            "/nowhere.pem",
        ),
        (
            &[("GITHUB_APP_ID", "4711"), ("GITHUB_APP_PRIVATE_KEY", key)],
            "is not installed for org:acme",
        ),
        (
            &[("GITHUB_APP_ID", "4712"), ("GITHUB_APP_PRIVATE_KEY", key)],
            "\"4712\" and GITHUB_APP_PRIVATE_KEY are of one app",
        ),
    ];
    for (variables, said) in rows {
        let mut command = world.command();
        command
            .env_remove("GITHUB_TOKEN")
            .envs(variables.iter().copied());
        let ran = world.ran(command.args(["registration-token", "--scope", "org:acme"]));
        assert_eq!(ran.code, 2, "{said}: {}", ran.err);
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
        assert!(!ran.err.contains("MII"), "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_by_an_app_that_is_not_installed_could_not_ask() {
    let world = Deployment::of("repo:acme/atlas").await;
    world.github.install_app(&FakeApp::new(4711, "Iv23liabc"));
    let mut command = world.command();
    command
        .env_remove("GITHUB_TOKEN")
        .env("GITHUB_APP_ID", "4711")
        .env("GITHUB_APP_PRIVATE_KEY", FakeGitHub::app_key());
    let ran = world.ran(command.args(["check", "--scope", "repo:acme/atlas", "--runner", "r-1"]));
    assert_eq!(ran.code, 2, "{}", ran.err);
    let said = "the app \"4711\" is not installed for repo:acme/atlas";
    assert!(ran.out.contains(said), "{}", ran.out);
    assert!(
        ran.err
            .contains("GitHub refused the credentials (401, or the app)"),
        "{}",
        ran.err
    );
}
