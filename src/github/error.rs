//! What goes wrong with GitHub, and what to do about it. None of it holds a secret.

use crate::time::{At, Instant, Span};
use chrono::TimeDelta;
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
    /// The id of a GitHub App cannot be one.
    #[error(
        "{setting}: {found:?} is no id of a GitHub App; give its app id (a number) or its client id (such as Iv23liABC), as its settings page shows them"
    )]
    AppId {
        /// Which setting it came from.
        setting: String,
        /// What stands there.
        found: String,
    },
    /// The private key of a GitHub App could not be read, or is none.
    #[error(
        "{setting}: {what}; give the private key that the app's settings page lets you download, a PEM that begins with -----BEGIN RSA PRIVATE KEY-----"
    )]
    AppKey {
        /// Which setting it came from.
        setting: String,
        /// What is wrong with it.
        what: String,
    },
    /// The machine's TLS could not be set up.
    #[error("HTTPS could not be set up: {what}; see that the system's certificates are there")]
    Tls {
        /// What went wrong.
        what: String,
    },
}

/// Why GitHub could not be asked. Each names what was asked for, and GitHub's request id where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GitHubError {
    /// GitHub answered, but not with what was asked for.
    #[error("{request}: {}; {}", .answer, remedy(.answer, .needs))]
    Status {
        /// The method and the path asked for.
        request: String,
        /// What it answered.
        answer: Box<Refusal>,
        /// The permission that the credentials need for it.
        needs: String,
    },
    /// A limit of GitHub's is spent, or what is left of it is reserved: it refused, or was not asked.
    #[error("{request}: {}; ask again at {}", limited(.limit, .answer), At(*.until))]
    RateLimited {
        /// The method and the path asked for.
        request: String,
        /// Which limit.
        limit: Limit,
        /// When it can be asked again.
        until: Instant,
        /// What it answered; `None` where it was not asked.
        answer: Option<Box<Refusal>>,
    },
    /// GitHub has been failing, and was not asked.
    #[error(
        "{request}: not asked: GitHub has been failing since {}, at last with: {last}; it is asked again at {}, and see githubstatus.com", At(*.since), At(*.until)
    )]
    Down {
        /// The method and the path asked for.
        request: String,
        /// Since when.
        since: Instant,
        /// When it is asked again.
        until: Instant,
        /// What the last request of all met with.
        last: String,
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
    /// GitHub does not know the app, or not where it was looked for.
    #[error("{request}: {answer}: {what}")]
    App {
        /// The method and the path asked for.
        request: String,
        /// What it answered.
        answer: Box<Refusal>,
        /// What that means, which setting it comes from, and what to do.
        what: String,
    },
    /// It was asked several times.
    #[error("{last} (tried {attempts} times in {})", Span(*.took))]
    Repeated {
        /// How many requests were sent.
        attempts: u32,
        /// How long it took in all.
        took: TimeDelta,
        /// What the last of them met with.
        last: Box<GitHubError>,
    },
}

/// An answer that is none, as GitHub gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// GitHub's message.
    pub message: Option<String>,
    /// GitHub's id of the request, for its support.
    pub request_id: Option<String>,
    /// When GitHub asks to be asked again, where it says so.
    pub retry_at: Option<Instant>,
}

/// One of GitHub's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The requests an hour.
    Primary,
    /// How fast, or how much at once: GitHub asked us to slow down.
    Secondary,
    /// What is left of the requests an hour is reserved for others.
    Reserve {
        /// How many are left.
        remaining: u64,
        /// Of how many.
        limit: u64,
        /// How many are reserved.
        reserve: u64,
    },
    /// Our own measure of the points a minute.
    Pace,
}

