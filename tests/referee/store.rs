//! The store as a thing of its own, that can be stopped and started anew.

use rusqlite::Connection;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// A store that all guards and beacons share.
pub(crate) trait Server: Send {
    /// What it is.
    fn name(&self) -> &'static str;
    /// Where it is.
    fn url(&self) -> String;
    /// From now on it serves nobody.
    fn stop(&mut self);
    /// It serves again, and knows what it knew.
    fn start(&mut self);
}

/// A SQLite file. It is stopped by a lock that keeps every other writer out.
pub(crate) struct SqliteFile {
    path: PathBuf,
    lock: Option<Connection>,
}

impl SqliteFile {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            path: folder.join("guard.sqlite"),
            lock: None,
        }
    }
}

impl Server for SqliteFile {
    fn name(&self) -> &'static str {
        "a SQLite file"
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    fn stop(&mut self) {
        let lock = Connection::open(&self.path).expect("the file");
        lock.busy_timeout(Duration::from_secs(30))
            .expect("a timeout");
        lock.execute_batch("BEGIN EXCLUSIVE").expect("a lock");
        self.lock = Some(lock);
    }

    fn start(&mut self) {
        self.lock = None;
    }
}
