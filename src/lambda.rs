//! The guard in the autoscaler's own AWS Lambda: what the shims read and log, and their handlers.
//!
//! A binary is `lambda_runtime::run` of one of these handlers; `examples/` has them, `docs/lambda.md` tells how to deploy
//! them.

mod log;
mod settings;

pub use log::log_as_json;
pub use settings::{Settings, SettingsError};
