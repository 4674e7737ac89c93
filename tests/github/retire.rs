//! The whole way out against a GitHub over HTTP: what its DELETE answers, and what that is worth.

use crate::world::{GitHub, HoldCode, Policy, TimeDelta, World, minutes};
use scale_in_guard::{
    Basis, Go, Guard, Verdict,
    fence::Deregistration,
    github::Limits,
    guard::{Retirement, Setback},
    testing::fake_github::{Fault, FaultOn, Killed},
};

fn guard(world: &World) -> Guard {
    let builder = world.builder().deregister(world.client());
    builder.build().unwrap()
}

async fn never(_: Go) -> Result<(), String> {
    panic!("terminate was called")
}

async fn pass_the_window(world: &World, guard: &Guard) {
    let runner = world.runner("r-1");
    let _ = guard.can_terminate(&runner).await;
    world.clock.advance(minutes(5));
}

/// Drains, and looks again once it has settled.
async fn retire(world: &World, guard: &Guard) -> Retirement<String> {
    let runner = world.runner("r-1");
    let drained = guard.retire(&runner, never).await;
    if !matches!(drained, Retirement::Draining { .. }) {
        return drained;
    }
    world.clock.advance(TimeDelta::seconds(90));
    let terminate = async |go: Go| match world.github.kill(&world.scope, go.runner().name.as_str())
    {
        Killed { was_occupied: true } => Err("it killed a job".to_owned()),
        Killed {
            was_occupied: false,
        } => Ok(()),
    };
    guard.retire(&runner, terminate).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacant_runner_is_deregistered_and_goes_in_every_scope() {
    for scope in ["repo:acme/atlas", "org:acme", "enterprise:acme-inc"] {
        let world = World::of(scope).await;
        world.github.add_repository("acme/atlas");
        world.github.register(&world.scope, "r-1");
        let guard = guard(&world);
        pass_the_window(&world, &guard).await;
        let done = retire(&world, &guard).await;
        assert!(
            matches!(done, Retirement::Terminated(Basis::Vacant)),
            "{scope}: {done:?}"
        );
        let deletes = world.github.requests();
        let deletes = deletes.iter().filter(|request| request.method == "DELETE");
        assert_eq!(deletes.count(), 1, "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_with_a_job_is_refused_with_422_and_stays() {
    let world = World::of("repo:acme/atlas").await;
    world.github.register(&world.scope, "r-1");
    let guard = guard(&world);
    pass_the_window(&world, &guard).await;
    // The jobs view lags, and the flag lies: the DELETE alone tells the truth.
    world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    world.github.lag_jobs(TimeDelta::seconds(60));
    let refusal = Fault::status(422);
    let delete = FaultOn::path("/actions/runners/").method("DELETE");
    world.github.fail(delete, refusal, Some(1));
    let refused = retire(&world, &guard).await;
    assert!(
        matches!(
            refused,
            Retirement::Stopped {
                why: Setback::Occupied,
                ..
            }
        ),
        "{refused:?}"
    );
    assert!(world.github.is_occupied(&world.scope, "r-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_succeeds_in_mid_job_is_found_out_and_nothing_is_terminated() {
    let world = World::of("repo:acme/atlas").await;
    world.github.register(&world.scope, "r-1");
    let guard = guard(&world);
    pass_the_window(&world, &guard).await;
    world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    world.github.lag_jobs(TimeDelta::seconds(60));
    let found_out = retire(&world, &guard).await;
    assert!(
        matches!(&found_out, Retirement::DeregisteredWhileOccupied { by } if by.contains("job")),
        "{found_out:?}"
    );
    assert!(world.github.is_occupied(&world.scope, "r-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_from_a_token_that_may_not_remove_runners_is_no_success() {
    let world = World::of("repo:acme/atlas").await;
    world.github.register(&world.scope, "r-1");
    let guard = guard(&world);
    pass_the_window(&world, &guard).await;
    let delete = FaultOn::path("/actions/runners/").method("DELETE");
    world.github.fail(delete, Fault::status(404), None);
    let stopped = retire(&world, &guard).await;
    assert!(
        matches!(&stopped, Retirement::Stopped { why: Setback::Deregistering { what }, .. }
            if what.contains("DELETE /repos/acme/atlas/actions/runners/") && what.contains("404")),
        "{stopped:?}"
    );
    // With the right to do it, the next call goes on.
    world.github.clear_faults();
    let done = retire(&world, &guard).await;
    assert!(matches!(done, Retirement::Terminated(_)), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_502_on_the_delete_leaves_it_due_and_one_that_was_done_all_the_same_is_known() {
    let world = World::of("repo:acme/atlas").await;
    world.github.register(&world.scope, "r-1");
    let guard = guard(&world);
    pass_the_window(&world, &guard).await;
    let delete = FaultOn::path("/actions/runners/").method("DELETE");
    world.github.fail(delete, Fault::status(502), Some(1));
    let runner = world.runner("r-1");
    let lost = guard.retire(&runner, never).await;
    assert!(
        matches!(
            lost,
            Retirement::Stopped {
                why: Setback::Deregistering { .. },
                ..
            }
        ),
        "{lost:?}"
    );
    let held = guard.can_terminate(&runner).await;
    assert_eq!(crate::world::codes(&held), [HoldCode::PermitOutstanding]);
    // GitHub had removed it: it answers 404, and lists it no more.
    world.github.deregister(&world.scope, "r-1");
    let drained = guard.retire(&runner, never).await;
    assert!(
        matches!(
            drained,
            Retirement::Draining {
                deregistration: Deregistration::Done,
                ..
            }
        ),
        "{drained:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_is_spelled_in_another_case_is_one() {
    let world = World::of("repo:acme/atlas").await;
    world.github.register(&world.scope, "r-1");
    let store = std::sync::Arc::new(scale_in_guard::stores::MemoryStore::new());
    let guard = world.builder().store(store.clone()).build().unwrap();
    pass_the_window(&world, &guard).await;
    let lower = guard.can_terminate(&world.runner("r-1")).await;
    assert_eq!(lower.verdict(), Verdict::Terminate);
    let scale_in_guard::Decision::Terminate(permit) = lower else {
        panic!("the window is over")
    };
    let _go = guard.redeem(permit).await.unwrap();
    let upper = scale_in_guard::Runner::new("r-1", "repo:Acme/Atlas").unwrap();
    let held = guard.can_terminate(&upper).await;
    assert!(crate::world::codes(&held).contains(&HoldCode::PermitOutstanding));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_deregistered_explains_itself_to_the_next_listing() {
    let world = World::of("repo:acme/atlas").await;
    let names = ["r-1", "r-2", "r-3"];
    for name in names {
        world.github.register(&world.scope, name);
    }
    let guard = guard(&world);
    let sweep = async || crate::world::sweep(&guard, names.map(|name| world.runner(name))).await;
    sweep().await;
    world.clock.advance(minutes(5));
    let drained = guard.retire(&world.runner("r-1"), never).await;
    assert!(
        matches!(drained, Retirement::Draining { .. }),
        "{drained:?}"
    );
    for decision in sweep().await {
        let doubted = crate::world::codes(&decision).contains(&HoldCode::SnapshotUntrusted);
        assert!(!doubted, "{decision:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_whose_turn_comes_after_its_permits_end_is_not_sent() {
    let world = World::of("repo:acme/atlas").await;
    world.github.register(&world.scope, "r-1");
    let other = world.github.register(&world.scope, "other");
    let client = GitHub::builder(world.github.token().to_owned()).api_url(world.github.url());
    let limits = Limits {
        between_writes: std::time::Duration::from_secs(5),
        ..Limits::none()
    };
    let client = client.clock(world.clock.clone()).limits(limits);
    let client = client.build().unwrap();
    let policy = Policy {
        permit_ttl: TimeDelta::milliseconds(500),
        ..Policy::default()
    };
    let guard = world.builder().policy(policy).deregister(client.clone());
    let guard = guard.build().unwrap();
    pass_the_window(&world, &guard).await;
    client.remove_runner(&world.scope, other).await.unwrap();
    world.github.clear_requests();
    let stopped = retire(&world, &guard).await;
    assert!(
        matches!(
            &stopped,
            Retirement::Stopped {
                why: Setback::Deregistering { .. },
                ..
            }
        ),
        "{stopped:?}"
    );
    let requests = world.github.requests().into_iter();
    let deletes = requests.filter(|request| request.method == "DELETE");
    assert_eq!(deletes.count(), 0);
}
