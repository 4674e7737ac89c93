//! The private key of a GitHub App.

use crate::github::SetupError;
use jsonwebtoken::{Algorithm, EncodingKey, crypto::aws_lc};
use secrecy::{ExposeSecret, SecretString};
use std::{env, fmt, fs, io::Read, path::Path, sync::Arc};

/// No private key is longer, in bytes.
const LONGEST: u64 = 64 << 10;

/// The private key of a GitHub App. No `Debug`, log or error shows it.
#[derive(Clone)]
pub struct AppKey {
    key: Arc<EncodingKey>,
    setting: Arc<str>,
}

impl AppKey {
    /// A key as the text of its PEM.
    ///
    /// # Errors
    /// [`SetupError::AppKey`] when it is none.
    pub fn pem(pem: impl Into<SecretString>) -> Result<Self, SetupError> {
        Self::read(&pem.into(), "the app's private key")
    }

    /// A key from a PEM file.
    ///
    /// # Errors
    /// [`SetupError::AppKey`] when the file cannot be read, or holds none.
    pub fn file(path: impl AsRef<Path>) -> Result<Self, SetupError> {
        let path = path.as_ref();
        if path.to_string_lossy().contains("-----BEGIN") {
            return Err(SetupError::AppKey {
                setting: "the file of the app's private key".to_owned(),
                what: "a path is wanted, and that is the text of a key".to_owned(),
            });
        }
        let setting = format!("the app's private key in {}", path.display());
        let mut pem = String::new();
        let read =
            fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut pem));
        let pem = SecretString::from(pem);
        match read {
            Ok(_) => Self::read(&pem, &setting),
            Err(error) => Err(SetupError::AppKey {
                setting,
                what: error.to_string(),
            }),
        }
    }

    /// A key from an environment variable that holds the text of its PEM; its line breaks may be written
    /// as `\n`.
    ///
    /// # Errors
    /// [`SetupError::AppKey`] when it is not set, or holds none.
    pub fn env(variable: &str) -> Result<Self, SetupError> {
        match env::var(variable) {
            Ok(pem) => Self::read(&SecretString::from(pem), variable),
            Err(error) => Err(SetupError::AppKey {
                setting: variable.to_owned(),
                what: match error {
                    env::VarError::NotPresent => "it is not set".to_owned(),
                    env::VarError::NotUnicode(_) => "it is no text".to_owned(),
                },
            }),
        }
    }

    fn read(pem: &SecretString, setting: &str) -> Result<Self, SetupError> {
        let refused = |what: &str| SetupError::AppKey {
            setting: setting.to_owned(),
            what: what.to_owned(),
        };
        let text = SecretString::from(pem.expose_secret().trim().replace("\\n", "\n"));
        let text = text.expose_secret();
        if text.is_empty() {
            return Err(refused("it is empty"));
        }
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(refused("it is locked by a passphrase"));
        }
        if text.contains("PUBLIC KEY") {
            return Err(refused("it is a public key"));
        }
        // What the parser says of it could quote it.
        let key = EncodingKey::from_rsa_pem(text.as_bytes())
            .map_err(|_| refused("it is no PEM of an RSA private key"))?;
        let key = Self {
            key: Arc::new(key),
            setting: setting.into(),
        };
        match key.sign(b"") {
            Some(_) => Ok(key),
            None => Err(refused("it is a PEM, but no RSA key that signs")),
        }
    }

    /// The RS256 signature of a message. The provider is named, for the process-wide one of jsonwebtoken
    /// panics where another crate of the program chose another.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signer = (aws_lc::DEFAULT_PROVIDER.signer_factory)(&Algorithm::RS256, &self.key);
        signer.ok()?.try_sign(message).ok()
    }

    /// Which setting it came from.
    pub(super) fn setting(&self) -> &str {
        &self.setting
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppKey")
            .field("setting", &self.setting)
            .finish_non_exhaustive()
    }
}
