//! `scale-in-guard history`: the last decisions about a runner, and what they rest on.

use crate::{Fault, deployment::Place, terminal::tell};
use clap::Args;
use scale_in_guard::{
    guard::{Decided, History, history},
    runner::RunnerName,
    time::Instant,
};
use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The last decisions about a runner, with what each witness said: one for each change of the verdict, of its
/// reasons, of the stage or of who contradicts whom
///
/// Guards keep the last 50 changes of each runner in the store, or 32 KiB of them. It asks GitHub nothing and needs no
/// token. With --scenario they become a test: a file that `scale-in-guard replay` plays.
#[derive(Args)]
#[command(after_long_help = "\
Exit status: 0; 1 when nothing is kept of such a runner; 2 when it could not be read, or the file not written.

Example:
  scale-in-guard history i-06cbe04821ccba677 --scope org:acme --scenario incident.json
  scale-in-guard replay incident.json")]
pub(crate) struct Arguments {
    /// The runner's name, as GitHub shows it
    runner: RunnerName,

    #[command(flatten)]
    place: Place,

    /// Print the decisions as JSON, one line each; see docs/json.md
    #[arg(long)]
    json: bool,

    /// Write them as a scenario, too: what the witnesses said and what was remembered at each decision, and what was
    /// decided
    #[arg(long, value_name = "FILE.json")]
    scenario: Option<PathBuf>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let Arguments { runner, place, .. } = arguments;
    let scope = &place.scope;
    let kept = history(place.store().await?, &place.host()?, scope, runner).await?;
    if kept.decisions.is_empty() {
        tell(format_args!(
            "no decision about {runner} in {scope} is kept: see that the name, the scope and the store are right, and --api-url"
        ));
        return Ok(ExitCode::from(1));
    }
    let told = match arguments.json {
        true => lines(&kept)?,
        false => explained(&kept),
    };
    // First: whoever reads what is printed may not read it to the end.
    if let Some(path) = &arguments.scenario {
        write_scenario(&kept, path)?;
    }
    let mut out = anstream::stdout().lock();
    out.write_all(told.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn lines(history: &History) -> Result<String, Fault> {
    let mut told = String::new();
    for decided in &history.decisions {
        writeln!(told, "{}", serde_json::to_string(decided)?)?;
    }
    Ok(told)
}

fn explained(history: &History) -> String {
    history
        .decisions
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A decision for a person: what was decided, for how long, why, and what each witness had said.
fn one(decided: &Decided) -> String {
    let outcome = &decided.outcome;
    let shadow = if outcome.in_shadow { " in shadow" } else { "" };
    let basis = outcome.basis.map(|basis| format!(": {basis}"));
    let mut told = format!(
        "{}  {}{shadow}{}, stage {}",
        stamp(outcome.at),
        outcome.verdict,
        basis.unwrap_or_default(),
        outcome.stage
    );
    if outcome.last > outcome.at {
        told.push_str(&format!(", the same until {}", stamp(outcome.last)));
    }
    told.push('\n');
    for (code, message) in outcome.codes.iter().zip(&decided.messages) {
        told.push_str(&format!("  · {code}: {message}\n"));
    }
    if let Some(who) = &outcome.desync {
        let names = |who: &[scale_in_guard::Witness]| {
            who.iter()
                .map(|who| who.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        told.push_str(&format!(
            "  the witnesses disagree: occupied by {}; vacant by {}\n",
            names(&who.occupied),
            names(&who.vacant)
        ));
    }
    match &decided.evidence {
        Some(evidence) => {
            for evidence in evidence {
                let said = evidence.describe(outcome.at);
                told.push_str(&format!("  {:<14} {said}\n", evidence.witness().as_str()));
            }
        }
        None => told.push_str("  the evidence was too much to keep\n"),
    }
    told
}

fn stamp(at: Instant) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn write_scenario(history: &History, path: &Path) -> Result<(), Fault> {
    let shown = path.display();
    let Some(made) = history.scenario() else {
        return Err(format!("--scenario {shown}: of no decision is the evidence kept").into());
    };
    let mut text = serde_json::to_string_pretty(&made.scenario)?;
    text.push('\n');
    fs::write(path, text).map_err(|error| format!("--scenario {shown}: {error}"))?;
    tell(format_args!(
        "{shown}: {} decisions; play it with scale-in-guard replay {shown}",
        made.decisions
    ));
    if made.left_out > 0 {
        tell(format_args!(
            "{} are left out: the runner was given otherwise then or the policy was another one, or their evidence was too much to keep",
            made.left_out
        ));
    }
    Ok(())
}
