//! The stages a runner goes through: one table, from what is known to what may be asked.

use crate::{
    decision::Basis,
    memory::{Memory, Run},
    policy::{Policy, StaleBusyBy},
    runner::Runner,
    seen::{RegistrationSeen, Seen},
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far apart two looks must have found a runner absent before its absence counts.
pub const ABSENCE_CONFIRMED_AFTER: TimeDelta = TimeDelta::seconds(60);

/// Where a runner is in its life, as far as anybody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Absent, never seen registered, and its registration deadline lies ahead. It may never go.
    Launching,
    /// Absent twice after the deadline, and no witness ever saw it: a phantom.
    NeverRegistered,
    /// Absent, and not yet, or not trustworthily, so. It may never go.
    Unconfirmed,
    /// Its registration could not be read. It may never go.
    Unreadable,
    /// Registered, and nothing else is the matter.
    Serving,
    /// Absent twice, after some witness saw it: a finished ephemeral runner, or one removed.
    Departed,
    /// Registered, offline for long, and its beacon silent.
    Lost,
    /// Its `busy` flag has been contradicted for long by the jobs and a live beacon.
    BusyRefuted,
    /// Its worker process has outlived its job for long.
    Wedged,
    /// This guard, or another, deregistered it to let it go, and the drain has settled: the second look.
    Drained,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 10] = [
        Self::Launching,
        Self::NeverRegistered,
        Self::Unconfirmed,
        Self::Unreadable,
        Self::Serving,
        Self::Departed,
        Self::Lost,
        Self::BusyRefuted,
        Self::Wedged,
        Self::Drained,
    ];

    /// Its name in JSON and in explanations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::NeverRegistered => "never_registered",
            Self::Unconfirmed => "unconfirmed",
            Self::Unreadable => "unreadable",
            Self::Serving => "serving",
            Self::Departed => "departed",
            Self::Lost => "lost",
            Self::BusyRefuted => "busy_refuted",
            Self::Wedged => "wedged",
            Self::Drained => "drained",
        }
    }

    /// On what grounds a runner in this stage may go, if it may at all. One that is drained goes on the
    /// grounds of its first look.
    #[must_use]
    pub fn basis(self) -> Option<Basis> {
        match self {
            Self::Launching | Self::Unconfirmed | Self::Unreadable => None,
            Self::NeverRegistered => Some(Basis::NeverRegistered),
            Self::Serving | Self::Drained => Some(Basis::Vacant),
            Self::Departed => Some(Basis::Departed),
            Self::Lost => Some(Basis::Lost),
            Self::BusyRefuted => Some(Basis::BusyRefuted),
            Self::Wedged => Some(Basis::Wedged),
        }
    }

    /// Whether the `busy` flag is asked, and counts for *vacant since*.
    #[must_use]
    pub fn asks_the_flag(self) -> bool {
        matches!(self, Self::Serving | Self::Unreadable)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What decides the stage: the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Situation {
    registration: Registered,
    /// The registration deadline lies ahead.
    before_deadline: bool,
    /// A look ever found it registered.
    registered_before: bool,
    /// Any witness ever saw it: registered, with a job, through a webhook or its beacon.
    ever_seen: bool,
    /// Our first readable look came after the deadline.
    met_too_late: bool,
    /// Absent in two looks at least 60 seconds apart.
    absent_twice: bool,
    /// Absent in two looks at least `min_age` apart, both after the deadline.
    overdue_twice: bool,
    /// This scope shows us, or once showed us, another runner of ours, or minted us a token.
    scope_is_ours: bool,
    /// Offline for `lost_after`, no lease live, its beacon silent or never heard.
    lost: bool,
    /// Busy for `stale_busy_after`, while the jobs were clear and a live beacon reported none.
    busy_refuted: bool,
    /// A worker process has outlived its job for `stale_busy_after`, while the jobs were clear.
    wedged: bool,
    /// At the second look of a drain that deregistered it: `Lost` or `Wedged` where the first look found it
    /// so and its host still says so; where it was absent from the beginning, the stage that it was absent in; else
    /// `Drained`.
    drained: Option<Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registered {
    Unreadable,
    /// Absent, but not beside a listing that can be trusted.
    AbsentUnconfirmed,
    Absent,
    Present,
}

impl Situation {
    /// The table. The first row that applies is the stage.
    fn stage(self) -> Stage {
        let absent = self.registration == Registered::Absent;
        let maybe_absent = absent || self.registration == Registered::AbsentUnconfirmed;
        let met_in_time_never_seen = !self.ever_seen && !self.met_too_late;
        let rows = [
            (
                self.registration == Registered::Unreadable,
                Stage::Unreadable,
            ),
            (
                maybe_absent && !self.registered_before && self.before_deadline,
                Stage::Launching,
            ),
            (
                absent && met_in_time_never_seen && self.overdue_twice && self.scope_is_ours,
                Stage::NeverRegistered,
            ),
            // What the drain rests on still lets it go by what that asks.
            (
                self.drained.is_some(),
                self.drained.unwrap_or(Stage::Drained),
            ),
            // Its job is over and its registration gone, and the worker never ends.
            (
                absent && !met_in_time_never_seen && self.absent_twice && self.wedged,
                Stage::Wedged,
            ),
            (
                absent && !met_in_time_never_seen && self.absent_twice,
                Stage::Departed,
            ),
            (maybe_absent, Stage::Unconfirmed),
            (self.lost, Stage::Lost),
            (self.busy_refuted, Stage::BusyRefuted),
            (self.wedged, Stage::Wedged),
        ];
        rows.into_iter()
            .find_map(|(applies, stage)| applies.then_some(stage))
            .unwrap_or(Stage::Serving)
    }

    fn of(
        runner: &Runner,
        seen: &Seen<'_>,
        memory: &Memory,
        now: Instant,
        policy: &Policy,
    ) -> Self {
        let deadline = memory.deadline(runner, now, policy);
        let (registration, scope_is_ours) = match seen.registration {
            RegistrationSeen::Unreadable => (Registered::Unreadable, false),
            RegistrationSeen::Absent {
                counts,
                scope_is_ours,
                ..
            } => {
                let registration = if counts {
                    Registered::Absent
                } else {
                    Registered::AbsentUnconfirmed
                };
                (registration, scope_is_ours)
            }
            RegistrationSeen::Registered { .. } => (Registered::Present, true),
        };
        let long = policy.stale_busy_after;
        let wedged =
            wedged_since(seen, memory, now, policy).is_some_and(|since| age(now, since) >= long);
        let drain = seen.drained.filter(|_| seen.was_deregistered());
        let drained = drain.map(|drain| match drain.basis {
            Basis::Lost if is_silent(seen, memory, now, policy) => Stage::Lost,
            Basis::Wedged if wedged => Stage::Wedged,
            Basis::NeverRegistered if !memory.ever_seen() => Stage::NeverRegistered,
            Basis::NeverRegistered | Basis::Departed => Stage::Departed,
            _ => Stage::Drained,
        });
        Self {
            registration,
            before_deadline: now < deadline,
            registered_before: memory.last_registered().is_some(),
            ever_seen: memory.ever_seen(),
            met_too_late: memory.met_too_late(deadline),
            absent_twice: Run::has_lasted(memory.absent(), now, ABSENCE_CONFIRMED_AFTER),
            overdue_twice: Run::has_lasted(memory.overdue(), now, policy.min_age),
            scope_is_ours,
            lost: is_lost(seen, memory, now, policy),
            busy_refuted: busy_refuted_since(seen, memory, now, policy)
                .is_some_and(|since| age(now, since) >= long),
            wedged,
            drained,
        }
    }
}

/// The stage a runner is in at `now`. The memory has already taken in this look.
pub(crate) fn stage_of(
    runner: &Runner,
    seen: &Seen<'_>,
    memory: &Memory,
    now: Instant,
    policy: &Policy,
) -> Stage {
    Situation::of(runner, seen, memory, now, policy).stage()
}

fn is_lost(seen: &Seen<'_>, memory: &Memory, now: Instant, policy: &Policy) -> bool {
    is_silent(seen, memory, now, policy)
        && Run::has_lasted(memory.offline(), now, policy.lost_after)
}

/// Whether nothing is heard of it from its host.
fn is_silent(seen: &Seen<'_>, memory: &Memory, now: Instant, policy: &Policy) -> bool {
    let live = memory.lease_until().is_some_and(|until| now < until);
    let heard_lately = |at| age(now, at) < policy.beacon_ttl;
    let alive = seen.beacons.alive || memory.beacon_heard_at().is_some_and(heard_lately);
    !seen.beacons.unreadable && !live && !alive
}

/// Since when the flag has said *busy* against a complete and clear view of the jobs and, but where the policy waives
/// it, a live beacon that reports no job.
fn busy_refuted_since(
    seen: &Seen<'_>,
    memory: &Memory,
    now: Instant,
    policy: &Policy,
) -> Option<Instant> {
    let busy_since = memory.busy()?.since;
    let denied_since = match policy.stale_busy_by {
        StaleBusyBy::Beacon => seen.beacons.attests_vacancy_since?,
        StaleBusyBy::Jobs => busy_since,
    };
    let clear_since = memory.jobs_clear_at(seen, now, policy)?;
    Some(busy_since.max(denied_since).max(clear_since))
}

/// Since when a worker process that is there has outlived its job, against a complete and clear
/// view of the jobs.
pub(crate) fn wedged_since(
    seen: &Seen<'_>,
    memory: &Memory,
    now: Instant,
    policy: &Policy,
) -> Option<Instant> {
    let worker = seen.beacons.worker_outlived_since?;
    Some(worker.max(memory.jobs_clear_at(seen, now, policy)?))
}

/// The earliest instant at which a registered runner could enter a stage in which its flag or its
/// worker no longer counts, if everything stays as it is.
pub(crate) fn turns_at(
    seen: &Seen<'_>,
    memory: &Memory,
    now: Instant,
    policy: &Policy,
) -> Option<Instant> {
    let lost = memory
        .offline()
        .map(|run| after(run.since, policy.lost_after));
    let long = |since: Option<Instant>| Some(after(since?, policy.stale_busy_after));
    let refuted = long(busy_refuted_since(seen, memory, now, policy));
    let wedged = long(wedged_since(seen, memory, now, policy));
    let turns = [lost, refuted, wedged].into_iter().flatten();
    turns.filter(|&at| at > now).min()
}

impl Memory {
    /// Since when the jobs have been complete and clear, if they are so now.
    fn jobs_clear_at(&self, seen: &Seen<'_>, now: Instant, policy: &Policy) -> Option<Instant> {
        let busy_elsewhere = seen.jobs.running.is_some() || seen.ledger.open.is_some();
        let clear = self.jobs_clear()?;
        let kept = policy.kept_since(now);
        let holds = seen.jobs.is_complete() && !busy_elsewhere && clear.last >= kept;
        holds.then_some(clear.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: Situation = Situation {
        registration: Registered::Present,
        before_deadline: false,
        registered_before: true,
        ever_seen: true,
        met_too_late: false,
        absent_twice: false,
        overdue_twice: false,
        scope_is_ours: true,
        lost: false,
        busy_refuted: false,
        wedged: false,
        drained: None,
    };
    const PHANTOM: Situation = Situation {
        registration: Registered::Absent,
        registered_before: false,
        ever_seen: false,
        absent_twice: true,
        overdue_twice: true,
        ..PRESENT
    };
    const GONE: Situation = Situation {
        registration: Registered::Absent,
        absent_twice: true,
        overdue_twice: true,
        ..PRESENT
    };

    #[test]
    fn each_row_of_the_table() {
        let unreadable = Registered::Unreadable;
        let unconfirmed = Registered::AbsentUnconfirmed;
        for (situation, stage) in [
            (PRESENT, Stage::Serving),
            (
                Situation {
                    lost: true,
                    ..PRESENT
                },
                Stage::Lost,
            ),
            (
                Situation {
                    busy_refuted: true,
                    ..PRESENT
                },
                Stage::BusyRefuted,
            ),
            (
                Situation {
                    wedged: true,
                    ..PRESENT
                },
                Stage::Wedged,
            ),
            // A registered runner is never launching, whatever the clock says.
            (
                Situation {
                    before_deadline: true,
                    registered_before: false,
                    ..PRESENT
                },
                Stage::Serving,
            ),
            (
                Situation {
                    registration: unreadable,
                    ..PRESENT
                },
                Stage::Unreadable,
            ),
            (
                Situation {
                    registration: unreadable,
                    ..PHANTOM
                },
                Stage::Unreadable,
            ),
            (
                Situation {
                    registration: unreadable,
                    before_deadline: true,
                    ..PHANTOM
                },
                Stage::Unreadable,
            ),
            (
                Situation {
                    before_deadline: true,
                    ..PHANTOM
                },
                Stage::Launching,
            ),
            (
                Situation {
                    before_deadline: true,
                    registration: unconfirmed,
                    ..PHANTOM
                },
                Stage::Launching,
            ),
            // A job was seen, but no registration: its deadline still holds.
            (
                Situation {
                    before_deadline: true,
                    ever_seen: true,
                    ..PHANTOM
                },
                Stage::Launching,
            ),
            // It was registered once: gone, however young.
            (
                Situation {
                    before_deadline: true,
                    ..GONE
                },
                Stage::Departed,
            ),
            (PHANTOM, Stage::NeverRegistered),
            (
                Situation {
                    overdue_twice: false,
                    ..PHANTOM
                },
                Stage::Unconfirmed,
            ),
            (
                Situation {
                    scope_is_ours: false,
                    ..PHANTOM
                },
                Stage::Unconfirmed,
            ),
            (
                Situation {
                    registration: unconfirmed,
                    ..PHANTOM
                },
                Stage::Unconfirmed,
            ),
            (
                Situation {
                    met_too_late: true,
                    ..PHANTOM
                },
                Stage::Departed,
            ),
            (
                Situation {
                    met_too_late: true,
                    absent_twice: false,
                    ..PHANTOM
                },
                Stage::Unconfirmed,
            ),
            (
                Situation {
                    ever_seen: true,
                    ..PHANTOM
                },
                Stage::Departed,
            ),
            (GONE, Stage::Departed),
            // What let it go at the first look is asked for at the second.
            (
                Situation {
                    drained: Some(Stage::Lost),
                    ..GONE
                },
                Stage::Lost,
            ),
            (
                Situation {
                    drained: Some(Stage::Wedged),
                    registration: unconfirmed,
                    ..GONE
                },
                Stage::Wedged,
            ),
            (
                Situation {
                    drained: Some(Stage::Drained),
                    absent_twice: false,
                    ..GONE
                },
                Stage::Drained,
            ),
            (
                Situation {
                    drained: Some(Stage::Drained),
                    registration: unconfirmed,
                    ..GONE
                },
                Stage::Drained,
            ),
            (
                Situation {
                    drained: Some(Stage::Drained),
                    ..GONE
                },
                Stage::Drained,
            ),
            // It was absent from the beginning, and found so beside a listing after it had settled.
            (
                Situation {
                    drained: Some(Stage::Departed),
                    registration: unconfirmed,
                    ..GONE
                },
                Stage::Departed,
            ),
            (
                Situation {
                    drained: Some(Stage::NeverRegistered),
                    registration: unconfirmed,
                    ..PHANTOM
                },
                Stage::NeverRegistered,
            ),
            (
                Situation {
                    wedged: true,
                    ..GONE
                },
                Stage::Wedged,
            ),
            (
                Situation {
                    wedged: true,
                    absent_twice: false,
                    ..GONE
                },
                Stage::Unconfirmed,
            ),
            (
                Situation {
                    scope_is_ours: false,
                    ..GONE
                },
                Stage::Departed,
            ),
            (
                Situation {
                    absent_twice: false,
                    ..GONE
                },
                Stage::Unconfirmed,
            ),
            (
                Situation {
                    registration: unconfirmed,
                    ..GONE
                },
                Stage::Unconfirmed,
            ),
        ] {
            assert_eq!(situation.stage(), stage, "{situation:?}");
        }
    }

    /// Over every combination of the columns: what must be true of a stage that may go.
    #[test]
    fn every_cell_that_may_go_has_what_it_needs() {
        let registrations = [
            Registered::Unreadable,
            Registered::AbsentUnconfirmed,
            Registered::Absent,
            Registered::Present,
        ];
        for registration in registrations {
            let drained = [
                None,
                Some(Stage::Lost),
                Some(Stage::Wedged),
                Some(Stage::Drained),
                Some(Stage::Departed),
                Some(Stage::NeverRegistered),
            ];
            // The runner is absent at such a look: what reads the situation sees to it.
            let is_absent = matches!(
                registration,
                Registered::AbsentUnconfirmed | Registered::Absent
            );
            let drained = drained
                .into_iter()
                .filter(|drained| is_absent || drained.is_none());
            let cells =
                drained.flat_map(|drained| (0..1_u32 << 10).map(move |bits| (drained, bits)));
            for (drained, bits) in cells {
                let bit = |n: u32| bits >> n & 1 == 1;
                let cell = Situation {
                    registration,
                    before_deadline: bit(0),
                    registered_before: bit(1),
                    ever_seen: bit(2),
                    met_too_late: bit(3),
                    absent_twice: bit(4),
                    overdue_twice: bit(5),
                    scope_is_ours: bit(6),
                    lost: bit(7),
                    busy_refuted: bit(8),
                    wedged: bit(9),
                    drained,
                };
                let stage = cell.stage();
                let absent = registration == Registered::Absent;
                let present = registration == Registered::Present;
                let deserved = match stage {
                    Stage::Unreadable => registration == Registered::Unreadable,
                    Stage::Launching => {
                        !present
                            && registration != Registered::Unreadable
                            && cell.before_deadline
                            && !cell.registered_before
                    }
                    Stage::Unconfirmed => !present && registration != Registered::Unreadable,
                    Stage::NeverRegistered | Stage::Departed if cell.drained == Some(stage) => {
                        !present
                    }
                    Stage::NeverRegistered => {
                        absent
                            && !cell.ever_seen
                            && !cell.met_too_late
                            && cell.overdue_twice
                            && cell.scope_is_ours
                            && (!cell.before_deadline || cell.registered_before)
                    }
                    Stage::Departed => {
                        absent && cell.absent_twice && (cell.ever_seen || cell.met_too_late)
                    }
                    Stage::Drained => !present && cell.drained.is_some(),
                    Stage::Lost | Stage::Wedged if cell.drained == Some(stage) => !present,
                    Stage::Wedged if !present => {
                        absent
                            && cell.wedged
                            && cell.absent_twice
                            && (cell.ever_seen || cell.met_too_late)
                    }
                    Stage::Lost if !present => false,
                    Stage::Lost => present && cell.lost,
                    Stage::BusyRefuted => present && cell.busy_refuted,
                    Stage::Wedged => present && cell.wedged,
                    Stage::Serving => present && !cell.lost && !cell.busy_refuted && !cell.wedged,
                };
                assert!(deserved, "{stage}: {cell:?}");
            }
        }
    }
}
