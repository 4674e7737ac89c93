//! Records in a SQLite file that several processes may share.
//!
//! SQLite sees to it that no swap is lost. What is left to do here is to notice when the file itself is
//! lost: damaged, deleted, or replaced. Then the windows begin anew, and one operation fails to say so.

use crate::{
    clock::{Clock, SystemClock},
    runner::{RunnerName, Scope},
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
};
use async_trait::async_trait;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior,
    config::DbConfig, params, types::Type,
};
use std::{
    error::Error as StdError,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use thiserror::Error;

/// How long another process may keep the file locked before an operation gives up.
const PATIENCE: Duration = Duration::from_secs(2);

/// `application_id`: what tells our files from those of other programs ("SIGu").
const APPLICATION: i32 = 0x5349_4775;

/// `user_version`: the format of the tables. A larger one was written by a later version of this crate.
const FORMAT: i32 = 1;

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
        written_at INTEGER NOT NULL, -- for pruning alone
        PRIMARY KEY (api, scope, kind, runner)
    ) STRICT;
    CREATE TABLE counter (last INTEGER NOT NULL) STRICT;
    INSERT INTO counter VALUES (abs(random() >> 2));
";

const READ: &str = "SELECT version, value FROM record
    WHERE api = ?1 AND scope = ?2 AND kind = ?3 AND runner = ?4";
const SCAN: &str = "SELECT version, value, runner FROM record
    WHERE api = ?1 AND scope = ?2 AND kind = ?3 ORDER BY runner";
const COUNT: &str = "UPDATE counter SET last = last + 1 RETURNING last";
const WRITE: &str = "INSERT OR REPLACE INTO record
    (api, scope, kind, runner, version, value, written_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, unixepoch())";

/// What nobody wrote for 30 days is of a runner long gone. The guard writes the records of a runner that
/// it looks at every few minutes, and no window lasts longer than hours. A record pruned too early (a
/// clock that leapt) is no danger: its windows begin anew.
const PRUNE: &str = "DELETE FROM record WHERE written_at < unixepoch() - 30 * 24 * 60 * 60";

/// How many writings there are from one pruning, which reads the whole table, to the next.
const PRUNE_EVERY: i64 = 256;

/// Records in a SQLite file. Several processes of one machine may share it; several machines may not, for
/// its locks do not reach over a network.
///
/// A file that is damaged is moved aside to `PATH.corrupt-SECONDS`, and a new one is begun. So is a file
/// that was deleted while in use. Either way one operation fails with [`StoreError::Lost`], and the next
/// one works. Beside the file lie `PATH-wal` and `PATH-shm`, which belong to it, and `PATH.lock`, which is
/// always empty.
///
/// It needs a tokio runtime around it.
#[derive(Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
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
        let shared = Shared {
            place: Place::of(path.as_ref())?,
            state: Mutex::default(),
        };
        shared.place.make_folder()?;
        let created = shared.place.open(&mut shared.state())?;
        Ok(Self {
            shared: Arc::new(shared),
            created,
        })
    }

    /// Whether there was no file at all when it was opened: the first use, or a wrong path.
    #[must_use]
    pub fn was_created(&self) -> bool {
        self.created
    }

    /// Does `work` on a thread that may block. It is done to its end, also when nobody waits any more.
    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || shared.run(doing, work)).await;
        done.unwrap_or_else(|broken| Err(self.shared.place.unusable(doing, broken)))
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn describe(&self) -> String {
        self.shared.place.describe()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        let keys = keys.to_vec();
        self.run("reading records", move |file| read(file, &keys))
            .await
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        let (api, scope) = (Arc::from(api), scope.clone());
        self.run("listing the records of a scope", move |file| {
            scan(file, &api, &scope, kind)
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
        self.run("writing a record", move |file| {
            swap(file, &key, expected, &value)
        })
        .await
    }
}

/// Reads in one transaction, so that all the records are of one moment.
fn read(file: &mut Connection, keys: &[Key]) -> rusqlite::Result<Vec<Option<Record>>> {
    let moment = file.transaction()?;
    let mut statement = moment.prepare_cached(READ)?;
    keys.iter()
        .map(|key| {
            let (scope, runner) = (key.scope().to_string(), runner_column(key));
            let columns = (key.api(), scope, key.kind().as_str(), runner);
            statement.query_row(columns, record).optional()
        })
        .collect()
}

fn scan(
    file: &mut Connection,
    api: &Arc<str>,
    scope: &Scope,
    kind: Kind,
) -> rusqlite::Result<Vec<(Key, Record)>> {
    let mut statement = file.prepare_cached(SCAN)?;
    let columns = (&**api, scope.to_string(), kind.as_str());
    let rows = statement.query_map(columns, |row| {
        let runner: String = row.get(2)?;
        let (api, scope) = (Arc::clone(api), scope.clone());
        let key = if runner.is_empty() {
            Key::of_scope(api, scope, kind)
        } else {
            let name = RunnerName::new(&runner).map_err(|no_name| {
                rusqlite::Error::FromSqlConversionFailure(2, Type::Text, Box::new(no_name))
            })?;
            Key::of_runner(api, scope, kind, name)
        };
        Ok((key, record(row)?))
    })?;
    rows.collect()
}

/// Writes in one transaction that shuts out every other writer before it looks.
fn swap(
    file: &mut Connection,
    key: &Key,
    expected: Option<Version>,
    value: &str,
) -> rusqlite::Result<Swap> {
    let alone = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (scope, kind, runner) = (
        key.scope().to_string(),
        key.kind().as_str(),
        runner_column(key),
    );
    let found = alone
        .prepare_cached(READ)?
        .query_row((key.api(), &scope, kind, runner), version)
        .optional()?;
    if found != expected {
        return Ok(Swap::Conflict);
    }
    let (number, new) = alone
        .prepare_cached(COUNT)?
        .query_row((), |row| Ok((row.get::<_, i64>(0)?, version(row)?)))?;
    alone
        .prepare_cached(WRITE)?
        .execute(params![key.api(), scope, kind, runner, number, value])?;
    if number % PRUNE_EVERY == 0 {
        alone.execute(PRUNE, ())?;
    }
    alone.commit()?;
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

/// A version and a value in the first two columns.
fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        version: version(row)?,
        value: row.get(1)?,
    })
}

