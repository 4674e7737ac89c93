//! The stores keep their promises, the suite notices one that does not, and a SQLite file may be shared,
//! killed, damaged and lost.
#![cfg(all(feature = "sqlite", feature = "testing"))]
#![allow(clippy::expect_used, clippy::panic)] // a test that cannot go on stops

use async_trait::async_trait;
use chrono::TimeDelta;
use futures::future::join_all;
use rusqlite::Connection;
use scale_in_guard::{
    runner::Scope,
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::{MemoryStore, SqliteStore},
    testing::conformance,
};
use std::{
    collections::{HashMap, HashSet},
    env, fs,
    future::{Future, poll_fn},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    pin::{Pin, pin},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};
use tempfile::TempDir;
use tokio::time::Instant;

/// A file that is not there yet, in a folder of its own.
fn new_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.db");
    (folder, file)
}

fn open(file: &Path) -> SqliteStore {
    SqliteStore::open(file).expect("a store that opens")
}

fn key(name: &str) -> Key {
    let api = "api.github.com".into();
    let scope = "repo:acme/atlas".parse().expect("a scope");
    Key::of_runner(api, scope, Kind::Memory, name.parse().expect("a name"))
}

async fn read(store: &SqliteStore, name: &str) -> Option<Record> {
    let records = store.read(&[key(name)]).await.expect("a read that works");
    records.into_iter().flatten().next()
}

async fn value(store: &SqliteStore, name: &str) -> Option<String> {
    read(store, name).await.map(|record| record.value)
}

async fn write(store: &SqliteStore, name: &str, value: &str) -> Version {
    let expected = read(store, name).await.map(|record| record.version);
    let swap = store.swap(&key(name), expected, value).await;
    match swap.expect("a swap that works") {
        Swap::Done(version) => version,
        Swap::Conflict => panic!("nobody else writes"),
    }
}

/// Counts one further, however many others do.
async fn increment(store: &SqliteStore) -> u64 {
    loop {
        let found = read(store, "counter").await;
        let next = 1 + found
            .as_ref()
            .map_or(0, |record| record.value.parse().expect("a number"));
        let expected = found.map(|record| record.version);
        let (key, text) = (key("counter"), next.to_string());
        let swap = store.swap(&key, expected, &text).await;
        if let Swap::Done(_) = swap.expect("a swap that works") {
            return next;
        }
    }
}

/// The next operation says that something was lost; the one after it works, and finds nothing.
async fn assert_lost_once(store: &SqliteStore, what: &str) -> String {
    let lost = match store.read(&[key("r-1")]).await {
        Err(lost @ StoreError::Lost { .. }) => lost.to_string(),
        other => panic!("expected a loss, met {other:?}"),
    };
    assert!(lost.contains(what), "{lost} should name {what:?}");
    assert_eq!(value(store, "r-1").await, None, "it is begun anew");
    write(store, "r-1", "anew").await;
    assert_eq!(value(store, "r-1").await.as_deref(), Some("anew"));
    lost
}

fn assert_unusable<T: std::fmt::Debug>(met: Result<T, StoreError>, words: &str) {
    match met {
        Err(error @ StoreError::Unusable { .. }) => {
            let text = error.to_string();
            assert!(text.contains(words), "{text} should say {words:?}");
        }
        other => panic!("expected it to be unusable, met {other:?}"),
    }
}

/// The names in the folder of `file` that hold `part`.
fn beside(file: &Path, part: &str) -> Vec<PathBuf> {
    let folder = file.parent().expect("a folder");
    let entries = fs::read_dir(folder).expect("a folder to read");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = paths
        .filter(|path| path.to_string_lossy().contains(part))
        .collect();
    found.sort();
    found
}

