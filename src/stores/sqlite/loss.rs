//! Noticing that the file was lost: damaged, deleted, or replaced.

use super::place::{INDEX, LOG, Place, SUFFIXES, keep_log};
use crate::store::StoreError;
use rusqlite::{Connection, ErrorCode};
use std::{
    fs, io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The file, with an eye on it before and after each operation.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) place: Place,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// None when the file was lost and could not be begun anew yet.
    pub(super) connection: Option<Connection>,
    /// The files that the connection has open, or had at last.
    pub(super) files: Option<Files>,
    /// What was lost and is not yet said.
    pub(super) loss: Option<String>,
}

impl State {
    pub(super) fn lose(&mut self, what: &str) {
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

impl Watched {
    pub(super) fn at(place: Place) -> Self {
        let state = Mutex::default();
        Self { place, state }
    }

    /// The file for oneself, until the answer is dropped.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Each step leaves a state that the next operation can go on from, and a transaction that was not
        // committed is rolled back, whoever panicked in between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn run<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.run_in(&mut self.state(), doing, work)
    }

    /// What [`Self::run`] does, for one who has the file already.
    pub(super) fn run_in<T>(
        &self,
        state: &mut State,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        // Before: so that nothing is written beside a file that is not the one we have open.
        self.see_change(state)?;
        self.settle_loss(state)?;
        let Some(connection) = &mut state.connection else {
            return Err(self.place.unusable(doing, "it is closed")); // settle_loss opened it
        };
        let done = work(connection);
        if let Some(damage) = done.as_ref().err().filter(|error| is_damage(error)) {
            let met = format!("damage was met when {doing}: {damage}");
            state.lose(&met);
        } else {
            // After: what was done in a file that was gone by then is gone with it.
            self.see_change(state)?;
        }
        self.settle_loss(state)?;
        done.map_err(|error| self.place.unusable(doing, error))
    }

    /// Sees whether the files at our place are still those that we have open.
    fn see_change(&self, state: &mut State) -> Result<(), StoreError> {
        if state.connection.is_none() {
            return Ok(());
        }
        let now = Files::at(&self.place)?;
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
pub(super) struct Files {
    main: Option<Identity>,
    log: Option<Identity>,
    index: Option<Identity>,
}

impl Files {
    /// Those that lie at this place now.
    pub(super) fn at(place: &Place) -> Result<Self, StoreError> {
        let find = || {
            Ok(Self {
                main: Identity::of(&place.path)?,
                log: Identity::of(&place.beside(LOG))?,
                index: Identity::of(&place.beside(INDEX))?,
            })
        };
        find().map_err(|error: io::Error| place.unusable("looking after its files", error))
    }

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
    pub(super) fn stale(&self, former: Option<&Self>) -> Vec<&'static str> {
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

/// Whether the file, and not what stands around it, is to blame. Time does not heal these.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use crate::stores::sqlite::{
        swap_all,
        tests::{first, new_file},
    };

    #[cfg(unix)]
    #[test]
    fn a_loss_is_seen_before_the_work_and_after_it() {
        let (_folder, file) = new_file();
        let delete = || fs::remove_file(&file.place.path).unwrap();
        let written = file.run("writing", |open| {
            let done = swap_all(open, &[first("r-1", "gone")])?;
            delete();
            Ok(done)
        });
        assert!(
            matches!(written, Err(StoreError::Lost { .. })),
            "{written:?}"
        );
        file.run("reading", |_| Ok(())).unwrap();
        delete();
        let kept_off = file.run("writing", |_| -> rusqlite::Result<()> {
            panic!("nothing is written beside a file that is not ours")
        });
        assert!(
            matches!(kept_off, Err(StoreError::Lost { .. })),
            "{kept_off:?}"
        );
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
