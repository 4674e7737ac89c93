//! A story as lanes of bars and ticks: what was true, and what each witness said from when to when.
//! Texts are raw here; whoever writes them into the page escapes them.

use super::{
    beacon, github,
    scale::{Scale, lasted, span},
};
use crate::timeline::stamp;
use scale_in_guard::{
    evidence::Claim,
    replay::{Event, Scenario, ScriptedWitness, TruthState},
    time::Instant,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many bars that overlap are drawn beneath each other.
const ROWS: usize = 6;

/// How many names or lines are written out.
pub(super) const NAMED: usize = 6;

pub(super) struct Lane {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Whether the guard asks this witness here.
    pub(super) heard: bool,
    pub(super) rows: Vec<Row>,
}

pub(super) enum Row {
    Bars(Vec<Bar>),
    Ticks(Vec<Tick>),
    Marks(Vec<Mark>),
    Words(&'static str),
}

/// What was so from when to when.
#[derive(Clone)]
pub(super) struct Bar {
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) class: &'static str,
    /// What stands in it, and what where that has no room.
    pub(super) labels: [String; 2],
    pub(super) said: String,
    pub(super) claim: Claim,
    pub(super) hatched: bool,
    pub(super) fault: Option<Fault>,
}

/// How a witness contradicts the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It denies a job that runs.
    Lie,
    /// It claims a job that does not.
    Wrong,
}

pub(super) struct Tick {
    pub(super) at: Instant,
    pub(super) class: &'static str,
    pub(super) said: String,
}

/// An answer to an ask.
pub(super) struct Mark {
    pub(super) at: Instant,
    pub(super) symbol: &'static str,
    pub(super) unmet: bool,
    pub(super) said: String,
    /// The row of the table that it belongs to.
    pub(super) row: Option<String>,
}

/// A stretch of time in which something stayed the same.
pub(super) struct Stretch<S> {
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) state: S,
}

/// Which jobs run: the first names, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Running<'s> {
    names: Vec<&'s str>,
    count: usize,
}

impl Running<'_> {
    fn text(&self) -> String {
        let names = self.names.join(", ");
        match self.count.saturating_sub(self.names.len()) {
            0 => names,
            more => format!("{names} and {more} more"),
        }
    }
}

/// The truth and the witnesses, in the order in which they are drawn; and where GitHub's word on
/// the runner denied a job.
pub(super) fn witnesses(scenario: &Scenario, scale: &Scale) -> (Vec<Lane>, Vec<Bar>) {
    let running = running(scenario, scale);
    let registration = check(github::registration(scenario, scale), &running);
    let lies = registration
        .iter()
        .filter(|bar| bar.fault == Some(Fault::Lie))
        .cloned()
        .collect();
    let jobs = check(github::jobs(scenario, scale), &running);
    let told = |is: fn(&Event) -> bool| scenario.timeline.iter().any(|entry| is(&entry.event));
    let lane = |name, about, witness, told: bool, rows| {
        let heard = scenario.witnesses.contains(&witness);
        let rows = match heard || told {
            true => rows,
            false => vec![Row::Words("not a witness here")],
        };
        Lane {
            name,
            about,
            heard,
            rows,
        }
    };
    let mut lanes = vec![truth(scenario, scale)];
    lanes.push(lane(
        "GitHub’s flag",
        "busy and status",
        ScriptedWitness::Registration,
        told(|event| matches!(event, Event::Registration(_))),
        vec![Row::Bars(registration)],
    ));
    lanes.push(lane(
        "GitHub’s jobs",
        "the jobs view",
        ScriptedWitness::Jobs,
        told(|event| matches!(event, Event::Jobs(_))),
        vec![Row::Bars(jobs)],
    ));
    lanes.push(lane(
        "beacon",
        "leases, beats, log",
        ScriptedWitness::Lease,
        told(|event| matches!(event, Event::Lease(_) | Event::Log(_))),
        beacon::rows(scenario, scale, &running),
    ));
    let webhooks = github::webhooks(scenario);
    if !webhooks.is_empty() {
        lanes.push(Lane {
            name: "webhooks",
            about: "as they arrived",
            heard: true,
            rows: vec![Row::Ticks(webhooks)],
        });
    }
    (lanes, lies)
}

/// Cuts the whole axis at the changes. What stays the same is one stretch.
pub(super) fn stretches<S: PartialEq>(
    scale: &Scale,
    first: S,
    changes: impl Iterator<Item = (Instant, S)>,
) -> Vec<Stretch<S>> {
    let mut done: Vec<Stretch<S>> = Vec::new();
    let mut now = Stretch {
        from: scale.start(),
        to: scale.end(),
        state: first,
    };
    for (at, state) in changes {
        if state == now.state {
            continue;
        }
        let mut before = std::mem::replace(
            &mut now,
            Stretch {
                from: at,
                to: scale.end(),
                state,
            },
        );
        before.to = at;
        if before.from < at {
            done.push(before);
        }
    }
    done.push(now);
    done
}

