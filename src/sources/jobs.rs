//! The workflow jobs, as GitHub shows them: the view that can say *vacant*.

use super::{
    scan::Scans,
    shared::{Read, SharedReads, github_for, unheard},
};
use crate::{
    clock::Clock,
    evidence::{Evidence, Job, JobStatus, JobsView, Signal, Witness},
    fleet::MAX_GITHUB_SKEW,
    github::{GitHub, GitHubError, Repository, RunStatus},
    policy::Policy,
    records::Records,
    runner::Scope,
    source::{Ask, Cost, EvidenceSource, Reach, Trouble},
    time::after,
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

/// Repositories that are read at the same time, and runs of each. The client keeps the requests at once below
/// GitHub's limit.
const REPOSITORIES_AT_ONCE: usize = 12;
const RUNS_AT_ONCE: usize = 10;

/// How many jobs that webhooks opened on one runner GitHub is asked about.
const MOST_TOLD: usize = 8;

/// How many of its troubles a view tells one by one.
const TOLD: usize = 5;

/// Which repositories could give a job to the runners of an organisation or an enterprise. A
/// repository's runner takes jobs of its own repository, whatever stands here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repositories {
    given: BTreeSet<Repository>,
    are_all: bool,
}

impl Repositories {
    /// None are given: only the runners of repositories have a jobs view.
    #[must_use]
    pub fn of_each_runner() -> Self {
        Self::default()
    }

    /// These, among others: the view can hold, and never says *vacant*.
    #[must_use]
    pub fn some(repositories: impl IntoIterator<Item = Repository>) -> Self {
        Self {
            given: repositories.into_iter().collect(),
            are_all: false,
        }
    }

    /// These and no others: the view can say *vacant*. A repository that is left out is a way to kill
    /// its jobs.
    #[must_use]
    pub fn all(repositories: impl IntoIterator<Item = Repository>) -> Self {
        let some = Self::some(repositories);
        Self {
            // All of none are none.
            are_all: !some.given.is_empty(),
            ..some
        }
    }

    /// Those to read for a scope.
    fn of(&self, scope: &Scope) -> Vec<Repository> {
        match Repository::of(scope) {
            Some(own) => vec![own],
            None => self.usable(scope).cloned().collect(),
        }
    }

    /// Those given whose jobs the runners of a scope can take: an organisation's take jobs of its own alone.
    fn usable<'r>(&'r self, scope: &'r Scope) -> impl Iterator<Item = &'r Repository> {
        self.given.iter().filter(move |repository| match scope {
            Scope::Organization(name) => repository.owner().eq_ignore_ascii_case(name),
            _ => true,
        })
    }

    /// How far a view of them goes, for the runners of a scope.
    fn reach(&self, scope: &Scope) -> Reach {
        match scope {
            Scope::Repository { .. } => Reach::Clears,
            _ if self.usable(scope).next().is_none() => Reach::Nothing,
            _ if self.are_all => Reach::Clears,
            _ => Reach::Holds,
        }
    }
}

/// The witness `jobs`: every run that is requested, waiting, pending, queued or in progress, with its
/// jobs.
///
/// The view is *complete*, and can say *vacant*, when every repository that could use the runner was read
/// to its last page, below the 1,000 results that GitHub shows at the most.
#[derive(Debug)]
pub struct JobsSource {
    github: GitHub,
    clock: Arc<dyn Clock>,
    policy: Arc<Policy>,
    repositories: Repositories,
    /// By the scope, and whether everything was to be read.
    views: SharedReads<(Scope, bool), View>,
    /// Where webhooks narrow what is read.
    scans: Option<Scans>,
}

/// What one scan showed.
#[derive(Debug, Default)]
struct View {
    jobs: Vec<Job>,
    /// Whether anything could be read at all.
    any: bool,
    /// Why it is not complete.
    troubles: Vec<String>,
    /// What GitHub said instead of an answer.
    errors: Vec<GitHubError>,
    /// Where there is a run that is not over.
    open: BTreeSet<Repository>,
    /// Whether a repository was passed over.
    is_narrowed: bool,
}

impl JobsSource {
    pub(crate) fn new(
        github: GitHub,
        clock: Arc<dyn Clock>,
        policy: Arc<Policy>,
        repositories: Repositories,
    ) -> Self {
        Self {
            github,
            clock,
            policy,
            repositories,
            views: SharedReads::new(|view| !view.errors.is_empty()),
            scans: None,
        }
    }

    /// The same source, which reads no more than what webhooks told of, where that is enough.
    pub(crate) fn narrowed_by(self, records: Records) -> Self {
        let scans = Some(Scans::new(records, Arc::clone(&self.policy)));
        Self { scans, ..self }
    }

