//! Clocks for tests.

use crate::{clock::Clock, time::Instant};
use chrono::TimeDelta;
use std::sync::{Arc, Mutex, PoisonError};

/// A clock that stands still until it is set. Clones show the same time.
///
/// ```
/// use chrono::TimeDelta;
/// use scale_in_guard::{clock::Clock, testing::ManualClock};
/// let clock = ManualClock::at("2026-05-14T02:00:00Z".parse()?);
/// let seen_by_the_guard = clock.clone();
/// clock.advance(TimeDelta::minutes(5));
/// assert_eq!(seen_by_the_guard.now().to_rfc3339(), "2026-05-14T02:05:00+00:00");
/// # Ok::<(), chrono::ParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Instant>>);

impl ManualClock {
    /// A clock that shows this instant.
    #[must_use]
    pub fn at(instant: Instant) -> Self {
        Self(Arc::new(Mutex::new(instant)))
    }

    /// Sets it, also back.
    pub fn set(&self, instant: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = instant;
    }

    /// Moves it on.
    pub fn advance(&self, span: TimeDelta) {
        self.set(crate::time::after(self.now(), span));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time of tokio's clock, which a test can pause: where nothing but timers is left to do, paused time leaps to
/// the next of them, and hours pass in no time.
///
/// ```
/// use scale_in_guard::{clock::Clock, testing::TokioClock};
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
/// # runtime.block_on(async {
/// let clock = TokioClock::at("2026-05-14T02:00:00Z".parse()?); // in #[tokio::test(start_paused = true)]
/// tokio::time::sleep(std::time::Duration::from_secs(900)).await;
/// assert_eq!(clock.now().to_rfc3339(), "2026-05-14T02:15:00+00:00");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    began_at: Instant,
    began: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that shows this instant now.
    #[must_use]
    pub fn at(instant: Instant) -> Self {
        Self {
            began_at: instant,
            began: tokio::time::Instant::now(),
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        let elapsed = TimeDelta::from_std(self.began.elapsed()).unwrap_or(TimeDelta::MAX);
        crate::time::after(self.began_at, elapsed)
    }
}
