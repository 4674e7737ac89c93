//! The scenario file: what may stand in it, and how it is read. What a user writes is read strictly:
//! an unknown key, or an entry out of order, is refused.

use crate::{
    decision::Verdict,
    evidence::{Evidence, Status, Witness},
    lease::{HostJob, Report},
    ledger::Action,
    memory::Memory,
    policy::{Policy, parse_period},
    runner::Runner,
    time::{Instant, age},
};
use chrono::TimeDelta;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use std::{fmt, sync::Arc};

/// How many repeated heartbeats one scenario may have.
const BEATS: i64 = 1_000_000;

/// One runner's story.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    #[serde(rename = "scenario")]
    pub name: String,
    /// What it shows, in a sentence.
    #[serde(default)]
    pub about: String,
    /// The runner.
    pub runner: Runner,
    /// Which witnesses this deployment has; all three when not given.
    #[serde(default = "all_witnesses")]
    pub witnesses: Vec<ScriptedWitness>,
    /// The policy; defaults where a key is not given.
    #[serde(default)]
    pub policy: Policy,
    /// What happens, in the order of time.
    #[serde(deserialize_with = "in_order")]
    pub timeline: Vec<Entry>,
}

fn all_witnesses() -> Vec<ScriptedWitness> {
    vec![
        ScriptedWitness::Registration,
        ScriptedWitness::Jobs,
        ScriptedWitness::Lease,
    ]
}

/// A witness that a scenario can have or lack. Webhooks are heard wherever one is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptedWitness {
    /// The registration.
    Registration,
    /// The jobs view.
    Jobs,
    /// The beacon.
    Lease,
}

/// One moment of a scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RawEntry")]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// What.
    pub event: Event,
}

/// What happens at one moment of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What physically happened: never shown to the guard.
    Truth(Truth),
    /// From now on GitHub answers this for the runner.
    Registration(ScriptedRegistration),
    /// From now on the jobs view shows this.
    Jobs(ScriptedJobs),
    /// A verified webhook arrives.
    Webhook(ScriptedWebhook),
    /// The beacon reports.
    Lease(ScriptedLease),
    /// Lines of the runner's log reach the beacon.
    Log(Vec<String>),
    /// The autoscaler asks.
    Ask(Box<Ask>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    at: Instant,
    truth: Option<Truth>,
    registration: Option<ScriptedRegistration>,
    jobs: Option<ScriptedJobs>,
    webhook: Option<ScriptedWebhook>,
    lease: Option<ScriptedLease>,
    log: Option<Vec<String>>,
    ask: Option<Ask>,
}

/// A question of the autoscaler.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ask {
    /// The verdict that it must get, where that is known.
    pub expect: Option<Verdict>,
    /// What the guard remembers from here on, in place of what it made of the asks before.
    pub memory: Option<Memory>,
    /// What the witnesses say at this ask, in place of what the timeline scripts.
    pub evidence: Option<Vec<Evidence>>,
}

impl TryFrom<RawEntry> for Entry {
    type Error = String;

    fn try_from(raw: RawEntry) -> Result<Self, String> {
        let events = [
            raw.truth.map(Event::Truth),
            raw.registration.map(Event::Registration),
            raw.jobs.map(Event::Jobs),
            raw.webhook.map(Event::Webhook),
            raw.lease.map(Event::Lease),
            raw.log.map(Event::Log),
            raw.ask.map(Box::new).map(Event::Ask),
        ];
        let mut events = events.into_iter().flatten();
        let (Some(event), None) = (events.next(), events.next()) else {
            return Err(
                "an entry has `at` and exactly one of truth, registration, jobs, webhook, lease, log, ask".into(),
            );
        };
        if let Event::Lease(lease) = &event {
            lease.check(raw.at)?;
        }
        Ok(Self { at: raw.at, event })
    }
}

/// Reads a timeline, and refuses it at the first entry that is out of order.
fn in_order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = Vec<Entry>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of entries, sorted by `at`")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Entry>, A::Error> {
            let mut entries: Vec<Entry> = Vec::new();
            let mut beats = 0_i64;
            while let Some(entry) = seq.next_element::<Entry>()? {
                if entries.last().is_some_and(|last| entry.at < last.at) {
                    return Err(A::Error::custom(
                        "the timeline is not sorted by `at`: this entry lies before the last",
                    ));
                }
                if let Event::Lease(lease) = &entry.event {
                    beats = beats.saturating_add(lease.beats(entry.at));
                }
                if beats > BEATS {
                    let fault = format!("every: more than {BEATS} reports in one scenario");
                    return Err(A::Error::custom(fault));
                }
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_seq(InOrder)
}

