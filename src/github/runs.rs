//! Workflow runs and their jobs.

use super::{
    GitHub, GitHubError,
    call::{Call, Right},
    models,
    pages::Page,
};
use crate::{
    evidence::Job,
    runner::{NameError, Scope},
};
use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    str::FromStr,
};

/// GitHub shows no more runs of a status than this.
const RUNS_CAP: usize = 1_000;

/// A repository: `OWNER/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(Scope);

impl Repository {
    /// The repository of a repository's scope.
    #[must_use]
    pub fn of(scope: &Scope) -> Option<Self> {
        matches!(scope, Scope::Repository { .. }).then(|| Self(scope.clone()))
    }

    /// Who owns it.
    #[must_use]
    pub fn owner(&self) -> &str {
        match &self.0 {
            Scope::Repository { owner, .. } => owner,
            Scope::Organization(name) | Scope::Enterprise(name) => name,
        }
    }
}

impl FromStr for Repository {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match format!("repo:{text}").parse() {
            Ok(scope) => Ok(Self(scope)),
            Err(NameError::Scope(_)) => {
                Err(NameError::Repository(text.chars().take(256).collect()))
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Scope::Repository { owner, name } => write!(f, "{owner}/{name}"),
            other => other.fmt(f),
        }
    }
}

/// The statuses of runs that can have a job in progress, or get one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// `waiting`.
    Waiting,
    /// `pending`.
    Pending,
    /// `queued`.
    Queued,
    /// `in_progress`.
    InProgress,
}

impl RunStatus {
    /// All of them in the order in which a run goes through them: read so, a run that moves on
    /// between two reads is not missed. One that moves back, for its next job waits, is among the newest, which are read
    /// before, or was in progress at an earlier look.
    ///
    /// `requested` is not among them: such a run has just been made, and is among the newest.
    pub const IN_ORDER: [Self; 4] = [Self::Waiting, Self::Pending, Self::Queued, Self::InProgress];

    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
        }
    }
}

/// A run in a list of whatever status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: u64,
    /// Whether GitHub says that it is completed. Its other words for a status are taken for *not over*.
    pub is_over: bool,
    /// Whether GitHub says that it is in progress.
    pub is_in_progress: bool,
    /// Whether GitHub says that it is requested: no list of [`RunStatus`] shows it.
    pub is_requested: bool,
}

/// A list, and whether it is all there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunsPage<T> {
    /// What was read.
    pub rows: Vec<T>,
    /// Whether it is all: every row could be read, there are as many as GitHub counts, and fewer than
    /// GitHub shows at the most.
    pub is_whole: bool,
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl GitHub {
    /// The numbers of a repository's runs of one status. A list of several pages is read twice: between two
    /// pages a run can move from the later to the earlier, and be on neither.
    ///
    /// # Errors
    /// [`GitHubError`] when any page could not be read.
    pub async fn runs(
        &self,
        repository: &Repository,
        status: RunStatus,
    ) -> Result<RunsPage<u64>, GitHubError> {
        // Both readings have the time of one call.
        let github = self.until(self.deadline());
        let mut url = self.api().in_scope(&repository.0, &["actions", "runs"]);
        url.query_pairs_mut()
            .append_pair("status", status.as_str())
            .append_pair("exclude_pull_requests", "true")
            .append_pair("per_page", "100");
        let call = Call::get(url, &repository.0, Right::ReadActions);
        let pages = github.pages_if_changed::<models::RunsJson>(&call).await?;
        let several = pages.pages > 1;
        let once = RunsPage::of(pages, |run: &Run| run.id, RUNS_CAP);
        let ids = |page: RunsPage<Run>| page.rows.into_iter().map(|run| run.id);
        if !several {
            return Ok(RunsPage {
                is_whole: once.is_whole,
                rows: ids(once).collect(),
            });
        }
        let pages = github.pages_if_changed::<models::RunsJson>(&call).await?;
        let twice = RunsPage::of(pages, |run: &Run| run.id, RUNS_CAP);
        let is_whole = once.is_whole && twice.is_whole;
        let rows: BTreeSet<u64> = ids(once).chain(ids(twice)).collect();
        Ok(RunsPage {
            rows: rows.into_iter().collect(),
            is_whole,
        })
    }

    /// The newest hundred runs of a repository, whatever their status. The lists by status are a search index, which
    /// can be behind this one, or empty.
    ///
    /// # Errors
    /// [`GitHubError`] when they could not be read.
    pub async fn newest_runs(&self, repository: &Repository) -> Result<RunsPage<Run>, GitHubError> {
        let mut url = self.api().in_scope(&repository.0, &["actions", "runs"]);
        url.query_pairs_mut()
            .append_pair("exclude_pull_requests", "true")
            .append_pair("per_page", "100");
        let call = Call::get(url, &repository.0, Right::ReadActions);
        let answer = self.ask_whether_changed::<models::RunsJson>(&call).await?;
        let rows = answer.body.rows();
        Ok(RunsPage {
            is_whole: rows.iter().all(Option::is_some),
            rows: rows.into_iter().flatten().collect(),
        })
    }

    /// The jobs of a run, of all its attempts: one of an earlier attempt may still be running.
    ///
    /// # Errors
    /// [`GitHubError`] when any page could not be read.
    pub async fn jobs(
        &self,
        repository: &Repository,
        run: u64,
    ) -> Result<RunsPage<Job>, GitHubError> {
        let run = run.to_string();
        let mut url = self
            .api()
            .in_scope(&repository.0, &["actions", "runs", &run, "jobs"]);
        url.query_pairs_mut()
            .append_pair("filter", "all")
            .append_pair("per_page", "100");
        let call = Call::get(url, &repository.0, Right::ReadActions);
        let pages = self.pages_if_changed::<models::JobsJson>(&call).await?;
        Ok(RunsPage::of(pages, |job: &Job| job.id, usize::MAX))
    }
}

impl GitHub {
    /// One job, by its number; `None` where GitHub knows none, or its answer does not say which it is.
    ///
    /// # Errors
    /// [`GitHubError`] when it could not be read.
    pub async fn job(&self, repository: &Repository, id: u64) -> Result<Option<Job>, GitHubError> {
        let number = id.to_string();
        let url = self
            .api()
            .in_scope(&repository.0, &["actions", "jobs", &number]);
        let call = Call::get(url, &repository.0, Right::ReadActions);
        match self.ask::<models::JobJson>(&call).await {
            Ok(answer) => Ok(answer.body.read().filter(|job| job.id == id)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<T> RunsPage<T> {
    /// Each row once. As many as `cap` are not all.
    fn of(pages: super::pages::Pages<Option<T>>, id: fn(&T) -> u64, cap: usize) -> Self {
        let mut seen = HashSet::new();
        let is_readable = pages.rows.iter().all(Option::is_some);
        let rows = pages.rows.into_iter().flatten();
        let rows: Vec<T> = rows.filter(|row| seen.insert(id(row))).collect();
        let is_whole =
            is_readable && rows.len() < cap && pages.total == u64::try_from(rows.len()).ok();
        Self { rows, is_whole }
    }
}
