//! The fake GitHub: its truth, its view, and its faults.
#![cfg(feature = "testing")]
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test that cannot go on stops

use chrono::TimeDelta;
use reqwest::{Client, Method, Response, header::HeaderMap, redirect};
use scale_in_guard::{
    Scope,
    testing::{
        FakeGitHub, ManualClock,
        fake_github::{Fault, FaultOn, NewRunner},
    },
};
use serde_json::{Value, json};
use std::{collections::HashSet, time::Duration};
use tokio::{io::AsyncReadExt, net::TcpStream, time};

const RUNNERS: &str = "/orgs/acme/actions/runners";
const RUNS: &str = "/repos/acme/atlas/actions/runs";
const ATLAS: &str = "acme/atlas";

struct World {
    github: FakeGitHub,
    clock: ManualClock,
    client: Client,
    acme: Scope,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::at("2026-05-14T02:00:00Z".parse().expect("an instant"));
        let client = Client::builder().user_agent("tests").no_proxy();
        let client = client.redirect(redirect::Policy::none());
        Self {
            github: FakeGitHub::start(clock.clone()).await.expect("a port"),
            clock,
            client: client.build().expect("a client"),
            acme: "org:acme".parse().expect("a scope"),
        }
    }

    async fn ask(&self, method: Method, target: &str) -> reqwest::Result<Response> {
        let url = match target.starts_with('/') {
            true => format!("{}{target}", self.github.url()),
            false => target.into(),
        };
        let request = self.client.request(method, url);
        request.bearer_auth(self.github.token()).send().await
    }

    async fn get(&self, target: &str) -> (u16, HeaderMap, Value) {
        let answer = self.ask(Method::GET, target).await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.text().await.expect("a body");
        let body = serde_json::from_str(&body).expect("JSON");
        (status, headers, body)
    }

    async fn rows(&self, target: &str, key: &str) -> Vec<Value> {
        let (status, _, body) = self.get(target).await;
        assert_eq!(status, 200, "{target}: {body}");
        body[key].as_array().expect("rows").clone()
    }

    async fn names(&self, target: &str) -> Vec<String> {
        let rows = self.rows(target, "runners").await;
        let name = |row: &Value| row["name"].as_str().expect("a name").to_owned();
        rows.iter().map(name).collect()
    }

    async fn is_shown_busy(&self, name: &str) -> bool {
        let rows = self.rows(RUNNERS, "runners").await;
        let row = rows.iter().find(|row| row["name"] == name);
        row.expect("it is listed")["busy"] == true
    }

    async fn statuses(&self, target: &str, key: &str) -> Vec<String> {
        let rows = self.rows(target, key).await;
        let status = |row: &Value| row["status"].as_str().expect("a status").to_owned();
        rows.iter().map(status).collect()
    }

    async fn status(&self, method: Method, target: &str) -> u16 {
        let answer = self.ask(method, target).await.expect("an answer");
        answer.status().as_u16()
    }

    fn register_many(&self, count: usize) {
        for number in 0..count {
            self.github.register(&self.acme, &format!("r-{number}"));
        }
    }
}

fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

#[tokio::test]
async fn a_job_occupies_its_runner_until_it_is_over() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    let id = github.register(acme, "r-1");
    let job = github.queue_job(ATLAS, &["self-hosted"]);
    assert!(!github.is_occupied(acme, "r-1"));
    assert_eq!(world.statuses(RUNS, "workflow_runs").await, ["queued"]);

    github.assign(job, acme, "r-1");
    assert!(github.is_occupied(acme, "r-1"));
    assert!(world.is_shown_busy("r-1").await);
    let path = format!("/repos/{ATLAS}/actions/jobs/{job}");
    let (_, _, row) = world.get(&path).await;
    assert_eq!(row["runner_id"], json!(id));
    assert_eq!(row["runner_name"], "r-1");

    let other = github.add_job_to_run(job, &["gpu"]);
    github.finish_job(job);
    assert!(!github.is_occupied(acme, "r-1"));
    assert!(!world.is_shown_busy("r-1").await);
    let running = format!("{RUNS}?status=in_progress");
    assert_eq!(world.rows(&running, "workflow_runs").await.len(), 1);

    github.finish_job(other);
    assert!(world.rows(&running, "workflow_runs").await.is_empty());
    let success = format!("{RUNS}?status=success");
    let success = world.rows(&success, "workflow_runs").await;
    assert_eq!(success[0]["conclusion"], "success");
    github.assign(job, acme, "r-1");
    assert!(!github.is_occupied(acme, "r-1"), "what is over stays over");
}

