//! What may be tried again, and how soon.

use aws_sdk_dynamodb::config::{
    interceptors::InterceptorContext,
    retry::{ClassifyRetry, RetryAction, RetryConfig},
    timeout::TimeoutConfig,
};
use std::time::Duration;

/// How often a request is sent at the most.
pub(super) const TRIES: u32 = 3;

/// How long to wait before the second try, on average half of it. Before the third it is twice that.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How long to wait for a connection, for an answer, and for all tries together; `given` comes first.
pub(super) fn timeouts(given: Option<&TimeoutConfig>) -> TimeoutConfig {
    let ours = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(3))
        .build();
    let Some(mut timeouts) = given.cloned() else {
        return ours;
    };
    timeouts.take_defaults_from(&ours);
    timeouts
}

pub(super) fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(TRIES)
        .with_initial_backoff(PAUSE)
        .with_max_backoff(Duration::from_millis(500))
}

/// A write is tried again only where DynamoDB refused it, so that it is certain that it was not done: a second try that
/// meets what the first one wrote would tell of somebody else who wrote first. Where no answer came, nobody knows.
#[derive(Debug)]
pub(super) struct OnlyIfRefused;

impl ClassifyRetry for OnlyIfRefused {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let refused = |status: u16| (400..500).contains(&status);
        match context.response() {
            Some(response) if refused(response.status().as_u16()) => RetryAction::NoActionIndicated,
            _ => RetryAction::RetryForbidden,
        }
    }

    fn name(&self) -> &'static str {
        "OnlyIfRefused"
    }
}
