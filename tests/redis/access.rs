//! A user with the least rights: the beacon of one runner, whose host runs what others wrote.

use crate::server::{fault, key, of_host, open, read, server_or_skip, write};
use scale_in_guard::{
    store::{Kind, Store},
    stores::RedisFault,
};

/// The line of docs/stores.md.
const LEAST: &str = "resetchannels -@all +evalsha +hmget +hset +pexpire +time \
    ~scale-in-guard:{repo:acme/atlas}:%2A:heartbeat:r-1 ~scale-in-guard:{repo:acme/atlas}:%2A:fence:r-1";

/// Its line for a guard.
const GUARD: &str = "resetchannels -@all +evalsha +eval +script|load +hmget +hset +pexpire +time +scan +info \
    ~scale-in-guard:*";

const SCOPE: &str = "repo:acme/atlas";

#[test]
fn the_docs_have_the_line_that_is_tested() {
    let docs = include_str!("../../docs/stores.md").split_whitespace();
    let docs = docs.collect::<Vec<_>>().join(" ");
    for line in [LEAST, GUARD] {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(docs.contains(&line), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_needs_no_more_than_its_line() {
    let server = server_or_skip!();
    let rule: Vec<_> = GUARD.split_whitespace().collect();
    let set = ["ACL", "SETUSER", "guard", "on", ">secret"];
    assert_eq!(server.cli(&[&set[..], &rule].concat()), "OK");
    server.cli(&["SET", "of-somebody-else", "1"]);
    let guard = open(&format!("redis://guard:secret@127.0.0.1:{}", server.port));
    write(&guard, &key(Kind::Memory, "r-1"), "first").await;
    write(&guard, &key(Kind::Memory, "r-1"), "second").await;
    server.cli(&["SCRIPT", "FLUSH"]);
    let scope = SCOPE.parse().unwrap();
    let listed = guard.scan("api.github.com", &scope, Kind::Memory).await;
    assert_eq!(listed.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_beacon_of_one_runner_reaches_nothing_else() {
    let server = server_or_skip!();
    let rule: Vec<_> = LEAST.split_whitespace().collect();
    let set = ["ACL", "SETUSER", "beacon-r-1", "on", ">secret"];
    assert_eq!(server.cli(&[&set[..], &rule].concat()), "OK");
    let host = open(&format!(
        "redis://beacon-r-1:secret@127.0.0.1:{}",
        server.port
    ));

    // Until somebody with more rights has told the server our scripts, a host may not.
    let untold = fault(read(&host, &of_host(SCOPE, Kind::Heartbeat, "r-1")).await);
    assert!(matches!(untold, RedisFault::Forbidden(_)), "{untold:?}");

    let guard = server.store();
    let others = [
        of_host(SCOPE, Kind::Heartbeat, "r-2"),
        of_host(SCOPE, Kind::Fence, "r-2"),
        of_host(SCOPE, Kind::Heartbeat, "r-11"),
        of_host(SCOPE, Kind::Memory, "r-1"),
        of_host("org:acme", Kind::Heartbeat, "r-1"),
        key(Kind::Heartbeat, "r-1"),
        key(Kind::Memory, "r-1"),
        key(Kind::Releases, "r-1"),
    ];
    for other in &others {
        write(&guard, other, "not yours").await;
    }
    write(&host, &of_host(SCOPE, Kind::Heartbeat, "r-1"), "alive").await;
    write(&host, &of_host(SCOPE, Kind::Fence, "r-1"), "taken").await;
    for other in &others {
        let refused = fault(read(&host, other).await);
        assert!(
            matches!(refused, RedisFault::Forbidden(_)),
            "{other}: {refused:?}"
        );
        let version = read(&guard, other).await.unwrap().unwrap().version;
        let refused = fault(host.swap(other, Some(version), "mine").await);
        assert!(
            matches!(refused, RedisFault::Forbidden(_)),
            "{other}: {refused:?}"
        );
        assert_eq!(
            read(&guard, other).await.unwrap().unwrap().value,
            "not yours"
        );
    }
    let both = [of_host(SCOPE, Kind::Heartbeat, "r-1"), others[0].clone()];
    let refused = fault(host.read(&both).await);
    assert!(matches!(refused, RedisFault::Forbidden(_)), "{refused:?}");
    let listed = host
        .scan("*", &SCOPE.parse().unwrap(), Kind::Heartbeat)
        .await;
    assert!(matches!(fault(listed), RedisFault::Forbidden(_)));
    // Nor can it keep the server from serving others, or take anything away.
    for words in [
        &["EVAL", "return 1", "0"] as &[&str],
        &["DEL", "scale-in-guard:{repo:acme/atlas}:%2A:fence:r-1"],
        &["KEYS", "*"],
        &["SCRIPT", "FLUSH"],
        &["FLUSHALL"],
        &["CONFIG", "GET", "*"],
        &[
            "HSET",
            "scale-in-guard:{repo:acme/atlas}:%2A:fence:r-2",
            "version",
            "x",
        ],
        &[
            "HMGET",
            "scale-in-guard:{repo:acme/atlas}:%2A:fence:r-2",
            "version",
        ],
        &[
            "PEXPIRE",
            "scale-in-guard:{repo:acme/atlas}:%2A:fence:r-2",
            "1",
        ],
    ] {
        let as_host = [
            "--user",
            "beacon-r-1",
            "--pass",
            "secret",
            "--no-auth-warning",
        ];
        let said = server.cli(&[&as_host[..], words].concat());
        assert!(said.starts_with("NOPERM"), "{words:?}: {said}");
    }
}

#[cfg(feature = "beacon")]
#[tokio::test(flavor = "multi_thread")]
async fn with_that_a_beacon_reports_and_takes_its_fence() {
    use scale_in_guard::{
        Policy,
        beacon::{Reporter, Word},
        clock::{Clock, SystemClock},
        fence::{Fence, State},
        lease::{Heartbeat, HostJob, Report},
    };
    let server = server_or_skip!();
    let rule: Vec<_> = LEAST.split_whitespace().collect();
    let set = ["ACL", "SETUSER", "beacon-r-1", "on", ">secret"];
    assert_eq!(server.cli(&[&set[..], &rule].concat()), "OK");
    let guard = server.store();
    read(&guard, &key(Kind::Memory, "r-1")).await.unwrap();
    let host = open(&format!(
        "redis://beacon-r-1:secret@127.0.0.1:{}",
        server.port
    ));
    let (scope, name, now) = (
        SCOPE.parse().unwrap(),
        "r-1".parse().unwrap(),
        SystemClock.now(),
    );
    let mut reporter = Reporter::new(host, &scope, &name, None, now);
    let mut heartbeat = Heartbeat::new(now);
    let mut word = Word {
        heartbeat: heartbeat.clone(),
        started: false,
        going: false,
    };
    reporter.report(&word, &SystemClock).await.unwrap();
    let job = HostJob::new("8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21");
    heartbeat.hear(Report::Started { job, at: now }, now, &Policy::default());
    word.heartbeat = heartbeat;
    word.started = true;
    reporter.report(&word, &SystemClock).await.unwrap();
    let beat = read(&guard, &of_host(SCOPE, Kind::Heartbeat, "r-1")).await;
    assert!(beat.unwrap().unwrap().value.contains("\"sequence\":2"));
    let fence = read(&guard, &of_host(SCOPE, Kind::Fence, "r-1")).await;
    let fence: Fence = serde_json::from_str(&fence.unwrap().unwrap().value).unwrap();
    assert!(matches!(fence.state(), State::Taken { .. }), "{fence:?}");
}
