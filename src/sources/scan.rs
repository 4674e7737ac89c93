//! Which repositories' jobs must be read: of those that the receivers of webhooks told nothing of since a full scan,
//! nothing can be new.
//!
//! The ledger never clears by itself. A repository is passed over only if
//! - a full scan read it to the end, no longer than `full_scan_every` ago, and found no run that was not over;
//! - a receiver that is there told of an event of it before: so its deliveries do come;
//! - no receiver told of an event of it since [`LAG`] before that scan began: GitHub's lists lag, and may not have shown
//!   then what an event had told;
//! - since then no receiver refused, missed, fell silent, came, went or was started anew;
//! - and our clock is GitHub's.
//!
//! A name that nobody ever told of may be a new one of a repository that we read under its old one: from then on all
//! must prove themselves anew. The second look of a retirement rests on none of this: it reads everything.

use crate::{
    clock::Deadline,
    fleet::MAX_GITHUB_SKEW,
    github::Repository,
    ledger_records::ledger_scope,
    policy::Policy,
    receiver_record::{ReceiverRecord, Refused},
    records::{EVERY_GITHUB, Kept, Records, every_scope},
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
const SILENT_AFTER: TimeDelta = TimeDelta::seconds(30);

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
    /// The repositories of which receivers ever told an event, and which of them did.
    told: BTreeMap<Name, BTreeSet<RunnerName>>,
    /// Those that are believed again once an event is told of them after this.
    doubted: BTreeMap<Name, Note>,
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
    note: Note,
    /// Whether there is one, and none of them may have lost something.
    are_well: bool,
    by_name: BTreeMap<RunnerName, ReceiverRecord>,
}

impl Receivers {
    fn of(found: BTreeMap<RunnerName, Kept<ReceiverRecord>>, now: Instant) -> Self {
        let mut by_name = BTreeMap::new();
        let mut marks = BTreeMap::new();
        let mut all_well = true;
        for (name, kept) in found {
            let record = kept.value;
            // One that ended of its own accord is no receiver any more.
            if kept.lost.is_none() && record.gone {
                continue;
            }
            // One that is younger than nothing was written before its store's clock was set back.
            let is_heard = (-MAX_GITHUB_SKEW..SILENT_AFTER).contains(&kept.age);
            all_well &= kept.lost.is_none() && is_heard && !record.overflowed;
            let mark = Mark {
                boot: record.boot.clone(),
                events: record.events,
                refused: record.refused,
                missed: record.missed,
            };
            marks.insert(name.clone(), mark);
            by_name.insert(name, record);
        }
        Self {
            are_well: all_well && !marks.is_empty(),
            note: Note {
                at: now,
                receivers: marks,
            },
            by_name,
        }
    }

    /// How far they are, if nothing may be lost.
    fn present(&self) -> Option<&Note> {
        self.are_well.then_some(&self.note)
    }

    /// The repositories of which an event was told, and who told.
    fn told(&self) -> impl Iterator<Item = (&Name, &RunnerName)> {
        let all = self.by_name.iter();
        all.flat_map(|(receiver, record)| {
            let names = record.repositories.keys();
            names.map(move |name| (name, receiver))
        })
    }

    /// Whether an event of this repository was told since.
    fn told_since(&self, note: &Note, repository: &str) -> bool {
        self.by_name.iter().any(|(name, record)| {
            let mark = note.receivers.get(name);
            // Another run counts from the start.
            let mark = mark.filter(|mark| mark.boot == record.boot);
            let before = mark.map_or(0, |mark| mark.events);
            let last = record.repositories.get(repository);
            last.is_some_and(|&last| last > before)
        })
    }
}

/// What is to be read now.
pub(super) struct Plan {
    /// The repositories to read.
    pub(super) wanted: Vec<Repository>,
    /// All that there are.
    all: BTreeSet<Name>,
    known: Option<(Kept<ScanRecord>, Receivers)>,
}

