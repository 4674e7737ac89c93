//! A few of many: up to so many runners that may go, found by what memory shows before anybody is asked, so that
//! an autoscaler of a large fleet pays for those that it takes and not for those that it has.

use super::{
    Guard,
    conclude::Recalled,
    sweep::{Surveyed, Sweep, Whom, distinct, last_heard, most_silent_since},
};
use crate::{
    clock::Deadline,
    decision::{Decision, Verdict},
    evidence::Signal,
    hold::{HoldCode, HoldReason},
    memory::Memory,
    policy::Policy,
    runner::Runner,
    source::{Round, Share},
    time::Instant,
};
use std::collections::VecDeque;

/// So many holds in a row are put down to chance, beside two for each permit that is wanted. Each is a request. A
/// listing costs one for each hundred runners, and where more are held than that, memory is out of date as a whole
/// (nobody looked for a while, or something holds everyone), and going on one by one would cost more than it.
const CHANCE: usize = 8;

/// How far a selection has come.
enum Selecting {
    Due(Guard, Vec<Runner>, usize),
    Begun(Box<Selection>),
}

struct Selection {
    guard: Guard,
    round: Round,
    deadline: Deadline,
    /// How many permits are still to be given.
    wanted: usize,
    /// Those that memory shows vacant for long enough: longest vacant first.
    ranked: VecDeque<(Runner, Recalled)>,
    /// The others.
    rest: Vec<(Runner, Recalled)>,
    /// How many of the ranked were held in a row, and with how many the rest is surveyed.
    misses: usize,
    too_many: usize,
    /// Whether anybody was asked: then what was read of the rest is old.
    has_asked: bool,
    /// The second phase.
    surveyed: Option<Surveyed>,
    /// Those that must stay.
    held: VecDeque<Decision>,
    /// GitHub's request limit is spent: asking further would only be refused.
    is_limited: bool,
}

impl Sweep {
    pub(super) fn selecting(guard: Guard, candidates: Vec<Runner>, most: usize) -> Self {
        Self::unfolding(Selecting::Due(guard, candidates, most), Selecting::next)
    }
}

impl Selecting {
    async fn next(self) -> Option<(Decision, Self)> {
        let mut selection = match self {
            Self::Due(guard, candidates, most) => Box::new(guard.rank(candidates, most).await?),
            Self::Begun(selection) => selection,
        };
        let decision = selection.next().await?;
        let answer = selection.guard.answer(decision, selection.deadline).await;
        Some((answer, Self::Begun(selection)))
    }
}

impl Guard {
    /// Puts the candidates in the order in which they are asked about; none where no permit is wanted.
    async fn rank(&self, candidates: Vec<Runner>, most: usize) -> Option<Selection> {
        let policy = self.policy();
        let deadline = Deadline::within(policy.sweep_deadline);
        let candidates = distinct(candidates);
        let budget = policy.max_permits_per_sweep;
        let budget = budget.map_or(usize::MAX, |budget| budget.permits(candidates.len()));
        let wanted = most.min(budget);
        if wanted == 0 {
            return None;
        }
        let round = Round::of(&candidates, Share::Some);
        let recalled = self.recall_all(&candidates, self.reading()).await;
        let (mut ranked, mut rest, mut heard) = (Vec::new(), Vec::new(), Vec::new());
        for (runner, recalled) in candidates.into_iter().zip(recalled) {
            // What memory, heartbeat and fence say by themselves.
            let (decision, memory) = self.decide(&runner, &[], &recalled, None);
            heard.extend(last_heard(&decision.assessment().evidence));
            match vacant_since(&decision, &memory, policy) {
                Some(since) => ranked.push((since, (runner, recalled))),
                None => rest.push((runner, recalled)),
            }
        }
        ranked.sort_by(|(a_since, (a, _)), (b_since, (b, _))| {
            let key = |since: &Instant, runner: &Runner| {
                (*since, runner.launched_at.is_none(), runner.launched_at)
            };
            key(a_since, a)
                .cmp(&key(b_since, b))
                .then_with(|| a.name.cmp(&b.name))
        });
        let mut ranked: VecDeque<_> = ranked.into_iter().map(|(_, ranked)| ranked).collect();
        if most_silent_since(heard, self.now(), policy).is_some() {
            // Whether that is so is for a survey to tell, which knows who is online.
            rest.extend(ranked.drain(..));
        }
        Some(Selection {
            guard: self.clone(),
            round,
            deadline,
            wanted,
            ranked,
            rest,
            misses: 0,
            too_many: wanted.saturating_mul(2).saturating_add(CHANCE),
            has_asked: false,
            surveyed: None,
            held: VecDeque::new(),
            is_limited: false,
        })
    }
}

