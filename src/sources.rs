//! The library's own witnesses.

mod jobs;
mod neighbours;
mod registration;
mod scan;
mod shared;

pub use jobs::{JobsSource, Repositories};
pub use registration::RegistrationSource;