#[tokio::test]
async fn an_ephemeral_runner_is_gone_after_its_job() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    let ephemeral = NewRunner {
        ephemeral: true,
        ..NewRunner::named("r-1")
    };
    let id = github.register_with(acme, ephemeral);
    let job = github.start_job(acme, "r-1", ATLAS);
    assert_eq!(world.names(RUNNERS).await, ["r-1"]);
    github.finish_job(job);
    let path = format!("{RUNNERS}/{id}");
    assert_eq!(world.status(Method::GET, &path).await, 404);

    let ephemeral = NewRunner {
        ephemeral: true,
        ..NewRunner::named("r-2")
    };
    github.register_with(acme, ephemeral);
    github.start_job(acme, "r-2", ATLAS);
    assert!(github.kill(acme, "r-2").was_occupied);
    assert_eq!(world.names(RUNNERS).await, ["r-2"], "the dead leave theirs");
}

#[tokio::test]
async fn a_flag_belongs_to_a_registration_and_a_job_to_a_machine() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    let old = github.register(acme, "r-1");
    github.register(acme, "r-2");
    let job = github.start_job(acme, "r-1", ATLAS);
    let new = github.register(acme, "r-1");
    assert_ne!(old, new);
    assert!(!world.is_shown_busy("r-1").await);
    assert!(github.is_occupied(acme, "r-1"), "the machine is the same");

    github.assign(job, acme, "r-2");
    assert!(world.is_shown_busy("r-2").await);
    assert!(!github.is_occupied(acme, "r-1"));
    github.set_waiting(job, "queued");
    assert!(!world.is_shown_busy("r-2").await);
    assert!(!github.is_occupied(acme, "r-2"));
}

#[tokio::test]
async fn the_dead_are_told_from_the_killed() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    world.register_many(2);
    let job = github.start_job(acme, "r-0", ATLAS);
    github.deregister(acme, "r-0");
    assert!(github.kill(acme, "r-0").was_occupied, "listed or not");
    assert!(!github.kill(acme, "r-0").was_occupied, "twice is once");
    assert!(!github.kill(acme, "r-1").was_occupied);
    let (_, _, row) = world
        .get(&format!("/repos/{ATLAS}/actions/jobs/{job}"))
        .await;
    assert_eq!(row["conclusion"], "failure");
    assert_eq!(world.rows(RUNNERS, "runners").await[0]["status"], "offline");
}

#[tokio::test]
async fn a_flag_lags_and_lies() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    github.register(acme, "r-1");
    github.lag_busy(minutes(5));
    let job = github.start_job(acme, "r-1", ATLAS);
    assert!(!world.is_shown_busy("r-1").await);
    world.clock.advance(minutes(4));
    assert!(!world.is_shown_busy("r-1").await);
    world.clock.advance(minutes(1));
    assert!(world.is_shown_busy("r-1").await);

    github.lie_busy(acme, "r-1", Some(false));
    assert!(!world.is_shown_busy("r-1").await);
    github.lie_busy(acme, "r-1", None);
    assert!(world.is_shown_busy("r-1").await);

    github.finish_job(job);
    assert!(world.is_shown_busy("r-1").await, "it lags both ways");
    github.lag_busy(TimeDelta::zero());
    assert!(!world.is_shown_busy("r-1").await);
    github.lie_busy(acme, "r-1", Some(true));
    assert!(world.is_shown_busy("r-1").await);
}

