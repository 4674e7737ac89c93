//! The fence between a guard that lets a runner go and a job that starts, or another guard.

use crate::world::{
    Decision, HoldCode, NAME, Program, World, codes, eventually, is_taken, policy, run, signal,
};
use chrono::TimeDelta;
use scale_in_guard::{
    Basis, Go, Refused,
    clock::{Clock, SystemClock},
    fence::{Ended, FenceRefused, State},
    guard::{Retirement, Setback},
    testing::ManualClock,
};
use std::{convert::Infallible, fs, process::Command};

/// Lets `retire` call a script, whose `$0` is this file.
fn calling(command: &mut Command, script: &str, file: &std::path::Path) {
    command.args(["--", "/bin/sh", "-c", script]).arg(file);
}

/// Writes down what it is told.
const WRITE: &str = r#"echo "$SCALE_IN_GUARD_RUNNER $SCALE_IN_GUARD_SCOPE $SCALE_IN_GUARD_BASIS $SCALE_IN_GUARD_FENCED" >> "$0""#;

/// Writes down which process it is, and hangs.
const HANG: &str = r#"echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 300"#;

async fn never(_: Go) -> Result<(), Infallible> {
    panic!("terminate was called")
}

async fn fine(_: Go) -> Result<(), Infallible> {
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_starts_after_the_permit_makes_redeeming_it_fail() {
    let world = World::new().await;
    let (mut runner, _beacon, guard) = world.idle().await;
    let permit = world.vacant(&guard, NAME).await;
    runner.start();
    world.fence_that(NAME, is_taken).await;
    let redeemed = guard.redeem(permit).await;
    assert!(
        matches!(redeemed, Err(Refused::Fence(FenceRefused::Taken))),
        "{redeemed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_starts_while_it_drains_takes_the_runner_back() {
    let world = World::new().await;
    let (mut runner, _beacon, _guard) = world.idle().await;
    let (slow, gone) = (world.path("slow.toml"), world.path("gone"));
    fs::write(&slow, policy([("settle", "5m")])).expect("a policy");
    eventually("a drain", async || {
        let mut retire = world.command_under(&slow, "retire", NAME);
        calling(&mut retire, WRITE, &gone);
        let ran = run(&mut retire);
        assert!(matches!(ran.code, Some(1 | 3)), "{ran:?}");
        (ran.code == Some(3)).then_some(())
    })
    .await;
    let drained = world.fence(NAME).await;
    assert!(matches!(drained.state(), State::Draining(_)), "{drained:?}");

    runner.start();
    let taken = world.fence_that(NAME, is_taken).await;
    assert_eq!(taken.epoch(), drained.epoch() + 1);
    let retire = || {
        let mut retire = world.command("retire", NAME);
        retire.arg("--wait");
        calling(&mut retire, WRITE, &gone);
        run(&mut retire)
    };
    for _ in 0..2 {
        let held = retire();
        assert_eq!(held.code, Some(1), "{held:?}");
        assert!(held.out.contains("lease_live"), "{held:?}");
    }
    assert!(!gone.exists());

    runner.finish();
    let done = eventually("the way to the end", async || {
        let ran = retire();
        assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
        (ran.code == Some(0)).then_some(ran)
    });
    let done = done.await;
    assert!(done.out.contains("terminated: vacant"), "{done:?}");
    let told = fs::read_to_string(gone).expect("it was called");
    assert_eq!(told, "atlas-1 repo:acme/atlas vacant true\n");
    // It stands until it lapses: nobody gets a second go meanwhile.
    let ended = world.fence(NAME).await;
    assert!(
        matches!(ended.state(), State::Terminating { .. }),
        "{ended:?}"
    );
    assert_eq!(ended.last(), Some(Ended::Terminated));
}

/// From here on the time is told by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_dies_with_its_go_keeps_the_others_off_until_that_lapses() {
    let clock = ManualClock::at(SystemClock.now());
    let keys = [
        ("beacon_ttl", "1s"),
        ("settle", "1500ms"),
        ("permit_ttl", "10s"),
    ];
    let world = World::with(keys, clock.clone()).await;
    world.register(NAME);
    let pid = world.path("pid");
    let (retire, hangs) = eventually("a command that hangs", async || {
        let mut retire = world.command("retire", NAME);
        retire.arg("--wait");
        calling(&mut retire, HANG, &pid);
        let mut retire = Program::start(&mut retire, &world.path("retire"));
        let end = eventually("its end, or its command", async || {
            clock.set(SystemClock.now());
            match fs::read_to_string(&pid) {
                Ok(pid) => Some(Some(pid)),
                Err(_) => retire.ended().map(|_| None),
            }
        });
        let pid = end.await?;
        Some((retire, pid.trim().parse().expect("a process")))
    })
    .await;
    retire.kill();
    signal("KILL", hangs);

    let go = world.fence(NAME).await;
    assert!(matches!(go.state(), State::Terminating { .. }), "{go:?}");
    let checked = run(&mut world.command("check", NAME));
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.out.contains("permit_outstanding"), "{checked:?}");

    clock.set(SystemClock.now());
    let (guard, whom) = (world.guard_at(clock.clone()), world.whom(NAME));
    let met = guard.retire(&whom, never).await;
    assert!(
        matches!(
            &met,
            Retirement::Stopped {
                why: Setback::Refused(Refused::Fence(FenceRefused::Outstanding { .. })),
                ..
            }
        ),
        "{met:?}"
    );
    let lapses_at = met.retry_at().expect("an end");
    clock.set(lapses_at - TimeDelta::milliseconds(1));
    let outstanding = world.ask(&guard, NAME).await;
    assert_eq!(codes(&outstanding), [HoldCode::PermitOutstanding]);
    clock.set(lapses_at);
    let lapsed = world.ask(&guard, NAME).await;
    assert_eq!(codes(&lapsed), [HoldCode::GraceWindow]);

    clock.advance(world.policy().grace);
    let drained = guard.retire(&whom, never).await;
    assert!(
        matches!(drained, Retirement::Draining { .. }),
        "{drained:?}"
    );
    clock.advance(world.policy().settle);
    let done = guard.retire(&whom, fine).await;
    assert!(
        matches!(done, Retirement::Terminated(Basis::Vacant)),
        "{done:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_guards_one_lets_the_runner_go() {
    let world = World::new().await;
    let (_runner, _beacon, guard) = world.idle().await;
    let other = world.guard();
    let permits = [
        world.vacant(&guard, NAME).await,
        world.vacant(&other, NAME).await,
    ];
    let [one, two] = permits;
    let go = guard.redeem(one).await.expect("a go");
    assert!(go.fenced());
    let late = other.redeem(two).await;
    assert!(
        matches!(late, Err(Refused::Fence(FenceRefused::Outstanding { .. }))),
        "{late:?}"
    );
    let Decision::Hold(hold) = world.ask(&other, NAME).await else {
        panic!("somebody lets it go")
    };
    assert!(
        hold.reasons()
            .any(|reason| reason.code() == HoldCode::PermitOutstanding)
    );
}
