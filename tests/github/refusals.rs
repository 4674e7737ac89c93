//! Everything that can come back instead of an answer holds, and says what came back.

use crate::world::*;
use scale_in_guard::{clock::Clock, testing::fake_github::Fault};
use std::time::Duration;

const REPO: &str = "repo:acme/atlas";

#[tokio::test]
async fn what_is_no_answer_is_a_reason_to_hold_and_names_what_was_asked() {
    let moved = |to: &str| Fault::Redirect {
        code: 302,
        to: to.to_owned(),
    };
    let garbage = Fault::Status {
        code: 200,
        body: "<html>a proxy speaks</html>".to_owned(),
        headers: vec![],
    };
    for (fault, said) in [
        (Fault::status(401), "401"),
        (Fault::status(403), "403"),
        (Fault::status(500), "500"),
        (Fault::status(502), "502"),
        (Fault::status(204), "204"),
        (Fault::Cut, "see that"),
        (Fault::CutAfter, "see that"),
        (Fault::CutBody, "broke off"),
        (Fault::Malformed, "not what GitHub documents"),
        (garbage, "not what GitHub documents"),
        (moved("http://127.0.0.1:1/nowhere"), "see that"),
    ] {
        let world = World::of(REPO).await;
        let id = world.github.register(&world.scope, "r-1");
        let guard = world.guard();
        let runner = world.runner("r-1").with_id(id.0);
        let _ = guard.can_terminate(&runner).await;
        world.clock.advance(minutes(5));
        for (path, code) in [
            ("/actions/runners", HoldCode::RegistrationUnreadable),
            ("/actions/runs", HoldCode::JobsUnreadable),
        ] {
            world.github.fail(path, fault.clone(), None);
            let alone = guard.can_terminate(&runner).await;
            let in_sweep = sweep(&guard, [runner.clone()]).await.remove(0);
            for decision in [alone, in_sweep] {
                let sentence = held_for(&decision, code);
                assert!(
                    sentence.contains("GET /repos/acme/atlas/actions/r"),
                    "{sentence}"
                );
                // Of an answer without a body, such as a 304, there is nothing to break off.
                let is_cut = fault == Fault::CutBody && sentence.contains("see that");
                assert!(is_cut || sentence.contains(said), "{fault:?}: {sentence}");
                if let Fault::Status { .. } = &fault {
                    assert!(sentence.contains("request id"), "{sentence}");
                }
                let told = format!("{decision:?} {} {guard:?}", decision.explain());
                assert!(!told.contains(world.github.token()));
            }
            world.github.clear_faults();
            // Nobody asks for a while after so many failures.
            world.clock.advance(minutes(1));
        }
        let decision = guard.can_terminate(&runner).await;
        assert_eq!(
            decision.verdict(),
            Verdict::Terminate,
            "{fault:?}: it answers again"
        );
    }
}

#[tokio::test]
async fn a_404_proves_nothing_without_a_listing() {
    let world = World::of(REPO).await;
    let id = world.github.register(&world.scope, "r-1");
    let guard = world.guard();
    let runner = world.runner("r-1").with_id(id.0);
    world
        .github
        .fail("/actions/runners", Fault::status(404), None);
    for _ in 0..40 {
        let decision = guard.can_terminate(&runner).await;
        let sentence = held_for(&decision, HoldCode::RegistrationUnreadable);
        assert!(sentence.contains("404"), "{sentence}");
        world.clock.advance(minutes(1));
    }
}

#[tokio::test]
async fn a_github_that_never_answers_holds_within_the_deadline() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    world.github.fail("/actions", Fault::Hang, None);
    let policy = Policy {
        ask_deadline: TimeDelta::milliseconds(300),
        sweep_deadline: TimeDelta::milliseconds(600),
        evidence_max_age: TimeDelta::milliseconds(300),
        ..Policy::default()
    };
    let guard = world.builder().policy(policy).build().unwrap();
    let runner = world.runner("r-1");
    let looks = async {
        let alone = guard.can_terminate(&runner).await;
        let in_sweep = sweep(&guard, [runner.clone()]).await.remove(0);
        [alone, in_sweep]
    };
    let looks = tokio::time::timeout(Duration::from_secs(60), looks)
        .await
        .unwrap();
    for decision in looks {
        let sentence = held_for(&decision, HoldCode::RegistrationUnreadable);
        assert!(sentence.contains("no answer in time"), "{sentence}");
    }
}

#[tokio::test]
async fn a_refused_token_is_known_as_such() {
    let world = World::of(REPO).await;
    let client = GitHub::builder("ghp_wrong")
        .api_url(world.github.url())
        .build()
        .unwrap();
    assert!(!client.refused_token());
    let guard = Guard::builder().github(client.clone(), Repositories::of_each_runner());
    let decision = guard
        .build()
        .unwrap()
        .can_terminate(&world.runner("r-1"))
        .await;
    let sentence = held_for(&decision, HoldCode::RegistrationUnreadable);
    assert!(
        sentence.contains("401") && !sentence.contains("ghp_wrong"),
        "{sentence}"
    );
    assert!(client.refused_token());
}

#[tokio::test]
async fn a_clock_minutes_off_githubs_holds_and_says_which() {
    for (off, said) in [(minutes(2), "120s ahead of"), (minutes(-2), "120s behind")] {
        let world = World::of(REPO).await;
        world.github.register(&world.scope, "r-1");
        world.github.clock_off(off);
        let guard = world.guard();
        let runner = world.runner("r-1");
        for decision in [
            guard.can_terminate(&runner).await,
            sweep(&guard, [runner.clone()]).await.remove(0),
        ] {
            let sentence = held_for(&decision, HoldCode::ClockSkew);
            assert!(sentence.contains(said), "{sentence}");
            assert!(sentence.contains("this machine's clock"), "{sentence}");
        }
        world.github.clock_off(TimeDelta::seconds(20));
        let decision = guard.can_terminate(&runner).await;
        assert!(!codes(&decision).contains(&HoldCode::ClockSkew));
    }
}

