//! The hourly limit of one token, and what is left of it.

use super::HOUR;
use crate::{
    policy::RequestReserve,
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

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
    /// Requests without an answer: GitHub may have counted them. An answer to a later one tells.
    lost: u64,
    /// How many were taken so far, and which of them was lost last.
    taken: u64,
    last_lost: u64,
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
    number: u64,
    /// Whether GitHub may have counted it, and has not said so.
    may_be_lost: bool,
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
                        let uncounted = state.under_way.saturating_add(state.lost);
                        if told.remaining <= reserve.saturating_add(uncounted) {
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
        state.taken += 1;
        state.is_learning |= is_learning;
        Ticket {
            primary: Arc::clone(self),
            is_learning,
            number: state.taken,
            may_be_lost: false,
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
            && !(window.from..window.until).contains(&now)
        {
            self.known = Known::Nothing;
            self.lost = 0;
        }
    }
}

impl Ticket {
    /// It is on its way: from now on GitHub may count it.
    pub(in crate::github) fn sent(&mut self) {
        self.may_be_lost = true;
    }

    /// Its answer told what is left, after all that were lost before it was taken.
    pub(in crate::github) fn counted(&mut self) {
        self.may_be_lost = false;
        let mut state = self.primary.state();
        if self.number > state.last_lost {
            state.lost = 0;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.primary.state();
        state.under_way = state.under_way.saturating_sub(1);
        if self.may_be_lost {
            state.lost += 1;
            state.last_lost = state.last_lost.max(self.number);
        }
        if self.is_learning {
            state.is_learning = false;
            drop(state);
            self.primary.learned.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::time::Duration;

    const SPARED: Option<RequestReserve> = Some(RequestReserve::Count(10));

    fn at(second: i64) -> Instant {
        Instant::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn told(remaining: u64) -> Told {
        Told {
            limit: 100,
            remaining,
        }
    }

    /// A limit of which so many are left until then.
    fn left(remaining: u64, now: i64, until: i64) -> Arc<Primary> {
        let primary = Arc::new(Primary::default());
        primary.learn(Some((told(remaining), at(until))), at(now));
        primary
    }

    /// Takes one that need not wait.
    fn take(
        primary: &Arc<Primary>,
        reserve: Option<RequestReserve>,
        now: i64,
    ) -> Result<Ticket, Spent> {
        let taken = primary.take(reserve, at(now)).now_or_never();
        taken.expect("it waits")
    }

    fn waits(primary: &Arc<Primary>, now: i64) -> bool {
        primary.take(SPARED, at(now)).now_or_never().is_none()
    }

    #[test]
    fn what_is_left_is_given_down_to_the_reserve_and_no_further() {
        let primary = left(13, 0, 3600);
        let taken: Vec<_> = (0..3).map(|_| take(&primary, SPARED, 1).unwrap()).collect();
        let spent = take(&primary, SPARED, 1).unwrap_err();
        let (reserve, until) = (10, at(3600));
        assert_eq!(
            spent,
            Spent {
                told: told(13),
                reserve,
                until
            }
        );
        // Whoever keeps no reserve may have it.
        let others: Vec<_> = (0..10).map(|_| take(&primary, None, 1).unwrap()).collect();
        assert_eq!(take(&primary, None, 1).unwrap_err().reserve, 0);
        drop((taken, others));
    }

    #[test]
    fn a_reserve_larger_than_the_limit_gives_nothing() {
        let primary = left(100, 0, 3600);
        let all = Some(RequestReserve::Count(5_000));
        assert_eq!(take(&primary, all, 1).unwrap_err().reserve, 100);
    }

    #[test]
    fn answers_that_overtake_each_other_do_not_give_anything_back() {
        let primary = left(50, 0, 3600);
        primary.learn(Some((told(12), at(3601))), at(5));
        primary.learn(Some((told(40), at(3599))), at(6));
        let first = take(&primary, SPARED, 7).unwrap();
        let second = take(&primary, SPARED, 7).unwrap();
        assert!(take(&primary, SPARED, 7).is_err(), "twelve are left");
        drop((first, second));
    }

    #[test]
    fn a_new_window_is_learned_anew_and_an_old_answer_does_not_bring_the_old_one_back() {
        let primary = left(3, 0, 3600);
        assert!(take(&primary, SPARED, 3599).is_err());
        let learner = take(&primary, SPARED, 3600).unwrap();
        assert!(waits(&primary, 3600), "one goes first");
        primary.learn(Some((told(99), at(7200))), at(3600));
        drop(learner);
        assert!(take(&primary, SPARED, 3601).is_ok());
        // It had been under way since before.
        primary.learn(Some((told(3), at(3600))), at(3601));
        let learner = take(&primary, SPARED, 3602).unwrap();
        assert!(waits(&primary, 3602));
        drop(learner);
    }

    #[test]
    fn a_clock_that_was_set_does_not_keep_it_shut_for_more_than_an_hour() {
        let primary = left(0, 100_000, 103_600);
        assert!(take(&primary, SPARED, 100_000).is_err());
        assert!(take(&primary, SPARED, 99_999).is_ok(), "back");
        let primary = left(0, 100_000, 200_000);
        assert!(take(&primary, SPARED, 103_599).is_err());
        assert!(take(&primary, SPARED, 103_600).is_ok(), "absurdly far away");
    }

    #[test]
    fn an_answer_without_a_limit_is_none_until_one_is_told() {
        let primary = Arc::new(Primary::default());
        primary.learn(None, at(0));
        let many: Vec<_> = (0..1_000)
            .map(|_| take(&primary, SPARED, 1).unwrap())
            .collect();
        primary.learn(Some((told(5), at(3600))), at(1));
        assert!(take(&primary, SPARED, 2).is_err());
        primary.learn(None, at(2));
        assert!(take(&primary, SPARED, 2).is_err(), "it was told");
        drop(many);
    }

    #[test]
    fn what_was_lost_counts_until_a_later_answer_tells() {
        let primary = left(13, 0, 3600);
        let early = take(&primary, SPARED, 1).unwrap();
        for _ in 0..2 {
            let mut lost = take(&primary, SPARED, 1).unwrap();
            lost.sent();
        }
        // One that was not sent costs nothing.
        drop(take(&primary, None, 1).unwrap());
        assert!(take(&primary, SPARED, 1).is_err());
        // An answer to an earlier one says nothing of them.
        let mut early = early;
        early.sent();
        primary.learn(Some((told(13), at(3600))), at(2));
        early.counted();
        drop(early);
        let mut last = take(&primary, SPARED, 2).unwrap();
        assert!(take(&primary, SPARED, 2).is_err());
        last.sent();
        primary.learn(Some((told(13), at(3600))), at(2));
        last.counted();
        drop(last);
        let three: Vec<_> = (0..3).map(|_| take(&primary, SPARED, 3).unwrap()).collect();
        assert!(take(&primary, SPARED, 3).is_err());
        drop(three);
    }

    #[tokio::test]
    async fn where_the_first_fails_or_is_given_up_the_next_learns() {
        let primary = Arc::new(Primary::default());
        let first = take(&primary, SPARED, 0).unwrap();
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let primary = Arc::clone(&primary);
                tokio::spawn(async move { primary.take(SPARED, at(0)).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        drop(first);
        // One that has its ticket already is given up with it.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let done = waiting.iter().filter(|waiting| waiting.is_finished());
        assert_eq!(done.count(), 1);
        assert!(waits(&primary, 0));
        let mut tickets = Vec::new();
        primary.learn(Some((told(20), at(3600))), at(0));
        let (mut given, mut refused) = (0, 0);
        for waiting in waiting {
            match waiting.await.unwrap() {
                Ok(ticket) => {
                    given += 1;
                    tickets.push(ticket);
                }
                Err(_) => refused += 1,
            }
        }
        assert_eq!((given, refused), (10, 10));
    }
}
