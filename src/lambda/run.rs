//! The whole of a function's `main`.

use super::{Handler, log_as_json};
use lambda_runtime::Error;
use std::process::ExitCode;

/// Begins the [log](log_as_json), makes the handler, and hands it what the function is sent, until AWS ends it. What
/// keeps it from starting is logged, and the function ends: AWS starts it anew with the next event.
pub async fn run(handler: impl Future<Output = Result<Handler, Error>>) -> ExitCode {
    log_as_json();
    let ended = match handler.await {
        Ok(handler) => lambda_runtime::run(handler).await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the function ends");
            ExitCode::FAILURE
        }
    }
}
