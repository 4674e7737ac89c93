//! A state of the model, and what happens outside the guards: GitHub, the runner's host, its beacon, time.

use crate::records::{FenceStep, No, Records, Tick, at};
use scale_in_guard::Policy;

/// What a model is run with.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) policy: Policy,
    /// How each guard works.
    pub(crate) guards: [Way; 2],
    /// Whether a beacon runs on the host.
    pub(crate) beacon: bool,
    /// After how many ticks the jobs view shows a job; `None`: there is no view.
    pub(crate) jobs_lag: Option<Tick>,
    /// Whether nothing comes between the last step of a fence and the call to terminate.
    pub(crate) goes_at_once: bool,
    /// W in ticks: when a runner that was not deregistered is terminated, a job that runs was dispatched less
    /// than this ago.
    pub(crate) window: Tick,
    /// W when DELETE is called.
    pub(crate) delete_window: Tick,
    /// Within how many ticks a runner is reclaimed once everything works.
    pub(crate) reclaimed_within: u8,
    pub(crate) bounds: Bounds,
}

/// How a guard lets a runner go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is not there.
    None,
    /// `can_terminate`, then `redeem`.
    Redeem,
    /// `retire`, without a registrar.
    Retire,
    /// `retire`, with one.
    Deregister,
}

/// How often each kind of thing may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Bounds {
    /// The last tick.
    pub(crate) ticks: Tick,
    /// Jumps of ten minutes.
    pub(crate) jumps: u8,
    pub(crate) jobs: u8,
    pub(crate) beacon_deaths: u8,
    /// Guards that freeze between two steps for a tick or more.
    pub(crate) freezes: u8,
    /// Reports of the beacon that are lost, or late by a tick.
    pub(crate) lost: u8,
    /// Answers to DELETE that are lost, and calls to terminate that fail.
    pub(crate) failures: u8,
}

/// How long after its dispatch a job may be invisible on the host, in ticks.
pub(crate) const BLIND: Tick = 1;
/// A jump, in ticks: as long as a drain stands.
pub(crate) const JUMP: Tick = 20;

/// The job that GitHub gave the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Job {
    #[default]
    None,
    /// Dispatched, and nothing of it is to be seen on the host.
    Sent(Tick),
    /// Dispatched then, and to be seen.
    Running(Tick),
}

impl Job {
    pub(crate) fn since(self) -> Option<Tick> {
        match self {
            Self::None => None,
            Self::Sent(at) | Self::Running(at) => Some(at),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Beacon {
    pub(crate) alive: bool,
    /// What it knows; `None` where it has not looked yet.
    pub(crate) heart: Option<No>,
    /// The tick of its last look, which is also the number of its report.
    pub(crate) looked_at: Tick,
    /// A report that is made and has not arrived.
    pub(crate) report: Option<No>,
    /// It saw a job for which it has not taken the fence.
    pub(crate) must_take: bool,
    /// It took the fence for the job that runs.
    pub(crate) took: bool,
}

/// Where a guard stands between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Pc {
    #[default]
    Idle,
    /// It found a drain to go on with; the look comes next.
    Again,
    /// It read the records.
    Recalled,
    /// It asked the sources.
    Asked,
    /// It has a permit.
    Permitted,
    /// It is to call DELETE.
    Deleting,
    /// It called DELETE, and has the answer.
    Deleted,
    /// It has written that it terminates.
    Going,
    /// Terminate failed.
    Failed,
    /// It is to end the drain.
    GivingUp,
}

/// What a guard holds in its hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Guard {
    pub(crate) pc: Pc,
    /// It has made no step for a tick or more.
    pub(crate) frozen: bool,
    /// The drain that it goes on with, or began.
    pub(crate) second: bool,
    pub(crate) nonce: u8,
    pub(crate) epoch: u8,
    /// What it read.
    pub(crate) memory: No,
    /// Somebody wrote the memory since.
    pub(crate) stale: bool,
    pub(crate) beat: Option<(No, Tick)>,
    pub(crate) fence: Option<(No, Tick)>,
    pub(crate) recalled_at: Tick,
    pub(crate) asked_at: Tick,
    pub(crate) registered: bool,
    pub(crate) shows_job: bool,
    /// When its permit was issued, or the drain was announced with which it goes on; and on what grounds.
    pub(crate) issued_at: Tick,
    pub(crate) basis: u8,
    /// GitHub refused to deregister.
    pub(crate) refused: bool,
    /// The drain says that the runner is deregistered.
    pub(crate) deregistered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct State {
    pub(crate) now: Tick,
    pub(crate) registered: bool,
    pub(crate) job: Job,
    pub(crate) jobs_sent: u8,
    pub(crate) beacon: Beacon,
    pub(crate) beat: Option<(No, Tick)>,
    pub(crate) fence: Option<(No, Tick)>,
    pub(crate) memory: No,
    pub(crate) guards: [Guard; 2],
    /// How much of the bounds is left.
    pub(crate) left: Bounds,
    pub(crate) terminated: bool,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Dispatch,
    JobShows,
    JobEnds,
    BeaconLooks,
    BeaconSends,
    ReportLost,
    BeaconTakes,
    BeaconDies,
    BeaconReturns,
    Guard(usize, Choice),
    Tick,
    Jump,
}

/// How the world answers a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Works,
    /// DELETE: refused.
    Refused,
    /// DELETE: done, and the answer is lost. Terminate: fails.
    LostDone,
    /// DELETE: not done, and the answer is lost.
    LostUndone,
}

/// An invariant that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Broken {
    /// I1.
    KilledAfterDeregistering,
    /// I2, at terminate.
    KilledOld,
    /// I2, at DELETE.
    DeregisteredOld,
    /// I3.
    NotReclaimed,
}

