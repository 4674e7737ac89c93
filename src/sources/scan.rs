//! Which repositories' jobs must be read: of those that the receivers of webhooks told nothing of since a full scan,
//! nothing can be new.
//!
//! The ledger never clears by itself. A repository is passed over only if
//! - a full scan read it to the end, no longer than `full_scan_every` ago, and found no run that was not over;
//! - some receiver told of an event of it before: so its deliveries do come;
//! - no receiver told of an event of it since [`LAG`] before that scan began: GitHub's lists lag, and may not have shown
//!   then what an event had told;
//! - and since then no receiver refused, missed, fell silent, came, went or was started anew.

use crate::{
    clock::Deadline,
    github::Repository,
    ledger_records::ledger_scope,
    policy::Policy,
    receiver_record::{ReceiverRecord, Refused},
    records::{EVERY_GITHUB, Kept, Records},
    runner::{RunnerName, Scope},
    store::{Kind, StoreError},
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// By how much GitHub's lists may lag behind its deliveries: 25 to 60 seconds and more were seen
/// (terraform-aws-github-runner#5085).
const LAG: TimeDelta = TimeDelta::minutes(5);

/// A receiver that was not heard for so long is silent: it writes at least every 15 seconds.
const SILENT_AFTER: TimeDelta = TimeDelta::seconds(60);

/// How long the store may take. Without its word everything is read.
const PATIENCE: TimeDelta = TimeDelta::seconds(2);

/// Notes that are kept: of the one that is old enough, and of a newer one.
const NOTES: usize = 3;

type Name = Arc<str>;

/// The record of kind [`Kind::Scan`] of a scope.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct ScanRecord {
    /// The last full scan that later looks can rest on.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<FullScan>,
    /// How far the receivers were, the latest last.
    notes: Vec<Note>,
    /// The repositories of which a receiver ever told an event.
    told: BTreeSet<Name>,
}

/// A scan of every repository, to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FullScan {
    ended_at: Instant,
    /// How far the receivers were, long enough before it began.
    note: Note,
    /// Those that it read.
    read: BTreeSet<Name>,
    /// Those in which it found a run that was not over.
    open: BTreeSet<Name>,
}

/// How far the receivers were at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    at: Instant,
    /// By their names.
    receivers: BTreeMap<RunnerName, Mark>,
}

/// How far one receiver was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mark {
    boot: String,
    events: u64,
    refused: Refused,
    missed: u64,
}

impl Mark {
    /// Whether nothing was lost between the two.
    fn goes_on_as(&self, later: &Self) -> bool {
        let same = |mark: &Self| (mark.boot.clone(), mark.refused, mark.missed);
        same(self) == same(later) && self.events <= later.events
    }
}

impl Note {
    fn goes_on_as(&self, later: &Self) -> bool {
        let mut pairs = self.receivers.iter().zip(&later.receivers);
        self.at <= later.at
            && self.receivers.len() == later.receivers.len()
            && pairs.all(|(one, other)| one.0 == other.0 && one.1.goes_on_as(other.1))
    }
}

/// What the receivers of a scope say now.
struct Receivers {
    /// `None` where there is none, or one of them may have lost something.
    note: Option<Note>,
    by_name: BTreeMap<RunnerName, ReceiverRecord>,
}

impl Receivers {
    fn of(found: Vec<(RunnerName, Kept<ReceiverRecord>)>, now: Instant) -> Self {
        let mut by_name = BTreeMap::new();
        let mut marks = BTreeMap::new();
        let mut all_well = true;
        for (name, kept) in found {
            let record = kept.value;
            // One that ended of its own accord is no receiver any more.
            if kept.lost.is_none() && record.gone {
                continue;
            }
            all_well &= kept.lost.is_none() && kept.age < SILENT_AFTER && !record.overflowed;
            let mark = Mark {
                boot: record.boot.clone(),
                events: record.events,
                refused: record.refused,
                missed: record.missed,
            };
            marks.insert(name.clone(), mark);
            by_name.insert(name, record);
        }
        let well = all_well && !marks.is_empty();
        Self {
            note: well.then_some(Note {
                at: now,
                receivers: marks,
            }),
            by_name,
        }
    }

    /// The repositories of which an event was told.
    fn told(&self) -> impl Iterator<Item = &Name> {
        self.by_name
            .values()
            .flat_map(|record| record.repositories.keys())
    }

    /// Whether an event of this repository was told since.
    fn told_since(&self, note: &Note, repository: &str) -> bool {
        self.by_name.iter().any(|(name, record)| {
            let before = note.receivers.get(name).map_or(0, |mark| mark.events);
            let last = record.repositories.get(repository);
            last.is_some_and(|&last| last > before)
        })
    }
}

/// What is to be read now.
pub(super) struct Plan {
    /// The repositories to read.
    pub(super) wanted: Vec<Repository>,
    /// How many there are in all.
    all: usize,
    known: Option<(Kept<ScanRecord>, Receivers)>,
}

/// Says which repositories are to be read, by what the receivers of webhooks tell.
#[derive(Debug)]
pub(super) struct Scans {
    records: Records,
    policy: Arc<Policy>,
}

impl Scans {
    pub(super) fn new(records: Records, policy: Arc<Policy>) -> Self {
        Self { records, policy }
    }

