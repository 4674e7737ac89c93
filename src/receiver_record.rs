//! What a receiver tells of itself: whether a guard may rely on having been told of every event.

use crate::time::Instant;
use serde::{Deserialize, Serialize};

/// What one receiver tells of itself in one scope: the record of kind [`Kind::Receiver`](crate::store::Kind) under the
/// GitHub `*`, the ledger's scope and the name `receiver-NAME`. It is written before an event is answered with 2xx,
/// and at least every 15 s: its age in the store is the receiver's heartbeat.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReceiverRecord {
    /// Names this run of the receiver: another one may have missed what came in between. It changes, too, when what
    /// it wrote is gone from the store.
    #[serde(default)]
    pub boot: String,
    /// When this run began to listen, on the receiver's clock.
    #[serde(default)]
    pub started_at: Instant,
    /// When it was written, on the receiver's clock.
    #[serde(default)]
    pub written_at: Instant,
    /// How many events of this scope this run was told of.
    #[serde(default)]
    pub events: u64,
    /// What it refused in this run, whatever scope it was of.
    #[serde(default)]
    pub refused: Refused,
    /// What it was told in this run and could not keep where a guard finds it: a runner without a name that could be
    /// one, a record that could not be read and was begun anew, more waiting jobs than a slot holds.
    #[serde(default)]
    pub missed: u64,
    /// It has ended, of its own accord.
    #[serde(default)]
    pub gone: bool,
}

/// How many deliveries were refused, by reason. A delivery that is refused is lost, unless somebody has GitHub deliver
/// it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refused {
    /// 401: signed with no secret of ours. Anybody can bring this about.
    #[serde(default)]
    pub unauthorized: u64,
    /// 400: signed, and not to be read.
    #[serde(default)]
    pub unreadable: u64,
    /// 413: too long to be read.
    #[serde(default)]
    pub too_large: u64,
    /// 503: it could not be written in time.
    #[serde(default)]
    pub unavailable: u64,
}

impl ReceiverRecord {
    /// One that begins to listen.
    #[cfg(feature = "webhook")]
    pub(crate) fn begun(boot: String, now: Instant) -> Self {
        Self {
            boot,
            started_at: now,
            ..Self::default()
        }
    }

    /// Counts an event.
    #[cfg(feature = "webhook")]
    pub(crate) fn count(&mut self) {
        self.events = self.events.saturating_add(1);
    }
}
