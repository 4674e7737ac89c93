//! Histories: what is kept of decisions, how little it costs, and that an incident replays as it was decided.

use crate::world::*;
use chrono::TimeDelta;
use scale_in_guard::{
    Decision, Verdict, Witness,
    evidence::{Evidence, Signal},
    guard::{PinError, histories, history},
    replay::Scenario,
    store::Kind,
};
use std::sync::atomic::Ordering::Relaxed;

/// What was decided, in a line.
fn told(decision: &Decision) -> String {
    format!("{} {:?}", decision.verdict(), codes(decision))
}

/// Plays the decisions that are kept, and gives what was kept and what was decided anew.
async fn replayed(world: &World, name: &str) -> (Vec<String>, Vec<String>) {
    let kept = history(world.store.clone(), API, &scope(), &name.parse().unwrap())
        .await
        .unwrap();
    let made = kept.scenario().unwrap();
    assert_eq!(made.left_out, 0);
    let text = made.scenario.to_string();
    let scenario: Scenario = serde_json::from_str(&text).unwrap();
    let played = scenario.play().unwrap();
    assert_eq!(played.unmet(), 0, "{text}");
    let then = kept
        .decisions
        .iter()
        .map(|decided| format!("{} {:?}", decided.outcome.verdict, decided.outcome.codes));
    (
        then.collect(),
        played.asks.iter().map(|ask| told(&ask.decision)).collect(),
    )
}

