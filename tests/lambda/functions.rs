//! The built functions of an Auto Scaling group, under Lambdas with true deadlines: a sweep on a schedule and the
//! termination policy, over one table, beside a group of AWS's stand-in.

use crate::{
    moto::Moto,
    process::Function,
    world::{REPOSITORY, Scope, SystemClock, Value, json},
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_autoscaling::{
    Client,
    config::{Credentials, SharedCredentialsProvider},
};
use scale_in_guard::{
    stores::DynamoStore,
    testing::{FakeGitHub, FakeLambda, Invocation},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep};

/// Whatever is waited for has come by then, on any machine; else it never comes.
const BOUND: Duration = Duration::from_secs(180);

/// What Auto Scaling gives a termination policy.
const TWO_SECONDS: Duration = Duration::from_secs(2);

struct Group {
    moto: Moto,
    github: FakeGitHub,
    scope: Scope,
    instances: Vec<String>,
    sweeps: FakeLambda,
    policies: FakeLambda,
    store: String,
}

impl Group {
    /// A group of so many instances; `None` where there is no stand-in for AWS.
    async fn of(instances: i32, table: &str) -> Option<Self> {
        let moto = Moto::start()?;
        let config = config(&moto);
        let table_of = DynamoStore::new(&config, table).expect("a store");
        table_of.create_table().await.expect("the table");
        let client = Client::new(&config);
        let template = client.create_launch_configuration();
        let template = template.launch_configuration_name("runners");
        let template = template.image_id("ami-12c6146b").instance_type("t2.medium");
        template.send().await.expect("a launch configuration");
        let group = client
            .create_auto_scaling_group()
            .auto_scaling_group_name("ci");
        let group = group.launch_configuration_name("runners");
        let group = group.min_size(0).max_size(10).desired_capacity(instances);
        let group = group.availability_zones("eu-central-1a");
        group.send().await.expect("a group");
        let groups = client.describe_auto_scaling_groups().send().await;
        let groups = groups.expect("the group");
        let instances = groups.auto_scaling_groups()[0].instances().iter();
        let github = FakeGitHub::start(SystemClock).await.expect("a port");
        let scope: Scope = "org:acme".parse().expect("a scope");
        github.add_scope(&scope);
        github.add_repository(REPOSITORY);
        github.register(&scope, "of-another-group");
        Some(Self {
            store: format!("dynamodb://{table}?endpoint={}", moto.url()),
            instances: instances
                .filter_map(|instance| instance.instance_id().map(str::to_owned))
                .collect(),
            moto,
            github,
            scope,
            sweeps: FakeLambda::start().await.expect("a port"),
            policies: FakeLambda::start().await.expect("a port"),
        })
    }

    fn start(&self, example: &str, lambda: &FakeLambda, mode: &str) -> Function {
        let (aws, api) = (self.moto.url(), self.github.url());
        let variables = [
            ("SCALE_IN_GUARD_STORE", self.store.as_str()),
            ("SCALE_IN_GUARD_GROUPS", "ci"),
            ("SCALE_IN_GUARD_MODE", mode),
            ("GITHUB_API_URL", &api),
            ("GITHUB_TOKEN", self.github.token()),
            ("AWS_ENDPOINT_URL", &aws),
        ];
        Function::start(example, lambda, &variables)
    }

    fn runner(&self, at: usize) -> String {
        format!("ghr-{}", self.instances[at])
    }

    /// One round of each function; whom Auto Scaling was told of.
    async fn round(&self) -> Vec<usize> {
        let sweep = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
        let swept = self.sweeps.invoke(sweep, Duration::from_secs(60)).await;
        let Invocation::Answered(report) = swept else {
            panic!("no sweep: {swept:?}")
        };
        assert_eq!(report["machines"], self.instances.len(), "{report}");
        sleep(Duration::from_millis(250)).await;
        let instance = |id: &String| {
            json!({"InstanceId": id, "AvailabilityZone": "eu-central-1a",
                "InstanceType": "t2.medium", "InstanceMarketOption": "on-demand"})
        };
        let event = json!({
            "AutoScalingGroupARN": "arn:aws:autoscaling:eu-central-1:1:autoScalingGroup:d4:autoScalingGroupName/ci",
            "AutoScalingGroupName": "ci",
            "CapacityToTerminate": [{"AvailabilityZone": "eu-central-1a", "Capacity": 3, "InstanceMarketOption": "on-demand"}],
            "Instances": self.instances.iter().map(instance).collect::<Vec<_>>(),
            "Cause": "SCALE_IN",
        });
        let asked = self.policies.invoke(event, TWO_SECONDS).await;
        let Invocation::Answered(answer) = asked else {
            panic!("AWS had to wait for longer than it does: {asked:?}")
        };
        let ids = answer["InstanceIDs"].as_array().expect("a list");
        let at = |id: &Value| self.instances.iter().position(|known| id == known);
        ids.iter()
            .map(|id| at(id).expect("one of the group's"))
            .collect()
    }

    /// Asks until all of these were told, and none but these; what is told is terminated, and had no job.
    async fn until_told(&self, wanted: &[usize], log: &Function) {
        let end = Instant::now() + BOUND;
        let mut left: BTreeSet<_> = wanted.iter().copied().collect();
        while !left.is_empty() {
            assert!(
                Instant::now() < end,
                "{left:?} never go: {:?}",
                log.log().last()
            );
            for at in self.round().await {
                assert!(wanted.contains(&at), "{at} was told");
                if left.remove(&at) && at != 2 {
                    let killed = self.github.kill(&self.scope, &self.runner(at));
                    assert!(!killed.was_occupied, "{at} had a job");
                }
            }
        }
    }
}

fn config(moto: &Moto) -> SdkConfig {
    let credentials = Credentials::new("fake", "fake", None, None, "tests");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("eu-central-1"))
        .endpoint_url(moto.url())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leased_runner_stays_whatever_its_flag_says_and_the_others_go() {
    let Some(group) = Group::of(3, "guard-of-a-group").await else {
        return;
    };
    group.github.register(&group.scope, &group.runner(0));
    group.github.register(&group.scope, &group.runner(1));
    // The third never became a runner.
    let job = group
        .github
        .start_job(&group.scope, &group.runner(0), REPOSITORY);
    group
        .github
        .lie_busy(&group.scope, &group.runner(0), Some(false));
    let policy = group.start("termination_policy", &group.policies, "live");
    let _sweep = group.start("scheduled_sweep", &group.sweeps, "live");
    group.until_told(&[1, 2], &policy).await;
    let runner = group.runner(0);
    assert!(group.github.is_occupied(&group.scope, &runner));
    assert!(
        group.github.is_registered(&group.scope, &runner),
        "not even deregistered"
    );
    group.github.finish_job(job);
    group.until_told(&[0, 1, 2], &policy).await;
    let log = policy.log();
    let told: Vec<_> = log
        .iter()
        .filter(|line| line["message"] == "termination policy")
        .collect();
    for field in [
        "group",
        "cause",
        "scope",
        "asked",
        "candidates",
        "ready",
        "draining",
        "held",
    ] {
        assert!(
            told.iter().all(|line| !line[field].is_null()),
            "{field}: {told:?}"
        );
    }
    assert!(
        !format!("{log:?}").contains(group.github.token()),
        "a secret is logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_mode_nothing_is_named_and_nothing_changed() {
    let Some(group) = Group::of(1, "guard-in-shadow").await else {
        return;
    };
    group.github.register(&group.scope, &group.runner(0));
    let policy = group.start("termination_policy", &group.policies, "shadow");
    let _sweep = group.start("scheduled_sweep", &group.sweeps, "shadow");
    let end = Instant::now() + BOUND;
    let would_go = |line: &Value| line["would_drain"] == group.instances[0].as_str();
    while !policy.log().iter().any(would_go) {
        assert!(Instant::now() < end, "{:?}", policy.log().last());
        assert_eq!(group.round().await, [] as [usize; 0]);
    }
    let requests = group.github.requests();
    assert!(requests.iter().all(|request| request.method == "GET"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_is_said_and_nothing_named() {
    let Some(group) = Group::of(1, "guard-that-is-empty").await else {
        return;
    };
    group.github.register(&group.scope, &group.runner(0));
    let policy = group.start("termination_policy", &group.policies, "live");
    let event = json!({
        "CapacityToTerminate": [{"Capacity": 1}],
        "Instances": [{"InstanceId": group.instances[0]}],
    });
    let answer = group.policies.invoke(event, TWO_SECONDS).await;
    assert_eq!(answer, Invocation::Answered(json!({"InstanceIDs": []})));
    let said = |line: &Value| {
        line["trouble"]
            .as_str()
            .is_some_and(|why| why.contains("nobody has swept org:acme yet"))
    };
    assert!(policy.log().iter().any(said), "{:?}", policy.log());
    assert_eq!(group.github.request_count(), 0);
}
