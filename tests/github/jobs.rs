//! Which jobs run where, and when the view of them is complete.

use crate::world::*;

const REPO: &str = "repo:acme/atlas";

#[tokio::test]
async fn a_stale_flag_never_kills_a_job_that_github_shows_elsewhere() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let guard = world.guard();
    let runner = world.runner("r-1");
    let job = world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    for _ in 0..60 {
        let decision = guard.can_terminate(&runner).await;
        held_for(&decision, HoldCode::JobInProgress);
        assert!(decision.assessment().claims.desync());
        let decision = sweep(&guard, [runner.clone()]).await.remove(0);
        held_for(&decision, HoldCode::JobInProgress);
        world.clock.advance(minutes(1));
    }
    world.github.finish_job(job);
    assert!(world.until_it_may_go(&guard, &runner, 5).await.is_some());
    assert!(!world.github.kill(&world.scope, "r-1").was_occupied);
}

#[tokio::test]
async fn a_lag_of_flag_and_view_is_covered_by_the_grace_window() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    world.github.lag_busy(minutes(1));
    world.github.lag_jobs(minutes(1));
    let guard = world.guard();
    let runner = world.runner("r-1");
    world.clock.advance(minutes(10));
    for _ in 0..12 {
        let job = world.github.start_job(&world.scope, "r-1", "acme/atlas");
        for _ in 0..4 {
            let decision = guard.can_terminate(&runner).await;
            assert_eq!(decision.verdict(), Verdict::Hold);
            world.clock.advance(minutes(1));
        }
        world.github.finish_job(job);
        let decision = guard.can_terminate(&runner).await;
        assert_eq!(decision.verdict(), Verdict::Hold);
        world.clock.advance(minutes(1));
    }
}

#[tokio::test]
async fn a_fresh_queued_job_that_fits_holds_and_one_that_does_not_fit_does_not() {
    for (labels, holds) in [
        (["self-hosted", "linux"], true),
        (["self-hosted", "gpu"], false),
    ] {
        let world = World::of(REPO).await;
        world.github.register(&world.scope, "r-1");
        let guard = world.guard();
        let runner = world.runner("r-1");
        let _ = guard.can_terminate(&runner).await;
        world.clock.advance(minutes(5));
        world.github.queue_job("acme/atlas", &labels);
        let decision = guard.can_terminate(&runner).await;
        assert_eq!(
            codes(&decision).contains(&HoldCode::JobPending),
            holds,
            "{labels:?}"
        );
    }
}

#[tokio::test]
async fn an_organisations_view_is_complete_only_when_its_repositories_are_all() {
    let world = World::of("org:acme").await;
    world.github.register(&world.scope, "r-1");
    world.github.add_repository("acme/atlas");
    world.github.add_repository("acme/web");
    let runner = world.runner("r-1");
    let repos = || ["acme/atlas".parse().unwrap(), "acme/web".parse().unwrap()];

    let none = world
        .asking(Repositories::of_each_runner())
        .build()
        .unwrap();
    assert!(world.until_it_may_go(&none, &runner, 15).await.is_none());
    held_for(&none.can_terminate(&runner).await, HoldCode::Uncorroborated);

    let some = world.asking(Repositories::some(repos())).build().unwrap();
    assert!(world.until_it_may_go(&some, &runner, 15).await.is_none());
    held_for(&some.can_terminate(&runner).await, HoldCode::Uncorroborated);

    let all = world.asking(Repositories::all(repos())).build().unwrap();
    assert!(world.until_it_may_go(&all, &runner, 5).await.is_some());

    // What a partial view shows still holds.
    world.github.start_job(&world.scope, "r-1", "acme/web");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    for guard in [some, all] {
        held_for(&guard.can_terminate(&runner).await, HoldCode::JobInProgress);
    }
}

#[tokio::test]
async fn one_repository_that_cannot_be_read_makes_the_view_partial() {
    let world = World::of("org:acme").await;
    world.github.register(&world.scope, "r-1");
    world.github.add_repository("acme/atlas");
    let repos = ["acme/atlas".parse().unwrap(), "acme/gone".parse().unwrap()];
    let guard = world.asking(Repositories::all(repos)).build().unwrap();
    let runner = world.runner("r-1");
    assert!(world.until_it_may_go(&guard, &runner, 15).await.is_none());
    let decision = guard.can_terminate(&runner).await;
    held_for(&decision, HoldCode::Uncorroborated);
    let explained = decision.explain();
    assert!(
        explained.contains("/repos/acme/gone/actions/runs"),
        "{explained}"
    );
    assert!(explained.contains("404"), "{explained}");
    assert!(explained.contains("partial view"), "{explained}");
    // A job in the other one is seen.
    world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    held_for(&guard.can_terminate(&runner).await, HoldCode::JobInProgress);
}

#[tokio::test]
async fn a_run_of_any_open_status_is_read_and_every_page_of_its_jobs() {
    for status in ["requested", "waiting", "pending", "queued", "in_progress"] {
        let world = World::of(REPO).await;
        world.github.register(&world.scope, "r-1");
        world.github.register(&world.scope, "r-2");
        let first = world.github.start_job(&world.scope, "r-2", "acme/atlas");
        for _ in 0..120 {
            world.github.add_job_to_run(first, &["self-hosted", "gpu"]);
        }
        let last = world.github.add_job_to_run(first, &["self-hosted"]);
        world.github.assign(last, &world.scope, "r-1");
        world.github.show_run_as(first, Some(status));
        world.github.lie_busy(&world.scope, "r-1", Some(false));
        let decision = world.guard().can_terminate(&world.runner("r-1")).await;
        held_for(&decision, HoldCode::JobInProgress);
    }
}

#[tokio::test]
async fn a_thousand_runs_are_too_many_for_a_complete_view() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    for _ in 0..1_000 {
        let job = world
            .github
            .queue_job("acme/atlas", &["self-hosted", "gpu"]);
        world.github.show_run_as(job, Some("pending"));
    }
    let decision = world.guard().can_terminate(&world.runner("r-1")).await;
    held_for(&decision, HoldCode::Uncorroborated);
    assert!(
        decision
            .explain()
            .contains("not every pending run is shown"),
        "{}",
        decision.explain()
    );
}

#[tokio::test]
async fn strange_fields_values_and_nulls_fail_no_page() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    world.github.register(&world.scope, "r-2");
    world.github.extra_fields(true);
    let guard = world.guard();
    world.github.start_job(&world.scope, "r-2", "acme/atlas");
    for name in ["r-1", "r-2"] {
        let runner = world.runner(name);
        for decision in [
            guard.can_terminate(&runner).await,
            sweep(&guard, [runner.clone()]).await.remove(0),
        ] {
            assert!(!codes(&decision).contains(&HoldCode::RegistrationUnreadable));
            assert!(!codes(&decision).contains(&HoldCode::JobsUnreadable));
        }
    }
    // A job of a status that nobody knows is taken for running.
    let decision = guard.can_terminate(&world.runner("r-2")).await;
    held_for(&decision, HoldCode::JobInProgress);
}
