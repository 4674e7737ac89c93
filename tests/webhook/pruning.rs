//! What is forgotten, and what is not.

use crate::world::{acme, at, jobs, keep, noon, of_runner, receiver, told};
use chrono::TimeDelta;
use scale_in_guard::{
    store::{Key, Kind, Store, Swap},
    stores::MemoryStore,
    testing::ManualClock,
    webhook::Receiver,
};
use serde_json::json;
use std::sync::Arc;

struct World {
    clock: ManualClock,
    store: Arc<MemoryStore>,
    receiver: Receiver,
}

fn world() -> World {
    let clock = ManualClock::at(noon());
    let store = Arc::new(MemoryStore::new());
    let receiver = receiver(store.clone(), &clock).start();
    World {
        clock,
        store,
        receiver,
    }
}

impl World {
    /// The number, whether it is open, and whether it is told where it was, of each job of the runner.
    async fn of_runner(&self) -> Vec<(u64, bool, bool)> {
        let jobs = of_runner(&self.store, &acme(), "r-1").await;
        let jobs = jobs.iter();
        jobs.map(|job| (job.id, job.closed_at.is_none(), !job.runners.is_empty()))
            .collect()
    }

    async fn tell(&self, action: &'static str, job: u64) {
        keep(&self.receiver, told(action, job).on(5, "r-1")).await;
    }
}

#[tokio::test]
async fn an_open_job_is_kept_for_as_long_as_it_can_run() {
    let world = world();
    world.tell("in_progress", 1).await;
    world.clock.set(noon() + TimeDelta::days(5));
    world.tell("in_progress", 2).await;
    assert_eq!(world.of_runner().await, [(1, true, true), (2, true, true)]);
    world
        .clock
        .set(noon() + TimeDelta::days(5) + TimeDelta::hours(1));
    world.tell("in_progress", 3).await;
    assert_eq!(world.of_runner().await, [(2, true, true), (3, true, true)]);
}

#[tokio::test]
async fn a_closed_job_outlives_every_redelivery() {
    let world = world();
    world.tell("completed", 1).await;
    for day in 1..=5 {
        world.clock.set(noon() + TimeDelta::days(day));
        world.tell("in_progress", 1).await;
        assert_eq!(world.of_runner().await, [(1, false, true)], "day {day}");
    }
    world.clock.set(noon() + TimeDelta::days(6));
    world.tell("in_progress", 2).await;
    assert_eq!(world.of_runner().await, [(2, true, true)]);
}

#[tokio::test]
async fn a_busy_runners_record_stays_small_and_forgets_no_open_job() {
    let world = world();
    let stored = |job: u64, closed| {
        let at = at(i64::try_from(job).unwrap());
        let mut job =
            json!({"id": job, "attempt": 1, "runners": [{"name": "r-1"}], "opened_at": at});
        if closed {
            job["closed_at"] = json!(at);
        }
        job
    };
    let jobs: Vec<_> = (0..1_100)
        .map(|job| stored(job, true))
        .chain([stored(9_999, false)])
        .collect();
    let key = Key::of_runner("*".into(), acme(), Kind::Jobs, "r-1".parse().unwrap());
    let swapped = world
        .store
        .swap(&key, None, &json!({"jobs": jobs}).to_string())
        .await;
    assert!(matches!(swapped, Ok(Swap::Done(_))));
    world.clock.set(at(10_000));
    world.tell("in_progress", 9_998).await;
    let kept = world.of_runner().await;
    assert_eq!(kept.len(), 1_024 + 2);
    assert!(kept.contains(&(9_999, true, true)));
    // The last are whole, the others stand for themselves: delivered again, none is opened.
    let whole = kept
        .iter()
        .filter(|(_, is_open, is_whole)| !is_open && *is_whole);
    assert_eq!(whole.count(), 16);
    assert!(kept.contains(&(76, false, false)) && !kept.contains(&(75, false, false)));
    world.tell("in_progress", 76).await;
    assert!(world.of_runner().await.contains(&(76, false, false)));
}

#[tokio::test]
async fn a_job_that_has_a_runner_waits_no_more_and_is_not_queued_anew() {
    let world = world();
    let waiting = async || {
        let jobs = jobs(&world.store, &acme(), Kind::Queue).await;
        let waiting = jobs.into_iter().filter(|job| job.closed_at.is_none());
        waiting.map(|job| job.id).collect::<Vec<_>>()
    };
    for (job, first, then) in [
        (1, "queued", "in_progress"),
        (2, "in_progress", "queued"),
        (3, "queued", "completed"),
        (4, "completed", "queued"),
    ] {
        world.tell(first, job).await;
        world.tell(then, job).await;
    }
    world.tell("queued", 5).await;
    assert_eq!(waiting().await, [5]);
    world.clock.set(noon() + TimeDelta::hours(1));
    world.tell("queued", 2).await;
    assert_eq!(waiting().await, [5], "within the hour");
    // In the same slot as 5.
    world.clock.set(noon() + TimeDelta::hours(25));
    world.tell("queued", 5 + 64).await;
    assert_eq!(waiting().await, [5 + 64]);
}

#[tokio::test]
async fn a_job_in_progress_that_names_nobody_waits_still() {
    let world = world();
    keep(&world.receiver, told("in_progress", 1)).await;
    let jobs = jobs(&world.store, &acme(), Kind::Queue).await;
    assert!(
        jobs[0].opened_at.is_some() && jobs[0].closed_at.is_none() && jobs[0].runners.is_empty()
    );
}
