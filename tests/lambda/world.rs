//! A group of machines with runners, on a manual clock.

pub(crate) use chrono::TimeDelta;
use lambda_runtime::{Context, LambdaEvent, tower::Service};
pub(crate) use scale_in_guard::{
    Guard, Scope,
    clock::{Clock, SystemClock},
    guard::{GuardBuilder, Machine, MachinesError, MusterReport},
    instance::{Instance, NameRule},
    testing::{FakeGitHub, ManualClock},
};
use scale_in_guard::{
    github::{GitHub, Limits, Retry},
    lambda::{self, Handler},
    sources::Repositories,
    stores::MemoryStore,
};
pub(crate) use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub(crate) const REPOSITORY: &str = "acme/atlas";

pub(crate) fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

/// The id of the instance of this number.
pub(crate) fn id(number: usize) -> String {
    format!("i-{number:017x}")
}

/// The name of the runner on it.
pub(crate) fn name(number: usize) -> String {
    format!("ghr-{}", id(number))
}

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) github: FakeGitHub,
    pub(crate) scope: Scope,
    pub(crate) store: Arc<MemoryStore>,
    client: GitHub,
    /// The machines that the group has.
    pub(crate) group: Vec<usize>,
    /// The numbers of their registrations.
    pub(crate) ids: Vec<u64>,
}

impl World {
    /// A group of so many machines, each with a runner, and a runner that is none of the group's.
    pub(crate) async fn of(machines: usize) -> Self {
        let clock = ManualClock::at("2026-05-14T02:00:00Z".parse().unwrap());
        let github = FakeGitHub::start(clock.clone()).await.unwrap();
        let scope: Scope = "org:acme".parse().unwrap();
        github.add_scope(&scope);
        github.add_repository(REPOSITORY);
        github.register(&scope, "of-another-group");
        let group: Vec<_> = (1..=machines).collect();
        let register = |&number: &usize| github.register(&scope, &name(number)).0;
        let ids = group.iter().map(register).collect();
        let soon = Duration::from_millis(1);
        let client = GitHub::builder(github.token().to_owned());
        let client = client.api_url(github.url()).limits(Limits::none());
        let retry = Retry {
            times: 1,
            first: soon,
            longest: soon,
        };
        Self {
            client: client.retry(retry).build().unwrap(),
            store: Arc::new(MemoryStore::new().with_clock(clock.clone())),
            clock,
            github,
            scope,
            group,
            ids,
        }
    }

    pub(crate) fn client(&self) -> GitHub {
        self.client.clone()
    }

    pub(crate) fn builder(&self) -> GuardBuilder {
        let repositories = Repositories::all([REPOSITORY.parse().unwrap()]);
        Guard::builder()
            .clock(self.clock.clone())
            .github(self.client(), repositories)
            .store(Arc::clone(&self.store))
    }

    pub(crate) fn guard(&self) -> Guard {
        self.builder().deregister(self.client()).build().unwrap()
    }

    pub(crate) fn policy(&self) -> Handler {
        lambda::termination_policy(self.guard(), self.scope.clone())
    }

    pub(crate) fn instances(&self) -> Vec<Instance> {
        let instance = |&number: &usize| Instance {
            id: id(number).parse().unwrap(),
            launched_at: None,
        };
        self.group.iter().map(instance).collect()
    }

    /// The group's machines, by the rule `contains`.
    pub(crate) async fn machines(&self) -> Result<Vec<Machine>, MachinesError> {
        let (github, rule) = (self.client(), NameRule::Contains);
        let guard = self.guard();
        let machines = guard.machines(&github, &self.scope, &rule, self.instances());
        machines.await
    }

    /// The same by a rule that tells the names.
    pub(crate) async fn named_machines(&self) -> Vec<Machine> {
        let (github, rule) = (self.client(), "template:ghr-{instance}".parse().unwrap());
        let guard = self.guard();
        let machines = guard.machines(&github, &self.scope, &rule, self.instances());
        machines.await.unwrap()
    }

    /// The scheduled sweep.
    pub(crate) async fn sweep_with(&self, guard: &Guard) -> MusterReport {
        let machines = self.machines().await.unwrap();
        guard.muster(&self.scope, machines).await.unwrap()
    }

    pub(crate) async fn sweep(&self) -> MusterReport {
        self.sweep_with(&self.guard()).await
    }

    /// Sweeps every five minutes, for so many.
    pub(crate) async fn sweeps(&self, times: usize) {
        for _ in 0..times {
            self.sweep().await;
            self.clock.advance(minutes(5));
        }
    }

    pub(crate) fn later(&self, span: TimeDelta) {
        self.clock.advance(span);
    }

    /// What Auto Scaling sends: so many of the whole group are to go.
    pub(crate) fn event(&self, capacity: usize) -> Value {
        let instance = |&number: &usize| {
            json!({"InstanceId": id(number), "AvailabilityZone": "eu-central-1a",
                "InstanceType": "m7a.large", "InstanceMarketOption": "on-demand"})
        };
        json!({
            "AutoScalingGroupARN": "arn:aws:autoscaling:eu-central-1:1:autoScalingGroup:d4:autoScalingGroupName/ci",
            "AutoScalingGroupName": "ci",
            "CapacityToTerminate": [{"AvailabilityZone": "eu-central-1a", "Capacity": capacity, "InstanceMarketOption": "on-demand"}],
            "Instances": self.group.iter().map(instance).collect::<Vec<_>>(),
            "Cause": "SCALE_IN",
        })
    }

    /// Asks as Auto Scaling does, and gives back the numbers of the instances that may go.
    pub(crate) async fn ask(&self, capacity: usize) -> Vec<usize> {
        numbers(&invoke(&mut self.policy(), self.event(capacity)).await)
    }

    /// The paths that were asked for since the last call, with their method.
    pub(crate) fn asked(&self) -> Vec<String> {
        let requests = self.github.requests();
        self.github.clear_requests();
        let line = |request: &scale_in_guard::testing::fake_github::Request| {
            let by_name = request.query.iter().any(|(key, _)| key == "name");
            let listing = request.path.ends_with("/actions/runners") && !by_name;
            let listed = if listing { " (all)" } else { "" };
            format!("{} {}{listed}", request.method, request.path)
        };
        requests.iter().map(line).collect()
    }

    pub(crate) fn is_registered(&self, number: usize) -> bool {
        self.github.is_registered(&self.scope, &name(number))
    }

    pub(crate) fn start_job(&self, number: usize) -> scale_in_guard::testing::fake_github::JobId {
        self.github
            .start_job(&self.scope, &name(number), REPOSITORY)
    }
}

/// Invokes a handler with ten seconds to answer.
pub(crate) async fn invoke(handler: &mut Handler, event: Value) -> Value {
    invoke_within(handler, event, TimeDelta::seconds(10)).await
}

pub(crate) async fn invoke_within(handler: &mut Handler, event: Value, span: TimeDelta) -> Value {
    let mut context = Context::default();
    let deadline = SystemClock.now() + span;
    context.deadline = u64::try_from(deadline.timestamp_millis()).unwrap();
    let event = LambdaEvent::new(event, context);
    handler.call(event).await.expect("it always answers")
}

/// The numbers of the instances in an answer.
pub(crate) fn numbers(answer: &Value) -> Vec<usize> {
    let ids = answer["InstanceIDs"].as_array().unwrap();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    let number = |id: &Value| {
        let id = id.as_str().unwrap().strip_prefix("i-").unwrap();
        usize::from_str_radix(id, 16).unwrap()
    };
    ids.iter().map(number).collect()
}
