//! A primary that a sentinel names, and a failover.

use crate::server::{
    Server, eventually, fault, free_port, in_the_end, memory, open, read, server_or_skip, value,
    write,
};
use scale_in_guard::{
    store::{Store, Swap},
    stores::RedisFault,
};
use std::{
    fs,
    process::{Child, Command, Stdio},
};

struct Sentinel {
    child: Child,
    port: u16,
}

impl Sentinel {
    fn start(primary: &Server) -> Self {
        let (port, watched) = (free_port(), primary.port);
        let file = primary.path("sentinel.conf");
        let folder = primary.folder().display();
        let lines = format!(
            "port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor guards 127.0.0.1 {watched} 1\n\
             sentinel down-after-milliseconds guards 1000\nsentinel failover-timeout guards 3000\n"
        );
        fs::write(&file, lines).unwrap();
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .spawn();
        let sentinel = Self {
            child: child.unwrap(),
            port,
        };
        eventually("a sentinel", || {
            (sentinel.cli(&["PING"]) == "PONG").then_some(())
        });
        sentinel
    }

    fn cli(&self, words: &[&str]) -> String {
        let said = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(words)
            .output();
        String::from_utf8_lossy(&said.unwrap().stdout)
            .trim_end()
            .to_owned()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_the_primary_through_a_failover() {
    let first = server_or_skip!();
    let port = first.port.to_string();
    let second = Server::start(&["--replicaof", "127.0.0.1", &port]);
    eventually("a replica that is in step", || {
        let info = second.cli(&["INFO", "replication"]);
        info.contains("master_link_status:up").then_some(())
    });
    let sentinel = Sentinel::start(&first);
    let url = |name: &str| {
        let dead = free_port();
        format!(
            "redis+sentinel://127.0.0.1:{dead},127.0.0.1:{}/{name}",
            sentinel.port
        )
    };
    let unknown = fault(read(&open(&url("others")), &memory("r-1")).await);
    assert!(matches!(unknown, RedisFault::NoPrimary(_)), "{unknown:?}");
    let store = open(&url("guards"));
    let version = write(&store, &memory("r-1"), "before").await;
    let replica = second.store();
    let replica = fault(replica.swap(&memory("r-1"), Some(version), "x").await);
    assert!(matches!(replica, RedisFault::NoPrimary(_)), "{replica:?}");
    eventually("a sentinel that knows the replica", || {
        sentinel
            .cli(&["SENTINEL", "replicas", "guards"])
            .contains(&second.port.to_string())
            .then_some(())
    });
    eventually("a failover", || {
        (sentinel.cli(&["SENTINEL", "failover", "guards"]) == "OK").then_some(())
    });
    eventually("another primary", || {
        second.cli(&["ROLE"]).starts_with("master").then_some(())
    });
    // Until it is told, the former primary takes writes, which are lost.
    eventually("the end of the former one", || {
        first.cli(&["ROLE"]).starts_with("slave").then_some(())
    });
    let swapped = in_the_end("the store finds it", async || {
        let kept = read(&store, &memory("r-1")).await.ok()??;
        assert_eq!(kept.value, "before");
        store
            .swap(&memory("r-1"), Some(kept.version), "after")
            .await
            .ok()
    })
    .await;
    assert!(matches!(swapped, Swap::Done(_)));
    assert_eq!(
        value(&second.store(), &memory("r-1")).await.as_deref(),
        Some("after")
    );
    assert_eq!(
        value(&store, &memory("r-1")).await.as_deref(),
        Some("after")
    );
}
