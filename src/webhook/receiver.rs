//! The receiver: it believes a delivery, keeps it, and answers only then.

use super::{
    delivery::{Event, JobEvent, ParseError, parse},
    signature::{Secrets, SignatureError, verify},
    writer::{Letter, Writer},
};
use crate::{
    clock::{Clock, Deadline, SystemClock},
    receiver_record::Refused,
    records::{EVERY_GITHUB, Records},
    runner::{NameError, RunnerName, Scope},
    store::{Kind, Store, StoreError},
    telemetry,
    time::{Instant, age},
};
use chrono::TimeDelta;
use serde::Serialize;
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, oneshot};

/// The longest body that is read, in bytes: GitHub sends no longer one.
pub const MAX_BODY: usize = 25 << 20;

/// How many deliveries may wait to be written: beyond it they are refused at once.
const MOST_WAITING: usize = 10_000;

/// What is needed of the headers of a delivery.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    /// `X-GitHub-Event`.
    pub event: Option<&'a str>,
    /// `X-Hub-Signature-256`.
    pub signature: Option<&'a str>,
    /// `X-GitHub-Delivery`, for the log: nothing hangs on it, as the fold minds no repetition.
    pub delivery: Option<&'a str>,
    /// `Content-Type`: JSON, unless it is a form.
    pub content_type: Option<&'a str>,
}

/// What became of a delivery.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It is kept: it outlives this process.
    Stored,
    /// There is nothing in it to keep: a ping, or another event.
    Ignored,
    /// It is not signed, or not with a secret of ours.
    Unauthorized(SignatureError),
    /// It is signed, and cannot be read.
    Unreadable(ParseError),
    /// It is longer than [`MAX_BODY`].
    TooLarge,
    /// It could not be written in time: nobody knows whether it was.
    Unavailable(String),
}

impl Outcome {
    /// The HTTP status to answer with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Stored | Self::Ignored => 200,
            Self::Unreadable(_) => 400,
            Self::Unauthorized(_) => 401,
            Self::TooLarge => 413,
            Self::Unavailable(_) => 503,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => f.write_str("kept"),
            Self::Ignored => f.write_str("nothing to keep"),
            Self::Unauthorized(why) => why.fmt(f),
            Self::Unreadable(why) => why.fmt(f),
            Self::TooLarge => write!(f, "the body is longer than {MAX_BODY} bytes"),
            Self::Unavailable(why) => write!(f, "not kept: {why}; deliver it again"),
        }
    }
}

/// What a receiver has done since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// Deliveries that were kept.
    pub stored: u64,
    /// Deliveries with nothing to keep.
    pub ignored: u64,
    /// Deliveries that were refused.
    pub refused: Refused,
    /// When the last one came that was kept.
    pub last_stored_at: Option<Instant>,
}

/// The tally, as it is kept.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<Tally>);

impl Counts {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        // Numbers are whole, whoever panicked in between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refused(&self) -> Refused {
        self.tally().refused
    }

    fn note(&self, outcome: &Outcome, now: Instant) {
        let mut tally = self.tally();
        let count = match outcome {
            Outcome::Stored => {
                tally.last_stored_at = Some(now);
                &mut tally.stored
            }
            Outcome::Ignored => &mut tally.ignored,
            Outcome::Unauthorized(_) => &mut tally.refused.unauthorized,
            Outcome::Unreadable(_) => &mut tally.refused.unreadable,
            Outcome::TooLarge => &mut tally.refused.too_large,
            Outcome::Unavailable(_) => &mut tally.refused.unavailable,
        };
        *count = count.saturating_add(1);
    }
}

/// A receiver to be started.
#[derive(Debug)]
#[must_use = "it receives nothing before it is started"]
pub struct ReceiverBuilder {
    store: Arc<dyn Store>,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
    name: RunnerName,
    scopes: Vec<Scope>,
    patience: TimeDelta,
}

impl ReceiverBuilder {
    /// What it is called among the receivers that share the store: each needs a name of its own, and keeps it when it
    /// is started anew. Default: `1`.
    ///
    /// # Errors
    /// [`NameError`] when it cannot be one.
    pub fn named(mut self, name: &str) -> Result<Self, NameError> {
        self.name = RunnerName::new(&format!("receiver-{name}"))?;
        Ok(self)
    }

    /// Whose deliveries it is to receive: so a guard knows of this receiver before the first one comes. Default:
    /// none; it learns of a scope by the first delivery.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = Scope>) -> Self {
        self.scopes.extend(scopes);
        self
    }

    /// What time it is. Default: this machine's clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long a delivery may take to be written. Default 8 seconds: GitHub waits for 10.
    pub fn patience(mut self, patience: TimeDelta) -> Self {
        self.patience = patience;
        self
    }

    /// Starts it, in the tokio runtime that is around.
    #[must_use]
    pub fn start(self) -> Receiver {
        let counts = Arc::<Counts>::default();
        let records = Records::new(self.store, EVERY_GITHUB);
        let writer = Writer::new(
            records.clone(),
            self.clock.clone(),
            self.name,
            counts.clone(),
            self.patience,
            &self.scopes,
        );
        let (door, mail) = mpsc::channel(MOST_WAITING);
        tokio::spawn(writer.run(mail));
        Receiver {
            secrets: self.secrets,
            clock: self.clock,
            patience: self.patience,
            records,
            counts,
            door,
        }
    }
}

