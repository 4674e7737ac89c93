//! What the guard remembers of a scope, so that it can judge the next listing.

use super::{Baseline, Listing, Snapshot};
use crate::{policy::Policy, runner::RunnerName, time::Instant};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How many names are remembered where no listing is ever read that would say who is left.
const MOST: usize = 5_000;

/// What is remembered of a scope between its listings: the record behind [`Baseline`], with the names
/// that tell which departures are explained.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Roster {
    baseline: Baseline,
    /// Those of ours that the last trusted listing showed, and those found by their number since.
    shown: BTreeMap<RunnerName, Lifetime>,
    /// Those that permits were redeemed for, or that were deregistered, since.
    redeemed: BTreeSet<RunnerName>,
    /// Those that GitHub showed and that nobody had asked about, or could be read no further: whoever asks about one
    /// later, and finds it absent, must not take it for one that never registered.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    sighted: BTreeSet<RunnerName>,
    /// How many runners had a job, as it turned out, when we deregistered them.
    deregistered_while_occupied: u64,
}

/// How long a runner is meant to stay registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// For one job: then it leaves by itself.
    Ephemeral,
    /// Until somebody deregisters it.
    Lasting,
}

/// One listing of a scope, and who is being asked about.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// The total that GitHub states, if it stated one.
    pub total: Option<u64>,
    /// The rows that were read, by their names.
    pub rows: &'a HashMap<&'a str, Lifetime>,
    /// How many rows were read.
    pub count: usize,
    /// The runners that are being asked about.
    pub asked: &'a HashSet<&'a RunnerName>,
    /// Whether those are all that the autoscaler has: a runner that it asks about no more has
    /// departed.
    pub asked_are_all: bool,
}

impl Roster {
    /// Whether this scope ever showed us a runner of ours, or minted us a token.
    #[must_use]
    pub fn scope_is_ours(&self) -> bool {
        self.baseline.scope_is_ours
    }

    /// GitHub minted us a registration token for this scope: it is ours.
    pub fn minted(&mut self) {
        self.baseline.minted();
    }

    /// A runner of ours was found registered in this scope, by its number: a listing that lacks it is to
    /// be doubted.
    pub fn found(&mut self, name: &RunnerName, lifetime: Lifetime) {
        self.baseline.scope_is_ours = true;
        let is_new = !self.shown.contains_key(name);
        if is_new && self.shown.len() >= MOST {
            return;
        }
        self.shown.insert(name.clone(), lifetime);
        self.baseline.ours = Some(self.shown.len());
    }

    /// GitHub showed this name, and it could not be read on.
    pub fn sighted(&mut self, name: &RunnerName) {
        if self.sighted.len() < MOST {
            self.sighted.insert(name.clone());
        }
    }

    /// Whether GitHub showed this name when nobody asked about it, or could read on. Of others their own memory
    /// tells.
    #[must_use]
    pub fn has_sighted(&self, name: &RunnerName) -> bool {
        self.sighted.contains(name)
    }

    /// Whether a runner of this name is known to be the autoscaler's own: it was asked about, and shown.
    #[must_use]
    pub fn has_shown(&self, name: &str) -> bool {
        let name = name.parse::<RunnerName>();
        name.is_ok_and(|name| self.shown.contains_key(&name))
    }

    /// Remembers the rows that nobody asked about, for as long as they are listed or asked about; where some runners
    /// alone are asked about, for longer.
    fn sight(&mut self, listed: Listed<'_>) {
        self.sighted.retain(|name| {
            let is_asked = listed.asked.contains(name);
            let is_listed = listed.rows.contains_key(name.as_str());
            is_asked != is_listed || !listed.asked_are_all && !is_asked
        });
        let names = listed.rows.keys().filter_map(|name| name.parse().ok());
        for name in names.filter(|name: &RunnerName| !listed.asked.contains(name)) {
            self.sighted(&name);
        }
    }

    /// How many runners had a job, as it turned out, when a guard deregistered them on GitHub's word.
    #[must_use]
    pub fn deregistered_while_occupied(&self) -> u64 {
        self.deregistered_while_occupied
    }

    /// A runner had a job when we deregistered it.
    pub fn was_occupied(&mut self) {
        self.deregistered_while_occupied = self.deregistered_while_occupied.saturating_add(1);
    }

    /// A permit for this runner was redeemed, or we deregistered it: its departure will be explained.
    pub fn redeemed(&mut self, name: &RunnerName) {
        if self.redeemed.len() < MOST {
            self.redeemed.insert(name.clone());
        }
    }

    /// The runners that were shown before and that this listing lacks.
    pub fn missing<'a>(&'a self, listed: Listed<'a>) -> impl Iterator<Item = &'a RunnerName> {
        let lacks = move |name: &&RunnerName| !listed.rows.contains_key(name.as_str());
        self.shown.keys().filter(lacks)
    }

