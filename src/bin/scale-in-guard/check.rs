//! `scale-in-guard check`: may this one runner be terminated now?

use crate::{
    Fault,
    deployment::{Deployment, Subject, beside_busy_only, unless_refused},
    terminal::tell,
};
use clap::Args;
use scale_in_guard::Decision;
use std::{io::Write, process::ExitCode};

/// May this runner be terminated now? Asks GitHub for its registration and for the jobs that could be on
/// it, weighs the answers against earlier looks, and says why
///
/// A runner goes only after it has been seen vacant for the grace window (5 minutes): the first look
/// always holds, and the answer says when to ask again. Memory of earlier looks is kept in a file
/// between calls; look at a runner at least every 10 minutes, or its window starts anew.
///
/// The token is read from GITHUB_TOKEN: it must be able to read the scope's self-hosted runners and, for
/// the jobs, the repositories' actions. It is never printed.
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0  it may be terminated, now: call terminate at once
  1  it must stay; the reasons say why, what ends each, and when to ask again
  2  it could not ask: wrong usage or policy, the token is missing or refused, or the answer could not
     be printed

Examples:
  scale-in-guard check --scope repo:acme/atlas --runner i-06cbe04821ccba677 --shadow

  scale-in-guard check --scope org:acme --repos acme/atlas,acme/web --repos-are-all \\
      --runner i-06cbe04821ccba677 --id 18700 --launched-at 2026-05-14T01:40:00Z \\
    && aws ec2 terminate-instances --instance-ids i-06cbe04821ccba677

Only the exit status counts: what is printed is printed before the last test of the permit.
It answers, and keeps nobody off: a job that starts after it is not waited for. To deregister, and to let a job
that starts take the runner back, let it go with scale-in-guard retire.
What it asks and how far that reaches stands on standard error.
A GitHub that refuses otherwise, or does not answer, is a reason to hold: 1.
A phantom, whose instance came up and never registered, goes only in a scope that showed another runner of
yours: check one that is registered, once.
SCALE_IN_GUARD_LOG=info shows each decision as a log line.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    deployment: Deployment,

    #[command(flatten)]
    subject: Subject,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let deployment = &arguments.deployment;
    let scope = &deployment.place.scope;
    let (guard, github) = deployment.guard().await?;
    let runner = arguments.subject.runner(scope)?;
    let decision = guard.can_terminate(&runner).await;
    let told = match deployment.json {
        true => format!("{}\n", serde_json::to_string(&decision)?),
        false => decision.explain(),
    };
    if deployment.shadow {
        tell(format_args!("in shadow: {}", beside_busy_only(&decision)));
    }
    tell(guard.coverage(scope));
    // Before the last test: what cannot be told must not be acted on.
    let mut out = anstream::stdout().lock();
    out.write_all(told.as_bytes())?;
    out.flush()?;
    unless_refused(&github)?;
    Ok(match decision {
        Decision::Terminate(permit) => match guard.verify(permit).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(refused) => {
                tell(refused);
                ExitCode::from(1)
            }
        },
        Decision::Hold(_) => ExitCode::from(1),
    })
}
