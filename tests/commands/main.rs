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
#[cfg(feature = "testing")]
mod ghosts;
mod hook;
#[cfg(feature = "testing")]
mod jit_config;
#[cfg(feature = "testing")]
mod operator;
#[cfg(feature = "testing")]
mod phantoms;
#[cfg(feature = "testing")]
mod registration_token;
mod replay;
mod retire;
#[cfg(feature = "testing")]
mod sweep;
#[cfg(feature = "testing")]
mod webhooks;
