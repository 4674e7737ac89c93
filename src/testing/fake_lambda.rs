//! A Lambda on loopback: the Runtime API that a function asks for its events, with deadlines that are true.

use super::loopback::{Server, listen};
use crate::clock::{Clock, SystemClock};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    http::response,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex as Lock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};
use uuid::Uuid;

/// What every path of the Runtime API begins with.
const BASE: &str = "/2018-06-01/runtime/";

/// The longest answer of a function, as AWS has it.
const LONGEST: usize = 6 << 20;

/// A function that starts asks for its first event by then, on any machine; else none is there.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

const REGION: &str = "eu-central-1";
const NAME: &str = "fake";

/// A Lambda on loopback, for a function that was built: it speaks the
/// [Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). Clones are the same Lambda; it ends
/// when the last of them is dropped.
///
/// The test starts the function itself, with [`environment`](Self::environment), and ends it: where AWS would kill it,
/// after a deadline that it missed, this one only says so. Of several functions that ask, each event goes to one.
///
/// ```no_run
/// use scale_in_guard::testing::{FakeLambda, Invocation};
/// use std::{process::Command, time::Duration};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> std::io::Result<()> {
///     let lambda = FakeLambda::start().await?;
///     let mut function = Command::new("target/debug/examples/lifecycle_hook")
///         .envs(lambda.environment())
///         .spawn()?;
///     let invocation = lambda.invoke(serde_json::json!({}), Duration::from_secs(60)).await;
///     assert!(matches!(invocation, Invocation::Answered(_)));
///     function.kill()
/// }
/// ```
#[derive(Clone)]
pub struct FakeLambda {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: Arc<Server>,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// The function answered this.
    Answered(Value),
    /// The function said that it failed: its `errorMessage` and `errorType`.
    Failed(Value),
    /// Nothing was posted before the deadline, or no function asked for an event for a minute.
    TimedOut,
}

/// What the handles and the server share.
struct Shared {
    events: mpsc::UnboundedSender<Event>,
    waiting: Mutex<mpsc::UnboundedReceiver<Event>>,
    /// By the invocation's id.
    running: Lock<HashMap<String, Running>>,
}

/// What nobody has asked for yet.
struct Event {
    payload: Value,
    timeout: Duration,
    taken: Option<oneshot::Sender<Taken>>,
}

/// That a function took it.
struct Taken {
    id: String,
    deadline: Instant,
    outcome: oneshot::Receiver<Invocation>,
}

/// What a function has in hand.
struct Running {
    deadline: Instant,
    outcome: oneshot::Sender<Invocation>,
}

impl FakeLambda {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        let listener = listen().await?;
        let address = listener.local_addr()?;
        let (events, waiting) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            events,
            waiting: Mutex::new(waiting),
            running: Lock::default(),
        });
        let served = Arc::clone(&shared);
        let server = Server::start(listener, move |request| {
            let shared = Arc::clone(&served);
            async move { shared.answer(request).await }
        });
        Ok(Self {
            address,
            shared,
            _server: Arc::new(server),
        })
    }

    /// Where it is, as `AWS_LAMBDA_RUNTIME_API` has it, such as `127.0.0.1:40123`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The variables that AWS sets for a function, with credentials that are none. Give what the function reads besides
    /// after them.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let variables = [
            ("AWS_LAMBDA_FUNCTION_NAME", NAME),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/fake"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "fake"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", "fake"),
            ("AWS_SECRET_ACCESS_KEY", "fake"),
            ("AWS_SESSION_TOKEN", "fake"),
        ];
        let fixed = variables.map(|(name, value)| (name, value.to_owned()));
        let api = ("AWS_LAMBDA_RUNTIME_API", self.address());
        [api].into_iter().chain(fixed).collect()
    }

    /// Sends the function this event, and waits for what becomes of it. The timeout runs from the moment at which a
    /// function takes it: how long one takes to start is not counted, as AWS does not count it.
    pub async fn invoke(&self, event: Value, timeout: Duration) -> Invocation {
        let (taken, was_taken) = oneshot::channel();
        // The receiver is kept as long as this.
        let _ = self.shared.events.send(Event {
            payload: event,
            timeout,
            taken: Some(taken),
        });
        let Ok(Ok(taken)) = self::timeout(TAKEN_WITHIN, was_taken).await else {
            return Invocation::TimedOut;
        };
        let outcome = timeout_at(taken.deadline, taken.outcome).await;
        self.shared.running().remove(&taken.id);
        match outcome {
            Ok(Ok(invocation)) => invocation,
            _ => Invocation::TimedOut,
        }
    }
}

