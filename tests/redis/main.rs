//! The Redis store against real servers, each started here on loopback.
#![cfg(all(feature = "redis", feature = "testing"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on should say where"
)]

mod access;
mod cluster;
#[cfg(feature = "cli")]
mod commands;
mod cost;
mod cut;
mod guard;
mod promises;
mod sentinel;
mod server;
mod tls;
mod trouble;
