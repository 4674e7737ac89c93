//! The time of DynamoDB's servers, as the `Date` header of their answers tells it.
//!
//! An item holds no time of its servers' own, so the writer stamps it, and the reader reckons its age. Both go by the
//! `Date` header, which counts whole seconds: the true time lies in the second that it names. The writer takes the
//! start of that second and the reader its end, so that a record can seem older than it is and never younger.

use crate::{
    clock::monotonic,
    time::{Instant as Utc, after},
};
use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
        },
    },
    error::BoxError,
};
use chrono::{DateTime, TimeDelta};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What the header leaves open.
const RESOLUTION: TimeDelta = TimeDelta::seconds(1);

/// By how much the monotonic clock could run fast: one part of so many. Real ones keep within 500 in a million.
const DRIFT: u32 = 1_000;

/// One answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    sent: Instant,
    received: Instant,
    date: Utc,
}

impl Answer {
    /// The latest time at which it can have been given.
    pub(super) fn given_by(&self) -> Utc {
        after(self.date, RESOLUTION)
    }
}

/// Listens to one request. Of several tries the last one counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<(Option<Instant>, Option<Answer>)>>);

impl Heard {
    pub(super) fn answer(&self) -> Option<Answer> {
        lock(&self.0).1
    }
}

impl Intercept for Heard {
    fn name(&self) -> &'static str {
        "Heard"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *lock(&self.0) = (Some(monotonic()), None);
        Ok(())
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok());
        let (sent, answer) = &mut *lock(&self.0);
        *answer = sent.zip(date).map(|(sent, date)| Answer {
            sent,
            received: monotonic(),
            date: date.to_utc(),
        });
        Ok(())
    }
}

/// The latest time of which it is certain that the servers have reached it, carried on by the monotonic clock: no
/// setting of the wall clock moves it, and where the machine was suspended it only lags.
#[derive(Debug, Default)]
pub(super) struct ServerTime(Mutex<Option<(Utc, Instant)>>);

impl ServerTime {
    /// Learns from an answer. One that contradicts what is known takes its place, so that a wrong header does no
    /// harm for longer than to the next answer.
    pub(super) fn learn(&self, answer: Answer) {
        let mut known = lock(&self.0);
        let believed = known.map(|known| carried(known, answer.received));
        let round_trip = answer.received.saturating_duration_since(answer.sent);
        let latest = after(answer.given_by(), delta(round_trip));
        if believed.is_none_or(|believed| believed < answer.date || believed > latest) {
            *known = Some((answer.date, answer.received));
        }
    }

    /// What time it is there at the least; `None` before the first answer.
    pub(super) fn at_least(&self) -> Option<Utc> {
        lock(&self.0).map(|known| carried(known, monotonic()))
    }
}

fn carried((at, since): (Utc, Instant), now: Instant) -> Utc {
    let elapsed = now.saturating_duration_since(since);
    let certain = elapsed.saturating_sub(elapsed / DRIFT);
    after(at, delta(certain))
}

fn delta(span: Duration) -> TimeDelta {
    TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values, whole after each assignment.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The servers' clock shows this when the monotonic one begins.
    const START: i64 = 1_800_000_000_000;

    fn server(millis: i64) -> Utc {
        DateTime::from_timestamp_millis(START + millis).unwrap()
    }

    /// An answer that was given at `at` and took so long to come there and back.
    fn answer(began: Instant, at: u64, there: u64, back: u64) -> Answer {
        let millis = Duration::from_millis;
        let shown = server(i64::try_from(at).unwrap());
        Answer {
            sent: began + millis(at.saturating_sub(there)),
            received: began + millis(at + back),
            date: DateTime::from_timestamp(shown.timestamp(), 0).unwrap(),
        }
    }

    proptest! {
        /// Whatever answers the writer heard, and whenever it writes and another one reads: the record seems no younger
        /// than it is, and older by no more than two seconds, the way of the answer and the drift.
        #[test]
        fn a_record_never_seems_younger_than_it_is(
            heard in prop::collection::vec((0_u64..5_000, 0_u64..300, 0_u64..300), 1..6),
            writes in 0_u64..5_000,
            reads in 0_u64..100_000,
        ) {
            let began = monotonic();
            let time = ServerTime::default();
            let mut heard = heard;
            heard.sort();
            for &(at, there, back) in &heard {
                time.learn(answer(began, at, there, back));
            }
            let last = heard.iter().map(|(at, _, back)| at + back).max().unwrap();
            let (written, stamped) = (last + writes, time.0.lock().unwrap().unwrap());
            let stamp = carried(stamped, began + Duration::from_millis(written));
            let read = written + reads;
            let age = answer(began, read, 10, 10).given_by() - stamp;
            let truly = TimeDelta::milliseconds(i64::try_from(reads).unwrap());
            prop_assert!(age >= truly, "{age} is less than {truly}");
            prop_assert!(age <= truly + TimeDelta::milliseconds(2_000 + 300 + 12), "{age} is much more than {truly}");
        }
    }

    #[test]
    fn a_wrong_header_counts_until_the_next_answer() {
        let began = monotonic();
        let time = ServerTime::default();
        let wrong = |days: i64| Answer {
            date: server(0) + TimeDelta::days(days),
            ..answer(began, 100, 10, 10)
        };
        for days in [1, -1] {
            time.learn(wrong(days));
            time.learn(answer(began, 1_500, 10, 10));
            let (known, _) = time.0.lock().unwrap().unwrap();
            assert_eq!(known, server(1_000), "{days}");
        }
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        assert_eq!(ServerTime::default().at_least(), None);
    }
}
