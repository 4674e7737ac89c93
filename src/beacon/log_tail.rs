//! The tail of the runner's log: every line once, through rotation, truncation and restarts.

mod folder;
mod page;

use folder::{Folder, Listing};
use page::{Page, Progress};
use std::{
    cmp::Reverse,
    collections::HashSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// How much is read back at the first look: at 8 MB a page, the newest four pages. Of a page that was not read then
/// and grows, so much is read back too.
const READ_BACK_BYTES: u64 = 32 * 1024 * 1024;

/// How many pages are read back at the first look. The runner writes to one, but each call of its program, such as
/// `config.sh --help`, begins a page of its own.
const READ_BACK_PAGES: usize = 64;

/// How many pages are looked at each time. The others are when the folder is listed: growth does not change its date.
const NEAR_PAGES: usize = 256;

/// How much is read at one look.
const LOOK_BYTES: u64 = 64 * 1024 * 1024;

/// How many lines a page must have before it is judged by them. The first line of a page has a header.
const ENOUGH_LINES: u32 = 20;

/// Why the log cannot be seen. It says nothing about jobs then, and its silence proves nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Blindness {
    /// There is no folder for logs.
    #[error("there is no log folder {}", .folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no log of a listener.
    #[error("there is no Runner_*-utc.log in {}", .folder.display())]
    NoPage {
        /// The folder.
        folder: PathBuf,
    },
    /// The system lets it not be read.
    #[error("{} cannot be read: {source}", .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There are lines, and none is a runner's.
    #[error("{} is no runner's log, or one of an unknown version", .page.display())]
    UnknownFormat {
        /// The file.
        page: PathBuf,
    },
    /// There are more pages than are kept in mind: which of them is written to cannot be told.
    #[error("there are too many pages in {}; remove old ones", .folder.display())]
    TooManyPages {
        /// The folder.
        folder: PathBuf,
    },
    /// More was written than is read at one look: the rest follows at the next.
    #[error("the log in {} grows faster than it is read", .folder.display())]
    Behind {
        /// The folder.
        folder: PathBuf,
    },
}

/// Reads `_diag/Runner_*-utc.log` as it grows.
///
/// Memory is bounded whatever the files hold and however many they are: no file is loaded, no long line is kept, and
/// of more than 20,000 pages it only says that they are too many.
#[derive(Debug)]
pub struct LogTail {
    folder: Folder,
    /// All pages, in the order in which they are read.
    pages: Vec<Page>,
    /// Whether the folder was listed before: what is new in it now was written since.
    began: bool,
    /// Whether the last look left a page unread.
    owes: bool,
    looks: u64,
    look_bytes: u64,
}

impl LogTail {
    /// The logs in this folder, which need not be there yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: Folder::new(folder.into()),
            pages: Vec::new(),
            began: false,
            owes: false,
            looks: 0,
            look_bytes: LOOK_BYTES,
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Hands on each line that was completed since the last look, without its line break; at the first look,
    /// those of the pages that were written last, up to 32 MiB and 64 pages. A line longer than 64 KiB is left out.
    ///
    /// # Errors
    /// [`Blindness`], when not everything could be read. What could be was handed on.
    pub fn look(&mut self, each: &mut dyn FnMut(&str)) -> Result<(), Blindness> {
        self.looks += 1;
        let listing = self.folder.list()?;
        let too_many = matches!(listing, Listing::TooMany);
        let is_listed = matches!(listing, Listing::Pages(_));
        if let Listing::Pages(names) = listing {
            self.follow(names);
        }
        let (path, look) = (self.folder.path().to_owned(), self.looks);
        let all = is_listed || self.owes;
        let mut budget = self.look_bytes;
        let (mut unreadable, mut behind) = (None, false);
        let known = self.pages.len();
        self.pages.retain_mut(|page| {
            if !all && !page.near {
                return true;
            }
            match page.read(&path, &mut budget, look, each) {
                Ok(Progress::Done) => {}
                Ok(Progress::Behind) => behind = true,
                Ok(Progress::Gone) => return false,
                Err(source) => {
                    let path = path.join(&page.name);
                    unreadable.get_or_insert(Blindness::Unreadable { path, source });
                }
            }
            true
        });
        if self.pages.len() < known {
            self.folder.has_changed();
        }
        if all {
            self.choose_near();
        }
        self.owes = behind || unreadable.is_some();
        if too_many {
            return Err(Blindness::TooManyPages { folder: path });
        }
        if let Some(blindness) = unreadable {
            return Err(blindness);
        }
        if behind {
            return Err(Blindness::Behind { folder: path });
        }
        if self.pages.is_empty() {
            return Err(Blindness::NoPage { folder: path });
        }
        match self.pages.iter().rev().find_map(Page::is_known) {
            Some((page, false)) => Err(Blindness::UnknownFormat {
                page: path.join(page),
            }),
            Some((_, true)) | None => Ok(()),
        }
    }

    /// These are the pages now. New ones come after those that are known, and are read from their beginnings.
    fn follow(&mut self, mut names: HashSet<OsString>) {
        self.pages.retain(|page| names.remove(&page.name));
        let mut new: Vec<OsString> = names.into_iter().collect();
        new.sort_unstable();
        if self.began {
            let new = new.into_iter();
            self.pages
                .extend(new.map(|name| Page::beginning_at(name, 0, self.looks)));
        } else {
            self.pages = self.read_back(new);
        }
        self.began = true;
    }

    /// The pages that were there before anybody looked. Those that were written last are read, within bounds, and the
    /// others when they grow.
    fn read_back(&self, names: Vec<OsString>) -> Vec<Page> {
        let mut found: Vec<(OsString, Option<fs::Metadata>)> = names
            .into_iter()
            .map(|name| {
                let metadata = fs::symlink_metadata(self.folder.path().join(&name)).ok();
                (name, metadata)
            })
            .collect();
        found.sort_by_cached_key(|(name, metadata)| {
            let modified = metadata.as_ref().and_then(|found| found.modified().ok());
            Reverse((modified, name.clone()))
        });
        let mut left = READ_BACK_BYTES;
        let page = |(index, (name, metadata)): (usize, (OsString, Option<fs::Metadata>))| {
            let Some(metadata) = metadata else {
                return Page::beginning_at(name, 0, self.looks);
            };
            if index >= READ_BACK_PAGES || left == 0 {
                return Page::unread(name, &metadata);
            }
            let cut = metadata.len().saturating_sub(left);
            left = left.saturating_sub(metadata.len());
            Page::beginning_at(name, cut, self.looks)
        };
        let mut pages: Vec<Page> = found.into_iter().enumerate().map(page).collect();
        pages.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        pages
    }

    /// Chooses the pages that are looked at each time: those that grew last, and the newest.
    fn choose_near(&mut self) {
        let mut pages: Vec<&mut Page> = self.pages.iter_mut().collect();
        pages.sort_unstable_by(|a, b| (b.grown_at, &b.name).cmp(&(a.grown_at, &a.name)));
        for (index, page) in pages.into_iter().enumerate() {
            page.near = index < NEAR_PAGES;
        }
    }
}

#[cfg(test)]
mod tests;
