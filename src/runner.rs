//! Runners, the scopes they are registered in, and what makes two of them the same.

use crate::{instance::InstanceId, time::Instant};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};
use thiserror::Error;

/// The longest name accepted, in bytes. GitHub itself allows 64 characters for a runner.
const NAME_BYTES: usize = 256;

/// Why a runner or scope could not be named.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("{what} is empty; give its name as GitHub shows it")]
    Empty {
        /// Which name: "a runner's name", "an organisation's name", …
        what: &'static str,
    },
    /// The name is longer than 256 bytes.
    #[error("{what} is longer than 256 bytes; GitHub allows 64 characters")]
    TooLong {
        /// Which name.
        what: &'static str,
    },
    /// The name holds a character that no such name can have.
    #[error("{what} holds the character {character:?}, which no such name can have")]
    Character {
        /// Which name.
        what: &'static str,
        /// The offending character.
        character: char,
    },
    /// The name has space before or after it.
    #[error("{what} has space around it; give the name alone")]
    Space {
        /// Which name.
        what: &'static str,
    },
    /// The name is a step in a path: `.` or `..`.
    #[error("{what} is {name:?}, which is a path and no name")]
    Path {
        /// Which name.
        what: &'static str,
        /// What was given.
        name: Arc<str>,
    },
    /// The scope is not `repo:OWNER/NAME`, `org:NAME` or `enterprise:NAME`.
    #[error("{0:?} is no scope; write repo:OWNER/NAME, org:NAME or enterprise:NAME")]
    Scope(String),
    /// The repository is not `OWNER/NAME`.
    #[error("{0:?} is no repository; write OWNER/NAME")]
    Repository(String),
}

fn checked(
    what: &'static str,
    name: &str,
    refuse: fn(char) -> bool,
) -> Result<Arc<str>, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > NAME_BYTES {
        return Err(NameError::TooLong { what });
    }
    match name.chars().find(|&c| c.is_control() || refuse(c)) {
        Some(character) => Err(NameError::Character { what, character }),
        None => Ok(name.into()),
    }
}

/// A runner's registered name: unique in its scope at one time, reusable afterwards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "Arc<str>")]
pub struct RunnerName(Arc<str>);

impl RunnerName {
    /// Accepts any name of 1 to 256 bytes without control characters, and without space around it.
    ///
    /// # Errors
    /// [`NameError`] when it is empty, too long, holds a control character, or has space around it.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let what = "a runner's name";
        if name != name.trim() {
            return Err(NameError::Space { what });
        }
        checked(what, name, |_| false).map(Self)
    }

    /// A name that was read strictly as something else, and is one by that.
    pub(crate) fn checked_already(name: Arc<str>) -> Self {
        Self(name)
    }

    /// A name that this crate gives to a record of its own, in the place of a runner's.
    #[cfg(feature = "guard")]
    pub(crate) fn ours(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as GitHub shows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunnerName {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

impl From<RunnerName> for Arc<str> {
    fn from(name: RunnerName) -> Self {
        name.0
    }
}

impl FromStr for RunnerName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl fmt::Display for RunnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A registration's number, unique in its scope, given by GitHub when the runner registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunnerId(pub u64);

impl fmt::Display for RunnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a runner is registered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Scope {
    /// One repository: `repo:OWNER/NAME`.
    Repository {
        /// The user or organisation that owns it.
        owner: Arc<str>,
        /// The repository's name.
        name: Arc<str>,
    },
    /// An organisation: `org:NAME`.
    Organization(Arc<str>),
    /// An enterprise: `enterprise:NAME`.
    Enterprise(Arc<str>),
}

impl FromStr for Scope {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let part = |what, name| {
            let part = checked(what, name, |c| c == '/' || c.is_whitespace())?;
            // A dot segment would lead out of its place in a URL's path.
            match &*part {
                "." | ".." => Err(NameError::Path { what, name: part }),
                _ => Ok(part),
            }
        };
        let no_scope = || NameError::Scope(text.chars().take(NAME_BYTES).collect());
        match text.split_once(':') {
            Some(("repo", path)) => {
                let (owner, name) = path.split_once('/').ok_or_else(no_scope)?;
                Ok(Self::Repository {
                    owner: part("a repository's owner", owner)?,
                    name: part("a repository's name", name)?,
                })
            }
            Some(("org", name)) => Ok(Self::Organization(part("an organisation's name", name)?)),
            Some(("enterprise", name)) => Ok(Self::Enterprise(part("an enterprise's name", name)?)),
            _ => Err(no_scope()),
        }
    }
}

impl Scope {
    /// Whether both are one: GitHub tells scopes apart without regard to case.
    #[cfg(feature = "beacon")]
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.in_lower_case() == other.in_lower_case()
    }

    /// The same scope, as it stands in keys: GitHub tells scopes apart without regard to case.
    #[cfg(feature = "guard")]
    pub(crate) fn in_lower_case(&self) -> Self {
        let lower = |name: &Arc<str>| match name.chars().any(char::is_uppercase) {
            true => name.to_lowercase().into(),
            false => name.clone(),
        };
        match self {
            Self::Repository { owner, name } => Self::Repository {
                owner: lower(owner),
                name: lower(name),
            },
            Self::Organization(name) => Self::Organization(lower(name)),
            Self::Enterprise(name) => Self::Enterprise(lower(name)),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { owner, name } => write!(f, "repo:{owner}/{name}"),
            Self::Organization(name) => write!(f, "org:{name}"),
            Self::Enterprise(name) => write!(f, "enterprise:{name}"),
        }
    }
}

