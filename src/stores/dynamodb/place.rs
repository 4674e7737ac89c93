//! Where in the table a record lies.
//!
//! A beacon may write its heartbeat and its fence and nothing else, and IAM can confine a writer to partitions
//! (`dynamodb:LeadingKeys`). So these two share a partition of their runner's own. Everything else lies in one
//! partition for each kind in a scope, where one query finds it all.

use crate::{
    runner::RunnerName,
    store::{Key, Kind},
};
use std::{borrow::Cow, sync::Arc};

/// Stands between the parts of a partition key. Within a part it is escaped.
const BETWEEN: char = '|';

/// What the partitions of hosts begin with. No kind is called so.
const HOST: &str = "host";

/// The sort key of a record about a whole scope.
const SCOPE: &str = "scope";

/// What the sort key of a record about a runner begins with.
const RUNNER: &str = "runner|";

/// The primary key of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) partition: String,
    pub(super) sort: String,
}

impl Place {
    pub(super) fn of(key: &Key) -> Self {
        let scope = key.scope().to_string();
        let runner = key.runner().map(RunnerName::as_str);
        match key.kind() {
            kind if is_of_host(kind) => Self {
                // Empty, which no runner's name is: the whole scope.
                partition: joined(&[HOST, key.api(), &scope, runner.unwrap_or_default()]),
                sort: kind.as_str().to_owned(),
            },
            kind => Self {
                partition: joined(&[kind.as_str(), key.api(), &scope]),
                sort: runner.map_or_else(|| SCOPE.to_owned(), |name| format!("{RUNNER}{name}")),
            },
        }
    }
}

/// Where all the records of one kind in a scope lie.
#[derive(Debug)]
pub(super) struct Extent {
    whole: Key,
    pub(super) place: Place,
}

impl Extent {
    pub(super) fn of(whole: Key) -> Self {
        let place = Place::of(&whole);
        Self { whole, place }
    }

    /// Whether they share one partition. Else `place.partition` is what theirs begin with, and `place.sort` is the
    /// sort key of each.
    pub(super) fn is_one_partition(&self) -> bool {
        !is_of_host(self.whole.kind())
    }

    /// Which record lies there; `None` where this store put none.
    pub(super) fn key(&self, place: &Place) -> Option<Key> {
        let name = if !self.is_one_partition() {
            let name = place.partition.strip_prefix(&self.place.partition)?;
            (!name.is_empty()).then(|| unescaped(name))
        } else if place.sort == SCOPE {
            None
        } else {
            Some(place.sort.strip_prefix(RUNNER)?.to_owned())
        };
        let (api, scope, kind) = (self.whole.api(), self.whole.scope(), self.whole.kind());
        let api: Arc<str> = api.into();
        Some(match name {
            None => Key::of_scope(api, scope.clone(), kind),
            Some(name) => Key::of_runner(api, scope.clone(), kind, name.parse().ok()?),
        })
    }
}

/// Whether a runner's own host writes such records.
fn is_of_host(kind: Kind) -> bool {
    matches!(kind, Kind::Heartbeat | Kind::Fence)
}

fn joined(parts: &[&str]) -> String {
    let parts: Vec<_> = parts.iter().map(|part| escaped(part)).collect();
    parts.join(&BETWEEN.to_string())
}

fn escaped(part: &str) -> Cow<'_, str> {
    match part.contains(['%', BETWEEN]) {
        true => part.replace('%', "%25").replace(BETWEEN, "%7C").into(),
        false => part.into(),
    }
}

fn unescaped(part: &str) -> String {
    part.replace("%7C", "|").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [Kind; 4] = [Kind::Memory, Kind::Heartbeat, Kind::Fence, Kind::Fleet];

    fn keys() -> impl Strategy<Value = Key> {
        let api = "[*a|%27C:/ ]{0,4}";
        let scope = prop::sample::select(vec![
            "org:a",
            "org:a|b",
            "repo:a/b",
            "repo:a/b|c",
            "org:%7c",
        ]);
        let name = prop::option::of("[a|%27C:/*]{1,4}");
        let kind = prop::sample::select(KINDS.to_vec());
        (api, scope, kind, name).prop_map(|(api, scope, kind, name)| {
            let (api, scope) = (api.into(), scope.parse().unwrap());
            match name {
                Some(name) => Key::of_runner(api, scope, kind, name.parse().unwrap()),
                None => Key::of_scope(api, scope, kind),
            }
        })
    }

    proptest! {
        #[test]
        fn two_keys_lie_in_one_place_only_if_they_are_one(a in keys(), b in keys()) {
            prop_assert_eq!(a == b, Place::of(&a) == Place::of(&b));
        }

        #[test]
        fn a_scan_finds_the_key_by_its_place(key in keys()) {
            let whole = Key::of_scope(key.api().into(), key.scope().clone(), key.kind());
            prop_assert_eq!(Extent::of(whole).key(&Place::of(&key)), Some(key));
        }
    }

    #[test]
    fn a_runners_heartbeat_and_fence_share_a_partition_that_nothing_else_lies_in() {
        let of = |kind, name: &str| {
            let scope = "repo:Acme/Atlas".parse().unwrap();
            Place::of(&Key::of_runner(
                "*".into(),
                scope,
                kind,
                name.parse().unwrap(),
            ))
        };
        let heartbeat = of(Kind::Heartbeat, "r-1");
        assert_eq!(heartbeat.partition, "host|*|repo:acme/atlas|r-1");
        assert_eq!(of(Kind::Fence, "r-1").partition, heartbeat.partition);
        for other in [
            of(Kind::Memory, "r-1"),
            of(Kind::Releases, "r-1"),
            of(Kind::Fence, "r-2"),
        ] {
            assert_ne!(other.partition, heartbeat.partition);
        }
    }
}
