//! What a path leads to.

use super::{World, requests::Request, truth::JobId};
use crate::runner::{RunnerId, Scope};

/// What a path leads to.
pub(super) enum Route {
    RateLimit,
    App,
    Installation { account: String, of: Option<String> },
    AccessTokens(u64),
    RegistrationToken(Scope),
    JitConfig(Scope),
    Runners(Scope),
    Runner(Scope, RunnerId),
    Runs(Repository),
    Jobs(Repository, u64),
    Job(Repository, JobId),
}

impl Route {
    /// Whether it takes a JWT, and nothing else.
    pub(super) fn is_for_apps(&self) -> bool {
        matches!(
            self,
            Self::App | Self::Installation { .. } | Self::AccessTokens(_)
        )
    }

    /// The scope that it is in; `None` where it is in none.
    pub(super) fn scope(&self) -> Option<&Scope> {
        match self {
            Self::RateLimit | Self::App | Self::Installation { .. } | Self::AccessTokens(_) => None,
            Self::RegistrationToken(scope)
            | Self::JitConfig(scope)
            | Self::Runners(scope)
            | Self::Runner(scope, _)
            | Self::Runs(Repository(scope, _))
            | Self::Jobs(Repository(scope, _), _)
            | Self::Job(Repository(scope, _), _) => Some(scope),
        }
    }
}

/// A repository: its scope, and its name as `owner/name`.
pub(super) struct Repository(pub(super) Scope, pub(super) String);

impl World {
    /// What the path of a request leads to.
    pub(super) fn route(&self, request: &Request) -> Option<Route> {
        let segments = segments(&request.path);
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["rate_limit"] => Some(Route::RateLimit),
            ["app"] => Some(Route::App),
            ["app", "installations", id, "access_tokens"] => {
                Some(Route::AccessTokens(id.parse().ok()?))
            }
            ["orgs" | "users" | "enterprises", account, "installation"] => {
                let account = (*account).into();
                Some(Route::Installation { account, of: None })
            }
            ["repos", owner, name, "installation"] => Some(Route::Installation {
                account: (*owner).into(),
                of: Some(format!("repo:{owner}/{name}")),
            }),
            segments => self.route_in_scope(segments),
        }
    }

    fn route_in_scope(&self, segments: &[&str]) -> Option<Route> {
        let (scope, rest) = self.place(segments)?;
        match rest {
            ["actions", "runners", "registration-token"] => Some(Route::RegistrationToken(scope)),
            ["actions", "runners", "generate-jitconfig"] => Some(Route::JitConfig(scope)),
            ["actions", "runners"] => Some(Route::Runners(scope)),
            ["actions", "runners", id] => Some(Route::Runner(scope, RunnerId(id.parse().ok()?))),
            ["actions", "runs"] => Some(Route::Runs(Repository::of(scope)?)),
            ["actions", "runs", run, "jobs"] => {
                Some(Route::Jobs(Repository::of(scope)?, run.parse().ok()?))
            }
            ["actions", "jobs", job] => {
                Some(Route::Job(Repository::of(scope)?, JobId(job.parse().ok()?)))
            }
            _ => None,
        }
    }

    /// The scope that a path begins with, and the rest of it.
    fn place<'s>(&self, segments: &'s [&'s str]) -> Option<(Scope, &'s [&'s str])> {
        let (place, rest) = match segments {
            ["repos", owner, name, rest @ ..] => {
                (self.truth.place(&format!("repo:{owner}/{name}")), rest)
            }
            ["orgs", name, rest @ ..] => (self.truth.place(&format!("org:{name}")), rest),
            ["enterprises", name, rest @ ..] => {
                (self.truth.place(&format!("enterprise:{name}")), rest)
            }
            ["repositories" | "organizations", number, rest @ ..] => {
                (self.truth.place_numbered(number.parse().ok()?), rest)
            }
            _ => return None,
        };
        Some((place?.clone(), rest))
    }
}

impl Repository {
    fn of(scope: Scope) -> Option<Self> {
        match &scope {
            Scope::Repository { owner, name } => {
                let name = format!("{owner}/{name}");
                Some(Self(scope, name))
            }
            _ => None,
        }
    }
}

/// The segments of a path, without what an Enterprise Server puts before them.
pub(super) fn segments(path: &str) -> Vec<String> {
    let below = path.strip_prefix("/api/v3");
    let below = below.filter(|below| below.starts_with('/'));
    below
        .unwrap_or(path)
        .split('/')
        .skip(1)
        .map(decoded)
        .collect()
}

/// A segment of a path, its escapes resolved.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut parts = segment.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let escape = part.split_at_checked(2);
        match escape.and_then(|(hex, rest)| Some((u8::from_str_radix(hex, 16).ok()?, rest))) {
            Some((byte, rest)) => {
                bytes.push(byte);
                bytes.extend_from_slice(rest.as_bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
