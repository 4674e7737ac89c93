//! Scenario files: one runner's story, with what each witness would have answered over time, what
//! was really true, and the moments at which an autoscaler asked. Playing one puts scripted
//! witnesses before the real rules, the real policy and the real memory, on a manual clock.
//!
//! The format is described in docs/scenarios.md. A scenario is read with serde, for example by
//! `serde_json::from_str::<Scenario>`.
mod beats;
mod format;
mod scripted;

pub use beats::Beats;
pub use format::{
    Ask, Entry, ErrorKind, ErrorWord, Event, Scenario, ScriptedError, ScriptedJob, ScriptedJobs,
    ScriptedLease, ScriptedRegistration, ScriptedWebhook, ScriptedWitness, Truth, TruthState, Word,
};

use crate::{
    decision::{Decision, Verdict},
    engine::Engine,
    memory::Memory,
    policy::PolicyError,
    shadow,
    time::Instant,
};
use scripted::Scripted;
use serde::Serialize;

/// A scenario that was played: every ask with its answer.
#[derive(Debug)]
pub struct Played {
    /// The asks, in order.
    pub asks: Vec<Asked>,
}

/// One ask and its answer.
#[derive(Debug)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// Whether a job had really started and not finished.
    pub truth: Occupancy,
    /// The jobs that had, as the scenario calls them.
    pub running: Vec<String>,
    /// What the autoscaler had to be told, where the scenario says so.
    pub expect: Option<Verdict>,
    /// What an autoscaler would have done that asks nothing but the `busy` flag.
    pub busy_only: Verdict,
    /// What the guard decided, and why.
    pub decision: Decision,
}

/// Whether a runner really had a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occupancy {
    /// It had one.
    Occupied,
    /// It had none.
    Vacant,
}

impl Asked {
    /// Whether the answer would have killed a job.
    #[must_use]
    pub fn is_kill(&self) -> bool {
        self.truth == Occupancy::Occupied && self.decision.verdict() == Verdict::Terminate
    }

    /// Whether an autoscaler that asks nothing but the `busy` flag would have killed a job.
    #[must_use]
    pub fn is_busy_only_kill(&self) -> bool {
        self.truth == Occupancy::Occupied && self.busy_only == Verdict::Terminate
    }

    /// Whether the answer is another than the scenario demands.
    #[must_use]
    pub fn is_unmet(&self) -> bool {
        self.expect
            .is_some_and(|expected| expected != self.decision.verdict())
    }
}

impl Played {
    /// How many answers would have killed a job.
    #[must_use]
    pub fn kills(&self) -> usize {
        self.asks.iter().filter(|ask| ask.is_kill()).count()
    }

    /// How many answers are others than the scenario demands.
    #[must_use]
    pub fn unmet(&self) -> usize {
        self.asks.iter().filter(|ask| ask.is_unmet()).count()
    }

    /// How many times an autoscaler that asks nothing but the `busy` flag would have killed a job.
    #[must_use]
    pub fn busy_only_kills(&self) -> usize {
        self.asks
            .iter()
            .filter(|ask| ask.is_busy_only_kill())
            .count()
    }
}

impl Scenario {
    /// Plays the scenario under its own policy.
    ///
    /// # Errors
    /// [`PolicyError`] when that policy is out of range or contradicts itself; one that was read
    /// with serde never does.
    pub fn play(&self) -> Result<Played, PolicyError> {
        Ok(self.play_with(&Engine::new(self.policy.clone())?))
    }

    /// Plays the scenario with an engine of yours: your policy, your rules. This is how a policy is
    /// unit-tested against incidents.
    #[must_use]
    pub fn play_with(&self, engine: &Engine) -> Played {
        let mut stage = Scripted::new(self, engine.policy());
        let mut memory = Memory::default();
        let mut asks = Vec::new();
        for entry in &self.timeline {
            stage.beat_until(entry.at);
            let ask = match &entry.event {
                Event::Ask(ask) => ask,
                event => {
                    stage.take(event, entry.at);
                    continue;
                }
            };
            if let Some(kept) = &ask.memory {
                memory = kept.clone();
            }
            let (evidence, is_kept) = match &ask.evidence {
                Some(kept) => (kept.clone(), true),
                None => (stage.evidence(&memory, entry.at), false),
            };
            let decision = engine.decide(&self.runner, evidence, &mut memory, entry.at);
            asks.push(Asked {
                at: entry.at,
                truth: stage.occupancy(),
                running: stage.running.iter().map(ToString::to_string).collect(),
                expect: ask.expect,
                busy_only: match is_kept {
                    true => shadow::busy_only(decision.assessment()),
                    false => stage.busy_only(),
                },
                decision,
            });
        }
        Played { asks }
    }
}