fn running<'s>(scenario: &'s Scenario, scale: &Scale) -> Vec<Stretch<Running<'s>>> {
    let mut jobs = BTreeSet::new();
    let changes = scenario.timeline.iter().filter_map(|entry| {
        let Event::Truth(truth) = &entry.event else {
            return None;
        };
        match truth.state {
            TruthState::Started => jobs.insert(&*truth.job),
            TruthState::Finished => jobs.remove(&*truth.job),
        };
        let names = jobs.iter().copied().take(3).collect();
        let count = jobs.len();
        Some((entry.at, Running { names, count }))
    });
    stretches(scale, Running::default(), changes)
}

fn truth(scenario: &Scenario, scale: &Scale) -> Lane {
    let mut open: BTreeMap<&str, Instant> = BTreeMap::new();
    let mut bars = Vec::new();
    for entry in &scenario.timeline {
        let Event::Truth(truth) = &entry.event else {
            continue;
        };
        match truth.state {
            TruthState::Started => {
                open.entry(&truth.job).or_insert(entry.at);
            }
            TruthState::Finished => {
                let from = open.remove(&*truth.job);
                bars.extend(from.map(|from| job(&truth.job, from, entry.at, "")));
            }
        }
    }
    let unfinished = open
        .into_iter()
        .map(|(name, from)| job(name, from, scale.end(), ", and not finished then"));
    bars.extend(unfinished);
    bars.sort_by_key(|bar| bar.from);
    let mut rows = stack(bars.into_iter().map(|bar| vec![bar]));
    if rows.is_empty() {
        rows.push(Row::Words("no job ever ran"));
    }
    if let Some(at) = scenario.runner.launched_at
        && scale.start() <= at
        && at <= scale.end()
    {
        let (class, said) = ("launch", "launched".to_owned());
        rows.push(Row::Ticks(vec![Tick { at, class, said }]));
    }
    Lane {
        name: "truth",
        about: "the jobs that ran",
        heard: true,
        rows,
    }
}

fn job(name: &str, from: Instant, to: Instant, more: &str) -> Bar {
    let said = format!("{name} ran{more}");
    bar(
        from,
        to,
        "truth",
        [name.to_owned(), name.to_owned()],
        said,
        Claim::Unknown,
    )
}

pub(super) fn bar(
    from: Instant,
    to: Instant,
    class: &'static str,
    labels: [String; 2],
    said: String,
    claim: Claim,
) -> Bar {
    Bar {
        from,
        to,
        class,
        labels,
        said,
        claim,
        hatched: false,
        fault: None,
    }
}

/// Puts bars that overlap into rows of their own. What belongs together stays in one row.
pub(super) fn stack(groups: impl Iterator<Item = Vec<Bar>>) -> Vec<Row> {
    let mut rows: Vec<Vec<Bar>> = Vec::new();
    for group in groups {
        let Some(from) = group.first().map(|bar| bar.from) else {
            continue;
        };
        let is_free = |row: &Vec<Bar>| row.last().is_none_or(|last| last.to <= from);
        match rows.iter().position(is_free) {
            None if rows.len() < ROWS => rows.push(group),
            free => {
                let row = free.unwrap_or(ROWS - 1);
                if let Some(row) = rows.get_mut(row) {
                    row.extend(group);
                }
            }
        }
    }
    rows.into_iter().map(Row::Bars).collect()
}

