//! The port of witnesses: what can be asked about a runner.

use crate::{
    clock::Deadline,
    evidence::{Claim, Evidence, Own, Signal, Witness},
    ledger::LedgerJob,
    memory::Memory,
    runner::{Runner, RunnerId, RunnerName, Scope},
    time::Instant,
};
use async_trait::async_trait;
use chrono::TimeDelta;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What a source that could not answer fails with: any error. Keep secrets out of its text.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// A witness that can be asked. One of your own takes about ten lines, and can only ever add a reason
/// to hold:
///
/// ```
/// use async_trait::async_trait;
/// use scale_in_guard::{Evidence, source::{Ask, EvidenceSource, Trouble}};
///
/// /// Runners whose name is in a file stay.
/// #[derive(Debug)]
/// struct Maintenance;
///
/// #[async_trait]
/// impl EvidenceSource for Maintenance {
///     fn name(&self) -> &str { "maintenance" }
///     async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
///         let kept = std::fs::read_to_string("kept-runners.txt")?;
///         let is_kept = kept.lines().any(|line| line == ask.runner().name.as_str());
///         Ok(vec![ask.objects_if(is_kept, "somebody is logged in")])
///     }
/// }
/// ```
///
/// A source that fails, panics, gives no evidence or is late is a reason to hold.
#[cfg_attr(feature = "testing", mockall::automock)]
#[async_trait]
pub trait EvidenceSource: fmt::Debug + Send + Sync {
    /// Its name, for the reader of a decision.
    fn name(&self) -> &str;

    /// Which witness it is. By default [`Witness::Own`], which can object and nothing else.
    fn witness(&self) -> Witness {
        Witness::Own
    }

    /// How far its word goes for the runners of a scope. By default it can hold.
    fn reach(&self, _scope: &Scope) -> Reach {
        Reach::Holds
    }

    /// What it costs to ask. By default it is cheap.
    fn cost(&self) -> Cost {
        Cost::Cheap
    }

    /// Asks it. Each piece of evidence carries the instant at which the first request of its read was
    /// sent; [`Ask::at`] is early enough for a source that asks when it is asked.
    ///
    /// # Errors
    /// Whatever went wrong: it becomes a reason to hold.
    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble>;
}

/// How far the word of a source goes, for the runners of one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It knows nothing of them, and is not asked.
    Nothing,
    /// It can hold; it cannot say *vacant*.
    Holds,
    /// It can say *vacant*.
    Clears,
}

/// What it costs to ask a source about one runner of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// It is asked about every runner of a sweep.
    Cheap,
    /// It is asked only about those that nothing cheaper holds.
    Scan,
}

/// How much trouble an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// One runner of a sweep: reads that all of them share will do.
    Survey,
    /// A permit may hang on it: ask about this very runner.
    Permit,
}

/// How long there is for a question that no guard asks.
const BY_ITSELF: TimeDelta = TimeDelta::seconds(30);

/// One question to a source.
#[derive(Debug, Clone)]
pub struct Ask {
    runner: Arc<Runner>,
    at: Instant,
    depth: Depth,
    memory: Arc<Memory>,
    round: Round,
    deadline: Deadline,
    told: Arc<[LedgerJob]>,
    #[cfg_attr(
        not(feature = "github"),
        allow(dead_code, reason = "for GitHub's listing")
    )]
    second_look: Option<SecondLook>,
}

/// What is known at the last look before a runner goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecondLook {
    /// Whether it is absent is still to be found out.
    OfAny,
    /// That it is absent is our own doing, or was found out: no listing has to show it again.
    OfAbsent,
}

impl Ask {
    /// A question about one runner, by itself, with 30 seconds to answer it: for tests of a source.
    #[must_use]
    pub fn about(runner: Runner, at: Instant) -> Self {
        let round = Round::of_one(&runner);
        let deadline = Deadline::within(BY_ITSELF);
        Self::new(runner, at, Depth::Permit, Arc::default(), round, deadline)
    }

    pub(crate) fn new(
        runner: impl Into<Arc<Runner>>,
        at: Instant,
        depth: Depth,
        memory: Arc<Memory>,
        round: Round,
        deadline: Deadline,
    ) -> Self {
        Self {
            runner: runner.into(),
            at,
            depth,
            memory,
            round,
            deadline,
            told: Arc::default(),
            second_look: None,
        }
    }

    /// The same question, with the open jobs that webhooks told of this runner.
    pub(crate) fn with_told(self, told: impl IntoIterator<Item = LedgerJob>) -> Self {
        let told = told.into_iter().collect();
        Self { told, ..self }
    }

    /// The same question, at the last look before the runner goes.
    pub(crate) fn at_second_look(self, second_look: Option<SecondLook>) -> Self {
        Self {
            second_look,
            ..self
        }
    }

