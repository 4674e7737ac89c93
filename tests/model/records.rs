//! The values of the real code, each held once and named by a small number: so that a state of the model is a
//! few bytes, two states are compared exactly, and no step of the real code is made twice.

use crate::code::Code;
use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Basis, Decision, Engine, Evidence, Job, JobStatus, JobsView, Memory, Policy, Registration,
    Runner, Signal, Status,
    beat::{self, Beat},
    evidence::Claim,
    fence::{Drain, Fence, FenceSeen, Incarnation, Mark, Nonce, State},
    lease::{Heartbeat, HostJob, Report},
    runner::{RunnerId, RunnerRef},
};
use serde::Serialize;
use serde_json::Value;
use std::{collections::HashMap, hash::Hash};

/// An instant of the model, in ticks.
pub(crate) type Tick = u8;
/// How long a tick is.
pub(crate) const TICK: TimeDelta = TimeDelta::seconds(30);
/// How far the host's clock is ahead of ours. Nothing may depend on it.
const HOST_AHEAD: TimeDelta = TimeDelta::seconds(421);
const ID: RunnerId = RunnerId(7);

pub(crate) fn at(tick: Tick) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TICK * i32::from(tick)
}

/// The number of a value.
pub(crate) type No = u16;

/// Every value of one kind that was met.
pub(crate) struct Pool<T> {
    values: Vec<T>,
    /// The drains that it names, as bits.
    nonces: Vec<u16>,
    numbers: HashMap<String, No>,
}

impl<T: Serialize> Pool<T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            nonces: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    pub(crate) fn number(&mut self, value: T) -> No {
        let text = serde_json::to_string(&value).unwrap();
        if let Some(&number) = self.numbers.get(&text) {
            return number;
        }
        let number = No::try_from(self.values.len()).expect("more values than a number can name");
        let named = (0..16).filter(|nonce| text.contains(&format!("\"n{nonce}\"")));
        self.nonces.push(named.map(|nonce| 1 << nonce).sum());
        self.values.push(value);
        self.numbers.insert(text, number);
        number
    }

    pub(crate) fn get(&self, number: No) -> &T {
        &self.values[usize::from(number)]
    }

    pub(crate) fn nonces(&self, number: No) -> u16 {
        self.nonces[usize::from(number)]
    }
}

/// The name of a drain. A name that nothing speaks of any more is given again: nothing can tell.
pub(crate) fn nonce(number: u8) -> Nonce {
    Nonce::new(format!("n{number}"))
}

pub(crate) fn number_of(nonce: &Nonce) -> u8 {
    let text = serde_json::to_string(nonce).unwrap();
    text.trim_matches(['"', 'n']).parse().unwrap()
}

/// The runner that everything is about.
pub(crate) fn whom() -> Incarnation {
    Incarnation {
        id: Some(ID),
        launched_at: None,
    }
}

/// What one look is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    pub(crate) memory: No,
    pub(crate) beat: Option<(No, Tick)>,
    pub(crate) fence: Option<(No, Tick)>,
    /// When the three were read.
    pub(crate) recalled_at: Tick,
    /// When the sources were asked.
    pub(crate) asked_at: Tick,
    pub(crate) registered: bool,
    pub(crate) shows_job: bool,
    pub(crate) second_look_of: Option<u8>,
    pub(crate) now: Tick,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looked {
    /// The memory that it leaves.
    pub(crate) memory: No,
    /// The grounds of the permit, if it gave one.
    pub(crate) basis: Option<u8>,
    /// Whether some witness says that there is a job.
    pub(crate) occupied: bool,
    /// Whether the memory is worth writing: `Memory::is_news`, by way of its JSON.
    pub(crate) is_news: bool,
}

const BASES: [Basis; 6] = [
    Basis::Vacant,
    Basis::NeverRegistered,
    Basis::Departed,
    Basis::Lost,
    Basis::BusyRefuted,
    Basis::Wedged,
];

pub(crate) fn basis(number: u8) -> Basis {
    BASES[usize::from(number)]
}

/// `Memory::is_news`: something changed, or what only goes on was written a third of the observation gap ago.
fn is_news(memory: &Memory, written: &Memory, policy: &Policy) -> bool {
    let [new, mut old] = [memory, written].map(|memory| serde_json::to_value(memory).unwrap());
    let often_enough = policy.observation_gap() / 3;
    let instant =
        |value: &Value| -> Option<DateTime<Utc>> { serde_json::from_value(value.clone()).ok() };
    let recent = |new: &Value, old: &Value| {
        let both = instant(new).zip(instant(old));
        both.is_some_and(|(new, old)| new - old < often_enough)
    };
    for run in [
        "absent",
        "overdue",
        "offline",
        "busy",
        "jobs_clear",
        "vacant",
    ] {
        if new[run]["since"] == old[run]["since"] && recent(&new[run]["last"], &old[run]["last"]) {
            old[run] = new[run].clone();
        }
    }
    if recent(&new["last_registered"], &old["last_registered"]) {
        old["last_registered"] = new["last_registered"].clone();
    }
    new != old
}

