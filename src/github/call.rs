//! What is asked of GitHub.

use super::{GitHubError, limits::Slot};
use crate::runner::Scope;
use reqwest::Method;
use serde_json::Value;
use url::Url;

/// One thing to ask. It may take several requests.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<Value>,
    /// Whose credentials are needed.
    pub(super) scope: Scope,
    pub(super) right: Right,
    repeat: Repeat,
}

/// When a call may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Whenever that may help: to do it twice does no harm.
    Freely,
    /// Where GitHub did not carry it out.
    IfRefused,
    /// Never: it is only as good as the look that it follows from.
    Never,
}

/// What the credentials must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    ReadRunners,
    WriteRunners,
    ReadActions,
    /// What every app may do with its own JWT.
    BeTheApp,
}

impl Call {
    pub(super) fn get(url: Url, scope: &Scope, right: Right) -> Self {
        Self::new(Method::GET, url, scope, right)
    }

    pub(super) fn new(method: Method, url: Url, scope: &Scope, right: Right) -> Self {
        Self {
            method,
            url,
            body: None,
            scope: scope.clone(),
            right,
            repeat: Repeat::Freely,
        }
    }

    pub(super) fn repeated(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }

    /// Whether asking again may help, and does no harm.
    pub(super) fn may_be_repeated(&self, error: &GitHubError) -> bool {
        match self.repeat {
            Repeat::Freely => error.is_transient() || error.is_rate_limited(),
            Repeat::IfRefused => error.is_rate_limited(),
            Repeat::Never => false,
        }
    }

    pub(super) fn with_body(self, body: Value) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }

    /// The same about another page.
    pub(super) fn at(&self, url: Url) -> Self {
        Self {
            url,
            ..self.clone()
        }
    }

    /// What is asked for, as errors name it.
    pub(super) fn line(&self) -> String {
        let (method, path) = (&self.method, self.url.path());
        match self.url.query() {
            Some(query) => format!("{method} {path}?{query}"),
            None => format!("{method} {path}"),
        }
    }

    pub(super) fn slot(&self) -> Slot {
        match self.method {
            Method::GET => Slot::Read,
            _ => Slot::Write,
        }
    }

    /// The permission, as GitHub's settings name it.
    pub(super) fn needs(&self) -> String {
        let (permission, classic, level) = match (self.right, &self.scope) {
            (Right::BeTheApp, _) => return "the app's own private key".to_owned(),
            (Right::ReadActions, _) => ("actions", "repo", "read"),
            (_, Scope::Enterprise(_)) => {
                return "a classic token with manage_runners:enterprise".to_owned();
            }
            (right, scope) => {
                let level = match right {
                    Right::WriteRunners => "write",
                    _ => "read",
                };
                match scope {
                    Scope::Repository { .. } => ("administration", "repo", level),
                    _ => ("organization_self_hosted_runners", "admin:org", level),
                }
            }
        };
        format!(
            "{permission}:{level} (of an app or a fine-grained token; a classic token: {classic})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permission_is_named_as_githubs_settings_name_it() {
        for (scope, right, named) in [
            ("repo:acme/atlas", Right::ReadRunners, "administration:read"),
            (
                "repo:acme/atlas",
                Right::WriteRunners,
                "administration:write",
            ),
            ("repo:acme/atlas", Right::ReadActions, "actions:read"),
            (
                "org:acme",
                Right::ReadRunners,
                "organization_self_hosted_runners:read",
            ),
            (
                "org:acme",
                Right::WriteRunners,
                "organization_self_hosted_runners:write",
            ),
            (
                "enterprise:acme",
                Right::WriteRunners,
                "manage_runners:enterprise",
            ),
        ] {
            let url = Url::parse("https://api.github.com/x").unwrap();
            let call = Call::get(url, &scope.parse().unwrap(), right);
            assert!(call.needs().contains(named), "{}", call.needs());
        }
    }
}
