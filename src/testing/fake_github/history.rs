//! How something changed, so that it can be shown as it was.

use crate::time::{Instant, after};
use chrono::TimeDelta;

/// The values that something had, and since when.
#[derive(Debug, Clone)]
pub(super) struct History<T>(Vec<(Instant, T)>);

impl<T> Default for History<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> History<T> {
    /// A history that begins now.
    pub(super) fn since(now: Instant, value: T) -> Self {
        Self(vec![(now, value)])
    }

    /// Notes what it is now.
    pub(super) fn note(&mut self, now: Instant, value: T) {
        if self.latest() != Some(&value) {
            self.0.push((now, value));
        }
    }

    /// What it is.
    pub(super) fn latest(&self) -> Option<&T> {
        self.0.last().map(|(_, value)| value)
    }

    /// What it was so long ago; `None` before its beginning. Without a lag that is what it is, even
    /// where the clock was set back.
    pub(super) fn lagged(&self, now: Instant, lag: TimeDelta) -> Option<&T> {
        if lag <= TimeDelta::zero() {
            return self.latest();
        }
        let then = after(now, -lag);
        let mut backwards = self.0.iter().rev();
        backwards
            .find(|(since, _)| *since <= then)
            .map(|(_, value)| value)
    }
}
