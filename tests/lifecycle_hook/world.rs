//! An organisation's runners on the instances of a group, and a group that waits.

use async_trait::async_trait;
use chrono::TimeDelta;
use lambda_runtime::{Context, LambdaEvent, Service};
use scale_in_guard::{
    Guard, Scope,
    clock::{Clock, SystemClock},
    github::{GitHub, Limits, Retry},
    guard::GuardBuilder,
    lambda::{ActionState, HookError, LifecycleAction, LifecycleHooks, lifecycle_hook},
    sources::Repositories,
    testing::{FakeGitHub, ManualClock},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;

pub(crate) const ONE: &str = "i-06cbe04821ccba677";
pub(crate) const OTHER: &str = "i-0aaaaaaaaaaaaaaaa";
pub(crate) const REPOSITORY: &str = "acme/atlas";

/// What AWS sends of an instance that a group is about to terminate.
pub(crate) fn terminating(instance: &str) -> Value {
    json!({
        "version": "0", "source": "aws.autoscaling", "detail-type": "EC2 Instance-terminate Lifecycle Action",
        "detail": {
            "LifecycleActionToken": format!("token-of-{instance}"), "AutoScalingGroupName": "linux",
            "LifecycleHookName": "runners", "EC2InstanceId": instance,
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
            "Origin": "AutoScalingGroup", "Destination": "EC2",
        },
    })
}

/// The batch that SQS makes of these bodies; a message's id is its place.
pub(crate) fn batch(bodies: &[Value]) -> Value {
    let records = bodies.iter().enumerate().map(|(place, body)| {
        json!({"messageId": place.to_string(), "eventSource": "aws:sqs", "body": body.to_string()})
    });
    json!({"Records": records.collect::<Vec<_>>()})
}

/// How the group takes what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Listens,
    HasGoneOn,
    Fails,
    Panics,
}

/// A group's lifecycle hooks, which remember what they were told.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeLifecycleHooks(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    by_instance: BTreeMap<String, Vec<&'static str>>,
    manners: BTreeMap<String, Manner>,
    fails_to_complete: bool,
}

impl FakeLifecycleHooks {
    /// What was told about this instance since the last call.
    pub(crate) fn told(&self, instance: &str) -> Vec<&'static str> {
        let mut told = self.0.lock().unwrap();
        told.by_instance.remove(instance).unwrap_or_default()
    }

    pub(crate) fn manner(&self, instance: &str, manner: Manner) {
        let mut told = self.0.lock().unwrap();
        told.manners.insert(instance.to_owned(), manner);
    }

    pub(crate) fn fail_to_complete(&self, fails: bool) {
        self.0.lock().unwrap().fails_to_complete = fails;
    }

    fn tell(&self, action: &LifecycleAction, what: &'static str) -> Result<ActionState, HookError> {
        assert_eq!((&*action.group, &*action.hook), ("linux", "runners"));
        let instance = action.instance.to_string();
        assert_eq!(action.token, Some(format!("token-of-{instance}")));
        let mut told = self.0.lock().unwrap();
        let fails = what == "complete" && told.fails_to_complete;
        let manner = told.manners.get(&instance).copied();
        told.by_instance.entry(instance).or_default().push(what);
        drop(told);
        match manner.unwrap_or(Manner::Listens) {
            Manner::Listens if fails => Err(HookError::new("telling", action, "Throttling")),
            Manner::Listens => Ok(ActionState::Active),
            Manner::HasGoneOn => Ok(ActionState::Over),
            Manner::Fails => Err(HookError::new("telling", action, "Throttling")),
            Manner::Panics => panic!("as the test wants it"),
        }
    }
}

/// It answers after a moment, as every server does.
#[async_trait]
impl LifecycleHooks for FakeLifecycleHooks {
    async fn heartbeat(&self, action: &LifecycleAction) -> Result<ActionState, HookError> {
        sleep(Duration::from_millis(5)).await;
        self.tell(action, "heartbeat")
    }

