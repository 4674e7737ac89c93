//! The fleet's instances in EC2, as their tags tell, and their end.

use aws_config::SdkConfig;
use aws_sdk_ec2::{
    Client,
    config::{self, retry::RetryConfig, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    types::{self, Filter},
};
use scale_in_guard::{Scope, instance::InstanceId, time::Instant};
use std::{error::Error, fmt, time::Duration};
use thiserror::Error;

/// How often a call is tried in all. EC2 throttles by account and region, so others may have spent what we ask for.
const TRIES: u32 = 5;

/// The first pause between two tries; each further one is up to twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long one try may take: EC2 answers within a second or two, or not at all.
const TRY: Duration = Duration::from_secs(5);

/// How long it may take to read all instances.
const TO_READ: Duration = Duration::from_secs(20);

/// Instances on one page: the most that EC2 gives.
const PAGE: i32 = 1000;

/// What EC2 answers to one who names an instance that is gone.
const GONE: &str = "InvalidInstanceID.NotFound";

/// An instance of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tagged {
    /// Such as `i-06cbe04821ccba677`.
    pub(crate) id: InstanceId,
    /// When it was launched.
    pub(crate) launched_at: Option<Instant>,
    /// Where its runners are registered: `ghr:Owner` and `ghr:Type`.
    pub(crate) scope: Result<Scope, Unowned>,
    /// The number of its registration, where it wrote it down: `ghr:github_runner_id`.
    pub(crate) runner_id: Option<u64>,
    /// Whether it is to be left alone: `ghr:bypass-removal`.
    pub(crate) is_bypassed: bool,
}

/// Why nobody knows whose an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Unowned {
    /// A tag is missing.
    #[error("it has no tag {0}")]
    Missing(&'static str),
    /// The type is none that the module writes.
    #[error("its tag ghr:Type is {0:?}, neither Org nor Repo")]
    Type(String),
    /// No such owner can be.
    #[error("its tag ghr:Owner names no owner: {0}")]
    Owner(String),
}

/// What EC2 refused, or did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{operation}: {what}")]
pub(crate) struct CloudError {
    operation: &'static str,
    what: String,
}

impl CloudError {
    /// There is no time left to ask.
    pub(crate) fn late() -> Self {
        Self {
            operation: "EC2",
            what: "there was no time left to ask it".to_owned(),
        }
    }

    fn of<E>(operation: &'static str, error: &SdkError<E>) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let what = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => DisplayErrorContext(error).to_string(),
        };
        Self {
            operation,
            // What a policy refuses comes with a long encoded message.
            what: what.chars().take(300).collect(),
        }
    }
}

/// EC2, for one of the module's environments.
pub(crate) struct Cloud {
    client: Client,
    environment: String,
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let environment = &self.environment;
        f.debug_struct("Cloud")
            .field("environment", environment)
            .finish_non_exhaustive()
    }
}

impl Cloud {
    pub(crate) fn new(aws: &SdkConfig, environment: &str) -> Self {
        let retries = RetryConfig::standard()
            .with_max_attempts(TRIES)
            .with_initial_backoff(FIRST_PAUSE);
        let config = config::Builder::from(aws)
            .retry_config(retries)
            .timeout_config(within(TO_READ));
        Self {
            client: Client::from_conf(config.build()),
            environment: environment.to_owned(),
        }
    }

    /// The instances of this environment that run or are about to.
    ///
    /// # Errors
    /// [`CloudError`] when they could not all be read: a part of them is not all of them.
    pub(crate) async fn instances(&self) -> Result<Vec<Tagged>, CloudError> {
        let filter = |name: &str, values: &[&str]| {
            let values = values.iter().map(|&value| value.to_owned()).collect();
            Filter::builder()
                .name(name)
                .set_values(Some(values))
                .build()
        };
        let mut pages = self
            .client
            .describe_instances()
            .filters(filter("instance-state-name", &["running", "pending"]))
            .filters(filter("tag:ghr:Application", &["github-action-runner"]))
            .filters(filter("tag:ghr:environment", &[&self.environment]))
            .into_paginator()
            .page_size(PAGE)
            .send();
        let mut instances = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| CloudError::of("DescribeInstances", &error))?;
            let of_page = page
                .reservations()
                .iter()
                .flat_map(|reservation| reservation.instances());
            instances.extend(of_page.filter_map(Tagged::read));
        }
        Ok(instances)
    }

    /// Terminates one instance, within `time` in all; one that is gone already is terminated.
    ///
    /// # Errors
    /// [`CloudError`] when EC2 refused, or nobody knows: it may be terminated or not.
    pub(crate) async fn terminate(
        &self,
        instance: &InstanceId,
        time: Duration,
    ) -> Result<(), CloudError> {
        let terminate = self
            .client
            .terminate_instances()
            .instance_ids(instance.as_str());
        let config = config::Builder::new().timeout_config(within(time));
        match terminate.customize().config_override(config).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(GONE) => Ok(()),
            Err(error) => Err(CloudError::of("TerminateInstances", &error)),
        }
    }
}

