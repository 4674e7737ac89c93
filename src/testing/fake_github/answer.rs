//! Answers, and the headers that all of them bear.

use super::{World, credentials::Who, endpoints::Asked, permissions::accepted};
use crate::time::{Instant, after};
use serde_json::{Value, json};

/// The versions of the API that are answered.
const VERSIONS: [&str; 2] = ["2022-11-28", "2026-03-10"];

/// An answer, before it goes out or is broken.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// An answer with a body.
    pub(super) fn json(code: u16, body: &Value) -> Self {
        Self::text(code, body.to_string())
    }

    /// An answer with a body that is written already.
    pub(super) fn text(code: u16, body: String) -> Self {
        Self {
            code,
            headers: Vec::new(),
            body: body.into(),
        }
        .with("Content-Type", "application/json; charset=utf-8")
    }

    /// An answer without one.
    pub(super) fn empty(code: u16) -> Self {
        Self {
            code,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A refusal, as GitHub words them.
    pub(super) fn refusal(code: u16, message: &str) -> Self {
        let body = json!({
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": code.to_string(),
        });
        Self::json(code, &body)
    }

    /// It is not there.
    pub(super) fn not_found() -> Self {
        Self::refusal(404, "Not Found")
    }

    /// The same answer with this header, in place of one of that name.
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same answer with this header, unless it has one of that name.
    pub(super) fn with_default(self, name: &str, value: String) -> Self {
        let mut names = self.headers.iter().map(|(known, _)| known);
        if names.any(|known| known.eq_ignore_ascii_case(name)) {
            return self;
        }
        self.with(name, value)
    }
}

/// The version of the API that a request selects; `None` for one that there is not.
pub(super) fn version(asked: Option<&str>) -> Option<&'static str> {
    match asked {
        None => VERSIONS.first().copied(),
        Some(asked) => VERSIONS.into_iter().find(|&known| known == asked),
    }
}

impl World {
    /// The instant that GitHub's own clock shows at this one.
    pub(super) fn githubs_clock(&self, now: Instant) -> Instant {
        after(now, self.view.skew)
    }

    /// The answer with the headers that all of them bear.
    pub(super) fn headed(&mut self, answer: Answer, asked: &Asked<'_>) -> Answer {
        self.answers += 1;
        let (now, version) = (asked.now, version(asked.request.api_version.as_deref()));
        let date = self.githubs_clock(now).format("%a, %d %b %Y %H:%M:%S GMT");
        let request_id = format!("FA4E:{:06X}:{:X}", self.answers, now.timestamp());
        let answer = answer
            .with_default("Date", date.to_string())
            .with_default("Server", "github.com".into())
            .with_default("X-GitHub-Request-Id", request_id)
            .with_default("X-GitHub-Media-Type", "github.v3; format=json".into());
        let answer = match version {
            Some(version) => answer.with_default("X-GitHub-Api-Version-Selected", version.into()),
            None => answer,
        };
        let answer = match accepted(&asked.request.method, &asked.request.path) {
            Some(accepted) => answer.with_default("X-Accepted-GitHub-Permissions", accepted),
            None => answer,
        };
        let budget = self.budgets.of(asked.who.unwrap_or(Who::Token), now);
        budget.put_on(answer, self.view.skew)
    }
}
