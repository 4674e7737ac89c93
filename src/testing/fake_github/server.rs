//! How a request comes in, and how its answer goes out or does not.

use super::{
    Shared, World,
    answer::Answer,
    credentials,
    endpoints::Asked,
    faults::Fault,
    gauge::Answering,
    paging,
    requests::{Request, Sent},
};
use crate::{testing::loopback::Server, time::after};
use chrono::TimeDelta;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response,
    body::{Bytes, Frame, Incoming},
    http::request::Parts,
};
use std::{future, io, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// The longest body that is kept of a request.
const LONGEST: usize = 1 << 20;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Answers whatever comes to this listener.
pub(super) fn start(listener: TcpListener, shared: Arc<Shared>) -> Server {
    Server::start(listener, move |request| {
        let shared = Arc::clone(&shared);
        async move {
            let (head, body) = request.into_parts();
            let sent = read(body).await?;
            respond(&shared, &head, &sent).await
        }
    })
}

/// How a request ends.
enum Outcome {
    Whole(Answer),
    HalfABody(Answer),
    Dripping(Answer, Duration),
    Nothing,
    Never,
}

/// Reads the body of a request to its end, for a client that still writes may not read the answer.
async fn read(mut body: Incoming) -> io::Result<Sent> {
    let (mut bytes, mut is_too_long) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            is_too_long |= bytes.len() + data.len() > LONGEST;
            if !is_too_long {
                bytes.extend_from_slice(&data);
            }
        }
    }
    Ok(if is_too_long {
        Sent::TooLong
    } else {
        Sent::read(&bytes)
    })
}

/// Answers one request. An error closes the connection without an answer.
async fn respond(shared: &Shared, head: &Parts, sent: &Sent) -> io::Result<Response<Body>> {
    let answering = Answering::begin(&shared.gauge);
    let (outcome, latency) = receive(shared, head, sent);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    match outcome {
        Outcome::Whole(answer) => whole(answer),
        Outcome::HalfABody(answer) => half_a_body(answer),
        Outcome::Dripping(answer, every) => dripping(answer, every, answering),
        Outcome::Nothing => Err(cut()),
        Outcome::Never => future::pending().await,
    }
}

fn cut() -> io::Error {
    io::Error::other("cut by a fault")
}

/// Takes a request in and makes its answer, all at one instant.
fn receive(shared: &Shared, head: &Parts, sent: &Sent) -> (Outcome, Duration) {
    let now = shared.clock.now();
    let mut request = Request::read(head, sent, now);
    let token = credentials::given(&head.headers);
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let base = if request.path.starts_with("/api/v3/") {
        format!("{}/api/v3", shared.url)
    } else {
        shared.url.clone()
    };
    let mut world = shared.world();
    let who = world.identify(token, &request, now);
    request.authorized = who.is_ok();
    world.requests.push(request.clone());
    let fault = world.faults.hit(&request.method, target, now);
    let asked = Asked {
        request: &request,
        sent,
        who,
        token,
        base: &base,
        now,
    };
    (world.outcome(fault, &asked), world.latency)
}

impl World {
    fn outcome(&mut self, fault: Option<Fault>, asked: &Asked<'_>) -> Outcome {
        match fault {
            None => Outcome::Whole(self.carried_out(asked)),
            Some(Fault::Status {
                code,
                body,
                headers,
            }) => {
                let answer = Answer::text(code, body);
                let answer = headers
                    .iter()
                    .fold(answer, |answer, (name, value)| answer.with(name, value));
                Outcome::Whole(self.headed(answer, asked))
            }
            Some(Fault::Redirect { code, to }) => {
                let answer = Answer::refusal(code, "Moved Permanently").with("Location", to);
                Outcome::Whole(self.headed(answer, asked))
            }
            Some(Fault::Cut) => Outcome::Nothing,
            Some(Fault::CutAfter) => {
                self.carried_out(asked);
                Outcome::Nothing
            }
            Some(Fault::CutBody) => match self.carried_out(asked) {
                answer if answer.body.is_empty() => Outcome::Nothing,
                answer => Outcome::HalfABody(answer),
            },
            Some(Fault::Malformed) => {
                let answer = self.carried_out(asked);
                let body = first_half(answer.body);
                Outcome::Whole(Answer {
                    code: 200,
                    body,
                    ..answer
                })
            }
            Some(Fault::Drip { every }) => Outcome::Dripping(self.carried_out(asked), every),
            Some(Fault::PrimaryLimit {
                code,
                reset_in_seconds,
            }) => {
                let span = TimeDelta::try_seconds(reset_in_seconds).unwrap_or_default();
                let reset = after(self.githubs_clock(asked.now), span).timestamp();
                let why = "API rate limit exceeded for installation ID 1.";
                let answer = Answer::refusal(code, why)
                    .with("X-RateLimit-Limit", "5000")
                    .with("X-RateLimit-Remaining", "0")
                    .with("X-RateLimit-Used", "5000")
                    .with("X-RateLimit-Reset", reset.to_string());
                Outcome::Whole(self.headed(answer, asked))
            }
            Some(Fault::Endless { onward }) => {
                let first = asked.request.at_first_page();
                let answer = self.carried_out(&Asked {
                    request: &first,
                    ..*asked
                });
                let link = paging::leading_on(asked.request, asked.base, onward);
                Outcome::Whole(answer.with("Link", link))
            }
            Some(Fault::Hang) => Outcome::Never,
        }
    }

    fn carried_out(&mut self, asked: &Asked<'_>) -> Answer {
        let answer = self.answer(asked);
        self.headed(answer, asked)
    }
}

fn first_half(mut body: Vec<u8>) -> Vec<u8> {
    body.truncate(body.len() / 2);
    body
}

fn head(answer: &Answer) -> hyper::http::response::Builder {
    let response = Response::builder().status(answer.code);
    answer
        .headers
        .iter()
        .fold(response, |response, (name, value)| {
            response.header(name, value)
        })
}

fn whole(answer: Answer) -> io::Result<Response<Body>> {
    let response = head(&answer);
    let body = Full::new(Bytes::from(answer.body)).map_err(|never| match never {});
    response.body(body.boxed_unsync()).map_err(io::Error::other)
}

/// Announces the whole body, sends half of it, and breaks off.
fn half_a_body(answer: Answer) -> io::Result<Response<Body>> {
    let length = answer.body.len();
    let response = head(&answer).header("Content-Length", length);
    let half = Bytes::from(first_half(answer.body));
    let sent = stream::once(future::ready(Ok(Frame::data(half))));
    let broken_off = stream::once(async {
        // So that the half is on its way before the connection goes.
        tokio::task::yield_now().await;
        Err(cut())
    });
    let body = StreamBody::new(sent.chain(broken_off));
    response.body(body.boxed_unsync()).map_err(io::Error::other)
}

/// Sends the headers, and then the body byte by byte. It is being answered until the last of them.
fn dripping(answer: Answer, every: Duration, answering: Answering) -> io::Result<Response<Body>> {
    let length = answer.body.len();
    let response = head(&answer).header("Content-Length", length);
    let start = (answer.body.into_iter(), Some(answering));
    let drops = stream::unfold(start, move |(mut bytes, answering)| async move {
        let byte = bytes.next()?;
        tokio::time::sleep(every).await;
        let drop = Ok(Frame::data(Bytes::from(vec![byte])));
        let answering = answering.filter(|_| bytes.len() > 0);
        Some((drop, (bytes, answering)))
    });
    let body = StreamBody::new(drops);
    response.body(body.boxed_unsync()).map_err(io::Error::other)
}
