//! What makes a row of a rule's table short: a script of looks, all of them put through
//! [`Engine::decide`], and what one rule found at the last. Instants are seconds from a start.

use super::Finding;
use crate::{
    decision::Basis,
    engine::Engine,
    evidence::{Evidence, Job, JobStatus, JobsView, Registration, Signal, Status, Witness},
    fence::{Deregistration, Drain, Fence, FenceSeen, Incarnation, Nonce},
    fleet::FleetReport,
    hold::HoldCode,
    lease::{Heartbeat, HostJob, Report},
    ledger::{Action, Delivery, Ledger},
    memory::Memory,
    policy::Policy,
    runner::{Runner, RunnerRef},
    stage::Stage,
    time::Instant,
};
use Report::{Alive, Finished, Listening, Renewed, Worker};
use chrono::TimeDelta;

pub(crate) const NAME: &str = "r-1";

pub(crate) fn at(second: i64) -> Instant {
    Instant::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(second)
}

pub(crate) fn seconds(count: i64) -> TimeDelta {
    TimeDelta::seconds(count)
}

/// What a rule found; of a hold its code, and the second at which asking again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Hold(HoldCode, Option<i64>),
    Clear,
    Abstain,
}

/// A hold that ends at a second that is known.
pub(crate) fn until(code: HoldCode, second: i64) -> Found {
    Found::Hold(code, Some(second))
}

/// A hold that only an event ends.
pub(crate) fn event(code: HoldCode) -> Found {
    Found::Hold(code, None)
}

/// A runner, a policy and a script of looks.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) runner: Runner,
    pub(crate) policy: Policy,
    looks: Vec<(i64, Vec<Evidence>)>,
}

impl Case {
    pub(crate) fn new() -> Self {
        Self {
            runner: Runner::new(NAME, "repo:acme/atlas").unwrap(),
            policy: Policy::default(),
            looks: Vec::new(),
        }
    }

    /// A single look at second 0.
    pub(crate) fn once(evidence: impl IntoIterator<Item = Evidence>) -> Self {
        Self::new().look(0, evidence)
    }

    pub(crate) fn runner(mut self, change: impl FnOnce(Runner) -> Runner) -> Self {
        self.runner = change(self.runner);
        self
    }

    pub(crate) fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    pub(crate) fn look(mut self, at: i64, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.looks.push((at, evidence.into_iter().collect()));
        self
    }

    /// The same look again and again.
    pub(crate) fn looks<E: IntoIterator<Item = Evidence>>(
        self,
        seconds: impl IntoIterator<Item = i64>,
        evidence: impl Fn(i64) -> E,
    ) -> Self {
        let looks = seconds.into_iter();
        looks.fold(self, |case, second| case.look(second, evidence(second)))
    }

    /// Adds to the last look.
    pub(crate) fn and(mut self, evidence: Evidence) -> Self {
        self.looks.last_mut().unwrap().1.push(evidence);
        self
    }

    /// Puts evidence into the last look, in the place of what its witness said there.
    pub(crate) fn instead(mut self, evidence: Evidence) -> Self {
        let last = &mut self.looks.last_mut().unwrap().1;
        last.retain(|known| known.witness() != evidence.witness());
        self.and(evidence)
    }

    /// Takes a witness out of the last look.
    pub(crate) fn without(mut self, witness: Witness) -> Self {
        let last = &mut self.looks.last_mut().unwrap().1;
        last.retain(|known| known.witness() != witness);
        self
    }

    /// The second of the last look.
    pub(crate) fn now(&self) -> i64 {
        self.looks.last().unwrap().0
    }

    /// The stage at the last look, and what the rule found there.
    pub(crate) fn judged(&self, rule: &str) -> (Stage, Found) {
        let engine = Engine::new(self.policy.clone()).unwrap();
        let mut memory = Memory::default();
        let mut last = None;
        for (second, evidence) in &self.looks {
            let evidence = evidence.clone();
            last = Some(engine.decide(&self.runner, evidence, &mut memory, at(*second)));
        }
        let last = last.unwrap();
        let assessment = last.assessment();
        let mut findings = assessment.findings.iter();
        let finding = &findings.find(|found| found.rule == rule).unwrap().finding;
        let found = match finding {
            Finding::Clear => Found::Clear,
            Finding::Abstain => Found::Abstain,
            Finding::Hold(reason) => {
                let retry_at = reason.retry_at();
                let second = |retry_at: Instant| (retry_at - at(0)).num_seconds();
                Found::Hold(reason.code(), retry_at.map(second))
            }
        };
        (assessment.stage, found)
    }

