//! A fleet: instances in EC2, the runners on them at GitHub, and what the function is told of both.

use crate::{
    ec2::{Ec2, Fate},
    function::Function,
    moto::Moto,
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::{
    config::{Credentials, SharedCredentialsProvider},
    types::{Filter, InstanceStateName, InstanceType, ResourceType, Tag, TagSpecification},
};
use aws_sdk_ssm::types::ParameterType;
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Scope,
    clock::SystemClock,
    testing::{
        FakeGitHub,
        fake_github::{FakeApp, JobId},
    },
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::Instant;

/// Whatever is waited for has come by then, on any machine; else it never comes.
pub(crate) const BOUND: Duration = Duration::from_secs(240);

pub(crate) const REPO: &str = "repo:acme/atlas";
pub(crate) const ORG: &str = "org:acme";

/// The default, but for what EC2 dates: instances are as young as the test.
const POLICY: &str = "
min_age = '0s'
registration_deadline = '1s'
";

/// A warm function believes for so long that a runner has a job.
const HASTY: &str = "evidence_max_age = '4s'";

/// How often the module invokes its scale-down.
pub(crate) const INTERVAL: TimeDelta = TimeDelta::minutes(5);

/// The runners on each instance, by its id: their scopes and names.
type Hosts = Arc<Mutex<HashMap<String, Vec<(Scope, String)>>>>;

pub(crate) struct World {
    pub(crate) github: FakeGitHub,
    pub(crate) ec2: Ec2,
    moto: Arc<Moto>,
    folder: TempDir,
    environment: String,
    variables: BTreeMap<String, String>,
    /// The runners on each instance.
    on: Hosts,
    /// The instances that had a job when they were terminated.
    killed: Arc<Mutex<Vec<String>>>,
}

/// An instance with one runner.
#[derive(Debug, Clone)]
pub(crate) struct One {
    pub(crate) id: String,
    pub(crate) scope: Scope,
    pub(crate) name: String,
}

impl World {
    /// `None` where the stand-in is not installed.
    pub(crate) async fn new() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let moto = Moto::shared()?;
        let environment = format!("ci-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let github = FakeGitHub::start(SystemClock).await.expect("a port");
        let app = FakeApp::new(7, "Iv23fake")
            .installed(1, "acme")
            .installed(2, "globex");
        github.install_app(&app);
        github.add_repository("acme/atlas");
        github.add_repository("globex/core");
        let on = Hosts::default();
        let killed: Arc<Mutex<Vec<String>>> = Arc::default();
        let ec2 = Ec2::before(moto.address, {
            let (github, on, killed) = (github.clone(), Arc::clone(&on), Arc::clone(&killed));
            Arc::new(move |instance: &str| {
                for (scope, name) in on.lock().unwrap().get(instance).into_iter().flatten() {
                    if github.kill(scope, name).was_occupied {
                        killed.lock().unwrap().push(instance.to_owned());
                    }
                }
            })
        });
        let folder = tempfile::tempdir().expect("a folder");
        let world = Self {
            variables: BTreeMap::new(),
            github,
            ec2,
            moto,
            folder,
            environment,
            on,
            killed,
        };
        world.put("id", "7").await;
        world
            .put("key", &BASE64_STANDARD.encode(FakeGitHub::app_key()))
            .await;
        Some(world.with_defaults())
    }

    fn with_defaults(self) -> Self {
        let (environment, database) = (self.environment.clone(), self.database());
        let defaults = [
            ("AWS_ENDPOINT_URL", self.moto.url()),
            ("AWS_ENDPOINT_URL_EC2", self.ec2.url()),
            ("ENVIRONMENT", environment.clone()),
            ("GHES_URL", self.github.url()),
            ("SCALE_DOWN_CONFIG", "[]".to_owned()),
            ("MINIMUM_RUNNING_TIME_IN_MINUTES", "0".to_owned()),
            ("RUNNER_BOOT_TIME_IN_MINUTES", "0".to_owned()),
            ("PARAMETER_GITHUB_APP_ID_NAME", format!("/{environment}/id")),
            (
                "PARAMETER_GITHUB_APP_KEY_BASE64_NAME",
                format!("/{environment}/key"),
            ),
            (
                "SCALE_IN_GUARD_STORE",
                format!("sqlite:{}", database.display()),
            ),
            ("SCALE_IN_GUARD_POLICY", format!("{POLICY}\n{HASTY}")),
            (
                "SCALE_IN_GUARD_REPOSITORIES",
                "acme/atlas,globex/core".to_owned(),
            ),
            ("SCALE_IN_GUARD_REPOSITORIES_ARE_ALL", "true".to_owned()),
            ("SCALE_IN_GUARD_LIMITS", "none".to_owned()),
            ("SCALE_IN_GUARD_MODE", "live".to_owned()),
        ];
        defaults
            .into_iter()
            .fold(self, |world, (name, value)| world.with(name, &value))
    }

    /// With this variable, besides or instead; without it where it is empty.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With these keys of the policy instead of the hasty one: a line each.
    pub(crate) fn with_policy(self, keys: &str) -> Self {
        self.with("SCALE_IN_GUARD_POLICY", &format!("{POLICY}\n{keys}"))
    }

    pub(crate) async fn function(&self) -> Function {
        Function::start(&self.variables).await
    }

    /// What the function is told, with this variable instead.
    pub(crate) fn variables_with(&self, name: &str, value: &str) -> BTreeMap<String, String> {
        let mut variables = self.variables.clone();
        variables.insert(name.to_owned(), value.to_owned());
        variables
    }

    /// The name of a parameter of this environment.
    pub(crate) fn parameter(&self, name: &str) -> String {
        format!("/{}/{name}", self.environment)
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("guard.sqlite")
    }

    pub(crate) fn aws(&self) -> SdkConfig {
        let credentials = Credentials::new("fake", "fake", None, None, "tests");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(self.moto.url())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }

    async fn put(&self, name: &str, value: &str) {
        let name = self.parameter(name);
        let put = aws_sdk_ssm::Client::new(&self.aws())
            .put_parameter()
            .name(name)
            .value(value)
            .r#type(ParameterType::SecureString);
        put.send().await.expect("a parameter");
    }

    /// Instances with these tags, beside those that the module gives every one.
    pub(crate) async fn launch(&self, count: usize, tags: &[(&str, &str)]) -> Vec<String> {
        let ours = [
            ("ghr:Application", "github-action-runner"),
            ("ghr:environment", &self.environment),
        ];
        let tags = ours
            .iter()
            .chain(tags)
            .map(|(key, value)| Tag::builder().key(*key).value(*value).build());
        let tags = TagSpecification::builder()
            .resource_type(ResourceType::Instance)
            .set_tags(Some(tags.collect()))
            .build();
        let count = i32::try_from(count).unwrap();
        let run = aws_sdk_ec2::Client::new(&self.aws())
            .run_instances()
            .image_id("ami-12c6146b")
            .instance_type(InstanceType::T3Micro)
            .min_count(count)
            .max_count(count)
            .tag_specifications(tags);
        let launched = run.send().await.expect("instances");
        let ids = launched
            .instances()
            .iter()
            .map(|one| one.instance_id().unwrap().to_owned());
        ids.collect()
    }

    /// An instance of this owner with one runner, which is registered.
    pub(crate) async fn one(&self, scope: &str, tags: &[(&str, &str)]) -> One {
        let mut ones = self.some(1, scope, tags).await;
        ones.remove(0)
    }

    pub(crate) async fn some(&self, count: usize, scope: &str, tags: &[(&str, &str)]) -> Vec<One> {
        let owner = owner_tags(scope);
        let tags: Vec<_> = owner.iter().chain(tags).copied().collect();
        let ids = self.launch(count, &tags).await;
        ids.into_iter()
            .map(|id| self.register(&id, scope, "linux"))
            .collect()
    }

    /// Instances that never became runners.
    pub(crate) async fn phantoms(&self, count: usize, scope: &str) -> Vec<One> {
        let ids = self.launch(count, &owner_tags(scope)).await;
        ids.into_iter()
            .map(|id| self.place(&id, scope, "linux"))
            .collect()
    }

    /// Registers a runner on an instance.
    pub(crate) fn register(&self, id: &str, scope: &str, prefix: &str) -> One {
        let one = self.place(id, scope, prefix);
        self.github.register(&one.scope, &one.name);
        one
    }

    /// A runner on an instance that GitHub knows nothing of.
    pub(crate) fn place(&self, id: &str, scope: &str, prefix: &str) -> One {
        let scope: Scope = scope.parse().expect("a scope");
        self.github.add_scope(&scope);
        // Of a scope that is empty nothing is believed for ten minutes.
        if !self.github.is_registered(&scope, "elsewhere") {
            self.github.register(&scope, "elsewhere");
        }
        let name = format!("{prefix}_{id}");
        let mut on = self.on.lock().unwrap();
        let on = on.entry(id.to_owned()).or_default();
        on.push((scope.clone(), name.clone()));
        One {
            id: id.to_owned(),
            scope,
            name,
        }
    }

    pub(crate) fn start_job(&self, one: &One) -> JobId {
        let repository = match one.scope.to_string().as_str() {
            "org:globex" => "globex/core",
            _ => "acme/atlas",
        };
        self.github.start_job(&one.scope, &one.name, repository)
    }

    /// A job of which the flag says nothing.
    pub(crate) fn start_unflagged_job(&self, one: &One) -> JobId {
        self.github.lie_busy(&one.scope, &one.name, Some(false));
        self.start_job(one)
    }

    /// The instances that run, as EC2 tells.
    pub(crate) async fn running(&self) -> Vec<String> {
        let of_ours = Filter::builder()
            .name("tag:ghr:environment")
            .values(&self.environment);
        let described = aws_sdk_ec2::Client::new(&self.aws())
            .describe_instances()
            .filters(of_ours.build())
            .send();
        let described = described.await.expect("the instances");
        let instances = described
            .reservations()
            .iter()
            .flat_map(|reservation| reservation.instances());
        let is_running =
            |state: Option<&InstanceStateName>| state == Some(&InstanceStateName::Running);
        instances
            .filter(|one| is_running(one.state().and_then(|state| state.name())))
            .map(|one| one.instance_id().unwrap().to_owned())
            .collect()
    }

    pub(crate) async fn runs(&self, one: &One) -> bool {
        self.running().await.contains(&one.id)
    }

    /// The instances that had a job when they were terminated: there must be none.
    pub(crate) fn killed(&self) -> Vec<String> {
        self.killed.lock().unwrap().clone()
    }

    /// Lets the next calls to terminate fail so.
    pub(crate) fn meet(&self, fates: impl IntoIterator<Item = Fate>) {
        self.ec2.meet(fates);
    }

    /// Invokes the function, five minutes after the last time.
    pub(crate) async fn round(&self, function: &Function) -> Value {
        self.pass(INTERVAL);
        function.round().await
    }

    /// Invokes the function every five minutes, until there is something to be seen.
    pub(crate) async fn until<T>(
        &self,
        function: &Function,
        what: &str,
        mut look: impl AsyncFnMut(&Value) -> Option<T>,
    ) -> T {
        let end = Instant::now() + BOUND;
        loop {
            let summary = self.round(function).await;
            if let Some(found) = look(&summary).await {
                return found;
            }
            assert!(
                Instant::now() < end,
                "never: {what}; the log: {:#?}",
                function.log()
            );
        }
    }

    /// Invokes the function until these instances are gone, and no job with them.
    pub(crate) async fn until_gone(&self, function: &Function, ones: &[&One]) {
        let gone = async |_: &Value| {
            let running = self.running().await;
            let all = ones.iter().all(|one| !running.contains(&one.id));
            all.then_some(())
        };
        self.until(function, "the instances are gone", gone).await;
        assert_eq!(self.killed(), [""; 0]);
    }

    /// Invokes the function for so long that an idle neighbour, which comes now, has gone all the way out: and this
    /// instance is there still.
    pub(crate) async fn stays(&self, function: &Function, one: &One) {
        let neighbour = self.one(&one.scope.to_string(), &[]).await;
        let gone = async |_: &Value| {
            let running = self.running().await;
            assert!(running.contains(&one.id), "{:#?}", function.last(&one.id));
            (!running.contains(&neighbour.id)).then_some(())
        };
        self.until(function, "the neighbour is gone", gone).await;
        assert_eq!(self.killed(), [""; 0]);
    }

    /// Lets so much time pass: all that is remembered becomes older. Nobody looks meanwhile.
    pub(crate) fn pass(&self, span: TimeDelta) {
        if !self.database().exists() {
            return;
        }
        let store = rusqlite::Connection::open(self.database()).expect("the store");
        let mut all = store
            .prepare("SELECT rowid, value FROM record")
            .expect("its table");
        let records: Vec<(i64, String)> = all
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .expect("its records");
        for (row, value) in records {
            let mut value: Value = serde_json::from_str(&value).expect("JSON");
            age(&mut value, span);
            let older =
                "UPDATE record SET value = ?2, written_at = written_at - ?3 WHERE rowid = ?1";
            let changed = (row, value.to_string(), span.num_milliseconds());
            store.execute(older, changed).expect("a record");
        }
    }
}

/// Makes every instant in it older.
fn age(value: &mut Value, span: TimeDelta) {
    match value {
        Value::String(text) => {
            if let Ok(at) = text.parse::<DateTime<Utc>>() {
                *value = serde_json::to_value(at - span).expect("an instant");
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| age(value, span)),
        Value::Object(fields) => {
            // EC2's own word, which would contradict it.
            let fields = fields.iter_mut().filter(|(key, _)| *key != "launched_at");
            fields.for_each(|(_, value)| age(value, span));
        }
        _ => {}
    }
}

/// What the module writes down of an owner.
fn owner_tags(scope: &str) -> [(&str, &str); 2] {
    match scope.split_once(':').expect("a scope") {
        ("org", owner) => [("ghr:Owner", owner), ("ghr:Type", "Org")],
        (_, owner) => [("ghr:Owner", owner), ("ghr:Type", "Repo")],
    }
}
