//! Every interleaving of guards, a beacon, GitHub and time, within bounds, over the real fence, beat, heartbeat
//! and engine. What is modelled and what is not stands in docs/verification.md.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)] // a test that cannot go on stops

mod code;
mod configs;
mod guards;
mod mutants;
mod records;
mod search;
mod world;

use code::{Code, Real};
use search::Search;
use world::{Broken, Config};

/// The real code breaks no invariant.
fn holds(config: &Config) {
    let began = tokio::time::Instant::now();
    let explored = Search::new(config, &Real).explore(None);
    let took = began.elapsed().as_secs_f32();
    println!("{}: {explored}, {took:.1} s", config.name);
    for told in explored.broken.values() {
        println!("{told}");
    }
    assert!(explored.broken.is_empty(), "{}", config.name);
}

/// This mutant breaks this invariant, in the same world in which the real code does not.
fn caught(config: &Config, mutant: &dyn Code, invariant: Broken) {
    let explored = Search::new(config, mutant).explore(Some(invariant));
    let told = explored.broken.get(&invariant);
    println!(
        "{}: {}",
        config.name,
        told.map_or("not caught", |told| told)
    );
    assert!(
        told.is_some(),
        "{}: {:?}",
        config.name,
        explored.broken.keys()
    );
}

macro_rules! configurations {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            holds(&configs::$name());
        }
    )* };
}

configurations! {
    redeem_epoch redeem_beacon_dies redeem_jobs retire_epoch
    deregister_jobs deregister_lapse deregister_beacon_dies deregister_lease mixed
}

macro_rules! mutants {
    ($($name:ident: $mutant:ident, $config:ident, $invariant:ident;)*) => { $(
        #[test]
        fn $name() {
            caught(&configs::$config(), &mutants::$mutant, Broken::$invariant);
        }
    )* };
}

mutants! {
    settle_skipped: SettleSkipped, deregister_jobs, KilledAfterDeregistering;
    epoch_not_compared: EpochNotCompared, redeem_epoch, KilledOld;
    terminating_never_lapses: TerminatingNeverLapses, redeem_jobs, NotReclaimed;
    silence_is_vacancy: SilenceIsVacancy, redeem_beacon_dies, KilledOld;
    take_loses: TakeLoses, retire_epoch, KilledOld;
    old_evidence: OldEvidence, deregister_jobs, KilledAfterDeregistering;
    expired_go: ExpiredGo, redeem_jobs, KilledOld;
    expired_delete: ExpiredDelete, deregister_jobs, DeregisteredOld;
}

/// Needs the fifth tick: a drain ends, another one begins and settles, and a permit of the first is still good.
#[test]
fn nonce_not_compared() {
    let mut config = configs::mixed();
    config.bounds.ticks = 5;
    let mutant = mutants::NonceNotCompared;
    caught(&config, &mutant, Broken::KilledAfterDeregistering);
}

macro_rules! no_smaller {
    ($($name:ident: $config:ident, $($window:ident - $ticks:literal),+ => $invariant:ident;)*) => { $(
        #[test]
        fn $name() {
            let mut config = configs::$config();
            $(config.$window -= $ticks;)+
            caught(&config, &Real, Broken::$invariant);
        }
    )* };
}

// What an invariant grants is needed, to the tick: with one tick less the real code breaks it.
no_smaller! {
    the_window_of_the_fence: redeem_epoch, window - 1 => KilledOld;
    the_window_of_a_beacon_that_dies: redeem_beacon_dies, window - 1 => KilledOld;
    the_window_of_the_jobs_view: redeem_jobs, window - 1 => KilledOld;
    the_window_of_retire: retire_epoch, window - 1 => KilledOld;
    the_window_of_delete_by_a_beacon: deregister_lease, delete_window - 1 => DeregisteredOld;
    the_window_of_delete: deregister_jobs, delete_window - 1 => DeregisteredOld;
}

/// What the first invariant supposes is needed, too: where a job shows later than the drain settles, it is killed.
#[test]
fn a_job_that_shows_after_settling() {
    let mut config = configs::deregister_jobs();
    config.jobs_lag = Some(3);
    config.delete_window = 10;
    caught(&config, &Real, Broken::KilledAfterDeregistering);
}

/// The same by a beacon alone: blind window, a report that is late by a tick, and the beacon's time to live are
/// longer than three ticks of settling.
#[test]
fn a_beacon_that_dies_after_settling() {
    let mut config = configs::deregister_lease();
    config.policy.settle = chrono::TimeDelta::seconds(90);
    config.bounds.lost = 1;
    config.delete_window = 10;
    caught(&config, &Real, Broken::KilledAfterDeregistering);
}
