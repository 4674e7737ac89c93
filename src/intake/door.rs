//! The intake: who may write what, and what may be made of a fence.

use super::{
    IntakeKey,
    wire::{LONGEST, Number, PATH, Read, ReadRecord, Write, Written, Wrong},
};
use crate::{
    beat::Beat,
    clock::Deadline,
    fence::{Fence, State},
    records::{EVERY_GITHUB, Records},
    runner::{RunnerName, Scope},
    store::{Key, Kind, Store, StoreError, Swap},
};
use chrono::TimeDelta;
use serde::Serialize;
use std::{fmt, sync::Arc};

/// How long the store may take. A beacon waits for 10 s.
const PATIENCE: TimeDelta = TimeDelta::seconds(5);

/// Takes what beacons report, and writes it down for them. It has no socket: a server gives it each request under
/// `/beacons/`, and sends what it answers.
#[derive(Debug)]
pub struct Intake {
    records: Records,
    store: Arc<dyn Store>,
    keys: Vec<IntakeKey>,
}

/// What an intake answers: JSON, with a status of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200; 400 for what is no request of a beacon's; 401 without the runner's secret; 403 for what a beacon does
    /// not write; 405; 409 where somebody else wrote first; 413; 503 where the store is away: nobody knows whether it
    /// was written.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Intake {
    /// An intake in front of this store. Of several keys each is good: so they can be rotated, the new one first.
    pub fn new(store: impl Store + 'static, keys: impl IntoIterator<Item = IntakeKey>) -> Self {
        let store: Arc<dyn Store> = Arc::new(store);
        Self {
            records: Records::new(Arc::clone(&store), EVERY_GITHUB),
            store,
            keys: keys.into_iter().collect(),
        }
    }

    /// The longest body that it reads, in bytes: a server need not take more.
    pub const LONGEST_BODY: usize = 2 * LONGEST;

    /// Answers one request. `target` is its path with its query, `authorization` that header.
    pub async fn answer(
        &self,
        method: &str,
        target: &str,
        authorization: Option<&str>,
        body: &[u8],
    ) -> Answer {
        let answered =
            Deadline::within(PATIENCE).meet(self.try_to(method, target, authorization, body));
        match answered.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(refused)) => refused,
            Err(late) => away(&late),
        }
    }

    async fn try_to(
        &self,
        method: &str,
        target: &str,
        authorization: Option<&str>,
        body: &[u8],
    ) -> Result<Answer, Answer> {
        let (kind, scope, runner) = asked_for(target)?;
        let secret = authorization.and_then(|header| header.strip_prefix("Bearer "));
        // All keys are tried, whichever fits.
        let fits = self
            .keys
            .iter()
            .map(|key| secret.is_some_and(|secret| key.made(secret.trim(), &scope, &runner)));
        if !fits.fold(false, |any, fits| any | fits) {
            return Err(wrong(
                401,
                "this is not the secret of this runner of this scope; make it with `scale-in-guard beacon-secret`",
            ));
        }
        let key = self.records.of_host(&scope, kind, &runner);
        match method {
            "GET" => self.read(&key).await,
            "PUT" => self.write(&key, body).await,
            _ => Err(wrong(405, "a beacon reads with GET and writes with PUT")),
        }
    }

    async fn read(&self, key: &Key) -> Result<Answer, Answer> {
        let read = self.store.read(std::slice::from_ref(key)).await;
        let record = read.map_err(|error| self.failed(&error))?;
        let record = record.into_iter().flatten().next();
        let record = record.map(|record| ReadRecord {
            version: Number(record.version),
            value: record.value,
            age_ms: record.age.num_milliseconds(),
        });
        Ok(good(&Read { record }))
    }

    async fn write(&self, key: &Key, body: &[u8]) -> Result<Answer, Answer> {
        if body.len() > Self::LONGEST_BODY {
            return Err(wrong(413, "no report is as long"));
        }
        let write: Write = serde_json::from_slice(body)
            .map_err(|error| wrong(400, &format!("this is no report: {error}")))?;
        if write.value.len() > LONGEST {
            return Err(wrong(413, "no report is as long"));
        }
        match key.kind() {
            Kind::Fence => self.is_taken(key, &write).await?,
            _ => is_beat(&write.value)?,
        }
        let expected = write.expected.map(|Number(version)| version);
        match self.store.swap(key, expected, &write.value).await {
            Ok(Swap::Done(version)) => Ok(good(&Written {
                version: Number(version),
            })),
            Ok(Swap::Conflict) => Err(wrong(409, "somebody else wrote first; read again")),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Whether a fence is written as a starting job takes it: the one thing that a beacon does with one.
    async fn is_taken(&self, key: &Key, write: &Write) -> Result<(), Answer> {
        let new: Fence = serde_json::from_str(&write.value)
            .map_err(|error| wrong(400, &format!("this is no fence: {error}")))?;
        let kept = self.records.read_one::<Fence>(key).await;
        let kept = kept.map_err(|error| self.failed(&error))?;
        let expected = write.expected.map(|Number(version)| version);
        if kept.over.version != expected {
            return Err(wrong(409, "somebody else wrote first; read again"));
        }
        match new.state() {
            State::Taken { sequence, .. } if kept.value.take(*sequence) == new => Ok(()),
            _ => Err(wrong(
                403,
                "a beacon takes a fence for a job that starts, and no more",
            )),
        }
    }

    fn failed(&self, error: &StoreError) -> Answer {
        tracing::warn!(%error, "a beacon's report could not be read or written");
        away(&"the store behind the intake is away; its log says why")
    }
}

fn is_beat(value: &str) -> Result<(), Answer> {
    let beat = serde_json::from_str::<Beat>(value);
    beat.map(drop)
        .map_err(|error| wrong(400, &format!("this is no heartbeat: {error}")))
}

/// The record that a request is about.
fn asked_for(target: &str) -> Result<(Kind, Scope, RunnerName), Answer> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let kind = match path.strip_prefix(PATH) {
        Some("heartbeat") => Kind::Heartbeat,
        Some("fence") => Kind::Fence,
        _ => {
            return Err(wrong(
                404,
                "there are /beacons/heartbeat and /beacons/fence",
            ));
        }
    };
    let named = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let pair = pairs.find(|(key, _)| key == name);
        let missing = || wrong(400, &format!("the query names no {name}"));
        pair.map(|(_, value)| value.into_owned())
            .ok_or_else(missing)
    };
    let scope = named("scope")?;
    let scope = scope.parse::<Scope>();
    let runner = named("runner")?;
    let runner = runner.parse::<RunnerName>();
    Ok((
        kind,
        scope.map_err(|error| wrong(400, &error.to_string()))?,
        runner.map_err(|error| wrong(400, &error.to_string()))?,
    ))
}

fn good(body: &impl Serialize) -> Answer {
    answer(200, body)
}

fn wrong(status: u16, error: &str) -> Answer {
    let error = error.to_owned();
    answer(status, &Wrong { error })
}

fn away(what: &dyn fmt::Display) -> Answer {
    wrong(503, &what.to_string())
}

fn answer(status: u16, body: &impl Serialize) -> Answer {
    Answer {
        status,
        // What stands in there can always be written.
        body: serde_json::to_string(body).unwrap_or_default(),
    }
}
