//! The record of what was asked.

use super::FakeGitHub;
use crate::time::Instant;
use hyper::http::{HeaderMap, header, request::Parts};
use serde_json::Value;
use url::form_urlencoded;

/// A request that came in. The token is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// When it came in, by the clock of the fake.
    pub at: Instant,
    /// Its method, such as `GET`.
    pub method: String,
    /// Its path, as it was sent.
    pub path: String,
    /// Its query, decoded.
    pub query: Vec<(String, String)>,
    /// Whether it brought a credential that is accepted there.
    pub authorized: bool,
    /// Its `User-Agent`. GitHub refuses requests without one.
    pub user_agent: Option<String>,
    /// Its `X-GitHub-Api-Version`.
    pub api_version: Option<String>,
    /// Its `Accept`.
    pub accept: Option<String>,
    /// Its `If-None-Match`.
    pub if_none_match: Option<String>,
    /// Its body, where that is JSON.
    pub body: Option<Value>,
}

/// What a request has for a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// None.
    Nothing,
    /// JSON.
    Json(Value),
    /// Anything else.
    Malformed,
    /// More than is kept.
    TooLong,
}

impl Sent {
    /// What these bytes are.
    pub(super) fn read(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Nothing;
        }
        serde_json::from_slice(bytes).map_or(Self::Malformed, Self::Json)
    }
}

impl Request {
    /// What came in, before it is known who sent it.
    pub(super) fn read(head: &Parts, sent: &Sent, at: Instant) -> Self {
        let query = head.uri.query().unwrap_or_default().as_bytes();
        Self {
            at,
            method: head.method.to_string(),
            path: head.uri.path().into(),
            query: form_urlencoded::parse(query).into_owned().collect(),
            authorized: false,
            user_agent: text(&head.headers, header::USER_AGENT.as_str()),
            api_version: text(&head.headers, "x-github-api-version"),
            accept: text(&head.headers, header::ACCEPT.as_str()),
            if_none_match: text(&head.headers, header::IF_NONE_MATCH.as_str()),
            body: match sent {
                Sent::Json(body) => Some(body.clone()),
                _ => None,
            },
        }
    }

    /// The same, for the first page.
    pub(super) fn at_first_page(&self) -> Self {
        let mut request = self.clone();
        request.query.retain(|(name, _)| name != "page");
        request
    }

    /// The value of a query parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut query = self.query.iter();
        let (_, value) = query.find(|(known, _)| known == name)?;
        Some(value)
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(String::from)
}

/// The record.
impl FakeGitHub {
    /// The requests so far, also those that failed, in the order they came in.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.change(|world, _| world.requests.clone())
    }

    /// How many requests came in so far.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.change(|world, _| world.requests.len())
    }

    /// Forgets the requests so far, and how many were counted against the primary rate limit.
    pub fn clear_requests(&self) {
        self.change(|world, _| {
            world.requests.clear();
            world.budgets.forget_spent();
        });
    }
}
