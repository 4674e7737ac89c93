//! Machines, and how the runners on them are named: a cloud tells of instances, GitHub of runners.

use crate::{runner::RunnerName, time::Instant};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};
use thiserror::Error;

/// The shortest text that is taken for an instance's id, in bytes: a shorter one stands in many a name by chance.
const SHORTEST: usize = 4;

/// The longest one, in bytes. It fits into a runner's name, of which GitHub allows 64 characters.
const LONGEST: usize = 64;

/// What stands for the id in a template.
const PLACE: &str = "{instance}";

/// A machine's id in its cloud, such as EC2's `i-06cbe04821ccba677`: 4 to 64 letters, digits, `-`, `_` and `.`.
///
/// ```
/// use scale_in_guard::instance::InstanceId;
/// let id: InstanceId = "i-06cbe048".parse()?;
/// assert!(id.is_in("linux-i-06cbe048-2"));
/// assert!(!id.is_in("i-06cbe04821ccba677"), "the beginning of another id");
/// # Ok::<(), scale_in_guard::instance::InstanceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "Arc<str>")]
pub struct InstanceId(Arc<str>);

/// Why a text is no instance's id, or no rule for names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// It is too short, too long, or holds what no id has.
    #[error(
        "{0:?} is no instance's id; write one such as i-06cbe04821ccba677: 4 to 64 letters, digits, '-', '_' and '.'"
    )]
    Id(String),
    /// It is none of the rules.
    #[error(
        "{0:?} is no rule for the names of runners; write equals, ends-with, contains, or template:ghr-{{instance}}"
    )]
    Rule(String),
}

impl InstanceId {
    /// The id as the cloud shows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this id stands in a runner's name, in any case, and not as the beginning of a longer id.
    #[must_use]
    pub fn is_in(&self, name: &str) -> bool {
        let (name, id) = (name.as_bytes(), self.0.as_bytes());
        let mut windows = name.windows(id.len()).enumerate();
        windows.any(|(at, window)| {
            let next = name.get(at.saturating_add(id.len()));
            window.eq_ignore_ascii_case(id) && !next.is_some_and(u8::is_ascii_alphanumeric)
        })
    }

    /// A runner of this name: for an instance of which no runner is known.
    fn as_name(&self) -> RunnerName {
        RunnerName::checked_already(self.0.clone())
    }
}

impl FromStr for InstanceId {
    type Err = InstanceError;

    fn from_str(text: &str) -> Result<Self, InstanceError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match (SHORTEST..=LONGEST).contains(&text.len()) && text.chars().all(fits) {
            true => Ok(Self(text.into())),
            false => Err(InstanceError::Id(shown(text))),
        }
    }
}

impl TryFrom<String> for InstanceId {
    type Error = InstanceError;
    fn try_from(text: String) -> Result<Self, InstanceError> {
        text.parse()
    }
}

impl From<InstanceId> for Arc<str> {
    fn from(id: InstanceId) -> Self {
        id.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A machine, as its cloud tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// When it was launched, where the cloud says so.
    pub launched_at: Option<Instant>,
}

/// How the name of a runner follows from the id of the instance that it runs on.
///
/// ```
/// use scale_in_guard::instance::NameRule;
/// let rule: NameRule = "template:ghr-{instance}".parse()?;
/// let id = "i-06cbe04821ccba677".parse()?;
/// assert_eq!(rule.name_on(&id).unwrap().as_str(), "ghr-i-06cbe04821ccba677");
/// assert!(NameRule::EndsWith.fits("linux_i-06cbe04821ccba677", &id));
/// # Ok::<(), scale_in_guard::instance::InstanceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NameRule {
    /// The name is the id: `equals`.
    Equals,
    /// The name ends with the id: `ends-with`.
    EndsWith,
    /// The id stands in the name: `contains`. Several runners can be on one instance.
    #[default]
    Contains,
    /// The name is this text with the id in one place of it: `template:ghr-{instance}`.
    Template {
        /// What stands before the id.
        before: Arc<str>,
        /// What stands after it.
        after: Arc<str>,
    },
}

impl NameRule {
    /// Whether a runner of this name is on this instance. GitHub tells names apart without regard to case.
    #[must_use]
    pub fn fits(&self, name: &str, instance: &InstanceId) -> bool {
        match self {
            Self::Equals => name.eq_ignore_ascii_case(instance.as_str()),
            Self::EndsWith => {
                let (name, id) = (name.as_bytes(), instance.as_str().as_bytes());
                let end = name.len().checked_sub(id.len());
                let end = end.and_then(|start| name.get(start..));
                end.is_some_and(|end| end.eq_ignore_ascii_case(id))
            }
            Self::Contains => instance.is_in(name),
            Self::Template { .. } => {
                let ours = self.name_on(instance);
                ours.is_some_and(|ours| name.eq_ignore_ascii_case(ours.as_str()))
            }
        }
    }

    /// The name of the one runner on this instance, where the rule tells it.
    #[must_use]
    pub fn name_on(&self, instance: &InstanceId) -> Option<RunnerName> {
        match self {
            Self::Equals => Some(instance.as_name()),
            Self::Template { before, after } => format!("{before}{instance}{after}").parse().ok(),
            Self::EndsWith | Self::Contains => None,
        }
    }

