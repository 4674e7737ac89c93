//! Registrations that no instance stands behind: found, and removed when nothing speaks for them.

use crate::world::*;
use scale_in_guard::{
    beat::Beat,
    clock::Clock,
    fence::Fence,
    github::{Ghost, GhostRemoval, Ghosts, KeptFor},
    lease::Heartbeat,
    runner::RunnerId,
    store::{Key, Kind, Store, Swap},
    stores::MemoryStore,
    testing::fake_github::{Fault, FaultOn, NewRunner},
};
use serde_json::json;
use std::sync::Arc;

/// A GitHub with registrations, and a store that lasts.
struct Haunted {
    world: World,
    store: Arc<MemoryStore>,
}

impl Haunted {
    async fn by(names: &[&str]) -> Self {
        let world = World::of("org:acme").await;
        for name in names {
            let runner = NewRunner::named(name).never_connected();
            world.github.register_with(&world.scope, runner);
        }
        let store = Arc::new(MemoryStore::new());
        Self { world, store }
    }

    /// Whoever looks begins anew: all it knows is in the store.
    fn ghosts(&self) -> Ghosts {
        let github = GitHub::builder(self.world.github.token().to_owned())
            .api_url(self.world.github.url())
            .clock(self.world.clock.clone());
        let github = impatient(github).build().unwrap();
        Ghosts::new(github, self.store.clone(), &Policy::default())
    }

    async fn look(&self) -> Vec<Ghost> {
        self.ghosts().look(&self.world.scope).await.unwrap()
    }

    async fn sweep(&self) -> Vec<(u64, Option<GhostRemoval>)> {
        let swept = self.ghosts().sweep(&self.world.scope).await.unwrap();
        let swept = swept.into_iter();
        swept.map(|(ghost, done)| (ghost.id().0, done)).collect()
    }

    /// The ghosts by their numbers, once the registration deadline (10 minutes) is over.
    async fn due(&self) -> Vec<Ghost> {
        self.look().await;
        self.world.clock.advance(minutes(10));
        self.look().await
    }

    async fn put(&self, key: &Key, text: &str) {
        let swapped = self.store.swap(key, None, text).await.unwrap();
        assert!(matches!(swapped, Swap::Done(_)));
    }

    fn key(&self, api: &str, kind: Kind, name: &str) -> Key {
        let (scope, name) = (self.world.scope.clone(), name.parse().unwrap());
        Key::of_runner(api.into(), scope, kind, name)
    }

    fn deletes(&self) -> usize {
        let requests = self.world.github.requests();
        let deletes = requests.iter().filter(|request| request.method == "DELETE");
        deletes.count()
    }
}

fn ids(ghosts: &[Ghost]) -> Vec<u64> {
    ghosts.iter().map(|ghost| ghost.id().0).collect()
}

#[tokio::test]
async fn one_that_never_connected_is_removed_when_its_deadline_is_over_and_not_before() {
    let haunted = Haunted::by(&["r-1"]).await;
    let began = haunted.world.clock.now();
    let ghosts = haunted.look().await;
    assert_eq!(ids(&ghosts), [1]);
    let ghost = &ghosts[0];
    assert_eq!((ghost.id(), &**ghost.name()), (RunnerId(1), "r-1"));
    assert_eq!(ghost.first_seen(), began);
    assert_eq!(ghost.removable_at(), Some(began + minutes(10)));
    haunted
        .world
        .clock
        .advance(minutes(10) - TimeDelta::seconds(1));
    assert!(matches!(haunted.sweep().await[..], [(1, None)]));
    let early = haunted.ghosts().remove(ghost).await;
    assert!(
        matches!(early, GhostRemoval::TooYoung { removable_at: Some(at) } if at == began + minutes(10)),
        "{early:?}"
    );
    assert_eq!(haunted.deletes(), 0);
    haunted.world.clock.advance(TimeDelta::seconds(1));
    let swept = haunted.sweep().await;
    assert!(
        matches!(swept[..], [(1, Some(GhostRemoval::Removed))]),
        "{swept:?}"
    );
    assert_eq!(haunted.deletes(), 1);
    assert!(haunted.look().await.is_empty());
    // Whoever looked earlier, and acts late, finds nothing.
    let late = haunted.ghosts().remove(ghost).await;
    assert!(
        matches!(late, GhostRemoval::TooYoung { removable_at: None }),
        "{late:?}"
    );
    assert_eq!(haunted.deletes(), 1);
}

