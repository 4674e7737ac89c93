//! What really is: which runner has which job.

use super::{FakeGitHub, history::History};
use crate::{
    runner::{RunnerId, Scope},
    time::Instant,
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Job numbers begin beyond 32 bits, as GitHub's have long done.
const FIRST_JOB: u64 = 60_000_000_000;
/// What a runner says it is.
const VERSION: &str = "2.336.0";
/// Run numbers too.
const FIRST_RUN: u64 = 20_000_000_000;

/// The number of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A runner about to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRunner {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Whether it takes one job and is deregistered when that is over.
    pub ephemeral: bool,
    /// Its status: "online", "offline", or what GitHub may come to say.
    pub status: String,
    /// The version of its program; `None` until it has connected for the first time.
    pub version: Option<String>,
}

impl NewRunner {
    /// A runner that is online and has the labels that every runner on Linux has.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            labels: ["self-hosted", "Linux", "X64"].map(String::from).into(),
            ephemeral: false,
            status: "online".into(),
            version: Some(VERSION.into()),
        }
    }

    /// The same runner, registered but not started yet: it is offline and has no version.
    #[must_use]
    pub fn never_connected(self) -> Self {
        Self {
            status: "offline".into(),
            version: None,
            ..self
        }
    }
}

/// What became of a runner that was terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Killed {
    /// Whether it had a job: the harm that a guard exists to prevent.
    pub was_occupied: bool,
}

/// What really is.
#[derive(Debug, Default)]
pub(super) struct Truth {
    places: Vec<Scope>,
    pub(super) registrations: Vec<Registered>,
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) runs: BTreeMap<u64, Run>,
    runners_so_far: u64,
}

/// A registration.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) id: RunnerId,
    pub(super) scope: Scope,
    pub(super) runner: NewRunner,
    pub(super) group: u64,
    pub(super) busy: History<bool>,
}

/// A workflow run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: u64,
    pub(super) repository: Arc<str>,
    pub(super) created_at: Instant,
    pub(super) jobs: Vec<JobId>,
}

/// A job of a run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) run: u64,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) labels: Vec<String>,
    pub(super) created_at: Instant,
    pub(super) states: History<State>,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) status: Arc<str>,
    pub(super) conclusion: Option<Arc<str>>,
    pub(super) seat: Option<Seat>,
    pub(super) started_at: Option<Instant>,
    pub(super) completed_at: Option<Instant>,
    /// When each of its steps that are over ended.
    pub(super) steps: Vec<Instant>,
    pub(super) since: Instant,
}

/// The runner that has a job, or had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) scope: Scope,
    pub(super) name: Arc<str>,
    pub(super) id: RunnerId,
}

impl Seat {
    fn is(&self, scope: &Scope, name: &str) -> bool {
        self.scope == *scope && &*self.name == name
    }
}

impl State {
    fn waits(status: &str, now: Instant) -> Self {
        Self {
            status: status.into(),
            conclusion: None,
            seat: None,
            started_at: None,
            completed_at: None,
            steps: Vec::new(),
            since: now,
        }
    }

    fn runs_on(seat: Seat, now: Instant) -> Self {
        Self {
            status: "in_progress".into(),
            seat: Some(seat),
            started_at: Some(now),
            ..Self::waits("", now)
        }
    }

    fn one_step_further(&self, now: Instant) -> Self {
        let steps = self.steps.iter().copied().chain([now]).collect();
        Self {
            steps,
            since: now,
            ..self.clone()
        }
    }

    fn over(&self, conclusion: &str, now: Instant) -> Self {
        Self {
            status: "completed".into(),
            conclusion: Some(conclusion.into()),
            completed_at: Some(now),
            since: now,
            ..self.clone()
        }
    }
}

impl Job {
    fn seat(&self) -> Option<&Seat> {
        self.states.latest()?.seat.as_ref()
    }

    fn is_over(&self) -> bool {
        let state = self.states.latest();
        state.is_some_and(|state| state.completed_at.is_some())
    }

    fn occupies(&self, scope: &Scope, name: &str) -> bool {
        !self.is_over() && self.seat().is_some_and(|seat| seat.is(scope, name))
    }
}

impl Truth {
    /// Makes a scope known. A repository's owner is an organisation that exists as well.
    fn know(&mut self, scope: &Scope) {
        if let Scope::Repository { owner, .. } = scope {
            self.know(&Scope::Organization(owner.clone()));
        }
        if !self.places.contains(scope) {
            self.places.push(scope.clone());
        }
    }

