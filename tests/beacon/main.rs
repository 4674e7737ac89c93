//! The beacon on a runner's host, which a stand-in plays: `examples/stand_in_runner.rs`.
#![cfg(target_os = "linux")] // it looks at processes in /proc
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

#[cfg(all(feature = "cli", feature = "testing"))]
mod configured;
#[cfg(all(feature = "cli", feature = "testing"))]
mod deaths;
mod faithful;
#[cfg(all(feature = "cli", feature = "testing"))]
mod fence;
#[cfg(all(feature = "cli", feature = "testing"))]
mod hook;
#[cfg(all(feature = "cli", feature = "testing"))]
mod input;
#[cfg(all(feature = "cli", feature = "testing"))]
mod intake;
#[cfg(all(feature = "cli", feature = "testing"))]
mod jobs;
mod stand_in;
#[cfg(all(feature = "cli", feature = "testing"))]
mod store_away;
#[cfg(all(feature = "cli", feature = "testing"))]
mod world;
