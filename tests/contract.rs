//! The fake GitHub against GitHub's published contract.
#![cfg(feature = "testing")]
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test that cannot go on stops

#[path = "contract/schema.rs"]
mod schema;

use scale_in_guard::{
    Scope,
    testing::{
        FakeGitHub, ManualClock,
        fake_github::{NewRunner, Request},
    },
};
use schema::{Unknown, check, check_answer, check_request, contract};
use serde_json::{Value, json};

/// A GitHub with runners and jobs in every state, and a client to ask it.
struct Asked {
    github: FakeGitHub,
    client: reqwest::Client,
    spec: Value,
}

fn scope(text: &str) -> Scope {
    text.parse().expect("a scope")
}

impl Asked {
    async fn new() -> Self {
        let clock = ManualClock::at("2026-05-14T02:00:00Z".parse().expect("an instant"));
        let client = reqwest::Client::builder().user_agent("tests").no_proxy();
        Self {
            github: FakeGitHub::start(clock).await.expect("a port"),
            client: client.build().expect("a client"),
            spec: contract(),
        }
    }

    /// Asks, and holds the answer and the request against the contract.
    async fn hold(&self, method: &str, path: &str, contract: &str, status: u16) -> String {
        let url = format!("{}{path}", self.github.url());
        let method: reqwest::Method = method.parse().expect("a method");
        let request = self.client.request(method.clone(), &url);
        let answer = request.bearer_auth(self.github.token()).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        let body = answer.text().await.expect("a body");
        // GitHub's errors carry their status, which the contract leaves out.
        let unknown = match status {
            200 => Unknown::Refused,
            _ => Unknown::Allowed,
        };
        let call = (method.as_str(), contract, status);
        check_answer(&self.spec, call, &body, unknown).expect(&body);
        let requests = self.github.requests();
        let request = requests.last().expect("it was recorded");
        check_request(&self.spec, request).expect(path);
        body
    }

    fn populate(&self, scope: &Scope) {
        let github = &self.github;
        github.register(scope, "idle");
        github.register(scope, "busy");
        github.start_job(scope, "busy", "acme/atlas");
        github.register_with(
            scope,
            NewRunner {
                ephemeral: true,
                labels: vec!["self-hosted".into(), "gpu".into()],
                ..NewRunner::named("ephemeral")
            },
        );
        github.register(scope, "gone");
        github.set_status(scope, "gone", "offline");
    }
}

const REPOSITORY: &str = "/repos/{owner}/{repo}/actions";
const ORGANIZATION: &str = "/orgs/{org}/actions";

#[tokio::test]
async fn runners_are_as_the_contract_has_them() {
    let asked = Asked::new().await;
    for (text, path, contract) in [
        ("repo:acme/atlas", "/repos/acme/atlas/actions", REPOSITORY),
        ("org:acme", "/orgs/acme/actions", ORGANIZATION),
        // The contract has no enterprises: they are organisations by another name.
        ("enterprise:acme", "/enterprises/acme/actions", ORGANIZATION),
        ("org:other", "/api/v3/orgs/other/actions", ORGANIZATION),
    ] {
        let scope = scope(text);
        asked.populate(&scope);
        let listing = format!("{contract}/runners");
        let by_id = format!("{contract}/runners/{{runner_id}}");
        let body = asked
            .hold(
                "GET",
                &format!("{path}/runners?per_page=100"),
                &listing,
                200,
            )
            .await;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["total_count"], 4, "{text}");
        for runner in body["runners"].as_array().expect("rows") {
            let one = format!("{path}/runners/{}", runner["id"]);
            asked.hold("GET", &one, &by_id, 200).await;
            let is_busy = runner["busy"] == true;
            let status = if is_busy { 422 } else { 204 };
            asked.hold("DELETE", &one, &by_id, status).await;
        }
        let named = format!("{path}/runners?name=busy&per_page=1&page=1");
        asked.hold("GET", &named, &listing, 200).await;
    }
}