    /// Which of these are to be read at `now`.
    pub(super) async fn plan(
        &self,
        scope: &Scope,
        all: Vec<Repository>,
        now: Instant,
        deadline: Deadline,
    ) -> Plan {
        let deadline = Deadline::within(PATIENCE).or_sooner(deadline);
        let count = all.len();
        // Of one there is nothing to leave out.
        let known = match count {
            0 | 1 => None,
            _ => match deadline.meet(self.known(scope, now)).await {
                Ok(Ok(known)) => Some(known),
                Ok(Err(error)) => {
                    tracing::warn!(%scope, %error, "every repository is read: what webhooks told cannot be");
                    None
                }
                Err(_) => None,
            },
        };
        let wanted = match &known {
            Some((kept, receivers)) => {
                let is_quiet =
                    |one: &Repository| self.is_quiet(&kept.value, receivers, &name(one), now);
                all.into_iter().filter(|one| !is_quiet(one)).collect()
            }
            None => all,
        };
        Plan {
            wanted,
            all: count,
            known,
        }
    }

    async fn known(
        &self,
        scope: &Scope,
        now: Instant,
    ) -> Result<(Kept<ScanRecord>, Receivers), StoreError> {
        let ledger = ledger_scope(scope);
        let key = self.records.of_scope(scope, Kind::Scan);
        let found = self.records.scan_at(EVERY_GITHUB, &ledger, Kind::Receiver);
        let found = found.await?;
        let kept = self.records.read_one(&key).await?;
        Ok((kept, Receivers::of(found, now)))
    }

    /// Whether nothing can be new in a repository.
    fn is_quiet(
        &self,
        record: &ScanRecord,
        receivers: &Receivers,
        name: &str,
        now: Instant,
    ) -> bool {
        let (Some(last), Some(present)) = (&record.last, &receivers.note) else {
            return false;
        };
        let since = age(now, last.ended_at);
        (TimeDelta::zero()..self.policy.full_scan_every).contains(&since)
            && last.note.goes_on_as(present)
            && record.told.contains(name)
            && last.read.contains(name)
            && !last.open.contains(name)
            && !receivers.told_since(&last.note, name)
    }

    /// Writes down what later looks can rest on. `open` are the repositories in which a run was found that is not
    /// over; `is_whole`: whether all that was wanted could be read to the end.
    pub(super) async fn done(
        &self,
        scope: &Scope,
        plan: Plan,
        open: BTreeSet<Repository>,
        is_whole: bool,
        now: Instant,
        deadline: Deadline,
    ) {
        let Some((kept, receivers)) = plan.known else {
            return;
        };
        let mut record = kept.value.clone();
        let wanted: BTreeSet<Name> = plan.wanted.iter().map(name).collect();
        let open: BTreeSet<Name> = open.iter().map(name).collect();
        // One that is doubted is believed again by an event that comes later.
        let last = record.notes.last();
        let told = receivers.told();
        let told = told.filter(|name| last.is_none_or(|last| receivers.told_since(last, name)));
        let told: Vec<_> = told.cloned().collect();
        record.told.extend(told);
        if wanted.len() == plan.all && is_whole {
            self.doubt(&mut record, &receivers, &open, now);
            record.last = old_enough(&record.notes, receivers.note.as_ref()).map(|note| FullScan {
                ended_at: now,
                note,
                read: wanted,
                open,
            });
        }
        take_note(&mut record.notes, receivers.note);
        if record == kept.value {
            return;
        }
        let key = self.records.of_scope(scope, Kind::Scan);
        let write = self.records.write(&key, &kept.over, &record);
        // Another guard that wrote meanwhile knows as much.
        match Deadline::within(PATIENCE)
            .or_sooner(deadline)
            .meet(write)
            .await
        {
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::warn!(%scope, %error, "could not write down how far the scan was")
            }
        }
    }

    /// A run that nobody told of, in a repository that would have been passed over: its deliveries do not come.
    fn doubt(
        &self,
        record: &mut ScanRecord,
        receivers: &Receivers,
        open: &BTreeSet<Name>,
        now: Instant,
    ) {
        let Some(last) = record.last.clone() else {
            return;
        };
        // As it would have been decided had the hour not been over.
        let then = now.min(last.ended_at);
        let untold: Vec<_> = open
            .iter()
            .filter(|name| self.is_quiet(record, receivers, name, then))
            .cloned()
            .collect();
        for name in untold {
            tracing::warn!(
                repository = &*name,
                "a run was found of which no webhook told: from now on it is read at every look"
            );
            record.told.remove(&name);
        }
    }
}

/// The latest note from which nothing was lost until now, and which is old enough for GitHub's lists to show all that
/// had been told by then.
fn old_enough(notes: &[Note], present: Option<&Note>) -> Option<Note> {
    let present = present?;
    let begun = after(present.at, -LAG);
    let mut notes = notes.iter().rev();
    let note = notes.find(|note| note.at <= begun && note.goes_on_as(present));
    note.cloned()
}

/// Adds the present to the notes, one for each [`LAG`].
fn take_note(notes: &mut Vec<Note>, present: Option<Note>) {
    let Some(present) = present else {
        notes.clear();
        return;
    };
    notes.retain(|note| note.goes_on_as(&present));
    let is_due = notes
        .last()
        .is_none_or(|last| age(present.at, last.at) >= LAG);
    if is_due {
        notes.push(present);
    }
    let surplus = notes.len().saturating_sub(NOTES);
    notes.drain(..surplus);
}

/// A repository's name as receivers mark it.
fn name(repository: &Repository) -> Name {
    repository.to_string().to_lowercase().into()
}
