//! A story as lanes of bars and ticks: what was true, and what each witness said from when to when.
//! Texts are raw here; whoever writes them into the page escapes them.

use super::{
    beacon,
    scale::{Scale, lasted, span},
};
use crate::timeline::stamp;
use scale_in_guard::{
    Status,
    evidence::Claim,
    ledger::Action,
    replay::{
        Event, Scenario, ScriptedError, ScriptedJob, ScriptedJobs, ScriptedRegistration,
        ScriptedWebhook, ScriptedWitness, TruthState,
    },
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
    let registration = check(registration(scenario, scale), &running);
    let lies = registration
        .iter()
        .filter(|bar| bar.fault == Some(Fault::Lie))
        .cloned()
        .collect();
    let jobs = check(jobs(scenario, scale), &running);
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
    let webhooks = webhooks(scenario);
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
fn stretches<S: PartialEq>(
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

fn registration(scenario: &Scenario, scale: &Scale) -> Vec<Bar> {
    let changes = scenario
        .timeline
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Registration(registration) => Some((entry.at, *registration)),
            _ => None,
        });
    stretches(scale, ScriptedRegistration::Absent, changes)
        .into_iter()
        .map(|Stretch { from, to, state }| registered(from, to, state))
        .collect()
}

fn registered(from: Instant, to: Instant, state: ScriptedRegistration) -> Bar {
    match state {
        ScriptedRegistration::Registered {
            busy,
            status,
            listed,
        } => {
            let unlisted = if listed { "" } else { ", not listed" };
            let said = format!("GitHub says busy: {busy}, {status}{unlisted}");
            let offline = status == Status::Offline;
            let label = match offline {
                true => format!("busy: {busy}, offline"),
                false => format!("busy: {busy}"),
            };
            let (class, claim) = match busy {
                true => ("job", Claim::Occupied),
                false => ("none", Claim::Vacant),
            };
            let mut bar = bar(from, to, class, [label, busy.to_string()], said, claim);
            bar.hatched = offline;
            bar
        }
        ScriptedRegistration::Absent => bar(
            from,
            to,
            "absent",
            ["not registered".to_owned(), "absent".to_owned()],
            "GitHub knows no such runner".to_owned(),
            Claim::Vacant,
        ),
        ScriptedRegistration::Error(error) => failed(from, to, error),
    }
}

fn jobs(scenario: &Scenario, scale: &Scale) -> Vec<Bar> {
    let nothing = ScriptedJobs::View {
        complete: true,
        jobs: Vec::new(),
    };
    let changes = scenario
        .timeline
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Jobs(jobs) => Some((entry.at, jobs)),
            _ => None,
        });
    stretches(scale, &nothing, changes)
        .into_iter()
        .map(|Stretch { from, to, state }| match state {
            ScriptedJobs::View { complete, jobs } => view(scenario, from, to, *complete, jobs),
            ScriptedJobs::Error(error) => failed(from, to, *error),
        })
        .collect()
}

fn view(
    scenario: &Scenario,
    from: Instant,
    to: Instant,
    complete: bool,
    jobs: &[ScriptedJob],
) -> Bar {
    let ours = |job: &&ScriptedJob| is_this(scenario, job.runner.as_deref());
    let queued = jobs.iter().filter(|job| job.runner.is_none()).count();
    let said = shown(scenario, complete, jobs);
    let partial = if complete { "" } else { "partial, " };
    if let Some(job) = jobs.iter().find(ours) {
        let labels = [
            format!("{partial}job {}", job.job_id),
            job.job_id.to_string(),
        ];
        return bar(from, to, "job", labels, said, Claim::Occupied);
    }
    let (label, claim) = match (complete, queued) {
        (true, 0) => ("no job".to_owned(), Claim::Vacant),
        (_, 0) => ("partial, no job".to_owned(), Claim::Unknown),
        (..) => (format!("{partial}{queued} queued"), Claim::Unknown),
    };
    let class = if complete { "none" } else { "partial" };
    bar(from, to, class, [label, String::new()], said, claim)
}

fn shown(scenario: &Scenario, complete: bool, jobs: &[ScriptedJob]) -> String {
    let mut lines = vec![match (complete, jobs.is_empty()) {
        (true, true) => "The complete view shows no job".to_owned(),
        (true, false) => "The complete view shows".to_owned(),
        (false, true) => "A partial view shows no job".to_owned(),
        (false, false) => "A partial view shows".to_owned(),
    }];
    for job in jobs.iter().take(NAMED) {
        let runner = runner(scenario, job.runner.as_deref());
        lines.push(format!("· job {} {runner}", job.job_id));
    }
    if jobs.len() > NAMED {
        lines.push(format!("… and {} more", jobs.len() - NAMED));
    }
    lines.join("\n")
}

fn is_this(scenario: &Scenario, runner: Option<&str>) -> bool {
    runner.is_some_and(|name| name == "this" || name == scenario.runner.name.as_str())
}

fn runner(scenario: &Scenario, runner: Option<&str>) -> String {
    match runner {
        None => "queued, on no runner".to_owned(),
        _ if is_this(scenario, runner) => "on this runner".to_owned(),
        Some(other) => format!("on {other}"),
    }
}

fn webhooks(scenario: &Scenario) -> Vec<Tick> {
    scenario
        .timeline
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Webhook(webhook) => Some(delivery(scenario, entry.at, webhook)),
            _ => None,
        })
        .collect()
}

fn delivery(scenario: &Scenario, at: Instant, webhook: &ScriptedWebhook) -> Tick {
    let (class, action) = match webhook.action {
        Action::Queued => ("hook", "queued"),
        Action::Waiting => ("hook", "waiting"),
        Action::InProgress => ("hook job", "in_progress"),
        Action::Completed => ("hook none", "completed"),
        Action::Other => ("hook", "of an unknown action"),
    };
    let runner = runner(scenario, webhook.runner.as_deref());
    let said = format!("webhook {action}: job {} {runner}", webhook.job_id);
    Tick { at, class, said }
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

/// A failed read.
fn failed(from: Instant, to: Instant, error: ScriptedError) -> Bar {
    let labels = match error {
        ScriptedError::Status(status) => [format!("error {status}"), status.to_string()],
        ScriptedError::Timeout(_) => ["timeout".to_owned(), String::new()],
    };
    bar(from, to, "error", labels, error.to_string(), Claim::Unknown)
}