    async fn complete(&self, action: &LifecycleAction) -> Result<ActionState, HookError> {
        sleep(Duration::from_millis(5)).await;
        self.tell(action, "complete")
    }
}

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) github: FakeGitHub,
    pub(crate) scope: Scope,
    pub(crate) hooks: FakeLifecycleHooks,
    guard: Guard,
}

impl World {
    pub(crate) async fn live() -> Self {
        Self::of(|guard| guard).await
    }

    pub(crate) async fn of(shape: impl FnOnce(GuardBuilder) -> GuardBuilder) -> Self {
        let clock = ManualClock::at("2026-05-14T02:00:00Z".parse().unwrap());
        let github = FakeGitHub::start(clock.clone()).await.unwrap();
        let scope: Scope = "org:acme".parse().unwrap();
        github.add_scope(&scope);
        github.add_repository(REPOSITORY);
        // So that the listing is never empty.
        github.register(&scope, "another");
        let client = client(&github);
        let repositories = Repositories::all([REPOSITORY.parse().unwrap()]);
        let guard = Guard::builder()
            .clock(clock.clone())
            .github(client.clone(), repositories)
            .deregister(client);
        Self {
            guard: shape(guard).build().unwrap(),
            hooks: FakeLifecycleHooks::default(),
            clock,
            github,
            scope,
        }
    }

    /// A runner on this instance.
    pub(crate) fn register(&self, instance: &str) -> String {
        let name = format!("linux-{instance}");
        self.github.register(&self.scope, &name);
        name
    }

    /// Sends the handler this event, as AWS would.
    pub(crate) async fn invoke(&self, event: Value) -> Result<Value, String> {
        self.invoke_within(event, Duration::from_secs(60)).await
    }

    pub(crate) async fn invoke_within(
        &self,
        event: Value,
        time: Duration,
    ) -> Result<Value, String> {
        let rule = "contains".parse().unwrap();
        let (guard, github) = (self.guard.clone(), client(&self.github));
        let mut handler =
            lifecycle_hook(guard, github, self.hooks.clone(), self.scope.clone(), rule);
        let mut context = Context::default();
        let deadline = (SystemClock.now() + time).timestamp_millis();
        context.deadline = deadline.try_into().unwrap();
        let answer = handler.call(LambdaEvent::new(event, context)).await;
        answer.map_err(|error| error.to_string())
    }

    /// Delivers these instances' messages; returns the places of those that come again.
    pub(crate) async fn deliver(&self, instances: &[&str]) -> Vec<usize> {
        let bodies: Vec<_> = instances.iter().map(|id| terminating(id)).collect();
        again(&self.invoke(batch(&bodies)).await.unwrap())
    }

    /// Delivers an instance's message every minute until it comes no more, for so long at the most.
    pub(crate) async fn minutes_until_it_goes(
        &self,
        instance: &str,
        longest: usize,
    ) -> Option<usize> {
        for minute in 0..=longest {
            if self.deliver(&[instance]).await.is_empty() {
                return Some(minute);
            }
            self.clock.advance(TimeDelta::minutes(1));
        }
        None
    }
}

/// The places of the messages that are to be delivered again.
pub(crate) fn again(answer: &Value) -> Vec<usize> {
    let failures = answer["batchItemFailures"].as_array().unwrap();
    let place = |failure: &Value| failure["itemIdentifier"].as_str().unwrap().parse().unwrap();
    failures.iter().map(place).collect()
}

/// One that repeats without a pause worth the name.
fn client(github: &FakeGitHub) -> GitHub {
    let soon = Duration::from_millis(1);
    let retry = Retry {
        times: 3,
        first: soon,
        longest: soon,
    };
    let client = GitHub::builder(github.token().to_owned()).api_url(github.url());
    client.retry(retry).limits(Limits::none()).build().unwrap()
}