    /// The name by which an instance is asked about on which no runner is known: the one that the rule tells, or
    /// the instance's own.
    #[must_use]
    pub fn name_of_none(&self, instance: &InstanceId) -> RunnerName {
        self.name_on(instance).unwrap_or_else(|| instance.as_name())
    }
}

impl FromStr for NameRule {
    type Err = InstanceError;

    fn from_str(text: &str) -> Result<Self, InstanceError> {
        let unknown = || InstanceError::Rule(shown(text));
        match text {
            "equals" => Ok(Self::Equals),
            "ends-with" => Ok(Self::EndsWith),
            "contains" => Ok(Self::Contains),
            _ => {
                let template = text.strip_prefix("template:").ok_or_else(unknown)?;
                let (before, after) = template.split_once(PLACE).ok_or_else(unknown)?;
                let longest = format!("{before}{}{after}", "i".repeat(LONGEST));
                let is_name = longest.parse::<RunnerName>().is_ok();
                // What follows must not make another id of it.
                let ends_there = !after.starts_with(|c: char| c.is_ascii_alphanumeric());
                match is_name && ends_there && !after.contains(PLACE) {
                    true => Ok(Self::Template {
                        before: before.into(),
                        after: after.into(),
                    }),
                    false => Err(unknown()),
                }
            }
        }
    }
}

impl fmt::Display for NameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals => f.write_str("equals"),
            Self::EndsWith => f.write_str("ends-with"),
            Self::Contains => f.write_str("contains"),
            Self::Template { before, after } => write!(f, "template:{before}{PLACE}{after}"),
        }
    }
}

/// As much of a text as an error should show.
fn shown(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

impl From<InstanceId> for RunnerName {
    fn from(id: InstanceId) -> Self {
        id.as_name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> InstanceId {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_is_letters_digits_and_three_signs() {
        for text in [
            "i-06cbe04821ccba677",
            "vm_1",
            "gce.zone-a.7",
            &"i".repeat(64),
        ] {
            assert_eq!(id(text).as_str(), text);
            assert_eq!(RunnerName::from(id(text)).as_str(), text);
            assert_eq!(RunnerName::new(text), Ok(id(text).into()), "a name, too");
        }
        for text in [
            "",
            "i-1",
            "i 06cbe048",
            "i-ä123",
            "i-06/cbe",
            "i-06\n12",
            &"i".repeat(65),
        ] {
            let refused = text.parse::<InstanceId>();
            assert!(matches!(refused, Err(InstanceError::Id(_))), "{text:?}");
        }
    }

    #[test]
    fn names_fit_instances_by_the_rule() {
        let long = "i-06cbe04821ccba677";
        let rules = [
            "equals",
            "ends-with",
            "contains",
            "template:ghr-{instance}-x",
        ];
        for (name, instance, expected) in [
            (long, long, [true, true, true, false]),
            ("I-06CBE04821CCBA677", long, [true, true, true, false]),
            ("ghr-i-06cbe04821ccba677", long, [false, true, true, false]),
            ("ghri-06cbe04821ccba677", long, [false, true, true, false]),
            ("i-06cbe04821ccba677-2", long, [false, false, true, false]),
            (
                "ghr-i-06cbe04821ccba677-x",
                long,
                [false, false, true, true],
            ),
            ("i-06cbe04821ccba6778", long, [false; 4]),
            ("i-06cbe04821ccba67", long, [false; 4]),
            (long, "i-06cbe048", [false; 4]),
            (
                "i-06cbe04821ccba677_i-06cbe048",
                "i-06cbe048",
                [false, true, true, false],
            ),
            ("", long, [false; 4]),
            (
                "läufer-i-06cbe048",
                "i-06cbe048",
                [false, true, true, false],
            ),
        ] {
            let fits =
                rules.map(|rule| rule.parse::<NameRule>().unwrap().fits(name, &id(instance)));
            assert_eq!(fits, expected, "{name} on {instance}");
        }
    }

    #[test]
    fn a_rule_is_read_strictly_and_shown_as_it_was_written() {
        for text in [
            "equals",
            "ends-with",
            "contains",
            "template:{instance}",
            "template:a-{instance}-b",
        ] {
            assert_eq!(text.parse::<NameRule>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "Equals",
            "endswith",
            "template:",
            "template:ghr",
            "template:{instance}2",
            "template:{id}",
            "template:{instance}-{instance}",
            "template: {instance}",
            "template:a\n{instance}",
        ] {
            let refused = text.parse::<NameRule>();
            assert!(matches!(refused, Err(InstanceError::Rule(_))), "{text:?}");
        }
    }

    #[test]
    fn only_two_rules_tell_the_name() {
        let instance = id("i-06cbe048");
        let name = |rule: &str| rule.parse::<NameRule>().unwrap().name_on(&instance);
        assert_eq!(name("equals").unwrap().as_str(), "i-06cbe048");
        assert_eq!(
            name("template:a-{instance}").unwrap().as_str(),
            "a-i-06cbe048"
        );
        assert_eq!(name("ends-with"), None);
        assert_eq!(name("contains"), None);
        assert_eq!(
            NameRule::Contains.name_of_none(&instance).as_str(),
            "i-06cbe048"
        );
    }
}