#[tokio::test]
async fn jobs_lag_and_hide() {
    let world = World::new().await;
    let github = &world.github;
    github.add_repository(ATLAS);
    github.lag_jobs(minutes(2));
    let job = github.queue_job(ATLAS, &[]);
    assert!(world.rows(RUNS, "workflow_runs").await.is_empty());
    world.clock.advance(minutes(1));
    github.assign(job, &world.acme, "r-1");
    world.clock.advance(minutes(1));
    assert_eq!(world.statuses(RUNS, "workflow_runs").await, ["queued"]);
    world.clock.advance(minutes(1));
    assert_eq!(world.statuses(RUNS, "workflow_runs").await, ["in_progress"]);

    github.show_run_as(job, Some("completed"));
    assert_eq!(world.statuses(RUNS, "workflow_runs").await, ["completed"]);
    let path = format!("/repos/{ATLAS}/actions/jobs/{job}");
    assert_eq!(world.get(&path).await.2["status"], "in_progress");
    github.show_run_as(job, None);

    github.hide_job(job, true);
    assert!(world.rows(RUNS, "workflow_runs").await.is_empty());
    assert_eq!(world.status(Method::GET, &path).await, 404);
    github.hide_job(job, false);
    assert_eq!(world.status(Method::GET, &path).await, 200);
}

#[tokio::test]
async fn a_job_that_is_run_again_is_shown_in_its_last_attempt() {
    let world = World::new().await;
    let github = &world.github;
    let first = github.start_job(&world.acme, "r-1", ATLAS);
    github.finish_job_as(first, "failure");
    let again = github.rerun_job(first);
    let (_, _, row) = world
        .get(&format!("/repos/{ATLAS}/actions/jobs/{again}"))
        .await;
    assert_eq!(row["run_attempt"], 2);
    let jobs = format!("{RUNS}/{}/jobs", row["run_id"]);
    assert_eq!(world.statuses(&jobs, "jobs").await, ["queued"]);
    let all = format!("{jobs}?filter=all");
    assert_eq!(world.statuses(&all, "jobs").await, ["completed", "queued"]);
}

#[tokio::test]
async fn a_runner_is_missing_from_the_listing_or_by_number() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    world.register_many(2);
    github.omit_from_listing(acme, "r-0", true);
    github.hide_by_id(acme, "r-1", true);
    assert_eq!(world.names(RUNNERS).await, ["r-1"]);
    assert_eq!(
        world.status(Method::GET, &format!("{RUNNERS}/1")).await,
        200
    );
    assert_eq!(
        world.status(Method::GET, &format!("{RUNNERS}/2")).await,
        404
    );
    github.omit_from_listing(acme, "r-0", false);
    github.hide_by_id(acme, "r-1", false);
    assert_eq!(world.names(RUNNERS).await, ["r-0", "r-1"]);
    assert_eq!(
        world.status(Method::GET, &format!("{RUNNERS}/2")).await,
        200
    );
}

/// The address that a `Link` header gives for a relation.
fn linked(headers: &HeaderMap, relation: &str) -> Option<String> {
    let links = headers.get("link")?.to_str().expect("text");
    let wanted = format!("; rel=\"{relation}\"");
    let link = links.split(", ").find(|link| link.ends_with(&wanted))?;
    let (url, _) = link.strip_prefix('<')?.split_once('>')?;
    Some(url.to_owned())
}

#[tokio::test]
async fn pages_are_linked_as_github_links_them() {
    let world = World::new().await;
    world.register_many(5);
    let (_, headers, body) = world.get(&format!("{RUNNERS}?per_page=2")).await;
    assert_eq!(body["total_count"], 5);
    let links = headers["link"].to_str().expect("text");
    let base = format!("{}/organizations/1/actions/runners", world.github.url());
    let expected = format!(
        "<{base}?per_page=2&page=2>; rel=\"next\", <{base}?per_page=2&page=3>; rel=\"last\""
    );
    assert_eq!(links, expected);

    let mut names = Vec::new();
    let mut next = Some(format!("{RUNNERS}?per_page=2"));
    while let Some(page) = next {
        names.extend(world.names(&page).await);
        next = linked(&world.get(&page).await.1, "next");
    }
    assert_eq!(names, ["r-0", "r-1", "r-2", "r-3", "r-4"]);

    let (_, headers, _) = world.get(&format!("{RUNNERS}?per_page=2&page=3")).await;
    let leads_to =
        |relation, page| linked(&headers, relation).is_some_and(|url| url.ends_with(page));
    assert!(leads_to("prev", "&page=2") && leads_to("first", "&page=1"));
    assert_eq!(linked(&headers, "next"), None);
    let (_, headers, _) = world.get(RUNNERS).await;
    assert!(!headers.contains_key("link"), "one page is all");
}

