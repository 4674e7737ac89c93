//! The history of a runner: its last decisions with what they rest on, and who contradicted whom.

mod scenario;
mod trim;

pub use scenario::AsScenario;

use self::trim::trimmed;
use super::{
    Guard, TO_REMEMBER,
    outcome::{Disagreement, Outcome, Remembered},
};
use crate::{
    clock::Deadline,
    decision::Decision,
    evidence::{Claim, Evidence, Signal, Witness, shown_id},
    memory::Memory,
    policy::Policy,
    records::{ATTEMPTS, Kept, Records},
    runner::{Runner, RunnerId, RunnerName, Scope},
    store::{Key, Kind, Store, StoreError, Swap},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many changes of the decision are kept.
const DECISIONS: usize = 50;

/// How many episodes are kept.
const EPISODES: usize = 16;

/// How large a history may grow as JSON, in bytes: then its oldest decisions are left out.
const BYTES: usize = 32 << 10;

/// How large one decision may be; of a larger one the evidence is left out.
const DECISION_BYTES: usize = 8 << 10;

/// The last decisions about one runner: each change of the verdict, of its reasons, of the stage or of who
/// contradicts whom, with the evidence and the memory that it rests on. At most 50 of them, and 32 KiB.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// The runner, as it was given at the latest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<Runner>,
    /// The policy of the latest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Since when the runner was given so, and the policy was this one. Before it, the same evidence may have been
    /// decided otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Instant>,
    /// The decisions, oldest first.
    pub decisions: Vec<Decided>,
    /// When witnesses contradicted each other, oldest first: at most 16 times.
    pub episodes: Vec<Episode>,
}

/// A decision as it is kept: the first of those that were the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// What was decided, and for how long.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The witnesses that said that there was a job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub occupied: Vec<Witness>,
    /// The reasons as sentences, in the order of their codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Arc<str>>,
    /// What the witnesses had said, without jobs that do not concern the runner. `None`: it was too much to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Vec<Evidence>>,
    /// What earlier looks had left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// A time during which witnesses contradicted each other at every look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// The first look that found it.
    pub first: Instant,
    /// The latest look that found it, and that was written down.
    pub last: Instant,
    /// How many looks found it that were written down.
    pub looks: u64,
    /// Whether a later look found no more of it.
    #[serde(default)]
    pub over: bool,
    /// Who contradicted whom.
    #[serde(flatten)]
    pub who: Disagreement,
    /// The number that the registration showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RunnerId>,
    /// The jobs that were shown on the runner: GitHub's numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<u64>,
    /// What each of them said at the first look.
    #[serde(default)]
    pub said: Vec<Said>,
}

/// What a witness said, in a few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who.
    pub witness: Witness,
    /// What.
    pub what: Arc<str>,
}

/// The last decisions about a runner, with the latest look that was like the last of them; empty where none is
/// known. `api` is the GitHub's host, such as `api.github.com`.
///
/// # Errors
/// [`StoreError`] when it could not be read.
pub async fn history(
    store: impl Store + 'static,
    api: &str,
    scope: &Scope,
    runner: &RunnerName,
) -> Result<History, StoreError> {
    recorded(&Records::new(Arc::new(store), api), scope, runner).await
}

/// The histories of all runners of a scope, by name.
///
/// # Errors
/// [`StoreError`] when they could not be read.
pub async fn histories(
    store: impl Store + 'static,
    api: &str,
    scope: &Scope,
) -> Result<Vec<(RunnerName, History)>, StoreError> {
    let records = Records::new(Arc::new(store), api);
    let remembered = records.scan_all::<Remembered>(scope, Kind::Memory).await?;
    let outcomes: std::collections::HashMap<_, _> = remembered
        .into_iter()
        .filter_map(|(name, kept)| Some((name, kept.value.outcome?)))
        .collect();
    let mut histories = Vec::new();
    for (name, kept) in records.scan_all::<History>(scope, Kind::History).await? {
        let mut history = kept.value;
        if let Some(outcome) = outcomes.get(&name) {
            history.goes_on(outcome);
        }
        histories.push((name, history));
    }
    histories.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(histories)
}