/// What physically happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// What the scenario calls the job.
    pub job: String,
    /// What became of it.
    pub state: TruthState,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruthState {
    /// It began.
    Started,
    /// It ended.
    Finished,
}

/// How a read fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptedError {
    /// In which way.
    pub kind: ErrorKind,
    /// Before this, asking again is of no use.
    pub retry_at: Option<Instant>,
}

/// In which way a read fails: with a status, or for another reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "an HTTP status, \"timeout\" or \"rate_limited\""
)]
pub enum ErrorKind {
    /// GitHub answers with this status.
    Status(u16),
    /// GitHub does not say why.
    Word(ErrorWord),
}

/// Why a read fails, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorWord {
    /// GitHub does not answer.
    Timeout,
    /// GitHub's request limit leaves nothing for it.
    RateLimited,
}

impl ScriptedError {
    /// What a witness that fails so is as evidence.
    pub(crate) fn of(self, witness: Witness, now: Instant) -> Evidence {
        let failed = Evidence::failed(witness, self.to_string(), now).again_at(self.retry_at);
        match self.kind {
            ErrorKind::Word(ErrorWord::RateLimited) => failed.rate_limited(),
            ErrorKind::Word(ErrorWord::Timeout) | ErrorKind::Status(_) => failed,
        }
    }
}

impl fmt::Display for ScriptedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::Status(status) => write!(f, "GitHub answered {status}"),
            ErrorKind::Word(ErrorWord::Timeout) => f.write_str("GitHub did not answer in time"),
            ErrorKind::Word(ErrorWord::RateLimited) => {
                f.write_str("GitHub's request limit is spent")
            }
        }
    }
}

/// What GitHub answers for the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawRegistration")]
pub enum ScriptedRegistration {
    /// It is registered.
    Registered {
        /// The flag.
        busy: bool,
        /// `online` or `offline`.
        status: Status,
        /// Whether the listing shows it, or by id only.
        listed: bool,
    },
    /// It is not, by id or in the listing; others of the fleet are listed.
    Absent,
    /// Every call fails.
    Error(ScriptedError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegistration {
    busy: Option<bool>,
    status: Option<Status>,
    listed: Option<bool>,
    absent: Option<bool>,
    error: Option<ErrorKind>,
    retry_at: Option<Instant>,
}

impl TryFrom<RawRegistration> for ScriptedRegistration {
    type Error = &'static str;
    fn try_from(raw: RawRegistration) -> Result<Self, &'static str> {
        match raw {
            RawRegistration {
                busy: Some(busy),
                status: Some(status),
                listed,
                absent: None,
                error: None,
                retry_at: None,
            } => {
                if status == Status::Other {
                    return Err("status is \"online\" or \"offline\"");
                }
                let listed = listed.unwrap_or(true);
                Ok(Self::Registered {
                    busy,
                    status,
                    listed,
                })
            }
            RawRegistration {
                busy: None,
                status: None,
                listed: None,
                absent: Some(true),
                error: None,
                retry_at: None,
            } => Ok(Self::Absent),
            RawRegistration {
                busy: None,
                status: None,
                listed: None,
                absent: None,
                error: Some(kind),
                retry_at,
            } => Ok(Self::Error(ScriptedError { kind, retry_at })),
            _ => Err(
                "a registration is {busy, status} with an optional listed, or {absent: true}, or {error} with an optional retry_at",
            ),
        }
    }
}

/// What the jobs view shows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawJobs")]
pub enum ScriptedJobs {
    /// These jobs.
    View {
        /// Whether every repository was read.
        complete: bool,
        /// The jobs.
        jobs: Vec<ScriptedJob>,
    },
    /// It cannot be had.
    Error(ScriptedError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJobs {
    in_progress: Option<Vec<ScriptedJob>>,
    complete: Option<bool>,
    error: Option<ErrorKind>,
    retry_at: Option<Instant>,
}

impl TryFrom<RawJobs> for ScriptedJobs {
    type Error = &'static str;
    fn try_from(raw: RawJobs) -> Result<Self, &'static str> {
        match raw {
            RawJobs {
                in_progress: Some(jobs),
                complete,
                error: None,
                retry_at: None,
            } => {
                let complete = complete.unwrap_or(true);
                Ok(Self::View { complete, jobs })
            }
            RawJobs {
                in_progress: None,
                complete: None,
                error: Some(kind),
                retry_at,
            } => Ok(Self::Error(ScriptedError { kind, retry_at })),
            _ => Err(
                "jobs is {in_progress} with an optional complete, or {error} with an optional retry_at",
            ),
        }
    }
}

/// One job of a view.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedJob {
    /// GitHub's number of it.
    pub job_id: u64,
    /// `"this"`, another runner's name, or none: queued, from this entry's instant on.
    #[serde(default)]
    pub runner: Option<String>,
    /// The labels it asks for; none given means that any runner could take it.
    #[serde(default)]
    pub labels: Vec<Arc<str>>,
}

/// A verified `workflow_job` delivery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedWebhook {
    /// GitHub's word for what happened.
    pub action: Action,
    /// GitHub's number of the job.
    pub job_id: u64,
    /// Which attempt; 1 when not given.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// `"this"`, another runner's name, or none.
    #[serde(default)]
    pub runner: Option<String>,
    /// The labels it asks for.
    #[serde(default)]
    pub labels: Vec<Arc<str>>,
    /// GitHub's own stamps: carried, and believed by nobody.
    #[serde(default)]
    pub started_at: Option<Instant>,
    /// See `started_at`.
    #[serde(default)]
    pub completed_at: Option<Instant>,
}

