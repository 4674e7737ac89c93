//! The log of a shim, as CloudWatch Logs reads it best.

use std::io;
use tracing_subscriber::EnvFilter;

/// What is logged, as `SCALE_IN_GUARD_LOG` says it.
pub(super) const LOG: &str = "SCALE_IN_GUARD_LOG";

/// Logs to standard output from now on, one JSON object a line: what `SCALE_IN_GUARD_LOG` lets through, `info` by
/// default. Where the program logs already, nothing changes.
pub fn log_as_json() {
    let filter = EnvFilter::try_from_env(LOG).unwrap_or_else(|_| EnvFilter::new("info"));
    // The other one that was begun stays.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(io::stdout)
        .try_init();
}

/// Whether that can be such a filter.
pub(super) fn is_filter(text: &str) -> bool {
    EnvFilter::try_new(text).is_ok()
}