#[tokio::test]
async fn one_that_any_look_saw_connected_is_no_ghost_ever_again() {
    type Connects = fn(&World);
    let rows: [(&str, Connects); 4] = [
        ("it connected", |world| {
            world.github.connect(&world.scope, "r-1");
        }),
        ("it has a version", |world| {
            let shown = json!({"version": "2.336.0"});
            world.github.show_runner_fields(&world.scope, "r-1", shown);
        }),
        ("it is online", |world| {
            world.github.set_status(&world.scope, "r-1", "online");
        }),
        ("it is busy", |world| {
            world.github.lie_busy(&world.scope, "r-1", Some(true));
        }),
    ];
    for (row, connects) in rows {
        let haunted = Haunted::by(&["r-1", "r-2"]).await;
        let world = &haunted.world;
        assert_eq!(ids(&haunted.look().await), [1, 2]);
        connects(world);
        assert_eq!(ids(&haunted.look().await), [2], "{row}");
        // GitHub forgets it.
        let shown = json!({"version": null, "status": "offline", "busy": false});
        world.github.show_runner_fields(&world.scope, "r-1", shown);
        for _ in 0..3 {
            world.clock.advance(minutes(10));
            assert_eq!(ids(&haunted.look().await), [2], "{row}");
        }
        haunted.sweep().await;
        assert!(haunted.look().await.is_empty());
        assert_eq!(haunted.deletes(), 1, "{row}");
    }
}

#[tokio::test]
async fn what_became_of_it_between_the_look_and_the_removal_counts() {
    type Given = fn(&World);
    let delete = || FaultOn::path("/actions/runners/").method("DELETE");
    let rows: [(&str, Given, &str, usize); 7] = [
        (
            "it connects",
            |world| world.github.connect(&world.scope, "r-1"),
            "connected_meanwhile",
            0,
        ),
        (
            "it has a job",
            |world| {
                world.github.start_job(&world.scope, "r-1", "acme/atlas");
            },
            "connected_meanwhile",
            0,
        ),
        (
            "it is removed",
            |world| world.github.deregister(&world.scope, "r-1"),
            "gone",
            0,
        ),
        (
            "our clock is set",
            |world| world.github.clock_off(minutes(-2)),
            "kept",
            0,
        ),
        (
            "it is given a job that nobody shows",
            |world| {
                let delete = FaultOn::path("/actions/runners/").method("DELETE");
                world.github.fail(delete, Fault::status(422), None);
            },
            "refused",
            1,
        ),
        (
            "the answer to the removal is lost",
            |world| {
                let delete = FaultOn::path("/actions/runners/").method("DELETE");
                world.github.fail(delete, Fault::CutAfter, None);
            },
            "failed",
            1,
        ),
        (
            "it cannot be read",
            |world| {
                world
                    .github
                    .fail("/actions/runners/1", Fault::status(502), None);
            },
            "failed",
            0,
        ),
    ];
    for (row, given, expected, deletes) in rows {
        let haunted = Haunted::by(&["r-1"]).await;
        let ghosts = haunted.due().await;
        given(&haunted.world);
        let done = haunted.ghosts().remove(&ghosts[0]).await;
        assert_eq!(done.as_str(), expected, "{row}: {done:?}");
        assert_eq!(haunted.deletes(), deletes, "{row}");
        if matches!(expected, "connected_meanwhile" | "refused") {
            let shown = json!({"version": null, "status": "offline", "busy": false});
            let world = &haunted.world;
            world.github.show_runner_fields(&world.scope, "r-1", shown);
            world.github.clear_faults();
            assert!(haunted.due().await.is_empty(), "{row}: a ghost again");
        }
    }
    // A token that may not remove runners is told so, and tries no further.
    let haunted = Haunted::by(&["r-1", "r-2"]).await;
    haunted.due().await;
    let lacks = Fault::lacks_permission("organization_self_hosted_runners=write");
    haunted.world.github.fail(delete(), lacks, None);
    let swept = haunted.sweep().await;
    let [(1, Some(GhostRemoval::Failed(error))), (2, None)] = &swept[..] else {
        panic!("{swept:?}")
    };
    let error = error.to_string();
    assert!(error.contains("organization_self_hosted_runners:write"));
    assert_eq!(haunted.deletes(), 1);
}

