//! The guards, step by step as `src/guard/retire.rs`, `src/guard.rs` and `src/guard/conclude.rs` make them. A step
//! touches what others see once; between two of them anything may happen.

use crate::{
    records::{FenceStep, Look, Marked, NewDrain, Records, at, number_of, whom},
    world::{Act, Broken, Choice, Config, Guard, Job, Pc, State, Way},
};
use scale_in_guard::fence::{Deregistration, Next};

/// What comes of a step.
pub(crate) type Stepped = Result<State, Broken>;

impl State {
    /// Every step that a guard may make now.
    pub(crate) fn guard_acts(
        &self,
        config: &Config,
        records: &mut Records<'_>,
        found: &mut impl FnMut(Act, Stepped),
    ) {
        for index in 0..2 {
            if config.guards[index] == Way::None {
                continue;
            }
            let fails = self.left.failures > 0;
            let choices: &[Choice] = match self.guards[index].pc {
                Pc::Deleting if self.job != Job::None && fails => &[
                    Choice::Works,
                    Choice::Refused,
                    Choice::LostDone,
                    Choice::LostUndone,
                ],
                Pc::Deleting if self.job != Job::None => &[Choice::Works, Choice::Refused],
                Pc::Deleting if fails => &[Choice::Works, Choice::LostDone, Choice::LostUndone],
                Pc::Going if fails => &[Choice::Works, Choice::LostDone],
                _ => &[Choice::Works],
            };
            for &choice in choices {
                let stepped = self.guard_steps(config, records, index, choice);
                found(Act::Guard(index, choice), stepped);
            }
        }
    }

    /// One step of a guard.
    pub(crate) fn guard_steps(
        &self,
        config: &Config,
        records: &mut Records<'_>,
        index: usize,
        choice: Choice,
    ) -> Stepped {
        let mut next = *self;
        next.guards[index].frozen = false;
        let guard = self.guards[index];
        match guard.pc {
            Pc::Idle => next.begin_call(config, records, index),
            Pc::Again => next.recall(index, true),
            Pc::Recalled => next.ask(config, index),
            Pc::Asked => next.conclude(records, index),
            Pc::Permitted if guard.second => return next.go(config, records, index),
            Pc::Permitted if config.guards[index] == Way::Redeem => {
                return next.redeem(config, records, index);
            }
            Pc::Permitted => next.announce(config, records, index),
            Pc::Deleting => return next.delete(config, records, index, choice),
            Pc::Deleted => next.write_down(records, index),
            Pc::Going => return next.terminate(config, records, index, choice),
            Pc::Failed => next.end(records, index, |mark| FenceStep::Fail { mark }),
            Pc::GivingUp => next.end(records, index, |mark| FenceStep::GiveUp { mark }),
        }
        Ok(next)
    }

    /// `go_on`: what is to be done, by the fence.
    fn begin_call(&mut self, config: &Config, records: &mut Records<'_>, index: usize) {
        if config.guards[index] == Way::Redeem {
            return self.recall(index, false);
        }
        let (fence, written_at) = self.fence();
        let age = records.age(fence, written_at, self.now);
        let early = records.code.looks_early();
        let drain = match records
            .fences
            .get(fence)
            .next(whom(), age, records.policy())
        {
            Next::Look => return self.recall(index, false),
            Next::Wait { .. } => return,
            Next::Settle { drain, .. } if early => drain,
            Next::Settle { .. } => return,
            Next::Deregister(drain) | Next::LookAgain(drain) => drain,
        };
        let guard = Guard {
            second: true,
            nonce: number_of(&drain.nonce),
            epoch: records.epoch(fence),
            deregistered: drain.deregistration == Deregistration::Done,
            basis: 0,
            ..Guard::default()
        };
        let due = drain.deregistration == Deregistration::Due;
        self.guards[index] = match (due, config.guards[index]) {
            (false, _) => Guard {
                pc: Pc::Again,
                ..guard
            },
            (true, Way::Deregister) => Guard {
                pc: Pc::Deleting,
                second: false,
                issued_at: written_at,
                ..guard
            },
            // It has no registrar, and says so.
            (true, _) => Guard::default(),
        };
    }

    /// The one read of memory, report and fence.
    fn recall(&mut self, index: usize, second: bool) {
        let guard = &mut self.guards[index];
        guard.pc = Pc::Recalled;
        guard.second = second;
        guard.memory = self.memory;
        guard.stale = false;
        guard.beat = self.beat;
        guard.fence = self.fence;
        guard.recalled_at = self.now;
    }

