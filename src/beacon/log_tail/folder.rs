//! The log folder: which pages are in it, without listing it at every look.

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
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// How old a folder's date must be before it is trusted to change with the next page: longer than the
/// coarsest file system counts.
const SETTLES: TimeDelta = TimeDelta::seconds(5);

/// After how many looks it is listed all the same: some shared file systems do not date folders.
const LIST_EVERY: u32 = 60;

/// How many pages are kept in mind. The runner removes its own after 30 days.
const MOST_PAGES: usize = 20_000;

/// What tells one state of a folder from another.
type Stamp = (Identity, Option<SystemTime>);

/// What one look at the folder found.
#[derive(Debug)]
pub(super) enum Listing {
    /// Nothing says that a page came or went.
    Same,
    /// All its pages, in no order.
    Pages(HashSet<OsString>),
    /// More than are kept in mind.
    TooMany,
}

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The state that was listed.
    listed: Option<Stamp>,
    /// Whether a page that came after that listing would have changed the state.
    settled: bool,
    looks_since: u32,
    pub(super) most_pages: usize,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            listed: None,
            settled: false,
            looks_since: 0,
            most_pages: MOST_PAGES,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lists it, unless nothing says that it changed.
    pub(super) fn list(&mut self) -> Result<Listing, Blindness> {
        let metadata = fs::metadata(&self.path).map_err(|error| self.blind(error))?;
        if !metadata.is_dir() {
            return Err(self.blind(io::ErrorKind::NotADirectory.into()));
        }
        let modified = metadata.modified().ok();
        let stamp = (Identity::of(&metadata), modified);
        self.looks_since = self.looks_since.saturating_add(1);
        if self.settled && self.listed == Some(stamp) && self.looks_since < LIST_EVERY {
            return Ok(Listing::Same);
        }
        // Both are read before the listing: what comes during it must make another.
        let now = SystemClock.now();
        let listing = self.pages().map_err(|error| self.blind(error))?;
        self.settled = modified.is_some_and(|at| age(now, from_system(at)) > SETTLES);
        self.listed = matches!(listing, Listing::Pages(_)).then_some(stamp);
        self.looks_since = 0;
        Ok(listing)
    }

    /// It must be listed at the next look.
    pub(super) fn has_changed(&mut self) {
        self.listed = None;
    }

    fn pages(&self) -> io::Result<Listing> {
        let mut names = HashSet::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_page = |name: &str| name.starts_with("Runner_") && name.ends_with("-utc.log");
            if !name.to_str().is_some_and(is_page)
                || entry.file_type().is_ok_and(|kind| !kind.is_file())
            {
                continue;
            }
            if names.len() >= self.most_pages {
                return Ok(Listing::TooMany);
            }
            names.insert(name);
        }
        Ok(Listing::Pages(names))
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
