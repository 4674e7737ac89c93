//! The sweep on a schedule: it looks at every machine of a group, and keeps the memory warm for those who have two
//! seconds.

use super::{groups::Instances, handler::Handler};
use crate::{
    github::GitHub,
    guard::{Guard, MusterReport},
    instance::NameRule,
    runner::Scope,
};
use lambda_runtime::Error;
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// How long before its deadline a sweep that takes too long is given up, and that is said.
const MARGIN: Duration = Duration::from_secs(1);

/// The handler of a sweep on a schedule, for [`lambda_runtime::run`]: every event makes it look at all machines of
/// `instances`, whose runners are registered in `scope` and named by `rule`. It writes down what
/// [`termination_policy`](super::termination_policy) begins with; see [`Guard::muster`]. Every five minutes is often
/// enough: more often than the policy's `max_observation_gap` (10 minutes) it must be.
///
/// It answers with a [`MusterReport`]. An invocation that fails is an error, for the alarm on errors to see.
#[must_use = "a handler does nothing until lambda_runtime::run has it"]
pub fn scheduled_sweep(
    guard: Guard,
    github: GitHub,
    instances: impl Instances + 'static,
    scope: Scope,
    rule: NameRule,
) -> Handler {
    let sweep = Arc::new(ScheduledSweep {
        guard,
        github,
        instances: Box::new(instances),
        scope,
        rule,
    });
    Handler::new("scheduled_sweep", MARGIN, move |_, left| {
        let sweep = Arc::clone(&sweep);
        async move {
            let report = tokio::time::timeout(left, sweep.sweep()).await;
            let late = |_| {
                Error::from(format!(
                    "not swept in {left:?}: give the function more time"
                ))
            };
            Ok(serde_json::to_value(report.map_err(late)??)?)
        }
    })
}

struct ScheduledSweep {
    guard: Guard,
    github: GitHub,
    instances: Box<dyn Instances>,
    scope: Scope,
    rule: NameRule,
}

impl ScheduledSweep {
    async fn sweep(&self) -> Result<MusterReport, Error> {
        let Self { github, scope, .. } = self;
        let instances = self.instances.instances().await?;
        let machines = self.guard.machines(github, scope, &self.rule, instances);
        let report = self.guard.muster(scope, machines.await?).await?;
        let requests = github.requests();
        let held = Value::from_iter(report.held.iter().map(|(code, count)| (*code, *count)));
        tracing::info!(
            %scope, machines = report.machines, vacant = report.vacant, drained = report.drained, %held, requests,
            "scheduled sweep"
        );
        Ok(report)
    }
}
