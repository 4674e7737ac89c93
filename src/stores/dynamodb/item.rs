//! How a record is kept as an item of the table.

use super::{error::DynamoError, place::Place};
use crate::{
    store::{Key, Record, Version},
    time::{Instant, age},
};
use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use chrono::DateTime;
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use std::{
    collections::HashMap,
    io::{Read, Write},
};
use uuid::Uuid;

/// The table's own two attributes, which are its primary key.
pub(super) const PARTITION: &str = "pk";
pub(super) const SORT: &str = "sk";

/// The attributes of a record: a number, a text, and milliseconds since 1970 on the servers' clock.
pub(super) const VERSION: &str = "version";
const VALUE: &str = "value";

/// In the place of a value that is long: the same text, deflated.
const PACKED: &str = "packed";
const WRITTEN_AT: &str = "written_at";

/// When it may be deleted as garbage, in seconds since 1970. It means nothing else: DynamoDB deletes days late, or never.
pub(super) const EXPIRES_AT: &str = "expires_at";

/// What nobody wrote for 30 days is of a runner long gone.
const KEPT_FOR: i64 = 30 * 24 * 60 * 60;

/// The largest item that DynamoDB keeps, names of the attributes included.
const LARGEST: usize = 400 * 1024;

/// From how many bytes on a value is packed: what is remembered of a scope, whose names pack well.
const LONG: usize = 32 << 10;

/// No value is longer. A host can pack anything into its own two records.
const LONGEST: u64 = 16 << 20;

/// What an item takes beside its key and its value: the names of the attributes and three numbers, generously.
const OVERHEAD: usize = 128;

/// The largest version. A version of ours is a time in milliseconds and 20 random bits, and is far below it.
pub(super) const LARGEST_VERSION: u64 = i64::MAX.unsigned_abs();

/// What stands for the version of an item that has none: only somebody else can have written it.
pub(super) const NO_VERSION: Version = Version(0);

pub(super) type Item = HashMap<String, AttributeValue>;

/// The primary key alone.
pub(super) fn primary_key(place: &Place) -> Item {
    HashMap::from([
        (
            PARTITION.to_owned(),
            AttributeValue::S(place.partition.clone()),
        ),
        (SORT.to_owned(), AttributeValue::S(place.sort.clone())),
    ])
}

/// Where an item lies.
pub(super) fn place_of(item: &Item) -> Option<Place> {
    Some(Place {
        partition: text(item, PARTITION)?.to_owned(),
        sort: text(item, SORT)?.to_owned(),
    })
}

/// The item of a record that is written at `now` on the servers' clock.
pub(super) fn item(
    key: &Key,
    place: &Place,
    version: Version,
    value: &str,
    now: Instant,
) -> Result<Item, DynamoError> {
    let packed = (value.len() >= LONG).then(|| pack(value)).flatten();
    let length = packed.as_ref().map_or(value.len(), Vec::len);
    let bytes = place.partition.len() + place.sort.len() + length + OVERHEAD;
    if bytes > LARGEST {
        return Err(DynamoError::TooLarge {
            record: key.to_string(),
            bytes,
            largest: LARGEST,
        });
    }
    let mut item = primary_key(place);
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set(VERSION, number(version.0));
    match packed {
        Some(packed) => set(PACKED, AttributeValue::B(Blob::new(packed))),
        None => set(VALUE, AttributeValue::S(value.to_owned())),
    };
    set(WRITTEN_AT, number(now.timestamp_millis()));
    if key.runner().is_some() {
        set(EXPIRES_AT, number(now.timestamp().saturating_add(KEPT_FOR)));
    }
    Ok(item)
}

/// The record that an item holds, as old as it is at `now` on the servers' clock. Whether it is past its time to live
/// does not matter: it is there.
///
/// An item that lacks a part was written by somebody else, such as a job with its beacon's credentials. It must not fail the
/// read of the other records, so that part is empty: a text that is no record, a version that is none, and as old as can be.
pub(super) fn record(item: &Item, now: Instant) -> Record {
    let written_at = numeral(item, WRITTEN_AT).and_then(|text| text.parse().ok());
    let written_at = written_at.and_then(DateTime::from_timestamp_millis);
    let version = numeral(item, VERSION).and_then(|text| text.parse().ok());
    Record {
        version: version
            .filter(|version| *version <= LARGEST_VERSION)
            .map_or(NO_VERSION, Version),
        value: match (text(item, VALUE), item.get(PACKED)) {
            (Some(text), _) => text.to_owned(),
            (None, Some(AttributeValue::B(packed))) => unpack(packed.as_ref()).unwrap_or_default(),
            _ => String::new(),
        },
        age: age(now, written_at.unwrap_or(Instant::UNIX_EPOCH)),
    }
}

/// The version of a record that is written at `now` on the servers' clock, over `expected`.
///
/// It is larger than the one before. The first one after a loss or a deletion, of whatever kind, is no earlier one
/// either: no key can be written a million times in a millisecond, so versions never run ahead of the time that they begin
/// with, and of two in one millisecond the random bits differ.
pub(super) fn next_version(expected: Option<Version>, now: Instant) -> Version {
    let millis = now.timestamp_millis().max(0).unsigned_abs();
    let (random, _) = Uuid::new_v4().as_u64_pair();
    let floor = (millis << 20) | (random >> 44);
    let next = expected.map_or(1, |Version(last)| last.saturating_add(1));
    Version(floor.max(next))
}

