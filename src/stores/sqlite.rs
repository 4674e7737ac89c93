//! Records in a SQLite file that several processes may share.
//!
//! SQLite sees to it that no swap is lost. What is left to do here is to notice when the file itself is
//! lost ([`loss`]): damaged, deleted, or replaced. Then the windows begin anew, and an operation fails to
//! say so. And to let swaps share their syncs ([`batch`]).

mod batch;
mod loss;
mod place;

use self::{
    batch::{Asked, Swaps},
    loss::Watched,
    place::Place,
};
use crate::{
    clock::{Clock, SystemClock},
    runner::{RunnerName, Scope},
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
};
use async_trait::async_trait;
use chrono::TimeDelta;
use rusqlite::{
    Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params, types::Type,
};
use std::{path::Path, sync::Arc};

/// `application_id`: what tells our files from those of other programs ("SIGu").
const APPLICATION: i32 = 0x5349_4775;

/// `user_version`: the format of the tables. A larger one was written by a later version of this crate.
const FORMAT: i32 = 2;

/// Versions come from one counter of the file, so that none comes twice under a key, also not after its
/// record was pruned. A new file starts its counter at random: whoever still holds a version of a file
/// that was lost cannot meet it again.
const TABLES: &str = "
    CREATE TABLE record (
        api TEXT NOT NULL,
        scope TEXT NOT NULL,
        kind TEXT NOT NULL,
        runner TEXT NOT NULL, -- empty, which no runner's name is: the whole scope
        version INTEGER NOT NULL,
        value TEXT NOT NULL,
        written_at INTEGER NOT NULL, -- in milliseconds since 1970; until format 1 in seconds
        PRIMARY KEY (api, scope, kind, runner)
    ) STRICT;
    CREATE TABLE counter (last INTEGER NOT NULL) STRICT;
    INSERT INTO counter VALUES (abs(random() >> 2));
";

/// What turns a file of format 1 into one of this format.
const SINCE_FORMAT_1: &str = "UPDATE record SET written_at = written_at * 1000";

const READ: &str = "SELECT version, value, written_at FROM record
    WHERE api = ?1 AND scope = ?2 AND kind = ?3 AND runner = ?4";
const SCAN: &str = "SELECT version, value, written_at, runner FROM record
    WHERE api = ?1 AND scope = ?2 AND kind = ?3 ORDER BY runner";
const COUNT: &str = "UPDATE counter SET last = last + 1 RETURNING last";
const WRITE: &str = "INSERT OR REPLACE INTO record
    (api, scope, kind, runner, version, value, written_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// What nobody wrote for 30 days is of a runner long gone. The guard writes the records of a runner that
/// it looks at every few minutes, and no window lasts longer than hours. A record pruned too early (a
/// clock that leapt) is no danger: its windows begin anew.
const PRUNE: &str = "DELETE FROM record
    WHERE runner <> '' AND written_at < ?1 - 30 * 24 * 60 * 60 * 1000";

/// How many writings there are from one pruning, which reads the whole table, to the next.
const PRUNE_EVERY: i64 = 256;

/// Records in a SQLite file. Several processes of one machine may share it; several machines may not, for
/// its locks do not reach over a network.
///
/// A file that is damaged is moved aside to `PATH.corrupt-SECONDS`, and a new one is begun. So is a file
/// that was deleted while in use. Either way one operation, or the swaps that were to be written together,
/// fail with [`StoreError::Lost`], and the next one works. Beside the file lie `PATH-wal` and `PATH-shm`,
/// which belong to it, and `PATH.lock`, which is always empty.
///
/// Swaps that wait at the same time are written in one transaction, with one sync: an error of it is an error
/// for each of them.
///
/// It needs a tokio runtime around it.
#[derive(Debug)]
pub struct SqliteStore {
    file: Arc<Watched>,
    swaps: Arc<Swaps>,
    clock: Arc<dyn Clock>,
    created: bool,
}

impl SqliteStore {
    /// Opens the file at `path`, and creates it, and the folders above it, where there is none. What it
    /// creates is for this user alone. It blocks, for some milliseconds as a rule.
    ///
    /// A file that is damaged is moved aside, and the first operation says so.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when it cannot be opened or made, when it is the database of another program
    /// or of a later version of this one, or when it is damaged and cannot be moved aside.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let file = Arc::new(Watched::at(Place::of(path.as_ref())?));
        file.place.make_folder()?;
        let created = file.place.open(&mut file.state())?;
        let swaps = Arc::new(Swaps::of(Arc::clone(&file)));
        Ok(Self {
            file,
            swaps,
            clock: Arc::new(SystemClock),
            created,
        })
    }

    /// The same store, with another clock for the age of its records: that of all who share the file, which
    /// by default is this machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn now(&self) -> Millis {
        Millis(self.clock.now().timestamp_millis())
    }

    /// Whether there was no file at all when it was opened: the first use, or a wrong path.
    #[must_use]
    pub fn was_created(&self) -> bool {
        self.created
    }

    /// Does `work` on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || file.run(doing, work)).await;
        done.unwrap_or_else(|broken| Err(self.file.place.unusable(doing, broken)))
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn describe(&self) -> String {
        self.file.place.describe()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        let (keys, now) = (keys.to_vec(), self.now());
        self.run("reading records", move |file| read(file, &keys, now))
            .await
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        let (of_scope, now) = (Key::of_scope(api.into(), scope.clone(), kind), self.now());
        self.run("listing the records of a scope", move |file| {
            scan(file, &of_scope, now)
        })
        .await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        let (key, value) = (key.clone(), value.to_owned());
        let asked = Asked {
            key,
            expected,
            value,
            at: self.now(),
        };
        self.swaps.swap(asked).await
    }
}

/// An instant, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Millis(i64);

