//! `scale-in-guard webhook`, over HTTP, as GitHub and others call it.

use crate::world::{SECRET, acme, of_runner, told};
use futures::{StreamExt, stream};
use reqwest::{Client, RequestBuilder, StatusCode};
use scale_in_guard::{stores::SqliteStore, webhook::sign};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
    time::Duration,
};
use tempfile::TempDir;

/// The command, as a process. It is killed when it is dropped.
struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn command(store: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scale-in-guard"));
    command
        .args([
            "webhook",
            "--listen",
            "127.0.0.1:0",
            "--json",
            "--secret-env",
            "SECRET_OF_TEST",
        ])
        .args(["--store", &format!("sqlite:{}", store.display())])
        .args(more)
        .env("SECRET_OF_TEST", SECRET)
        .stdin(Stdio::null());
    command
}

impl Server {
    fn start(store: &Path, more: &[&str]) -> Self {
        let mut command = command(store, more);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).expect("it tells where it listens");
        let url = format!("http://{}", told["listening"].as_str().unwrap());
        Self { child, url }
    }

    fn deliver(&self, body: Vec<u8>) -> RequestBuilder {
        client()
            .post(format!("{}/github", self.url))
            .header("X-GitHub-Event", "workflow_job")
            .header("X-Hub-Signature-256", sign(SECRET, &body))
            .body(body)
    }

    async fn status(&self, request: RequestBuilder) -> u16 {
        request.send().await.unwrap().status().as_u16()
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    #[cfg(unix)]
    fn told_to_end(&mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let status = self.child.wait().unwrap();
        let mut err = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        (status.code(), err)
    }
}

fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // Each runtime of a test ends with its connections.
        let client = Client::builder().pool_max_idle_per_host(0);
        client.timeout(Duration::from_secs(60)).build().unwrap()
    })
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    (folder, store)
}

#[tokio::test]
async fn each_request_gets_what_it_is_for() {
    let (_folder, store) = folder();
    let server = Server::start(&store, &["--scope", "org:acme"]);
    let body = told("in_progress", 7).on(5, "r-1").body();
    assert_eq!(server.status(server.deliver(body.clone())).await, 200);
    let at = |path: &str| format!("{}{path}", server.url);
    let unsigned = client().post(at("/")).body(body.clone());
    assert_eq!(server.status(unsigned).await, 401);
    let unreadable = server.deliver(b"{}".to_vec());
    assert_eq!(server.status(unreadable).await, 400);
    assert_eq!(server.status(client().get(at("/github"))).await, 404);
    assert_eq!(server.status(client().get(at("/metrics"))).await, 404);
    assert_eq!(server.status(client().put(at("/beacons/x"))).await, 404);
    assert_eq!(server.status(client().put(at("/github"))).await, 405);
    assert_eq!(server.status(client().post(at("/healthz"))).await, 405);
    let health = client().get(at("/healthz")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    let health: Value = serde_json::from_str(&health.text().await.unwrap()).unwrap();
    assert_eq!(health["store_reachable"], true);
    assert_eq!(health["stored"], 1);
    assert_eq!(health["refused"]["unauthorized"], 1);
    assert_eq!(health["refused"]["unreadable"], 1);
    assert!(health["last_event_age_seconds"].as_u64().is_some());
    let kept = of_runner(&SqliteStore::open(&store).unwrap(), &acme(), "r-1").await;
    assert_eq!(kept[0].id, 7);
}

/// What a client that speaks for itself hears.
fn hear(server: &Server, said: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream.write_all(said.as_bytes()).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).ok();
    heard
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_sent() {
    let (_folder, store) = folder();
    let server = Server::start(&store, &[]);
    let said = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        (25 << 20) + 1
    );
    let heard = hear(&server, &said);
    assert!(heard.starts_with("HTTP/1.1 413"), "{heard}");
}

