//! The library's own witnesses.

mod jobs;
mod neighbours;
mod open_runs;
mod others;
mod registration;
mod shared;

pub use jobs::{JobsSource, Repositories};
pub use others::Others;
pub use registration::RegistrationSource;
