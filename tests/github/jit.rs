//! Just-in-time runners: one registration for one call, whatever becomes of its answers.

use crate::{
    schema::{check_request, contract},
    world::*,
};
use scale_in_guard::{
    github::{GitHubError, IfTaken, Jit, JitError, JitRequest, JitTried},
    runner::RunnerId,
    testing::fake_github::{Fault, FaultOn, NewRunner},
};
use secrecy::ExposeSecret;
use serde_json::json;
use std::time::Duration;

use IfTaken::{Adopt, FreshName, Replace};

fn request(world: &World, if_taken: IfTaken) -> JitRequest {
    JitRequest::builder(world.scope.clone(), "r-1".parse().unwrap())
        .labels(["linux", "gpu"])
        .if_taken(if_taken)
        .build()
        .unwrap()
}

fn asking() -> FaultOn {
    FaultOn::path("/generate-jitconfig")
}

fn removing() -> FaultOn {
    FaultOn::path("/actions/runners/").method("DELETE")
}

/// The call in a line: what came of it, and what was tried.
fn told(done: &Result<Jit, JitError>) -> String {
    let (what, tried) = match done {
        Ok(Jit::Issued { runner, tried, .. }) => (format!("issued {}", plain(&runner.name)), tried),
        Ok(Jit::Adopted { runner, tried }) => (format!("adopted {}", runner.name), tried),
        Err(error) => {
            let what = match error {
                JitError::Taken { by: Some(by), .. } => format!("taken by {}", by.id),
                JitError::Taken { by: None, .. } => "taken by nobody".to_owned(),
                JitError::NotRemoved { runner, error, .. } => {
                    format!("not removed {}: {}", runner.id, status(error))
                }
                JitError::Lost { look: None, .. } => "lost".to_owned(),
                JitError::Lost {
                    look: Some(error), ..
                } => format!("lost, unseen: {}", status(error)),
                JitError::GitHub { error, .. } => status(error),
                other => format!("{other:?}"),
            };
            (what, error.tried())
        }
    };
    let JitTried {
        asked,
        removed,
        left_behind,
        unaccounted,
        ..
    } = tried;
    let mut line = format!("{what}, asked {asked}");
    for (word, ids) in [("removed", removed), ("left", left_behind)] {
        for RunnerId(id) in ids {
            line.push_str(&format!(", {word} {id}"));
        }
    }
    for name in unaccounted {
        line.push_str(&format!(", unaccounted {}", plain(name.as_str())));
    }
    line
}

