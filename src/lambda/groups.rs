//! The machines of an autoscaler, for a sweep that nobody hands them to.

use crate::{instance::Instance, source::Trouble};
use async_trait::async_trait;
use std::fmt;

/// The port of machines: all that an autoscaler has, now. One that is told no more has departed.
#[async_trait]
pub trait Instances: fmt::Debug + Send + Sync {
    /// Every machine, each once.
    ///
    /// # Errors
    /// Whatever went wrong: then there is no sweep. A part of them must not be told for all.
    async fn instances(&self) -> Result<Vec<Instance>, Trouble>;
}

/// The instances of Auto Scaling groups that are not terminated yet.
#[cfg(feature = "aws")]
#[derive(Debug, Clone)]
pub struct AutoScalingGroups {
    client: aws_sdk_autoscaling::Client,
    names: Vec<String>,
}

#[cfg(feature = "aws")]
impl AutoScalingGroups {
    /// The groups of these names. Needs `autoscaling:DescribeAutoScalingGroups`.
    pub fn new(
        client: aws_sdk_autoscaling::Client,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            client,
            names: names.into_iter().map(Into::into).collect(),
        }
    }

    /// The same, with credentials and region as every AWS tool finds them.
    pub async fn from_env(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        Self::new(aws_sdk_autoscaling::Client::new(&config), names)
    }
}

/// Why the groups could not be read.
#[cfg(feature = "aws")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupsError {
    /// AWS did not answer, or with an error.
    #[error("autoscaling:DescribeAutoScalingGroups: {0}; see the function's role, and the region")]
    Aws(String),
    /// A group is not there.
    #[error(
        "there is no Auto Scaling group {0:?} in this account and region; see SCALE_IN_GUARD_GROUPS"
    )]
    NoGroup(String),
}

#[cfg(feature = "aws")]
#[async_trait]
impl Instances for AutoScalingGroups {
    async fn instances(&self) -> Result<Vec<Instance>, Trouble> {
        let aws = |error: &dyn std::error::Error| {
            GroupsError::Aws(aws_sdk_autoscaling::error::DisplayErrorContext(error).to_string())
        };
        let pages = self.client.describe_auto_scaling_groups();
        let pages = pages.set_auto_scaling_group_names(Some(self.names.clone()));
        let mut pages = pages.into_paginator().send();
        let mut found = Vec::new();
        let mut instances = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| aws(&error))?;
            for group in page.auto_scaling_groups() {
                found.extend(group.auto_scaling_group_name().map(str::to_owned));
                for instance in group.instances() {
                    let is_gone = instance
                        .lifecycle_state()
                        .is_some_and(|state| state.as_str() == "Terminated");
                    let id = instance.instance_id().unwrap_or_default().parse();
                    match id {
                        Ok(id) if !is_gone => instances.push(Instance {
                            id,
                            launched_at: None,
                        }),
                        Ok(_) => {}
                        Err(error) => tracing::warn!(%error, "an instance without an id"),
                    }
                }
            }
        }
        let missing = self.names.iter().find(|name| !found.contains(name));
        match missing {
            Some(missing) => Err(GroupsError::NoGroup(missing.clone()).into()),
            None => Ok(instances),
        }
    }
}
