//! The pause that GitHub asks of whoever exceeded a secondary limit.

use super::HOUR;
use crate::time::{Instant, after, age};
use chrono::TimeDelta;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long to wait where GitHub does not say: a minute, twice as long each time ("Rate limits for the REST
/// API").
const FIRST: TimeDelta = TimeDelta::minutes(1);

/// Since when nothing is sent, and how long.
#[derive(Debug, Default)]
pub(in crate::github) struct Pause(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    asked: Option<(Instant, TimeDelta)>,
    /// How often in a row, where GitHub did not say how long.
    untold: u32,
}

impl Pause {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when nothing is sent, if that lies ahead.
    pub(in crate::github) fn until(&self, now: Instant) -> Option<Instant> {
        self.state().until(now)
    }

    /// GitHub asks for a pause, and may say how long. Until when it is.
    pub(in crate::github) fn ask(&self, now: Instant, told: Option<TimeDelta>) -> Instant {
        let mut state = self.state();
        let span = match told {
            Some(span) => span,
            None => {
                // Those that were under way when it was asked for are one time with it.
                let is_another = state.untold == 0 || state.until(now).is_none();
                state.untold = state.untold.saturating_add(u32::from(is_another));
                FIRST * 2_i32.saturating_pow((state.untold - 1).min(6))
            }
        };
        let span = span.clamp(TimeDelta::zero(), HOUR);
        let until = after(now, span);
        // Of several that were under way, the longest pause counts.
        if state.until(now).is_none_or(|asked| asked <= until) {
            state.asked = Some((now, span));
        }
        until
    }

    /// GitHub answered as it should.
    pub(in crate::github) fn answered(&self) {
        self.state().untold = 0;
    }
}

impl State {
    fn until(&self, now: Instant) -> Option<Instant> {
        let (from, span) = self.asked?;
        // A clock that was set back does not stretch it.
        (TimeDelta::zero()..span)
            .contains(&age(now, from))
            .then(|| after(from, span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Instant {
        Instant::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    #[test]
    fn nothing_is_sent_until_it_is_over() {
        let pause = Pause::default();
        assert_eq!(pause.until(at(0)), None);
        assert_eq!(pause.ask(at(0), Some(TimeDelta::seconds(30))), at(30));
        assert_eq!(pause.ask(at(1), Some(TimeDelta::seconds(5))), at(6));
        assert_eq!(pause.until(at(29)), Some(at(30)), "the longest counts");
        assert_eq!(pause.until(at(30)), None);
        assert_eq!(pause.until(at(-5)), None, "the clock was set back");
    }

    #[test]
    fn where_github_does_not_say_it_is_a_minute_and_then_twice_as_long() {
        let pause = Pause::default();
        let mut now = 0;
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(pause.ask(at(now), None), at(now + 60 * minutes));
            now += 60 * minutes;
        }
        pause.answered();
        assert_eq!(pause.ask(at(now), None), at(now + 60));
    }

    #[test]
    fn of_many_that_are_refused_at_once_only_the_first_makes_it_longer() {
        let pause = Pause::default();
        for second in 0..50 {
            assert_eq!(pause.ask(at(second), None), at(second + 60));
        }
        assert_eq!(pause.until(at(108)), Some(at(109)));
        assert_eq!(pause.ask(at(109), None), at(229), "the next time");
        assert_eq!(pause.ask(at(110), None), at(230));
    }

    #[test]
    fn an_absurd_pause_is_asked_about_again_within_the_hour() {
        let pause = Pause::default();
        assert_eq!(pause.ask(at(0), Some(TimeDelta::MAX)), at(3600));
        assert_eq!(pause.ask(at(0), Some(TimeDelta::MIN)), at(0));
    }
}
