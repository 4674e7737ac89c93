//! Who may redeem: permits, marks, stores that fail, clocks that jump.

use crate::world::{
    World, assert_draining, assert_taken, codes, held, minutes, never, runner, seconds,
};
use async_trait::async_trait;
use scale_in_guard::{
    Decision, Evidence, HoldCode, Permit, Scope,
    fence::FenceRefused,
    guard::{Retirement, Setback},
    lease::Report,
    permit::Refused,
    source::{Ask, EvidenceSource, Trouble},
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::MemoryStore,
    testing::ManualClock,
};
use std::{
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};
use tokio::sync::Mutex;

async fn permit(guard: &scale_in_guard::Guard) -> Permit {
    match guard.can_terminate(&runner()).await {
        Decision::Terminate(permit) => permit,
        Decision::Hold(hold) => panic!("{hold}"),
    }
}

#[tokio::test]
async fn of_two_permits_for_one_runner_one_is_redeemed() {
    let world = World::new();
    let (one, other) = (world.guard(), world.guard());
    world.pass_the_window(&one).await;
    let (first, second) = (permit(&one).await, permit(&other).await);
    let go = one.redeem(first).await.unwrap();
    assert!(!go.fenced(), "there is no beacon");
    let refused = other.redeem(second).await.unwrap_err();
    assert!(
        matches!(refused, Refused::Fence(FenceRefused::Outstanding { lapses_in }) if lapses_in == seconds(71)),
        "{refused}"
    );
}

#[tokio::test]
async fn a_job_that_takes_the_fence_makes_redeem_fail() {
    let world = World::new();
    let guard = world.guard();
    let mut beacon = world.beacon();
    world.idle_for_the_window(&guard, &mut beacon).await;
    let ready = permit(&guard).await;
    beacon.job_starts().await;
    let refused = guard.redeem(ready).await.unwrap_err();
    assert_eq!(refused, Refused::Fence(FenceRefused::Taken));
    // Without the job it is let through, and was fenced.
    beacon.job_ends().await;
    world
        .go_on(&mut beacon, minutes(6), Report::Listening)
        .await;
    let ready = permit(&guard).await;
    let go = guard.redeem(ready).await.unwrap();
    assert!(go.fenced());
}

#[tokio::test]
async fn a_job_that_starts_while_the_fence_drains_takes_the_runner_back() {
    let world = World::new();
    let guard = world.guard();
    let mut beacon = world.beacon();
    world.idle_for_the_window(&guard, &mut beacon).await;
    let drained = guard.retire(&runner(), never).await;
    assert_draining(&drained);
    world
        .go_on(&mut beacon, seconds(45), Report::Listening)
        .await;
    beacon.job_starts().await;
    world.later(seconds(45));
    let taken = guard.retire(&runner(), never).await;
    assert!(held(&taken).contains(&HoldCode::LeaseLive), "{taken:?}");
}

/// A witness during whose answer a job starts.
#[derive(Debug)]
struct JobStartsMeanwhile(Arc<Mutex<Option<crate::world::Beacon>>>);

impl std::fmt::Debug for crate::world::Beacon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Beacon")
    }
}

#[async_trait]
impl EvidenceSource for JobStartsMeanwhile {
    fn name(&self) -> &str {
        "slow"
    }

    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        if let Some(mut beacon) = self.0.lock().await.take() {
            beacon.job_starts().await;
        }
        Ok(vec![ask.objects_if(false, "")])
    }
}

#[tokio::test]
async fn a_job_that_starts_during_the_second_look_makes_it_fail() {
    let world = World::new();
    let starts = Arc::new(Mutex::new(None));
    let source = JobStartsMeanwhile(starts.clone());
    let guard = world.builder().source(source).build().unwrap();
    let mut beacon = world.beacon();
    world.idle_for_the_window(&guard, &mut beacon).await;
    let drained = guard.retire(&runner(), never).await;
    assert_draining(&drained);
    world
        .go_on(&mut beacon, seconds(90), Report::Listening)
        .await;
    *starts.lock().await = Some(beacon);
    let stopped = guard.retire(&runner(), never).await;
    assert_taken(&stopped);
}

