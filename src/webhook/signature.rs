//! The signature of a delivery: HMAC-SHA-256 over the body as it came.

use crate::digest;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use thiserror::Error;

/// What GitHub writes before the digest.
const SCHEME: &str = "sha256=";

/// The secrets of a webhook: the one that GitHub signs with, and, while it is being changed, its predecessor or
/// successor. None is ever shown.
#[derive(Clone)]
pub struct Secrets(Vec<SecretString>);

/// Why these cannot be the secrets of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// There is none.
    #[error(
        "there is no secret; without one anybody could tell of jobs: give the one that the webhook has at GitHub"
    )]
    None,
    /// One is empty.
    #[error(
        "secret {0} is empty; anybody could sign with it: give the one that the webhook has at GitHub"
    )]
    Empty(usize),
}

impl Secrets {
    /// These secrets; a delivery may be signed with any of them.
    ///
    /// # Errors
    /// [`SecretsError`] when there is none, or one of them is empty.
    pub fn new<S: Into<String>>(
        secrets: impl IntoIterator<Item = S>,
    ) -> Result<Self, SecretsError> {
        let secrets = secrets
            .into_iter()
            .map(|secret| SecretString::from(secret.into()));
        let secrets: Vec<_> = secrets.collect();
        if secrets.is_empty() {
            return Err(SecretsError::None);
        }
        match secrets
            .iter()
            .position(|secret| secret.expose_secret().is_empty())
        {
            Some(place) => Err(SecretsError::Empty(place.saturating_add(1))),
            None => Ok(Self(secrets)),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} kept back)", self.0.len())
    }
}

/// Why a delivery cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It is not signed.
    #[error("there is no X-Hub-Signature-256; set a secret for the webhook at GitHub")]
    Missing,
    /// The header is not what GitHub writes.
    #[error("X-Hub-Signature-256 is not sha256= and 64 hexadecimal digits")]
    Malformed,
    /// No secret of ours made it.
    #[error("the signature fits no secret of ours; give the one that the webhook has at GitHub")]
    Mismatch,
}

/// Whether `body` was signed with any of the secrets; `signature_header` is `X-Hub-Signature-256`.
///
/// How long it takes does not depend on where a signature is wrong, nor on which secret made it.
///
/// ```
/// use scale_in_guard::webhook::{Secrets, verify};
/// let secrets = Secrets::new(["It's a Secret to Everybody"])?;
/// let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
/// assert!(verify(&secrets, Some(header), b"Hello, World!").is_ok());
/// assert!(verify(&secrets, Some(header), b"Hello, world!").is_err());
/// # Ok::<(), scale_in_guard::webhook::SecretsError>(())
/// ```
///
/// # Errors
/// [`SignatureError`] when the header is missing or malformed, or no secret made it.
pub fn verify(
    secrets: &Secrets,
    signature_header: Option<&str>,
    body: &[u8],
) -> Result<(), SignatureError> {
    let header = signature_header.ok_or(SignatureError::Missing)?;
    let given = header.strip_prefix(SCHEME).and_then(digest::given);
    let given = given.ok_or(SignatureError::Malformed)?;
    // Every secret is tried, whichever one fits.
    let fits = secrets.0.iter().fold(false, |fits, secret| {
        let made = digest::made(secret.expose_secret().as_bytes(), body);
        fits | digest::is_of(made, &given)
    });
    match fits {
        true => Ok(()),
        false => Err(SignatureError::Mismatch),
    }
}

/// The `X-Hub-Signature-256` that GitHub would send: for your tests.
///
/// ```
/// use scale_in_guard::webhook::{Secrets, sign, verify};
/// let header = sign("s3cret", b"{}");
/// assert!(verify(&Secrets::new(["s3cret"])?, Some(&header), b"{}").is_ok());
/// # Ok::<(), scale_in_guard::webhook::SecretsError>(())
/// ```
#[must_use]
pub fn sign(secret: &str, body: &[u8]) -> String {
    let digits = digest::digits(digest::made(secret.as_bytes(), body));
    format!("{SCHEME}{digits}")
}
