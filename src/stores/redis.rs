//! Records in Redis, or in Valkey, which keeps the same promises by the same commands.
//!
//! A record is a hash of three fields: `version`, `value`, and `written_at` in microseconds of the server's clock. One
//! script compares and writes, another reads records and then the time ([`script`]); the server does nothing else
//! meanwhile. So of several swaps one is done, and an age is never less than it is.
//!
//! Versions are drawn at random. A server that was restored, or that took the place of one that had not told it
//! everything, may bring an old record back; counted on from there, a version would come twice.

mod connect;
mod fault;
mod keys;
mod script;
mod servers;

pub use fault::RedisFault;

use self::servers::{Servers, in_time};
use super::url::RedisAddress;
use crate::{
    runner::Scope,
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
};
use async_trait::async_trait;
use chrono::TimeDelta;
use redis::{FromRedisValue, Value, cmd};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::timeout;
use uuid::Uuid;

/// How many records are read in one step: the server does nothing else meanwhile.
const AT_ONCE: usize = 256;

/// How long a read or a listing may take in all, which is many questions where there are many records.
const LONGEST: Duration = Duration::from_secs(30);

/// After how long a runner's record may go that nobody writes, in milliseconds: 30 days. It is of a runner long gone. A
/// record that goes too early (a clock that leapt) is no danger: its windows begin anew.
const FORGOTTEN_AFTER: &str = "2592000000";

/// What a script says of a swap that was done.
const DONE: i64 = 1;

/// Records in Redis (5 or later) or Valkey, for guards and beacons on many machines: one server, a cluster, or the
/// primary that sentinels name. docs/stores.md says what it promises in a failover, what an ACL must allow, and what
/// it costs.
///
/// It connects when it is first used, and anew after each loss; one that is away makes an operation fail, not wait:
/// each question and each write has 2 s, and a read of many records 30 s. A write whose answer was lost is not
/// repeated: it is an error, and nobody knows. A read is repeated once where the connection broke.
///
/// Records of runners go 30 days after they were last written; a scope's records never do. A server that forgets
/// records to make room (`maxmemory-policy` other than `noeviction`) is warned of in the log.
///
/// Its errors are [`StoreError::Unusable`] with a [`RedisFault`] as their source. It needs a tokio runtime around it.
///
/// ```
/// use scale_in_guard::{store::Store, stores::{RedisAddress, RedisStore}};
///
/// let address: RedisAddress = "rediss://guard@redis.internal".parse()?;
/// let store = RedisStore::new(address.with_password_of_environment())?;
/// assert_eq!(store.describe(), "rediss://guard@redis.internal:6379");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RedisStore {
    servers: Servers,
}

impl RedisStore {
    /// A store at this address. Nobody is spoken to yet.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the file of certificates that the address names cannot be read.
    pub fn new(address: RedisAddress) -> Result<Self, StoreError> {
        let store = address.to_string();
        let servers = Servers::new(address).map_err(|error| StoreError::Unusable {
            store,
            doing: "reading the file of certificates (?ca=)",
            source: error.into(),
        })?;
        Ok(Self { servers })
    }

    fn unusable(&self, doing: &'static str, fault: RedisFault) -> StoreError {
        StoreError::Unusable {
            store: self.describe(),
            doing,
            source: fault.into(),
        }
    }

