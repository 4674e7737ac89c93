//! One registration that nothing may stand behind.

use crate::{
    runner::{RunnerId, Scope},
    time::Instant,
};
use serde::Serialize;
use std::{fmt, sync::Arc};

/// A registration that no look ever saw connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ghost {
    pub(super) scope: Scope,
    pub(super) id: RunnerId,
    pub(super) name: Arc<str>,
    pub(super) first_seen: Instant,
    pub(super) due_at: Instant,
    pub(super) kept: Option<KeptFor>,
}

/// Why a registration stays, however long it has been there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeptFor {
    /// The caller has an instance of this name.
    Named,
    /// A witness on the host of a runner of this name spoke: its beacon, or a job that took its fence.
    Host,
    /// A runner of this name had a job, the guard remembers.
    Job,
    /// What is remembered of a runner of this name could not be read, or no record can be of this name.
    Unreadable,
    /// Our clock is too far from GitHub's: nobody knows how long it has been there.
    Clock,
    /// There are too many to remember them all.
    Crowd,
}

impl Ghost {
    /// Where it is registered.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The registration's number.
    #[must_use]
    pub fn id(&self) -> RunnerId {
        self.id
    }

    /// Its name, as GitHub shows it.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The first look that saw it.
    #[must_use]
    pub fn first_seen(&self) -> Instant {
        self.first_seen
    }

    /// From when on it may be removed, if no look sees it connected until then; `None` where something keeps it.
    #[must_use]
    pub fn removable_at(&self) -> Option<Instant> {
        self.kept.is_none().then_some(self.due_at)
    }

    /// What keeps it, if anything does.
    #[must_use]
    pub fn kept(&self) -> Option<KeptFor> {
        self.kept
    }
}

impl fmt::Display for KeptFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named => "you have an instance of this name",
            Self::Host => "a witness on the host of a runner of this name spoke",
            Self::Job => "a runner of this name had a job",
            Self::Unreadable => "what is remembered of this name could not be read",
            Self::Clock => {
                "this machine's clock is more than 30 s off GitHub's: nobody knows how long it has been there"
            }
            Self::Crowd => "there are too many registrations to remember them all",
        })
    }
}