impl GitHubError {
    /// GitHub's status, where it answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { answer, .. } | Self::App { answer, .. } => Some(answer.status),
            Self::RateLimited { answer, .. } => Some(answer.as_ref()?.status),
            Self::CutOff { status, .. } | Self::Malformed { status, .. } => Some(*status),
            Self::NoAnswer { .. } | Self::Pages { .. } | Self::Down { .. } => None,
            Self::Repeated { last, .. } => last.status(),
        }
    }

    /// Whether GitHub said that there is no such thing, or that we may not see it: it does not tell
    /// the two apart.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.last(), Self::Status { answer, .. } if answer.status == 404)
    }

    /// Whether a limit is spent, or what is left of it is reserved.
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        matches!(self.last(), Self::RateLimited { .. })
    }

    /// When asking again can help; `None` where no clock foretells it.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        match self.last() {
            Self::RateLimited { until, .. } | Self::Down { until, .. } => Some(*until),
            Self::Status { answer, .. } | Self::App { answer, .. } => answer.retry_at,
            _ => None,
        }
    }

    /// Whether a token of the app's installation could not be had.
    pub(crate) fn is_of_the_app(&self) -> bool {
        matches!(self.last(), Self::App { .. })
    }

    /// Whether GitHub was not asked, for it has been failing.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self.last(), Self::Down { .. })
    }

    /// Whether the same request may succeed soon: GitHub failed, or did not answer.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.last() {
            Self::NoAnswer { .. } | Self::CutOff { .. } => true,
            Self::Status { answer, .. } | Self::App { answer, .. } => {
                answer.status == 408 || answer.status >= 500
            }
            _ => false,
        }
    }

    /// The same, with another word of what the last answer was.
    pub(super) fn explained(self, explain: impl FnOnce(Self) -> Self) -> Self {
        match self {
            Self::Repeated {
                attempts,
                took,
                last,
            } => Self::Repeated {
                attempts,
                took,
                last: Box::new(last.explained(explain)),
            },
            error => explain(error),
        }
    }

    /// The error itself, without how often it was tried.
    fn last(&self) -> &Self {
        match self {
            Self::Repeated { last, .. } => last.last(),
            error => error,
        }
    }

    /// Whether it was asked several times.
    pub(super) fn was_repeated(&self) -> bool {
        matches!(self, Self::Repeated { .. })
    }

    /// The same, tried so often.
    pub(super) fn after(self, attempts: u32, took: TimeDelta) -> Self {
        match attempts {
            0 | 1 => self,
            _ => Self::Repeated {
                attempts,
                took,
                last: Box::new(self),
            },
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(message) = &self.message {
            write!(f, " ({message:?})")?;
        }
        f.write_str(&id(&self.request_id))
    }
}

fn id(request_id: &Option<String>) -> String {
    let id = request_id.as_deref();
    id.map_or(String::new(), |id| format!(", request id {id}"))
}

fn limited(limit: &Limit, answer: &Option<Box<Refusal>>) -> String {
    let what = match limit {
        Limit::Primary => "GitHub's requests an hour are spent".to_owned(),
        Limit::Secondary => "GitHub asked us to slow down".to_owned(),
        Limit::Reserve {
            remaining,
            limit,
            reserve,
        } => format!(
            "{remaining} of GitHub's {limit} requests an hour are left, and {reserve} are left to others (policy request_reserve)"
        ),
        Limit::Pace => "the requests a minute that GitHub allows are spent".to_owned(),
    };
    match answer {
        Some(answer) => format!("{answer}: {what}"),
        None => format!("not asked: {what}"),
    }
}

fn remedy(answer: &Refusal, needs: &str) -> String {
    match answer.status {
        401 => "the token was refused: give one that is valid".to_owned(),
        403 => format!("the token may not do this: it needs {needs}"),
        404 => format!(
            "there is no such thing, or the token may not see it: see the scope and the name, and that the token has {needs}"
        ),
        410 => "this API version is no longer served: update".to_owned(),
        451 => "GitHub blocks it for legal reasons".to_owned(),
        500.. => "GitHub has trouble: ask again later, and see githubstatus.com".to_owned(),
        _ => "ask again".to_owned(),
    }
}
