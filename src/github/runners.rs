//! Runners, as GitHub has them registered.

use super::{GitHub, GitHubError, models};
use crate::{
    evidence::Status,
    fleet::Lifetime,
    runner::{RunnerId, RunnerName, Scope},
    time::Instant,
};
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
}

/// The registered runners of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Each runner once.
    pub rows: Vec<RunnerRow>,
    /// How many GitHub says that there are; `None` where it did not say, or not always the same.
    pub total: Option<u64>,
    /// GitHub's clock when it answered.
    pub date: Option<Instant>,
}

impl GitHub {
    /// Every runner of a scope: a page for each hundred.
    ///
    /// # Errors
    /// [`GitHubError`] when any page could not be read.
    pub async fn runners(&self, scope: &Scope) -> Result<Listing, GitHubError> {
        self.listed(scope, None).await
    }

    /// The runners of this exact name: one at the most, in one request.
    ///
    /// # Errors
    /// [`GitHubError`] when it could not be read.
    pub async fn runners_named(
        &self,
        scope: &Scope,
        name: &RunnerName,
    ) -> Result<Listing, GitHubError> {
        let mut listing = self.listed(scope, Some(name)).await?;
        listing.rows.retain(|row| *row.name == *name.as_str());
        Ok(listing)
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
        let url = self
            .api()
            .in_scope(scope, &["actions", "runners", &id.to_string()]);
        let path = super::client::path_of(&url);
        match self.get::<models::RunnerJson>(url).await {
            Ok(answer) => match answer.body.read() {
                Some(row) if row.id == id => Ok((Some(row), answer.date)),
                _ => Err(GitHubError::Malformed {
                    path,
                    status: 200,
                    request_id: None,
                    what: "it is about no runner, or about another one".to_owned(),
                }),
            },
            Err(error) if error.is_not_found() => Ok((None, None)),
            Err(error) => Err(error),
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
        let pages = self.pages::<models::RunnersPage>(url).await?;
        // A row that a drifting page shows twice is one runner; one that cannot be read is none.
        let mut seen = HashSet::new();
        let rows = pages.rows.into_iter().flatten();
        Ok(Listing {
            rows: rows.filter(|row| seen.insert(row.id)).collect(),
            total: pages.total,
            date: pages.date,
        })
    }
}
