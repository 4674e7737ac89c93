//! Decides again and again, for a profiler to watch: how long, in how many instructions, with how
//! many allocations. docs/performance.md has the numbers.
//!
//! Run: `cargo run --release --example cost -- 1000000`

#[path = "../benches/ten/mod.rs"]
mod ten;

use chrono::TimeDelta;
use scale_in_guard::{Engine, Memory, Policy, Runner};
use std::{
    error::Error,
    hint::black_box,
    time::{Duration, Instant},
};

#[allow(clippy::disallowed_methods)] // the time it takes is what this is about
fn main() -> Result<(), Box<dyn Error>> {
    let times: u32 = std::env::args()
        .nth(1)
        .map_or(Ok(1_000), |times| times.parse())?;
    let engine = Engine::new(Policy::default())?;
    let runner = Runner::new("i-06cbe04821ccba677", "repo:acme/atlas")?;
    let (start, now) = (ten::start(), ten::start() + TimeDelta::minutes(5));
    for occupied in [true, false] {
        let mut memory = Memory::default();
        let _ = engine.decide(&runner, ten::ten(start, occupied), &mut memory, start);
        let evidence = ten::ten(now, occupied);
        let (mut spent, mut least) = (Duration::ZERO, Duration::MAX);
        for _ in 0..times {
            let (evidence, mut memory) = (evidence.clone(), memory.clone());
            let began = Instant::now();
            let decision = engine.decide(&runner, evidence, &mut memory, now);
            let took = began.elapsed();
            (spent, least) = (spent + took, least.min(took));
            let _ = black_box(decision);
        }
        let verdict = if occupied { "hold" } else { "terminate" };
        println!(
            "{verdict}: mean {:?}, least {least:?}",
            spent / times.max(1)
        );
    }
    Ok(())
}
