//! One registration is removed, if it is still what it was.

use super::{Ghost, Ghosts, GhostsError, KeptFor, clock_is_off, witnesses};
use crate::{
    github::{GitHubError, RunnerRow},
    registrar::Deregistered,
    time::{At, Instant},
};
use std::fmt;

/// What became of a ghost.
#[derive(Debug)]
#[non_exhaustive]
pub enum GhostRemoval {
    /// It was removed.
    Removed,
    /// It is registered no more, or this token cannot see it.
    Gone,
    /// A runner connected to it, or took its number's place under another name: it stays.
    ConnectedMeanwhile {
        /// Its registration, as GitHub shows it now.
        runner: Box<RunnerRow>,
    },
    /// GitHub refused (422): it has a job. It stays, and is never a ghost again.
    Refused,
    /// It has not been seen for long enough, by what is remembered now.
    TooYoung {
        /// When it has; `None` where nothing is remembered of it: look again.
        removable_at: Option<Instant>,
    },
    /// Something keeps it.
    Kept(KeptFor),
    /// Nobody knows whether it was removed, or it could not be asked for.
    Failed(GhostsError),
}

impl GhostRemoval {
    /// Its name, in `snake_case`, as it stands in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Gone => "gone",
            Self::ConnectedMeanwhile { .. } => "connected_meanwhile",
            Self::Refused => "refused",
            Self::TooYoung { .. } => "too_young",
            Self::Kept(_) => "kept",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether it is registered no more, as far as we can see.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Removed | Self::Gone)
    }
}

impl fmt::Display for GhostRemoval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => f.write_str("removed"),
            Self::Gone => f.write_str("registered no more"),
            Self::ConnectedMeanwhile { .. } => f.write_str("stays: it connected meanwhile"),
            Self::Refused => f.write_str("stays: it has a job, GitHub says (422)"),
            Self::TooYoung {
                removable_at: Some(at),
            } => write!(f, "stays until {}", At(*at)),
            Self::TooYoung { removable_at: None } => f.write_str("stays: look at it again first"),
            Self::Kept(why) => write!(f, "stays: {why}"),
            Self::Failed(error) => write!(f, "not removed, as far as we know: {error}"),
        }
    }
}

impl Ghosts {
    /// Removes a ghost, if it is one still: what is remembered is read anew, GitHub is asked for it by its number, and
    /// only then a DELETE is sent, once.
    ///
    /// It needs a token that may write, as [`GitHub::remove_runner`](crate::github::GitHub::remove_runner) does. It
    /// takes no longer than a call may.
    pub async fn remove(&self, ghost: &Ghost) -> GhostRemoval {
        let removed = self.try_to_remove(ghost).await;
        let removed = removed.unwrap_or_else(GhostRemoval::Failed);
        let Ghost {
            scope, id, name, ..
        } = ghost;
        tracing::info!(%scope, %id, %name, outcome = removed.as_str(), "ghost");
        removed
    }

    async fn try_to_remove(&self, ghost: &Ghost) -> Result<GhostRemoval, GhostsError> {
        let Ghost {
            scope, id, name, ..
        } = ghost;
        if self.is_kept(name) {
            return Ok(GhostRemoval::Kept(KeptFor::Named));
        }
        let github = self.github.until(self.github.deadline());
        let seen = self.read(scope).await?;
        let removable_at = seen.is_due_at(*id, self.registration_deadline);
        if removable_at.is_none_or(|at| github.now() < at) {
            return Ok(GhostRemoval::TooYoung { removable_at });
        }
        let kept = witnesses::keep(&self.records, scope, &[name]).await?;
        if let Some(why) = kept.into_iter().flatten().next() {
            return Ok(GhostRemoval::Kept(why));
        }
        let asked_at = github.now();
        let (row, date) = github.runner(scope, *id).await?;
        if clock_is_off(date, asked_at, github.now()) {
            return Ok(GhostRemoval::Kept(KeptFor::Clock));
        }
        let Some(row) = row else {
            return Ok(GhostRemoval::Gone);
        };
        if !row.never_connected() || row.name != *name {
            self.note(scope, |seen| seen.was_connected(*id)).await?;
            let runner = Box::new(row);
            return Ok(GhostRemoval::ConnectedMeanwhile { runner });
        }
        Ok(match github.remove_runner(scope, *id).await {
            Ok(Deregistered::Occupied) => {
                self.note(scope, |seen| seen.was_connected(*id)).await?;
                GhostRemoval::Refused
            }
            Ok(done) => {
                // It is done, whether it can be written down or not: the next whole listing lacks it.
                if let Err(error) = self.note(scope, |seen| seen.forget(*id)).await {
                    tracing::warn!(%scope, %id, %error, "could not write down that it was removed");
                }
                match done {
                    Deregistered::Removed => GhostRemoval::Removed,
                    _ => GhostRemoval::Gone,
                }
            }
            Err(error) => GhostRemoval::Failed(error.into()),
        })
    }
}

impl From<GitHubError> for GhostsError {
    fn from(error: GitHubError) -> Self {
        Self::GitHub(Box::new(error))
    }
}
