//! The built function under a Lambda of our own: GitHub is a fake that can lie, EC2 and the Parameter Store are a
//! stand-in, and in front of EC2 stands whoever makes it fail.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

#[path = "../../../../tests/dynamodb/moto.rs"]
#[allow(
    dead_code,
    reason = "this crate starts one server, which all tests share"
)]
mod moto;

mod ec2;
mod faults;
mod function;
mod incidents;
mod keeping;
mod many;
mod settings;
mod table;
mod ways_to_kill;
mod world;
