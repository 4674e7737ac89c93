//! DynamoDB, which moto plays: `python3 -m pip install 'moto[server]==5.2.5'`. It enforces no IAM policy, no limit on
//! throughput and no time to live; `docs/stores-dynamodb.md` says what that leaves unshown.
#![cfg(all(feature = "dynamodb", feature = "testing"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod away;
#[cfg(feature = "beacon")]
mod beacon;
mod moto;
mod promises;
mod proxy;
mod refusals;
mod sizes;
mod unanswered;
mod world;
