//! What the module's variables and ours say, read strictly: whatever is not understood is an error that names it.

use crate::idle::Idle;
use chrono::TimeDelta;
use scale_in_guard::{
    Policy,
    github::{API_URL, Limits, Repository},
    guard::Mode,
    instance::NameRule,
    sources::Repositories,
    stores::StoreUrl,
};
use std::{
    collections::BTreeMap,
    env,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};
use thiserror::Error;

/// What our own variables begin with.
const OURS: &str = "SCALE_IN_GUARD_";

/// Our own variables, for whoever misspelt one. The log and the store read one each by themselves.
const KNOWN: [&str; 10] = [
    "SCALE_IN_GUARD_LIMITS",
    "SCALE_IN_GUARD_LOG",
    "SCALE_IN_GUARD_MODE",
    "SCALE_IN_GUARD_POLICY",
    "SCALE_IN_GUARD_REDIS_PASSWORD",
    "SCALE_IN_GUARD_REPOSITORIES",
    "SCALE_IN_GUARD_REPOSITORIES_ARE_ALL",
    "SCALE_IN_GUARD_RUNNER_NAME",
    "SCALE_IN_GUARD_STORE",
    "SCALE_IN_GUARD_WEBHOOKS",
];

/// Everything that an invocation is told from outside.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Which of the module's environments: `ghr:environment`.
    pub(crate) environment: String,
    /// How many idle runners are kept, and when.
    pub(crate) idle: Idle,
    /// How long an instance is left alone after its launch, once it has registered.
    pub(crate) minimum_running_time: TimeDelta,
    /// The names of the parameters that hold the App's id and its key.
    pub(crate) app: AppParameters,
    /// The GitHub to ask.
    pub(crate) api_url: String,
    /// How fast it may be asked.
    pub(crate) limits: Limits,
    /// Where it is remembered.
    pub(crate) store: StoreUrl,
    /// Whose jobs the runners of organisations take.
    pub(crate) repositories: Repositories,
    /// Whether a receiver of webhooks keeps a ledger in the same store.
    pub(crate) has_webhooks: bool,
    /// How the runners on an instance are named.
    pub(crate) rule: NameRule,
    /// What is waited for, and how long.
    pub(crate) policy: Policy,
    /// Whether anything is done.
    pub(crate) mode: Mode,
}

/// Where the credentials of the GitHub App are kept, in the Parameter Store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppParameters {
    /// The App's id.
    pub(crate) id: String,
    /// Its private key: a PEM file, in base64.
    pub(crate) key: String,
}

/// Why the variables could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SettingsError {
    /// One is missing.
    #[error("{name} is not set; {wanted}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it should hold.
        wanted: &'static str,
    },
    /// One cannot be what it should.
    #[error("{name}: {what}")]
    Wrong {
        /// The variable.
        name: &'static str,
        /// What is wrong, and what to write.
        what: String,
    },
    /// One of ours is misspelt.
    #[error("{name} is no variable of ours; there are {}", KNOWN.join(", "))]
    Unknown {
        /// The variable.
        name: String,
    },
}

fn wrong(name: &'static str, what: impl Display) -> SettingsError {
    let what = what.to_string();
    SettingsError::Wrong { name, what }
}

/// The variables that are set, and not to nothing: Terraform writes an empty text for what is null.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn get(&self, name: &'static str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn needed(&self, name: &'static str, wanted: &'static str) -> Result<&str, SettingsError> {
        self.get(name)
            .ok_or(SettingsError::Missing { name, wanted })
    }

    fn parsed<T>(&self, name: &'static str) -> Result<Option<T>, SettingsError>
    where
        T: FromStr<Err: Display>,
    {
        let parsed = self.get(name).map(str::parse).transpose();
        parsed.map_err(|error| wrong(name, error))
    }

    fn minutes(&self, name: &'static str) -> Result<TimeDelta, SettingsError> {
        let text = self.needed(name, "the module sets it, to a number of minutes")?;
        let minutes = text.parse::<u32>().map_err(|_| {
            let what = format!("{text:?} is no number of minutes, such as 5");
            wrong(name, what)
        })?;
        Ok(TimeDelta::minutes(minutes.into()))
    }

    fn flag(&self, name: &'static str) -> Result<bool, SettingsError> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(wrong(name, format!("{other:?} is neither true nor false"))),
        }
    }

    /// A misspelt variable would silently do nothing.
    fn all_known(&self) -> Result<(), SettingsError> {
        let mut ours = self.0.keys().filter(|name| name.starts_with(OURS));
        match ours.find(|name| !KNOWN.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(SettingsError::Unknown { name: name.clone() }),
        }
    }
}

