//! A GitHub App: its key, its installations, its clock, and what it does when GitHub refuses.

use crate::world::*;
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use scale_in_guard::{
    clock::Clock,
    github::{App, AppKey, GitHubError, SetupError},
    runner::RunnerId,
    testing::fake_github::{FakeApp, Fault, FaultOn},
};
use std::{collections::HashSet, io::Write, time::Duration};

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

/// The same key in PKCS#8.
fn pkcs8() -> String {
    let lines = FakeGitHub::app_key().lines();
    let body: String = lines.filter(|line| !line.starts_with('-')).collect();
    let inner = BASE64_STANDARD.decode(body).unwrap();
    let long = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    };
    // Version 0, rsaEncryption with no parameters, and the key in an octet string.
    let head = b"\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let whole = long(0x30, &[&head[..], &long(0x04, &inner)].concat());
    let encoded = BASE64_STANDARD.encode(whole);
    let lines: Vec<_> = encoded
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let body = lines.join("\n");
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[tokio::test]
async fn a_key_is_read_from_text_from_a_file_and_from_a_variable() {
    let [one, eight] = [FakeGitHub::app_key().to_owned(), pkcs8()];
    let mut keys = Vec::new();
    for pem in [&one, &eight] {
        keys.push(AppKey::pem(pem.clone()).unwrap());
        keys.push(AppKey::pem(pem.replace('\n', "\\n")).unwrap());
        keys.push(AppKey::pem(format!("\n  {}\n", pem.replace('\n', "\r\n"))).unwrap());
        keys.push(AppKey::file(file(pem).path()).unwrap());
    }
    for key in keys {
        let (world, id) = world().await;
        let github = client(&world, App::new(CLIENT_ID, key).unwrap());
        let (found, _) = github.runner(&world.scope, id).await.unwrap();
        assert!(found.is_some());
    }
}

/// The variable is set by whoever starts this test: no test sets one in its own process.
#[test]
fn a_variable_holds_a_key() {
    const VARIABLE: &str = "SCALE_IN_GUARD_TEST_APP_KEY";
    if std::env::var_os(VARIABLE).is_some() {
        AppKey::env(VARIABLE).unwrap();
        return;
    }
    for pem in [
        FakeGitHub::app_key().to_owned(),
        pkcs8().replace('\n', "\\n"),
    ] {
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "app::a_variable_holds_a_key"])
            .env(VARIABLE, pem)
            .output()
            .unwrap();
        assert!(again.status.success(), "{again:?}");
    }
    let missing = AppKey::env(VARIABLE).unwrap_err().to_string();
    assert!(
        missing.contains(VARIABLE) && missing.contains("not set"),
        "{missing}"
    );
}

#[test]
fn what_is_no_key_is_refused_by_its_setting_and_never_quoted() {
    let public = include_str!("../../src/testing/fake_github/app/test-key.pub.pem");
    let whole = FakeGitHub::app_key();
    let (half, _) = whole.split_at(whole.len() / 2);
    let garbled = whole.replace("MII", "!!!");
    // Made for this test; it opens nothing.
    let curve = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIsvm0vxdww3F1h2c1rWF0tuLWmVKsIcSrVAvFWCcKXaoAoGCCqGSM49\nAwEHoUQDQgAEveVxNg5eYeNh/TBSdKrR1Te121SWWGIzWkMazoFbCXewBIbnPfmj\nY7Q1FmuvrQ2Hkk+Hrfdv5BJgOubJjSzj/w==\n-----END EC PRIVATE KEY-----\n";
    let curve8 = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgym1Upgjs90nNRYcv\nMaMryFqskISqHBjToJU6jE2M6vyhRANCAASKa9ZsPwkl0upmSPzB1yGgK6ZB0kh2\njwJ+jNxKifIt2oNC8rdbM9OyzTas5p+BXXhWrTQZhuR0HLYAUIKP9Qf2\n-----END PRIVATE KEY-----\n";
    let locked = whole.replace(
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00",
    );
    let locked8 = pkcs8().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (pem, why) in [
        ("", "empty"),
        (" \n", "empty"),
        ("swordfish-swordfish", "no PEM"),
        (public, "public key"),
        (half, "no PEM"),
        (&garbled, "PEM"),
        (curve, "no PEM"),
        (curve8, "PEM"),
        (&locked, "passphrase"),
        (&locked8, "passphrase"),
    ] {
        let kept = file(pem);
        let path = kept.path().display().to_string();
        for (key, setting) in [
            (AppKey::pem(pem), "the app's private key"),
            (AppKey::file(kept.path()), &*path),
        ] {
            let error = key.expect_err(why);
            assert!(matches!(error, SetupError::AppKey { .. }), "{error:?}");
            let told = format!("{error} {error:?}");
            assert!(told.contains(setting) && told.contains(why), "{told}");
            let lines = pem.lines().filter(|line| !line.starts_with("-----"));
            for line in lines.filter(|line| line.len() > 8) {
                assert!(!told.contains(line), "{told}");
            }
        }
    }
    let missing = AppKey::file("/nowhere/app.pem").unwrap_err().to_string();
    assert!(missing.contains("/nowhere/app.pem"), "{missing}");
}

