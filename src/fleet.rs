//! What is true of a whole fleet: whether a listing can be trusted, how far our clock is from
//! GitHub's, and what is left of the kill budget.

mod roster;

pub use roster::{Lifetime, Listed, Roster};

use crate::{
    policy::Policy,
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

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

impl FleetReport {
    /// Whether our clock is too far from GitHub's: then nobody knows how long anything has lasted.
    pub(crate) fn clock_is_off(&self) -> bool {
        let allowed = MAX_GITHUB_SKEW.num_seconds().unsigned_abs();
        let skew = self.clock_skew_seconds;
        skew.is_some_and(|seconds| seconds.unsigned_abs() > allowed)
    }
}

/// GitHub's clock less ours, in seconds, where an answer carried its date.
#[cfg(feature = "github")]
pub(crate) fn skew_seconds(
    date: Option<Instant>,
    asked_at: Instant,
    received_at: Instant,
) -> Option<i64> {
    Some(crate::time::ahead_of(date?, asked_at, received_at).num_seconds())
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
                // Two looks at one instant are one.
                looks: doubted.looks.saturating_add(u32::from(now > doubted.last)),
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
    fn two_looks_at_one_instant_are_one() {
        let mut baseline = Baseline::default();
        assert_eq!(look(&mut baseline, listing(10, 0), 0), Snapshot::Trusted);
        for _ in 0..3 {
            assert_ne!(look(&mut baseline, listing(7, 0), 1), Snapshot::Trusted);
        }
        for _ in 0..3 {
            assert_ne!(look(&mut baseline, listing(7, 0), 11), Snapshot::Trusted);
        }
        assert_eq!(look(&mut baseline, listing(7, 0), 12), Snapshot::Trusted);
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
}
