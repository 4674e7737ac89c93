//! The installations of an app: found by the owner of a scope, each with a token that is renewed before it
//! expires.

use super::{App, Pass, bearer};
use crate::{
    github::{
        GitHub, GitHubError,
        call::{Call, Right},
        client::Answer,
        flight::Flight,
        limits::Primary,
        minted::MintedJson,
    },
    runner::Scope,
    time::{Instant, after},
};
use chrono::TimeDelta;
use futures::{FutureExt, future::BoxFuture};
use reqwest::{Method, header::HeaderValue};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// A token is renewed so long before it expires.
const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// Every installation of an app that was needed so far.
pub(in crate::github) struct Installations {
    app: App,
    of_owner: Mutex<HashMap<Owner, Arc<Installation>>>,
}

/// Whose runners and repositories: an app is installed once for each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    Account(String),
    Enterprise(String),
    /// The one that was given, for all.
    Given,
}

/// One installation.
#[derive(Debug, Default)]
struct Installation {
    primary: Arc<Primary>,
    token: Mutex<Option<Token>>,
    renewal: Flight<Result<Token, Box<NoToken>>>,
}

/// Why there is no token, and for which scope it was asked.
#[derive(Debug, Clone)]
struct NoToken {
    scope: Scope,
    error: GitHubError,
}

/// An installation's token.
#[derive(Clone)]
struct Token {
    authorization: HeaderValue,
    expires_at: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Installations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Installations").field(&self.app).finish()
    }
}

#[derive(Deserialize)]
struct InstallationJson {
    id: u64,
}

impl Installations {
    pub(super) fn of(app: App) -> Self {
        Self {
            app,
            of_owner: Mutex::default(),
        }
    }

    /// The installation for a scope. All repositories of an owner share one.
    fn installation(&self, scope: &Scope) -> Arc<Installation> {
        let owner = match (self.app.given_installation(), scope) {
            (Some(_), _) => Owner::Given,
            (None, Scope::Enterprise(name)) => Owner::Enterprise(name.to_lowercase()),
            (None, Scope::Organization(name) | Scope::Repository { owner: name, .. }) => {
                Owner::Account(name.to_lowercase())
            }
        };
        let mut known = self.of_owner.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(owner).or_default())
    }

    /// What lets a call about this scope through.
    pub(super) async fn pass(&self, github: &GitHub, scope: &Scope) -> Result<Pass, GitHubError> {
        let installation = self.installation(scope);
        let token = installation.token(&self.app, github, scope).await?;
        Ok(Pass {
            authorization: token.authorization,
            primary: Arc::clone(&installation.primary),
        })
    }

    /// Forgets a token that GitHub refused; whether that may help.
    pub(super) fn refused(&self, pass: &Pass, scope: &Scope) -> bool {
        let installation = self.installation(scope);
        let mut held = installation.held();
        if held
            .as_ref()
            .is_some_and(|token| token.authorization == pass.authorization)
        {
            *held = None;
        }
        true
    }
}

