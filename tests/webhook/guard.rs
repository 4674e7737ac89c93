//! What a guard makes of what a receiver kept.

use crate::world::{FakeStore, acme, at, keep, noon, receiver, told};
use scale_in_guard::{
    Decision, Guard, HoldCode, JobsView, Registration, Runner, Status,
    store::{Key, Kind, Store, Swap},
    testing::{ManualClock, ScriptedSource},
    webhook::Receiver,
};

struct World {
    clock: ManualClock,
    store: FakeStore,
    receiver: Receiver,
    guard: Guard,
    second: i64,
}

fn guard(store: &FakeStore, clock: &ManualClock) -> scale_in_guard::guard::GuardBuilder {
    let flag = Registration::registered(false, Status::Online);
    Guard::builder()
        .source(ScriptedSource::registration(flag))
        .source(ScriptedSource::jobs(JobsView {
            complete: false,
            jobs: Vec::new(),
        }))
        .store(store.clone())
        .clock(clock.clone())
}

fn world() -> World {
    let clock = ManualClock::at(noon());
    let store = FakeStore::new(&clock);
    let receiver = receiver(store.clone(), &clock).start();
    let guard = guard(&store, &clock).webhooks().build().unwrap();
    World {
        clock,
        store,
        receiver,
        guard,
        second: 0,
    }
}

fn runner(name: &str, scope: &str) -> Runner {
    Runner::new(name, scope).unwrap().with_labels(["linux"])
}

fn holds_for(decision: &Decision, code: HoldCode) -> bool {
    decision.reasons().any(|reason| reason.code() == code)
}

impl World {
    fn pass(&mut self, seconds: i64) {
        self.second += seconds;
        self.clock.set(at(self.second));
    }

    async fn holds(&self, runner: &Runner, code: HoldCode) -> bool {
        holds_for(&self.guard.can_terminate(runner).await, code)
    }
}

#[tokio::test]
async fn a_job_that_a_webhook_opened_holds_its_runner_until_it_is_completed() {
    let mut world = world();
    let ours = runner("r-1", "org:acme");
    assert!(!world.holds(&ours, HoldCode::WebhookJobOpen).await);
    keep(&world.receiver, told("in_progress", 7).on(5, "R-1")).await;
    assert!(world.holds(&ours, HoldCode::WebhookJobOpen).await);
    assert!(
        !world
            .holds(&runner("r-2", "org:acme"), HoldCode::WebhookJobOpen)
            .await
    );
    assert!(
        !world
            .holds(&runner("r-1", "org:other"), HoldCode::WebhookJobOpen)
            .await
    );
    world.pass(60);
    keep(&world.receiver, told("completed", 7).on(5, "R-1")).await;
    assert!(!world.holds(&ours, HoldCode::WebhookJobOpen).await);
    let decision = world.guard.can_terminate(&ours).await;
    assert!(
        !holds_for(&decision, HoldCode::WebhooksUnreadable),
        "{}",
        decision.explain()
    );
}

#[tokio::test]
async fn a_guard_that_was_not_told_of_webhooks_reads_none() {
    let world = world();
    keep(&world.receiver, told("in_progress", 7).on(5, "r-1")).await;
    let deaf = guard(&world.store, &world.clock).build().unwrap();
    let decision = deaf.can_terminate(&runner("r-1", "org:acme")).await;
    assert!(!holds_for(&decision, HoldCode::WebhookJobOpen));
}

#[tokio::test]
async fn a_job_that_waits_holds_those_who_could_take_it() {
    let mut world = world();
    keep(&world.receiver, told("queued", 7)).await;
    let fits = runner("r-1", "org:acme");
    let other = Runner::new("r-2", "org:acme")
        .unwrap()
        .with_labels(["windows"]);
    let of_atlas = runner("r-3", "repo:Acme/Atlas");
    let of_boreas = runner("r-4", "repo:acme/boreas");
    assert!(world.holds(&fits, HoldCode::JobPending).await);
    assert!(!world.holds(&other, HoldCode::JobPending).await);
    assert!(world.holds(&of_atlas, HoldCode::JobPending).await);
    assert!(!world.holds(&of_boreas, HoldCode::JobPending).await);
    // It is somebody else's.
    keep(&world.receiver, told("in_progress", 7).on(6, "r-9")).await;
    assert!(!world.holds(&fits, HoldCode::JobPending).await);
    keep(&world.receiver, told("queued", 8)).await;
    world.pass(89);
    assert!(world.holds(&fits, HoldCode::JobPending).await);
    world.pass(1);
    assert!(!world.holds(&fits, HoldCode::JobPending).await);
}

#[tokio::test]
async fn many_jobs_that_wait_for_this_and_that_still_hold() {
    let world = world();
    for job in 0..70 {
        let label: &'static str = Box::leak(format!("l{job}").into_boxed_str());
        let labels = vec![if job == 0 { "linux" } else { label }];
        world.clock.set(at(i64::try_from(job).unwrap() / 10));
        keep(
            &world.receiver,
            crate::world::Told {
                labels,
                ..told("queued", job)
            },
        )
        .await;
    }
    let decision = world.guard.can_terminate(&runner("r-1", "org:acme")).await;
    assert!(
        holds_for(&decision, HoldCode::JobPending),
        "{}",
        decision.explain()
    );
    let told = serde_json::to_string(&decision.assessment().evidence).unwrap();
    assert!(told.matches("queued_at").count() <= 65, "{told}");
}