impl Settings {
    /// What the environment says.
    ///
    /// # Errors
    /// [`SettingsError`] with the name of the first variable that is wrong.
    pub(crate) fn from_env() -> Result<Self, SettingsError> {
        // What is no text is none of ours.
        let texts = env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::from_variables(texts)
    }

    /// What these variables say.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub(crate) fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let set = variables.into_iter().filter(|(_, value)| !value.is_empty());
        let variables = Variables(set.collect());
        variables.all_known()?;
        Ok(Self {
            environment: variables.needed("ENVIRONMENT", BY_THE_MODULE)?.to_owned(),
            idle: {
                let name = "SCALE_DOWN_CONFIG";
                variables.needed(name, BY_THE_MODULE)?;
                variables.parsed(name)?.unwrap_or_default()
            },
            minimum_running_time: variables.minutes("MINIMUM_RUNNING_TIME_IN_MINUTES")?,
            app: AppParameters {
                id: first_of(variables.needed("PARAMETER_GITHUB_APP_ID_NAME", BY_THE_MODULE)?),
                key: first_of(
                    variables.needed("PARAMETER_GITHUB_APP_KEY_BASE64_NAME", BY_THE_MODULE)?,
                ),
            },
            api_url: api_url(variables.get("GHES_URL")),
            limits: limits(&variables)?,
            store: store(&variables)?,
            repositories: repositories(&variables)?,
            has_webhooks: variables.flag("SCALE_IN_GUARD_WEBHOOKS")?,
            rule: variables
                .parsed("SCALE_IN_GUARD_RUNNER_NAME")?
                .unwrap_or(NameRule::EndsWith),
            policy: policy(&variables)?,
            mode: mode(&variables)?,
        })
    }
}

const BY_THE_MODULE: &str =
    "the module sets it for its own scale-down: give this function the same variables";

/// The module joins the parameters of several Apps with colons; any of them can do what is asked here.
fn first_of(parameters: &str) -> String {
    let first = parameters.split(':').next();
    first.unwrap_or(parameters).to_owned()
}

/// The API of the GitHub whose pages are at this URL, as the module finds it.
fn api_url(pages: Option<&str>) -> String {
    let Some(pages) = pages else {
        return API_URL.to_owned();
    };
    let pages = pages.trim_end_matches('/');
    match pages.strip_prefix("https://") {
        Some(host) if host.ends_with(".ghe.com") => format!("https://api.{host}"),
        _ => format!("{pages}/api/v3"),
    }
}

fn store(variables: &Variables) -> Result<StoreUrl, SettingsError> {
    let name = "SCALE_IN_GUARD_STORE";
    variables.needed(
        name,
        "write dynamodb://TABLE: without a memory no runner may ever go",
    )?;
    match variables.parsed(name)? {
        Some(StoreUrl::Memory) | None => Err(wrong(
            name,
            "a function forgets between two invocations what is in its memory; write dynamodb://TABLE",
        )),
        Some(store) => Ok(store),
    }
}

fn repositories(variables: &Variables) -> Result<Repositories, SettingsError> {
    let (list, are_all) = (
        "SCALE_IN_GUARD_REPOSITORIES",
        "SCALE_IN_GUARD_REPOSITORIES_ARE_ALL",
    );
    let given = variables
        .get(list)
        .map_or_else(Vec::new, |list| list.split(',').collect());
    let given: Vec<Repository> = given
        .into_iter()
        .map(|repository| repository.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(list, error))?;
    match variables.flag(are_all)? {
        true if given.is_empty() => Err(wrong(are_all, format!("{list} gives none"))),
        true => Ok(Repositories::all(given)),
        false => Ok(Repositories::some(given)),
    }
}