#[tokio::test]
async fn jobs_are_as_the_contract_has_them() {
    let asked = Asked::new().await;
    let acme = scope("org:acme");
    let github = &asked.github;
    github.register(&acme, "r-1");
    let queued = github.queue_job("acme/atlas", &["self-hosted"]);
    let running = github.start_job(&acme, "r-1", "acme/atlas");
    let waiting = github.add_job_to_run(running, &["gpu"]);
    github.set_waiting(waiting, "waiting");
    let done = github.start_job(&acme, "r-1", "acme/atlas");
    github.finish_job(done);
    let failed = github.start_job(&acme, "r-1", "acme/atlas");
    github.finish_job_as(failed, "failure");
    let again = github.rerun_job(failed);

    let base = "/repos/acme/atlas/actions";
    for job in [queued, running, waiting, done, failed, again] {
        let path = format!("{base}/jobs/{job}");
        let contract = format!("{REPOSITORY}/jobs/{{job_id}}");
        let body = asked.hold("GET", &path, &contract, 200).await;
        let row: Value = serde_json::from_str(&body).expect("JSON");
        for query in ["", "?filter=latest", "?filter=all&per_page=1&page=1"] {
            let path = format!("{base}/runs/{}/jobs{query}", row["run_id"]);
            let contract = format!("{REPOSITORY}/runs/{{run_id}}/jobs");
            asked.hold("GET", &path, &contract, 200).await;
        }
    }
    for query in [
        "",
        "?status=queued",
        "?status=in_progress",
        "?status=completed&per_page=100",
        "?status=waiting",
        "?status=pending",
        "?status=requested&page=2",
        "?exclude_pull_requests=true",
    ] {
        let path = format!("{base}/runs{query}");
        let contract = format!("{REPOSITORY}/runs");
        asked.hold("GET", &path, &contract, 200).await;
    }
    asked.hold("GET", "/rate_limit", "/rate_limit", 200).await;
}

#[tokio::test]
async fn what_is_not_there_is_404_with_githubs_body() {
    let asked = Asked::new().await;
    asked.github.add_repository("acme/atlas");
    let schema = &asked.spec["components"]["schemas"]["basic-error"];
    for path in [
        "/orgs/nobody/actions/runners",
        "/orgs/acme/actions/runners/7",
        "/repos/acme/nothing/actions/runs",
        "/repos/acme/atlas/actions/runs/7/jobs",
        "/repos/acme/atlas/actions/jobs/7",
        "/repos/acme/atlas/actions/jobs/seven",
        "/enterprises/nobody/actions/runners",
        "/",
    ] {
        let url = format!("{}{path}", asked.github.url());
        let request = asked.client.get(url).bearer_auth(asked.github.token());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 404, "{path}");
        let body = answer.text().await.expect("a body");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        check(&asked.spec, schema, &body, Unknown::Refused).expect(path);
        assert_eq!(body["message"], "Not Found");
    }
}

fn job() -> Value {
    json!({
        "id": 1, "run_id": 2, "run_url": "u", "node_id": "n", "head_sha": "s", "url": "u",
        "html_url": null, "status": "queued", "conclusion": null,
        "created_at": "2026-05-14T02:00:00Z", "started_at": "2026-05-14T02:00:00Z",
        "completed_at": null, "name": "j", "check_run_url": "u", "labels": ["a"],
        "runner_id": null, "runner_name": null, "runner_group_id": null,
        "runner_group_name": null, "workflow_name": null, "head_branch": null,
    })
}

#[test]
fn the_checker_finds_what_is_wrong_with_a_job() {
    let spec = contract();
    let schema = &spec["components"]["schemas"]["job"];
    let holds = |job: &Value| check(&spec, schema, job, Unknown::Refused);
    holds(&job()).expect("nothing is wrong with it");
    for (field, value, why) in [
        ("id", json!("1"), "no \"integer\""),
        ("id", json!(1.5), "no \"integer\""),
        ("id", json!(null), "no \"integer\""),
        (
            "status",
            json!("levitating"),
            "$.status: \"levitating\" is none of",
        ),
        ("status", json!(null), "$.status: null is no"),
        ("conclusion", json!("splendid"), "is none of"),
        ("started_at", json!(null), "no \"string\""),
        ("started_at", json!("yesterday"), "no date-time"),
        ("labels", json!(["a", 1]), "$.labels[1]"),
        ("labels", json!({}), "no \"array\""),
        ("steps", json!([{ "name": "s" }]), "is missing"),
        ("moons", json!(2), "no such field"),
    ] {
        let mut wrong = job();
        wrong[field] = value;
        let found = holds(&wrong).expect_err(field);
        assert!(found.contains(why), "{field}: {found}");
    }
    for field in ["id", "runner_id", "created_at"] {
        let mut wrong = job();
        wrong.as_object_mut().expect("an object").remove(field);
        let found = holds(&wrong).expect_err(field);
        assert!(found.contains("is missing"), "{found}");
    }
}

