//! The beacon's lane: its leases, what it said of the runner, its silences, and the lines it read.

use super::{
    lanes::{Bar, Row, Running, Stretch, Tick, bar, check, stack},
    scale::Scale,
};
use crate::timeline::stamp;
use scale_in_guard::{
    Policy,
    evidence::Claim,
    lease::{Heartbeat, HostJob, JobLease, LeaseState, Report},
    replay::{Beats, Event, Scenario},
    runner_log::{self, LogReader},
    time::Instant,
};

/// What a beacon says of its runner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beat {
    Worker,
    Job,
    Listening,
    Updating,
    Alive,
}

/// One lease, from its first report to its end.
struct Lease {
    job: HostJob,
    from: Instant,
    /// When the last renewal was received, and its stamp on the host's clock.
    renewed: Instant,
    stamp: Instant,
    renewals: usize,
    until: Instant,
    ended: Option<&'static str>,
}

/// One thing that the beacon kept saying. Any number of beats is one of these.
struct Spell {
    beat: Beat,
    from: Instant,
    last: Instant,
    to: Instant,
    count: usize,
}

/// Hears what the guard's own beacon would hear, and draws what that amounts to.
struct Listener<'s> {
    policy: &'s Policy,
    end: Instant,
    heartbeat: Option<Heartbeat>,
    reader: LogReader,
    beats: Beats<'s>,
    open: Vec<Lease>,
    ended: Vec<Lease>,
    spells: Vec<Spell>,
    lines: Vec<Tick>,
}

