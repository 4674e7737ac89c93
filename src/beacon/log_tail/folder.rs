//! The log folder: which pages are new in it, without listing it at every look.

use super::Blindness;
use crate::{
    beacon::root::Identity,
    clock::{Clock, SystemClock},
    time::{age, from_system},
};
use chrono::TimeDelta;
use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io, mem,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// How old a folder's date must be before it is trusted to change with the next page: longer than the
/// coarsest file system counts.
const SETTLES: TimeDelta = TimeDelta::seconds(5);

/// After how many looks it is listed all the same: some shared file systems do not date folders.
const LIST_EVERY: u32 = 60;

/// What tells one state of a folder from another.
type Stamp = (Identity, Option<SystemTime>);

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The state that was listed.
    listed: Option<Stamp>,
    /// Whether a page that came after that listing would have changed the state.
    settled: bool,
    looks_since: u32,
    /// The pages that were there.
    names: HashSet<OsString>,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            listed: None,
            settled: false,
            looks_since: 0,
            names: HashSet::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The pages that were not there before, in no order. `None` when nothing says that there could be any.
    pub(super) fn new_pages(&mut self) -> Result<Option<Vec<OsString>>, Blindness> {
        let metadata = fs::metadata(&self.path).map_err(|error| self.blind(error))?;
        if !metadata.is_dir() {
            return Err(self.blind(io::ErrorKind::NotADirectory.into()));
        }
        let modified = metadata.modified().ok();
        let stamp = (Identity::of(&metadata), modified);
        self.looks_since = self.looks_since.saturating_add(1);
        if self.settled && self.listed == Some(stamp) && self.looks_since < LIST_EVERY {
            return Ok(None);
        }
        // Both are read before the listing: what comes during it must make another.
        let now = SystemClock.now();
        let names = self.list().map_err(|error| self.blind(error))?;
        self.settled = modified.is_some_and(|at| age(now, from_system(at)) > SETTLES);
        self.listed = Some(stamp);
        self.looks_since = 0;
        let known = mem::replace(&mut self.names, names);
        Ok(Some(self.names.difference(&known).cloned().collect()))
    }

    /// These pages are gone: one of that name is a new one.
    pub(super) fn forget(&mut self, gone: &[OsString]) {
        for name in gone {
            self.names.remove(name);
        }
        self.listed = None;
    }

    fn list(&self) -> io::Result<HashSet<OsString>> {
        let mut names = HashSet::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let is_page = |name: &str| name.starts_with("Runner_") && name.ends_with("-utc.log");
            if name.to_str().is_some_and(is_page) {
                names.insert(name);
            }
        }
        Ok(names)
    }

    fn blind(&mut self, source: io::Error) -> Blindness {
        self.listed = None;
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Blindness::NoFolder { folder: path }
            }
            _ => Blindness::Unreadable { path, source },
        }
    }

    /// Whether the last look listed it.
    #[cfg(test)]
    pub(super) fn was_listed(&self) -> bool {
        self.looks_since == 0
    }
}
