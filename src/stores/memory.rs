//! Records in this process: gone when it ends.

use crate::{
    clock::{Clock, SystemClock},
    runner::Scope,
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    time::{Instant, age},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Records in this process. They are gone when it ends, and every grace window with them: it serves a
/// long-lived autoscaler, not a Lambda.
#[derive(Debug)]
pub struct MemoryStore {
    records: Mutex<BTreeMap<Key, Written>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Written {
    version: Version,
    value: String,
    at: Instant,
}

impl Written {
    fn record(&self, now: Instant) -> Record {
        Record {
            version: self.version,
            value: self.value.clone(),
            age: age(now, self.at),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            records: Mutex::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same store, with another clock for the age of its records.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<Key, Written>> {
        // A map is whole after each of its calls, whoever panicked in between.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        let records = self.records();
        let now = self.clock.now();
        let read = |key| {
            records
                .get(key)
                .map(|written: &Written| written.record(now))
        };
        Ok(keys.iter().map(read).collect())
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        let wanted = Key::of_scope(api.into(), scope.clone(), kind);
        let records = self.records();
        let now = self.clock.now();
        let found = records.iter().filter(|(key, _)| {
            key.api() == api && key.scope() == wanted.scope() && key.kind() == kind
        });
        Ok(found
            .map(|(key, written)| (key.clone(), written.record(now)))
            .collect())
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        let mut records = self.records();
        let known = records.get(key).map(|record| record.version);
        if known != expected {
            return Ok(Swap::Conflict);
        }
        let version = Version(known.map_or(1, |Version(number)| number.saturating_add(1)));
        let value = value.to_owned();
        let at = self.clock.now();
        records.insert(key.clone(), Written { version, value, at });
        Ok(Swap::Done(version))
    }
}