pub(super) fn rows(
    scenario: &Scenario,
    scale: &Scale,
    running: &[Stretch<Running<'_>>],
) -> Vec<Row> {
    let listener = Listener::of(scenario, scale);
    if listener.spells.is_empty() {
        return vec![Row::Words("never heard")];
    }
    let end = scale.end();
    let beats = beats(&listener.spells, end);
    let mut rows = stack(listener.ended.iter().map(|lease| lease.bars(end)));
    rows.push(Row::Bars(check(beats, running)));
    if !listener.lines.is_empty() {
        rows.push(Row::Ticks(listener.lines));
    }
    rows
}

impl<'s> Listener<'s> {
    fn of(scenario: &'s Scenario, scale: &Scale) -> Self {
        let mut listener = Self {
            policy: &scenario.policy,
            end: scale.end(),
            heartbeat: None,
            reader: LogReader::default(),
            beats: Beats::default(),
            open: Vec::new(),
            ended: Vec::new(),
            spells: Vec::new(),
            lines: Vec::new(),
        };
        for entry in &scenario.timeline {
            listener.repeat_until(entry.at);
            listener.take(&entry.event, entry.at);
        }
        listener.repeat_until(scale.end());
        listener.ended.append(&mut listener.open);
        listener.ended.sort_by_key(|lease| lease.from);
        listener
    }

    fn take(&mut self, event: &'s Event, now: Instant) {
        match event {
            Event::Lease(lease) => {
                self.hear(lease.word.report(), now);
                self.beats.begin(lease, now);
            }
            Event::Log(lines) => {
                self.hear(Report::Alive, now);
                for line in lines {
                    let report = self.reader.read(line);
                    self.hear(report, now);
                    self.lines.push(tick(line, now));
                }
            }
            _ => {}
        }
    }

    fn repeat_until(&mut self, now: Instant) {
        while let Some((at, report)) = self.beats.due(now.min(self.end)) {
            self.hear(report, at);
        }
    }

    fn hear(&mut self, report: Report, now: Instant) {
        let mut heartbeat = self.heartbeat.take().unwrap_or_else(|| Heartbeat::new(now));
        heartbeat.hear(report, now, self.policy);
        self.note_leases(&heartbeat, now);
        self.note_beat(beat(&heartbeat, now), now);
        self.heartbeat = Some(heartbeat);
    }

    fn note_leases(&mut self, heartbeat: &Heartbeat, now: Instant) {
        for known in &mut self.open {
            let told = heartbeat.leases.iter().find(|told| told.job == known.job);
            known.follow(told, now);
        }
        let ended = self.open.extract_if(.., |lease| lease.ended.is_some());
        self.ended.extend(ended);
        for told in &heartbeat.leases {
            if now < told.until && !self.open.iter().any(|lease| lease.job == told.job) {
                self.open.push(Lease::new(told, now));
            }
        }
    }

    fn note_beat(&mut self, beat: Beat, now: Instant) {
        let to = now
            .checked_add_signed(self.policy.beacon_ttl)
            .unwrap_or(Instant::MAX_UTC);
        // Of several reports at one instant the last one counts.
        if self.spells.last().is_some_and(|last| last.from == now) {
            self.spells.pop();
        }
        if let Some(last) = self.spells.last_mut() {
            if last.beat == beat && now <= last.to {
                last.count += usize::from(last.last < now);
                (last.last, last.to) = (now, to);
                return;
            }
            last.to = last.to.min(now);
        }
        self.spells.push(Spell {
            beat,
            from: now,
            last: now,
            to,
            count: 1,
        });
    }
}

fn tick(line: &str, at: Instant) -> Tick {
    let class = match runner_log::parse(line) {
        Some(_) => "line",
        None => "line idle",
    };
    Tick {
        at,
        class,
        said: line.to_owned(),
    }
}

fn beat(heartbeat: &Heartbeat, now: Instant) -> Beat {
    if heartbeat.worker_since.is_some() {
        Beat::Worker
    } else if heartbeat.live_lease(now).is_some() || heartbeat.unfinished().is_some() {
        Beat::Job
    } else if heartbeat.self_update(now).is_some() {
        Beat::Updating
    } else if heartbeat.idle_since.is_some() {
        Beat::Listening
    } else {
        Beat::Alive
    }
}

impl Lease {
    fn new(told: &JobLease, now: Instant) -> Self {
        Self {
            job: told.job.clone(),
            from: now,
            renewed: now,
            stamp: told.renewed_at,
            renewals: 1,
            until: told.until,
            ended: None,
        }
    }

    fn follow(&mut self, told: Option<&JobLease>, now: Instant) {
        if self.until < now {
            self.ended = Some("ran out");
            return;
        }
        let Some(told) = told else {
            self.until = now;
            self.ended = Some("ended by the beacon’s look: no job, no worker process");
            return;
        };
        self.until = told.until;
        if told.until <= now {
            self.ended = Some(match told.state {
                LeaseState::Finished(_) => "released",
                LeaseState::Open | LeaseState::Orphaned => "ran out",
            });
        } else if told.renewed_at != self.stamp {
            (self.stamp, self.renewed) = (told.renewed_at, now);
            self.renewals += 1;
        }
    }

    /// The lease while it was renewed; then, lighter, until it would run out.
    fn bars(&self, end: Instant) -> Vec<Bar> {
        let ended = self.ended.filter(|&how| how != "ran out");
        let renewed = match ended {
            Some(_) => self.until,
            None => self.renewed,
        };
        let times = match self.renewals {
            1 => "reported once".to_owned(),
            times => format!("reported or renewed {times} times"),
        };
        let id = self.job.to_string();
        let begin: String = id.chars().take(8).collect();
        let labels = [format!("lease {begin}…"), begin];
        let mut said = format!(
            "lease of job {id}\n{times}, last at {}",
            stamp(self.renewed)
        );
        if let Some(how) = ended {
            said += &format!("\n{how}");
        }
        let held = bar(self.from, renewed, "job", labels, said, Claim::Occupied);
        let (from, to) = (renewed, self.until.min(end));
        if to <= from {
            return vec![held];
        }
        let said = format!(
            "lease of job {id}\nnot renewed after {}, runs out at {}",
            stamp(from),
            stamp(self.until)
        );
        let labels = ["not renewed, runs out".to_owned(), "runs out".to_owned()];
        vec![held, bar(from, to, "tail", labels, said, Claim::Occupied)]
    }
}

fn beats(spells: &[Spell], end: Instant) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut heard: Option<Instant> = None;
    for spell in spells {
        if let Some(before) = heard.filter(|&before| before < spell.from) {
            bars.push(silence(before, spell.from));
        }
        bars.push(spell.bar(end));
        heard = Some(spell.to);
    }
    bars.extend(
        heard
            .filter(|&before| before < end)
            .map(|before| silence(before, end)),
    );
    bars
}

fn silence(from: Instant, to: Instant) -> Bar {
    let labels = ["silent".to_owned(), String::new()];
    let said = "the beacon is silent".to_owned();
    bar(from, to, "silent", labels, said, Claim::Unknown)
}

