//! A played scenario as a readable timeline.

use anstyle::{AnsiColor, Style};
use scale_in_guard::{
    Decision, Verdict, Witness,
    evidence::Claim,
    replay::{Asked, Occupancy, Played, Scenario},
    time::Instant,
};
use std::io::{self, Write};

const BAD: Style = AnsiColor::Red.on_default().bold();
const GO: Style = AnsiColor::Green.on_default().bold();
const HOLD: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// What a scenario wrote, without what would steer a terminal or turn its text around.
fn clean(text: &str) -> String {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Prints each look: the truth, what every witness said, what an autoscaler that asks nothing but
/// `busy` would have done, and what the guard decided and why.
pub(crate) fn print(out: &mut impl Write, scenario: &Scenario, played: &Played) -> io::Result<()> {
    let Scenario {
        name,
        about,
        runner,
        ..
    } = scenario;
    writeln!(out, "{STRONG}{}{STRONG:#}", clean(name))?;
    if !about.is_empty() {
        writeln!(out, "{}", clean(about))?;
    }
    writeln!(
        out,
        "{DIM}runner {} in {}{DIM:#}\n",
        clean(runner.name.as_str()),
        clean(&runner.scope.to_string())
    )?;
    for ask in &played.asks {
        print_ask(out, ask)?;
    }
    print_score(out, played)
}

fn print_ask(out: &mut impl Write, ask: &Asked) -> io::Result<()> {
    let occupied = ask.truth == Occupancy::Occupied;
    let truth = match occupied {
        true => format!("occupied by {}", clean(&ask.running.join(", "))),
        false => "vacant".to_owned(),
    };
    writeln!(
        out,
        "{STRONG}{}{STRONG:#}  truth      {truth}",
        stamp(ask.at)
    )?;
    let assessment = ask.decision.assessment();
    for evidence in &assessment.evidence {
        let claim = assessment.claims.of(evidence.witness());
        let lie = match (claim, occupied) {
            (Claim::Vacant, true) => format!("  {BAD}◄ LIES: the runner has a job{BAD:#}"),
            (Claim::Occupied, false) => format!("  {HOLD}◄ wrong: the runner has no job{HOLD:#}"),
            _ => String::new(),
        };
        let said = clean(&evidence.describe(ask.at));
        line(
            out,
            witness_name(evidence.witness()),
            &format!("{said}{lie}"),
        )?;
    }
    let busy_only = match (ask.busy_only, occupied) {
        (Verdict::Terminate, true) => format!("{BAD}terminate ✗ kills the job{BAD:#}"),
        (Verdict::Terminate, false) => "terminate".to_owned(),
        (Verdict::Hold, _) => "keep".to_owned(),
    };
    line(out, "busy-only", &busy_only)?;
    let verdict = match &ask.decision {
        Decision::Terminate(permit) if occupied => {
            format!("{BAD}terminate ({}) ✗ KILLS THE JOB{BAD:#}", permit.basis())
        }
        Decision::Terminate(permit) => format!("{GO}terminate{GO:#} ({})", permit.basis()),
        Decision::Hold(_) => format!("{HOLD}hold{HOLD:#}"),
    };
    let unmet = match ask.expect {
        Some(expected) if ask.is_unmet() => {
            format!("  {BAD}✗ the scenario demands: {expected}{BAD:#}")
        }
        _ => String::new(),
    };
    line(out, "guard", &format!("{verdict}{unmet}"))?;
    for reason in ask.decision.reasons() {
        line(
            out,
            "",
            &format!(
                "{DIM}· {}:{DIM:#} {}",
                reason.code_str(),
                clean(&reason.to_string())
            ),
        )?;
    }
    if let Some(at) = ask.decision.retry_at() {
        line(out, "", &format!("{DIM}ask again at {}{DIM:#}", stamp(at)))?;
    }
    writeln!(out)
}

fn print_score(out: &mut impl Write, played: &Played) -> io::Result<()> {
    let times: Vec<_> = played
        .asks
        .iter()
        .filter(|ask| ask.is_busy_only_kill())
        .map(|ask| stamp(ask.at))
        .collect();
    let would_have = match times.len() {
        0 => "An autoscaler that asks only `busy` would have killed no job".to_owned(),
        _ => format!(
            "{BAD}An autoscaler that asks only `busy` would have killed the job at {}{BAD:#}",
            times.join(", and again at ")
        ),
    };
    let guard = match played.kills() {
        0 => format!("{GO}the guard killed none{GO:#}"),
        kills => format!("{BAD}the guard killed the job {kills} times{BAD:#}"),
    };
    writeln!(out, "{would_have}; {guard}.")?;
    match played.unmet() {
        _ if played.asks.is_empty() => writeln!(out, "Nothing was asked.\n"),
        0 => writeln!(out, "{} asks, every expectation met.\n", played.asks.len()),
        unmet => writeln!(
            out,
            "{} asks, {BAD}{unmet} answered otherwise than the scenario demands{BAD:#}.\n",
            played.asks.len()
        ),
    }
}

/// Prints the sum over several scenarios.
pub(crate) fn print_total(
    out: &mut impl Write,
    scenarios: usize,
    asks: usize,
    kills: usize,
    unmet: usize,
    busy_only_kills: usize,
) -> io::Result<()> {
    writeln!(
        out,
        "{STRONG}{scenarios} scenarios, {asks} asks: the guard killed at {kills}, answered {unmet} otherwise than \
         demanded; an autoscaler that asks only `busy` would have killed at {busy_only_kills}.{STRONG:#}"
    )
}

fn line(out: &mut impl Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{:20}  {name:<10} {text}", "")
}

fn witness_name(witness: Witness) -> &'static str {
    match witness {
        Witness::Registration => "flag",
        other => other.as_str(),
    }
}

pub(crate) fn stamp(at: Instant) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
