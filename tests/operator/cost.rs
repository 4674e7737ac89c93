//! What a sweep asks of the store.

use crate::world::*;
use scale_in_guard::{Runner, store::Kind};

const FLEET: usize = 1_000;

/// Sweeps once, and gives the writes of memories and of histories, the reads and the keys that were read.
async fn swept(world: &World, guard: &scale_in_guard::Guard) -> [usize; 4] {
    world.store.forget();
    let fleet: Vec<Runner> = (0..FLEET)
        .map(|count| {
            runner(&format!("r-{count}")).launched_at(start() - chrono::TimeDelta::hours(1))
        })
        .collect();
    let mut sweep = guard.sweep(fleet);
    while sweep.next().await.is_some() {}
    let (reads, keys) = world.store.reads();
    let writes = |kind| world.store.writes_of(kind);
    [writes(Kind::Memory), writes(Kind::History), reads, keys]
}

#[tokio::test(start_paused = true)]
async fn a_sweep_in_which_nothing_changes_costs_one_read_and_no_write_of_histories() {
    for keeps in [false, true] {
        let world = World::new();
        world.shows(false, &["linux"]);
        let guard = world.builder().history(keeps).build().unwrap();
        let first = swept(&world, &guard).await;
        world.later(1);
        let second = swept(&world, &guard).await;
        println!("history({keeps}): {first:?}, then {second:?}");
        let histories = if keeps { FLEET } else { 0 };
        assert!(
            (histories..=histories + 64).contains(&first[1]),
            "{first:?}"
        );
        assert_eq!(first[0], FLEET);
        // One read of the memories, heartbeats and fences, with two of pins.
        assert_eq!(second, [0, 0, 1, 3 * FLEET + 2]);
    }
}

/// Prints what a sweep takes in a SQLite file, in which every decision is another one; and how large a history is.
#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_sweep_takes_with_and_without_histories_in_sqlite() {
    use scale_in_guard::{guard::histories, stores::SqliteStore};
    for keeps in [false, true] {
        let world = World::new();
        let folder = tempfile::tempdir().unwrap();
        let file = std::sync::Arc::new(SqliteStore::open(folder.path().join("m.sqlite")).unwrap());
        let guard = world.builder().store(file.clone()).history(keeps);
        let guard = guard.build().unwrap();
        let mut times = Vec::new();
        for round in 0..6 {
            world.shows(round % 2 == 0, &["linux"]);
            let fleet: Vec<Runner> = (0..FLEET).map(|at| runner(&format!("r-{at}"))).collect();
            let began = tokio::time::Instant::now();
            let mut sweep = guard.sweep(fleet);
            let mut decided = 0;
            while sweep.next().await.is_some() {
                decided += 1;
            }
            assert_eq!(decided, FLEET);
            times.push(began.elapsed());
            world.clock.advance(chrono::TimeDelta::seconds(5));
        }
        let kept = histories(file, API, &scope()).await.unwrap();
        let size = kept.first().map_or(0, |(_, kept)| {
            serde_json::to_string(kept).unwrap().len() / kept.decisions.len()
        });
        println!("history({keeps}): {times:?}; {size} bytes a decision");
        assert_eq!(kept.len(), if keeps { FLEET } else { 0 });
    }
}
