//! A permit is good for seconds, from its look on, once.
#![allow(clippy::expect_used, clippy::panic)] // a test that cannot go on stops

use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Basis, Decision, Engine, Evidence, JobsView, Memory, Permit, Policy, Refused, Registration,
    Runner, Stage, Status,
    lease::{Heartbeat, HostJob, Report},
};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(second)
}

fn look(memory: &mut Memory, second: i64, busy: bool, beacon: Option<&Heartbeat>) -> Decision {
    let engine = Engine::new(Policy::default()).expect("the default policy");
    let runner = Runner::new("r-1", "repo:acme/atlas")
        .expect("a runner")
        .launched_at(at(-3_600));
    let now = at(second);
    let mut evidence = vec![
        Evidence::registration(Registration::registered(busy, Status::Online), now),
        Evidence::jobs(
            JobsView {
                complete: true,
                jobs: Vec::new(),
            },
            now,
        ),
    ];
    evidence.extend(beacon.map(|beacon| Evidence::lease(Some(beacon.clone()), now)));
    engine.decide(&runner, evidence, memory, now)
}

/// A permit issued at second 300.
fn permit() -> Permit {
    let mut memory = Memory::default();
    let _ = look(&mut memory, 0, false, None);
    match look(&mut memory, 300, false, None) {
        Decision::Terminate(permit) => permit,
        Decision::Hold(hold) => panic!("{hold}"),
    }
}

#[test]
fn a_permit_says_what_it_is_for() {
    let permit = permit();
    assert_eq!(permit.issued_at(), at(300));
    assert_eq!(permit.expires_at(), at(310));
    assert_eq!(permit.basis(), Basis::Vacant);
    assert_eq!(
        permit.to_string(),
        "terminate r-1: vacant, until 2024-10-04T00:05:10Z"
    );
}

#[test]
fn a_permit_is_redeemed_within_its_seconds() {
    for second in [300, 301, 309] {
        let go = permit().redeem(at(second)).expect("in time");
        assert_eq!((go.basis(), go.deadline()), (Basis::Vacant, at(310)));
        assert_eq!(go.runner().name.as_str(), "r-1");
    }
}

#[test]
fn a_permit_that_expired_is_refused() {
    for second in [310, 311, 86_400] {
        let refused = permit().redeem(at(second)).expect_err("too late");
        assert_eq!(
            refused,
            Refused::Expired {
                expires_at: at(310),
                now: at(second)
            }
        );
        assert!(refused.to_string().contains("ask again"));
    }
}

#[test]
fn a_permit_from_before_the_clock_was_set_back_is_refused() {
    let refused = permit().redeem(at(299)).expect_err("before it was issued");
    assert_eq!(
        refused,
        Refused::ClockSetBack {
            issued_at: at(300),
            now: at(299)
        }
    );
}

/// Where the job's end is logged the beacon attests that there is none; where its lease ran out
/// nobody does, and the window begins at the first look at which the worker does not count.
#[test]
fn a_wedged_worker_goes_at_once_only_where_its_jobs_end_is_logged() {
    let policy = Policy::default();
    for finished in [true, false] {
        let job = HostJob::new("a");
        let mut beacon = Heartbeat::new(at(0));
        beacon.hear(
            Report::Renewed {
                job: job.clone(),
                at: at(0),
                valid_for: None,
            },
            at(0),
            &policy,
        );
        let mut memory = Memory::default();
        let mut first_wedged = None;
        let mut gone = None;
        for second in (15..=9_000).step_by(15) {
            if second == 60 && finished {
                beacon.hear(
                    Report::Finished {
                        job: job.clone(),
                        at: at(60),
                    },
                    at(60),
                    &policy,
                );
            }
            beacon.hear(Report::Worker, at(second), &policy);
            if second % 300 == 0 && gone.is_none() {
                let decision = look(&mut memory, second, true, Some(&beacon));
                if decision.assessment().stage == Stage::Wedged {
                    first_wedged.get_or_insert(second);
                }
                gone = matches!(decision, Decision::Terminate(_)).then_some(second);
            }
        }
        let first_wedged = first_wedged.expect("a wedge");
        let wait = if finished { 0 } else { 300 };
        assert_eq!(gone, Some(first_wedged + wait), "finished: {finished}");
    }
}