#[test]
fn an_id_that_can_be_none_is_refused() {
    for id in ["", "  ", "Iv23 li", "Iv23\nli", "a/b", &"1".repeat(101)] {
        let error = App::new(id, key()).expect_err(id);
        assert!(matches!(error, SetupError::AppId { .. }), "{error:?}");
        assert!(error.to_string().contains("the app's id"), "{error}");
    }
    let app = App::new(" 31 ", key()).unwrap();
    assert_eq!(app.id(), "31");
    let shown = format!("{app:?} {:?}", GitHub::app(app.clone()).build().unwrap());
    for line in FakeGitHub::app_key().lines().skip(1) {
        assert!(!shown.contains(line), "{shown}");
    }
}

#[tokio::test]
async fn an_app_is_known_by_its_app_id_and_by_its_client_id() {
    for id in ["31", CLIENT_ID] {
        let (world, runner) = world().await;
        let github = client(&world, App::new(id, key()).unwrap());
        assert!(
            github
                .runner(&world.scope, runner)
                .await
                .unwrap()
                .0
                .is_some()
        );
    }
}

#[tokio::test]
async fn an_owner_is_looked_up_once_for_all_its_repositories() {
    let (world, _) = world().await;
    let scopes: Vec<Scope> = (0..30)
        .map(|number| format!("repo:acme/r-{number}").parse().unwrap())
        .chain(["org:Acme".parse().unwrap()])
        .collect();
    for scope in &scopes {
        world.github.add_scope(scope);
    }
    let github = client(&world, app());
    let listings = scopes.iter().map(|scope| github.runners(scope));
    for listing in futures::future::join_all(listings).await {
        listing.unwrap();
    }
    assert_eq!(asked(&world, "/installation"), 1 + asked(&world, MINT));
    assert_eq!(world.github.installation_tokens(), 1);
}

#[tokio::test]
async fn a_given_installation_is_not_looked_up() {
    let (world, id) = world().await;
    let github = client(&world, app().installation(7));
    assert!(github.runner(&world.scope, id).await.unwrap().0.is_some());
    let paths: Vec<_> = world.asked();
    assert_eq!(paths[0], "/app/installations/7/access_tokens");
    assert_eq!(paths.len(), 2);
}

#[tokio::test]
async fn a_repository_that_the_app_may_not_see_keeps_no_other_from_being_seen() {
    let (world, id) = world().await;
    world.github.latency(Duration::from_millis(20));
    let secret: Scope = "repo:acme/secret".parse().unwrap();
    let github = client(&world, app());
    let (refused, found) = tokio::join!(
        github.runner(&secret, RunnerId(1)),
        github.runner(&world.scope, id)
    );
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("repo:acme/secret"), "{refused}");
    assert!(found.unwrap().0.is_some());
}

/// The error of a call, said in full.
async fn refused(world: &World, app: App) -> (GitHubError, String) {
    let github = client(world, app);
    let error = github.runner(&world.scope, RunnerId(1)).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, GitHubError::App { .. }), "{error:?}");
    assert!(!error.is_not_found(), "{said}");
    (error, said)
}

