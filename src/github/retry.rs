//! Asking again: how often, and how long is waited in between.

use std::time::Duration;

/// How often a call is repeated that failed for a reason that may pass: a 5xx, a 408, no connection, an answer
/// that broke off, a limit that is over before the call must be. Each pause is drawn from nothing up to a bound
/// that doubles (full jitter), so that many who failed at once do not ask again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often it is repeated at the most.
    pub times: u32,
    /// The bound of the first pause.
    pub first: Duration,
    /// No bound is longer.
    pub longest: Duration,
}

impl Default for Retry {
    /// Three times, after up to 250 ms, 500 ms and 1 s.
    fn default() -> Self {
        Self {
            times: 3,
            first: Duration::from_millis(250),
            longest: Duration::from_secs(5),
        }
    }
}

impl Retry {
    /// A call is not repeated.
    #[must_use]
    pub fn none() -> Self {
        Self {
            times: 0,
            ..Self::default()
        }
    }

    /// The pauses of one call.
    pub(super) fn pauses(self, mut random: fastrand::Rng) -> impl Iterator<Item = Duration> {
        (0..self.times).map(move |time| {
            let bound = self.first.saturating_mul(2_u32.saturating_pow(time));
            let nanos = bound.min(self.longest).as_nanos();
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            Duration::from_nanos(random.u64(0..=nanos))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(retry: Retry, seed: u64) -> Vec<Duration> {
        retry.pauses(fastrand::Rng::with_seed(seed)).collect()
    }

    #[test]
    fn each_pause_is_below_a_bound_that_doubles_up_to_the_longest() {
        let retry = Retry {
            times: 5,
            first: Duration::from_millis(100),
            longest: Duration::from_millis(500),
        };
        let bounds = [100, 200, 400, 500, 500].map(Duration::from_millis);
        let mut longest = [Duration::ZERO; 5];
        let mut shortest = bounds;
        for seed in 0..500 {
            let pauses = pauses(retry, seed);
            assert_eq!(pauses.len(), 5);
            for (place, pause) in pauses.into_iter().enumerate() {
                assert!(pause <= bounds[place], "{pause:?} of {place}");
                longest[place] = longest[place].max(pause);
                shortest[place] = shortest[place].min(pause);
            }
        }
        for place in 0..5 {
            assert!(longest[place] > bounds[place] * 9 / 10, "the whole range");
            assert!(shortest[place] < bounds[place] / 10, "from nothing");
        }
    }

    #[test]
    fn none_is_none_and_a_seed_gives_the_same_again() {
        assert!(pauses(Retry::none(), 1).is_empty());
        assert_eq!(pauses(Retry::default(), 7), pauses(Retry::default(), 7));
        assert_ne!(pauses(Retry::default(), 7), pauses(Retry::default(), 8));
    }
}
