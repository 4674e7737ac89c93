//! Pins: an operator says which runners must stay, for how long, and why.

use super::{Guard, TO_REMEMBER};
use crate::{
    clock::Deadline,
    evidence::{Evidence, Pin, Recent, Signal, Target, Witness},
    permit::{Permit, Refused},
    policy::Policy,
    records::{ATTEMPTS, Kept, Records},
    runner::{Runner, Scope},
    seen::Labels,
    store::{Key, Kind, Record, Store, StoreError, Swap},
    time::{Instant, age},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use thiserror::Error;

/// How many pins one scope may have, and everything.
const MOST: usize = 256;

/// How long a pin is kept that has ended. Whoever writes has a clock of their own, and it may be ahead.
const KEPT_AFTERWARDS: TimeDelta = TimeDelta::days(1);

/// The longest note, in bytes.
const NOTE_BYTES: usize = 512;

/// The longest label and the longest name of an operator, in bytes.
const NAME_BYTES: usize = 256;

/// Why a pin could not be set, taken away or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PinError {
    /// It says nothing where something must be said, or too much.
    #[error("{key}: {what}")]
    Refused {
        /// Which part of the pin: `target`, `label`, `note`, `by` or `until`.
        key: &'static str,
        /// What is the matter with it, and what to do.
        what: String,
    },
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn refused(key: &'static str, what: impl Into<String>) -> PinError {
    PinError::Refused {
        key,
        what: what.into(),
    }
}

/// Pins runners: from now on, until the pin ends or is taken away, each decision about them is a hold that names
/// who pinned them and why. A permit that is out already is not redeemed any more; a go that somebody already acts on
/// is not called back.
///
/// Of one target each operator (`by`) has one pin: another one takes its place, and ends no earlier than it; to shorten
/// a pin, [`unpin`] first. What is given back is the pin as it stands now. A label pin holds every runner that
/// has the label in any case, and every one whose labels nobody knows.
///
/// Pins are kept for every GitHub on the store: who pins a runner must not have to know by which URL a guard asks for
/// it. Those that ended a day ago are forgotten when the next one is written, or earlier where there is no room. A
/// scope has 256 at the most, and so has everything.
///
/// # Errors
/// [`PinError::Refused`] where the pin has no target, no note or one of more than 512 bytes, has ended already, or is
/// one too many; [`PinError::Store`] when it could not be written: it may be set or not, and can be set again.
pub async fn pin(store: impl Store + 'static, pin: Pin, now: Instant) -> Result<Pin, PinError> {
    set(&of_any_github(store), pin, now).await
}

/// Takes away every pin of exactly this target, whoever set it, and gives back those that stood.
///
/// # Errors
/// [`StoreError`] when they could not be read or written.
pub async fn unpin(
    store: impl Store + 'static,
    target: &Target,
    now: Instant,
) -> Result<Vec<Pin>, StoreError> {
    take_away(&of_any_github(store), target, now).await
}

/// The pins that stand at `now`: of everything, and of this scope where one is given. In the order in which they
/// were set.
///
/// # Errors
/// [`StoreError`] when they could not be read.
pub async fn pins(
    store: impl Store + 'static,
    scope: Option<&Scope>,
    now: Instant,
) -> Result<Vec<Pin>, StoreError> {
    standing(&of_any_github(store), scope, now).await
}

impl Guard {
    /// Pins runners; see [`pin`].
    ///
    /// # Errors
    /// As [`pin`].
    pub async fn pin(&self, target: Target, by: &str, note: &str) -> Result<Pin, PinError> {
        let pin = Pin {
            target: Some(target),
            note: note.into(),
            by: Some(by.into()),
            ..Pin::default()
        };
        set(&self.inner.records, pin, self.now()).await
    }

    /// Pins runners until then; see [`pin`].
    ///
    /// # Errors
    /// As [`pin`].
    pub async fn pin_until(
        &self,
        target: Target,
        by: &str,
        note: &str,
        until: Instant,
    ) -> Result<Pin, PinError> {
        let pin = Pin {
            target: Some(target),
            note: note.into(),
            by: Some(by.into()),
            until: Some(until),
            ..Pin::default()
        };
        set(&self.inner.records, pin, self.now()).await
    }

    /// Takes pins away; see [`unpin`].
    ///
    /// # Errors
    /// As [`unpin`].
    pub async fn unpin(&self, target: &Target) -> Result<Vec<Pin>, StoreError> {
        take_away(&self.inner.records, target, self.now()).await
    }

    /// The pins that stand; see [`pins`].
    ///
    /// # Errors
    /// As [`pins`].
    pub async fn pins(&self, scope: Option<&Scope>) -> Result<Vec<Pin>, StoreError> {
        standing(&self.inner.records, scope, self.now()).await
    }

    /// Whether nobody pinned the runner since the permit's look: pins are read once more before anything is done.
    pub(super) async fn is_unpinned(&self, permit: &Permit) -> Result<(), Refused> {
        let records = &self.inner.records;
        let keys = Pinned::keys(records, std::slice::from_ref(permit.runner()));
        let unread = |what: String| Refused::PinsUnread { what: what.into() };
        let asked_at = self.now();
        let read = match Deadline::within(TO_REMEMBER)
            .meet(records.read_unparsed(&keys))
            .await
        {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return Err(unread(error.to_string())),
            Err(late) => return Err(unread(format!("{}: {late}", records.describe()))),
        };
        let pinned = Pinned::read(records, keys.iter().zip(read), asked_at);
        let assessment = permit.assessment();
        // The labels are those of the look: it is not asked for again.
        let shown = (assessment.at, &*assessment.evidence);
        match pinned
            .about(permit.runner(), shown, self.now(), self.policy())
            .next()
        {
            None => Ok(()),
            Some(evidence) => match evidence.signal {
                Signal::Pinned(pin) => Err(Refused::Pinned { pin: pin.into() }),
                _ => Err(unread(evidence.describe(asked_at))),
            },
        }
    }
}

fn of_any_github(store: impl Store + 'static) -> Records {
    Records::new(Arc::new(store), crate::records::EVERY_GITHUB)
}

/// What operators pinned: one record for each scope, and one for everything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Pins {
    pins: Vec<Pin>,
}

