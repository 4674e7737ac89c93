//! `scale-in-guard phantoms`: instances that never became a runner.

use crate::{
    Fault,
    deployment::Deployment,
    sweep::{Wanted, decide_each},
};
use clap::Args;
use std::{path::PathBuf, process::ExitCode};

/// Which of these instances never registered, and which of them may go? It asks about all, as `sweep` does, and
/// prints the decisions about those that GitHub does not list and that no look ever found registered, or that could
/// not be read
///
/// A phantom holds a slot until somebody takes it back: its registration token never came (bursts of 502), or its boot
/// failed. It may go when it was launched, or first looked at, more than `registration_deadline` (10 minutes) ago, was
/// absent in two looks after that, and no witness ever saw it, beside a listing that can be trusted. So run it, or
/// `sweep`, every few minutes, with every instance that you have and with its launch.
///
/// Where no runner of the scope ever registered, GitHub's list is empty, and an empty list is believed only in a scope
/// that is known to be yours: by a runner that was once shown, or by a token that it minted for
/// `scale-in-guard registration-token` on the same store; then after 3 looks over 10 minutes.
#[derive(Args)]
#[command(after_long_help = "\
A line of the file: {\"name\": \"i-06cbe04821ccba677\", \"launched_at\": \"2026-05-14T01:40:00Z\"}
Only the name must be there.

Exit status:
  0  every instance was asked about; the lines say which may go
  2  it could not ask: wrong usage or policy, a line that is no runner (the others are judged), the
     credentials are missing or refused, or not every decision could be printed

Example, every few minutes:
  list-my-instances | scale-in-guard phantoms --scope org:acme --json --runners - \\
      | jq -r 'select(.verdict == \"terminate\") | .runner.name'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    deployment: Deployment,

    /// Every instance that you have, as JSON Lines; `-` reads them from standard input
    #[arg(long, value_name = "FILE|-")]
    runners: PathBuf,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    decide_each(
        &arguments.deployment,
        &arguments.runners,
        Wanted::NeverRegistered,
    )
    .await
}