#[test]
fn the_checker_knows_the_words_that_the_contract_uses() {
    let spec = json!({ "components": { "text": { "type": "string" } } });
    let fits = |schema: Value, value: Value| check(&spec, &schema, &value, Unknown::Allowed);
    let text = json!({ "$ref": "#/components/text" });
    assert!(fits(text.clone(), json!("a")).is_ok());
    assert!(fits(text.clone(), json!(1)).is_err());
    assert!(fits(json!({ "$ref": "#/nowhere" }), json!(1)).is_err());

    let number = json!({ "type": "number" });
    let either = json!([text, number]);
    assert!(fits(json!({ "anyOf": either }), json!(1)).is_ok());
    assert!(fits(json!({ "anyOf": either }), json!(true)).is_err());
    assert!(fits(json!({ "oneOf": either }), json!("a")).is_ok());
    assert!(fits(json!({ "oneOf": [number, number] }), json!(1)).is_err());
    assert!(fits(json!({ "allOf": [number, { "enum": [1] }] }), json!(1)).is_ok());
    assert!(fits(json!({ "allOf": [number, { "enum": [1] }] }), json!(2)).is_err());

    let closed = json!({ "properties": { "a": {} }, "additionalProperties": false });
    assert!(fits(closed.clone(), json!({ "a": 1 })).is_ok());
    assert!(fits(closed, json!({ "b": 1 })).is_err());
    let texts = json!({ "additionalProperties": text });
    assert!(fits(texts.clone(), json!({ "b": "c" })).is_ok());
    assert!(fits(texts, json!({ "b": 1 })).is_err());

    assert!(
        fits(json!({ "maxLength": 1 }), json!("a")).is_err(),
        "a word it does not know"
    );
}

#[test]
fn the_checker_knows_which_answers_there_are() {
    let spec = contract();
    let runner = format!("{ORGANIZATION}/runners/{{runner_id}}");
    let holds = |method, status, body| {
        check_answer(&spec, (method, &runner, status), body, Unknown::Allowed)
    };
    holds("DELETE", 204, "").expect("nothing");
    holds("DELETE", 204, "{}").expect_err("a body too many");
    holds("DELETE", 422, "{}").expect_err("no message");
    holds("GET", 418, "{}").expect_err("no such answer");
    holds("GET", 200, "{").expect_err("half a body");
}

/// What a real request is recorded as.
async fn recorded(asked: &Asked, method: &str, target: &str) -> Request {
    let url = format!("{}{target}", asked.github.url());
    let method = method.parse().expect("a method");
    let answer = asked.client.request(method, url).send().await;
    answer.expect("an answer");
    asked.github.requests().pop().expect("a request")
}

#[tokio::test]
async fn requests_are_held_against_the_contract() {
    let asked = Asked::new().await;
    for target in [
        "/repos/acme/atlas/actions/runs?status=in_progress&per_page=100&page=2",
        "/repositories/1/actions/runs?status=queued",
        "/organizations/1/actions/runners?name=a%20b",
        "/enterprises/acme/actions/runners/7",
        "/api/v3/orgs/acme/actions/runners",
        "/rate_limit",
    ] {
        let request = recorded(&asked, "GET", target).await;
        check_request(&asked.spec, &request).expect(target);
    }
    for (method, target, why) in [
        ("GET", "/orgs/acme/actions/runners?size=100", "no parameter"),
        ("GET", "/orgs/acme/actions/runners?per_page=many", "integer"),
        ("GET", "/orgs/acme/actions/runners?page=1&page=2", "2 times"),
        ("GET", "/orgs/acme/actions/runners/r-1", "integer"),
        (
            "GET",
            "/repos/acme/atlas/actions/runs?status=busy",
            "none of",
        ),
        (
            "GET",
            "/repos/acme/atlas/actions/runs/1/jobs?filter=new",
            "none of",
        ),
        ("GET", "/repos/acme/atlas/actions", "has no GET"),
        ("GET", "/orgs//actions/runners", "has no GET"),
        ("DELETE", "/orgs/acme/actions/runners", "has no DELETE"),
    ] {
        let request = recorded(&asked, method, target).await;
        let found = check_request(&asked.spec, &request).expect_err(target);
        assert!(found.contains(why), "{found}");
    }
}