#[tokio::test]
async fn what_is_wrong_with_an_installation_is_said_and_what_to_do() {
    let (world, _) = world().await;
    world.github.install_app(&FakeApp::new(31, CLIENT_ID));
    let (_, said) = refused(&world, app()).await;
    for word in [
        CLIENT_ID,
        "not installed",
        REPO,
        "install it",
        LOOKUP,
        "404",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let (_, said) = refused(&world, app().installation(99)).await;
    for word in [CLIENT_ID, "no installation 99", "/app/installations/99/"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let suspended = Fault::Status {
        code: 403,
        body: r#"{"message":"This installation has been suspended"}"#.to_owned(),
        headers: vec![],
    };
    world.github.fail(MINT, suspended, None);
    let (_, said) = refused(&world, app().installation(7)).await;
    for word in [CLIENT_ID, REPO, "suspended", "403"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    world.github.clear_faults();
    let (_, said) = refused(&world, App::new("Iv23liOTHER", key()).unwrap()).await;
    for word in ["Iv23liOTHER", "401", "the app's private key", "clock"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// The claims of a JWT.
fn claims(jwt: &str) -> serde_json::Value {
    let part = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn no_jwt_is_like_another_and_none_lives_longer_than_github_takes() {
    let (world, id) = world().await;
    for _ in 0..60 {
        let github = client(&world, app());
        for _ in 0..2 {
            assert!(github.runner(&world.scope, id).await.unwrap().0.is_some());
            world.github.revoke_tokens();
        }
    }
    let github = client(&world, app());
    for _ in 0..60 {
        github.runner(&world.scope, id).await.unwrap();
        world.github.revoke_tokens();
    }
    let now = world.clock.now().timestamp();
    let jwts = world.github.jwts();
    let of_one = &jwts[jwts.len() - 120..];
    assert_eq!(of_one.iter().collect::<HashSet<_>>().len(), of_one.len());
    for jwt in &jwts {
        let claims = claims(jwt);
        assert_eq!(claims["iss"], CLIENT_ID);
        assert_eq!(claims["iat"], now - 60);
        let lives = claims["exp"].as_i64().unwrap() - now;
        assert!((4 * 60..=8 * 60).contains(&lives), "{lives}");
        assert_eq!(claims.as_object().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_clock_that_is_minutes_off_githubs_is_learned_from_the_refusal() {
    for off in [-60, -5, 5, 60] {
        let (world, id) = world().await;
        world.github.clock_off(minutes(off));
        let github = client(&world, app());
        let (found, _) = github.runner(&world.scope, id).await.unwrap();
        assert!(found.is_some(), "{off}");
        assert!(asked(&world, LOOKUP) <= 2, "{off}");
        assert_eq!(asked(&world, MINT), 1, "{off}: it was known by then");
        // By GitHub's clock it expires in an hour; by ours too.
        world.clock.advance(minutes(54));
        github.runner(&world.scope, id).await.unwrap();
        assert_eq!(world.github.installation_tokens(), 1, "{off}");
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_and_once_for_all_who_need_it() {
    let (world, id) = world().await;
    world.github.latency(Duration::from_millis(30));
    let github = client(&world, app());
    let all = || async {
        let calls = (0..50).map(|_| github.runner(&world.scope, id));
        for found in futures::future::join_all(calls).await {
            assert!(found.unwrap().0.is_some());
        }
    };
    all().await;
    assert_eq!(world.github.installation_tokens(), 1);
    world.clock.advance(minutes(54));
    all().await;
    assert_eq!(world.github.installation_tokens(), 1);
    world.clock.advance(minutes(2));
    all().await;
    while world.github.installation_tokens() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.clock.advance(minutes(10));
    all().await;
    assert_eq!(world.github.installation_tokens(), 2);
    assert_eq!(asked(&world, "/access_tokens"), 2);
    let refused = world.github.requests();
    assert!(refused.iter().all(|request| request.authorized));
}

#[tokio::test]
async fn a_revoked_token_is_renewed_once_and_the_calls_go_on() {
    let (world, id) = world().await;
    world.github.latency(Duration::from_millis(30));
    let github = client(&world, app());
    github.runner(&world.scope, id).await.unwrap();
    world.github.revoke_tokens();
    world.github.clear_requests();
    let calls = (0..50).map(|_| github.runner(&world.scope, id));
    for found in futures::future::join_all(calls).await {
        assert!(found.unwrap().0.is_some());
    }
    assert_eq!(asked(&world, MINT), 1);
    assert_eq!(asked(&world, "/actions/runners/"), 100);
    assert!(!github.refused_token());
}

#[tokio::test]
async fn a_token_that_is_always_refused_is_not_renewed_again_and_again() {
    let (world, id) = world().await;
    let github = client(&world, app());
    let reads = FaultOn::path("/actions/").method("GET");
    world.github.fail(reads, Fault::status(401), None);
    let error = github.runner(&world.scope, id).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert!(github.refused_token());
    assert_eq!(asked(&world, "/actions/"), 2);
    assert_eq!(asked(&world, MINT), 2);
    // Nor is a write repeated more often than it was refused.
    world.github.clear_faults();
    world.github.clear_requests();
    let writes = FaultOn::path("/actions/").method("DELETE");
    world.github.fail(writes, Fault::status(401), None);
    github.remove_runner(&world.scope, id).await.unwrap_err();
    assert_eq!(asked(&world, "/actions/"), 2);
}

#[tokio::test]
async fn while_a_renewal_fails_a_token_that_is_good_for_minutes_is_used() {
    for fault in [
        Fault::status(502),
        Fault::status(403),
        Fault::Cut,
        Fault::Hang,
    ] {
        let (world, id) = world().await;
        let github = client(&world, app());
        github.runner(&world.scope, id).await.unwrap();
        world.clock.advance(minutes(56));
        world.github.fail(MINT, fault.clone(), None);
        let hurried = github.within(Duration::from_secs(2));
        for _ in 0..3 {
            let (found, _) = hurried.runner(&world.scope, id).await.unwrap();
            assert!(found.is_some(), "{fault:?}");
        }
        world.clock.advance(minutes(5));
        hurried.runner(&world.scope, id).await.unwrap_err();
    }
}
