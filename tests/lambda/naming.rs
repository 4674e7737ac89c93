//! Whom the termination policy names, and when.

use crate::world::*;

#[tokio::test]
async fn a_machine_is_drained_first_and_named_when_it_has_settled() {
    let world = World::of(3).await;
    world.sweeps(2).await;
    world.sweep().await;
    assert_eq!(world.ask(1).await, [] as [usize; 0]);
    assert!(!world.is_registered(1), "drained");
    assert!(
        world.is_registered(2) && world.is_registered(3),
        "one was asked for"
    );
    world.later(TimeDelta::seconds(89));
    assert_eq!(world.ask(1).await, [] as [usize; 0], "not settled");
    world.later(TimeDelta::seconds(1));
    assert_eq!(world.ask(1).await, [1]);
    assert_eq!(world.ask(1).await, [1], "AWS did not take it: named again");
    assert!(
        world.is_registered(2) && world.is_registered(3),
        "no other is drained in its stead"
    );
    assert_eq!(
        world.ask(2).await,
        [1],
        "and one more is drained where two are to go"
    );
    assert!(!world.is_registered(2));
}

#[tokio::test]
async fn it_lists_nobody_and_asks_in_proportion_to_what_is_to_go() {
    let world = World::of(150).await;
    let guard = world.guard();
    for _ in 0..3 {
        let machines = world.named_machines().await;
        guard.muster(&world.scope, machines).await.unwrap();
        world.later(minutes(4));
    }
    world.asked();
    assert_eq!(world.ask(2).await, [] as [usize; 0]);
    let first = world.asked();
    world.later(TimeDelta::seconds(90));
    assert_eq!(world.ask(2).await, [1, 2]);
    let second = world.asked();
    let lists = |asked: &[String]| asked.iter().filter(|line| line.ends_with("(all)")).count();
    for asked in [&first, &second] {
        assert_eq!(lists(asked), 0, "{asked:?}");
        let of_runners = asked
            .iter()
            .filter(|line| line.contains("/actions/runners"));
        assert!(of_runners.count() <= 4, "{asked:?}");
        // Six lists of runs of one repository, once.
        assert!(asked.len() <= 10, "{asked:?}");
    }
    let deletes = first.iter().filter(|line| line.starts_with("DELETE"));
    assert_eq!(deletes.count(), 2);
}

#[tokio::test]
async fn where_names_are_not_told_it_lists_once_before_it_names() {
    let world = World::of(150).await;
    world.sweeps(2).await;
    world.sweep().await;
    let lists = |asked: Vec<String>| asked.iter().filter(|line| line.ends_with("(all)")).count();
    world.asked();
    world.ask(2).await;
    assert_eq!(lists(world.asked()), 0);
    world.later(TimeDelta::seconds(90));
    assert_eq!(world.ask(2).await, [1, 2]);
    assert_eq!(lists(world.asked()), 2, "two pages, once");
}

#[tokio::test]
async fn a_runner_beside_the_one_that_the_rule_tells_keeps_its_machine() {
    let world = World::of(2).await;
    let guard = world.guard();
    let beside = format!("{}-2", name(1));
    world.github.register(&world.scope, &beside);
    for _ in 0..6 {
        let machines = world.named_machines().await;
        guard.muster(&world.scope, machines).await.unwrap();
        for _ in 0..3 {
            world.later(TimeDelta::seconds(95));
            assert!(!world.ask(2).await.contains(&1));
        }
        assert!(world.is_registered(1));
    }
}

#[tokio::test]
async fn a_stale_flag_names_nobody() {
    let world = World::of(2).await;
    let job = world.start_job(1);
    world.github.lie_busy(&world.scope, &name(1), Some(false));
    for _ in 0..6 {
        world.sweeps(1).await;
        assert!(!world.ask(2).await.contains(&1));
        assert!(world.is_registered(1), "it is not even drained");
    }
    world.github.finish_job(job);
    world.sweeps(3).await;
    world.sweep().await;
    world.ask(2).await;
    world.later(TimeDelta::seconds(90));
    assert!(world.ask(2).await.contains(&1), "once the job is over");
}

#[tokio::test]
async fn a_job_that_slipped_in_before_the_delete_keeps_its_machine() {
    let world = World::of(1).await;
    world.sweeps(2).await;
    world.sweep().await;
    assert_eq!(world.ask(1).await, [] as [usize; 0]);
    assert!(!world.is_registered(1));
    // It was dispatched before GitHub accepted the DELETE, by the flag that lied.
    let job = world.start_job(1);
    world.later(TimeDelta::seconds(90));
    for _ in 0..20 {
        assert_eq!(world.ask(1).await, [] as [usize; 0]);
        world.sweeps(1).await;
    }
    world.github.finish_job(job);
    let mut freed = false;
    for _ in 0..8 {
        world.sweeps(1).await;
        freed |= world.ask(1).await == [1];
        world.later(TimeDelta::seconds(100));
        freed |= world.ask(1).await == [1];
    }
    assert!(freed, "it departed");
}

