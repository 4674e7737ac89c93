//! The command, as a user runs it.
#![cfg(feature = "cli")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

#[cfg(feature = "testing")]
mod check;
#[cfg(feature = "testing")]
mod deployment;
mod hook;
mod phantoms;
mod registration_token;
mod replay;
mod retire;
#[cfg(feature = "testing")]
mod sweep;