/// Cuts bars where the truth begins or ends to contradict them, and says so.
pub(super) fn check(bars: Vec<Bar>, running: &[Stretch<Running<'_>>]) -> Vec<Bar> {
    let mut cut: Vec<Bar> = Vec::new();
    for whole in bars {
        let first = running.partition_point(|truth| truth.to <= whole.from);
        let during = running
            .iter()
            .skip(first)
            .take_while(|truth| truth.from < whole.to);
        let mut pieces: Vec<Bar> = Vec::new();
        for truth in during {
            let mut piece = whole.clone();
            piece.from = whole.from.max(truth.from);
            piece.to = whole.to.min(truth.to);
            blame(&mut piece, &truth.state);
            match pieces.last_mut() {
                Some(last) if last.said == piece.said => last.to = piece.to,
                _ => pieces.push(piece),
            }
        }
        cut.extend(pieces);
    }
    cut
}

fn blame(bar: &mut Bar, running: &Running<'_>) {
    bar.fault = match (bar.claim, running.count) {
        (Claim::Vacant, 1..) => Some(Fault::Lie),
        (Claim::Occupied, 0) => Some(Fault::Wrong),
        _ => None,
    };
    match bar.fault {
        Some(Fault::Lie) => {
            let [label, _] = &bar.labels;
            bar.labels = [format!("{label}: a lie"), "lie".to_owned()];
            bar.said += &format!("\n✗ a lie: {} was running", running.text());
        }
        Some(Fault::Wrong) => bar.said += "\n✗ wrong: no job was running",
        None => {}
    }
}

/// From when to when, and how long that was.
pub(super) fn between(from: Instant, to: Instant) -> String {
    let end = moment(to, Some(from));
    format!("{} – {end} ({})", stamp(from), lasted(span(from, to)))
}

/// An instant, without its date where that is the date of the one before.
pub(super) fn moment(at: Instant, before: Option<Instant>) -> String {
    match before {
        Some(before) if before.date_naive() == at.date_naive() => {
            at.format("%H:%M:%SZ").to_string()
        }
        _ => stamp(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(entries: &str) -> (Vec<Lane>, Vec<Bar>) {
        let json = format!(
            r#"{{"scenario": "s", "runner": {{"name": "r", "scope": "org:acme"}}, "timeline": [{entries}]}}"#
        );
        let scenario: Scenario = serde_json::from_str(&json).unwrap();
        let times: Vec<_> = scenario.timeline.iter().map(|entry| entry.at).collect();
        witnesses(&scenario, &Scale::new(&times).unwrap())
    }

    fn bars(lane: &Lane, row: usize) -> Vec<(String, Option<Fault>)> {
        let Row::Bars(bars) = &lane.rows[row] else {
            panic!("no bars");
        };
        bars.iter()
            .map(|bar| (bar.labels[0].clone(), bar.fault))
            .collect()
    }

    #[test]
    fn the_flag_is_cut_where_the_truth_contradicts_it() {
        let (lanes, lies) = lanes(
            r#"{"at": "2026-06-01T10:00:00Z", "registration": {"busy": false, "status": "online"}},
               {"at": "2026-06-01T10:01:00Z", "truth": {"job": "A", "state": "started"}},
               {"at": "2026-06-01T10:02:00Z", "registration": {"busy": true, "status": "offline"}},
               {"at": "2026-06-01T10:03:00Z", "truth": {"job": "A", "state": "finished"}}"#,
        );
        let said = [
            ("not registered", None),
            ("busy: false", None),
            ("busy: false: a lie", Some(Fault::Lie)),
            ("busy: true, offline", None),
            ("busy: true, offline", Some(Fault::Wrong)),
        ];
        let said: Vec<_> = said.map(|(label, fault)| (label.to_owned(), fault)).into();
        assert_eq!(bars(&lanes[1], 0), said);
        assert_eq!(lies.len(), 1);
    }

    #[test]
    fn a_partial_view_that_shows_nothing_does_not_lie() {
        let (lanes, _) = lanes(
            r#"{"at": "2026-06-01T10:00:00Z", "jobs": {"in_progress": [], "complete": false}},
               {"at": "2026-06-01T10:01:00Z", "truth": {"job": "A", "state": "started"}},
               {"at": "2026-06-01T10:02:00Z", "jobs": {"in_progress": [{"job_id": 7, "runner": "r"}]}},
               {"at": "2026-06-01T10:03:00Z", "jobs": {"in_progress": []}},
               {"at": "2026-06-01T10:04:00Z", "jobs": {"error": 403}}"#,
        );
        let said = [
            ("no job", None),
            ("partial, no job", None),
            ("job 7", None),
            ("no job: a lie", Some(Fault::Lie)),
            ("error 403", None),
        ];
        let said: Vec<_> = said.map(|(label, fault)| (label.to_owned(), fault)).into();
        assert_eq!(bars(&lanes[2], 0), said);
    }

    #[test]
    fn jobs_at_the_same_time_have_rows_of_their_own() {
        let (lanes, _) = lanes(
            r#"{"at": "2026-06-01T10:00:00Z", "truth": {"job": "A", "state": "started"}},
               {"at": "2026-06-01T10:01:00Z", "truth": {"job": "B", "state": "started"}},
               {"at": "2026-06-01T10:02:00Z", "truth": {"job": "A", "state": "finished"}},
               {"at": "2026-06-01T10:03:00Z", "truth": {"job": "C", "state": "started"}}"#,
        );
        let names = |row| bars(&lanes[0], row).into_iter().map(|(name, _)| name);
        assert_eq!(names(0).collect::<Vec<_>>(), ["A", "C"]);
        assert_eq!(names(1).collect::<Vec<_>>(), ["B"]);
    }
}