impl Target {
    /// As it stands in records: GitHub tells scopes apart without regard to case.
    fn in_lower_case(self) -> Self {
        match self {
            Self::Runner { scope, name } => Self::Runner {
                scope: scope.in_lower_case(),
                name,
            },
            Self::Label { scope, label } => Self::Label {
                scope: scope.in_lower_case(),
                label: label.to_lowercase().into(),
            },
            Self::Scope(scope) => Self::Scope(scope.in_lower_case()),
            Self::Everything => Self::Everything,
        }
    }

    fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Runner { scope, .. } | Self::Label { scope, .. } | Self::Scope(scope) => {
                Some(scope)
            }
            Self::Everything => None,
        }
    }

    /// Whether it is about this runner, one of its scope.
    fn is_about(&self, runner: &Runner, labels: Labels<'_>) -> bool {
        match self {
            // As spelt in any case: a pin that misses is worse than one that holds another runner, too.
            Self::Runner { name, .. } => {
                let name = name.as_str();
                name == runner.name.as_str()
                    || name.to_lowercase() == runner.name.as_str().to_lowercase()
            }
            Self::Label { label, .. } => labels.fit(std::slice::from_ref(label)),
            Self::Scope(_) | Self::Everything => true,
        }
    }
}

fn key_of(records: &Records, scope: Option<&Scope>) -> Key {
    match scope {
        Some(scope) => records.of_any_github(scope, Kind::Pins),
        None => records.of_everything(Kind::Pins),
    }
}

