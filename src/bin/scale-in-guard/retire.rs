//! `scale-in-guard retire`: lets a runner go the whole way, and runs a command only with a go.

use crate::{
    Fault, credentials,
    deployment::{Deployment, Subject, unless_refused},
    terminal::{print_done, tell},
};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use scale_in_guard::{
    Decision, Go,
    guard::{Retirement, Setback},
    permit::Refused,
    stores::REDIS_PASSWORD,
};
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    fmt, io,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};
use tokio::{task::spawn_blocking, time::sleep};

/// Let a runner go the whole way: look, announce it in the runner's fence, deregister it (--deregister), let it
/// settle for 90 s, look again, and only then run COMMAND. A job that starts in between takes the runner back
///
/// Each call goes as far as it can and ends; call it again, from cron or in a loop, and it goes on from there,
/// also from another machine on the same store. Between two calls of one retirement no more than 10 minutes may
/// pass, or it begins anew. With --wait it stays until the runner is gone or held.
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0  COMMAND was run, and succeeded: the runner is terminated
  1  it must stay, or a step could not be made; the reasons say why, and when to ask again
  2  it could not ask: wrong usage or policy, or the token is missing or refused
  3  draining, or drained and undecided: call again at the time that is printed
  4  COMMAND was run, and failed: another try needs a new decision

COMMAND is given SCALE_IN_GUARD_RUNNER, SCALE_IN_GUARD_SCOPE, SCALE_IN_GUARD_BASIS, SCALE_IN_GUARD_DEADLINE
(RFC 3339: call terminate before it) and SCALE_IN_GUARD_FENCED (true where a live beacon could take it back);
GITHUB_TOKEN, what names a GitHub App and its key, and SCALE_IN_GUARD_REDIS_PASSWORD are taken away from it.
A runner goes by itself: max_permits_per_sweep, and the hold while most beacons are silent, are a sweep's.

Examples:
  scale-in-guard retire --scope repo:acme/atlas --runner i-06cbe04821ccba677 --deregister --wait \\
      -- aws ec2 terminate-instances --instance-ids i-06cbe04821ccba677")]
pub(crate) struct Arguments {
    #[command(flatten)]
    deployment: Deployment,

    #[command(flatten)]
    subject: Subject,

    /// Remove the runner's registration first, so that no new job comes to it. GITHUB_TOKEN must be able to
    #[arg(long)]
    deregister: bool,

    /// Stay until it is gone or held, instead of ending while it drains
    #[arg(long)]
    wait: bool,

    /// What terminates the runner
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let deployment = &arguments.deployment;
    let scope = &deployment.place.scope;
    let (builder, github) = deployment.builder().await?;
    let builder = match arguments.deregister {
        true => builder.deregister(github.clone()),
        false => builder,
    };
    let guard = builder.build()?;
    let runner = arguments.subject.runner(scope)?;
    tell(guard.coverage(scope));
    loop {
        let retirement = guard
            .retire(&runner, async |go| arguments.terminate(go).await)
            .await;
        let code = match &retirement {
            Retirement::Terminated(_) => 0,
            Retirement::Draining { .. } | Retirement::Undecided { .. } => 3,
            Retirement::Failed(_) => 4,
            _ => 1,
        };
        let resume_at = resume_at(&retirement).filter(|_| arguments.wait);
        let told = match deployment.json {
            true => format!("{}\n", shown(retirement)),
            false => explained(retirement),
        };
        // What happened has happened, whether anybody can be told or not.
        print_done(&told);
        unless_refused(&github)?;
        let Some(resume_at) = resume_at else {
            return Ok(ExitCode::from(code));
        };
        let left = resume_at - now();
        sleep(left.to_std().unwrap_or_default()).await;
    }
}

/// When to go on with a drain that stands.
fn resume_at<E>(retirement: &Retirement<E>) -> Option<DateTime<Utc>> {
    match retirement {
        Retirement::Draining { resume_at, .. } => Some(*resume_at),
        Retirement::Undecided { .. } => Some(now() + TimeDelta::seconds(5)),
        // Whoever is asked again soon enough is asked once more to deregister; else it begins anew.
        Retirement::Stopped {
            why: Setback::Deregistering { .. } | Setback::Refused(Refused::Expired { .. }),
            ..
        } => Some(now() + TimeDelta::seconds(1)),
        _ => None,
    }
}

fn now() -> DateTime<Utc> {
    use scale_in_guard::clock::{Clock, SystemClock};
    SystemClock.now()
}

/// Until when COMMAND may be run, by the wall clock and by the monotonic one, which nobody sets.
#[derive(Debug, Clone, Copy)]
struct Until(DateTime<Utc>, Instant);

impl Until {
    fn of(deadline: DateTime<Utc>) -> Self {
        let left = (deadline - now()).to_std().unwrap_or_default();
        Self(deadline, tokio::time::Instant::now().into_std() + left)
    }

    fn is_over(self, wall: DateTime<Utc>, monotonic: Instant) -> bool {
        wall >= self.0 || monotonic >= self.1
    }
}

