//! What witnesses said, when they were asked, and what it was worth.

use crate::{
    fence::FenceSeen,
    fleet::FleetReport,
    lease::Heartbeat,
    ledger::Ledger,
    policy::Policy,
    runner::{Runner, RunnerId, RunnerRef},
    time::{Instant, after},
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

pub use crate::pin::{Pin, Target};

/// Something that can be asked about a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Witness {
    /// Its registration at GitHub: REST `busy` and `status`.
    Registration,
    /// The workflow jobs at GitHub.
    Jobs,
    /// The job lease, as the beacon on the runner's host reports it.
    Lease,
    /// The ledger of `workflow_job` webhooks.
    Webhooks,
    /// What is true of the whole fleet: the listing, our clock, the budget.
    Fleet,
    /// A witness of the user's own, or an operator.
    Own,
    /// The fence, where a guard announces that the runner is to go.
    Fence,
    /// What earlier looks left. It is given to the core beside the evidence; it is a witness only when
    /// it could not be read or written.
    Memory,
}

impl Witness {
    /// Its name in JSON and in explanations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Jobs => "jobs",
            Self::Lease => "lease",
            Self::Webhooks => "webhooks",
            Self::Fleet => "fleet",
            Self::Own => "own",
            Self::Fence => "fence",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A witness's claim, who made it, and since when we were asking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who was asked: a name for the reader, such as `"rest"` or `"redis"`.
    pub source: Arc<str>,
    /// When the first request of this read was sent: the claim may be as old as that. On our
    /// clock. A read older than [`Policy::evidence_max_age`] is no evidence.
    pub asked_at: Instant,
    /// What it said.
    pub signal: Signal,
}

/// What one witness said, or that it could not be heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Signal {
    /// The runner's registration.
    Registration(Registration),
    /// The workflow jobs.
    Jobs(JobsView),
    /// The beacon's heartbeat as it was last received.
    Lease(Heartbeat),
    /// The beacon was asked for and has never been heard.
    NeverHeard,
    /// What `workflow_job` webhooks told.
    Webhooks(Ledger),
    /// What is true of the whole fleet.
    Fleet(FleetReport),
    /// A user's own witness speaks.
    Own(Own),
    /// An operator pinned the runner.
    Pinned(Pin),
    /// The fence, as it was read.
    Fence(FenceSeen),
    /// The witness could not be heard: evidence for holding.
    Failed(Failure),
}

/// A registration, as GitHub answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// GitHub knows the runner.
    Registered {
        /// Its number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RunnerId>,
        /// The flag that lies.
        busy: bool,
        /// Whether it is connected.
        status: Status,
        /// Its labels, as GitHub shows them. Empty means unknown.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        labels: Vec<Arc<str>>,
    },
    /// GitHub answered that there is no such runner.
    Absent {
        /// Whether a listing of the same scope answered beside it and can be trusted. Without
        /// that, absence proves nothing: a missing permission looks the same.
        beside_listing: bool,
        /// Whether this scope shows us, or ever showed us, another runner of ours, or minted us a
        /// registration token: then it is the right scope.
        scope_is_ours: bool,
        /// Whether that listing was empty: also where it cannot be trusted yet, nobody at all was registered in the
        /// scope, as GitHub says.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        listing_is_empty: bool,
        /// Whether GitHub showed a runner of this name in this scope before, also where nobody asked about it then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        was_shown: bool,
        /// Up to three registrations of that listing that may be this very runner under another name: nobody asked about
        /// them, or ever did, and nobody said whose they are. Of a runner that was never seen, absence proves nothing then.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unaccounted: Vec<Arc<str>>,
    },
}

impl Registration {
    /// An absence that counts: not by id, and not in a listing of the same scope that can be
    /// trusted and shows other runners of ours.
    #[must_use]
    pub fn absent() -> Self {
        Self::Absent {
            beside_listing: true,
            scope_is_ours: true,
            listing_is_empty: false,
            was_shown: false,
            unaccounted: Vec::new(),
        }
    }