/// What the blocking threads share.
#[derive(Debug)]
struct Shared {
    place: Place,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None when the file was lost and could not be begun anew yet.
    connection: Option<Connection>,
    /// The files that the connection has open, or had at last.
    files: Option<Files>,
    /// What was lost and is not yet said.
    loss: Option<String>,
}

impl State {
    fn lose(&mut self, what: &str) {
        if let Some(connection) = self.connection.take() {
            keep_log(&connection, true).ok(); // at worst SQLite tidies up a file that is of no use
        }
        match &mut self.loss {
            None => self.loss = Some(what.to_owned()),
            Some(loss) => {
                loss.push_str("; then ");
                loss.push_str(what);
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each step leaves a state that the next operation can go on from, and a transaction that was not
        // committed is rolled back, whoever panicked in between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut state = self.state();
        // Before: so that nothing is written beside a file that is not the one we have open.
        self.see_change(&mut state)?;
        self.settle_loss(&mut state)?;
        let Some(connection) = &mut state.connection else {
            return Err(self.place.unusable(doing, "it is closed")); // settle_loss opened it
        };
        let done = work(connection);
        if let Some(damage) = done.as_ref().err().filter(|error| is_damage(error)) {
            let met = format!("damage was met when {doing}: {damage}");
            state.lose(&met);
        } else {
            // After: what was done in a file that was gone by then is gone with it.
            self.see_change(&mut state)?;
        }
        self.settle_loss(&mut state)?;
        done.map_err(|error| self.place.unusable(doing, error))
    }

    /// Sees whether the files at our place are still those that we have open.
    fn see_change(&self, state: &mut State) -> Result<(), StoreError> {
        if state.connection.is_none() {
            return Ok(());
        }
        let now = self.place.files()?;
        if let Some(change) = state.files.as_ref().and_then(|were| were.change(&now)) {
            state.lose(change);
        }
        Ok(())
    }

    /// Begins anew where something was lost, and then says it, once.
    fn settle_loss(&self, state: &mut State) -> Result<(), StoreError> {
        if state.connection.is_none() {
            self.place.open(state)?;
        }
        match state.loss.take() {
            None => Ok(()),
            Some(what) => Err(StoreError::Lost {
                store: self.place.describe(),
                what,
            }),
        }
    }
}

/// Where the file is, and everything beside it.
#[derive(Debug)]
struct Place {
    path: PathBuf,
}

impl Place {
    /// `path`, made independent of the working directory, and of a link whose target is the file: SQLite
    /// puts the write-ahead log beside the target.
    fn of(path: &Path) -> Result<Self, StoreError> {
        let resolve = || {
            let path = std::path::absolute(path)?;
            if path.is_symlink() {
                fs::canonicalize(path)
            } else {
                Ok(path)
            }
        };
        match resolve() {
            Ok(path) => Ok(Self { path }),
            Err(error) => {
                let path = path.to_owned();
                Err(Self { path }.unusable("finding its place", error))
            }
        }
    }

    fn describe(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    fn unusable(
        &self,
        doing: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> StoreError {
        StoreError::Unusable {
            store: self.describe(),
            doing,
            source: source.into(),
        }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        suffixed(&self.path, suffix)
    }

    /// Makes the folders above the file where they are missing, for this user alone.
    fn make_folder(&self) -> Result<(), StoreError> {
        let mut maker = fs::DirBuilder::new();
        maker.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut maker, 0o700);
        match self.path.parent() {
            Some(folder) => maker.create(folder),
            None => Ok(()),
        }
        .map_err(|error| self.unusable("making its folder", error))
    }

    /// Makes an empty file, for this user alone, unless there is one. SQLite gives its own files the mode
    /// of this one.
    fn make_file(&self) -> Result<bool, StoreError> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&self.path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.unusable("making the file", error)),
        }
    }

