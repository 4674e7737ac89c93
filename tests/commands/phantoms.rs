//! `phantoms`: the instances that never became a runner.

use crate::deployment::Deployment;

const REPO: &str = "repo:acme/atlas";

fn line(name: &str, launched_at: &str) -> String {
    format!("{{\"name\": \"{name}\", \"launched_at\": \"{launched_at}\"}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_speaks_of_those_that_never_registered_and_of_no_other() {
    let world = Deployment::of(REPO).await;
    world.github.register(&world.scope, "serving");
    let text = ["serving", "phantom"].map(|name| line(name, "2026-05-14T01:40:00Z"));
    let runners = world.file("runners.jsonl", text.concat());
    let ran = world.run("phantoms", &["--runners", &runners]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.len(), 1, "{}", ran.out);
    assert!(lines[0].starts_with("hold       phantom"), "{}", ran.out);
    let summary = "1 of 2 are not known to have registered: 0 may go, 1 held;";
    assert!(ran.err.contains(summary), "{}", ran.err);

    let ran = world.run("phantoms", &["--json", "--runners", &runners]);
    let decision: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(decision["runner"]["name"], "phantom");
    assert_eq!(decision["last_registered"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_could_not_be_read_is_not_passed_over() {
    let world = Deployment::of(REPO).await;
    let answer = scale_in_guard::testing::fake_github::Fault::status(403);
    world.github.fail("/actions/runners", answer, None);
    let runners = world.file("runners.jsonl", line("r-1", "2026-05-14T01:40:00Z"));
    let ran = world.run("phantoms", &["--runners", &runners]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("registration_unreadable"), "{}", ran.out);
    assert!(ran.err.contains("held for registration_unreadable: 1"));
}