    /// The sources are asked, and answer. The flag says that the runner is not busy, always.
    fn ask(&mut self, config: &Config, index: usize) {
        let shown = |lag| matches!(self.job.since(), Some(at) if at + lag <= self.now);
        let guard = &mut self.guards[index];
        guard.pc = Pc::Asked;
        guard.asked_at = self.now;
        guard.registered = self.registered;
        guard.shows_job = config.jobs_lag.is_some_and(shown);
    }

    /// The decision, and the swap of the memory. Where somebody wrote in between, everything is read again.
    fn conclude(&mut self, records: &mut Records<'_>, index: usize) {
        let guard = self.guards[index];
        let looked = records.look(Look {
            memory: guard.memory,
            beat: guard.beat,
            fence: guard.fence,
            recalled_at: guard.recalled_at,
            asked_at: guard.asked_at,
            registered: guard.registered,
            shows_job: guard.shows_job,
            second_look_of: guard.second.then_some(guard.nonce),
            now: self.now,
        });
        if (looked.is_news || looked.basis.is_some()) && guard.stale {
            self.recall(index, guard.second);
            self.guards[index].pc = Pc::Asked;
            return;
        }
        if looked.is_news || looked.basis.is_some() {
            self.write_memory(index, looked.memory);
        }
        let kept = Guard {
            second: guard.second,
            nonce: guard.nonce,
            epoch: guard.epoch,
            deregistered: guard.deregistered,
            ..Guard::default()
        };
        self.guards[index] = match looked.basis {
            Some(basis) => Guard {
                pc: Pc::Permitted,
                basis,
                registered: guard.registered,
                issued_at: self.now,
                epoch: match guard.second {
                    true => guard.epoch,
                    false => guard.fence.map_or(0, |(fence, _)| records.epoch(fence)),
                },
                ..kept
            },
            None if guard.second && looked.occupied => Guard {
                pc: Pc::GivingUp,
                ..kept
            },
            None => Guard::default(),
        };
    }

    fn write_memory(&mut self, index: usize, memory: u16) {
        self.memory = memory;
        self.guards[1 - index].stale =
            matches!(self.guards[1 - index].pc, Pc::Recalled | Pc::Asked);
    }

    fn is_good(&self, records: &Records<'_>, index: usize) -> bool {
        let issued_at = self.guards[index].issued_at;
        at(self.now) - at(issued_at) < records.policy().permit_ttl
    }

    /// A name that nothing speaks of.
    fn new_nonce(&self, records: &Records<'_>) -> u8 {
        let mut used = records.memories.nonces(self.memory);
        used |= records.fences.nonces(self.fence().0);
        for guard in &self.guards {
            let begun = [Pc::Idle, Pc::Recalled, Pc::Asked, Pc::Permitted];
            if guard.second || !begun.contains(&guard.pc) {
                used |= 1 << guard.nonce;
            }
            if guard.pc != Pc::Idle {
                used |= records.memories.nonces(guard.memory);
                used |= guard
                    .fence
                    .map_or(0, |(fence, _)| records.fences.nonces(fence));
            }
        }
        u8::try_from(used.trailing_ones()).unwrap()
    }

    fn new_drain(&self, config: &Config, records: &Records<'_>, index: usize) -> NewDrain {
        NewDrain {
            nonce: self.new_nonce(records),
            basis: self.guards[index].basis,
            // What is absent has no registration to take away.
            due: config.guards[index] == Way::Deregister && self.guards[index].registered,
        }
    }

    fn mark(&self, index: usize) -> Marked {
        let Guard { epoch, nonce, .. } = self.guards[index];
        Marked { epoch, nonce }
    }

    /// `Guard::step`: read, decide, write.
    fn step(&mut self, records: &mut Records<'_>, step: FenceStep) -> bool {
        match records.step(self.fence(), self.now, step) {
            Some(fence) => {
                self.fence = Some((fence, self.now));
                true
            }
            None => false,
        }
    }

    /// The end of the first look.
    fn announce(&mut self, config: &Config, records: &mut Records<'_>, index: usize) {
        let guard = self.guards[index];
        let drain = self.new_drain(config, records, index);
        let epoch = guard.epoch;
        let announced =
            self.is_good(records, index) && self.step(records, FenceStep::Drain { epoch, drain });
        self.guards[index] = match announced && drain.due {
            true => Guard {
                pc: Pc::Deleting,
                nonce: drain.nonce,
                epoch,
                issued_at: guard.issued_at,
                ..Guard::default()
            },
            false => Guard::default(),
        };
    }