fn within(time: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_timeout(time)
        .operation_attempt_timeout(TRY.min(time))
        .build()
}

impl Tagged {
    /// What EC2 tells of an instance; `None` where it does not even tell which.
    fn read(instance: &types::Instance) -> Option<Self> {
        let tag = |key: &str| {
            let mut tags = instance.tags().iter();
            tags.find(|tag| tag.key() == Some(key))?.value()
        };
        let launched_at = instance.launch_time().and_then(|at| at.to_millis().ok());
        Some(Self {
            id: instance.instance_id()?.parse().ok()?,
            launched_at: launched_at.and_then(Instant::from_timestamp_millis),
            scope: scope(tag("ghr:Owner"), tag("ghr:Type")),
            runner_id: tag("ghr:github_runner_id").and_then(|id| id.trim().parse().ok()),
            // Whoever writes it in another way means it, too.
            is_bypassed: tag("ghr:bypass-removal")
                .is_some_and(|tag| !tag.is_empty() && !tag.eq_ignore_ascii_case("false")),
        })
    }
}

/// Where the runners of an owner are registered, as the module's tags tell it.
fn scope(owner: Option<&str>, kind: Option<&str>) -> Result<Scope, Unowned> {
    let owner = owner.ok_or(Unowned::Missing("ghr:Owner"))?;
    let scope = match kind.ok_or(Unowned::Missing("ghr:Type"))? {
        "Org" => format!("org:{owner}"),
        "Repo" => format!("repo:{owner}"),
        other => return Err(Unowned::Type(other.to_owned())),
    };
    let scope = scope.parse();
    scope.map_err(|wrong: scale_in_guard::runner::NameError| Unowned::Owner(wrong.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ec2::{primitives::DateTime, types::Tag};

    #[test]
    fn an_owner_and_a_type_make_a_scope() {
        for (owner, kind, expected) in [
            (Some("acme"), Some("Org"), "org:acme"),
            (Some("acme/atlas"), Some("Repo"), "repo:acme/atlas"),
            (None, Some("Org"), "it has no tag ghr:Owner"),
            (Some("acme"), None, "it has no tag ghr:Type"),
            (Some("acme"), Some("org"), "neither Org nor Repo"),
            (Some("acme"), Some("Repo"), "names no owner"),
            (Some("acme/atlas"), Some("Org"), "names no owner"),
            (Some(""), Some("Org"), "names no owner"),
        ] {
            let told = match scope(owner, kind) {
                Ok(scope) => scope.to_string(),
                Err(unowned) => unowned.to_string(),
            };
            assert!(told.contains(expected), "{owner:?} {kind:?}: {told}");
        }
    }

    #[test]
    fn tags_are_read_as_the_module_writes_them() {
        let tagged = |tags: &[(&str, &str)]| {
            let tags = tags
                .iter()
                .map(|(key, value)| Tag::builder().key(*key).value(*value).build());
            let instance = types::Instance::builder()
                .instance_id("i-01")
                .launch_time(DateTime::from_secs(1))
                .set_tags(Some(tags.collect()));
            Tagged::read(&instance.build()).unwrap()
        };
        let plain = tagged(&[("ghr:Owner", "acme"), ("ghr:Type", "Org")]);
        let launched_at = Instant::from_timestamp_millis(1000);
        assert_eq!(
            plain,
            Tagged {
                id: "i-01".parse().unwrap(),
                launched_at,
                scope: Ok("org:acme".parse().unwrap()),
                runner_id: None,
                is_bypassed: false,
            }
        );
        for (value, bypassed) in [
            ("true", true),
            ("True", true),
            ("yes", true),
            ("false", false),
            ("", false),
        ] {
            let read = tagged(&[("ghr:bypass-removal", value)]);
            assert_eq!(read.is_bypassed, bypassed, "{value}");
        }
        for (value, id) in [("18700", Some(18700)), ("", None), ("none", None)] {
            assert_eq!(tagged(&[("ghr:github_runner_id", value)]).runner_id, id);
        }
        // A mark of the module's own says nothing to us.
        let marked = [
            ("ghr:Owner", "acme"),
            ("ghr:Type", "Org"),
            ("ghr:orphan", "true"),
        ];
        assert_eq!(tagged(&marked), plain);
        assert_eq!(Tagged::read(&types::Instance::builder().build()), None);
    }
}
