//! Which key of Redis holds which record.
//!
//! `scale-in-guard:{SCOPE}:API:KIND:RUNNER`, without a runner `scale-in-guard:{SCOPE}:API:KIND:`. Every byte of a part
//! but letters, digits and `.-_` is written as `%XX`, in a scope but `:` and `/`, too. So no name can end its part
//! or reach into another, none holds a sign that a glob gives a meaning (`* ? [ \`), and a key is itself as a
//! pattern. The braces are the hash tag: all records of a scope are on one node of a cluster.

use crate::{
    runner::{RunnerName, Scope},
    store::{Key, Kind},
    stores::url::{decode, encode},
};

/// Stands before every key of ours.
const PREFIX: &str = "scale-in-guard:";

/// What a part holds as it is.
const PLAIN: &[u8] = b".-_";
const PLAIN_IN_SCOPE: &[u8] = b".-_:/";

/// The part of a key by which a cluster knows its node.
pub(super) fn tag(scope: &Scope) -> String {
    encode(&scope.to_string(), PLAIN_IN_SCOPE)
}

pub(super) fn key(key: &Key) -> String {
    let runner = key.runner().map_or("", RunnerName::as_str);
    let place = place(key.api(), key.scope(), key.kind());
    place + &encode(runner, PLAIN)
}

/// What all keys of one kind of record in a scope begin with, and no other key.
pub(super) fn place(api: &str, scope: &Scope, kind: Kind) -> String {
    let (tag, api, kind) = (tag(scope), encode(api, PLAIN), kind.as_str());
    format!("{PREFIX}{{{tag}}}:{api}:{kind}:")
}

/// A key beside all records of a scope, under which nothing is ever written.
pub(super) fn probe(tag: &str) -> String {
    format!("{PREFIX}{{{tag}}}:")
}

/// What a key that begins with the place of `of_scope` names.
pub(super) fn parse(text: &str, place: &str, of_scope: &Key) -> Option<Key> {
    let runner = decode(text.strip_prefix(place)?)?;
    if runner.is_empty() {
        return Some(of_scope.clone());
    }
    let name = RunnerName::new(&runner).ok()?;
    let (api, scope) = (of_scope.api().into(), of_scope.scope().clone());
    Some(Key::of_runner(api, scope, of_scope.kind(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_itself_as_a_pattern_and_comes_back() {
        let scope: Scope = "repo:Acme/at{l}as*:".parse().unwrap();
        for name in ["r-1", "r 1", "*", "[r]", "r?1\\", "a:b:c", "}", "\u{e9}%41"] {
            let name = RunnerName::new(name).unwrap();
            let record = Key::of_runner("*".into(), scope.clone(), Kind::Heartbeat, name);
            let text = key(&record);
            assert!(!text.contains(['*', '?', '[', ']', '\\', ' ']), "{text}");
            assert_eq!(text.matches(['{', '}']).count(), 2, "{text}");
            let place = place(record.api(), record.scope(), record.kind());
            let of_scope = Key::of_scope("*".into(), scope.clone(), Kind::Heartbeat);
            assert_eq!(parse(&text, &place, &of_scope), Some(record));
            assert_eq!(parse(&place, &place, &of_scope).as_ref(), Some(&of_scope));
        }
    }

    #[test]
    fn the_layout_is_the_one_that_the_access_lists_of_users_name() {
        let (scope, name) = (
            "repo:acme/atlas".parse().unwrap(),
            "atlas-1".parse().unwrap(),
        );
        let beat = Key::of_runner("*".into(), scope, Kind::Heartbeat, name);
        assert_eq!(
            key(&beat),
            "scale-in-guard:{repo:acme/atlas}:%2A:heartbeat:atlas-1"
        );
        let fleet = Key::of_scope(
            "api.github.com".into(),
            "org:acme".parse().unwrap(),
            Kind::Fleet,
        );
        assert_eq!(
            key(&fleet),
            "scale-in-guard:{org:acme}:api.github.com:fleet:"
        );
    }
}
