//! What the handler does about each event, minute by minute.

use crate::world::*;
use chrono::TimeDelta;
use scale_in_guard::{
    Finding, Look, Rule,
    clock::{Clock, SystemClock},
    testing::fake_github::{Fault, FaultOn},
};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_group_waits_as_long_as_a_job_runs_whatever_the_flag_says() {
    let world = World::live().await;
    let name = world.register(ONE);
    let job = world.github.start_job(&world.scope, &name, REPOSITORY);
    world.github.lie_busy(&world.scope, &name, Some(false));
    assert_eq!(world.minutes_until_it_goes(ONE, 60).await, None);
    let told = world.hooks.told(ONE);
    assert!(told.iter().all(|&what| what == "heartbeat"), "{told:?}");
    assert!(world.github.is_occupied(&world.scope, &name));

    world.github.finish_job(job);
    let minutes = world.minutes_until_it_goes(ONE, 20).await;
    assert!(minutes.is_some_and(|minutes| minutes >= 5), "{minutes:?}");
    let told = world.hooks.told(ONE);
    assert_eq!(told.last(), Some(&"complete"));
    assert_eq!(told.iter().filter(|&&what| what == "complete").count(), 1);
    assert!(!world.github.is_registered(&world.scope, &name));
    assert!(!world.github.kill(&world.scope, &name).was_occupied);
}

/// What docs/lambda.md says of a queue with this visibility timeout.
#[tokio::test]
async fn at_180_seconds_a_runner_of_which_nothing_is_known_goes_with_the_fourth_delivery() {
    let world = World::live().await;
    world.register(ONE);
    for delivery in 1..=3 {
        assert_eq!(world.deliver(&[ONE]).await, [0], "delivery {delivery}");
        world.clock.advance(TimeDelta::seconds(180));
    }
    assert!(world.deliver(&[ONE]).await.is_empty());
    assert_eq!(world.hooks.told(ONE).last(), Some(&"complete"));
}

#[tokio::test]
async fn a_job_that_begins_in_between_keeps_its_runner() {
    let world = World::live().await;
    let name = world.register(ONE);
    for _ in 0..4 {
        assert_eq!(world.deliver(&[ONE]).await, [0]);
        world.clock.advance(TimeDelta::minutes(1));
    }
    world.github.start_job(&world.scope, &name, REPOSITORY);
    assert_eq!(world.minutes_until_it_goes(ONE, 30).await, None);
    assert!(world.github.is_registered(&world.scope, &name));
}

#[tokio::test]
async fn all_runners_of_an_instance_must_be_clear() {
    let world = World::live().await;
    let first = world.register(ONE);
    let second = format!("second-{ONE}");
    world.github.register(&world.scope, &second);
    let job = world.github.start_job(&world.scope, &second, REPOSITORY);
    assert_eq!(world.minutes_until_it_goes(ONE, 30).await, None);
    world.github.finish_job(job);
    assert!(world.minutes_until_it_goes(ONE, 20).await.is_some());
    for name in [&first, &second] {
        assert!(!world.github.is_registered(&world.scope, name));
        assert!(!world.github.kill(&world.scope, name).was_occupied);
    }
}

#[tokio::test]
async fn an_instance_without_a_runner_goes_through_the_stages() {
    let world = World::live().await;
    // Without a runner of ours in it the listing would not be believed.
    world.register(OTHER);
    assert_eq!(world.deliver(&[OTHER]).await, [0]);
    let minutes = world.minutes_until_it_goes(ONE, 60).await;
    assert!(minutes.is_some_and(|minutes| minutes >= 10), "{minutes:?}");
    assert_eq!(world.hooks.told(ONE).last(), Some(&"complete"));
}

#[tokio::test]
async fn one_that_is_held_or_broken_spoils_no_other() {
    let world = World::live().await;
    let name = world.register(ONE);
    world.github.start_job(&world.scope, &name, REPOSITORY);
    world.register(OTHER);
    let bodies = [
        terminating(ONE),
        json!("what is this?"),
        terminating(OTHER),
        json!({"Event": "autoscaling:TEST_NOTIFICATION"}),
    ];
    let mut last = Vec::new();
    for _ in 0..20 {
        last = again(&world.invoke(batch(&bodies)).await.unwrap());
        assert!(
            last.contains(&0) && last.contains(&1) && !last.contains(&3),
            "{last:?}"
        );
        if last == [0, 1] {
            break;
        }
        world.clock.advance(TimeDelta::minutes(1));
    }
    assert_eq!(last, [0, 1], "the other one has gone");
    assert!(!world.hooks.told(ONE).contains(&"complete"));
    assert_eq!(world.hooks.told(OTHER).last(), Some(&"complete"));
}

#[tokio::test]
async fn what_cannot_be_asked_holds() {
    let world = World::live().await;
    world.register(ONE);
    world.github.fail(FaultOn::any(), Fault::status(503), None);
    assert_eq!(world.minutes_until_it_goes(ONE, 30).await, None);
    let told = world.hooks.told(ONE);
    assert!(told.iter().all(|&what| what == "heartbeat"), "{told:?}");
}

#[tokio::test]
async fn it_answers_before_its_time_is_over_and_completes_nothing_then() {
    let world = World::live().await;
    world.register(ONE);
    world.github.fail(FaultOn::any(), Fault::Hang, None);
    let time = Duration::from_secs(4);
    let deadline = SystemClock.now() + time;
    let body = [terminating(ONE)];
    let answer = world.invoke_within(batch(&body), time).await.unwrap();
    assert!(SystemClock.now() < deadline);
    assert_eq!(again(&answer), [0]);
    assert_eq!(world.hooks.told(ONE), ["heartbeat"]);
    // Without any time nothing is told to the group either.
    let answer = world.invoke_within(batch(&body), Duration::ZERO).await;
    assert_eq!(again(&answer.unwrap()), [0]);
    assert!(!world.hooks.told(ONE).contains(&"complete"));
}

