//! Ten pieces of evidence, for whoever measures a decision.

use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Evidence, Job, JobStatus, JobsView, Policy, Registration, Signal, Status,
    evidence::{Claim, Own},
    fleet::FleetReport,
    lease::{Heartbeat, HostJob, Report},
    ledger::Ledger,
    runner::RunnerRef,
};

/// When the story begins.
pub(crate) fn start() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

/// Ten pieces of evidence, as a deployment with every witness has them: occupied by a leased job, or
/// vacant.
pub(crate) fn ten(now: DateTime<Utc>, occupied: bool) -> Vec<Evidence> {
    let policy = Policy::default();
    let mut beacon = Heartbeat::new(now - TimeDelta::seconds(20));
    let report = match occupied {
        true => Report::Renewed {
            job: HostJob::new("8e2d47c1-55f0-5c3a-9a77-0b1d3e6f7a21"),
            at: now,
            valid_for: None,
        },
        false => Report::Listening,
    };
    beacon.hear(report, now - TimeDelta::seconds(10), &policy);
    let runner = if occupied {
        "i-06cbe04821ccba677"
    } else {
        "i-0f3edd56994b7e40b"
    };
    let job = Job::new(9102, JobStatus::InProgress, Some(RunnerRef::named(runner)));
    let view = |jobs| {
        Evidence::jobs(
            JobsView {
                complete: true,
                jobs,
            },
            now,
        )
    };
    let own = |claim| {
        Signal::Own(Own {
            claim,
            note: "calm".into(),
            until: None,
        })
    };
    vec![
        Evidence::registration(Registration::registered(false, Status::Online), now),
        Evidence::registration(Registration::registered(false, Status::Online), now),
        view(vec![job]),
        view(Vec::new()),
        view(Vec::new()),
        Evidence::lease(Some(beacon), now),
        Evidence::new("webhooks", now, Signal::Webhooks(Ledger::default())),
        Evidence::new("fleet", now, Signal::Fleet(FleetReport::default())),
        Evidence::new("queue", now, own(Claim::Vacant)),
        Evidence::new("drain", now, own(Claim::Unknown)),
    ]
}
