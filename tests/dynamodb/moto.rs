//! The stand-in: started on a free port, ended by its process id with the last test that uses it.

use std::{
    env,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread::sleep,
    time::Duration,
};

const PROGRAM: &str = "moto_server";

/// A server that runs has answered by then, on any machine.
const BOUND: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct Moto {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Moto {
    /// The server that all tests share, each with tables of its own; `None` where it is not installed and that is no
    /// failure.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Moto>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// A server of its own.
    pub(crate) fn start() -> Option<Self> {
        Self::start_at(free_port())
    }

    pub(crate) fn start_at(port: u16) -> Option<Self> {
        let mut command = Command::new(PROGRAM);
        command
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = match command.spawn() {
            Ok(process) => process,
            Err(missing) => {
                let skipped = format!("SKIPPED: {PROGRAM} is not installed ({missing})");
                assert!(env::var_os("SCALE_IN_GUARD_NO_SKIP").is_none(), "{skipped}");
                eprintln!("{skipped}");
                return None;
            }
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut moto = Self { process, address };
        let end = tokio::time::Instant::now() + BOUND;
        while !answers(address) {
            let ended = moto.process.try_wait().expect("its state");
            assert!(ended.is_none(), "{PROGRAM} ended: {ended:?}");
            assert!(
                tokio::time::Instant::now() < end,
                "{PROGRAM} never answered"
            );
            sleep(Duration::from_millis(50));
        }
        Some(moto)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

pub(crate) fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    free.local_addr().expect("its number").port()
}

fn answers(address: SocketAddr) -> bool {
    let ask = || {
        let mut connection = TcpStream::connect(address)?;
        connection.write_all(b"GET /moto-api/ HTTP/1.0\r\n\r\n")?;
        let mut answer = [0; 5];
        connection.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(&answer == b"HTTP/")
    };
    ask().unwrap_or(false)
}