    /// Whether it is known why the runner is absent, if it is: no listing has to show that again.
    #[cfg(feature = "github")]
    pub(crate) fn knows_absence(&self) -> bool {
        self.second_look == Some(SecondLook::OfAbsent)
    }

    /// The open jobs that webhooks told of this runner: GitHub may know that they are over.
    #[must_use]
    pub fn told(&self) -> &[LedgerJob] {
        &self.told
    }

    /// The same question about a runner whose number is known now: a source need not take another's job for one
    /// of its own.
    pub(crate) fn knowing(self, id: Option<RunnerId>) -> Self {
        match id.filter(|_| self.runner.id.is_none()) {
            Some(id) => Self {
                runner: Arc::new((*self.runner).clone().with_id(id.0)),
                ..self
            },
            None => self,
        }
    }

    /// The runner in question.
    #[must_use]
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// When the question was put. A source that asks when it is asked sends no request before; one that shares
    /// a read stamps its evidence with the moment of that read.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// How much trouble the answer is worth.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// What earlier looks left of the runner.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The sweep, or the single ask, that it belongs to.
    #[must_use]
    pub fn round(&self) -> &Round {
        &self.round
    }

    /// How long there is to answer; nothing once it is too late. Whoever waits for longer is given up, and is a
    /// reason to hold: better to fail with what is the matter.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.left()
    }

    /// When the answer must be there.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// An objection, or none, from a witness of your own.
    #[must_use]
    pub fn objects_if(&self, objects: bool, note: &str) -> Evidence {
        let own = Own {
            claim: if objects {
                Claim::Occupied
            } else {
                Claim::Unknown
            },
            note: note.into(),
            until: None,
        };
        Evidence::new("own", self.at, Signal::Own(own))
    }
}

/// Which of its runners an autoscaler asks about in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All that it has: one that it asks about no more has departed.
    All,
    /// Some of them.
    Some,
}

/// What belongs together: the asks of one sweep, or one ask by itself. A read that was made for an
/// earlier round does not count in a later one.
#[derive(Debug, Clone)]
pub struct Round {
    number: u64,
    names: Arc<HashMap<Scope, HashSet<RunnerName>>>,
    share: Share,
    listing: Lists,
}

/// When every runner of a scope is read to answer about one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lists {
    /// Where nothing less can tell.
    WhereNeeded,
    /// There is no time for it.
    #[cfg_attr(
        not(feature = "lambda"),
        allow(dead_code, reason = "for its two seconds")
    )]
    Never,
    /// Nobody knows what else is registered on the machine.
    #[cfg_attr(
        not(feature = "lambda"),
        allow(dead_code, reason = "for its two seconds")
    )]
    Always,
}

impl Round {
    /// The next round: one ask by itself.
    pub(crate) fn of_one(runner: &Runner) -> Self {
        Self::of([runner], Share::Some)
    }

    /// The next round, about these runners.
    pub(crate) fn of<'a>(runners: impl IntoIterator<Item = &'a Runner>, share: Share) -> Self {
        static ROUNDS: AtomicU64 = AtomicU64::new(1);
        let mut names: HashMap<Scope, HashSet<RunnerName>> = HashMap::new();
        for runner in runners {
            let of_scope = names.entry(runner.scope.clone()).or_default();
            of_scope.insert(runner.name.clone());
        }
        Self {
            number: ROUNDS.fetch_add(1, Ordering::Relaxed),
            names: Arc::new(names),
            share,
            listing: Lists::WhereNeeded,
        }
    }

    /// The same round, with this to say about listings.
    #[cfg(feature = "lambda")]
    pub(crate) fn with_listing(self, listing: Lists) -> Self {
        Self { listing, ..self }
    }

    /// Whether a witness may read every runner of a scope to answer about one.
    #[must_use]
    pub fn may_list(&self) -> bool {
        self.listing != Lists::Never
    }

    /// Whether it must, even where it is known why a runner is absent.
    pub(crate) fn lists_always(&self) -> bool {
        self.listing == Lists::Always
    }

    /// Its number: later rounds have larger ones.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Which of the autoscaler's runners it is about.
    #[must_use]
    pub fn share(&self) -> Share {
        self.share
    }

    /// Whether it is about a runner of this name.
    #[cfg(feature = "github")]
    pub(crate) fn asks_about(&self, scope: &Scope, name: &str) -> bool {
        let names = self.names.get(scope);
        let name = name.parse::<RunnerName>();
        names
            .zip(name.ok())
            .is_some_and(|(names, name)| names.contains(&name))
    }

    /// The names of the runners of this scope that it is about.
    pub fn names(&self, scope: &Scope) -> impl Iterator<Item = &RunnerName> {
        self.names.get(scope).into_iter().flatten()
    }
}
