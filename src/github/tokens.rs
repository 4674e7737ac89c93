//! Registration tokens: one for many runners, and through a burst of failures.

use super::{
    GitHub, GitHubError, Jit, JitError, JitRequest, Retry,
    call::{Call, Right},
    flight::Flight,
    minted::{LIFE, MintedJson},
};
use crate::{
    clock::{Deadline, elapsed_since, monotonic},
    fleet::Roster,
    records::Records,
    runner::Scope,
    store::{Kind, Store},
    time::{At, Instant, Span, after},
};
use chrono::TimeDelta;
use reqwest::Method;
use secrecy::SecretString;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use thiserror::Error;

/// How long nobody asks again after a flight that failed.
const REST: TimeDelta = TimeDelta::seconds(30);

/// How long writing down that a scope is ours may take.
const TO_NOTE: TimeDelta = TimeDelta::seconds(1);

/// How a flight repeats: for as long as it has, with pauses of up to 1, 2, 4, 8 and then 15 seconds. A burst of
/// 502s was seen to hit twenty that asked at once (actions/runner#4399); one that asks is enough.
const PERSISTENT: Retry = Retry {
    times: u32::MAX,
    first: Duration::from_secs(1),
    longest: Duration::from_secs(15),
};

/// Mints registration tokens, as few as can be. Cheap to clone; clones share their tokens.
///
/// Callers that come at the same time share one request, and a token serves every runner of its scope until it
/// is near its end. While GitHub fails, as in bursts of 502, one flight goes on asking for
/// [a bounded time](Self::patience); to mint twice does no harm, for each token is one of its own.
///
/// ```no_run
/// use scale_in_guard::github::{GitHub, RegistrationTokens};
/// # async fn run(github: GitHub) -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = RegistrationTokens::new(github);
/// // Before an instance is started, not on it: a runner without a token is a phantom.
/// let token = tokens.registration_token(&"org:acme".parse()?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RegistrationTokens {
    github: GitHub,
    patience: Duration,
    retry: Retry,
    usable_for: TimeDelta,
    records: Option<Records>,
    scopes: Arc<Mutex<HashMap<Scope, Arc<OfScope>>>>,
}

/// What lets a runner register. No `Debug` shows it.
#[derive(Clone)]
pub struct RegistrationToken {
    /// The token itself.
    pub token: SecretString,
    /// When it ends, by this machine's clock.
    pub expires_at: Instant,
}

/// Why there is no registration token: GitHub was asked for as long as there was patience, or refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no registration token for {scope}: {error}; GitHub was asked for {}{}", Span(*.tried_for), again(.retry_at))]
pub struct RegistrationError {
    /// The scope that it was for.
    pub scope: Scope,
    /// What GitHub answered at last.
    #[source]
    pub error: Box<GitHubError>,
    /// How long it was asked.
    pub tried_for: TimeDelta,
    /// When to try again: until then the same error is given without asking. `None` where somebody must mend
    /// something: the token, its permissions, the scope.
    pub retry_at: Option<Instant>,
}

type Minted = Result<RegistrationToken, RegistrationError>;

/// The tokens of one scope.
#[derive(Default)]
struct OfScope {
    last: Mutex<Option<Landed>>,
    flight: Flight<Minted>,
}

/// What a flight brought, and when, by a clock that nobody sets.
#[derive(Clone)]
struct Landed {
    minted: Minted,
    at: Instant,
    landed: std::time::Instant,
}

impl RegistrationTokens {
    /// Tokens that this GitHub mints. Its credentials need to write self-hosted runners: of a repository
    /// `administration:write`, of an organisation `organization_self_hosted_runners:write`.
    #[must_use]
    pub fn new(github: GitHub) -> Self {
        Self {
            github,
            patience: Duration::from_secs(120),
            retry: PERSISTENT,
            usable_for: TimeDelta::minutes(15),
            records: None,
            scopes: Arc::default(),
        }
    }

    /// How long GitHub is asked in all before a caller gets an error. Default: 2 minutes. A Lambda has less than
    /// its own timeout.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How it asks again. Default: after up to 1, 2, 4, 8 and then 15 seconds, for as long as there is patience.
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// How long a token that is at hand must live to be handed out again: longer than an instance takes to boot.
    /// Default: 15 minutes; a new one lives for an hour. At 45 minutes and more, there is hardly a token for two.
    #[must_use]
    pub fn usable_for(self, span: Duration) -> Self {
        let span = TimeDelta::from_std(span).unwrap_or(LIFE);
        Self {
            usable_for: span.min(LIFE - TimeDelta::minutes(1)),
            ..self
        }
    }

    /// Writes down where the guards remember that a scope minted us a token. So it is known to be ours, and
    /// phantoms can be reclaimed in it also where no runner of ours ever registered. It is what
    /// [`Guard::minted`](crate::Guard::minted) does.
    #[must_use]
    pub fn noted_in(self, store: impl Store + 'static) -> Self {
        let host = self.github.api().host();
        Self {
            records: Some(Records::new(Arc::new(store), &host)),
            ..self
        }
    }

