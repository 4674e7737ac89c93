//! A GitHub App: its key, its installations, its clock, and what it does when GitHub refuses.

use crate::world::*;
use scale_in_guard::{
    github::{App, AppKey},
    runner::RunnerId,
    testing::fake_github::{FakeApp, Fault},
};

const REPO: &str = "repo:acme/atlas";
const CLIENT_ID: &str = "Iv23liFAKE";
const LOOKUP: &str = "/atlas/installation";
const MINT: &str = "/access_tokens";

fn key() -> AppKey {
    AppKey::pem(FakeGitHub::app_key()).unwrap()
}

fn app() -> App {
    App::new(CLIENT_ID, key()).unwrap()
}

/// A repository with a runner, whose owner has the app.
async fn world() -> (World, RunnerId) {
    let world = World::of(REPO).await;
    let app = FakeApp::new(31, CLIENT_ID).installed(7, "acme");
    world.github.install_app(&app);
    let id = world.github.register(&world.scope, "r-1");
    (world, id)
}

fn client(world: &World, app: App) -> GitHub {
    let client = GitHub::app(app).clock(world.clock.clone());
    impatient(client.api_url(world.github.url()))
        .build()
        .unwrap()
}

/// How often this was asked for.
fn asked(world: &World, part: &str) -> usize {
    let requests = world.github.requests();
    let asked = requests
        .iter()
        .filter(|request| request.path.contains(part));
    asked.count()
}

#[tokio::test]
async fn a_call_does_not_multiply_the_repetitions_of_its_token() {
    for part in [LOOKUP, MINT] {
        let (world, id) = world().await;
        let github = client(&world, app());
        world.github.fail(part, Fault::status(502), None);
        let error = github.runner(&world.scope, id).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert_eq!(asked(&world, part), 4, "{part}");
        assert_eq!(error.to_string().matches("tried").count(), 1, "{error}");
    }
}

#[tokio::test]
async fn an_installation_that_is_not_found_is_no_runner_that_is_not_found() {
    let (world, id) = world().await;
    let github = client(&world, app());
    // At the first attempt it fails, and at the second it is a 404: twice.
    for code in [502, 404, 502, 404] {
        world.github.fail(LOOKUP, Fault::status(code), Some(1));
    }
    let error = github.remove_runner(&world.scope, id).await;
    let error = error.expect_err("nobody was asked to remove it");
    assert!(!error.is_not_found(), "{error}");
    let error = github.runner(&world.scope, id).await;
    let error = error.expect_err("nobody was asked for it");
    assert!(!error.is_not_found(), "{error}");
    assert!(error.to_string().contains("is not installed"), "{error}");
    let (found, _) = github.runner(&world.scope, id).await.unwrap();
    assert!(found.is_some());
}
