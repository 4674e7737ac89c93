//! Many records, large records, and one that is too large.

use crate::world::{World, key, key_of, read, refused, write};
use futures::future::join_all;
use scale_in_guard::{
    Policy,
    clock::{Clock, SystemClock},
    fleet::{Lifetime, Listed, Roster},
    runner::RunnerName,
    store::{Key, Kind, Store, Swap},
    stores::DynamoError,
};

/// More than one answer or page holds (16 MB, 1 MB), and more keys than one request takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_read_is_whole_and_in_order() {
    let Some(world) = World::new().await else {
        return;
    };
    let store = &world.store;
    let large = random(450_000);
    let written: Vec<_> = (0..90).map(|number| number * 17).collect();
    for some in written.chunks(8) {
        let write = |number: &i32| {
            let value = format!("{number} {large}");
            let key = key(&format!("r-{number}"));
            async move { write(store, &key, &value).await }
        };
        join_all(some.iter().map(write)).await;
    }
    let keys: Vec<_> = (0..1_531)
        .map(|number| key(&format!("r-{number}")))
        .collect();
    let records = store.read(&keys).await.expect("a read");
    for (number, record) in (0..).zip(records) {
        let expected = written
            .contains(&number)
            .then(|| format!("{number} {large}"));
        assert!(record.map(|record| record.value) == expected, "r-{number}");
    }
    let scope = "repo:acme/atlas".parse().expect("a scope");
    let scanned = store.scan("api.github.com", &scope, Kind::Memory).await;
    assert_eq!(scanned.expect("a scan").len(), written.len());
    write(store, &key_of(Kind::Heartbeat, "r-1"), "{}").await;
    let beats = store.scan("api.github.com", &scope, Kind::Heartbeat).await;
    assert_eq!(beats.expect("a scan of many pages").len(), 1);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_by_name_and_size_before_it_is_sent() {
    let Some(world) = World::new().await else {
        return;
    };
    let written = write(&world.store, &key("r-1"), "small").await;
    let large = random(1 << 20);
    let (reason, said) = refused(world.store.swap(&key("r-1"), Some(written), &large).await);
    assert!(
        matches!(reason, DynamoError::TooLarge { bytes, .. } if bytes > 410_000),
        "{reason:?}"
    );
    assert!(said.contains("memory of repo:acme/atlas r-1"), "{said}");
    assert_eq!(
        read(&world.store, "r-1").await.expect("a record").value,
        "small"
    );
}

/// What is remembered of a scope is one record. `docs/stores-dynamodb.md` has these figures.
#[tokio::test]
async fn the_record_of_a_fleet_of_thirty_thousand_is_kept() {
    let Some(world) = World::new().await else {
        return;
    };
    for count in [10_000, 30_000] {
        let names: Vec<RunnerName> = (0..count)
            .map(|_| format!("runner-i-{}", random(17)).parse().unwrap())
            .collect();
        let rows = names
            .iter()
            .map(|name| (name.as_str(), Lifetime::Ephemeral))
            .collect();
        let listed = Listed {
            total: u64::try_from(count).ok(),
            rows: &rows,
            count,
            asked: &names.iter().collect(),
            asked_are_all: true,
        };
        let mut roster = Roster::default();
        let _ = roster.judge(listed, |_| false, SystemClock.now(), &Policy::default());
        let value = serde_json::to_string(&roster).expect("a record");
        eprintln!("{count} runners: {} bytes", value.len());
        let key = Key::of_scope(
            "api.github.com".into(),
            "org:acme".parse().unwrap(),
            Kind::Fleet,
        );
        let known = world
            .store
            .read(std::slice::from_ref(&key))
            .await
            .expect("a read");
        let known = known
            .into_iter()
            .flatten()
            .next()
            .map(|record| record.version);
        let swap = world.store.swap(&key, known, &value).await.expect("a swap");
        assert!(matches!(swap, Swap::Done(_)));
        let kept = world.store.read(&[key]).await.expect("a read");
        assert!(
            kept.into_iter()
                .flatten()
                .next()
                .is_some_and(|kept| kept.value == value)
        );
    }
}

/// A text that packs to little more than a half: hexadecimal digits that nobody can foretell.
fn random(bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(&uuid::Uuid::new_v4().simple().to_string());
    }
    text.truncate(bytes);
    text
}
