//! What our client asks, held against GitHub's own description of its API.

use crate::{
    schema::{check_request, contract},
    world::*,
};

#[tokio::test]
async fn every_request_is_one_that_github_documents() {
    let contract = contract();
    for scope in ["repo:acme/atlas", "org:acme", "enterprise:acme-inc"] {
        let world = World::of(scope).await;
        world.github.add_repository("acme/atlas");
        let fleet: Vec<_> = (0..120)
            .map(|number| world.runner(&format!("r {number}/&?")))
            .collect();
        for runner in &fleet[..119] {
            world.github.register(&world.scope, runner.name.as_str());
        }
        let first = world.github.start_job(&world.scope, "r 0/&?", "acme/atlas");
        for _ in 0..110 {
            world.github.add_job_to_run(first, &["self-hosted", "gpu"]);
        }
        let guard = world.guard();
        for _ in 0..8 {
            let _ = sweep(&guard, fleet.clone()).await;
            let _ = guard.can_terminate(&fleet[0]).await;
            let _ = guard.can_terminate(&fleet[119]).await;
            world.clock.advance(minutes(2));
        }
        let requests = world.github.requests();
        assert!(requests.len() > 100, "{scope}: {}", requests.len());
        for request in requests {
            check_request(&contract, &request).unwrap_or_else(|why| panic!("{request:?}: {why}"));
            assert!(request.authorized && request.method == "GET", "{request:?}");
            assert_eq!(
                request.accept.as_deref(),
                Some("application/vnd.github+json")
            );
            assert_eq!(request.api_version.as_deref(), Some("2022-11-28"));
            let agent = request.user_agent.unwrap_or_default();
            assert!(agent.starts_with("scale-in-guard/"), "{agent}");
        }
    }
}
