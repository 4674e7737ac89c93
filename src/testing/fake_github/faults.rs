//! Answers that are none.

use super::FakeGitHub;

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
}

impl Faults {
    /// What goes wrong with this request: the first fault that hits it.
    pub(super) fn hit(&mut self, method: &str, target: &str) -> Option<Fault> {
        let hits = self
            .0
            .iter_mut()
            .filter(|rule| rule.on.hits(method, target));
        for rule in hits {
            if rule.on.skipped > 0 {
                rule.on.skipped -= 1;
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
        let (on, left) = (on.into(), times);
        self.change(|world, _| world.faults.0.push(Rule { on, fault, left }));
    }

    /// Lets nothing fail any more.
    pub fn clear_faults(&self) {
        self.change(|world, _| world.faults.0.clear());
    }
}
