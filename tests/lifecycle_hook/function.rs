//! The built example under a Lambda of our own: a held job, a heartbeat for each delivery, and the end once it is over.

use crate::{
    moto::Moto,
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
use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Whatever is waited for has come by then, on any machine; else it never comes.
const BOUND: Duration = Duration::from_secs(120);

/// An invocation's time, as the docs advise it.
const TIME: Duration = Duration::from_secs(30);

const POLICY: &str = r#"
grace = "500ms"
min_age = "0s"
job_pending = "0s"
beacon_ttl = "1s"
settle = "1500ms"
registration_deadline = "1s"
"#;

/// The function, a process of its own. It ends with this.
struct Function {
    process: Child,
    folder: TempDir,
}

impl Function {
    fn start(lambda: &FakeLambda, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a file");
        let store = format!("sqlite:{}", folder.path().join("guard.sqlite").display());
        let mut command = Command::new(program());
        command
            .env_clear()
            .envs(lambda.environment())
            .env("SCALE_IN_GUARD_STORE", store)
            .env("SCALE_IN_GUARD_SCOPE", "org:acme")
            .env("SCALE_IN_GUARD_REPOSITORIES", REPOSITORY)
            .env("SCALE_IN_GUARD_REPOSITORIES_ARE_ALL", "true")
            .env("SCALE_IN_GUARD_POLICY", POLICY)
            .env("SCALE_IN_GUARD_MODE", "live")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("the same file"))
            .stdout(log);
        let process = command.spawn().expect("it starts");
        Self { process, folder }
    }

    /// What it logged so far: one JSON object a line, and nothing else.
    fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("log")).expect("the log");
        let whole = text.lines().filter(|line| !line.is_empty());
        whole
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The example, which Cargo builds beside the tests.
fn program() -> PathBuf {
    let test = env::current_exe().expect("this test's own path");
    let profile: Option<&Path> = test.ancestors().nth(2);
    let program = profile
        .expect("target/<profile>/deps")
        .join("examples/lifecycle_hook");
    assert!(
        program.is_file(),
        "{} is missing: `cargo test` builds it, `cargo test --test lifecycle_hook` does not; build it first, with \
         `--example lifecycle_hook` and the same features",
        program.display()
    );
    program
}

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
async fn a_parameter_that_is_missing_is_named_when_the_function_starts() {
    let Some(moto) = Moto::start() else { return };
    let lambda = FakeLambda::start().await.expect("a port");
    let mut function = Function::start(
        &lambda,
        &[
            ("GITHUB_TOKEN_PARAMETER", "/github/nowhere"),
            ("AWS_ENDPOINT_URL_SSM", &moto.url()),
        ],
    );
    let ended = function.process.wait().expect("its end");
    assert!(!ended.success());
    let said = fs::read_to_string(function.folder.path().join("log")).expect("the log");
    for part in ["/github/nowhere", "ssm:GetParameters"] {
        assert!(said.contains(part), "{said}");
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
