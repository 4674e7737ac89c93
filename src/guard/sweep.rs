//! Many runners at once: what is shared is read once, what is dear only where it can help, and a permit
//! is made when it is pulled.

use super::{Guard, TO_REMEMBER, conclude::Recalled};
use crate::{
    clock::Deadline,
    decision::{Decision, Verdict},
    evidence::{Claim, Evidence, Registration, Signal, Status},
    fleet::FleetReport,
    hold::HoldCode,
    policy::Policy,
    runner::Runner,
    source::{Ask, Cost, Depth, Round, Share},
    time::{Instant, after},
};
use futures::{Stream, StreamExt, stream};
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
    pub(super) fn over(guard: Guard, runners: Vec<Runner>, share: Share) -> Self {
        let begin = Sweeping::Due(guard, runners, share);
        Self {
            decisions: Box::pin(stream::unfold(begin, Sweeping::next)),
        }
    }

    /// The next decision. A permit in it was made just now.
    pub async fn next(&mut self) -> Option<Decision> {
        self.decisions.next().await
    }
}

/// How far a sweep has come.
enum Sweeping {
    Due(Guard, Vec<Runner>, Share),
    Surveyed(Surveyed),
}

struct Surveyed {
    guard: Guard,
    round: Round,
    deadline: Deadline,
    /// Those that must stay.
    held: VecDeque<Decision>,
    /// Those that may go, as far as the survey tells: longest vacant first.
    candidates: VecDeque<Candidate>,
    /// How many permits may still be given.
    permits_left: Option<usize>,
    /// Since when most beacons have been silent.
    silent_since: Option<Instant>,
}

struct Candidate {
    runner: Runner,
    evidence: Vec<Evidence>,
    vacant_since: Option<Instant>,
}

impl Sweeping {
    async fn next(self) -> Option<(Decision, Self)> {
        let mut surveyed = match self {
            Self::Due(guard, runners, share) => guard.survey(runners, share).await,
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
    /// Looks at all runners, with reads that they share.
    async fn survey(&self, runners: Vec<Runner>, share: Share) -> Surveyed {
        let mut seen = HashSet::new();
        let mut runners = runners;
        runners.retain(|runner| seen.insert((runner.scope.clone(), runner.name.clone())));
        let policy = self.policy();
        let deadline = Deadline::within(policy.sweep_deadline);
        let reading = self.reading().or_sooner(deadline.less(TO_REMEMBER));
        let budget = policy.max_permits_per_sweep;
        let permits_left = budget.map(|budget| budget.permits(runners.len()));
        let round = Round::of(&runners, share);
        let recalled = self.recall_all(&runners, reading).await;
        let looks = runners.into_iter().zip(recalled);
        let decided: Vec<_> = stream::iter(looks)
            .map(|(runner, recalled)| self.survey_one(runner, recalled, &round, reading, deadline))
            .buffered(AT_ONCE)
            .collect()
            .await;
        let silent_since = most_silent_since(&decided, policy);
        let mut held = VecDeque::new();
        let mut candidates = Vec::new();
        for decision in decided {
            match decision {
                Decision::Hold(_) => held.push_back(decision),
                // This permit is not given to anybody: it is made anew when it is pulled.
                Decision::Terminate(permit) => {
                    let assessment = permit.into_assessment();
                    candidates.push(Candidate {
                        vacant_since: assessment.vacant_since.or(assessment.runner.launched_at),
                        runner: assessment.runner,
                        evidence: assessment.evidence,
                    });
                }
            }
        }
        candidates
            .sort_by_key(|candidate| (candidate.vacant_since.is_none(), candidate.vacant_since));
        Surveyed {
            guard: self.clone(),
            round,
            deadline,
            held,
            candidates: candidates.into(),
            permits_left,
            silent_since,
        }
    }

    /// How long a read for many may take: what takes longer is no evidence any more.
    fn reading(&self) -> Deadline {
        let policy = self.policy();
        Deadline::within(policy.evidence_max_age.max(policy.ask_deadline))
    }

    async fn survey_one(
        &self,
        runner: Runner,
        recalled: Recalled,
        round: &Round,
        reading: Deadline,
        deadline: Deadline,
    ) -> Decision {
        let at = self.now();
        let (memory, round) = (recalled.shared(), round.clone());
        let ask = Ask::new(runner.clone(), at, Depth::Survey, memory, round, reading);
        let cheap = |cost: Cost| cost == Cost::Cheap;
        let mut evidence = self.gather(&ask, |source| cheap(source.cost())).await;
        let (so_far, _) = self.decide(&runner, &evidence, &recalled, None);
        if is_worth_a_scan(&so_far) {
            let scans = self.gather(&ask, |source| !cheap(source.cost()));
            evidence.extend(scans.await);
        }
        self.conclude(&runner, evidence, recalled, None, deadline)
            .await
    }
}

/// The fewest beacons of which most can be silent.
const A_FLEET: usize = 3;

/// Since when most beacons have been silent of the runners that GitHub calls online: then it is more likely
/// that we do not hear them than that they are gone.
fn most_silent_since(decided: &[Decision], policy: &Policy) -> Option<Instant> {
    let mut heard: Vec<_> = decided
        .iter()
        .filter_map(|decision| heard_at(&decision.assessment().evidence))
        .collect();
    heard.sort_unstable();
    // The one whose silence made it most of them.
    let last = *heard.get(heard.len() / 2)?;
    let silent_since = after(last, policy.beacon_ttl);
    let now = decided.first()?.assessment().at;
    (heard.len() >= A_FLEET && silent_since <= now).then_some(silent_since)
}

/// When the beacon was last heard of a runner that GitHub calls online.
fn heard_at(evidence: &[Evidence]) -> Option<Instant> {
    let is_online = |evidence: &Evidence| {
        matches!(
            evidence.signal,
            Signal::Registration(Registration::Registered {
                status: Status::Online,
                ..
            })
        )
    };
    let heard = evidence
        .iter()
        .filter_map(|evidence| match &evidence.signal {
            Signal::Lease(heartbeat) => Some(heartbeat.heard_at),
            _ => None,
        });
    heard.max().filter(|_| evidence.iter().any(is_online))
}

/// Whether a dear witness could change the answer, now or later: not where a cheap one says, by itself,
/// that the runner has a job or could not be heard, nor where GitHub's request limit holds anyway.
fn is_worth_a_scan(so_far: &Decision) -> bool {
    let claims = so_far.assessment().claims;
    !so_far.reasons().any(|reason| match reason.code() {
        // A flag that a live beacon denies may be refuted by the jobs.
        HoldCode::Busy => claims.lease != Claim::Vacant,
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
    async fn confirm(&mut self, candidate: Candidate) -> Decision {
        let guard = &self.guard;
        let Candidate {
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
            return guard.decide(&runner, &evidence, &recalled, None).0;
        }
        let deadline = guard.reading().or_sooner(self.deadline);
        let decision = guard
            .look(&runner, self.round.clone(), deadline, None)
            .await;
        if decision.verdict() == Verdict::Terminate {
            self.permits_left = self.permits_left.map(|left| left.saturating_sub(1));
        }
        decision
    }
}