    /// Reads every repository that could have a job for the scope's runners.
    async fn read(&self, github: &GitHub, ask: &Ask) -> View {
        let (scope, deadline) = (&ask.runner().scope, ask.deadline());
        let all = self.repositories.of(scope);
        // Where our clock is off, nobody knows how long ago anything was.
        let is_in_time = |github: &GitHub| github.ahead().abs() <= MAX_GITHUB_SKEW;
        let scans = self.scans.as_ref();
        let Some(scans) = scans.filter(|_| !ask.wants_all() && is_in_time(github)) else {
            return read(github, all).await;
        };
        let plan = scans.plan(scope, all, self.clock.now(), deadline).await;
        let mut view = read(github, plan.wanted.clone()).await;
        view.is_narrowed = !plan.is_full();
        // Nothing to read is nothing new.
        view.any |= plan.wanted.is_empty();
        let (open, is_whole) = (std::mem::take(&mut view.open), view.troubles.is_empty());
        if is_in_time(github) {
            let now = self.clock.now();
            scans.done(scope, plan, open, is_whole, now, deadline).await;
        }
        view
    }

    /// What GitHub says of the jobs that a webhook opened on this runner, and that the view does not show: one whose
    /// `completed` was lost is over, GitHub may say. And whether it said something of each of them.
    async fn told(&self, ask: &Ask, view: &View) -> (Vec<Job>, bool) {
        let github = &github_for(&self.github, ask);
        let shown = |id: u64| {
            view.jobs
                .iter()
                .any(|job| job.id == id && job.status != JobStatus::Completed)
        };
        let mut told: Vec<_> = ask.told().iter().filter(|told| !shown(told.id)).collect();
        told.sort_by_key(|told| Reverse(told.opened_at));
        let mut are_all = told.len() <= MOST_TOLD;
        let mut jobs = Vec::new();
        for told in told.into_iter().take(MOST_TOLD) {
            let repository = told.repository.as_deref();
            let repository = repository.and_then(|name| name.parse().ok());
            let job = match &repository {
                Some(repository) => github.job(repository, told.id).await.unwrap_or_else(|error| {
                    tracing::debug!(job = told.id, %error, "a job that a webhook opened cannot be read");
                    None
                }),
                None => None,
            };
            are_all &= job.is_some();
            jobs.extend(job);
        }
        (jobs, are_all)
    }

    /// The view of the ask's scope: read once a round; of an earlier round only where it shows this
    /// runner occupied.
    async fn view(&self, ask: &Ask) -> Arc<Read<View>> {
        let scope = &ask.runner().scope;
        let asked_at = self.clock.now();
        let since = after(asked_at, -self.policy.evidence_max_age / 2);
        let fresh = after(asked_at, -self.policy.evidence_max_age);
        let occupied = |last: &Read<View>| {
            let names = |job: &Job| job.is_running_on(ask.runner(), ask.memory().id());
            (fresh..=asked_at).contains(&last.asked_at) && last.value.jobs.iter().any(names)
        };
        let github = &github_for(&self.github, ask);
        let read = || self.read(github, ask);
        let views = &self.views;
        views
            .get(
                // Where nothing narrows what is read, every view is of all.
                (scope.clone(), ask.wants_all() && self.scans.is_some()),
                ask.round(),
                asked_at,
                since,
                occupied,
                read,
            )
            .await
    }

    /// Whether the decision about this runner could rest on the job: it names the runner, it could be on
    /// its way to it, or it was so at an earlier look. One that has long been queued is none of these, and
    /// there may be hundreds of them.
    fn concerns(&self, job: &Job, ask: &Ask) -> bool {
        let memory = ask.memory();
        let unassigned = job.status != JobStatus::Completed && !job.is_elsewhere();
        // What waits at a gate may be released at any moment; and a runner that has just come up gets the oldest job.
        let is_gated = job.status == JobStatus::Waiting;
        let has_come_up = memory.may_have_come_up(after(ask.at(), -self.policy.job_pending));
        let pending_since = after(ask.at(), -self.policy.job_pending);
        let recent = job
            .changed_at
            .is_none_or(|changed_at| changed_at > pending_since);
        // A number that is not known yet may be this runner's.
        let id_unknown = ask.runner().id.or(memory.id()).is_none();
        let no_name = job
            .runner
            .as_ref()
            .is_some_and(|runner| runner.name.is_none());
        let may_be_ours = (id_unknown || no_name) && job.status != JobStatus::Completed;
        unassigned && (recent || is_gated || has_come_up)
            || may_be_ours
            || job.names(ask.runner(), memory.id())
            || memory.awaits(job.id)
    }
}

#[async_trait]
impl EvidenceSource for JobsSource {
    fn name(&self) -> &str {
        "github jobs"
    }

