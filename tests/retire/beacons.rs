//! What a guard makes of the records that a beacon writes.

use crate::world::{ID, World, a_job, codes, minutes, runner, seconds};
use chrono::TimeDelta;
use scale_in_guard::{
    Decision, Guard, HoldCode, Policy, Registration, Runner, Status, Verdict,
    beacon::{ReportError, Reporter, Word},
    clock::Clock,
    lease::{Heartbeat, Report},
    policy::Corroboration,
    runner::RunnerId,
    testing::ScriptedSource,
};

#[tokio::test]
async fn a_live_beacon_without_a_job_is_enough_and_one_that_died_holds() {
    let world = World::new();
    let policy = Policy {
        corroboration: Corroboration::Lease,
        ..Policy::default()
    };
    let guard = world.builder().policy(policy).build().unwrap();
    let mut beacon = world.beacon();
    beacon.says(Report::Listening).await;
    let _ = guard.can_terminate(&runner()).await;
    world
        .go_on(&mut beacon, minutes(5), Report::Listening)
        .await;
    let free = guard.can_terminate(&runner()).await;
    assert_eq!(free.verdict(), Verdict::Terminate, "{:?}", codes(&free));
    world.later(seconds(60));
    let silent = guard.can_terminate(&runner()).await;
    assert!(codes(&silent).contains(&HoldCode::BeaconSilent));
}

#[tokio::test]
async fn the_clock_of_the_host_does_not_matter() {
    for ahead in [-3 * 3600, -90, 0, 90, 3 * 3600] {
        let world = World::new();
        let guard = world.guard();
        let mut beacon = world.beacon_of(Some(RunnerId(ID)), seconds(ahead));
        beacon.says(Report::Listening).await;
        world.later(seconds(15));
        beacon.job_starts().await;
        for (after, code) in [
            (0, HoldCode::LeaseLive),
            (59, HoldCode::LeaseLive),
            (540, HoldCode::LeaseLive),
            (1, HoldCode::JobNotFinished),
        ] {
            world.later(seconds(after));
            let held = guard.can_terminate(&runner()).await;
            assert!(
                codes(&held).contains(&code),
                "{ahead} {after}: {:?}",
                codes(&held)
            );
        }
        beacon.job_ends().await;
        world
            .go_on(&mut beacon, minutes(5), Report::Listening)
            .await;
        let free = guard.can_terminate(&runner()).await;
        assert_eq!(
            free.verdict(),
            Verdict::Terminate,
            "{ahead}: {:?}",
            codes(&free)
        );
        world.later(seconds(60));
        let silent = guard.can_terminate(&runner()).await;
        assert!(codes(&silent).contains(&HoldCode::BeaconSilent), "{ahead}");
    }
}

#[tokio::test]
async fn a_report_that_was_lost_after_the_fence_was_taken_is_not_missed() {
    let world = World::new();
    let guard = world.guard();
    let mut beacon = world.beacon();
    beacon.says(Report::Listening).await;
    world
        .go_on(&mut beacon, minutes(5), Report::Listening)
        .await;
    // The fence is taken; the report that should follow never comes.
    let key = scale_in_guard::store::Key::of_runner(
        "*".into(),
        runner().scope,
        scale_in_guard::store::Kind::Fence,
        runner().name,
    );
    let taken = scale_in_guard::fence::Fence::default().take(21);
    let taken = serde_json::to_string(&taken).unwrap();
    let swap = scale_in_guard::store::Store::swap(&*world.store, &key, None, &taken);
    let _ = swap.await.unwrap();
    let held = guard.can_terminate(&runner()).await;
    assert!(
        codes(&held).contains(&HoldCode::LeaseLive),
        "{:?}",
        codes(&held)
    );
    // The beacon says more: that counts.
    beacon.says(Report::Listening).await;
    let known = guard.can_terminate(&runner()).await;
    assert!(
        !codes(&known).contains(&HoldCode::LeaseLive),
        "{:?}",
        codes(&known)
    );
}

