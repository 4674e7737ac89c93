//! The laws, each tried on the real guard and on the mutants that break it.

use crate::{
    guards::{Answer, Guard, free},
    worlds::{Second, Word, World, any_world, at, evidence, job},
};
use chrono::TimeDelta;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use scale_in_guard::{
    Basis, Evidence, HoldCode, Job, JobStatus, JobsView, Memory, Registration, Signal, Witness,
    evidence::Claim,
    lease::{HostJob, Report},
    ledger::Action,
};

/// How many worlds each law is tried on: the same ones each time, so that a landing does not depend
/// on luck. `LAWS_WORLDS=100000 cargo test --test laws` tries that many others.
const WORLDS: u32 = 4_000;

fn runner() -> TestRunner {
    let worlds = std::env::var("LAWS_WORLDS")
        .ok()
        .and_then(|worlds| worlds.parse().ok());
    let config = Config {
        cases: worlds.unwrap_or(WORLDS),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    match worlds {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    }
}

type Law<T> = fn(Guard, T) -> Result<(), TestCaseError>;

/// The law holds for the real guard in thousands of worlds, and its property catches each mutant.
#[track_caller]
fn try_law<S: Strategy>(worlds: impl Fn() -> S, law: Law<S::Value>, mutants: &[Guard]) {
    let run = |guard| runner().run(&worlds(), |world| law(guard, world));
    if let Err(error) = run(Guard::Real) {
        panic!("{error}");
    }
    for &mutant in mutants {
        let caught = matches!(run(mutant), Err(TestError::Fail(..)));
        assert!(caught, "{mutant:?} survives");
    }
}

/// Plays the looks of a world and answers the last, with the memory it leaves.
fn play(guard: Guard, world: &World) -> (Answer, Memory, Second) {
    let mut memory = Memory::default();
    let mut last = None;
    for (second, words) in world.looks() {
        let said = evidence(words, at(second));
        last = Some((
            guard.look(&world.runner, said, &mut memory, at(second)),
            second,
        ));
    }
    let (answer, second) = last.expect("every world has a look");
    (answer, memory, second)
}

/// The laws are tried on both verdicts, and on every basis.
#[test]
fn the_worlds_have_permits_on_every_basis() {
    use std::{cell::RefCell, collections::BTreeMap};
    let met = RefCell::new(BTreeMap::<String, u32>::new());
    let ran = runner().run(&any_world(), |world| {
        let basis = play(Guard::Real, &world).0.basis;
        *met.borrow_mut().entry(format!("{basis:?}")).or_default() += 1;
        Ok(())
    });
    assert!(ran.is_ok());
    let met = met.into_inner();
    for basis in [
        "None",
        "Some(Vacant)",
        "Some(NeverRegistered)",
        "Some(Departed)",
        "Some(Lost)",
    ] {
        let worlds = met.get(basis).copied().unwrap_or_default();
        assert!(
            worlds >= WORLDS / 400,
            "{basis} in {worlds} of {WORLDS} worlds: {met:?}"
        );
    }
}

/// The answer of the last look, had other words been said.
fn had_they_said(guard: Guard, world: &World, words: Vec<Word>) -> Answer {
    let other = World {
        words,
        ..world.clone()
    };
    play(guard, &other).0
}

/// A reason to hold and a permit exclude each other, and the order of evidence never matters.
#[test]
fn law_1_hold_wins() {
    fn law(guard: Guard, world: World) -> Result<(), TestCaseError> {
        let (answer, ..) = play(guard, &world);
        prop_assert_eq!(answer.terminates(), answer.reasons.is_empty());
        let mut words = world.words.clone();
        words.reverse();
        let sorted = |mut answer: Answer| {
            answer.reasons.sort();
            answer
        };
        let reversed = sorted(had_they_said(guard, &world, words));
        let answer = sorted(answer);
        prop_assert_eq!(answer.verdict, reversed.verdict);
        let codes = |answer: &Answer| -> Vec<String> {
            answer
                .reasons
                .iter()
                .map(|reason| reason.code.clone())
                .collect()
        };
        prop_assert_eq!(codes(&answer), codes(&reversed));
        Ok(())
    }
    try_law(any_world, law, &[Guard::FirstOpinionWins]);
}

/// No evidence holds; so does any witness that was asked and could not be heard.
#[test]
fn law_2_silence_is_not_consent() {
    fn law(guard: Guard, (world, lost): (World, usize)) -> Result<(), TestCaseError> {
        prop_assert!(!had_they_said(guard, &world, Vec::new()).terminates());
        let mut words = world.words.clone();
        if words.is_empty() {
            return Ok(());
        }
        let lost = lost % words.len();
        let witness = evidence(&words[lost..=lost], at(0))[0].witness();
        // Another answer of the same witness may stand in for the one that failed.
        let alone = evidence(&words, at(0))
            .iter()
            .filter(|said| said.witness() == witness)
            .count()
            == 1;
        words[lost] = Word::Failed(witness);
        if alone {
            prop_assert!(
                !had_they_said(guard, &world, words).terminates(),
                "{witness} failed"
            );
        }
        Ok(())
    }
    try_law(
        || (any_world(), any::<usize>()),
        law,
        &[Guard::DropsFailures],
    );
}

/// Without a clear from the jobs or the lease there is no permit, but for a phantom.
#[test]
fn law_3_one_flag_is_never_enough() {
    fn law(guard: Guard, world: World) -> Result<(), TestCaseError> {
        let flag_only = |words: &[Word]| -> Vec<Word> {
            let flag = words
                .iter()
                .filter(|word| matches!(word, Word::Registration(_)));
            flag.cloned().collect()
        };
        let world = World {
            past: world
                .past
                .iter()
                .map(|(gap, words)| (*gap, flag_only(words)))
                .collect(),
            words: flag_only(&world.words),
            ..world
        };
        let (answer, ..) = play(guard, &world);
        prop_assert!(
            !answer.terminates() || answer.basis == Some(Basis::NeverRegistered),
            "{answer:?}"
        );
        Ok(())
    }
    try_law(any_world, law, &[Guard::TrustsTheFlag]);
}

/// Whatever the other witnesses say.
#[test]
fn law_4_a_live_lease_always_holds() {
    fn law(guard: Guard, (world, renewed): (World, Second)) -> Result<(), TestCaseError> {
        let (_, _, now) = play(Guard::Real, &world);
        let renewal = Report::Renewed {
            job: HostJob::new("live"),
            at: at(now - renewed),
            valid_for: None,
        };
        let mut words = world.words.clone();
        words.retain(|word| !matches!(word, Word::Lease(_) | Word::NeverHeard));
        words.push(Word::Lease(vec![(renewed, renewal)]));
        words.push(Word::Webhooks(vec![(0, Action::Completed)]));
        let answer = had_they_said(guard, &world, words);
        prop_assert!(!answer.terminates());
        Ok(())
    }
    let worlds = || (any_world(), 0_i64..600);
    try_law(worlds, law, &[Guard::JobsOutweighLease]);
}

/// Occupied evidence from any witness but the flag holds, and so does a witness that GitHub's request limit kept
/// from being heard.
#[test]
fn law_5_more_objections_never_help() {
    fn law(guard: Guard, (world, objector): (World, usize)) -> Result<(), TestCaseError> {
        let (_, _, now) = play(Guard::Real, &world);
        let renewal = Report::Renewed {
            job: HostJob::new("more"),
            at: at(now - 30),
            valid_for: None,
        };
        let objections = [
            Word::Jobs(JobsView {
                complete: false,
                jobs: vec![job(9, JobStatus::InProgress, Some("r-1"))],
            }),
            Word::Lease(vec![(30, renewal)]),
            Word::Lease(vec![(0, Report::Worker)]),
            Word::Own(Claim::Occupied),
            Word::Pinned(None),
            Word::Opened(20),
            Word::Limited(Witness::Jobs, None),
        ];
        let mut words = world.words.clone();
        words.push(objections[objector % objections.len()].clone());
        prop_assert!(!had_they_said(guard, &world, words).terminates());
        Ok(())
    }
    try_law(
        || (any_world(), any::<usize>()),
        law,
        &[Guard::MajorityDecides],
    );
}

/// Every world has an answer, and a failure is one to hold.
#[test]
fn law_6_asking_is_infallible() {
    fn law(guard: Guard, (world, extreme): (World, usize)) -> Result<(), TestCaseError> {
        let (_, mut memory, now) = play(guard, &world);
        let instants = [
            at(now),
            chrono::DateTime::<chrono::Utc>::MIN_UTC,
            chrono::DateTime::<chrono::Utc>::MAX_UTC,
        ];
        let asked_at = instants[extreme % instants.len()];
        let mut said: Vec<Evidence> = evidence(&world.words, at(now));
        for evidence in &mut said {
            evidence.asked_at = asked_at;
        }
        said.push(Evidence::failed(Witness::Registration, "timeout", at(now)));
        said.retain(|evidence| !matches!(evidence.signal, Signal::Registration(_)));
        let far = instants[extreme / 3 % instants.len()];
        prop_assert!(
            !guard
                .look(&world.runner, said, &mut memory, far)
                .terminates()
        );
        Ok(())
    }
    try_law(
        || (any_world(), any::<usize>()),
        law,
        &[Guard::UnwrapsOrTrue],
    );
}

/// A later `now` never makes a lease live again.
#[test]
fn law_7_time_is_data() {
    fn law(guard: Guard, (world, later): (World, Second)) -> Result<(), TestCaseError> {
        let now = play(Guard::Real, &world).2;
        let heard: Vec<Evidence> = evidence(&world.words, at(now));
        let live_at = |second| {
            let said = heard
                .iter()
                .filter(|evidence| evidence.witness() == Witness::Lease)
                .cloned();
            let said = said.map(|evidence| Evidence {
                asked_at: at(second),
                ..evidence
            });
            let answer = guard.look(
                &world.runner,
                said.collect(),
                &mut Memory::default(),
                at(second),
            );
            answer.holds_for(HoldCode::LeaseLive)
        };
        prop_assert!(
            live_at(now) || !live_at(now + later),
            "live again {later} s later"
        );
        let (between, after) = (now + later, now + later + 700);
        prop_assert!(live_at(between) || !live_at(after), "live again at {after}");
        Ok(())
    }
    try_law(
        || (any_world(), 0_i64..7_000),
        law,
        &[Guard::ClockFallsBack],
    );
}

/// Every hold has reasons with code and sentence; while nothing changes, no look before `retry_at`
/// gets a permit.
#[test]
fn law_8_a_refusal_carries_its_remedy() {
    fn law(guard: Guard, (world, share): (World, Second)) -> Result<(), TestCaseError> {
        let (answer, mut memory, now) = play(guard, &world);
        if answer.terminates() {
            return Ok(());
        }
        prop_assert!(!answer.reasons.is_empty());
        for reason in &answer.reasons {
            prop_assert!(!reason.code.is_empty() && !reason.message.is_empty());
        }
        let Some(retry_at) = answer.retry_at else {
            return Ok(());
        };
        prop_assert!(retry_at >= at(now) && retry_at <= at(now) + TimeDelta::minutes(10));
        // Everything stays as it is, and is said again shortly before.
        let wait = (retry_at - at(now)).num_seconds();
        let again = now + (wait - 1).max(0) * share / 100;
        if again <= now || wait <= 1 {
            return Ok(());
        }
        let mut said = evidence(&world.words, at(now));
        for evidence in &mut said {
            evidence.asked_at += TimeDelta::seconds(again - now);
        }
        let early = Guard::Real.look(&world.runner, said, &mut memory, at(again));
        prop_assert!(
            !early.terminates(),
            "told to wait for {wait} s, but a permit after {}",
            again - now
        );
        Ok(())
    }
    let worlds = || (any_world(), prop_oneof![Just(100_i64), 1_i64..100]);
    try_law(worlds, law, &[Guard::RetriesTooLate, Guard::GivesNoReasons]);
}

/// What an honest deployment says of a runner that is truly vacant, from `since` on.
fn vacant(second: Second, since: Second, beacon: bool, jobs: bool) -> Vec<Word> {
    let mut words = vec![Word::Registration(free())];
    if jobs || !beacon {
        words.push(Word::Jobs(JobsView {
            complete: true,
            jobs: Vec::new(),
        }));
    }
    if beacon {
        // A live beacon, heard every 15 s since then.
        let beats = (0..=(second - since).min(1_200) / 15).rev();
        words.push(Word::Lease(
            beats.map(|beat| (beat * 15, Report::Listening)).collect(),
        ));
    }
    words
}

/// What GitHub answers for the numbers of the jobs that webhooks may have opened.
fn over() -> Vec<Job> {
    [7, 8]
        .map(|id| Job::new(id, JobStatus::Completed, None))
        .into()
}

/// The same words, where the source of the jobs asked for those that webhooks opened.
fn answered(mut words: Vec<Word>) -> Vec<Word> {
    for word in &mut words {
        if let Word::Jobs(view) = word {
            view.jobs.extend(over());
        }
    }
    words
}

/// A runner that is truly vacant, with its witnesses answering, gets its permit at the first ask
/// after the window, whatever went before.
#[test]
fn law_9_liveness() {
    type Input = (World, Vec<Second>, bool, bool);
    fn law(guard: Guard, (world, gaps, beacon, jobs): Input) -> Result<(), TestCaseError> {
        let (_, mut memory, last) = play(guard, &world);
        let mut first = None;
        let mut now = last;
        for gap in gaps {
            now += gap;
            let words = vacant(now, *first.get_or_insert(now), beacon, jobs);
            let answer = guard.look(
                &world.runner,
                evidence(&words, at(now)),
                &mut memory,
                at(now),
            );
            let vacant_for = now - first.unwrap_or(now);
            if vacant_for >= 300 {
                prop_assert!(answer.terminates(), "vacant for {vacant_for} s: {answer:?}");
            }
        }
        Ok(())
    }
    let gaps = || prop::collection::vec(1_i64..=600, 4..8);
    let worlds = || (settled(), gaps(), any::<bool>(), any::<bool>());
    try_law(worlds, law, &[Guard::Forgets]);
}

/// Worlds that leave nothing to wait for but the window: a beacon that was heard once has a silence
/// to wait for, a webhook that opened a job its closing, and a job that waited at a gate `job_pending` from when it is
/// shown there no more.
fn settled() -> impl Strategy<Value = World> {
    let quiet = |words: Vec<Word>| -> Vec<Word> {
        words
            .into_iter()
            .filter(|word| !matches!(word, Word::Lease(_) | Word::Webhooks(_) | Word::Late(..)))
            .map(|word| match word {
                Word::Jobs(mut view) => {
                    view.jobs.retain(|job| job.status != JobStatus::Waiting);
                    Word::Jobs(view)
                }
                word => word,
            })
            .collect()
    };
    any_world().prop_map(move |world| World {
        past: world
            .past
            .into_iter()
            .map(|(gap, words)| (gap, quiet(words)))
            .collect(),
        words: quiet(world.words),
        ..world
    })
}

/// From every state that a world can leave, once its witnesses answer and its runner is vacant or
/// gone, and its beacon is dead or alive, it is given back within two hours; and every reason met
/// on the way names its exit.
#[test]
fn law_10_no_hold_without_an_exit() {
    type Input = (World, usize);
    fn law(guard: Guard, (world, ending): Input) -> Result<(), TestCaseError> {
        let (_, mut memory, last) = play(guard, &world);
        // What the beacon said last stays its last word, where it says no more.
        let last_word = world.words.iter().rev().find_map(|word| match word {
            Word::Lease(reports) => Some(reports.clone()),
            _ => None,
        });
        let mut answer = None;
        for look in 1..=24 {
            let now = last + look * 300;
            let mut words = match ending % 4 {
                0 => answered(vacant(now, last, false, true)),
                1 => answered(vacant(now, last, true, true)),
                2 => vec![
                    Word::Registration(Registration::absent()),
                    Word::Jobs(JobsView {
                        complete: true,
                        jobs: over(),
                    }),
                ],
                _ => vec![
                    Word::Registration(Registration::registered(
                        true,
                        scale_in_guard::Status::Offline,
                    )),
                    Word::Jobs(JobsView {
                        complete: true,
                        jobs: over(),
                    }),
                ],
            };
            if let Some(reports) = &last_word
                && ending % 4 != 1
            {
                let aged = reports
                    .iter()
                    .map(|(ago, report)| (ago + now - last, report.clone()));
                words.push(Word::Lease(aged.collect()));
            }
            let found = guard.look(
                &world.runner,
                evidence(&words, at(now)),
                &mut memory,
                at(now),
            );
            for reason in &found.reasons {
                prop_assert!(reason.exit.len() > 10, "{} names no exit", reason.code);
            }
            answer = Some(found);
        }
        let answer = answer.expect("24 looks");
        prop_assert!(answer.terminates(), "held for two hours: {answer:?}");
        Ok(())
    }
    let worlds = || (any_world(), any::<usize>());
    try_law(
        worlds,
        law,
        &[Guard::SilenceHoldsForEver, Guard::NamesNoExit],
    );
}
