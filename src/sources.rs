//! The library's own witnesses.

mod jobs;
mod registration;
mod shared;

pub use jobs::{JobsSource, Repositories};
pub use registration::RegistrationSource;
