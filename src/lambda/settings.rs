//! What the environment of a function says.

mod credentials;
mod error;
#[cfg(feature = "aws")]
mod parameters;
mod variables;

pub use error::SettingsError;

use self::{credentials::Credentials, variables::Variables};
use super::log;
use crate::{
    github::{API_URL, GitHub, Limits, Repository},
    guard::{Guard, Mode},
    instance::NameRule,
    policy::Policy,
    runner::Scope,
    sources::{Others, Repositories},
    stores::StoreUrl,
};
use std::{env, fs};

pub(super) const STORE: &str = "SCALE_IN_GUARD_STORE";
pub(super) const SCOPE: &str = "SCALE_IN_GUARD_SCOPE";
const RUNNER_NAME: &str = "SCALE_IN_GUARD_RUNNER_NAME";
const OTHERS: &str = "SCALE_IN_GUARD_OTHERS";
const OTHERS_LABELLED: &str = "SCALE_IN_GUARD_OTHERS_LABELLED";
const GROUPS: &str = "SCALE_IN_GUARD_GROUPS";
const REPOSITORIES: &str = "SCALE_IN_GUARD_REPOSITORIES";
const REPOSITORIES_ARE_ALL: &str = "SCALE_IN_GUARD_REPOSITORIES_ARE_ALL";
const POLICY: &str = "SCALE_IN_GUARD_POLICY";
const WEBHOOKS: &str = "SCALE_IN_GUARD_WEBHOOKS";
const MODE: &str = "SCALE_IN_GUARD_MODE";
const LIMITS: &str = "SCALE_IN_GUARD_LIMITS";
const API: &str = "GITHUB_API_URL";

/// What the shims read of the environment. `docs/lambda.md` has the table of variables.
///
/// It is read strictly: a variable of ours that is not known is an error, so that a typing error is seen; one that is
/// set to nothing is not set. No `Debug` and no error shows a secret.
///
/// ```
/// use scale_in_guard::{guard::Mode, lambda::Settings};
///
/// let settings = Settings::read([
///     ("SCALE_IN_GUARD_STORE", "dynamodb://scale-in-guard"),
///     ("SCALE_IN_GUARD_SCOPE", "org:acme"),
///     ("SCALE_IN_GUARD_POLICY", "grace = \"10m\""),
///     ("GITHUB_TOKEN", "ghs_…"),
/// ].map(|(name, value)| (name.to_owned(), value.to_owned())))?;
/// assert_eq!(settings.mode, Mode::Shadow);
/// # Ok::<_, scale_in_guard::lambda::SettingsError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Where it is remembered: `SCALE_IN_GUARD_STORE`.
    pub store: StoreUrl,
    /// Where the runners are registered: `SCALE_IN_GUARD_SCOPE`. Some shims know it otherwise.
    pub scope: Option<Scope>,
    /// How the names of runners follow from the ids of instances: `SCALE_IN_GUARD_RUNNER_NAME`. Default: as the shim
    /// has it.
    pub runner_name: Option<NameRule>,
    /// Which registrations of the scope are others': `SCALE_IN_GUARD_OTHERS`, patterns of names such as `gpu-*`, and
    /// `SCALE_IN_GUARD_OTHERS_LABELLED`, labels, each separated by commas. Default: none.
    pub others: Others,
    /// The Auto Scaling groups whose instances a sweep looks at: `SCALE_IN_GUARD_GROUPS`.
    pub groups: Vec<String>,
    /// Whose jobs the runners take: `SCALE_IN_GUARD_REPOSITORIES` and `…_ARE_ALL`. Default: none are given.
    pub repositories: Repositories,
    /// `SCALE_IN_GUARD_POLICY`, TOML or `file:PATH`. Default: [`Policy::default`].
    pub policy: Policy,
    /// Whether a receiver of webhooks writes to the same store: `SCALE_IN_GUARD_WEBHOOKS`. Default: no.
    pub webhooks: bool,
    /// `SCALE_IN_GUARD_MODE`: `shadow`, the default here, or `live`.
    pub mode: Mode,
    /// Which GitHub: `GITHUB_API_URL`. Default: github.com.
    pub api_url: String,
    /// How fast it is asked: `SCALE_IN_GUARD_LIMITS`, `github.com`, the default, or `none`, for an Enterprise Server
    /// without rate limits.
    pub limits: Limits,
    credentials: Credentials,
}

