//! Answers that are none.

use super::FakeGitHub;
use crate::time::Instant;
use std::{ops::Range, time::Duration};

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is answered with this instead, and not carried out.
    Status {
        /// The status code.
        code: u16,
        /// The body.
        body: String,
        /// Headers besides the usual ones, or instead of them.
        headers: Vec<(String, String)>,
    },
    /// It is sent elsewhere.
    Redirect {
        /// The status code, such as 301 or 307.
        code: u16,
        /// The `Location`.
        to: String,
    },
    /// The connection is closed; the request was not carried out.
    Cut,
    /// The request is carried out, then the connection is closed without an answer.
    CutAfter,
    /// The request is carried out; the connection is closed in the middle of the answer's body, or
    /// before it where there is none.
    CutBody,
    /// The request is carried out; its answer is 200 with the first half of its body, as though that
    /// were all.
    Malformed,
    /// The request is carried out; the headers of its answer come at once, then its body, byte by
    /// byte.
    Drip {
        /// The pause before each byte.
        every: Duration,
    },
    /// It is refused because the hour's requests are used up, and not carried out.
    PrimaryLimit {
        /// The status code: 403, or 429.
        code: u16,
        /// In how many seconds the limit resets, by GitHub's clock when it answers.
        reset_in_seconds: i64,
    },
    /// The request is carried out, for the first page whichever it asks for, and that leads on: the list
    /// never ends.
    Endless {
        /// Whether each page leads to another one; else to itself.
        onward: bool,
    },
    /// It is never answered.
    Hang,
}

impl Fault {
    /// A status code, with a body as GitHub would write it.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status {
            code,
            body: format!(r#"{{"message":"Fault {code}","status":"{code}"}}"#),
            headers: Vec::new(),
        }
    }

    /// A status code with a page for people, as a proxy or GitHub's own front gives it.
    #[must_use]
    pub fn html(code: u16) -> Self {
        Self::Status {
            code,
            body: format!(
                "<!DOCTYPE html>\n<html><head><title>{code}</title></head><body><h1>Unicorn!</h1></body></html>\n"
            ),
            headers: vec![("Content-Type".into(), "text/html; charset=utf-8".into())],
        }
    }

    /// A primary rate limit that is used up, refused with 403, and resets in so many seconds.
    #[must_use]
    pub fn primary_limit(reset_in_seconds: i64) -> Self {
        Self::PrimaryLimit {
            code: 403,
            reset_in_seconds,
        }
    }

    /// The same, refused with 429.
    #[must_use]
    pub fn too_many_requests(reset_in_seconds: i64) -> Self {
        Self::PrimaryLimit {
            code: 429,
            reset_in_seconds,
        }
    }

    /// A refusal because the token lacks a permission, such as `administration=read`.
    #[must_use]
    pub fn lacks_permission(accepted: &str) -> Self {
        Self::Status {
            code: 403,
            body: r#"{"message":"Resource not accessible by integration","documentation_url":"https://docs.github.com/rest","status":"403"}"#.into(),
            headers: vec![("X-Accepted-GitHub-Permissions".into(), accepted.into())],
        }
    }

    /// A secondary rate limit that asks to wait for so many seconds.
    #[must_use]
    pub fn slow_down(seconds: u64) -> Self {
        Self::Status {
            code: 403,
            body: r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"}"#.into(),
            headers: vec![("Retry-After".into(), seconds.to_string())],
        }
    }
}

/// Which requests a fault hits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FaultOn {
    method: Option<String>,
    part: String,
    skipped: u32,
    /// The share that is hit, in percent, and the seed that it is drawn by.
    share: Option<(u8, u64)>,
}

impl FaultOn {
    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests whose path and query, as they were sent, contain this.
    #[must_use]
    pub fn path(part: &str) -> Self {
        Self {
            part: part.into(),
            ..Self::default()
        }
    }

    /// Those of this method alone.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Not the first so many of them.
    #[must_use]
    pub fn after(mut self, requests: u32) -> Self {
        self.skipped = requests;
        self
    }

    /// Only so many percent of them, drawn one by one; the same seed draws the same.
    #[must_use]
    pub fn share(mut self, percent: u8, seed: u64) -> Self {
        self.share = Some((percent, seed));
        self
    }

    fn hits(&self, method: &str, target: &str) -> bool {
        let methods = self.method.as_deref();
        methods.is_none_or(|hit| hit.eq_ignore_ascii_case(method)) && target.contains(&self.part)
    }
}

impl From<&str> for FaultOn {
    fn from(part: &str) -> Self {
        Self::path(part)
    }
}

/// The faults that are set.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    on: FaultOn,
    fault: Fault,
    left: Option<u32>,
    window: Option<Range<Instant>>,
    random: fastrand::Rng,
}

impl Rule {
    fn hits(&self, method: &str, target: &str, now: Instant) -> bool {
        let is_now = self
            .window
            .as_ref()
            .is_none_or(|window| window.contains(&now));
        is_now && self.on.hits(method, target)
    }
}

impl Faults {
    /// What goes wrong with this request: the first fault that hits it.
    pub(super) fn hit(&mut self, method: &str, target: &str, now: Instant) -> Option<Fault> {
        let hits = self
            .0
            .iter_mut()
            .filter(|rule| rule.hits(method, target, now));
        for rule in hits {
            if rule.on.skipped > 0 {
                rule.on.skipped -= 1;
                continue;
            }
            let drawn = rule.random.u8(0..100);
            if rule.on.share.is_some_and(|(percent, _)| drawn >= percent) {
                continue;
            }
            match &mut rule.left {
                None => {}
                Some(0) => continue,
                Some(left) => *left -= 1,
            }
            return Some(rule.fault.clone());
        }
        None
    }
}

/// The faults.
impl FakeGitHub {
    /// Lets requests fail, so many times or always. Of several faults that hit a request, the one that
    /// was set first counts.
    pub fn fail(&self, on: impl Into<FaultOn>, fault: Fault, times: Option<u32>) {
        self.add_rule(on.into(), fault, times, None);
    }

    /// Lets requests fail while the clock of the fake is in this window; at its end they do no more.
    pub fn fail_between(
        &self,
        on: impl Into<FaultOn>,
        fault: Fault,
        from: Instant,
        until: Instant,
    ) {
        self.add_rule(on.into(), fault, None, Some(from..until));
    }

    fn add_rule(
        &self,
        on: FaultOn,
        fault: Fault,
        left: Option<u32>,
        window: Option<Range<Instant>>,
    ) {
        let seed = on.share.map_or(0, |(_, seed)| seed);
        let rule = Rule {
            on,
            fault,
            left,
            window,
            random: fastrand::Rng::with_seed(seed),
        };
        self.change(|world, _| world.faults.0.push(rule));
    }

    /// Lets nothing fail any more.
    pub fn clear_faults(&self) {
        self.change(|world, _| world.faults.0.clear());
    }
}
