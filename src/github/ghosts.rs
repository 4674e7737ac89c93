//! Ghosts: registrations that no instance stands behind.
//!
//! A just-in-time runner is registered before its instance runs. Where the answer was lost, or the instance never came
//! up, the registration stays: offline, never connected, and in the way of whoever wants its name. GitHub itself
//! cleans up only after a day, or after fourteen.

mod ghost;
mod removal;
mod sightings;
mod witnesses;

pub use ghost::{Ghost, KeptFor};
pub use removal::GhostRemoval;

use super::{GitHub, GitHubError, RunnerRow};
use crate::{
    fleet::{FleetReport, skew_seconds},
    policy::Policy,
    records::Records,
    runner::{RunnerName, Scope},
    store::{Kind, Store, StoreError},
    time::{Instant, after},
};
use chrono::TimeDelta;
use sightings::{Shown, Sightings};
use std::{collections::HashSet, sync::Arc};
use thiserror::Error;

/// Finds and removes registrations that no instance stands behind.
///
/// One may be removed when it was first seen [`Policy::registration_deadline`] ago (10 minutes by default), at least,
/// and no look since saw it connected: with a version, online or busy. Where GitHub does not show versions (an old
/// Enterprise Server), there are no ghosts. Which registrations were seen is kept in the store, one record a scope, so
/// that a look may be a call of its own, hours later or on another machine; an id that was once seen connected is
/// remembered as such as long as it is listed.
///
/// Never removed is one whose name the caller [keeps](Self::keep), one of whose host any witness spoke (a heartbeat, a
/// job that took the fence), and one of a name that had a job, as the guard remembers it. Nothing is removed while our
/// clock is more than [30 s](crate::fleet::MAX_GITHUB_SKEW) off GitHub's.
///
/// What remains: an instance that takes longer to come up than the registration deadline, and is not named in
/// [`keep`](Self::keep), finds its registration gone, and must ask for another.
///
/// ```no_run
/// use scale_in_guard::{Policy, github::{Ghosts, GitHub}, stores::MemoryStore};
///
/// # async fn run(github: GitHub) -> Result<(), Box<dyn std::error::Error>> {
/// let ghosts = Ghosts::new(github, MemoryStore::new(), &Policy::default()) // a store that lasts
///     .keep(["i-06cbe04821ccba677".parse()?]); // every instance that you have
/// for (ghost, removal) in ghosts.sweep(&"org:acme".parse()?).await? {
///     println!("{} {}: {removal:?}", ghost.id(), ghost.name());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Ghosts {
    github: GitHub,
    records: Records,
    registration_deadline: TimeDelta,
    /// Names that have an instance, in lower case.
    kept: Arc<HashSet<String>>,
}

/// Why ghosts could not be looked for, or one of them not removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GhostsError {
    /// GitHub refused, or could not be asked.
    #[error(transparent)]
    GitHub(Box<GitHubError>),
    /// What earlier looks saw could not be read or written: nothing is removed.
    #[error("what earlier looks saw: {0}")]
    Store(#[from] StoreError),
}

impl GhostsError {
    /// When asking again can help; `None` where no clock foretells it.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        match self {
            Self::GitHub(error) => error.retry_at(),
            Self::Store(_) => None,
        }
    }
}

impl Ghosts {
    /// Looks at this GitHub, by the clock that it was built with, and remembers in this store: one that lasts, and
    /// that the guards and the beacons share. Of the policy, the registration deadline counts.
    pub fn new(github: GitHub, store: impl Store + 'static, policy: &Policy) -> Self {
        Self {
            records: Records::new(Arc::new(store), &github.api().host()),
            github,
            registration_deadline: policy.registration_deadline,
            kept: Arc::default(),
        }
    }

    /// The same, which never removes a registration of these names, in any spelling of upper and lower case: those
    /// of the instances that exist, booting ones too.
    #[must_use]
    pub fn keep(mut self, names: impl IntoIterator<Item = RunnerName>) -> Self {
        let names = names.into_iter().map(|name| name.as_str().to_lowercase());
        Arc::make_mut(&mut self.kept).extend(names);
        self
    }