impl State {
    pub(crate) fn first(config: &Config, records: &mut Records<'_>) -> Self {
        let mut state = Self {
            now: 1,
            registered: true,
            left: config.bounds,
            ..Self::default()
        };
        if config.beacon {
            let heart = records.hear(None, 0, None);
            let beat = records.beat(heart, 0);
            state.beacon = Beacon {
                alive: true,
                heart: Some(heart),
                ..Beacon::default()
            };
            state.beat = Some((beat, 0));
        }
        state
    }

    /// The fence as it stands, written now where it never was.
    pub(crate) fn fence(&self) -> (No, Tick) {
        self.fence.unwrap_or((0, self.now))
    }

    fn visible_job(&self) -> Option<u8> {
        match self.job {
            Job::Running(_) => Some(self.jobs_sent),
            _ => None,
        }
    }

    pub(crate) fn beacon_looks(&mut self, records: &mut Records<'_>) {
        let job = self.visible_job();
        let heart = records.hear(self.beacon.heart, self.now, job);
        self.beacon.heart = Some(heart);
        self.beacon.looked_at = self.now;
        self.beacon.report = Some(records.beat(heart, self.now));
        self.beacon.must_take = job.is_some() && !self.beacon.took;
    }

    pub(crate) fn beacon_sends(&mut self, records: &Records<'_>) {
        let Some(report) = self.beacon.report.take() else {
            return;
        };
        let known = self.beat.map(|(known, _)| records.sequence(known));
        if known.is_none_or(|known| records.sequence(report) > known) {
            self.beat = Some((report, self.now));
        }
    }

    pub(crate) fn beacon_takes(&mut self, records: &mut Records<'_>) {
        let sequence = self.beacon.looked_at;
        if let Some(taken) = records.step(self.fence(), self.now, FenceStep::Take { sequence }) {
            self.fence = Some((taken, self.now));
        }
        self.beacon.must_take = false;
        self.beacon.took = true;
    }

    pub(crate) fn beacon_returns(&mut self) {
        self.beacon = Beacon {
            alive: true,
            looked_at: self.beacon.looked_at,
            ..Beacon::default()
        };
    }

    pub(crate) fn job_ends(&mut self) {
        self.job = Job::None;
        self.beacon.must_take = false;
        self.beacon.took = false;
    }

    /// Whether everything that has to happen within this tick has happened.
    fn tick_is_over(&self) -> bool {
        let job_is_late = matches!(self.job, Job::Sent(at) if at + BLIND <= self.now);
        let beacon_is_late =
            self.beacon.alive && (self.beacon.looked_at != self.now || self.beacon.must_take);
        !job_is_late && !beacon_is_late
    }

