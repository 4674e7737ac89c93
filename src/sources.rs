//! The library's own witnesses.

mod jobs;
mod registration;
mod scan;
mod shared;

pub use jobs::{JobsSource, Repositories};
pub use registration::RegistrationSource;