impl Guard {
    /// The last decisions about a runner; see [`history`].
    ///
    /// # Errors
    /// As [`history`].
    pub async fn history(&self, scope: &Scope, runner: &RunnerName) -> Result<History, StoreError> {
        recorded(&self.inner.records, scope, runner).await
    }

    /// Keeps a decision that is another than the last one. It changes no decision: what cannot be written is lost.
    pub(super) async fn keep_history(
        &self,
        decision: &Decision,
        before: &Memory,
        (known, outcome): (Option<&Outcome>, &Outcome),
        deadline: Deadline,
    ) {
        if !self.inner.keeps_history || known.is_some_and(|known| known.is_same(outcome)) {
            return;
        }
        let runner = &decision.assessment().runner;
        let Runner { scope, name, .. } = runner;
        let key = self.inner.records.of_runner(scope, Kind::History, name);
        let kept = self.append(&key, decision, before, (known, outcome));
        let deadline = Deadline::within(TO_REMEMBER).or_sooner(deadline);
        let error = match deadline.meet(kept).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        tracing::warn!(runner = %name, %scope, error, "history: not kept");
    }

    async fn append(
        &self,
        key: &Key,
        decision: &Decision,
        before: &Memory,
        (known, outcome): (Option<&Outcome>, &Outcome),
    ) -> Result<(), StoreError> {
        let records = &self.inner.records;
        for _ in 0..ATTEMPTS {
            let Kept {
                value: mut history,
                over,
                ..
            } = records.read_one::<History>(key).await?;
            if let Some(known) = known {
                history.goes_on(known);
            }
            history.take(decision, before, outcome, self.policy());
            if let Swap::Done(_) = records.write(key, &over, &history).await? {
                return match over.version {
                    None => self.index(key.scope()).await,
                    Some(_) => Ok(()),
                };
            }
        }
        Err(records.contended())
    }

    /// Notes that the store knows this scope, once.
    async fn index(&self, scope: &Scope) -> Result<(), StoreError> {
        let indexed = &self.inner.indexed;
        if indexed.lock().is_ok_and(|noted| noted.contains(scope)) {
            return Ok(());
        }
        super::scopes::index(&self.inner.records, scope).await?;
        if let Ok(mut noted) = indexed.lock() {
            noted.insert(scope.clone());
        }
        Ok(())
    }
}

async fn recorded(
    records: &Records,
    scope: &Scope,
    runner: &RunnerName,
) -> Result<History, StoreError> {
    let keys = [
        records.of_runner(scope, Kind::History, runner),
        records.of_runner(scope, Kind::Memory, runner),
    ];
    let [history_key, memory_key] = &keys;
    let mut read = records.read_unparsed(&keys).await?.into_iter();
    let kept: Kept<History> = records.parse(history_key, read.next().flatten());
    if let Some(what) = kept.lost {
        return Err(records.unusable("read a history", what));
    }
    let mut history = kept.value;
    let remembered: Kept<Remembered> = records.parse(memory_key, read.next().flatten());
    if let Some(outcome) = remembered.value.outcome {
        history.goes_on(&outcome);
    }
    Ok(history)
}

impl History {
    /// The last decision went on until then.
    fn goes_on(&mut self, known: &Outcome) {
        let Some(decided) = self.decisions.last_mut() else {
            return;
        };
        let outcome = &mut decided.outcome;
        if !outcome.is_same(known) || known.last < outcome.last {
            return;
        }
        let looks = known.again.saturating_sub(outcome.again);
        (outcome.last, outcome.again) = (known.last, known.again.max(outcome.again));
        if let Some(episode) = self.episodes.last_mut()
            && !episode.over
            && known.desync.as_ref() == Some(&episode.who)
        {
            episode.last = episode.last.max(known.last);
            episode.looks = episode.looks.saturating_add(looks);
        }
    }

