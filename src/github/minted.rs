//! A token that GitHub mints: of an installation, or for a registration.

use super::{GitHub, GitHubError, call::Call};
use crate::time::{Instant, after};
use chrono::{DateTime, TimeDelta};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// How long a token lives that does not say: an hour ("Create a registration token", "Generating an installation
/// access token").
pub(super) const LIFE: TimeDelta = TimeDelta::hours(1);

#[derive(Deserialize)]
pub(super) struct MintedJson {
    token: SecretString,
    expires_at: Option<String>,
}

impl MintedJson {
    /// The token, and when it ends by our clock; an error where it is none, or has ended already.
    pub(super) fn read(
        self,
        github: &GitHub,
        call: &Call,
    ) -> Result<(SecretString, Instant), GitHubError> {
        let told = self.expires_at.as_deref();
        let told = told.and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        let told = told.map(|at| github.in_our_time(at.to_utc()));
        let now = github.now();
        let expires_at = told.unwrap_or_else(|| after(now, LIFE));
        match can_be_one(self.token.expose_secret()) && now < expires_at {
            true => Ok((self.token, expires_at)),
            false => Err(GitHubError::Malformed {
                request: call.line(),
                status: 201,
                request_id: None,
                what: "the token is none, or has ended already".to_owned(),
            }),
        }
    }
}

/// Whether a text can be a token: no space, no line break, nothing that no token has.
pub(super) fn can_be_one(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
}
