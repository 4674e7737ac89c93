//! The human exit from a hold.

use super::{Guard, outcome::Remembered};
use crate::{
    fence::Fence,
    records::Records,
    runner::{RunnerName, Scope},
    store::{Kind, Store, StoreError},
    time::{At, Instant},
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// How many releases of one runner are kept.
const KEPT: usize = 64;

/// What an operator says: somebody looked, and nothing stands behind what was heard of the runner until now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When.
    pub at: Instant,
    /// Who.
    pub by: Arc<str>,
    /// Why.
    pub note: Arc<str>,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}: {}", At(self.at), self.by, self.note)
    }
}

/// What a release met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The releases of this runner that are kept, this one last.
    pub releases: Vec<Release>,
    /// Whether anything was known of a runner of this name: else it may be misspelt, or of another scope.
    pub was_known: bool,
}

/// Releases a runner from what holds it without an end: what a silent beacon left, the job that a webhook left
/// open, a drain or a termination that is out. Vacancy counts from now, and what is heard after now holds as
/// ever; so does a lease that is live. Every permit that is out is worth nothing; a go that somebody already acts
/// on is not called back.
///
/// It is written down before it is done; the last 64 of a runner are kept.
///
/// # Errors
/// [`StoreError`] when it could not be written; it may be done in part, and can be done again.
pub async fn release(
    store: impl Store + 'static,
    api: &str,
    scope: &Scope,
    runner: &RunnerName,
    release: Release,
) -> Result<Released, StoreError> {
    released(&Records::new(Arc::new(store), api), scope, runner, release).await
}

impl Guard {
    /// Releases a runner; see [`release`].
    ///
    /// # Errors
    /// As [`release`].
    pub async fn release(
        &self,
        scope: &Scope,
        runner: &RunnerName,
        by: &str,
        note: &str,
    ) -> Result<Released, StoreError> {
        let release = Release {
            at: self.now(),
            by: by.into(),
            note: note.into(),
        };
        released(&self.inner.records, scope, runner, release).await
    }
}

/// Whether the store knows anything of a runner of this name: a look, its beacon or a retirement left a record. Else
/// the name may be misspelt, or of another scope. `api` is the GitHub's host, such as `api.github.com`.
///
/// # Errors
/// [`StoreError`] when it could not be read.
pub async fn is_known(
    store: impl Store + 'static,
    api: &str,
    scope: &Scope,
    runner: &RunnerName,
) -> Result<bool, StoreError> {
    recorded(&Records::new(Arc::new(store), api), scope, runner).await
}

async fn recorded(
    records: &Records,
    scope: &Scope,
    runner: &RunnerName,
) -> Result<bool, StoreError> {
    let known = [
        records.of_host(scope, Kind::Fence, runner),
        records.of_runner(scope, Kind::Memory, runner),
        records.of_host(scope, Kind::Heartbeat, runner),
    ];
    let read = records.read_unparsed(&known).await?;
    Ok(read.iter().any(Option::is_some))
}

async fn released(
    records: &Records,
    scope: &Scope,
    runner: &RunnerName,
    release: Release,
) -> Result<Released, StoreError> {
    let was_known = recorded(records, scope, runner).await?;
    let fence = records.of_host(scope, Kind::Fence, runner);
    let memory = records.of_runner(scope, Kind::Memory, runner);
    let audit = records.of_host(scope, Kind::Releases, runner);
    let told = records.update(&audit, |releases: &mut Vec<Release>| {
        releases.push(release.clone());
        let surplus = releases.len().saturating_sub(KEPT);
        releases.drain(..surplus);
        releases.clone()
    });
    let releases = told.await?;
    records
        .update(&fence, |fence: &mut Fence| *fence = fence.release())
        .await?;
    let at = release.at;
    records
        .update(&memory, |known: &mut Remembered| known.memory.release(at))
        .await?;
    tracing::warn!(%runner, %scope, by = &*release.by, note = &*release.note, "released");
    Ok(Released {
        releases,
        was_known,
    })
}
