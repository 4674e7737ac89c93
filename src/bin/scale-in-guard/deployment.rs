//! What is asked, where it is remembered, and under which policy: the options that `check` and `sweep`
//! share.

use crate::{
    Fault,
    credentials::Credentials,
    store::{self, GivenStore},
};
use chrono::{DateTime, Utc};
use clap::Args;
use etcetera::BaseStrategy;
use scale_in_guard::{
    Decision, Guard, Policy, Runner, Scope,
    github::{API_URL, ApiUrl, GitHub, PlainHttp, Repository},
    guard::GuardBuilder,
    instance::NameRule,
    runner::{RunnerId, RunnerName},
    shadow::busy_only,
    sources::{Others, Repositories},
    store::Store,
    stores::StoreUrl,
};
use std::{
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which GitHub, and where it is remembered.
#[derive(Args)]
pub(crate) struct Place {
    /// Where the runners are registered: org:NAME, repo:OWNER/NAME or enterprise:NAME
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Scope,

    #[command(flatten)]
    kept: Kept,
}

/// Where it is remembered, and of which GitHub.
#[derive(Args)]
pub(crate) struct Kept {
    /// The GitHub to ask; also from GITHUB_API_URL. On Enterprise Server: https://HOST/api/v3
    /// [default: https://api.github.com]
    #[arg(long, value_name = "URL")]
    api_url: Option<String>,

    /// Let the token travel unencrypted to a host other than this one
    #[arg(long)]
    allow_plain_http: bool,

    /// Where earlier looks are remembered: sqlite:PATH, redis://HOST (rediss:// with TLS; redis+cluster:// and
    /// redis+sentinel://, too), dynamodb://TABLE or memory; see docs/stores.md. A Redis's password is read from
    /// SCALE_IN_GUARD_REDIS_PASSWORD [default: a SQLite file in your state folder, so that the grace window goes on
    /// between calls]
    #[arg(long, value_name = "STORE")]
    store: Option<GivenStore>,
}

/// What `check` and `sweep` share.
#[derive(Args)]
pub(crate) struct Deployment {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    credentials: Credentials,

    /// The repositories whose jobs an organisation's or enterprise's runners take, OWNER/NAME, separated
    /// by commas. Jobs found there hold
    #[arg(long, value_name = "O/N,…", value_delimiter = ',')]
    repos: Vec<Repository>,

    /// No other repository can use these runners: the jobs view may say vacant
    #[arg(long, requires = "repos")]
    repos_are_all: bool,

    /// How runners are named after the names given: equals, ends-with, contains or template:ghr-{instance}. Without it,
    /// while the scope shows a registration that nobody asks about, or ever did, a runner never seen is not given back
    #[arg(long, value_name = "RULE")]
    runner_names: Option<NameRule>,

    /// These registrations of the scope are others': a pattern of names, such as gpu-*; may be given several times
    #[arg(long, value_name = "PATTERN")]
    others: Vec<String>,

    /// So are those with this label; may be given several times
    #[arg(long, value_name = "LABEL")]
    others_labelled: Vec<String>,

    /// scale-in-guard webhook keeps what GitHub's webhooks tell in the same store: read it. Jobs found there hold
    #[arg(long)]
    webhooks: bool,

    /// The policy, as TOML; see docs/design.md for its keys
    #[arg(long, value_name = "FILE.toml")]
    policy: Option<PathBuf>,

    /// Shadow mode: decide, remember and count beside what a busy-only autoscaler would have done, and
    /// let nothing go
    #[arg(long)]
    pub(crate) shadow: bool,

    /// Print the decision as JSON, one line each; see docs/json.md
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which runner.
#[derive(Args)]
pub(crate) struct Subject {
    /// The runner's name, as GitHub shows it
    #[arg(long, value_name = "NAME")]
    runner: RunnerName,

    /// Its registration's number, where you know it
    #[arg(long, value_name = "N")]
    id: Option<u64>,

    /// When its instance was launched (RFC 3339), where you know it: a phantom is known by it
    #[arg(long, value_name = "TIME", value_parser = instant)]
    launched_at: Option<DateTime<Utc>>,
}

impl Subject {
    pub(crate) fn runner(&self, scope: &Scope) -> Result<Runner, Fault> {
        let mut runner = Runner::new(self.runner.as_str(), &scope.to_string())?;
        runner.id = self.id.map(RunnerId);
        runner.launched_at = self.launched_at;
        Ok(runner)
    }
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let instant = DateTime::parse_from_rfc3339(text);
    let instant = instant.map_err(|error| format!("{error}; write it as 2026-05-14T01:40:00Z"))?;
    Ok(instant.to_utc())
}

impl Place {
    /// The GitHub to ask.
    pub(crate) fn github(&self, credentials: &Credentials) -> Result<GitHub, Fault> {
        let client = credentials.client()?.api_url(self.kept.api_url());
        Ok(client.plain_http(self.kept.plain_http()).build()?)
    }

    /// The name that this GitHub has in records. No token is needed for it.
    pub(crate) fn host(&self) -> Result<String, Fault> {
        self.kept.host()
    }

    /// Where it is remembered.
    pub(crate) async fn store(&self) -> Result<Arc<dyn Store>, Fault> {
        self.kept.store().await
    }
}

impl Kept {
    fn api_url(&self) -> String {
        let from_env = || {
            env::var("GITHUB_API_URL")
                .ok()
                .filter(|url| !url.is_empty())
        };
        let given = self.api_url.clone().or_else(from_env);
        given.unwrap_or_else(|| API_URL.to_owned())
    }

    /// The name that this GitHub has in records. No token is needed for it.
    pub(crate) fn host(&self) -> Result<String, Fault> {
        Ok(ApiUrl::parse(&self.api_url(), self.plain_http())?.host())
    }

    fn plain_http(&self) -> PlainHttp {
        match self.allow_plain_http {
            true => PlainHttp::Anywhere,
            false => PlainHttp::LoopbackOnly,
        }
    }

    /// Where it is remembered.
    pub(crate) async fn store(&self) -> Result<Arc<dyn Store>, Fault> {
        open_store(self.store.as_ref()).await
    }

    /// The same, where others can read what is written there.
    pub(crate) async fn store_of_others(&self) -> Result<Arc<dyn Store>, Fault> {
        if let Some(given) = &self.store {
            given.is_for_others()?;
        }
        self.store().await
    }
}

/// Opens the store that was named, or the default one.
pub(crate) async fn open_store(given: Option<&GivenStore>) -> Result<Arc<dyn Store>, Fault> {
    let url = match given {
        Some(given) => given.url()?.clone(),
        None => StoreUrl::Sqlite(default_file()?),
    };
    Ok(store::open(&url, "every grace window begins now").await?)
}

/// The SQLite file in the user's state folder.
fn default_file() -> Result<PathBuf, Fault> {
    let folders = etcetera::choose_base_strategy().map_err(
        |_| "there is no home folder to remember in; say where with --store sqlite:PATH",
    )?;
    let state = folders.state_dir().unwrap_or_else(|| folders.data_dir());
    Ok(state.join("scale-in-guard").join("memory.sqlite"))
}

impl Deployment {
    /// The guard, and the GitHub that it asks.
    pub(crate) async fn guard(&self) -> Result<(Guard, GitHub), Fault> {
        let (builder, github) = self.builder().await?;
        Ok((builder.build()?, github))
    }

    /// The guard to be put together, and the GitHub that it asks.
    pub(crate) async fn builder(&self) -> Result<(GuardBuilder, GitHub), Fault> {
        let policy = self.read_policy()?;
        let repositories = self.repositories()?;
        let github = self.place.github(&self.credentials)?;
        let guard = Guard::builder()
            .policy(policy)
            .github(github.clone(), repositories)
            .others(self.others())
            .store(self.place.store().await?);
        let guard = match &self.runner_names {
            Some(rule) => guard.runner_names(rule.clone()),
            None => guard,
        };
        let guard = match self.webhooks {
            true => guard.webhooks(),
            false => guard,
        };
        let guard = if self.shadow { guard.shadow() } else { guard };
        Ok((guard, github))
    }

    fn others(&self) -> Others {
        let named = self.others.iter().map(String::as_str);
        let others = named.fold(Others::none(), Others::named);
        let labels = self.others_labelled.iter().map(String::as_str);
        labels.fold(others, Others::labelled)
    }

    fn repositories(&self) -> Result<Repositories, Fault> {
        let scope = &self.place.scope;
        match scope {
            Scope::Repository { .. } if !self.repos.is_empty() => {
                return Err(format!("--repos: the runners of {scope} take jobs of that repository alone; leave it out").into());
            }
            Scope::Organization(name) => {
                let foreign = |repo: &&Repository| !repo.owner().eq_ignore_ascii_case(name);
                if let Some(foreign) = self.repos.iter().find(foreign) {
                    return Err(format!(
                        "--repos: {foreign} is not of {scope}, whose runners cannot take its jobs"
                    )
                    .into());
                }
            }
            _ => {}
        }
        let repos = self.repos.iter().cloned();
        Ok(match self.repos_are_all {
            true => Repositories::all(repos),
            false => Repositories::some(repos),
        })
    }

    fn read_policy(&self) -> Result<Policy, Fault> {
        match &self.policy {
            Some(path) => read_policy(path),
            None => Ok(Policy::default()),
        }
    }
}

/// No policy is longer, in bytes.
const LONGEST_POLICY: u64 = 1 << 20;

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = fs::File::open(path)?
        .take(LONGEST_POLICY + 1)
        .read_to_string(&mut text)?;
    match u64::try_from(read).is_ok_and(|read| read <= LONGEST_POLICY) {
        true => Ok(text),
        false => Err(io::Error::other("it is longer than any policy")),
    }
}

pub(crate) fn read_policy(path: &Path) -> Result<Policy, Fault> {
    let shown = path.display();
    let text = read_bounded(path).map_err(|error| format!("--policy {shown}: {error}"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let policy = toml::from_str(text);
    Ok(policy.map_err(|error| format!("--policy {shown}: {error}"))?)
}

/// What the guard would do outside shadow mode, beside what an autoscaler would that asks nothing but
/// `busy`.
pub(crate) fn beside_busy_only(decision: &Decision) -> String {
    format!(
        "the guard would {}, busy-only would {}",
        decision.outside_shadow(),
        busy_only(decision.assessment())
    )
}

/// GitHub refused the token: nothing was really asked.
pub(crate) fn unless_refused(github: &GitHub) -> Result<(), Fault> {
    if github.refused_token() {
        return Err("GitHub refused the credentials (401, or the app); give a GITHUB_TOKEN that is valid, or see the id, the key and the installation of the app".into());
    }
    Ok(())
}
