//! Answers that have not changed since they were last given.

use super::{answer::Answer, endpoints::Asked};
use std::hash::{DefaultHasher, Hash, Hasher};

impl Answer {
    /// The answer with an `ETag`, or the 304 that stands for it where the client has it already. Like
    /// GitHub's, an `ETag` is of one token: under the next token it matches nothing.
    pub(super) fn or_unchanged(self, asked: &Asked<'_>) -> Self {
        if asked.request.method != "GET" || self.code != 200 {
            return self;
        }
        let etag = self.etag(asked.token);
        let known = asked.request.if_none_match.as_deref();
        let answer = if known.is_some_and(|known| is_among(&etag, known)) {
            Self::empty(304)
        } else {
            self
        };
        answer.with("ETag", etag)
    }

    fn etag(&self, token: Option<&str>) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.body, token).hash(&mut hasher);
        format!("W/\"{:016x}\"", hasher.finish())
    }
}

/// Whether an `If-None-Match` names this `ETag`, by the weak comparison.
fn is_among(etag: &str, known: &str) -> bool {
    let opaque = |tag: &str| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag).to_owned()
    };
    let mut known = known.split(',').map(opaque);
    known.any(|known| known == "*" || known == opaque(etag))
}
