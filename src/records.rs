//! Typed records over the store.

mod unknown;

use self::unknown::Unknown;
use crate::{
    runner::{RunnerName, Scope},
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    telemetry,
};
use chrono::TimeDelta;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use tokio::time::Instant;

/// How often a read-decide-write is begun anew when somebody else wrote in between.
pub(crate) const ATTEMPTS: usize = 8;

/// Stands for the GitHub in the keys of what a beacon writes.
pub(crate) const EVERY_GITHUB: &str = "*";

/// Stands for every scope in the keys of what is about the whole store. No scope that a user names has it: a name with
/// a space is refused where a scope is read.
const EVERY_SCOPE: &str = "every scope";

/// The scope of what is about the whole store.
pub(crate) fn every_scope() -> Scope {
    Scope::Enterprise(EVERY_SCOPE.into())
}

/// The records of one GitHub.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    store: Arc<dyn Store>,
    api: Arc<str>,
}

/// A record as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    pub(crate) value: T,
    /// What a write of another value is to go over.
    pub(crate) over: Over,
    /// How long ago it was written, by the store's clock. A record that was never written is new.
    pub(crate) age: TimeDelta,
    /// What is the matter with what was kept, where it could not be read: then `value` is a new one.
    pub(crate) lost: Option<String>,
}

/// The record that a write goes over, as it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Over {
    pub(crate) version: Option<Version>,
    /// What it holds besides, of a later version of this crate.
    unknown: Option<Unknown>,
}

impl Over {
    /// The record as it is once it was written over this one.
    #[cfg(feature = "webhook")]
    pub(crate) fn followed_by(self, version: Version) -> Self {
        Self {
            version: Some(version),
            ..self
        }
    }

    /// Nothing of the record stays.
    #[cfg(feature = "beacon")]
    pub(crate) fn whole(version: Option<Version>) -> Self {
        Self {
            version,
            unknown: None,
        }
    }
}

impl Records {
    pub(crate) fn new(store: Arc<dyn Store>, api: &str) -> Self {
        Self {
            store,
            api: api.into(),
        }
    }

    /// The GitHub that they are of.
    pub(crate) fn api(&self) -> &str {
        &self.api
    }

    pub(crate) fn of_runner(&self, scope: &Scope, kind: Kind, name: &RunnerName) -> Key {
        Key::of_runner(self.api.clone(), scope.clone(), kind, name.clone())
    }

    /// The record about a runner that its beacon writes, too. A beacon does not know by which URL a guard asks
    /// GitHub; the registration's number in the record tells one GitHub's runner from another's.
    pub(crate) fn of_host(&self, scope: &Scope, kind: Kind, name: &RunnerName) -> Key {
        Key::of_runner(EVERY_GITHUB.into(), scope.clone(), kind, name.clone())
    }

    pub(crate) fn of_scope(&self, scope: &Scope, kind: Kind) -> Key {
        Key::of_scope(self.api.clone(), scope.clone(), kind)
    }

    /// The record about a scope that is the same for every GitHub.
    pub(crate) fn of_any_github(&self, scope: &Scope, kind: Kind) -> Key {
        Key::of_scope(EVERY_GITHUB.into(), scope.clone(), kind)
    }

    /// The record about everything in the store.
    pub(crate) fn of_everything(&self, kind: Kind) -> Key {
        self.of_any_github(&every_scope(), kind)
    }

    /// What the store is and where.
    pub(crate) fn describe(&self) -> String {
        self.store.describe()
    }

    /// Reads records, in the order of their keys.
    pub(crate) async fn read<T: DeserializeOwned + Serialize + Default>(
        &self,
        keys: &[Key],
    ) -> Result<Vec<Kept<T>>, StoreError> {
        let records = self.read_unparsed(keys).await?;
        let kept = keys.iter().zip(records);
        Ok(kept.map(|(key, record)| self.parse(key, record)).collect())
    }

    /// Reads records of several kinds, in the order of their keys, to be parsed one by one.
    pub(crate) async fn read_unparsed(
        &self,
        keys: &[Key],
    ) -> Result<Vec<Option<Record>>, StoreError> {
        let records = timed("read", self.store.read(keys)).await?;
        if records.len() != keys.len() {
            return Err(self.unusable("read", "it gave back another number of records"));
        }
        Ok(records)
    }

    /// Reads one record.
    pub(crate) async fn read_one<T: DeserializeOwned + Serialize + Default>(
        &self,
        key: &Key,
    ) -> Result<Kept<T>, StoreError> {
        let kept = self.read(std::slice::from_ref(key)).await?;
        let one = kept.into_iter().next();
        one.ok_or_else(|| self.unusable("read", "it gave back nothing"))
    }

