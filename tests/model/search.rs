//! Breadth first through every state within the bounds, and from each of them to the end, once everything works.

use crate::{
    code::Code,
    records::Records,
    world::{Act, Bounds, Broken, Choice, Config, Guard, Job, Pc, State, Way},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Write},
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// What a search came to.
#[derive(Debug)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    /// Ways to the end of which no two are the same.
    pub(crate) continued: usize,
    /// The longest way to the end, in ticks.
    pub(crate) reclaimed_within: u8,
    /// In how many states terminate had been called.
    pub(crate) terminated: usize,
    /// The first violation of each invariant, and the shortest way there.
    pub(crate) broken: BTreeMap<Broken, String>,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} transitions, {} ends, {} ways on, reclaimed within {} ticks",
            self.states, self.transitions, self.terminated, self.continued, self.reclaimed_within
        )
    }
}

/// Quick, and good enough for keys that are no attack: multiply and turn.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }
    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }
    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

/// The states met, each once, compared whole: no two are ever taken for one.
struct Met {
    states: Vec<State>,
    parents: Vec<(u32, Act)>,
    table: Vec<u32>,
}

const NOBODY: u32 = u32::MAX;

impl Met {
    fn new() -> Self {
        Self {
            states: Vec::new(),
            parents: Vec::new(),
            table: vec![NOBODY; 1 << 16],
        }
    }

    fn place(&self, state: &State) -> usize {
        let mut hasher = Quick::default();
        state.hash(&mut hasher);
        let mask = self.table.len() - 1;
        let mut place = usize::try_from(hasher.finish()).unwrap() & mask;
        loop {
            match self.table[place] {
                NOBODY => return place,
                known if self.states[known as usize] == *state => return place,
                _ => place = (place + 1) & mask,
            }
        }
    }

    /// Whether it is new.
    fn add(&mut self, state: State, parent: u32, act: Act) {
        let place = self.place(&state);
        if self.table[place] != NOBODY {
            return;
        }
        self.table[place] = u32::try_from(self.states.len()).unwrap();
        self.states.push(state);
        self.parents.push((parent, act));
        if self.states.len() * 2 > self.table.len() {
            self.table = vec![NOBODY; self.table.len() * 2];
            for index in 0..self.states.len() {
                let place = self.place(&self.states[index]);
                self.table[place] = u32::try_from(index).unwrap();
            }
        }
    }
}

/// One model, explored.
pub(crate) struct Search<'c> {
    config: &'c Config,
    /// The same, where the jobs view does not lag.
    works: Config,
    records: Records<'c>,
    /// How many ticks it takes from a state to the end, once everything works.
    to_the_end: HashMap<State, u8, BuildHasherDefault<Quick>>,
}

impl<'c> Search<'c> {
    pub(crate) fn new(config: &'c Config, code: &'c dyn Code) -> Self {
        let jobs_view = config.jobs_lag.is_some();
        Self {
            config,
            works: Config {
                jobs_lag: config.jobs_lag.map(|_| 0),
                ..config.clone()
            },
            records: Records::new(code, config.policy.clone(), jobs_view),
            to_the_end: HashMap::default(),
        }
    }

    /// Explores everything within the bounds, or until this invariant is broken.
    pub(crate) fn explore(mut self, until: Option<Broken>) -> Explored {
        let mut met = Met::new();
        let first = State::first(self.config, &mut self.records);
        met.add(first, NOBODY, Act::Tick);
        let mut explored = Explored {
            states: 0,
            transitions: 0,
            continued: 0,
            reclaimed_within: 0,
            terminated: 0,
            broken: BTreeMap::new(),
        };
        let mut next = 0;
        let mut acts = Vec::new();
        while let Some(&state) = met.states.get(next) {
            let index = u32::try_from(next).unwrap();
            next += 1;
            if state.terminated {
                explored.terminated += 1;
                continue;
            }
            let config = self.config;
            state.world_acts(config, &mut self.records, &mut |act, to| {
                acts.push((act, Ok(to)))
            });
            state.guard_acts(config, &mut self.records, &mut |act, to| {
                acts.push((act, to))
            });
            for (act, to) in acts.drain(..) {
                explored.transitions += 1;
                match to {
                    Ok(to) if to == state => {}
                    Ok(to) => met.add(self.canonical(to), index, act),
                    Err(broken) => {
                        let tell = || self.tell(&met, index, Some(act), broken);
                        explored.broken.entry(broken).or_insert_with(tell);
                    }
                }
            }
            // Any guard that is in the middle of a call may be dead instead of frozen.
            let busy = state.guards.map(|guard| guard.pc != Pc::Idle);
            let dies = [[false, false], [true, false], [false, true], [true, true]];
            let can_die =
                |dead: &[bool; 2]| dead.iter().zip(busy).all(|(dead, busy)| busy || !dead);
            // Whoever waits for another invariant to break need not go on from here.
            let goes_on = until.is_none_or(|until| until == Broken::NotReclaimed);
            for dead in dies.into_iter().filter(|dead| goes_on && can_die(dead)) {
                match self.reclaim(state, dead) {
                    Ok(ticks) => explored.reclaimed_within = explored.reclaimed_within.max(ticks),
                    Err(broken) => {
                        let tell = || self.tell(&met, index, None, broken);
                        explored.broken.entry(broken).or_insert_with(tell);
                    }
                }
            }
            if until.is_some_and(|until| explored.broken.contains_key(&until)) {
                break;
            }
        }
        explored.states = met.states.len();
        explored.continued = self.to_the_end.len();
        explored
    }

