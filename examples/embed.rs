//! The guard in an autoscaler's loop, against a GitHub that lies.
//!
//! `cargo run --features testing --example embed`
//!
//! In your program the GitHub is the real one, the clock is the machine's, and the loop sleeps.

use chrono::TimeDelta;
use scale_in_guard::{
    Decision, Guard, Runner, Scope,
    github::GitHub,
    sources::Repositories,
    testing::{FakeGitHub, ManualClock},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = ManualClock::at("2026-05-14T02:00:00Z".parse()?);
    let fake = FakeGitHub::start(clock.clone()).await?;
    let scope: Scope = "repo:acme/atlas".parse()?;
    fake.register(&scope, "r-1");
    fake.register(&scope, "r-2");
    let job = fake.start_job(&scope, "r-1", "acme/atlas");
    fake.lie_busy(&scope, "r-1", Some(false)); // the bug: shown idle in the middle of a job

    // What an autoscaler does once:
    let github = GitHub::builder(fake.token().to_owned())
        .api_url(fake.url())
        .build()?;
    let guard = Guard::builder()
        .github(github.clone(), Repositories::of_each_runner())
        .clock(clock.clone())
        .build()?;
    println!("{}\n", guard.coverage(&scope));

    // And what it does every minute:
    let mut fleet = vec![
        Runner::new("r-1", "repo:acme/atlas")?,
        Runner::new("r-2", "repo:acme/atlas")?,
    ];
    for minute in 0..=13 {
        if minute == 8 {
            fake.finish_job(job);
        }
        let mut sweep = guard.sweep(fleet.clone());
        while let Some(decision) = sweep.next().await {
            match decision {
                Decision::Terminate(permit) => {
                    let go = guard.redeem(permit).await?;
                    let name = go.runner().name.clone();
                    // Here the cloud is told. The truth tells whether that was right.
                    let killed = fake.kill(&scope, name.as_str());
                    println!(
                        "minute {minute:2}: {name} goes ({}); a job was killed: {}",
                        go.basis(),
                        killed.was_occupied
                    );
                    fleet.retain(|runner| runner.name != name);
                }
                Decision::Hold(hold) => {
                    let codes: Vec<_> = hold.reasons().map(|reason| reason.code_str()).collect();
                    let name = &hold.assessment().runner.name;
                    println!("minute {minute:2}: {name} stays: {}", codes.join(", "));
                }
            }
        }
        clock.advance(TimeDelta::minutes(1));
    }
    println!("\nGitHub was sent {} requests", github.requests());
    Ok(())
}