fn pack(value: &str) -> Option<Vec<u8>> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
    packer.write_all(value.as_bytes()).ok()?;
    packer.finish().ok()
}

/// `None` where it is nothing that we packed.
fn unpack(packed: &[u8]) -> Option<String> {
    let mut value = String::new();
    let unpacker = DeflateDecoder::new(packed);
    let read = unpacker.take(LONGEST + 1).read_to_string(&mut value).ok()?;
    u64::try_from(read)
        .is_ok_and(|read| read <= LONGEST)
        .then_some(value)
}

pub(super) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn numeral<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_n().ok().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Kind;
    use chrono::TimeDelta;

    fn now() -> Instant {
        "2026-05-14T02:00:00.25Z".parse().unwrap()
    }

    fn key() -> Key {
        let scope = "org:acme".parse().unwrap();
        Key::of_runner("*".into(), scope, Kind::Fence, "r-1".parse().unwrap())
    }

    fn written() -> Item {
        item(&key(), &Place::of(&key()), Version(7), "{}", now()).unwrap()
    }

    #[test]
    fn an_item_gives_back_its_record() {
        let read = record(&written(), now() + TimeDelta::seconds(3));
        let age = TimeDelta::seconds(3);
        assert_eq!(
            read,
            Record {
                version: Version(7),
                value: "{}".to_owned(),
                age
            }
        );
        assert_eq!(place_of(&written()), Some(Place::of(&key())));
    }

    #[test]
    fn only_a_runners_records_expire() {
        assert_eq!(numeral(&written(), EXPIRES_AT), Some("1781316000"));
        let scope = Key::of_scope("*".into(), "org:acme".parse().unwrap(), Kind::Pins);
        let pins = item(&scope, &Place::of(&scope), Version(1), "{}", now()).unwrap();
        assert_eq!(numeral(&pins, EXPIRES_AT), None);
    }

    #[test]
    fn what_somebody_else_wrote_is_read_as_no_record_of_ours() {
        for (name, forged) in [
            (VERSION, AttributeValue::S("7".to_owned())),
            (VERSION, number("1.5")),
            (VERSION, number(-1)),
            (VERSION, number("99999999999999999999999999999999999999")),
            (VALUE, number(1)),
            (WRITTEN_AT, number("99999999999999999999")),
            (WRITTEN_AT, AttributeValue::Bool(true)),
        ] {
            let mut item = written();
            item.insert(name.to_owned(), forged.clone());
            let read = record(&item, now());
            let damaged = match name {
                VERSION => read.version == NO_VERSION,
                VALUE => read.value.is_empty(),
                _ => read.age > TimeDelta::days(365),
            };
            assert!(damaged, "{name} {forged:?}: {read:?}");
        }
        assert_eq!(record(&Item::new(), now()).value, "");
    }

    /// A text that does not pack: hexadecimal digits of random numbers pack to a little more than a half.
    fn random(bytes: usize) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            text.push_str(&Uuid::new_v4().simple().to_string());
        }
        text.truncate(bytes);
        text
    }

    #[test]
    fn what_does_not_fit_packed_either_is_refused_by_name_and_size() {
        let place = Place::of(&key());
        let of = |value: &str| item(&key(), &place, Version(1), value, now());
        assert!(of(&"x".repeat(4 << 20)).is_ok());
        assert!(of(&random(600_000)).is_ok());
        let refused = of(&random(1 << 20)).unwrap_err().to_string();
        assert!(refused.contains("fence of org:acme r-1"), "{refused}");
    }

    #[test]
    fn a_long_value_is_packed_and_read_to_the_byte() {
        let place = Place::of(&key());
        for value in [random(LONG - 1), random(LONG), "é\n".repeat(100_000)] {
            let item = item(&key(), &place, Version(1), &value, now()).unwrap();
            assert_eq!(item.contains_key(PACKED), value.len() >= LONG);
            assert_eq!(item.contains_key(VALUE), value.len() < LONG);
            assert_eq!(record(&item, now()).value, value);
        }
    }

    #[test]
    fn what_is_packed_without_end_or_by_nobody_is_no_record() {
        let endless = pack(&" ".repeat(17 << 20)).unwrap();
        assert!(endless.len() < LARGEST);
        for packed in [endless, b"no deflate".to_vec(), Vec::new()] {
            let mut item = written();
            item.remove(VALUE);
            item.insert(PACKED.to_owned(), AttributeValue::B(Blob::new(packed)));
            assert_eq!(record(&item, now()).value, "");
        }
    }

    #[test]
    fn a_version_grows_also_where_a_clock_went_back_and_begins_later_after_a_loss() {
        let first = next_version(None, now());
        let Version(later) = next_version(Some(first), now() - TimeDelta::days(1));
        assert_eq!(later, first.0 + 1);
        let Version(anew) = next_version(None, now() + TimeDelta::milliseconds(1));
        assert!(anew > first.0 && anew < LARGEST_VERSION);
    }
}