fn first_attempt() -> u32 {
    1
}

/// What the beacon reports, once or at an interval.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawLease")]
pub struct ScriptedLease {
    /// What.
    pub word: Word,
    /// How often, and until when.
    pub every: Option<(TimeDelta, Instant)>,
}

/// One report of a scripted beacon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A job's lease was renewed, at this instant of the host's clock.
    Renewed(HostJob, Instant),
    /// A job finished, at this instant of the host's clock.
    Released(HostJob, Instant),
    /// Alive, no job, no worker process.
    Listening,
    /// Alive, a worker process is there.
    Worker,
}

impl Word {
    /// The report that it is.
    #[must_use]
    pub fn report(&self) -> Report {
        match self {
            Self::Renewed(job, at) => Report::Renewed {
                job: job.clone(),
                at: *at,
                valid_for: None,
            },
            Self::Released(job, at) => Report::Finished {
                job: job.clone(),
                at: *at,
            },
            Self::Listening => Report::Listening,
            Self::Worker => Report::Worker,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLease {
    job: Option<RawJobId>,
    renewed_at: Option<Instant>,
    released_at: Option<Instant>,
    listening: Option<bool>,
    worker: Option<bool>,
    every: Option<String>,
    until: Option<Instant>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a job's id")]
enum RawJobId {
    Number(u64),
    Text(String),
}

impl TryFrom<RawLease> for ScriptedLease {
    type Error = String;

    fn try_from(raw: RawLease) -> Result<Self, String> {
        let job = raw.job.map(|id| match id {
            RawJobId::Number(number) => HostJob::new(number.to_string()),
            RawJobId::Text(text) => HostJob::new(text),
        });
        let word = match (
            job,
            raw.renewed_at,
            raw.released_at,
            raw.listening,
            raw.worker,
        ) {
            (Some(job), Some(at), None, None, None) => Word::Renewed(job, at),
            (Some(job), None, Some(at), None, None) => Word::Released(job, at),
            (None, None, None, Some(true), None) => Word::Listening,
            (None, None, None, None, Some(true)) => Word::Worker,
            _ => {
                return Err(
                    "a lease is {job, renewed_at}, {job, released_at}, {listening: true} or {worker: true}".into(),
                );
            }
        };
        let every = match (raw.every, raw.until) {
            (None, None) => None,
            (Some(every), Some(until)) => {
                let every = parse_period(&every).map_err(|why| format!("every: {why}"))?;
                if every < TimeDelta::milliseconds(1) {
                    return Err("every: must be 1ms or longer".into());
                }
                Some((every, until))
            }
            _ => return Err("every and until go together".into()),
        };
        Ok(Self { word, every })
    }
}

impl ScriptedLease {
    /// How many reports it repeats.
    fn beats(&self, at: Instant) -> i64 {
        self.every.map_or(0, |(every, until)| {
            age(until, at).num_milliseconds() / every.num_milliseconds().max(1)
        })
    }

    fn check(&self, at: Instant) -> Result<(), String> {
        if self.every.is_some_and(|(_, until)| until < at) {
            return Err("until: lies before the entry".into());
        }
        Ok(())
    }
}
