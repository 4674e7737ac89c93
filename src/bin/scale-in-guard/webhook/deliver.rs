//! A delivery: its body is read within bounds, and handed to the receiver.

use super::{
    answer::{Answer, closing, line},
    seldom::Seldom,
};
use http_body_util::BodyExt;
use hyper::{
    Request, StatusCode,
    body::{Body, Incoming},
    header::{CONTENT_TYPE, HeaderMap},
};
use scale_in_guard::webhook::{Headers, MAX_BODY, Outcome, Receiver};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// How long a body may take. GitHub waits no longer for the answer.
const TO_READ: Duration = Duration::from_secs(10);

/// How many bytes of all bodies are in memory at the same time: so many clients with long bodies do not fill it. Room
/// is taken by what has come, and not by what was announced.
const ROOM: usize = 256 << 20;

/// Takes deliveries in.
#[derive(Debug)]
pub(super) struct Deliveries {
    receiver: Arc<Receiver>,
    room: Semaphore,
    refusals: Seldom,
}

/// Why a body was not read.
enum Unread {
    TooLong,
    TooSlow,
    NoRoom,
    Cut,
}

impl Deliveries {
    pub(super) fn into(receiver: Arc<Receiver>) -> Self {
        Self {
            receiver,
            room: Semaphore::new(ROOM),
            refusals: Seldom::default(),
        }
    }

    pub(super) async fn take(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let outcome = match timeout(TO_READ, self.read(body)).await {
            Ok(Ok((bytes, room))) => {
                let outcome = self.receiver.receive(&headers(&head.headers), &bytes).await;
                drop(room);
                return self.answer(&outcome);
            }
            Ok(Err(unread)) => unread,
            Err(_) => Unread::TooSlow,
        };
        // What is left of the body is not read.
        closing(match outcome {
            Unread::TooLong => {
                self.receiver.refused(&Outcome::TooLarge);
                self.answer(&Outcome::TooLarge)
            }
            Unread::NoRoom => {
                let full = Outcome::Unavailable("too many long bodies at the same time".to_owned());
                self.receiver.refused(&full);
                self.answer(&full)
            }
            Unread::TooSlow => self.lost(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
            Unread::Cut => self.lost(StatusCode::BAD_REQUEST, "the body was cut off"),
        })
    }

    /// It may have been a delivery: then it is lost.
    fn lost(&self, status: StatusCode, what: &str) -> Answer {
        self.receiver
            .refused(&Outcome::Unavailable(what.to_owned()));
        line(status, what)
    }

    /// Reads a body, and the room that it takes until it is dropped.
    async fn read(&self, mut body: Incoming) -> Result<(Vec<u8>, SemaphorePermit<'_>), Unread> {
        // By its length where it gives one: one that is too long is refused before it is sent.
        let fits = |length: u64| usize::try_from(length).is_ok_and(|length| length <= MAX_BODY);
        if !fits(body.size_hint().lower()) {
            return Err(Unread::TooLong);
        }
        let mut bytes = Vec::new();
        let mut room = self.room.try_acquire_many(0).map_err(|_| Unread::NoRoom)?;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unread::Cut)?.into_data() else {
                continue;
            };
            if bytes.len().saturating_add(data.len()) > MAX_BODY {
                return Err(Unread::TooLong);
            }
            let more = u32::try_from(data.len()).map_err(|_| Unread::TooLong)?;
            let more = self.room.try_acquire_many(more);
            room.merge(more.map_err(|_| Unread::NoRoom)?);
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, room))
    }

    fn answer(&self, outcome: &Outcome) -> Answer {
        let status = outcome.status();
        if status >= 300
            && let Some(times) = self.refusals.is_due(status)
        {
            tracing::warn!(status, %outcome, times, "webhook: refused");
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        line(status, outcome)
    }
}

fn headers(headers: &HeaderMap) -> Headers<'_> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Headers {
        event: text("x-github-event"),
        signature: text("x-hub-signature-256"),
        delivery: text("x-github-delivery"),
        content_type: text(CONTENT_TYPE.as_str()),
    }
}
