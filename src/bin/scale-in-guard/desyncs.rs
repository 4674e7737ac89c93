//! `scale-in-guard desyncs`: which witnesses contradicted each other, and for how long.

use crate::{Fault, deployment::Place, terminal::tell};
use clap::Args;
use scale_in_guard::{
    Witness,
    guard::{Episode, histories},
    runner::RunnerName,
    time::Instant,
};
use serde_json::json;
use std::{io::Write, process::ExitCode};

/// Who contradicted whom about the runners of a scope, for how long, and what each said: as Markdown, to be pasted
/// into a report to GitHub
///
/// Guards keep the last 16 such times of each runner in the store. It asks GitHub nothing and needs no token.
#[derive(Args)]
#[command(after_long_help = "\
REST is GitHub's registration: busy and status. Times are UTC. A look that found the same within about three minutes
of another one is not counted.

Exit status: 0, or 2 when they could not be read.

Example:
  scale-in-guard desyncs --scope org:acme > report.md")]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    /// Print them as JSON, one line each; see docs/json.md
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let place = &arguments.place;
    let scope = &place.scope;
    let host = place.host()?;
    let histories = histories(place.store().await?, &host, scope).await?;
    let mut episodes: Vec<_> = histories
        .iter()
        .flat_map(|(name, history)| history.episodes.iter().map(move |one| (name, one)))
        .collect();
    episodes.sort_by_key(|(name, episode)| (episode.first, *name));
    let mut out = anstream::stdout().lock();
    if episodes.is_empty() {
        tell(format_args!(
            "no witnesses are known to have contradicted each other in {scope}"
        ));
    } else if !arguments.json {
        writeln!(
            out,
            "# Contradicting answers about runners of {scope} at {host}"
        )?;
    }
    for (name, episode) in episodes {
        match arguments.json {
            true => writeln!(out, "{}", line(name, episode)?)?,
            false => write!(out, "\n{}", section(name, episode))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(name: &RunnerName, episode: &Episode) -> Result<String, Fault> {
    let mut line = json!({"runner": name});
    if let (Some(line), serde_json::Value::Object(episode)) =
        (line.as_object_mut(), serde_json::to_value(episode)?)
    {
        line.extend(episode);
    }
    Ok(line.to_string())
}

fn section(name: &RunnerName, episode: &Episode) -> String {
    let id = episode.id.map(|id| format!(", id {id}"));
    let seconds = (episode.last - episode.first).num_seconds();
    let end = if episode.over { "" } else { " (not over)" };
    let mut told = format!(
        "## {}{}\n\n- first seen {}, last seen {}{end}: {seconds} s, {} looks\n",
        plain(name.as_str()),
        id.unwrap_or_default(),
        stamp(episode.first),
        stamp(episode.last),
        episode.looks,
    );
    if !episode.jobs.is_empty() {
        let jobs: Vec<_> = episode.jobs.iter().map(u64::to_string).collect();
        told.push_str(&format!("- jobs shown on it: {}\n", jobs.join(", ")));
    }
    told.push_str("\n| witness | claims | said at first |\n| --- | --- | --- |\n");
    let sides = [
        ("occupied", &episode.who.occupied),
        ("vacant", &episode.who.vacant),
    ];
    for (claim, witnesses) in sides {
        for &witness in witnesses {
            let said = episode.said.iter().filter(|said| said.witness == witness);
            let said: Vec<_> = said.map(|said| plain(&said.what)).collect();
            told.push_str(&format!(
                "| {} | {claim} | {} |\n",
                called(witness),
                said.join("; ")
            ));
        }
    }
    told
}

/// What a reader of the report knows a witness as.
fn called(witness: Witness) -> &'static str {
    match witness {
        Witness::Registration => "REST (registration)",
        Witness::Jobs => "REST (workflow jobs)",
        Witness::Lease => "the runner's own log (lease)",
        Witness::Webhooks => "`workflow_job` webhooks",
        other => other.as_str(),
    }
}

/// Without what would end a cell of a table or a line.
fn plain(text: &str) -> String {
    let text = text.replace('|', "\\|");
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn stamp(at: Instant) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
