//! What can fail: EC2, the invocation's time, the process itself, and another one that runs at the same time.

use crate::{
    ec2::Fate,
    function::MINUTE,
    world::{BOUND, INTERVAL, ORG, REPO, World},
};
use scale_in_guard::testing::Invocation;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn a_termination_that_fails_is_told_and_tried_again_by_a_new_decision() {
    let Some(world) = World::new().await else {
        return;
    };
    let (function, one) = (world.function().await, world.one(REPO, &[]).await);
    world.meet([Fate::Refused]);
    let failed = async |summary: &Value| (summary["failed"] == 1).then_some(());
    world.until(&function, "it fails", failed).await;
    let told = function.last(&one.id).unwrap();
    assert_eq!(told["decision"], "failed");
    assert!(
        told["text"]
            .as_str()
            .unwrap()
            .contains("OperationNotPermitted"),
        "{told}"
    );
    assert_eq!(
        world.ec2.terminations(),
        [one.id.as_str()],
        "it is not tried twice"
    );
    world.until_gone(&function, &[&one]).await;
    assert_eq!(world.ec2.terminations().len(), 2);
}

#[tokio::test]
async fn a_throttled_ec2_is_waited_for() {
    let Some(world) = World::new().await else {
        return;
    };
    let (function, one) = (world.function().await, world.one(REPO, &[]).await);
    world.meet([Fate::Throttled; 3]);
    world.until_gone(&function, &[&one]).await;
    assert_eq!(
        world.ec2.terminations().len(),
        4,
        "three were refused, and the fourth was served"
    );
    assert_eq!(function.last(&one.id).unwrap()["decision"], "terminated");
}

#[tokio::test]
async fn an_ec2_that_never_answers_costs_no_more_than_its_instance() {
    let Some(world) = World::new().await else {
        return;
    };
    let world = world.with_policy("permit_ttl = \"3s\"");
    let function = world.function().await;
    let ones = world.some(2, REPO, &[]).await;
    world.meet([Fate::Silence]);
    let one_failed = async |summary: &Value| (summary["failed"] == 1).then_some(());
    world.until(&function, "one fails", one_failed).await;
    let running = world.running().await;
    let left: Vec<_> = ones
        .iter()
        .filter(|one| running.contains(&one.id))
        .collect();
    assert_eq!(left.len(), 1, "the other is gone");
    world.until_gone(&function, &left).await;
}

#[tokio::test]
async fn two_invocations_at_the_same_time_terminate_each_instance_once() {
    let Some(world) = World::new().await else {
        return;
    };
    let ones = world.some(6, ORG, &[]).await;
    let both = [world.function().await, world.function().await];
    let end = Instant::now() + BOUND;
    while !world.running().await.is_empty() {
        let [a, b] = &both;
        world.pass(INTERVAL);
        let _summaries = tokio::join!(a.round(), b.round());
        assert!(Instant::now() < end, "{:#?}", a.log());
    }
    let mut terminated = world.ec2.terminations();
    terminated.sort();
    let mut all: Vec<_> = ones.iter().map(|one| one.id.clone()).collect();
    all.sort();
    assert_eq!(terminated, all, "each once");
    assert_eq!(world.killed(), [""; 0]);
}

#[tokio::test]
async fn a_function_that_is_killed_as_it_terminates_leaves_the_instance_to_a_later_decision() {
    let Some(world) = World::new().await else {
        return;
    };
    let one = world.one(REPO, &[]).await;
    world.meet([Fate::Silence]);
    let function = world.function().await;
    let end = Instant::now() + BOUND;
    let rounds = async {
        loop {
            world.round(&function).await;
        }
    };
    let asked = async {
        while world.ec2.terminations().is_empty() {
            assert!(Instant::now() < end, "{:#?}", function.log());
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = rounds => {}
        () = asked => {}
    }
    function.kill();
    // Whoever comes now does not know whether it was done: nobody terminates until that go is over for sure.
    let function = world.function().await;
    function.round().await;
    assert!(world.runs(&one).await);
    let told = function.last(&one.id).unwrap();
    assert_eq!(
        (&told["decision"], &told["codes"][0]),
        (&"stopped".into(), &"outstanding".into()),
        "{told}"
    );
    assert_eq!(world.ec2.terminations().len(), 1);
    world.until_gone(&function, &[&one]).await;
    assert_eq!(world.ec2.terminations().len(), 2);
}

#[tokio::test]
async fn an_invocation_without_time_begins_nothing_and_says_so() {
    let Some(world) = World::new().await else {
        return;
    };
    let (function, one) = (world.function().await, world.one(REPO, &[]).await);
    // 12 seconds are enough to look, and too few to begin.
    let end = Instant::now() + BOUND;
    loop {
        world.pass(INTERVAL);
        let summary = function.round_within(Duration::from_secs(12)).await;
        assert_eq!(summary["draining"], 0, "{summary}");
        if summary["postponed"] == 1 {
            break;
        }
        assert!(Instant::now() < end, "{:#?}", function.log());
    }
    assert!(world.github.is_registered(&one.scope, &one.name));
    // Two seconds are too few even to look: it ends before it is ended, and its last line is there.
    let short = function.invoke(Duration::from_millis(2_000)).await;
    assert!(matches!(short, Invocation::Failed(_)), "{short:?}");
    world.until_gone(&function, &[&one]).await;
    let log = function.end();
    let failed = log.iter().position(|line| line["message"] == "failed");
    assert_eq!(log[failed.unwrap() - 1]["message"], "summary");
}

#[tokio::test]
async fn an_owner_that_cannot_be_looked_at_stops_no_other() {
    let Some(world) = World::new().await else {
        return;
    };
    // The App is installed nowhere there.
    let foreign = world.one("org:initech", &[]).await;
    let unowned = world.launch(1, &[("ghr:Owner", "acme")]).await;
    let ones = [
        world.one(ORG, &[]).await,
        world.one("org:globex", &[]).await,
    ];
    let function = world.function().await;
    world.until_gone(&function, &[&ones[0], &ones[1]]).await;
    let summary = world.round(&function).await;
    assert_eq!(summary["owners_failed"], 1, "{summary}");
    assert_eq!(summary["unowned"], 1, "{summary}");
    assert!(world.runs(&foreign).await);
    assert_eq!(function.last(&unowned[0]).unwrap()["decision"], "unowned");
    let log = function.log();
    let owner = log.iter().find(|line| line["message"] == "owner").unwrap();
    assert_eq!(owner["owner"], "org:initech", "{owner}");
    let answered = function.invoke(MINUTE).await;
    assert!(matches!(answered, Invocation::Answered(_)), "{answered:?}");
}
