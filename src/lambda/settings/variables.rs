//! The variables that mean us.

use super::{
    API, GROUPS, LIMITS, MODE, OTHERS, OTHERS_LABELLED, POLICY, REPOSITORIES, REPOSITORIES_ARE_ALL,
    RUNNER_NAME, SCOPE, STORE, SettingsError, WEBHOOKS, credentials, log,
};
use crate::stores::REDIS_PASSWORD;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// What the names of our own variables begin with.
const OURS: &str = "SCALE_IN_GUARD_";

/// Every variable of our own.
const KNOWN: [&str; 14] = [
    GROUPS,
    OTHERS,
    OTHERS_LABELLED,
    LIMITS,
    STORE,
    SCOPE,
    RUNNER_NAME,
    REPOSITORIES,
    REPOSITORIES_ARE_ALL,
    POLICY,
    WEBHOOKS,
    MODE,
    log::LOG,
    REDIS_PASSWORD,
];

/// Those that are set, and not to nothing. It has no `Debug`: there are secrets among them.
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Those of ours, and those about GitHub.
    pub(super) fn new(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let mut ours = BTreeMap::new();
        for (variable, value) in variables {
            let is_ours = KNOWN.contains(&variable.as_str());
            if variable.starts_with(OURS) && !is_ours {
                let known = KNOWN.join(", ");
                return Err(SettingsError::Unknown { variable, known });
            }
            let is_githubs = variable == API || credentials::VARIABLES.contains(&variable.as_str());
            if (is_ours || is_githubs) && !value.is_empty() {
                ours.insert(variable, value);
            }
        }
        let variables = Self(ours);
        match variables.get(log::LOG) {
            Some(text) if !log::is_filter(text) => Err(SettingsError::refused(
                log::LOG,
                format!("{text:?} is no filter"),
                "write such as info or warn,scale_in_guard=debug",
            )),
            _ => Ok(variables),
        }
    }

    pub(super) fn get(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(String::as_str)
    }

    /// What a variable says, where it is no secret.
    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(
        &self,
        variable: &'static str,
        write: &'static str,
    ) -> Result<Option<T>, SettingsError> {
        let refused = |error: T::Err| SettingsError::refused(variable, error, write);
        self.get(variable)
            .map(str::parse)
            .transpose()
            .map_err(refused)
    }

    pub(super) fn is_true(&self, variable: &'static str) -> Result<bool, SettingsError> {
        Ok(self
            .parsed(variable, "write true or false")?
            .unwrap_or(false))
    }
}
