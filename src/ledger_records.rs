//! The ledger as it lies in a store: what webhooks told of each runner's jobs, and which jobs wait for a runner.
//!
//! Whoever delivers knows the repository and its owner, not where a runner is registered. So all of it lies with the
//! owner, as with an organisation, and with the enterprise where a delivery names one.

use crate::{
    ledger::Ledger,
    records::EVERY_GITHUB,
    runner::{RunnerName, Scope},
    store::{Key, Kind},
    time::Instant,
};
use serde::{Deserialize, Serialize};

/// In how many records the waiting jobs of a scope lie, by their numbers: deliveries at the same time meet in few.
pub(crate) const SLOTS: u64 = 64;

/// A part of the ledger, as one record.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct LedgerRecord {
    /// The jobs.
    #[serde(default)]
    pub(crate) jobs: Ledger,
    /// When it was written, on the clock of the receiver that wrote it: the clock of every instant in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) written_at: Option<Instant>,
}

/// Where the ledger of a scope's runners lies: with the owner of a repository, for deliveries do not tell a
/// repository's runner from an organisation's.
pub(crate) fn ledger_scope(scope: &Scope) -> Scope {
    match scope {
        Scope::Repository { owner, .. } => Scope::Organization(owner.clone()),
        other => other.clone(),
    }
}

/// The key of a record that a receiver writes in a ledger's scope. A delivery does not tell by which URL the guards
/// ask GitHub, so it has no GitHub in it, as a heartbeat has none (§10 ag): of two GitHubs on one store with an owner
/// and a runner of the same names, the job of one holds the other's runner, too.
pub(crate) fn key(ledger: &Scope, kind: Kind, name: &RunnerName) -> Key {
    Key::of_runner(EVERY_GITHUB.into(), ledger.clone(), kind, name.clone())
}

/// The key of what was told of one runner's jobs. In lower case: a job names its runner in any case.
pub(crate) fn jobs_key(ledger: &Scope, runner: &RunnerName) -> Key {
    let lower = RunnerName::new(&runner.as_str().to_lowercase());
    key(ledger, Kind::Jobs, lower.as_ref().unwrap_or(runner))
}

/// The key of the slot in which this job waits.
pub(crate) fn slot_key(ledger: &Scope, job_id: u64) -> Key {
    let name = RunnerName::ours(format!("slot-{:02}", job_id % SLOTS));
    key(ledger, Kind::Queue, &name)
}

/// The keys of all slots of a scope.
pub(crate) fn slot_keys(ledger: &Scope) -> impl Iterator<Item = Key> {
    (0..SLOTS).map(|slot| slot_key(ledger, slot))
}
