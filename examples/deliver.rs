//! Sends signed `workflow_job` deliveries at a steady rate to a receiver, and tells how long the answers took.
//!
//! WEBHOOK_SECRET=s3cret cargo run --release --features webhook,testing --example deliver -- URL [RATE] [SECONDS]
//!
//! Three deliveries a job: queued, in progress, completed; 500 runners, 20 repositories.

use scale_in_guard::webhook::sign;
use std::{collections::BTreeMap, env, error::Error, time::Duration};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

fn body(number: u64) -> String {
    let (job, step) = (number / 3, number % 3);
    let action = ["queued", "in_progress", "completed"]
        .get(usize::try_from(step).unwrap_or_default())
        .copied()
        .unwrap_or("queued");
    let runner = job % 500;
    let repository = job % 20;
    let named = match step {
        0 => r#""runner_id":null,"runner_name":null"#.to_owned(),
        _ => format!(r#""runner_id":{},"runner_name":"r-{runner}""#, runner + 1),
    };
    // As long as GitHub's: most of a delivery tells of the repository.
    let padding = "x".repeat(8_000);
    format!(
        r#"{{"action":"{action}","workflow_job":{{"id":{job},"run_attempt":1,"labels":["self-hosted","linux"],{named}}},"repository":{{"full_name":"acme/r{repository}","description":"{padding}"}}}}"#
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().ok_or("give the URL of the receiver")?;
    let rate: u64 = arguments.next().map_or(Ok(1_000), |rate| rate.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(10), |seconds| seconds.parse())?;
    let secret = env::var("WEBHOOK_SECRET")?;
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()?;
    let mut sent = JoinSet::new();
    let mut tick = time::interval(Duration::from_secs(1) / u32::try_from(rate)?.max(1));
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Burst);
    let began = Instant::now();
    for number in 0..rate * seconds {
        tick.tick().await;
        let body = body(number);
        let request = client
            .post(&url)
            .header("X-GitHub-Event", "workflow_job")
            .header("X-Hub-Signature-256", sign(&secret, body.as_bytes()))
            .header("Content-Type", "application/json")
            .body(body);
        sent.spawn(async move {
            let began = Instant::now();
            let status = request.send().await.map(|answer| answer.status().as_u16());
            (status.unwrap_or(0), began.elapsed())
        });
    }
    let (mut took, mut statuses) = (Vec::new(), BTreeMap::new());
    while let Some(done) = sent.join_next().await {
        let (status, elapsed) = done?;
        took.push(elapsed);
        *statuses.entry(status).or_insert(0_u64) += 1;
    }
    let elapsed = began.elapsed();
    took.sort_unstable();
    let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1)));
    println!(
        "{} deliveries in {elapsed:.1?}, answered {statuses:?}: median {:?}, 99 of a hundred within {:?}, the last {:?}",
        took.len(),
        at(50).copied().unwrap_or_default(),
        at(99).copied().unwrap_or_default(),
        took.last().copied().unwrap_or_default(),
    );
    Ok(())
}
