//! Many runners at once: what is shared is read once, what is dear only where it can help, and a permit
//! is made when it is pulled.

use super::{
    Guard, TO_REMEMBER,
    conclude::{Aim, Recalled},
};
use crate::{
    clock::Deadline,
    decision::{Assessment, Decision, Verdict},
    evidence::{Claim, Evidence, Registration, Signal, Status, shown_id},
    fleet::FleetReport,
    hold::HoldCode,
    policy::{Policy, StaleBusyBy},
    runner::Runner,
    source::{Ask, Cost, Depth, Round, Share},
    time::{Instant, after},
};
use futures::{Stream, StreamExt, future, stream};
use std::{
    collections::{HashSet, VecDeque},
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// Runners that are asked about at the same time.
const AT_ONCE: usize = 64;

/// The decisions of one sweep: a [`Stream`]. Nothing is asked before the first is pulled.
#[must_use = "a sweep asks nobody until it is pulled"]
pub struct Sweep {
    decisions: Pin<Box<dyn Stream<Item = Decision> + Send>>,
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep").finish_non_exhaustive()
    }
}

impl Stream for Sweep {
    type Item = Decision;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Decision>> {
        self.decisions.as_mut().poll_next(context)
    }
}

impl Sweep {
    pub(super) fn over(guard: Guard, runners: Vec<Runner>, share: Share, whom: Whom) -> Self {
        Self::unfolding(Sweeping::Due(guard, runners, share, whom), Sweeping::next)
    }

    /// The decisions that come of a state, one after another.
    pub(super) fn unfolding<S, F>(begin: S, next: impl FnMut(S) -> F + Send + 'static) -> Self
    where
        S: Send + 'static,
        F: Future<Output = Option<(Decision, S)>> + Send + 'static,
    {
        Self {
            // Whoever asks on after the end hears that it is the end.
            decisions: Box::pin(stream::unfold(begin, next).fuse()),
        }
    }

    /// The next decision. A permit in it was made just now.
    pub async fn next(&mut self) -> Option<Decision> {
        self.decisions.next().await
    }
}

/// Whom a sweep decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// All that it is asked about.
    Everyone,
    /// Those that are not registered, and that no look ever found registered. The others are left as they are.
    NeverRegistered,
}

/// How far a sweep has come.
enum Sweeping {
    Due(Guard, Vec<Runner>, Share, Whom),
    Surveyed(Surveyed),
}

/// What a survey found.
pub(super) struct Surveyed {
    guard: Guard,
    round: Round,
    deadline: Deadline,
    /// Those that must stay.
    pub(super) held: VecDeque<Decision>,
    /// Those that may go, as far as the survey tells: longest vacant first.
    pub(super) candidates: VecDeque<Assessment>,
    /// How many permits may still be given.
    permits_left: Option<usize>,
    /// Since when most beacons have been silent.
    silent_since: Option<Instant>,
}

/// What a sweep found before it gives any permit: for an autoscaler that keeps some of those that may go.
#[must_use = "nobody of a survey may go before it is swept"]
pub struct Survey {
    surveyed: Surveyed,
}

impl fmt::Debug for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survey").finish_non_exhaustive()
    }
}

impl Survey {
    /// What was found of those that must stay, in the order in which they were given.
    pub fn held(&self) -> impl Iterator<Item = &Assessment> {
        self.surveyed.held.iter().map(Decision::assessment)
    }

    /// What was found of those that nothing holds, longest vacant first. It is no permit: a permit needs another
    /// look, which [`sweep`](Self::sweep) makes.
    pub fn candidates(&self) -> impl Iterator<Item = &Assessment> {
        self.surveyed.candidates.iter()
    }

    /// How many runners were looked at.
    #[cfg(feature = "github")]
    pub(super) fn len(&self) -> usize {
        let surveyed = &self.surveyed;
        surveyed
            .held
            .len()
            .saturating_add(surveyed.candidates.len())
    }

    /// Since when most beacons have been silent, where they are.
    #[cfg(feature = "github")]
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.surveyed.silent_since
    }

    /// The decisions, as [`Guard::sweep`] gives them, but for those of the candidates that are not `wanted`: nobody
    /// looks at them again, and they take nothing of the budget.
    pub fn sweep(mut self, wanted: impl FnMut(&Assessment) -> bool) -> Sweep {
        self.surveyed.candidates.retain(wanted);
        Sweep::unfolding(Sweeping::Surveyed(self.surveyed), Sweeping::next)
    }
}

impl Sweeping {
    async fn next(self) -> Option<(Decision, Self)> {
        let mut surveyed = match self {
            Self::Due(guard, runners, share, whom) => guard.survey_all(runners, share, whom).await,
            Self::Surveyed(surveyed) => surveyed,
        };
        let decision = match surveyed.held.pop_front() {
            Some(held) => held,
            None => {
                let candidate = surveyed.candidates.pop_front()?;
                surveyed.confirm(candidate).await
            }
        };
        let answer = surveyed.guard.answer(decision, surveyed.deadline).await;
        Some((answer, Self::Surveyed(surveyed)))
    }
}

