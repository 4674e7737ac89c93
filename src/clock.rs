//! The clock: the only place that reads the time.

use crate::time::Instant;
use chrono::TimeDelta;
use std::{fmt, future::Future, time::Duration};
use thiserror::Error;

/// What time it is. A port, so that tests can set it.
#[cfg_attr(feature = "testing", mockall::automock)]
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present instant.
    fn now(&self) -> Instant;
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Instant {
        (**self).now()
    }
}

/// This machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Instant {
        crate::time::from_system(std::time::SystemTime::now())
    }
}

/// This machine's clock as it stood when this was made, and the monotonic clock since: no setting of the wall
/// clock moves it. Time for which the machine was suspended may be missing in it.
#[derive(Debug, Clone, Copy)]
pub struct SteadyClock {
    began_at: Instant,
    began: std::time::Instant,
}

impl SteadyClock {
    /// Begins now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self {
            began_at: SystemClock.now(),
            began: std::time::Instant::now(),
        }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Instant {
        let elapsed = TimeDelta::from_std(self.began.elapsed()).unwrap_or(TimeDelta::MAX);
        crate::time::after(self.began_at, elapsed)
    }
}

/// The present instant of the monotonic clock.
pub(crate) fn monotonic() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// How long ago that was, by the same clock.
#[cfg(feature = "github")]
pub(crate) fn elapsed_since(instant: std::time::Instant) -> TimeDelta {
    let elapsed = monotonic().saturating_duration_since(instant);
    TimeDelta::from_std(elapsed).unwrap_or(TimeDelta::MAX)
}

/// When something must be done, on the machine's monotonic clock: no setting of the wall clock
/// stretches it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(tokio::time::Instant);

/// It was not done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no answer in time")]
pub(crate) struct Late;

impl Deadline {
    /// So long from now.
    pub(crate) fn within(span: TimeDelta) -> Self {
        let span = span.to_std().unwrap_or(Duration::ZERO);
        Self(tokio::time::Instant::now() + span)
    }

    /// This long before it.
    pub(crate) fn less(self, margin: TimeDelta) -> Self {
        let margin = margin.to_std().unwrap_or(Duration::ZERO);
        Self(self.0.checked_sub(margin).unwrap_or(self.0))
    }

    /// How long there is until then: nothing once it has passed.
    pub(crate) fn left(self) -> Duration {
        self.0
            .saturating_duration_since(tokio::time::Instant::now())
    }

    /// Whether it comes before that.
    #[cfg(feature = "github")]
    pub(crate) fn is_before(self, at: tokio::time::Instant) -> bool {
        self.0 < at
    }

    /// The earlier of two.
    pub(crate) fn or_sooner(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// Waits for `work`, but not beyond the deadline.
    pub(crate) async fn meet<F: Future>(self, work: F) -> Result<F::Output, Late> {
        tokio::time::timeout_at(self.0, work)
            .await
            .map_err(|_| Late)
    }
}
