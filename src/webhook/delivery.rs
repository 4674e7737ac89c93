//! What a delivery tells. Whatever GitHub adds, leaves out or writes otherwise is passed over, as long as it is
//! known which job of which repository it is about.

use crate::{
    ledger::{Action, Delivery},
    runner::{NameError, RunnerId, RunnerRef, Scope},
    time::Instant,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::IgnoredAny};
use std::{borrow::Cow, sync::Arc};
use thiserror::Error;

/// Labels of one job that are kept: whoever writes a workflow writes them.
const MOST_LABELS: usize = 32;
const LONGEST_LABELS: usize = 2_048;

/// The event that tells of jobs, as `X-GitHub-Event` names it.
const WORKFLOW_JOB: &str = "workflow_job";

/// What a delivery is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It tells of a job.
    Job(Box<JobEvent>),
    /// GitHub tries the webhook.
    Ping,
    /// Something else happened, which is none of our business.
    Other,
}

/// What a `workflow_job` delivery tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    /// What it tells the ledger.
    pub delivery: Delivery,
    /// The repository, OWNER/NAME.
    pub repository: Arc<str>,
    /// Its organisation, where the delivery names one.
    pub organization: Option<Arc<str>>,
    /// The short name of its enterprise, where the delivery names one.
    pub enterprise: Option<Arc<str>>,
    /// With whom it lies in the ledger.
    pub(super) scopes: Vec<Scope>,
}

impl JobEvent {
    /// With whom it lies in the ledger: the owner of the repository, as `org:OWNER`, whether that is an organisation
    /// or a user; and the enterprise, where the delivery names one.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }
}

/// Why a delivery tells nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It does not say what event it is.
    #[error("there is no X-GitHub-Event; is it GitHub that calls?")]
    NoEvent,
    /// The body is a form without a payload.
    #[error("the form has no payload; let the webhook send application/json")]
    NoPayload,
    /// The body is no JSON, or not of this event.
    #[error("the body of the workflow_job cannot be read: {0}")]
    Body(#[from] serde_json::Error),
    /// It does not say which job it is about.
    #[error("the workflow_job has no number")]
    NoJob,
    /// It does not say of which repository.
    #[error("the workflow_job has no repository")]
    NoRepository,
    /// Its repository cannot be one.
    #[error("the repository of the workflow_job: {0}")]
    Repository(#[source] NameError),
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default, deserialize_with = "lenient")]
    action: Option<Action>,
    #[serde(default, deserialize_with = "lenient")]
    workflow_job: Option<WorkflowJob>,
    #[serde(default, deserialize_with = "lenient")]
    repository: Option<NamedRepository>,
    #[serde(default, deserialize_with = "lenient")]
    organization: Option<Account>,
    #[serde(default, deserialize_with = "lenient")]
    enterprise: Option<Enterprise>,
}

#[derive(Deserialize)]
struct WorkflowJob {
    #[serde(default, deserialize_with = "lenient")]
    id: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    run_attempt: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    runner_id: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    runner_name: Option<Arc<str>>,
    #[serde(default, deserialize_with = "lenient")]
    labels: Option<Vec<Arc<str>>>,
}

#[derive(Deserialize)]
struct NamedRepository {
    #[serde(default, deserialize_with = "lenient")]
    full_name: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default, deserialize_with = "lenient")]
    login: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct Enterprise {
    #[serde(default, deserialize_with = "lenient")]
    slug: Option<Arc<str>>,
}

/// What is there, if it is what it should be.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<T> {
        Fits(T),
        Else(IgnoredAny),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Fits(value) => Some(value),
        Either::Else(_) => None,
    })
}

/// Reads a delivery that is believed. `event` is `X-GitHub-Event`, `content_type` the `Content-Type`, and
/// `received_at` our own time: GitHub's stamps attest nothing.
///
/// # Errors
/// [`ParseError`] when it tells of a job, and not of which one.
pub fn parse(
    event: Option<&str>,
    content_type: Option<&str>,
    body: &[u8],
    received_at: Instant,
) -> Result<Event, ParseError> {
    match event {
        None => return Err(ParseError::NoEvent),
        Some(WORKFLOW_JOB) => {}
        Some("ping") => return Ok(Event::Ping),
        Some(_) => return Ok(Event::Other),
    }
    let json = match content_type.is_some_and(is_form) {
        true => payload(body).ok_or(ParseError::NoPayload)?,
        false => Cow::Borrowed(body),
    };
    let payload: Payload = serde_json::from_slice(&json)?;
    payload
        .read(received_at)
        .map(|job| Event::Job(Box::new(job)))
}

fn is_form(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The field `payload` of a form.
fn payload(form: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut fields = form_urlencoded::parse(form);
    let (_, value) = fields.find(|(name, _)| name == "payload")?;
    Some(match value {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

impl Payload {
    fn read(self, received_at: Instant) -> Result<JobEvent, ParseError> {
        let job = self.workflow_job.ok_or(ParseError::NoJob)?;
        let job_id = job.id.ok_or(ParseError::NoJob)?;
        let repository = self.repository.and_then(|repository| repository.full_name);
        let repository = repository.ok_or(ParseError::NoRepository)?;
        let enterprise = self.enterprise.and_then(|enterprise| enterprise.slug);
        let action = self.action.unwrap_or(Action::Other);
        let (owner, enterprise_scope) = (
            owner(&repository).map_err(ParseError::Repository)?,
            enterprise
                .as_ref()
                .map(|slug| format!("enterprise:{slug}").parse()),
        );
        // An enterprise that cannot be one has no guard that would look there.
        let scopes = [owner]
            .into_iter()
            .chain(enterprise_scope.and_then(Result::ok));
        Ok(JobEvent {
            scopes: scopes.collect(),
            delivery: Delivery {
                action,
                job_id,
                attempt: job.run_attempt.unwrap_or(1).max(1),
                runner: runner(action, job.runner_id, job.runner_name),
                labels: bounded(job.labels.unwrap_or_default()),
                repository: Some(repository.clone()),
                received_at,
            },
            repository,
            organization: self
                .organization
                .and_then(|organization| organization.login),
            enterprise,
        })
    }
}

/// The first labels: with fewer of them a job could go to more runners, and it fills no record.
fn bounded(labels: Vec<Arc<str>>) -> Vec<Arc<str>> {
    let mut bytes = 0;
    let fits = |label: &Arc<str>| {
        bytes += label.len();
        bytes <= LONGEST_LABELS
    };
    let labels = labels.into_iter().take(MOST_LABELS);
    labels.take_while(fits).collect()
}

/// The owner of a repository, as the ledger's scope.
fn owner(repository: &str) -> Result<Scope, NameError> {
    match format!("repo:{repository}").parse()? {
        Scope::Repository { owner, .. } => Ok(Scope::Organization(owner)),
        _ => Err(NameError::Repository(repository.to_owned())),
    }
}

/// The runner that a delivery names. On `queued` it means nothing; number 0 and an empty name are none.
fn runner(action: Action, id: Option<u64>, name: Option<Arc<str>>) -> Option<RunnerRef> {
    let means_it = matches!(action, Action::InProgress | Action::Completed);
    let runner = RunnerRef {
        id: id.filter(|&id| id != 0).map(RunnerId),
        name: name.filter(|name| !name.trim().is_empty()),
    };
    (means_it && (runner.id.is_some() || runner.name.is_some())).then_some(runner)
}
