//! The secrets of beacons: one for each runner, made from one key.

use crate::{
    digest,
    runner::{RunnerName, Scope},
};
use hmac::Hmac;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;
use std::fmt;
use thiserror::Error;

/// The fewest bytes of a key: as long as what is made from it.
const FEWEST: usize = 32;

/// What is signed begins with this: a key that is used for something else, too, makes other secrets there.
const PURPOSE: &str = "scale-in-guard beacon 1";

/// The key that an intake makes the secrets of its runners from. No `Debug` shows it.
///
/// ```
/// use scale_in_guard::intake::IntakeKey;
/// let key = IntakeKey::new("0123456789abcdef0123456789abcdef")?; // openssl rand -hex 32
/// let secret = key.secret_of(&"org:acme".parse()?, &"i-06cbe04821ccba677".parse()?);
/// # let _ = secret;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct IntakeKey(SecretBox<[u8]>);

/// What lets the beacon of one runner report to an intake. No `Debug` shows it.
#[derive(Debug, Clone)]
pub struct BeaconSecret(SecretString);

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "a key of {bytes} bytes can be guessed; make one of {FEWEST} at the least: openssl rand -hex 32"
)]
pub struct KeyError {
    bytes: usize,
}

impl IntakeKey {
    /// A key. Spaces and line breaks around it do not count.
    ///
    /// # Errors
    /// [`KeyError`] when it has less than 32 bytes.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let text = text.trim().as_bytes();
        match text.len() < FEWEST {
            true => Err(KeyError { bytes: text.len() }),
            false => Ok(Self(SecretBox::new(text.into()))),
        }
    }

    /// The secret of one runner. It ends with the key: a secret that got out is harmless once the runner is gone,
    /// for no other runner should have its name.
    #[must_use]
    pub fn secret_of(&self, scope: &Scope, runner: &RunnerName) -> BeaconSecret {
        BeaconSecret(digest::digits(self.mac(scope, runner)).into())
    }

    /// Whether this is the runner's secret. It takes as long whatever is wrong with it.
    pub(super) fn made(&self, secret: &str, scope: &Scope, runner: &RunnerName) -> bool {
        digest::given(secret).is_some_and(|given| digest::is_of(self.mac(scope, runner), &given))
    }

    fn mac(&self, scope: &Scope, runner: &RunnerName) -> Option<Hmac<Sha256>> {
        // No scope and no name has a line break.
        let of = format!("{PURPOSE}\n{}\n{runner}", scope.clone().in_lower_case());
        digest::made(self.0.expose_secret(), of.as_bytes())
    }
}

impl BeaconSecret {
    /// A secret, as [`IntakeKey::secret_of`] made it. Spaces and line breaks around it do not count.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned().into())
    }
}

impl ExposeSecret<str> for BeaconSecret {
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Display for IntakeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the intake's key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_secret_is_of_one_runner_of_one_scope_and_of_one_key() {
        let key = IntakeKey::new(KEY).unwrap();
        let scope: Scope = "org:Acme".parse().unwrap();
        let runner: RunnerName = "r-1".parse().unwrap();
        let secret = key.secret_of(&scope, &runner);
        let secret = secret.expose_secret();
        assert!(key.made(secret, &scope, &runner));
        assert!(key.made(secret, &"org:acme".parse().unwrap(), &runner));
        assert!(!key.made(secret, &scope, &"r-2".parse().unwrap()));
        assert!(!key.made(secret, &"org:acme-2".parse().unwrap(), &runner));
        assert!(!key.made(secret, &"enterprise:acme".parse().unwrap(), &runner));
        let other = IntakeKey::new(&KEY.replace('0', "1")).unwrap();
        assert!(!other.made(secret, &scope, &runner));
        for wrong in [
            "",
            "0",
            "zz",
            "ff",
            secret.get(1..).unwrap(),
            &format!("{secret}00"),
            "é",
        ] {
            assert!(!key.made(wrong, &scope, &runner), "{wrong}");
        }
    }

    #[test]
    fn a_short_key_is_refused_and_none_is_shown() {
        assert_eq!(
            IntakeKey::new(KEY.get(1..).unwrap()).unwrap_err(),
            KeyError { bytes: 31 }
        );
        let key = IntakeKey::new(&format!(" {KEY}\n")).unwrap();
        let secret = key.secret_of(&"org:acme".parse().unwrap(), &"r-1".parse().unwrap());
        let shown = format!("{key:?} {key} {secret:?}");
        assert!(!shown.contains(KEY), "{shown}");
        assert!(!shown.contains(secret.expose_secret()), "{shown}");
    }
}
