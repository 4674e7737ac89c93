//! Asking: every source at the same time, none for longer than there is time.

use super::Guard;
use crate::{
    evidence::{Evidence, Signal, Witness},
    runner::Scope,
    source::{Ask, EvidenceSource, Reach, Trouble},
    telemetry,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    task::{JoinError, JoinHandle},
    time::Instant,
};
use tracing::Instrument;

/// A source that is being asked. It is given up when nobody waits for it any more.
struct Asked {
    source: Arc<dyn EvidenceSource>,
    answer: JoinHandle<(Result<Vec<Evidence>, Trouble>, Duration)>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

impl Guard {
    /// Asks every source that knows the runner's scope and is `wanted`. One that fails, panics, gives
    /// nothing or is late becomes evidence for holding.
    pub(super) async fn gather(
        &self,
        ask: &Ask,
        wanted: impl Fn(&dyn EvidenceSource) -> bool,
    ) -> Vec<Evidence> {
        let scope = &ask.runner().scope;
        let sources = self.inner.sources.iter();
        let asked: Vec<_> = sources
            .filter(|source| source.reach(scope) > Reach::Nothing && wanted(&***source))
            .map(|source| Asked::about(ask, source))
            .collect();
        let mut evidence = Vec::new();
        for asked in asked {
            evidence.extend(asked.answer(ask).await);
        }
        evidence
    }
}

impl Asked {
    fn about(ask: &Ask, source: &Arc<dyn EvidenceSource>) -> Self {
        let (ask, asked) = (ask.clone(), source.clone());
        let span = tracing::debug_span!("source", name = source.name());
        let answer = async move {
            let began = Instant::now();
            let answer = asked.ask(&ask).await;
            (answer, began.elapsed())
        };
        Self {
            source: source.clone(),
            // A task of its own: one that panics spoils no other.
            answer: tokio::spawn(answer.instrument(span)),
        }
    }

    /// Holds an answer against what the source says of itself: it speaks as no other witness, and no
    /// further than it reaches.
    fn admit(
        &self,
        mut evidence: Vec<Evidence>,
        scope: &Scope,
    ) -> Result<Vec<Evidence>, &'static str> {
        let witness = self.source.witness();
        let speaks = |piece: &Evidence| piece.witness() == witness;
        // Whoever reads the registrations sees what is true of the fleet, too.
        let may_speak = |piece: &Evidence| {
            speaks(piece) || witness == Witness::Registration && piece.witness() == Witness::Fleet
        };
        if !evidence.iter().any(speaks) {
            return Err("it gave no evidence");
        }
        if !evidence.iter().all(may_speak) {
            return Err("it spoke as another witness than it says that it is");
        }
        if self.source.reach(scope) < Reach::Clears {
            for piece in &mut evidence {
                if let Signal::Jobs(view) = &mut piece.signal {
                    view.complete = false;
                }
            }
        }
        Ok(evidence)
    }

    async fn answer(mut self, ask: &Ask) -> Vec<Evidence> {
        let mut took = None;
        let what = match ask.deadline().meet(&mut self.answer).await {
            Ok(Ok((answer, span))) => {
                took = Some(span);
                let admit = |evidence| self.admit(evidence, &ask.runner().scope);
                match answer.map(admit) {
                    Ok(Ok(evidence)) => {
                        telemetry::asked(self.source.name(), took, true);
                        return evidence;
                    }
                    Ok(Err(why)) => why.to_owned(),
                    Err(trouble) => trouble.to_string(),
                }
            }
            Ok(Err(ended)) => how_it_ended(ended),
            Err(late) => late.to_string(),
        };
        telemetry::asked(self.source.name(), took, false);
        let what = format!("{}: {what}", self.source.name());
        vec![Evidence::failed(self.source.witness(), what, ask.at())]
    }
}

fn how_it_ended(ended: JoinError) -> String {
    match ended.try_into_panic() {
        Ok(panic) => {
            let said = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            said.map_or("it panicked".to_owned(), |said| {
                format!("it panicked: {said}")
            })
        }
        Err(_) => "it was given up".to_owned(),
    }
}
