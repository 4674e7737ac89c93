//! An Auto Scaling that speaks AWS's protocol on loopback and remembers what it was told. moto knows neither heartbeats
//! nor completions.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What is answered: a status, and an error's code and message where it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Error(u16, &'static str, &'static str),
    Silence,
}

/// Clones are one Auto Scaling. It serves until the test ends.
#[derive(Debug, Clone)]
pub(crate) struct StandIn {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    told: Vec<String>,
}

impl StandIn {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let stand_in = Self {
            address: listener.local_addr().expect("its address"),
            state: Arc::new(Mutex::new(State {
                answer: Answer::Done,
                told: Vec::new(),
            })),
        };
        let served = stand_in.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let served = served.clone();
                thread::spawn(move || while served.serve(&client).is_some() {});
            }
        });
        stand_in
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    /// The forms that were sent since the last call.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().told)
    }

    fn serve(&self, mut client: &TcpStream) -> Option<()> {
        client.set_nodelay(true).ok()?;
        let mut reader = BufReader::new(client);
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut form = vec![0; length];
        reader.read_exact(&mut form).ok()?;
        let form = String::from_utf8(form).ok()?;
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.told.push(form.clone());
            state.answer
        };
        let operation = form.strip_prefix("Action=")?.split('&').next()?;
        let (status, body) = match answer {
            Answer::Done => (
                200,
                format!("<{operation}Response><{operation}Result/></{operation}Response>"),
            ),
            Answer::Error(status, code, message) => (
                status,
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                     <RequestId>1</RequestId></ErrorResponse>"
                ),
            ),
            Answer::Silence => loop {
                thread::park();
            },
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} It is so\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n"
        );
        client.write_all((head + &body).as_bytes()).ok()
    }
}