    fn know_repository(&mut self, repository: &str) {
        if let Ok(scope) = format!("repo:{repository}").parse() {
            self.know(&scope);
        }
    }

    /// The scope of this text, as it was first written. GitHub does not tell case apart.
    pub(super) fn place(&self, text: &str) -> Option<&Scope> {
        let mut places = self.places.iter();
        places.find(|scope| scope.to_string().eq_ignore_ascii_case(text))
    }

    /// The scope of this number, under which GitHub's own links name it.
    pub(super) fn place_numbered(&self, number: u64) -> Option<&Scope> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        self.places.get(at)
    }

    /// The number of a scope; 0 where it is unknown.
    pub(super) fn number(&self, scope: &Scope) -> u64 {
        let at = self.places.iter().position(|place| place == scope);
        at.map_or(0, |at| at as u64 + 1)
    }

    fn next_runner(&mut self) -> RunnerId {
        self.runners_so_far += 1;
        RunnerId(self.runners_so_far)
    }

    /// Registers a runner, in place of another of its name.
    pub(super) fn register(&mut self, scope: &Scope, runner: NewRunner, now: Instant) -> RunnerId {
        self.know(scope);
        self.deregister(scope, &runner.name);
        let id = self.next_runner();
        self.registrations.push(Registered {
            id,
            scope: scope.clone(),
            runner,
            group: 1,
            busy: History::since(now, false),
        });
        id
    }

    fn deregister(&mut self, scope: &Scope, name: &str) {
        let is_it = |known: &Registered| known.scope == *scope && known.runner.name == name;
        self.registrations.retain(|known| !is_it(known));
    }

    /// Takes a registration away; a job that runs there runs on.
    pub(super) fn deregister_by_id(&mut self, scope: &Scope, id: RunnerId) {
        let is_it = |known: &Registered| known.scope == *scope && known.id == id;
        self.registrations.retain(|known| !is_it(known));
    }

    fn registered(&mut self, scope: &Scope, name: &str) -> Option<&mut Registered> {
        let mut known = self.registrations.iter_mut();
        known.find(|known| known.scope == *scope && known.runner.name == name)
    }

    /// Puts a runner into the group of this number.
    pub(super) fn set_group(&mut self, id: RunnerId, group: u64) {
        let mut known = self.registrations.iter_mut();
        if let Some(known) = known.find(|known| known.id == id) {
            known.group = group;
        }
    }

    /// Whether a runner of this name is registered.
    pub(super) fn is_taken(&self, scope: &Scope, name: &str) -> bool {
        let mut known = self.registrations.iter();
        known.any(|known| known.scope == *scope && known.runner.name.eq_ignore_ascii_case(name))
    }

    fn is_occupied(&self, scope: &Scope, name: &str) -> bool {
        self.jobs.values().any(|job| job.occupies(scope, name))
    }

    /// Brings the flag of a registration in line with its jobs.
    fn settle(&mut self, id: RunnerId, now: Instant) {
        let is_here = |job: &Job| !job.is_over() && job.seat().is_some_and(|seat| seat.id == id);
        let is_busy = self.jobs.values().any(is_here);
        let mut known = self.registrations.iter_mut();
        if let Some(known) = known.find(|known| known.id == id) {
            known.busy.note(now, is_busy);
        }
    }

    fn new_run(&mut self, repository: &str, now: Instant) -> u64 {
        self.know_repository(repository);
        let id = FIRST_RUN + self.runs.len() as u64 + 1;
        let run = Run {
            id,
            repository: repository.into(),
            created_at: now,
            jobs: Vec::new(),
        };
        self.runs.insert(id, run);
        id
    }

    fn new_job(&mut self, run: u64, labels: Vec<String>, now: Instant) -> JobId {
        let number = self.jobs.len() as u64 + 1;
        self.insert_job(run, format!("job {number}"), 1, labels, now)
    }

    fn insert_job(
        &mut self,
        run: u64,
        name: String,
        attempt: u32,
        labels: Vec<String>,
        now: Instant,
    ) -> JobId {
        let id = JobId(FIRST_JOB + self.jobs.len() as u64 + 1);
        let job = Job {
            id,
            run,
            name,
            attempt,
            labels,
            created_at: now,
            states: History::since(now, State::waits("queued", now)),
        };
        self.jobs.insert(id, job);
        if let Some(run) = self.runs.get_mut(&run) {
            run.jobs.push(id);
        }
        id
    }

    fn rerun(&mut self, job: JobId, now: Instant) -> JobId {
        match self.jobs.get(&job) {
            None => job,
            Some(job) => {
                let (run, name, labels) = (job.run, job.name.clone(), job.labels.clone());
                self.insert_job(run, name, job.attempt + 1, labels, now)
            }
        }
    }

    /// Changes how a job stands, and the flags of the runners that it leaves and takes.
    fn set_state(&mut self, job: JobId, state: State, now: Instant) {
        let Some(job) = self.jobs.get_mut(&job) else {
            return;
        };
        let left = job.seat().map(|seat| seat.id);
        let taken = state.seat.as_ref().map(|seat| seat.id);
        job.states.note(now, state);
        for id in left.into_iter().chain(taken) {
            self.settle(id, now);
        }
    }

    fn is_open(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| !job.is_over())
    }

    fn assign(&mut self, job: JobId, scope: &Scope, name: &str, now: Instant) {
        if !self.is_open(job) {
            return;
        }
        let id = match self.registered(scope, name) {
            Some(known) => known.id,
            None => self.next_runner(),
        };
        let seat = Seat {
            scope: scope.clone(),
            name: name.into(),
            id,
        };
        self.know(scope);
        self.set_state(job, State::runs_on(seat, now), now);
    }

    fn wait(&mut self, job: JobId, status: &str, now: Instant) {
        if self.is_open(job) {
            self.set_state(job, State::waits(status, now), now);
        }
    }

    /// Ends the step that a running job is in; the next one begins.
    fn progress(&mut self, job: JobId, now: Instant) {
        let open = self.jobs.get(&job).filter(|job| !job.is_over());
        let state = open.and_then(|job| job.states.latest());
        if let Some(state) = state.filter(|state| state.started_at.is_some()) {
            let further = state.one_step_further(now);
            self.set_state(job, further, now);
        }
    }

    /// Ends an open job.
    fn end(&mut self, job: JobId, conclusion: &str, now: Instant) {
        let open = self.jobs.get(&job).filter(|job| !job.is_over());
        if let Some(state) = open.and_then(|job| job.states.latest()) {
            let over = state.over(conclusion, now);
            self.set_state(job, over, now);
        }
    }

    /// Ends an open job in good order: an ephemeral runner goes with it.
    fn finish(&mut self, job: JobId, conclusion: &str, now: Instant) {
        let was_open = self.is_open(job);
        self.end(job, conclusion, now);
        let seat = self.jobs.get(&job).and_then(Job::seat).map(|seat| seat.id);
        if was_open {
            let goes = |known: &Registered| known.runner.ephemeral && Some(known.id) == seat;
            self.registrations.retain(|known| !goes(known));
        }
    }

    fn kill(&mut self, scope: &Scope, name: &str, now: Instant) -> Killed {
        let jobs = self.jobs.values().filter(|job| job.occupies(scope, name));
        let jobs: Vec<JobId> = jobs.map(|job| job.id).collect();
        if let Some(known) = self.registered(scope, name) {
            known.runner.status = "offline".into();
        }
        for &job in &jobs {
            self.end(job, "failure", now);
        }
        Killed {
            was_occupied: !jobs.is_empty(),
        }
    }
}

