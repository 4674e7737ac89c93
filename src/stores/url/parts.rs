//! What stores' URLs have in common: percent-encoding and parameters.

use std::fmt::Write;

/// Decodes `%XX`. `None` where a `%` begins no such thing, or the whole is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

/// Encodes every byte but letters, digits and those of `plain` as `%XX`.
pub(crate) fn encode(text: &str, plain: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a text cannot fail.
            write!(encoded, "%{byte:02X}").ok();
        }
    }
    encoded
}

/// `name=value&…`, decoded, in its order. `None` where a part is no such thing, or a name comes twice.
pub(super) fn parameters(query: &str) -> Option<Vec<(&str, String)>> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for part in query.split('&') {
        let (name, value) = part.split_once('=')?;
        if all.iter().any(|(known, _)| *known == name) {
            return None;
        }
        all.push((name, decode(value)?));
    }
    Some(all)
}