/// Since when a runner has been vacant, as far as can be told without a question; `None` where it cannot have
/// been so for long enough, or where something holds it that no answer would change. A rule of the user's own is
/// not heard here: it may hold for want of an answer.
fn vacant_since(decision: &Decision, memory: &Memory, policy: &Policy) -> Option<Instant> {
    let assessment = decision.assessment();
    let now = assessment.at;
    let may_be_over = |reason: &HoldReason| match reason.code() {
        // Nobody was asked.
        HoldCode::RegistrationUnreadable | HoldCode::Uncorroborated | HoldCode::Custom => true,
        HoldCode::GraceWindow => reason.retry_at().is_some_and(|at| at <= now),
        _ => false,
    };
    if !decision.reasons().all(may_be_over) {
        return None;
    }
    let attested = assessment
        .evidence
        .iter()
        .filter_map(|evidence| match &evidence.signal {
            Signal::Lease(heartbeat) if heartbeat.is_alive(now, policy) => {
                heartbeat.vacant_since(now)
            }
            _ => None,
        });
    attested.chain(memory.vacant().map(|run| run.since)).min()
}

impl Selection {
    /// The next permit; or, once there is none left to be had, the next of those that must stay.
    async fn next(&mut self) -> Option<Decision> {
        while self.wanted > 0 && !self.is_limited && !self.deadline.left().is_zero() {
            let Some(decision) = self.look_at_one().await else {
                break;
            };
            if decision.verdict() == Verdict::Terminate {
                self.wanted = self.wanted.saturating_sub(1);
                self.misses = 0;
                return Some(decision);
            }
            self.misses = self.misses.saturating_add(1);
            self.is_limited = decision
                .reasons()
                .any(|reason| reason.code() == HoldCode::RateLimited);
            self.held.push_back(decision);
        }
        match self.wanted {
            0 => None,
            _ => self.held.pop_front(),
        }
    }

    /// Looks at the next one by itself: the next of the ranked, or else of those that a survey lets go.
    async fn look_at_one(&mut self) -> Option<Decision> {
        if self.misses < self.too_many
            && self.surveyed.is_none()
            && let Some((runner, _)) = self.ranked.pop_front()
        {
            self.has_asked = true;
            let looked = self.guard.look_closely(&runner, &self.round, self.deadline);
            return Some(looked.await);
        }
        if self.surveyed.is_none() {
            let mut surveyed = self.survey_the_rest().await;
            self.held.append(&mut surveyed.held);
            self.surveyed = Some(surveyed);
        }
        let surveyed = self.surveyed.as_mut()?;
        let candidate = surveyed.candidates.pop_front()?;
        Some(surveyed.confirm(candidate).await)
    }

    async fn survey_the_rest(&mut self) -> Surveyed {
        let guard = &self.guard;
        let reading = guard.reading_within(self.deadline);
        let mut looks: Vec<_> = self.ranked.drain(..).chain(self.rest.drain(..)).collect();
        if self.has_asked {
            let runners: Vec<_> = looks.into_iter().map(|(runner, _)| runner).collect();
            let recalled = guard.recall_all(&runners, reading).await;
            looks = runners.into_iter().zip(recalled).collect();
        }
        let round = self.round.clone();
        let everyone = Whom::Everyone;
        guard
            .survey(looks, everyone, round, reading, self.deadline)
            .await
    }
}
