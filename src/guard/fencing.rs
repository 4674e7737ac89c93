//! One step of a fence: read it, decide, write it if nobody else did, and again otherwise.

use super::{Guard, TO_REMEMBER};
use crate::{
    clock::Deadline,
    fence::{Fence, FenceRefused, Nonce},
    permit::Refused,
    records::{ATTEMPTS, Kept},
    runner::Runner,
    store::{Kind, StoreError, Swap},
};
use chrono::TimeDelta;
use std::sync::Arc;
use thiserror::Error;
use uuid::Uuid;

/// Why a step was not made.
#[derive(Debug, Clone, Error)]
pub(super) enum NoStep {
    #[error(transparent)]
    Refused(#[from] FenceRefused),
    /// It may have been made.
    #[error("{0}")]
    Unwritten(Arc<str>),
}

impl From<StoreError> for NoStep {
    fn from(error: StoreError) -> Self {
        Self::Unwritten(error.to_string().into())
    }
}

impl From<NoStep> for Refused {
    fn from(no_step: NoStep) -> Self {
        match no_step {
            NoStep::Refused(refused) => refused.into(),
            NoStep::Unwritten(what) => Self::Unwritten { what },
        }
    }
}

/// A name that no drain ever had.
pub(super) fn new_nonce() -> Nonce {
    Nonce::new(Uuid::new_v4().to_string())
}

impl Guard {
    /// Makes one step, for which it waits for the store for a second: `step` is given the fence, and how long ago it
    /// was written.
    pub(super) async fn step(
        &self,
        runner: &Runner,
        step: impl Fn(&Fence, TimeDelta) -> Result<Fence, FenceRefused>,
    ) -> Result<(), NoStep> {
        let deadline = Deadline::within(TO_REMEMBER);
        self.step_by(deadline, runner, step).await
    }

    async fn step_by(
        &self,
        deadline: Deadline,
        runner: &Runner,
        step: impl Fn(&Fence, TimeDelta) -> Result<Fence, FenceRefused>,
    ) -> Result<(), NoStep> {
        let made = deadline.meet(self.step_in_any_time(runner, step)).await;
        made.unwrap_or_else(|late| {
            let store = self.inner.records.describe();
            Err(NoStep::Unwritten(format!("{store}: {late}").into()))
        })
    }

    /// Ends a drain. What cannot be written lapses by itself.
    pub(super) async fn close(&self, runner: &Runner, close: impl Fn(&Fence) -> Fence) {
        if let Err(error) = self.step(runner, |fence, _| Ok(close(fence))).await {
            tracing::warn!(runner = %runner.name, %error, "could not end the drain; it lapses by itself");
        }
    }

    /// Begins a fence anew whose record could not be read. If that fails, the next look tries again.
    pub(super) async fn begin_fence_anew(&self, runner: &Runner, deadline: Deadline) {
        let nothing = |fence: &Fence, _| Ok(fence.clone());
        if let Err(error) = self.step_by(deadline, runner, nothing).await {
            tracing::warn!(runner = %runner.name, %error, "the fence is begun anew");
        }
    }

    async fn step_in_any_time(
        &self,
        runner: &Runner,
        step: impl Fn(&Fence, TimeDelta) -> Result<Fence, FenceRefused>,
    ) -> Result<(), NoStep> {
        let records = &self.inner.records;
        let key = records.of_host(&runner.scope, Kind::Fence, &runner.name);
        for _ in 0..ATTEMPTS {
            let Kept {
                value: fence,
                over,
                age,
                lost,
            } = records.read_one::<Fence>(&key).await?;
            if let Some(what) = lost {
                // Begun anew, as one that a job took: nothing that is out counts.
                let anew = fence.release();
                let _ = records.write(&key, &over, &anew).await?;
                return Err(NoStep::Unwritten(what.into()));
            }
            let next = step(&fence, age)?;
            if next == fence {
                return Ok(());
            }
            if let Swap::Done(_) = records.write(&key, &over, &next).await? {
                return Ok(());
            }
        }
        Err(records.contended().into())
    }
}
