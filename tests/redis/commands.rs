//! The command line over a Redis: each call is a process of its own.

use crate::server::{Server, fault, free_port, memory, read, server_or_skip, write};
use scale_in_guard::stores::RedisFault;
use std::process::Command;

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn release(store: &str, password: Option<&str>, note: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scale-in-guard"));
    command
        .args(["release", "r-1", "--scope", "org:acme", "--by", "ann"])
        .args(["--note", note, "--store", store])
        .env_remove("SCALE_IN_GUARD_LOG");
    match password {
        Some(password) => command.env("SCALE_IN_GUARD_REDIS_PASSWORD", password),
        None => command.env_remove("SCALE_IN_GUARD_REDIS_PASSWORD"),
    };
    let ran = command.output().expect("the program");
    Ran {
        code: ran.status.code(),
        out: String::from_utf8(ran.stdout).unwrap(),
        err: String::from_utf8(ran.stderr).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_reads_what_another_wrote() {
    let server: Server = server_or_skip!("--requirepass", "open-sesame");
    let url = server.url();
    let first = release(&url, Some("open-sesame"), "first");
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert!(
        first.err.contains("nothing was known of r-1"),
        "{}",
        first.err
    );
    let second = release(
        &format!("redis://:open-sesame@127.0.0.1:{}", server.port),
        None,
        "second",
    );
    assert_eq!(second.code, Some(0), "{}", second.err);
    assert!(
        second.out.contains("first") && second.out.contains("second"),
        "{}",
        second.out
    );
    let wrong = release(&url, Some("guess"), "third");
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.err.contains("SCALE_IN_GUARD_REDIS_PASSWORD"),
        "{}",
        wrong.err
    );
    assert!(!wrong.err.contains("guess"), "{}", wrong.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_forget_records_is_warned_of() {
    let server = server_or_skip!("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru");
    let warned = release(&server.url(), None, "why not");
    assert_eq!(warned.code, Some(0), "{}", warned.err);
    assert!(warned.err.contains("noeviction"), "{}", warned.err);
    assert!(warned.err.contains("allkeys-lru"), "{}", warned.err);
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let quiet = release(&server.url(), None, "why not");
    assert!(!quiet.err.contains("noeviction"), "{}", quiet.err);
}

#[test]
fn a_store_that_cannot_be_named_shows_no_password() {
    for (url, said) in [
        ("redis://:hunter2@localhost:port", "--store"),
        ("redis://:hunter/2@localhost", "%2F"),
        ("rediss+sentinel://:hunter2@localhost", "primary's name"),
        ("dynamodb://guard?secret=hunter2", "alone"),
        ("postgres://me:hunter2@localhost", "sqlite:PATH"),
    ] {
        let ran = release(url, None, "why not");
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains(said), "{url}: {}", ran.err);
        assert!(!ran.err.contains("hunter"), "{url}: {}", ran.err);
    }
    let away = release(
        &format!("redis://localhost:{}", free_port()),
        None,
        "why not",
    );
    assert_eq!(away.code, Some(2));
    assert!(away.err.contains("cannot be reached"), "{}", away.err);
}

/// It begins without its store, and reports when it is there.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_beacon_waits_for_its_redis() {
    use crate::server::{in_the_end, of_host};
    use scale_in_guard::store::Kind;
    let mut server = server_or_skip!();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("runner");
    std::fs::create_dir_all(root.join("_diag")).unwrap();
    let configured =
        r#"{"agentId": 7, "agentName": "r-1", "gitHubUrl": "https://github.com/acme/atlas"}"#;
    std::fs::write(root.join(".runner"), configured).unwrap();
    let line = "[2026-05-14 02:00:00Z INFO Listener] Listening for Jobs\n";
    std::fs::write(root.join("_diag/Runner_20260514-020000-utc.log"), line).unwrap();
    write(&server.store(), &memory("r-1"), "").await;
    server.kill();
    let mut beacon = Command::new(env!("CARGO_BIN_EXE_scale-in-guard"))
        .args([
            "beacon",
            "--interval",
            "1s",
            "--store",
            &server.url(),
            "--runner-root",
        ])
        .arg(&root)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let store = server.store();
    let away = fault(read(&store, &memory("r-1")).await);
    assert!(matches!(away, RedisFault::Unreachable { .. }));
    server.begin_again();
    let beat = of_host("repo:acme/atlas", Kind::Heartbeat, "r-1");
    let heard = in_the_end("a heartbeat", async || read(&store, &beat).await.ok()?).await;
    assert!(heard.value.contains("sequence"), "{}", heard.value);
    beacon.kill().unwrap();
    beacon.wait().unwrap();
}
