//! Instances that never became a runner: given back soon, also where all of them died, and never by mistake.

use crate::world::*;
use scale_in_guard::{
    Basis,
    github::RegistrationTokens,
    stores::MemoryStore,
    testing::fake_github::{Fault, NewRunner},
};
use std::sync::Arc;

const ORG: &str = "org:acme";

/// How a user may ask.
#[derive(Debug, Clone, Copy)]
enum Way {
    Check,
    Sweep,
    Phantoms,
}

const WAYS: [Way; 3] = [Way::Check, Way::Sweep, Way::Phantoms];

/// An organisation, a store, and instances that were launched when the clock began.
struct Fleet {
    world: World,
    store: Arc<MemoryStore>,
    guard: Guard,
    instances: Vec<Runner>,
}

impl Fleet {
    async fn new() -> Self {
        Self::asking(Repositories::all(["acme/atlas".parse().unwrap()])).await
    }

    async fn asking(repositories: Repositories) -> Self {
        let world = World::of(ORG).await;
        world.github.add_repository("acme/atlas");
        let store = Arc::new(MemoryStore::new().with_clock(world.clock.clone()));
        let guard = world.asking(repositories).store(store.clone());
        let guard = guard.build().unwrap();
        let launched_at = "2026-05-14T02:00:00Z".parse().unwrap();
        let instances = ["i-1", "i-2", "i-3"];
        let instances = instances.map(|name| world.runner(name).launched_at(launched_at));
        Self {
            store,
            guard,
            instances: instances.into(),
            world,
        }
    }

    /// The shim gets a token, as it does before it launches an instance.
    async fn mint(&self) -> String {
        use secrecy::ExposeSecret;
        let tokens = RegistrationTokens::new(self.world.client()).noted_in(self.store.clone());
        let token = tokens.registration_token(&self.world.scope).await.unwrap();
        token.token.expose_secret().to_owned()
    }

    /// Looks every two minutes; the minute in which `i-1` may go.
    async fn goes_at(&self, way: Way, minutes_at_most: i64) -> Option<i64> {
        for minute in (0..=minutes_at_most).step_by(2) {
            let decided = match way {
                Way::Check => vec![self.guard.can_terminate(&self.instances[0]).await],
                Way::Sweep => sweep(&self.guard, self.instances.clone()).await,
                Way::Phantoms => pull(self.guard.phantoms(self.instances.clone())).await,
            };
            for decision in decided {
                let is_first = decision.assessment().runner.name.as_str() == "i-1";
                if let Decision::Terminate(permit) = decision
                    && is_first
                {
                    assert_eq!(permit.basis(), Basis::NeverRegistered);
                    return Some(minute);
                }
            }
            self.world.clock.advance(minutes(2));
        }
        None
    }
}

#[tokio::test]
async fn where_every_registration_died_the_slots_come_back() {
    // Also where nobody looks at jobs: a phantom has none.
    for repositories in [
        Repositories::all(["acme/atlas".parse().unwrap()]),
        Repositories::of_each_runner(),
    ] {
        for way in WAYS {
            let fleet = Fleet::asking(repositories.clone()).await;
            let _token = fleet.mint().await;
            let minute = fleet.goes_at(way, 60).await;
            // The deadline is 10 minutes, and an empty listing is believed after as many; then two looks.
            assert!(matches!(minute, Some(12..=14)), "{way:?}: {minute:?}");
        }
    }
}

#[tokio::test]
async fn an_empty_scope_that_is_not_known_to_be_ours_is_never_believed() {
    for way in WAYS {
        let fleet = Fleet::new().await;
        assert_eq!(fleet.goes_at(way, 120).await, None, "{way:?}");
        let decision = fleet.guard.can_terminate(&fleet.instances[0]).await;
        let sentence = held_for(&decision, HoldCode::SnapshotUntrusted);
        assert!(sentence.contains("registration-token"), "{sentence}");
    }
}

#[tokio::test]
async fn a_token_of_another_scope_says_nothing_of_this_one() {
    let fleet = Fleet::new().await;
    let tokens = RegistrationTokens::new(fleet.world.client()).noted_in(fleet.store.clone());
    let other: Scope = "repo:acme/atlas".parse().unwrap();
    tokens.registration_token(&other).await.unwrap();
    assert_eq!(fleet.goes_at(Way::Phantoms, 60).await, None);
}

