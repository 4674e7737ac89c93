//! The shims in an autoscaler's own Lambda: their handlers, on a manual clock, over a fake GitHub.
#![cfg(all(feature = "lambda", feature = "testing"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod naming;
mod phantoms;
mod simulation;
mod trouble;
mod world;
