//! What shadow mode counts: what an autoscaler that asks nothing but `busy` would have done beside the
//! guard, and what either would have cost.

use crate::{
    decision::{Assessment, Decision, Verdict},
    evidence::{Claim, Signal, Witness},
    policy::Policy,
    time::{At, Instant, Span, after, age, latest},
};
#[cfg(feature = "guard")]
use crate::{
    records::Records,
    runner::Scope,
    store::{Kind, Store, StoreError},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::fmt;
#[cfg(feature = "guard")]
use std::sync::Arc;

/// What an autoscaler that asks nothing but GitHub's `busy` flag would do at this look: terminate on a
/// fresh `busy: false`.
#[must_use]
pub fn busy_only(assessment: &Assessment) -> Verdict {
    match assessment.claims.registration {
        Claim::Vacant => Verdict::Terminate,
        Claim::Occupied | Claim::Unknown => Verdict::Hold,
    }
}

/// What was counted of one runner: a plain value, folded look by look.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Shadow {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Instant>,
    looks: u64,
    /// Jobs that a busy-only autoscaler would have killed, and the guard held.
    spared: u64,
    /// Jobs that the guard itself would have killed.
    killed: u64,
    /// For how long the runner was kept, though the flag said that it was vacant, and it was.
    kept_seconds: i64,
    course: Course,
}

/// Where a runner is between two jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Course {
    /// Nobody would terminate it, as far as is known.
    #[default]
    Needed,
    /// Busy-only would terminate it, the guard holds: last seen so then.
    Kept(Instant),
    /// Both would terminate it: first seen so then.
    Freed(Instant),
    /// It has a job that was counted.
    Counted,
}

impl Shadow {
    /// Takes in one look.
    pub fn look(&mut self, decision: &Decision, policy: &Policy) {
        let assessment = decision.assessment();
        let now = assessment.at;
        if self.last.is_some_and(|last| last < policy.kept_since(now)) {
            // Nobody knows what went on in between.
            self.course = Course::Needed;
        }
        self.first.get_or_insert(now);
        self.last = latest(self.last, Some(now));
        self.looks = self.looks.saturating_add(1);
        let busy_only = busy_only(assessment);
        let others_see_a_job = assessment
            .claims
            .who(Claim::Occupied)
            .any(|witness| witness != Witness::Registration);
        if others_see_a_job {
            self.see_job(busy_only, begun_at(assessment));
            return;
        }
        if busy_only == Verdict::Hold {
            if self.course != Course::Counted {
                self.course = Course::Needed;
            }
            return;
        }
        if let Course::Kept(since) = self.course {
            let kept = age(now, since).num_seconds().max(0);
            self.kept_seconds = self.kept_seconds.saturating_add(kept);
        }
        self.course = match (self.course, decision.outside_shadow()) {
            (Course::Freed(at), _) => Course::Freed(at),
            (_, Verdict::Terminate) => Course::Freed(now),
            (_, Verdict::Hold) => Course::Kept(now),
        };
    }

    /// A witness other than the flag shows a job. It counts once: when the flag denies it now, or when it
    /// had begun by an earlier look at which the flag denied it.
    fn see_job(&mut self, busy_only: Verdict, begun_at: Option<Instant>) {
        // GitHub cuts its stamps off at the second.
        let begun_by = begun_at.map(|begun_at| after(begun_at, TimeDelta::seconds(1)));
        let had_begun = |look: Instant| begun_by.is_some_and(|begun_by| begun_by <= look);
        match self.course {
            Course::Counted => return,
            Course::Freed(let_go) if had_begun(let_go) => {
                self.killed = self.killed.saturating_add(1);
            }
            Course::Kept(denied) if had_begun(denied) => self.spare(),
            _ if busy_only == Verdict::Terminate => self.spare(),
            _ => {
                self.course = Course::Needed;
                return;
            }
        }
        self.course = Course::Counted;
    }

    fn spare(&mut self) {
        self.spared = self.spared.saturating_add(1);
    }
}