impl Spell {
    fn bar(&self, end: Instant) -> Bar {
        let (class, label, what, claim) = match self.beat {
            // The process is there, whether or not its job still runs.
            Beat::Worker => ("job", "worker", "a worker process is there", Claim::Unknown),
            Beat::Job => ("job", "alive, a job", "alive, with a job", Claim::Occupied),
            Beat::Listening => ("none", "listening", "alive, no job", Claim::Vacant),
            Beat::Updating => ("update", "updating", "updating itself", Claim::Unknown),
            Beat::Alive => ("alive", "alive", "alive, nothing else", Claim::Unknown),
        };
        let times = match self.count {
            1 => "heard once".to_owned(),
            count => format!("heard {count} times, last at {}", stamp(self.last)),
        };
        let said = format!("the beacon says: {what}\n{times}");
        let labels = [label.to_owned(), String::new()];
        bar(self.from, self.to.min(end), class, labels, said, claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(entries: &str) -> (Vec<Bar>, Vec<Bar>) {
        let json = format!(
            r#"{{"scenario": "s", "runner": {{"name": "r", "scope": "org:acme"}}, "timeline": [{entries}]}}"#
        );
        let scenario: Scenario = serde_json::from_str(&json).unwrap();
        let times: Vec<_> = scenario.timeline.iter().map(|entry| entry.at).collect();
        let scale = Scale::new(&times).unwrap();
        let listener = Listener::of(&scenario, &scale);
        let leases = listener
            .ended
            .iter()
            .flat_map(|lease| lease.bars(scale.end()));
        (leases.collect(), beats(&listener.spells, scale.end()))
    }

    fn drawn(bars: &[Bar]) -> Vec<(&str, String, String)> {
        let clock = |at: Instant| at.format("%H:%M:%S").to_string();
        bars.iter()
            .map(|bar| (bar.class, clock(bar.from), clock(bar.to)))
            .collect()
    }

    fn bar(class: &'static str, from: &str, to: &str) -> (&'static str, String, String) {
        (class, from.to_owned(), to.to_owned())
    }

    #[test]
    fn renewals_are_one_bar_that_ends_with_the_release() {
        let (leases, beats) = heard(
            r#"{"at": "2026-06-01T10:00:00Z", "lease": {"job": "7", "renewed_at": "2026-06-01T10:00:00Z"}},
               {"at": "2026-06-01T10:00:50Z", "lease": {"job": "7", "renewed_at": "2026-06-01T10:00:50Z"}},
               {"at": "2026-06-01T10:01:40Z", "lease": {"job": "7", "released_at": "2026-06-01T10:01:40Z"}},
               {"at": "2026-06-01T10:01:50Z", "ask": {}}"#,
        );
        assert_eq!(drawn(&leases), [bar("job", "10:00:00", "10:01:40")]);
        assert!(leases[0].said.contains("released"));
        assert_eq!(beats.len(), 2);
    }

    #[test]
    fn a_lease_that_nobody_renews_runs_out_in_a_tail() {
        let (leases, beats) = heard(
            r#"{"at": "2026-06-01T10:00:00Z", "lease": {"job": "7", "renewed_at": "2026-06-01T10:00:00Z"}},
               {"at": "2026-06-01T10:00:50Z", "lease": {"job": "7", "renewed_at": "2026-06-01T10:00:50Z"}},
               {"at": "2026-06-01T10:20:00Z", "ask": {}}"#,
        );
        let ends = [
            bar("job", "10:00:00", "10:00:50"),
            bar("tail", "10:00:50", "10:10:50"),
        ];
        assert_eq!(drawn(&leases), ends);
        let classes: Vec<_> = beats.iter().map(|bar| bar.class).collect();
        assert_eq!(classes, ["job", "silent"]);
        assert_eq!(drawn(&beats)[1].1, "10:01:50");
    }

    #[test]
    fn repeated_beats_are_heard_between_the_entries() {
        let (leases, beats) = heard(
            r#"{"at": "2026-06-01T10:00:00Z", "lease": {"job": "7", "renewed_at": "2026-06-01T10:00:00Z"}},
               {"at": "2026-06-01T10:00:30Z", "lease": {"listening": true, "every": "15s", "until": "2026-06-01T10:05:00Z"}},
               {"at": "2026-06-01T10:02:00Z", "lease": {"worker": true}},
               {"at": "2026-06-01T10:10:00Z", "ask": {}}"#,
        );
        assert_eq!(drawn(&leases), [bar("job", "10:00:00", "10:00:30")]);
        let told = [
            bar("job", "10:00:00", "10:00:30"),
            bar("none", "10:00:30", "10:02:00"),
            bar("job", "10:02:00", "10:02:15"),
            bar("none", "10:02:15", "10:06:00"),
        ];
        assert_eq!(drawn(&beats)[..4], told);
    }
}