    /// The number that it shows.
    pub(crate) fn id(&self) -> Option<RunnerId> {
        match self {
            Self::Registered { id, .. } => *id,
            Self::Absent { .. } => None,
        }
    }

    /// A registration found, with GitHub's two words about it.
    #[must_use]
    pub fn registered(busy: bool, status: Status) -> Self {
        Self::Registered {
            id: None,
            busy,
            status,
            labels: Vec::new(),
        }
    }
}

/// REST `status`. GitHub types it as free text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// `online`.
    Online,
    /// `offline`. Jobs do run on runners that REST calls offline.
    Offline,
    /// Any other word. It is not taken for offline.
    #[serde(other)]
    Other,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Other => "of unknown status",
        })
    }
}

/// The workflow jobs that could concern the runner.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobsView {
    /// Whether every repository that could use the runner was read, to the last page. Only a
    /// complete view can clear; a partial one can still hold.
    pub complete: bool,
    /// The jobs. Those of other runners may be left out, and those queued for longer than
    /// [`Policy::job_pending`].
    #[serde(default)]
    pub jobs: Vec<Job>,
}

/// One workflow job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// GitHub's number of the job; every re-run has a new one.
    pub id: u64,
    /// Its status.
    pub status: JobStatus,
    /// The runner that it names; none while it is queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<RunnerRef>,
    /// The labels it asks for. Empty means unknown: then any runner could take it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Arc<str>>,
    /// When it was created or last changed. A queued job that does not say counts as changed just
    /// now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Instant>,
}

/// A job's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Waiting for a runner.
    Queued,
    /// Running.
    InProgress,
    /// Over, whatever its conclusion.
    Completed,
    /// Waiting for something else than a runner: `waiting`, `requested`, `pending`.
    Waiting,
    /// A status that this version does not know: held for running where it names the runner.
    #[serde(other)]
    Other,
}

/// What a witness of the user's own says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Occupied objects; vacant and unknown do not. None of them clears what another rule holds.
    pub claim: Claim,
    /// Why, for the reader.
    #[serde(default)]
    pub note: Arc<str>,
    /// Until when it stands by its objection, where it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
}

/// Why a witness could not be heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Who could not be heard.
    pub witness: Witness,
    /// What was tried and what came back, without secrets: `"GET …/runners: 502"`.
    pub what: Arc<str>,
    /// Before this, asking again is of no use: an outage's next probe, or a limit's reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Instant>,
    /// It was refused, or not even asked, because GitHub's request limit is spent, or what is left of it
    /// is [`Policy::request_reserve`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rate_limited: bool,
}

/// One witness's opinion of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// It has a job.
    Occupied,
    /// It has none.
    Vacant,
    /// It cannot tell, or was not asked.
    #[default]
    Unknown,
}

impl Evidence {
    /// Evidence from `source`, asked since `asked_at`.
    pub fn new(source: impl Into<Arc<str>>, asked_at: Instant, signal: Signal) -> Self {
        Self {
            source: source.into(),
            asked_at,
            signal,
        }
    }

    /// A witness that could not be heard.
    pub fn failed(witness: Witness, what: impl Into<Arc<str>>, asked_at: Instant) -> Self {
        let failure = Failure {
            witness,
            what: what.into(),
            retry_at: None,
            rate_limited: false,
        };
        Self::new(witness.as_str(), asked_at, Signal::Failed(failure))
    }

    /// The same failure, with the instant before which asking again is of no use. A witness that was heard
    /// stays as it is.
    #[must_use]
    pub fn again_at(mut self, retry_at: impl Into<Option<Instant>>) -> Self {
        if let Signal::Failed(failure) = &mut self.signal {
            failure.retry_at = retry_at.into();
        }
        self
    }

    /// The same failure, by GitHub's request limit. A witness that was heard stays as it is.
    #[must_use]
    pub fn rate_limited(mut self) -> Self {
        if let Signal::Failed(failure) = &mut self.signal {
            failure.rate_limited = true;
        }
        self
    }

    /// A registration, as GitHub answered.
    #[must_use]
    pub fn registration(registration: Registration, asked_at: Instant) -> Self {
        Self::new("registration", asked_at, Signal::Registration(registration))
    }

