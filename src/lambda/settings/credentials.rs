//! Who asks GitHub: a token or a GitHub App, in the environment itself or in parameters of Systems Manager.

use super::{SettingsError, variables::Variables};
use crate::github::{App, AppKey, GitHub, GitHubBuilder};
use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretString};

const TOKEN: &str = "GITHUB_TOKEN";
const TOKEN_PARAMETER: &str = "GITHUB_TOKEN_PARAMETER";
const APP_ID: &str = "GITHUB_APP_ID";
const APP_ID_PARAMETER: &str = "GITHUB_APP_ID_PARAMETER";
const APP_KEY: &str = "GITHUB_APP_PRIVATE_KEY";
const APP_KEY_PARAMETER: &str = "GITHUB_APP_PRIVATE_KEY_PARAMETER";
const INSTALLATION: &str = "GITHUB_APP_INSTALLATION_ID";

/// Every variable that holds or names credentials.
pub(super) const VARIABLES: [&str; 7] = [
    TOKEN,
    TOKEN_PARAMETER,
    APP_ID,
    APP_ID_PARAMETER,
    APP_KEY,
    APP_KEY_PARAMETER,
    INSTALLATION,
];

const WHO: &str = "give GITHUB_TOKEN, or GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY, or the parameters that hold them, in GITHUB_TOKEN_PARAMETER, GITHUB_APP_ID_PARAMETER and GITHUB_APP_PRIVATE_KEY_PARAMETER";

/// Who asks.
#[derive(Debug, Clone)]
pub(super) enum Credentials {
    Token(Place),
    App {
        id: Place,
        key: Place,
        installation: Option<u64>,
    },
}

/// Where a value is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In the environment.
    Here(SecretString),
    /// In this parameter.
    Parameter(String),
}

impl Credentials {
    pub(super) fn read(variables: &Variables) -> Result<Self, SettingsError> {
        let token = place(variables, TOKEN, TOKEN_PARAMETER)?;
        let id = place(variables, APP_ID, APP_ID_PARAMETER)?;
        let key = place(variables, APP_KEY, APP_KEY_PARAMETER)?;
        let installation =
            variables.parsed(INSTALLATION, "write the number of the installation")?;
        let missing = |variable| SettingsError::Missing {
            variable,
            write: WHO,
        };
        match (token, id, key) {
            (Some(_), None, None) if installation.is_some() => Err(missing(APP_ID)),
            (Some(token), None, None) => Ok(Self::Token(token)),
            (None, Some(id), Some(key)) => Ok(Self::App {
                id,
                key,
                installation,
            }),
            (None, Some(_), None) => Err(missing(APP_KEY)),
            (None, None, Some(_)) => Err(missing(APP_ID)),
            (None, None, None) => Err(missing(TOKEN)),
            (Some(_), ..) => Err(SettingsError::refused(
                TOKEN,
                "a token and a GitHub App are both given",
                "give one of them",
            )),
        }
    }

    /// The client. What lies in parameters is read now.
    pub(super) async fn client(&self) -> Result<GitHubBuilder, SettingsError> {
        match self {
            Self::Token(token) => {
                let [token] = read([token]).await?;
                Ok(GitHub::builder(token))
            }
            Self::App {
                id,
                key,
                installation,
            } => {
                let [id, key] = read([id, key]).await?;
                let app = App::new(id.expose_secret(), AppKey::pem(pem(key))?)?;
                Ok(GitHub::app(match installation {
                    Some(number) => app.installation(*number),
                    None => app,
                }))
            }
        }
    }
}

/// Where a value is, which may be in one of two places.
fn place(
    variables: &Variables,
    here: &'static str,
    parameter: &'static str,
) -> Result<Option<Place>, SettingsError> {
    match (variables.get(here), variables.get(parameter)) {
        (Some(_), Some(_)) => Err(SettingsError::refused(
            parameter,
            format!("{here} is set, too"),
            "unset one",
        )),
        (Some(value), None) => Ok(Some(Place::Here(value.into()))),
        (None, Some(_)) if cfg!(not(feature = "aws")) => Err(SettingsError::refused(
            parameter,
            "this build cannot read parameters",
            "build scale-in-guard with its feature `aws`",
        )),
        (None, Some(name)) => Ok(Some(Place::Parameter(name.to_owned()))),
        (None, None) => Ok(None),
    }
}

/// What is there, all parameters in one request.
async fn read<const N: usize>(places: [&Place; N]) -> Result<[SecretString; N], SettingsError> {
    let named = |place: &&Place| match place {
        Place::Parameter(name) => Some(name.clone()),
        Place::Here(_) => None,
    };
    let found = parameters(places.iter().filter_map(named).collect()).await?;
    let mut found = found.into_iter();
    let values = places.map(|place| match place {
        Place::Here(value) => value.clone(),
        // As many come as were named.
        Place::Parameter(_) => found.next().unwrap_or_default(),
    });
    Ok(values)
}

#[cfg(feature = "aws")]
use super::parameters::parameters;

/// Without that feature none is ever named.
#[cfg(not(feature = "aws"))]
async fn parameters(_: Vec<String>) -> Result<Vec<SecretString>, SettingsError> {
    Ok(Vec::new())
}

/// The text of a PEM, which may be packed as base64, and on one line, with `\n` for each line's end: a parameter or a
/// variable takes no line breaks everywhere.
fn pem(key: SecretString) -> SecretString {
    let packed = key.expose_secret().split_whitespace().collect::<String>();
    let unpacked = BASE64_STANDARD.decode(packed).ok();
    match unpacked.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) if text.contains("-----BEGIN") => text.replace("\\n", "\n").into(),
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_packed() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nMII=\n-----END RSA PRIVATE KEY-----\n";
        let packed = BASE64_STANDARD.encode(text);
        let (half, rest) = packed.split_at(60);
        for given in [text, &packed, &format!("{half}\n{rest}\n")] {
            assert_eq!(pem(given.into()).expose_secret(), text);
        }
        let on_one_line = BASE64_STANDARD.encode(text.replace('\n', "\\n"));
        assert_eq!(pem(on_one_line.into()).expose_secret(), text);
        for other in ["", "TUlJ", "no key"] {
            assert_eq!(pem(other.into()).expose_secret(), other);
        }
    }
}
