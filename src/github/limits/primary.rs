//! The hourly limit of one token, and what is left of it.

use crate::{
    policy::RequestReserve,
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// GitHub's window.
const HOUR: TimeDelta = TimeDelta::hours(1);

/// What is left of the hourly limit, as GitHub's answers tell.
#[derive(Debug, Default)]
pub(in crate::github) struct Primary {
    state: Mutex<State>,
    learned: Notify,
}

#[derive(Debug, Default)]
struct State {
    known: Known,
    /// Requests that GitHub may or may not have counted.
    under_way: u64,
    /// Whether one of them was sent to see what is left.
    is_learning: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Known {
    #[default]
    Nothing,
    /// GitHub answered and named no limit.
    Unlimited,
    Left(Told, Window),
}

/// From when until when what is known is true.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

/// What an answer says of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::github) struct Told {
    pub(in crate::github) limit: u64,
    pub(in crate::github) remaining: u64,
}

/// The limit does not allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::github) struct Spent {
    pub(in crate::github) told: Told,
    /// What is left to others; 0 where nothing is left at all.
    pub(in crate::github) reserve: u64,
    pub(in crate::github) until: Instant,
}

/// A request that is under way. When it is dropped, it is not any more.
#[derive(Debug)]
#[must_use]
pub(in crate::github) struct Ticket {
    primary: Arc<Primary>,
    is_learning: bool,
}

impl Primary {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request out of what is left, above the reserve if there is one. Where a reserve must be kept
    /// and nobody knows what is left, one is sent to see, and the others wait for it.
    pub(in crate::github) async fn take(
        self: &Arc<Self>,
        reserve: Option<RequestReserve>,
        now: Instant,
    ) -> Result<Ticket, Spent> {
        loop {
            let learned = self.learned.notified();
            let mut learned = std::pin::pin!(learned);
            learned.as_mut().enable();
            {
                let mut state = self.state();
                state.forget_what_is_over(now);
                match state.known {
                    Known::Left(told, window) => {
                        let reserve = reserve.map_or(0, |reserve| reserve.requests(told.limit));
                        if told.remaining <= reserve.saturating_add(state.under_way) {
                            return Err(Spent {
                                told,
                                reserve,
                                until: window.until,
                            });
                        }
                        return Ok(self.ticket(&mut state, false));
                    }
                    Known::Nothing if reserve.is_some() && state.is_learning => {}
                    Known::Nothing => return Ok(self.ticket(&mut state, reserve.is_some())),
                    Known::Unlimited => return Ok(self.ticket(&mut state, false)),
                }
            }
            learned.await;
        }
    }

    fn ticket(self: &Arc<Self>, state: &mut State, is_learning: bool) -> Ticket {
        state.under_way += 1;
        state.is_learning |= is_learning;
        Ticket {
            primary: Arc::clone(self),
            is_learning,
        }
    }

    /// What an answer says: what is left until `until`, or nothing of a limit.
    pub(in crate::github) fn learn(&self, told: Option<(Told, Instant)>, now: Instant) {
        let mut state = self.state();
        state.known = match (told, state.known) {
            (None, Known::Nothing) => Known::Unlimited,
            (None, known) => known,
            (Some((told, until)), known) => {
                let until = until.min(after(now, HOUR));
                let told = match known {
                    // Answers overtake each other; within a window it only ever gets less.
                    Known::Left(known, window) if is_same(window.until, until) => Told {
                        remaining: known.remaining.min(told.remaining),
                        ..told
                    },
                    _ => told,
                };
                Known::Left(told, Window { from: now, until })
            }
        };
        drop(state);
        self.learned.notify_waiters();
    }
}

/// Whether two ends of a window are the same, told to the second and reckoned in another clock's time.
fn is_same(a: Instant, b: Instant) -> bool {
    age(a, b).abs() <= TimeDelta::seconds(10)
}

impl State {
    /// A window that is over says nothing, nor does one of a clock that was set back.
    fn forget_what_is_over(&mut self, now: Instant) {
        if let Known::Left(_, window) = self.known
            && !(after(window.from, -HOUR)..window.until).contains(&now)
        {
            self.known = Known::Nothing;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.primary.state();
        state.under_way = state.under_way.saturating_sub(1);
        if self.is_learning {
            state.is_learning = false;
            drop(state);
            self.primary.learned.notify_waiters();
        }
    }
}
