//! A deployment with scripted witnesses, a real store on a manual clock, and a beacon's real reports.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Decision, Guard, HoldCode, Job, JobStatus, JobsView, Registration, Runner, Signal, Status,
    beacon::{ReportError, Reporter, Word},
    clock::Clock,
    fence::{Deregistration, FenceRefused},
    guard::{GuardBuilder, Retirement, Setback},
    lease::{Heartbeat, HostJob, Report},
    permit::Refused,
    registrar::{Deregistered, Registrar},
    runner::{RunnerId, RunnerRef},
    source::Trouble,
    stores::MemoryStore,
    testing::{ManualClock, ScriptedSource},
};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

pub(crate) const SCOPE: &str = "repo:acme/atlas";
pub(crate) const ID: u64 = 18_700;

pub(crate) fn start() -> DateTime<Utc> {
    "2026-05-14T02:00:00Z".parse().unwrap()
}

pub(crate) fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

pub(crate) fn seconds(count: i64) -> TimeDelta {
    TimeDelta::seconds(count)
}

pub(crate) fn runner() -> Runner {
    Runner::new("r-1", SCOPE).unwrap()
}

pub(crate) fn job() -> HostJob {
    HostJob::new("8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21")
}

/// Shown as this, with its number.
pub(crate) fn registered(busy: bool, status: Status, id: u64) -> Registration {
    let mut shown = Registration::registered(busy, status);
    if let Registration::Registered { id: shown, .. } = &mut shown {
        *shown = Some(RunnerId(id));
    }
    shown
}

pub(crate) fn no_jobs() -> JobsView {
    JobsView {
        complete: true,
        jobs: vec![],
    }
}

pub(crate) fn a_job() -> JobsView {
    let job = Job::new(7, JobStatus::InProgress, Some(RunnerRef::named("r-1")));
    JobsView {
        complete: true,
        jobs: vec![job],
    }
}

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) flag: ScriptedSource,
    pub(crate) jobs: ScriptedSource,
    pub(crate) store: Arc<MemoryStore>,
}

impl World {
    /// GitHub says `busy: false`, and shows no job.
    pub(crate) fn new() -> Self {
        let clock = ManualClock::at(start());
        Self {
            flag: ScriptedSource::registration(registered(false, Status::Online, ID)),
            jobs: ScriptedSource::jobs(no_jobs()),
            store: Arc::new(MemoryStore::new().with_clock(clock.clone())),
            clock,
        }
    }

    pub(crate) fn builder(&self) -> GuardBuilder {
        Guard::builder()
            .clock(self.clock.clone())
            .source(self.flag.clone())
            .source(self.jobs.clone())
            .store(self.store.clone())
    }

    pub(crate) fn guard(&self) -> Guard {
        self.builder().build().unwrap()
    }

    pub(crate) fn later(&self, span: TimeDelta) {
        self.clock.advance(span);
    }

    pub(crate) fn is(&self, busy: bool, status: Status) {
        self.flag
            .says(Signal::Registration(registered(busy, status, ID)));
    }

    pub(crate) fn is_gone(&self) {
        self.flag.says(Signal::Registration(Registration::absent()));
    }

    /// Looks until the grace window is over.
    pub(crate) async fn pass_the_window(&self, guard: &Guard) {
        let _ = guard.can_terminate(&runner()).await;
        self.later(minutes(5));
    }

    /// Lets it come as far as draining.
    pub(crate) async fn drain(&self, guard: &Guard) {
        self.pass_the_window(guard).await;
        let drained = guard.retire(&runner(), never).await;
        assert_draining(&drained);
    }

    /// Looks every 15 seconds for so long, while the beacon says `report`.
    pub(crate) async fn go_on(&self, beacon: &mut Beacon, span: TimeDelta, report: Report) {
        let end = self.clock.now() + span;
        while self.clock.now() < end {
            self.later(seconds(15));
            beacon.says(report.clone()).await;
        }
    }

    /// Looks, and lets a window pass in which the beacon says that there is no job.
    pub(crate) async fn idle_for_the_window(&self, guard: &Guard, beacon: &mut Beacon) {
        beacon.says(Report::Listening).await;
        let _ = guard.can_terminate(&runner()).await;
        self.go_on(beacon, minutes(5), Report::Listening).await;
    }

    pub(crate) fn beacon(&self) -> Beacon {
        self.beacon_of(Some(RunnerId(ID)), TimeDelta::zero())
    }

