//! `scale-in-guard shadow`: what shadow mode has counted.

use crate::{Fault, deployment::Place};
use clap::Args;
use scale_in_guard::shadow::ShadowSummary;
use std::{io::Write, process::ExitCode};

/// What shadow mode has counted in a scope: how many kills the guard would have spared, and how many
/// vacant minutes it would have cost
///
/// Run `check --shadow` or `sweep --shadow` for a day, on the same store; then ask this. Each job
/// counts once. It asks GitHub nothing and needs no token.
#[derive(Args)]
#[command(after_long_help = "\
Exit status: 0, or 2 when it could not be read.

Example:
  scale-in-guard shadow --scope org:acme")]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    /// Print the counts as JSON; see docs/json.md
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let place = &arguments.place;
    let host = place.host()?;
    let summary = ShadowSummary::read(place.store().await?, &host, &place.scope).await?;
    let mut out = anstream::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
    } else {
        writeln!(out, "{summary}")?;
    }
    Ok(ExitCode::SUCCESS)
}
