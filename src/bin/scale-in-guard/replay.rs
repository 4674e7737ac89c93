//! `scale-in-guard replay`: plays scenarios and tells what happened.

use crate::{html, input, terminal::tell, timeline};
use clap::Args;
use scale_in_guard::{
    Verdict,
    replay::{Asked, Occupancy, Played, Scenario},
    time::Instant,
};
use serde::Serialize;
use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Play scenarios through the guard and show each look: what the witnesses said, what an autoscaler
/// that asks nothing but `busy` would have done, what the guard decides, and why
///
/// A scenario is one runner's story as JSON; docs/scenarios.md has the format.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 with no kill and every expectation met, 1 otherwise, 2 for a scenario that does not
parse (the other files, and the other lines of standard input, are still played), for a file that
cannot be read or written, or for wrong usage.

Examples:
  scale-in-guard replay tests/scenarios/desync-incident-2.json
  scale-in-guard replay --html story.html incident.json
  generate-scenarios | scale-in-guard replay --json - | grep '\"kills\"'")]
pub(crate) struct Arguments {
    /// Scenario files; `-` reads JSON Lines, one scenario a line, from standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Print one JSON line an ask and one a scenario
    #[arg(long)]
    json: bool,

    /// Write the same story to this file as one self-contained page
    #[arg(long, value_name = "PAGE", conflicts_with = "json")]
    html: Option<PathBuf>,
}

/// What is printed for one ask with `--json`.
#[derive(Serialize)]
struct AskLine<'a> {
    scenario: &'a str,
    at: Instant,
    verdict: Verdict,
    reasons: Vec<ReasonLine<'a>>,
    retry_at: Option<Instant>,
    truth: Occupancy,
}

#[derive(Serialize)]
struct ReasonLine<'a> {
    code: &'a str,
    message: String,
}

/// What is printed for one scenario with `--json`.
#[derive(Serialize)]
struct ScenarioLine<'a> {
    scenario: &'a str,
    asks: usize,
    kills: usize,
    unmet: usize,
}

/// What was played so far.
#[derive(Default)]
struct Tally {
    scenarios: usize,
    asks: usize,
    kills: usize,
    unmet: usize,
    faults: usize,
    busy_only_kills: usize,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut tally = Tally::default();
    match play(arguments, &mut tally) {
        Ok(()) => {}
        // Whoever read our output has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            tell(format_args!("scale-in-guard: {error}"));
            return ExitCode::from(2);
        }
    }
    ExitCode::from(match tally {
        Tally { faults: 1.., .. } => 2,
        Tally {
            kills: 0, unmet: 0, ..
        } => 0,
        _ => 1,
    })
}

fn play(arguments: &Arguments, tally: &mut Tally) -> io::Result<()> {
    if let Some(page) = &arguments.html
        && arguments.files.iter().any(|file| same_file(file, page))
    {
        let page = page.display();
        return Err(io::Error::other(format!(
            "--html {page}: would overwrite the scenario {page}"
        )));
    }
    let mut out = BufWriter::new(anstream::stdout().lock());
    let mut progress = Progress::new();
    let mut stories = Vec::new();
    for file in &arguments.files {
        input::scenarios(file, |read| {
            progress.step();
            let scenario = match read {
                Ok(scenario) => scenario,
                Err(fault) => {
                    tally.faults += 1;
                    out.flush()?;
                    progress.clear();
                    tell(fault);
                    return Ok(());
                }
            };
            let played = scenario.play().map_err(io::Error::other)?;
            tally.add(&played);
            if arguments.json {
                print_json(&mut out, &scenario, &played)?;
            } else {
                timeline::print(&mut out, &scenario, &played)?;
            }
            if arguments.html.is_some() {
                stories.push((scenario, played));
            }
            Ok(())
        })?;
    }
    progress.clear();
    if !arguments.json && tally.scenarios > 1 {
        timeline::print_total(
            &mut out,
            tally.scenarios,
            tally.asks,
            tally.kills,
            tally.unmet,
            tally.busy_only_kills,
        )?;
    }
    out.flush()?;
    if let Some(page) = &arguments.html {
        fs::write(page, html::page(&stories)).map_err(|error| {
            io::Error::new(error.kind(), format!("--html {}: {error}", page.display()))
        })?;
        tell(format_args!("wrote {}", page.display()));
    }
    Ok(())
}

fn same_file(a: &PathBuf, b: &PathBuf) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

fn print_json(out: &mut impl Write, scenario: &Scenario, played: &Played) -> io::Result<()> {
    let name = &*scenario.name;
    for Asked {
        at,
        truth,
        decision,
        ..
    } in &played.asks
    {
        let reasons = decision.reasons().map(|reason| ReasonLine {
            code: reason.code_str(),
            message: reason.to_string(),
        });
        let line = AskLine {
            scenario: name,
            at: *at,
            verdict: decision.verdict(),
            reasons: reasons.collect(),
            retry_at: decision.retry_at(),
            truth: *truth,
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    let line = ScenarioLine {
        scenario: name,
        asks: played.asks.len(),
        kills: played.kills(),
        unmet: played.unmet(),
    };
    writeln!(out, "{}", serde_json::to_string(&line)?)
}

impl Tally {
    fn add(&mut self, played: &Played) {
        self.scenarios += 1;
        self.asks += played.asks.len();
        self.kills += played.kills();
        self.unmet += played.unmet();
        self.busy_only_kills += played.busy_only_kills();
    }
}

/// A counter on standard error, where that is a terminal and the story is told elsewhere.
struct Progress {
    shown: bool,
    scenarios: usize,
}

impl Progress {
    fn new() -> Self {
        let shown = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self {
            shown,
            scenarios: 0,
        }
    }

    fn step(&mut self) {
        self.scenarios += 1;
        if self.shown && self.scenarios.is_multiple_of(100) {
            eprint!("\rplaying scenario {}", self.scenarios);
        }
    }

    fn clear(&self) {
        if self.shown && self.scenarios >= 100 {
            eprint!("\r{:40}\r", "");
        }
    }
}