#[tokio::test]
async fn an_enterprises_guard_reads_its_own_ledger() {
    let world = world();
    let enterprise = Some("acme-inc");
    let told = crate::world::Told {
        enterprise,
        ..told("in_progress", 7).on(5, "r-1")
    };
    keep(&world.receiver, told).await;
    assert!(
        world
            .holds(
                &runner("r-1", "enterprise:Acme-Inc"),
                HoldCode::WebhookJobOpen
            )
            .await
    );
    assert!(
        !world
            .holds(&runner("r-1", "enterprise:other"), HoldCode::WebhookJobOpen)
            .await
    );
}

#[tokio::test]
async fn a_runner_of_another_repository_with_the_same_name_is_not_meant() {
    let world = world();
    keep(
        &world.receiver,
        told("in_progress", 7).on(5, "r-1").of("acme/boreas"),
    )
    .await;
    assert!(
        !world
            .holds(&runner("r-1", "repo:acme/atlas"), HoldCode::WebhookJobOpen)
            .await
    );
    assert!(
        world
            .holds(&runner("r-1", "repo:acme/boreas"), HoldCode::WebhookJobOpen)
            .await
    );
    // An organisation's runner takes the jobs of all of them.
    assert!(
        world
            .holds(&runner("r-1", "org:acme"), HoldCode::WebhookJobOpen)
            .await
    );
}

#[tokio::test]
async fn a_new_instance_under_an_old_name_is_not_held_by_the_old_ones_job() {
    let mut world = world();
    keep(&world.receiver, told("in_progress", 7).on(5, "r-1")).await;
    world.pass(600);
    let anew = runner("r-1", "org:acme").launched_at(at(300));
    assert!(!world.holds(&anew, HoldCode::WebhookJobOpen).await);
    // Unless the number says so.
    let same = runner("r-2", "org:acme").with_id(5).launched_at(at(300));
    assert!(
        !world.holds(&same, HoldCode::WebhookJobOpen).await,
        "it is looked for by its name"
    );
    let same = runner("r-1", "org:acme").with_id(5).launched_at(at(300));
    assert!(world.holds(&same, HoldCode::WebhookJobOpen).await);
}

#[tokio::test]
async fn a_runner_that_is_told_by_its_number_alone_is_found() {
    let world = world();
    keep(&world.receiver, told("in_progress", 7).on(5, "")).await;
    assert!(
        world
            .holds(
                &runner("r-1", "org:acme").with_id(5),
                HoldCode::WebhookJobOpen
            )
            .await
    );
    assert!(
        !world
            .holds(
                &runner("r-2", "org:acme").with_id(6),
                HoldCode::WebhookJobOpen
            )
            .await
    );
}

#[tokio::test]
async fn what_cannot_be_read_holds() {
    for (kind, name) in [(Kind::Jobs, "r-1"), (Kind::Queue, "slot-63")] {
        let world = world();
        let key = Key::of_runner("*".into(), acme(), kind, name.parse().unwrap());
        assert!(matches!(
            world.store.swap(&key, None, "gibberish").await,
            Ok(Swap::Done(_))
        ));
        let ours = runner("r-1", "org:acme");
        assert!(
            world.holds(&ours, HoldCode::WebhooksUnreadable).await,
            "{kind:?}"
        );
        // The next delivery begins the record anew.
        keep(&world.receiver, told("in_progress", 63).on(5, "r-1")).await;
        keep(&world.receiver, told("completed", 63).on(5, "r-1")).await;
        assert!(
            !world.holds(&ours, HoldCode::WebhooksUnreadable).await,
            "{kind:?}"
        );
    }
}

/// A receiver whose clock is ten minutes behind tells of a job that began after the launch.
#[tokio::test]
async fn a_receiver_with_another_clock_is_understood() {
    let mut world = world();
    let behind = ManualClock::at(at(-600));
    let late = receiver(world.store.clone(), &behind).start();
    world.pass(10);
    keep(&late, told("in_progress", 7).on(9, "r-1")).await;
    keep(&late, told("queued", 8)).await;
    world.pass(10);
    let ours = runner("r-1", "org:acme").launched_at(noon());
    assert!(world.holds(&ours, HoldCode::WebhookJobOpen).await);
    assert!(
        world
            .holds(&runner("r-2", "org:acme"), HoldCode::JobPending)
            .await
    );
}

#[tokio::test]
async fn a_sweep_reads_the_ledger_of_all() {
    let world = world();
    keep(&world.receiver, told("in_progress", 7).on(5, "r-1")).await;
    keep(
        &world.receiver,
        crate::world::Told {
            labels: vec!["gpu"],
            ..told("queued", 8)
        },
    )
    .await;
    let gpu = Runner::new("r-3", "repo:acme/atlas")
        .unwrap()
        .with_labels(["gpu"]);
    let mut sweep = world
        .guard
        .sweep([runner("r-1", "org:acme"), runner("r-2", "org:acme"), gpu]);
    while let Some(decision) = sweep.next().await {
        let name = decision.assessment().runner.name.to_string();
        assert_eq!(
            holds_for(&decision, HoldCode::WebhookJobOpen),
            name == "r-1",
            "{name}"
        );
        assert_eq!(
            holds_for(&decision, HoldCode::JobPending),
            name == "r-3",
            "{name}"
        );
    }
}
