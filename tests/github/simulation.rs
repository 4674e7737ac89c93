//! An autoscaler that kills whatever it is permitted to, over a GitHub that lags, lies, drifts and fails: no
//! job is killed that began longer ago than the jobs view lags, and what is vacant is freed in the end.

use crate::world::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use scale_in_guard::{
    clock::Clock,
    testing::fake_github::{Fault, FaultOn, JobId},
    time::Instant,
};
use std::collections::BTreeMap;

/// How far the jobs view lags: what README's window W admits.
const LAG: TimeDelta = TimeDelta::seconds(25);

/// What happens in one minute, before the autoscaler looks.
#[derive(Debug, Clone)]
enum Event {
    Start(usize),
    Finish(usize),
    /// The flag is pinned, or set free again.
    Lie(usize, Option<bool>),
    Omit(usize, bool),
    HideById(usize, bool),
    Drift(bool),
    Fail(u16, u32),
    Cut(u32),
    Wait(i64),
}

fn event() -> impl Strategy<Value = Event> {
    let runner = 0_usize..4;
    prop_oneof![
        4 => runner.clone().prop_map(Event::Start),
        4 => runner.clone().prop_map(Event::Finish),
        3 => (runner.clone(), prop::option::of(Just(false))).prop_map(|(at, lie)| Event::Lie(at, lie)),
        1 => (runner.clone(), any::<bool>()).prop_map(|(at, omit)| Event::Omit(at, omit)),
        1 => (runner, any::<bool>()).prop_map(|(at, hide)| Event::HideById(at, hide)),
        1 => any::<bool>().prop_map(Event::Drift),
        1 => (prop_oneof![Just(404_u16), Just(403), Just(502)], 1_u32..4).prop_map(|(code, times)| Event::Fail(code, times)),
        1 => (1_u32..4).prop_map(Event::Cut),
        3 => (1_i64..6).prop_map(Event::Wait),
    ]
}

/// A fleet of four, one of them gone when it was killed.
struct Fleet {
    world: World,
    guard: Guard,
    runners: Vec<Runner>,
    jobs: BTreeMap<usize, (JobId, Instant)>,
    alive: Vec<bool>,
}

impl Fleet {
    async fn new() -> Self {
        let world = World::of("repo:acme/atlas").await;
        world.github.lag_jobs(LAG);
        world.github.lag_busy(TimeDelta::seconds(60));
        let runners = ["a", "b", "c", "d"].map(|name| {
            world.github.register(&world.scope, name);
            world.runner(name).launched_at(world.clock.now())
        });
        Self {
            guard: world.guard(),
            world,
            runners: runners.into(),
            jobs: BTreeMap::new(),
            alive: vec![true; 4],
        }
    }

    fn happen(&mut self, event: &Event) {
        let World {
            github,
            scope,
            clock,
        } = &self.world;
        let name = |at: usize| self.runners[at].name.as_str();
        match *event {
            Event::Start(at) if self.alive[at] && !self.jobs.contains_key(&at) => {
                let job = github.start_job(scope, name(at), "acme/atlas");
                self.jobs.insert(at, (job, clock.now()));
            }
            Event::Finish(at) => {
                if let Some((job, _)) = self.jobs.remove(&at) {
                    github.finish_job(job);
                }
            }
            Event::Lie(at, busy) => github.lie_busy(scope, name(at), busy),
            Event::Omit(at, omit) => github.omit_from_listing(scope, name(at), omit),
            Event::HideById(at, hide) => github.hide_by_id(scope, name(at), hide),
            Event::Drift(drifts) => github.drift_between_pages(drifts),
            Event::Fail(code, times) => {
                github.fail(FaultOn::any(), Fault::status(code), Some(times))
            }
            Event::Cut(times) => github.fail(FaultOn::any(), Fault::CutBody, Some(times)),
            Event::Wait(minutes) => clock.advance(TimeDelta::minutes(minutes)),
            Event::Start(_) => {}
        }
    }

    /// Looks once, by a sweep or one by one, and kills whatever may go.
    async fn look(&mut self, by_sweep: bool) -> Result<(), String> {
        let alive = self.runners.iter().zip(&self.alive);
        let asked: Vec<_> = alive
            .filter(|(_, alive)| **alive)
            .map(|(r, _)| r.clone())
            .collect();
        let mut decisions = Vec::new();
        if by_sweep {
            decisions = sweep(&self.guard, asked).await;
        } else {
            for runner in &asked {
                decisions.push(self.guard.can_terminate(runner).await);
            }
        }
        for decision in decisions {
            let Decision::Terminate(permit) = decision else {
                continue;
            };
            let told = format!("{permit}: {:?}", permit.assessment().evidence);
            let go = self
                .guard
                .redeem(permit)
                .await
                .map_err(|refused| refused.to_string())?;
            let at = self
                .runners
                .iter()
                .position(|runner| runner == go.runner())
                .unwrap();
            let now = self.world.clock.now();
            if let Some((_, began)) = self.jobs.get(&at)
                && now - *began >= LAG
            {
                return Err(format!("killed a job that began at {began}: {told}"));
            }
            self.alive[at] = false;
            if let Some((job, _)) = self.jobs.remove(&at) {
                self.world.github.finish_job(job);
            }
            self.world
                .github
                .deregister(&self.world.scope, go.runner().name.as_str());
        }
        Ok(())
    }

    /// GitHub recovers, every job ends, and all is looked at until the windows are over.
    async fn end(&mut self) -> Result<(), String> {
        self.world.github.clear_faults();
        for at in 0..self.runners.len() {
            for event in [
                Event::Finish(at),
                Event::Lie(at, None),
                Event::Omit(at, false),
                Event::HideById(at, false),
                Event::Drift(false),
            ] {
                self.happen(&event);
            }
        }
        for minute in 0..25 {
            self.look(minute % 2 == 0).await?;
            self.world.clock.advance(minutes(1));
        }
        match self.alive.contains(&true) {
            true => Err(format!("never freed: {:?}", self.alive)),
            false => Ok(()),
        }
    }
}

#[test]
fn nobody_kills_a_job_that_can_be_seen_and_the_vacant_are_freed() {
    let cases = std::env::var("SIMULATIONS")
        .ok()
        .and_then(|count| count.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(40),
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
    let minute = (prop::collection::vec(event(), 0..3), any::<bool>());
    let story = prop::collection::vec(minute, 5..30);
    let played = runner.run(&story, |story| {
        let told = runtime.block_on(async {
            let mut fleet = Fleet::new().await;
            for (events, by_sweep) in &story {
                for event in events {
                    fleet.happen(event);
                }
                fleet.look(*by_sweep).await?;
                fleet.world.clock.advance(minutes(1));
            }
            fleet.end().await
        });
        told.map_err(TestCaseError::fail)
    });
    if let Err(failed) = played {
        panic!("{failed}");
    }
}
