//! Requests whose answer is lost.

use crate::{
    moto::free_port,
    proxy::{Fate, Proxy, Request},
    world::{World, ends, hasty_store_at, key, read, refused, write},
};
use scale_in_guard::{
    store::{Store, Swap},
    stores::DynamoError,
};
use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether the swap was done or not: it is an error, and it was sent once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_nobody_answers_is_an_error_and_is_not_sent_again() {
    for (fate, done) in [
        (Fate::CutBefore, false),
        (Fate::CutAfter, true),
        (Fate::Silence, true),
        (Fate::Instead(500, "InternalServerError", "oops"), false),
    ] {
        let Some(world) = World::new().await else {
            return;
        };
        let first = write(&world.store, &key("r-1"), "first").await;
        let proxy = Proxy::before(world.moto.address, move |request| {
            match &*request.operation {
                "PutItem" => fate,
                _ => Fate::Served,
            }
        });
        let store = hasty_store_at(&proxy.url(), &world.table);
        let swapped = ends(store.swap(&key("r-1"), Some(first), "second")).await;
        let (reason, _) = refused(swapped);
        let unknown = matches!(
            reason,
            DynamoError::NoAnswer { .. } | DynamoError::Refused { .. }
        );
        assert!(unknown, "{fate:?}: {reason:?}");
        assert_eq!(proxy.count("PutItem"), 1, "{fate:?}");
        // Whoever reads again knows, and goes on from there.
        let found = read(&world.store, "r-1").await.expect("a record");
        assert_eq!(
            found.value,
            if done { "second" } else { "first" },
            "{fate:?}"
        );
        assert_eq!(found.version != first, done, "{fate:?}");
        let third = world
            .store
            .swap(&key("r-1"), Some(found.version), "third")
            .await;
        assert!(matches!(third.expect("an answer"), Swap::Done(_)));
    }
}

#[tokio::test]
async fn a_read_that_was_cut_off_is_tried_again() {
    let Some(world) = World::new().await else {
        return;
    };
    write(&world.store, &key("r-1"), "written").await;
    let first = AtomicBool::new(true);
    let proxy = Proxy::before(world.moto.address, move |_: &Request| {
        match first.swap(false, Ordering::Relaxed) {
            true => Fate::CutAfter,
            false => Fate::Served,
        }
    });
    let store = world.through(&proxy.url());
    assert_eq!(
        read(&store, "r-1").await.expect("a record").value,
        "written"
    );
    assert_eq!(proxy.count("BatchGetItem"), 2);
}

#[tokio::test]
async fn nobody_there_and_nobody_who_answers_is_an_error_in_bounded_time() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let silent_url = format!("http://{}", silent.local_addr().expect("its address"));
    for url in [nobody, silent_url] {
        let store = hasty_store_at(&url, "guard");
        let scope = "org:acme".parse().expect("a scope");
        let fence = scale_in_guard::store::Kind::Fence;
        for met in [
            ends(store.read(&[key("r-1")])).await.map(drop),
            ends(store.scan("*", &scope, fence)).await.map(drop),
            ends(store.swap(&key("r-1"), None, "{}")).await.map(drop),
        ] {
            let (reason, said) = refused(met);
            assert!(matches!(reason, DynamoError::NoAnswer { .. }), "{reason:?}");
            assert!(said.contains(&url), "{said}");
        }
    }
}
