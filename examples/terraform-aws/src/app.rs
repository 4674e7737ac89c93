//! The credentials of the GitHub App, in the parameters in which the module keeps them.

use crate::settings::AppParameters;
use aws_config::SdkConfig;
use aws_sdk_ssm::{
    Client,
    config::{self, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use scale_in_guard::github::{App, AppKey, SetupError};
use std::{collections::HashMap, time::Duration};
use thiserror::Error;

/// How long reading them may take.
const TO_READ: Duration = Duration::from_secs(10);

/// Why the App's credentials could not be had. It shows no value of a parameter.
#[derive(Debug, Error)]
pub(crate) enum AppError {
    /// The Parameter Store refused, or did not answer.
    #[error("the parameters {id} and {key} could not be read: {what}")]
    Unread {
        /// The parameter of the id.
        id: String,
        /// That of the key.
        key: String,
        /// What went wrong.
        what: String,
    },
    /// There is no such parameter.
    #[error("there is no parameter {0}; give the name that the module's own scale-down has")]
    Missing(String),
    /// The key is none.
    #[error("the parameter {0} holds no PEM file in base64")]
    Key(String),
    /// The id or the key cannot be one.
    #[error(transparent)]
    App(#[from] SetupError),
}

/// Reads them.
///
/// # Errors
/// [`AppError`] when they could not be read, or are none.
pub(crate) async fn app(aws: &SdkConfig, parameters: &AppParameters) -> Result<App, AppError> {
    let AppParameters { id, key } = parameters;
    let time = TimeoutConfig::builder().operation_timeout(TO_READ);
    let config = config::Builder::from(aws).timeout_config(time.build());
    let read = Client::from_conf(config.build())
        .get_parameters()
        .names(id)
        .names(key)
        .with_decryption(true)
        .send();
    let read = read.await.map_err(|error| AppError::Unread {
        id: id.clone(),
        key: key.clone(),
        what: match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => DisplayErrorContext(&error).to_string(),
        },
    })?;
    let values = read.parameters().iter();
    let values: HashMap<_, _> = values
        .filter_map(|parameter| Some((parameter.name()?, parameter.value()?)))
        .collect();
    let value = |name: &String| {
        let value = values.get(name.as_str()).copied();
        value.ok_or_else(|| AppError::Missing(name.clone()))
    };
    Ok(App::new(value(id)?, pem(key, value(key)?)?)?)
}

/// The key as the module stores it: in base64, and where it stood on one line, with `\n` for each line's end.
fn pem(name: &str, value: &str) -> Result<AppKey, AppError> {
    let no_key = || AppError::Key(name.to_owned());
    let text = BASE64_STANDARD.decode(value.trim()).map_err(|_| no_key())?;
    let text = String::from_utf8(text).map_err(|_| no_key())?;
    Ok(AppKey::pem(text.replace("\\n", "\n"))?)
}
