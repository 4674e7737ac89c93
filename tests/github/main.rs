//! The guard over GitHub's own witnesses, against a GitHub that can lag, lie, drift, refuse and break off.
#![cfg(feature = "testing")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod app;
mod contract;
mod cost;
mod faults;
mod ghosts;
mod jit;
mod jobs;
mod limits;
mod log;
mod machines;
mod names;
mod outage;
mod phantoms;
mod refusals;
mod registration;
mod retire;
#[path = "../contract/schema.rs"]
mod schema;
mod select;
mod silent_lists;
mod simulation;
mod tokens;
mod world;