impl Guard {
    /// The first half of a [`sweep`](Self::sweep): looks at all runners with reads that they share, and gives no
    /// permit yet. The time that [`Policy::sweep_deadline`](crate::Policy) allows runs from here on.
    ///
    /// ```no_run
    /// use scale_in_guard::{Guard, Runner};
    /// use std::collections::HashSet;
    /// # async fn run(guard: Guard, runners: Vec<Runner>) {
    /// let survey = guard.look_over(runners).await;
    /// // Two of those that may go are kept, so that the next job need not wait.
    /// let candidates = survey.candidates().map(|seen| seen.runner.name.clone());
    /// let kept: HashSet<_> = candidates.take(2).collect();
    /// let mut sweep = survey.sweep(|seen| !kept.contains(&seen.runner.name));
    /// while let Some(decision) = sweep.next().await {
    ///     // as ever
    /// # drop(decision);
    /// }
    /// # }
    /// ```
    pub async fn look_over(&self, runners: impl IntoIterator<Item = Runner>) -> Survey {
        let runners = runners.into_iter().collect();
        let surveyed = self.survey_all(runners, Share::All, Whom::Everyone);
        Survey {
            surveyed: surveyed.await,
        }
    }

    /// Begins a sweep: surveys all runners.
    async fn survey_all(&self, runners: Vec<Runner>, share: Share, whom: Whom) -> Surveyed {
        let runners = distinct(runners);
        let policy = self.policy();
        let deadline = Deadline::within(policy.sweep_deadline);
        let reading = self.reading_within(deadline);
        let budget = policy.max_permits_per_sweep;
        let permits_left = budget.map(|budget| budget.permits(runners.len()));
        let round = Round::of(&runners, share);
        let recalled = self.recall_all(&runners, reading).await;
        let looks = runners.into_iter().zip(recalled).collect();
        Surveyed {
            permits_left,
            ..self.survey(looks, whom, round, reading, deadline).await
        }
    }

    /// Looks at runners with reads that they share.
    pub(super) async fn survey(
        &self,
        looks: Vec<(Runner, Recalled)>,
        whom: Whom,
        round: Round,
        reading: Deadline,
        deadline: Deadline,
    ) -> Surveyed {
        let decided: Vec<_> = stream::iter(looks)
            .map(|(runner, recalled)| {
                self.survey_one(runner, recalled, whom, &round, reading, deadline)
            })
            .buffered(AT_ONCE)
            .filter_map(future::ready)
            .collect()
            .await;
        let heard = decided
            .iter()
            .map(|decision| &decision.assessment().evidence)
            .filter(|evidence| is_online(evidence))
            .filter_map(|evidence| last_heard(evidence));
        let silent_since = decided.first().and_then(|decision| {
            most_silent_since(heard.collect(), decision.assessment().at, self.policy())
        });
        let mut held = VecDeque::new();
        let mut candidates = Vec::new();
        for decision in decided {
            match decision {
                Decision::Hold(_) => held.push_back(decision),
                // This permit is not given to anybody: it is made anew when it is pulled.
                Decision::Terminate(permit) => candidates.push(permit.into_assessment()),
            }
        }
        candidates.sort_by_key(|seen| {
            let since = seen.vacant_since.or(seen.runner.launched_at);
            (since.is_none(), since)
        });
        Surveyed {
            guard: self.clone(),
            round,
            deadline,
            held,
            candidates: candidates.into(),
            permits_left: None,
            silent_since,
        }
    }

    /// How long a read for many may take: what takes longer is no evidence any more.
    pub(super) fn reading(&self) -> Deadline {
        let policy = self.policy();
        Deadline::within(policy.evidence_max_age.max(policy.ask_deadline))
    }

    /// The same within a sweep, with time left to write down what comes of it.
    pub(super) fn reading_within(&self, deadline: Deadline) -> Deadline {
        self.reading().or_sooner(deadline.less(TO_REMEMBER))
    }

    /// Looks at one of many by itself.
    pub(super) async fn look_closely(
        &self,
        runner: &Runner,
        round: &Round,
        deadline: Deadline,
    ) -> Decision {
        let deadline = self.reading().or_sooner(deadline);
        self.look(runner, round.clone(), deadline, None).await
    }

