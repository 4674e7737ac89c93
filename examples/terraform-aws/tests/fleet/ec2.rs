//! EC2 as the function meets it: a proxy before the stand-in, which tells of every call and makes some fail.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

const TERMINATE: &str = "TerminateInstances";

/// What becomes of a call to terminate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// EC2 asks to come again later.
    Throttled,
    /// EC2 refuses, for good.
    Refused,
    /// Nothing is done, and nothing is ever answered.
    Silence,
}

/// Who is told of an instance that is terminated, just before it is.
pub(crate) type OnTerminate = dyn Fn(&str) + Send + Sync;

pub(crate) struct Ec2 {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
    fates: Arc<Mutex<VecDeque<Fate>>>,
}

struct Shared {
    server: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
    fates: Arc<Mutex<VecDeque<Fate>>>,
    on_terminate: Arc<OnTerminate>,
}

impl Ec2 {
    pub(crate) fn before(server: SocketAddr, on_terminate: Arc<OnTerminate>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let (calls, fates): (Arc<Mutex<_>>, Arc<Mutex<_>>) = Default::default();
        let shared = Arc::new(Shared {
            server,
            calls: Arc::clone(&calls),
            fates: Arc::clone(&fates),
            on_terminate,
        });
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(client));
            }
        });
        Self {
            address,
            calls,
            fates,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What becomes of the next calls to terminate, one after another. Those after them are served.
    pub(crate) fn meet(&self, fates: impl IntoIterator<Item = Fate>) {
        self.fates.lock().unwrap().extend(fates);
    }

    /// The instances that were to be terminated, call by call.
    pub(crate) fn terminations(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let of = |call: &String| Some(call.strip_prefix(TERMINATE)?.trim().to_owned());
        calls.iter().filter_map(of).collect()
    }

    /// The calls that change something.
    pub(crate) fn changes(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let changes = calls.iter().filter(|call| !call.starts_with("Describe"));
        changes.cloned().collect()
    }
}

impl Shared {
    /// Serves one connection: one request, and its answer.
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        let (raw, body) = read(&client)?;
        let field = |name: &str| {
            let mut fields = body.split('&').filter_map(|field| field.split_once('='));
            fields
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
        };
        let (action, instance) = (field("Action")?, field("InstanceId.1").unwrap_or_default());
        assert_eq!(field("InstanceId.2"), None, "one instance at a time");
        self.calls
            .lock()
            .unwrap()
            .push(format!("{action} {instance}"));
        let fate = match action.as_str() {
            TERMINATE => self.fates.lock().unwrap().pop_front(),
            _ => None,
        };
        let answer = match fate {
            Some(Fate::Throttled) => refusal(503, "RequestLimitExceeded"),
            Some(Fate::Refused) => refusal(400, "OperationNotPermitted"),
            Some(Fate::Silence) => {
                drop(client.read(&mut [0])); // until the client gives up
                return None;
            }
            None => {
                if action == TERMINATE {
                    (self.on_terminate)(&instance);
                }
                forward(&raw, self.server).ok()?
            }
        };
        client.write_all(&answer).ok()
    }
}

/// A request as it came, and its body.
fn read(client: &TcpStream) -> Option<(Vec<u8>, String)> {
    let mut client = BufReader::new(client);
    let (mut raw, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        client.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
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
    Some((raw, String::from_utf8(body).ok()?))
}

fn forward(raw: &[u8], server: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(server)?;
    server.write_all(raw)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}

fn refusal(status: u16, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Errors><Error><Code>{code}</Code>\
         <Message>said the stand-in</Message></Error></Errors><RequestID>1</RequestID></Response>"
    );
    let head = format!(
        "HTTP/1.1 {status} No\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}
