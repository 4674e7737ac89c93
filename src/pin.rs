//! An operator's order that runners stay.

use crate::{
    runner::{RunnerName, Scope},
    time::{At, Instant},
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// An order that a runner must stay: what it is about, who gave it, why, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pin {
    /// Which runners must stay. `None`: the one that this pin is evidence about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Why, in the operator's words.
    pub note: Arc<str>,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<str>>,
    /// When it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Instant>,
    /// When the pin ends by itself. `None`: when the operator takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
}

/// Which runners a pin is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Target {
    /// One runner.
    Runner {
        /// Where it is registered.
        scope: Scope,
        /// Its name.
        name: RunnerName,
    },
    /// Every runner of a scope that has this label, in any case, or whose labels nobody knows.
    Label {
        /// Where they are registered.
        scope: Scope,
        /// The label.
        label: Arc<str>,
    },
    /// Every runner of a scope.
    Scope(Scope),
    /// Every runner of every scope that is remembered in the same store.
    Everything,
}

impl Pin {
    /// Whether it has not ended by this instant.
    #[must_use]
    pub fn stands_at(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether it is about the runners that have a label.
    pub(crate) fn wants_labels(&self) -> bool {
        matches!(self.target, Some(Target::Label { .. }))
    }
}

/// `pinned by ann until 2026-05-14T04:00:00Z, with label gpu of org:acme: being debugged`
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.by.as_deref().unwrap_or("an operator");
        write!(f, "pinned by {by}")?;
        if let Some(until) = self.until {
            write!(f, " until {}", At(until))?;
        }
        if let Some(target) = &self.target {
            write!(f, ", {target}")?;
        }
        write!(f, ": {}", self.note)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runner { scope, name } => write!(f, "runner {name} of {scope}"),
            Self::Label { scope, label } => write!(f, "label {label} of {scope}"),
            Self::Scope(scope) => write!(f, "all of {scope}"),
            Self::Everything => f.write_str("everything"),
        }
    }
}
