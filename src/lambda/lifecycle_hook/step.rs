//! What was done about an action, for the answer and the log.

use super::{ActionState, HookError, LifecycleAction, event::Unreadable};
use crate::clock::Late;
use serde_json::{Value, json};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Did {
    /// The group goes on.
    Completed,
    /// The group waits on.
    Heartbeat,
    /// The group had gone on before.
    Over,
    /// Nothing: it is none of ours.
    Ignored,
    /// Nobody knows.
    Failed,
}

impl Did {
    /// This, if the group has heard it.
    pub(super) fn if_done(
        self,
        done: Result<Result<ActionState, HookError>, Late>,
        why: String,
    ) -> (Self, String) {
        match done {
            Ok(Ok(ActionState::Active)) => (self, why),
            Ok(Ok(ActionState::Over)) => (Self::Over, why),
            Ok(Err(error)) => (Self::Failed, format!("{why}; {error}")),
            Err(late) => (Self::Failed, format!("{why}; then {late} from the group")),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "complete",
            Self::Heartbeat => "heartbeat",
            Self::Over => "over",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
        }
    }
}

/// What was done about one event, and why.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) action: Option<LifecycleAction>,
    pub(super) did: Did,
    pub(super) reason: String,
}

impl Step {
    pub(super) fn of(action: LifecycleAction, did: Did, reason: String) -> Self {
        Self {
            action: Some(action),
            did,
            reason,
        }
    }

    pub(super) fn ignored(why: &str) -> Self {
        Self {
            action: None,
            did: Did::Ignored,
            reason: why.to_owned(),
        }
    }

    pub(super) fn unreadable(why: &Unreadable) -> Self {
        Self {
            action: None,
            did: Did::Failed,
            reason: why.to_string(),
        }
    }

    /// Whether somebody must ask again.
    pub(super) fn is_unfinished(&self) -> bool {
        matches!(self.did, Did::Heartbeat | Did::Failed)
    }

    pub(super) fn instance(&self) -> Option<&str> {
        self.action.as_ref().map(|action| action.instance.as_str())
    }

    pub(super) fn shown(&self) -> Value {
        json!({
            "instance": self.instance(),
            "action": self.did.as_str(),
            "reason": self.reason,
        })
    }

    pub(super) fn log(&self) {
        let (instance, did, reason) = (self.instance(), self.did.as_str(), &self.reason);
        let group = self.action.as_ref().map(|action| &*action.group);
        let hook = self.action.as_ref().map(|action| &*action.hook);
        match self.did {
            Did::Failed => {
                tracing::error!(
                    instance,
                    group,
                    hook,
                    action = did,
                    reason,
                    "lifecycle_hook"
                );
            }
            // It may have happened under a job.
            Did::Over => {
                tracing::warn!(
                    instance,
                    group,
                    hook,
                    action = did,
                    reason,
                    "lifecycle_hook"
                );
            }
            Did::Completed | Did::Heartbeat | Did::Ignored => {
                tracing::info!(
                    instance,
                    group,
                    hook,
                    action = did,
                    reason,
                    "lifecycle_hook"
                );
            }
        }
    }
}