    /// One tick later, if the bounds allow it. A guard in the middle of a call freezes, or is done with where what
    /// it read is too old to give a permit; a report that has not arrived is late.
    fn tick(&self, records: &Records<'_>) -> Option<Self> {
        let mut next = *self;
        if !self.tick_is_over() {
            return None;
        }
        if self.beacon.report.is_some() {
            next.left.lost = self.left.lost.checked_sub(1)?;
        }
        let too_old = |guard: &Guard| {
            let read = matches!(guard.pc, Pc::Recalled | Pc::Asked);
            let age = at(self.now + 1) - at(guard.recalled_at);
            read && age > records.policy().evidence_max_age && !records.code.looks_early()
        };
        for guard in &mut next.guards {
            if too_old(guard) {
                *guard = Guard::default();
            }
            if guard.pc != Pc::Idle && !guard.frozen {
                next.left.freezes = next.left.freezes.checked_sub(1)?;
                guard.frozen = true;
            }
        }
        if !next.beacon.alive {
            next.beacon.looked_at = 0; // it has not looked in this tick
        }
        next.now += 1;
        (next.now <= self.left.ticks).then_some(next)
    }

    /// Ten minutes in which nothing happens but that a beacon that lives reports.
    fn jump(&self, records: &mut Records<'_>) -> Option<Self> {
        let mut next = *self;
        next.left.jumps = self.left.jumps.checked_sub(1)?;
        if self.job.since().is_some() && self.visible_job().is_none() {
            return None;
        }
        // The jump's own ticks do not count.
        next.left.ticks += JUMP;
        for _ in 0..JUMP {
            next = next.tick(records)?;
            if next.beacon.alive {
                next.beacon_looks(records);
                if next.beacon.must_take {
                    next.beacon_takes(records);
                }
                next.beacon_sends(records);
            }
        }
        Some(next)
    }

    /// What may happen outside the guards, and what comes of it.
    pub(crate) fn world_acts(
        &self,
        config: &Config,
        records: &mut Records<'_>,
        found: &mut impl FnMut(Act, Self),
    ) {
        let with = |change: &dyn Fn(&mut Self)| {
            let mut next = *self;
            change(&mut next);
            next
        };
        match self.job {
            Job::None if self.registered && self.left.jobs > 0 => found(
                Act::Dispatch,
                with(&|next| {
                    next.job = Job::Sent(self.now);
                    next.left.jobs -= 1;
                    next.jobs_sent += 1;
                }),
            ),
            Job::None => {}
            Job::Sent(at) => found(Act::JobShows, with(&|next| next.job = Job::Running(at))),
            Job::Running(_) => found(Act::JobEnds, with(&Self::job_ends)),
        }
        if config.beacon {
            self.beacon_acts(records, found);
        }
        if let Some(next) = self.tick(records) {
            found(Act::Tick, next);
        }
        if let Some(next) = self.jump(records) {
            found(Act::Jump, next);
        }
    }

    fn beacon_acts(&self, records: &mut Records<'_>, found: &mut impl FnMut(Act, Self)) {
        let mut next = *self;
        if !self.beacon.alive {
            next.beacon_returns();
            return found(Act::BeaconReturns, next);
        }
        if self.beacon.looked_at != self.now && !self.beacon.must_take {
            next.beacon_looks(records);
            found(Act::BeaconLooks, next);
            next = *self;
        }
        if self.beacon.must_take {
            next.beacon_takes(records);
            found(Act::BeaconTakes, next);
            next = *self;
        }
        if self.beacon.report.is_some() {
            next.beacon_sends(records);
            found(Act::BeaconSends, next);
            next = *self;
            if let Some(left) = self.left.lost.checked_sub(1) {
                next.left.lost = left;
                next.beacon.report = None;
                found(Act::ReportLost, next);
                next = *self;
            }
        }
        if let Some(left) = self.left.beacon_deaths.checked_sub(1) {
            next.left.beacon_deaths = left;
            next.beacon = Beacon {
                looked_at: self.beacon.looked_at,
                ..Beacon::default()
            };
            found(Act::BeaconDies, next);
        }
    }
}
