//! What is asked for.

use crate::runner::{RunnerName, Scope};
use serde_json::{Value, json};
use std::sync::Arc;
use thiserror::Error;

/// The longest name that GitHub gives a runner, in characters.
pub(super) const LONGEST_NAME: usize = 64;

/// GitHub's documented bound ("Create configuration for a just-in-time runner").
const MOST_LABELS: usize = 100;

/// The group that every scope has: GitHub calls it Default.
const DEFAULT_GROUP: u64 = 1;

/// A just-in-time runner to be registered. What GitHub would refuse is refused when it is built.
///
/// ```
/// use scale_in_guard::github::{IfTaken, JitRequest};
///
/// let request = JitRequest::builder("org:acme".parse()?, "i-06cbe04821ccba677".parse()?)
///     .labels(["linux", "x64"])
///     .if_taken(IfTaken::FreshName)
///     .build()?;
/// assert_eq!(request.runner_group(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JitRequest {
    scope: Scope,
    name: RunnerName,
    runner_group: u64,
    labels: Vec<Arc<str>>,
    work_folder: Option<Arc<str>>,
    if_taken: IfTaken,
}

/// What to do where a runner of the wanted name is registered already: by an earlier call whose answer was lost,
/// or by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfTaken {
    /// Leave it, and say which it is. There is no config then: GitHub shows it once. For a caller whose instance
    /// already has it.
    Adopt,
    /// Remove it if it never connected, and ask again under the same name; else fail. For a caller whose names
    /// are its own: a config that somebody was given for it, and has not started a runner from, is worth nothing
    /// after that. The default.
    #[default]
    Replace,
    /// Leave it, and ask under another name: the wanted one, cut where that is needed, with a dash and six random
    /// hexadecimal digits.
    FreshName,
}

/// A request to be put together.
#[derive(Debug, Clone)]
#[must_use = "a builder asks for nothing"]
pub struct JitRequestBuilder(JitRequest);

/// Why a request was refused, before anything was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JitRequestError {
    /// The name is too long.
    #[error("name: it has {characters} characters; GitHub allows {LONGEST_NAME}")]
    Name {
        /// How many it has.
        characters: usize,
    },
    /// The runner group is none.
    #[error("runner_group: 0 is no runner group; the default group is 1")]
    RunnerGroup,
    /// There are no labels, or too many.
    #[error("labels: there are {count}; give 1 to {MOST_LABELS}")]
    Labels {
        /// How many there are.
        count: usize,
    },
    /// A label cannot be one.
    #[error("labels: {label:?} {what}")]
    Label {
        /// The label.
        label: Arc<str>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The work folder cannot be one.
    #[error("work_folder: {folder:?} {what}")]
    WorkFolder {
        /// The folder.
        folder: Arc<str>,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl JitRequestError {
    /// The field that it is about: `name`, `runner_group`, `labels` or `work_folder`.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Name { .. } => "name",
            Self::RunnerGroup => "runner_group",
            Self::Labels { .. } | Self::Label { .. } => "labels",
            Self::WorkFolder { .. } => "work_folder",
        }
    }
}

impl JitRequest {
    /// A request for a runner of this name in this scope. It needs one label at least.
    pub fn builder(scope: Scope, name: RunnerName) -> JitRequestBuilder {
        JitRequestBuilder(Self {
            scope,
            name,
            runner_group: DEFAULT_GROUP,
            labels: Vec::new(),
            work_folder: None,
            if_taken: IfTaken::default(),
        })
    }

    /// Where it is to be registered.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The wanted name.
    #[must_use]
    pub fn name(&self) -> &RunnerName {
        &self.name
    }

    /// The number of its runner group.
    #[must_use]
    pub fn runner_group(&self) -> u64 {
        self.runner_group
    }

    /// Its labels, all of them: a just-in-time runner is given no others.
    #[must_use]
    pub fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// The folder that its jobs work in, below that of the runner; `None`: GitHub's default, `_work`.
    #[must_use]
    pub fn work_folder(&self) -> Option<&str> {
        self.work_folder.as_deref()
    }

    /// What to do where the name is taken.
    #[must_use]
    pub fn if_taken(&self) -> IfTaken {
        self.if_taken
    }