    /// Every registration of a scope that no look saw connected, this one included, in the order of their numbers.
    /// It removes nothing.
    ///
    /// Where the listing's total does not match its rows, the rows count all the same, and nothing follows for those
    /// that it lacks.
    ///
    /// # Errors
    /// [`GhostsError`] when the listing could not be read, or the store not read or written.
    pub async fn look(&self, scope: &Scope) -> Result<Vec<Ghost>, GhostsError> {
        let asked_at = self.github.now();
        let listing = self.github.runners(scope).await?;
        let now = self.github.now();
        let is_off = clock_is_off(listing.date, asked_at, now);
        let rows = &listing.rows;
        let shown = Shown {
            rows,
            is_whole: listing.is_whole(),
            now,
            clock_is_good: !is_off,
        };
        let observe = |seen: &mut Sightings| {
            seen.observe(shown);
            seen.clone()
        };
        let seen = self.note(scope, observe).await?;
        let is_new = |row: &&RunnerRow| row.never_connected() && seen.may_be_new(row.id);
        let mut rows: Vec<_> = rows.iter().filter(is_new).collect();
        rows.sort_unstable_by_key(|row| row.id);
        let names: Vec<_> = rows.iter().map(|row| &*row.name).collect();
        let witnessed = witnesses::keep(&self.records, scope, &names).await?;
        let ghost = |(row, witnessed): (&RunnerRow, Option<KeptFor>)| {
            let first_seen = seen.first_seen(row.id);
            let named = self.is_kept(&row.name).then_some(KeptFor::Named);
            let clock = is_off.then_some(KeptFor::Clock);
            let crowd = first_seen.is_none().then_some(KeptFor::Crowd);
            let first_seen = first_seen.unwrap_or(now);
            Ghost {
                scope: scope.clone(),
                id: row.id,
                name: row.name.clone(),
                first_seen,
                due_at: after(first_seen, self.registration_deadline),
                kept: named.or(witnessed).or(clock).or(crowd),
            }
        };
        Ok(rows.into_iter().zip(witnessed).map(ghost).collect())
    }

    /// Looks, and removes every ghost that may be. Each of them comes with what became of it; `None` where it was
    /// not its turn: it is kept, or too young, or an earlier one [failed](GhostRemoval::Failed), as the others would.
    ///
    /// # Errors
    /// As [`look`](Self::look). One that could not be removed is told with what became of it.
    pub async fn sweep(
        &self,
        scope: &Scope,
    ) -> Result<Vec<(Ghost, Option<GhostRemoval>)>, GhostsError> {
        let mut swept = Vec::new();
        let mut may_go_on = true;
        for ghost in self.look(scope).await? {
            let now = self.github.now();
            let is_due = ghost.removable_at().is_some_and(|at| at <= now);
            let removal = match is_due && may_go_on {
                true => Some(self.remove(&ghost).await),
                false => None,
            };
            may_go_on &= !matches!(removal, Some(GhostRemoval::Failed(_)));
            swept.push((ghost, removal));
        }
        Ok(swept)
    }

    /// Whether the caller has an instance of this name.
    fn is_kept(&self, name: &str) -> bool {
        self.kept.contains(&name.to_lowercase())
    }

    /// What earlier looks saw of a scope.
    async fn read(&self, scope: &Scope) -> Result<Sightings, StoreError> {
        let key = self.records.of_scope(scope, Kind::Ghosts);
        Ok(self.records.read_one(&key).await?.value)
    }

    async fn note<R>(
        &self,
        scope: &Scope,
        change: impl FnMut(&mut Sightings) -> R,
    ) -> Result<R, StoreError> {
        let key = self.records.of_scope(scope, Kind::Ghosts);
        self.records.update(&key, change).await
    }
}

/// Whether our clock is too far from GitHub's, as an answer shows that was asked for at one instant and came at the
/// other.
fn clock_is_off(date: Option<Instant>, asked_at: Instant, received_at: Instant) -> bool {
    let report = FleetReport {
        clock_skew_seconds: skew_seconds(date, asked_at, received_at),
        ..FleetReport::default()
    };
    report.clock_is_off()
}
