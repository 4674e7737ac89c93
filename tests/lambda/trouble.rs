//! No proof, no name: whatever goes wrong, the answer is an empty list.

use crate::world::*;
use async_trait::async_trait;
use scale_in_guard::{
    Finding, Look, Rule, Witness,
    lambda::{self, Handler},
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    testing::fake_github::{Fault, FaultOn},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

const NONE: [usize; 0] = [];

/// One machine of two is drained and has settled.
async fn ready() -> World {
    let world = World::of(2).await;
    world.sweeps(2).await;
    world.sweep().await;
    world.ask(1).await;
    world.later(TimeDelta::seconds(90));
    world
}

fn policy_of(guard: Guard, world: &World) -> Handler {
    lambda::termination_policy(guard, world.scope.clone())
}

#[tokio::test]
async fn an_empty_store_names_nobody_and_nothing_is_asked() {
    let world = World::of(2).await;
    world.asked();
    assert_eq!(world.ask(2).await, NONE);
    assert_eq!(world.asked(), [] as [String; 0]);
    assert!(world.is_registered(1) && world.is_registered(2));
}

#[tokio::test]
async fn a_sweep_long_ago_says_nothing_of_now() {
    let world = ready().await;
    world.later(minutes(11));
    world.asked();
    assert_eq!(world.ask(2).await, NONE);
    assert_eq!(world.asked(), [] as [String; 0]);
}

#[tokio::test]
async fn no_event_of_auto_scalings_is_no_reason_to_do_anything() {
    let world = ready().await;
    let mut policy = world.policy();
    for event in [
        json!(null),
        json!([]),
        json!("scale in"),
        json!({}),
        json!({"CapacityToTerminate": {"Capacity": 1}, "Instances": []}),
        json!({"CapacityToTerminate": [{"Capacity": "many"}], "Instances": [{"InstanceId": id(1)}]}),
        json!({"CapacityToTerminate": [{"Capacity": 1}], "Instances": [{"InstanceId": "../../1"}, {"InstanceId": ""}]}),
        world.event(0),
    ] {
        let answer = invoke(&mut policy, event.clone()).await;
        assert_eq!(answer, json!({"InstanceIDs": []}), "{event}");
    }
    assert!(world.is_registered(2));
    assert_eq!(world.ask(1).await, [1], "it was ready all the time");
}

#[tokio::test]
async fn a_github_that_fails_proves_nothing() {
    for fault in [Fault::status(502), Fault::status(403), Fault::CutBody] {
        let world = ready().await;
        world.github.fail(FaultOn::any(), fault, None);
        assert_eq!(world.ask(2).await, NONE);
        world.github.clear_faults();
        // The client asks again after a while.
        world.later(minutes(3));
        assert_eq!(world.ask(1).await, [1], "its drain stands");
    }
}

#[tokio::test]
async fn an_invocation_without_time_answers_at_once() {
    let world = ready().await;
    for span in [-1000, 0, 299] {
        let mut policy = world.policy();
        let event = world.event(2);
        let answer = invoke_within(&mut policy, event, TimeDelta::milliseconds(span)).await;
        assert_eq!(numbers(&answer), NONE, "{span} ms");
    }
    assert!(world.is_registered(2));
}

#[tokio::test]
async fn what_is_proved_is_named_though_the_rest_takes_too_long() {
    let world = World::of(2).await;
    world.sweeps(2).await;
    world.sweep().await;
    world.ask(1).await;
    world.later(TimeDelta::seconds(90));
    // The second machine's own registration is asked for at its first look, and never answered in time.
    let path = format!("/actions/runners/{}", world.ids[1]);
    world.github.fail(FaultOn::path(&path), Fault::Hang, None);
    assert_eq!(world.ask(2).await, [1]);
}

#[derive(Debug)]
struct Panics(Arc<AtomicBool>);

impl Rule for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[]
    }

    fn judge(&self, _: &Look<'_>) -> Finding {
        assert!(!self.0.load(Ordering::Relaxed), "a fault in a user's rule");
        Finding::Clear
    }
}

#[tokio::test]
async fn a_panic_names_nobody() {
    let world = ready().await;
    let panics = Arc::new(AtomicBool::new(true));
    let guard = world.builder().rule(Panics(Arc::clone(&panics)));
    let guard = guard.deregister(world.client()).build().unwrap();
    let mut policy = policy_of(guard, &world);
    assert_eq!(numbers(&invoke(&mut policy, world.event(2)).await), NONE);
    panics.store(false, Ordering::Relaxed);
    assert_eq!(
        numbers(&invoke(&mut policy, world.event(1)).await),
        [1],
        "nor does it end the handler"
    );
}

/// A store that can be away, or hang.
#[derive(Debug)]
struct Away {
    store: Arc<scale_in_guard::stores::MemoryStore>,
    hangs: bool,
}

impl Away {
    async fn is_away<T>(&self) -> Result<T, StoreError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Err(StoreError::Unusable {
            store: self.store.describe(),
            doing: "read",
            source: "connection refused".into(),
        })
    }
}

#[async_trait]
impl Store for Away {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn read(&self, _: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        self.is_away().await
    }

    async fn scan(&self, _: &str, _: &Scope, _: Kind) -> Result<Vec<(Key, Record)>, StoreError> {
        self.is_away().await
    }

    async fn swap(&self, _: &Key, _: Option<Version>, _: &str) -> Result<Swap, StoreError> {
        self.is_away().await
    }
}

#[tokio::test]
async fn a_store_that_is_away_proves_nothing() {
    let world = ready().await;
    for hangs in [false, true] {
        let store = Away {
            store: Arc::clone(&world.store),
            hangs,
        };
        let guard = world.builder().store(store).deregister(world.client());
        let mut policy = policy_of(guard.build().unwrap(), &world);
        assert_eq!(numbers(&invoke(&mut policy, world.event(2)).await), NONE);
    }
    assert!(world.is_registered(2));
}

#[tokio::test]
async fn a_guard_that_does_not_deregister_names_nobody() {
    let world = World::of(1).await;
    world.sweeps(2).await;
    world.sweep().await;
    let mut policy = policy_of(world.builder().build().unwrap(), &world);
    for _ in 0..5 {
        assert_eq!(numbers(&invoke(&mut policy, world.event(1)).await), NONE);
        world.later(minutes(1));
    }
}

#[tokio::test]
async fn shadow_mode_changes_nothing() {
    let world = World::of(2).await;
    let guard = || {
        let guard = world.builder().deregister(world.client());
        guard.shadow().build().unwrap()
    };
    for _ in 0..4 {
        world.sweep_with(&guard()).await;
        let mut policy = policy_of(guard(), &world);
        assert_eq!(numbers(&invoke(&mut policy, world.event(2)).await), NONE);
        world.later(minutes(5));
    }
    let asked = world.asked();
    assert!(
        asked.iter().all(|line| line.starts_with("GET ")),
        "{asked:?}"
    );
}
