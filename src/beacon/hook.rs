//! Job hooks: a mark that the runner's own hooks leave at a job's start and end.
//!
//! A mark is one small file whose date says when. It may be missing, and it may be stale both ways: the hooks
//! run in the worker, which can die.

use super::{RunnerRoot, root::Identity};
use crate::time::{Instant, from_system};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Which hook ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookEvent {
    /// `ACTIONS_RUNNER_HOOK_JOB_STARTED`.
    Started,
    /// `ACTIONS_RUNNER_HOOK_JOB_COMPLETED`.
    Completed,
}

impl HookEvent {
    /// Its mark.
    fn path(self, root: &Path) -> PathBuf {
        root.join("_diag").join(match self {
            Self::Started => "scale-in-guard.started",
            Self::Completed => "scale-in-guard.completed",
        })
    }

    fn word(self) -> &'static [u8] {
        match self {
            Self::Started => b"started\n",
            Self::Completed => b"completed\n",
        }
    }
}

/// Leaves a mark in the runner's folder for logs, over the last one. The job waits for this: it is one small
/// write, and nothing is flushed to the disk.
///
/// # Errors
/// What the system said: there is no such folder, it is read-only, the disk is full.
pub fn mark(root: &Path, event: HookEvent) -> io::Result<()> {
    write(&event.path(root), event.word())
}

fn write(path: &Path, word: &[u8]) -> io::Result<()> {
    // Opening a pipe would wait for a reader.
    let is_in_the_way = |metadata: fs::Metadata| !metadata.is_file();
    if fs::symlink_metadata(path).is_ok_and(is_in_the_way) {
        let what = format!("{} is no regular file", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    let mut options = OpenOptions::new();
    // Written over and not cut off before: one write is one change.
    let options = options.write(true).create(true).truncate(false);
    put(&mut options.open(path)?, word)
}

fn put(file: &mut impl Write, word: &[u8]) -> io::Result<()> {
    file.write_all(word)
}

/// Notices the marks of jobs that started; that one completed clears nothing, and is nothing to look at. It opens no
/// file: what the job's user put there cannot harm whoever looks.
#[derive(Debug)]
pub struct HookWatch {
    path: PathBuf,
    seen: Option<(Identity, SystemTime)>,
}

impl HookWatch {
    /// Has seen none yet: its first look tells the mark that is there, however old.
    #[must_use]
    pub fn new(root: &RunnerRoot) -> Self {
        Self {
            path: HookEvent::Started.path(root.path()),
            seen: None,
        }
    }

    /// The date of a mark that is not the one seen last, on the clock of the host.
    pub fn look(&mut self) -> Option<Instant> {
        let metadata = fs::symlink_metadata(&self.path).ok()?;
        let modified = metadata.modified().ok()?;
        let found = Some((Identity::of(&metadata), modified));
        if !metadata.is_file() || self.seen == found {
            return None;
        }
        self.seen = found;
        Some(from_system(modified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HookEvent::{Completed, Started};
    use std::{fs::File, time::Duration};

    fn runner() -> (tempfile::TempDir, RunnerRoot) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("_diag")).unwrap();
        fs::write(folder.path().join("run.sh"), "").unwrap();
        let root = RunnerRoot::open(folder.path()).unwrap();
        (folder, root)
    }

    fn date(root: &RunnerRoot, event: HookEvent, seconds: u64) {
        let file = File::options().write(true).open(event.path(root.path()));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        file.unwrap().set_modified(at).unwrap();
    }

    #[test]
    fn each_mark_is_noticed_once() {
        let (_folder, root) = runner();
        let mut watch = HookWatch::new(&root);
        assert_eq!(watch.look(), None);

        mark(root.path(), Started).unwrap();
        date(&root, Started, 1_000);
        let at = |seconds| Instant::from_timestamp(seconds, 0);
        assert_eq!(watch.look(), at(1_000));
        assert_eq!(watch.look(), None);

        // Also when the clock was set back.
        mark(root.path(), Started).unwrap();
        date(&root, Started, 500);
        assert_eq!(watch.look(), at(500));

        mark(root.path(), Completed).unwrap();
        date(&root, Completed, 600);
        assert_eq!(watch.look(), None);
    }

    /// This file system keeps the dates that others cut.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_mark_of_an_impossible_date_is_noticed_at_the_end_of_time() {
        use crate::{Policy, beacon::Watch};

        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::create_dir(folder.path().join("_diag")).unwrap();
        fs::write(folder.path().join("run.sh"), "").unwrap();
        let root = RunnerRoot::open(folder.path()).unwrap();
        let now = Instant::from_timestamp(1_000, 0).unwrap();
        let mut watch = Watch::begin(root.clone(), now, Policy::default().into()).unwrap();
        let none = super::super::Processes::default();
        watch.look(&none, now);

        mark(root.path(), Started).unwrap();
        date(&root, Started, 1_000_000_000_000_000);
        let started = HookWatch::new(&root).look();
        assert_eq!(started, Some(Instant::MAX_UTC));
        // Nor does what is made of it panic.
        assert!(watch.look(&none, now).started);
        let much_later = crate::time::after(now, chrono::TimeDelta::days(1));
        watch.look(&none, much_later);

        let at = SystemTime::UNIX_EPOCH - Duration::from_secs(1_000_000_000_000_000);
        let file = File::options().write(true).open(Started.path(root.path()));
        file.unwrap().set_modified(at).unwrap();
        let started = HookWatch::new(&root).look();
        assert_eq!(started, Some(Instant::MIN_UTC));
        watch.look(&none, now);
        watch.look(&none, much_later);
    }

    #[test]
    fn a_mark_changes_the_date_and_leaves_nothing_else() {
        let (_folder, root) = runner();
        mark(root.path(), Started).unwrap();
        date(&root, Started, 1_000);
        mark(root.path(), Started).unwrap();
        let path = Started.path(root.path());
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(modified > SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        assert_eq!(fs::read(path).unwrap(), b"started\n");
        assert_eq!(fs::read_dir(root.logs()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_says_so() {
        let (_folder, root) = runner();
        let is_blocked = |event| mark(root.path(), event).is_err();
        fs::create_dir(Started.path(root.path())).unwrap();
        assert!(is_blocked(Started));
        fs::remove_dir_all(root.logs()).unwrap();
        assert!(is_blocked(Started));
        fs::write(root.logs(), "").unwrap();
        assert!(is_blocked(Started));
        assert_eq!(HookWatch::new(&root).look(), None);
        #[cfg(target_os = "linux")]
        {
            assert!(mark(Path::new("/proc"), Started).is_err());
            let mut full = File::options().write(true).open("/dev/full").unwrap();
            let error = put(&mut full, b"started\n").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert!(write(Path::new("/dev/full"), b"started\n").is_err());
        }
    }
}
