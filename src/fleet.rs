//! What is true of a whole fleet: whether a listing can be trusted, how far our clock is from
//! GitHub's, and what is left of the kill budget.

use crate::{
    policy::Policy,
    runner::RunnerName,
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};

/// How far our clock may be from GitHub's `Date`.
pub const MAX_GITHUB_SKEW: TimeDelta = TimeDelta::seconds(30);

/// How long the same suspicious listing must have been seen before it is believed.
pub const BASELINE_AFTER: TimeDelta = TimeDelta::minutes(10);

/// In how many looks the same suspicious listing must have been seen before it is believed.
pub const BASELINE_LOOKS: u32 = 3;

/// How long everyone is held when most beacons fall silent at once.
pub const SILENCE_HOLDS: TimeDelta = TimeDelta::hours(24);

/// What is known of the fleet at one look.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FleetReport {
    /// Whether the listing can be trusted.
    #[serde(default)]
    pub snapshot: Snapshot,
    /// GitHub's clock less ours, in seconds, where an answer carried a `Date`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_seconds: Option<i64>,
    /// How many permits this sweep may still hand out, where there is a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permits_left: Option<u32>,
    /// Since when most beacons have been silent at once, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beacons_silent_since: Option<Instant>,
}

/// Whether a listing of a scope's runners can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Snapshot {
    /// It can, or none was read.
    #[default]
    Trusted,
    /// Its total does not match its rows.
    Inconsistent,
    /// It is empty, or suddenly shorter than what we took away or saw depart explains.
    Shrunken {
        /// When it becomes the new baseline, if it stays the same and is looked at often enough.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        believed_at: Option<Instant>,
    },
}

/// One listing of a scope, reduced to what trust rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The total that GitHub states.
    pub total: usize,
    /// The rows that were read.
    pub rows: usize,
    /// How many of the rows are ours.
    pub ours: usize,
    /// How many of ours we redeemed permits for, or saw depart, since the last listing.
    pub departed: usize,
}

/// What earlier listings of a scope showed: the memory behind [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Baseline {
    /// How many runners of ours the last trusted listing showed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ours: Option<usize>,
    /// Whether this scope ever answered with one of ours, or minted us a registration token.
    pub scope_is_ours: bool,
    /// A suspicious answer that is waiting to be believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubted: Option<Doubted>,
}

/// A suspicious listing, seen again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubted {
    /// How many runners of ours it shows.
    pub ours: usize,
    /// When it was first seen.
    pub since: Instant,
    /// When it was last seen.
    pub last: Instant,
    /// In how many looks.
    pub looks: u32,
}

impl Baseline {
    /// Judges a listing read at `now`, and remembers it. Listings that failed are not passed in.
    ///
    /// A listing is trusted when its total matches its rows, it is not empty, and it is not shorter
    /// than what departed explains. One that stays the same in [`BASELINE_LOOKS`] looks over
    /// [`BASELINE_AFTER`] is believed, in a scope that is ours.
    #[must_use]
    pub fn judge(&mut self, listing: Listing, now: Instant, policy: &Policy) -> Snapshot {
        if listing.total != listing.rows {
            return Snapshot::Inconsistent;
        }
        let ours = listing.ours;
        self.scope_is_ours |= ours > 0;
        let explained = match self.ours {
            None => ours > 0,
            Some(known) if listing.rows == 0 => known == 0,
            Some(known) => ours >= known.saturating_sub(listing.departed),
        };
        if explained {
            self.believe(ours);
            return Snapshot::Trusted;
        }
        let gap = policy.observation_gap();
        let doubted = match self.doubted {
            Some(doubted) if doubted.ours == ours && age(now, doubted.last) <= gap => Doubted {
                last: now,
                looks: doubted.looks.saturating_add(1),
                ..doubted
            },
            _ => Doubted {
                ours,
                since: now,
                last: now,
                looks: 1,
            },
        };
        let believed_at = after(doubted.since, BASELINE_AFTER);
        if doubted.looks >= BASELINE_LOOKS && now >= believed_at && self.scope_is_ours {
            self.believe(ours);
            return Snapshot::Trusted;
        }
        self.doubted = Some(doubted);
        Snapshot::Shrunken {
            believed_at: self.scope_is_ours.then_some(believed_at),
        }
    }

    /// GitHub minted us a registration token for this scope: it is ours.
    pub fn minted(&mut self) {
        self.scope_is_ours = true;
    }

    fn believe(&mut self, ours: usize) {
        self.ours = Some(ours);
        self.doubted = None;
    }
}

/// What is remembered of a scope between its listings: the record behind [`Baseline`], with the names
/// that tell which departures are explained.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Roster {
    baseline: Baseline,
    /// Those of ours that the last trusted listing showed.
    shown: BTreeSet<RunnerName>,
    /// Those that permits were redeemed for since.
    redeemed: BTreeSet<RunnerName>,
}

