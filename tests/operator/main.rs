//! What an operator does and sees: pins, histories, status, desyncs.
#![cfg(feature = "testing")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod cost;
mod history;
mod pins;
mod status;
mod world;
