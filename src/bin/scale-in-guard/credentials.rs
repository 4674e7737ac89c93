//! Who asks GitHub: a token, or a GitHub App.

use crate::Fault;
use clap::Args;
use scale_in_guard::github::{App, AppKey, GitHub, GitHubBuilder};
use std::{env, path::PathBuf};

const TOKEN: &str = "GITHUB_TOKEN";
const APP_ID: &str = "GITHUB_APP_ID";
const APP_KEY: &str = "GITHUB_APP_PRIVATE_KEY";
const APP_KEY_FILE: &str = "GITHUB_APP_PRIVATE_KEY_FILE";
const INSTALLATION: &str = "GITHUB_APP_INSTALLATION_ID";

/// Every variable that holds or names credentials.
pub(crate) const VARIABLES: [&str; 5] = [TOKEN, APP_ID, APP_KEY, APP_KEY_FILE, INSTALLATION];

/// Who asks: GITHUB_TOKEN, unless an app is given.
#[derive(Args)]
pub(crate) struct Credentials {
    /// Ask as this GitHub App: its app id or client id; also from GITHUB_APP_ID. Its private key is read from
    /// --app-key, GITHUB_APP_PRIVATE_KEY_FILE or GITHUB_APP_PRIVATE_KEY
    #[arg(long, value_name = "ID", help_heading = "GitHub App")]
    app_id: Option<String>,

    /// The app's private key, a PEM file; also from GITHUB_APP_PRIVATE_KEY_FILE, or its text from
    /// GITHUB_APP_PRIVATE_KEY
    #[arg(long, value_name = "FILE.pem", help_heading = "GitHub App")]
    app_key: Option<PathBuf>,

    /// The app's installation; also from GITHUB_APP_INSTALLATION_ID [default: found by the scope]
    #[arg(long, value_name = "N", help_heading = "GitHub App")]
    installation_id: Option<u64>,
}

impl Credentials {
    pub(crate) fn client(&self) -> Result<GitHubBuilder, Fault> {
        let token = variable(TOKEN)?;
        let app_id = match &self.app_id {
            Some(id) => Some(id.clone()),
            None => variable(APP_ID)?,
        };
        match (app_id, token) {
            (Some(_), Some(_)) if self.app_id.is_none() => {
                Err(format!("{TOKEN} and {APP_ID} are both set; unset one").into())
            }
            (Some(id), _) => Ok(GitHub::app(self.app(&id)?)),
            (None, _) if self.app_key.is_some() || self.installation_id.is_some() => {
                Err(format!("--app-id (or {APP_ID}) is missing; give it with the app's key and installation").into())
            }
            (None, Some(token)) => Ok(GitHub::builder(token)),
            (None, None) => Err(format!(
                "{TOKEN} is not set; give it a token that may read the scope's self-hosted runners and the repositories' actions, or name a GitHub App with --app-id"
            )
            .into()),
        }
    }

    fn app(&self, id: &str) -> Result<App, Fault> {
        let app = App::new(id, self.key()?)?;
        let installation = match (self.installation_id, variable(INSTALLATION)?) {
            (Some(id), _) => Some(id),
            (None, None) => None,
            (None, Some(text)) => match text.trim().parse() {
                Ok(id) => Some(id),
                Err(_) => return Err(format!("{INSTALLATION} is no number").into()),
            },
        };
        Ok(match installation {
            Some(id) => app.installation(id),
            None => app,
        })
    }

    fn key(&self) -> Result<AppKey, Fault> {
        if let Some(path) = &self.app_key {
            return Ok(AppKey::file(path)?);
        }
        match (variable(APP_KEY_FILE)?, variable(APP_KEY)?) {
            (Some(_), Some(_)) => {
                Err(format!("{APP_KEY_FILE} and {APP_KEY} are both set; unset one").into())
            }
            (Some(path), None) => Ok(AppKey::file(path)?),
            (None, Some(_)) => Ok(AppKey::env(APP_KEY)?),
            (None, None) => Err(format!(
                "the private key of the app is missing; give its PEM file with --app-key, or set {APP_KEY_FILE} or {APP_KEY}"
            )
            .into()),
        }
    }
}

/// A variable that is set, and not to nothing.
fn variable(name: &str) -> Result<Option<String>, Fault> {
    match env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{name} is no text").into()),
    }
}