#[tokio::test]
async fn a_page_has_30_rows_unless_told_and_at_most_100() {
    let world = World::new().await;
    world.register_many(120);
    for (query, count) in [
        ("", 30),
        ("?per_page=100", 100),
        ("?per_page=1000", 100),
        ("?per_page=0", 30),
        ("?page=4", 30),
        ("?page=5", 0),
        ("?name=r-7", 1),
        ("?name=R-7", 0),
        ("?page=18446744073709551615", 0),
    ] {
        let names = world.names(&format!("{RUNNERS}{query}")).await;
        assert_eq!(names.len(), count, "{query}");
    }
}

#[tokio::test]
async fn a_row_gets_lost_between_pages() {
    let world = World::new().await;
    world.register_many(5);
    world.github.drift_between_pages(true);
    let mut names = Vec::new();
    for page in 1..=3 {
        let target = format!("{RUNNERS}?per_page=2&page={page}");
        assert_eq!(world.get(&target).await.2["total_count"], 5);
        names.extend(world.names(&target).await);
    }
    assert_eq!(names, ["r-0", "r-1", "r-3", "r-4"]);
    world.github.claim_total(Some(4));
    assert_eq!(world.get(RUNNERS).await.2["total_count"], 4);
    world.github.claim_total(None);
    assert_eq!(world.get(RUNNERS).await.2["total_count"], 5);
}

#[tokio::test]
async fn a_search_for_runs_ends_after_a_thousand() {
    let world = World::new().await;
    for _ in 0..1001 {
        world.github.queue_job(ATLAS, &[]);
    }
    let page = |query: &str| format!("{RUNS}?per_page=100&page=11{query}");
    assert_eq!(world.rows(&page(""), "workflow_runs").await.len(), 1);
    let searched = page("&status=queued");
    assert!(world.rows(&searched, "workflow_runs").await.is_empty());
    let (_, headers, body) = world
        .get(&format!("{RUNS}?per_page=100&status=queued"))
        .await;
    assert_eq!(body["total_count"], 1001);
    let last = linked(&headers, "last").expect("a last page");
    assert!(last.ends_with("page=10"), "{last}");
}

#[tokio::test]
async fn delete_refuses_a_busy_runner_unless_the_flag_lies() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    let id = github.register(acme, "r-1");
    let job = github.start_job(acme, "r-1", ATLAS);
    let path = format!("{RUNNERS}/{id}");
    let answer = world.ask(Method::DELETE, &path).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 422);
    let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    let why = "Bad request - Runner \"r-1\" is currently running a job and cannot be deleted.";
    assert_eq!(body["message"], why);

    github.lie_busy(acme, "r-1", Some(false));
    assert_eq!(world.status(Method::DELETE, &path).await, 204);
    assert_eq!(world.status(Method::GET, &path).await, 404);
    assert_eq!(world.status(Method::DELETE, &path).await, 404);
    assert!(github.is_occupied(acme, "r-1"), "the job runs on");
    let (_, _, row) = world
        .get(&format!("/repos/{ATLAS}/actions/jobs/{job}"))
        .await;
    assert_eq!(row["status"], "in_progress");
}

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
async fn what_a_later_github_may_show_is_shown() {
    let world = World::new().await;
    let (github, acme) = (&world.github, &world.acme);
    github.register(acme, "r-1");
    let job = github.start_job(acme, "r-1", ATLAS);
    github.extra_fields(true);
    let rows = world.rows(RUNNERS, "runners").await;
    assert_eq!((rows.len(), &rows[0]["os"]), (2, &Value::Null));
    assert_eq!(rows[1]["status"], "dozing");
    let runs = world.rows(RUNS, "workflow_runs").await;
    let jobs = format!("{RUNS}/{}/jobs", runs[0]["id"]);
    let statuses = world.statuses(&jobs, "jobs").await;
    assert_eq!(statuses, ["in_progress", "levitating"]);

    github.show_runner_fields(acme, "r-1", json!({ "busy": null }));
    github.show_job_fields(job, json!({ "runner_id": 0, "runner_name": "" }));
    assert_eq!(world.rows(RUNNERS, "runners").await[0]["busy"], Value::Null);
    assert_eq!(world.rows(&jobs, "jobs").await[0]["runner_id"], 0);
    github.extra_fields(false);
    github.show_runner_fields(acme, "r-1", json!({}));
    assert!(world.is_shown_busy("r-1").await);
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
