//! GitHub's limits: requests an hour, requests at once, points a minute, and what it asks of those who
//! exceeded one.

mod pace;
mod pause;
mod primary;

pub(super) use pace::{NoTurn, Pace, Slot};
pub(super) use pause::Pause;
pub(super) use primary::{Primary, Told};

use chrono::TimeDelta;
use std::time::Duration;

/// GitHub's window. Nothing waits longer for a limit, or for a pause that GitHub asks for, without asking again.
pub(super) const HOUR: TimeDelta = TimeDelta::hours(1);

/// What is asked of a GitHub at the most, besides its hourly limit. The defaults stay below the secondary
/// limits of github.com ("Rate limits for the REST API": 100 requests at once, 900 points a minute) and leave
/// room for others with the same token. An Enterprise Server may have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that are under way at the same time. Default 90.
    pub at_once: u32,
    /// Points in any 60 seconds, 1 for a read and 5 for a write. Default 850.
    pub points_per_minute: u32,
    /// From the beginning of one write to that of the next, as GitHub advises. Default 1 second.
    pub between_writes: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            at_once: 90,
            points_per_minute: 850,
            between_writes: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// None but the hourly one: for an Enterprise Server without rate limits, and for tests.
    #[must_use]
    pub fn none() -> Self {
        Self {
            at_once: u32::MAX,
            points_per_minute: u32::MAX,
            between_writes: Duration::ZERO,
        }
    }
}
