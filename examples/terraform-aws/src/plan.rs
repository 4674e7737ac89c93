//! What is to become of each instance, by what one survey of its owner's runners shows. Pure.

use crate::{
    cloud::Tagged,
    idle::Keep,
    report::{Reason, reasons},
};
use chrono::TimeDelta;
use scale_in_guard::{
    Assessment, HoldCode, Registration, Signal, Stage, Status, guard::Machine, time::Instant,
};
use std::{cmp::Ordering, collections::HashSet};

/// An instance, its runners, and what the survey found of each: one for each runner.
pub(crate) struct Seen<'a> {
    pub(crate) tagged: &'a Tagged,
    pub(crate) machine: &'a Machine,
    pub(crate) found: Vec<Found<'a>>,
}

/// What the survey found of one runner.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) assessment: &'a Assessment,
    /// Whether nothing holds it.
    pub(crate) may_go: bool,
}

/// What is to become of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Course {
    /// A drain of it stands, since then: it is gone on with.
    GoOn { since: Option<Instant> },
    /// It may go: the sweep decides.
    Begin,
    /// It stays.
    Stay(Vec<Reason>),
}

/// What is to become of each of these instances, which are all that one owner has, and how many of them are idle and
/// stay.
pub(crate) fn plan(
    seen: &[Seen<'_>],
    keep: Keep,
    minimum_running_time: TimeDelta,
    now: Instant,
) -> (Vec<Course>, usize) {
    let idle = seen.iter().filter(|seen| seen.is_idle());
    let idle = idle.map(|seen| (seen.tagged.id.as_str(), seen.tagged.launched_at));
    let kept: HashSet<_> = keep.choose(idle).into_iter().collect();
    let course = |seen: &Seen<'_>| seen.course(&kept, minimum_running_time, now);
    (seen.iter().map(course).collect(), kept.len())
}

impl Seen<'_> {
    fn course(
        &self,
        kept: &HashSet<&str>,
        minimum_running_time: TimeDelta,
        now: Instant,
    ) -> Course {
        let stay = |code: &str, text: &str| Course::Stay(vec![Reason::new(code, text)]);
        if self.tagged.is_bypassed {
            return stay(
                "bypassed",
                "its tag ghr:bypass-removal says to leave it alone",
            );
        }
        if self.stands() {
            let since = self
                .found
                .iter()
                .filter_map(|found| since(found.assessment));
            return Course::GoOn { since: since.min() };
        }
        if !self.may_go() {
            let held = self.found.iter().filter(|found| !found.may_go);
            return Course::Stay(held.flat_map(|found| reasons(found.assessment)).collect());
        }
        if kept.contains(self.tagged.id.as_str()) {
            return stay("idle_kept", "SCALE_DOWN_CONFIG keeps it for the next job");
        }
        // The module, too, asks those that never registered for RUNNER_BOOT_TIME_IN_MINUTES instead.
        let registered = |found: &Found<'_>| found.assessment.stage != Stage::NeverRegistered;
        let launched_at = self.tagged.launched_at.unwrap_or(now);
        if self.found.iter().any(registered) && now - launched_at < minimum_running_time {
            return stay(
                "minimum_running_time",
                "it was launched less than MINIMUM_RUNNING_TIME_IN_MINUTES ago",
            );
        }
        Course::Begin
    }

    /// Whether nothing holds any of its runners.
    fn may_go(&self) -> bool {
        self.found.len() == self.machine.runners.len()
            && self.found.iter().all(|found| found.may_go)
    }

    /// Whether a drain of one of its runners stands.
    fn stands(&self) -> bool {
        let mut reasons = self
            .found
            .iter()
            .flat_map(|found| found.assessment.reasons());
        reasons.any(|reason| reason.code() == HoldCode::PermitOutstanding)
    }

    /// Whether it waits for jobs, all of it: whatever window still holds it, and however the module's tags call it.
    fn is_idle(&self) -> bool {
        let is_idle = |found: &Found<'_>| is_idle(found.assessment);
        !self.tagged.is_bypassed
            && self.found.len() == self.machine.runners.len()
            && !self.stands()
            && self.found.iter().all(is_idle)
    }
}

/// Whether a runner waits for jobs: registered, online, and vacant by every witness that was asked.
fn is_idle(assessment: &Assessment) -> bool {
    let is_online = |signal: &Signal| {
        matches!(
            signal,
            Signal::Registration(Registration::Registered {
                busy: false,
                status: Status::Online,
                ..
            })
        )
    };
    assessment.stage == Stage::Serving
        && assessment.vacant_since.is_some()
        && assessment
            .evidence
            .iter()
            .any(|evidence| is_online(&evidence.signal))
}

/// When the last step of a drain was made.
fn since(assessment: &Assessment) -> Option<Instant> {
    let mut evidence = assessment.evidence.iter();
    evidence.find_map(|evidence| match &evidence.signal {
        Signal::Fence(seen) => Some(seen.written_at),
        _ => None,
    })
}

/// Longest drained first, for those lapse first.
pub(crate) fn by_age(a: Option<Instant>, b: Option<Instant>) -> Ordering {
    (a.is_none(), a).cmp(&(b.is_none(), b))
}
