//! `scale-in-guard sweep`: may these runners be terminated now?

use crate::{
    Fault,
    deployment::{Deployment, beside_busy_only, unless_refused},
    runners,
    terminal::tell,
};
use clap::Args;
use scale_in_guard::{Decision, Verdict, time::Instant};
use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// May these runners be terminated now? Reads runners, one a line, and prints a decision for each: first
/// those that must stay, then, longest vacant first, those that may go
///
/// What they share is read once: GitHub's list of runners, and the jobs only if some runner could go; what
/// is older than 15 seconds is read again. A runner that may go was asked about by itself just before its
/// line is printed. Act on a line at once: it is good for 10 seconds, until the instant that stands in it
/// (`expires_at` with --json). If you act more slowly than that, call `check` for each before you act.
///
/// Give it every runner that you have. A runner that you name no more is taken to have departed.
#[derive(Args)]
#[command(after_long_help = "\
A line of the file: {\"name\": \"i-06cbe04821ccba677\", \"id\": 18700, \"launched_at\": \"2026-05-14T01:40:00Z\"}
Only the name must be there. \"labels\", \"ephemeral\" and \"instance\" may be.

Exit status:
  0  every runner was asked about; the lines say which may go
  2  it could not ask: wrong usage or policy, a line that is no runner (the others are judged), the
     token is missing or refused, or not every decision could be printed

Example, every few minutes:
  list-my-instances | scale-in-guard sweep --scope org:acme --repos acme/atlas --repos-are-all \\
      --json --runners - | jq -r 'select(.verdict == \"terminate\") | .runner.name'

A summary stands on standard error: how many were asked about, how many may go, why the others are held,
and how many requests GitHub was sent.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    deployment: Deployment,

    /// The runners, as JSON Lines; `-` reads them from standard input
    #[arg(long, value_name = "FILE|-")]
    runners: PathBuf,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    decide_each(&arguments.deployment, &arguments.runners, Wanted::All).await
}

/// Whose decisions are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    /// Of instances that never registered, as far as anybody knows.
    NeverRegistered,
}

/// Asks about the runners of a file, and prints the decision about each that is wanted.
pub(crate) async fn decide_each(
    deployment: &Deployment,
    runners: &Path,
    wanted: Wanted,
) -> Result<ExitCode, Fault> {
    let scope = &deployment.place.scope;
    let (guard, github) = deployment.guard().await?;
    let read = runners::read(runners, scope)?;
    for fault in &read.faults {
        tell(fault);
    }
    tell(guard.coverage(scope));
    let progress = Progress::over(read.runners.len());
    let given = read.runners.len();
    // A line that cannot be read names somebody, too.
    let are_all = read.faults.is_empty();
    let mut sweep = match (wanted, are_all) {
        (Wanted::All, true) => guard.sweep(read.runners),
        (Wanted::All, false) => guard.sweep_some(read.runners),
        (Wanted::NeverRegistered, true) => guard.phantoms(read.runners),
        (Wanted::NeverRegistered, false) => guard.phantoms_some(read.runners),
    };
    let mut refused = false;
    let mut tally = Tally::default();
    let mut out = anstream::stdout().lock();
    while let Some(decision) = sweep.next().await {
        progress.make_way();
        let may_go = decision.verdict() == Verdict::Terminate;
        tally.held_for(&decision);
        let told = if deployment.json {
            serde_json::to_string(&decision)?
        } else if deployment.shadow {
            format!(
                "{}  in shadow: {}",
                line(&decision),
                beside_busy_only(&decision)
            )
        } else {
            line(&decision)
        };
        if let Decision::Terminate(permit) = decision
            && let Err(why) = guard.verify(permit).await
        {
            refused = true;
            tell(why);
            continue;
        }
        tally.asked(may_go);
        progress.show(tally.asked);
        writeln!(out, "{told}")?;
        out.flush()?;
    }
    progress.clear();
    tally.print(wanted, given, github.requests());
    if deployment.shadow {
        tell(guard.shadow_summary(scope).await?);
    }
    unless_refused(&github)?;
    Ok(match read.faults.is_empty() && !refused {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(2),
    })
}

/// A decision in one line, for a person.
fn line(decision: &Decision) -> String {
    let assessment = decision.assessment();
    let name = &assessment.runner.name;
    let codes: Vec<_> = decision.reasons().map(|reason| reason.code_str()).collect();
    match decision {
        Decision::Terminate(permit) => {
            let (basis, until) = (permit.basis(), stamp(permit.expires_at()));
            format!("terminate  {name}  {basis}, until {until}")
        }
        Decision::Hold(hold) => {
            let retry_at = hold.retry_at();
            let retry_at =
                retry_at.map_or(String::new(), |at| format!("  ask again at {}", stamp(at)));
            format!("hold       {name}  {}{retry_at}", codes.join(", "))
        }
    }
}

fn stamp(at: Instant) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// What was decided so far.
#[derive(Default)]
struct Tally {
    asked: usize,
    may_go: usize,
    held: BTreeMap<String, usize>,
}

impl Tally {
    fn asked(&mut self, may_go: bool) {
        self.asked += 1;
        self.may_go += usize::from(may_go);
    }

    fn held_for(&mut self, decision: &Decision) {
        for reason in decision.reasons() {
            *self.held.entry(reason.code_str().to_owned()).or_default() += 1;
        }
    }

    fn print(&self, wanted: Wanted, given: usize, requests: u64) {
        let (asked, may_go) = (self.asked, self.may_go);
        let held = asked - may_go;
        if given == 0 {
            tell("no runner was given");
        }
        let asked = match wanted {
            Wanted::All => format!("asked about {asked}"),
            Wanted::NeverRegistered => {
                format!("{asked} of {given} are not known to have registered")
            }
        };
        tell(format_args!(
            "{asked}: {may_go} may go, {held} held; {requests} GitHub requests"
        ));
        for (code, count) in &self.held {
            tell(format_args!("  held for {code}: {count}"));
        }
    }
}

/// A counter on standard error, where that is a terminal.
struct Progress {
    shown: bool,
    /// Whether the decisions go to the same terminal.
    is_in_the_way: bool,
    all: usize,
}

impl Progress {
    fn over(all: usize) -> Self {
        let progress = Self {
            shown: io::stderr().is_terminal(),
            is_in_the_way: io::stdout().is_terminal(),
            all,
        };
        progress.show(0);
        progress
    }

    /// Leaves the line to a decision.
    fn make_way(&self) {
        if self.is_in_the_way {
            self.clear();
        }
    }

    fn show(&self, asked: usize) {
        // Where the decisions go to the same terminal, they show it themselves.
        if self.shown && (asked == 0 || !self.is_in_the_way) {
            write!(io::stderr(), "\rdecided {asked} of {} runners", self.all).ok();
        }
    }

    fn clear(&self) {
        if self.shown {
            write!(io::stderr(), "\r{:60}\r", "").ok();
        }
    }
}
