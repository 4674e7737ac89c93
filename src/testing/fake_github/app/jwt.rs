//! Whether a JWT is one that GitHub accepts.

use crate::time::Instant;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto::aws_lc::DEFAULT_PROVIDER};
use serde_json::Value;

const PUBLIC_KEY: &str = include_str!("test-key.pub.pem");
/// How far ahead a JWT may expire at the most.
const LONGEST: f64 = 600.0;

const UNREADABLE: &str = "A JSON web token could not be decoded";
const NO_EXPIRY: &str = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires";
const TOO_LONG: &str = "'Expiration time' claim ('exp') is too far in the future";
const NOT_ISSUED: &str = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued";

/// The claims of a JWT that the key signed, or why it is refused.
pub(super) fn read(jwt: &str) -> Result<Value, &'static str> {
    verified(jwt).ok_or(UNREADABLE)
}

fn verified(jwt: &str) -> Option<Value> {
    let (message, signature) = jwt.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    if part(header)?.get("alg")? != "RS256" {
        return None;
    }
    let key = DecodingKey::from_rsa_pem(PUBLIC_KEY.as_bytes()).ok()?;
    // Not the default of the process: there is none where both of its providers are compiled in.
    let verifier = (DEFAULT_PROVIDER.verifier_factory)(&Algorithm::RS256, &key).ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    verifier.verify(message.as_bytes(), &signature).ok()?;
    part(claims).filter(Value::is_object)
}

fn part(text: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// Holds when a JWT was issued and when it expires against GitHub's clock.
pub(super) fn check_times(claims: &Value, now: Instant) -> Result<(), &'static str> {
    let now = now.timestamp();
    let issued = claims.get("iat").and_then(Value::as_i64);
    let expires = claims.get("exp").and_then(Value::as_f64);
    let ahead = expires.map(|expires| expires - now as f64);
    match (ahead, issued) {
        (Some(ahead), _) if ahead > LONGEST => Err(TOO_LONG),
        (Some(ahead), Some(issued)) if ahead > 0.0 && issued <= now => Ok(()),
        (Some(ahead), _) if ahead > 0.0 => Err(NOT_ISSUED),
        _ => Err(NO_EXPIRY),
    }
}
