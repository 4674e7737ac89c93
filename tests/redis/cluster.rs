//! A cluster of three.

use crate::server::{
    Server, eventually, fault, in_the_end, is_installed, memory, of_host, open, read, value, write,
};
use scale_in_guard::{
    store::{Kind, Store, Swap},
    stores::{RedisFault, RedisStore},
    testing::conformance,
};
use std::process::Command;

struct Cluster(Vec<Server>);

impl Cluster {
    fn start() -> Self {
        let node = |_| {
            Server::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--appendonly",
                "yes",
            ])
        };
        let nodes: Vec<_> = (0..3).map(node).collect();
        let places = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(places)
            .args(["--cluster-replicas", "0", "--cluster-yes"])
            .output();
        let made = made.expect("redis-cli");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stdout)
        );
        let cluster = Self(nodes);
        for node in &cluster.0 {
            eventually("a cluster that is whole", || {
                let info = node.cli(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok").then_some(())
            });
        }
        cluster
    }

    /// By one node alone: it tells of the others.
    fn store(&self) -> RedisStore {
        open(&format!("redis+cluster://127.0.0.1:{}", self.0[0].port))
    }

    fn empty(&self) {
        for node in &self.0 {
            node.cli(&["FLUSHALL"]);
        }
    }

    /// The node that has the records of a scope, another one, and the slot.
    fn home(&self, scope: &str) -> (&Server, &Server, String) {
        let slot = self.0[0].cli(&["CLUSTER", "KEYSLOT", &format!("{{{scope}}}")]);
        let asked = |node: &&Server| {
            !node
                .cli(&["GET", &format!("{{{scope}}}")])
                .contains("MOVED")
        };
        let home = self.0.iter().find(asked).unwrap();
        let other = self.0.iter().find(|node| node.port != home.port).unwrap();
        (home, other, slot)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_promises_of_a_store() {
    if !is_installed() {
        return;
    }
    let cluster = Cluster::start();
    conformance::store(async || {
        cluster.empty();
        cluster.store()
    })
    .await;

    // Records of many scopes are on several nodes.
    let store = cluster.store();
    let of = |n: usize| of_host(&format!("org:o-{n}"), Kind::Fence, "r-1");
    let keys: Vec<_> = (0..30).map(of).collect();
    for key in &keys {
        write(&store, key, &key.to_string()).await;
    }
    let sizes: Vec<_> = cluster.0.iter().map(|node| node.cli(&["DBSIZE"])).collect();
    assert!(sizes.iter().all(|size| size != "0"), "{sizes:?}");
    let records = store.read(&keys).await.unwrap();
    for (key, record) in keys.iter().zip(records) {
        assert_eq!(record.unwrap().value, key.to_string());
    }

    // One node by itself is no server.
    let (home, other, slot) = cluster.home("repo:acme/atlas");
    let alone = fault(read(&other.store(), &memory("r-1")).await);
    assert_eq!(alone, RedisFault::OfCluster);

    // While a scope is being moved, what is where it was and what is not yet anywhere is read and written, and a listing
    // says that it cannot list all.
    let version = write(&store, &memory("stays"), "here").await;
    let id = |node: &Server| node.cli(&["CLUSTER", "MYID"]);
    let migrating = ["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(other)];
    let importing = ["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(home)];
    assert_eq!(
        (other.cli(&importing), home.cli(&migrating)),
        ("OK".into(), "OK".into())
    );
    let swapped = store.swap(&memory("stays"), Some(version), "still").await;
    assert!(matches!(swapped.unwrap(), Swap::Done(_)));
    write(&store, &memory("new"), "there").await;
    assert_eq!(
        value(&store, &memory("new")).await.as_deref(),
        Some("there")
    );
    assert_eq!(
        value(&store, &memory("stays")).await.as_deref(),
        Some("still")
    );
    let scope = "repo:acme/atlas".parse().unwrap();
    let listed = store.scan("api.github.com", &scope, Kind::Memory).await;
    assert!(matches!(fault(listed), RedisFault::Moving(_)));

    // Then it has moved.
    let key = "scale-in-guard:{repo:acme/atlas}:api.github.com:memory:stays";
    let port = other.port.to_string();
    assert_eq!(
        home.cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]),
        "OK"
    );
    for node in [other, home] {
        assert_eq!(
            node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(other)]),
            "OK"
        );
    }
    assert_eq!(
        value(&store, &memory("stays")).await.as_deref(),
        Some("still")
    );
    let listed = store.scan("api.github.com", &scope, Kind::Memory).await;
    assert_eq!(listed.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_takes_its_scopes_away_and_no_others() {
    if !is_installed() {
        return;
    }
    let mut cluster = Cluster::start();
    let asked: Vec<_> = cluster
        .0
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.port))
        .collect();
    for node in &cluster.0 {
        node.cli(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let store = open(&format!("redis+cluster://{}", asked.join(",")));
    let home = cluster.home("repo:acme/atlas").0.port;
    let place = cluster.0.iter().position(|node| node.port == home).unwrap();
    let elsewhere = (0..).map(|n| format!("org:o-{n}"));
    let elsewhere = elsewhere.map(|scope| (cluster.home(&scope).0.port, scope));
    let (_, elsewhere) = elsewhere
        .into_iter()
        .find(|(port, _)| *port != home)
        .unwrap();
    let other = of_host(&elsewhere, Kind::Fence, "r-1");
    write(&store, &memory("r-1"), "kept").await;
    write(&store, &other, "kept").await;
    cluster.0[place].kill();
    assert!(read(&store, &memory("r-1")).await.is_err());
    in_the_end("the others go on", async || read(&store, &other).await.ok()).await;
    cluster.0[place].begin_again();
    let kept = in_the_end("it comes back", async || {
        read(&store, &memory("r-1")).await.ok()
    })
    .await;
    assert_eq!(kept.unwrap().value, "kept");
}
