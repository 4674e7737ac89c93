//! What the handlers share: an event comes in, and an answer goes out in time, whatever happens.

use crate::clock::{Clock, SystemClock};
use lambda_runtime::{Context, Error, LambdaEvent, tower::Service};
use serde_json::Value;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Poller, Poll},
    time::Duration,
};

/// No deadline is before this, in milliseconds: it is of 2001. cargo-lambda's emulator gives none, but how long an
/// invocation may take.
const FIRST_DEADLINE: u64 = 1_000_000_000_000;

/// How long there is until the deadline of an invocation; nothing once it has passed.
#[must_use]
pub fn time_left(context: &Context) -> Duration {
    let left = match context.deadline < FIRST_DEADLINE {
        true => context.deadline,
        false => {
            let now = u64::try_from(SystemClock.now().timestamp_millis());
            context.deadline.saturating_sub(now.unwrap_or(u64::MAX))
        }
    };
    Duration::from_millis(left)
}

/// A handler's work: an event and the time that there is for it; then the answer.
type Work = dyn Fn(Value, Duration) -> Pin<Box<dyn Future<Output = Result<Value, Error>> + Send>>
    + Send
    + Sync;

/// A function for [`lambda_runtime::run`]. Cheap to clone; clones are one handler.
#[derive(Clone)]
pub struct Handler {
    name: &'static str,
    longest: Option<Duration>,
    margin: Duration,
    work: Arc<Work>,
}

impl Handler {
    pub(super) fn new<W, F>(name: &'static str, margin: Duration, work: W) -> Self
    where
        W: Fn(Value, Duration) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, Error>> + Send + 'static,
    {
        Self {
            name,
            longest: None,
            margin,
            work: Arc::new(move |event, left| Box::pin(work(event, left))),
        }
    }

    /// The same, for a caller that waits for so long and no longer.
    pub(super) fn within(self, longest: Duration) -> Self {
        Self {
            longest: Some(longest),
            ..self
        }
    }

    /// How long there is for an invocation, less the margin.
    fn time_for(&self, context: &Context) -> Duration {
        let left = time_left(context);
        let left = self.longest.map_or(left, |longest| left.min(longest));
        left.saturating_sub(self.margin)
    }
}

impl Service<LambdaEvent<Value>> for Handler {
    type Response = Value;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Value, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<Value>) -> Self::Future {
        let left = self.time_for(&event.context);
        let request = &event.context.request_id;
        tracing::debug!(handler = self.name, request, ?left, "invoked");
        (self.work)(event.payload, left)
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time_for(deadline: u64) -> Duration {
        let margin = Duration::from_secs(1);
        let handler = Handler::new("test", margin, |event, _| async { Ok(event) });
        let mut context = Context::default();
        context.deadline = deadline;
        handler.within(Duration::from_secs(3600)).time_for(&context)
    }

    #[test]
    fn the_time_is_what_is_left_before_the_deadline() {
        let now = u64::try_from(SystemClock.now().timestamp_millis()).unwrap();
        let left = time_for(now + 60_000);
        assert!(left > Duration::from_secs(30) && left <= Duration::from_secs(59));
        for (deadline, left) in [
            (now - 1, 0),
            (now + 7_200_000, 3599),
            (600_000, 599),
            (0, 0),
            (u64::MAX, 3599),
        ] {
            assert_eq!(time_for(deadline), Duration::from_secs(left), "{deadline}");
        }
    }
}
