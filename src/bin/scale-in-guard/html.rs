//! A played scenario as one self-contained page: no file beside it, no network, and it works
//! without its script.

mod asks;
mod beacon;
mod github;
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
            denied(&lies) + &svg::draw(&lanes, &lies, &scale) + legend
        },
    );
    let about = match scenario.about.is_empty() {
        true => String::new(),
        false => format!("<p class=\"about\">{}</p>\n", escape(&scenario.about)),
    };
    format!(
        "<section id=\"{id}\">\n<h2><a href=\"#{id}\">{}</a></h2>\n{about}<p class=\"quiet\">{}</p>\n\
         {}{picture}{}</section>\n",
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
    let total = match lies.len() {
        1 => String::new(),
        _ => format!("{} in all: ", lasted(whole)),
    };
    format!(
        "<p class=\"denied\"><span class=\"word lie\">where the flag lied</span> GitHub denied a job \
         that ran, {total}{}{more}.</p>\n",
        spans.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(json: &str) -> (Scenario, Played) {
        let scenario: Scenario = serde_json::from_str(json).unwrap();
        let played = scenario.play().unwrap();
        (scenario, played)
    }

    fn timeline(entries: &str) -> String {
        format!(
            r#"{{"scenario": "s", "runner": {{"name": "r", "scope": "org:acme"}}, "timeline": [{entries}]}}"#
        )
    }

    fn is_sound(page: &str) {
        assert!(!page.contains("NaN") && !page.contains("inf%"), "{page}");
        for tag in [
            "svg", "g", "a", "title", "table", "section", "figure", "details",
        ] {
            let opened = page.matches(&format!("<{tag} ")).count()
                + page.matches(&format!("<{tag}>")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn what_comes_from_a_scenario_is_escaped() {
        let told = play(
            r#"{"scenario": "<script>1", "about": "\"<script>2\" & more", "runner": {"name": "<script>3", "scope": "org:<script>4"},
            "timeline": [
                {"at": "2026-06-01T10:00:00Z", "truth": {"job": "<script>5", "state": "started"}},
                {"at": "2026-06-01T10:00:00Z", "log": ["<script>6</title>"]},
                {"at": "2026-06-01T10:00:01Z", "lease": {"job": "<script>7", "renewed_at": "2026-06-01T10:00:01Z"}},
                {"at": "2026-06-01T10:00:02Z", "jobs": {"in_progress": [{"job_id": 8, "runner": "<script>8"}]}},
                {"at": "2026-06-01T10:00:03Z", "webhook": {"action": "in_progress", "job_id": 9, "runner": "<script>9"}},
                {"at": "2026-06-01T10:00:04Z", "ask": {"expect": "terminate"}}
            ]}"#,
        );
        let page = page(&[told]);
        assert_eq!(page.matches("<script>").count(), 1, "our own alone");
        for number in 1..=9 {
            assert!(
                page.contains(&format!("&lt;script&gt;{number}")),
                "{number}"
            );
        }
        assert!(page.contains("&quot;&lt;script&gt;2&quot; &amp; more"));
        is_sound(&page);
    }

    #[test]
    fn an_empty_story_and_five_days_are_told() {
        let empty = play(&timeline(""));
        let one_moment = play(&timeline(r#"{"at": "2026-06-01T10:00:00Z", "ask": {}}"#));
        let days = include_str!("../../../tests/scenarios/webhook-closed-after-five-days.json");
        let page = page(&[empty, one_moment, play(days)]);
        assert!(page.contains("Nothing happens in this scenario."));
        assert!(page.contains("a quiet stretch, drawn shorter"));
        is_sound(&page);
    }

    #[test]
    fn where_the_flag_lied_is_marked() {
        let page = page(&[play(include_str!(
            "../../../tests/scenarios/desync-incident-2.json"
        ))]);
        assert!(page.contains("7m 40s from 2026-05-14 01:58:00Z to 02:05:40Z"));
        assert!(page.contains("busy: false: a lie"));
        assert!(page.contains("would have killed a job <b class=\"bad\">2</b> times; the guard <b class=\"good\">0</b>"));
        is_sound(&page);
    }

    #[test]
    fn ten_thousand_beats_are_one_bar() {
        let beats: Vec<String> = (0..10_000)
            .map(|beat| {
                let at = Instant::UNIX_EPOCH + chrono::TimeDelta::seconds(15 * beat);
                format!(
                    r#"{{"at": "{}", "lease": {{"listening": true}}}}"#,
                    at.to_rfc3339()
                )
            })
            .collect();
        let page = page(&[play(&timeline(&beats.join(",")))]);
        assert!(page.contains("heard 10000 times"));
        assert!(page.len() < 30_000, "{}", page.len());
        is_sound(&page);
    }

    #[test]
    fn several_stories_have_an_index_with_links_that_lead_somewhere() {
        let page = page(&[play(&timeline("")), play(&timeline(""))]);
        for id in ["1-s", "2-s"] {
            assert!(page.contains(&format!("<li><a href=\"#{id}\">")));
            assert!(page.contains(&format!("<section id=\"{id}\">")));
        }
    }
}
