//! A line in the log once in a while, whatever is sent to us.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How often one kind of refusal is told of.
const EVERY: Duration = Duration::from_secs(60);

/// When each kind of refusal was told of, and how often it has happened since.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<HashMap<u16, (Option<Instant>, u64)>>);

impl Seldom {
    /// Counts one more. It tells how many there were since the last that was told of, if it is time to tell.
    pub(super) fn is_due(&self, status: u16) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, times) = told.entry(status).or_default();
        *times = times.saturating_add(1);
        let is_due = last.is_none_or(|last| last.elapsed() >= EVERY);
        is_due.then(|| {
            *last = Some(Instant::now());
            std::mem::take(times)
        })
    }
}
