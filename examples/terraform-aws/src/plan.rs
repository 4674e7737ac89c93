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
        let launched_at = self.tagged.launched_at;
        let is_young = launched_at.is_some_and(|at| now - at < minimum_running_time);
        if self.found.iter().any(registered) && is_young {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idle::Eviction;
    use scale_in_guard::{
        Decision, Engine, Evidence, Job, JobStatus, JobsView, Memory, Policy, Runner,
        fence::{Deregistration, Drain, Fence, FenceSeen, Incarnation, Nonce},
        instance::Instance,
        runner::RunnerRef,
    };

    const NOW: &str = "2026-05-14T02:00:00Z";
    const MINIMUM: TimeDelta = TimeDelta::minutes(15);

    fn now() -> Instant {
        NOW.parse().unwrap()
    }

    fn minutes_ago(minutes: i64) -> Instant {
        now() - TimeDelta::minutes(minutes)
    }

    /// What there is to know of one runner, 20 minutes after its first look.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Is {
        /// Vacant for long.
        Idle,
        /// Idle for a minute: the grace window holds it.
        JustIdle,
        Busy,
        /// Its flag says idle, and a job names it.
        StaleBusy,
        Offline,
        /// GitHub's jobs could not be read.
        Unheard,
        Phantom,
        /// Drained three minutes ago.
        Drained,
    }

    fn decision(name: &str, is: Is) -> Decision {
        let engine = Engine::new(Policy::default()).unwrap();
        // Whoever is met only after its deadline may have been a runner before.
        let age = if is == Is::Phantom { 20 } else { 60 };
        let runner = Runner::new(name, "org:acme").unwrap();
        let runner = runner.launched_at(minutes_ago(age));
        let mut memory = Memory::default();
        let mut decided = None;
        for minute in (0..=20).rev().step_by(4) {
            let at = minutes_ago(minute);
            let status = if is == Is::Offline {
                Status::Offline
            } else {
                Status::Online
            };
            let was_busy = is == Is::Busy || is == Is::JustIdle && minute > 0;
            let registration = match is {
                Is::Phantom => Registration::absent(),
                _ => Registration::registered(was_busy, status),
            };
            let mut view = JobsView {
                complete: true,
                ..JobsView::default()
            };
            if is == Is::StaleBusy {
                view.jobs.push(Job::new(
                    7,
                    JobStatus::InProgress,
                    Some(RunnerRef::named(name)),
                ));
            }
            let mut evidence = vec![
                Evidence::new("rest", at, Signal::Registration(registration)),
                match is {
                    Is::Unheard => Evidence::failed(scale_in_guard::Witness::Jobs, "502", at),
                    _ => Evidence::new("rest", at, Signal::Jobs(view)),
                },
            ];
            if is == Is::Drained && minute == 0 {
                let drain = Drain {
                    nonce: Nonce::new("one"),
                    basis: scale_in_guard::Basis::Vacant,
                    of: Incarnation::default(),
                    deregistration: Deregistration::Done,
                };
                let fence = Fence::default().drain(0, drain, TimeDelta::zero()).unwrap();
                let seen = FenceSeen {
                    fence,
                    written_at: minutes_ago(3),
                    second_look_of: None,
                };
                evidence.push(Evidence::new("fence", at, Signal::Fence(seen)));
            }
            decided = Some(engine.decide(&runner, evidence, &mut memory, at));
        }
        decided.unwrap()
    }

    /// An instance with these runners.
    struct One {
        tagged: Tagged,
        machine: Machine,
        decisions: Vec<Decision>,
    }

    impl One {
        fn of(id: &str, are: &[Is]) -> Self {
            let launched_at = Some(minutes_ago(60));
            let names = are
                .iter()
                .enumerate()
                .map(|(n, is)| (format!("r{n}_{id}"), *is));
            let decisions: Vec<_> = names.map(|(name, is)| decision(&name, is)).collect();
            let runners = decisions
                .iter()
                .map(|decision| decision.assessment().runner.clone());
            let instance = Instance {
                id: id.parse().unwrap(),
                launched_at,
            };
            Self {
                tagged: Tagged {
                    id: instance.id.clone(),
                    launched_at,
                    scope: Ok("org:acme".parse().unwrap()),
                    runner_id: None,
                    is_bypassed: false,
                },
                machine: Machine {
                    instance,
                    runners: runners.collect(),
                    named_by_rule: false,
                },
                decisions,
            }
        }

        fn launched(mut self, minutes: i64) -> Self {
            self.tagged.launched_at = Some(minutes_ago(minutes));
            self
        }

        fn bypassed(mut self) -> Self {
            self.tagged.is_bypassed = true;
            self
        }

        fn seen(&self) -> Seen<'_> {
            let found = self.decisions.iter().map(|decision| Found {
                assessment: decision.assessment(),
                may_go: decision.verdict() == scale_in_guard::Verdict::Terminate,
            });
            Seen {
                tagged: &self.tagged,
                machine: &self.machine,
                found: found.collect(),
            }
        }
    }

    fn codes(course: &Course) -> Vec<&str> {
        match course {
            Course::Stay(reasons) => reasons.iter().map(|reason| reason.code.as_str()).collect(),
            Course::GoOn { .. } => vec!["(go on)"],
            Course::Begin => vec!["(begin)"],
        }
    }

    fn planned(fleet: &[One], count: usize) -> (Vec<Vec<String>>, usize) {
        let keep = Keep {
            count,
            eviction: Eviction::OldestFirst,
        };
        let seen: Vec<_> = fleet.iter().map(One::seen).collect();
        let (courses, kept) = plan(&seen, keep, MINIMUM, now());
        let owned = |course| codes(course).into_iter().map(str::to_owned).collect();
        (courses.iter().map(owned).collect(), kept)
    }

    #[test]
    fn an_instance_stays_with_the_one_runner_on_it_that_must() {
        for (one, expected) in [
            (One::of("i-01", &[Is::Idle]), &["(begin)"][..]),
            (One::of("i-01", &[Is::JustIdle]), &["grace_window"]),
            (One::of("i-01", &[Is::Busy]), &["busy"]),
            (One::of("i-01", &[Is::StaleBusy]), &["job_in_progress"]),
            (One::of("i-01", &[Is::Phantom]), &["(begin)"]),
            (One::of("i-01", &[Is::Drained]), &["(go on)"]),
            (One::of("i-01", &[Is::Idle, Is::Idle]), &["(begin)"]),
            (
                One::of("i-01", &[Is::Idle, Is::StaleBusy]),
                &["job_in_progress"],
            ),
            (One::of("i-01", &[Is::Busy, Is::Drained]), &["(go on)"]),
            (One::of("i-01", &[Is::Idle]).bypassed(), &["bypassed"]),
            (One::of("i-01", &[Is::Drained]).bypassed(), &["bypassed"]),
            (One::of("i-01", &[Is::Phantom]).bypassed(), &["bypassed"]),
            (
                One::of("i-01", &[Is::Idle]).launched(14),
                &["minimum_running_time"],
            ),
            (One::of("i-01", &[Is::Idle]).launched(15), &["(begin)"]),
            // It never ran.
            (One::of("i-01", &[Is::Phantom]).launched(14), &["(begin)"]),
        ] {
            let (courses, _) = planned(&[one], 0);
            assert_eq!(courses[0][..expected.len()], *expected, "{courses:?}");
        }
    }

    #[test]
    fn an_instance_of_which_a_runner_was_not_looked_at_stays() {
        let one = One::of("i-01", &[Is::Idle, Is::Idle]);
        let mut seen = one.seen();
        seen.found.pop();
        let (courses, _) = plan(&[seen], Keep::default(), MINIMUM, now());
        assert_eq!(courses, [Course::Stay(vec![])]);
    }

    #[test]
    fn idle_runners_are_kept_and_no_other_satisfies_the_count() {
        let fleet = |others: &[Is]| {
            let mut fleet = vec![
                One::of("i-0001", &[Is::Idle]).launched(40),
                One::of("i-0002", &[Is::Idle]).launched(30),
            ];
            // All of them younger: they would be kept first, if they counted.
            fleet.extend(
                others
                    .iter()
                    .map(|is| One::of("i-0003", &[*is]).launched(20)),
            );
            fleet
        };
        for (other, count, kept, begun) in [
            (None, 0, 0, 2),
            (None, 1, 1, 1),
            (None, 2, 2, 0),
            (None, 9, 2, 0),
            (Some(Is::Busy), 1, 1, 1),
            (Some(Is::StaleBusy), 1, 1, 1),
            // Lost, and so it may go.
            (Some(Is::Offline), 1, 1, 2),
            (Some(Is::Unheard), 1, 1, 1),
            (Some(Is::Phantom), 1, 1, 2),
            (Some(Is::Drained), 1, 1, 1),
            // Held by its window, and idle: it is kept, and the others may go.
            (Some(Is::JustIdle), 1, 1, 2),
        ] {
            let fleet = fleet(other.as_slice());
            let (courses, was_kept) = planned(&fleet, count);
            let began = courses
                .iter()
                .filter(|codes| codes[..] == ["(begin)"])
                .count();
            assert_eq!(
                (was_kept, began),
                (kept, begun),
                "{other:?} {count}: {courses:?}"
            );
        }
        let bypassed = [
            One::of("i-0001", &[Is::Idle]),
            One::of("i-0002", &[Is::Idle]).bypassed(),
        ];
        assert_eq!(planned(&bypassed, 1).0, [["idle_kept"], ["bypassed"]]);
        let half_idle = [
            One::of("i-0001", &[Is::Idle]),
            One::of("i-0002", &[Is::Idle, Is::Busy]),
        ];
        assert_eq!(planned(&half_idle, 1).0[0], ["idle_kept"]);
    }

    #[test]
    fn the_drain_that_lapses_first_is_gone_on_with_first() {
        let mut ages = [None, Some(minutes_ago(1)), Some(minutes_ago(9))];
        ages.sort_by(|a, b| by_age(*a, *b));
        assert_eq!(ages, [Some(minutes_ago(9)), Some(minutes_ago(1)), None]);
    }
}
