//! A played scenario as one self-contained page: no file beside it, no network, and it works
//! without its script.

mod asks;
mod beacon;
mod lanes;
mod scale;
mod svg;

use crate::timeline::stamp;
use lanes::{Bar, moment};
use scale::{Scale, lasted, span};
use scale_in_guard::{
    replay::{Played, Scenario},
    time::Instant,
};

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// The marks and hatchings that every picture uses, and what they mean.
const LEGEND: &str = include_str!("html/legend.html");

/// How many of the flag's lies are named in words.
const LIES: usize = 3;

/// The page.
pub(crate) fn page(stories: &[(Scenario, Played)]) -> String {
    let title = match stories {
        [(scenario, _)] => escape(&scenario.name),
        _ => format!("{} scenarios", stories.len()),
    };
    let told: String = stories
        .iter()
        .enumerate()
        .map(|(index, (scenario, played))| {
            // One legend is enough: after the index, or after the only picture.
            let legend = if stories.len() == 1 { LEGEND } else { "" };
            story(scenario, played, &anchor(index, &scenario.name), legend)
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{title} · scale-in-guard replay</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         {}{told}<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        index(stories)
    )
}

/// Text from a scenario as it may stand in the page, between tags or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push('\n'),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A story's name as its address in the page.
fn anchor(index: usize, name: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let plain: String = name.chars().filter(is_plain).take(60).collect();
    format!("{}-{plain}", index + 1)
}

fn index(stories: &[(Scenario, Played)]) -> String {
    if stories.len() < 2 {
        return String::new();
    }
    let sum = |count: fn(&Played) -> usize| stories.iter().map(|(_, played)| count(played)).sum();
    let (asks, unmet): (usize, usize) = (sum(|played| played.asks.len()), sum(Played::unmet));
    let (busy_only, guard) = (sum(Played::busy_only_kills), sum(Played::kills));
    let links: String = stories
        .iter()
        .enumerate()
        .map(|(index, (scenario, played))| link(index, scenario, played))
        .collect();
    format!(
        "<nav><h1>{} scenarios, {asks} asks</h1>{}\n<ol>{links}</ol></nav>\n{LEGEND}",
        stories.len(),
        score(busy_only, guard, unmet, asks)
    )
}

fn link(index: usize, scenario: &Scenario, played: &Played) -> String {
    let mut notes = String::new();
    for (count, class, what) in [
        (played.busy_only_kills(), "lie", "busy-only ✗"),
        (played.kills(), "kill", "the guard ✗"),
        (played.unmet(), "unmet", "unmet"),
    ] {
        if count > 0 {
            notes += &format!(" <span class=\"word {class}\">{what} {count}</span>");
        }
    }
    let (anchor, name) = (anchor(index, &scenario.name), escape(&scenario.name));
    format!("<li><a href=\"#{anchor}\">{name}</a>{notes}</li>\n")
}

fn score(busy_only: usize, guard: usize, unmet: usize, asks: usize) -> String {
    let count = |count: usize| match count {
        0 => "<b class=\"good\">0</b>".to_owned(),
        some => format!("<b class=\"bad\">{some}</b>"),
    };
    let times = if busy_only == 1 { "time" } else { "times" };
    let met = match (unmet, asks) {
        (_, 0) => "Nobody asked.".to_owned(),
        (0, _) => "Every expectation is met.".to_owned(),
        (some, _) => format!(
            "<b class=\"bad\">{some}</b> of {asks} answers are not what the scenario demands."
        ),
    };
    format!(
        "<p class=\"score\">A busy-only autoscaler would have killed a job {} {times}; \
         the guard {}. <span class=\"met\">{met}</span></p>\n",
        count(busy_only),
        count(guard)
    )
}

fn story(scenario: &Scenario, played: &Played, id: &str, legend: &str) -> String {
    let shown = asks::shown(played);
    let picture = Scale::new(&times(scenario)).map_or_else(
        || "<p class=\"quiet\">Nothing happens in this scenario.</p>\n".to_owned(),
        |scale| {
            let (mut lanes, lies) = lanes::witnesses(scenario, &scale);
            lanes.extend(asks::lanes(&shown, id));
            denied(&lies) + &svg::draw(&lanes, &lies, &scale)
        },
    );
    let about = match scenario.about.is_empty() {
        true => String::new(),
        false => format!("<p class=\"about\">{}</p>\n", escape(&scenario.about)),
    };
    format!(
        "<section id=\"{id}\">\n<h2><a href=\"#{id}\">{}</a></h2>\n{about}<p class=\"quiet\">{}</p>\n\
         {}{picture}{legend}{}</section>\n",
        escape(&scenario.name),
        runner(scenario),
        score(
            played.busy_only_kills(),
            played.kills(),
            played.unmet(),
            played.asks.len()
        ),
        asks::table(&shown, played.asks.len(), id)
    )
}

fn runner(scenario: &Scenario) -> String {
    let runner = &scenario.runner;
    let mut parts = vec![format!("runner {} in {}", runner.name, runner.scope)];
    parts.extend(runner.id.map(|id| format!("id {id}")));
    parts.extend(
        runner
            .launched_at
            .map(|at| format!("launched {}", stamp(at))),
    );
    if runner.ephemeral == Some(true) {
        parts.push("ephemeral".to_owned());
    }
    escape(&parts.join(" · "))
}

/// When something happens, the launch included.
fn times(scenario: &Scenario) -> Vec<Instant> {
    let mut times: Vec<_> = scenario.timeline.iter().map(|entry| entry.at).collect();
    if let (Some(&first), Some(launched)) = (times.first(), scenario.runner.launched_at)
        && launched < first
    {
        times.insert(0, launched);
    }
    times
}

/// Where GitHub's word on the runner denied a job, in words.
fn denied(lies: &[Bar]) -> String {
    if lies.is_empty() {
        return String::new();
    }
    let length = |lie: &Bar| span(lie.from, lie.to);
    let whole = lies.iter().map(length).fold(0, i64::saturating_add);
    let mut longest: Vec<&Bar> = lies.iter().collect();
    longest.sort_by_key(|lie| std::cmp::Reverse(length(lie)));
    longest.truncate(LIES);
    let mut before = None;
    let spans: Vec<String> = longest
        .iter()
        .map(|lie| {
            let from = moment(lie.from, before.replace(lie.from));
            let to = moment(lie.to, Some(lie.from));
            format!("{} from {from} to {to}", lasted(length(lie)))
        })
        .collect();
    let more = match lies.len() - longest.len() {
        0 => String::new(),
        some => format!(", and {some} more"),
    };
    format!(
        "<p class=\"denied\"><span class=\"word lie\">where the flag lied</span> For {} GitHub \
         denied a job that ran: {}{more}.</p>\n",
        lasted(whole),
        spans.join("; ")
    )
}
