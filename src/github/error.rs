//! What goes wrong with GitHub, and what to do about it. None of it holds the token.

use thiserror::Error;

/// Why a client could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The API URL cannot be one.
    #[error(
        "API URL {url:?}: {why}; give one such as https://api.github.com or https://HOST/api/v3"
    )]
    ApiUrl {
        /// The URL, without credentials.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The token would travel unencrypted.
    #[error(
        "API URL {url:?}: plain http would show the token to the network; use https, or allow it (--allow-plain-http, GitHubBuilder::plain_http)"
    )]
    PlainHttp {
        /// The URL.
        url: String,
    },
    /// There is no token, or it cannot be one.
    #[error(
        "the GitHub token {what}; give one that may read the scope's self-hosted runners and the repositories' actions"
    )]
    Token {
        /// What is wrong.
        what: &'static str,
    },
    /// The machine's TLS could not be set up.
    #[error("HTTPS could not be set up: {what}; see that the system's certificates are there")]
    Tls {
        /// What went wrong.
        what: String,
    },
}

/// Why GitHub could not be asked. Each names the endpoint, and GitHub's request id where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GitHubError {
    /// GitHub answered, but not with what was asked for.
    #[error("{request}: {status}{}{}; {}", said(.message), id(.request_id), remedy(*.status))]
    Status {
        /// The method and the path asked for.
        request: String,
        /// The HTTP status.
        status: u16,
        /// GitHub's message.
        message: Option<String>,
        /// GitHub's id of the request, for its support.
        request_id: Option<String>,
    },
    /// GitHub did not answer.
    #[error("{request}: {what}; see that {host} can be reached from here")]
    NoAnswer {
        /// The method and the path asked for.
        request: String,
        /// The host.
        host: String,
        /// What went wrong.
        what: String,
    },
    /// The answer broke off.
    #[error("{request}: {status}, but the answer broke off{}: {what}; ask again", id(.request_id))]
    CutOff {
        /// The method and the path asked for.
        request: String,
        /// The HTTP status.
        status: u16,
        /// GitHub's id of the request.
        request_id: Option<String>,
        /// What went wrong.
        what: String,
    },
    /// The answer could not be understood.
    #[error("{request}: {status}, but the answer is not what GitHub documents{}: {what}", id(.request_id))]
    Malformed {
        /// The method and the path asked for.
        request: String,
        /// The HTTP status.
        status: u16,
        /// GitHub's id of the request.
        request_id: Option<String>,
        /// What was found.
        what: String,
    },
    /// A list that does not end, or that leads elsewhere.
    #[error("{request}: {what}; its pages were not followed")]
    Pages {
        /// The method and the path asked for.
        request: String,
        /// What was found.
        what: String,
    },
}

impl GitHubError {
    /// GitHub's status, where it answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. }
            | Self::CutOff { status, .. }
            | Self::Malformed { status, .. } => Some(*status),
            Self::NoAnswer { .. } | Self::Pages { .. } => None,
        }
    }

    /// Whether GitHub said that there is no such thing, or that we may not see it: it does not tell
    /// the two apart.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }
}

fn said(message: &Option<String>) -> String {
    let said = message.as_deref();
    said.map_or(String::new(), |message| format!(" ({message:?})"))
}

fn id(request_id: &Option<String>) -> String {
    let id = request_id.as_deref();
    id.map_or(String::new(), |id| format!(", request id {id}"))
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 => "the token was refused: give one that is valid",
        403 => {
            "the token may not read this, or a rate limit is spent: see its permissions, or wait"
        }
        404 => {
            "there is no such thing, or the token may not see it: see the scope, the name and the token's permissions"
        }
        410 => "this API version is no longer served: update",
        429 => "a rate limit is spent: wait",
        500.. => "GitHub has trouble: ask again later, and see githubstatus.com",
        _ => "ask again",
    }
}