/// A self-hosted runner, as the autoscaler knows it: the subject of every question.
///
/// A record about a runner belongs to its scope and name. Another `id` or `launched_at` under the
/// same name is a new incarnation: its memory starts empty.
///
/// ```
/// use scale_in_guard::Runner;
/// let runner = Runner::new("i-06cbe04821ccba677", "repo:acme/atlas")?.with_id(18700);
/// assert_eq!(runner.scope.to_string(), "repo:acme/atlas");
/// # Ok::<(), scale_in_guard::runner::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runner {
    /// Its registered name.
    pub name: RunnerName,
    /// Its registration's number, where the autoscaler knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RunnerId>,
    /// Where it is registered.
    pub scope: Scope,
    /// When its instance was launched, where the autoscaler knows it. Without it the registration
    /// deadline runs from our first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched_at: Option<Instant>,
    /// Its labels. Empty means unknown: then those of its registration count, and where they are
    /// unknown too, any queued job could be on its way to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Arc<str>>,
    /// Whether it takes one job and goes. It changes no rule; it is carried for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<bool>,
    /// The machine that it is on, where that is known and its id is part of the names of the runners on it. Then a
    /// job on any runner so named holds this one: terminating one of them terminates all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
}

impl Runner {
    /// A runner known by its name alone; `scope` is `repo:OWNER/NAME`, `org:NAME` or
    /// `enterprise:NAME`.
    ///
    /// # Errors
    /// [`NameError`] when the name or the scope cannot be one.
    pub fn new(name: &str, scope: &str) -> Result<Self, NameError> {
        Ok(Self::called(name.parse()?, scope.parse()?))
    }

    /// A runner known by its name alone.
    #[must_use]
    pub fn called(name: RunnerName, scope: Scope) -> Self {
        Self {
            name,
            id: None,
            scope,
            launched_at: None,
            labels: Vec::new(),
            ephemeral: None,
            instance: None,
        }
    }

    /// Whether its machine may have been there long before we first looked, for all that is known.
    pub(crate) fn may_be_old(&self) -> bool {
        self.instance.is_some() && self.launched_at.is_none()
    }

    /// The same runner, with its registration's number.
    #[must_use]
    pub fn with_id(mut self, id: u64) -> Self {
        self.id = Some(RunnerId(id));
        self
    }

    /// The same runner, with the instant its instance was launched.
    #[must_use]
    pub fn launched_at(mut self, instant: Instant) -> Self {
        self.launched_at = Some(instant);
        self
    }

    /// The same runner, on this machine.
    #[must_use]
    pub fn on_instance(mut self, instance: InstanceId) -> Self {
        self.instance = Some(instance);
        self
    }

    /// The same runner, with its labels.
    #[must_use]
    pub fn with_labels<L: Into<Arc<str>>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.labels = labels.into_iter().map(Into::into).collect();
        self
    }
}

/// Whether a runner with the labels `have` could be sent a job that asks for `wanted`. GitHub compares
/// labels without regard to case.
pub(crate) fn fits(have: &[Arc<str>], wanted: &[Arc<str>]) -> bool {
    let is_same = |one: &str, other: &str| {
        one.eq_ignore_ascii_case(other) || one.to_lowercase() == other.to_lowercase()
    };
    let has = |want: &Arc<str>| have.iter().any(|have| is_same(have, want));
    wanted.iter().all(has)
}

/// The runner that a job names, as GitHub wrote it down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunnerRef {
    /// The registration's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RunnerId>,
    /// The registered name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
}

