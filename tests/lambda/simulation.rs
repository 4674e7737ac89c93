//! A group that Auto Scaling shrinks as it likes, over a GitHub that lags and lies: it terminates what it was told,
//! later. No job dies, and what is idle goes in the end.

use crate::world::*;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use scale_in_guard::{clock::Clock, testing::fake_github::JobId};
use std::collections::{BTreeMap, BTreeSet};

const MACHINES: usize = 4;

/// What happens in one minute.
#[derive(Debug, Clone)]
enum Event {
    Start(usize),
    Finish(usize),
    Lie(usize, bool),
    Omit(usize, bool),
    /// Auto Scaling asks for so many.
    Ask(usize),
    /// It takes one of those it was told, as long ago as that may be.
    Take(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let machine = 1..=MACHINES;
    prop_oneof![
        3 => machine.clone().prop_map(Event::Start),
        3 => machine.clone().prop_map(Event::Finish),
        2 => (machine.clone(), any::<bool>()).prop_map(|(at, lies)| Event::Lie(at, lies)),
        1 => (machine, any::<bool>()).prop_map(|(at, omit)| Event::Omit(at, omit)),
        6 => (1_usize..=3).prop_map(Event::Ask),
        2 => (0_usize..3).prop_map(Event::Take),
    ]
}

struct Group {
    world: World,
    jobs: BTreeMap<usize, JobId>,
    /// Those that Auto Scaling was told of.
    told: BTreeSet<usize>,
    gone: BTreeSet<usize>,
}

impl Group {
    async fn new() -> Self {
        let world = World::of(MACHINES).await;
        world.github.lag_busy(TimeDelta::seconds(60));
        world.github.lag_jobs(TimeDelta::seconds(25));
        Self {
            world,
            jobs: BTreeMap::new(),
            told: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    async fn happen(&mut self, event: &Event) -> Result<(), String> {
        let World { github, scope, .. } = &self.world;
        match *event {
            // GitHub gives jobs to those that are registered, and to no others.
            Event::Start(at) => {
                let is_idle = self.world.is_registered(at) && !self.jobs.contains_key(&at);
                if is_idle && !self.gone.contains(&at) {
                    self.jobs.insert(at, self.world.start_job(at));
                }
            }
            Event::Finish(at) => {
                if let Some(job) = self.jobs.remove(&at) {
                    github.finish_job(job);
                }
            }
            Event::Lie(at, lies) => github.lie_busy(scope, &name(at), lies.then_some(false)),
            Event::Omit(at, omit) => github.omit_from_listing(scope, &name(at), omit),
            Event::Ask(capacity) => {
                let ready = self.world.ask(capacity).await;
                if ready.len() > capacity {
                    return Err(format!("{ready:?} of {capacity}"));
                }
                self.told.extend(ready);
            }
            Event::Take(nth) => {
                let Some(at) = self.told.iter().copied().nth(nth) else {
                    return Ok(());
                };
                self.take(at)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, at: usize) -> Result<(), String> {
        self.told.remove(&at);
        self.gone.insert(at);
        self.world.group.retain(|&number| number != at);
        if self.jobs.contains_key(&at) {
            return Err(format!("{at} was terminated with a job"));
        }
        self.world.github.deregister(&self.world.scope, &name(at));
        Ok(())
    }

    /// All jobs end and all lies; then everything goes.
    async fn end(&mut self) -> Result<(), String> {
        for at in 1..=MACHINES {
            for event in [
                Event::Finish(at),
                Event::Lie(at, false),
                Event::Omit(at, false),
            ] {
                self.happen(&event).await?;
            }
        }
        for minute in 0..60 {
            if minute % 5 == 0 {
                self.world.sweep().await;
            }
            self.happen(&Event::Ask(MACHINES)).await?;
            while let Some(&at) = self.told.iter().next() {
                self.take(at)?;
            }
            self.world.later(minutes(1));
        }
        match self.gone.len() {
            MACHINES => Ok(()),
            _ => Err(format!("only {:?} went", self.gone)),
        }
    }
}

#[test]
fn no_job_dies_and_what_is_idle_goes_in_the_end() {
    let cases = std::env::var("SIMULATIONS")
        .ok()
        .and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(25),
        failure_persistence: None,
        ..Config::default()
    };
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = match cases {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, seed),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let story = prop::collection::vec(prop::collection::vec(event(), 0..4), 10..50);
    let played = runner.run(&story, |story| {
        let told = runtime.block_on(async {
            let mut group = Group::new().await;
            for (minute, events) in story.iter().enumerate() {
                if minute % 5 == 0 {
                    group.world.sweep().await;
                }
                for event in events {
                    group.happen(event).await?;
                }
                // Within a minute, so that something falls on every side of a window.
                group.world.later(TimeDelta::seconds(40));
                if group.world.clock.now().timestamp() % 3 == 0 {
                    group.happen(&Event::Ask(2)).await?;
                }
                group.world.later(TimeDelta::seconds(20));
            }
            group.end().await
        });
        told.map_err(TestCaseError::fail)
    });
    if let Err(failed) = played {
        panic!("{failed}");
    }
}