/// A step of a fence, by the real code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FenceStep {
    Take { sequence: u8 },
    Drain { epoch: u8, drain: NewDrain },
    AtOnce { epoch: u8, drain: NewDrain },
    Deregistered { mark: Marked, refuted: bool },
    Terminate { mark: Marked },
    Fail { mark: Marked },
    GiveUp { mark: Marked },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NewDrain {
    pub(crate) nonce: u8,
    pub(crate) basis: u8,
    pub(crate) due: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Marked {
    pub(crate) epoch: u8,
    pub(crate) nonce: u8,
}

impl Marked {
    fn mark(self) -> Mark {
        Mark {
            epoch: self.epoch.into(),
            nonce: nonce(self.nonce),
        }
    }
}

impl NewDrain {
    fn drain(self) -> Drain {
        use scale_in_guard::fence::Deregistration::{Due, NotWanted};
        Drain {
            nonce: nonce(self.nonce),
            basis: basis(self.basis),
            of: whom(),
            deregistration: if self.due { Due } else { NotWanted },
        }
    }
}

/// The real code, on numbered values.
pub(crate) struct Records<'c> {
    pub(crate) code: &'c dyn Code,
    engine: Engine,
    runner: Runner,
    /// Whether a complete view of the jobs is among the witnesses.
    jobs_view: bool,
    pub(crate) fences: Pool<Fence>,
    pub(crate) beats: Pool<Beat>,
    pub(crate) hearts: Pool<Heartbeat>,
    pub(crate) memories: Pool<Memory>,
    looks: HashMap<Look, Looked>,
    heard: HashMap<(No, Tick, Option<u8>), No>,
    steps: HashMap<(No, TimeDelta, FenceStep), Option<No>>,
}

impl<'c> Records<'c> {
    pub(crate) fn new(code: &'c dyn Code, policy: Policy, jobs_view: bool) -> Self {
        let mut records = Self {
            code,
            engine: Engine::new(policy).unwrap(),
            runner: Runner::new("i-06cbe04821ccba677", "repo:acme/atlas").unwrap(),
            jobs_view,
            fences: Pool::new(),
            beats: Pool::new(),
            hearts: Pool::new(),
            memories: Pool::new(),
            looks: HashMap::new(),
            heard: HashMap::new(),
            steps: HashMap::new(),
        };
        records.runner.id = Some(ID);
        // Number 0: what a record that was never written stands for.
        records.fences.number(Fence::default());
        records.memories.number(Memory::default());
        records
    }

    pub(crate) fn policy(&self) -> &Policy {
        self.engine.policy()
    }

    /// How old a fence seems to whoever reads it.
    pub(crate) fn age(&self, fence: No, written_at: Tick, now: Tick) -> TimeDelta {
        let age = at(now) - at(written_at);
        self.code.age(self.fences.get(fence), age, self.policy())
    }

    /// A fence after a step, or `None` where the step is refused or changes nothing.
    pub(crate) fn step(&mut self, fence: (No, Tick), now: Tick, step: FenceStep) -> Option<No> {
        use scale_in_guard::fence::{Deregistration, Ended};
        let (number, written_at) = fence;
        let age = self.age(number, written_at, now);
        if let Some(&known) = self.steps.get(&(number, age, step)) {
            return known;
        }
        let (fence, code, policy) = (self.fences.get(number), self.code, self.engine.policy());
        let next = match step {
            FenceStep::Take { sequence } => Ok(code.take(fence, sequence.into())),
            FenceStep::Drain { epoch, drain } => {
                code.drain(fence, epoch.into(), drain.drain(), age)
            }
            FenceStep::AtOnce { epoch, drain } => {
                code.terminate_at_once(fence, epoch.into(), drain.drain(), age, policy)
            }
            FenceStep::Deregistered { mark, refuted } => {
                let how = match refuted {
                    true => Deregistration::Refuted,
                    false => Deregistration::Done,
                };
                fence.deregistered(&code.mark(fence, mark.mark()), how, age)
            }
            FenceStep::Terminate { mark } => {
                fence.terminate(&code.mark(fence, mark.mark()), age, policy)
            }
            FenceStep::Fail { mark } => {
                Ok(fence.end(&code.mark(fence, mark.mark()), Ended::Failed))
            }
            FenceStep::GiveUp { mark } => {
                Ok(fence.end(&code.mark(fence, mark.mark()), Ended::GivenUp))
            }
        };
        let made = next.ok().filter(|next| next != fence);
        let made = made.map(|next| self.fences.number(next));
        self.steps.insert((number, age, step), made);
        made
    }

