//! The store that a beacon sees through an intake: two records of one runner.

use super::{
    BeaconSecret,
    wire::{Number, Read, Write, Written, Wrong},
};
use crate::{
    github::{NoBase, PlainHttp, base, is_loopback, plainly},
    runner::{RunnerName, Scope},
    store::{Key, Kind, Record, Store, StoreError, Swap, Version},
};
use async_trait::async_trait;
use chrono::TimeDelta;
use reqwest::{Method, RequestBuilder, redirect};
use secrecy::ExposeSecret;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::HashMap, time::Duration};
use thiserror::Error;
use url::Url;

/// How long an answer may take: less than a beacon waits for a report.
const TIMEOUT: Duration = Duration::from_secs(8);

/// No answer is longer, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// The records of a beacon's runners, through an [`Intake`](super::Intake). It reads and writes their heartbeats and
/// fences, and nothing else.
#[derive(Debug)]
pub struct IntakeStore {
    http: reqwest::Client,
    url: Url,
    secrets: Secrets,
}

#[derive(Debug)]
enum Secrets {
    OfOne(BeaconSecret),
    Of(HashMap<RunnerName, BeaconSecret>),
}

/// Why there is no way to an intake.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// It is no URL, or one that says more than where the intake is.
    #[error("intake {url:?}: {why}; write its URL as https://HOST")]
    Url {
        /// The URL, without what could be a password.
        url: String,
        /// What is the matter with it.
        why: String,
    },
    /// The secret would travel unencrypted.
    #[error("intake {url:?}: plain http would show the secret to the network; use https")]
    PlainHttp {
        /// The URL.
        url: String,
    },
    /// TLS could not be set up.
    #[error("TLS could not be set up: {what}; see this system's certificates")]
    Tls {
        /// What went wrong.
        what: String,
    },
}

impl IntakeStore {
    /// The intake at this URL, for a host with one runner. Plain http is for loopback alone.
    ///
    /// # Errors
    /// [`IntakeError`] when the URL is none, or the secret would travel unencrypted.
    pub fn new(url: &str, secret: BeaconSecret) -> Result<Self, IntakeError> {
        Self::with(url, Secrets::OfOne(secret))
    }

    /// The intake at this URL, for a host with several runners: each has a secret of its own.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_several(
        url: &str,
        secrets: impl IntoIterator<Item = (RunnerName, BeaconSecret)>,
    ) -> Result<Self, IntakeError> {
        Self::with(url, Secrets::Of(secrets.into_iter().collect()))
    }

    fn with(text: &str, secrets: Secrets) -> Result<Self, IntakeError> {
        let url = base(text, PlainHttp::LoopbackOnly).map_err(|no_base| match no_base {
            NoBase::Wrong { url, why } => IntakeError::Url { url, why },
            NoBase::Plain { url } => IntakeError::PlainHttp { url },
        })?;
        let mut http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true);
        if is_loopback(&url) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| IntakeError::Tls {
            what: error.to_string(),
        })?;
        Ok(Self { http, url, secrets })
    }

    fn unusable(&self, doing: &'static str, what: impl Into<String>) -> StoreError {
        StoreError::Unusable {
            store: self.describe(),
            doing,
            source: what.into().into(),
        }
    }

    /// A request about the record of a key, if it is one of the two.
    fn request(
        &self,
        doing: &'static str,
        method: Method,
        key: &Key,
    ) -> Result<RequestBuilder, StoreError> {
        let (Some(runner), Kind::Heartbeat | Kind::Fence) = (key.runner(), key.kind()) else {
            let what =
                format!("the {key} is not a beacon's: an intake takes heartbeats and fences alone");
            return Err(self.unusable(doing, what));
        };
        let secret = match &self.secrets {
            Secrets::OfOne(secret) => Some(secret),
            Secrets::Of(secrets) => secrets.get(runner),
        };
        let without = || self.unusable(doing, format!("there is no secret for {runner}; give one"));
        let secret = secret.ok_or_else(without)?;
        let mut url = self.url.clone();
        // Every http(s) URL has segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["beacons", key.kind().as_str()]);
        }
        url.query_pairs_mut()
            .append_pair("scope", &key.scope().to_string())
            .append_pair("runner", runner.as_str());
        let request = self.http.request(method, url);
        Ok(request.bearer_auth(secret.expose_secret()))
    }

    /// Sends a request, and reads what came of it: `None` where somebody else wrote first.
    async fn send<T: DeserializeOwned>(
        &self,
        doing: &'static str,
        request: RequestBuilder,
    ) -> Result<Option<T>, StoreError> {
        let failed = |error: reqwest::Error| self.unusable(doing, plainly(&error));
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ANSWER {
                return Err(self.unusable(doing, "its answer is endless; see what answers there"));
            }
        }
        match status {
            200 => serde_json::from_slice(&body).map(Some).map_err(|error| {
                self.unusable(doing, format!("what answers there is no intake: {error}"))
            }),
            409 => Ok(None),
            _ => {
                let said = serde_json::from_slice::<Wrong>(&body);
                let said = said.map_or("what answers there may be no intake".to_owned(), |wrong| {
                    wrong.error
                });
                Err(self.unusable(doing, format!("{status}: {said}")))
            }
        }
    }

    async fn read_one(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let doing = "reading a record";
        let request = self.request(doing, Method::GET, key)?;
        let read: Option<Read> = self.send(doing, request).await?;
        let record = read.and_then(|read| read.record);
        Ok(record.map(|record| {
            let Number(version) = record.version;
            Record {
                version,
                value: record.value,
                age: TimeDelta::milliseconds(record.age_ms),
            }
        }))
    }
}

#[async_trait]
impl Store for IntakeStore {
    fn describe(&self) -> String {
        format!("intake {}", self.url)
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.push(self.read_one(key).await?);
        }
        Ok(records)
    }

    async fn scan(
        &self,
        _api: &str,
        _scope: &Scope,
        _kind: Kind,
    ) -> Result<Vec<(Key, Record)>, StoreError> {
        Err(self.unusable("listing the records of a scope", "an intake shows none"))
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<Version>,
        value: &str,
    ) -> Result<Swap, StoreError> {
        let doing = "writing a record";
        let write = Write {
            expected: expected.map(Number),
            value: value.to_owned(),
        };
        let body = as_json(&write).map_err(|error| self.unusable(doing, error))?;
        let request = self.request(doing, Method::PUT, key)?;
        let request = request
            .header("content-type", "application/json")
            .body(body);
        let written: Option<Written> = self.send(doing, request).await?;
        Ok(written.map_or(
            Swap::Conflict,
            |Written {
                 version: Number(version),
             }| { Swap::Done(version) },
        ))
    }
}

fn as_json(body: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(body).map_err(|error| error.to_string())
}
