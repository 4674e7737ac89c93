//! The guard in the autoscaler's own AWS Lambda: what the shims read and log, and their handlers.
//!
//! A binary is [`run`] of one of these handlers; `examples/` has them, `docs/lambda.md` tells how to deploy them.

mod capacity;
mod findings;
mod groups;
mod handler;
mod lifecycle_hook;
mod log;
mod run;
mod scheduled_sweep;
mod settings;
mod termination_policy;

pub use groups::Instances;
#[cfg(feature = "aws")]
pub use groups::{AutoScalingGroups, GroupsError};
pub use handler::{Handler, time_left};
#[cfg(feature = "aws")]
pub use lifecycle_hook::AutoScalingHooks;
pub use lifecycle_hook::{
    ActionState, HookError, LifecycleAction, LifecycleHooks, hold_all, lifecycle_hook,
};
pub use log::log_as_json;
pub use run::run;
pub use scheduled_sweep::scheduled_sweep;
pub use settings::{Settings, SettingsError};
pub use termination_policy::termination_policy;
