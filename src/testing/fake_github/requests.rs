//! The record of what was asked.

use super::{FakeGitHub, TOKEN};
use hyper::http::{HeaderMap, header, request::Parts};
use url::form_urlencoded;

/// A request that came in. The token is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Its method, such as `GET`.
    pub method: String,
    /// Its path, as it was sent.
    pub path: String,
    /// Its query, decoded.
    pub query: Vec<(String, String)>,
    /// Whether it brought the token.
    pub authorized: bool,
    /// Its `User-Agent`. GitHub refuses requests without one.
    pub user_agent: Option<String>,
    /// Its `X-GitHub-Api-Version`.
    pub api_version: Option<String>,
    /// Its `Accept`.
    pub accept: Option<String>,
}

impl Request {
    pub(super) fn read(head: &Parts) -> Self {
        let query = head.uri.query().unwrap_or_default().as_bytes();
        Self {
            method: head.method.to_string(),
            path: head.uri.path().into(),
            query: form_urlencoded::parse(query).into_owned().collect(),
            authorized: is_authorized(&head.headers),
            user_agent: text(&head.headers, header::USER_AGENT.as_str()),
            api_version: text(&head.headers, "x-github-api-version"),
            accept: text(&head.headers, header::ACCEPT.as_str()),
        }
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

fn is_authorized(headers: &HeaderMap) -> bool {
    let given = text(headers, header::AUTHORIZATION.as_str()).unwrap_or_default();
    given.split_once(' ').is_some_and(|(scheme, token)| {
        ["bearer", "token"].contains(&&*scheme.to_ascii_lowercase()) && token.trim() == TOKEN
    })
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

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.change(|world, _| world.requests.clear());
    }
}
