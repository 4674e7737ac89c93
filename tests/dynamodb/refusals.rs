//! What DynamoDB refuses, and what is told of it.

use crate::{
    proxy::{Fate, Proxy},
    world::{REGION, World, ends, key, read, refused, store_at, write},
};
use scale_in_guard::{
    store::{Kind, Store, Swap},
    stores::{DynamoError, DynamoStore},
};
use std::{
    env,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

/// What AWS says of a signature repeats the request, with its token.
const SIGNATURE: &str = "The request signature we calculated does not match.\n\nThe Canonical String for this request \
                         should have been\n'POST\nx-amz-security-token:a-session-token'";

#[tokio::test]
async fn a_missing_table_is_named_with_its_region() {
    let Some(world) = World::new().await else {
        return;
    };
    let store = store_at(&world.moto.url(), "no-such-table");
    let scope = "org:acme".parse().expect("a scope");
    for (reason, said) in [
        refused(store.read(&[key("r-1")]).await),
        refused(store.scan("*", &scope, Kind::Memory).await),
        refused(store.scan("*", &scope, Kind::Fence).await),
        refused(store.swap(&key("r-1"), None, "{}").await),
    ] {
        assert!(matches!(reason, DynamoError::NoTable { .. }), "{reason:?}");
        assert!(
            said.contains("no-such-table") && said.contains(REGION),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_denial_names_the_permission_that_is_missing() {
    let Some(world) = World::new().await else {
        return;
    };
    let denied = |request: &crate::proxy::Request| match &*request.operation {
        "BatchGetItem" => Fate::Served,
        _ => Fate::Instead(
            400,
            "AccessDeniedException",
            "User: arn:aws:iam::1:user/x is not authorized",
        ),
    };
    let proxy = Proxy::before(world.moto.address, denied);
    let store = world.through(&proxy.url());
    let scope = "org:acme".parse().expect("a scope");
    for (met, permission) in [
        (
            store.scan("*", &scope, Kind::Memory).await.map(drop),
            "dynamodb:Query",
        ),
        (
            store.scan("*", &scope, Kind::Fence).await.map(drop),
            "dynamodb:Scan",
        ),
        (
            store.swap(&key("r-1"), None, "{}").await.map(drop),
            "dynamodb:PutItem",
        ),
        (store.create_table().await, "dynamodb:CreateTable"),
    ] {
        let (reason, said) = refused(met);
        assert!(matches!(reason, DynamoError::Denied { .. }), "{reason:?}");
        assert!(
            said.contains(permission) && said.contains(&world.table),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_is_said_of_a_signature_is_not_repeated() {
    let Some(world) = World::new().await else {
        return;
    };
    let proxy = Proxy::before(world.moto.address, |_| {
        Fate::Instead(400, "InvalidSignatureException", SIGNATURE)
    });
    let store = world.through(&proxy.url());
    let (reason, said) = refused(store.read(&[key("r-1")]).await);
    assert!(matches!(reason, DynamoError::Refused { .. }), "{reason:?}");
    assert!(said.contains("does not match."), "{said}");
    // The pair of the error holds no token either: `refused` looks.
    refused(store.swap(&key("r-1"), None, "{}").await);
}

#[tokio::test]
async fn what_was_refused_for_now_is_tried_again_also_a_swap() {
    let Some(world) = World::new().await else {
        return;
    };
    let asked = AtomicUsize::new(0);
    let proxy = Proxy::before(world.moto.address, move |_| {
        match asked.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Fate::Instead(400, "ProvisionedThroughputExceededException", "too much"),
            _ => Fate::Served,
        }
    });
    let store = world.through(&proxy.url());
    write(&store, &key("r-1"), "written").await;
    assert_eq!(
        read(&store, "r-1").await.expect("a record").value,
        "written"
    );
    assert_eq!(proxy.count("PutItem"), 2);
    let never = Proxy::before(world.moto.address, |_| {
        Fate::Instead(400, "ThrottlingException", "too much")
    });
    let (reason, _) = refused(ends(world.through(&never.url()).read(&[key("r-1")])).await);
    assert!(
        matches!(reason, DynamoError::Throttled { .. }),
        "{reason:?}"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_tell_the_time_is_an_error() {
    let Some(world) = World::new().await else {
        return;
    };
    let proxy = Proxy::before(world.moto.address, |_| Fate::Dateless);
    let store = world.through(&proxy.url());
    let (reason, _) = refused(store.read(&[key("r-1")]).await);
    assert_eq!(reason, DynamoError::NoDate);
    let (reason, _) = refused(store.swap(&key("r-1"), None, "{}").await);
    assert_eq!(reason, DynamoError::NoDate, "nothing can be stamped");
    assert_eq!(proxy.count("PutItem"), 0);
}

const URL: &str = "SCALE_IN_GUARD_TEST_URL";
const TABLE: &str = "SCALE_IN_GUARD_TEST_TABLE";

/// In a process of its own, for the environment belongs to all tests.
#[tokio::test]
async fn it_connects_with_what_the_environment_holds() {
    if let (Ok(url), Ok(table)) = (env::var(URL), env::var(TABLE)) {
        let store = DynamoStore::connect(&table, None, Some(&url))
            .await
            .expect("a store");
        let swap = store.swap(&key("r-1"), None, "connected").await;
        assert!(matches!(swap.expect("a swap"), Swap::Done(_)));
        assert!(
            store.describe().contains("region=eu-west-3"),
            "{}",
            store.describe()
        );
        return;
    }
    let Some(world) = World::new().await else {
        return;
    };
    let there = crate::world::config_at(&world.moto.url()).into_builder();
    let there = there.region(aws_config::Region::new("eu-west-3")).build();
    let there = DynamoStore::new(&there, &world.table).expect("a store");
    there.create_table().await.expect("a table there");
    let child = Command::new(env::current_exe().expect("this program"))
        .args([
            "--exact",
            "refusals::it_connects_with_what_the_environment_holds",
        ])
        .env(URL, world.moto.url())
        .env(TABLE, &world.table)
        .env("AWS_REGION", "eu-west-3")
        .env("AWS_ACCESS_KEY_ID", "AKIATESTS")
        .env("AWS_SECRET_ACCESS_KEY", crate::world::SECRET)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .expect("a run");
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
    assert_eq!(
        read(&there, "r-1").await.expect("a record").value,
        "connected"
    );
}

#[test]
fn nothing_about_it_shows_credentials() {
    let store = store_at("http://someone:a-session-token@127.0.0.1:1", "guard");
    let shown = format!("{store:?} {}", store.describe());
    for secret in [crate::world::SECRET, "a-session-token"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(
        store.describe(),
        "dynamodb://guard?region=eu-central-1&endpoint=http://127.0.0.1:1"
    );
}