#[tokio::test]
async fn what_is_no_absence_makes_no_phantom() {
    let empty = Fault::Status {
        code: 200,
        body: r#"{"total_count": 3, "runners": []}"#.to_owned(),
        headers: vec![],
    };
    for fault in [
        Fault::html(502),
        Fault::status(503),
        Fault::status(404),
        Fault::lacks_permission("organization_self_hosted_runners=read"),
        Fault::status(401),
        Fault::slow_down(60),
        Fault::primary_limit(600),
        Fault::Cut,
        Fault::Malformed,
        empty,
    ] {
        for way in WAYS {
            let fleet = Fleet::new().await;
            let _token = fleet.mint().await;
            fleet
                .world
                .github
                .fail("/actions/runners?", fault.clone(), None);
            assert_eq!(fleet.goes_at(way, 40).await, None, "{fault:?}, {way:?}");
        }
    }
}

#[tokio::test]
async fn a_permission_that_is_lost_halfway_begins_the_count_anew() {
    for way in WAYS {
        let fleet = Fleet::new().await;
        let _token = fleet.mint().await;
        assert_eq!(fleet.goes_at(way, 8).await, None);
        let lost = Fault::lacks_permission("organization_self_hosted_runners=read");
        fleet.world.github.fail("/actions/runners?", lost, None);
        assert_eq!(fleet.goes_at(way, 30).await, None, "{way:?}");
        fleet.world.github.clear_faults();
        // The empty listing is doubted anew.
        let minute = fleet.goes_at(way, 30).await;
        assert!(matches!(minute, Some(10..=14)), "{way:?}: {minute:?}");
    }
}

#[tokio::test]
async fn a_listing_that_drifts_makes_no_phantom() {
    for way in WAYS {
        let fleet = Fleet::new().await;
        let _token = fleet.mint().await;
        for number in 0..120 {
            let name = format!("other-{number:03}");
            fleet.world.github.register(&fleet.world.scope, &name);
        }
        fleet.world.github.drift_between_pages(true);
        assert_eq!(fleet.goes_at(way, 40).await, None, "{way:?}");
    }
}

#[tokio::test]
async fn whoever_a_witness_saw_is_no_phantom() {
    // Registered once, and gone, where nobody looks at jobs.
    for way in WAYS {
        let fleet = Fleet::asking(Repositories::of_each_runner()).await;
        let token = fleet.mint().await;
        let (github, scope) = (&fleet.world.github, &fleet.world.scope);
        github
            .register_with_token(scope, &token, NewRunner::named("i-1"))
            .unwrap();
        assert_eq!(fleet.goes_at(way, 2).await, None);
        github.deregister(scope, "i-1");
        assert_eq!(fleet.goes_at(way, 60).await, None, "{way:?}: it works on");
        let decision = fleet.guard.can_terminate(&fleet.instances[0]).await;
        held_for(&decision, HoldCode::Uncorroborated);
    }
    // Never registered, as far as GitHub shows, and with a job all the same.
    for way in WAYS {
        let fleet = Fleet::new().await;
        let _token = fleet.mint().await;
        let (github, scope) = (&fleet.world.github, &fleet.world.scope);
        github.start_job(scope, "i-1", "acme/atlas");
        assert_eq!(fleet.goes_at(way, 60).await, None, "{way:?}: it works");
    }
}

#[tokio::test]
async fn phantoms_are_asked_about_at_the_price_of_a_listing() {
    let fleet = Fleet::new().await;
    let (github, scope) = (&fleet.world.github, &fleet.world.scope);
    for instance in &fleet.instances {
        github.register(scope, instance.name.as_str());
    }
    let decided = pull(fleet.guard.phantoms(fleet.instances.clone())).await;
    assert!(decided.is_empty(), "all are registered");
    assert_eq!(fleet.world.asked(), ["/orgs/acme/actions/runners"]);
}

fn answer(body: &str) -> Fault {
    Fault::Status {
        code: 200,
        body: body.to_owned(),
        headers: vec![],
    }
}

