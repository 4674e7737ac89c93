//! What the looks of one scope saw, as it is remembered between them.

use crate::{
    github::RunnerRow,
    runner::RunnerId,
    time::{Instant, after},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// How many registrations of each sort are remembered: some 300 KB.
const MOST: usize = 10_000;

/// Which registrations never connected, as far as any look saw, and which ones did: the record of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sightings {
    /// Those that no look saw connected, and when the first one saw them.
    never: BTreeMap<RunnerId, Instant>,
    /// Those that some look saw connected: they are none of ours to remove, whatever GitHub shows of them later.
    connected: BTreeSet<RunnerId>,
    /// Of those with a number up to this, some that were seen connected are forgotten, for there were too many: a
    /// new one among them may have been one.
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten: Option<RunnerId>,
}

/// What is shown at one look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) rows: &'a [RunnerRow],
    /// Whether these are all: what is not among them is registered no more.
    pub(super) is_whole: bool,
    pub(super) now: Instant,
    /// Whether our clock is good enough to begin a period by.
    pub(super) clock_is_good: bool,
}

impl Sightings {
    /// Takes in one look.
    pub(super) fn observe(&mut self, shown: Shown<'_>) {
        // An earlier look may have been made by a clock that was ahead: its periods begin anew.
        for since in self.never.values_mut() {
            *since = (*since).min(shown.now);
        }
        if shown.is_whole {
            let ids: HashSet<_> = shown.rows.iter().map(|row| row.id).collect();
            self.never.retain(|id, _| ids.contains(id));
            self.connected.retain(|id| ids.contains(id));
        }
        for row in shown.rows {
            if !row.never_connected() {
                self.was_connected(row.id);
            } else if shown.clock_is_good && self.may_be_new(row.id) && self.never.len() < MOST {
                self.never.entry(row.id).or_insert(shown.now);
            }
        }
    }

    /// A registration was seen connected.
    pub(super) fn was_connected(&mut self, id: RunnerId) {
        self.never.remove(&id);
        self.connected.insert(id);
        if self.connected.len() > MOST {
            // Numbers grow: what begins to be seen from now on has a larger one.
            self.forgotten = self.forgotten.max(self.connected.pop_first());
        }
    }

    /// A registration was removed.
    pub(super) fn forget(&mut self, id: RunnerId) {
        self.never.remove(&id);
    }

    /// Whether a registration may never have been seen connected.
    pub(super) fn may_be_new(&self, id: RunnerId) -> bool {
        let is_forgotten = self.forgotten.is_some_and(|forgotten| id <= forgotten);
        self.never.contains_key(&id) || !self.connected.contains(&id) && !is_forgotten
    }

    /// When a registration was first seen that no look saw connected.
    pub(super) fn first_seen(&self, id: RunnerId) -> Option<Instant> {
        self.never.get(&id).copied()
    }

    /// When such a registration has been seen for long enough.
    pub(super) fn is_due_at(&self, id: RunnerId, deadline: TimeDelta) -> Option<Instant> {
        Some(after(self.first_seen(id)?, deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evidence::Status, fleet::Lifetime, github::Connection};

    fn at(minute: i64) -> Instant {
        Instant::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn row(id: u64, connection: Connection) -> RunnerRow {
        RunnerRow {
            id: RunnerId(id),
            name: format!("r-{id}").into(),
            busy: false,
            status: Status::Offline,
            labels: vec![],
            lifetime: Lifetime::Ephemeral,
            connection,
        }
    }

    fn look(sightings: &mut Sightings, rows: &[RunnerRow], minute: i64) {
        sightings.observe(Shown {
            rows,
            is_whole: true,
            now: at(minute),
            clock_is_good: true,
        });
    }

    #[test]
    fn what_a_look_does_not_see_as_never_connected_counts_as_connected() {
        use Connection::{Never, Once, Untold};
        for (is_ghost, changed) in [
            (true, row(1, Never)),
            (false, row(1, Once)),
            (false, row(1, Untold)),
            (
                false,
                RunnerRow {
                    busy: true,
                    ..row(1, Never)
                },
            ),
            (
                false,
                RunnerRow {
                    status: Status::Online,
                    ..row(1, Never)
                },
            ),
            (
                false,
                RunnerRow {
                    status: Status::Other,
                    ..row(1, Never)
                },
            ),
        ] {
            let mut sightings = Sightings::default();
            look(&mut sightings, &[row(1, Never)], 0);
            look(&mut sightings, std::slice::from_ref(&changed), 1);
            look(&mut sightings, &[row(1, Never)], 2);
            let since = sightings.first_seen(RunnerId(1));
            assert_eq!(since, is_ghost.then_some(at(0)), "{changed:?}");
        }
    }

    #[test]
    fn what_is_listed_no_more_is_forgotten_unless_rows_are_missing() {
        let mut sightings = Sightings::default();
        let both = [row(1, Connection::Never), row(2, Connection::Once)];
        look(&mut sightings, &both, 0);
        let before = sightings.clone();
        sightings.observe(Shown {
            rows: &[],
            is_whole: false,
            now: at(1),
            clock_is_good: true,
        });
        assert_eq!(sightings, before, "nothing follows from absence");
        look(&mut sightings, &[], 2);
        assert_eq!(sightings, Sightings::default());
    }

    #[test]
    fn a_clock_that_was_off_begins_no_period_and_one_that_was_ahead_begins_anew() {
        let mut sightings = Sightings::default();
        let rows = [row(1, Connection::Never)];
        let mut shown = Shown {
            rows: &rows,
            is_whole: true,
            now: at(0),
            clock_is_good: false,
        };
        sightings.observe(shown);
        assert_eq!(sightings.first_seen(RunnerId(1)), None);
        shown.clock_is_good = true;
        shown.now = at(60);
        sightings.observe(shown);
        shown.now = at(10);
        sightings.observe(shown);
        assert_eq!(sightings.first_seen(RunnerId(1)), Some(at(10)));
    }

    #[test]
    fn what_there_is_no_room_for_is_never_taken_for_new() {
        let mut sightings = Sightings::default();
        let most = MOST as u64;
        look(&mut sightings, &[row(1, Connection::Never)], 0);
        let many: Vec<_> = (1..=most + 10)
            .map(|id| match id {
                1 => row(id, Connection::Never),
                id => row(id, Connection::Once),
            })
            .collect();
        look(&mut sightings, &many, 1);
        assert_eq!(sightings.connected.len(), MOST);
        let gone: Vec<_> = (1..=most + 11)
            .map(|id| row(id, Connection::Never))
            .collect();
        look(&mut sightings, &gone, 2);
        let ghosts: Vec<_> = sightings.never.keys().map(|id| id.0).collect();
        assert_eq!(ghosts, [1, most + 11]);
    }

    #[test]
    fn it_reads_back_as_written() {
        let mut sightings = Sightings::default();
        let both = [row(1, Connection::Never), row(2, Connection::Once)];
        look(&mut sightings, &both, 0);
        let text = serde_json::to_string(&sightings).unwrap();
        let told = r#"{"never":{"1":"1970-01-01T00:00:00Z"},"connected":[2]}"#;
        assert_eq!(text, told);
        assert_eq!(serde_json::from_str::<Sightings>(&text).unwrap(), sightings);
        let none: Sightings = serde_json::from_str("{}").unwrap();
        assert_eq!(none, Sightings::default());
    }
}
