//! A fake GitHub, and somebody who asks it.

use chrono::TimeDelta;
use reqwest::{Client, Method, Response, header::HeaderMap, redirect};
use scale_in_guard::{
    Scope,
    testing::{FakeGitHub, ManualClock},
};
use serde_json::Value;

pub(crate) const RUNNERS: &str = "/orgs/acme/actions/runners";
pub(crate) const RUNS: &str = "/repos/acme/atlas/actions/runs";
pub(crate) const ATLAS: &str = "acme/atlas";

pub(crate) struct World {
    pub(crate) github: FakeGitHub,
    pub(crate) clock: ManualClock,
    pub(crate) client: Client,
    pub(crate) acme: Scope,
}

impl World {
    pub(crate) async fn new() -> Self {
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

    pub(crate) async fn ask(&self, method: Method, target: &str) -> reqwest::Result<Response> {
        let url = match target.starts_with('/') {
            true => format!("{}{target}", self.github.url()),
            false => target.into(),
        };
        let request = self.client.request(method, url);
        request.bearer_auth(self.github.token()).send().await
    }

    /// Asks with this token and this body, if any.
    pub(crate) async fn post(
        &self,
        target: &str,
        token: &str,
        body: Option<&str>,
    ) -> (u16, HeaderMap, Value) {
        let url = format!("{}{target}", self.github.url());
        let request = self.client.post(url).bearer_auth(token);
        let request = match body {
            Some(body) => request.body(body.to_owned()),
            None => request,
        };
        taken_apart(request.send().await.expect("an answer")).await
    }

    pub(crate) async fn get_with(&self, target: &str, token: &str) -> (u16, HeaderMap, Value) {
        let url = format!("{}{target}", self.github.url());
        let request = self.client.get(url).bearer_auth(token);
        taken_apart(request.send().await.expect("an answer")).await
    }

    pub(crate) async fn get(&self, target: &str) -> (u16, HeaderMap, Value) {
        taken_apart(self.ask(Method::GET, target).await.expect("an answer")).await
    }

    pub(crate) async fn rows(&self, target: &str, key: &str) -> Vec<Value> {
        let (status, _, body) = self.get(target).await;
        assert_eq!(status, 200, "{target}: {body}");
        body[key].as_array().expect("rows").clone()
    }

    pub(crate) async fn names(&self, target: &str) -> Vec<String> {
        let rows = self.rows(target, "runners").await;
        let name = |row: &Value| row["name"].as_str().expect("a name").to_owned();
        rows.iter().map(name).collect()
    }

    pub(crate) async fn is_shown_busy(&self, name: &str) -> bool {
        let rows = self.rows(RUNNERS, "runners").await;
        let row = rows.iter().find(|row| row["name"] == name);
        row.expect("it is listed")["busy"] == true
    }

    pub(crate) async fn statuses(&self, target: &str, key: &str) -> Vec<String> {
        let rows = self.rows(target, key).await;
        let status = |row: &Value| row["status"].as_str().expect("a status").to_owned();
        rows.iter().map(status).collect()
    }

    pub(crate) async fn status(&self, method: Method, target: &str) -> u16 {
        let answer = self.ask(method, target).await.expect("an answer");
        answer.status().as_u16()
    }

    pub(crate) fn register_many(&self, count: usize) {
        for number in 0..count {
            self.github.register(&self.acme, &format!("r-{number}"));
        }
    }
}

async fn taken_apart(answer: Response) -> (u16, HeaderMap, Value) {
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.text().await.expect("a body");
    let body = serde_json::from_str(&body).expect("JSON");
    (status, headers, body)
}

pub(crate) fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}
