//! It keeps a store's promises, over one table and several stores of it.

use crate::world::{World, key, key_of, read, write};
use aws_sdk_dynamodb::types::AttributeValue;
use scale_in_guard::{
    store::{Key, Kind, Store, Swap},
    testing::conformance,
};
use std::sync::Arc;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dynamodb_keeps_the_promises() {
    // It keeps the server running from one case to the next.
    if let Some(_world) = World::new().await {
        conformance::store(async || World::new().await.expect("it is installed").store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_stores_of_one_table_one_wins_and_no_update_is_lost() {
    const RIVALS: u64 = 6;
    const STEPS: u64 = 10;
    let Some(world) = World::new().await else {
        return;
    };
    let mut rivals = JoinSet::new();
    for _ in 0..RIVALS {
        let store = world.through(&world.door.url());
        rivals.spawn(async move {
            for _ in 0..STEPS {
                loop {
                    let found = read(&store, "counter").await;
                    let next = 1 + found
                        .as_ref()
                        .map_or(0, |found| found.value.parse::<u64>().expect("a number"));
                    let expected = found.map(|found| found.version);
                    let (key, next) = (key("counter"), next.to_string());
                    let swap = store.swap(&key, expected, &next).await;
                    if let Swap::Done(_) = swap.expect("a swap that works") {
                        break;
                    }
                }
            }
        });
    }
    rivals.join_all().await;
    let counted = read(&world.store, "counter").await.expect("a record");
    assert_eq!(counted.value, (RIVALS * STEPS).to_string());
}

/// moto deletes nothing by itself, as DynamoDB does not for days: a row past its time to live is still there.
#[tokio::test]
async fn a_row_past_its_time_to_live_is_still_there() {
    let Some(world) = World::new().await else {
        return;
    };
    let written = write(&world.store, &key("r-1"), "still there").await;
    world
        .set("r-1", "expires_at", AttributeValue::N("1".to_owned()))
        .await;
    let found = read(&world.store, "r-1").await.expect("a record");
    assert_eq!((found.version, &*found.value), (written, "still there"));
    let scope = "repo:acme/atlas".parse().expect("a scope");
    let scanned = world
        .store
        .scan("api.github.com", &scope, Kind::Memory)
        .await;
    assert_eq!(scanned.expect("a scan").len(), 1);
    let anew = world
        .store
        .swap(&key("r-1"), None, "as if it were gone")
        .await;
    assert_eq!(anew.expect("an answer"), Swap::Conflict);
    let over = world
        .store
        .swap(&key("r-1"), Some(written), "over it")
        .await;
    assert!(matches!(over.expect("an answer"), Swap::Done(_)));
}

/// What DynamoDB does when it deletes such a row at last.
#[tokio::test]
async fn a_row_that_was_deleted_is_begun_anew_with_a_version_that_never_was() {
    let Some(world) = World::new().await else {
        return;
    };
    let written = write(&world.store, &key("r-1"), "first").await;
    world
        .client()
        .delete_item()
        .table_name(&world.table)
        .key(
            "pk",
            AttributeValue::S("memory|api.github.com|repo:acme/atlas".to_owned()),
        )
        .key("sk", AttributeValue::S("runner|r-1".to_owned()))
        .send()
        .await
        .expect("a deletion");
    let late = world.store.swap(&key("r-1"), Some(written), "late").await;
    assert_eq!(late.expect("an answer"), Swap::Conflict);
    assert_ne!(write(&world.store, &key("r-1"), "anew").await, written);
}

/// A job can write what its beacon may write. It must not keep the other runners from being read.
#[tokio::test]
async fn an_item_that_somebody_else_spoilt_spoils_no_other_and_is_written_over() {
    let Some(world) = World::new().await else {
        return;
    };
    write(&world.store, &key("r-2"), "whole").await;
    for (attribute, forged) in [
        ("version", AttributeValue::S("x".to_owned())),
        ("version", AttributeValue::N("-5".to_owned())),
        (
            "version",
            AttributeValue::N("18446744073709551616".to_owned()),
        ),
        ("value", AttributeValue::Bool(true)),
        ("written_at", AttributeValue::N("1e100".to_owned())),
    ] {
        write(&world.store, &key("r-1"), "whole").await;
        world.set("r-1", attribute, forged.clone()).await;
        assert_eq!(
            read(&world.store, "r-2").await.expect("a record").value,
            "whole"
        );
        write(&world.store, &key("r-1"), "mended").await;
        let mended = read(&world.store, "r-1").await.expect("a record");
        assert_eq!(mended.value, "mended", "{attribute} {forged:?}");
    }
}

#[tokio::test]
async fn heartbeats_of_a_scope_are_found_among_those_of_others() {
    let Some(world) = World::new().await else {
        return;
    };
    let store: Arc<_> = Arc::new(world.store);
    let of = |api: &str, scope: &str, kind, name: &str| {
        let scope = scope.parse().expect("a scope");
        Key::of_runner(api.into(), scope, kind, name.parse().expect("a name"))
    };
    let wanted = [
        of("*", "org:acme", Kind::Heartbeat, "r-1"),
        of("*", "org:acme", Kind::Heartbeat, "a|b%"),
    ];
    let others = [
        of("*", "org:acme", Kind::Fence, "r-1"),
        of("*", "org:acme2", Kind::Heartbeat, "r-1"),
        of("api.github.com", "org:acme", Kind::Heartbeat, "r-1"),
        key_of(Kind::Memory, "r-1"),
    ];
    for key in wanted.iter().chain(&others) {
        write(&store, key, "{}").await;
    }
    let scope = "org:ACME".parse().expect("a scope");
    let found = store
        .scan("*", &scope, Kind::Heartbeat)
        .await
        .expect("a scan");
    let mut found: Vec<_> = found.into_iter().map(|(key, _)| key).collect();
    let mut wanted = wanted.to_vec();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_table_is_made_once_and_one_with_another_key_is_refused() {
    use crate::world::{refused, store_at};
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    };
    let Some(world) = World::new().await else {
        return;
    };
    world
        .store
        .create_table()
        .await
        .expect("it is there already");
    let ttl = world
        .client()
        .describe_time_to_live()
        .table_name(&world.table);
    let ttl = ttl.send().await.expect("an answer");
    let ttl = ttl.time_to_live_description.expect("a time to live");
    assert_eq!(ttl.attribute_name.as_deref(), Some("expires_at"));
    let attribute = AttributeDefinition::builder().attribute_name("id");
    let key = KeySchemaElement::builder()
        .attribute_name("id")
        .key_type(KeyType::Hash);
    let foreign = format!("{}-foreign", world.table);
    let make = world.client().create_table().table_name(&foreign);
    make.billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(
            attribute
                .attribute_type(ScalarAttributeType::S)
                .build()
                .unwrap(),
        )
        .key_schema(key.build().unwrap())
        .send()
        .await
        .expect("a table");
    let (_, said) = refused(store_at(&world.moto.url(), &foreign).create_table().await);
    assert!(said.contains("HASH id S"), "{said}");
}
