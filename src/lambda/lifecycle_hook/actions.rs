//! The actions that a group waits for, and what can be said about them.

use crate::instance::InstanceId;
use async_trait::async_trait;
use serde::Deserialize;
use std::fmt;
use thiserror::Error;

/// An instance that a group is about to terminate, and that waits for this action to be completed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct LifecycleAction {
    /// The group.
    #[serde(rename = "AutoScalingGroupName")]
    pub group: String,
    /// Its hook.
    #[serde(rename = "LifecycleHookName")]
    pub hook: String,
    /// The instance.
    #[serde(rename = "EC2InstanceId")]
    pub instance: InstanceId,
    /// Which of the hook's actions for this instance it is. Without it the instance names it.
    #[serde(rename = "LifecycleActionToken", default)]
    pub token: Option<String>,
}

/// Whether there was still something to say about an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionState {
    /// The group waited for it, and has heard what was said.
    Active,
    /// It is over: it was completed before, or its time ran out, and the group has gone on.
    Over,
}

/// Why nobody knows whether a group has heard what was said about an action.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{doing} of the hook {hook} of {group} for {instance}: {said}")]
pub struct HookError {
    doing: &'static str,
    hook: String,
    group: String,
    instance: InstanceId,
    said: String,
}

impl HookError {
    /// That this came to nothing: `doing` is such as `completing the action`, `said` is what came back.
    pub fn new(doing: &'static str, action: &LifecycleAction, said: impl Into<String>) -> Self {
        Self {
            doing,
            hook: action.hook.clone(),
            group: action.group.clone(),
            instance: action.instance.clone(),
            said: said.into(),
        }
    }
}

/// The lifecycle hooks of Auto Scaling groups. A port: `AutoScalingHooks` (feature `aws`) is AWS's.
#[async_trait]
pub trait LifecycleHooks: fmt::Debug + Send + Sync {
    /// Lets the group wait on, for the hook's heartbeat timeout from now.
    ///
    /// # Errors
    /// [`HookError`] when nobody knows whether it will.
    async fn heartbeat(&self, action: &LifecycleAction) -> Result<ActionState, HookError>;

    /// Lets the group go on: it terminates the instance.
    ///
    /// # Errors
    /// [`HookError`] when nobody knows whether it has heard that.
    async fn complete(&self, action: &LifecycleAction) -> Result<ActionState, HookError>;
}