impl Plan {
    /// Whether nothing is passed over.
    pub(super) fn is_full(&self) -> bool {
        let wanted: BTreeSet<Name> = self.wanted.iter().map(name).collect();
        wanted == self.all
    }
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
        let names: BTreeSet<Name> = all.iter().map(name).collect();
        // Of one there is nothing to leave out.
        let known = match names.len() {
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
            Some((kept, receivers)) if tells_of_a_new_name(&kept.value, receivers, &names) => all,
            Some((kept, receivers)) => {
                let is_quiet =
                    |one: &Repository| self.is_quiet(&kept.value, receivers, &name(one), now);
                all.into_iter().filter(|one| !is_quiet(one)).collect()
            }
            None => all,
        };
        Plan {
            wanted,
            all: names,
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
        let receivers = |scope| self.records.scan_at(EVERY_GITHUB, scope, Kind::Receiver);
        let every = every_scope();
        let mut found: BTreeMap<_, _> = receivers(&every).await?.into_iter().collect();
        // What one tells of this scope says more than what it tells of itself.
        found.extend(receivers(&ledger).await?);
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
        let (Some(last), Some(present)) = (&record.last, receivers.present()) else {
            return false;
        };
        let since = age(now, last.ended_at);
        (TimeDelta::zero()..self.policy.full_scan_every).contains(&since)
            && last.note.goes_on_as(present)
            && is_silent(record, last, receivers, name)
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
        let is_full_scan = is_whole && plan.is_full();
        let Some((kept, receivers)) = plan.known else {
            return;
        };
        let mut record = kept.value.clone();
        let open: BTreeSet<Name> = open.iter().map(name).collect();
        if is_full_scan {
            doubt_untold(&mut record, &receivers, &open);
        }
        learn(&mut record, &receivers, &plan.all);
        if is_full_scan {
            let note = old_enough(&record.notes, receivers.present());
            record.last = note.map(|note| FullScan {
                ended_at: now,
                note,
                read: plan.all,
                open,
            });
        }
        take_note(&mut record.notes, receivers.present().cloned());
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
}

/// Whether a full scan found nothing open there, and nothing was told of it since by those who would tell.
fn is_silent(record: &ScanRecord, last: &FullScan, receivers: &Receivers, name: &str) -> bool {
    let told = record.told.get(name);
    let mut who = told.into_iter().flatten();
    who.any(|who| receivers.by_name.contains_key(who))
        && !record.doubted.contains_key(name)
        && last.read.contains(name)
        && !last.open.contains(name)
        && !receivers.told_since(&last.note, name)
}

/// A run that nobody told of, in a repository that could have been passed over: its deliveries do not come.
fn doubt_untold(record: &mut ScanRecord, receivers: &Receivers, open: &BTreeSet<Name>) {
    let Some(last) = &record.last else {
        return;
    };
    let untold: Vec<_> = open
        .iter()
        .filter(|name| is_silent(record, last, receivers, name))
        .cloned()
        .collect();
    for name in untold {
        tracing::warn!(
            repository = &*name,
            "a run was found of which no webhook told: from now on it is read at every look, until one tells of it"
        );
        record.doubted.insert(name, receivers.note.clone());
    }
}

/// Whether an event was told of a name that is not read and that nobody told of before: it may be another name of one that
/// is read, whose events come under this one from now on.
fn tells_of_a_new_name(record: &ScanRecord, receivers: &Receivers, all: &BTreeSet<Name>) -> bool {
    let mut told = receivers.told();
    let is_new = |name: &Name| !record.told.contains_key(name) && !all.contains(name);
    !record.told.is_empty() && told.any(|(name, _)| is_new(name))
}

/// Takes in who told of what. `all` are the repositories that are read.
fn learn(record: &mut ScanRecord, receivers: &Receivers, all: &BTreeSet<Name>) {
    if tells_of_a_new_name(record, receivers, all) {
        let note = &receivers.note;
        let doubted = all.iter().map(|name| (name.clone(), note.clone()));
        record.doubted = doubted.collect();
    }
    record
        .doubted
        .retain(|name, since| !receivers.told_since(since, name));
    for (name, who) in receivers.told() {
        let told = record.told.entry(name.clone()).or_default();
        told.insert(who.clone());
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
