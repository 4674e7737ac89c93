//! What shadow mode counts: what an autoscaler that asks nothing but `busy` would have done beside the
//! guard, and what either would have cost.

use crate::{
    decision::{Assessment, Decision, Verdict},
    evidence::{Claim, Signal, Witness},
    policy::Policy,
    time::{At, Instant, Span, age, latest},
};
use serde::{Deserialize, Serialize};
use std::fmt;

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
        self.looks += 1;
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
        let had_begun = |look: Instant| begun_at.is_some_and(|begun_at| begun_at <= look);
        match self.course {
            Course::Counted => return,
            Course::Freed(let_go) if had_begun(let_go) => self.killed += 1,
            Course::Kept(denied) if had_begun(denied) => self.spared += 1,
            _ if busy_only == Verdict::Terminate => self.spared += 1,
            _ => {
                self.course = Course::Needed;
                return;
            }
        }
        self.course = Course::Counted;
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
            summary.looks += one.looks;
            summary.kills_spared += one.spared;
            summary.kills_of_its_own += one.killed;
            summary.vacant_seconds = summary.vacant_seconds.saturating_add(one.kept_seconds);
        }
        summary
    }
}

#[cfg(feature = "guard")]
impl ShadowSummary {
    /// What was counted in a scope of one GitHub, by every guard on this store.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) when it could not be read.
    pub async fn read(
        store: std::sync::Arc<dyn crate::store::Store>,
        api: &str,
        scope: &crate::runner::Scope,
    ) -> Result<Self, crate::store::StoreError> {
        let records = crate::records::Records::new(store, api);
        let counted: Vec<Shadow> = records.scan(scope, crate::store::Kind::Shadow).await?;
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