fn suffixed(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_promises() {
    conformance::store(async || MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_keeps_the_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = AtomicUsize::new(0);
    conformance::store(async || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        open(&folder.path().join(format!("{number}.db")))
    })
    .await;
}

/// A way to break a promise.
#[derive(Debug, Clone, Copy)]
enum Fault {
    IgnoresExpected,
    LosesOverwrites,
    SwapsInTwoSteps,
    FoldsCase,
    DropsSpaces,
    ForgetsTheApi,
    ForgetsTheKind,
    TakesScopesForPrefixes,
    SortsReads,
    LeavesOutWhatIsMissing,
    TrimsValues,
    RepeatsVersions,
    FailsOnLargeValues,
    ScansByRunnerOnly,
    NeverAges,
    AgesFromTheFirstWriting,
}

/// A store in memory that breaks one promise.
#[derive(Debug)]
struct Broken {
    fault: Fault,
    inner: MemoryStore,
    born: Mutex<HashMap<Key, Instant>>,
}

impl Broken {
    fn key(&self, key: &Key) -> Key {
        let name = key.runner().map(|name| name.as_str());
        let (mut api, mut kind) = (key.api(), key.kind());
        let name = match self.fault {
            Fault::FoldsCase => name.map(str::to_lowercase),
            Fault::DropsSpaces => name.map(|name| name.replace(' ', "")),
            Fault::ForgetsTheApi => {
                api = "api";
                name.map(str::to_owned)
            }
            Fault::ForgetsTheKind => {
                kind = Kind::Memory;
                name.map(str::to_owned)
            }
            _ => return key.clone(),
        };
        let scope = key.scope().clone();
        match name {
            Some(name) => {
                let name = name.parse().expect("a name");
                Key::of_runner(api.into(), scope, kind, name)
            }
            None => Key::of_scope(api.into(), scope, kind),
        }
    }
}

#[async_trait]
impl Store for Broken {
    fn describe(&self) -> String {
        "broken".to_owned()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut keys: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
        if let Fault::SortsReads = self.fault {
            keys.sort();
        }
        let mut records = self.inner.read(&keys).await?;
        match self.fault {
            Fault::LeavesOutWhatIsMissing => records.retain(Option::is_some),
            Fault::RepeatsVersions => {
                for record in records.iter_mut().flatten() {
                    record.version.0 %= 3;
                }
            }
            Fault::NeverAges => {
                for record in records.iter_mut().flatten() {
                    record.age = TimeDelta::zero();
                }
            }
            Fault::AgesFromTheFirstWriting => {
                for (record, key) in records.iter_mut().zip(&keys) {
                    let born = *self
                        .born
                        .lock()
                        .expect("no panic")
                        .entry(key.clone())
                        .or_insert_with(Instant::now);
                    if let Some(record) = record {
                        record.age = TimeDelta::from_std(born.elapsed()).expect("a short time");
                    }
                }
            }
            _ => {}
        }
        Ok(records)
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        let mut found = self.inner.scan(api, scope, kind).await?;
        match self.fault {
            Fault::TakesScopesForPrefixes => {
                let longer = format!("{scope}b");
                if let Ok(scope) = longer.parse() {
                    found.extend(self.inner.scan(api, &scope, kind).await?);
                }
            }
            Fault::ScansByRunnerOnly => found.retain(|(key, _)| key.runner().is_some()),
            _ => {}
        }
        Ok(found)
    }

    async fn swap(
        &self,
        key: &Key,
        mut expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        let key = self.key(key);
        let mut value = value;
        let present = self.inner.read(std::slice::from_ref(&key)).await?;
        let present = present
            .into_iter()
            .flatten()
            .next()
            .map(|record| record.version);
        match self.fault {
            Fault::IgnoresExpected => expected = present,
            Fault::LosesOverwrites if expected.is_some() && expected == present => {
                return Ok(Swap::Done(Version(u64::MAX)));
            }
            Fault::SwapsInTwoSteps if expected == present => {
                tokio::task::yield_now().await; // and here another one writes
                let records = self.inner.read(std::slice::from_ref(&key)).await?;
                expected = records
                    .into_iter()
                    .flatten()
                    .next()
                    .map(|record| record.version);
            }
            Fault::TrimsValues => value = value.trim(),
            Fault::RepeatsVersions if expected == present.map(|Version(n)| Version(n % 3)) => {
                let Swap::Done(Version(number)) = self.inner.swap(&key, present, value).await?
                else {
                    return Ok(Swap::Conflict);
                };
                return Ok(Swap::Done(Version(number % 3)));
            }
            Fault::FailsOnLargeValues if value.len() > 100_000 => {
                return Err(StoreError::Unusable {
                    store: self.describe(),
                    doing: "writing",
                    source: "an item is 100 KB at the most".into(),
                });
            }
            _ => {}
        }
        self.inner.swap(&key, expected, value).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_suite_notices_every_broken_promise() {
    for (fault, promise) in [
        (
            Fault::IgnoresExpected,
            "a swap that expects none, where there is a record, conflicts",
        ),
        (
            Fault::LosesOverwrites,
            "a read after the second swap sees its value",
        ),
        (Fault::SwapsInTwoSteps, "one is done"),
        (Fault::FoldsCase, "keys that differ name different records"),
        (
            Fault::DropsSpaces,
            "keys that differ name different records",
        ),
        (
            Fault::ForgetsTheApi,
            "keys that differ name different records",
        ),
        (
            Fault::ForgetsTheKind,
            "keys that differ name different records",
        ),
        (Fault::TakesScopesForPrefixes, "and nothing else"),
        (Fault::ScansByRunnerOnly, "a scan finds every record"),
        (Fault::SortsReads, "in the order of the keys"),
        (
            Fault::LeavesOutWhatIsMissing,
            "what was never written reads as None",
        ),
        (Fault::TrimsValues, "to the byte"),
        (Fault::RepeatsVersions, "a version never comes twice"),
        (Fault::FailsOnLargeValues, "an item is 100 KB at the most"),
        (Fault::NeverAges, "the age of a record grows"),
        (Fault::AgesFromTheFirstWriting, "is new again"),
    ] {
        let suite = tokio::spawn(conformance::store(async move || Broken {
            fault,
            inner: MemoryStore::new(),
            born: Mutex::default(),
        }));
        let failed = suite.await.expect_err(&format!("{fault:?} must not pass"));
        let panic = failed.into_panic();
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(
            message.contains(promise),
            "{fault:?} should break {promise:?}: {message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_handles_on_one_file_lose_nothing() {
    let (_folder, file) = new_file();
    let counters: Vec<_> = [open(&file), open(&file)]
        .into_iter()
        .map(|store| {
            tokio::spawn(async move {
                for _ in 0..50 {
                    increment(&store).await;
                }
            })
        })
        .collect();
    for counter in counters {
        counter.await.expect("a counter that ends");
    }
    assert_eq!(value(&open(&file), "counter").await.as_deref(), Some("100"));
}

const CHILD_FILE: &str = "SCALE_IN_GUARD_TEST_FILE";
const CHILD_STEPS: &str = "SCALE_IN_GUARD_TEST_STEPS";

/// Not a test: what a process of the tests below does, which tell it by its environment.
#[tokio::test]
#[ignore = "a process of other tests"]
async fn child_counts() {
    let (Some(file), Ok(steps)) = (env::var_os(CHILD_FILE), env::var(CHILD_STEPS)) else {
        return;
    };
    let store = open(Path::new(&file));
    if let Err(lost) = store.read(&[key("counter")]).await {
        println!("\nlost {lost}");
    }
    for _ in 0..steps.parse::<u64>().expect("a number") {
        println!("\ncounted {}", increment(&store).await);
    }
}

fn spawn_child(file: &Path, steps: u64) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "child_counts", "--ignored", "--nocapture"])
        .env(CHILD_FILE, file)
        .env(CHILD_STEPS, steps.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

/// What a process has counted to, as it says so.
fn counted(child: &mut Child) -> impl Iterator<Item = u64> + use<> {
    let output = BufReader::new(child.stdout.take().expect("its output"));
    output.lines().map_while(Result::ok).filter_map(|line| {
        let number = line.strip_prefix("counted ")?;
        number.parse().ok()
    })
}

#[tokio::test]
async fn four_processes_on_one_file_lose_nothing() {
    let (_folder, file) = new_file(); // they race for making it, too
    let mut children: Vec<_> = (0..4).map(|_| spawn_child(&file, 25)).collect();
    let mut all = Vec::new();
    for child in &mut children {
        all.extend(counted(child));
        assert!(child.wait().expect("its end").success());
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=100), "each number was counted once");
    assert_eq!(value(&open(&file), "counter").await.as_deref(), Some("100"));
}

#[tokio::test]
async fn four_processes_that_meet_the_same_damage_begin_anew_once() {
    let (_folder, file) = new_file();
    fs::write(&file, "hello").expect("a file");
    let children: Vec<_> = (0..4).map(|_| spawn_child(&file, 25)).collect();
    let mut said = String::new();
    for child in children {
        let output = child.wait_with_output().expect("its end");
        assert!(output.status.success());
        said.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(said.matches("\nlost ").count(), 1, "{said}");
    assert_eq!(value(&open(&file), "counter").await.as_deref(), Some("100"));
    let mut aside = beside(&file, "corrupt");
    aside.retain(|path| fs::read(path).is_ok_and(|bytes| bytes == b"hello"));
    assert_eq!(aside.len(), 1, "the damaged file, and nobody's new one");
}

#[tokio::test]
async fn a_killed_writer_leaves_what_it_had_done() {
    let (_folder, file) = new_file();
    let mut before = 0;
    for _ in 0..3 {
        let mut child = spawn_child(&file, u64::MAX);
        let mut numbers = counted(&mut child);
        let seen = numbers.by_ref().take(10).last().expect("it counts");
        assert!(
            seen >= before + 10,
            "it goes on where the last one was killed"
        );
        child.kill().expect("it is killed while it writes");
        child.wait().expect("its end");
        let said = numbers.last().unwrap_or(seen);
        let store = open(&file);
        let stands: u64 = value(&store, "counter")
            .await
            .expect("a record")
            .parse()
            .expect("a number");
        // It may have been killed after a swap and before it said so.
        assert!(
            (said..=said + 1).contains(&stands),
            "{said} said, {stands} stands"
        );
        assert_eq!(increment(&store).await, stands + 1);
        before = stands + 1;
    }
    assert_eq!(beside(&file, "corrupt"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_missing_file_is_made_for_this_user_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("some/where/store.db");
    let store = open(&file);
    assert!(store.was_created());
    assert_eq!(store.describe(), format!("sqlite:{}", file.display()));
    write(&store, "r-1", "kept").await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| {
            let found = fs::metadata(path).expect("it is there");
            found.permissions().mode() & 0o777
        };
        for made in ["some", "some/where"] {
            assert_eq!(mode(&folder.path().join(made)), 0o700, "{made}");
        }
        for made in beside(&file, "store.db") {
            assert_eq!(mode(&made), 0o600, "{}", made.display());
        }
        let all = ["", "-shm", "-wal", ".lock"].map(|suffix| suffixed(&file, suffix));
        assert_eq!(beside(&file, ""), all);
    }
    drop(store);
    let store = open(&file);
    assert!(!store.was_created());
    assert_eq!(value(&store, "r-1").await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_moved_aside() {
    for text in ["hello".to_owned(), "not a database\n".repeat(1_000)] {
        let (_folder, file) = new_file();
        fs::write(&file, &text).expect("a file");
        fs::write(suffixed(&file, "-wal"), "its log").expect("a file");
        let store = open(&file);
        assert!(!store.was_created());
        let lost = assert_lost_once(&store, "not a database").await;
        let aside = beside(&file, "corrupt");
        let main = aside.first().expect("it is moved aside");
        let log = suffixed(main, "-wal");
        assert!(lost.contains(&main.display().to_string()), "{lost}");
        assert_eq!(fs::read_to_string(main).expect("it lies there"), text);
        assert_eq!(fs::read_to_string(log).expect("it lies there"), "its log");
    }
}

/// A file with 200 records, closed.
async fn full_file() -> (TempDir, PathBuf) {
    let (folder, file) = new_file();
    let store = open(&file);
    for number in 0..200 {
        write(&store, &format!("r-{number}"), &"x".repeat(500)).await;
    }
    (folder, file)
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("cut in its header", |bytes| bytes.truncate(50)),
        ("overwritten after its header", |bytes| {
            for byte in bytes.iter_mut().skip(200) {
                *byte = 0xa5;
            }
        }),
        ("zeroed in the middle", |bytes| {
            let length = bytes.len();
            for byte in bytes.iter_mut().skip(length / 2).take(8_192) {
                *byte = 0;
            }
        }),
    ];
    for (name, damage) in damages {
        let (_folder, file) = full_file().await;
        let mut bytes = fs::read(&file).expect("a file");
        damage(&mut bytes);
        fs::write(&file, &bytes).expect("a file");
        let store = open(&file);
        let lost = assert_lost_once(&store, "").await;
        let aside = beside(&file, "corrupt");
        let main = aside.first().unwrap_or_else(|| panic!("{name}: {lost}"));
        assert_eq!(&fs::read(main).expect("it lies there"), &bytes, "{name}");
        assert!(lost.contains(&main.display().to_string()), "{name}: {lost}");
    }
}

#[tokio::test]
async fn a_file_that_was_emptied_is_lost() {
    let (_folder, file) = full_file().await;
    fs::write(&file, "").expect("a file");
    let store = open(&file);
    assert!(!store.was_created());
    assert_lost_once(&store, "empty").await;
}

#[cfg(unix)]
#[tokio::test]
async fn damage_that_is_met_in_use_is_moved_aside() {
    let (_folder, file) = full_file().await;
    let (store, other) = (open(&file), open(&file));
    // What another one wrote makes SQLite forget the pages that it has read.
    write(&other, "r-2", "newer").await;
    let mut bytes = fs::read(&file).expect("a file");
    for byte in bytes.iter_mut().skip(4_096) {
        *byte = 0xa5;
    }
    overwrite_from_another_process(&file, &bytes);
    let met = met_damage(&store).await;
    assert!(met.contains("damage was met when"), "{met}");
    assert_eq!(value(&store, "r-1").await, None);
    write(&store, "r-1", "anew").await;
    // The other handle learns of it, and then shares the new file.
    match other.read(&[key("r-1")]).await {
        Err(StoreError::Lost { .. }) => {}
        unexpected => panic!("expected a loss, met {unexpected:?}"),
    }
    assert_eq!(value(&other, "r-1").await.as_deref(), Some("anew"));
    assert!(!beside(&file, "corrupt").is_empty());
}

#[cfg(unix)]
/// To open and close a file here would drop the locks that SQLite holds on it in this process.
fn overwrite_from_another_process(file: &Path, bytes: &[u8]) {
    let source = suffixed(file, ".bytes");
    fs::write(&source, bytes).expect("a file");
    let copied = Command::new("cp").arg(&source).arg(file).status();
    assert!(copied.expect("cp").success());
}

#[cfg(unix)]
/// Reads until the damage is met: what SQLite still holds in memory is in order.
async fn met_damage(store: &SqliteStore) -> String {
    for number in 0..200 {
        match store.read(&[key(&format!("r-{number}"))]).await {
            Ok(_) => {}
            Err(lost @ StoreError::Lost { .. }) => return lost.to_string(),
            Err(other) => panic!("expected a loss, met {other}"),
        }
    }
    panic!("no damage was met")
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_deleted_in_use_is_begun_anew() {
    let (_folder, file) = new_file();
    let (store, other) = (open(&file), open(&file));
    write(&store, "r-1", "kept").await;
    fs::remove_file(&file).expect("it is deleted");
    assert_lost_once(&store, "deleted while it was open").await;
    assert!(file.exists());
    let told = other.swap(&key("r-1"), None, "other").await;
    assert!(matches!(told, Err(StoreError::Lost { .. })), "{told:?}");
    assert_eq!(value(&other, "r-1").await.as_deref(), Some("anew"));
    assert_eq!(increment(&store).await, 1);
    assert_eq!(increment(&other).await, 2, "both have the same file again");
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_is_deleted_in_use_is_unusable_until_it_is_back() {
    let (folder, file) = new_file();
    let store = open(&file);
    write(&store, "r-1", "kept").await;
    let away = suffixed(folder.path(), ".away");
    fs::rename(folder.path(), &away).expect("it is moved");
    for _ in 0..2 {
        assert_unusable(store.read(&[key("r-1")]).await, "waiting for its .lock");
    }
    fs::create_dir(folder.path()).expect("a folder");
    assert_lost_once(&store, "deleted while it was open").await;
    fs::remove_dir_all(&away).expect("it is tidied up");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_replaced_in_use_is_read_anew() {
    let (folder, file) = new_file();
    let replacement = folder.path().join("replacement.db");
    write(&open(&replacement), "r-1", "from a backup").await;
    let store = open(&file);
    write(&store, "r-1", "kept").await;
    fs::rename(&replacement, &file).expect("it is replaced");
    let lost = store.read(&[key("r-1")]).await;
    assert!(
        matches!(&lost, Err(StoreError::Lost { what, .. }) if what.contains("another file")),
        "{lost:?}"
    );
    assert_eq!(value(&store, "r-1").await.as_deref(), Some("from a backup"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_log_that_is_deleted_in_use_is_a_loss() {
    let (_folder, file) = new_file();
    let store = open(&file);
    write(&store, "r-1", "kept").await;
    fs::remove_file(suffixed(&file, "-wal")).expect("it is deleted");
    // Without its log the file is older than it says: it is not believed.
    assert_lost_once(&store, "-wal").await;
}

#[tokio::test]
async fn what_a_later_version_wrote_is_left_alone() {
    let (_folder, file) = full_file().await;
    let later = Connection::open(&file).expect("a database");
    later
        .pragma_update(None, "user_version", 3)
        .expect("a newer format");
    drop(later);
    let before = fs::read(&file).expect("a file");
    assert_unusable(SqliteStore::open(&file), "its format is 3");
    assert_eq!(fs::read(&file).expect("a file"), before);
    assert_eq!(beside(&file, "corrupt"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_file_of_the_first_format_is_brought_to_this_one() {
    let (_folder, file) = full_file().await;
    let old = Connection::open(&file).expect("a database");
    old.execute_batch("UPDATE record SET written_at = unixepoch() - 60; PRAGMA user_version = 1;")
        .expect("as the first format had it");
    drop(old);
    for _ in 0..2 {
        let store = open(&file);
        let record = read(&store, "r-1").await.expect("it is kept");
        let age = record.age.num_seconds();
        assert!((60..120).contains(&age), "{age}");
    }
}

#[tokio::test]
async fn the_database_of_another_program_is_left_alone() {
    let (_folder, file) = new_file();
    let theirs = Connection::open(&file).expect("a database");
    theirs
        .execute_batch("CREATE TABLE bookmarks (url TEXT)")
        .expect("a table");
    drop(theirs);
    let before = fs::read(&file).expect("a file");
    assert_unusable(SqliteStore::open(&file), "another program");
    assert_eq!(fs::read(&file).expect("a file"), before);
}

#[tokio::test]
async fn where_no_file_can_be_is_unusable() {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = folder.path().join("plain");
    fs::write(&plain, "").expect("a file");
    let below = plain.join("below").join("store.db");
    assert_unusable(SqliteStore::open(&below), "making its folder");
    let directory = folder.path().join("directory");
    fs::create_dir(&directory).expect("a folder");
    assert_unusable(SqliteStore::open(&directory), "opening it");
    assert_unusable(SqliteStore::open(""), "finding its place");
}

#[cfg(unix)]
#[tokio::test]
async fn what_may_only_be_read_is_unusable() {
    use std::os::unix::fs::PermissionsExt;
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let (_folder, file) = full_file().await;
    set(&file, 0o400);
    if fs::OpenOptions::new().append(true).open(&file).is_ok() {
        return; // root may write everything
    }
    assert_unusable(SqliteStore::open(&file), "it can be read, but not written");
    set(&file, 0o600);
    assert_eq!(value(&open(&file), "r-1").await, Some("x".repeat(500)));

    let (folder, file) = full_file().await;
    set(folder.path(), 0o500);
    let met = SqliteStore::open(&file);
    let missing = SqliteStore::open(folder.path().join("missing.db"));
    set(folder.path(), 0o700);
    assert_unusable(met, "opening it");
    assert_unusable(missing, "waiting for its .lock");
    assert_eq!(value(&open(&file), "r-1").await, Some("x".repeat(500)));
}

#[tokio::test]
async fn a_file_that_stays_locked_is_unusable() {
    let (_folder, file) = new_file();
    let store = open(&file);
    write(&store, "r-1", "kept").await;
    let other = Connection::open(&file).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    assert_eq!(value(&store, "r-1").await.as_deref(), Some("kept"));
    let locked = store.swap(&key("r-2"), None, "never").await;
    assert_unusable(locked, "writing a record: database is locked");
    other.execute_batch("ROLLBACK").expect("no lock");
    assert_eq!(value(&store, "r-2").await, None);
    write(&store, "r-2", "now").await;
}

#[tokio::test]
async fn what_nobody_writes_for_30_days_is_pruned() {
    let (_folder, file) = new_file();
    let store = open(&file);
    let old = write(&store, "old", "kept").await;
    write(&store, "younger", "kept").await;
    let clock = Connection::open(&file).expect("a database");
    let age =
        "UPDATE record SET written_at = 1000 * (unixepoch() - 24 * 60 * 60 * ?1) WHERE runner = ?2";
    clock.execute(age, (31, "old")).expect("an old record");
    clock.execute(age, (29, "younger")).expect("a younger one");
    drop(clock);
    for _ in 0..256 {
        increment(&store).await;
    }
    assert_eq!(value(&store, "old").await, None);
    assert_eq!(value(&store, "younger").await.as_deref(), Some("kept"));
    let Version(again) = write(&store, "old", "again").await;
    assert!(again > old.0, "a version does not come again after pruning");
}

/// Somebody may be at a terminal with Ctrl-C, or a deadline may pass: the write goes on, and is whole.
#[tokio::test]
async fn an_operation_that_nobody_waits_for_is_done_or_not() {
    let (_folder, file) = new_file();
    let store = open(&file);
    write(&store, "r-1", "before").await;
    let expected = read(&store, "r-1").await.map(|record| record.version);
    let key = key("r-1");
    let mut swap = Box::pin(store.swap(&key, expected, "after"));
    start(swap.as_mut()).await;
    drop(swap);
    let stands = value(&store, "r-1").await;
    assert!(
        matches!(stands.as_deref(), Some("before" | "after")),
        "{stands:?}"
    );
}

/// Begins an operation, and does not wait for it. The operation may poll more than a task is allowed at once.
async fn start<F: Future>(mut operation: Pin<&mut F>) {
    let begun = poll_fn(|context| {
        let polled = operation.as_mut().poll(context);
        assert!(polled.is_pending(), "it is not done at once");
        Poll::Ready(())
    });
    tokio::task::unconstrained(begun).await;
}

/// Lets all of these wait for the file at the same time, which another one has locked meanwhile. `then` comes
/// before any of them can be written.
async fn while_locked<F: Future>(file: &Path, operation: Pin<&mut F>, then: impl FnOnce()) {
    let other = Connection::open(file).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    start(operation).await;
    then();
    other.execute_batch("ROLLBACK").expect("no lock");
}

/// How many transactions were committed to the write-ahead log: each ends with a frame that tells the size of
/// the database, which is nought in all others. It must not have been begun anew, which it is every 1,000 pages.
fn commits(file: &Path) -> usize {
    let log = fs::read(suffixed(file, "-wal")).expect("a log"); // SQLite locks other files than this one
    let (header, frames) = log.split_at(32);
    let number = |bytes: &[u8], at: usize| {
        let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        u32::from_be_bytes(four.expect("four bytes"))
    };
    let page = usize::try_from(number(header, 8)).expect("a size");
    let frames = frames.chunks_exact(24 + page);
    frames.filter(|frame| number(frame, 4) != 0).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_swaps_at_once_are_all_done() {
    let (_folder, file) = new_file();
    let store = Arc::new(open(&file));
    let swaps: Vec<_> = (0..1_000)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let name = format!("r-{number}");
                let swap = store.swap(&key(&name), None, &name).await;
                (name, swap.expect("a swap that works"))
            })
        })
        .collect();
    let mut versions = HashSet::new();
    for swap in swaps {
        let (name, swap) = swap.await.expect("a swap that ends");
        let Swap::Done(version) = swap else {
            panic!("nobody else writes {name}")
        };
        assert!(versions.insert(version), "a version never comes twice");
        let found = read(&store, &name).await.expect("a record");
        assert_eq!((found.version, found.value), (version, name));
    }
}

/// Who was answered and drops the store has closed the file: SQLite folds its log into it then.
#[tokio::test]
async fn a_store_that_is_dropped_after_a_swap_is_closed() {
    let (_folder, file) = new_file();
    for _ in 0..100 {
        let store = open(&file);
        write(&store, "r-1", "kept").await;
        drop(store);
        assert_eq!(beside(&file, "-wal"), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn swaps_that_wait_at_the_same_time_share_a_commit() {
    let (_folder, file) = new_file();
    let store = open(&file);
    write(&store, "r-1", "alone").await;
    let before = commits(&file);
    write(&store, "r-1", "alone").await;
    assert_eq!(commits(&file), before + 1, "nothing to share it with");

    let names: Vec<_> = (0..1_000).map(|number| format!("new-{number}")).collect();
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    let mut swaps = pin!(join_all(
        keys.iter().map(|key| store.swap(key, None, "shared"))
    ));
    while_locked(&file, swaps.as_mut(), || {}).await;
    for swap in swaps.await {
        assert!(matches!(swap, Ok(Swap::Done(_))), "{swap:?}");
    }
    // Whatever waited when the first of them got the file, and 256 at a time of the others.
    let shared = commits(&file) - before - 1;
    assert!((4..=5).contains(&shared), "{shared} commits");
}

#[tokio::test]
async fn of_swaps_on_one_key_that_wait_at_the_same_time_one_is_done() {
    let (_folder, file) = new_file();
    let store = open(&file);
    let one = key("r-1");
    let mut expected = None;
    for round in 0..4 {
        let values: Vec<_> = (0..64).map(|rival| format!("{round} {rival}")).collect();
        let mut swaps = pin!(join_all(
            values.iter().map(|value| store.swap(&one, expected, value))
        ));
        while_locked(&file, swaps.as_mut(), || {}).await;
        let swaps = swaps.await.into_iter().zip(&values);
        let winners: Vec<_> = swaps
            .filter_map(|(swap, value)| match swap.expect("a swap that works") {
                Swap::Done(version) => Some((version, value.clone())),
                Swap::Conflict => None,
            })
            .collect();
        let found = read(&store, "r-1").await.expect("a record");
        assert_eq!(winners, [(found.version, found.value)]);
        expected = Some(found.version);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn swaps_that_wait_while_the_file_is_lost_are_told_or_done() {
    type Loss = fn(&Path);
    let losses: [Loss; 2] = [
        |file| fs::remove_file(file).expect("it is deleted"),
        |file| fs::rename(suffixed(file, ".other"), file).expect("it is replaced"),
    ];
    for lose in losses {
        let (_folder, file) = new_file();
        write(&open(&suffixed(&file, ".other")), "other", "kept").await;
        let store = open(&file);
        let names: Vec<_> = (0..64).map(|number| format!("r-{number}")).collect();
        let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
        let mut swaps = pin!(join_all(
            keys.iter().map(|key| store.swap(key, None, "kept"))
        ));
        while_locked(&file, swaps.as_mut(), || lose(&file)).await;
        let mut told = 0;
        for (swap, name) in swaps.await.into_iter().zip(&names) {
            let stands = value(&store, name).await;
            match swap {
                Ok(Swap::Done(_)) => assert_eq!(stands.as_deref(), Some("kept"), "{name}"),
                Err(StoreError::Lost { .. }) => {
                    assert_eq!(stands, None, "{name}");
                    told += 1;
                }
                unexpected => panic!("{name} met {unexpected:?}"),
            }
        }
        assert!(told > 0, "somebody is told of the loss");
        write(&store, "r-1", "anew").await;
        assert_eq!(value(&open(&file), "r-1").await.as_deref(), Some("anew"));
    }
}

#[tokio::test]
async fn swaps_that_wait_for_a_file_that_stays_locked_all_fail() {
    let (_folder, file) = new_file();
    let store = open(&file);
    let keys: Vec<_> = (0..64).map(|number| key(&format!("r-{number}"))).collect();
    let other = Connection::open(&file).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    for swap in join_all(keys.iter().map(|key| store.swap(key, None, "never"))).await {
        assert_unusable(swap, "writing a record: database is locked");
    }
    other.execute_batch("ROLLBACK").expect("no lock");
    let stands = store.read(&keys).await.expect("a read that works");
    assert!(stands.iter().all(Option::is_none));
    write(&store, "r-1", "now").await;
}

/// Those who asked went away, one and all: what they asked for is whole, and who comes later is served.
#[tokio::test]
async fn a_batch_that_nobody_waits_for_is_written() {
    let (_folder, file) = new_file();
    let store = open(&file);
    let keys: Vec<_> = (0..64).map(|number| key(&format!("r-{number}"))).collect();
    {
        let mut swaps = Box::pin(join_all(
            keys.iter().map(|key| store.swap(key, None, "whole")),
        ));
        while_locked(&file, swaps.as_mut(), || {}).await;
    }
    write(&store, "later", "served").await; // first come, first served
    for record in store.read(&keys).await.expect("a read that works") {
        assert_eq!(record.map(|record| record.value).as_deref(), Some("whole"));
    }
}

/// A runtime that ends takes nobody's turn with it.
#[test]
fn a_store_outlives_the_runtime_that_it_was_used_in() {
    let (_folder, file) = new_file();
    let store = open(&file);
    for round in 0..20 {
        let name = format!("r-{round}");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let key = key("abandoned");
            let mut swap = Box::pin(store.swap(&key, None, "either way"));
            let _ = poll_fn(|context| Poll::Ready(swap.as_mut().poll(context))).await;
        });
        runtime.shutdown_background();
        let next = tokio::runtime::Runtime::new().expect("a runtime");
        next.block_on(async {
            // A turn of the former runtime that is dropped just now is an error, and no more than that.
            let swap = store.swap(&key(&name), None, "kept").await;
            if !matches!(swap, Ok(Swap::Done(_))) {
                write(&store, &name, "kept").await;
            }
            assert_eq!(value(&store, &name).await.as_deref(), Some("kept"));
        });
    }
}
