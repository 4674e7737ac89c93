//! What a fleet costs. `cargo test --release --features redis,testing --test redis -- --ignored --nocapture cost`

use crate::server::{key, server_or_skip};
use scale_in_guard::store::{Kind, Store};
use tokio::time::Instant;

const RUNNERS: usize = 30_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures, and takes a while"]
async fn the_cost_of_thirty_thousand_runners() {
    let server = server_or_skip!();
    let store = std::sync::Arc::new(server.store());
    let used = || {
        let info = server.cli(&["INFO", "memory"]);
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        used.unwrap().trim().parse::<usize>().unwrap()
    };
    // As long as a runner's memory, its heartbeat and its fence are as a rule.
    let kinds = [
        (Kind::Memory, 700),
        (Kind::Heartbeat, 400),
        (Kind::Fence, 150),
    ];
    let before = used();
    let began = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..32 {
        let store = store.clone();
        writers.spawn(async move {
            for n in (writer..RUNNERS).step_by(32) {
                for (kind, length) in kinds {
                    let key = key(kind, &format!("i-06cbe04821c{n:06}"));
                    let swapped = store.swap(&key, None, &"x".repeat(length)).await;
                    let _ = swapped.unwrap();
                }
            }
        });
    }
    writers.join_all().await;
    let (spent, writes) = (began.elapsed(), RUNNERS * kinds.len());
    println!("{writes} swaps by 32 tasks over one connection: {spent:?}");
    println!(
        "memory for each runner: {} bytes",
        (used() - before) / RUNNERS
    );
    let keys: Vec<_> = (0..RUNNERS)
        .flat_map(|n| kinds.map(|(kind, _)| key(kind, &format!("i-06cbe04821c{n:06}"))))
        .collect();
    for _ in 0..5 {
        let began = Instant::now();
        let read = store.read(&keys).await.unwrap();
        assert!(read.iter().all(Option::is_some));
        println!("a read of {} records: {:?}", read.len(), began.elapsed());
    }
    println!("{}", server.cli(&["INFO", "commandstats"]));
    for _ in 0..5 {
        let began = Instant::now();
        let scope = crate::server::SCOPE.parse().unwrap();
        let listed = store
            .scan("api.github.com", &scope, Kind::Memory)
            .await
            .unwrap();
        println!(
            "a listing of {} records among {writes}: {:?}",
            listed.len(),
            began.elapsed()
        );
    }
}
