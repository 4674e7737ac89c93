//! Runners register, and connect.

use crate::{
    schema::{Unknown, check_answer, check_request, contract},
    world::*,
};
use reqwest::Method;
use scale_in_guard::{Scope, testing::fake_github::NewRunner};
use serde_json::{Value, json};
use std::collections::HashSet;

const JIT: &str = "/orgs/acme/actions/runners/generate-jitconfig";
const TOKEN: &str = "/orgs/acme/actions/runners/registration-token";

#[tokio::test]
async fn a_runner_has_a_version_once_it_has_connected() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    github.register(acme, "r-1");
    github.register_with(acme, NewRunner::named("r-2").never_connected());
    let shown = async |at: usize| {
        let row = world.rows(RUNNERS, "runners").await.remove(at);
        (row["status"].clone(), row["version"].clone())
    };
    let online = (json!("online"), json!("2.336.0"));
    assert_eq!(shown(0).await, online);
    assert_eq!(shown(1).await, (json!("offline"), Value::Null));
    github.connect(acme, "r-2");
    assert_eq!(shown(1).await, online);
    github.set_status(acme, "r-2", "offline");
    assert_eq!(shown(1).await, (json!("offline"), json!("2.336.0")));
    github.connect(acme, "nobody");
}

#[tokio::test]
async fn a_registration_token_registers_in_its_scope_for_an_hour() {
    let world = World::new().await;
    let github = &world.github;
    let scopes = ["repo:acme/atlas", "org:acme", "enterprise:acme"];
    let scopes: Vec<Scope> = scopes.map(|s| s.parse().expect("a scope")).into();
    let paths = ["/repos/acme/atlas", "/orgs/acme", "/enterprises/acme"];
    let mut tokens = Vec::new();
    for (scope, path) in scopes.iter().zip(paths) {
        github.add_scope(scope);
        let path = format!("{path}/actions/runners/registration-token");
        for _ in 0..2 {
            let (status, _, body) = world.post(&path, github.token(), None).await;
            assert_eq!(
                (status, &body["expires_at"]),
                (201, &json!("2026-05-14T03:00:00Z"))
            );
            let template = "/orgs/{org}/actions/runners/registration-token";
            let call = ("POST", template, 201);
            check_answer(&contract(), call, &body.to_string(), Unknown::Refused).expect("as it is");
            tokens.push((scope, body["token"].as_str().expect("text").to_owned()));
        }
    }
    let different: HashSet<_> = tokens.iter().map(|(_, token)| token).collect();
    assert_eq!((different.len(), github.registration_tokens()), (6, 6));

    let register = |scope: &Scope, token: &str| {
        github.register_with_token(scope, token, NewRunner::named("r-1"))
    };
    world.clock.advance(minutes(59));
    for (of, token) in &tokens {
        for scope in &scopes {
            let is_its = *of == scope;
            assert_eq!(register(scope, token).is_ok(), is_its, "{of}, {scope}");
        }
    }
    let upper: Scope = "org:ACME".parse().expect("a scope");
    let id = register(&upper, &tokens[2].1).expect("it is good");
    let path = format!("{RUNNERS}/{id}");
    assert_eq!(world.status(Method::GET, &path).await, 200);
    let why = register(&scopes[1], "AFAKE").expect_err("it is unknown");
    assert!(why.contains("404 (Not Found)"), "{why}");
    world.clock.advance(minutes(1));
    register(&scopes[1], &tokens[2].1).expect_err("it has expired");
    let nowhere = "/orgs/nobody/actions/runners/registration-token";
    assert_eq!(world.status(Method::POST, nowhere).await, 404);
    assert_eq!(world.status(Method::GET, TOKEN).await, 404);
}

#[tokio::test]
async fn a_jit_config_registers_a_runner_that_has_not_connected() {
    let world = World::new().await;
    let github = &world.github;
    github.add_scope(&world.acme);
    let wanted = json!({
        "name": "jit-1",
        "runner_group_id": 3,
        "labels": ["self-hosted", "gpu"],
        "work_folder": "_work",
    });
    let text = wanted.to_string();
    let (status, _, body) = world.post(JIT, github.token(), Some(&text)).await;
    assert_eq!(status, 201, "{body}");
    let template = "/orgs/{org}/actions/runners/generate-jitconfig";
    let call = ("POST", template, 201);
    check_answer(&contract(), call, &body.to_string(), Unknown::Refused).expect("as it is");
    let request = github.requests().pop().expect("a request");
    check_request(&contract(), &request).expect("it is documented");
    assert_eq!(request.body, Some(wanted));
    assert_eq!(request.at.to_rfc3339(), "2026-05-14T02:00:00+00:00");

    let runner = &body["runner"];
    for (field, expected) in [
        ("name", json!("jit-1")),
        ("status", json!("offline")),
        ("version", Value::Null),
        ("ephemeral", json!(true)),
        ("busy", json!(false)),
        ("runner_group_id", json!(3)),
    ] {
        assert_eq!(runner[field], expected, "{field}");
    }
    assert_eq!(&world.rows(RUNNERS, "runners").await[0], runner);
    assert!(
        body["encoded_jit_config"]
            .as_str()
            .is_some_and(|config| !config.is_empty())
    );

    let (status, _, body) = world.post(JIT, github.token(), Some(&text)).await;
    let why = "Already exists - A runner with the name *** already exists.";
    assert_eq!((status, &body["message"]), (409, &json!(why)));
    github.connect(&world.acme, "jit-1");
    let row = world.rows(RUNNERS, "runners").await.remove(0);
    assert_eq!(
        (&row["status"], &row["version"]),
        (&json!("online"), &json!("2.336.0"))
    );
}

#[tokio::test]
async fn a_jit_config_is_refused_for_what_is_missing() {
    let world = World::new().await;
    let github = &world.github;
    github.add_scope(&world.acme);
    let many = |count| vec!["l"; count];
    let wanted = |labels| json!({ "name": "r", "runner_group_id": 1, "labels": labels });
    let long = format!("\"{}\"", "a".repeat(2 << 20));
    for (body, status) in [
        (String::new(), 422),
        ("{".into(), 400),
        ("[]".into(), 400),
        ("{}".into(), 422),
        (long, 413),
        (
            json!({ "runner_group_id": 1, "labels": ["l"] }).to_string(),
            422,
        ),
        (
            json!({ "name": "", "runner_group_id": 1, "labels": ["l"] }).to_string(),
            422,
        ),
        (json!({ "name": "r", "labels": ["l"] }).to_string(), 422),
        (
            json!({ "name": "r", "runner_group_id": "1", "labels": ["l"] }).to_string(),
            422,
        ),
        (
            json!({ "name": "r", "runner_group_id": 1 }).to_string(),
            422,
        ),
        (wanted(json!([])).to_string(), 422),
        (wanted(json!([1])).to_string(), 422),
        (wanted(json!(many(101))).to_string(), 422),
    ] {
        let (answered, _, answer) = world.post(JIT, github.token(), Some(&body)).await;
        let body: String = body.chars().take(80).collect();
        assert_eq!(answered, status, "{body}: {answer}");
        assert!(answer["message"].is_string());
    }
    assert!(world.names(RUNNERS).await.is_empty());
    let most = wanted(json!(many(100))).to_string();
    assert_eq!(world.post(JIT, github.token(), Some(&most)).await.0, 201);
}