    /// What the beacon knows after a look: the job that it finds, by number.
    pub(crate) fn hear(&mut self, heart: Option<No>, now: Tick, job: Option<u8>) -> No {
        let host = at(now) + HOST_AHEAD;
        let known = heart.unwrap_or(No::MAX);
        if let Some(&known) = self.heard.get(&(known, now, job)) {
            return known;
        }
        let mut heartbeat = match heart {
            Some(heart) => self.hearts.get(heart).clone(),
            None => Heartbeat::new(host),
        };
        let policy = self.engine.policy();
        let mut hear = |report| heartbeat.hear(report, host, policy);
        match job {
            Some(number) => {
                let job = HostJob::new(format!("job {number}"));
                hear(Report::Started { job, at: host });
                hear(Report::Worker);
            }
            None => hear(Report::Listening),
        }
        let heard = self.hearts.number(heartbeat);
        self.heard.insert((known, now, job), heard);
        heard
    }

    /// The report of what the beacon knows.
    pub(crate) fn beat(&mut self, heart: No, sequence: u8) -> No {
        let heartbeat = self.hearts.get(heart).clone();
        self.beats.number(Beat {
            boot: "boot".into(),
            began_at: heartbeat.watched_since,
            sent_at: heartbeat.heard_at,
            sequence: sequence.into(),
            runner: Some(ID),
            heartbeat,
            going: false,
        })
    }

    pub(crate) fn sequence(&self, beat: No) -> u64 {
        self.beats.get(beat).sequence
    }

    /// GitHub refused to deregister: `Memory::flag_said_busy`, by way of its JSON.
    pub(crate) fn said_busy(&mut self, memory: No, now: Tick) -> No {
        let mut json = serde_json::to_value(self.memories.get(memory)).unwrap();
        json["occupied"]["flag"] = serde_json::to_value(at(now)).unwrap();
        self.memories.number(serde_json::from_value(json).unwrap())
    }

    /// One look, by the real engine, on the evidence that a guard puts together.
    pub(crate) fn look(&mut self, look: Look) -> Looked {
        if let Some(&known) = self.looks.get(&look) {
            return known;
        }
        let (now, recalled_at) = (at(look.now), at(look.recalled_at));
        let asked_at = self.code.asked_at(at(look.asked_at), now);
        let registration = match look.registered {
            true => Registration::Registered {
                id: Some(ID),
                busy: false,
                status: Status::Online,
                labels: Vec::new(),
            },
            false => Registration::absent(),
        };
        let mut evidence = vec![Evidence::registration(registration, asked_at)];
        if self.jobs_view {
            let job = Job::new(1, JobStatus::InProgress, Some(RunnerRef::numbered(ID.0)));
            let jobs = look.shows_job.then_some(job).into_iter().collect();
            evidence.push(Evidence::jobs(
                JobsView {
                    complete: true,
                    jobs,
                },
                asked_at,
            ));
        }
        let code = self.code;
        let beat = look.beat.map(|(beat, written_at)| {
            let beat = self.beats.get(beat);
            (beat, code.heard_at(beat, at(written_at), recalled_at))
        });
        let fence = look.fence.map(|(fence, written_at)| {
            let age = self.age(fence, written_at, look.recalled_at);
            (self.fences.get(fence), recalled_at - age)
        });
        let policy = self.engine.policy();
        let heard = beat::heard(beat, fence, Some(ID), now, policy);
        let heard = heard.map_or(Signal::NeverHeard, Signal::Lease);
        let read_at = code.asked_at(recalled_at, now);
        evidence.push(Evidence::new("beacon", read_at, heard));
        if let Some((fence, written_at)) = fence {
            let seen = FenceSeen {
                fence: fence.clone(),
                written_at,
                second_look_of: look.second_look_of.map(nonce),
            };
            evidence.push(Evidence::new("store", read_at, Signal::Fence(seen)));
        }
        let mut memory = self.memories.get(look.memory).clone();
        let decision = self.engine.decide(&self.runner, evidence, &mut memory, now);
        let claims = &decision.assessment().claims;
        let occupied = [claims.jobs, claims.lease].contains(&Claim::Occupied);
        let basis = match &decision {
            Decision::Terminate(permit) => BASES.iter().position(|&it| it == permit.basis()),
            Decision::Hold(_) => None,
        };
        let known = self.memories.get(look.memory);
        let is_news = is_news(&memory, known, self.engine.policy());
        let looked = Looked {
            is_news,
            memory: self.memories.number(memory),
            basis: basis.map(|basis| u8::try_from(basis).unwrap()),
            occupied,
        };
        self.looks.insert(look, looked);
        looked
    }

    /// A fence, for a trace.
    pub(crate) fn fence_text(&self, fence: No) -> String {
        serde_json::to_string(self.fences.get(fence)).unwrap()
    }

    pub(crate) fn epoch(&self, fence: No) -> u8 {
        u8::try_from(self.fences.get(fence).epoch()).unwrap()
    }

    /// The drain that stands in a fence.
    pub(crate) fn drain_in(&self, fence: No) -> Option<&Drain> {
        match self.fences.get(fence).state() {
            State::Draining(drain) | State::Terminating { drain, .. } => Some(drain),
            _ => None,
        }
    }
}
