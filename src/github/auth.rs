//! Who we are to GitHub: a token, or an app with its installations.

mod app;
mod installation;
mod key;

pub use app::App;
pub use key::AppKey;

use super::{GitHub, GitHubError, SetupError, call::Call, limits::Primary, minted::can_be_one};
use installation::Installations;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, sync::Arc};

/// Who asks.
#[derive(Clone)]
pub(super) enum Credentials {
    Token(Pass),
    App(Arc<Installations>),
}

/// What lets one request through, and the limit that it counts against.
#[derive(Clone)]
pub(super) struct Pass {
    pub(super) authorization: HeaderValue,
    pub(super) primary: Arc<Primary>,
}

impl Credentials {
    /// A token, if it can be one.
    pub(super) fn token(token: &SecretString) -> Result<Self, SetupError> {
        let text = token.expose_secret();
        if text.trim().is_empty() {
            return Err(SetupError::Token { what: "is empty" });
        }
        let no_token = SetupError::Token {
            what: "holds a space, a line break or another character that no token has",
        };
        if !can_be_one(text) {
            return Err(no_token);
        }
        let authorization = bearer(text).ok_or(no_token)?;
        Ok(Self::Token(Pass {
            authorization,
            primary: Arc::default(),
        }))
    }

    pub(super) fn app(app: App) -> Self {
        Self::App(Arc::new(Installations::of(app)))
    }

    /// What lets a call through.
    pub(super) async fn pass(&self, github: &GitHub, call: &Call) -> Result<Pass, GitHubError> {
        match self {
            Self::Token(pass) => Ok(pass.clone()),
            Self::App(installations) => installations.pass(github, &call.scope).await,
        }
    }

    /// Forgets a pass that GitHub refused; whether there may be a better one.
    pub(super) fn refused(&self, pass: &Pass, call: &Call) -> bool {
        match self {
            Self::Token(_) => false,
            Self::App(installations) => installations.refused(pass, &call.scope),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token"),
            Self::App(installations) => installations.fmt(f),
        }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").finish_non_exhaustive()
    }
}

/// A header that no log shows; `None` where the text cannot stand in one.
fn bearer(token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}
