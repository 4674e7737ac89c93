//! Answers that are none.

use crate::world::*;
use reqwest::Method;
use scale_in_guard::testing::fake_github::{Fault, FaultOn};
use serde_json::Value;
use std::time::Duration;
use tokio::time;

#[tokio::test]
async fn faults_hit_what_they_are_set_on_as_often_as_told() {
    let world = World::new().await;
    world.register_many(1);
    let on = FaultOn::path("/runners?page=2").method("GET").after(1);
    world.github.fail(on, Fault::status(502), Some(2));
    let page = format!("{RUNNERS}?page=2");
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(world.status(Method::GET, &page).await);
        assert_eq!(world.status(Method::GET, RUNNERS).await, 200);
    }
    assert_eq!(statuses, [200, 502, 502, 200]);

    world.github.fail("", Fault::slow_down(30), None);
    let (status, headers, _) = world.get(RUNNERS).await;
    assert_eq!(status, 403);
    assert_eq!(headers["retry-after"], "30");
    world.github.clear_faults();
    let to = format!("{}/elsewhere", world.github.url());
    let moved = Fault::Redirect {
        code: 301,
        to: to.clone(),
    };
    world.github.fail(FaultOn::any(), moved, Some(1));
    let (status, headers, _) = world.get(RUNNERS).await;
    assert_eq!(status, 301);
    assert_eq!(headers["location"], to);
    assert_eq!(world.status(Method::GET, RUNNERS).await, 200);
    assert_eq!(world.github.request_count(), 11);
}

#[tokio::test]
async fn a_cut_leaves_no_answer() {
    let world = World::new().await;
    world.register_many(2);
    world.github.fail(FaultOn::any(), Fault::Cut, Some(1));
    let first = format!("{RUNNERS}/1");
    world
        .ask(Method::DELETE, &first)
        .await
        .expect_err("no answer");
    assert_eq!(world.names(RUNNERS).await, ["r-0", "r-1"]);
    world.github.fail(FaultOn::any(), Fault::CutAfter, Some(1));
    world
        .ask(Method::DELETE, &first)
        .await
        .expect_err("no answer");
    assert_eq!(world.names(RUNNERS).await, ["r-1"]);
    let second = format!("{RUNNERS}/2");
    world.github.fail(FaultOn::any(), Fault::CutBody, Some(1));
    let answer = world.ask(Method::DELETE, &second).await;
    answer.expect_err("there is no body to cut");
    assert!(world.names(RUNNERS).await.is_empty());
}

#[tokio::test]
async fn a_body_breaks_off_or_is_half() {
    let world = World::new().await;
    world.register_many(2);
    let whole = world.ask(Method::GET, RUNNERS).await.expect("an answer");
    let whole = whole.text().await.expect("a body");

    world.github.fail(FaultOn::any(), Fault::CutBody, Some(1));
    let mut broken = world.ask(Method::GET, RUNNERS).await.expect("headers");
    assert_eq!(broken.status().as_u16(), 200);
    assert_eq!(broken.content_length(), Some(whole.len() as u64));
    let first = broken
        .chunk()
        .await
        .expect("half a body")
        .expect("some of it");
    assert_eq!(first.len(), whole.len() / 2);
    broken.chunk().await.expect_err("it breaks off");

    world.github.fail(FaultOn::any(), Fault::Malformed, Some(1));
    let half = world.ask(Method::GET, RUNNERS).await.expect("an answer");
    let half = half.text().await.expect("a body");
    assert_eq!(half.len(), whole.len() / 2);
    serde_json::from_str::<Value>(&half).expect_err("no JSON");
}

#[tokio::test]
async fn a_hung_request_is_never_answered_and_others_are() {
    let world = World::new().await;
    world.register_many(1);
    let on = FaultOn::path("/runners/1");
    world.github.fail(on, Fault::Hang, None);
    let path = format!("{RUNNERS}/1");
    let hung = world.ask(Method::GET, &path);
    let hung = time::timeout(Duration::from_millis(50), hung).await;
    hung.expect_err("no answer");
    assert_eq!(world.status(Method::GET, RUNNERS).await, 200);
}

#[tokio::test]
async fn refusals_are_as_github_and_what_stands_before_it_word_them() {
    let world = World::new().await;
    world.register_many(1);
    world.github.clock_off(minutes(3));
    let reset = "1778724240"; // 02:00 by the clock of the test, three minutes on, and 60 seconds
    let limit = "API rate limit exceeded for installation ID 1.";
    let integration = "Resource not accessible by integration";
    let json = "application/json; charset=utf-8";
    for (fault, status, headers, said) in [
        (
            Fault::html(502),
            502,
            vec![("content-type", "text/html; charset=utf-8")],
            "<!DOCTYPE html>",
        ),
        (
            Fault::primary_limit(60),
            403,
            vec![
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", reset),
                ("content-type", json),
            ],
            limit,
        ),
        (
            Fault::too_many_requests(60),
            429,
            vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)],
            limit,
        ),
        (
            Fault::lacks_permission("administration=read"),
            403,
            vec![("x-accepted-github-permissions", "administration=read")],
            integration,
        ),
    ] {
        world.github.fail(FaultOn::any(), fault.clone(), Some(1));
        let answer = world.ask(Method::GET, RUNNERS).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{fault:?}");
        for (name, value) in headers {
            let all: Vec<_> = answer.headers().get_all(name).iter().collect();
            assert_eq!(all, [value], "{fault:?}: {name}");
        }
        let body = answer.text().await.expect("a body");
        assert!(body.contains(said), "{body}");
    }
    assert_eq!(world.github.primary_requests(), 0);
}

#[tokio::test]
async fn a_window_of_faults_opens_and_closes_with_the_clock() {
    let world = World::new().await;
    world.register_many(1);
    let at = |text: &str| text.parse().expect("an instant");
    let (from, until) = (at("2026-05-14T02:02:00Z"), at("2026-05-14T02:04:00Z"));
    let on = FaultOn::path("/runners");
    world
        .github
        .fail_between(on, Fault::status(502), from, until);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(world.status(Method::GET, RUNNERS).await);
        world.clock.advance(minutes(1));
    }
    assert_eq!(statuses, [200, 200, 502, 502, 200, 200]);
}

#[tokio::test]
async fn a_body_drips() {
    let world = World::new().await;
    world.register_many(1);
    let whole = world.ask(Method::GET, RUNNERS).await.expect("an answer");
    let whole = whole.bytes().await.expect("a body");
    let every = Duration::from_micros(10);
    let drip = Fault::Drip { every };
    world.github.fail(FaultOn::any(), drip, Some(1));
    let mut dripping = world.ask(Method::GET, RUNNERS).await.expect("headers");
    assert_eq!(dripping.status().as_u16(), 200);
    assert_eq!(dripping.content_length(), Some(whole.len() as u64));
    let first = dripping.chunk().await.expect("some").expect("a byte");
    assert!(first.len() < whole.len());
    let mut all = first.to_vec();
    while let Some(more) = dripping.chunk().await.expect("more") {
        all.extend_from_slice(&more);
    }
    assert_eq!(all, whole);

    let drip = Fault::Drip {
        every: Duration::from_secs(3600),
    };
    world.github.fail(FaultOn::any(), drip, Some(1));
    let never = world.ask(Method::GET, RUNNERS).await.expect("headers");
    assert_eq!(world.status(Method::GET, RUNNERS).await, 200);
    assert_eq!(world.github.most_at_once(), 2, "it is still being answered");
    drop(never);
}