/// The policy, in which an instance has at least as long to register as the module gives it.
fn policy(variables: &Variables) -> Result<Policy, SettingsError> {
    let name = "SCALE_IN_GUARD_POLICY";
    let mut policy = match variables.get(name) {
        None => Policy::default(),
        Some(given) => {
            let text = match given.strip_prefix("file:") {
                None => given.to_owned(),
                Some(path) => {
                    let read = fs::read_to_string(in_bundle(path));
                    read.map_err(|error| wrong(name, format!("{path}: {error}")))?
                }
            };
            toml::from_str(&text).map_err(|error| wrong(name, error))?
        }
    };
    let boot_time = variables.minutes("RUNNER_BOOT_TIME_IN_MINUTES")?;
    policy.registration_deadline = policy.registration_deadline.max(boot_time);
    let checked = policy.validate();
    checked.map_err(|error| wrong("RUNNER_BOOT_TIME_IN_MINUTES", error))?;
    Ok(policy)
}

/// A file of the bundle, which Lambda unpacks where it says.
fn in_bundle(path: &str) -> PathBuf {
    let bundle = env::var_os("LAMBDA_TASK_ROOT").unwrap_or_default();
    Path::new(&bundle).join(path)
}

fn mode(variables: &Variables) -> Result<Mode, SettingsError> {
    let name = "SCALE_IN_GUARD_MODE";
    match variables.get(name) {
        None | Some("shadow") => Ok(Mode::Shadow),
        Some("live") => Ok(Mode::Live),
        Some(other) => Err(wrong(name, format!("{other:?} is neither shadow nor live"))),
    }
}

