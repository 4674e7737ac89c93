//! The handler of a lifecycle hook: in process on a manual clock, before AWS's own protocol, and as a built function.
#![cfg(all(feature = "lambda", feature = "testing"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

#[cfg(feature = "aws")]
mod auto_scaling;
#[cfg(all(feature = "aws", feature = "dynamodb", feature = "sqlite"))]
mod function;
mod handler;
#[cfg(all(feature = "aws", feature = "dynamodb", feature = "sqlite"))]
#[path = "../dynamodb/moto.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod moto;
#[cfg(all(feature = "aws", feature = "dynamodb", feature = "sqlite"))]
#[path = "../lambda/process.rs"]
mod process;
#[cfg(feature = "aws")]
mod stand_in;
mod world;
