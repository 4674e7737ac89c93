//! What a termination policy takes for a group of 30,000 instances, over a GitHub and a store that take 20 ms an
//! answer; and how long a built function takes from its start to its first answer.
//!
//! `cargo run --release --features lambda,testing --example scale_in`, with other numbers of instances and of those to
//! go after `--`; `… -- cold target/release/examples/termination_policy` starts that function twenty times.

#![allow(clippy::disallowed_methods, reason = "what is measured is time")]

use async_trait::async_trait;
use lambda_runtime::{Context, LambdaEvent, tower::Service};
use scale_in_guard::{
    Guard, Scope,
    clock::{Clock, SystemClock},
    github::GitHub,
    instance::{Instance, NameRule},
    lambda::{self, Handler},
    sources::Repositories,
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::MemoryStore,
    testing::{FakeGitHub, FakeLambda, ManualClock},
};
use serde_json::{Value, json};
use std::{
    env,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

type Error = Box<dyn std::error::Error + Send + Sync>;

const LATENCY: Duration = Duration::from_millis(20);
const REPOSITORIES: usize = 4;
const OCCUPIED: usize = 40;

/// A store as far away as GitHub.
#[derive(Debug)]
struct Far(MemoryStore);

#[async_trait]
impl Store for Far {
    fn describe(&self) -> String {
        self.0.describe()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        tokio::time::sleep(LATENCY).await;
        self.0.read(keys).await
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        tokio::time::sleep(LATENCY).await;
        self.0.scan(api, scope, kind).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        tokio::time::sleep(LATENCY).await;
        self.0.swap(key, expected, value).await
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [cold, program] = arguments.as_slice()
        && cold == "cold"
    {
        return start_cold(program).await;
    }
    let mut numbers = arguments.iter().map(|text| text.parse());
    let instances = numbers.next().transpose()?.unwrap_or(30_000);
    let capacity = numbers.next().transpose()?.unwrap_or(10);
    scale_in(instances, capacity).await
}

fn id(number: usize) -> String {
    format!("i-{number:017x}")
}

async fn scale_in(instances: usize, capacity: usize) -> Result<(), Error> {
    let clock = ManualClock::at("2026-05-14T02:00:00Z".parse()?);
    let fake = FakeGitHub::start(clock.clone()).await?;
    let scope: Scope = "org:acme".parse()?;
    fake.add_scope(&scope);
    let repository = |number| format!("acme/r{number}");
    for number in 0..REPOSITORIES {
        fake.add_repository(&repository(number));
    }
    for number in 0..instances {
        fake.register(&scope, &id(number));
    }
    for number in 0..OCCUPIED.min(instances) {
        fake.start_job(&scope, &id(number), &repository(number % REPOSITORIES));
        fake.lie_busy(&scope, &id(number), Some(false));
    }
    fake.latency(LATENCY);
    let repositories = (0..REPOSITORIES).map(|number| repository(number).parse());
    let repositories = Repositories::all(repositories.collect::<Result<Vec<_>, _>>()?);
    let store = Arc::new(Far(MemoryStore::new().with_clock(clock.clone())));
    // Two functions, each with its own client.
    let function = || {
        let github = GitHub::builder(fake.token().to_owned()).api_url(fake.url());
        let github = github.build()?;
        let guard = Guard::builder()
            .clock(clock.clone())
            .github(github.clone(), repositories.clone())
            .store(Arc::clone(&store))
            .deregister(github.clone());
        Ok::<_, Error>((guard.build()?, github))
    };
    let (guard, github) = function()?;
    let all: Vec<_> = (0..instances)
        .map(|number| {
            Ok(Instance {
                id: id(number).parse()?,
                launched_at: None,
            })
        })
        .collect::<Result<_, Error>>()?;
    for _ in 0..3 {
        let (began, before) = (Instant::now(), fake.request_count());
        let rule = NameRule::Equals;
        let machines = guard.machines(&github, &scope, &rule, all.clone()).await?;
        let report = guard.muster(&scope, machines).await?;
        println!(
            "sweep: {:?}, {} requests, {} of {} could go",
            began.elapsed(),
            fake.request_count() - before,
            report.vacant,
            report.machines
        );
        clock.advance(chrono::TimeDelta::minutes(5));
    }
    let mut policy = lambda::termination_policy(function()?.0, scope);
    let event = event(instances, capacity);
    println!("event: {} bytes", event.to_string().len());
    for invocation in 1..=8 {
        let (began, before) = (Instant::now(), fake.request_count());
        let answer = invoke(&mut policy, event.clone()).await?;
        println!(
            "invocation {invocation}: {} named, {:?}, {} requests",
            answer
                .get("InstanceIDs")
                .and_then(Value::as_array)
                .map_or(0, Vec::len),
            began.elapsed(),
            fake.request_count() - before
        );
        clock.advance(chrono::TimeDelta::seconds(30));
    }
    Ok(())
}

fn event(instances: usize, capacity: usize) -> Value {
    let instance = |number| {
        json!({"AvailabilityZone": "eu-central-1a", "InstanceId": id(number), "InstanceType": "m7a.large",
            "InstanceMarketOption": "on-demand"})
    };
    json!({
        "AutoScalingGroupName": "ci",
        "CapacityToTerminate": [{"AvailabilityZone": "eu-central-1a", "Capacity": capacity, "InstanceMarketOption": "on-demand"}],
        "Instances": (0..instances).map(instance).collect::<Vec<_>>(),
        "Cause": "SCALE_IN",
    })
}

/// Invokes it as AWS does, with its two seconds.
async fn invoke(policy: &mut Handler, event: Value) -> Result<Value, Error> {
    let mut context = Context::default();
    let deadline = SystemClock.now() + chrono::TimeDelta::seconds(2);
    context.deadline = u64::try_from(deadline.timestamp_millis())?;
    policy.call(LambdaEvent::new(event, context)).await
}

async fn start_cold(program: &str) -> Result<(), Error> {
    let github = FakeGitHub::start(SystemClock).await?;
    let folder = env::temp_dir().join(format!("scale-in-{}", std::process::id()));
    let mut took = Vec::new();
    for number in 0..20 {
        let lambda = FakeLambda::start().await?;
        let store = folder.join(number.to_string());
        let began = Instant::now();
        let mut function = Command::new(program)
            .env_clear()
            .envs(lambda.environment())
            .env(
                "SCALE_IN_GUARD_STORE",
                format!("sqlite:{}", store.display()),
            )
            .env("SCALE_IN_GUARD_SCOPE", "org:acme")
            .env("GITHUB_API_URL", github.url())
            .env("GITHUB_TOKEN", github.token())
            .stdout(Stdio::null())
            .spawn()?;
        let answer = lambda.invoke(event(1, 1), Duration::from_secs(2)).await;
        took.push(began.elapsed());
        function.kill()?;
        function.wait()?;
        if number == 0 {
            println!("{answer:?}");
        }
    }
    took.sort_unstable();
    println!(
        "from its start to its first answer: {:?} in the median of {}, {:?} at the most",
        took.get(took.len() / 2),
        took.len(),
        took.last()
    );
    Ok(std::fs::remove_dir_all(folder)?)
}