/// Receives `workflow_job` deliveries into a store, from which the guards read them.
///
/// Deliveries that come at the same time are written together: each record once, for all of them. It tells of itself
/// in the store (see [`ReceiverRecord`](super::ReceiverRecord)) until it is stopped or dropped.
#[derive(Debug)]
pub struct Receiver {
    secrets: Secrets,
    clock: Arc<dyn Clock>,
    patience: TimeDelta,
    records: Records,
    counts: Arc<Counts>,
    door: mpsc::Sender<Letter>,
}

impl Receiver {
    /// A receiver that keeps what is signed with one of the secrets, in this store.
    pub fn builder(store: impl Store + 'static, secrets: Secrets) -> ReceiverBuilder {
        ReceiverBuilder {
            store: Arc::new(store),
            secrets,
            clock: Arc::new(SystemClock),
            name: RunnerName::ours("receiver-1"),
            scopes: Vec::new(),
            patience: TimeDelta::seconds(8),
        }
    }

    /// Receives one delivery: the headers, and the body as it came. It answers when the delivery is durable, or is
    /// known to be of no use, or after [`patience`](ReceiverBuilder::patience).
    pub async fn receive(&self, headers: &Headers<'_>, body: &[u8]) -> Outcome {
        let now = self.clock.now();
        let began = tokio::time::Instant::now();
        let outcome = self.take(headers, body, now).await;
        self.counts.note(&outcome, now);
        telemetry::delivered(outcome.status(), Some(began.elapsed()));
        tracing::debug!(delivery = headers.delivery, status = outcome.status(), %outcome, "webhooks: delivered");
        outcome
    }

    /// Counts a delivery that was refused before it reached the receiver: one with too long a body, or one that
    /// nobody has time for.
    pub fn refused(&self, outcome: &Outcome) {
        self.counts.note(outcome, self.clock.now());
        telemetry::delivered(outcome.status(), None);
    }

    async fn take(&self, headers: &Headers<'_>, body: &[u8], now: Instant) -> Outcome {
        if body.len() > MAX_BODY {
            return Outcome::TooLarge;
        }
        if let Err(why) = verify(&self.secrets, headers.signature, body) {
            return Outcome::Unauthorized(why);
        }
        match parse(headers.event, headers.content_type, body, now) {
            Ok(Event::Job(event)) => self.keep(event).await,
            Ok(_) => Outcome::Ignored,
            Err(why) => Outcome::Unreadable(why),
        }
    }

    async fn keep(&self, event: Box<JobEvent>) -> Outcome {
        let deadline = Deadline::within(self.patience);
        let (caller, answer) = oneshot::channel();
        if let Err(refused) = self.door.try_send(Letter::Job(event, caller)) {
            return Outcome::Unavailable(match refused {
                mpsc::error::TrySendError::Full(_) => "too many deliveries wait".to_owned(),
                mpsc::error::TrySendError::Closed(_) => "the receiver is stopped".to_owned(),
            });
        }
        match deadline.meet(answer).await {
            Ok(Ok(Ok(()))) => Outcome::Stored,
            Ok(Ok(Err(why))) => Outcome::Unavailable(why),
            Ok(Err(_)) => Outcome::Unavailable("the receiver is stopped".to_owned()),
            Err(late) => Outcome::Unavailable(format!("{}: {late}", self.records.describe())),
        }
    }

    /// What it has done.
    #[must_use]
    pub fn tally(&self) -> Tally {
        *self.counts.tally()
    }

    /// How long ago the last delivery came that was kept; `None` before the first.
    #[must_use]
    pub fn last_event_age(&self) -> Option<TimeDelta> {
        let at = self.tally().last_stored_at?;
        Some(age(self.clock.now(), at))
    }

    /// Whether the store answers, within two seconds.
    ///
    /// # Errors
    /// [`StoreError`] when it does not.
    pub async fn reach_store(&self) -> Result<(), StoreError> {
        // A record that is never written: a store need not look for none at all.
        let nobody = Scope::Organization("-".into());
        let key = [self.records.of_scope(&nobody, Kind::Receiver)];
        let read = self.records.read_unparsed(&key);
        let late = |late| StoreError::Unusable {
            store: self.records.describe(),
            doing: "looking whether it answers",
            source: Box::new(late),
        };
        let read = Deadline::within(TimeDelta::seconds(2)).meet(read).await;
        read.map_err(late)?.map(drop)
    }

    /// Writes what waits, tells in the store that it goes, and ends. What comes afterwards is refused.
    pub async fn stop(&self) {
        let (stopped, done) = oneshot::channel();
        let stop = async {
            if self.door.send(Letter::Stop(stopped)).await.is_ok() {
                done.await.ok();
            }
        };
        let patience = self.patience.checked_mul(2).unwrap_or(self.patience);
        Deadline::within(patience).meet(stop).await.ok();
    }
}