async fn set(records: &Records, mut pin: Pin, now: Instant) -> Result<Pin, PinError> {
    check(&pin, now)?;
    pin.since.get_or_insert(now);
    let target = pin.target.take().map(Target::in_lower_case);
    let pin = Pin { target, ..pin };
    let scope = pin.target.as_ref().and_then(Target::scope).cloned();
    change(records, scope.as_ref(), now, |pins| {
        let mut pin = pin.clone();
        let same = |known: &mut Pin| (&known.target, &known.by) == (&pin.target, &pin.by);
        let replaced: Vec<_> = pins.extract_if(.., same).collect();
        // No end at all is later than any.
        for known in replaced {
            pin.until = known.until.zip(pin.until).map(|(one, other)| one.max(other));
        }
        make_room(pins, now);
        if pins.len() >= MOST {
            let whose = scope.as_ref().map_or("everything".into(), Scope::to_string);
            return Err(refused(
                "target",
                format!("{whose} has {MOST} pins already, which is the most; unpin what needs none, or pin a label or the whole scope"),
            ));
        }
        pins.push(pin.clone());
        Ok(pin)
    })
    .await?
}

/// Forgets the pin that ended first, where there is no room for another one.
fn make_room(pins: &mut Vec<Pin>, now: Instant) {
    let ended = pins
        .iter()
        .enumerate()
        .filter(|(_, pin)| !pin.stands_at(now));
    let first = ended.min_by_key(|(_, pin)| pin.until).map(|(at, _)| at);
    if let (true, Some(first)) = (pins.len() >= MOST, first) {
        pins.remove(first);
    }
}

fn check(pin: &Pin, now: Instant) -> Result<(), PinError> {
    let words = |key, text: &str, most: usize| match text.trim() {
        "" => Err(refused(key, "say something")),
        _ if text.len() > most => Err(refused(
            key,
            format!("it has {} bytes, and {most} are the most", text.len()),
        )),
        _ if text.chars().any(char::is_control) => Err(refused(key, "write it in one line")),
        _ => Ok(()),
    };
    match &pin.target {
        None => return Err(refused("target", "say which runners")),
        Some(Target::Label { label, .. }) => words("label", label, NAME_BYTES)?,
        Some(_) => {}
    }
    words("note", &pin.note, NOTE_BYTES)?;
    if let Some(by) = &pin.by {
        words("by", by, NAME_BYTES)?;
    }
    match pin.stands_at(now) {
        true => Ok(()),
        false => Err(refused("until", "it lies in the past")),
    }
}

async fn take_away(
    records: &Records,
    target: &Target,
    now: Instant,
) -> Result<Vec<Pin>, StoreError> {
    let target = target.clone().in_lower_case();
    let taken = change(records, target.scope(), now, |pins| {
        pins.extract_if(.., |pin| pin.target.as_ref() == Some(&target))
            .filter(|pin| pin.stands_at(now))
            .collect()
    });
    taken.await
}

pub(super) async fn standing(
    records: &Records,
    scope: Option<&Scope>,
    now: Instant,
) -> Result<Vec<Pin>, StoreError> {
    let mut keys = vec![key_of(records, None)];
    keys.extend(scope.map(|scope| key_of(records, Some(scope))));
    let mut standing = Vec::new();
    for kept in records.read::<Pins>(&keys).await? {
        match kept.lost {
            Some(what) => return Err(records.unusable("read pins", what)),
            None => standing.extend(kept.value.pins),
        }
    }
    standing.retain(|pin| pin.stands_at(now));
    Ok(standing)
}

