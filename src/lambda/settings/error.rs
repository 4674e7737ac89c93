//! What is wrong with a setting.

use crate::{github::SetupError, guard::BuildError, store::StoreError};
use thiserror::Error;

/// Why the settings make no guard. It shows no secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A variable that is needed is not set.
    #[error("{variable} is not set; {write}")]
    Missing {
        /// Which one.
        variable: &'static str,
        /// What to set it to.
        write: &'static str,
    },
    /// A variable is set to what it cannot be, or contradicts another one.
    #[error("{variable}: {what}; {write}")]
    Refused {
        /// Which one.
        variable: &'static str,
        /// What is wrong.
        what: String,
        /// What to do about it.
        write: &'static str,
    },
    /// No variable of ours is called so.
    #[error("{variable} is no setting; those of scale-in-guard are {known}")]
    Unknown {
        /// What stands in the environment.
        variable: String,
        /// Every name there is.
        known: String,
    },
    /// A parameter of Systems Manager could not be read.
    #[error(
        "the parameter {parameter}: {what}; see that it is there, and that the function may call ssm:GetParameters on it, and kms:Decrypt on its key"
    )]
    Parameter {
        /// Its name.
        parameter: String,
        /// What came back.
        what: String,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The URL or the credentials of GitHub cannot be any.
    #[error(transparent)]
    GitHub(#[from] SetupError),
    /// The guard cannot be put together.
    #[error(transparent)]
    Guard(#[from] BuildError),
}

impl SettingsError {
    pub(super) fn refused(
        variable: &'static str,
        what: impl ToString,
        write: &'static str,
    ) -> Self {
        let what = what.to_string();
        Self::Refused {
            variable,
            what,
            write,
        }
    }
}
