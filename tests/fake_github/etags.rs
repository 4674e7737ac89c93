//! What has not changed is not sent again, and costs nothing.

use crate::world::*;
use reqwest::{Method, Response, header::HeaderMap};
use serde_json::{Value, json};

async fn ask(world: &World, target: &str, known: Option<&str>) -> Response {
    let url = format!("{}{target}", world.github.url());
    let request = world.client.get(url).bearer_auth(world.github.token());
    let request = match known {
        Some(known) => request.header("If-None-Match", known),
        None => request,
    };
    request.send().await.expect("an answer")
}

fn etag(headers: &HeaderMap) -> String {
    headers["etag"].to_str().expect("text").to_owned()
}

async fn etag_of(world: &World, target: &str) -> String {
    etag(ask(world, target, None).await.headers())
}

#[tokio::test]
async fn what_the_client_has_comes_as_304_and_costs_nothing() {
    let world = World::new().await;
    world.register_many(1);
    let tag = etag_of(&world, RUNNERS).await;
    assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
    let bare = tag.trim_start_matches("W/").to_owned();
    let among = format!("\"other\", {tag}");
    for (known, status) in [
        (&*tag, 304),
        (&*bare, 304),
        (&*among, 304),
        ("*", 304),
        ("W/\"other\"", 200),
        ("", 200),
    ] {
        let before = world.github.primary_requests();
        let answer = ask(&world, RUNNERS, Some(known)).await;
        assert_eq!(answer.status().as_u16(), status, "{known}");
        assert_eq!(etag(answer.headers()), tag);
        for usual in [
            "date",
            "x-github-request-id",
            "x-ratelimit-remaining",
            "x-accepted-github-permissions",
        ] {
            assert!(answer.headers().contains_key(usual), "{status}: {usual}");
        }
        let cost = world.github.primary_requests() - before;
        assert_eq!(cost, u64::from(status == 200), "{known}");
        let body = answer.text().await.expect("a body");
        assert_eq!(body.is_empty(), status == 304);
        let last = world.github.requests().pop().expect("a request");
        assert_eq!(last.if_none_match.as_deref(), Some(known));
    }
}

#[tokio::test]
async fn only_what_was_counted_is_taken_from_the_hour() {
    let world = World::new().await;
    world.register_many(1);
    let tag = etag_of(&world, RUNNERS).await;
    for _ in 0..3 {
        let answer = ask(&world, RUNNERS, Some(&tag)).await;
        assert_eq!(answer.headers()["x-ratelimit-remaining"], "4999");
    }
    world.get("/rate_limit").await;
    world.get("/nowhere").await;
    assert_eq!(world.github.primary_requests(), 2);
    world.github.clear_requests();
    assert_eq!(world.github.primary_requests(), 0);
    let (_, headers, _) = world.get(RUNNERS).await;
    assert_eq!(headers["x-ratelimit-remaining"], "4997");
    assert_eq!(world.github.primary_requests(), 1);
}

#[tokio::test]
async fn another_body_has_another_etag() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    github.register(acme, "r-1");
    let job = github.start_job(acme, "r-1", ATLAS);
    let path = format!("/repos/{ATLAS}/actions/jobs/{job}");
    let (_, _, row) = world.get(&path).await;
    let jobs = format!("{RUNS}/{}/jobs", row["run_id"]);
    let mut seen = vec![(etag_of(&world, &path).await, etag_of(&world, &jobs).await)];
    for _ in 0..2 {
        github.progress(job);
        seen.push((etag_of(&world, &path).await, etag_of(&world, &jobs).await));
    }
    github.finish_job(job);
    seen.push((etag_of(&world, &path).await, etag_of(&world, &jobs).await));
    for (at, tags) in seen.iter().enumerate() {
        let others = seen.iter().skip(at + 1);
        assert!(
            others
                .clone()
                .all(|other| other.0 != tags.0 && other.1 != tags.1)
        );
    }
    let runner = format!("{RUNNERS}/1");
    let answer = world.ask(Method::DELETE, &runner).await.expect("an answer");
    assert!(!answer.headers().contains_key("etag"));
    assert!(!world.get("/nowhere").await.1.contains_key("etag"));
}

#[tokio::test]
async fn steps_go_on_and_the_run_is_updated() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    let job = github.queue_job(ATLAS, &[]);
    let path = format!("/repos/{ATLAS}/actions/jobs/{job}");
    github.progress(job);
    assert_eq!(world.get(&path).await.2["steps"], json!([]), "it waits");
    let assign = || github.assign(job, acme, "r-1");
    let progress = || github.progress(job);
    let finish = || github.finish_job_as(job, "failure");
    let changes: [(&dyn Fn(), &[&str]); 4] = [
        (&assign, &["in_progress"]),
        (&progress, &["success", "in_progress"]),
        (&progress, &["success", "success", "in_progress"]),
        (&finish, &["success", "success", "failure"]),
    ];
    for (minute, (change, expected)) in changes.into_iter().enumerate() {
        world.clock.advance(minutes(1));
        change();
        let (_, _, row) = world.get(&path).await;
        let steps = row["steps"].as_array().expect("steps");
        let shown = |step: &Value| {
            let conclusion = step["conclusion"].as_str();
            let shown = conclusion.or(step["status"].as_str());
            shown.expect("text").to_owned()
        };
        let shown: Vec<String> = steps.iter().map(shown).collect();
        assert_eq!(shown, expected);
        let runs = world.rows(RUNS, "workflow_runs").await;
        let updated = format!("2026-05-14T02:0{}:00Z", minute + 1);
        assert_eq!(runs[0]["updated_at"], updated);
    }
    github.progress(job);
    let (_, _, row) = world.get(&path).await;
    assert_eq!(row["steps"].as_array().map(Vec::len), Some(3), "it is over");
}
