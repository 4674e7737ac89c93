//! The fake GitHub: its truth, its view, and its faults.
#![cfg(feature = "testing")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say where"
)]

mod answers;
mod apps;
mod etags;
mod faults;
mod paging;
mod permissions;
mod registration;
#[path = "../contract/schema.rs"]
mod schema;
mod truth;
mod view;
mod world;