/// The truth.
impl FakeGitHub {
    /// Registers a runner that is online and idle. Another one of this name is replaced by it, under a
    /// new number; the new flag knows nothing of a job that began under the old one.
    pub fn register(&self, scope: &Scope, name: &str) -> RunnerId {
        self.register_with(scope, NewRunner::named(name))
    }

    /// Registers a runner like this.
    pub fn register_with(&self, scope: &Scope, runner: NewRunner) -> RunnerId {
        self.change(|world, now| world.truth.register(scope, runner, now))
    }

    /// Takes a runner's registration away. A job that it has runs on.
    pub fn deregister(&self, scope: &Scope, name: &str) {
        self.change(|world, _| world.truth.deregister(scope, name));
    }

    /// Sets a runner's status: "online", "offline", or what GitHub may come to say.
    pub fn set_status(&self, scope: &Scope, name: &str, status: &str) {
        self.change(|world, _| {
            if let Some(known) = world.truth.registered(scope, name) {
                known.runner.status = status.into();
            }
        });
    }

    /// Lets a runner connect: it is online, and has a version from then on.
    pub fn connect(&self, scope: &Scope, name: &str) {
        self.change(|world, _| {
            if let Some(known) = world.truth.registered(scope, name) {
                known.runner.status = "online".into();
                known.runner.version.get_or_insert_with(|| VERSION.into());
            }
        });
    }