    /// Reads every record of a kind in a scope. One that cannot be read is left out.
    pub(crate) async fn scan<T: DeserializeOwned>(
        &self,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<T>, StoreError> {
        let scan = self.store.scan(&self.api, scope, kind);
        let records = timed("scan", scan).await?;
        let values = records.iter().map(|(_, record)| &record.value);
        Ok(values
            .filter_map(|value| serde_json::from_str(value).ok())
            .collect())
    }

    /// Reads every record of a kind in a scope, each with the name of its runner.
    pub(crate) async fn scan_all<T: DeserializeOwned + Serialize + Default>(
        &self,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(RunnerName, Kept<T>)>, StoreError> {
        self.scan_at(&self.api, scope, kind).await
    }

    /// The same of another GitHub in the keys.
    pub(crate) async fn scan_at<T: DeserializeOwned + Serialize + Default>(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(RunnerName, Kept<T>)>, StoreError> {
        let records = timed("scan", self.store.scan(api, scope, kind)).await?;
        let named = records.into_iter().filter_map(|(key, record)| {
            let name = key.runner()?.clone();
            Some((name, self.parse(&key, Some(record))))
        });
        Ok(named.collect())
    }

    /// Writes a record over the one that was read. What that one holds of a later version of this crate stays.
    pub(crate) async fn write<T: Serialize>(
        &self,
        key: &Key,
        over: &Over,
        value: &T,
    ) -> Result<Swap, StoreError> {
        let text = match &over.unknown {
            None => serde_json::to_string(value),
            Some(unknown) => {
                serde_json::to_value(value).map(|value| unknown.carried_into(value).to_string())
            }
        };
        let text = text.map_err(|error| self.unusable("write", error.to_string()))?;
        timed("write", self.store.swap(key, over.version, &text)).await
    }

    /// Reads a record, changes it and writes it, anew as long as somebody else writes in between.
    /// What did not change is not written.
    pub(crate) async fn update<T, R>(
        &self,
        key: &Key,
        mut change: impl FnMut(&mut T) -> R,
    ) -> Result<R, StoreError>
    where
        T: DeserializeOwned + Serialize + Default + Clone + PartialEq,
    {
        for _ in 0..ATTEMPTS {
            let Kept {
                mut value,
                over,
                lost,
                ..
            } = self.read_one::<T>(key).await?;
            let before = value.clone();
            let result = change(&mut value);
            if value == before && lost.is_none() {
                return Ok(result);
            }
            if let Swap::Done(_) = self.write(key, &over, &value).await? {
                return Ok(result);
            }
        }
        Err(self.contended())
    }

    /// Others write all the time.
    pub(crate) fn contended(&self) -> StoreError {
        self.unusable("write", "other guards write the same record all the time")
    }

    pub(crate) fn parse<T: DeserializeOwned + Serialize + Default>(
        &self,
        key: &Key,
        record: Option<Record>,
    ) -> Kept<T> {
        let Some(Record {
            version,
            value,
            age,
        }) = record
        else {
            return Kept {
                value: T::default(),
                over: Over::default(),
                age: TimeDelta::zero(),
                lost: None,
            };
        };
        let (value, unknown, lost) = match serde_json::from_str(&value) {
            Ok(read) => {
                let unknown = Unknown::beside(&read, &value);
                (read, unknown, None)
            }
            Err(error) => {
                let lost = format!(
                    "{}: the {key} cannot be read ({error}); it is begun anew, and its windows with it",
                    self.describe()
                );
                (T::default(), None, Some(lost))
            }
        };
        Kept {
            value,
            over: Over {
                version: Some(version),
                unknown,
            },
            age,
            lost,
        }
    }

    /// What came of using the store was none of it.
    pub(crate) fn unusable(&self, doing: &'static str, what: impl Into<String>) -> StoreError {
        StoreError::Unusable {
            store: self.describe(),
            doing,
            source: what.into().into(),
        }
    }
}

/// Tells observers how long it took.
async fn timed<T>(
    operation: &'static str,
    doing: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    let done = doing.await;
    telemetry::stored(operation, began.elapsed(), done.is_ok());
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fence::Fence, stores::MemoryStore};

    #[tokio::test]
    async fn what_a_later_version_wrote_survives_a_change() {
        let store = Arc::new(MemoryStore::new());
        let records = Records::new(store.clone(), "api.github.com");
        let (scope, name) = ("org:acme".parse().unwrap(), "r-1".parse().unwrap());
        let key = records.of_host(&scope, Kind::Fence, &name);
        let later = r#"{"epoch":3,"state":"free","witnessed_by":["a"]}"#;
        let _ = store.swap(&key, None, later).await.unwrap();
        let after = async |change: fn(&Fence) -> Fence| {
            let changed = records.update(&key, |fence: &mut Fence| *fence = change(fence));
            changed.await.unwrap();
            let read = store.read(std::slice::from_ref(&key)).await.unwrap();
            read.into_iter().flatten().next().unwrap().value
        };
        let released = after(|fence| fence.release()).await;
        assert!(released.contains(r#""witnessed_by":["a"]"#), "{released}");
        assert!(released.contains(r#""state":"free""#), "{released}");
        assert!(released.contains(r#""epoch":4"#), "{released}");
        let taken = after(|fence| fence.take(7)).await;
        assert!(taken.contains(r#""witnessed_by":["a"]"#), "{taken}");
        assert!(taken.contains(r#""state":"taken""#), "{taken}");
    }

    #[test]
    fn no_scope_that_can_be_named_stands_for_every_scope() {
        let records = Records::new(Arc::new(crate::stores::MemoryStore::new()), "api");
        let key = records.of_everything(Kind::Pins);
        assert!(key.scope().to_string().parse::<Scope>().is_err(), "{key}");
    }
}