    /// Opens the file, and begins one where there is none, or none of use. It tells whether there was none.
    fn open(&self, state: &mut State) -> Result<bool, StoreError> {
        const DOING: &str = "opening it";
        let _turn = self
            .take_turn()
            .map_err(|error| self.unusable("waiting for its .lock", error))?;
        let now = self.files()?;
        self.set_aside(&now.stale(state.files.as_ref()), state)?;
        let made = self.make_file()?;
        let connection = match self.connect() {
            Ok((connection, was_empty)) => {
                if was_empty && !made {
                    state.lose("it was there, but empty");
                }
                connection
            }
            Err(unfit) => {
                let found = unfit
                    .damage()
                    .map_err(|unfit| self.unusable(DOING, unfit))?;
                state.lose(&found);
                let now = self.files()?;
                self.set_aside(&now.stale(Some(&now)), state)?;
                self.make_file()?;
                let (connection, _) = self
                    .connect()
                    .map_err(|unfit| self.unusable(DOING, unfit))?;
                connection
            }
        };
        state.files = Some(self.files()?);
        state.connection = Some(connection);
        Ok(made)
    }

    /// Keeps every other process from opening, moving or making the file, for as long as the answer lives:
    /// otherwise two that met the same damage would move each other's new files aside.
    ///
    /// The lock is an empty database: SQLite's locks are the ones that work everywhere it does, and end with
    /// the process that holds them.
    fn take_turn(&self) -> rusqlite::Result<Connection> {
        let path = self.beside(".lock");
        #[cfg(unix)]
        let is_new = !path.exists();
        let lock = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        // By its path: to open and close a file that SQLite has open drops the locks of the whole process.
        #[cfg(unix)]
        if is_new {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, mode).ok(); // it is empty, and stays so
        }
        lock.busy_timeout(PATIENCE)?;
        lock.execute_batch("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")?;
        Ok(lock)
    }

    /// Opens the file that is there. It tells whether nothing was in it yet.
    fn connect(&self) -> Result<(Connection, bool), Unfit> {
        let mut connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(PATIENCE)?;
        keep_log(&connection, true)?;
        let is_empty = is_empty(&connection)?;
        if connection.is_readonly(rusqlite::MAIN_DB)? {
            return Err(Unfit::ReadOnly);
        }
        // A write-ahead log, so that reads do not wait for writes. FULL, so that a swap that was done
        // outlives a loss of power: without it the look that saw a job could be forgotten, and an older
        // window, from before the job, be believed again. It costs one sync a write, and a record is written
        // every few minutes.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        if is_empty {
            begin(&mut connection)?;
        } else {
            check(&connection)?;
        }
        keep_log(&connection, false)?;
        Ok((connection, is_empty))
    }

    fn files(&self) -> Result<Files, StoreError> {
        let find = || {
            Ok(Files {
                main: Identity::of(&self.path)?,
                log: Identity::of(&self.beside(LOG))?,
                index: Identity::of(&self.beside(INDEX))?,
            })
        };
        find().map_err(|error: io::Error| self.unusable("looking after its files", error))
    }

    /// Moves these of its files to a name of their own, the main one first: a log without its file does no
    /// harm, a file without its log is older than it says.
    fn set_aside(&self, suffixes: &[&str], state: &mut State) -> Result<(), StoreError> {
        let aside = self.unused_name();
        let mut moved = None;
        for suffix in suffixes {
            let to = suffixed(&aside, suffix);
            match fs::rename(self.beside(suffix), &to) {
                Ok(()) => moved = moved.or(Some(to)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // SQLite was faster
                Err(error) => return Err(self.unusable("moving the lost file aside", error)),
            }
        }
        if let (Some(to), Some(loss)) = (moved, &mut state.loss) {
            loss.push_str(&format!("; what is left of it lies at {}", to.display()));
        }
        Ok(())
    }

    /// A name beside the file that nothing has yet.
    fn unused_name(&self) -> PathBuf {
        let name = |second| self.beside(&format!(".corrupt-{second}"));
        let now = SystemClock.now().timestamp();
        (now..=i64::MAX)
            .map(name)
            .find(|aside| SUFFIXES.iter().all(|s| !suffixed(aside, s).exists()))
            .unwrap_or_else(|| name(now))
    }
}

