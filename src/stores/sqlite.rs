//! Records in a SQLite file.
/// Records in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore;
