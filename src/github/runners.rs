//! Runners, as GitHub has them registered.

use super::{
    GitHub, GitHubError,
    call::{Call, Repeat, Right},
    models,
};
use crate::{
    evidence::Status,
    fleet::Lifetime,
    registrar::{Deregistered, Registrar},
    runner::Runner,
    runner::{RunnerId, RunnerName, Scope},
    source::Trouble,
    time::Instant,
};
use async_trait::async_trait;
use reqwest::Method;
use std::{collections::HashSet, sync::Arc};

/// One registered runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerRow {
    /// Its number.
    pub id: RunnerId,
    /// Its name.
    pub name: Arc<str>,
    /// The flag that lies; true where GitHub does not say.
    pub busy: bool,
    /// Whether it is connected.
    pub status: Status,
    /// Its labels.
    pub labels: Vec<Arc<str>>,
    /// Whether it leaves after one job.
    pub lifetime: Lifetime,
    /// Whether it was ever connected.
    pub connection: Connection,
}

impl RunnerRow {
    /// Whether GitHub shows a registration that no runner ever connected to: no version, offline, not busy. Where
    /// GitHub does not show versions, nobody knows.
    #[must_use]
    pub fn never_connected(&self) -> bool {
        self.connection == Connection::Never && self.status == Status::Offline && !self.busy
    }
}

/// Whether a runner was ever connected, by its `version`: GitHub documents it as "only set if the runner has
/// connected at least once".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Its `version` is null.
    Never,
    /// It has one.
    Once,
    /// This GitHub does not show versions.
    Untold,
}

/// The registered runners of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Each runner once.
    pub rows: Vec<RunnerRow>,
    /// How many GitHub says that there are; `None` where it did not say, or not always the same.
    pub total: Option<u64>,
    /// How many rows do not say which runner they are about.
    pub unread: usize,
    /// GitHub's clock when it answered.
    pub date: Option<Instant>,
}

impl Listing {
    /// Whether every row could be read, and there are as many as GitHub says.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unread == 0 && self.total == u64::try_from(self.rows.len()).ok()
    }
}

impl GitHub {
    /// Every runner of a scope: a page for each hundred.
    ///
    /// # Errors
    /// [`GitHubError`] when any page could not be read.
    pub async fn runners(&self, scope: &Scope) -> Result<Listing, GitHubError> {
        self.listed(scope, None).await
    }

    /// The runners that GitHub finds by this name: one at the most, it says; but see their names.
    ///
    /// # Errors
    /// [`GitHubError`] when it could not be read.
    pub async fn runners_named(
        &self,
        scope: &Scope,
        name: &RunnerName,
    ) -> Result<Listing, GitHubError> {
        self.listed(scope, Some(name)).await
    }

    /// The runner of this number, and GitHub's clock; `None` for a 404, which a missing permission
    /// gives as well.
    ///
    /// # Errors
    /// [`GitHubError`] when it could not be read.
    pub async fn runner(
        &self,
        scope: &Scope,
        id: RunnerId,
    ) -> Result<(Option<RunnerRow>, Option<Instant>), GitHubError> {
        let call = self.of_runner(Method::GET, scope, id);
        match self.ask::<models::RunnerJson>(&call).await {
            Ok(answer) => match answer.body.read() {
                Some(row) if row.id == id => Ok((Some(row), answer.date)),
                _ => Err(GitHubError::Malformed {
                    request: call.line(),
                    status: 200,
                    request_id: None,
                    what: "it is about no runner, or about another one".to_owned(),
                }),
            },
            Err(error) if error.is_not_found() => Ok((None, None)),
            Err(error) => Err(error),
        }
    }

    /// Takes a runner's registration away, for which the token must be able to write: `administration:write`
    /// of a repository, `organization_self_hosted_runners:write` of an organisation. No new job comes to it
    /// then; GitHub may do so, too, while a job runs, for it goes by the flag that lies.
    ///
    /// It is sent once: it can end a job, and is only as good as the look before it. Whoever lost the answer looks
    /// again, and may then ask again: a number is given once.
    ///
    /// # Errors
    /// [`GitHubError`] when nobody knows whether it was done, and when GitHub says that there is no such
    /// runner, and shows it.
    pub async fn remove_runner(
        &self,
        scope: &Scope,
        id: RunnerId,
    ) -> Result<Deregistered, GitHubError> {
        // Both questions have the time of one call.
        let github = self.until(self.deadline());
        let call = self.of_runner(Method::DELETE, scope, id);
        match github.delete(&call).await {
            Ok(()) => Ok(Deregistered::Removed),
            Err(error) if error.status() == Some(422) => Ok(Deregistered::Occupied),
            // What a token may not remove, GitHub may call unknown.
            Err(error) if error.is_not_found() => match github.runner(scope, id).await? {
                (None, _) => Ok(Deregistered::Unknown),
                (Some(_), _) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn of_runner(&self, method: Method, scope: &Scope, id: RunnerId) -> Call {
        let id = id.to_string();
        let url = self.api().in_scope(scope, &["actions", "runners", &id]);
        match method {
            Method::GET => Call::get(url, scope, Right::ReadRunners),
            _ => Call::new(method, url, scope, Right::WriteRunners).repeated(Repeat::Never),
        }
    }

    async fn listed(
        &self,
        scope: &Scope,
        name: Option<&RunnerName>,
    ) -> Result<Listing, GitHubError> {
        let mut url = self.api().in_scope(scope, &["actions", "runners"]);
        if let Some(name) = name {
            url.query_pairs_mut().append_pair("name", name.as_str());
        }
        url.query_pairs_mut().append_pair("per_page", "100");
        let call = Call::get(url, scope, Right::ReadRunners);
        let pages = self.pages::<models::RunnersPage>(&call).await?;
        // A row that a drifting page shows twice is one runner; one that cannot be read is none.
        let mut seen = HashSet::new();
        let unread = pages.rows.iter().filter(|row| row.is_none()).count();
        let rows = pages.rows.into_iter().flatten();
        Ok(Listing {
            unread,
            rows: rows.filter(|row| seen.insert(row.id)).collect(),
            total: pages.total,
            date: pages.date,
        })
    }
}

#[async_trait]
impl Registrar for GitHub {
    async fn deregister(&self, runner: &Runner, id: RunnerId) -> Result<Deregistered, Trouble> {
        Ok(self.remove_runner(&runner.scope, id).await?)
    }
}
