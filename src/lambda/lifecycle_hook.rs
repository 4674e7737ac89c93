//! The second line of defence: an Auto Scaling group that waits with each instance that it terminates, until its
//! runners may go.

mod actions;
#[cfg(feature = "aws")]
mod auto_scaling;
mod event;
mod step;

pub use actions::{ActionState, HookError, LifecycleAction, LifecycleHooks};
#[cfg(feature = "aws")]
pub use auto_scaling::AutoScalingHooks;

use self::{
    event::{Event, Wanted},
    step::{Did, Step},
};
use super::Handler;
use crate::{
    clock::Deadline,
    github::GitHub,
    guard::{Guard, Machine, Mode, Retirement},
    hold::HoldCode,
    instance::{Instance, InstanceId, NameRule},
    permit::Go,
    runner::Scope,
};
use chrono::TimeDelta;
use futures::{FutureExt, StreamExt, future, stream};
use lambda_runtime::Error;
use serde_json::{Value, json};
use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use thiserror::Error as ThisError;

/// How many instances are gone on with at the same time. The client keeps its own limits on what it asks GitHub.
const AT_ONCE: usize = 8;

/// What is left before AWS's deadline, for the answer and the log to go out.
const MARGIN: Duration = Duration::from_secs(1);

/// What is kept of an invocation's time for telling the group to wait on: no more than a quarter of it.
const TO_KEEP: TimeDelta = TimeDelta::seconds(3);

/// Handles the events of a lifecycle hook for terminating instances: each time it is invoked it goes on with the
/// retirement of all runners of the instance. While the guard holds it records a heartbeat of the hook, so that the
/// group waits on; once they may go it completes the action, and the group terminates the instance.
///
/// It takes batches of an SQS queue, whose messages are EventBridge's events or the hook's own notifications, also
/// through SNS. Of each instance that is held the message is reported as failed: so the queue delivers it again after its
/// visibility timeout, and nobody sleeps. An event that comes directly is gone on with once; nobody asks again by
/// itself.
///
/// What goes wrong, a panic too, holds. In [shadow mode](Mode::Shadow) it decides, logs, and completes at once: an action
/// that is not completed would keep the instance for the hook's timeout, which is no longer only watching.
///
/// The runners of the instances are registered in `scope` and named by `rule`.
///
/// ```no_run
/// # #[cfg(feature = "aws")]
/// # async fn function() -> std::process::ExitCode {
/// use scale_in_guard::lambda::{self, AutoScalingHooks, Settings};
///
/// lambda::run(async {
///     let settings = Settings::from_env()?;
///     let scope = settings.scope()?.clone();
///     let rule = settings.runner_name.clone().unwrap_or_default();
///     let (guard, github) = settings.guard().await?;
///     let hooks = AutoScalingHooks::from_env().await;
///     Ok(lambda::lifecycle_hook(guard, github, hooks, scope, rule))
/// })
/// .await
/// # }
/// ```
#[must_use = "a handler does nothing until lambda_runtime::run has it"]
pub fn lifecycle_hook(
    guard: Guard,
    github: GitHub,
    hooks: impl LifecycleHooks + 'static,
    scope: Scope,
    rule: NameRule,
) -> Handler {
    LifecycleHook::handler(
        hooks,
        Ok(Guarded {
            guard,
            github,
            scope,
            rule,
        }),
    )
}

/// The same of a function that cannot be put together: it records a heartbeat for every instance, and completes none.
/// A variable that is misspelled, or a parameter that cannot be read, must not let the jobs die for which the groups
/// wait. For live mode: in shadow mode nothing is to be held up.
#[must_use = "a handler does nothing until lambda_runtime::run has it"]
pub fn hold_all(hooks: impl LifecycleHooks + 'static, why: impl std::fmt::Display) -> Handler {
    tracing::error!(%why, "the function cannot decide, and lets no instance go");
    LifecycleHook::handler(hooks, Err(format!("the function cannot decide: {why}")))
}

