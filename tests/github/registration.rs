//! Who is registered, asked how.

use crate::world::*;
use scale_in_guard::testing::fake_github::NewRunner;

const REPO: &str = "repo:acme/atlas";
const RUNNERS: &str = "/repos/acme/atlas/actions/runners";

#[tokio::test]
async fn a_runner_is_asked_for_by_its_number_and_without_one_by_its_name_first() {
    let world = World::of(REPO).await;
    let id = world.github.register(&world.scope, "r-1");
    let guard = world.guard();
    let by_id = format!("{RUNNERS}/{id}");
    let runner_calls = |asked: Vec<String>| -> Vec<String> {
        asked
            .into_iter()
            .filter(|path| path.contains("/runners"))
            .collect()
    };
    let _ = guard
        .can_terminate(&world.runner("r-1").with_id(id.0))
        .await;
    assert_eq!(runner_calls(world.asked()), std::slice::from_ref(&by_id));

    let fresh = world.guard();
    let _ = fresh.can_terminate(&world.runner("r-1")).await;
    assert_eq!(
        runner_calls(world.asked()),
        [RUNNERS.to_owned(), by_id.clone()]
    );
    // Now its number is remembered.
    let _ = fresh.can_terminate(&world.runner("r-1")).await;
    assert_eq!(runner_calls(world.asked()), [by_id]);
}

#[tokio::test]
async fn every_scope_has_its_own_paths_and_an_enterprise_server_its_own_base() {
    for (scope, path) in [
        (
            "repo:acme/atlas",
            "/api/v3/repos/acme/atlas/actions/runners",
        ),
        ("org:acme", "/api/v3/orgs/acme/actions/runners"),
        (
            "enterprise:acme-inc",
            "/api/v3/enterprises/acme-inc/actions/runners",
        ),
    ] {
        let world = World::of(scope).await;
        world.github.add_repository("acme/atlas");
        world.github.register(&world.scope, "r-1");
        let client = GitHub::builder(world.github.token().to_owned());
        let client = client.api_url(format!("{}/api/v3/", world.github.url()));
        let repositories = Repositories::all(["acme/atlas".parse().unwrap()]);
        let guard = Guard::builder().clock(world.clock.clone());
        let guard = guard
            .github(client.build().unwrap(), repositories)
            .build()
            .unwrap();
        let runner = world.runner("r-1");
        assert!(
            world.until_it_may_go(&guard, &runner, 5).await.is_some(),
            "{scope}"
        );
        assert!(world.asked().contains(&path.to_owned()), "{scope}");
    }
}

#[tokio::test]
async fn no_name_reaches_a_url_unescaped() {
    let world = World::of("repo:acme/..%2fatlas?x#y").await;
    let name = "a/../b?c=d&e#f%2e g";
    world.github.register(&world.scope, name);
    let _ = world.guard().can_terminate(&world.runner(name)).await;
    let requests = world.github.requests();
    assert!(requests.len() > 1);
    for request in requests {
        assert!(
            request
                .path
                .starts_with("/repos/acme/..%252fatlas%3Fx%23y/actions/"),
            "{}",
            request.path
        );
        assert!(request.parameter("name").is_none_or(|asked| asked == name));
    }
}

#[tokio::test]
async fn a_number_that_belongs_to_another_runner_does_not_speak_for_this_one() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "busy-one");
    let idle = world.github.register(&world.scope, "idle-one");
    world
        .github
        .start_job(&world.scope, "busy-one", "acme/atlas");
    let guard = world.guard();
    let confused = world.runner("busy-one").with_id(idle.0);
    for decision in [
        guard.can_terminate(&confused).await,
        sweep(&guard, [confused.clone()]).await.remove(0),
    ] {
        let sentence = held_for(&decision, HoldCode::RegistrationUnreadable);
        assert!(
            sentence.contains("idle-one") && sentence.contains("busy-one"),
            "{sentence}"
        );
    }
}

#[tokio::test]
async fn a_name_that_is_spelled_otherwise_is_no_phantom() {
    for spelled in ["R-1", "r\u{2011}1"] {
        let world = World::of(REPO).await;
        world.github.register(&world.scope, "r-1");
        world.github.register(&world.scope, "r-2");
        world.github.start_job(&world.scope, "r-1", "acme/atlas");
        let guard = world.guard();
        let runner = world.runner(spelled).launched_at(start() - minutes(60));
        for _ in 0..20 {
            let in_sweep = sweep(&guard, [runner.clone(), world.runner("r-2")]).await;
            for decision in in_sweep {
                if decision.assessment().runner == runner {
                    let sentence = held_for(&decision, HoldCode::RegistrationUnreadable);
                    assert!(sentence.contains("\"r-1\""), "{sentence}");
                }
            }
            let decision = guard.can_terminate(&runner).await;
            held_for(&decision, HoldCode::RegistrationUnreadable);
            world.clock.advance(minutes(1));
        }
    }
}