    /// A token for the runners of a scope: the one at hand, if it lives [long enough](Self::usable_for), else a new
    /// one.
    ///
    /// # Errors
    /// [`RegistrationError`] when GitHub refused, or did not give one for as long as there was
    /// [patience](Self::patience). Then start no runner.
    pub async fn registration_token(&self, scope: &Scope) -> Minted {
        let tokens = self.of(scope);
        let now = self.github.now();
        let fly = || self.clone().fly(Arc::clone(&tokens), scope.clone());
        let lost = Err(self.gone(scope));
        tokens
            .flight
            .join(|| tokens.at_hand(now, self.usable_for), fly, lost)
            .await
    }

    /// A just-in-time configuration instead of a token, as [`GitHub::jit_config`] gets it, within the
    /// [patience](Self::patience) of these. That the scope is ours is noted as for a token.
    ///
    /// # Errors
    /// [`JitError`] when there is none. Then start no runner.
    pub async fn jit_config(&self, request: &JitRequest) -> Result<Jit, JitError> {
        let jit = self
            .github
            .within(self.patience)
            .jit_config(request)
            .await?;
        if let Jit::Issued { .. } = &jit {
            self.note(request.scope()).await;
        }
        Ok(jit)
    }

    /// Whether GitHub could mint tokens for this scope when it was last asked; `Ok` where nobody asked yet.
    ///
    /// # Errors
    /// The error of the last flight, for as long as it stands.
    pub(super) fn outlook(&self, scope: &Scope) -> Result<(), RegistrationError> {
        let now = self.github.now();
        match self.of(scope).at_hand(now, self.usable_for) {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn of(&self, scope: &Scope) -> Arc<OfScope> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(scopes.entry(scope.clone()).or_default())
    }

    /// Asks GitHub until it gives a token, refuses, or patience ends. What comes of it is for all.
    async fn fly(self, tokens: Arc<OfScope>, scope: Scope) -> Minted {
        let minted = self.mint(&scope).await;
        *tokens.last() = Some(Landed {
            minted: minted.clone(),
            at: self.github.now(),
            landed: monotonic(),
        });
        if minted.is_ok() {
            self.note(&scope).await;
        }
        minted
    }

    async fn mint(&self, scope: &Scope) -> Minted {
        let began = monotonic();
        let github = self.github.within(self.patience).persistent(self.retry);
        let path = ["actions", "runners", "registration-token"];
        let url = github.api().in_scope(scope, &path);
        let call = Call::new(Method::POST, url, scope, Right::WriteRunners);
        let answer = github.ask::<MintedJson>(&call).await;
        let minted = answer.and_then(|answer| answer.body.read(&github, &call));
        let error = match minted {
            Ok((token, expires_at)) => return Ok(RegistrationToken { token, expires_at }),
            Err(error) => error,
        };
        let rest = after(github.now(), REST);
        Err(RegistrationError {
            scope: scope.clone(),
            tried_for: elapsed_since(began),
            retry_at: match error.is_transient() {
                true => Some(error.retry_at().map_or(rest, |at| at.max(rest))),
                false => error.retry_at(),
            },
            error: Box::new(error),
        })
    }

    /// The scope is ours: it minted us a token.
    async fn note(&self, scope: &Scope) {
        let Some(records) = &self.records else {
            return;
        };
        let key = records.of_scope(scope, Kind::Fleet);
        let noted = records.update(&key, Roster::minted);
        // Nobody waits long for it: the next token is another occasion.
        let error = match Deadline::within(TO_NOTE).meet(noted).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        tracing::warn!(%scope, error, "could not write down that it minted us a token");
    }

    fn gone(&self, scope: &Scope) -> RegistrationError {
        RegistrationError {
            scope: scope.clone(),
            error: Box::new(GitHubError::NoAnswer {
                request: "POST …/actions/runners/registration-token".to_owned(),
                host: self.github.api().host(),
                what: "the task that asked was given up".to_owned(),
            }),
            tried_for: TimeDelta::zero(),
            retry_at: Some(self.github.now()),
        }
    }
}

impl OfScope {
    fn last(&self) -> MutexGuard<'_, Option<Landed>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the last flight brought, as long as it stands.
    fn at_hand(&self, now: Instant, usable_for: TimeDelta) -> Option<Minted> {
        let last = self.last().clone()?;
        // A clock that was set back makes nothing live longer.
        let now = now.max(after(last.at, elapsed_since(last.landed)));
        let stands = match &last.minted {
            Ok(token) => after(now, usable_for) < token.expires_at,
            Err(error) => error.retry_at.is_some_and(|at| now < at),
        };
        stands.then_some(last.minted)
    }
}

fn again(retry_at: &Option<Instant>) -> String {
    retry_at.map_or(String::new(), |at| format!("; try again at {}", At(at)))
}

impl fmt::Debug for RegistrationTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationTokens")
            .field("github", &self.github)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RegistrationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