/// A name without its random digits.
fn plain(name: &str) -> String {
    match name.strip_prefix("r-1-") {
        Some(digits) => {
            assert_eq!(digits.len(), 6, "{name}");
            assert!(digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
            "r-1-xxxxxx".to_owned()
        }
        None => name.to_owned(),
    }
}

fn status(error: &GitHubError) -> String {
    error.status().map_or("no answer".into(), |s| s.to_string())
}

/// How things stand when the config is asked for.
type Given = fn(&World);

fn never_connected(world: &World) {
    let runner = NewRunner::named("r-1").never_connected();
    world.github.register_with(&world.scope, runner);
}

#[tokio::test]
async fn whatever_became_of_the_name_the_request_says_what_follows() {
    let rows: [(&str, Given, [&str; 3]); 20] = [
        (
            "nobody has it",
            |_| {},
            [
                "issued r-1, asked 1",
                "issued r-1, asked 1",
                "issued r-1, asked 1",
            ],
        ),
        (
            "one that never connected has it",
            never_connected,
            [
                "adopted r-1, asked 1",
                "issued r-1, asked 2, removed 1",
                "issued r-1-xxxxxx, asked 2",
            ],
        ),
        (
            "one that is connected has it",
            |world| {
                world.github.register(&world.scope, "r-1");
            },
            [
                "adopted r-1, asked 1",
                "taken by 1, asked 1",
                "issued r-1-xxxxxx, asked 2",
            ],
        ),
        (
            "one that was connected has it",
            |world| {
                world.github.register(&world.scope, "r-1");
                world.github.set_status(&world.scope, "r-1", "offline");
            },
            [
                "adopted r-1, asked 1",
                "taken by 1, asked 1",
                "issued r-1-xxxxxx, asked 2",
            ],
        ),
        (
            "one that is busy has it",
            |world| {
                never_connected(world);
                world.github.lie_busy(&world.scope, "r-1", Some(true));
            },
            [
                "adopted r-1, asked 1",
                "taken by 1, asked 1",
                "issued r-1-xxxxxx, asked 2",
            ],
        ),
        (
            "one has it of which nobody knows whether it connected",
            |world| {
                never_connected(world);
                let row = json!({"id": 1, "name": "r-1", "status": "offline", "busy": false});
                let untold = Fault::Status {
                    code: 200,
                    body: row.to_string(),
                    headers: vec![],
                };
                world.github.fail("/actions/runners/1", untold, None);
            },
            [
                "adopted r-1, asked 1",
                "taken by 1, asked 1",
                "issued r-1-xxxxxx, asked 2",
            ],
        ),
        (
            "one that connects between the listing and the removal has it",
            |world| {
                never_connected(world);
                let row = json!({
                    "id": 1, "name": "r-1", "status": "online", "busy": false, "version": "2.336.0"
                });
                let connected = Fault::Status {
                    code: 200,
                    body: row.to_string(),
                    headers: vec![],
                };
                world.github.fail("/actions/runners/1", connected, None);
            },
            [
                "adopted r-1, asked 1",
                "taken by 1, asked 1",
                "issued r-1-xxxxxx, asked 2",
            ],
        ),
        (
            "one has it in another spelling",
            |world| {
                let runner = NewRunner::named("R-1").never_connected();
                world.github.register_with(&world.scope, runner);
            },
            [
                "adopted R-1, asked 1",
                "issued r-1, asked 2, removed 1",
                "issued r-1-xxxxxx, asked 2",
            ],
        ),
        (
            "a connected one has it in another spelling",
            |world| {
                world.github.register(&world.scope, "R-1");
            },
            [
                "adopted R-1, asked 1",
                "taken by 1, asked 1",
                "issued r-1-xxxxxx, asked 2",
            ],
        ),
        (
            "GitHub says that it is taken, and shows nobody",
            |world| world.github.fail(asking(), Fault::status(409), None),
            [
                "taken by nobody, asked 4",
                "taken by nobody, asked 4",
                "taken by nobody, asked 4",
            ],
        ),
        (
            "the answer is lost, and it was carried out",
            |world| world.github.fail(asking(), Fault::CutAfter, Some(1)),
            [
                "adopted r-1, asked 1, left 1",
                "issued r-1, asked 2, removed 1",
                "issued r-1-xxxxxx, asked 2, left 1",
            ],
        ),
        (
            "the answer breaks off",
            |world| world.github.fail(asking(), Fault::CutBody, Some(1)),
            [
                "adopted r-1, asked 1, left 1",
                "issued r-1, asked 2, removed 1",
                "issued r-1-xxxxxx, asked 2, left 1",
            ],
        ),
        (
            "the answer is malformed",
            |world| world.github.fail(asking(), Fault::Malformed, Some(1)),
            [
                "adopted r-1, asked 1, left 1",
                "issued r-1, asked 2, removed 1",
                "issued r-1-xxxxxx, asked 2, left 1",
            ],
        ),
        (
            "every answer is lost, and each was carried out",
            |world| world.github.fail(asking(), Fault::CutAfter, None),
            [
                "adopted r-1, asked 1, left 1",
                "taken by 4, asked 4, removed 1, removed 2, removed 3",
                "taken by 4, asked 4, left 1, left 2, left 3, left 4",
            ],
        ),
        (
            "the request is lost",
            |world| world.github.fail(asking(), Fault::Cut, Some(1)),
            [
                "issued r-1, asked 2",
                "issued r-1, asked 2",
                "issued r-1, asked 2",
            ],
        ),
        (
            "a 502",
            |world| world.github.fail(asking(), Fault::html(502), Some(2)),
            [
                "issued r-1, asked 3",
                "issued r-1, asked 3",
                "issued r-1, asked 3",
            ],
        ),
        (
            "502 for good",
            |world| world.github.fail(asking(), Fault::html(502), None),
            [
                "lost, asked 4, unaccounted r-1",
                "lost, asked 4, unaccounted r-1",
                "lost, asked 4, unaccounted r-1",
            ],
        ),
        (
            "the answer is lost, and so is the look after it",
            |world| {
                world.github.fail(asking(), Fault::CutAfter, Some(1));
                world
                    .github
                    .fail("/actions/runners?", Fault::status(502), None);
            },
            [
                "lost, unseen: 502, asked 1, unaccounted r-1",
                "lost, unseen: 502, asked 1, unaccounted r-1",
                "lost, unseen: 502, asked 1, unaccounted r-1",
            ],
        ),
        (
            "it was carried out after the look",
            |world| {
                world.github.fail(asking(), Fault::CutAfter, Some(1));
                let nobody = Fault::Status {
                    code: 200,
                    body: json!({"total_count": 0, "runners": []}).to_string(),
                    headers: vec![],
                };
                world.github.fail("/actions/runners?", nobody, Some(1));
            },
            [
                "adopted r-1, asked 2, left 1",
                "issued r-1, asked 3, removed 1",
                "issued r-1-xxxxxx, asked 3, left 1",
            ],
        ),
        (
            "the answer is lost, and then the limit is spent",
            |world| {
                world.github.fail(asking(), Fault::Cut, Some(1));
                world.github.fail(asking(), Fault::primary_limit(600), None);
            },
            [
                "403, asked 2, unaccounted r-1",
                "403, asked 2, unaccounted r-1",
                "403, asked 2, unaccounted r-1",
            ],
        ),
    ];
    for (row, given, expected) in rows {
        for (if_taken, expected) in [Adopt, Replace, FreshName].into_iter().zip(expected) {
            let world = World::of("org:acme").await;
            given(&world);
            let done = world.client().jit_config(&request(&world, if_taken)).await;
            assert_eq!(told(&done), expected, "{row}, {if_taken:?}: {done:?}");
        }
    }
}

#[tokio::test]
async fn what_is_issued_is_what_was_asked_for_and_its_config_is_kept_secret() {
    for scope in ["repo:acme/atlas", "org:acme", "enterprise:acme-inc"] {
        let world = World::of(scope).await;
        let request = JitRequest::builder(world.scope.clone(), "r-1".parse().unwrap());
        let request = request.label("gpu").runner_group(7).work_folder("w");
        let request = request.build().unwrap();
        let jit = world.client().jit_config(&request).await.unwrap();
        assert_eq!(&*jit.runner().name, "r-1", "{scope}");
        assert_eq!(jit.runner().id, RunnerId(1));
        assert!(jit.runner().never_connected());
        let sent = world.github.requests().remove(0).body.unwrap();
        let wanted = json!({
            "name": "r-1", "runner_group_id": 7, "labels": ["gpu"], "work_folder": "w"
        });
        assert_eq!(sent, wanted);
        let Jit::Issued { config, .. } = &jit else {
            panic!("{jit:?}")
        };
        let config = config.expose_secret();
        assert!(config.len() > 40);
        assert!(!format!("{jit:?}").contains(config));
    }
}

#[tokio::test]
async fn a_refusal_is_told_at_once_with_what_it_needs_and_when_to_ask_again() {
    for (fault, said, is_timed) in [
        (Fault::status(401), "401", false),
        (
            Fault::lacks_permission("organization_self_hosted_runners=write"),
            "organization_self_hosted_runners:write",
            false,
        ),
        (
            Fault::status(404),
            "organization_self_hosted_runners:write",
            false,
        ),
        (Fault::status(422), "422", false),
        (Fault::primary_limit(600), "requests an hour", true),
        (Fault::too_many_requests(600), "requests an hour", true),
        (Fault::slow_down(60), "slow down", true),
    ] {
        for if_taken in [Adopt, Replace, FreshName] {
            let world = World::of("org:acme").await;
            world.github.fail(asking(), fault.clone(), None);
            let done = world.client().jit_config(&request(&world, if_taken)).await;
            let error = done.unwrap_err();
            assert!(matches!(error, JitError::GitHub { .. }), "{error:?}");
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(error.retry_at().is_some(), is_timed, "{error}");
            assert_eq!(world.github.request_count(), 1, "{error}");
            assert!(!format!("{error:?}{error}").contains(world.github.token()));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_removed_stays_and_is_named() {
    for (fault, expected, said) in [
        (Fault::status(422), "taken by 1, asked 1", "shows busy"),
        (
            Fault::lacks_permission("administration=write"),
            "not removed 1: 403, asked 1",
            "administration:write",
        ),
        (
            Fault::status(404),
            "not removed 1: 404, asked 1",
            "administration:write",
        ),
        (Fault::html(502), "not removed 1: 502, asked 1", "502"),
        (Fault::slow_down(60), "not removed 1: 403, asked 1", "again"),
    ] {
        let world = World::of("repo:acme/atlas").await;
        never_connected(&world);
        world.github.fail(removing(), fault, None);
        let done = world.client().jit_config(&request(&world, Replace)).await;
        assert_eq!(told(&done), expected);
        let error = done.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        let deletes = world.github.requests();
        let deletes = deletes.iter().filter(|request| request.method == "DELETE");
        assert_eq!(deletes.count(), 1, "it is sent once");
    }
    // One of our own, that stays behind.
    let world = World::of("repo:acme/atlas").await;
    world.github.fail(asking(), Fault::CutAfter, Some(1));
    world.github.fail(removing(), Fault::html(502), None);
    let done = world.client().jit_config(&request(&world, Replace)).await;
    assert_eq!(told(&done), "not removed 1: 502, asked 1, left 1");
    let error = done.unwrap_err().to_string();
    assert!(error.contains("to be removed as ghosts"), "{error}");
}

#[tokio::test]
async fn one_whose_removal_was_carried_out_by_somebody_else_is_asked_for_again() {
    let world = World::of("repo:acme/atlas").await;
    never_connected(&world);
    world.github.fail(removing(), Fault::CutAfter, Some(1));
    let request = request(&world, Replace);
    let lost = world.client().jit_config(&request).await;
    assert_eq!(told(&lost), "not removed 1: no answer, asked 1");
    let done = world.client().jit_config(&request).await;
    assert_eq!(told(&done), "issued r-1, asked 1");
}

#[tokio::test]
async fn an_answer_without_what_it_is_for_is_a_lost_one_and_shows_nobody_the_config() {
    let runner = json!({"id": 9, "name": "r-1", "status": "offline", "busy": false});
    for (body, said) in [
        (
            json!({"runner": null, "encoded_jit_config": "SECRET"}),
            "which runner",
        ),
        (
            json!({"runner": "SECRET", "encoded_jit_config": "SECRET"}),
            "which runner",
        ),
        (json!("SECRET"), "which runner"),
        (
            json!({"runner": {"id": 9, "name": "r-2"}, "encoded_jit_config": "SECRET"}),
            "another runner",
        ),
        (json!({ "runner": runner }), "no config"),
        (
            json!({"runner": runner, "encoded_jit_config": " "}),
            "no config",
        ),
    ] {
        let world = World::of("org:acme").await;
        let answer = Fault::Status {
            code: 201,
            body: body.to_string(),
            headers: vec![],
        };
        world.github.fail(asking(), answer, None);
        let done = world.client().jit_config(&request(&world, Replace)).await;
        assert_eq!(told(&done), "lost, asked 4, unaccounted r-1", "{body}");
        let error = done.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(!format!("{error:?}{error}").contains("SECRET"), "{error}");
    }
}

#[tokio::test]
async fn it_ends_within_its_time_and_says_what_may_be_left() {
    let world = World::of("org:acme").await;
    world.github.fail(asking(), Fault::Hang, None);
    let client = world.client().within(Duration::from_millis(100));
    let asked = client.jit_config(&request(&world, FreshName)).await;
    assert_eq!(
        told(&asked),
        "lost, unseen: no answer, asked 1, unaccounted r-1"
    );
    let error = asked.unwrap_err().to_string();
    assert!(error.contains("within some 10 s: r-1"), "{error}");
}

#[tokio::test]
async fn every_request_is_one_that_github_documents() {
    let contract = contract();
    for scope in ["repo:acme/atlas", "org:acme", "enterprise:acme-inc"] {
        let world = World::of(scope).await;
        never_connected(&world);
        let request = JitRequest::builder(world.scope.clone(), "R-1".parse().unwrap());
        let request = request.label("gpu").work_folder("w").build().unwrap();
        let done = world.client().jit_config(&request).await;
        assert_eq!(told(&done), "issued R-1, asked 2, removed 1");
        let requests = world.github.requests();
        let methods: Vec<_> = requests.iter().map(|request| &*request.method).collect();
        assert_eq!(methods, ["POST", "GET", "GET", "GET", "DELETE", "POST"]);
        for request in requests {
            check_request(&contract, &request).unwrap_or_else(|why| panic!("{request:?}: {why}"));
        }
    }
}
