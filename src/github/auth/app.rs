//! A GitHub App, and the JWT by which it speaks for itself.

use super::{AppKey, bearer};
use crate::{
    github::SetupError,
    time::{Instant, after},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use reqwest::header::HeaderValue;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// How far back a JWT is dated, as GitHub advises ("Generating a JSON Web Token (JWT) for a GitHub App"): our
/// clock may be ahead of its.
const BACK: TimeDelta = TimeDelta::seconds(60);

/// How long a JWT lives, counted from its date; GitHub takes ten minutes at the most.
const LIFE: TimeDelta = TimeDelta::minutes(9);

/// A JWT lives up to so many seconds less, so that no two are the same.
const SPREAD: i64 = 240;

/// No app id and no client id is longer; what is may be a secret in the wrong place.
const LONGEST_ID: usize = 40;

/// Whether it begins as GitHub's tokens do.
fn is_a_token(text: &str) -> bool {
    let prefixes = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"];
    prefixes.iter().any(|prefix| text.starts_with(prefix))
}

/// A GitHub App: who it is, and the key that proves it.
///
/// ```no_run
/// use scale_in_guard::github::{App, AppKey, GitHub};
/// let app = App::new("Iv23liABCdefGHI", AppKey::file("app.private-key.pem")?)?;
/// let github = GitHub::app(app).build()?;
/// # Ok::<(), scale_in_guard::github::SetupError>(())
/// ```
///
/// Its installation is found by the scope that is asked about, unless its id is [given](Self::installation).
#[derive(Debug, Clone)]
pub struct App {
    id: Arc<str>,
    key: AppKey,
    installation: Option<u64>,
    minted: Arc<AtomicI64>,
}

impl App {
    /// The app with this app id or client id.
    ///
    /// # Errors
    /// [`SetupError::AppId`] when the id cannot be one.
    pub fn new(id: impl AsRef<str>, key: AppKey) -> Result<Self, SetupError> {
        let id = id.as_ref().trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if id.is_empty() || id.len() > LONGEST_ID || !id.chars().all(fits) || is_a_token(id) {
            let may_be_shown = id.len() <= LONGEST_ID && !id.starts_with('-') && !is_a_token(id);
            return Err(SetupError::AppId {
                setting: "the app's id".to_owned(),
                found: match may_be_shown {
                    true => id.to_owned(),
                    false => "…".to_owned(),
                },
            });
        }
        Ok(Self {
            id: id.into(),
            key,
            installation: None,
            minted: Arc::new(AtomicI64::new(fastrand::i64(0..SPREAD))),
        })
    }

    /// The installation to act as, whatever scope is asked about: it saves a request.
    #[must_use]
    pub fn installation(self, id: u64) -> Self {
        Self {
            installation: Some(id),
            ..self
        }
    }

    /// Its app id or client id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn given_installation(&self) -> Option<u64> {
        self.installation
    }

    pub(super) fn key(&self) -> &AppKey {
        &self.key
    }

    /// A new JWT at `now`, by GitHub's clock. It has the claims that GitHub documents and no others; it differs
    /// from the last 239 of this process in its date, or in when it ends.
    pub(in crate::github) fn jwt(&self, now: Instant) -> Option<HeaderValue> {
        let number = self.minted.fetch_add(1, Ordering::Relaxed);
        let issued_at = after(now, -BACK);
        let expires_at = after(
            issued_at,
            LIFE - TimeDelta::seconds(number.rem_euclid(SPREAD)),
        );
        let header = json!({ "alg": "RS256", "typ": "JWT" });
        let claims = json!({
            "iat": issued_at.timestamp(),
            "exp": expires_at.timestamp(),
            "iss": &*self.id,
        });
        let part = |part: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let unsigned = format!("{}.{}", part(header), part(claims));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(unsigned.as_bytes())?);
        bearer(&format!("{unsigned}.{signature}"))
    }
}