/// A scope whose listing can be trusted: another runner of ours is registered. Nobody looks at jobs.
async fn beside_another() -> Fleet {
    let fleet = Fleet::asking(Repositories::of_each_runner()).await;
    fleet.world.github.register(&fleet.world.scope, "i-2");
    fleet
}

#[tokio::test]
async fn a_name_that_a_search_showed_is_no_phantom_whatever_came_of_reading_on() {
    for code in [502, 404] {
        let fleet = beside_another().await;
        assert_eq!(fleet.goes_at(Way::Sweep, 2).await, None);
        let row = r#"{"id": 4711, "name": "i-1", "status": "online", "busy": true, "labels": []}"#;
        let shown = answer(&format!(r#"{{"total_count": 1, "runners": [{row}]}}"#));
        let github = &fleet.world.github;
        github.fail("runners?name=i-1", shown, None);
        github.fail("/runners/4711", Fault::status(code), None);
        let decision = fleet.guard.can_terminate(&fleet.instances[0]).await;
        held_for(&decision, HoldCode::RegistrationUnreadable);
        github.clear_faults();
        for way in WAYS {
            assert_eq!(fleet.goes_at(way, 30).await, None, "{code}, {way:?}");
        }
    }
}

#[tokio::test]
async fn a_search_that_does_not_add_up_makes_no_phantom() {
    for body in [
        r#"{"total_count": 1, "runners": []}"#,
        r#"{"runners": []}"#,
        r#"{"total_count": 1, "runners": [{"id": null, "name": "i-1", "busy": true}]}"#,
        r#"{"total_count": 1, "runners": [{"id": 9, "name": "I-1", "status": "online", "busy": true}]}"#,
    ] {
        for way in WAYS {
            let fleet = beside_another().await;
            fleet
                .world
                .github
                .fail("runners?name=i-1", answer(body), None);
            assert_eq!(fleet.goes_at(way, 30).await, None, "{body}, {way:?}");
        }
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_may_be_anybodys() {
    let row = r#"{"id": 1, "name": "i-2", "status": "online", "busy": false}"#;
    for strange in ["null", r#"{"id": null, "name": "i-1", "busy": true}"#] {
        let fleet = beside_another().await;
        let body = format!(r#"{{"total_count": 1, "runners": [{row}, {strange}]}}"#);
        let listing = answer(&body);
        fleet.world.github.fail("runners?per_page", listing, None);
        assert_eq!(fleet.goes_at(Way::Sweep, 30).await, None, "{strange}");
    }
}

#[tokio::test]
async fn where_jobs_could_not_be_read_no_phantom_goes() {
    for fault in [
        Fault::status(502),
        Fault::status(404),
        answer(r#"{"total_count": 5, "jobs": []}"#),
        answer(
            r#"{"total_count": 1, "jobs": [{"id": null, "runner_name": "i-1", "status": "in_progress"}]}"#,
        ),
    ] {
        for way in WAYS {
            let fleet = Fleet::new().await;
            let _token = fleet.mint().await;
            let (github, scope) = (&fleet.world.github, &fleet.world.scope);
            github.register(scope, "i-2");
            github.start_job(scope, "i-1", "acme/atlas");
            github.fail("/jobs?", fault.clone(), None);
            assert_eq!(fleet.goes_at(way, 30).await, None, "{fault:?}, {way:?}");
            let decision = fleet.guard.can_terminate(&fleet.instances[0]).await;
            match way {
                // It was met too late, for the listing was doubted until then.
                Way::Check => held_for(&decision, HoldCode::Uncorroborated),
                Way::Sweep | Way::Phantoms => held_for(&decision, HoldCode::JobsUnreadable),
            };
        }
    }
}

#[tokio::test]
async fn who_was_listed_while_nobody_asked_about_it_is_no_phantom() {
    let fleet = beside_another().await;
    let (github, scope) = (&fleet.world.github, &fleet.world.scope);
    github.register(scope, "i-1");
    // The inventory lags behind.
    let _ = sweep(&fleet.guard, fleet.instances[1..2].to_vec()).await;
    github.deregister(scope, "i-1");
    for way in WAYS {
        assert_eq!(fleet.goes_at(way, 30).await, None, "{way:?}");
    }
    let decision = fleet.guard.can_terminate(&fleet.instances[0]).await;
    held_for(&decision, HoldCode::Uncorroborated);
}
