//! The whole way out, step by step, on a manual clock: what each call does, and what stops it.
#![cfg(all(feature = "testing", feature = "beacon"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod beacons;
mod deregister;
mod fence;
mod release;
mod silence;
mod stages;
mod together;
mod way;
mod world;
