//! A history as a scenario file: an incident becomes a test.

use super::{Decided, History};
use crate::{decision::Verdict, evidence::Witness, hold::HoldCode, time::At};
use serde_json::{Value, json};

/// A history as a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct AsScenario {
    /// The scenario file: see docs/scenarios.md.
    pub scenario: Value,
    /// How many decisions are in it.
    pub decisions: usize,
    /// How many are not: those before the runner was given otherwise or the policy was another one, and those whose
    /// evidence was too much to keep.
    pub left_out: usize,
}

impl History {
    /// The decisions as a scenario that `scale-in-guard replay` plays: at each of them the witnesses say what they said
    /// then, the guard remembers what it remembered, and the expectation is what was decided. `None` where no decision
    /// can be played.
    ///
    /// Nobody knows what was really true; the scenario says that a job ran from the first decision at which a witness
    /// other than the `busy` flag said *occupied* until the first at which none did. A hold for a rule of the user's
    /// own alone has no expectation.
    #[must_use]
    pub fn scenario(&self) -> Option<AsScenario> {
        let runner = self.runner.as_ref()?;
        let since = self.since;
        let is_playable = |decided: &&Decided| {
            Some(decided.outcome.at) >= since
                && decided.memory.is_some()
                && decided.evidence.is_some()
        };
        let playable: Vec<_> = self.decisions.iter().filter(is_playable).collect();
        let (first, last) = (playable.first()?, playable.last()?);
        let mut timeline = Vec::new();
        let mut running = false;
        for decided in &playable {
            let at = decided.outcome.at;
            if decided.shows_job() != running {
                running = !running;
                let state = if running { "started" } else { "finished" };
                timeline.push(
                    json!({"at": at, "truth": {"job": "a job that the witnesses show", "state": state}}),
                );
            }
            timeline.push(json!({"at": at, "ask": {
                "expect": decided.expected(),
                "memory": decided.memory,
                "evidence": decided.evidence,
            }}));
        }
        let about = format!(
            "what the guard saw and decided from {} to {}; what was really true is as the jobs, the lease and the webhooks claimed",
            At(first.outcome.at),
            At(last.outcome.at),
        );
        Some(AsScenario {
            scenario: json!({
                "scenario": format!("{}-{}", runner.name, first.outcome.at.format("%Y%m%dT%H%M%SZ")),
                "about": about,
                "runner": runner,
                "witnesses": [],
                "policy": self.policy,
                "timeline": timeline,
            }),
            decisions: playable.len(),
            left_out: self.decisions.len().saturating_sub(playable.len()),
        })
    }
}

impl Decided {
    /// Whether a witness other than the flag said that there was a job.
    fn shows_job(&self) -> bool {
        self.occupied
            .iter()
            .any(|&witness| witness != Witness::Registration)
    }

    /// What the built-in rules must decide.
    fn expected(&self) -> Option<Verdict> {
        let outcome = &self.outcome;
        let is_built_in = |code: &str| HoldCode::ALL.iter().any(|known| known.as_str() == code);
        let can_be_played =
            outcome.codes.is_empty() || outcome.codes.iter().any(|code| is_built_in(code));
        can_be_played.then_some(outcome.verdict)
    }
}