    /// Judges a listing, and remembers it. `worked` tells of a missing runner whether it ever had a
    /// job: then it may have left by itself.
    #[must_use]
    pub fn judge(
        &mut self,
        listed: Listed<'_>,
        worked: impl Fn(&RunnerName) -> bool,
        now: Instant,
        policy: &Policy,
    ) -> Snapshot {
        self.sight(listed);
        let departed = self.missing(listed).filter(|&name| {
            let let_go = listed.asked_are_all && !listed.asked.contains(name);
            let leaves = self.shown.get(name) == Some(&Lifetime::Ephemeral);
            let_go || leaves || self.redeemed.contains(name) || worked(name)
        });
        let departed = departed.count();
        let asked = listed.asked.iter().copied();
        let row = |name: &RunnerName| {
            let lifetime = listed.rows.get(name.as_str())?;
            Some((name.clone(), *lifetime))
        };
        let ours: BTreeMap<_, _> = asked.chain(self.shown.keys()).filter_map(row).collect();
        self.baseline.scope_is_ours |= !ours.is_empty();
        // A new runner does not make up for one that is missing.
        let known = ours
            .keys()
            .filter(|&name| self.shown.contains_key(name))
            .count();
        let total = listed.total.and_then(|total| usize::try_from(total).ok());
        let snapshot = self.baseline.judge(
            Listing {
                // Without a total nobody knows whether these are all.
                total: total.unwrap_or(usize::MAX),
                rows: listed.count,
                ours: match self.baseline.ours {
                    Some(_) => known,
                    None => ours.len(),
                },
                departed,
            },
            now,
            policy,
        );
        if snapshot == Snapshot::Trusted {
            self.baseline.ours = Some(ours.len());
            self.redeemed.retain(|name| ours.contains_key(name));
            self.shown = ours;
        }
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn at(minute: i64) -> Instant {
        Instant::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    /// Names in capitals are of ephemeral runners.
    fn lifetime(name: &str) -> Lifetime {
        match name.chars().all(char::is_uppercase) {
            true => Lifetime::Ephemeral,
            false => Lifetime::Lasting,
        }
    }

    fn judged(
        roster: &mut Roster,
        rows: &[&str],
        asked: &[&str],
        worked: &[&str],
        minute: i64,
    ) -> Snapshot {
        let names: Vec<RunnerName> = asked.iter().map(|name| name.parse().unwrap()).collect();
        let listed = Listed {
            total: u64::try_from(rows.len()).ok(),
            rows: &rows.iter().map(|&name| (name, lifetime(name))).collect(),
            count: rows.len(),
            asked: &names.iter().collect(),
            asked_are_all: true,
        };
        let worked = |name: &RunnerName| worked.contains(&name.as_str());
        roster.judge(listed, worked, at(minute), &Policy::default())
    }

    #[test]
    fn a_runner_that_went_for_a_reason_leaves_the_listing_trusted() {
        let mut roster = Roster::default();
        let all = ["a", "b", "c", "d", "others"];
        let ours = ["a", "b", "c", "d"];
        assert_eq!(judged(&mut roster, &all, &ours, &[], 0), Snapshot::Trusted);
        let shrunken = Snapshot::Shrunken {
            believed_at: Some(at(11)),
        };
        assert_eq!(
            judged(&mut roster, &["a", "b", "c"], &ours, &[], 1),
            shrunken
        );
        let three = ["a", "b", "c", "others"];
        for (row, asked, worked) in [
            ("it had a job", &ours[..], &["d"][..]),
            ("the autoscaler let it go", &ours[..3], &[]),
        ] {
            let mut roster = roster.clone();
            assert_eq!(
                judged(&mut roster, &three, asked, worked, 2),
                Snapshot::Trusted,
                "{row}"
            );
        }
        roster.redeemed(&"d".parse().unwrap());
        assert_eq!(
            judged(&mut roster, &three, &ours, &[], 2),
            Snapshot::Trusted
        );
        // The same name comes again, and goes without a reason.
        assert_eq!(judged(&mut roster, &all, &ours, &[], 3), Snapshot::Trusted);
        assert_ne!(
            judged(&mut roster, &three, &ours, &[], 4),
            Snapshot::Trusted
        );
    }

    #[test]
    fn ephemeral_runners_leave_by_themselves_and_an_empty_listing_is_doubted_nevertheless() {
        let mut roster = Roster::default();
        let ours = ["A", "B", "c"];
        assert_eq!(judged(&mut roster, &ours, &ours, &[], 0), Snapshot::Trusted);
        for (minute, rows) in [(1, &["B", "c"][..]), (2, &["c"])] {
            assert_eq!(
                judged(&mut roster, rows, &ours, &[], minute),
                Snapshot::Trusted
            );
        }
        let mut roster = Roster::default();
        assert_eq!(
            judged(&mut roster, &["A"], &["A"], &[], 0),
            Snapshot::Trusted
        );
        assert_ne!(judged(&mut roster, &[], &["A"], &[], 1), Snapshot::Trusted);
    }

    #[test]
    fn a_listing_that_lacks_a_runner_found_by_its_number_is_doubted() {
        let mut roster = Roster::default();
        roster.found(&"a".parse().unwrap(), Lifetime::Lasting);
        assert!(roster.scope_is_ours());
        assert_ne!(
            judged(&mut roster, &["other"], &["a"], &[], 0),
            Snapshot::Trusted
        );
        assert_eq!(
            judged(&mut roster, &["other", "a"], &["a"], &[], 1),
            Snapshot::Trusted
        );
    }

    #[test]
    fn a_new_runner_does_not_make_up_for_one_that_is_missing() {
        let mut roster = Roster::default();
        assert_eq!(
            judged(&mut roster, &["a", "b"], &["a", "b"], &[], 0),
            Snapshot::Trusted
        );
        let after = judged(&mut roster, &["b", "c"], &["a", "b", "c"], &[], 1);
        assert_ne!(after, Snapshot::Trusted, "a is missing, whoever came");
    }

    #[test]
    fn a_listing_without_a_total_is_not_trusted() {
        let mut roster = Roster::default();
        let name = "a".parse().unwrap();
        let listed = Listed {
            total: None,
            rows: &HashMap::from([("a", Lifetime::Lasting)]),
            count: 1,
            asked: &HashSet::from([&name]),
            asked_are_all: true,
        };
        let snapshot = roster.judge(listed, |_| false, at(0), &Policy::default());
        assert_eq!(snapshot, Snapshot::Inconsistent);
    }
}