    /// Reads records of one scope.
    async fn read_chunk(
        &self,
        tag: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Record>>, RedisFault> {
        let read = || self.servers.run(tag, &script::READ, keys, &[]);
        let answer = match read().await {
            Err(RedisFault::Broken(_)) => read().await?,
            answer => answer?,
        };
        records(keys, answer)
    }

    async fn read_all(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, RedisFault> {
        let mut by_scope: BTreeMap<&Scope, Vec<usize>> = BTreeMap::new();
        for (place, key) in keys.iter().enumerate() {
            by_scope.entry(key.scope()).or_default().push(place);
        }
        let mut all = vec![None; keys.len()];
        for (scope, places) in by_scope {
            let tag = keys::tag(scope);
            for places in places.chunks(AT_ONCE) {
                let named = places.iter().filter_map(|place| keys.get(*place));
                let named: Vec<_> = named.map(keys::key).collect();
                let records = self.read_chunk(&tag, &named).await?;
                for (place, record) in places.iter().zip(records) {
                    if let Some(slot) = all.get_mut(*place) {
                        *slot = record;
                    }
                }
            }
        }
        Ok(all)
    }

    /// Lists the keys of one kind of record of a scope. They are all on one server, for the scope is their hash tag;
    /// SCAN lists every key that is there from its beginning to its end. It is asked before and after whether they
    /// are being moved.
    async fn list(&self, of_scope: &Key) -> Result<Vec<Key>, RedisFault> {
        let tag = keys::tag(of_scope.scope());
        let place = keys::place(of_scope.api(), of_scope.scope(), of_scope.kind());
        let probe = [keys::probe(&tag)];
        self.read_chunk(&tag, &probe).await?;
        let mut connection = self.servers.connection(&tag).await?;
        let (mut found, mut cursor) = (BTreeSet::new(), 0_u64);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{place}*"));
            scan.arg("COUNT").arg(1_000);
            let page = in_time(async {
                let page = scan
                    .query_async::<(u64, Vec<String>)>(&mut connection)
                    .await;
                page.map_err(|error| RedisFault::of(&error))
            });
            let (next, keys) = page.await?;
            for key in keys {
                let parsed = keys::parse(&key, &place, of_scope);
                let what = "no runner has such a name";
                found.insert(parsed.ok_or(RedisFault::Foreign { key, what })?);
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        // A node that gave the records away sends on, or asks to ask: it is not where we listed any more.
        let answer = script::READ.by_name(&probe, &[]);
        let probed = in_time(async {
            let answer = answer.query_async::<Value>(&mut connection).await;
            answer.map_err(|error| match error.code() {
                Some("MOVED") => RedisFault::Moving(error.to_string()),
                _ => RedisFault::of(&error),
            })
        });
        probed.await?;
        Ok(found.into_iter().collect())
    }

    async fn write(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, RedisFault> {
        let expected = expected.map_or_else(String::new, digits);
        // Its lower half is random but for two bits.
        let new = Version(Uuid::new_v4().as_u64_pair().1);
        let lifetime = if key.runner().is_some() {
            FORGOTTEN_AFTER
        } else {
            ""
        };
        let (named, arguments) = (keys::key(key), [&*expected, &*digits(new), value, lifetime]);
        let tag = keys::tag(key.scope());
        let named = [named];
        let done = self.servers.run(&tag, &script::SWAP, &named, &arguments);
        Ok(match done.await? {
            Value::Int(DONE) => Swap::Done(new),
            _ => Swap::Conflict,
        })
    }

    /// Bounds a work of many questions.
    async fn bounded<T>(
        &self,
        doing: &'static str,
        work: impl Future<Output = Result<T, RedisFault>>,
    ) -> Result<T, StoreError> {
        let done = timeout(LONGEST, work).await;
        let done = done.unwrap_or(Err(RedisFault::Slow(LONGEST)));
        done.map_err(|fault| self.unusable(doing, fault))
    }
}

#[async_trait]
impl Store for RedisStore {
    fn describe(&self) -> String {
        self.servers.address().to_string()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        self.bounded("reading records", self.read_all(keys)).await
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        let of_scope = Key::of_scope(api.into(), scope.clone(), kind);
        let doing = "listing the records of a scope";
        self.bounded(doing, async {
            let keys = self.list(&of_scope).await?;
            let records = self.read_all(&keys).await?;
            let both = keys.into_iter().zip(records);
            Ok(both
                .filter_map(|(key, record)| Some((key, record?)))
                .collect())
        })
        .await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        let done = self.write(key, expected, value).await;
        done.map_err(|fault| self.unusable("writing a record", fault))
    }
}

/// What the reading script answered: the fields of each record, and the time in microseconds.
fn records(keys: &[String], answer: Value) -> Result<Vec<Option<Record>>, RedisFault> {
    let no_answer = || RedisFault::Refused("it answered a read with something else".to_owned());
    let Value::Array(mut found) = answer else {
        return Err(no_answer());
    };
    let Some(Value::Int(now)) = found.pop() else {
        return Err(no_answer());
    };
    if found.len() != keys.len() {
        return Err(no_answer());
    }
    let read = |fields| match fields {
        Value::Nil => Ok(None),
        fields => record(fields, now).map(Some).ok_or_else(no_answer),
    };
    found.into_iter().map(read).collect()
}

/// One record, from fields that the script has looked at.
fn record(fields: Value, now: i64) -> Option<Record> {
    let [version, value, at] = <[Vec<u8>; 3]>::from_redis_value(fields).ok()?;
    let version = u64::from_str_radix(str::from_utf8(&version).ok()?, 16).ok()?;
    let at: i64 = str::from_utf8(&at).ok()?.parse().ok()?;
    // We write UTF-8 alone. What a host forged is no record of any kind, and is begun anew.
    let value = String::from_utf8(value)
        .unwrap_or_else(|forged| String::from_utf8_lossy(forged.as_bytes()).into_owned());
    Some(Record {
        version: Version(version),
        value,
        age: TimeDelta::microseconds(now.saturating_sub(at)),
    })
}

/// A version as it stands in Redis.
fn digits(Version(number): Version) -> String {
    format!("{number:016x}")
}
