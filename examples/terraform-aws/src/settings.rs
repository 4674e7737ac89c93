//! What the module's variables say, read strictly, and those of ours beside them.

use crate::idle::{Idle, IdleError};
use chrono::TimeDelta;
use scale_in_guard::{
    github::API_URL,
    instance::NameRule,
    lambda::{self, SettingsError},
    policy::PolicyError,
};
use std::{collections::BTreeMap, env};
use thiserror::Error;

/// Everything that an invocation is told from outside.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Which of the module's environments: `ghr:environment`.
    pub(crate) environment: String,
    /// How many idle runners are kept, and when.
    pub(crate) idle: Idle,
    /// How long an instance is left alone after its launch, once it has registered.
    pub(crate) minimum_running_time: TimeDelta,
    /// How the runners on an instance are named.
    pub(crate) rule: NameRule,
    /// What every function of ours is told: the store, the policy, whether anything is done.
    pub(crate) common: lambda::Settings,
}

/// Why the variables could not be read.
#[derive(Debug, Error)]
pub(crate) enum Unreadable {
    /// One of the module's is missing.
    #[error(
        "{0} is not set; the module sets it for its own scale-down: give this function the same variables"
    )]
    Missing(&'static str),
    /// One is no number of minutes.
    #[error("{name}: {value:?} is no number of minutes, such as 5")]
    Minutes {
        /// The variable.
        name: &'static str,
        /// What it is set to.
        value: String,
    },
    /// The idle counts are none.
    #[error("SCALE_DOWN_CONFIG: {0}")]
    Idle(#[from] IdleError),
    /// The boot time is none that a policy can have.
    #[error("RUNNER_BOOT_TIME_IN_MINUTES: {0}")]
    BootTime(#[from] PolicyError),
    /// One of ours is wrong.
    #[error(transparent)]
    Common(#[from] SettingsError),
}

/// The variables that are set, and not to nothing: Terraform writes an empty text for what is null.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn needed(&self, name: &'static str) -> Result<&str, Unreadable> {
        let value = self.0.get(name).map(String::as_str);
        value.ok_or(Unreadable::Missing(name))
    }

    fn minutes(&self, name: &'static str) -> Result<TimeDelta, Unreadable> {
        let value = self.needed(name)?;
        match value.parse::<u32>() {
            Ok(minutes) => Ok(TimeDelta::minutes(minutes.into())),
            Err(_) => Err(Unreadable::Minutes {
                name,
                value: value.to_owned(),
            }),
        }
    }

    /// The variables of ours, and the module's under the names that ours have.
    fn common(&self) -> Result<BTreeMap<String, String>, Unreadable> {
        let mut common = self.0.clone();
        for (ours, the_modules) in [
            ("GITHUB_APP_ID_PARAMETER", "PARAMETER_GITHUB_APP_ID_NAME"),
            (
                "GITHUB_APP_PRIVATE_KEY_PARAMETER",
                "PARAMETER_GITHUB_APP_KEY_BASE64_NAME",
            ),
        ] {
            let parameter = first_of(self.needed(the_modules)?);
            common.insert(ours.to_owned(), parameter.to_owned());
        }
        let pages = self.0.get("GHES_URL").map(String::as_str);
        common.insert("GITHUB_API_URL".to_owned(), api_url(pages));
        Ok(common)
    }
}

impl Settings {
    /// What the environment says.
    ///
    /// # Errors
    /// [`Unreadable`] with the name of the first variable that is wrong.
    pub(crate) fn from_env() -> Result<Self, Unreadable> {
        Self::read(env::vars_os().filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        }))
    }

    /// What these variables say.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub(crate) fn read(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Unreadable> {
        let set = variables.into_iter().filter(|(_, value)| !value.is_empty());
        let variables = Variables(set.collect());
        let mut common = lambda::Settings::read(variables.common()?)?;
        let boot_time = variables.minutes("RUNNER_BOOT_TIME_IN_MINUTES")?;
        let policy = &mut common.policy;
        policy.registration_deadline = policy.registration_deadline.max(boot_time);
        policy.validate()?;
        Ok(Self {
            environment: variables.needed("ENVIRONMENT")?.to_owned(),
            idle: variables.needed("SCALE_DOWN_CONFIG")?.parse()?,
            minimum_running_time: variables.minutes("MINIMUM_RUNNING_TIME_IN_MINUTES")?,
            rule: common.runner_name.clone().unwrap_or(NameRule::EndsWith),
            common,
        })
    }
}

/// The module joins the parameters of several Apps with colons; any of them can do what is asked here.
fn first_of(parameters: &str) -> &str {
    parameters.split(':').next().unwrap_or(parameters)
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

#[cfg(test)]
mod tests {
    use super::*;
    use scale_in_guard::{Policy, guard::Mode};

    const GIVEN: [(&str, &str); 7] = [
        ("ENVIRONMENT", "ci"),
        ("SCALE_DOWN_CONFIG", "[]"),
        ("MINIMUM_RUNNING_TIME_IN_MINUTES", "5"),
        ("RUNNER_BOOT_TIME_IN_MINUTES", "5"),
        ("PARAMETER_GITHUB_APP_ID_NAME", "/gh/id"),
        ("PARAMETER_GITHUB_APP_KEY_BASE64_NAME", "/gh/key"),
        ("SCALE_IN_GUARD_STORE", "dynamodb://guard"),
    ];

    fn read(more: &[(&str, &str)]) -> Result<Settings, Unreadable> {
        let variables = GIVEN.iter().chain(more);
        let variables: BTreeMap<_, _> = variables
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Settings::read(variables)
    }

    #[test]
    fn the_modules_variables_and_a_store_are_enough() {
        let Settings {
            common,
            minimum_running_time,
            rule,
            ..
        } = read(&[]).unwrap();
        assert_eq!(
            common.mode,
            Mode::Shadow,
            "nothing acts that nobody told to"
        );
        assert_eq!(common.api_url, API_URL);
        assert_eq!(
            common.policy,
            Policy::default(),
            "5 minutes to boot are less than ours"
        );
        assert_eq!(minimum_running_time, TimeDelta::minutes(5));
        assert_eq!(rule, NameRule::EndsWith);
    }

    #[test]
    fn each_variable_has_its_effect() {
        let settings = read(&[
            ("RUNNER_BOOT_TIME_IN_MINUTES", "20"),
            ("PARAMETER_GITHUB_APP_ID_NAME", "/gh/id:/gh/second-id"),
            ("SCALE_IN_GUARD_RUNNER_NAME", "contains"),
            ("SCALE_IN_GUARD_MODE", "live"),
            ("SCALE_IN_GUARD_POLICY", "grace = \"7m\""),
        ]);
        let Settings { common, rule, .. } = settings.unwrap();
        assert_eq!(common.policy.registration_deadline, TimeDelta::minutes(20));
        assert_eq!(common.policy.grace, TimeDelta::minutes(7));
        assert_eq!((common.mode, rule), (Mode::Live, NameRule::Contains));
        assert_eq!(first_of("/gh/id:/gh/second-id"), "/gh/id");
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
            assert_eq!(read(&[("GHES_URL", pages)]).unwrap().common.api_url, api);
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
            ("SCALE_IN_GUARD_STORE", "memory", ""),
            ("SCALE_IN_GUARD_MODUS", "live", "SCALE_IN_GUARD_MODE"),
        ] {
            let refused = read(&[(name, value)]).unwrap_err().to_string();
            let named = refused.starts_with(name) && refused.contains(says);
            assert!(named, "{name}={value}: {refused}");
        }
    }
}
