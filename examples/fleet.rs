//! What a sweep over a large fleet costs: requests, points, time and memory, with the limits as they are by default.
//!
//! `cargo run --release --features testing --example fleet -- [RUNNERS] [REPOSITORIES] [RUNS]`
//!
//! GitHub runs in a process of its own, and takes 20 ms for each answer. Each run in progress has one job, on a
//! runner of its own; the other runners are idle.

use scale_in_guard::{
    Guard, Runner, Scope, Verdict,
    clock::SystemClock,
    github::{GitHub, Repository},
    sources::Repositories,
    testing::FakeGitHub,
};
use std::{
    error::Error,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const LATENCY: Duration = Duration::from_millis(20);

struct Size {
    runners: u64,
    repositories: u64,
    runs: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = Vec::new();
    let mut serves = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "serve" => serves = true,
            number => numbers.push(number.parse()?),
        }
    }
    let number = |place: usize, default| numbers.get(place).copied().unwrap_or(default);
    let size = Size {
        runners: number(0, 10_000),
        repositories: number(1, 60),
        runs: number(2, 300),
    };
    match serves {
        true => serve(&size).await,
        false => measure(&size).await,
    }
}

fn name(number: u64) -> String {
    format!("i-{number:017x}")
}

fn repository(number: u64) -> String {
    format!("acme/repository-{number:03}")
}

/// The GitHub. It ends with its standard input.
async fn serve(size: &Size) -> Result<(), Box<dyn Error>> {
    let github = FakeGitHub::start(SystemClock).await?;
    let scope: Scope = "org:acme".parse()?;
    for number in 0..size.runners {
        github.register(&scope, &name(number));
    }
    for number in 0..size.repositories {
        github.add_repository(&repository(number));
    }
    for number in 0..size.runs {
        let repository = repository(number % size.repositories);
        github.start_job(&scope, &name(number), &repository);
    }
    github.latency(LATENCY);
    println!("{}\n{}", github.url(), github.token());
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
    Ok(())
}

async fn measure(size: &Size) -> Result<(), Box<dyn Error>> {
    let numbers = [size.runners, size.repositories, size.runs];
    let mut child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut told = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let mut line = || {
        told.next()
            .ok_or("it does not serve")?
            .map_err(Box::<dyn Error>::from)
    };
    let (url, token) = (line()?, line()?);

    let github = GitHub::builder(token).api_url(url).build()?;
    let repositories = (0..size.repositories).map(|number| repository(number).parse());
    let repositories = repositories.collect::<Result<Vec<Repository>, _>>()?;
    let guard = Guard::builder()
        .github(github.clone(), Repositories::all(repositories))
        .build()?;
    let fleet = (0..size.runners).map(|number| Runner::new(&name(number), "org:acme"));
    let fleet = fleet.collect::<Result<Vec<_>, _>>()?;
    println!(
        "{} runners, {} repositories, {} runs in progress, {} ms an answer; {} MiB before",
        size.runners,
        size.repositories,
        size.runs,
        LATENCY.as_millis(),
        peak_mib()
    );
    let began = now();
    let mut decisions = guard.sweep(fleet);
    let mut held = 0;
    while let Some(decision) = decisions.next().await {
        held += u32::from(decision.verdict() == Verdict::Hold);
    }
    println!(
        "a sweep: {} requests, as many points; {:.2} s; {held} held; peak {} MiB",
        github.requests(),
        began.elapsed().as_secs_f64(),
        peak_mib()
    );
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

/// The most memory that this process had, where the system tells.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

#[allow(clippy::disallowed_methods, reason = "it measures real time")]
fn now() -> Instant {
    Instant::now()
}