#[tokio::test]
async fn one_for_which_anything_speaks_stays() {
    let haunted = Haunted::by(&["named", "beaten", "taken", "worked", "garbled", "alone"]).await;
    let world = &haunted.world;
    let now = world.clock.now();
    let beat = Beat {
        boot: "boot".into(),
        began_at: now,
        sequence: 1,
        runner: None,
        sent_at: now,
        heartbeat: Heartbeat::new(now),
        going: false,
    };
    let beat = serde_json::to_string(&beat).unwrap();
    let fence = serde_json::to_string(&Fence::default().take(1)).unwrap();
    let free = serde_json::to_string(&Fence::default()).unwrap();
    let api = world.github.url().replace("http://", "");
    for (api, kind, name, text) in [
        ("*", Kind::Heartbeat, "beaten", &*beat),
        ("*", Kind::Fence, "taken", &*fence),
        ("*", Kind::Fence, "alone", &*free),
        (&*api, Kind::Memory, "worked", r#"{"job_seen": true}"#),
        (&*api, Kind::Memory, "garbled", "garbled"),
        (
            &*api,
            Kind::Memory,
            "alone",
            r#"{"first_look": "2026-05-14T01:00:00Z"}"#,
        ),
    ] {
        haunted.put(&haunted.key(api, kind, name), text).await;
    }
    let before = haunted.due().await;
    let ghosts = haunted.ghosts().keep(["NAMED".parse().unwrap()]);
    let swept = ghosts.sweep(&world.scope).await.unwrap();
    let told: Vec<_> = swept
        .iter()
        .map(|(ghost, done)| {
            let done = done.as_ref().map(GhostRemoval::as_str);
            (&**ghost.name(), ghost.kept(), done)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("named", Some(KeptFor::Named), None),
            ("beaten", Some(KeptFor::Host), None),
            ("taken", Some(KeptFor::Host), None),
            ("worked", Some(KeptFor::Job), None),
            ("garbled", Some(KeptFor::Unreadable), None),
            ("alone", None, Some("removed")),
        ]
    );
    // Also where somebody looked without knowing of it.
    for ghost in &before[..5] {
        let done = ghosts.remove(ghost).await;
        assert!(matches!(done, GhostRemoval::Kept(_)), "{done:?}");
        assert_eq!(ghost.removable_at().is_some(), &**ghost.name() == "named");
    }
    assert_eq!(haunted.deletes(), 1);
}

#[tokio::test]
async fn a_listing_that_lacks_rows_says_nothing_of_them() {
    let haunted = Haunted::by(&["r-1", "r-2"]).await;
    let world = &haunted.world;
    haunted.look().await;
    // r-1 connects, is seen, and is then missing from a listing whose total is another.
    world.github.connect(&world.scope, "r-1");
    haunted.look().await;
    world.github.omit_from_listing(&world.scope, "r-1", true);
    world.github.claim_total(Some(3));
    world.clock.advance(minutes(5));
    assert_eq!(ids(&haunted.look().await), [2]);
    world.github.omit_from_listing(&world.scope, "r-1", false);
    world.github.claim_total(None);
    let shown = json!({"version": null, "status": "offline"});
    world.github.show_runner_fields(&world.scope, "r-1", shown);
    world.clock.advance(minutes(5));
    assert_eq!(ids(&haunted.look().await), [2], "it is remembered");
    // What such a listing shows counts.
    world.github.claim_total(Some(7));
    let swept = haunted.sweep().await;
    assert!(
        matches!(swept[..], [(2, Some(GhostRemoval::Removed))]),
        "{swept:?}"
    );
}

#[tokio::test]
async fn while_the_clock_is_off_nothing_is_removed_and_nothing_begins() {
    for off in [minutes(2), minutes(-2)] {
        let haunted = Haunted::by(&["r-1"]).await;
        let world = &haunted.world;
        haunted.look().await;
        world.clock.advance(minutes(10));
        world.github.clock_off(off);
        let late = NewRunner::named("r-2").never_connected();
        world.github.register_with(&world.scope, late);
        let ghosts = haunted.look().await;
        for ghost in &ghosts {
            assert_eq!(ghost.kept(), Some(KeptFor::Clock));
            assert_eq!(ghost.removable_at(), None);
        }
        assert!(matches!(haunted.sweep().await[..], [(1, None), (2, None)]));
        world.github.clock_off(TimeDelta::zero());
        let ghosts = haunted.look().await;
        let now = world.clock.now();
        let removable: Vec<_> = ghosts.iter().map(Ghost::removable_at).collect();
        assert_eq!(removable, [Some(now), Some(now + minutes(10))]);
        assert_eq!(haunted.deletes(), 0);
    }
}

#[tokio::test]
async fn a_clock_that_was_ahead_gives_nobody_less_time() {
    let haunted = Haunted::by(&["r-1"]).await;
    let world = &haunted.world;
    haunted.look().await;
    world.clock.advance(-minutes(30));
    let ghosts = haunted.look().await;
    let now = world.clock.now();
    assert_eq!(ghosts[0].removable_at(), Some(now + minutes(10)));
}

#[tokio::test]
async fn a_store_or_a_github_that_fails_is_told_and_nothing_is_removed() {
    let haunted = Haunted::by(&["r-1"]).await;
    haunted.due().await;
    let world = &haunted.world;
    world
        .github
        .fail("/actions/runners", Fault::slow_down(60), None);
    let error = haunted.ghosts().look(&world.scope).await.unwrap_err();
    assert!(error.retry_at().is_some(), "{error}");
    world.github.clear_faults();
    let key = Key::of_scope(
        world.github.url().replace("http://", "").into(),
        world.scope.clone(),
        Kind::Ghosts,
    );
    let kept = haunted
        .store
        .read(std::slice::from_ref(&key))
        .await
        .unwrap();
    let version = kept[0].as_ref().map(|record| record.version);
    let spoilt = haunted.store.swap(&key, version, "spoilt").await.unwrap();
    assert!(matches!(spoilt, Swap::Done(_)));
    // Begun anew, with every period.
    world.clock.advance(minutes(2));
    let swept = haunted.sweep().await;
    assert!(matches!(swept[..], [(1, None)]), "{swept:?}");
    assert_eq!(haunted.deletes(), 0);
}
