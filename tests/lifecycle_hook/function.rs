//! The built example under a Lambda of our own: a held job, a heartbeat for each delivery, and the end once it is over.

use crate::{
    moto::Moto,
    process::Function,
    stand_in::StandIn,
    world::{ONE, REPOSITORY, again, batch, terminating},
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ssm::{
    Client,
    config::{Credentials, SharedCredentialsProvider},
    types::ParameterType,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use scale_in_guard::{
    Scope,
    clock::SystemClock,
    stores::DynamoStore,
    testing::{FakeGitHub, FakeLambda, Invocation, fake_github::FakeApp},
};
use serde_json::Value;
use std::{fs, time::Duration};
use tokio::time::{Instant, sleep};

/// Whatever is waited for has come by then, on any machine; else it never comes.
const BOUND: Duration = Duration::from_secs(120);

/// An invocation's time, as the docs advise it.
const TIME: Duration = Duration::from_secs(30);

struct World {
    github: FakeGitHub,
    scope: Scope,
    lambda: FakeLambda,
    group: StandIn,
}

impl World {
    async fn new() -> Self {
        let github = FakeGitHub::start(SystemClock).await.expect("a port");
        let scope: Scope = "org:acme".parse().expect("a scope");
        github.add_scope(&scope);
        github.add_repository(REPOSITORY);
        github.register(&scope, "another");
        Self {
            github,
            scope,
            lambda: FakeLambda::start().await.expect("a port"),
            group: StandIn::start(),
        }
    }

    /// A runner on the instance that has a job, while GitHub says that it has none.
    fn occupied(&self) -> (String, scale_in_guard::testing::fake_github::JobId) {
        let name = format!("linux-{ONE}");
        self.github.register(&self.scope, &name);
        let job = self.github.start_job(&self.scope, &name, REPOSITORY);
        self.github.lie_busy(&self.scope, &name, Some(false));
        (name, job)
    }

    /// Delivers the instance's message; whether it comes again, and what the group was told.
    async fn deliver(&self) -> (bool, Vec<String>) {
        // A queue waits, too. Without any pause the requests of a minute are soon spent.
        sleep(Duration::from_millis(250)).await;
        let event = batch(&[terminating(ONE)]);
        let Invocation::Answered(answer) = self.lambda.invoke(event, TIME).await else {
            panic!("no answer")
        };
        let operation = |form: String| {
            let fields = form_urlencoded::parse(form.as_bytes());
            let action = fields.into_owned().find(|(name, _)| name == "Action");
            action.expect("an action").1
        };
        let told = self.group.told().into_iter().map(operation).collect();
        (!again(&answer).is_empty(), told)
    }

    async fn holds_until_the_job_is_over(&self, function: &Function) {
        let (name, job) = self.occupied();
        // Longer than every window of the policy.
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            let (comes_again, told) = self.deliver().await;
            assert!(comes_again);
            assert_eq!(told, ["RecordLifecycleActionHeartbeat"]);
        }
        assert!(self.github.is_occupied(&self.scope, &name));
        self.github.finish_job(job);
        let end = Instant::now() + BOUND;
        loop {
            assert!(
                Instant::now() < end,
                "it never goes: {:?}",
                function.log().last()
            );
            match self.deliver().await {
                (true, told) => assert_eq!(told, ["RecordLifecycleActionHeartbeat"]),
                (false, told) => {
                    assert_eq!(told, ["CompleteLifecycleAction"]);
                    break;
                }
            }
        }
        assert!(!self.github.is_registered(&self.scope, &name));
        assert!(!self.github.kill(&self.scope, &name).was_occupied);
    }
}

fn of_steps(log: &[Value]) -> impl Iterator<Item = &Value> {
    log.iter()
        .filter(|line| line["message"] == "lifecycle_hook")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_keeps_its_instance_and_the_end_of_the_job_lets_it_go() {
    let world = World::new().await;
    let function = Function::start(
        "lifecycle_hook",
        &world.lambda,
        &[
            ("GITHUB_API_URL", &world.github.url()),
            ("GITHUB_TOKEN", world.github.token()),
            ("AWS_ENDPOINT_URL_AUTO_SCALING", &world.group.url()),
        ],
    );
    world.holds_until_the_job_is_over(&function).await;
    let log = function.log();
    let steps: Vec<_> = of_steps(&log).collect();
    let (last, held) = steps.split_last().expect("steps");
    for step in held {
        assert_eq!(step["action"], "heartbeat", "{step}");
    }
    assert_eq!(last["action"], "complete");
    for (field, value) in [("instance", ONE), ("group", "linux"), ("hook", "runners")] {
        assert_eq!(last[field], value, "{last}");
    }
    let text = format!("{log:?}");
    for secret in [world.github.token(), "token-of-"] {
        assert!(!text.contains(secret), "{secret} is logged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_from_parameters_and_a_table_serve_as_well() {
    let Some(moto) = Moto::start() else { return };
    let config = config(&moto);
    let store = DynamoStore::new(&config, "guard-of-a-hook").expect("a store");
    store.create_table().await.expect("the table");
    let ssm = Client::new(&config);
    let packed = BASE64_STANDARD.encode(FakeGitHub::app_key());
    for (name, value) in [("/github/app-id", "31"), ("/github/app-key", &packed)] {
        let put = ssm.put_parameter().name(name).value(value);
        let put = put.r#type(ParameterType::SecureString).send().await;
        put.expect("the parameter");
    }
    let world = World::new().await;
    let app = FakeApp::new(31, "Iv23liABCdefGHI").installed(7, "acme");
    world.github.install_app(&app);
    let endpoint = moto.url();
    let store = format!("dynamodb://guard-of-a-hook?endpoint={endpoint}");
    let function = Function::start(
        "lifecycle_hook",
        &world.lambda,
        &[
            ("SCALE_IN_GUARD_STORE", &store),
            ("GITHUB_API_URL", &world.github.url()),
            ("GITHUB_APP_ID_PARAMETER", "/github/app-id"),
            ("GITHUB_APP_PRIVATE_KEY_PARAMETER", "/github/app-key"),
            ("AWS_ENDPOINT_URL_SSM", &endpoint),
            ("AWS_ENDPOINT_URL_AUTO_SCALING", &world.group.url()),
        ],
    );
    world.holds_until_the_job_is_over(&function).await;
    assert!(world.github.installation_tokens() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_cannot_be_put_together_lets_no_instance_go() {
    let Some(moto) = Moto::start() else { return };
    let world = World::new().await;
    let (group, aws) = (world.group.url(), moto.url());
    let variables = [
        ("GITHUB_TOKEN_PARAMETER", "/github/nowhere"),
        ("AWS_ENDPOINT_URL_SSM", aws.as_str()),
        ("AWS_ENDPOINT_URL_AUTO_SCALING", group.as_str()),
    ];
    let function = Function::start("lifecycle_hook", &world.lambda, &variables);
    for _ in 0..2 {
        let (comes_again, told) = world.deliver().await;
        assert!(comes_again);
        assert_eq!(told, ["RecordLifecycleActionHeartbeat"]);
    }
    let said = fs::read_to_string(function.folder.path().join("log")).expect("the log");
    for part in ["/github/nowhere", "ssm:GetParameters"] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_mode_such_a_function_ends_and_holds_up_nothing() {
    let lambda = FakeLambda::start().await.expect("a port");
    let variables = [
        ("SCALE_IN_GUARD_MODE", "shadow"),
        ("SCALE_IN_GUARD_STOER", "memory"),
    ];
    let mut function = Function::start("lifecycle_hook", &lambda, &variables);
    let ended = function.process.wait().expect("its end");
    assert!(!ended.success());
    let said = fs::read_to_string(function.folder.path().join("log")).expect("the log");
    assert!(
        said.contains("SCALE_IN_GUARD_STOER is no setting"),
        "{said}"
    );
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