/// Changes the pins of a scope, or of everything, without those that ended long ago. Where they cannot be read, nobody
/// knows whom they kept: then all of the scope is pinned in their place, until somebody takes that away.
async fn change<R>(
    records: &Records,
    scope: Option<&Scope>,
    now: Instant,
    change: impl Fn(&mut Vec<Pin>) -> R,
) -> Result<R, StoreError> {
    let key = key_of(records, scope);
    for _ in 0..ATTEMPTS {
        let Kept {
            value: Pins { mut pins },
            over,
            lost,
            ..
        } = records.read_one(&key).await?;
        let before = pins.clone();
        let is_forgotten = |until| age(now, until) >= KEPT_AFTERWARDS;
        pins.retain(|pin| !pin.until.is_some_and(is_forgotten));
        let result = change(&mut pins);
        if lost.is_some() {
            // Afterwards: what takes the scope's pins away meant those that it could know of, not this one.
            let target = scope.cloned().map_or(Target::Everything, Target::Scope);
            pins.push(Pin {
                target: Some(target.in_lower_case()),
                note: "the pins that were kept here cannot be read; unpin this when you know whom they were about".into(),
                by: Some("scale-in-guard".into()),
                since: Some(now),
                until: None,
            });
        }
        if pins == before && lost.is_none() {
            return Ok(result);
        }
        if let Swap::Done(_) = records.write(&key, &over, &Pins { pins }).await? {
            return Ok(result);
        }
    }
    Err(records.contended())
}

/// The pins of everything and of the scopes of some runners, as they were read.
#[derive(Debug, Clone, Default)]
pub(super) struct Pinned {
    asked_at: Instant,
    everywhere: Place,
    scopes: BTreeMap<Scope, Place>,
}

/// One record of pins, as it was read.
#[derive(Debug, Clone, Default)]
struct Place {
    pins: Vec<Pin>,
    /// What is the matter with it: a reason to hold.
    lost: Option<String>,
}

impl Pinned {
    /// The records that concern these runners.
    pub(super) fn keys(records: &Records, runners: &[Runner]) -> Vec<Key> {
        let mut scopes: Vec<_> = runners.iter().map(|runner| &runner.scope).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let scopes = scopes.into_iter().map(Some);
        let places = [None].into_iter().chain(scopes);
        places.map(|scope| key_of(records, scope)).collect()
    }

    /// What was read under these keys.
    pub(super) fn read<'k>(
        records: &Records,
        read: impl IntoIterator<Item = (&'k Key, Option<Record>)>,
        asked_at: Instant,
    ) -> Self {
        let everywhere = key_of(records, None);
        let mut pinned = Self {
            asked_at,
            ..Self::default()
        };
        for (key, record) in read {
            let kept: Kept<Pins> = records.parse(key, record);
            let mend = "set or take away any pin there: all of it is pinned then, until that pin is taken away";
            let place = Place {
                pins: kept.value.pins,
                lost: kept
                    .lost
                    .map(|_| format!("the {key} cannot be read; {mend}")),
            };
            match *key == everywhere {
                true => pinned.everywhere = place,
                false => {
                    pinned.scopes.insert(key.scope().clone(), place);
                }
            }
        }
        pinned
    }

    /// The pins that stand and are about this runner; and that some could not be read, which holds, too. Its labels
    /// are those that were `shown` at that instant, or given.
    pub(super) fn about<'p>(
        &'p self,
        runner: &'p Runner,
        (shown_at, shown): (Instant, &'p [Evidence]),
        now: Instant,
        policy: &Policy,
    ) -> impl Iterator<Item = Evidence> + use<'p> {
        let labels = Labels::read(runner, shown, Recent::at(shown_at, policy));
        let of_scope = self.scopes.get(&runner.scope.in_lower_case());
        let asked_at = self.asked_at;
        let places = [Some(&self.everywhere), of_scope].into_iter().flatten();
        places.flat_map(move |place| {
            let about = place.pins.iter().filter(move |pin| {
                let target = pin.target.as_ref();
                pin.stands_at(now) && target.is_none_or(|target| target.is_about(runner, labels))
            });
            let lost = place.lost.as_deref();
            let lost = lost.map(|what| Evidence::failed(Witness::Own, what, asked_at));
            about
                .map(move |pin| Evidence::new("pins", asked_at, Signal::Pinned(pin.clone())))
                .chain(lost)
        })
    }
}