#[tokio::test]
async fn a_beacon_of_another_number_attests_nothing_and_its_job_holds_while_it_speaks() {
    let world = World::new();
    let policy = Policy {
        corroboration: Corroboration::Lease,
        ..Policy::default()
    };
    let guard = world.builder().policy(policy).build().unwrap();
    let mut beacon = world.beacon_of(Some(RunnerId(ID + 1)), TimeDelta::zero());
    beacon.says(Report::Listening).await;
    world
        .go_on(&mut beacon, minutes(6), Report::Listening)
        .await;
    let no_word = guard.can_terminate(&runner()).await;
    assert!(codes(&no_word).contains(&HoldCode::Uncorroborated));
    beacon.says(Report::Worker).await;
    let worker = guard.can_terminate(&runner()).await;
    assert!(codes(&worker).contains(&HoldCode::WorkerAlive));
    world.later(seconds(61));
    let silent = world.guard().can_terminate(&runner()).await;
    assert!(!codes(&silent).contains(&HoldCode::WorkerAlive));
}

#[tokio::test]
async fn what_was_sent_long_before_it_arrived_is_as_old_as_it_was() {
    let world = World::new();
    let scope = runner().scope;
    let mut reporter = Reporter::new(
        world.store.clone(),
        &scope,
        &runner().name,
        None,
        world.clock.now(),
    );
    let mut heartbeat = Heartbeat::new(world.clock.now());
    heartbeat.hear(Report::Listening, world.clock.now(), &Policy::default());
    let word = Word {
        heartbeat,
        started: false,
        going: false,
    };
    // Its watch hangs: it has nothing newer to say a minute later.
    world.later(seconds(60));
    reporter.report(&word, &world.clock).await.unwrap();
    let silent = world.guard().can_terminate(&runner()).await;
    assert!(codes(&silent).contains(&HoldCode::BeaconSilent));
}

#[tokio::test]
async fn a_last_word_is_not_vacant() {
    let world = World::new();
    let guard = world.guard();
    let mut beacon = world.beacon();
    beacon.says(Report::Listening).await;
    world
        .go_on(&mut beacon, minutes(5), Report::Listening)
        .await;
    beacon.hears(Report::Going);
    beacon.tells(false, true).await;
    let now = guard.can_terminate(&runner()).await;
    assert!(codes(&now).contains(&HoldCode::BeaconSilent));
    assert_eq!(
        now.assessment().claims.lease,
        scale_in_guard::evidence::Claim::Unknown
    );
    world.later(seconds(60));
    let gone = guard.can_terminate(&runner()).await;
    assert!(codes(&gone).contains(&HoldCode::BeaconSilent));
}

#[tokio::test]
async fn of_two_beacons_of_one_runner_the_one_that_began_earlier_is_told() {
    let world = World::new();
    let mut one = world.beacon();
    one.says(Report::Listening).await;
    let mut other = world.beacon();
    other.says(Report::Worker).await;
    let scope = runner().scope;
    let mut third = Reporter::new(
        world.store.clone(),
        &scope,
        &runner().name,
        None,
        world.clock.now(),
    );
    let word = |heartbeat| Word {
        heartbeat,
        started: false,
        going: false,
    };
    let now = world.clock.now();
    third
        .report(&word(Heartbeat::new(now)), &world.clock)
        .await
        .unwrap();
    other.says_nothing_new().await;
    let held = world.guard().can_terminate(&runner()).await;
    assert!(
        !codes(&held).contains(&HoldCode::WorkerAlive),
        "the latest run is believed"
    );
    let again = third.report(&word(Heartbeat::new(now)), &world.clock).await;
    assert!(again.is_ok(), "{again:?}");
}

#[tokio::test]
async fn a_job_that_only_github_shows_still_holds_beside_an_idle_beacon() {
    let world = World::new();
    let guard = world.guard();
    let mut beacon = world.beacon();
    beacon.says(Report::Listening).await;
    world
        .go_on(&mut beacon, minutes(5), Report::Listening)
        .await;
    world.jobs.says(scale_in_guard::Signal::Jobs(a_job()));
    let held = guard.can_terminate(&runner()).await;
    assert!(codes(&held).contains(&HoldCode::JobInProgress));
    assert!(held.assessment().claims.desync());
}