struct LifecycleHook {
    hooks: Box<dyn LifecycleHooks>,
    /// Or why there is none.
    guarded: Result<Guarded, String>,
}

struct Guarded {
    guard: Guard,
    github: GitHub,
    scope: Scope,
    rule: NameRule,
}

/// Why the action of an instance that may go was not completed.
#[derive(Debug, ThisError)]
enum NotCompleted {
    #[error("it may go, and the action was over already")]
    Over,
    #[error(transparent)]
    Failed(#[from] HookError),
}

/// By when what must be done.
#[derive(Clone, Copy)]
struct Times {
    decide_by: Deadline,
    answer_by: Deadline,
}

impl Times {
    fn within(left: Duration) -> Self {
        let left = TimeDelta::from_std(left).unwrap_or(TimeDelta::MAX);
        let answer_by = Deadline::within(left);
        Self {
            decide_by: answer_by.less(TO_KEEP.min(left / 4)),
            answer_by,
        }
    }
}

impl LifecycleHook {
    fn handler(hooks: impl LifecycleHooks + 'static, guarded: Result<Guarded, String>) -> Handler {
        let hook = Arc::new(Self {
            hooks: Box::new(hooks),
            guarded,
        });
        Handler::new("lifecycle_hook", MARGIN, move |event, left| {
            let hook = Arc::clone(&hook);
            async move { hook.answer(&event, left).await }
        })
    }

    async fn answer(&self, event: &Value, left: Duration) -> Result<Value, Error> {
        let times = Times::within(left);
        let event = Event::read(event).inspect_err(|error| tracing::error!(%error))?;
        match event {
            Event::Batch(messages) => {
                let (ids, wanted): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
                let steps = self.go_on(wanted, times).await;
                steps.iter().for_each(Step::log);
                let again = ids
                    .iter()
                    .zip(&steps)
                    .filter(|(_, step)| step.is_unfinished());
                let failures: Vec<_> = again.map(|(id, _)| json!({"itemIdentifier": id})).collect();
                Ok(json!({"batchItemFailures": failures}))
            }
            Event::Direct(wanted) => {
                let steps = self.go_on(vec![Ok(wanted)], times).await;
                let step = steps.into_iter().next().ok_or("nothing was done")?;
                step.log();
                if step.is_unfinished() {
                    tracing::error!(
                        instance = step.instance(),
                        "no queue delivers this event again: send it through SQS"
                    );
                }
                match step.did {
                    // AWS invokes it again, twice.
                    Did::Failed => Err(step.reason.into()),
                    _ => Ok(step.shown()),
                }
            }
        }
    }

    /// Goes on with each of these, and each by itself: in their order.
    async fn go_on(
        &self,
        wanted: Vec<Result<Wanted, event::Unreadable>>,
        times: Times,
    ) -> Vec<Step> {
        let instances = wanted.iter().filter_map(|wanted| match wanted {
            Ok(Wanted::Termination(action)) => Some(action.instance.clone()),
            _ => None,
        });
        let machines = self.machines(instances.collect(), times).await;
        let machines = &machines;
        let steps = wanted.into_iter().map(|wanted| async move {
            let action = match wanted {
                Ok(Wanted::Termination(action)) => action,
                Ok(Wanted::Nothing(why)) => return Step::ignored(why),
                Err(unreadable) => return Step::unreadable(&unreadable),
            };
            let machine = match machines {
                Ok(machines) => machines
                    .get(&action.instance)
                    .ok_or("nobody knows its runners"),
                Err(why) => Err(why.as_str()),
            };
            let step = self.step(&action, machine, times);
            let (did, reason) = unless_panicked(step)
                .await
                .unwrap_or_else(|why| (Did::Failed, why));
            Step::of(action, did, reason)
        });
        stream::iter(steps).buffered(AT_ONCE).collect().await
    }

