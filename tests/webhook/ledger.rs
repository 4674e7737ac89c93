//! The same deliveries give the same ledger, in every order and however often they come.

use crate::world::{SECRET, Told, acme, at, deliver, jobs, keep, noon, of_runner, receiver, told};
use proptest::prelude::*;
use scale_in_guard::{
    ledger::{Ledger, LedgerJob},
    store::Kind,
    stores::{MemoryStore, SqliteStore},
    testing::ManualClock,
    webhook::{Event, Outcome, Receiver, Secrets, parse},
};
use std::sync::Arc;

/// A delivery, and the second at which it came.
type Came = (Told, i64);

fn any_delivery() -> impl Strategy<Value = Came> {
    let runner = prop_oneof![
        1 => Just(None),
        3 => (1..4u64, 0..2u64).prop_map(|(number, name)| Some((number, format!("r-{name}")))),
    ];
    let action = proptest::sample::select(vec![
        "queued",
        "waiting",
        "in_progress",
        "completed",
        "requested",
    ]);
    (action, 1..5u64, 1..3u32, runner, 0..600i64).prop_map(
        |(action, job, attempt, runner, second)| {
            let told = Told {
                attempt,
                runner,
                ..told(action, job)
            };
            (told, second)
        },
    )
}

/// Deliveries, some of them missing, and the same in another order, some of them twice.
fn any_two_orders() -> impl Strategy<Value = (Vec<Came>, Vec<Came>)> {
    proptest::collection::vec(any_delivery(), 0..16)
        .prop_flat_map(|came| {
            let again = proptest::sample::subsequence(came.clone(), 0..=came.len());
            (Just(came), again)
        })
        .prop_flat_map(|(came, again)| {
            let all: Vec<_> = came.iter().cloned().chain(again).collect();
            (Just(came), Just(all).prop_shuffle())
        })
}

fn fold(came: &[Came]) -> Ledger {
    let mut ledger = Ledger::default();
    for (told, second) in came {
        match parse(Some("workflow_job"), None, &told.body(), at(*second)) {
            Ok(Event::Job(job)) => ledger.receive(job.delivery),
            other => panic!("{other:?}"),
        }
    }
    ledger
}

/// What lies in a store after these deliveries.
async fn stored(came: &[Came]) -> [Vec<LedgerJob>; 2] {
    let clock = ManualClock::at(noon());
    let store = Arc::new(MemoryStore::new().with_clock(clock.clone()));
    let receiver = receiver(store.clone(), &clock).start();
    for (told, second) in came {
        clock.set(at(*second));
        keep(&receiver, told.clone()).await;
    }
    [
        jobs(&store, &acme(), Kind::Jobs).await,
        jobs(&store, &acme(), Kind::Queue).await,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_order_and_repetition_gives_the_same_fold((one, other) in any_two_orders()) {
        prop_assert_eq!(fold(&one), fold(&other));
    }

    #[test]
    fn every_order_and_repetition_gives_the_same_records((one, other) in any_two_orders()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (one, other) = runtime.block_on(async { (stored(&one).await, stored(&other).await) });
        prop_assert_eq!(one, other);
    }

    /// What the records of a runner tell is what the whole ledger tells, of each job that names it.
    #[test]
    fn no_delivery_that_names_a_runner_is_lost((_, came) in any_two_orders()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let [of_runners, _] = runtime.block_on(stored(&came));
        for (told, _) in came {
            let names = told.runner.is_some() && ["in_progress", "completed"].contains(&told.action);
            let kept = |job: &LedgerJob| {
                job.id == told.job
                    && job.attempt == told.attempt
                    && (told.action != "in_progress" || job.opened_at.is_some())
                    && (told.action != "completed" || job.closed_at.is_some())
            };
            prop_assert!(!names || of_runners.iter().any(kept), "{told:?}");
        }
    }
}

#[tokio::test]
async fn deliveries_at_the_same_time_share_their_writes_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("store.db")).unwrap());
    let secrets = || Secrets::new([SECRET]).unwrap();
    // Two receivers on one store: their swaps meet.
    let receivers = [
        Receiver::builder(store.clone(), secrets()).start(),
        Receiver::builder(store.clone(), secrets())
            .named("2")
            .unwrap()
            .start(),
    ];
    let told = |job: u64| told("in_progress", job).on(job, &format!("R-{}", job % 7));
    let bodies: Vec<_> = (0..300).map(|job| told(job).body()).collect();
    let all = bodies
        .iter()
        .enumerate()
        .map(|(place, body)| deliver(&receivers[place % 2], body));
    for outcome in futures::future::join_all(all).await {
        assert!(matches!(outcome, Outcome::Stored), "{outcome}");
    }
    let kept = jobs(&store, &acme(), Kind::Jobs).await;
    let mut kept: Vec<_> = kept.iter().map(|job| job.id).collect();
    kept.sort_unstable();
    assert_eq!(kept, (0..300).collect::<Vec<_>>());
    // In the key a runner's name is in lower case; in the job as GitHub wrote it.
    let of_one = of_runner(&store, &acme(), "r-3").await;
    assert_eq!(of_one[0].runners[0].name.as_deref(), Some("R-3"));
    assert_eq!(of_one[0].repository.as_deref(), Some("acme/atlas"));
}

#[tokio::test]
async fn the_enterprise_has_all_of_it_as_well() {
    let clock = ManualClock::at(noon());
    let store = Arc::new(MemoryStore::new());
    let receiver = receiver(store.clone(), &clock).start();
    let told = Told {
        enterprise: Some("acme-inc"),
        ..told("in_progress", 7).on(5, "r-1")
    };
    keep(&receiver, told).await;
    for scope in ["org:acme", "enterprise:acme-inc"] {
        assert_eq!(
            of_runner(&store, &scope.parse().unwrap(), "r-1")
                .await
                .len(),
            1,
            "{scope}"
        );
    }
}