#[tokio::test]
async fn a_job_that_starts_during_the_first_look_makes_the_announcement_fail() {
    let world = World::new();
    let starts = Arc::new(Mutex::new(None));
    let source = JobStartsMeanwhile(starts.clone());
    let guard = world.builder().source(source).build().unwrap();
    let mut beacon = world.beacon();
    world.idle_for_the_window(&guard, &mut beacon).await;
    *starts.lock().await = Some(beacon);
    let stopped = guard.retire(&runner(), never).await;
    assert_taken(&stopped);
}

#[tokio::test]
async fn a_drain_that_another_took_the_place_of_is_not_redeemed() {
    let world = World::new();
    let guard = world.guard();
    world.drain(&guard).await;
    world.later(seconds(90));
    // While this one looks again, the first drain is released and another one begins.
    let mut other = Some(world.guard());
    let meanwhile = Meanwhile(StdMutex::new(Some(Box::new({
        let clock = world.clock.clone();
        move || {
            let guard = other.take().unwrap();
            Box::pin(async move {
                let name = runner().name;
                let scope = runner().scope;
                guard.release(&scope, &name, "ops", "stuck").await.unwrap();
                let _ = guard.can_terminate(&runner()).await;
                drop(clock);
            })
        }
    }))));
    let slow = world.builder().source(meanwhile).build().unwrap();
    let stopped = slow.retire(&runner(), never).await;
    // The release was written into the memory as well: the look that met it decides again, on what it asked before.
    assert!(
        !matches!(&stopped, Retirement::Terminated(_) | Retirement::Failed(_)),
        "{stopped:?}"
    );
}

type Once = Box<dyn FnOnce() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

struct Meanwhile(StdMutex<Option<Once>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

#[async_trait]
impl EvidenceSource for Meanwhile {
    fn name(&self) -> &str {
        "meanwhile"
    }

    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        let once = self.0.lock().unwrap().take();
        if let Some(once) = once {
            once().await;
        }
        Ok(vec![ask.objects_if(false, "")])
    }
}

/// What is odd about a store that writes a fence.
#[derive(Debug, Clone)]
enum Oddity {
    None,
    Fails,
    Hangs,
    /// It takes ten seconds to write that the runner is terminated.
    Lasts(ManualClock),
    /// While the memory is written, the clock is set back by a minute.
    SetsBack(ManualClock),
}

/// A store that can be told to be odd.
#[derive(Debug, Clone)]
struct Odd {
    inner: Arc<MemoryStore>,
    oddity: Arc<StdMutex<Oddity>>,
}

impl Odd {
    fn over(world: &World, oddity: Oddity) -> Self {
        Self {
            inner: world.store.clone(),
            oddity: Arc::new(StdMutex::new(oddity)),
        }
    }
}