/// Reads in one transaction, so that all the records are of one moment. `now` was before it: a record that
/// was written in between is as old as nothing, or a little younger.
fn read(file: &mut Connection, keys: &[Key], now: Millis) -> rusqlite::Result<Vec<Option<Record>>> {
    let moment = file.transaction()?;
    let mut statement = moment.prepare_cached(READ)?;
    keys.iter()
        .map(|key| {
            let (scope, runner) = (key.scope().to_string(), runner_column(key));
            let columns = (key.api(), scope, key.kind().as_str(), runner);
            statement
                .query_row(columns, |row| record(row, now))
                .optional()
        })
        .collect()
}

fn scan(
    file: &mut Connection,
    of_scope: &Key,
    now: Millis,
) -> rusqlite::Result<Vec<(Key, Record)>> {
    let mut statement = file.prepare_cached(SCAN)?;
    let kind = of_scope.kind();
    let columns = (of_scope.api(), of_scope.scope().to_string(), kind.as_str());
    let rows = statement.query_map(columns, |row| {
        let runner: String = row.get(3)?;
        let key = if runner.is_empty() {
            of_scope.clone()
        } else {
            let name = RunnerName::new(&runner).map_err(|no_name| {
                rusqlite::Error::FromSqlConversionFailure(3, Type::Text, Box::new(no_name))
            })?;
            let (api, scope) = (of_scope.api().into(), of_scope.scope().clone());
            Key::of_runner(api, scope, kind, name)
        };
        Ok((key, record(row, now)?))
    })?;
    rows.collect()
}

/// Writes in one transaction that shuts out every other writer before it looks. Each swap meets what those
/// before it wrote, and either all that are done are kept, or none.
fn swap_all(file: &mut Connection, all: &[Asked]) -> rusqlite::Result<Vec<Swap>> {
    let alone = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let swaps = all.iter().map(|asked| swap(&alone, asked));
    let swaps = swaps.collect::<rusqlite::Result<_>>()?;
    alone.commit()?;
    Ok(swaps)
}

fn swap(alone: &Transaction<'_>, asked: &Asked) -> rusqlite::Result<Swap> {
    let key = &asked.key;
    let (scope, kind, runner) = (
        key.scope().to_string(),
        key.kind().as_str(),
        runner_column(key),
    );
    let found = alone
        .prepare_cached(READ)?
        .query_row((key.api(), &scope, kind, runner), version)
        .optional()?;
    if found != asked.expected {
        return Ok(Swap::Conflict);
    }
    let (number, new) = alone
        .prepare_cached(COUNT)?
        .query_row((), |row| Ok((row.get::<_, i64>(0)?, version(row)?)))?;
    let Millis(at) = asked.at;
    let columns = params![key.api(), scope, kind, runner, number, asked.value, at];
    alone.prepare_cached(WRITE)?.execute(columns)?;
    if number % PRUNE_EVERY == 0 {
        alone.execute(PRUNE, [at])?;
    }
    Ok(Swap::Done(new))
}

fn runner_column(key: &Key) -> &str {
    key.runner().map_or("", RunnerName::as_str)
}

/// A version in the first column.
fn version(row: &Row<'_>) -> rusqlite::Result<Version> {
    let number: i64 = row.get(0)?;
    let unsigned =
        u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, number))?;
    Ok(Version(unsigned))
}

/// A version, a value and when it was written in the first three columns.
fn record(row: &Row<'_>, now: Millis) -> rusqlite::Result<Record> {
    let written_at: i64 = row.get(2)?;
    Ok(Record {
        version: version(row)?,
        value: row.get(1)?,
        age: TimeDelta::milliseconds(now.0.saturating_sub(written_at)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn new_file() -> (tempfile::TempDir, Watched) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(&folder.path().join("store.db")).unwrap();
        (folder, Watched::at(place))
    }

    pub(super) fn key(name: &str) -> Key {
        let (api, scope) = ("api.github.com".into(), "org:acme".parse().unwrap());
        Key::of_runner(api, scope, Kind::Memory, name.parse().unwrap())
    }

    /// A swap that is to find no record.
    pub(super) fn first(name: &str, value: &str) -> Asked {
        Asked {
            key: key(name),
            expected: None,
            value: value.to_owned(),
            at: Millis(0),
        }
    }

    #[test]
    fn a_full_disk_loses_nothing() {
        let (_folder, file) = new_file();
        let write = |all: &[Asked]| file.run("writing", |open| swap_all(open, all));
        let kept = write(&[first("r-1", "kept")]);
        assert!(matches!(kept.as_deref(), Ok([Swap::Done(_)])));
        file.run("filling the disk", |open| {
            let pages: i64 = open.query_row("PRAGMA page_count", (), |row| row.get(0))?;
            open.pragma_update(None, "max_page_count", pages)
        })
        .unwrap();
        let long = "x".repeat(1 << 20);
        let full = write(&[first("r-2", "short"), first("r-3", &long)]);
        assert!(
            matches!(&full, Err(StoreError::Unusable { source, .. }) if source.to_string().contains("full")),
            "{full:?}"
        );
        let kept = file.run("reading", |open| {
            read(open, &["r-1", "r-2", "r-3"].map(key), Millis(0))
        });
        let kept: Vec<_> = kept
            .unwrap()
            .into_iter()
            .map(|r| r.map(|r| r.value))
            .collect();
        assert_eq!(kept, [Some("kept".to_owned()), None, None]);
    }

    #[test]
    fn a_new_file_does_not_start_where_another_one_did() {
        let version = || {
            let (_folder, file) = new_file();
            let write = |open: &mut Connection| swap_all(open, &[first("r-1", "")]);
            file.run("writing", write).unwrap()
        };
        assert_ne!(version(), version());
    }
}