    /// A view of the workflow jobs.
    #[must_use]
    pub fn jobs(view: JobsView, asked_at: Instant) -> Self {
        Self::new("jobs", asked_at, Signal::Jobs(view))
    }

    /// What the beacon last said; `None` when it has never been heard.
    #[must_use]
    pub fn lease(heartbeat: Option<Heartbeat>, asked_at: Instant) -> Self {
        let signal = heartbeat.map_or(Signal::NeverHeard, Signal::Lease);
        Self::new("lease", asked_at, signal)
    }

    /// Who made the claim.
    #[must_use]
    pub fn witness(&self) -> Witness {
        match &self.signal {
            Signal::Registration(_) => Witness::Registration,
            Signal::Jobs(_) => Witness::Jobs,
            Signal::Lease(_) | Signal::NeverHeard => Witness::Lease,
            Signal::Webhooks(_) => Witness::Webhooks,
            Signal::Fleet(_) => Witness::Fleet,
            Signal::Own(_) | Signal::Pinned(_) => Witness::Own,
            Signal::Fence(_) => Witness::Fence,
            Signal::Failed(failure) => failure.witness,
        }
    }

    /// Whether this read is recent enough to count at `now`. One from the future is not: then a
    /// clock is wrong.
    #[must_use]
    pub fn is_fresh(&self, now: Instant, policy: &Policy) -> bool {
        Recent::at(now, policy).holds(self)
    }
}

/// The number that a registration among the evidence shows.
#[cfg(feature = "guard")]
pub(crate) fn shown_id(evidence: &[Evidence]) -> Option<RunnerId> {
    evidence.iter().find_map(|evidence| match &evidence.signal {
        Signal::Registration(registration) => registration.id(),
        _ => None,
    })
}

/// The instants since which a read must have been asked for to count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recent {
    from: Instant,
    to: Instant,
}

impl Recent {
    pub(crate) fn at(now: Instant, policy: &Policy) -> Self {
        Self {
            from: after(now, -policy.evidence_max_age),
            to: now,
        }
    }

    /// At the second look of a drain nothing counts that was asked for before it had settled.
    pub(crate) fn among(evidence: &[Evidence], now: Instant, policy: &Policy) -> Self {
        let settled = evidence
            .iter()
            .filter_map(|evidence| match &evidence.signal {
                Signal::Fence(seen) if seen.second_look_of.is_some() => {
                    Some(after(seen.written_at, policy.settle))
                }
                _ => None,
            });
        let recent = Self::at(now, policy);
        Self {
            from: settled.fold(recent.from, Instant::max),
            ..recent
        }
    }

    pub(crate) fn holds(&self, evidence: &Evidence) -> bool {
        (self.from..=self.to).contains(&evidence.asked_at)
    }
}

impl Evidence {
    /// What it said in a few words, for a person, with ages reckoned to `now`.
    #[must_use]
    pub fn describe(&self, now: Instant) -> String {
        crate::explain::Said(self, now).to_string()
    }
}

impl Job {
    /// Whether it is in progress on a runner that it names.
    pub(crate) fn is_elsewhere(&self) -> bool {
        let named = self
            .runner
            .as_ref()
            .is_some_and(|runner| runner.id.is_some() || runner.name.is_some());
        named && self.status != JobStatus::Queued
    }

    /// Whether it names this runner.
    pub(crate) fn names(&self, runner: &Runner, seen: Option<RunnerId>) -> bool {
        let named = self.runner.as_ref();
        named.is_some_and(|named| named.names(runner, seen))
    }

    /// Whether it has this runner and is not over.
    pub(crate) fn is_running_on(&self, runner: &Runner, seen: Option<RunnerId>) -> bool {
        self.status != JobStatus::Completed && self.names(runner, seen)
    }

    /// A job in this status that names this runner.
    #[must_use]
    pub fn new(id: u64, status: JobStatus, runner: Option<RunnerRef>) -> Self {
        Self {
            id,
            status,
            runner,
            labels: Vec::new(),
            changed_at: None,
        }
    }
}
