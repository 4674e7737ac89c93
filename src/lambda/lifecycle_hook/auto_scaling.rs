//! The lifecycle hooks of EC2 Auto Scaling.

use super::{ActionState, HookError, LifecycleAction, LifecycleHooks};
use async_trait::async_trait;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_autoscaling::{
    Client, config,
    config::timeout::TimeoutConfig,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};
use std::{error::Error, fmt, time::Duration};

/// How long one request may take, with its retries: no longer than the right to terminate lasts.
const WITHIN: Duration = Duration::from_secs(3);

/// How long each try of it may take.
const EACH: Duration = Duration::from_millis(1500);

/// What AWS answers, as a `ValidationError`, about an action that is over.
const OVER: &str = "No active Lifecycle Action found";

/// The lifecycle hooks of EC2 Auto Scaling. It needs the permissions `autoscaling:CompleteLifecycleAction` and
/// `autoscaling:RecordLifecycleActionHeartbeat` on the groups. Each request has 3 s, with its retries.
#[derive(Clone)]
pub struct AutoScalingHooks(Client);

impl AutoScalingHooks {
    /// With the credentials and the region of the environment, as every AWS tool finds them.
    pub async fn from_env() -> Self {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12());
        Self::new(&config.load().await)
    }

    /// With this configuration: its region, credentials and endpoint.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(WITHIN)
            .operation_attempt_timeout(EACH)
            .build();
        let config = config::Builder::from(config).timeout_config(timeouts);
        Self(Client::from_conf(config.build()))
    }
}

impl fmt::Debug for AutoScalingHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoScalingHooks").finish_non_exhaustive()
    }
}

#[async_trait]
impl LifecycleHooks for AutoScalingHooks {
    async fn heartbeat(&self, action: &LifecycleAction) -> Result<ActionState, HookError> {
        let sent = self
            .0
            .record_lifecycle_action_heartbeat()
            .auto_scaling_group_name(&action.group)
            .lifecycle_hook_name(&action.hook)
            .set_lifecycle_action_token(action.token.clone())
            .set_instance_id(instance(action))
            .send();
        state(sent.await, "recording a heartbeat", action)
    }

    async fn complete(&self, action: &LifecycleAction) -> Result<ActionState, HookError> {
        let sent = self
            .0
            .complete_lifecycle_action()
            .auto_scaling_group_name(&action.group)
            .lifecycle_hook_name(&action.hook)
            .lifecycle_action_result("CONTINUE")
            .set_lifecycle_action_token(action.token.clone())
            .set_instance_id(instance(action))
            .send();
        state(sent.await, "completing the action", action)
    }
}

/// The instance, where no token names the action.
fn instance(action: &LifecycleAction) -> Option<String> {
    action.token.is_none().then(|| action.instance.to_string())
}

fn state<T, E, R>(
    answer: Result<T, SdkError<E, R>>,
    doing: &'static str,
    action: &LifecycleAction,
) -> Result<ActionState, HookError>
where
    E: ProvideErrorMetadata + Error + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    let error = match answer {
        Ok(_) => return Ok(ActionState::Active),
        Err(error) => error,
    };
    let told = error.as_service_error().map(ProvideErrorMetadata::meta);
    let said = told.and_then(|meta| meta.message()).unwrap_or_default();
    if said.contains(OVER) {
        return Ok(ActionState::Over);
    }
    // What a server says of a signature repeats the request's headers, from its second line on.
    let said = match told.and_then(|meta| meta.code()) {
        Some(code) => format!("{code}: {}", said.lines().next().unwrap_or_default()),
        None => DisplayErrorContext(&error).to_string(),
    };
    Err(HookError::new(doing, action, said))
}
