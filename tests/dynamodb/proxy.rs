//! A proxy in front of the stand-in that records each request and can cut, delay or replace its answer.
//!
//! It also mends what the stand-in lacks: moto 5.2.5 checks a condition and then writes, in two steps that another
//! thread can come between. DynamoDB does both in one. So the proxy lets in one write at a time.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A request as DynamoDB gets it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Such as `PutItem`.
    pub(crate) operation: String,
    pub(crate) body: serde_json::Value,
    raw: Vec<u8>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is served.
    Served,
    /// The connection is cut before it is served.
    CutBefore,
    /// It is served, and the connection is cut before the answer.
    CutAfter,
    /// It is served, and nothing is ever answered.
    Silence,
    /// This is answered instead: a status, the error's name and its message.
    Instead(u16, &'static str, &'static str),
    /// It is served, and the answer loses its `Date` header.
    Dateless,
}

type Judge = dyn Fn(&Request) -> Fate + Send + Sync;

/// Whoever holds it may write.
static WRITING: Mutex<()> = Mutex::new(());

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Proxy {
    /// In front of `server`; `judge` says what becomes of each request.
    pub(crate) fn before(
        server: SocketAddr,
        judge: impl Fn(&Request) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (recorded, judge): (_, Arc<Judge>) = (Arc::clone(&requests), Arc::new(judge));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (recorded, judge) = (Arc::clone(&recorded), Arc::clone(&judge));
                thread::spawn(move || serve(client, server, &recorded, &*judge));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many requests for this there were so far.
    pub(crate) fn count(&self, operation: &str) -> usize {
        let requests = self.requests();
        requests
            .iter()
            .filter(|request| request.operation == operation)
            .count()
    }
}

/// Serves one connection: one request, and its answer.
fn serve(mut client: TcpStream, server: SocketAddr, recorded: &Mutex<Vec<Request>>, judge: &Judge) {
    let Some(request) = Request::read(&client) else {
        return;
    };
    recorded.lock().unwrap().push(request.clone());
    let fate = judge(&request);
    let answer = match fate {
        Fate::CutBefore => return,
        Fate::Instead(status, name, message) => instead(status, name, message),
        _ => request.forward(server).unwrap_or_default(),
    };
    match fate {
        Fate::CutAfter => {}
        Fate::Silence => drop(client.read(&mut [0])), // until the client gives up
        Fate::Dateless => drop(client.write_all(&without_date(&answer))),
        _ => drop(client.write_all(&answer)),
    }
}

impl Request {
    fn read(client: &TcpStream) -> Option<Self> {
        let mut client = BufReader::new(client);
        let (mut raw, mut length, mut operation) = (Vec::new(), 0, String::new());
        loop {
            let mut line = String::new();
            client.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if lower.starts_with("x-amz-target:") {
                operation = line.trim().rsplit_once('.')?.1.to_owned();
            }
            // One request a connection: that of the client, and ours to the server.
            if line == "\r\n" {
                raw.extend_from_slice(b"connection: close\r\n\r\n");
                break;
            }
            raw.extend_from_slice(line.as_bytes());
        }
        let mut body = vec![0; length];
        client.read_exact(&mut body).ok()?;
        raw.extend_from_slice(&body);
        let body = serde_json::from_slice(&body).ok()?;
        Some(Self {
            operation,
            body,
            raw,
        })
    }

    fn forward(&self, server: SocketAddr) -> std::io::Result<Vec<u8>> {
        let _alone = (self.operation == "PutItem").then(|| WRITING.lock());
        let mut server = TcpStream::connect(server)?;
        server.write_all(&self.raw)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn instead(status: u16, name: &str, message: &str) -> Vec<u8> {
    let error = serde_json::json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": message });
    let body = error.to_string();
    let head = format!(
        "HTTP/1.1 {status} No\r\ndate: Thu, 14 May 2026 02:00:00 GMT\r\ncontent-type: application/x-amz-json-1.0\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

fn without_date(answer: &[u8]) -> Vec<u8> {
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]);
    let kept = head
        .split("\r\n")
        .filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
    let head = kept.collect::<Vec<_>>().join("\r\n");
    [head.as_bytes(), &answer[end..]].concat()
}
