//! `scale-in-guard ghosts`: registrations that no instance stands behind.

use crate::{
    Fault,
    credentials::Credentials,
    deployment::{Place, read_policy},
    refusal::is_for_the_caller,
    runners,
    terminal::tell,
};
use clap::Args;
use scale_in_guard::{
    Policy,
    clock::{Clock, SystemClock},
    github::{Ghost, GhostRemoval, Ghosts, GhostsError},
    time::Instant,
};
use serde_json::json;
use std::{collections::BTreeMap, io::Write, path::PathBuf, process::ExitCode};

/// List the registrations that never connected, and since when each has been seen; with --remove, remove those that
/// nothing can stand behind any more
///
/// They are left of just-in-time runners whose answer was lost or whose instance never came up. One may go when it was
/// first seen 10 minutes ago (registration_deadline of the policy), and no look since saw it connected: with a
/// version, online or busy. What each look saw is kept in the store, so run it every few minutes: the first look
/// removes nothing. A GitHub that shows no versions has no ghosts.
///
/// Never removed is a registration whose name --runners has, one of whose host a beacon spoke, and one of a name that
/// had a job. Each is read again just before it is removed.
///
/// The token is read from GITHUB_TOKEN: it must be able to read self-hosted runners, and with --remove to write. It is
/// never printed.
#[derive(Args)]
#[command(after_long_help = "\
Exit status:
  0  they are listed; with --remove, those that may go are gone
  1  not now: GitHub or the store could not be used, or one that may go is still there
  2  wrong usage or policy, a line of --runners that is no runner, or none at all (then nothing is removed), GitHub refused the
     token or its permissions, or the list could not be printed

Example, every few minutes:
  list-my-instances | scale-in-guard ghosts --scope org:acme --remove --runners -

A line: what became of it (removable, waits, kept, removed, …), its name, its number, since when it has been seen.
A summary stands on standard error.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    credentials: Credentials,

    /// Remove those that may go
    #[arg(long)]
    remove: bool,

    /// The runners that have an instance, as JSON Lines ({"name": …}, as for sweep): their registrations stay. `-`
    /// reads them from standard input
    #[arg(long, value_name = "FILE|-")]
    runners: Option<PathBuf>,

    /// The policy, as TOML: its registration_deadline counts, which must be longer than the slowest of your instances
    /// takes to come up
    #[arg(long, value_name = "FILE.toml")]
    policy: Option<PathBuf>,

    /// Print one line of JSON for each; see docs/json.md
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let place = &arguments.place;
    let policy = match &arguments.policy {
        Some(path) => read_policy(path)?,
        None => Policy::default(),
    };
    let read = match &arguments.runners {
        Some(path) => Some(runners::read(path, &place.scope)?),
        None => None,
    };
    let (instances, faults) =
        read.map_or_else(Default::default, |read| (read.runners, read.faults));
    let kept = instances.len();
    for fault in &faults {
        tell(fault);
    }
    let github = place.github(&arguments.credentials)?;
    let ghosts = Ghosts::new(github.clone(), place.store().await?, &policy);
    let ghosts = ghosts.keep(instances.into_iter().map(|runner| runner.name));
    // A line that cannot be read names somebody, too; and a list of nobody is more likely one that failed.
    let is_empty = arguments.runners.is_some() && kept == 0;
    if is_empty && arguments.remove {
        tell("--runners names nobody: nothing is removed; leave it out if you have no instance");
    }
    let remove = arguments.remove && faults.is_empty() && !is_empty;
    let swept = match remove {
        true => ghosts.sweep(&place.scope).await,
        false => ghosts.look(&place.scope).await.map(untouched),
    };
    let swept = match swept {
        Ok(swept) => swept,
        Err(error) => {
            let code = code(&error);
            tell(format_args!("scale-in-guard: {error}"));
            return Ok(ExitCode::from(code));
        }
    };
    let now = SystemClock.now();
    let mut tally = BTreeMap::<_, usize>::new();
    let mut worst = if remove == arguments.remove { 0 } else { 2 };
    worst = if faults.is_empty() { worst } else { 2 };
    let mut out = anstream::stdout().lock();
    for (ghost, removal) in &swept {
        let outcome = outcome(ghost, removal.as_ref(), now);
        *tally.entry(outcome).or_default() += 1;
        worst = worst.max(match removal {
            Some(GhostRemoval::Failed(error)) => code(error),
            Some(GhostRemoval::Refused) => 1,
            None if remove && outcome == "removable" => 1,
            _ => 0,
        });
        let told = match arguments.json {
            true => shown(ghost, removal.as_ref(), outcome),
            false => line(ghost, removal.as_ref(), outcome, now),
        };
        writeln!(out, "{told}")?;
    }
    out.flush()?;
    let tally: Vec<_> = tally
        .iter()
        .map(|(outcome, n)| format!("{n} {outcome}"))
        .collect();
    tell(format_args!(
        "{} never connected{}{}; {} GitHub requests",
        swept.len(),
        if tally.is_empty() { "" } else { ": " },
        tally.join(", "),
        github.requests()
    ));
    Ok(ExitCode::from(worst))
}

/// Ghosts of which none was to be removed.
fn untouched(ghosts: Vec<Ghost>) -> Vec<(Ghost, Option<GhostRemoval>)> {
    ghosts.into_iter().map(|ghost| (ghost, None)).collect()
}

fn code(error: &GhostsError) -> u8 {
    match error {
        GhostsError::GitHub(error) if is_for_the_caller(error) => 2,
        _ => 1,
    }
}

/// What became of it, in a word.
fn outcome(ghost: &Ghost, removal: Option<&GhostRemoval>, now: Instant) -> &'static str {
    match (removal, ghost.removable_at()) {
        (Some(removal), _) => removal.as_str(),
        (None, Some(at)) if at <= now => "removable",
        (None, Some(_)) => "waits",
        (None, None) => "kept",
    }
}

/// A ghost in one line, for a person.
fn line(ghost: &Ghost, removal: Option<&GhostRemoval>, outcome: &str, now: Instant) -> String {
    let why = match (removal, ghost.kept(), ghost.removable_at()) {
        (Some(GhostRemoval::Removed), ..) => String::new(),
        (Some(removal), ..) => format!("; {removal}"),
        (None, Some(kept), _) => format!("; stays: {kept}"),
        (None, None, Some(at)) if now < at => format!(", until {}", stamp(at)),
        _ => String::new(),
    };
    // GitHub takes names that a terminal would act on.
    let (name, since) = (ghost.name().escape_debug(), stamp(ghost.first_seen()));
    format!(
        "{outcome:9}  {name}  {}  seen since {since}{why}",
        ghost.id()
    )
}

fn shown(ghost: &Ghost, removal: Option<&GhostRemoval>, outcome: &str) -> String {
    let kept = match removal {
        Some(GhostRemoval::Kept(why)) => Some(*why),
        _ => ghost.kept(),
    };
    let message = match (removal, kept) {
        (Some(GhostRemoval::Removed), _) => None,
        (Some(removal), _) => Some(removal.to_string()),
        (None, kept) => kept.map(|kept| kept.to_string()),
    };
    let shown = json!({
        "ghost": outcome,
        "id": ghost.id(),
        "name": ghost.name(),
        "scope": ghost.scope(),
        "first_seen": ghost.first_seen(),
        "removable_at": ghost.removable_at(),
        "kept": kept,
        "message": message,
    });
    shown.to_string()
}

fn stamp(at: Instant) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
