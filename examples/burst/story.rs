//! 200 runners spawn within a second while the endpoint of registration tokens answers 502 again and again: a naive
//! shim, which takes a slot, mints once and does not repeat it, beside one that asks the gate first.
//!
//! The time is tokio's, paused: it leaps from timer to timer. GitHub is a real server on loopback.

use chrono::TimeDelta;
use scale_in_guard::{
    Scope,
    clock::Clock,
    github::{GitHub, RegistrationTokens, SpawnGate},
    testing::{
        FakeGitHub, TokioClock,
        fake_github::{Fault, FaultOn, NewRunner},
    },
};
use secrecy::ExposeSecret;
use std::{
    error::Error,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

pub(crate) const SPAWNS: u32 = 200;
const WITHIN: Duration = Duration::from_secs(1);
const BOOT: Duration = Duration::from_secs(30);
const STORY: Duration = Duration::from_secs(15 * 60);
const LATENCY: Duration = Duration::from_millis(20);
const ENDPOINT: &str = "/actions/runners/registration-token";

/// How the endpoint fails for 60 % of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Burst {
    /// Six calls of ten, drawn one by one.
    Calls,
    /// Every call in stretches of up to 20 s, which fill 60 % of the time; one of them comes first.
    Stretches,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shim {
    Naive,
    Gated,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Spawns whose runner never registered.
    pub(crate) dead: u32,
    /// Slots that are held after 15 minutes by instances that are no runner.
    pub(crate) phantoms: u32,
    /// Requests for registration tokens.
    pub(crate) token_requests: usize,
    /// From the beginning until the last runner registered.
    pub(crate) last_registered: Option<Duration>,
}

struct World {
    clock: TokioClock,
    began: Instant,
    github: FakeGitHub,
    scope: Scope,
    slots: AtomicU32,
    registered: AtomicU32,
    last_registered_ms: AtomicU64,
}

/// Plays the story. The runtime must have paused its time.
pub(crate) async fn play(shim: Shim, burst: Burst, seed: u64) -> Result<Outcome, Box<dyn Error>> {
    let world = World::new().await?;
    break_the_endpoint(&world, burst, seed);
    match shim {
        Shim::Naive => {
            let http = reqwest::Client::builder().no_proxy().build()?;
            spawn_all(&world, |world, name| naive(world, http.clone(), name)).await;
        }
        Shim::Gated => {
            let github = GitHub::builder(world.github.token().to_owned());
            let github = github.api_url(world.github.url()).clock(world.clock);
            let github = github.jitter_seed(seed).build()?;
            let gate = SpawnGate::new(RegistrationTokens::new(github), 100);
            spawn_all(&world, |world, name| gated(world, gate.clone(), name)).await;
        }
    }
    let registered = world.registered.load(Relaxed);
    let requests = world.github.requests();
    let last_registered = Duration::from_millis(world.last_registered_ms.load(Relaxed));
    Ok(Outcome {
        dead: SPAWNS - registered,
        phantoms: world.slots.load(Relaxed) - registered,
        token_requests: requests
            .iter()
            .filter(|request| request.path.ends_with(ENDPOINT))
            .count(),
        last_registered: (registered > 0).then_some(last_registered),
    })
}

impl World {
    async fn new() -> Result<Arc<Self>, Box<dyn Error>> {
        let clock = TokioClock::at("2026-05-04T09:00:00Z".parse()?);
        let github = FakeGitHub::start(clock).await?;
        github.latency(LATENCY);
        let scope: Scope = "org:acme".parse()?;
        github.add_scope(&scope);
        Ok(Arc::new(Self {
            clock,
            began: Instant::now(),
            github,
            scope,
            slots: AtomicU32::new(0),
            registered: AtomicU32::new(0),
            last_registered_ms: AtomicU64::new(0),
        }))
    }

    /// An instance takes a slot.
    fn take_a_slot(&self) {
        self.slots.fetch_add(1, Relaxed);
    }

    /// The instance boots, and its runner registers.
    async fn boot(&self, name: &str, token: &str) {
        tokio::time::sleep(BOOT).await;
        let runner = NewRunner::named(name);
        let registered = self.github.register_with_token(&self.scope, token, runner);
        if registered.is_ok() {
            self.registered.fetch_add(1, Relaxed);
            let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.last_registered_ms.fetch_max(at, Relaxed);
        }
    }
}

fn break_the_endpoint(world: &World, burst: Burst, seed: u64) {
    let (github, began_at) = (&world.github, world.clock.now());
    let bad_gateway = Fault::html(502);
    match burst {
        Burst::Calls => {
            let calls = FaultOn::path(ENDPOINT).share(60, seed);
            github.fail(calls, bad_gateway, None);
        }
        Burst::Stretches => {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut from = began_at;
            while from < began_at + STORY {
                let bad = TimeDelta::milliseconds(random.i64(10_000..=20_000));
                github.fail_between(ENDPOINT, bad_gateway.clone(), from, from + bad);
                from += bad + bad * 2 / 3;
            }
        }
    }
}

/// Spawns the runners, and waits for the end of the story.
async fn spawn_all<F>(world: &Arc<World>, spawn: impl Fn(Arc<World>, String) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let end = Instant::now() + STORY;
    let mut spawns = JoinSet::new();
    for number in 0..SPAWNS {
        let spawned = spawn(world.clone(), format!("i-{number:03}"));
        spawns.spawn(async move {
            tokio::time::sleep(WITHIN * number / SPAWNS).await;
            spawned.await;
        });
    }
    let all = async { while spawns.join_next().await.is_some() {} };
    let _ = tokio::time::timeout_at(end, all).await;
}

/// A slot, an instance, one call. Without a token the instance is there and no runner.
async fn naive(world: Arc<World>, http: reqwest::Client, name: String) {
    world.take_a_slot();
    let url = format!("{}/orgs/acme{ENDPOINT}", world.github.url());
    let request = http.post(url).bearer_auth(world.github.token());
    let Ok(answer) = request.header("User-Agent", "naive").send().await else {
        return;
    };
    let body = answer.text().await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    if let Some(token) = body.get("token").and_then(|token| token.as_str()) {
        world.boot(&name, token).await;
    }
}

/// The gate, then a slot and an instance, which has its token.
async fn gated(world: Arc<World>, gate: SpawnGate, name: String) {
    if let Ok(spawn) = gate.enter(&world.scope).await {
        world.take_a_slot();
        let token = spawn.token().token.expose_secret();
        world.boot(&name, token).await;
    }
}
