//! A guard whose Redis is away, or says nothing.

use crate::server::{SCOPE, Server, free_port, open, server_or_skip};
use scale_in_guard::{
    Decision, Guard, HoldCode, JobsView, Policy, Registration, Runner, Status, stores::RedisStore,
    testing::ScriptedSource,
};
use std::time::Duration;
use tokio::time::timeout;

fn guard(store: RedisStore) -> Guard {
    let policy = Policy {
        grace: chrono::TimeDelta::milliseconds(1),
        min_age: chrono::TimeDelta::zero(),
        ..Policy::default()
    };
    let flag = ScriptedSource::registration(Registration::registered(false, Status::Online));
    let jobs = ScriptedSource::jobs(JobsView {
        complete: true,
        jobs: vec![],
    });
    let guard = Guard::builder().policy(policy).source(flag).source(jobs);
    guard.store(store).build().unwrap()
}

async fn ask(guard: &Guard) -> Decision {
    let runner = Runner::new("r-1", SCOPE).unwrap();
    let deadline = Duration::try_from_secs_f64(30.0).unwrap();
    let asked = timeout(deadline, guard.can_terminate(&runner)).await;
    asked.expect("an answer, whatever the store does")
}

async fn holds_for_its_memory(guard: &Guard) {
    let decision = ask(guard).await;
    let Decision::Hold(_) = &decision else {
        panic!("{decision:?}")
    };
    let codes: Vec<_> = decision.reasons().map(|reason| reason.code()).collect();
    assert!(codes.contains(&HoldCode::MemoryUnreadable), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_whose_redis_is_away_holds_within_its_deadline() {
    let nobody = guard(open(&format!("redis://127.0.0.1:{}", free_port())));
    holds_for_its_memory(&nobody).await;
    let mut server: Server = server_or_skip!();
    let guard = guard(server.store());
    assert!(codes_have_no_memory(&ask(&guard).await));
    server.signal("-STOP");
    holds_for_its_memory(&guard).await;
    server.signal("-CONT");
    server.kill();
    holds_for_its_memory(&guard).await;
    server.begin_again();
    assert!(codes_have_no_memory(&ask(&guard).await));
}

fn codes_have_no_memory(decision: &Decision) -> bool {
    decision
        .reasons()
        .all(|reason| reason.code() != HoldCode::MemoryUnreadable)
}