    /// Makes a scope known that nothing else mentions. All others are unknown here: 404.
    pub fn add_scope(&self, scope: &Scope) {
        self.change(|world, _| world.truth.know(scope));
    }

    /// Makes a repository known, `owner/name`, that nothing else mentions.
    pub fn add_repository(&self, repository: &str) {
        self.change(|world, _| world.truth.know_repository(repository));
    }

    /// Starts a job of a new run of this repository, `owner/name`, on a runner. A runner that is not
    /// registered works all the same: GitHub lists it nowhere.
    pub fn start_job(&self, scope: &Scope, runner: &str, repository: &str) -> JobId {
        self.change(|world, now| {
            let labels = match world.truth.registered(scope, runner) {
                Some(known) => known.runner.labels.clone(),
                None => NewRunner::named(runner).labels,
            };
            let run = world.truth.new_run(repository, now);
            let job = world.truth.new_job(run, labels, now);
            world.truth.assign(job, scope, runner, now);
            job
        })
    }

    /// Starts a job as [`start_job`](Self::start_job), but as GitHub dispatches one: only to a runner that is
    /// registered, online and without a job. `None` for every other.
    pub fn dispatch(&self, scope: &Scope, runner: &str, repository: &str) -> Option<JobId> {
        self.change(|world, now| {
            let truth = &mut world.truth;
            let known = truth.registered(scope, runner)?;
            let (is_online, labels) =
                (known.runner.status == "online", known.runner.labels.clone());
            if !is_online || truth.is_occupied(scope, runner) {
                return None;
            }
            let run = truth.new_run(repository, now);
            let job = truth.new_job(run, labels, now);
            truth.assign(job, scope, runner, now);
            Some(job)
        })
    }

    /// Queues a job of a new run of this repository, `owner/name`, that asks for these labels.
    pub fn queue_job(&self, repository: &str, labels: &[&str]) -> JobId {
        let labels = labels.iter().map(|&label| label.into()).collect();
        self.change(|world, now| {
            let run = world.truth.new_run(repository, now);
            world.truth.new_job(run, labels, now)
        })
    }

    /// Queues another job in the run of this one.
    pub fn add_job_to_run(&self, of: JobId, labels: &[&str]) -> JobId {
        let labels = labels.iter().map(|&label| label.into()).collect();
        self.change(|world, now| {
            let run = world.truth.jobs.get(&of).map_or(0, |job| job.run);
            world.truth.new_job(run, labels, now)
        })
    }

    /// Queues a job again, in the next attempt of its run.
    pub fn rerun_job(&self, job: JobId) -> JobId {
        self.change(|world, now| world.truth.rerun(job, now))
    }

    /// Gives an open job to a runner: it is in progress.
    pub fn assign(&self, job: JobId, scope: &Scope, runner: &str) {
        self.change(|world, now| world.truth.assign(job, scope, runner, now));
    }

    /// Lets an open job wait, without a runner: "queued", "waiting", "requested" or "pending".
    pub fn set_waiting(&self, job: JobId, status: &str) {
        self.change(|world, now| world.truth.wait(job, status, now));
    }

    /// Lets a running job finish the step that it is in and begin another.
    pub fn progress(&self, job: JobId) {
        self.change(|world, now| world.truth.progress(job, now));
    }

    /// Ends a job with success; its run is over with the last of its jobs. A runner that is ephemeral
    /// is deregistered.
    pub fn finish_job(&self, job: JobId) {
        self.finish_job_as(job, "success");
    }

    /// Ends a job with this conclusion, such as "failure" or "cancelled".
    pub fn finish_job_as(&self, job: JobId, conclusion: &str) {
        self.change(|world, now| world.truth.finish(job, conclusion, now));
    }

    /// Whether a runner is registered.
    #[must_use]
    pub fn is_registered(&self, scope: &Scope, name: &str) -> bool {
        self.change(|world, _| world.truth.registered(scope, name).is_some())
    }

    /// Whether a runner really has a job, registered or not.
    #[must_use]
    pub fn is_occupied(&self, scope: &Scope, name: &str) -> bool {
        self.change(|world, _| world.truth.is_occupied(scope, name))
    }

    /// Terminates a runner: its registration, if any, stays behind offline, and a job that it has
    /// fails.
    pub fn kill(&self, scope: &Scope, name: &str) -> Killed {
        self.change(|world, now| world.truth.kill(scope, name, now))
    }
}