#[tokio::test(start_paused = true)]
async fn of_a_runner_that_phantoms_pass_over_the_memory_alone_is_kept() {
    let world = World::new();
    let guard = world.guard();
    world.shows(true, &["linux"]);
    assert!(guard.phantoms([runner("r-1")]).next().await.is_none());
    let name = "r-1".parse().unwrap();
    let kept = guard.history(&scope(), &name).await.unwrap();
    assert!(kept.decisions.is_empty(), "{kept:?}");
    assert!(world.store.writes_of(Kind::Memory) > 0);
    // What was decided before stays the last decision.
    let decided = guard.can_terminate(&runner("r-1")).await;
    assert_eq!(decided.verdict(), Verdict::Hold);
    let before = guard.history(&scope(), &name).await.unwrap();
    assert_eq!(before.decisions.len(), 1);
    world.later(30);
    world.shows(false, &["linux"]);
    assert!(guard.phantoms([runner("r-1")]).next().await.is_none());
    assert_eq!(guard.history(&scope(), &name).await.unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn an_incident_replays_as_it_was_decided() -> Result<(), PinError> {
    let world = World::new();
    let guard = world.guard();
    let it = runner("r-1");
    // A job that the flag denies, for twenty minutes; then an outage; then it is vacant, and may go.
    world.shows(false, &["linux"]);
    world.shows_jobs("r-1", &[9_301]);
    let mut decided: Vec<String> = Vec::new();
    for minute in 0..40 {
        match minute {
            20 => world.flag.fails("502 Bad Gateway"),
            23 => {
                world.shows(false, &["linux"]);
                world.shows_jobs("r-1", &[]);
            }
            30 => {
                guard
                    .pin(
                        scale_in_guard::evidence::Target::Everything,
                        "ann",
                        "a look",
                    )
                    .await?;
            }
            _ => {}
        }
        let decision = guard.can_terminate(&it).await;
        let what = told(&decision);
        if decided.last() != Some(&what) {
            decided.push(what);
        }
        world.later(1);
    }
    assert!(
        decided.iter().any(|what| what.starts_with("terminate")),
        "{decided:?}"
    );
    assert!(decided.last().unwrap().contains("pinned"), "{decided:?}");
    let (kept, again) = replayed(&world, "r-1").await;
    // A change of who contradicts whom, or of the stage, is kept though the reasons stay.
    let mut reasons = kept.clone();
    reasons.dedup();
    assert_eq!(reasons, decided);
    assert_eq!(again, kept);

    // And the flag's lie is one episode, with the job and what was said.
    let all = histories(world.store.clone(), API, &scope()).await.unwrap();
    let episodes = &all[0].1.episodes;
    assert_eq!(episodes.len(), 1, "{episodes:?}");
    let lie = &episodes[0];
    assert_eq!(lie.who.occupied, [Witness::Jobs]);
    assert_eq!(lie.who.vacant, [Witness::Registration]);
    assert_eq!((lie.jobs.as_slice(), lie.over), (&[9_301][..], true));
    assert_eq!(lie.id.unwrap().0, 18_700);
    assert_eq!(lie.first, start());
    let lasted = lie.last - lie.first;
    assert!(
        lasted > TimeDelta::minutes(15) && lasted < TimeDelta::minutes(20),
        "{lasted}"
    );
    assert!(
        lie.said
            .iter()
            .any(|said| said.what.contains("busy: false"))
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_window_longer_than_the_history_remembers_replays_too() {
    let world = World::new();
    let guard = world.guard();
    let it = runner("r-1");
    // For ninety minutes nothing changes but the time: offline, until it is given up.
    world.flag.says(Signal::Registration(
        scale_in_guard::Registration::registered(false, scale_in_guard::Status::Offline),
    ));
    let mut last = Verdict::Hold;
    for _ in 0..26 * 12 {
        last = guard.can_terminate(&it).await.verdict();
        if last == Verdict::Terminate {
            break;
        }
        world.later(5);
    }
    assert_eq!(last, Verdict::Terminate, "given up in the end");
    let (kept, again) = replayed(&world, "r-1").await;
    assert!(kept.len() < 10, "{kept:?}");
    assert_eq!(again, kept);
}

#[tokio::test(start_paused = true)]
async fn a_look_like_the_last_one_writes_nothing_and_only_changes_are_kept() {
    let world = World::new();
    let guard = world.guard();
    let it = runner("r-1").launched_at(start() - TimeDelta::hours(1));
    world.shows(true, &["linux"]);
    for _ in 0..10 {
        let _ = guard.can_terminate(&it).await;
        world.clock.advance(TimeDelta::seconds(10));
    }
    assert_eq!(
        world.store.writes_of(Kind::History),
        2,
        "one, and the index of scopes"
    );
    let kept = guard.history(&scope(), &it.name).await.unwrap();
    assert_eq!(kept.decisions.len(), 1);
    world.later(4);
    let _ = guard.can_terminate(&it).await;
    let kept = guard.history(&scope(), &it.name).await.unwrap();
    assert_eq!(kept.decisions.len(), 1);
    let outcome = &kept.decisions[0].outcome;
    assert_eq!((outcome.at, outcome.last), (start(), world.now()));
    assert!(outcome.again >= 1);
    assert_eq!(world.store.writes_of(Kind::History), 2);
}

#[tokio::test(start_paused = true)]
async fn jobs_of_other_runners_are_not_kept() {
    let world = World::new();
    let guard = world.guard();
    world.shows_jobs("r-1", &[7]);
    let _ = guard.can_terminate(&runner("r-1")).await;
    let kept = guard.history(&scope(), &runner("r-1").name).await.unwrap();
    let evidence: &[Evidence] = kept.decisions[0].evidence.as_ref().unwrap();
    let jobs: Vec<_> = evidence
        .iter()
        .filter_map(|evidence| match &evidence.signal {
            Signal::Jobs(view) => Some(view.jobs.iter().map(|job| job.id).collect::<Vec<_>>()),
            _ => None,
        })
        .collect();
    assert_eq!(jobs, [[7]]);
}

#[tokio::test(start_paused = true)]
async fn a_history_is_bounded() {
    let world = World::new();
    let guard = world.guard();
    let it = runner("r-1");
    for count in 0..120 {
        world.shows(count % 2 == 0, &["linux"]);
        world.shows_jobs("r-1", if count % 3 == 0 { &[7] } else { &[] });
        let _ = guard.can_terminate(&it).await;
        world.later(1);
    }
    let kept = guard.history(&scope(), &it.name).await.unwrap();
    assert!(
        (10..=50).contains(&kept.decisions.len()),
        "{}",
        kept.decisions.len()
    );
    assert!(kept.episodes.len() <= 16);
    let size = serde_json::to_string(&kept).unwrap().len();
    assert!(size < 36 << 10, "{size}");
    assert!(
        kept.decisions
            .is_sorted_by_key(|decided| decided.outcome.at)
    );
    assert!(kept.scenario().is_some());
}

#[tokio::test(start_paused = true)]
async fn another_policy_begins_the_scenario_anew() {
    let world = World::new();
    let it = runner("r-1");
    let _ = world.guard().can_terminate(&it).await;
    world.later(1);
    world.shows(true, &[]);
    let hasty = serde_json::from_str(r#"{"grace": "1m"}"#).unwrap();
    let guard = world.builder().policy(hasty).build().unwrap();
    let _ = guard.can_terminate(&it).await;
    let kept = guard.history(&scope(), &it.name).await.unwrap();
    let made = kept.scenario().unwrap();
    assert_eq!((made.decisions, made.left_out), (1, 1));
    assert_eq!(made.scenario["policy"]["grace"], "1m");
}

#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_written_changes_no_decision_and_takes_a_second_at_the_most() {
    let world = World::new();
    let guard = world.guard();
    let it = runner("r-1");
    world.store.refuses_history.store(true, Relaxed);
    let _ = world.until_it_may_go(&guard, &it).await;
    world.store.refuses_history.store(false, Relaxed);
    world.store.hangs_on_history.store(true, Relaxed);
    world.shows(true, &[]);
    let began = tokio::time::Instant::now();
    assert_eq!(codes(&guard.can_terminate(&it).await)[0], "busy");
    assert!(began.elapsed() <= std::time::Duration::from_secs(1));
    world.shows(false, &[]);
    let _ = world.until_it_may_go(&guard, &it).await;
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_told_so_keeps_none() {
    let world = World::new();
    let guard = world.builder().history(false).build().unwrap();
    let it = runner("r-1");
    let _ = world.until_it_may_go(&guard, &it).await;
    assert_eq!(world.store.writes_of(Kind::History), 0);
    assert!(
        guard
            .history(&scope(), &it.name)
            .await
            .unwrap()
            .decisions
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_sweep_does_not_give_for_its_budget_is_an_outcome_too() {
    let world = World::new();
    let policy = serde_json::from_str(r#"{"max_permits_per_sweep": 1}"#).unwrap();
    let guard = world.builder().policy(policy).build().unwrap();
    let fleet = [runner("r-0"), runner("r-1")];
    for _ in 0..7 {
        let mut sweep = guard.sweep(fleet.clone());
        while sweep.next().await.is_some() {}
        world.later(1);
    }
    let all = histories(world.store.clone(), API, &scope()).await.unwrap();
    let last: Vec<_> = all
        .iter()
        .map(|(_, kept)| kept.decisions.last().unwrap().outcome.clone())
        .collect();
    let of = |verdict| {
        last.iter()
            .filter(|outcome| outcome.verdict == verdict)
            .count()
    };
    assert_eq!(
        (of(Verdict::Terminate), of(Verdict::Hold)),
        (1, 1),
        "{last:?}"
    );
    assert!(last.iter().any(|outcome| {
        outcome
            .codes
            .iter()
            .map(|code| &**code)
            .eq(["permit_budget_spent"])
    }));
    let (kept, again) = replayed(&world, "r-1").await;
    assert_eq!(again, kept);
}

#[tokio::test(start_paused = true)]
async fn in_shadow_it_is_kept_what_would_have_been_decided() {
    let world = World::new();
    let guard = world.builder().shadow().build().unwrap();
    let it = runner("r-1");
    for _ in 0..7 {
        let _ = guard.can_terminate(&it).await;
        world.later(1);
    }
    let kept = guard.history(&scope(), &it.name).await.unwrap();
    let last = &kept.decisions.last().unwrap().outcome;
    assert!(
        last.in_shadow && last.verdict == Verdict::Terminate,
        "{last:?}"
    );
}