impl Installation {
    fn held(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_for(&self, span: TimeDelta, now: Instant) -> Option<Token> {
        let held = self.held().clone();
        held.filter(|token| after(now, span) < token.expires_at)
    }

    async fn token(
        self: &Arc<Self>,
        app: &App,
        github: &GitHub,
        scope: &Scope,
    ) -> Result<Token, GitHubError> {
        let no_token = |what: &str| {
            Box::new(NoToken {
                scope: scope.clone(),
                error: GitHubError::NoAnswer {
                    request: "POST /app/installations/{id}/access_tokens".to_owned(),
                    host: github.api().host(),
                    what: what.to_owned(),
                },
            })
        };
        loop {
            let now = github.now();
            if let Some(token) = self.held_for(MARGIN, now) {
                return Ok(token);
            }
            let renew = || self.renew(app, github, scope);
            let at_hand = || self.held_for(MARGIN, now).map(Ok);
            let lost = no_token("the task that asked was given up");
            let renewal = self.renewal.join(at_hand, renew, Err(lost));
            // One that is good for some minutes yet is used, and nobody waits for the next.
            if let Some(token) = self.held_for(TimeDelta::zero(), now) {
                let renewed = renewal.now_or_never().and_then(Result::ok);
                return Ok(renewed.unwrap_or(token));
            }
            let renewed = github.deadline().meet(renewal).await;
            let late = |_| Err(no_token("no answer in time"));
            match renewed.unwrap_or_else(late) {
                Ok(token) => return Ok(token),
                // Another repository of the owner may be one that the app may not see.
                Err(refused) if refused.is_of_another(scope, app) => {}
                Err(refused) => return Err(refused.error),
            }
        }
    }
}

impl NoToken {
    /// Whether it says nothing of this scope.
    fn is_of_another(&self, scope: &Scope, app: &App) -> bool {
        let is_unknown = self.error.status() == Some(404);
        self.scope != *scope && is_unknown && app.given_installation().is_none()
    }
}

impl Installation {
    /// Mints a token, and goes on without whoever began it.
    fn renew(
        self: &Arc<Self>,
        app: &App,
        github: &GitHub,
        scope: &Scope,
    ) -> BoxFuture<'static, Result<Token, Box<NoToken>>> {
        let (installation, app) = (Arc::clone(self), app.clone());
        let (github, scope) = (github.unhurried(), scope.clone());
        Box::pin(async move {
            match app.mint(&github, &scope).await {
                Ok(token) => {
                    *installation.held() = Some(token.clone());
                    Ok(token)
                }
                Err(error) => Err(Box::new(NoToken { scope, error })),
            }
        })
    }
}

impl App {
    /// A new installation token.
    async fn mint(&self, github: &GitHub, scope: &Scope) -> Result<Token, GitHubError> {
        let id = match self.given_installation() {
            Some(id) => id,
            None => self.find_installation(github, scope).await?,
        };
        let id = id.to_string();
        let path = ["app", "installations", &id, "access_tokens"];
        let url = github.api().at(path.into_iter());
        let call = Call::new(Method::POST, url, scope, Right::BeTheApp);
        // It may be repeated: each answer is a token of its own, and one that is lost expires.
        let minted: Answer<MintedJson> = github.as_app(self, &call).await?;
        let (token, expires_at) = minted.body.read(github, &call)?;
        let unfit = || github.no_answer(&call, "the token fits into no header".to_owned());
        Ok(Token {
            authorization: bearer(token.expose_secret()).ok_or_else(unfit)?,
            expires_at,
        })
    }

    /// The installation where the scope's owner has the app.
    async fn find_installation(&self, github: &GitHub, scope: &Scope) -> Result<u64, GitHubError> {
        let url = github.api().in_scope(scope, &["installation"]);
        let call = Call::get(url, scope, Right::BeTheApp);
        let found: Answer<InstallationJson> = github.as_app(self, &call).await?;
        Ok(found.body.id)
    }

    /// What a refusal of an app's call means.
    pub(in crate::github) fn explain(&self, call: &Call, error: GitHubError) -> GitHubError {
        let GitHubError::Status {
            request, answer, ..
        } = error
        else {
            return error;
        };
        let (id, key, scope) = (self.id(), self.key().setting(), &call.scope);
        let what = match (answer.status, self.given_installation()) {
            (401, _) => format!(
                "GitHub refused the app's JWT: see that the app id {id:?} and {key} are of one app, and that this machine's clock is right"
            ),
            (404, None) => format!(
                "the app {id:?} is not installed for {scope}, or not for that repository: install it there, or give the id of its installation"
            ),
            (404, Some(given)) => format!(
                "the app {id:?} has no installation {given}: give the id of one of its own, or none, and it is found by the scope"
            ),
            (403, _) => {
                format!("the app {id:?} may not act for {scope}: its installation may be suspended")
            }
            _ => "ask again later, and see githubstatus.com".to_owned(),
        };
        GitHubError::App {
            request,
            answer,
            what,
        }
    }
}
