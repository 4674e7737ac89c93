//! The tail of the runner's log: every line once, through rotation, truncation and restarts.

mod folder;
mod page;

use folder::Folder;
use page::{Page, Progress};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// How much is read back at the first look: at 8 MB a page, the newest four pages.
const READ_BACK_BYTES: u64 = 32 * 1024 * 1024;

/// How many pages are followed. The runner writes to one, but each call of its program, such as `config.sh --help`,
/// begins a page of its own.
const PAGES: usize = 64;

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
    /// More was written than is read at one look: the rest follows at the next.
    #[error("the log in {} grows faster than it is read", .folder.display())]
    Behind {
        /// The folder.
        folder: PathBuf,
    },
}

/// Reads `_diag/Runner_*-utc.log` as it grows.
///
/// Memory is bounded whatever the files hold: no file is loaded, no long line is kept.
#[derive(Debug)]
pub struct LogTail {
    folder: Folder,
    /// The pages that are followed, in the order in which they are read.
    pages: Vec<Page>,
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
    /// those of the newest pages, up to 32 MiB and 64 pages. A line longer than 64 KiB is left out.
    ///
    /// # Errors
    /// [`Blindness`], when not everything could be read. What could be was handed on.
    pub fn look(&mut self, each: &mut dyn FnMut(&str)) -> Result<(), Blindness> {
        self.looks += 1;
        if let Some(new) = self.folder.new_pages()? {
            self.follow(new);
        }
        let mut budget = self.look_bytes;
        let (mut unreadable, mut behind) = (None, false);
        let mut gone: Vec<OsString> = Vec::new();
        for page in &mut self.pages {
            match page.read(self.folder.path(), &mut budget, self.looks, each) {
                Ok(Progress::Done) => {}
                Ok(Progress::Behind) => behind = true,
                Ok(Progress::Gone) => gone.push(page.name.clone()),
                Err(source) => {
                    let path = self.folder.path().join(&page.name);
                    unreadable.get_or_insert(Blindness::Unreadable { path, source });
                }
            }
        }
        if !gone.is_empty() {
            self.pages.retain(|page| !gone.contains(&page.name));
            self.folder.forget(&gone);
        }
        let folder = || self.folder.path().to_owned();
        if let Some(blindness) = unreadable {
            return Err(blindness);
        }
        if behind {
            return Err(Blindness::Behind { folder: folder() });
        }
        if self.pages.is_empty() {
            return Err(Blindness::NoPage { folder: folder() });
        }
        match self.pages.iter().rev().find_map(Page::is_known) {
            Some((page, false)) => Err(Blindness::UnknownFormat {
                page: self.folder.path().join(page),
            }),
            Some((_, true)) | None => Ok(()),
        }
    }

    /// Follows new pages after those it follows; where they are too many, the newest, read back within bounds.
    fn follow(&mut self, mut new: Vec<OsString>) {
        new.sort_unstable();
        let look = self.looks;
        let is_first = self.pages.is_empty();
        if !is_first && new.len() <= PAGES {
            let new = new
                .into_iter()
                .map(|name| Page::beginning_at(name, 0, look));
            self.pages.extend(new);
        } else {
            let mut left = READ_BACK_BYTES;
            let mut pages = Vec::new();
            for name in new.into_iter().rev().take(PAGES) {
                let length = page::length(&self.folder.path().join(&name));
                let cut = length.saturating_sub(left);
                left = left.saturating_sub(length);
                pages.push(Page::beginning_at(name, cut, look));
                if cut > 0 {
                    break;
                }
            }
            self.pages.extend(pages.into_iter().rev());
        }
        // What has not grown for longest goes: the page that is written to is not among them.
        while self.pages.len() > PAGES {
            let idle = self.pages.iter().enumerate();
            let Some((index, _)) = idle.min_by_key(|(_, page)| page.grown_at) else {
                return;
            };
            self.pages.remove(index);
        }
    }
}

#[cfg(test)]
mod tests;
