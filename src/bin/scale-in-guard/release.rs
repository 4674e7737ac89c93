//! `scale-in-guard release`: the human exit from a hold.

use crate::{
    Fault,
    deployment::Place,
    terminal::{print_done, tell, user, words},
};
use clap::Args;
use scale_in_guard::{
    clock::{Clock, SystemClock},
    guard::{Release, release},
    runner::RunnerName,
};
use serde_json::json;
use std::{iter, process::ExitCode};

/// Release a runner from what holds it without an end, after somebody looked: what a silent beacon left behind,
/// the job that a webhook left open, a retirement that is out
///
/// It clears nothing: vacancy counts from now, the witnesses are asked as ever, and what is heard from now on
/// holds. So does a lease that is live. It is written down who did it, and why. It asks GitHub nothing and
/// needs no token.
#[derive(Args)]
#[command(after_long_help = "\
Exit status: 0, or 2 when it could not be written; then it may be done in part, and can be done again.

Example:
  scale-in-guard release i-06cbe04821ccba677 --scope org:acme --note 'host is gone, see INC-4711'")]
pub(crate) struct Arguments {
    /// The runner's name, as GitHub shows it
    runner: RunnerName,

    #[command(flatten)]
    place: Place,

    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT", value_parser = words)]
    note: String,

    /// Who says so [default: the user's name]
    #[arg(long, value_name = "NAME", value_parser = words)]
    by: Option<String>,

    /// Print every release of this runner as JSON, one line each; see docs/json.md
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let place = &arguments.place;
    let by = arguments.by.clone().unwrap_or_else(user);
    let said = Release {
        at: SystemClock.now(),
        by: by.into(),
        note: arguments.note.as_str().into(),
    };
    let (scope, runner) = (&place.scope, &arguments.runner);
    let released = release(place.store().await?, &place.host()?, scope, runner, said).await?;
    if !released.was_known {
        tell(format_args!(
            "nothing was known of {runner} in {scope} until now: see that the name, the scope and the store are right, and --api-url"
        ));
    }
    let releases = released.releases.iter();
    let told: String = match arguments.json {
        true => releases.map(|release| format!("{}\n", json!(release))).collect(),
        false => iter::once(format!(
            "released {runner} of {scope}: vacancy counts from now, and what is heard from now on holds\n"
        ))
        .chain(releases.map(|release| format!("  {release}\n")))
        .collect(),
    };
    print_done(&told);
    Ok(ExitCode::SUCCESS)
}
