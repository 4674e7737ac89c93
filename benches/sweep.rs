//! How long a sweep takes over a GitHub that takes 20 ms for each answer, and what it asks.
//!
//! `cargo bench --features testing,sqlite --bench sweep`

use chrono::TimeDelta;
use scale_in_guard::{
    Guard, Runner, Scope, Verdict,
    github::{GitHub, Limits},
    sources::Repositories,
    store::Store,
    stores::{MemoryStore, SqliteStore},
    testing::{FakeGitHub, ManualClock},
};
use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

const RUNNERS: usize = 1_000;
const OCCUPIED: usize = 100;
const RUNS: usize = 40;
const REPOSITORIES: [&str; 4] = ["acme/a", "acme/b", "acme/c", "acme/d"];
const PERMITS: usize = 20;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{RUNNERS} runners, {OCCUPIED} occupied, {RUNS} runs in {} repositories, 20 ms an answer; the fastest and the slowest of {ROUNDS}",
        REPOSITORIES.len()
    );
    measure("memory", Arc::new(MemoryStore::new())).await?;
    let folder = tempfile::tempdir()?;
    let file = SqliteStore::open(folder.path().join("memory.sqlite"))?;
    measure("sqlite", Arc::new(file)).await
}

async fn measure(name: &str, store: Arc<dyn Store>) -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::at("2026-05-14T02:00:00Z".parse()?);
    let fake = FakeGitHub::start(clock.clone()).await?;
    let scope: Scope = "org:acme".parse()?;
    let fleet = fill(&fake, &scope)?;
    fake.latency(Duration::from_millis(20));
    let github = GitHub::builder(fake.token().to_owned())
        .api_url(fake.url())
        // Many sweeps in a minute are not what the limits are for.
        .limits(Limits::none())
        .build()?;
    let repositories = REPOSITORIES
        .map(str::parse)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let guard = Guard::builder()
        .github(github.clone(), Repositories::all(repositories))
        .clock(clock.clone())
        .store(store)
        .build()?;

    let mut held = Vec::new();
    let mut first_permit = Vec::new();
    let mut permits = Vec::new();
    let mut requests = (0, 0);
    for _ in 0..ROUNDS {
        // Too long a gap: every window starts anew, and nobody may go.
        clock.advance(TimeDelta::minutes(20));
        let before = github.requests();
        let began = now();
        let mut sweep = guard.sweep(fleet.clone());
        let mut decided = 0;
        while let Some(decision) = sweep.next().await {
            assert_eq!(decision.verdict(), Verdict::Hold);
            decided += 1;
        }
        held.push(began.elapsed());
        assert_eq!(decided, RUNNERS);
        requests.0 = github.requests() - before;

        // Five minutes later the vacant ones may.
        clock.advance(TimeDelta::minutes(5));
        let before = github.requests();
        let began = now();
        let mut sweep = guard.sweep(fleet.clone());
        let mut given = 0;
        while given < PERMITS {
            let decision = sweep.next().await.ok_or("too few may go")?;
            if decision.verdict() == Verdict::Terminate {
                given += 1;
                if given == 1 {
                    first_permit.push(began.elapsed());
                }
            }
        }
        permits.push(began.elapsed());
        requests.1 = github.requests() - before;
    }
    println!("\nmemory in {name}");
    print("every decision, nobody may go", &held, requests.0);
    print(
        "until the first permit",
        &first_permit,
        requests.1 - (PERMITS as u64 - 1),
    );
    print(
        &format!("until {PERMITS} permits, one after another"),
        &permits,
        requests.1,
    );
    Ok(())
}

fn print(what: &str, took: &[Duration], requests: u64) {
    let ms = |took: Option<&Duration>| took.map_or(0.0, |took| took.as_secs_f64() * 1e3);
    let (least, most) = (ms(took.iter().min()), ms(took.iter().max()));
    println!("  {what:40} {least:6.0} to {most:6.0} ms  {requests:4} requests");
}

fn fill(fake: &FakeGitHub, scope: &Scope) -> Result<Vec<Runner>, Box<dyn Error>> {
    let mut fleet = Vec::new();
    for number in 0..RUNNERS {
        let name = format!("i-{number:017x}");
        let id = fake.register(scope, &name);
        fleet.push(Runner::new(&name, "org:acme")?.with_id(id.0));
    }
    // 40 runs, each with jobs on two or three runners.
    let mut runs = Vec::new();
    for (number, runner) in fleet.iter().take(OCCUPIED).enumerate() {
        let name = runner.name.as_str();
        if number < RUNS {
            let repository = REPOSITORIES.get(number % REPOSITORIES.len()).copied();
            runs.push(fake.start_job(scope, name, repository.unwrap_or("acme/a")));
        } else if let Some(&run) = runs.get(number % RUNS) {
            let job = fake.add_job_to_run(run, &["self-hosted"]);
            fake.assign(job, scope, name);
        }
    }
    Ok(fleet)
}

#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}