#[tokio::test]
async fn a_lone_phantom_is_told_what_to_do() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let guard = world.guard();
    let phantom = world.runner("phantom").launched_at(start());
    world.clock.advance(minutes(20));
    let decision = guard.can_terminate(&phantom).await;
    let sentence = held_for(&decision, HoldCode::SnapshotUntrusted);
    assert!(
        sentence.contains("ask once about one that is registered"),
        "{sentence}"
    );
    let _ = guard.can_terminate(&world.runner("r-1")).await;
    for _ in 0..3 {
        let _ = guard.can_terminate(&phantom).await;
        world.clock.advance(minutes(5));
    }
    let decision = guard.can_terminate(&phantom).await;
    assert!(
        !codes(&decision).contains(&HoldCode::SnapshotUntrusted),
        "{}",
        decision.explain()
    );
}

#[tokio::test]
async fn a_runner_registered_anew_under_its_name_is_another_one() {
    let world = World::of(REPO).await;
    let old = world.github.register(&world.scope, "r-1");
    let guard = world.guard();
    let runner = world.runner("r-1").with_id(old.0);
    assert!(world.until_it_may_go(&guard, &runner, 5).await.is_some());
    world.github.deregister(&world.scope, "r-1");
    world.github.register(&world.scope, "r-1");
    let decision = guard.can_terminate(&runner).await;
    held_for(&decision, HoldCode::GraceWindow);
}

#[tokio::test]
async fn a_phantom_is_freed_and_a_runner_that_is_late_is_not() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let guard = world.guard();
    let launched = world.runner("phantom").launched_at(start());
    let fleet = || [world.runner("r-1"), launched.clone()];
    let of_phantom = |decisions: Vec<Decision>| {
        let mut decisions = decisions.into_iter();
        decisions
            .find(|decision| decision.assessment().runner.name.as_str() == "phantom")
            .unwrap()
    };
    for minute in 0..=12 {
        let decision = of_phantom(sweep(&guard, fleet()).await);
        match minute {
            0..10 => {
                held_for(&decision, HoldCode::Launching);
            }
            10..12 => {
                held_for(&decision, HoldCode::AbsenceUnconfirmed);
            }
            _ => {
                let Decision::Terminate(permit) = decision else {
                    panic!("{}", decision.explain());
                };
                assert_eq!(permit.basis(), scale_in_guard::Basis::NeverRegistered);
            }
        }
        world.clock.advance(minutes(1));
    }
    // By itself it may go as well; and when it registers after all, it stays.
    let decision = guard.can_terminate(&launched).await;
    assert_eq!(decision.verdict(), Verdict::Terminate);
    world.github.register(&world.scope, "phantom");
    let decision = guard.can_terminate(&launched).await;
    assert_eq!(decision.verdict(), Verdict::Hold);
}

fn start() -> scale_in_guard::time::Instant {
    "2026-05-14T02:00:00Z".parse().unwrap()
}

#[tokio::test]
async fn a_finished_ephemeral_runner_departs_and_may_go() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "stays");
    let job = {
        let ephemeral = NewRunner {
            ephemeral: true,
            ..NewRunner::named("once")
        };
        world.github.register_with(&world.scope, ephemeral);
        world.github.start_job(&world.scope, "once", "acme/atlas")
    };
    let guard = world.guard();
    let fleet = || [world.runner("stays"), world.runner("once")];
    let _ = sweep(&guard, fleet()).await;
    world.clock.advance(minutes(1));
    world.github.finish_job(job);
    let mut freed = false;
    for _ in 0..8 {
        for decision in sweep(&guard, fleet()).await {
            if decision.assessment().runner.name.as_str() == "once" {
                assert!(
                    !codes(&decision).contains(&HoldCode::SnapshotUntrusted),
                    "it had a job"
                );
                freed |= decision.verdict() == Verdict::Terminate;
            }
        }
        world.clock.advance(minutes(1));
    }
    assert!(freed);
}

/// So many runners, named in the order in which they are listed.
fn fill(world: &World, count: usize) -> Vec<Runner> {
    let names = (0..count).map(|number| format!("r-{number:03}"));
    names
        .map(|name| {
            let id = world.github.register(&world.scope, &name);
            world.runner(&name).with_id(id.0)
        })
        .collect()
}

/// Shows none of them, neither in the listing nor by number.
fn hide(world: &World, fleet: &[Runner]) {
    for runner in fleet {
        let name = runner.name.as_str();
        world.github.omit_from_listing(&world.scope, name, true);
        world.github.hide_by_id(&world.scope, name, true);
    }
}

#[tokio::test]
async fn a_row_lost_between_two_pages_is_not_an_absence() {
    let world = World::of(REPO).await;
    let fleet = fill(&world, 250);
    let guard = world.guard();
    let _ = sweep(&guard, fleet.clone()).await;
    world.github.drift_between_pages(true);
    for _ in 0..3 {
        world.clock.advance(minutes(5));
        let (absent, listed): (Vec<_>, Vec<_>) = sweep(&guard, fleet.clone())
            .await
            .into_iter()
            .partition(|decision| codes(decision).contains(&HoldCode::AbsenceUnconfirmed));
        assert_eq!(absent.len(), 1, "the row between the pages");
        // Whoever is listed is none the worse for it.
        for decision in listed {
            assert_eq!(
                decision.verdict(),
                Verdict::Terminate,
                "{}",
                decision.explain()
            );
        }
        for decision in absent {
            let sentence = held_for(&decision, HoldCode::AbsenceUnconfirmed);
            assert!(
                sentence.contains("no listing that can be trusted"),
                "{sentence}"
            );
        }
    }
}

