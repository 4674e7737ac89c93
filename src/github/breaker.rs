//! The circuit breaker: while GitHub is down, nobody waits for it.

use crate::time::{Instant, after, age};
use chrono::TimeDelta;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many failures in a row are an outage.
const OUTAGE: u32 = 8;

/// How long nobody asks, at first and at the most: a pause doubles with each that did not help.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(10);
const LONGEST_PAUSE: TimeDelta = TimeDelta::seconds(60);

/// Whether GitHub is up, as far as our own requests tell.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many failed since the last that did not.
    failures: u32,
    since: Option<Instant>,
    last: String,
    open: Option<Open>,
}

/// Nobody asks until then.
#[derive(Debug, Clone, Copy)]
struct Open {
    from: Instant,
    pause: TimeDelta,
    /// Whether one was let through, and nobody knows yet what comes of it.
    is_probed: bool,
}

/// GitHub is down: it was not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) since: Instant,
    pub(super) until: Instant,
    pub(super) last: String,
}

impl Breaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to ask at `now`. Once a pause is over, one is let through to see; the others are told to come back
    /// later, as before. What is let through knows of so many failures.
    pub(super) fn admit(&self, now: Instant) -> Result<u32, Outage> {
        let mut state = self.state();
        if let Some(outage) = state.outage(now) {
            return Err(outage);
        }
        if let Some(open) = &mut state.open {
            (open.from, open.is_probed) = (now, true);
        }
        Ok(state.failures)
    }

    /// The outage in which nobody asks at `now`. Nobody is let through by that.
    pub(super) fn outage(&self, now: Instant) -> Option<Outage> {
        self.state().outage(now)
    }

    /// GitHub answered.
    pub(super) fn answered(&self) {
        *self.state() = State::default();
    }

    /// It did not, or with a 5xx; the request knew of so many failures. Of those that were under way together, when a
    /// connection broke, one counts.
    pub(super) fn failed(&self, now: Instant, known: u32, what: &str) {
        let mut state = self.state();
        if known != state.failures {
            return;
        }
        state.failures = state.failures.saturating_add(1);
        state.since.get_or_insert(now);
        what.clone_into(&mut state.last);
        if state.failures < OUTAGE {
            return;
        }
        let pause = match state.open {
            // Those that were under way when it opened say nothing new.
            Some(open) if !open.is_probed => return,
            Some(open) => (open.pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        state.open = Some(Open {
            from: now,
            pause,
            is_probed: false,
        });
    }
}

impl State {
    fn outage(&self, now: Instant) -> Option<Outage> {
        let open = self.open?;
        // A clock that was set back proves nothing.
        let lasts = (TimeDelta::zero()..open.pause).contains(&age(now, open.from));
        lasts.then(|| Outage {
            since: self.since.unwrap_or(open.from),
            until: after(open.from, open.pause),
            last: self.last.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Instant {
        Instant::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn fail(breaker: &Breaker, times: u32, second: i64) {
        for _ in 0..times {
            let known = breaker.state().failures;
            breaker.failed(at(second), known, "502");
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_says_since_when() {
        let breaker = Breaker::default();
        fail(&breaker, OUTAGE - 1, 0);
        assert!(breaker.admit(at(1)).is_ok());
        breaker.answered();
        fail(&breaker, OUTAGE - 1, 2);
        assert!(breaker.admit(at(3)).is_ok(), "not in a row");
        fail(&breaker, 1, 4);
        let outage = breaker.admit(at(5)).unwrap_err();
        assert_eq!(
            outage,
            Outage {
                since: at(2),
                until: at(14),
                last: "502".to_owned()
            }
        );
    }

    #[test]
    fn of_those_that_fail_together_one_counts() {
        let breaker = Breaker::default();
        for round in 0..i64::from(OUTAGE) {
            let known = breaker.admit(at(round)).unwrap();
            for _ in 0..90 {
                breaker.failed(at(round), known, "the connection broke");
            }
        }
        assert!(breaker.admit(at(10)).is_err(), "round after round");
    }

    #[test]
    fn one_is_let_through_after_the_pause_and_the_next_pause_is_longer() {
        let breaker = Breaker::default();
        // Those that were under way change nothing.
        fail(&breaker, OUTAGE + 20, 0);
        let mut opened = 0;
        for pause in [10, 20, 40, 60, 60] {
            assert!(breaker.admit(at(opened + pause - 1)).is_err());
            assert!(breaker.admit(at(opened + pause)).is_ok());
            assert!(breaker.admit(at(opened + pause)).is_err(), "one alone");
            opened += pause;
            fail(&breaker, 1, opened);
        }
        assert!(breaker.admit(at(opened + 60)).is_ok());
        breaker.answered();
        for _ in 0..3 {
            assert!(breaker.admit(at(opened + 60)).is_ok());
        }
    }

    #[test]
    fn a_probe_that_never_ends_and_a_clock_set_back_do_not_shut_it_for_ever() {
        let breaker = Breaker::default();
        fail(&breaker, OUTAGE, 100);
        assert!(breaker.admit(at(110)).is_ok());
        assert!(breaker.admit(at(119)).is_err());
        assert!(breaker.admit(at(120)).is_ok(), "the next probe");
        assert!(breaker.admit(at(0)).is_ok(), "the clock was set back");
    }
}
