//! What GitHub said: the runner's registration, the jobs view, and webhooks.

use super::{
    lanes::{Bar, NAMED, Stretch, Tick, bar, stretches},
    scale::Scale,
};
use scale_in_guard::{
    Status,
    evidence::Claim,
    ledger::Action,
    replay::{
        ErrorKind, ErrorWord, Event, Scenario, ScriptedError, ScriptedJob, ScriptedJobs,
        ScriptedRegistration, ScriptedWebhook,
    },
    time::Instant,
};

pub(super) fn registration(scenario: &Scenario, scale: &Scale) -> Vec<Bar> {
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

pub(super) fn jobs(scenario: &Scenario, scale: &Scale) -> Vec<Bar> {
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

pub(super) fn webhooks(scenario: &Scenario) -> Vec<Tick> {
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

/// A failed read.
fn failed(from: Instant, to: Instant, error: ScriptedError) -> Bar {
    let labels = match error.kind {
        ErrorKind::Status(status) => [format!("error {status}"), status.to_string()],
        ErrorKind::Word(ErrorWord::Timeout) => ["timeout".to_owned(), String::new()],
        ErrorKind::Word(ErrorWord::RateLimited) => ["request limit".to_owned(), String::new()],
    };
    bar(from, to, "error", labels, error.to_string(), Claim::Unknown)
}
