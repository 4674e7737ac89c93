//! Answers name the permissions that would do.

use crate::world::*;
use reqwest::Method;

#[tokio::test]
async fn answers_name_what_their_endpoint_accepts() {
    let world = World::new().await;
    world.register_many(1);
    world.github.add_repository(ATLAS);
    let org = |access| Some(format!("organization_self_hosted_runners={access}"));
    let repository = |access| Some(format!("administration={access}"));
    let actions = || Some("actions=read".to_owned());
    for (method, target, expected) in [
        (Method::GET, "/orgs/acme/actions/runners", org("read")),
        (Method::GET, "/organizations/1/actions/runners", org("read")),
        (Method::GET, "/orgs/acme/actions/runners/7", org("read")),
        (Method::GET, "/orgs/nobody/actions/runners", org("read")),
        (Method::DELETE, "/orgs/acme/actions/runners/7", org("write")),
        (
            Method::POST,
            "/orgs/acme/actions/runners/registration-token",
            org("write"),
        ),
        (
            Method::POST,
            "/api/v3/repos/acme/atlas/actions/runners/generate-jitconfig",
            repository("write"),
        ),
        (
            Method::GET,
            "/repos/acme/atlas/actions/runners",
            repository("read"),
        ),
        (Method::GET, "/repos/acme/atlas/actions/runs", actions()),
        (Method::GET, "/repositories/2/actions/runs", actions()),
        (Method::GET, "/repos/acme/atlas/actions/jobs/7", actions()),
        (Method::GET, "/enterprises/acme/actions/runners", None),
        (Method::GET, "/rate_limit", None),
    ] {
        let answer = world.ask(method.clone(), target).await.expect("an answer");
        let named = answer.headers().get("x-accepted-github-permissions");
        let named = named.map(|named| named.to_str().expect("text").to_owned());
        assert_eq!(named, expected, "{method} {target}");
    }
}
