//! Deliveries, a store that can be away, and a receiver over it.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    ledger::{Ledger, LedgerJob},
    runner::{RunnerName, Scope},
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
    stores::MemoryStore,
    testing::ManualClock,
    webhook::{Headers, Outcome, Receiver, ReceiverBuilder, ReceiverRecord, Secrets, sign},
};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

pub(crate) const SECRET: &str = "s3cret";

pub(crate) fn noon() -> DateTime<Utc> {
    "2026-05-14T12:00:00Z".parse().unwrap()
}

pub(crate) fn at(second: i64) -> DateTime<Utc> {
    noon() + TimeDelta::seconds(second)
}

/// What GitHub tells of a job, as far as it matters.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) action: &'static str,
    pub(crate) job: u64,
    pub(crate) attempt: u32,
    pub(crate) runner: Option<(u64, String)>,
    pub(crate) repository: &'static str,
    pub(crate) enterprise: Option<&'static str>,
    pub(crate) labels: Vec<&'static str>,
}

pub(crate) fn told(action: &'static str, job: u64) -> Told {
    Told {
        action,
        job,
        attempt: 1,
        runner: None,
        repository: "acme/atlas",
        enterprise: None,
        labels: vec!["linux"],
    }
}

impl Told {
    pub(crate) fn on(mut self, id: u64, name: &str) -> Self {
        self.runner = Some((id, name.to_owned()));
        self
    }

    pub(crate) fn of(mut self, repository: &'static str) -> Self {
        self.repository = repository;
        self
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let (id, name) = match &self.runner {
            Some((id, name)) => (json!(id), json!(name)),
            None => (Value::Null, Value::Null),
        };
        let mut body = json!({
            "action": self.action,
            "workflow_job": {
                "id": self.job, "run_attempt": self.attempt, "labels": self.labels,
                "runner_id": id, "runner_name": name,
            },
            "repository": {"full_name": self.repository},
        });
        if let Some(slug) = self.enterprise {
            body["enterprise"] = json!({"slug": slug});
        }
        body.to_string().into_bytes()
    }
}

/// Hands a receiver a body, signed as GitHub would.
pub(crate) async fn deliver(receiver: &Receiver, body: &[u8]) -> Outcome {
    let signature = sign(SECRET, body);
    let headers = Headers {
        event: Some("workflow_job"),
        signature: Some(&signature),
        ..Headers::default()
    };
    receiver.receive(&headers, body).await
}

pub(crate) async fn keep(receiver: &Receiver, told: Told) {
    let outcome = deliver(receiver, &told.body()).await;
    assert!(matches!(outcome, Outcome::Stored), "{outcome}");
}

pub(crate) fn receiver(store: impl Store + 'static, clock: &ManualClock) -> ReceiverBuilder {
    let secrets = Secrets::new([SECRET]).unwrap();
    Receiver::builder(store, secrets).clock(clock.clone())
}

pub(crate) fn acme() -> Scope {
    "org:acme".parse().unwrap()
}

/// The jobs that lie in all records of a kind.
pub(crate) async fn jobs(store: &dyn Store, scope: &Scope, kind: Kind) -> Vec<LedgerJob> {
    let records = store.scan("*", scope, kind).await.unwrap();
    let jobs = records.into_iter().flat_map(|(_, record)| {
        let record: Value = serde_json::from_str(&record.value).unwrap();
        serde_json::from_value::<Ledger>(record["jobs"].clone()).unwrap()
    });
    jobs.collect()
}

/// What is told of one runner.
pub(crate) async fn of_runner(store: &dyn Store, scope: &Scope, name: &str) -> Vec<LedgerJob> {
    let name: RunnerName = name.parse().unwrap();
    let key = Key::of_runner("*".into(), scope.clone(), Kind::Jobs, name);
    let record = store.read(&[key]).await.unwrap().pop().unwrap();
    record.map_or(Vec::new(), |record| {
        let record: Value = serde_json::from_str(&record.value).unwrap();
        let ledger: Ledger = serde_json::from_value(record["jobs"].clone()).unwrap();
        ledger.into_iter().collect()
    })
}

pub(crate) async fn own(store: &dyn Store, scope: &Scope) -> ReceiverRecord {
    let records = store.scan("*", scope, Kind::Receiver).await.unwrap();
    let (_, record) = records.first().expect("a receiver tells of itself");
    serde_json::from_str(&record.value).unwrap()
}

/// A store that can be away, slow, or in others' hands.
#[derive(Debug, Clone)]
pub(crate) struct FakeStore {
    pub(crate) inner: Arc<MemoryStore>,
    pub(crate) mood: Arc<std::sync::Mutex<Mood>>,
    pub(crate) swaps: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Away,
    Hangs,
    /// So many swaps are said to have met another one.
    Contended(usize),
}

impl FakeStore {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        Self {
            inner: Arc::new(MemoryStore::new().with_clock(clock.clone())),
            mood: Arc::new(std::sync::Mutex::new(Mood::Well)),
            swaps: Arc::default(),
        }
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    async fn live(&self) -> Result<(), StoreError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Away => Err(StoreError::Unusable {
                store: "fake".into(),
                doing: "reaching it",
                source: "connection refused".into(),
            }),
            Mood::Hangs => std::future::pending().await,
            Mood::Well | Mood::Contended(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Store for FakeStore {
    fn describe(&self) -> String {
        "fake".to_owned()
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        self.live().await?;
        self.inner.read(keys).await
    }

    async fn scan(
        &self,
        api: &str,
        scope: &Scope,
        kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        self.live().await?;
        self.inner.scan(api, scope, kind).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        self.live().await?;
        self.swaps.fetch_add(1, Ordering::SeqCst);
        {
            let mut mood = self.mood.lock().unwrap();
            if let Mood::Contended(left @ 1..) = *mood {
                *mood = Mood::Contended(left - 1);
                return Ok(Swap::Conflict);
            }
        }
        self.inner.swap(key, expected, value).await
    }
}
