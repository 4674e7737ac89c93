//! A Redis of our own, on a free port of loopback.

use crate::store::Server;
use std::{
    env,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// A server that writes down each change before it acknowledges it. It is stopped by SIGKILL.
pub(crate) struct RedisServer {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts one that keeps its data in this folder; `None`, and loudly, where none is installed.
    pub(crate) fn in_folder(folder: &Path) -> Option<Self> {
        let version = Command::new("redis-server").arg("--version").output();
        if version.is_err() {
            eprintln!("SKIPPED: redis-server is not installed");
            let must = env::var_os("SCALE_IN_GUARD_NO_SKIP").is_some();
            assert!(!must, "redis-server is not installed");
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("its number").port();
        drop(free);
        let mut server = Self {
            folder: folder.to_owned(),
            port,
            process: None,
        };
        server.start();
        Some(server)
    }

    fn answers(&self) -> bool {
        let ping = || {
            let mut to = TcpStream::connect(("127.0.0.1", self.port))?;
            to.set_read_timeout(Some(Duration::from_secs(1)))?;
            to.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            to.read_exact(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        // While it reads its file back, it answers -LOADING.
        ping().is_ok_and(|answer| answer == *b"+PONG")
    }
}

impl Server for RedisServer {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is killed");
            process.wait().expect("it ends");
        }
    }

    fn start(&mut self) {
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--save", ""])
            .arg("--dir")
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = self.process.insert(process.expect("it starts"));
        assert!(process.try_wait().expect("its status").is_none());
        let is_up = (0..600).any(|_| {
            let answers = self.answers();
            if !answers {
                sleep(Duration::from_millis(50));
            }
            answers
        });
        assert!(is_up, "redis-server does not answer");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
