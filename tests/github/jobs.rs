//! Which jobs run where, and when the view of them is complete.

use crate::world::*;
use scale_in_guard::testing::fake_github::{Fault, Request};
use std::time::Duration;

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
    // A thousand requests want their time where others want the processor.
    let patient = Policy {
        ask_deadline: minutes(5),
        ..Policy::default()
    };
    let guard = world.builder().policy(patient).build().unwrap();
    let decision = guard.can_terminate(&world.runner("r-1")).await;
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

/// Waits until GitHub has been asked for a list of runs, so many times.
async fn runs_asked(world: &World, status: &str, times: usize) {
    let asked = || {
        let requests = world.github.requests();
        let of_status = |request: &&Request| request.parameter("status") == Some(status);
        requests.iter().filter(of_status).count()
    };
    while asked() < times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_run_that_moves_back_between_two_reads_is_seen() {
    for status in ["waiting", "pending", "queued"] {
        let world = World::of(REPO).await;
        world.github.register(&world.scope, "r-1");
        let guard = world.guard();
        let runner = world.runner("r-1");
        let _ = guard.can_terminate(&runner).await;
        world.clock.advance(TimeDelta::seconds(30));
        let job = world.github.start_job(&world.scope, "r-1", "acme/atlas");
        world.github.lie_busy(&world.scope, "r-1", Some(false));
        world.clock.advance(minutes(5));
        world.github.latency(Duration::from_millis(50));
        world.github.clear_requests();
        let look = guard.can_terminate(&runner);
        let moves = async {
            // The list of that status has been answered, without it.
            runs_asked(&world, status, 1).await;
            world.github.show_run_as(job, Some(status));
        };
        let (decision, ()) = tokio::join!(look, moves);
        held_for(&decision, HoldCode::JobInProgress);
    }
}

#[tokio::test]
async fn a_run_that_moves_from_page_to_page_is_seen() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let guard = world.guard();
    let runner = world.runner("r-1");
    let _ = guard.can_terminate(&runner).await;
    world.clock.advance(minutes(5));
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    // A hundred runs are newer than ours: it opens the second page. Two old ones wait.
    let start = |name: &str| world.github.start_job(&world.scope, name, "acme/atlas");
    let waiting = [start("waiting-0"), start("waiting-1")];
    for run in waiting {
        world.github.show_run_as(run, Some("completed"));
    }
    start("r-1");
    let newer: Vec<_> = (0..100)
        .map(|number| start(&format!("other-{number}")))
        .collect();
    held_for(&guard.can_terminate(&runner).await, HoldCode::JobInProgress);
    world.clock.advance(minutes(1));
    world.github.clear_requests();
    world.github.latency(Duration::from_millis(50));
    let look = guard.can_terminate(&runner);
    let drifts = async {
        // While a first page is on its way, one that stands on it ends, and an old one goes on: the total
        // stays, and ours moves to the first page. So twice, with a new one in between.
        for (time, old, newer) in [(1, waiting[0], newer[0]), (3, waiting[1], newer[1])] {
            runs_asked(&world, "in_progress", time).await;
            world.github.show_run_as(old, None);
            world.github.finish_job(newer);
            if time == 1 {
                runs_asked(&world, "in_progress", 2).await;
                start("new");
            }
        }
    };
    let (decision, ()) = tokio::join!(look, drifts);
    held_for(&decision, HoldCode::JobInProgress);
}

#[tokio::test]
async fn a_page_without_its_list_and_a_run_without_its_jobs_say_nothing() {
    let answer = |body: &str| Fault::Status {
        code: 200,
        body: body.to_owned(),
        headers: vec![],
    };
    for (path, body, code) in [
        (
            "/actions/runs?",
            r#"{"total_count": 0}"#,
            HoldCode::JobsUnreadable,
        ),
        (
            "/actions/runs?",
            r#"{"total_count": 0, "workflow_runs": null, "message": "Server Error"}"#,
            HoldCode::JobsUnreadable,
        ),
        (
            "/jobs",
            r#"{"total_count": 0, "jobs": []}"#,
            HoldCode::Uncorroborated,
        ),
        (
            "/actions/runners/",
            r#"{"message": "Server Error"}"#,
            HoldCode::RegistrationUnreadable,
        ),
    ] {
        let world = World::of(REPO).await;
        let id = world.github.register(&world.scope, "r-1");
        let guard = world.guard();
        let runner = world.runner("r-1").with_id(id.0);
        let _ = guard.can_terminate(&runner).await;
        world.clock.advance(minutes(5));
        world.github.start_job(&world.scope, "r-1", "acme/atlas");
        world.github.lie_busy(&world.scope, "r-1", Some(false));
        world.github.fail(path, answer(body), None);
        let decision = guard.can_terminate(&runner).await;
        held_for(&decision, code);
    }
}

#[tokio::test]
async fn a_job_that_names_the_runner_by_number_alone_is_seen_at_the_first_look() {
    let world = World::of(REPO).await;
    let id = world.github.register(&world.scope, "r-1");
    let job = world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    let shown = serde_json::json!({"runner_id": id.0, "runner_name": "renamed"});
    world.github.show_job_fields(job, shown);
    world.clock.advance(minutes(10));
    let decision = world.guard().can_terminate(&world.runner("r-1")).await;
    held_for(&decision, HoldCode::JobInProgress);
}

#[tokio::test]
async fn a_job_of_an_earlier_attempt_that_still_runs_is_seen() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let first = world.github.start_job(&world.scope, "r-1", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-1", Some(false));
    world.github.rerun_job(first);
    world.clock.advance(minutes(10));
    let decision = world.guard().can_terminate(&world.runner("r-1")).await;
    held_for(&decision, HoldCode::JobInProgress);
}

#[tokio::test]
async fn many_troubles_are_told_in_a_few_words() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    for number in 0..9 {
        world
            .github
            .start_job(&world.scope, &format!("other-{number}"), "acme/atlas");
    }
    world.github.fail("/jobs", Fault::status(502), None);
    let decision = world.guard().can_terminate(&world.runner("r-1")).await;
    let evidence = serde_json::to_string(&decision.assessment().evidence).unwrap();
    assert_eq!(evidence.matches("GET /repos").count(), 5, "{evidence}");
    assert!(evidence.contains("; and 4 more"), "{evidence}");
}