    /// What the rule found at the last look.
    pub(crate) fn found(&self, rule: &str) -> Found {
        self.judged(rule).1
    }

    /// A runner in a stage, by the shortest way there: with a complete and clear view of the jobs,
    /// and, where the stage allows it, a `busy` flag that says the opposite.
    pub(crate) fn in_stage(stage: Stage) -> Self {
        let case = Self::new();
        match stage {
            Stage::Launching => case.look(0, [absent(0), no_jobs(0)]),
            Stage::NeverRegistered => case.looks([0, 600, 720], |t| [absent(t), no_jobs(t)]),
            Stage::Unconfirmed => {
                let case = case.look(0, [online(0), no_jobs(0)]);
                case.look(60, [absent(60), no_jobs(60)])
            }
            Stage::Unreadable => case.look(0, [failed(Witness::Registration, 0), no_jobs(0)]),
            Stage::Serving => case.look(0, [online(0), no_jobs(0)]),
            Stage::Departed => {
                let case = case.look(0, [busy(0), no_jobs(0)]);
                case.looks([60, 120], |t| [absent(t), no_jobs(t)])
            }
            Stage::Lost => case.looks([0, 600, 900], |t| [offline(true, t), no_jobs(t)]),
            Stage::BusyRefuted => case.looks((0..=3600).step_by(600), |t| {
                [busy(t), no_jobs(t), heard(listening(0, t), t)]
            }),
            Stage::Wedged => case.looks((0..=3600).step_by(600), |t| {
                [busy(t), no_jobs(t), heard(worker_after_its_job(t), t)]
            }),
            Stage::Drained => {
                let case = case.look(0, [online(0), no_jobs(0)]);
                let drained = drained(Basis::Vacant, Deregistration::Done, 300);
                case.look(390, [absent(390), no_jobs(390), drained])
            }
        }
    }

    /// Holds the row to its stage as well, so that a script cannot miss it unnoticed.
    pub(crate) fn assert(&self, rule: &str, stage: Stage, found: Found, row: &str) {
        assert_eq!(self.judged(rule), (stage, found), "{row}: {self:#?}");
    }
}

/// A fence as it was read at the second look of its drain, whose last step was written at this second.
pub(crate) fn drained(basis: Basis, deregistration: Deregistration, written: i64) -> Evidence {
    let nonce = Nonce::new("one");
    let drain = Drain {
        nonce: nonce.clone(),
        basis,
        of: Incarnation::default(),
        deregistration,
    };
    let fence = Fence::default().drain(0, drain, TimeDelta::zero());
    fenced(fence.unwrap(), written, Some(nonce), written + 90)
}

/// A fence as it was read.
pub(crate) fn fenced(
    fence: Fence,
    written: i64,
    second_look_of: Option<Nonce>,
    read: i64,
) -> Evidence {
    let seen = FenceSeen {
        fence,
        written_at: at(written),
        second_look_of,
    };
    Evidence::new("fence", at(read), Signal::Fence(seen))
}

fn registered(busy: bool, status: Status, asked: i64) -> Evidence {
    Evidence::registration(Registration::registered(busy, status), at(asked))
}

pub(crate) fn online(asked: i64) -> Evidence {
    registered(false, Status::Online, asked)
}

pub(crate) fn busy(asked: i64) -> Evidence {
    registered(true, Status::Online, asked)
}

pub(crate) fn offline(busy: bool, asked: i64) -> Evidence {
    registered(busy, Status::Offline, asked)
}

/// Registered, vacant, with a word of GitHub's that nobody knows.
pub(crate) fn of_another_status(asked: i64) -> Evidence {
    registered(false, Status::Other, asked)
}

/// Absent beside a listing that can be trusted, in a scope of ours.
pub(crate) fn absent(asked: i64) -> Evidence {
    Evidence::registration(Registration::absent(), at(asked))
}

pub(crate) fn absent_where(beside_listing: bool, scope_is_ours: bool, asked: i64) -> Evidence {
    let absent = Registration::Absent {
        beside_listing,
        scope_is_ours,
        listing_is_empty: false,
        was_shown: false,
        unaccounted: Vec::new(),
    };
    Evidence::registration(absent, at(asked))
}

