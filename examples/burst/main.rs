//! The mission's second incident: 502 on the endpoint of registration tokens while 200 runners spawn. Two shims side
//! by side.
//!
//! `cargo run --features testing --example burst -- [SEED]`

mod story;

use story::{Burst, Outcome, SPAWNS, Shim, play};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = std::env::args()
        .nth(1)
        .map_or(Ok(4399), |seed| seed.parse());
    let seed: u64 = seed.map_err(|error| format!("SEED: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    println!("{SPAWNS} runners spawn within a second; seed {seed}");
    for (burst, title) in [
        (Burst::Calls, "502 for 60 % of the calls"),
        (
            Burst::Stretches,
            "nothing but 502 in stretches of 10 to 20 s, 60 % of the time",
        ),
    ] {
        let naive = runtime.block_on(play(Shim::Naive, burst, seed))?;
        let gated = runtime.block_on(play(Shim::Gated, burst, seed))?;
        println!("\n{title}");
        println!("{:<42}{:>12}{:>12}", "", "naive", "gated");
        let row = |what: &str, of: fn(&Outcome) -> String| {
            println!("{what:<42}{:>12}{:>12}", of(&naive), of(&gated));
        };
        row("spawns that died", |told| told.dead.to_string());
        row("slots held by phantoms after 15 minutes", |told| {
            told.phantoms.to_string()
        });
        row("requests for registration tokens", |told| {
            told.token_requests.to_string()
        });
        row("until the last runner had registered", |told| {
            told.last_registered.map_or("never".to_owned(), |span| {
                format!("{:.1} s", span.as_secs_f64())
            })
        });
    }
    Ok(())
}