    async fn survey_one(
        &self,
        runner: Runner,
        recalled: Recalled,
        whom: Whom,
        round: &Round,
        reading: Deadline,
        deadline: Deadline,
    ) -> Option<Decision> {
        let at = self.now();
        let (memory, round) = (recalled.shared(), round.clone());
        let ask = Ask::new(runner.clone(), at, Depth::Survey, memory, round, reading)
            .with_told(recalled.told_open(&runner));
        let cheap = |cost: Cost| cost == Cost::Cheap;
        let mut evidence = self.gather(&ask, |source| cheap(source.cost())).await;
        let (so_far, _) = self.decide(&runner, &evidence, &recalled, None);
        let is_passed_over =
            whom == Whom::NeverRegistered && so_far.assessment().last_registered.is_some();
        if !is_passed_over && is_worth_a_scan(&so_far, self.policy()) {
            let ask = ask.knowing(shown_id(&evidence));
            let scans = self.gather(&ask, |source| !cheap(source.cost()));
            evidence.extend(scans.await);
        }
        let aim = match is_passed_over {
            // That it was seen registered must not be forgotten.
            true => Aim::Memory,
            false => Aim::Survey,
        };
        let concluded = self.conclude(&runner, evidence, recalled, None, aim, deadline);
        let decision = concluded.await;
        (!is_passed_over).then_some(decision)
    }
}

/// The fewest beacons of which most can be silent.
const A_FLEET: usize = 3;

/// Since when most beacons have been silent of those that were last heard then: more likely we do not hear them
/// than that they are gone.
pub(super) fn most_silent_since(
    mut heard: Vec<Instant>,
    now: Instant,
    policy: &Policy,
) -> Option<Instant> {
    heard.sort_unstable();
    // The one whose silence made it most of them.
    let last = *heard.get(heard.len() / 2)?;
    let silent_since = after(last, policy.beacon_ttl);
    (heard.len() >= A_FLEET && silent_since <= now).then_some(silent_since)
}

/// When the runner's beacon was last heard.
pub(super) fn last_heard(evidence: &[Evidence]) -> Option<Instant> {
    let heard = evidence
        .iter()
        .filter_map(|evidence| match &evidence.signal {
            Signal::Lease(heartbeat) => Some(heartbeat.heard_at),
            _ => None,
        });
    heard.max()
}

/// Whether GitHub calls the runner online.
fn is_online(evidence: &[Evidence]) -> bool {
    evidence.iter().any(|evidence| {
        matches!(
            evidence.signal,
            Signal::Registration(Registration::Registered {
                status: Status::Online,
                ..
            })
        )
    })
}

/// The runners, each once: of two with the same scope and name, the first counts.
pub(super) fn distinct(mut runners: Vec<Runner>) -> Vec<Runner> {
    let mut seen = HashSet::new();
    runners.retain(|runner| seen.insert((runner.scope.clone(), runner.name.clone())));
    runners
}

/// Whether a dear witness could change the answer, now or later: not where a cheap one says, by itself,
/// that the runner has a job or could not be heard, nor where GitHub's request limit holds anyway.
fn is_worth_a_scan(so_far: &Decision, policy: &Policy) -> bool {
    let claims = so_far.assessment().claims;
    !so_far.reasons().any(|reason| match reason.code() {
        // A flag that a live beacon denies may be refuted by the jobs, and by them alone where the policy says so.
        HoldCode::Busy => {
            claims.lease != Claim::Vacant && policy.stale_busy_by == StaleBusyBy::Beacon
        }
        HoldCode::LeaseLive
        | HoldCode::SelfUpdate
        | HoldCode::RegistrationUnreadable
        | HoldCode::LeaseUnreadable
        | HoldCode::Launching
        | HoldCode::Objection
        | HoldCode::ObjectionUnreadable
        | HoldCode::Pinned
        | HoldCode::PermitOutstanding
        | HoldCode::FleetUnreadable
        | HoldCode::RateLimited => true,
        _ => false,
    })
}

impl Surveyed {
    /// Looks at one candidate by itself, and gives it its permit if it still may go.
    pub(super) async fn confirm(&mut self, candidate: Assessment) -> Decision {
        let guard = &self.guard;
        let Assessment {
            runner, evidence, ..
        } = candidate;
        let report = FleetReport {
            permits_left: (self.permits_left == Some(0)).then_some(0),
            beacons_silent_since: self.silent_since,
            ..FleetReport::default()
        };
        if report != FleetReport::default() {
            let report = Evidence::new("sweep", guard.now(), Signal::Fleet(report));
            let evidence: Vec<_> = evidence.into_iter().chain([report]).collect();
            let recalled = guard.recall(&runner, self.deadline).await;
            let decision = guard.decide(&runner, &evidence, &recalled, None).0;
            guard
                .keep_outcome(&decision, &recalled, self.deadline)
                .await;
            return decision;
        }
        let decision = guard
            .look_closely(&runner, &self.round, self.deadline)
            .await;
        if decision.verdict() == Verdict::Terminate {
            self.permits_left = self.permits_left.map(|left| left.saturating_sub(1));
        }
        decision
    }
}
