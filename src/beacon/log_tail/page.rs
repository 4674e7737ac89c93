//! One page of the log.

use super::{ENOUGH_LINES, READ_BACK_BYTES};
use crate::{beacon::root::Identity, runner_log::has_header};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

/// A longer line is no line of a listener's, and is not kept.
const LINE_BYTES: usize = 64 * 1024;

/// A page, and how far it was read.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) name: OsString,
    /// The last look at which it had grown.
    pub(super) grown_at: u64,
    /// Whether it is looked at each time.
    pub(super) near: bool,
    identity: Option<Identity>,
    /// Where the first line begins that was not handed on.
    next_line: u64,
    /// How long it was when it was read to its end. `None` when it was not.
    read_to: Option<u64>,
    /// Whether `next_line` is in the middle of a line that is left out.
    skipping: bool,
    /// How many lines were read, as far as that matters, and whether one had a header.
    lines: u32,
    has_header: bool,
}

/// How far a page was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// To its end.
    Done,
    /// There is more.
    Behind,
    /// It is no more, or is no file.
    Gone,
}

impl Page {
    /// To be read from its first whole line at or after `cut`; first seen at this look.
    pub(super) fn beginning_at(name: OsString, cut: u64, look: u64) -> Self {
        Self {
            name,
            grown_at: look,
            near: false,
            identity: None,
            // The byte before may be the line break.
            next_line: cut.saturating_sub(1),
            read_to: None,
            skipping: cut > 0,
            lines: 0,
            has_header: false,
        }
    }

    /// Not to be read before it grows, and then read back within bounds.
    pub(super) fn unread(name: OsString, metadata: &fs::Metadata) -> Self {
        let cut = metadata.len().saturating_sub(READ_BACK_BYTES);
        Self {
            identity: Some(Identity::of(metadata)),
            read_to: Some(metadata.len()),
            ..Self::beginning_at(name, cut, 0)
        }
    }

    /// Its name, and whether it is a runner's log. `None` while that cannot be told.
    pub(super) fn is_known(&self) -> Option<(&OsStr, bool)> {
        (self.has_header || self.lines >= ENOUGH_LINES).then_some((&self.name, self.has_header))
    }

    /// Hands on its new lines, while `budget` lasts.
    pub(super) fn read(
        &mut self,
        folder: &Path,
        budget: &mut u64,
        look: u64,
        each: &mut dyn FnMut(&str),
    ) -> io::Result<Progress> {
        let path = folder.join(&self.name);
        let opened = || -> io::Result<Option<(File, fs::Metadata)>> {
            // A pipe would make us wait for a writer, and nothing but a file is a page.
            let metadata = fs::symlink_metadata(&path)?;
            if !metadata.is_file() {
                return Err(io::ErrorKind::NotFound.into());
            }
            let same = self.identity == Some(Identity::of(&metadata));
            if same && self.read_to == Some(metadata.len()) {
                return Ok(None);
            }
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            Ok(Some((file, metadata)))
        };
        let (file, metadata) = match opened() {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(Progress::Done),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Progress::Gone),
            Err(error) => return Err(error),
        };
        let identity = Identity::of(&metadata);
        let is_other = self.identity.is_some_and(|known| known != identity);
        if is_other || metadata.len() < self.read_to.unwrap_or(self.next_line) {
            *self = Self {
                near: self.near,
                ..Self::beginning_at(self.name.clone(), 0, look)
            };
        }
        self.identity = Some(identity);
        self.grown_at = look;
        self.read_on(file, budget, each)
    }

    fn read_on(
        &mut self,
        mut file: File,
        budget: &mut u64,
        each: &mut dyn FnMut(&str),
    ) -> io::Result<Progress> {
        file.seek(SeekFrom::Start(self.next_line))?;
        self.read_to = None;
        let mut reader = BufReader::with_capacity(LINE_BYTES, file);
        let mut line: Vec<u8> = Vec::new();
        let mut at = self.next_line;
        loop {
            let chunk = match reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                self.read_to = Some(at);
                return Ok(Progress::Done);
            }
            if *budget == 0 {
                return Ok(Progress::Behind);
            }
            let mut parts = chunk.split_inclusive(|&byte| byte == b'\n');
            let part = parts.next().unwrap_or_default();
            let is_end = part.ends_with(b"\n");
            let length = part.len();
            if line.len() + length > LINE_BYTES {
                self.skipping = true;
                line = Vec::new();
            }
            if !self.skipping {
                line.extend_from_slice(part);
            }
            reader.consume(length);
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            at = at.saturating_add(length);
            *budget = budget.saturating_sub(length);
            if is_end {
                if !self.skipping {
                    self.hand_on(&line, each);
                }
                self.skipping = false;
                line.clear();
            }
            if is_end || self.skipping {
                self.next_line = at;
            }
        }
    }

    fn hand_on(&mut self, line: &[u8], each: &mut dyn FnMut(&str)) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        if !self.has_header {
            self.has_header = has_header(&text);
            self.lines = self.lines.saturating_add(1);
        }
        each(&text);
    }
}
