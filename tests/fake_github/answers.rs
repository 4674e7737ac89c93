//! What is answered to whom.

use crate::world::*;
use reqwest::{Client, Method};
use scale_in_guard::testing::fake_github::Fault;
use serde_json::json;
use std::{collections::HashSet, time::Duration};
use tokio::{io::AsyncReadExt, net::TcpStream, time};

#[tokio::test]
async fn only_the_token_opens_the_door() {
    let world = World::new().await;
    world.register_many(1);
    let url = format!("{}{RUNNERS}", world.github.url());
    let token = world.github.token();
    let (bearer, plain) = (format!("Bearer {token}"), format!("token {token}"));
    let wrong = format!("Bearer {token}x");
    for (given, status) in [
        (Some(&*bearer), 200),
        (Some(&*plain), 200),
        (Some(&*wrong), 401),
        (Some("Basic YTpi"), 401),
        (Some(token), 401),
        (None, 401),
    ] {
        let request = world.client.get(&url);
        let request = match given {
            Some(given) => request.header("Authorization", given),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{given:?}");
        let last = world.github.requests().pop().expect("a request");
        assert_eq!(last.authorized, status == 200);
        assert!(!format!("{last:?}").contains(token));
        let body = answer.text().await.expect("a body");
        assert_eq!(body.contains("Bad credentials"), status == 401);
    }
}

#[tokio::test]
async fn names_are_found_in_any_case_and_with_escapes() {
    let world = World::new().await;
    world.register_many(1);
    assert_eq!(world.names("/orgs/Acme/actions/runners").await, ["r-0"]);
    assert_eq!(world.names("/orgs/%61cme/actions/runners").await, ["r-0"]);
    assert_eq!(
        world.names("/api/v3/orgs/acme/actions/runners").await,
        ["r-0"]
    );
    assert_eq!(
        world
            .status(Method::GET, "/orgs/%ff%/actions/runners")
            .await,
        404
    );
}

#[tokio::test]
async fn every_answer_bears_githubs_headers() {
    let world = World::new().await;
    world.register_many(1);
    world.github.clock_off(minutes(-3));
    let mut ids = HashSet::new();
    for target in [RUNNERS, "/nowhere", RUNNERS] {
        let (_, headers, _) = world.get(target).await;
        assert_eq!(headers["date"], "Thu, 14 May 2026 01:57:00 GMT");
        assert_eq!(headers["x-ratelimit-limit"], "5000");
        assert_eq!(headers["x-ratelimit-resource"], "core");
        assert_eq!(headers["x-github-api-version-selected"], "2022-11-28");
        assert_eq!(headers["content-type"], "application/json; charset=utf-8");
        ids.insert(headers["x-github-request-id"].clone());
    }
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn the_budget_of_an_hour_is_spent_and_renewed() {
    let world = World::new().await;
    world.register_many(1);
    world.github.rate_limit(2);
    let left = async |target| world.get(target).await.1["x-ratelimit-remaining"].clone();
    assert_eq!(left(RUNNERS).await, "1");
    assert_eq!(left(RUNNERS).await, "0");
    assert_eq!(world.status(Method::GET, RUNNERS).await, 403);
    let (status, _, body) = world.get("/rate_limit").await;
    assert_eq!(
        (status, &body["resources"]["core"]["remaining"]),
        (200, &json!(0))
    );
    world.clock.advance(minutes(60));
    assert_eq!(world.status(Method::GET, RUNNERS).await, 200);
}

#[tokio::test]
async fn a_slow_answer_tells_what_was_so_when_it_was_asked() {
    let world = World::new().await;
    world.register_many(1);
    world.github.latency(Duration::from_millis(100));
    let answer = async { world.is_shown_busy("r-0").await };
    let start = async {
        while world.github.request_count() == 0 {
            time::sleep(Duration::from_millis(1)).await;
        }
        world.github.start_job(&world.acme, "r-0", ATLAS);
    };
    let (was_busy, ()) = tokio::join!(answer, start);
    assert!(!was_busy);
    assert!(world.github.is_occupied(&world.acme, "r-0"));
}

#[tokio::test]
async fn many_ask_at_once() {
    let world = World::new().await;
    world.register_many(1);
    let asked = futures::future::join_all((0..200).map(|_| world.status(Method::GET, RUNNERS)));
    assert!(asked.await.iter().all(|&status| status == 200));
    assert_eq!(world.github.request_count(), 200);
    world.github.clear_requests();
    assert!(world.github.requests().is_empty());
}

#[tokio::test]
async fn requests_without_a_name_or_of_an_unknown_version_are_refused() {
    let world = World::new().await;
    world.register_many(1);
    let url = format!("{}{RUNNERS}", world.github.url());
    let nameless = Client::builder().no_proxy().build().expect("a client");
    let request = nameless.get(&url).bearer_auth(world.github.token());
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 403);
    for (version, status) in [("2026-03-10", 200), ("2019-01-01", 410)] {
        let request = world.client.get(&url).bearer_auth(world.github.token());
        let request = request.header("X-GitHub-Api-Version", version);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{version}");
        let last = world.github.requests().pop().expect("a request");
        assert_eq!(last.api_version.as_deref(), Some(version));
    }
}

#[tokio::test]
async fn it_ends_with_its_last_handle() {
    let world = World::new().await;
    let address = world.github.url().replace("http://", "");
    let mut open = TcpStream::connect(&address).await.expect("it listens");
    let clone = world.github.clone();
    drop(world);
    TcpStream::connect(&address).await.expect("a clone is left");
    drop(clone);
    let mut nothing = [0; 1];
    let end = time::timeout(Duration::from_secs(5), open.read(&mut nothing)).await;
    assert!(!matches!(end.expect("it is closed"), Ok(1..)));
    TcpStream::connect(&address)
        .await
        .expect_err("nobody listens");
}

#[tokio::test]
async fn the_gauge_shows_how_many_were_answered_at_once() {
    let world = World::new().await;
    world.register_many(1);
    let github = &world.github;
    assert_eq!(github.most_at_once(), 0);
    for _ in 0..3 {
        world.status(Method::GET, RUNNERS).await;
    }
    assert_eq!(github.most_at_once(), 1, "one after another");
    github.fail("/runners/1", Fault::Hang, None);
    let path = format!("{RUNNERS}/1");
    let hung = futures::future::join_all((0..4).map(|_| world.ask(Method::GET, &path)));
    let until_all_came = async {
        while github.request_count() < 7 {
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = hung => panic!("they hang"),
        () = until_all_came => {}
    }
    assert_eq!(github.most_at_once(), 4);
}
