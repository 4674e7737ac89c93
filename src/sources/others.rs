//! Which registrations of a scope are no runners of the autoscaler's, and how it names its own.

use crate::{
    github::RunnerRow,
    instance::{InstanceId, NameRule},
    runner::Runner,
};
use std::sync::Arc;

/// The registrations of a scope that are others': a scope is often shared by several fleets. Every other registration
/// that the guard is not asked about, and never was, may be a machine that it is asked about under another name.
///
/// ```
/// use scale_in_guard::sources::Others;
/// let others = Others::none().named("gpu-*").labelled("macos");
/// # drop(others);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Others {
    names: Vec<Arc<str>>,
    labels: Vec<Arc<str>>,
}

impl Others {
    /// Every registration of the scope is the autoscaler's own.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Those with such a name, too: `*` stands for any text, also for none. In any case.
    #[must_use]
    pub fn named(mut self, pattern: impl Into<Arc<str>>) -> Self {
        self.names.push(pattern.into());
        self
    }

    /// Those with this label, too. In any case.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<Arc<str>>) -> Self {
        self.labels.push(label.into());
        self
    }

    /// Whether this registration is others'.
    pub(super) fn own(&self, row: &RunnerRow) -> bool {
        let name = row.name.to_lowercase();
        let is_named = |pattern: &Arc<str>| fits(&pattern.to_lowercase(), &name);
        let has = |label: &Arc<str>| crate::runner::fits(&row.labels, std::slice::from_ref(label));
        self.names.iter().any(is_named) || self.labels.iter().any(has)
    }
}

/// Whether a text is of this pattern, in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// How many of those that are not accounted for are named.
const NAMED: usize = 3;

/// Of the registrations that nobody accounts for, some that may be this runner's machine under another name. None where
/// the autoscaler knows its number, or its names tell the machine.
pub(super) fn could_be(
    runner: &Runner,
    unaccounted: &[Arc<str>],
    rule: Option<&NameRule>,
) -> Vec<Arc<str>> {
    if runner.id.is_some() || runner.instance.is_some() {
        return Vec::new();
    }
    let machine = runner.name.as_str().parse::<InstanceId>().ok();
    let could_be = |name: &&Arc<str>| match rule.zip(machine.as_ref()) {
        Some((rule, machine)) => rule.fits(name, machine),
        None => true,
    };
    unaccounted
        .iter()
        .filter(could_be)
        .take(NAMED)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("gpu-*", "gpu-1", true),
            ("gpu-*", "gpu-", true),
            ("gpu-*", "a-gpu-1", false),
            ("*-gpu", "a-gpu", true),
            ("*-gpu", "a-gpu-1", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("gpu", "gpu", true),
            ("gpu", "gpu-1", false),
            ("", "gpu", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_number_a_machine_or_a_rule_tells_which_registration_is_whose() {
        let runner = Runner::new("i-06cbe048", "org:acme").unwrap();
        let others: [Arc<str>; 4] = ["ip-10-0-0-5", "ghr-i-06cbe048", "c", "d"].map(Arc::from);
        let named = |runner: &Runner, rule: Option<&str>| {
            let rule = rule.map(|rule| rule.parse::<NameRule>().unwrap());
            could_be(runner, &others, rule.as_ref()).len()
        };
        assert_eq!(named(&runner, None), 3, "three are named");
        assert_eq!(named(&runner, Some("equals")), 0);
        assert_eq!(named(&runner, Some("contains")), 1, "it is on this machine");
        assert_eq!(named(&runner.clone().with_id(7), None), 0);
        let machine = runner.clone().on_instance("i-06cbe048".parse().unwrap());
        assert_eq!(named(&machine, None), 0);
        let unnamable = Runner::new("a b c", "org:acme").unwrap();
        assert_eq!(named(&unnamable, Some("equals")), 3, "no rule can place it");
    }
}
