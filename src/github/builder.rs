//! How to reach a GitHub.

use super::{
    API_URL, ApiUrl, App, GitHub, Limits, PlainHttp, Retry, SetupError,
    auth::Credentials,
    breaker::Breaker,
    client::{Inner, Manner},
    kept::Kept,
    limits::{Pace, Pause},
    send::Transport,
};
use crate::clock::{Clock, SystemClock};
use secrecy::SecretString;
use std::{
    fmt,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

/// How to reach a GitHub.
#[must_use = "a builder asks nobody anything"]
pub struct GitHubBuilder {
    who: Who,
    api_url: String,
    plain: PlainHttp,
    request_timeout: Option<Duration>,
    retry: Retry,
    limits: Limits,
    seed: Option<u64>,
    clock: Arc<dyn Clock>,
}

pub(super) enum Who {
    Token(SecretString),
    App(App),
}

impl fmt::Debug for GitHubBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHubBuilder")
            .field("api_url", &self.api_url)
            .finish_non_exhaustive()
    }
}

impl GitHubBuilder {
    pub(super) fn of(who: Who) -> Self {
        Self {
            who,
            api_url: API_URL.to_owned(),
            plain: PlainHttp::default(),
            request_timeout: None,
            retry: Retry::default(),
            limits: Limits::default(),
            seed: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Asks another GitHub than github.com: `https://HOST/api/v3` on Enterprise Server,
    /// `https://api.TENANT.ghe.com` on a tenant's.
    pub fn api_url(mut self, url: impl Into<String>) -> Self {
        self.api_url = url.into();
        self
    }

    /// Whether the token may travel unencrypted. Default: to this machine only.
    pub fn plain_http(mut self, plain: PlainHttp) -> Self {
        self.plain = plain;
        self
    }

    /// How long one request may take. Default: 5 seconds for a read, 12 for a write, for GitHub gives up after 10
    /// and may have carried it out until then.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = Some(timeout);
        self
    }

    /// How often it asks again. Default: [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How fast, and how much at once. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Makes its pauses, and the names that it makes up, the same in every run: for tests.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// What time it is. Default: this machine's clock. A guard's own is used where a guard asks.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the client. It asks nothing yet.
    ///
    /// # Errors
    /// [`SetupError`] when the URL or the token cannot be one, or TLS cannot be set up.
    pub fn build(self) -> Result<GitHub, SetupError> {
        let api = ApiUrl::parse(&self.api_url, self.plain)?;
        let credentials = match self.who {
            Who::Token(token) => Credentials::token(&token)?,
            Who::App(app) => Credentials::app(app),
        };
        let random = self
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Ok(GitHub {
            inner: Arc::new(Inner {
                transport: Transport::new(api, self.request_timeout)?,
                credentials,
                pace: Pace::new(self.limits),
                pause: Pause::default(),
                breaker: Breaker::default(),
                kept: Kept::default(),
                ahead: Mutex::default(),
                random: Mutex::new(random),
                refused: AtomicBool::new(false),
                accepted: AtomicBool::new(false),
            }),
            clock: self.clock,
            manner: Manner::of(self.retry),
        })
    }
}
