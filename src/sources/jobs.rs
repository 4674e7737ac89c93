//! The workflow jobs, as GitHub shows them: the view that can say *vacant*.

use super::{
    open_runs::{Found, Recalled, RunMemory},
    shared::{Read, SharedReads, github_for, unheard},
};
use crate::{
    clock::Clock,
    evidence::{Evidence, Job, JobStatus, JobsView, Signal, Witness},
    github::{GitHub, GitHubError, Repository, Run, RunStatus},
    policy::Policy,
    records::Records,
    runner::Scope,
    source::{Ask, Cost, EvidenceSource, Reach, Trouble},
    time::after,
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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

/// The witness `jobs`: every run that is waiting, pending, queued or in progress, the newest of whatever
/// status, and those that were not over when last seen; each with its jobs.
///
/// The view is *complete*, and can say *vacant*, when every repository that could use the runner was read
/// to its last page, below the 1,000 results that GitHub shows at the most, and no run was found to be missing there.
#[derive(Debug)]
pub struct JobsSource {
    github: GitHub,
    clock: Arc<dyn Clock>,
    policy: Arc<Policy>,
    repositories: Repositories,
    views: SharedReads<Scope, View>,
    runs: RunMemory,
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
    /// What became of the runs of each repository.
    runs: BTreeMap<Repository, Found>,
}

impl JobsSource {
    pub(crate) fn new(
        github: GitHub,
        clock: Arc<dyn Clock>,
        policy: Arc<Policy>,
        repositories: Repositories,
        records: Records,
    ) -> Self {
        Self {
            github,
            clock,
            policy,
            repositories,
            views: SharedReads::new(|view| !view.errors.is_empty()),
            runs: RunMemory::new(records),
        }
    }

    /// Reads every repository that could have a job for the scope's runners.
    async fn read(&self, github: &GitHub, ask: &Ask) -> View {
        let (scope, deadline) = (&ask.runner().scope, ask.deadline());
        let repositories = self.repositories.of(scope);
        let recalled = self.runs.recall(scope, deadline).await;
        let (recalled, trouble) = match recalled {
            Ok(recalled) => (recalled, None),
            Err(what) => (Recalled::default(), Some(what)),
        };
        let mut view = read(github, repositories, &recalled).await;
        view.want(trouble.is_none(), || {
            let what = trouble.unwrap_or_default();
            format!("which runs were not over at the last look: {what}")
        });
        let now = self.clock.now();
        self.runs.keep(scope, &view.runs, now, deadline).await;
        view
    }

    /// What GitHub says of the jobs that a webhook opened on this runner, and that the view does not show: one whose
    /// `completed` was lost is over, GitHub may say; so is one that it does not know at two looks.
    async fn told(&self, ask: &Ask, view: &View) -> Vec<Job> {
        let github = &github_for(&self.github, ask);
        let shown = |id: u64| {
            view.jobs
                .iter()
                .any(|job| job.id == id && job.status != JobStatus::Completed)
        };
        let mut told: Vec<_> = ask.told().iter().filter(|told| !shown(told.id)).collect();
        told.sort_by_key(|told| Reverse(told.opened_at));
        let mut jobs = Vec::new();
        for told in told.into_iter().take(MOST_TOLD) {
            let repository = told.repository.as_deref();
            let Some(repository) = repository.and_then(|name| name.parse().ok()) else {
                continue;
            };
            match github.job(&repository, told.id).await {
                Ok(Some(job)) => jobs.push(job),
                Ok(None) => {
                    let scope = &ask.runner().scope;
                    match self.runs.is_gone(scope, told.id, self.clock.now()).await {
                        Ok(true) => jobs.push(Job::new(told.id, JobStatus::Completed, None)),
                        Ok(false) => {}
                        Err(error) => {
                            tracing::warn!(job = told.id, %error, "that GitHub does not know it could not be remembered")
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(job = told.id, %error, "a job that a webhook opened cannot be read");
                }
            }
        }
        jobs
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
            .get(scope.clone(), ask.round(), asked_at, since, occupied, read)
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
        let told = self.told(ask, view).await;
        // Lists that lack a job which is not over may lack others.
        let is_silent = told.iter().any(|job| job.status != JobStatus::Completed);
        jobs.extend(told);
        let is_whole = view.troubles.is_empty() && !is_silent;
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

async fn read(github: &GitHub, repositories: Vec<Repository>, recalled: &Recalled) -> View {
    let views = stream::iter(repositories)
        .map(|repository| {
            let known = recalled.of(&repository);
            read_repository(github, repository, known)
        })
        .buffer_unordered(REPOSITORIES_AT_ONCE);
    views
        .fold(View::default(), |all, one| async { all.and(one) })
        .await
}

/// Which runs of a repository there are to read, and where they were found.
#[derive(Default)]
struct Runs {
    /// Found in a list by status.
    listed: BTreeSet<u64>,
    /// Not over in the list of the newest.
    newest: BTreeSet<u64>,
    /// Over in that list.
    over: BTreeSet<u64>,
    /// In progress in any list.
    in_progress: BTreeSet<u64>,
}

/// Reads the newest runs, then those of every status that is not over, in the order in which a run goes through them,
/// and then the jobs of each; and those of the runs that were not over when last seen.
async fn read_repository(github: &GitHub, repository: Repository, known: BTreeSet<u64>) -> View {
    let mut view = View::default();
    let runs = view.read_lists(github, &repository).await;
    let remembered = known.iter().filter(|run| !runs.over.contains(run));
    let wanted: BTreeSet<u64> = runs
        .listed
        .union(&runs.newest)
        .chain(remembered)
        .copied()
        .collect();
    // Of a run that cannot be read nobody can tell that it is over.
    let mut found = Found {
        open: wanted.clone(),
        unknown: BTreeSet::new(),
    };
    let jobs = stream::iter(wanted)
        .map(|run| {
            let repository = &repository;
            async move { (run, github.jobs(repository, run).await) }
        })
        .buffer_unordered(RUNS_AT_ONCE);
    let mut jobs = std::pin::pin!(jobs);
    while let Some((run, read)) = jobs.next().await {
        let is_listed = runs.listed.contains(&run);
        match read {
            Ok(page) => {
                view.any = true;
                view.want(page.is_whole, || {
                    format!("{repository}: not every job of run {run} is shown")
                });
                // Other runs may have none yet.
                let has_jobs = !page.rows.is_empty() || !runs.in_progress.contains(&run);
                view.want(has_jobs, || {
                    format!("{repository}: run {run} is in progress and shows no job")
                });
                let mut rows = page.rows.iter();
                let is_over = match page.rows.is_empty() {
                    true => !is_listed && !runs.newest.contains(&run),
                    false => rows.all(|job| job.status == JobStatus::Completed),
                };
                // The lists by status are a search index, which may be behind, or empty.
                view.want(is_listed || is_over, || {
                    format!("{repository}: run {run} is not over, and no list by status shows it")
                });
                if is_over && !is_listed {
                    found.open.remove(&run);
                }
                view.jobs.extend(page.rows);
            }
            Err(error) => {
                if error.status() == Some(404) {
                    found.open.remove(&run);
                    found.unknown.insert(run);
                }
                view.fail(error);
            }
        }
    }
    view.runs.insert(repository.clone(), found);
    view
}

impl View {
    /// Reads the lists of a repository's runs.
    async fn read_lists(&mut self, github: &GitHub, repository: &Repository) -> Runs {
        let mut runs = Runs::default();
        match github.newest_runs(repository).await {
            Ok(page) => {
                self.any = true;
                self.want(page.is_whole, || {
                    format!("{repository}: not every one of the newest runs can be read")
                });
                for run in page.rows {
                    let place = match run {
                        Run { is_over: true, .. } => &mut runs.over,
                        // No list by status is asked for these.
                        Run {
                            is_requested: true, ..
                        } => &mut runs.listed,
                        _ => &mut runs.newest,
                    };
                    place.insert(run.id);
                    if run.is_in_progress {
                        runs.in_progress.insert(run.id);
                    }
                }
            }
            Err(error) => {
                if self.is_shut_by(error) {
                    return runs;
                }
            }
        }
        let last = RunStatus::IN_ORDER.len() - 1;
        for (place, status) in RunStatus::IN_ORDER.into_iter().enumerate() {
            // The view is partial once a list could not be read; what is in progress still holds, if it is shown at once.
            let has_failed = !self.errors.is_empty();
            let read = match (has_failed, place == last) {
                (false, _) => github.runs(repository, status).await,
                (true, true) => github.unrepeated().runs(repository, status).await,
                (true, false) => continue,
            };
            match read {
                Ok(page) => {
                    self.any = true;
                    self.want(page.is_whole, || {
                        format!("{repository}: not every {status} run is shown")
                    });
                    if status == RunStatus::InProgress {
                        runs.in_progress.extend(&page.rows);
                    }
                    runs.listed.extend(page.rows);
                }
                Err(error) => {
                    if self.is_shut_by(error) {
                        break;
                    }
                }
            }
        }
        runs
    }

    /// Notes why a list could not be read: whether the others need not be asked for.
    fn is_shut_by(&mut self, error: GitHubError) -> bool {
        let status = error.status();
        let is_refused = status.is_some_and(|status| (400..500).contains(&status));
        let is_shut = error.retry_at().is_some() || error.is_of_the_app();
        self.fail(error);
        is_refused || is_shut
    }

    fn and(mut self, other: Self) -> Self {
        self.jobs.extend(other.jobs);
        self.troubles.extend(other.troubles);
        self.errors.extend(other.errors);
        self.any |= other.any;
        self.runs.extend(other.runs);
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
