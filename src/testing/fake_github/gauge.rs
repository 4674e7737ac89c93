//! How many requests are being answered at the same time.

use super::FakeGitHub;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many there are, and how many there were at the most.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(super) struct Answering(Arc<Gauge>);

impl Answering {
    pub(super) fn begin(gauge: &Arc<Gauge>) -> Self {
        let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
        gauge.most.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(gauge))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The gauge.
impl FakeGitHub {
    /// The largest number of requests that were being answered at the same time, since it started.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.shared.gauge.most.load(Ordering::SeqCst)
    }
}