#[async_trait]
impl Store for Odd {
    fn describe(&self) -> String {
        "odd".to_owned()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        self.inner.read(keys).await
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        self.inner.scan(api, scope, kind).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        let oddity = self.oddity.lock().unwrap().clone();
        match oddity {
            Oddity::SetsBack(clock) if key.kind() == Kind::Memory => clock.advance(minutes(-1)),
            _ if key.kind() != Kind::Fence => {}
            Oddity::None | Oddity::SetsBack(_) => {}
            Oddity::Hangs => std::future::pending().await,
            Oddity::Fails => {
                return Err(StoreError::Unusable {
                    store: self.describe(),
                    doing: "writing",
                    source: "gone".into(),
                });
            }
            Oddity::Lasts(clock) => {
                if value.contains("terminating") {
                    clock.advance(seconds(10));
                }
            }
        }
        self.inner.swap(key, expected, value).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_cannot_be_written_gives_no_go() {
    for oddity in [Oddity::Fails, Oddity::Hangs] {
        let world = World::new();
        let store = Odd::over(&world, Oddity::None);
        let guard = world.builder().store(store.clone()).build().unwrap();
        world.pass_the_window(&guard).await;
        *store.oddity.lock().unwrap() = oddity;
        let ready = permit(&guard).await;
        let refused = guard.redeem(ready).await.unwrap_err();
        assert!(matches!(refused, Refused::Unwritten { .. }), "{refused}");
        let stopped = guard.retire(&runner(), never).await;
        assert!(
            matches!(
                stopped,
                Retirement::Stopped {
                    why: Setback::Refused(Refused::Unwritten { .. }),
                    ..
                }
            ),
            "{stopped:?}"
        );
    }
}

#[tokio::test]
async fn a_fence_that_cannot_be_read_holds_and_is_begun_anew() {
    let world = World::new();
    let guard = world.guard();
    world.pass_the_window(&guard).await;
    let key = Key::of_runner("*".into(), runner().scope, Kind::Fence, runner().name);
    let swap = world.store.swap(&key, None, "{\"state\":").await.unwrap();
    assert!(matches!(swap, Swap::Done(_)));
    let met = guard.can_terminate(&runner()).await;
    assert_eq!(codes(&met), [HoldCode::FenceUnreadable]);
    let again = guard.can_terminate(&runner()).await;
    assert_eq!(codes(&again), [], "{:?}", codes(&again));
}

#[tokio::test]
async fn a_permit_from_before_a_fence_was_begun_anew_is_refused() {
    let world = World::new();
    let guard = world.guard();
    world.pass_the_window(&guard).await;
    let (one, other) = (permit(&guard).await, permit(&guard).await);
    let key = Key::of_runner("*".into(), runner().scope, Kind::Fence, runner().name);
    let swap = world.store.swap(&key, None, "{\"state\":").await.unwrap();
    assert!(matches!(swap, Swap::Done(_)));
    let unread = guard.redeem(one).await.unwrap_err();
    assert!(matches!(unread, Refused::Unwritten { .. }), "{unread}");
    let refused = guard.redeem(other).await.unwrap_err();
    assert_eq!(refused, Refused::Fence(FenceRefused::Taken));
}

#[tokio::test]
async fn a_go_that_comes_too_late_is_none_and_leaves_nothing_outstanding() {
    let world = World::new();
    let slow = Odd::over(&world, Oddity::Lasts(world.clock.clone()));
    let guard = world.builder().store(slow).build().unwrap();
    world.pass_the_window(&guard).await;
    let ready = permit(&guard).await;
    let late = guard.redeem(ready).await.unwrap_err();
    assert!(matches!(late, Refused::Expired { .. }), "{late}");
    let again = guard.can_terminate(&runner()).await;
    assert_eq!(codes(&again), []);
}

#[tokio::test(start_paused = true)]
async fn a_permit_runs_out_by_the_monotonic_clock_too() {
    let world = World::new();
    let guard = world.guard();
    world.pass_the_window(&guard).await;
    let ready = permit(&guard).await;
    // The wall clock was set back, and says that hardly any time has passed.
    tokio::time::advance(Duration::from_secs(11)).await;
    world.later(seconds(1));
    let refused = guard.redeem(ready).await.unwrap_err();
    assert_eq!(refused, Refused::RunOut);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_while_a_look_is_kept_stretches_no_permit() {
    let world = World::new();
    let odd = Odd::over(&world, Oddity::None);
    let oddity = odd.oddity.clone();
    let guard = world.builder().store(odd).build().unwrap();
    world.pass_the_window(&guard).await;
    *oddity.lock().unwrap() = Oddity::SetsBack(world.clock.clone());
    let ready = permit(&guard).await;
    // By the wall clock it is good for a minute more.
    tokio::time::advance(Duration::from_secs(11)).await;
    world.later(seconds(61));
    let refused = guard.redeem(ready).await.unwrap_err();
    assert_eq!(refused, Refused::RunOut);
}