#[tokio::test]
async fn an_action_that_is_over_is_no_failure() {
    let world = World::live().await;
    let name = world.register(ONE);
    world.github.start_job(&world.scope, &name, REPOSITORY);
    world.hooks.manner(ONE, Manner::HasGoneOn);
    assert!(world.deliver(&[ONE]).await.is_empty());
    assert_eq!(world.hooks.told(ONE), ["heartbeat"]);
}

#[tokio::test]
async fn what_the_group_does_not_hear_is_said_again() {
    let world = World::live().await;
    world.register(ONE);
    world.hooks.manner(ONE, Manner::Fails);
    assert_eq!(world.deliver(&[ONE]).await, [0], "a heartbeat that failed");
    world.hooks.manner(ONE, Manner::Listens);
    world.hooks.fail_to_complete(true);
    assert_eq!(world.minutes_until_it_goes(ONE, 20).await, None);
    let told = world.hooks.told(ONE);
    assert!(told.contains(&"complete"), "{told:?}");
    assert_eq!(
        told.last(),
        Some(&"heartbeat"),
        "what failed may be tried again"
    );
    world.hooks.fail_to_complete(false);
    // By a new decision: its runner has departed meanwhile.
    assert!(world.minutes_until_it_goes(ONE, 60).await.is_some());
    assert_eq!(world.hooks.told(ONE).last(), Some(&"complete"));
}

#[tokio::test]
async fn a_panic_fails_its_message_and_no_other() {
    let world = World::live().await;
    world.register(ONE);
    world.register(OTHER);
    world.hooks.manner(ONE, Manner::Panics);
    for _ in 0..20 {
        let again = world.deliver(&[ONE, OTHER]).await;
        assert!(again.contains(&0));
        if again == [0] {
            return;
        }
        world.clock.advance(TimeDelta::minutes(1));
    }
    panic!("the other one never goes");
}

#[tokio::test]
async fn an_event_without_a_queue_is_gone_on_with_once_and_says_what_was_done() {
    let world = World::live().await;
    let name = world.register(ONE);
    world.github.start_job(&world.scope, &name, REPOSITORY);
    let answer = world.invoke(terminating(ONE)).await.unwrap();
    assert_eq!(answer["instance"], ONE);
    assert_eq!(answer["action"], "heartbeat");
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("busy"), "{reason}");
    world.hooks.manner(ONE, Manner::Fails);
    let failed = world.invoke(terminating(ONE)).await.unwrap_err();
    assert!(failed.contains("Throttling"), "{failed}");
    let unreadable = world.invoke(json!({"hello": "world"})).await.unwrap_err();
    assert!(
        unreadable.contains("no event of a lifecycle hook"),
        "{unreadable}"
    );
}

#[tokio::test]
async fn a_launch_is_not_ours() {
    let world = World::live().await;
    let mut launch = terminating(ONE);
    launch["detail"]["LifecycleTransition"] = json!("autoscaling:EC2_INSTANCE_LAUNCHING");
    let answer = world.invoke(launch).await.unwrap();
    assert_eq!(
        (&answer["action"], &answer["instance"]),
        (&json!("ignored"), &Value::Null)
    );
    assert!(world.hooks.told(ONE).is_empty());
    assert_eq!(world.github.request_count(), 0);
}

#[tokio::test]
async fn shadow_mode_says_what_it_would_have_done_and_holds_up_nothing() {
    let world = World::of(|guard| guard.shadow()).await;
    let name = world.register(ONE);
    let job = world.github.start_job(&world.scope, &name, REPOSITORY);
    let said = |answer: &Value| answer["reason"].as_str().unwrap().to_owned();
    let answer = world.invoke(terminating(ONE)).await.unwrap();
    assert_eq!(answer["action"], "complete");
    assert!(said(&answer).contains("would have been held"), "{answer}");
    assert_eq!(world.hooks.told(ONE), ["complete"]);
    world.github.finish_job(job);
    let mut last = String::new();
    for _ in 0..10 {
        last = said(&world.invoke(terminating(ONE)).await.unwrap());
        world.clock.advance(TimeDelta::minutes(1));
    }
    assert!(last.contains("would have been let go"), "{last}");
    assert!(
        world.github.is_registered(&world.scope, &name),
        "nothing else changed"
    );
    // What cannot be asked is not held up either.
    world.github.fail(FaultOn::any(), Fault::status(503), None);
    let answer = world.invoke(terminating(ONE)).await.unwrap();
    assert_eq!(answer["action"], "complete");
    assert!(said(&answer).contains("would have been held"), "{answer}");
}

/// A rule of a user's own, with a fault in it.
#[derive(Debug)]
struct Panics;

impl Rule for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn judge(&self, _: &Look<'_>) -> Finding {
        panic!("as the test wants it")
    }
}

#[tokio::test]
async fn a_fault_in_a_rule_holds_and_holds_up_nothing_in_shadow_mode() {
    let world = World::of(|guard| guard.rule(Panics)).await;
    world.register(ONE);
    assert_eq!(world.minutes_until_it_goes(ONE, 10).await, None);
    assert!(!world.hooks.told(ONE).contains(&"complete"));
    let world = World::of(|guard| guard.rule(Panics).shadow()).await;
    world.register(ONE);
    let answer = world.invoke(terminating(ONE)).await.unwrap();
    assert_eq!(answer["action"], "complete");
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("would have been held"), "{reason}");
}
