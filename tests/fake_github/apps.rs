//! Apps sign in, and get tokens for their installations.

use crate::{
    schema::{Unknown, check_answer, check_request, contract},
    world::*,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER};
use reqwest::Method;
use scale_in_guard::testing::{FakeGitHub, fake_github::FakeApp};
use serde_json::{Value, json};

const APP: u64 = 7;
const CLIENT: &str = "Iv23fake";
const MINT: &str = "/app/installations/71/access_tokens";
const BAD: &str = "Bad credentials";
const UNREADABLE: &str = "A JSON web token could not be decoded";
const NO_EXPIRY: &str = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires";
const TOO_LONG: &str = "'Expiration time' claim ('exp') is too far in the future";
const NOT_ISSUED: &str = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued";
const NOBODY: &str = "Integration not found";

fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_rsa_pem(FakeGitHub::app_key().as_bytes()).expect("a key");
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::RS256, &key).expect("a signer");
    let signature = signer.try_sign(message.as_bytes()).expect("a signature");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A JWT with these claims.
fn jwt(claims: &Value) -> String {
    signed(&json!({ "alg": "RS256", "typ": "JWT" }), claims)
}

impl World {
    fn now(&self) -> i64 {
        use scale_in_guard::clock::Clock;
        self.clock.now().timestamp()
    }

    /// A JWT of the app, good for nine minutes from now.
    fn jwt(&self) -> String {
        let now = self.now();
        jwt(&json!({ "iss": APP, "iat": now - 60, "exp": now + 540 }))
    }

    async fn with_apps() -> Self {
        let world = Self::new().await;
        let app = FakeApp::new(APP, CLIENT)
            .installed(71, "Acme")
            .installed(72, "other");
        world.github.install_app(&app);
        world
            .github
            .install_app(&FakeApp::new(8, "Iv23other").installed(81, "acme"));
        world.github.add_repository(ATLAS);
        world
    }

    async fn mint(&self, id: u64) -> String {
        let path = format!("/app/installations/{id}/access_tokens");
        let (status, _, body) = self.post(&path, &self.jwt(), None).await;
        assert_eq!(status, 201, "{body}");
        body["token"].as_str().expect("text").to_owned()
    }
}

#[tokio::test]
async fn a_jwt_is_really_verified() {
    let world = World::with_apps().await;
    let skew = 90;
    world.github.clock_off(chrono::TimeDelta::seconds(skew));
    let now = world.now() + skew;
    let (iat, exp) = (now - 60, now + 540);
    let good = json!({ "iss": APP, "iat": iat, "exp": exp });
    let message = jwt(&good);
    let (unsigned, signature) = message.rsplit_once('.').expect("a signature");
    let forged = jwt(&json!({ "iss": 8, "iat": iat, "exp": exp }));
    let (forged, _) = forged.rsplit_once('.').expect("a signature");
    let no_algorithm = signed(&json!({ "alg": "none" }), &good);
    let mut seen = Vec::new();
    for (jwt, refused) in [
        (jwt(&good), None),
        (jwt(&json!({ "iss": "7", "iat": iat, "exp": exp })), None),
        (jwt(&json!({ "iss": CLIENT, "iat": iat, "exp": exp })), None),
        (
            jwt(&json!({ "iss": APP, "iat": now, "exp": now + 600 })),
            None,
        ),
        (
            jwt(&json!({ "iss": APP, "iat": now, "exp": now + 1 })),
            None,
        ),
        (
            jwt(&json!({ "iss": APP, "iat": now, "exp": now + 601 })),
            Some(TOO_LONG),
        ),
        (
            jwt(&json!({ "iss": APP, "iat": iat, "exp": now })),
            Some(NO_EXPIRY),
        ),
        (
            jwt(&json!({ "iss": APP, "iat": iat, "exp": "soon" })),
            Some(NO_EXPIRY),
        ),
        (jwt(&json!({ "iss": APP, "iat": iat })), Some(NO_EXPIRY)),
        (
            jwt(&json!({ "iss": APP, "iat": now + 1, "exp": exp })),
            Some(NOT_ISSUED),
        ),
        (
            jwt(&json!({ "iss": APP, "iat": "now", "exp": exp })),
            Some(NOT_ISSUED),
        ),
        (jwt(&json!({ "iss": APP, "exp": exp })), Some(NOT_ISSUED)),
        (
            jwt(&json!({ "iss": 9, "iat": iat, "exp": exp })),
            Some(NOBODY),
        ),
        (jwt(&json!({ "iat": iat, "exp": exp })), Some(NOBODY)),
        (jwt(&json!("claims")), Some(UNREADABLE)),
        (format!("{forged}.{signature}"), Some(UNREADABLE)),
        (format!("{unsigned}."), Some(UNREADABLE)),
        (no_algorithm, Some(UNREADABLE)),
        ("a.b.c".into(), Some(UNREADABLE)),
    ] {
        let (status, _, body) = world.get_with("/app", &jwt).await;
        match refused {
            None => assert_eq!((status, &body["id"]), (200, &json!(APP)), "{body}"),
            Some(why) => assert_eq!((status, &body["message"]), (401, &json!(why)), "{jwt}"),
        }
        let last = world.github.requests().pop().expect("a request");
        assert_eq!(last.authorized, refused.is_none());
        assert!(!format!("{last:?}").contains(&jwt));
        seen.push(jwt);
    }
    assert_eq!(world.github.jwts(), seen);
}

