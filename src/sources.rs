//! The library's own witnesses.

mod jobs;
mod neighbours;
mod others;
mod registration;
mod scan;
mod shared;

pub use jobs::{JobsSource, Repositories};
pub use others::Others;
pub use registration::RegistrationSource;
