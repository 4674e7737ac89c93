//! Sources that follow a script.

use crate::{
    evidence::{Claim, Evidence, JobsView, Own, Registration, Signal, Witness},
    runner::Scope,
    source::{Ask, Cost, EvidenceSource, Reach, Trouble},
};
use async_trait::async_trait;
use std::sync::{Arc, Mutex, PoisonError};

/// A source that answers what it was told to, until it is told otherwise. Clones share the script.
///
/// ```
/// use scale_in_guard::{Registration, Status, testing::ScriptedSource};
/// let flag = ScriptedSource::registration(Registration::registered(false, Status::Online));
/// let same = flag.clone();
/// same.fails("502 Bad Gateway"); // from now on
/// assert_eq!(flag.asked(), 0);
/// ```
#[derive(Debug, Clone)]
pub struct ScriptedSource {
    witness: Witness,
    reach: Reach,
    cost: Cost,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct Script {
    answer: Answer,
    asked: usize,
}

#[derive(Debug, Clone)]
enum Answer {
    Says(Vec<Signal>),
    Fails(String),
    Panics,
    Hangs,
}

impl ScriptedSource {
    /// A source for this witness that says `signal`, stamped with the moment it is asked.
    #[must_use]
    pub fn new(witness: Witness, signal: Signal) -> Self {
        Self {
            witness,
            reach: Reach::Clears,
            cost: Cost::Cheap,
            script: Arc::new(Mutex::new(Script {
                answer: Answer::Says(vec![signal]),
                asked: 0,
            })),
        }
    }

    /// The registration.
    #[must_use]
    pub fn registration(registration: Registration) -> Self {
        Self::new(Witness::Registration, Signal::Registration(registration))
    }

    /// The jobs view.
    #[must_use]
    pub fn jobs(view: JobsView) -> Self {
        Self::new(Witness::Jobs, Signal::Jobs(view))
    }

    /// A witness of the user's own that objects.
    #[must_use]
    pub fn objecting(note: &str) -> Self {
        let own = Own {
            claim: Claim::Occupied,
            note: note.into(),
            until: None,
        };
        Self::new(Witness::Own, Signal::Own(own))
    }

    /// The same source, with another reach.
    #[must_use]
    pub fn reaching(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// The same source, at another cost.
    #[must_use]
    pub fn costing(mut self, cost: Cost) -> Self {
        self.cost = cost;
        self
    }

    /// From now on it says this.
    pub fn says(&self, signal: Signal) {
        self.set(Answer::Says(vec![signal]));
    }

    /// From now on it says nothing at all.
    pub fn says_nothing(&self) {
        self.set(Answer::Says(Vec::new()));
    }

    /// From now on it fails so.
    pub fn fails(&self, what: &str) {
        self.set(Answer::Fails(what.to_owned()));
    }

    /// From now on it panics.
    pub fn panics(&self) {
        self.set(Answer::Panics);
    }

    /// From now on it never answers.
    pub fn hangs(&self) {
        self.set(Answer::Hangs);
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.with(|script| script.asked)
    }

    fn set(&self, answer: Answer) {
        self.with(|script| script.answer = answer);
    }

    fn with<R>(&self, change: impl FnOnce(&mut Script) -> R) -> R {
        change(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl EvidenceSource for ScriptedSource {
    fn name(&self) -> &str {
        "scripted"
    }

    fn witness(&self) -> Witness {
        self.witness
    }

    fn reach(&self, _scope: &Scope) -> Reach {
        self.reach
    }

    fn cost(&self) -> Cost {
        self.cost
    }

    #[allow(clippy::panic, reason = "a source that panics is what is scripted")]
    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        let answer = self.with(|script| {
            script.asked += 1;
            script.answer.clone()
        });
        match answer {
            Answer::Says(signals) => Ok(signals
                .into_iter()
                .map(|signal| Evidence::new("scripted", ask.at(), signal))
                .collect()),
            Answer::Fails(what) => Err(what.into()),
            Answer::Panics => panic!("scripted"),
            Answer::Hangs => std::future::pending().await,
        }
    }
}