fn limits(variables: &Variables) -> Result<Limits, SettingsError> {
    let name = "SCALE_IN_GUARD_LIMITS";
    match variables.get(name) {
        None | Some("github.com") => Ok(Limits::default()),
        Some("none") => Ok(Limits::none()),
        Some(other) => Err(wrong(
            name,
            format!(
                "{other:?} is neither github.com nor none, for an Enterprise Server without limits"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: [(&str, &str); 7] = [
        ("ENVIRONMENT", "ci"),
        ("SCALE_DOWN_CONFIG", "[]"),
        ("MINIMUM_RUNNING_TIME_IN_MINUTES", "5"),
        ("RUNNER_BOOT_TIME_IN_MINUTES", "5"),
        ("PARAMETER_GITHUB_APP_ID_NAME", "/gh/id"),
        ("PARAMETER_GITHUB_APP_KEY_BASE64_NAME", "/gh/key"),
        ("SCALE_IN_GUARD_STORE", "dynamodb://guard"),
    ];

    fn read(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let variables = GIVEN.iter().chain(more);
        let variables: BTreeMap<_, _> = variables
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Settings::from_variables(variables)
    }

    #[test]
    fn the_modules_variables_and_a_store_are_enough() {
        let settings = read(&[]).unwrap();
        assert_eq!(
            settings.mode,
            Mode::Shadow,
            "nothing acts that nobody told to"
        );
        assert_eq!(settings.api_url, API_URL);
        assert_eq!(settings.minimum_running_time, TimeDelta::minutes(5));
        assert_eq!(
            settings.policy,
            Policy::default(),
            "5 minutes to boot are less than ours"
        );
        assert_eq!(settings.limits, Limits::default());
    }

    #[test]
    fn each_variable_has_its_effect() {
        let settings = read(&[
            ("RUNNER_BOOT_TIME_IN_MINUTES", "20"),
            ("PARAMETER_GITHUB_APP_ID_NAME", "/gh/id:/gh/second-id"),
            ("SCALE_IN_GUARD_MODE", "live"),
            ("SCALE_IN_GUARD_RUNNER_NAME", "contains"),
            ("SCALE_IN_GUARD_LIMITS", "none"),
            ("SCALE_IN_GUARD_WEBHOOKS", "true"),
            ("SCALE_IN_GUARD_POLICY", "grace = \"7m\""),
            ("SCALE_IN_GUARD_REPOSITORIES", "acme/atlas, acme/beacon"),
            ("SCALE_IN_GUARD_REPOSITORIES_ARE_ALL", "true"),
        ])
        .unwrap();
        assert_eq!(
            settings.policy.registration_deadline,
            TimeDelta::minutes(20)
        );
        assert_eq!(settings.policy.grace, TimeDelta::minutes(7));
        assert_eq!(settings.app.id, "/gh/id");
        assert_eq!((settings.mode, settings.has_webhooks), (Mode::Live, true));
        let both = ["acme/atlas", "acme/beacon"].map(|name| name.parse().unwrap());
        assert_eq!(settings.repositories, Repositories::all(both));
        assert_eq!(settings.limits, Limits::none());
        assert_eq!(settings.rule, NameRule::Contains);
    }

    #[test]
    fn a_github_of_ones_own_is_found_as_the_module_finds_it() {
        for (pages, api) in [
            ("", "https://api.github.com"),
            (
                "https://github.example.com",
                "https://github.example.com/api/v3",
            ),
            (
                "https://github.example.com/",
                "https://github.example.com/api/v3",
            ),
            ("https://acme.ghe.com", "https://api.acme.ghe.com"),
        ] {
            assert_eq!(read(&[("GHES_URL", pages)]).unwrap().api_url, api);
        }
    }

    #[test]
    fn what_is_wrong_is_refused_by_the_name_of_its_variable() {
        for (name, value, says) in [
            ("ENVIRONMENT", "", "not set"),
            ("SCALE_DOWN_CONFIG", "", "not set"),
            ("SCALE_DOWN_CONFIG", "{", "idle_config"),
            ("MINIMUM_RUNNING_TIME_IN_MINUTES", "", "not set"),
            ("MINIMUM_RUNNING_TIME_IN_MINUTES", "-1", "no number"),
            ("MINIMUM_RUNNING_TIME_IN_MINUTES", "5m", "no number"),
            ("RUNNER_BOOT_TIME_IN_MINUTES", "soon", "no number"),
            (
                "RUNNER_BOOT_TIME_IN_MINUTES",
                "4000000",
                "registration_deadline",
            ),
            ("PARAMETER_GITHUB_APP_ID_NAME", "", "not set"),
            ("PARAMETER_GITHUB_APP_KEY_BASE64_NAME", "", "not set"),
            ("SCALE_IN_GUARD_STORE", "", "not set"),
            ("SCALE_IN_GUARD_STORE", "memory", "forgets"),
            ("SCALE_IN_GUARD_STORE", "mysql://guard", "names no store"),
            ("SCALE_IN_GUARD_MODE", "Live", "neither shadow nor live"),
            ("SCALE_IN_GUARD_MODE", "true", "neither shadow nor live"),
            (
                "SCALE_IN_GUARD_LIMITS",
                "some",
                "neither github.com nor none",
            ),
            ("SCALE_IN_GUARD_WEBHOOKS", "yes", "neither true nor false"),
            ("SCALE_IN_GUARD_POLICY", "grcae = \"5m\"", "grcae"),
            ("SCALE_IN_GUARD_POLICY", "file:nowhere.toml", "nowhere.toml"),
            ("SCALE_IN_GUARD_REPOSITORIES", "acme", "OWNER/NAME"),
            ("SCALE_IN_GUARD_REPOSITORIES_ARE_ALL", "true", "gives none"),
            ("SCALE_IN_GUARD_RUNNER_NAME", "begins-with", "no rule"),
            ("SCALE_IN_GUARD_MODUS", "live", "SCALE_IN_GUARD_MODE"),
        ] {
            let refused = read(&[(name, value)]).unwrap_err().to_string();
            let named = refused.starts_with(name) && refused.contains(says);
            assert!(named, "{name}={value}: {refused}");
        }
    }
}