    /// DELETE. `Refused` is an answer of GitHub's own flag, which may be stale either way.
    fn delete(
        &mut self,
        config: &Config,
        records: &mut Records<'_>,
        index: usize,
        choice: Choice,
    ) -> Stepped {
        if !self.is_good(records, index) && records.code.checks_before_delete() {
            self.guards[index].pc = Pc::GivingUp;
            return Ok(*self);
        }
        if let Some(since) = self.job.since()
            && self.registered
            && self.now - since >= config.delete_window
        {
            return Err(Broken::DeregisteredOld);
        }
        let guard = &mut self.guards[index];
        match choice {
            Choice::Works => self.registered = false,
            Choice::Refused if self.registered => guard.refused = true,
            Choice::Refused => {}
            Choice::LostDone | Choice::LostUndone => {
                self.left.failures -= 1;
                self.registered &= choice == Choice::LostUndone;
                *guard = Guard::default();
                return Ok(*self);
            }
        }
        self.guards[index].pc = Pc::Deleted;
        Ok(*self)
    }

    /// What DELETE came to is written down.
    fn write_down(&mut self, records: &mut Records<'_>, index: usize) {
        let mark = self.mark(index);
        if self.guards[index].refused {
            let drain = records.drain_in(self.fence().0);
            let refutes = drain.is_some_and(|drain| {
                use scale_in_guard::Basis::{BusyRefuted, Lost, Wedged};
                matches!(drain.basis, Lost | BusyRefuted | Wedged)
            });
            if refutes {
                let refuted = true;
                self.step(records, FenceStep::Deregistered { mark, refuted });
            } else {
                self.step(records, FenceStep::GiveUp { mark });
                let memory = records.said_busy(self.memory, self.now);
                self.write_memory(index, memory);
            }
        } else {
            let refuted = false;
            self.step(records, FenceStep::Deregistered { mark, refuted });
        }
        self.guards[index] = Guard::default();
    }

    /// `redeem`: from nothing to terminating.
    fn redeem(&mut self, config: &Config, records: &mut Records<'_>, index: usize) -> Stepped {
        let drain = self.new_drain(config, records, index);
        let epoch = self.guards[index].epoch;
        self.guards[index].nonce = drain.nonce;
        let made = FenceStep::AtOnce { epoch, drain };
        self.write_terminating(config, records, index, made)
    }

    /// The end of the second look.
    fn go(&mut self, config: &Config, records: &mut Records<'_>, index: usize) -> Stepped {
        let mark = self.mark(index);
        self.write_terminating(config, records, index, FenceStep::Terminate { mark })
    }

    fn write_terminating(
        &mut self,
        config: &Config,
        records: &mut Records<'_>,
        index: usize,
        step: FenceStep,
    ) -> Stepped {
        if !self.is_good(records, index) || !self.step(records, step) {
            self.guards[index] = Guard::default();
            return Ok(*self);
        }
        let deregistered = records
            .drain_in(self.fence().0)
            .is_some_and(|drain| drain.deregistration == Deregistration::Done);
        self.guards[index] = Guard {
            pc: Pc::Going,
            deregistered,
            ..self.guards[index]
        };
        match config.goes_at_once {
            true => self.terminate(config, records, index, Choice::Works),
            false => Ok(*self),
        }
    }

    /// The go is looked at once more, and terminate is called, at once.
    fn terminate(
        &mut self,
        config: &Config,
        records: &mut Records<'_>,
        index: usize,
        choice: Choice,
    ) -> Stepped {
        let guard = self.guards[index];
        if !self.is_good(records, index) && records.code.checks_the_go() {
            self.guards[index].pc = Pc::GivingUp;
            return Ok(*self);
        }
        if choice != Choice::Works {
            self.left.failures -= 1;
            self.guards[index].pc = Pc::Failed;
            return Ok(*self);
        }
        if let Some(since) = self.job.since() {
            if guard.deregistered && !self.registered {
                return Err(Broken::KilledAfterDeregistering);
            }
            if self.now - since >= config.window {
                return Err(Broken::KilledOld);
            }
        }
        self.terminated = true;
        Ok(*self)
    }

    fn end(&mut self, records: &mut Records<'_>, index: usize, how: impl Fn(Marked) -> FenceStep) {
        let mark = self.mark(index);
        self.step(records, how(mark));
        self.guards[index] = Guard::default();
    }
}
