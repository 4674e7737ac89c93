//! Records in this process: gone when it ends.

use crate::{
    runner::Scope,
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Records in this process. They are gone when it ends, and every grace window with them: it serves a
/// long-lived autoscaler, not a Lambda.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: Mutex<BTreeMap<Key, Record>>,
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<Key, Record>> {
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
        Ok(keys.iter().map(|key| records.get(key).cloned()).collect())
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        let records = self.records();
        let found = records
            .iter()
            .filter(|(key, _)| key.api() == api && key.scope() == scope && key.kind() == kind);
        Ok(found
            .map(|(key, record)| (key.clone(), record.clone()))
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
        records.insert(key.clone(), Record { version, value });
        Ok(Swap::Done(version))
    }
}