pub(crate) fn failed(witness: Witness, asked: i64) -> Evidence {
    Evidence::failed(witness, "502", at(asked))
}

/// A failure that says when trying again can help.
pub(crate) fn failed_until(witness: Witness, retry: i64, asked: i64) -> Evidence {
    Evidence::failed(witness, "429", at(asked)).again_at(at(retry))
}

/// A view of the jobs.
pub(crate) fn view(complete: bool, jobs: impl IntoIterator<Item = Job>, asked: i64) -> Evidence {
    let jobs = jobs.into_iter().collect();
    Evidence::jobs(JobsView { complete, jobs }, at(asked))
}

pub(crate) fn no_jobs(asked: i64) -> Evidence {
    view(true, [], asked)
}

pub(crate) fn partial(asked: i64) -> Evidence {
    view(false, [], asked)
}

/// A job in progress that names the runner.
pub(crate) fn running() -> Job {
    Job::new(7, JobStatus::InProgress, Some(RunnerRef::named(NAME)))
}

pub(crate) fn job() -> HostJob {
    HostJob::new("8e2d47c1")
}

/// A heartbeat, of what was received when.
pub(crate) fn beat(reports: impl IntoIterator<Item = (i64, Report)>) -> Heartbeat {
    let policy = Policy::default();
    let mut reports = reports.into_iter().peekable();
    let mut heartbeat = Heartbeat::new(at(reports.peek().unwrap().0));
    for (second, report) in reports {
        heartbeat.hear(report, at(second), &policy);
    }
    heartbeat
}

/// What was received, and then a bare sign of life every 30 seconds, the last one at `to`.
pub(crate) fn alive_until(to: i64, reports: impl IntoIterator<Item = (i64, Report)>) -> Heartbeat {
    let reports: Vec<_> = reports.into_iter().collect();
    let from = reports.last().unwrap().0;
    let signs = (from..to).step_by(30).skip(1).chain([to]);
    let signs = signs.map(|second| (second, Alive));
    beat(reports.into_iter().chain(signs))
}

/// A beacon that has reported no job since `from`, and was alive until `to`.
pub(crate) fn listening(from: i64, to: i64) -> Heartbeat {
    alive_until(to, [(from, Listening)])
}

/// A beacon that has reported a worker process and no job since `from`.
pub(crate) fn working(from: i64, to: i64) -> Heartbeat {
    alive_until(to, [(from, Worker)])
}

/// A worker process that outlived its job, whose end was logged at second 0.
pub(crate) fn worker_after_its_job(to: i64) -> Heartbeat {
    let ended = Finished {
        job: job(),
        at: at(0),
    };
    alive_until(to, [(0, Worker), (0, renewed(0)), (0, ended)])
}

/// A renewal of the job's lease, stamped at this second by the runner's host.
pub(crate) fn renewed(stamp: i64) -> Report {
    Renewed {
        job: job(),
        at: at(stamp),
        valid_for: None,
    }
}

pub(crate) fn finished(stamp: i64) -> Report {
    Finished {
        job: job(),
        at: at(stamp),
    }
}

pub(crate) fn heard(heartbeat: Heartbeat, asked: i64) -> Evidence {
    Evidence::lease(Some(heartbeat), at(asked))
}

pub(crate) fn never_heard(asked: i64) -> Evidence {
    Evidence::lease(None, at(asked))
}

/// Deliveries about one job: what happened, which attempt, received when.
pub(crate) fn webhooks(
    deliveries: impl IntoIterator<Item = (Action, u32, i64)>,
    asked: i64,
) -> Evidence {
    webhooks_naming(RunnerRef::named(NAME), deliveries, asked)
}

pub(crate) fn webhooks_naming(
    runner: RunnerRef,
    deliveries: impl IntoIterator<Item = (Action, u32, i64)>,
    asked: i64,
) -> Evidence {
    let mut ledger = Ledger::default();
    for (action, attempt, second) in deliveries {
        ledger.receive(Delivery {
            action,
            job_id: 7,
            attempt,
            runner: Some(runner.clone()),
            labels: vec!["linux".into()],
            repository: None,
            received_at: at(second),
        });
    }
    Evidence::new("webhooks", at(asked), Signal::Webhooks(ledger))
}

pub(crate) fn fleet(report: FleetReport, asked: i64) -> Evidence {
    Evidence::new("fleet", at(asked), Signal::Fleet(report))
}