    /// The runners on these instances; or why nobody knows.
    async fn machines(
        &self,
        instances: Vec<InstanceId>,
        times: Times,
    ) -> Result<HashMap<InstanceId, Machine>, String> {
        if instances.is_empty() {
            return Ok(HashMap::new());
        }
        let Guarded {
            guard,
            github,
            scope,
            rule,
        } = self.guarded.as_ref().map_err(Clone::clone)?;
        let instances = instances.into_iter().map(|id| Instance {
            id,
            launched_at: None,
        });
        let asked = guard.machines(github, scope, rule, instances.collect());
        let machines = unless_panicked(times.decide_by.meet(asked)).await?;
        let machines = machines.map_err(|late| late.to_string())?;
        let machines = machines.map_err(|error| error.to_string())?;
        let by_id = |machine: Machine| (machine.instance.id.clone(), machine);
        Ok(machines.into_iter().map(by_id).collect())
    }

    /// One action: what was done about it, and why.
    async fn step(
        &self,
        action: &LifecycleAction,
        machine: Result<&Machine, &str>,
        times: Times,
    ) -> (Did, String) {
        let guard = match &self.guarded {
            Ok(guarded) => &guarded.guard,
            Err(why) => return self.keep(action, why.clone(), times).await,
        };
        if guard.mode() == Mode::Shadow {
            let would = match machine {
                Ok(machine) => {
                    let would = unless_panicked(times.decide_by.meet(would(guard, machine))).await;
                    would.and_then(|would| would.map_err(|late| late.to_string()))
                }
                Err(why) => Err(why.to_owned()),
            };
            let would = would.unwrap_or_else(|why| format!("would have been held: {why}"));
            let done = times.answer_by.meet(self.hooks.complete(action)).await;
            return Did::Completed.if_done(done, format!("in shadow mode; it {would}"));
        }
        let machine = match machine {
            Ok(machine) => machine,
            Err(why) => return self.keep(action, why.to_owned(), times).await,
        };
        let retired = guard.retire_together(&machine.runners, async |goes| {
            self.complete(action, goes).await
        });
        match times.decide_by.meet(retired).await {
            Ok(Retirement::Terminated(basis)) => (Did::Completed, basis.to_string()),
            Ok(Retirement::Failed(over @ NotCompleted::Over)) => (Did::Over, over.to_string()),
            Ok(other) => self.keep(action, other.to_string(), times).await,
            Err(late) => self.keep(action, late.to_string(), times).await,
        }
    }

    /// Lets the group go on. Whoever has the right to terminate does no more than this.
    async fn complete(&self, action: &LifecycleAction, _goes: Vec<Go>) -> Result<(), NotCompleted> {
        match self.hooks.complete(action).await? {
            ActionState::Active => Ok(()),
            ActionState::Over => Err(NotCompleted::Over),
        }
    }

    /// Lets the group wait on.
    async fn keep(&self, action: &LifecycleAction, why: String, times: Times) -> (Did, String) {
        let done = times.answer_by.meet(self.hooks.heartbeat(action)).await;
        Did::Heartbeat.if_done(done, why)
    }
}

/// What the guard would do outside shadow mode.
async fn would(guard: &Guard, machine: &Machine) -> String {
    let asked = machine
        .runners
        .iter()
        .map(|runner| guard.can_terminate(runner));
    let decisions = future::join_all(asked).await;
    let reasons = decisions.iter().flat_map(|decision| decision.reasons());
    let reasons: Vec<_> = reasons
        .filter(|reason| reason.code() != HoldCode::ShadowMode)
        .map(ToString::to_string)
        .collect();
    match reasons.is_empty() {
        true => "would have been let go".to_owned(),
        false => format!("would have been held: {}", reasons.join("; ")),
    }
}

async fn unless_panicked<T>(work: impl Future<Output = T>) -> Result<T, String> {
    // On the heap: eight of them at once are much for a thread's stack.
    let ended = AssertUnwindSafe(Box::pin(work)).catch_unwind().await;
    ended.map_err(|_| "it panicked: the log has more".to_owned())
}
