//! The mission's second incident, as `examples/burst` tells it: whoever asks the gate first loses no runner.

#![cfg(feature = "testing")]

#[path = "../examples/burst/story.rs"]
mod story;

use story::{Burst, SPAWNS, Shim, play};

#[test]
fn nobody_dies_and_no_slot_is_lost_at_a_twentieth_of_the_requests() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    for burst in [Burst::Calls, Burst::Stretches] {
        for seed in [4399, 1, 2] {
            let naive = runtime.block_on(play(Shim::Naive, burst, seed)).unwrap();
            let gated = runtime.block_on(play(Shim::Gated, burst, seed)).unwrap();
            let row = format!("{burst:?}, seed {seed}: {naive:?} {gated:?}");
            assert!(naive.dead > SPAWNS / 3, "{row}");
            assert_eq!(naive.phantoms, naive.dead, "{row}");
            assert_eq!(naive.token_requests, 200, "{row}");
            assert_eq!((gated.dead, gated.phantoms), (0, 0), "{row}");
            assert!(gated.token_requests * 20 <= naive.token_requests, "{row}");
            assert!(gated.last_registered.is_some(), "{row}");
        }
    }
}