#[tokio::test]
async fn only_the_zone_and_the_market_that_are_asked_for_are_touched() {
    let world = World::of(4).await;
    world.sweeps(2).await;
    world.sweep().await;
    let mut event = world.event(1);
    event["Instances"][0]["AvailabilityZone"] = json!("eu-central-1b");
    event["Instances"][1]["InstanceMarketOption"] = json!("spot");
    let mut policy = world.policy();
    invoke(&mut policy, event.clone()).await;
    assert!(world.is_registered(1) && world.is_registered(2) && world.is_registered(4));
    assert!(!world.is_registered(3));
    event["CapacityToTerminate"] = json!([
        {"AvailabilityZone": "eu-central-1a", "Capacity": 1, "InstanceMarketOption": "spot"},
        {"AvailabilityZone": "eu-central-1b", "Capacity": 2, "InstanceMarketOption": "on-demand"},
    ]);
    invoke(&mut policy, event.clone()).await;
    world.later(TimeDelta::seconds(90));
    let mut ready = numbers(&invoke(&mut policy, event).await);
    ready.sort_unstable();
    assert_eq!(ready, [1, 2]);
    assert!(world.is_registered(4));
}

#[tokio::test]
async fn every_cause_is_answered_alike() {
    for cause in [
        "SCALE_IN",
        "INSTANCE_REFRESH",
        "MAX_INSTANCE_LIFETIME",
        "REBALANCE",
        "ONE_OF_LATER",
    ] {
        let world = World::of(1).await;
        world.sweeps(2).await;
        world.sweep().await;
        let mut event = world.event(1);
        event["Cause"] = json!(cause);
        event["HasMoreInstances"] = json!(true);
        event["SomethingNew"] = json!({"of": ["later"]});
        let mut policy = world.policy();
        assert_eq!(
            invoke(&mut policy, event.clone()).await,
            json!({"InstanceIDs": []}),
            "{cause}"
        );
        world.later(TimeDelta::seconds(90));
        assert_eq!(
            invoke(&mut policy, event).await,
            json!({"InstanceIDs": [id(1)]}),
            "{cause}"
        );
    }
}

#[tokio::test]
async fn all_runners_of_a_machine_go_or_none() {
    let world = World::of(2).await;
    let second = format!("{}-2", name(1));
    world.github.register(&world.scope, &second);
    let job = world.github.start_job(&world.scope, &second, REPOSITORY);
    world.github.lie_busy(&world.scope, &second, Some(false));
    world.sweeps(3).await;
    world.sweep().await;
    assert_eq!(world.ask(2).await, [] as [usize; 0]);
    assert!(world.is_registered(1), "its neighbour has a job");
    assert!(!world.is_registered(2));
    world.github.finish_job(job);
    world.sweeps(2).await;
    world.sweep().await;
    world.ask(2).await;
    assert!(!world.is_registered(1) && !world.github.is_registered(&world.scope, &second));
    world.later(TimeDelta::seconds(90));
    assert!(world.ask(2).await.contains(&1));
}

#[tokio::test]
async fn a_drain_that_aws_never_took_lapses_and_the_machine_goes_as_one_that_departed() {
    let world = World::of(1).await;
    world.sweeps(2).await;
    world.sweep().await;
    world.ask(1).await;
    world.later(minutes(11));
    assert_eq!(world.ask(1).await, [] as [usize; 0], "lapsed");
    let mut freed = false;
    for _ in 0..10 {
        world.sweeps(1).await;
        freed |= world.ask(1).await == [1];
    }
    assert!(freed);
}

#[tokio::test]
async fn the_budget_of_the_policy_bounds_what_is_drained() {
    let world = World::of(20).await;
    let policy = json!({"max_permits_per_sweep": "10%"});
    let policy = serde_json::from_value(policy).unwrap();
    let guard = world.builder().policy(policy).deregister(world.client());
    let guard = guard.build().unwrap();
    for _ in 0..3 {
        world.sweep_with(&guard).await;
        world.later(minutes(5));
    }
    world.sweep_with(&guard).await;
    let mut handler = scale_in_guard::lambda::termination_policy(guard, world.scope.clone());
    invoke(&mut handler, world.event(10)).await;
    let left = (1..=20).filter(|&number| world.is_registered(number));
    assert_eq!(left.count(), 18);
}
