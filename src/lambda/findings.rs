//! What an invocation of the termination policy found, as far as it came: its answer, and its line in the log.

use crate::{instance::InstanceId, runner::Scope};
use std::sync::{Arc, Mutex, PoisonError};

/// How many of those that must stay are told one by one.
const TOLD: usize = 5;

/// What was found, for whoever answers when the time is over.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Findings>>);

impl Notes {
    pub(super) fn write<R>(&self, write: impl FnOnce(&mut Findings) -> R) -> R {
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) group: Option<String>,
    pub(super) cause: Option<String>,
    /// How many are to go, and how many instances can be chosen from.
    pub(super) asked: usize,
    pub(super) candidates: usize,
    pub(super) ready: Vec<InstanceId>,
    pub(super) draining: Vec<InstanceId>,
    /// Those that would be drained outside shadow mode.
    pub(super) would_drain: Vec<InstanceId>,
    held: usize,
    reasons: Vec<String>,
    /// Why it ended before it was through.
    pub(super) trouble: Option<String>,
}

impl Findings {
    pub(super) fn hold(&mut self, instance: &InstanceId, why: &str) {
        self.held = self.held.saturating_add(1);
        if self.reasons.len() < TOLD {
            self.reasons.push(format!("{instance}: {why}"));
        }
    }

    /// One line for an invocation.
    pub(super) fn log(&self, scope: &Scope) {
        let names = |ids: &[InstanceId]| {
            let names: Vec<_> = ids.iter().map(InstanceId::as_str).collect();
            names.join(" ")
        };
        let (group, cause) = (self.group.as_deref(), self.cause.as_deref());
        let (asked, candidates, held) = (self.asked, self.candidates, self.held);
        let (ready, draining) = (names(&self.ready), names(&self.draining));
        let (would_drain, reasons) = (names(&self.would_drain), self.reasons.join("; "));
        match &self.trouble {
            Some(trouble) => tracing::warn!(
                group, cause, %scope, asked, candidates, ready, draining, would_drain, held, reasons, trouble,
                "termination policy"
            ),
            None => tracing::info!(
                group, cause, %scope, asked, candidates, ready, draining, would_drain, held, reasons,
                "termination policy"
            ),
        }
    }
}