/// The write-ahead log, and the index of it that the processes share.
const LOG: &str = "-wal";
const INDEX: &str = "-shm";
const SUFFIXES: [&str; 3] = ["", LOG, INDEX];

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Which file it is, whatever it is called. While we have it open, no other file can be given its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    #[cfg(unix)]
    device_and_number: (u64, u64),
}

impl Identity {
    /// It asks without opening: see [`Place::take_turn`].
    fn of(path: &Path) -> io::Result<Option<Self>> {
        use io::ErrorKind::{NotADirectory, NotFound};
        match fs::metadata(path) {
            #[cfg(unix)]
            Ok(file) => {
                use std::os::unix::fs::MetadataExt;
                let device_and_number = (file.dev(), file.ino());
                Ok(Some(Self { device_and_number }))
            }
            // Elsewhere a file that is open can neither be deleted nor replaced.
            #[cfg(not(unix))]
            Ok(_) => Ok(Some(Self {})),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The file, and the two beside it that SQLite makes while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    main: Option<Identity>,
    log: Option<Identity>,
    index: Option<Identity>,
}

impl Files {
    /// What became of these while they were open.
    fn change(&self, now: &Self) -> Option<&'static str> {
        if self == now {
            None
        } else if now.main.is_none() {
            Some("its file was deleted while it was open")
        } else if self.main != now.main {
            Some("another file took its place while it was open")
        } else {
            Some("its -wal or -shm was deleted or replaced while it was open")
        }
    }

    /// Those of these that must not be opened: the ones that were lost, which are `former`, and what is left
    /// of a file that is not there. A file that took the place of the lost one is not ours to move.
    fn stale(&self, former: Option<&Self>) -> Vec<&'static str> {
        let all = self.main.is_none() || former.is_some_and(|former| former.main == self.main);
        let is_former = |now: Option<Identity>, of: fn(&Self) -> Option<Identity>| {
            now.is_some() && (all || former.and_then(of) == now)
        };
        let stale = [
            is_former(self.main, |files| files.main),
            is_former(self.log, |files| files.log),
            is_former(self.index, |files| files.index),
        ];
        let named = SUFFIXES.into_iter().zip(stale);
        named.filter_map(|(name, is)| is.then_some(name)).collect()
    }
}

/// Why the file that is there cannot be used.
#[derive(Debug, Error)]
enum Unfit {
    #[error(
        "its format is {0}, which a later version of this program wrote; this one knows {FORMAT}"
    )]
    Newer(i32),
    #[error("it is the database of another program")]
    Foreign,
    #[error("it can be read, but not written")]
    ReadOnly,
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl Unfit {
    /// What is damaged, if that is the reason.
    fn damage(self) -> Result<String, Self> {
        match self {
            Self::Damaged(_) => Ok(self.to_string()),
            Self::Sqlite(ref error) if is_damage(error) => Ok(format!("it is damaged: {error}")),
            other => Err(other),
        }
    }
}

/// Whether the file, and not what stands around it, is to blame. Time does not heal these.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    match error {
        Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
        ),
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => true,
        _ => false,
    }
}

/// Whether the write-ahead log of a file stays when its last connection is closed. It does of one that is
/// damaged or not ours: there it is not for us to fold into the file.
fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)?;
    Ok(())
}

