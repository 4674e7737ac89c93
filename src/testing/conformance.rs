//! Suites that any implementor of a port can run.
//!
//! ```
//! # #[tokio::main(flavor = "multi_thread")] async fn main() {
//! use scale_in_guard::{stores::MemoryStore, testing::conformance};
//!
//! conformance::store(async || MemoryStore::new()).await;
//! # }
//! ```
//!
//! They panic with the promise that was broken. They get longer with time: what they ask for is in the
//! documentation of the ports, but not all that is there has been asked for yet.
#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "this is test code by nature: a broken promise panics, and its message names it"
)]

mod source;
mod store;

pub use source::source;
pub use store::store;
