//! The port of memory: where records live between looks, and between guards.
//!
//! A record is a text under a [`Key`], with a version. It is written by compare-and-swap alone, so that
//! no store can lose an update by accident. What the text holds is not a store's business.

use crate::runner::{RunnerName, Scope};
use async_trait::async_trait;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use thiserror::Error;

/// What kind of record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// What earlier looks left of one runner.
    Memory,
    /// What shadow mode counted of one runner.
    Shadow,
    /// What is remembered of a whole scope: its listing, and whether it is ours.
    Fleet,
    /// What the beacon on one runner's host last reported. The beacon alone writes it.
    Heartbeat,
    /// The fence of one runner, by which a guard announces that it is to go, and a starting job takes
    /// it back.
    Fence,
    /// What operators released of one runner, and why.
    Releases,
    /// Which registrations of a scope were seen, and which of them connected.
    Ghosts,
    /// What webhooks told of the jobs that one runner has or had. The receiver writes it.
    Jobs,
    /// What webhooks told of jobs that wait for a runner, of a whole scope, in a number of slots. The receiver writes
    /// it.
    Queue,
    /// What one receiver of webhooks missed, and of which repositories it heard. It writes it itself.
    Receiver,
    /// The last scan of all the jobs of a scope.
    Scan,
    /// What operators pinned in a scope.
    Pins,
    /// The last decisions about one runner.
    History,
    /// The names of the runners that were seen on one machine, whose id stands in the place of a runner's name.
    Machine,
    /// Which machines of a scope the last sweep found vacant, and which are drained.
    Muster,
}

impl Kind {
    /// Its name in a store: stable, in snake_case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Shadow => "shadow",
            Self::Fleet => "fleet",
            Self::Heartbeat => "heartbeat",
            Self::Fence => "fence",
            Self::Releases => "releases",
            Self::Ghosts => "ghosts",
            Self::Jobs => "jobs",
            Self::Queue => "queue",
            Self::Receiver => "receiver",
            Self::Scan => "scan",
            Self::Pins => "pins",
            Self::History => "history",
            Self::Machine => "machine",
            Self::Muster => "muster",
        }
    }
}

/// What a record is about: a runner, or a whole scope, of one GitHub. GitHub tells scopes apart without regard
/// to case, and so do keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    api: Arc<str>,
    scope: Scope,
    kind: Kind,
    runner: Option<RunnerName>,
}

impl Key {
    /// The key of a record about one runner. `api` is the GitHub it is registered at, such as
    /// `api.github.com`: the same name elsewhere is another runner.
    #[must_use]
    pub fn of_runner(api: Arc<str>, scope: Scope, kind: Kind, name: RunnerName) -> Self {
        Self {
            api,
            scope: scope.in_lower_case(),
            kind,
            runner: Some(name),
        }
    }

    /// The key of a record about a whole scope.
    #[must_use]
    pub fn of_scope(api: Arc<str>, scope: Scope, kind: Kind) -> Self {
        Self {
            api,
            scope: scope.in_lower_case(),
            kind,
            runner: None,
        }
    }

    /// The GitHub it is about.
    #[must_use]
    pub fn api(&self) -> &str {
        &self.api
    }

    /// The scope it is about, in lower case.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What kind of record it names.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The runner it is about; `None` for a whole scope.
    #[must_use]
    pub fn runner(&self) -> Option<&RunnerName> {
        self.runner.as_ref()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} ", self.kind.as_str(), self.scope)?;
        match &self.runner {
            Some(name) => write!(f, "{name} at {}", self.api),
            None => write!(f, "at {}", self.api),
        }
    }
}

/// Which writing of a record this is. Every swap that is done makes another one, never seen before
/// under that key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(pub u64);

/// A record as it was last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which writing it is: what [`Store::swap`] is to find.
    pub version: Version,
    /// What was written.
    pub value: String,
    /// How long ago it was written, by one clock for all who write and read: the store's. Negative where
    /// that clock was set back. The age of a heartbeat hangs on it: a beacon that died must not seem alive.
    pub age: TimeDelta,
}

/// What became of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a swap that met another one wrote nothing"]
pub enum Swap {
    /// It was written, and this is its version.
    Done(Version),
    /// Somebody else wrote first: nothing was written. Read again, and decide again.
    Conflict,
}

/// Where records live. The library's own are [`MemoryStore`](crate::stores::MemoryStore) and, with
/// feature `sqlite`, `SqliteStore`; `testing::conformance::store` (feature `testing`) proves one of yours.
///
/// A store must keep these promises:
/// - A read tells of every swap that was done before it began.
/// - Of several swaps that expect the same version, one is done at the most.
/// - An error from `swap` means that nobody knows whether it was done.
/// - It gives back what was written, to the byte, or an error. It never makes up a record.
/// - A record's age is reckoned by one clock, whoever writes and reads, and is never less than it is.
#[cfg_attr(feature = "testing", mockall::automock)]
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// What it is and where, for messages: `sqlite:/var/lib/…`. No secrets.
    fn describe(&self) -> String;

    /// Reads the records under `keys`, in their order; `None` for one that was never written.
    ///
    /// # Errors
    /// [`StoreError`] when any of them could not be read.
    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError>;

    /// Reads every record of this kind in a scope.
    ///
    /// # Errors
    /// [`StoreError`] when they could not all be read.
    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError>;

    /// Writes `value` under `key` if the version there is `expected`; `None` expects no record.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be written, or when nobody knows whether it was.
    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError>;
}

/// Why a store could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It could not be reached, or refused.
    #[error("{store}: {doing}: {source}; see to that, or name another store")]
    Unusable {
        /// Which store.
        store: String,
        /// What was tried.
        doing: &'static str,
        /// What came back.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was kept is gone or cannot be read. It is begun anew: every window starts now.
    #[error("{store}: {what}; it is begun anew, and every window with it")]
    Lost {
        /// Which store.
        store: String,
        /// What was found instead.
        what: String,
    },
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    fn describe(&self) -> String {
        (**self).describe()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        (**self).read(keys).await
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        (**self).scan(api, scope, kind).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        (**self).swap(key, expected, value).await
    }
}
