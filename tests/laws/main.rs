//! The laws of docs/design.md, each as a property over generated evidence. Beside each law stands a
//! planted mutant, a guard that breaks just that law, and its property must catch it.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on stops

mod guards;
mod laws;
mod worlds;
