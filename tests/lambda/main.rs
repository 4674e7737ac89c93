//! The shims in an autoscaler's own Lambda: their handlers, on a manual clock, over a fake GitHub.
#![cfg(all(feature = "lambda", feature = "testing"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

#[cfg(all(feature = "aws", feature = "dynamodb", feature = "sqlite"))]
mod functions;
#[cfg(all(feature = "aws", feature = "dynamodb", feature = "sqlite"))]
#[path = "../dynamodb/moto.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod moto;
mod naming;
mod phantoms;
#[cfg(all(feature = "aws", feature = "dynamodb", feature = "sqlite"))]
mod process;
mod simulation;
mod trouble;
mod world;
