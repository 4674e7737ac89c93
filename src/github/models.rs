//! What GitHub sends, read leniently: an unknown field, an unknown value or a null never fails a page. A
//! page without its list is none.

use super::pages::Page;
use crate::{
    evidence::{Job, JobStatus, Status},
    fleet::Lifetime,
    runner::{RunnerId, RunnerRef},
    time::Instant,
};
use chrono::DateTime;
use serde::{Deserialize, Deserializer};
use std::sync::Arc;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct RunnersPage {
    total_count: Option<u64>,
    runners: Vec<Option<RunnerJson>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct RunnerJson {
    id: Option<u64>,
    name: Option<String>,
    status: Option<String>,
    busy: Option<bool>,
    ephemeral: Option<bool>,
    labels: Option<Vec<Option<LabelJson>>>,
    #[serde(default, deserialize_with = "present")]
    version: Option<Option<String>>,
}

#[derive(Debug, Clone, Deserialize)]
struct LabelJson {
    name: Option<String>,
}

impl Page for RunnersPage {
    type Row = Option<super::RunnerRow>;

    fn total(&self) -> Option<u64> {
        self.total_count
    }

    fn rows(self) -> Vec<Self::Row> {
        self.runners
            .into_iter()
            .map(|row| row.and_then(RunnerJson::read))
            .collect()
    }
}

impl RunnerJson {
    /// The row, if it says which runner it is about.
    pub(super) fn read(self) -> Option<super::RunnerRow> {
        let labels = self.labels.unwrap_or_default();
        Some(super::RunnerRow {
            id: RunnerId(self.id?),
            name: self.name?.into(),
            lifetime: match self.ephemeral {
                Some(true) => Lifetime::Ephemeral,
                _ => Lifetime::Lasting,
            },
            connection: match self.version {
                Some(None) => super::Connection::Never,
                Some(Some(_)) => super::Connection::Once,
                None => super::Connection::Untold,
            },
            // What GitHub does not say could be busy.
            busy: self.busy.unwrap_or(true),
            status: match self.status.as_deref() {
                Some("online") => Status::Online,
                Some("offline") => Status::Offline,
                _ => Status::Other,
            },
            labels: labels
                .into_iter()
                .filter_map(|label| label?.name)
                .map(Arc::from)
                .collect(),
        })
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct RunsJson {
    total_count: Option<u64>,
    workflow_runs: Vec<Option<RunJson>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct RunJson {
    id: Option<u64>,
    status: Option<String>,
}

impl Page for RunsJson {
    /// A run; `None` for a row that does not say which.
    type Row = Option<super::runs::Run>;

    fn total(&self) -> Option<u64> {
        self.total_count
    }

    fn rows(self) -> Vec<Self::Row> {
        let rows = self.workflow_runs.into_iter();
        rows.map(|row| {
            let RunJson { id, status } = row?;
            let is = |word| status.as_deref() == Some(word);
            Some(super::runs::Run {
                id: id?,
                is_over: is("completed"),
                is_in_progress: is("in_progress"),
                is_requested: is("requested"),
            })
        })
        .collect()
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct JobsJson {
    total_count: Option<u64>,
    jobs: Vec<Option<JobJson>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct JobJson {
    id: Option<u64>,
    status: Option<String>,
    runner_id: Option<u64>,
    runner_name: Option<String>,
    labels: Option<Vec<Option<String>>>,
    created_at: Option<String>,
    started_at: Option<String>,
}

impl Page for JobsJson {
    /// A job; `None` for a row that does not say which.
    type Row = Option<Job>;

    fn total(&self) -> Option<u64> {
        self.total_count
    }

    fn rows(self) -> Vec<Self::Row> {
        self.jobs
            .into_iter()
            .map(|row| row.and_then(JobJson::read))
            .collect()
    }
}

impl JobJson {
    pub(super) fn read(self) -> Option<Job> {
        // A job without a runner has null in the documentation, and 0 and "" in practice.
        let id = self.runner_id.filter(|&id| id != 0).map(RunnerId);
        let name = self.runner_name.filter(|name| !name.is_empty());
        let runner = (id.is_some() || name.is_some()).then(|| RunnerRef {
            id,
            name: name.map(Arc::from),
        });
        let labels = self.labels.unwrap_or_default();
        Some(Job {
            id: self.id?,
            status: match self.status.as_deref() {
                Some("queued") => JobStatus::Queued,
                Some("in_progress") => JobStatus::InProgress,
                Some("completed") => JobStatus::Completed,
                Some("waiting" | "requested" | "pending") => JobStatus::Waiting,
                _ => JobStatus::Other,
            },
            runner,
            labels: labels.into_iter().flatten().map(Arc::from).collect(),
            changed_at: instant(self.created_at).max(instant(self.started_at)),
        })
    }
}

/// Tells a field that is null from one that is not there.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

fn instant(text: Option<String>) -> Option<Instant> {
    let instant = DateTime::parse_from_rfc3339(text.as_deref()?).ok()?;
    Some(instant.to_utc())
}
