//! `--webhooks`: what a receiver keeps in the same store holds.

use crate::deployment::Deployment;
use scale_in_guard::{
    stores::SqliteStore,
    webhook::{Headers, Receiver, Secrets, sign},
};

const BODY: &str = r#"{"action":"in_progress","workflow_job":{"id":7,"runner_id":1,"runner_name":"r-1"},
    "repository":{"full_name":"acme/atlas"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_webhook_opened_holds_whatever_github_says() {
    let world = Deployment::of("repo:acme/atlas").await;
    world.github.register(&world.scope, "r-1");
    let path = world.path("guard.sqlite");
    let store = SqliteStore::open(&path).unwrap();
    let receiver = Receiver::builder(store, Secrets::new(["s3cret"]).unwrap()).start();
    let signature = sign("s3cret", BODY.as_bytes());
    let headers = Headers {
        event: Some("workflow_job"),
        signature: Some(&signature),
        ..Headers::default()
    };
    let outcome = receiver.receive(&headers, BODY.as_bytes()).await;
    assert_eq!(outcome.status(), 200, "{outcome}");
    let store = format!("sqlite:{}", path.display());
    let check = |more: &[&str]| {
        let arguments = ["--runner", "r-1", "--store", &store];
        world.run("check", &[&arguments, more].concat())
    };
    // In this order: what was told once is remembered.
    let (untold, told) = (check(&[]), check(&["--webhooks"]));
    assert!(told.out.contains("webhook_job_open"), "{}", told.out);
    assert!(!untold.out.contains("webhook_job_open"), "{}", untold.out);
}