    fn take(&mut self, decision: &Decision, before: &Memory, outcome: &Outcome, policy: &Policy) {
        let assessment = decision.assessment();
        let at = outcome.last;
        let is_another = (self.runner.as_ref(), self.policy.as_ref())
            != (Some(&assessment.runner), Some(policy));
        if is_another {
            self.runner = Some(assessment.runner.clone());
            self.policy = Some(policy.clone());
            self.since = Some(at);
        }
        self.take_desync(decision, outcome);
        match self.decisions.last_mut() {
            // Another guard kept it first.
            Some(last) if last.outcome.is_same(outcome) && !is_another => {
                last.outcome.last = last.outcome.last.max(at);
            }
            _ => self.decisions.push(Decided::new(decision, before, outcome)),
        }
        self.bound();
    }

    fn take_desync(&mut self, decision: &Decision, outcome: &Outcome) {
        let open = self.episodes.last_mut().filter(|episode| !episode.over);
        match (open, &outcome.desync) {
            (Some(episode), Some(who)) if episode.who == *who => {
                episode.last = episode.last.max(outcome.last);
                episode.looks = episode.looks.saturating_add(1);
            }
            (open, desync) => {
                if let Some(episode) = open {
                    episode.over = true;
                }
                let began = desync.iter().map(|who| Episode::new(decision, who));
                self.episodes.extend(began);
            }
        }
    }

    /// Leaves out the oldest, until it is no larger than it may be.
    fn bound(&mut self) {
        let surplus = self.episodes.len().saturating_sub(EPISODES);
        self.episodes.drain(..surplus);
        let surplus = self.decisions.len().saturating_sub(DECISIONS);
        self.decisions.drain(..surplus);
        let sizes: Vec<_> = self.decisions.iter().map(bytes).collect();
        let mut size = bytes(&self.episodes).saturating_add(sizes.iter().sum());
        let mut left_out = 0_usize;
        for of_one in sizes {
            if size <= BYTES {
                break;
            }
            size = size.saturating_sub(of_one);
            left_out = left_out.saturating_add(1);
        }
        self.decisions.drain(..left_out);
    }
}

/// How large it is as JSON.
fn bytes(what: &impl Serialize) -> usize {
    serde_json::to_string(what).map_or(usize::MAX, |text| text.len())
}

impl Decided {
    fn new(decision: &Decision, before: &Memory, outcome: &Outcome) -> Self {
        let assessment = decision.assessment();
        let mut decided = Self {
            outcome: outcome.clone(),
            occupied: assessment.claims.who(Claim::Occupied).collect(),
            messages: decision
                .reasons()
                .map(|reason| reason.to_string().into())
                .collect(),
            evidence: Some(trimmed(assessment, before)),
            memory: Some(before.clone()),
        };
        if bytes(&decided) > DECISION_BYTES {
            decided.evidence = None;
            decided.memory = None;
        }
        decided
    }
}

/// No witness says more than this, in characters.
const SAID: usize = 200;

impl Episode {
    fn new(decision: &Decision, who: &Disagreement) -> Self {
        let assessment = decision.assessment();
        let at = assessment.at;
        let id = shown_id(&assessment.evidence).or(assessment.runner.id);
        let spoke = |evidence: &&Evidence| {
            let witness = evidence.witness();
            who.occupied.contains(&witness) || who.vacant.contains(&witness)
        };
        let said = assessment.evidence.iter().filter(spoke);
        let said = said.map(|evidence| Said {
            witness: evidence.witness(),
            what: evidence
                .describe(at)
                .chars()
                .take(SAID)
                .collect::<String>()
                .into(),
        });
        let views = assessment
            .evidence
            .iter()
            .filter_map(|evidence| match &evidence.signal {
                Signal::Jobs(view) => Some(&view.jobs),
                _ => None,
            });
        let mut jobs: Vec<_> = views
            .flatten()
            .filter(|job| job.is_running_on(&assessment.runner, id))
            .map(|job| job.id)
            .collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs.truncate(EPISODES);
        Self {
            first: at,
            last: at,
            looks: 1,
            over: false,
            who: who.clone(),
            id,
            jobs,
            said: said.collect(),
        }
    }
}