#[tokio::test]
async fn an_app_finds_its_installations() {
    let world = World::with_apps().await;
    for (target, found) in [
        ("/orgs/acme/installation", Some(71)),
        ("/users/ACME/installation", Some(71)),
        ("/enterprises/other/installation", Some(72)),
        ("/repos/acme/atlas/installation", Some(71)),
        ("/api/v3/repos/acme/atlas/installation", Some(71)),
        ("/repos/acme/nothing/installation", None),
        ("/orgs/nobody/installation", None),
    ] {
        let (status, _, body) = world.get_with(target, &world.jwt()).await;
        let Some(id) = found else {
            assert_eq!(
                (status, &body["message"]),
                (404, &json!("Not Found")),
                "{target}"
            );
            continue;
        };
        assert_eq!((status, &body["id"]), (200, &json!(id)), "{target}");
        assert_eq!(body["app_id"], APP);
        assert!(body["account"]["login"].is_string() && body["permissions"].is_object());
        let call = ("GET", "/orgs/{org}/installation", 200);
        check_answer(&contract(), call, &body.to_string(), Unknown::Refused).expect(target);
    }
}

#[tokio::test]
async fn a_token_opens_what_its_account_owns() {
    let world = World::with_apps().await;
    let github = &world.github;
    github.register(&world.acme, "r-1");
    github.add_scope(&"org:other".parse().expect("a scope"));
    github.add_scope(&"enterprise:acme".parse().expect("a scope"));
    let asked = r#"{"permissions":{"actions":"read"}}"#;
    let (status, _, body) = world.post(MINT, &world.jwt(), Some(asked)).await;
    assert_eq!(
        (status, &body["expires_at"]),
        (201, &json!("2026-05-14T03:00:00Z"))
    );
    let template = "/app/installations/{installation_id}/access_tokens";
    let call = ("POST", template, 201);
    check_answer(&contract(), call, &body.to_string(), Unknown::Refused).expect("as it is");
    check_request(&contract(), &github.requests().pop().expect("one")).expect("documented");
    assert_eq!(body["permissions"], json!({ "actions": "read" }));
    assert_eq!(body["repository_selection"], "all");

    let first = body["token"].as_str().expect("text").to_owned();
    let (second, other) = (world.mint(71).await, world.mint(72).await);
    assert_eq!(github.installation_tokens(), 3);
    assert!(first.starts_with("ghs_") && first != second && second != other);
    for (target, of_acme, of_other) in [
        (RUNNERS, 200, 404),
        ("/orgs/acme/actions/runners/1", 200, 404),
        ("/organizations/1/actions/runners", 200, 404),
        (RUNS, 200, 404),
        ("/enterprises/acme/actions/runners", 200, 404),
        ("/orgs/other/actions/runners", 404, 200),
        ("/rate_limit", 200, 200),
    ] {
        for (token, status) in [(&first, of_acme), (&second, of_acme), (&other, of_other)] {
            assert_eq!(world.get_with(target, token).await.0, status, "{target}");
            let last = github.requests().pop().expect("a request");
            assert!(last.authorized && !format!("{last:?}").contains(token));
        }
    }
    let unknown = "/app/installations/73/access_tokens";
    assert_eq!(world.post(unknown, &world.jwt(), None).await.0, 404);
    let of_another_app = "/app/installations/81/access_tokens";
    assert_eq!(world.post(of_another_app, &world.jwt(), None).await.0, 404);
    assert_eq!(world.post(MINT, &world.jwt(), Some("{")).await.0, 400);
    assert_eq!(github.installation_tokens(), 3);
}

