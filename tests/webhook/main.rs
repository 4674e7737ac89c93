//! Webhooks: signatures, payloads, the ledger through a store, and what a guard makes of it.
#![cfg(all(feature = "webhook", feature = "sqlite", feature = "testing"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on should say where"
)]

#[cfg(feature = "cli")]
mod command;
mod delivery;
mod guard;
mod ledger;
mod pruning;
mod receiver;
mod record;
mod signature;
mod world;