    /// The body of the request, under this name.
    pub(super) fn body(&self, name: &RunnerName) -> Value {
        let mut body = json!({
            "name": name,
            "runner_group_id": self.runner_group,
            "labels": self.labels,
        });
        if let (Some(folder), Some(body)) = (&self.work_folder, body.as_object_mut()) {
            body.insert("work_folder".to_owned(), json!(folder));
        }
        body
    }
}

impl JitRequestBuilder {
    /// One more label.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.0.labels.push(label.into());
        self
    }

    /// More labels.
    pub fn labels<L: Into<Arc<str>>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.0.labels.extend(labels.into_iter().map(Into::into));
        self
    }

    /// The number of its runner group. Default: 1, which every scope has.
    pub fn runner_group(mut self, id: u64) -> Self {
        self.0.runner_group = id;
        self
    }

    /// The folder that its jobs work in, below that of the runner. Default: GitHub's, `_work`.
    pub fn work_folder(mut self, folder: impl Into<Arc<str>>) -> Self {
        self.0.work_folder = Some(folder.into());
        self
    }

    /// What to do where the name is taken. Default: [`IfTaken::Replace`].
    pub fn if_taken(mut self, if_taken: IfTaken) -> Self {
        self.0.if_taken = if_taken;
        self
    }

    /// The request.
    ///
    /// # Errors
    /// [`JitRequestError`], which names the field that GitHub would refuse.
    pub fn build(self) -> Result<JitRequest, JitRequestError> {
        let request = self.0;
        let characters = request.name.as_str().chars().count();
        if characters > LONGEST_NAME {
            return Err(JitRequestError::Name { characters });
        }
        if request.runner_group == 0 {
            return Err(JitRequestError::RunnerGroup);
        }
        let count = request.labels.len();
        if !(1..=MOST_LABELS).contains(&count) {
            return Err(JitRequestError::Labels { count });
        }
        for label in &request.labels {
            if let Some(what) = amiss(label) {
                let label = label.clone();
                return Err(JitRequestError::Label { label, what });
            }
        }
        if let Some(folder) = &request.work_folder
            && let Some(what) = amiss(folder)
        {
            let folder = folder.clone();
            return Err(JitRequestError::WorkFolder { folder, what });
        }
        Ok(request)
    }
}

/// What is wrong with a text, if anything is.
fn amiss(text: &str) -> Option<&'static str> {
    match text {
        "" => Some("is empty"),
        text if text.trim() != text => Some("has space around it"),
        text if text.chars().any(char::is_control) => Some("holds a control character"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> JitRequestBuilder {
        JitRequest::builder("org:acme".parse().unwrap(), name.parse().unwrap())
    }

    #[test]
    fn what_github_would_refuse_is_refused_by_its_field() {
        let many = || (0..101).map(|n| format!("l-{n}"));
        for (builder, field) in [
            (of(&"ü".repeat(65)).label("linux"), "name"),
            (of("r-1").label("linux").runner_group(0), "runner_group"),
            (of("r-1"), "labels"),
            (of("r-1").labels(many()), "labels"),
            (of("r-1").label(""), "labels"),
            (of("r-1").label("linux "), "labels"),
            (of("r-1").labels(["linux", "a\nb"]), "labels"),
            (of("r-1").label("linux").work_folder(""), "work_folder"),
        ] {
            let error = builder.build().unwrap_err();
            assert_eq!(error.field(), field, "{error}");
            assert!(error.to_string().starts_with(field), "{error}");
        }
        assert!(of(&"ü".repeat(64)).labels(many().take(100)).build().is_ok());
    }

    #[test]
    fn the_body_has_what_was_asked_for_and_no_more() {
        let name = "r-2".parse().unwrap();
        let request = of("r-1").label("linux").build().unwrap();
        let plain = json!({"name": "r-2", "runner_group_id": 1, "labels": ["linux"]});
        assert_eq!(request.body(&name), plain);
        let request = of("r-1").label("linux").runner_group(7).work_folder("_w");
        let whole = json!({
            "name": "r-2", "runner_group_id": 7, "labels": ["linux"], "work_folder": "_w"
        });
        assert_eq!(request.build().unwrap().body(&name), whole);
    }
}