/// Whether nothing is in it yet; otherwise it must be ours. Nothing is written before this is known.
fn is_empty(connection: &Connection) -> Result<bool, Unfit> {
    let number = |sql| connection.query_row(sql, (), |row| row.get::<_, i32>(0));
    let application = number("PRAGMA application_id")?;
    let format = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    match (application, format, tables) {
        (0, 0, 0) => Ok(true),
        (APPLICATION, FORMAT, _) => Ok(false),
        (APPLICATION, newer, _) if newer > FORMAT => Err(Unfit::Newer(newer)),
        _ => Err(Unfit::Foreign),
    }
}

/// Makes the tables: all of them, or none.
fn begin(connection: &mut Connection) -> rusqlite::Result<()> {
    let tables = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tables.execute_batch(TABLES)?;
    tables.pragma_update(None, "application_id", APPLICATION)?;
    tables.pragma_update(None, "user_version", FORMAT)?;
    tables.commit()
}

/// Reads through the whole file once, so that damage is met now and not in the middle of a sweep.
fn check(connection: &Connection) -> Result<(), Unfit> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(Unfit::Damaged(verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Shared) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(&folder.path().join("store.db")).unwrap();
        let state = Mutex::default();
        (folder, Shared { place, state })
    }

    fn key(name: &str) -> Key {
        let (api, scope) = ("api.github.com".into(), "org:acme".parse().unwrap());
        Key::of_runner(api, scope, Kind::Memory, name.parse().unwrap())
    }

    #[test]
    fn a_full_disk_loses_nothing() {
        let (_folder, shared) = store();
        let write =
            |value: &str| shared.run("writing", |file| swap(file, &key("r-1"), None, value));
        assert!(matches!(write("kept"), Ok(Swap::Done(_))));
        shared
            .run("filling the disk", |file| {
                let pages: i64 = file.query_row("PRAGMA page_count", (), |row| row.get(0))?;
                file.pragma_update(None, "max_page_count", pages)
            })
            .unwrap();
        let long = "x".repeat(1 << 20);
        let full = shared.run("writing", |file| swap(file, &key("r-2"), None, &long));
        assert!(
            matches!(&full, Err(StoreError::Unusable { source, .. }) if source.to_string().contains("full")),
            "{full:?}"
        );
        let kept = shared.run("reading", |file| read(file, &[key("r-1"), key("r-2")]));
        let kept: Vec<_> = kept
            .unwrap()
            .into_iter()
            .map(|r| r.map(|r| r.value))
            .collect();
        assert_eq!(kept, [Some("kept".to_owned()), None]);
    }

    #[cfg(unix)]
    #[test]
    fn a_loss_is_seen_before_the_work_and_after_it() {
        let (_folder, shared) = store();
        let delete = || fs::remove_file(&shared.place.path).unwrap();
        let written = shared.run("writing", |file| {
            let done = swap(file, &key("r-1"), None, "gone")?;
            delete();
            Ok(done)
        });
        assert!(
            matches!(written, Err(StoreError::Lost { .. })),
            "{written:?}"
        );
        shared.run("reading", |_| Ok(())).unwrap();
        delete();
        let kept_off = shared.run("writing", |_| -> rusqlite::Result<()> {
            panic!("nothing is written beside a file that is not ours")
        });
        assert!(
            matches!(kept_off, Err(StoreError::Lost { .. })),
            "{kept_off:?}"
        );
    }

    #[test]
    fn a_new_file_does_not_start_where_another_one_did() {
        let first = |(_folder, shared): (tempfile::TempDir, Shared)| {
            shared
                .run("writing", |file| swap(file, &key("r-1"), None, ""))
                .unwrap()
        };
        assert_ne!(first(store()), first(store()));
    }

    #[test]
    fn only_what_was_lost_is_moved() {
        let file = |number| Identity {
            #[cfg(unix)]
            device_and_number: (1, number),
        };
        let files = |main: Option<u64>, log: Option<u64>| Files {
            main: main.map(file),
            log: log.map(file),
            index: None,
        };
        let ours = files(Some(1), Some(2));
        assert_eq!(ours.stale(None), Vec::<&str>::new(), "an ordinary opening");
        assert_eq!(ours.stale(Some(&ours)), ["", "-wal"], "damaged");
        assert_eq!(files(None, Some(2)).stale(None), ["-wal"], "deleted before");
        if cfg!(unix) {
            let theirs = files(Some(3), Some(4));
            assert_eq!(
                theirs.stale(Some(&ours)),
                Vec::<&str>::new(),
                "begun anew by another process"
            );
            assert_eq!(
                files(Some(3), Some(2)).stale(Some(&ours)),
                ["-wal"],
                "their file, our log"
            );
        }
    }
}
