//! The beacon on a runner's host, which a stand-in plays: `examples/stand_in_runner.rs`.
#![cfg(target_os = "linux")] // it looks at processes in /proc
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod faithful;
mod stand_in;
