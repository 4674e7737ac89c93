//! Who asks.

use super::{TOKEN, World, requests::Request, routes::Route};
use crate::{runner::Scope, time::Instant};
use hyper::http::{HeaderMap, header};

/// The bearer of a credential that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// Of the static token.
    Token,
    /// Of a JWT that the app of this number signed.
    App(u64),
    /// Of a token of the installation of this number.
    Installation(u64),
}

/// The token or the JWT that a request brings.
pub(super) fn given(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    let is_known = ["bearer", "token"].contains(&&*scheme.to_ascii_lowercase());
    is_known.then_some(token.trim())
}

impl World {
    /// Who brings this, or why it is not accepted here: the endpoints for apps take a JWT and nothing
    /// else, and no other endpoint takes one.
    pub(super) fn identify(
        &mut self,
        given: Option<&str>,
        request: &Request,
        now: Instant,
    ) -> Result<Who, &'static str> {
        let given = given.unwrap_or_default();
        self.apps.note_jwt(given);
        if self.route(request).is_some_and(|route| route.is_for_apps()) {
            let now = self.githubs_clock(now);
            return self.apps.signed_in(given, now).map(Who::App);
        }
        if given == TOKEN {
            return Ok(Who::Token);
        }
        let installation = self.apps.bearer(given, now);
        installation.map(Who::Installation).ok_or("Bad credentials")
    }

    /// Whether somebody sees what this path leads to: an installation sees what its account owns.
    pub(super) fn sees(&self, who: Who, route: &Route) -> bool {
        match (who, route.scope()) {
            (Who::Installation(id), Some(scope)) => {
                let account = self.apps.account(id);
                account.is_some_and(|account| account.eq_ignore_ascii_case(owner(scope)))
            }
            _ => true,
        }
    }
}

fn owner(scope: &Scope) -> &str {
    match scope {
        Scope::Repository { owner: name, .. }
        | Scope::Organization(name)
        | Scope::Enterprise(name) => name,
    }
}