/// Why COMMAND did not do its work.
#[derive(Debug)]
struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Arguments {
    /// Runs COMMAND.
    async fn terminate(&self, go: Go) -> Result<(), Failed> {
        let until = Until::of(go.deadline());
        let mut words = self.command.iter();
        let program = words.next().ok_or(Failed("no command".to_owned()))?;
        let mut command = Command::new(program);
        // They may remove runners; whoever terminates an instance need not.
        for variable in credentials::VARIABLES {
            command.env_remove(variable);
        }
        command
            .env_remove(REDIS_PASSWORD)
            .args(words)
            .env("SCALE_IN_GUARD_RUNNER", go.runner().name.as_str())
            .env("SCALE_IN_GUARD_SCOPE", go.runner().scope.to_string())
            .env("SCALE_IN_GUARD_BASIS", go.basis().as_str())
            .env("SCALE_IN_GUARD_DEADLINE", go.deadline().to_rfc3339())
            .env("SCALE_IN_GUARD_FENCED", go.fenced().to_string());
        if self.deployment.json {
            // Standard output is for the JSON alone.
            command.stdout(Stdio::from(io::stderr()));
        }
        let shown = program.to_string_lossy().into_owned();
        // A thread for it may have been long in coming: nothing may stand between this and COMMAND.
        let ran = spawn_blocking(move || {
            match until.is_over(now(), tokio::time::Instant::now().into_std()) {
                true => None,
                false => Some(command.status()),
            }
        });
        let ended = ran.await;
        // Only now: to tell somebody may take long.
        if !go.fenced() {
            tell("no live beacon on its host: no job could have taken the runner back");
        }
        let over = now() - go.deadline();
        if matches!(ended, Ok(Some(_))) && over > TimeDelta::zero() {
            tell(format_args!(
                "{shown} ended {} s after its go: others may have begun to let the runner go",
                over.num_seconds()
            ));
        }
        match ended {
            Ok(Some(Ok(status))) if status.success() => Ok(()),
            Ok(Some(Ok(status))) => Err(Failed(format!("{shown}: {status}"))),
            Ok(Some(Err(error))) => Err(Failed(format!("{shown}: {error}"))),
            Ok(None) => Err(Failed(format!(
                "too late for {shown}: its go was over before it could be run"
            ))),
            Err(broken) => Err(Failed(format!("{shown}: {broken}"))),
        }
    }
}

fn explained(retirement: Retirement<Failed>) -> String {
    match retirement {
        Retirement::Held(hold) => Decision::Hold(hold).explain(),
        Retirement::Undecided { hold, lapses_at } => format!(
            "drained, and undecided: call again, before {}\n{}",
            lapses_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            Decision::Hold(hold).explain()
        ),
        other => format!("{other}\n"),
    }
}

/// The JSON of a retirement; see docs/json.md.
fn shown(retirement: Retirement<Failed>) -> Value {
    let retry_at = retirement.retry_at();
    match retirement {
        Retirement::Held(hold) => {
            let decision = Decision::Hold(hold);
            json!({"retirement": "held", "retry_at": retry_at, "decision": decision})
        }
        Retirement::Undecided { hold, lapses_at } => {
            let decision = Decision::Hold(hold);
            json!({
                "retirement": "undecided",
                "retry_at": retry_at,
                "lapses_at": lapses_at,
                "decision": decision,
            })
        }
        Retirement::Draining { deregistration, .. } => json!({
            "retirement": "draining",
            "retry_at": retry_at,
            "deregistration": deregistration,
        }),
        Retirement::Stopped { why, .. } => json!({
            "retirement": "stopped",
            "retry_at": retry_at,
            "code": code(&why),
            "message": why.to_string(),
        }),
        Retirement::DeregisteredWhileOccupied { by } => {
            json!({"retirement": "deregistered_while_occupied", "message": by})
        }
        Retirement::Terminated(basis) => json!({"retirement": "terminated", "basis": basis}),
        Retirement::Failed(failed) => {
            json!({"retirement": "failed", "message": failed.to_string()})
        }
    }
}

fn code(why: &Setback) -> &'static str {
    match why {
        Setback::Deregistering { .. } => "deregistering",
        Setback::Occupied => "occupied",
        _ => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_go_is_over_by_either_clock() {
        let (wall, monotonic) = (now(), tokio::time::Instant::now().into_std());
        let until = Until(wall, monotonic);
        let (a_second, second) = (TimeDelta::seconds(1), Duration::from_secs(1));
        let earlier = monotonic.checked_sub(second);
        assert!(earlier.is_some_and(|earlier| !until.is_over(wall - a_second, earlier)));
        assert!(earlier.is_some_and(|earlier| until.is_over(wall, earlier)));
        assert!(until.is_over(wall - a_second, monotonic));
        assert!(
            Until::of(wall - a_second)
                .is_over(wall - a_second, tokio::time::Instant::now().into_std())
        );
    }
}