impl RunnerRef {
    /// A reference by name.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self {
            id: None,
            name: Some(name.into()),
        }
    }

    /// A reference by number.
    pub fn numbered(id: u64) -> Self {
        Self {
            id: Some(RunnerId(id)),
            name: None,
        }
    }

    /// Whether this is the runner's number.
    pub(crate) fn numbers(&self, runner: &Runner, seen: Option<RunnerId>) -> bool {
        self.id.is_some() && (self.id == runner.id || self.id == seen)
    }

    /// Whether this names the runner: by its number (the one the autoscaler gave or the one its
    /// registration shows), else by its name, in any case. Either is enough: a runner may have been
    /// registered anew under its name, and a first renewal may rename it (`JobDispatcher.cs`). A name on the
    /// same machine is as good: it goes with it.
    pub(crate) fn names(&self, runner: &Runner, seen: Option<RunnerId>) -> bool {
        // In any case: whoever spells a name otherwise must not lose its job.
        let is_called = |name: &str| {
            let wanted = runner.name.as_str();
            let machine = runner.instance.as_ref();
            name == wanted
                || name.to_lowercase() == wanted.to_lowercase()
                || machine.is_some_and(|machine| machine.is_in(name))
        };
        self.numbers(runner, seen) || self.name.as_deref().is_some_and(is_called)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_fit_in_any_case_of_any_alphabet() {
        let labels = |labels: &[&str]| labels.iter().map(|&label| label.into()).collect::<Vec<_>>();
        for (have, wanted, expected) in [
            (&["GPU", "linux"][..], &["gpu"][..], true),
            (&["BÜRO"], &["büro"], true),
            (&["büro"], &["BÜRO"], true),
            (&["ΑΣ"], &["ας"], true),
            (&["gpu"], &["gpus"], false),
            (&["gpu"], &["gpu", "linux"], false),
            (&[], &[], true),
        ] {
            let fit = fits(&labels(have), &labels(wanted));
            assert_eq!(fit, expected, "{have:?} {wanted:?}");
        }
    }

    #[test]
    fn a_scope_reads_back_as_written() {
        for text in ["repo:acme/atlas", "org:acme", "enterprise:acme-inc"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for text in [
            "",
            "acme",
            "repo:acme",
            "repo:/x",
            "repo:a/b/c",
            "org:",
            "org:a b",
            "org:a/b",
            "team:x",
            "Repo:a/b",
            "org:..",
            "repo:./x",
            "repo:acme/..",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_is_bounded_and_printable() {
        assert!(RunnerName::new("i-0 (eu) ü").is_ok());
        assert!(RunnerName::new("").is_err());
        assert!(RunnerName::new("a\nb").is_err());
        assert!(RunnerName::new("a ").is_err());
        assert!(RunnerName::new("\u{a0}a").is_err());
        assert!(RunnerName::new(&"x".repeat(257)).is_err());
    }

    #[test]
    fn labels_decide_what_could_be_sent_here() {
        let labels =
            |labels: &[&str]| -> Vec<Arc<str>> { labels.iter().map(|&l| l.into()).collect() };
        let linux = labels(&["self-hosted", "Linux"]);
        assert!(
            fits(&linux, &labels(&[])),
            "a job of unknown labels could go anywhere"
        );
        assert!(fits(&linux, &labels(&["linux"])));
        assert!(!fits(&linux, &labels(&["linux", "gpu"])));
    }

    #[test]
    fn a_job_names_a_runner_by_number_or_by_name_in_any_case() {
        let runner = Runner::new("r-1", "org:acme").unwrap().with_id(7);
        assert!(RunnerRef::numbered(7).names(&runner, None));
        assert!(RunnerRef::numbered(8).names(&runner, Some(RunnerId(8))));
        assert!(RunnerRef::named("r-1").names(&runner, None));
        assert!(RunnerRef::named("R-1").names(&runner, None));
        assert!(!RunnerRef::named("r-10").names(&runner, None));
        let neighbour = RunnerRef::named("i-06cbe048-2");
        assert!(!neighbour.names(&runner, None));
        let machine = |id: &str| runner.clone().on_instance(id.parse().unwrap());
        assert!(neighbour.names(&machine("i-06cbe048"), None));
        assert!(!neighbour.names(&machine("i-06cbe049"), None));
        assert!(!RunnerRef::numbered(8).names(&runner, None));
        assert!(
            !RunnerRef {
                id: None,
                name: None
            }
            .names(&runner, None)
        );
    }
}
