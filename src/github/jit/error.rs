//! What was tried, and why it came to nothing.

use crate::{
    github::{Connection, GitHubError, RunnerRow},
    runner::{RunnerId, RunnerName},
    time::{Instant, Span},
};
use chrono::TimeDelta;
use std::fmt;
use thiserror::Error;

/// What a call did, and what may be left of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JitTried {
    /// How often it asked for a config. Requests that were refused for a limit, and sent again, count as one.
    pub asked: u32,
    /// How long it took in all.
    pub took: TimeDelta,
    /// Registrations that it removed, to have their name.
    pub removed: Vec<RunnerId>,
    /// Registrations that an ask of its own made, or may have made, and whose config nobody has: ghosts. They
    /// stay until somebody removes them, such as [`Ghosts`](crate::github::Ghosts).
    pub left_behind: Vec<RunnerId>,
    /// Names that an ask of its own may have registered, or may yet register, without anybody having seen it: the
    /// answer was lost. GitHub carries a request out for some 10 seconds after it was sent.
    pub unaccounted: Vec<RunnerName>,
}

/// Why there is no config. None of it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JitError {
    /// The name is taken, and what has it was not removed.
    #[error("{}; give another name, or let it choose one (--if-taken fresh-name, IfTaken::FreshName){tried}", taken(.name, .by.as_deref()))]
    Taken {
        /// The name.
        name: RunnerName,
        /// The registration that has it; `None` where GitHub says that it is taken (409), and shows nobody.
        by: Option<Box<RunnerRow>>,
        /// What was tried.
        tried: JitTried,
    },
    /// The name is taken by a registration that never connected, and it could not be removed: nobody knows whether it
    /// was.
    #[error("the name is taken by registration {}, which never connected, and it could not be removed: {error}{tried}", .runner.id)]
    NotRemoved {
        /// The registration.
        runner: Box<RunnerRow>,
        /// Why.
        error: Box<GitHubError>,
        /// What was tried.
        tried: JitTried,
    },
    /// The answer was lost, and there was no second one: whether a runner was registered is not known, or it was
    /// not when GitHub was last asked, and may be yet.
    #[error("no answer came that can be used: {answer}{}{tried}", looked(.look.as_deref()))]
    Lost {
        /// What the last ask met with.
        answer: Box<GitHubError>,
        /// Why nobody could see whether a runner of that name is registered; `None`: none was.
        look: Option<Box<GitHubError>>,
        /// What was tried.
        tried: JitTried,
    },
    /// GitHub refused, or could not be asked.
    #[error("{error}{tried}")]
    GitHub {
        /// What it answered, or why it was not asked; of a 403 and a 404, with the permission that is needed.
        error: Box<GitHubError>,
        /// What was tried.
        tried: JitTried,
    },
}

impl JitError {
    /// What was tried, for how long, and what may be left of it.
    #[must_use]
    pub fn tried(&self) -> &JitTried {
        match self {
            Self::Taken { tried, .. }
            | Self::NotRemoved { tried, .. }
            | Self::Lost { tried, .. }
            | Self::GitHub { tried, .. } => tried,
        }
    }

    /// What went wrong with GitHub at last; `None` where the name is taken.
    #[must_use]
    pub fn github(&self) -> Option<&GitHubError> {
        match self {
            Self::Taken { .. } => None,
            Self::NotRemoved { error, .. } | Self::GitHub { error, .. } => Some(error),
            Self::Lost { answer, look, .. } => Some(look.as_deref().unwrap_or(answer)),
        }
    }

    /// When asking again can help; `None` where no clock foretells it.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.github()?.retry_at()
    }
}

fn taken(name: &RunnerName, by: Option<&RunnerRow>) -> String {
    let Some(by) = by else {
        return format!(
            "GitHub says that {name:?} is taken (409), and shows no runner of that name",
            name = name.as_str()
        );
    };
    let connected = match by.connection {
        Connection::Once => ", which has connected",
        Connection::Untold => ", of which GitHub does not tell whether it ever connected",
        Connection::Never if by.busy => ", which GitHub shows busy",
        Connection::Never => ", which never connected",
    };
    format!(
        "{:?} is the name of registration {}{connected}",
        &*by.name, by.id
    )
}

fn looked(look: Option<&GitHubError>) -> String {
    match look {
        Some(error) => format!("; and whether it was carried out could not be read: {error}"),
        None => "; no such runner was registered when GitHub was last asked".to_owned(),
    }
}

/// As it stands behind an error: nothing where one ask was all.
impl fmt::Display for JitTried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.asked > 1 {
            write!(f, " (asked {} times in {})", self.asked, Span(self.took))?;
        }
        let list = |all: &[RunnerId]| {
            let all: Vec<_> = all.iter().map(ToString::to_string).collect();
            all.join(", ")
        };
        if !self.left_behind.is_empty() {
            let ids = list(&self.left_behind);
            write!(
                f,
                "; left behind, to be removed as ghosts: registration {ids}"
            )?;
        }
        let names: Vec<_> = self.unaccounted.iter().map(RunnerName::as_str).collect();
        if !names.is_empty() {
            write!(
                f,
                "; it may be registered all the same, within some 10 s: {}",
                names.join(", ")
            )?;
        }
        Ok(())
    }
}