#[tokio::test]
async fn a_token_ends_after_an_hour_or_when_it_is_revoked() {
    let world = World::with_apps().await;
    world.github.add_scope(&world.acme);
    let answers = async |token: &str| {
        let (status, _, body) = world.get_with(RUNNERS, token).await;
        assert_eq!(status == 401, body["message"] == BAD);
        status
    };
    let first = world.mint(71).await;
    world.clock.advance(minutes(59));
    let second = world.mint(71).await;
    assert_eq!((answers(&first).await, answers(&second).await), (200, 200));
    world.clock.advance(minutes(1));
    assert_eq!((answers(&first).await, answers(&second).await), (401, 200));
    world.github.revoke_tokens();
    assert_eq!(answers(&second).await, 401);
    assert_eq!(answers(&world.mint(71).await).await, 200);

    let left = world.mint(71).await;
    world
        .github
        .install_app(&FakeApp::new(APP, CLIENT).installed(72, "other"));
    assert_eq!(answers(&left).await, 401, "the app is gone from there");
    assert_eq!(world.github.installation_tokens(), 4);
}

#[tokio::test]
async fn each_credential_has_its_endpoints() {
    let world = World::with_apps().await;
    world.github.add_scope(&world.acme);
    let token = world.mint(71).await;
    let plain = world.github.token().to_owned();
    for (target, credential, status) in [
        ("/app", &world.jwt(), 200),
        ("/app", &token, 401),
        ("/app", &plain, 401),
        ("/orgs/acme/installation", &plain, 401),
        ("/orgs/nobody/installation", &token, 401),
        (RUNNERS, &world.jwt(), 401),
        ("/rate_limit", &world.jwt(), 401),
        (RUNNERS, &token, 200),
        (RUNNERS, &plain, 200),
    ] {
        let (answered, _, body) = world.get_with(target, credential).await;
        assert_eq!(answered, status, "{target}: {body}");
    }
    assert_eq!(world.post(MINT, &plain, None).await.0, 401);
    assert_eq!(world.status(Method::DELETE, "/app").await, 401);
}

#[tokio::test]
async fn each_installation_has_a_budget_of_its_own() {
    let world = World::with_apps().await;
    let github = &world.github;
    github.add_scope(&world.acme);
    github.add_scope(&"org:other".parse().expect("a scope"));
    github.rate_limit(3);
    let (acme, again, other) = (
        world.mint(71).await,
        world.mint(71).await,
        world.mint(72).await,
    );
    for (token, target, left, status) in [
        (&*acme, RUNNERS, "2", 200),
        (&*again, RUNNERS, "1", 200),
        (&*other, "/orgs/other/actions/runners", "2", 200),
        (&*acme, RUNNERS, "0", 200),
        (&*again, RUNNERS, "0", 403),
        (&*other, "/orgs/other/actions/runners", "1", 200),
        (github.token(), RUNNERS, "2", 200),
    ] {
        let (answered, headers, _) = world.get_with(target, token).await;
        assert_eq!(answered, status);
        assert_eq!(headers["x-ratelimit-remaining"], left);
    }
}

#[tokio::test]
async fn an_etag_is_of_one_token() {
    let world = World::with_apps().await;
    world.github.add_scope(&world.acme);
    let (first, second) = (world.mint(71).await, world.mint(71).await);
    let (_, headers, _) = world.get_with(RUNNERS, &first).await;
    for (token, status) in [(&first, 304), (&second, 200)] {
        let url = format!("{}{RUNNERS}", world.github.url());
        let request = world.client.get(url).bearer_auth(token);
        let request = request.header("If-None-Match", headers["etag"].clone());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status);
    }
}
