//! Scheduled scale-down.
#![allow(dead_code)]
mod cloud;
mod idle;
mod settings;
fn main() {}
