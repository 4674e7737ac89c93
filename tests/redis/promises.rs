//! What every store promises, and what Redis keeps of it when it ends in the middle.

use crate::server::{SCOPE, key, memory, of_host, read, server_or_skip, value, write};
use scale_in_guard::{
    store::{Key, Kind, Store, Swap},
    testing::conformance,
};

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_promises_of_a_store() {
    let server = server_or_skip!();
    conformance::store(async || {
        server.cli(&["FLUSHALL"]);
        server.store()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_share_one_memory() {
    let server = server_or_skip!();
    let (one, other) = (server.store(), server.store());
    let version = write(&one, &memory("r-1"), "of one").await;
    let seen = read(&other, &memory("r-1")).await.unwrap().unwrap();
    assert_eq!((seen.version, seen.value.as_str()), (version, "of one"));
    write(&other, &memory("r-1"), "of the other").await;
    let late = one.swap(&memory("r-1"), Some(version), "late").await;
    assert_eq!(late.unwrap(), Swap::Conflict);
    assert_eq!(
        value(&one, &memory("r-1")).await.as_deref(),
        Some("of the other")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_down_outlives_the_server() {
    let mut server = server_or_skip!("--appendonly", "yes", "--appendfsync", "always");
    let store = server.store();
    let version = write(&store, &memory("r-1"), "kept").await;
    server.begin_again();
    // The first read finds the old connection broken, and connects anew.
    let kept = read(&store, &memory("r-1")).await.unwrap().unwrap();
    assert_eq!((kept.version, kept.value.as_str()), (version, "kept"));
    let swapped = store.swap(&memory("r-1"), Some(version), "next").await;
    assert!(matches!(swapped.unwrap(), Swap::Done(next) if next != version));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_empty_gives_no_version_twice() {
    let mut server = server_or_skip!();
    let store = server.store();
    let old = write(&store, &memory("r-1"), "first").await;
    server.begin_again();
    assert_eq!(value(&store, &memory("r-1")).await, None);
    let stale = store.swap(&memory("r-1"), Some(old), "stale").await;
    assert_eq!(
        stale.unwrap(),
        Swap::Conflict,
        "nothing is there to be written over"
    );
    let new = write(&store, &memory("r-1"), "first").await;
    assert_ne!(new, old);
    let stale = store.swap(&memory("r-1"), Some(old), "stale").await;
    assert_eq!(stale.unwrap(), Swap::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_runners_go_in_the_end_and_those_of_scopes_never() {
    let server = server_or_skip!();
    let store = server.store();
    let fleet = Key::of_scope(
        "api.github.com".into(),
        "org:acme".parse().unwrap(),
        Kind::Fleet,
    );
    write(&store, &memory("r-1"), "").await;
    write(&store, &fleet, "").await;
    let lifetime = |key: &str| server.cli(&["PTTL", key]).parse::<i64>().unwrap();
    let day = 24 * 60 * 60 * 1000;
    let of_runner = "scale-in-guard:{repo:acme/atlas}:api.github.com:memory:r-1";
    assert!((29 * day..=30 * day).contains(&lifetime(of_runner)));
    server.cli(&["PEXPIRE", of_runner, &day.to_string()]);
    write(&store, &memory("r-1"), "").await;
    assert!(lifetime(of_runner) > 29 * day, "a write lets it live on");
    assert_eq!(
        lifetime("scale-in-guard:{org:acme}:api.github.com:fleet:"),
        -1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_its_scripts_is_told_them_again() {
    let server = server_or_skip!();
    let store = server.store();
    write(&store, &memory("r-1"), "first").await;
    server.cli(&["SCRIPT", "FLUSH"]);
    assert_eq!(
        value(&store, &memory("r-1")).await.as_deref(),
        Some("first")
    );
    server.cli(&["SCRIPT", "FLUSH"]);
    let version = read(&store, &memory("r-1")).await.unwrap().unwrap().version;
    server.cli(&["SCRIPT", "FLUSH"]);
    let swapped = store.swap(&memory("r-1"), Some(version), "second").await;
    assert!(matches!(swapped.unwrap(), Swap::Done(_)));
}

/// A host can write what it likes under its own keys.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_forged_is_no_record_and_keeps_no_other_from_being_read() {
    let server = server_or_skip!();
    let store = server.store();
    let beat = |name: &str| of_host(SCOPE, Kind::Heartbeat, name);
    write(&store, &beat("honest"), "honest").await;
    let forge = |name: &str, fields: &[&str]| {
        let key = format!("scale-in-guard:{{repo:acme/atlas}}:%2A:heartbeat:{name}");
        server.cli(&[&["HSET", &key], fields].concat());
    };
    let whole = "0123456789abcdef";
    for (name, fields) in [
        ("no-version", &["value", "x", "written_at", "1"] as &[&str]),
        ("no-value", &["version", whole, "written_at", "1"]),
        ("no-time", &["version", whole, "value", "x"]),
        (
            "a-word",
            &["version", "nonsense", "value", "x", "written_at", "1"],
        ),
        (
            "too-long",
            &[
                "version",
                "00123456789abcdef",
                "value",
                "x",
                "written_at",
                "1",
            ],
        ),
        (
            "no-instant",
            &["version", whole, "value", "x", "written_at", "soon"],
        ),
        (
            "too-late",
            &[
                "version",
                whole,
                "value",
                "x",
                "written_at",
                "99999999999999999",
            ],
        ),
    ] {
        forge(name, fields);
        let keys = [beat(name), beat("honest")];
        let records = store.read(&keys).await.unwrap();
        let values: Vec<_> = records
            .into_iter()
            .map(|record| record.map(|r| r.value))
            .collect();
        assert_eq!(values, [None, Some("honest".to_owned())], "{name}");
        write(&store, &beat(name), "mended").await;
        assert_eq!(value(&store, &beat(name)).await.as_deref(), Some("mended"));
    }
    let forged = format!(
        r"redis.call('HSET', KEYS[1], 'version', '{whole}', 'value', '\255', 'written_at', '1')"
    );
    let at = "scale-in-guard:{repo:acme/atlas}:%2A:heartbeat:no-text";
    server.cli(&["EVAL", &forged, "1", at]);
    let keys = [beat("no-text"), beat("honest")];
    let records = store.read(&keys).await.unwrap();
    assert!(records.iter().all(Option::is_some), "{records:?}");
    let listed = store
        .scan("*", &SCOPE.parse().unwrap(), Kind::Heartbeat)
        .await;
    assert_eq!(listed.unwrap().len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_read_may_be_of_many_scopes() {
    let server = server_or_skip!();
    let store = server.store();
    let of = |scope: &str, name: &str| of_host(scope, Kind::Fence, name);
    let keys: Vec<_> = (0..700)
        .map(|n| of(["org:a", "org:b", "repo:a/b"][n % 3], &format!("r-{n}")))
        .collect();
    for key in keys.iter().step_by(7) {
        write(&store, key, &key.to_string()).await;
    }
    let records = store.read(&keys).await.unwrap();
    assert_eq!(records.len(), keys.len());
    for (n, (key, record)) in keys.iter().zip(records).enumerate() {
        let written = (n % 7 == 0).then(|| key.to_string());
        assert_eq!(record.map(|record| record.value), written, "{n}");
    }
    let listed = store
        .scan("*", &"org:b".parse().unwrap(), Kind::Fence)
        .await;
    let written = keys
        .iter()
        .step_by(7)
        .filter(|key| key.scope().to_string() == "org:b");
    assert_eq!(listed.unwrap().len(), written.count());
    assert_eq!(read(&store, &key(Kind::Shadow, "r-1")).await.unwrap(), None);
}
