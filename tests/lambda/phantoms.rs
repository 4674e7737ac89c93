//! Machines without a runner.

use crate::world::*;

/// Sweeps, and asks a minute later, every five minutes; gives back after how many rounds the machine was named.
async fn rounds_until_named(world: &World, number: usize, most: usize) -> Option<usize> {
    for round in 0..most {
        world.sweep().await;
        for _ in 0..5 {
            world.later(minutes(1));
            if world.ask(1).await == [number] {
                return Some(round);
            }
        }
    }
    None
}

#[tokio::test]
async fn a_machine_that_never_became_a_runner_is_named_after_its_deadline() {
    let mut world = World::of(0).await;
    world.github.register(&world.scope, &name(1));
    world.group = vec![1, 2];
    world.start_job(1);
    let rounds = rounds_until_named(&world, 2, 12).await;
    assert!(rounds.is_some_and(|rounds| rounds >= 2), "{rounds:?}");
    let asked = world.asked();
    assert!(
        !asked.iter().any(|line| line.starts_with("DELETE")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn one_that_registers_late_is_not_named() {
    let mut world = World::of(1).await;
    world.start_job(1);
    world.group = vec![1, 2];
    for _ in 0..3 {
        world.sweeps(1).await;
    }
    // Drained as a phantom by now, or about to be.
    world.sweep().await;
    world.github.register(&world.scope, &id(2));
    world.github.start_job(&world.scope, &id(2), REPOSITORY);
    world.github.lie_busy(&world.scope, &id(2), Some(false));
    assert_eq!(rounds_until_named(&world, 2, 6).await, None);
}

#[tokio::test]
async fn one_whose_runner_registers_late_by_another_name_has_a_job_that_holds_it() {
    let mut world = World::of(1).await;
    world.start_job(1);
    world.group = vec![1, 2];
    world.sweeps(4).await;
    world.github.register(&world.scope, &name(2));
    world.start_job(2);
    world.github.lie_busy(&world.scope, &name(2), Some(false));
    // Without a sweep in between, which would learn its name.
    for _ in 0..9 {
        assert_eq!(world.ask(1).await, [] as [usize; 0]);
        world.later(minutes(1));
    }
    assert_eq!(rounds_until_named(&world, 2, 6).await, None);
}

#[tokio::test]
async fn one_that_registers_late_by_another_name_and_is_idle_is_not_named_before_its_job_comes() {
    let mut world = World::of(1).await;
    world.start_job(1);
    world.group = vec![1, 2];
    world.sweeps(4).await;
    world.sweep().await;
    world.later(minutes(2));
    // Between two sweeps, and idle.
    world.github.register(&world.scope, &name(2));
    for _ in 0..8 {
        assert_eq!(world.ask(1).await, [] as [usize; 0]);
        world.later(TimeDelta::seconds(20));
    }
}

#[tokio::test]
async fn a_host_that_registers_anew_under_another_name_is_not_named() {
    let world = World::of(1).await;
    world.sweeps(2).await;
    world.sweep().await;
    assert_eq!(world.ask(1).await, [] as [usize; 0]);
    assert!(!world.is_registered(1));
    world
        .github
        .register(&world.scope, &format!("{}-again", name(1)));
    for _ in 0..8 {
        world.later(TimeDelta::seconds(45));
        assert_eq!(world.ask(1).await, [] as [usize; 0]);
    }
}

#[tokio::test]
async fn a_machine_whose_first_runner_departed_goes_with_its_second() {
    let mut world = World::of(2).await;
    world.start_job(2);
    world.sweeps(1).await;
    world.github.deregister(&world.scope, &name(1));
    world
        .github
        .register(&world.scope, &format!("{}-again", name(1)));
    world.group = vec![1, 2];
    assert!(rounds_until_named(&world, 1, 12).await.is_some());
}

#[tokio::test]
async fn a_rule_that_never_placed_a_runner_makes_no_phantoms() {
    let mut world = World::of(0).await;
    world.group = vec![1, 2];
    world.github.register(&world.scope, "ip-10-0-0-5");
    world
        .github
        .start_job(&world.scope, "ip-10-0-0-5", REPOSITORY);
    for _ in 0..8 {
        let machines = world.machines().await;
        let error = machines.expect_err("nobody is on them").to_string();
        assert!(error.contains("see the rule for names"), "{error}");
        assert_eq!(world.ask(2).await, [] as [usize; 0]);
        world.later(minutes(5));
    }
}