/// When the latest job began that a view shows in progress on this runner.
fn begun_at(assessment: &Assessment) -> Option<Instant> {
    let views = assessment
        .evidence
        .iter()
        .filter_map(|evidence| match &evidence.signal {
            Signal::Jobs(view) => Some(&view.jobs),
            _ => None,
        });
    let seen = assessment
        .evidence
        .iter()
        .find_map(|evidence| match &evidence.signal {
            Signal::Registration(registration) => registration.id(),
            _ => None,
        });
    let running = views
        .flatten()
        .filter(|job| job.is_running_on(&assessment.runner, seen));
    running.filter_map(|job| job.changed_at).max()
}

/// What was counted of all runners of a scope.
///
/// Its [`Display`](fmt::Display) is two lines: how many kills the guard would have spared, and what that
/// would have cost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ShadowSummary {
    /// The first look of all.
    pub since: Option<Instant>,
    /// The latest look of all.
    pub until: Option<Instant>,
    /// How many runners were looked at.
    pub runners: u64,
    /// How many looks there were.
    pub looks: u64,
    /// Running jobs that a busy-only autoscaler would have killed, and the guard held. Each job counts
    /// once.
    pub kills_spared: u64,
    /// Running jobs that the guard itself would have killed: they had begun when it would have given a
    /// permit, and were shown later.
    pub kills_of_its_own: u64,
    /// How much longer vacant runners would have been kept, in seconds: from the first look at which
    /// busy-only would have let one go, until the guard would, or a job came.
    pub vacant_seconds: i64,
}

impl ShadowSummary {
    /// Sums up what was counted of each runner.
    pub fn of<'a>(counted: impl IntoIterator<Item = &'a Shadow>) -> Self {
        let mut summary = Self::default();
        for one in counted {
            summary.runners += 1;
            summary.since = match (summary.since, one.first) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            summary.until = latest(summary.until, one.last);
            summary.looks = summary.looks.saturating_add(one.looks);
            summary.kills_spared = summary.kills_spared.saturating_add(one.spared);
            summary.kills_of_its_own = summary.kills_of_its_own.saturating_add(one.killed);
            summary.vacant_seconds = summary.vacant_seconds.saturating_add(one.kept_seconds);
        }
        summary
    }
}

#[cfg(feature = "guard")]
impl ShadowSummary {
    /// What was counted in a scope of one GitHub, by every guard on this store. A record that cannot be read
    /// is left out.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be read.
    pub async fn read(store: Arc<dyn Store>, api: &str, scope: &Scope) -> Result<Self, StoreError> {
        Self::recorded(&Records::new(store, api), scope).await
    }

    pub(crate) async fn recorded(records: &Records, scope: &Scope) -> Result<Self, StoreError> {
        let counted: Vec<Shadow> = records.scan(scope, Kind::Shadow).await?;
        Ok(Self::of(&counted))
    }
}