/// One listing of a scope, and who is being asked about.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// The total that GitHub states, if it stated one.
    pub total: Option<u64>,
    /// The names of the rows that were read.
    pub rows: &'a HashSet<&'a str>,
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

    /// A runner of ours was found registered in this scope.
    pub fn found(&mut self) {
        self.baseline.scope_is_ours = true;
    }

    /// A permit for this runner was redeemed: its departure will be explained.
    pub fn redeemed(&mut self, name: &RunnerName) {
        self.redeemed.insert(name.clone());
    }

    /// The runners that the last trusted listing showed and this one lacks.
    pub fn missing<'a>(&'a self, listed: Listed<'a>) -> impl Iterator<Item = &'a RunnerName> {
        let lacks = move |name: &&RunnerName| !listed.rows.contains(name.as_str());
        self.shown.iter().filter(lacks)
    }

    /// Judges a listing, and remembers it. `worked` tells of a missing runner whether it ever had a
    /// job: then it may have left by itself, as ephemeral runners do.
    #[must_use]
    pub fn judge(
        &mut self,
        listed: Listed<'_>,
        worked: impl Fn(&RunnerName) -> bool,
        now: Instant,
        policy: &Policy,
    ) -> Snapshot {
        let departed = self.missing(listed).filter(|&name| {
            let let_go = listed.asked_are_all && !listed.asked.contains(name);
            let_go || self.redeemed.contains(name) || worked(name)
        });
        let departed = departed.count();
        let asked = listed.asked.iter().copied();
        let ours: BTreeSet<RunnerName> = asked
            .chain(&self.shown)
            .filter(|name| listed.rows.contains(name.as_str()))
            .cloned()
            .collect();
        self.baseline.scope_is_ours |= !ours.is_empty();
        // A new runner does not make up for one that is missing.
        let known = self.shown.intersection(&ours).count();
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
            self.redeemed.retain(|name| ours.contains(name));
            self.shown = ours;
        }
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Instant {
        Instant::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn listing(ours: usize, departed: usize) -> Listing {
        Listing {
            total: ours,
            rows: ours,
            ours,
            departed,
        }
    }

    fn look(baseline: &mut Baseline, listing: Listing, minute: i64) -> Snapshot {
        baseline.judge(listing, at(minute), &Policy::default())
    }

    #[test]
    fn rows_that_do_not_add_up_are_never_trusted() {
        let mut baseline = Baseline::default();
        let drifted = Listing {
            total: 11,
            rows: 10,
            ours: 10,
            departed: 0,
        };
        for minute in 0..30 {
            assert_eq!(look(&mut baseline, drifted, minute), Snapshot::Inconsistent);
        }
        assert_eq!(baseline, Baseline::default(), "nor remembered");
    }

    #[test]
    fn a_listing_may_shrink_by_what_departed() {
        let mut baseline = Baseline::default();
        assert_eq!(look(&mut baseline, listing(10, 0), 0), Snapshot::Trusted);
        assert_eq!(look(&mut baseline, listing(8, 2), 1), Snapshot::Trusted);
        assert_eq!(look(&mut baseline, listing(9, 0), 2), Snapshot::Trusted);
    }

    #[test]
    fn an_empty_listing_is_doubted_even_when_departures_explain_it() {
        let mut baseline = Baseline::default();
        assert_eq!(look(&mut baseline, listing(2, 0), 0), Snapshot::Trusted);
        assert_ne!(look(&mut baseline, listing(0, 2), 1), Snapshot::Trusted);
        assert_ne!(look(&mut baseline, listing(0, 0), 6), Snapshot::Trusted);
        assert_eq!(look(&mut baseline, listing(0, 0), 11), Snapshot::Trusted);
        assert_eq!(look(&mut baseline, listing(0, 0), 12), Snapshot::Trusted);
    }

    #[test]
    fn a_sudden_loss_is_believed_after_three_looks_over_ten_minutes() {
        let mut baseline = Baseline::default();
        assert_eq!(look(&mut baseline, listing(10, 0), 0), Snapshot::Trusted);
        let doubted = Snapshot::Shrunken {
            believed_at: Some(at(11)),
        };
        assert_eq!(look(&mut baseline, listing(7, 2), 1), doubted);
        assert_eq!(look(&mut baseline, listing(7, 0), 6), doubted);
        assert_eq!(look(&mut baseline, listing(7, 0), 10), doubted);
        assert_eq!(look(&mut baseline, listing(7, 0), 11), Snapshot::Trusted);
        assert_eq!(baseline.ours, Some(7));
    }

    #[test]
    fn two_looks_are_not_three() {
        let mut baseline = Baseline::default();
        assert_eq!(look(&mut baseline, listing(10, 0), 0), Snapshot::Trusted);
        assert_ne!(look(&mut baseline, listing(0, 0), 1), Snapshot::Trusted);
        assert_ne!(look(&mut baseline, listing(0, 0), 11), Snapshot::Trusted);
        assert_eq!(look(&mut baseline, listing(0, 0), 12), Snapshot::Trusted);
    }

    #[test]
    fn another_answer_or_a_long_gap_starts_the_doubt_anew() {
        let mut baseline = Baseline::default();
        assert_eq!(look(&mut baseline, listing(10, 0), 0), Snapshot::Trusted);
        let _ = look(&mut baseline, listing(7, 0), 1);
        let _ = look(&mut baseline, listing(7, 0), 9);
        assert_eq!(
            look(&mut baseline, listing(6, 0), 11),
            Snapshot::Shrunken {
                believed_at: Some(at(21))
            }
        );
        assert_eq!(
            look(&mut baseline, listing(6, 0), 22),
            Snapshot::Shrunken {
                believed_at: Some(at(32))
            }
        );
    }

    #[test]
    fn an_empty_listing_of_a_scope_that_never_showed_one_of_ours_is_never_believed() {
        let mut baseline = Baseline::default();
        for minute in 0..60 {
            assert_eq!(
                look(&mut baseline, listing(0, 0), minute),
                Snapshot::Shrunken { believed_at: None }
            );
        }
        baseline.minted();
        assert_eq!(look(&mut baseline, listing(0, 0), 60), Snapshot::Trusted);
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
            rows: &rows.iter().copied().collect(),
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
            rows: &HashSet::from(["a"]),
            count: 1,
            asked: &HashSet::from([&name]),
            asked_are_all: true,
        };
        let snapshot = roster.judge(listed, |_| false, at(0), &Policy::default());
        assert_eq!(snapshot, Snapshot::Inconsistent);
    }
}