    /// Two guards that work alike may change places.
    fn canonical(&self, mut state: State) -> State {
        if self.config.guards[0] == self.config.guards[1] {
            state.guards.sort_unstable();
        }
        state
    }

    /// Goes on from a state in the one way in which everything works: no new job comes, one that runs ends, the
    /// beacon reports in every tick, the guards go on with what they were at and then call again in every tick.
    /// Gives the ticks until terminate was called.
    fn reclaim(&mut self, from: State, dead: [bool; 2]) -> Result<u8, Broken> {
        let mut state = from;
        state.left = Bounds::default();
        for (guard, dead) in state.guards.iter_mut().zip(dead) {
            guard.frozen = false;
            if dead {
                *guard = Guard::default();
            }
        }
        state = self.canonical(state);
        let mut way = Vec::new();
        let ticks = loop {
            if state.terminated {
                break 0;
            }
            if let Some(&known) = self.to_the_end.get(&state) {
                break known;
            }
            if way.len() > usize::from(self.config.reclaimed_within) {
                return Err(Broken::NotReclaimed);
            }
            way.push(state);
            state = self.works(state)?;
        };
        let mut ticks = ticks;
        for state in way.into_iter().rev() {
            ticks += 1;
            self.to_the_end.insert(state, ticks);
        }
        match ticks > self.config.reclaimed_within {
            true => Err(Broken::NotReclaimed),
            false => Ok(ticks),
        }
    }

    /// One tick in which everything works.
    fn works(&mut self, from: State) -> Result<State, Broken> {
        let mut state = from;
        let config = &self.works;
        match state.job {
            Job::Sent(at) => state.job = Job::Running(at),
            Job::Running(_) => state.job_ends(),
            Job::None => {}
        }
        let records = &mut self.records;
        if config.beacon {
            if !state.beacon.alive {
                state.beacon_returns();
            }
            if state.beacon.must_take {
                state.beacon_takes(records);
            }
            state.beacon_sends(records);
            if state.beacon.looked_at != state.now {
                state.beacon_looks(records);
            }
            if state.beacon.must_take {
                state.beacon_takes(records);
            }
            state.beacon_sends(records);
        }
        for index in 0..2 {
            if config.guards[index] == Way::None {
                continue;
            }
            let was_idle = state.guards[index].pc == Pc::Idle;
            for calls in [true, !was_idle] {
                let mut may_begin = calls;
                while !state.terminated && (state.guards[index].pc != Pc::Idle || may_begin) {
                    may_begin &= state.guards[index].pc != Pc::Idle;
                    let busy = state.guards[index].pc == Pc::Deleting && state.job != Job::None;
                    let choice = match busy {
                        true => Choice::Refused,
                        false => Choice::Works,
                    };
                    state = state.guard_steps(config, records, index, choice)?;
                }
            }
        }
        state.now += 1;
        Ok(state)
    }

    /// How a violation comes about, step by step.
    fn tell(&self, met: &Met, mut index: u32, last: Option<Act>, broken: Broken) -> String {
        let mut acts = Vec::new();
        let mut at = &met.states[index as usize];
        while index != NOBODY {
            let (parent, act) = met.parents[index as usize];
            acts.push((act, met.states[index as usize]));
            index = parent;
        }
        acts.reverse();
        let mut told = format!("{broken:?}, after {} steps:\n", acts.len());
        for (act, state) in &acts {
            at = state;
            self.tell_step(&mut told, *act, state);
        }
        match last {
            Some(act) => writeln!(told, "  tick {:2}: {act:?}  <- {broken:?}", at.now),
            None => writeln!(told, "  and from here on everything works"),
        }
        .unwrap();
        told
    }

    fn tell_step(&self, told: &mut String, act: Act, state: &State) {
        let fence = match state.fence {
            Some((fence, at)) => format!("{} at {at}", self.records.fence_text(fence)),
            None => "never written".to_owned(),
        };
        writeln!(
            told,
            "  tick {:2}: {act:?}  [{:?} {:?}] {:?} registered={} report of {:?} fence {fence}",
            state.now,
            state.guards[0].pc,
            state.guards[1].pc,
            state.job,
            state.registered,
            state
                .beat
                .map(|(beat, at)| (self.records.sequence(beat), at)),
        )
        .unwrap();
    }
}
