//! A server that goes away and comes back, and a guard whose table is away.

use crate::{
    moto::{Moto, free_port},
    world::{ends, hasty_store_at, key, read, refused, store_at, write},
};
use chrono::TimeDelta;
use scale_in_guard::{
    Decision, Guard, HoldCode, JobsView, Policy, Registration, Runner, Status,
    clock::{Clock, SystemClock},
    store::{Store, Swap},
    stores::DynamoError,
    testing::ScriptedSource,
};

/// moto keeps everything in memory: a restart is the loss of the table, not of the connection alone.
#[tokio::test]
async fn after_a_restart_that_lost_everything_nothing_is_taken_for_what_it_was() {
    let Some(moto) = Moto::start() else { return };
    let store = store_at(&moto.url(), "guard");
    store.create_table().await.expect("a table");
    let before = write(&store, &key("r-1"), "before").await;
    let port = moto.address.port();
    drop(moto);
    let (reason, _) = refused(ends(store.read(&[key("r-1")])).await);
    assert!(matches!(reason, DynamoError::NoAnswer { .. }), "{reason:?}");
    refused(ends(store.swap(&key("r-1"), Some(before), "meanwhile")).await);
    let _moto = Moto::start_at(port).expect("it is installed");
    let (reason, _) = refused(store.read(&[key("r-1")]).await);
    assert!(matches!(reason, DynamoError::NoTable { .. }), "{reason:?}");
    store.create_table().await.expect("a table");
    assert_eq!(read(&store, "r-1").await, None);
    let late = store.swap(&key("r-1"), Some(before), "late").await;
    assert_eq!(late.expect("an answer"), Swap::Conflict);
    assert_ne!(write(&store, &key("r-1"), "anew").await, before);
}

/// Nobody listens, or nobody answers: it holds, says why, and is done before its own deadline.
#[tokio::test]
async fn a_guard_whose_table_is_away_holds_and_says_why() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent
        .local_addr()
        .map(|address| (address.port(), silent))
        .expect("a port");
    for (port, deadline) in [(free_port(), 10), (silent.0, 1)] {
        let url = format!("http://127.0.0.1:{port}");
        let policy = Policy {
            ask_deadline: TimeDelta::seconds(deadline),
            ..Policy::default()
        };
        let guard = Guard::builder()
            .policy(policy)
            .source(ScriptedSource::registration(Registration::registered(
                false,
                Status::Online,
            )))
            .source(ScriptedSource::jobs(JobsView {
                complete: true,
                jobs: vec![],
            }))
            .store(hasty_store_at(&url, "guard"))
            .build()
            .expect("a guard");
        let runner = Runner::new("r-1", "repo:acme/atlas").expect("a runner");
        let began = SystemClock.now();
        let decision = ends(guard.can_terminate(&runner)).await;
        let Decision::Hold(hold) = decision else {
            panic!("no permit without memory")
        };
        let reasons: Vec<_> = hold.reasons().collect();
        let reason = reasons
            .iter()
            .find(|reason| reason.code() == HoldCode::MemoryUnreadable);
        let reason = reason.unwrap_or_else(|| panic!("{reasons:?}")).to_string();
        assert!(
            reason.contains("dynamodb://guard?region=eu-central-1"),
            "{reason}"
        );
        eprintln!("held after {}: {reason}", SystemClock.now() - began);
    }
}
