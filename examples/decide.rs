//! Decide in your own code: feed what your witnesses say, keep the memory, get a decision.
//!
//! Run: `cargo run --example decide`

use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Decision, Engine, Evidence, JobsView, Memory, Policy, Registration, Runner, Status,
    lease::{Heartbeat, HostJob, Report},
};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::new(Policy::default())?;
    let runner = Runner::new("i-06cbe04821ccba677", "repo:acme/atlas")?;
    let mut memory = Memory::default();
    let start: DateTime<Utc> = "2026-05-14T02:10:00Z".parse()?;

    // The runner renews the lease of a job each minute; it ends after the second look.
    let job = HostJob::new("8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21");
    let mut beacon = Heartbeat::new(start);
    let renewed = Report::Renewed {
        job: job.clone(),
        at: start,
        valid_for: None,
    };
    beacon.hear(renewed, start, engine.policy());

    for minute in [0, 5, 10, 15] {
        let now = start + TimeDelta::minutes(minute);
        if minute == 10 {
            let at = now - TimeDelta::seconds(20);
            beacon.hear(
                Report::Finished {
                    job: job.clone(),
                    at,
                },
                at,
                engine.policy(),
            );
        }
        for seconds in [15, 0] {
            // A beacon reports also when there is nothing to report.
            beacon.hear(
                Report::Alive,
                now - TimeDelta::seconds(seconds),
                engine.policy(),
            );
        }
        if minute > 10 {
            beacon.hear(Report::Listening, now, engine.policy());
        }

        // GitHub says that the runner is free, all the time.
        let flag = Registration::registered(false, Status::Online);
        let evidence = vec![
            Evidence::registration(flag, now),
            Evidence::jobs(
                JobsView {
                    complete: true,
                    jobs: vec![],
                },
                now,
            ),
            Evidence::lease(Some(beacon.clone()), now),
        ];
        let decision = engine.decide(&runner, evidence, &mut memory, now);
        println!("{}", decision.explain());

        if let Decision::Terminate(permit) = decision {
            let go = permit.redeem(now)?;
            println!(
                "now terminate {}, until {}",
                go.runner().name,
                go.deadline()
            );
        }
    }
    Ok(())
}