impl Settings {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// [`SettingsError`] names the variable, and what to write.
    pub fn from_env() -> Result<Self, SettingsError> {
        let variables = env::vars_os().filter_map(|(name, value)| {
            // What is no text is refused where it means us: it cannot be read.
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        Self::read(variables)
    }

    /// Reads these variables, each a name and what it is set to. Those of other programs may be among them.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn read(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let variables = Variables::new(variables)?;
        let scope =
            variables.parsed(SCOPE, "write org:NAME, repo:OWNER/NAME or enterprise:NAME")?;
        Ok(Self {
            store: store(&variables)?,
            repositories: repositories(&variables, scope.as_ref())?,
            scope,
            runner_name: variables.parsed(RUNNER_NAME, "that is how runners are named")?,
            others: others(&variables),
            groups: listed(&variables, GROUPS),
            policy: policy(&variables)?,
            webhooks: variables.is_true(WEBHOOKS)?,
            mode: mode(&variables)?,
            api_url: variables.get(API).unwrap_or(API_URL).to_owned(),
            limits: limits(&variables)?,
            credentials: Credentials::read(&variables)?,
        })
    }

    /// The scope, for a shim that cannot do without.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] where it was not given.
    pub fn scope(&self) -> Result<&Scope, SettingsError> {
        self.scope.as_ref().ok_or(SettingsError::Missing {
            variable: SCOPE,
            write: "write where the runners are registered: org:NAME, repo:OWNER/NAME or enterprise:NAME",
        })
    }

    /// The Auto Scaling groups, for a shim that cannot do without.
    ///
    /// # Errors
    /// [`SettingsError::Missing`] where none was given.
    pub fn groups(&self) -> Result<&[String], SettingsError> {
        match self.groups.is_empty() {
            false => Ok(&self.groups),
            true => Err(SettingsError::Missing {
                variable: GROUPS,
                write: "write the names of the Auto Scaling groups of these runners, separated by commas",
            }),
        }
    }

    /// The guard that these settings describe, which deregisters a runner before it is terminated, and the GitHub that
    /// it asks. Credentials that lie in parameters are read now, once.
    ///
    /// # Errors
    /// [`SettingsError`] when a parameter cannot be read, the store cannot be opened, or the credentials cannot be any.
    pub async fn guard(&self) -> Result<(Guard, GitHub), SettingsError> {
        let github = self.credentials.client().await?;
        let github = github.api_url(&self.api_url).limits(self.limits).build()?;
        let guard = Guard::builder()
            .policy(self.policy.clone())
            .github(github.clone(), self.repositories.clone())
            .others(self.others.clone())
            .store(self.store.open().await?)
            .deregister(github.clone());
        let guard = match self.webhooks {
            true => guard.webhooks(),
            false => guard,
        };
        let guard = match self.mode {
            Mode::Shadow => guard.shadow(),
            Mode::Live => guard,
        };
        Ok((guard.build()?, github))
    }
}

fn store(variables: &Variables) -> Result<StoreUrl, SettingsError> {
    const WRITE: &str = "write dynamodb://TABLE, redis://HOST or, for functions that share a file system, sqlite:PATH";
    let Some(text) = variables.get(STORE) else {
        return Err(SettingsError::Missing {
            variable: STORE,
            write: WRITE,
        });
    };
    match text.parse() {
        Ok(StoreUrl::Memory) => Err(SettingsError::refused(
            STORE,
            "what a function keeps in its memory is gone when AWS ends it, and no other one sees it",
            WRITE,
        )),
        Ok(url) => Ok(url),
        Err(error) => Err(SettingsError::refused(STORE, error, WRITE)),
    }
}

fn others(variables: &Variables) -> Others {
    let named = listed(variables, OTHERS).into_iter();
    let others = named.fold(Others::none(), |others, name| others.named(name));
    let labels = listed(variables, OTHERS_LABELLED).into_iter();
    labels.fold(others, |others, label| others.labelled(label))
}

fn listed(variables: &Variables, name: &str) -> Vec<String> {
    let names = variables.get(name).unwrap_or_default().split(',');
    let names = names.map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn repositories(
    variables: &Variables,
    scope: Option<&Scope>,
) -> Result<Repositories, SettingsError> {
    const WRITE: &str = "write OWNER/NAME, separated by commas";
    let refused = |what: String| SettingsError::refused(REPOSITORIES, what, WRITE);
    let are_all = variables.is_true(REPOSITORIES_ARE_ALL)?;
    let Some(text) = variables.get(REPOSITORIES) else {
        return match are_all {
            true => Err(SettingsError::Missing {
                variable: REPOSITORIES,
                write: "SCALE_IN_GUARD_REPOSITORIES_ARE_ALL speaks of them",
            }),
            false => Ok(Repositories::of_each_runner()),
        };
    };
    let given = text.split(',').map(|name| name.trim().parse());
    let given: Vec<Repository> = given
        .collect::<Result<_, _>>()
        .map_err(|error: crate::runner::NameError| refused(error.to_string()))?;
    match scope {
        Some(scope @ Scope::Repository { .. }) => {
            let what = format!("the runners of {scope} take jobs of that repository alone");
            return Err(SettingsError::refused(REPOSITORIES, what, "leave it out"));
        }
        Some(scope @ Scope::Organization(name)) => {
            let foreign = |repo: &&Repository| !repo.owner().eq_ignore_ascii_case(name);
            if let Some(foreign) = given.iter().find(foreign) {
                let what =
                    format!("{foreign} is not of {scope}, whose runners cannot take its jobs");
                return Err(SettingsError::refused(REPOSITORIES, what, "leave it out"));
            }
        }
        _ => {}
    }
    Ok(match are_all {
        true => Repositories::all(given),
        false => Repositories::some(given),
    })
}

fn policy(variables: &Variables) -> Result<Policy, SettingsError> {
    const WRITE: &str =
        "write keys of a policy as TOML, or file:PATH; docs/operating.md has the keys";
    let refused = |what: String| SettingsError::refused(POLICY, what, WRITE);
    let Some(text) = variables.get(POLICY) else {
        return Ok(Policy::default());
    };
    let read = match text.strip_prefix("file:") {
        Some(path) => {
            fs::read_to_string(path).map_err(|error| refused(format!("{path}: {error}")))?
        }
        None => text.to_owned(),
    };
    let toml = read.strip_prefix('\u{feff}').unwrap_or(&read);
    toml::from_str(toml).map_err(|error: toml::de::Error| refused(error.to_string()))
}

fn limits(variables: &Variables) -> Result<Limits, SettingsError> {
    match variables.get(LIMITS) {
        None | Some("github.com") => Ok(Limits::default()),
        Some("none") => Ok(Limits::none()),
        Some(other) => {
            let write = "write github.com, or none, for an Enterprise Server without rate limits";
            let what = format!("{other:?} names no limits");
            Err(SettingsError::refused(LIMITS, what, write))
        }
    }
}

fn mode(variables: &Variables) -> Result<Mode, SettingsError> {
    match variables.get(MODE) {
        None | Some("shadow") => Ok(Mode::Shadow),
        Some("live") => Ok(Mode::Live),
        Some(other) => {
            let write = "write shadow, which lets nothing go, or live";
            Err(SettingsError::refused(
                MODE,
                format!("{other:?} is no mode"),
                write,
            ))
        }
    }
}

#[cfg(test)]
mod tests;
