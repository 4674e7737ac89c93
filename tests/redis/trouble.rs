//! A server that is full, slow, away, or not for us.

use crate::server::{
    fault, free_port, in_the_end, memory, open, read, server_or_skip, value, write,
};
use scale_in_guard::{
    store::{Store, Swap},
    stores::RedisFault,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_memory_refuses_writes_and_is_read_still() {
    let server = server_or_skip!("--maxmemory", "4mb", "--maxmemory-policy", "noeviction");
    let store = server.store();
    let large = "x".repeat(200_000);
    let first = write(&store, &memory("r-0"), "kept").await;
    let mut number = 0;
    let full = in_the_end("a full memory", async || {
        number += 1;
        let swapped = store
            .swap(&memory(&format!("r-{number}")), None, &large)
            .await;
        swapped.is_err().then_some(swapped)
    })
    .await;
    assert!(matches!(fault(full), RedisFault::Full(_)));
    assert_eq!(value(&store, &memory("r-0")).await.as_deref(), Some("kept"));
    let over = store.swap(&memory("r-0"), Some(first), &large).await;
    assert!(matches!(fault(over), RedisFault::Full(_)));
    assert_eq!(value(&store, &memory("r-0")).await.as_deref(), Some("kept"));
    server.cli(&["CONFIG", "SET", "maxmemory", "64mb"]);
    let over = store.swap(&memory("r-0"), Some(first), &large).await;
    assert!(matches!(over.unwrap(), Swap::Done(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let server = server_or_skip!();
    let store = server.store();
    let version = write(&store, &memory("r-1"), "first").await;
    server.signal("-STOP");
    let slow = fault(store.swap(&memory("r-1"), Some(version), "second").await);
    assert!(matches!(slow, RedisFault::Slow(_)), "{slow:?}");
    // It does not even take another connection.
    let away = fault(read(&store, &memory("r-1")).await);
    assert!(matches!(away, RedisFault::Unreachable { .. }), "{away:?}");
    server.signal("-CONT");
    in_the_end("it works again", async || {
        read(&store, &memory("r-1")).await.ok()
    })
    .await;
    write(&store, &memory("r-1"), "third").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_tried_again() {
    let mut server = server_or_skip!();
    let store = server.store();
    write(&store, &memory("r-1"), "first").await;
    server.kill();
    for _ in 0..3 {
        let away = fault(read(&store, &memory("r-1")).await);
        assert!(matches!(away, RedisFault::Unreachable { .. }), "{away:?}");
        let away = fault(store.swap(&memory("r-1"), None, "second").await);
        assert!(matches!(away, RedisFault::Unreachable { .. }), "{away:?}");
    }
    server.begin_again();
    assert_eq!(value(&store, &memory("r-1")).await, None);
    write(&store, &memory("r-1"), "third").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_named() {
    let server = server_or_skip!("--requirepass", "open-sesame");
    let port = server.port;
    for (url, said) in [
        (
            format!("redis://127.0.0.1:{port}"),
            "SCALE_IN_GUARD_REDIS_PASSWORD",
        ),
        (
            format!("redis://:guess@127.0.0.1:{port}"),
            "SCALE_IN_GUARD_REDIS_PASSWORD",
        ),
        (format!("redis://nobody:guess@127.0.0.1:{port}"), "the user"),
        (
            format!("redis://127.0.0.1:{}", free_port()),
            "the host, the port",
        ),
        (
            "redis://no-such-host.invalid".to_owned(),
            "the host, the port",
        ),
        (format!("rediss://127.0.0.1:{port}"), "redis or rediss"),
        (
            format!("redis+sentinel://127.0.0.1:{}/guards", free_port()),
            "the host, the port",
        ),
        (
            format!("redis+cluster://127.0.0.1:{}", free_port()),
            "the host, the port",
        ),
    ] {
        let error = read(&open(&url), &memory("r-1"))
            .await
            .expect_err(&url)
            .to_string();
        assert!(error.contains(said), "{url}: {error}");
        assert!(!error.contains("guess"), "{error}");
        assert!(
            error.contains("127.0.0.1") || error.contains("invalid"),
            "{error}"
        );
    }
    let right = open(&format!("redis://:open-sesame@127.0.0.1:{port}/2"));
    write(&right, &memory("r-1"), "first").await;
    assert!(!format!("{right:?}").contains("sesame"), "{right:?}");
}