impl fmt::Debug for FakeLambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        f.debug_struct("FakeLambda")
            .field("address", address)
            .finish()
    }
}

impl Shared {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().strip_prefix(BASE).unwrap_or_default();
        let steps: Vec<_> = path.split('/').collect();
        match (&head.method, steps.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => {
                self.end(id, body, Invocation::Answered).await
            }
            (&Method::POST, ["invocation", id, "error"]) => {
                self.end(id, body, Invocation::Failed).await
            }
            (&Method::POST, ["init", "error"]) => self.fail_to_start(body).await,
            _ => refused(StatusCode::NOT_FOUND, "no such path of the Runtime API"),
        }
    }

    /// Takes the next event that somebody still waits for: its id, and its payload.
    async fn take(&self) -> Option<(String, Event)> {
        let mut waiting = self.waiting.lock().await;
        loop {
            let mut event = waiting.recv().await?;
            let id = Uuid::new_v4().to_string();
            let (outcome, is_to_come) = oneshot::channel();
            let deadline = Instant::now() + event.timeout;
            let running = Running { deadline, outcome };
            self.running().insert(id.clone(), running);
            let taken = Taken {
                id: id.clone(),
                deadline,
                outcome: is_to_come,
            };
            match event.taken.take().map(|waiting| waiting.send(taken)) {
                Some(Ok(())) => return Some((id, event)),
                _ => self.running().remove(&id),
            };
        }
    }

    async fn next(&self) -> io::Result<Response<Full<Bytes>>> {
        let Some((id, event)) = self.take().await else {
            return refused(StatusCode::GONE, "this Lambda has ended");
        };
        let deadline = (SystemClock.now() + event.timeout).timestamp_millis();
        let arn = format!("arn:aws:lambda:{REGION}:123456789012:function:{NAME}");
        let trace = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0";
        let response = Response::builder()
            .header("Content-Type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", id)
            .header("Lambda-Runtime-Deadline-Ms", deadline)
            .header("Lambda-Runtime-Invoked-Function-Arn", arn)
            .header("Lambda-Runtime-Trace-Id", trace);
        sent(response, &event.payload)
    }

    /// Takes in what became of an event, unless its time is over.
    async fn end(
        &self,
        id: &str,
        body: Incoming,
        how: fn(Value) -> Invocation,
    ) -> io::Result<Response<Full<Bytes>>> {
        let Some(said) = read(body).await else {
            let why = "an answer is JSON of 6 MiB at the most";
            return refused(StatusCode::PAYLOAD_TOO_LARGE, why);
        };
        match self.became(id, how(said)) {
            true => accepted(),
            false => refused(
                StatusCode::BAD_REQUEST,
                "no such invocation, or not any more",
            ),
        }
    }

    /// Tells whoever waits for this invocation what became of it. Not where its time is over.
    fn became(&self, id: &str, invocation: Invocation) -> bool {
        let running = self.running().remove(id);
        let in_time = running.filter(|running| Instant::now() < running.deadline);
        in_time.is_some_and(|running| running.outcome.send(invocation).is_ok())
    }

    /// A function cannot start: the event that it would have taken fails, also one that is still to come.
    async fn fail_to_start(self: &Arc<Self>, body: Incoming) -> io::Result<Response<Full<Bytes>>> {
        let said = read(body).await.unwrap_or_default();
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            if let Some((id, _)) = shared.take().await {
                shared.became(&id, Invocation::Failed(said));
            }
        });
        accepted()
    }
}

/// The JSON of a body; nothing where it is none, or too long.
async fn read(body: Incoming) -> Option<Value> {
    let whole = Limited::new(body, LONGEST).collect().await.ok()?;
    serde_json::from_slice(&whole.to_bytes()).ok()
}

fn accepted() -> io::Result<Response<Full<Bytes>>> {
    let response = Response::builder().status(StatusCode::ACCEPTED);
    sent(response, &json!({"status": "OK"}))
}

fn refused(status: StatusCode, why: &str) -> io::Result<Response<Full<Bytes>>> {
    let said = json!({"errorMessage": why, "errorType": "InvalidRequest"});
    sent(Response::builder().status(status), &said)
}

fn sent(response: response::Builder, body: &Value) -> io::Result<Response<Full<Bytes>>> {
    let body = Full::new(Bytes::from(body.to_string()));
    response.body(body).map_err(io::Error::other)
}
