//! A redis-server of the test's own, and what its tests have in common.

use scale_in_guard::{
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::{RedisAddress, RedisFault, RedisStore},
};
use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::Instant;

pub(crate) const SCOPE: &str = "repo:acme/atlas";

/// Whatever is waited for has come by then, on any machine; else it never comes.
const BOUND: Duration = Duration::from_secs(60);

/// Whether there is a redis-server here. Where there must be one, its absence is a failure.
pub(crate) fn is_installed() -> bool {
    let found = Command::new("redis-server").arg("--version").output();
    if found.is_ok_and(|said| said.status.success()) {
        return true;
    }
    assert!(
        env::var_os("SCALE_IN_GUARD_NO_SKIP").is_none(),
        "redis-server is not installed, and SCALE_IN_GUARD_NO_SKIP is set"
    );
    eprintln!("SKIPPED: redis-server is not installed");
    false
}

/// Ends a test where there is no server to be had.
macro_rules! server_or_skip {
    ($($argument:expr),* $(,)?) => {{
        if !crate::server::is_installed() {
            return;
        }
        crate::server::Server::start(&[$($argument),*])
    }};
}
pub(crate) use server_or_skip;

/// Looks again and again until there is something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// The same, where looking waits.
pub(crate) async fn in_the_end<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A port that nobody has now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its number").port()
}

/// A server that ends with the test.
pub(crate) struct Server {
    child: Option<Child>,
    folder: TempDir,
    pub(crate) port: u16,
    arguments: Vec<String>,
}

impl Server {
    /// Starts one on a free port.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), arguments)
    }

    pub(crate) fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let mut server = Self {
            child: None,
            folder,
            port: 0,
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        };
        // Another process may take the port in between; a cluster needs the port 10,000 above, too.
        for _ in 0..20 {
            server.port = free_port();
            if server.port < 50_000 && server.begin() {
                return server;
            }
        }
        panic!("no server starts: {}", server.log());
    }

    fn begin(&mut self) -> bool {
        let log = fs::File::create(self.path("log")).expect("a log");
        let port = self.port.to_string();
        let is_tls = self.arguments.iter().any(|word| word == "--tls-cert-file");
        let ports: &[&str] = match is_tls {
            true => &["--port", "0", "--tls-port", &port],
            false => &["--port", &port],
        };
        let child = Command::new("redis-server")
            .args(ports)
            .args(["--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.folder.path())
            .args(&self.arguments)
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.expect("a redis-server");
        let stands = eventually("a server on its port", || {
            if child.try_wait().expect("its state").is_some() {
                return Some(false);
            }
            let is_ready = self.log().contains("Ready to accept connections");
            (is_ready && TcpStream::connect(("127.0.0.1", self.port)).is_ok()).then_some(true)
        });
        self.child = Some(child);
        stands
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("an end");
            child.wait().expect("its end");
        }
    }

    /// Starts it again, on the same port, with what it kept.
    pub(crate) fn begin_again(&mut self) {
        self.kill();
        assert!(self.begin(), "{}", self.log());
    }

    /// Stops it in the middle of whatever it does, or lets it go on.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("a server").id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// What redis-cli says.
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        let said = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(words)
            .output()
            .expect("redis-cli");
        String::from_utf8_lossy(&said.stdout).trim_end().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn store(&self) -> RedisStore {
        open(&self.url())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

pub(crate) fn open(url: &str) -> RedisStore {
    let address: RedisAddress = url.parse().expect(url);
    RedisStore::new(address).expect("a store")
}

pub(crate) fn key(kind: Kind, name: &str) -> Key {
    let (api, scope) = ("api.github.com".into(), SCOPE.parse().unwrap());
    Key::of_runner(api, scope, kind, name.parse().unwrap())
}

pub(crate) fn memory(name: &str) -> Key {
    key(Kind::Memory, name)
}

/// What a beacon writes.
pub(crate) fn of_host(scope: &str, kind: Kind, name: &str) -> Key {
    Key::of_runner(
        "*".into(),
        scope.parse().unwrap(),
        kind,
        name.parse().unwrap(),
    )
}

pub(crate) async fn read(store: &impl Store, key: &Key) -> Result<Option<Record>, StoreError> {
    let mut read = store.read(std::slice::from_ref(key)).await?;
    Ok(read.pop().expect("one for one"))
}

pub(crate) async fn value(store: &impl Store, key: &Key) -> Option<String> {
    let record = read(store, key).await.expect("a read");
    record.map(|record| record.value)
}

pub(crate) async fn write(store: &impl Store, key: &Key, value: &str) -> Version {
    let expected = read(store, key).await.expect("a read");
    let expected = expected.map(|record| record.version);
    match store.swap(key, expected, value).await.expect("a swap") {
        Swap::Done(version) => version,
        Swap::Conflict => panic!("nobody else writes {key}"),
    }
}

/// What was the matter with the server.
#[track_caller]
pub(crate) fn fault<T: std::fmt::Debug>(result: Result<T, StoreError>) -> RedisFault {
    let Err(StoreError::Unusable { source, .. }) = &result else {
        panic!("unusable, not {result:?}")
    };
    let fault = source.downcast_ref::<RedisFault>();
    fault.expect("a fault of Redis").clone()
}