impl crate::world::Beacon {
    /// An earlier run tries to report, and is refused.
    async fn says_nothing_new(&mut self) {
        let refused = self.try_tell().await;
        assert!(
            matches!(refused, Err(ReportError::Superseded { .. })),
            "{refused:?}"
        );
    }
}

/// Runners that GitHub calls online, and whose beacons fell silent: so many of so many.
async fn sweep_with(silent: usize, of: usize, after: TimeDelta) -> Vec<Decision> {
    let world = World::new();
    let names: Vec<_> = (0..of).map(|number| format!("r-{number}")).collect();
    let fleet: Vec<_> = names
        .iter()
        .map(|name| Runner::new(name, crate::world::SCOPE).unwrap())
        .collect();
    let idle = Registration::registered(false, Status::Online);
    let flag = ScriptedSource::registration(idle);
    let guard = Guard::builder()
        .clock(world.clock.clone())
        .store(world.store.clone())
        .source(flag)
        .source(world.jobs.clone())
        .build()
        .unwrap();
    let mut reporters: Vec<_> = fleet
        .iter()
        .map(|runner| {
            Reporter::new(
                world.store.clone(),
                &runner.scope,
                &runner.name,
                None,
                world.clock.now(),
            )
        })
        .collect();
    let began = world.clock.now();
    while world.clock.now() < began + after {
        for (number, reporter) in reporters.iter_mut().enumerate() {
            if number < silent && world.clock.now() > began {
                continue;
            }
            let mut heartbeat = Heartbeat::new(began);
            let now = world.clock.now();
            heartbeat.hear(Report::Listening, now, &Policy::default());
            let word = Word {
                heartbeat,
                started: false,
                going: false,
            };
            reporter.report(&word, &world.clock).await.unwrap();
        }
        let mut sweep = guard.sweep(fleet.clone());
        while sweep.next().await.is_some() {}
        world.later(seconds(30));
    }
    let mut decisions = Vec::new();
    let mut sweep = guard.sweep(fleet.clone());
    while let Some(decision) = sweep.next().await {
        decisions.push(decision);
    }
    decisions
}

#[tokio::test]
async fn where_most_beacons_are_silent_at_once_a_sweep_lets_nobody_go() {
    // After 15 minutes and a window a single silence is over; that of most of them is not.
    let long = minutes(22);
    for (silent, of, everybody_stays) in [
        (1, 3, false),
        (2, 3, true),
        (2, 4, false),
        (3, 4, true),
        (2, 2, false),
    ] {
        let decisions = sweep_with(silent, of, long).await;
        assert_eq!(decisions.len(), of);
        for decision in &decisions {
            let stays = codes(decision).contains(&HoldCode::BeaconsSilent);
            assert_eq!(
                stays,
                everybody_stays,
                "{silent} of {of}: {:?}",
                codes(decision)
            );
            assert_eq!(decision.verdict() == Verdict::Hold, everybody_stays);
        }
    }
}

/// The clock of the store was set back: nobody knows how old the report is.
#[tokio::test]
async fn a_report_from_the_future_is_silence() {
    let world = World::new();
    let guard = world.guard();
    let mut beacon = world.beacon();
    world.idle_for_the_window(&guard, &mut beacon).await;
    world.later(-minutes(4));
    let ahead = guard.can_terminate(&runner()).await;
    assert_eq!(
        ahead.assessment().claims.lease,
        scale_in_guard::evidence::Claim::Unknown
    );
    assert!(
        codes(&ahead).contains(&HoldCode::BeaconSilent),
        "{:?}",
        codes(&ahead)
    );
}

/// A run that was frozen since before another one began: its report is no newer for being written later.
#[tokio::test]
async fn a_report_of_an_earlier_run_is_never_newer_than_what_it_follows() {
    let world = World::new();
    let mut frozen = world.beacon();
    frozen.says(Report::Listening).await;
    world.later(seconds(15));
    let mut present = world.beacon();
    present.job_starts().await;
    for _ in 0..3 {
        world.later(seconds(15));
        let refused = frozen.try_tell().await;
        assert!(
            matches!(refused, Err(ReportError::Superseded { .. })),
            "{refused:?}"
        );
        let held = world.guard().can_terminate(&runner()).await;
        assert!(codes(&held).contains(&HoldCode::LeaseLive));
    }
}
