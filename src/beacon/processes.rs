//! Processes: which runner has a worker, and which a listener.

#[cfg(unix)]
mod proc_fs;

use super::RunnerRoot;
use std::path::{Path, PathBuf};

/// What one scan of this host's processes saw.
///
/// Only Linux tells. Elsewhere nothing is known, and the log alone serves.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    /// `None` when nothing is known.
    seen: Option<Vec<(PathBuf, RootProcesses)>>,
}

/// What a scan saw of one runner. That something was not seen proves nothing to whoever never saw anything
/// of this runner: its processes may be in another PID namespace, or hidden from this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RootProcesses {
    /// A `Runner.Listener` of its own.
    pub listener: bool,
    /// A `Runner.Worker` of its own.
    pub worker: bool,
    /// A `Runner.Worker` that could be anybody's: nothing tells where it was started from.
    pub unattributed_worker: bool,
    /// Its listener writes to a page of its log that was deleted.
    pub log_deleted: bool,
}

impl Processes {
    /// Nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Looks once for the processes of these runners. Where the system's processes cannot be listed, nothing
    /// is known.
    #[must_use]
    pub fn scan<'a>(roots: impl IntoIterator<Item = &'a RunnerRoot>) -> Self {
        if cfg!(target_os = "linux") {
            Self::scan_in(Path::new("/proc"), roots)
        } else {
            Self::unknown()
        }
    }

    /// The same, in another folder than `/proc`.
    #[must_use]
    #[cfg_attr(not(unix), allow(unused_variables, reason = "no such folder"))]
    pub fn scan_in<'a>(proc: &Path, roots: impl IntoIterator<Item = &'a RunnerRoot>) -> Self {
        #[cfg(unix)]
        let seen = proc_fs::scan(proc, roots);
        #[cfg(not(unix))]
        let seen = None;
        Self { seen }
    }

    /// What was seen of this runner. `None` when nothing is known, or it was not looked for.
    #[must_use]
    pub fn of(&self, root: &RunnerRoot) -> Option<RootProcesses> {
        let mut seen = self.seen.iter().flatten();
        seen.find(|(path, _)| path == root.path())
            .map(|&(_, seen)| seen)
    }

    /// As if a scan had seen this.
    #[cfg(test)]
    pub(super) fn seen(root: &RunnerRoot, seen: RootProcesses) -> Self {
        Self {
            seen: Some(vec![(root.path().to_owned(), seen)]),
        }
    }
}

#[cfg(test)]
mod tests;