#[tokio::test]
async fn a_listing_whose_total_does_not_match_its_rows_is_not_trusted_for_absence() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let guard = world.guard();
    let late = world.runner("late").launched_at(start() - minutes(60));
    let _ = sweep(&guard, [world.runner("r-1")]).await;
    world.github.claim_total(Some(3));
    for _ in 0..6 {
        let decision = guard.can_terminate(&late).await;
        let sentence = held_for(&decision, HoldCode::RegistrationUnreadable);
        assert!(sentence.contains("does not add up"), "{sentence}");
        let decision = sweep(&guard, [late.clone()]).await.remove(0);
        held_for(&decision, HoldCode::AbsenceUnconfirmed);
        held_for(&decision, HoldCode::SnapshotUntrusted);
        world.clock.advance(minutes(5));
    }
    // Nor is a list of runs for vacancy.
    assert!(
        world
            .until_it_may_go(&guard, &world.runner("r-1"), 15)
            .await
            .is_none()
    );
    held_for(
        &guard.can_terminate(&world.runner("r-1")).await,
        HoldCode::Uncorroborated,
    );
}

#[tokio::test]
async fn a_listing_that_is_suddenly_empty_holds_everyone_until_it_has_been_so_for_long() {
    let world = World::of(REPO).await;
    let fleet = fill(&world, 20);
    let guard = world.guard();
    for _ in 0..=5 {
        let _ = sweep(&guard, fleet.clone()).await;
        world.clock.advance(minutes(1));
    }
    hide(&world, &fleet);
    for _ in 0..9 {
        for decision in sweep(&guard, fleet.clone()).await {
            held_for(&decision, HoldCode::SnapshotUntrusted);
        }
        world.clock.advance(minutes(1));
    }
}

#[tokio::test]
async fn an_empty_listing_is_doubted_too_where_runners_are_asked_about_one_by_one() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let fleet = fill(&world, 3);
    for _ in 0..=5 {
        for runner in &fleet {
            let _ = guard.can_terminate(runner).await;
        }
        world.clock.advance(minutes(1));
    }
    hide(&world, &fleet);
    for _ in 0..9 {
        for runner in &fleet {
            let decision = guard.can_terminate(runner).await;
            held_for(&decision, HoldCode::SnapshotUntrusted);
        }
        world.clock.advance(minutes(1));
    }
}

#[tokio::test]
async fn short_lived_ephemeral_runners_are_freed_sweep_after_sweep() {
    let world = World::of(REPO).await;
    let guard = world.guard();
    let mut fleet = vec![];
    let mut freed = 0;
    for minute in 0..20 {
        // A new one each minute, whose whole job falls between two looks.
        let name = format!("once-{minute}");
        let once = NewRunner {
            ephemeral: true,
            ..NewRunner::named(&name)
        };
        world.github.register_with(&world.scope, once);
        fleet.push(world.runner(&name));
        let mut remain = Vec::new();
        for decision in sweep(&guard, fleet.clone()).await {
            assert!(
                !codes(&decision).contains(&HoldCode::SnapshotUntrusted),
                "{minute}"
            );
            match decision {
                Decision::Terminate(permit) => {
                    let _go = guard.redeem(permit).await.unwrap();
                    freed += 1;
                }
                Decision::Hold(hold) => remain.push(hold.assessment().runner.clone()),
            }
        }
        fleet = remain;
        let job = world.github.start_job(&world.scope, &name, "acme/atlas");
        world.clock.advance(TimeDelta::seconds(30));
        world.github.finish_job(job);
        // It comes up as the other leaves: the listing is never empty.
        world.github.register(&world.scope, "stays");
        world.clock.advance(TimeDelta::seconds(30));
    }
    assert!(freed >= 10, "{freed}");
}

#[tokio::test]
async fn a_runner_that_the_listing_omits_answers_by_its_number() {
    let world = World::of(REPO).await;
    let fleet = fill(&world, 3);
    let guard = world.guard();
    let _ = sweep(&guard, fleet.clone()).await;
    world.github.omit_from_listing(&world.scope, "r-001", true);
    let one = &fleet[1];
    world.github.start_job(&world.scope, "r-001", "acme/atlas");
    world.github.lie_busy(&world.scope, "r-001", Some(false));
    for _ in 0..30 {
        for decision in sweep(&guard, fleet.clone()).await {
            if decision.assessment().runner == *one {
                assert_eq!(decision.verdict(), Verdict::Hold, "{}", decision.explain());
            }
        }
        let decision = guard.can_terminate(one).await;
        held_for(&decision, HoldCode::JobInProgress);
        world.clock.advance(minutes(1));
    }
}