impl fmt::Display for ShadowSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(since), Some(until)) = (self.since, self.until) else {
            return f.write_str("shadow: nothing was asked yet\nnothing to weigh up");
        };
        let plural = |count: u64, one: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {one}s"),
        };
        write!(
            f,
            "spared: in {} from {} ({}, {}), busy-only would have killed {} that the guard held; the guard itself would have killed {}",
            Span(age(until, since)),
            At(since),
            plural(self.runners, "runner"),
            plural(self.looks, "look"),
            plural(self.kills_spared, "running job"),
            self.kills_of_its_own,
        )?;
        let minutes = self.vacant_seconds / 60;
        write!(
            f,
            "\ncost: vacant runners would have been kept {minutes} minutes longer in all, until the guard let them go or a job came"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::Engine,
        evidence::{Evidence, Job, JobStatus, JobsView, Registration, Status},
        memory::Memory,
        runner::{Runner, RunnerRef},
    };

    /// Looks at one runner, once a minute at the most, and counts.
    struct Watch {
        engine: Engine,
        memory: Memory,
        shadow: Shadow,
    }

    fn at(minute: i64) -> Instant {
        Instant::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minute)
    }

    impl Watch {
        fn new() -> Self {
            Self {
                engine: Engine::new(Policy::default()).unwrap(),
                memory: Memory::default(),
                shadow: Shadow::default(),
            }
        }

        /// A look at which the flag says `busy`, and the view shows a job that began at `begun`.
        fn look(&mut self, minute: i64, busy: bool, begun: Option<i64>) -> Verdict {
            let now = at(minute);
            let jobs = begun.map(|begun| Job {
                changed_at: Some(at(begun)),
                ..Job::new(7, JobStatus::InProgress, Some(RunnerRef::named("r-1")))
            });
            let view = JobsView {
                complete: true,
                jobs: jobs.into_iter().collect(),
            };
            let flag = Registration::registered(busy, Status::Online);
            let evidence = vec![Evidence::registration(flag, now), Evidence::jobs(view, now)];
            let runner = Runner::new("r-1", "repo:acme/atlas").unwrap();
            let decision = self.engine.decide(&runner, evidence, &mut self.memory, now);
            let decision = decision.in_shadow();
            self.shadow.look(&decision, self.engine.policy());
            decision.outside_shadow()
        }

        fn counted(&self) -> (u64, u64, i64) {
            let ShadowSummary {
                kills_spared,
                kills_of_its_own,
                vacant_seconds,
                ..
            } = ShadowSummary::of([&self.shadow]);
            (kills_spared, kills_of_its_own, vacant_seconds / 60)
        }
    }

    #[test]
    fn a_job_whose_flag_lies_counts_once_however_often_it_flips() {
        let mut watch = Watch::new();
        watch.look(0, true, Some(0));
        assert_eq!(watch.counted(), (0, 0, 0), "the flag is right");
        for minute in 1..=20 {
            watch.look(minute, minute % 3 == 0, Some(0));
        }
        assert_eq!(watch.counted(), (1, 0, 0));
        watch.look(21, false, None);
        watch.look(22, false, Some(22));
        assert_eq!(watch.counted(), (2, 0, 0), "another job");
    }

    #[test]
    fn a_job_that_is_shown_late_counts_if_it_had_begun_when_the_flag_denied_it() {
        for (begun, spared) in [(1, 1), (2, 0), (3, 0)] {
            let mut watch = Watch::new();
            watch.look(0, false, None);
            watch.look(2, false, None);
            watch.look(4, true, Some(begun));
            assert_eq!(watch.counted(), (spared, 0, 2), "begun at minute {begun}");
        }
    }

    #[test]
    fn a_job_that_had_begun_when_the_guard_let_go_is_a_kill_of_its_own() {
        for (begun, of_its_own) in [(4, 1), (6, 0)] {
            let mut watch = Watch::new();
            watch.look(0, false, None);
            assert_eq!(watch.look(5, false, None), Verdict::Terminate);
            watch.look(7, true, Some(begun));
            assert_eq!(
                watch.counted(),
                (0, of_its_own, 5),
                "begun at minute {begun}"
            );
        }
    }

    #[test]
    fn a_vacant_runner_costs_until_the_guard_lets_go_or_a_job_comes() {
        let mut watch = Watch::new();
        for minute in 0..=12 {
            let verdict = watch.look(minute, false, None);
            assert_eq!(verdict == Verdict::Terminate, minute >= 5);
        }
        assert_eq!(watch.counted(), (0, 0, 5));
        watch.look(13, true, Some(13));
        for minute in 14..=16 {
            watch.look(minute, false, None);
        }
        watch.look(17, true, Some(17));
        assert_eq!(watch.counted(), (0, 0, 7));
    }

    #[test]
    fn what_went_on_in_a_long_gap_is_not_counted() {
        let mut watch = Watch::new();
        watch.look(0, false, None);
        watch.look(30, false, None);
        assert_eq!(watch.counted(), (0, 0, 0));
        watch.look(60, true, Some(0));
        assert_eq!(watch.counted(), (0, 0, 0));
    }

    #[test]
    fn a_summary_is_two_lines() {
        let empty = ShadowSummary::default().to_string();
        assert_eq!(empty.lines().count(), 2, "{empty}");
        let mut watch = Watch::new();
        watch.look(0, false, Some(0));
        watch.look(1, false, None);
        watch.look(3, false, None);
        let told = ShadowSummary::of([&watch.shadow, &Shadow::default()]).to_string();
        assert_eq!(
            told,
            "spared: in 3m from 2024-10-04T00:00:00Z (2 runners, 3 looks), busy-only would have killed 1 running job that the guard held; the guard itself would have killed 0\n\
             cost: vacant runners would have been kept 2 minutes longer in all, until the guard let them go or a job came"
        );
    }
}
