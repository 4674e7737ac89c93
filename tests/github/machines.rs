//! Runners and the machines that they are on.

use crate::world::*;
use scale_in_guard::{
    guard::Machine,
    instance::{Instance, NameRule},
};

const ORG: &str = "org:acme";
const ONE: &str = "i-06cbe04821ccba677";
const OTHER: &str = "i-0aaaaaaaaaaaaaaaa";

fn instances(ids: &[&str]) -> Vec<Instance> {
    let instance = |id: &&str| Instance {
        id: id.parse().unwrap(),
        launched_at: None,
    };
    ids.iter().map(instance).collect()
}

async fn machines(world: &World, guard: &Guard, rule: &str, ids: &[&str]) -> Vec<Machine> {
    let rule: NameRule = rule.parse().unwrap();
    let github = world.client();
    guard
        .machines(&github, &world.scope, &rule, instances(ids))
        .await
        .unwrap()
}

fn names(machine: &Machine) -> Vec<&str> {
    machine
        .runners
        .iter()
        .map(|runner| runner.name.as_str())
        .collect()
}

#[tokio::test]
async fn every_runner_listed_on_a_machine_is_on_it_and_is_remembered_when_it_is_gone() {
    let world = World::of(ORG).await;
    let guard = world.guard();
    let first = format!("linux-{ONE}");
    let second = format!("linux2-{ONE}");
    let id = world.github.register(&world.scope, &first);
    world.github.register(&world.scope, &second);
    world.github.register(&world.scope, "elsewhere");
    world
        .github
        .register(&world.scope, &format!("{OTHER}-debug"));
    let ids = [ONE, OTHER, ONE];
    let found = machines(&world, &guard, "ends-with", &ids).await;
    assert_eq!(found.len(), 2, "each once");
    assert_eq!(names(&found[0]), [first.as_str(), second.as_str()]);
    assert_eq!(found[0].runners[0].id, Some(id));
    let instance = found[0].runners[0].instance.as_ref();
    assert_eq!(instance.unwrap().as_str(), ONE);
    assert_eq!(names(&found[1]), [OTHER], "none fits: it stands for itself");

    world.github.deregister(&world.scope, &first);
    let later = machines(&world, &guard, "ends-with", &ids).await;
    assert_eq!(names(&later[0]), [second.as_str(), first.as_str()]);
    assert_eq!(later[0].runners[1].id, None);
}

#[tokio::test]
async fn where_the_rule_tells_the_name_nobody_is_asked() {
    let world = World::of(ORG).await;
    let guard = world.guard();
    world.github.register(&world.scope, &format!("ghr-{ONE}"));
    for (rule, name) in [
        ("equals", ONE.to_owned()),
        ("template:ghr-{instance}", format!("ghr-{ONE}")),
    ] {
        let found = machines(&world, &guard, rule, &[ONE]).await;
        assert_eq!(names(&found[0]), [name.as_str()], "{rule}");
    }
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn a_job_on_a_runner_that_nobody_listed_holds_its_machine() {
    let world = World::of(ORG).await;
    world.github.add_repository("acme/atlas");
    let hidden = format!("ghr-{ONE}");
    let another = format!("ghr-{OTHER}");
    world.github.register(&world.scope, &another);
    world.github.register(&world.scope, &hidden);
    world.github.omit_from_listing(&world.scope, &hidden, true);
    world.github.start_job(&world.scope, &hidden, "acme/atlas");
    let guard = world.guard();
    let found = machines(&world, &guard, "contains", &[ONE, OTHER]).await;
    assert_eq!(names(&found[0]), [ONE], "it is listed nowhere");
    let runners = found.iter().flat_map(|machine| machine.runners.clone());
    let runners: Vec<_> = runners.collect();
    for minute in 0..40 {
        let decisions = sweep(&guard, runners.clone()).await;
        let decision = decisions
            .iter()
            .find(|decision| decision.assessment().runner.name.as_str() == ONE);
        let decision = decision.unwrap();
        assert_eq!(decision.verdict(), Verdict::Hold, "minute {minute}");
        world.clock.advance(minutes(1));
    }
    assert!(world.github.is_occupied(&world.scope, &hidden));
}

#[tokio::test]
async fn a_runner_that_registers_under_an_unforeseen_name_holds_its_machine() {
    let world = World::of(ORG).await;
    world.github.add_repository("acme/atlas");
    world.github.register(&world.scope, "another");
    let guard = world.guard();
    let runners = vec![
        world.runner(ONE).on_instance(ONE.parse().unwrap()),
        world.runner("another"),
    ];
    for _ in 0..30 {
        let _ = sweep(&guard, runners.clone()).await;
        world.clock.advance(minutes(1));
    }
    world
        .github
        .register(&world.scope, &format!("late-{ONE}-1"));
    for decision in [
        guard.can_terminate(&runners[0]).await,
        sweep(&guard, runners.clone()).await.remove(0),
    ] {
        let codes: Vec<_> = decision.reasons().map(|reason| reason.code()).collect();
        assert!(
            codes.contains(&HoldCode::RegistrationUnreadable),
            "{decision:?}"
        );
        let text = decision.explain().to_string();
        assert!(text.contains(&format!("late-{ONE}-1")), "{text}");
    }
}
