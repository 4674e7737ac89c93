//! Where the file is: finding it, making it, opening it, and moving it aside.

use super::{
    APPLICATION, FORMAT, SINCE_FORMAT_1, TABLES,
    loss::{Files, State, is_damage},
};
use crate::{
    clock::{Clock, SystemClock},
    store::StoreError,
};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};
use std::{
    error::Error as StdError,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// How long another process may keep the file locked before an operation gives up.
const PATIENCE: Duration = Duration::from_secs(2);

/// The write-ahead log, and the index of it that the processes share.
pub(super) const LOG: &str = "-wal";
pub(super) const INDEX: &str = "-shm";
pub(super) const SUFFIXES: [&str; 3] = ["", LOG, INDEX];

/// Where the file is, and everything beside it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
}

impl Place {
    /// `path`, made independent of the working directory, and of a link whose target is the file: SQLite
    /// puts the write-ahead log beside the target.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
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

    pub(super) fn describe(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    pub(super) fn unusable(
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

    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        suffixed(&self.path, suffix)
    }

    /// Makes the folders above the file where they are missing, for this user alone.
    pub(super) fn make_folder(&self) -> Result<(), StoreError> {
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
    pub(super) fn open(&self, state: &mut State) -> Result<bool, StoreError> {
        const DOING: &str = "opening it";
        let _turn = self
            .take_turn()
            .map_err(|error| self.unusable("waiting for its .lock", error))?;
        let now = Files::at(self)?;
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
                let now = Files::at(self)?;
                self.set_aside(&now.stale(Some(&now)), state)?;
                self.make_file()?;
                let (connection, _) = self
                    .connect()
                    .map_err(|unfit| self.unusable(DOING, unfit))?;
                connection
            }
        };
        state.files = Some(Files::at(self)?);
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
        let format = format(&connection)?;
        if connection.is_readonly(rusqlite::MAIN_DB)? {
            return Err(Unfit::ReadOnly);
        }
        // A write-ahead log, so that reads do not wait for writes. FULL, so that a swap that was done
        // outlives a loss of power: without it the look that saw a job could be forgotten, and an older
        // window, from before the job, be believed again. It costs one sync a transaction, which swaps that
        // wait at the same time share.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        if format.is_none() {
            begin(&mut connection)?;
        } else {
            check(&connection)?;
        }
        if format.is_some_and(|known| known < FORMAT) {
            update(&mut connection)?;
        }
        keep_log(&connection, false)?;
        Ok((connection, format.is_none()))
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

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
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

/// Whether the write-ahead log of a file stays when its last connection is closed. It does of one that is
/// damaged or not ours: there it is not for us to fold into the file.
pub(super) fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)?;
    Ok(())
}

/// Its format, or that nothing is in it yet; otherwise it must be ours. Nothing is written before this is known.
fn format(connection: &Connection) -> Result<Option<i32>, Unfit> {
    let number = |sql| connection.query_row(sql, (), |row| row.get::<_, i32>(0));
    let application = number("PRAGMA application_id")?;
    let format = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    match (application, format, tables) {
        (0, 0, 0) => Ok(None),
        (APPLICATION, known @ 1..=FORMAT, _) => Ok(Some(known)),
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

/// Brings a file of an earlier format to this one: whole, or not at all.
fn update(connection: &mut Connection) -> rusqlite::Result<()> {
    let alone = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let known: i32 = alone.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    if known == 1 {
        alone.execute_batch(SINCE_FORMAT_1)?;
        alone.pragma_update(None, "user_version", FORMAT)?;
    }
    alone.commit()
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