#[tokio::test]
async fn the_token_goes_to_no_other_host() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let elsewhere = FakeGitHub::start(world.clock.clone()).await.unwrap();
    // Another name of this machine is another host.
    let url = elsewhere.url().replace("127.0.0.1", "localhost");
    let redirected = Fault::Redirect {
        code: 301,
        to: format!("{url}/repos/acme/atlas/actions/runners?per_page=100"),
    };
    world.github.fail("/actions/runners", redirected, None);
    let decision = world.guard().can_terminate(&world.runner("r-1")).await;
    let sentence = held_for(&decision, HoldCode::RegistrationUnreadable);
    assert!(
        sentence.contains("redirected to another host"),
        "{sentence}"
    );
    assert_eq!(elsewhere.request_count(), 0, "nor is its word taken");
    world.github.clear_faults();
    elsewhere.clear_requests();

    let next = Fault::Status {
        code: 200,
        body: r#"{"total_count": 200, "runners": []}"#.to_owned(),
        headers: vec![("Link".to_owned(), format!("<{url}/next>; rel=\"next\""))],
    };
    world.github.fail("/actions/runners", next, None);
    let decision = world.guard().can_terminate(&world.runner("r-1")).await;
    let sentence = held_for(&decision, HoldCode::RegistrationUnreadable);
    assert!(sentence.contains("another host"), "{sentence}");
    assert_eq!(elsewhere.request_count(), 0);
}

#[tokio::test]
async fn a_list_that_does_not_end_is_given_up() {
    let world = World::of(REPO).await;
    let path = "/repos/acme/atlas/actions/runners?per_page=100";
    let round = Fault::Status {
        code: 200,
        body: r#"{"total_count": 200, "runners": []}"#.to_owned(),
        headers: vec![(
            "Link".to_owned(),
            format!("<{}{path}>; rel=\"next\"", world.github.url()),
        )],
    };
    world.github.fail("/actions/runners", round, None);
    let guard = world.guard();
    let decision = sweep(&guard, [world.runner("r-1")]).await.remove(0);
    let sentence = held_for(&decision, HoldCode::RegistrationUnreadable);
    assert!(sentence.contains("does not end"), "{sentence}");
}

#[tokio::test]
async fn a_moved_repository_is_followed() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let moved = Fault::Redirect {
        code: 301,
        to: format!(
            "{}/repos/acme/atlas/actions/runners?name=r-1&per_page=100",
            world.github.url()
        ),
    };
    world.github.fail("/actions/runners?name", moved, Some(1));
    let decision = world.guard().can_terminate(&world.runner("r-1")).await;
    assert!(!codes(&decision).contains(&HoldCode::RegistrationUnreadable));
    assert!(
        world
            .github
            .requests()
            .iter()
            .all(|request| request.authorized)
    );
    let _ = world.clock.now();
}

#[tokio::test]
async fn a_304_with_another_tag_is_no_answer_and_what_was_kept_is_forgotten() {
    let world = World::of(REPO).await;
    let id = world.github.register(&world.scope, "r-1");
    let runner = world.runner("r-1").with_id(id.0);
    let guard = world.guard();
    let _ = guard.can_terminate(&runner).await;
    world.clock.advance(minutes(5));
    let of_another = Fault::Status {
        code: 304,
        body: String::new(),
        headers: vec![("ETag".to_owned(), "W/\"of another\"".to_owned())],
    };
    world
        .github
        .fail("/actions/runs?status=queued", of_another, None);
    let decision = guard.can_terminate(&runner).await;
    let explained = decision.explain();
    assert_eq!(decision.verdict(), Verdict::Hold, "{explained}");
    assert!(explained.contains("gives another tag"), "{explained}");
    world.github.clear_faults();
    world.github.clear_requests();
    let decision = guard.can_terminate(&runner).await;
    assert_eq!(decision.verdict(), Verdict::Terminate);
    let queued = world.github.requests().into_iter();
    let mut queued = queued.filter(|request| request.parameter("status") == Some("queued"));
    assert_eq!(queued.next().unwrap().if_none_match, None, "read in full");
}

#[tokio::test]
async fn a_refusal_that_sends_the_token_back_is_told_without_it() {
    let world = World::of(REPO).await;
    world.github.register(&world.scope, "r-1");
    let echo = Fault::Status {
        code: 401,
        body: format!(
            r#"{{"message": "Bad credentials {}"}}"#,
            world.github.token()
        ),
        headers: vec![],
    };
    world.github.fail("/actions/runners", echo, None);
    let decision = world.guard().can_terminate(&world.runner("r-1")).await;
    let sentence = held_for(&decision, HoldCode::RegistrationUnreadable);
    assert!(sentence.contains("Bad credentials"), "{sentence}");
    assert!(!sentence.contains(world.github.token()), "{sentence}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_leaves_no_list_whole() {
    let world = World::of(REPO).await;
    let id = world.github.register(&world.scope, "r-1");
    let runner = world.runner("r-1").with_id(id.0);
    let guard = world.guard();
    let _ = guard.can_terminate(&runner).await;
    world.clock.advance(minutes(5));
    let strange = Fault::Status {
        code: 200,
        body: r#"{"total_count": 0, "workflow_runs": [{"id": null}]}"#.to_owned(),
        headers: vec![],
    };
    world
        .github
        .fail("/actions/runs?status=in_progress", strange, None);
    let decision = guard.can_terminate(&runner).await;
    held_for(&decision, HoldCode::Uncorroborated);
}