    fn witness(&self) -> Witness {
        Witness::Jobs
    }

    fn reach(&self, scope: &Scope) -> Reach {
        self.repositories.reach(scope)
    }

    fn cost(&self) -> Cost {
        Cost::Scan
    }

    async fn ask(&self, ask: &Ask) -> Result<Vec<Evidence>, Trouble> {
        let read = self.view(ask).await;
        let view = &read.value;
        let covers_all = self.repositories.reach(&ask.runner().scope) == Reach::Clears;
        let mut evidence = Vec::new();
        let jobs = view.jobs.iter().filter(|job| self.concerns(job, ask));
        let mut jobs: Vec<_> = jobs.cloned().collect();
        let (told, are_all) = self.told(ask, view).await;
        jobs.extend(told);
        // A view that passed repositories over lacks a job for that: it closes none.
        let is_whole = view.troubles.is_empty() && (are_all || !view.is_narrowed);
        // What was not even asked for could hold: such a view says something only where it shows a job.
        let is_shut = view.errors.iter().any(|error| error.retry_at().is_some());
        if view.any && !(is_shut && jobs.is_empty()) {
            let seen = JobsView {
                complete: covers_all && is_whole,
                jobs,
            };
            evidence.push(Evidence::new("github", read.asked_at, Signal::Jobs(seen)));
        }
        if !view.troubles.is_empty() {
            let (told, more) = view.troubles.split_at(view.troubles.len().min(TOLD));
            let mut what = told.join("; ");
            if !more.is_empty() {
                what.push_str(&format!("; and {} more", more.len()));
            }
            evidence.push(unheard(Witness::Jobs, what, &view.errors, read.asked_at));
        }
        Ok(evidence)
    }
}

async fn read(github: &GitHub, repositories: Vec<Repository>) -> View {
    let views = stream::iter(repositories)
        .map(|repository| read_repository(github, repository))
        .buffer_unordered(REPOSITORIES_AT_ONCE);
    views
        .fold(View::default(), |all, one| async { all.and(one) })
        .await
}

async fn read_repository(github: &GitHub, repository: Repository) -> View {
    let mut view = View::default();
    let mut runs = BTreeSet::new();
    let mut in_progress = BTreeSet::<u64>::new();
    let last = RunStatus::IN_ORDER.len() - 1;
    for (place, status) in RunStatus::IN_ORDER.into_iter().enumerate() {
        // The view is partial once a list could not be read; what is in progress still holds, if it is shown at once.
        let has_failed = !view.errors.is_empty();
        let read = match (has_failed, place == last) {
            (false, _) => github.runs(&repository, status).await,
            (true, true) => github.unrepeated().runs(&repository, status).await,
            (true, false) => continue,
        };
        match read {
            Ok(page) => {
                view.any = true;
                view.want(page.is_whole, || {
                    format!("{repository}: not every {status} run is shown")
                });
                if status == RunStatus::InProgress {
                    in_progress.extend(&page.rows);
                }
                runs.extend(page.rows);
            }
            Err(error) => {
                let is_refused = error
                    .status()
                    .is_some_and(|status| (400..500).contains(&status));
                let is_shut = error.retry_at().is_some() || error.is_of_the_app();
                view.fail(error);
                // Where the first is refused, so are the others.
                if is_refused || is_shut {
                    break;
                }
            }
        }
    }
    if !runs.is_empty() {
        view.open.insert(repository.clone());
    }
    let jobs = stream::iter(runs)
        .map(|run| {
            let repository = &repository;
            async move { (run, github.jobs(repository, run).await) }
        })
        .buffer_unordered(RUNS_AT_ONCE);
    let mut jobs = std::pin::pin!(jobs);
    while let Some((run, read)) = jobs.next().await {
        match read {
            Ok(page) => {
                view.any = true;
                view.want(page.is_whole, || {
                    format!("{repository}: not every job of run {run} is shown")
                });
                // Other runs may have none yet.
                let has_jobs = !page.rows.is_empty() || !in_progress.contains(&run);
                view.want(has_jobs, || {
                    format!("{repository}: run {run} is in progress and shows no job")
                });
                view.jobs.extend(page.rows);
            }
            Err(error) => view.fail(error),
        }
    }
    view
}

impl View {
    fn and(mut self, other: Self) -> Self {
        self.jobs.extend(other.jobs);
        self.troubles.extend(other.troubles);
        self.errors.extend(other.errors);
        self.any |= other.any;
        self.open.extend(other.open);
        self
    }

    fn want(&mut self, holds: bool, else_trouble: impl FnOnce() -> String) {
        if !holds {
            self.troubles.push(else_trouble());
        }
    }

    fn fail(&mut self, error: GitHubError) {
        self.troubles.push(error.to_string());
        self.errors.push(error);
    }
}