#[tokio::test]
async fn a_body_that_does_not_say_how_long_it_is_is_cut_off_where_it_gets_too_long() {
    let (_folder, store) = folder();
    let server = Server::start(&store, &[]);
    let pieces = stream::iter((0..26).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 20])));
    let body = reqwest::Body::wrap(http_body_util::StreamBody::new(pieces.map(|piece| {
        piece.map(|piece| hyper::body::Frame::data(hyper::body::Bytes::from(piece)))
    })));
    let request = client().post(format!("{}/", server.url)).body(body);
    // It may find the connection closed before it has said everything.
    if let Ok(answer) = request.send().await {
        assert_eq!(answer.status().as_u16(), 413);
    }
    let health = client()
        .get(format!("{}/healthz", server.url))
        .send()
        .await
        .unwrap();
    let health: Value = serde_json::from_str(&health.text().await.unwrap()).unwrap();
    assert_eq!(health["refused"]["too_large"], 1);
}

#[test]
fn who_is_slow_is_left() {
    let (_folder, store) = folder();
    let server = Server::start(&store, &[]);
    // Half a head, and half a body.
    assert_eq!(hear(&server, "POST / HTTP/1.1\r\nHost: x\r\n"), "");
    let heard = hear(
        &server,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345",
    );
    assert!(heard.starts_with("HTTP/1.1 408"), "{heard}");
}

#[cfg(unix)]
#[tokio::test]
async fn it_ends_when_it_is_told_to_and_shows_no_secret() {
    let (_folder, store) = folder();
    let mut server = Server::start(&store, &["--scope", "org:acme"]);
    for _ in 0..20 {
        let forged = client()
            .post(&server.url)
            .header("X-Hub-Signature-256", sign("x", b"{}"));
        assert_eq!(server.status(forged.body("{}")).await, 401);
    }
    let (code, err) = server.told_to_end();
    assert_eq!(code, Some(0), "{err}");
    assert!(!err.contains(SECRET), "{err}");
    assert_eq!(err.matches("webhook: refused").count(), 1, "{err}");
    let store = SqliteStore::open(&store).unwrap();
    let own = crate::world::own(&store, &acme()).await;
    assert!(own.gone);
    assert_eq!(own.refused.unauthorized, 20);
}

#[test]
fn what_cannot_begin_says_why() {
    let (_folder, store) = folder();
    let run = |command: &mut Command| {
        let ran = command.output().unwrap();
        assert_eq!(ran.status.code(), Some(2));
        String::from_utf8(ran.stderr).unwrap()
    };
    let err = run(command(&store, &[]).env_remove("SECRET_OF_TEST"));
    assert!(err.contains("SECRET_OF_TEST: it is not set"), "{err}");
    let err = run(command(&store, &[]).env("SECRET_OF_TEST", ""));
    assert!(err.contains("it is empty"), "{err}");
    let server = Server::start(&store, &[]);
    let taken = server.address();
    let mut command = Command::new(env!("CARGO_BIN_EXE_scale-in-guard"));
    let command = command
        .args([
            "webhook",
            "--listen",
            taken,
            "--secret-env",
            "SECRET_OF_TEST",
        ])
        .args(["--store", &format!("sqlite:{}", store.display())])
        .env("SECRET_OF_TEST", SECRET);
    let err = run(command);
    assert!(err.contains(taken), "{err}");
}

/// What was acknowledged outlives the process, however it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_with_the_process() {
    let (_folder, store) = folder();
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..3_u64 {
        let server = Server::start(&store, &[]);
        let pid = server.child.id().to_string();
        let deliveries = (0..600_u64).map(|number| {
            let job = round * 600 + number;
            let body = told("in_progress", job)
                .on(job + 1, &format!("r-{}", job % 50))
                .body();
            let (server, acknowledged) = (&server, &acknowledged);
            async move {
                let answer = server.deliver(body).send().await;
                if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                    acknowledged.lock().unwrap().push(job);
                }
            }
        });
        let mut deliveries = stream::iter(deliveries).buffer_unordered(40);
        let mut done = 0;
        while deliveries.next().await.is_some() {
            done += 1;
            if done == 300 {
                // In the middle of others.
                Command::new("kill").args(["-KILL", &pid]).status().unwrap();
            }
        }
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= 300, "{}", acknowledged.len());
    assert!(acknowledged.len() < 1_800, "nothing was cut off");
    let store = SqliteStore::open(&store).unwrap();
    let mut kept = std::collections::HashSet::new();
    for runner in 0..50 {
        let jobs = of_runner(&store, &acme(), &format!("r-{runner}")).await;
        kept.extend(jobs.into_iter().map(|job| job.id));
    }
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|&job| !kept.contains(job))
        .collect();
    assert_eq!(lost, Vec::<&u64>::new());
}
