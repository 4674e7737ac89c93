//! HMAC-SHA-256, and its digests as hexadecimal digits: what signs a webhook, and what makes a beacon's secret.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The bytes of a digest.
const BYTES: usize = 32;

/// What a secret makes of a text. It takes a secret of any length.
pub(crate) fn made(secret: &[u8], text: &[u8]) -> Option<Hmac<Sha256>> {
    let hmac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    Some(hmac.chain_update(text))
}

/// The digits of a digest; none where there is no digest.
pub(crate) fn digits(made: Option<Hmac<Sha256>>) -> String {
    let bytes = made.map(|made| made.finalize().into_bytes());
    let digits = bytes.into_iter().flatten();
    digits.map(|byte| format!("{byte:02x}")).collect()
}

/// Whether these are the digits of a digest. It takes as long wherever they are wrong.
pub(crate) fn is_of(made: Option<Hmac<Sha256>>, given: &[u8; BYTES]) -> bool {
    made.is_some_and(|made| made.verify_slice(given).is_ok())
}

/// The digest that these digits give; `None` where they give none.
pub(crate) fn given(digits: &str) -> Option<[u8; BYTES]> {
    let digits = digits.as_bytes();
    if digits.len() != BYTES * 2 {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |place: usize| char::from(*pair.get(place)?).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}
