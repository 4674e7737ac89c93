//! How many requests are sent at once, and how fast.

use super::Limits;
use crate::clock::{Deadline, Late};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

/// The span that GitHub counts points in.
const MINUTE: Duration = Duration::from_secs(60);

/// What a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::github) enum Slot {
    Read,
    Write,
}

/// The turn does not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::github) enum NoTurn {
    /// The points of the minute are spent, or a write was just sent; again after so long.
    Spent(Duration),
    /// As many as may be are under way.
    Crowded,
}

/// Lets requests through as fast as the limits allow.
#[derive(Debug)]
pub(in crate::github) struct Pace {
    limits: Limits,
    at_once: Arc<Semaphore>,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    /// When each request of the last minute was sent, and its points.
    points: VecDeque<(Instant, u32)>,
    sum: u32,
    /// When the next write may begin.
    next_write: Option<Instant>,
}

impl Pace {
    pub(in crate::github) fn new(limits: Limits) -> Self {
        let at_once = usize::try_from(limits.at_once).unwrap_or(usize::MAX);
        Self {
            limits,
            at_once: Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))),
            spent: Mutex::default(),
        }
    }

    /// Waits for a turn, but not beyond the deadline. The turn lasts until it is dropped.
    pub(in crate::github) async fn turn(
        &self,
        slot: Slot,
        deadline: Deadline,
    ) -> Result<OwnedSemaphorePermit, NoTurn> {
        loop {
            let turn = deadline.meet(Arc::clone(&self.at_once).acquire_owned());
            let turn = match turn.await {
                Ok(Ok(turn)) => turn,
                // It is never closed.
                Ok(Err(_)) | Err(Late) => return Err(NoTurn::Crowded),
            };
            // Only now: a request counts when it is sent, not when it begins to wait.
            let Some(at) = self.claim(slot) else {
                return Ok(turn);
            };
            drop(turn);
            if deadline.is_before(at) {
                return Err(NoTurn::Spent(at.duration_since(Instant::now())));
            }
            sleep_until(at).await;
        }
    }

    /// Takes the points of a request; where they cannot be had yet, when to try again.
    fn claim(&self, slot: Slot) -> Option<Instant> {
        let now = Instant::now();
        let points = match slot {
            Slot::Read => 1,
            Slot::Write => 5,
        };
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.forget_before(now);
        let is_write = slot == Slot::Write;
        if is_write && let Some(at) = spent.next_write.filter(|&at| at > now) {
            return Some(at);
        }
        // One that costs more than a whole minute has is let through alone.
        if spent.sum > 0 && spent.sum.saturating_add(points) > self.limits.points_per_minute {
            return spent.points.front().map(|(sent_at, _)| *sent_at + MINUTE);
        }
        if self.limits.points_per_minute < u32::MAX {
            spent.points.push_back((now, points));
            spent.sum += points;
        }
        if is_write {
            spent.next_write = Some(now + self.limits.between_writes);
        }
        None
    }
}

impl Spent {
    fn forget_before(&mut self, now: Instant) {
        while let Some(&(sent_at, points)) = self.points.front()
            && now.duration_since(sent_at) >= MINUTE
        {
            self.points.pop_front();
            self.sum -= points;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn deadline(seconds: i64) -> Deadline {
        Deadline::within(TimeDelta::seconds(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn no_minute_has_more_points_than_it_may() {
        let pace = Pace::new(Limits {
            points_per_minute: 100,
            between_writes: Duration::ZERO,
            ..Limits::default()
        });
        let began = Instant::now();
        let mut sent = Vec::new();
        for number in 0..200 {
            let slot = [Slot::Read, Slot::Write][usize::from(number % 10 == 0)];
            let _ = pace.turn(slot, deadline(600)).await.unwrap();
            let points = if slot == Slot::Write { 5 } else { 1 };
            sent.push((Instant::now(), points));
            tokio::time::advance(Duration::from_millis(7 * number)).await;
        }
        for &(from, _) in &sent {
            let within = sent
                .iter()
                .filter(|(at, _)| *at >= from && *at < from + MINUTE);
            let points: u32 = within.map(|(_, points)| points).sum();
            assert!(points <= 100, "{points}");
        }
        assert!(
            Instant::now() - began < Duration::from_secs(300),
            "nor is it slower than that"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_for_others_to_end_do_not_come_in_a_crowd() {
        let pace = Pace::new(Limits {
            at_once: 1,
            points_per_minute: 10,
            ..Limits::default()
        });
        let sent = Mutex::new(Vec::new());
        let (pace, sent) = (&pace, &sent);
        let reads = (0..40).map(|number| async move {
            let turn = pace.turn(Slot::Read, deadline(600)).await.unwrap();
            sent.lock().unwrap().push(Instant::now());
            // The first takes so long that the others' minute is almost over.
            let takes = if number == 0 { 59 } else { 0 };
            tokio::time::sleep(Duration::from_secs(takes)).await;
            drop(turn);
        });
        let _ = futures::future::join_all(reads).await;
        let sent = sent.lock().unwrap().clone();
        for &from in &sent {
            let within = sent.iter().filter(|&&at| at >= from && at < from + MINUTE);
            assert!(within.count() <= 10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn writes_keep_their_distance_and_reads_do_not_wait_for_them() {
        let pace = Pace::new(Limits::default());
        let began = Instant::now();
        for _ in 0..5 {
            let _ = pace.turn(Slot::Write, deadline(60)).await.unwrap();
        }
        assert_eq!(began.elapsed().as_secs(), 4);
        let reads = Instant::now();
        let _ = pace.turn(Slot::Read, deadline(1)).await.unwrap();
        assert_eq!(reads.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_cannot_wait_is_late_and_costs_nothing() {
        let pace = Pace::new(Limits {
            at_once: 1,
            points_per_minute: 2,
            ..Limits::default()
        });
        let first = pace.turn(Slot::Read, deadline(1)).await.unwrap();
        assert_eq!(
            pace.turn(Slot::Read, deadline(1)).await.unwrap_err(),
            NoTurn::Crowded
        );
        drop(first);
        // It was not sent, so the second point is there.
        let _ = pace.turn(Slot::Read, deadline(1)).await.unwrap();
        let spent = NoTurn::Spent(MINUTE - Duration::from_secs(1));
        assert_eq!(
            pace.turn(Slot::Read, deadline(1)).await.unwrap_err(),
            spent,
            "both points are spent"
        );
        tokio::time::advance(MINUTE).await;
        let _ = pace.turn(Slot::Read, deadline(1)).await.unwrap();
    }
}