    /// A beacon on a host whose clock is so far ahead.
    pub(crate) fn beacon_of(&self, id: Option<RunnerId>, ahead: TimeDelta) -> Beacon {
        let scope = SCOPE.parse().unwrap();
        Beacon {
            reporter: Reporter::new(
                self.store.clone(),
                &scope,
                &runner().name,
                id,
                self.clock.now() + ahead,
            ),
            heartbeat: Heartbeat::new(self.clock.now() + ahead),
            clock: self.clock.clone(),
            ahead,
        }
    }
}

/// The beacon on the runner's host: its real fold and its real reports.
pub(crate) struct Beacon {
    reporter: Reporter,
    heartbeat: Heartbeat,
    clock: ManualClock,
    ahead: TimeDelta,
}

impl Beacon {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + self.ahead
    }

    pub(crate) fn hears(&mut self, report: Report) {
        let policy = scale_in_guard::Policy::default();
        self.heartbeat.hear(report, self.now(), &policy);
    }

    pub(crate) async fn says(&mut self, report: Report) {
        self.hears(report);
        self.tells(false, false).await;
    }

    pub(crate) async fn tells(&mut self, started: bool, going: bool) {
        self.try_tells(started, going).await.unwrap();
    }

    pub(crate) async fn try_tell(&mut self) -> Result<(), ReportError> {
        self.try_tells(false, false).await
    }

    async fn try_tells(&mut self, started: bool, going: bool) -> Result<(), ReportError> {
        let word = Word {
            heartbeat: self.heartbeat.clone(),
            started,
            going,
        };
        let clock = ManualClock::at(self.now());
        self.reporter.report(&word, &clock).await
    }

    /// A job starts: the fence is taken, and reported.
    pub(crate) async fn job_starts(&mut self) {
        let at = self.now();
        self.hears(Report::Started { job: job(), at });
        self.tells(true, false).await;
    }

    pub(crate) async fn job_ends(&mut self) {
        let at = self.now();
        self.says(Report::Finished { job: job(), at }).await;
    }
}

/// What must not be called.
pub(crate) async fn never(_: scale_in_guard::Go) -> Result<(), Infallible> {
    panic!("terminate was called")
}

/// What terminates, and does not fail.
pub(crate) async fn fine(_: scale_in_guard::Go) -> Result<(), Infallible> {
    Ok(())
}

pub(crate) fn codes(decision: &Decision) -> Vec<HoldCode> {
    decision.reasons().map(|reason| reason.code()).collect()
}

pub(crate) fn held<E: std::fmt::Debug>(retirement: &Retirement<E>) -> Vec<HoldCode> {
    match retirement {
        Retirement::Held(hold) | Retirement::Undecided { hold, .. } => {
            hold.reasons().map(|reason| reason.code()).collect()
        }
        other => panic!("not held: {other:?}"),
    }
}

/// A registrar that answers as it is told, the last answer again and again.
#[derive(Debug, Clone)]
pub(crate) struct FakeRegistrar(Arc<Mutex<(Vec<Option<Deregistered>>, usize)>>);

impl FakeRegistrar {
    /// `None`: it fails.
    pub(crate) fn answering(answers: impl IntoIterator<Item = Option<Deregistered>>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Self(Arc::new(Mutex::new((answers, 0))))
    }

    pub(crate) fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

#[async_trait]
impl Registrar for FakeRegistrar {
    async fn deregister(&self, asked: &Runner, id: RunnerId) -> Result<Deregistered, Trouble> {
        assert_eq!((asked, id), (&runner(), RunnerId(ID)));
        let mut answers = self.0.lock().unwrap();
        answers.1 += 1;
        let answer = match answers.0.len() {
            1 => answers.0[0],
            _ => answers.0.pop().unwrap(),
        };
        answer.ok_or_else(|| "502 Bad Gateway".into())
    }
}

/// It is announced that the runner goes.
#[track_caller]
pub(crate) fn assert_draining<E: std::fmt::Debug>(retirement: &Retirement<E>) {
    assert!(
        matches!(retirement, Retirement::Draining { .. }),
        "{retirement:?}"
    );
}

/// So, and deregistering has come so far.
#[track_caller]
pub(crate) fn assert_draining_as<E: std::fmt::Debug>(
    retirement: &Retirement<E>,
    so: Deregistration,
) {
    assert!(
        matches!(retirement, Retirement::Draining { deregistration, .. } if *deregistration == so),
        "{retirement:?}"
    );
}

/// A job took the fence first.
#[track_caller]
pub(crate) fn assert_taken<E: std::fmt::Debug>(retirement: &Retirement<E>) {
    let taken = Setback::Refused(Refused::Fence(FenceRefused::Taken));
    assert!(
        matches!(retirement, Retirement::Stopped { why, .. } if *why == taken),
        "{retirement:?}"
    );
}
