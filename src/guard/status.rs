//! The fleet as the store knows it: nobody is asked.

use super::{
    host::Host,
    outcome::{Outcome, Remembered},
    pins,
};
use crate::{
    decision::Verdict,
    evidence::{Pin, Signal, Target},
    hold::HoldCode,
    lease::JobLease,
    memory::Memory,
    policy::Policy,
    records::{Kept, Over, Records},
    runner::{RunnerId, RunnerName, Scope},
    stage::Stage,
    store::{Kind, Store, StoreError},
    time::{Instant, Span, age, latest},
};
use chrono::TimeDelta;
use serde::Serialize;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// What the store knows of a scope.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FleetStatus {
    /// The GitHub's host.
    pub api: Arc<str>,
    /// The scope.
    pub scope: Scope,
    /// When it was read.
    pub at: Instant,
    /// The pins that stand: of everything, and of this scope.
    pub pins: Vec<Pin>,
    /// Its runners, by name.
    pub runners: Vec<RunnerStatus>,
}

/// What the store knows of a runner.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunnerStatus {
    /// Its name.
    pub name: RunnerName,
    /// The number of its registration.
    pub id: Option<RunnerId>,
    /// Its stage, by the last decision.
    pub stage: Option<Stage>,
    /// When any witness last said that it has a job.
    pub last_occupied: Option<Instant>,
    /// Since when it has been vacant, by the last decision.
    pub vacant_since: Option<Instant>,
    /// The lease of its job, while it is live.
    pub lease: Option<JobLease>,
    /// When its beacon was last heard.
    pub beacon_heard_at: Option<Instant>,
    /// The pins that are about it by name, with all of its scope, or with everything; and those of its labels, where
    /// the last decision says that it is pinned.
    pub pins: Vec<Pin>,
    /// The last decision.
    pub outcome: Option<Outcome>,
    /// What of it cannot be read.
    pub trouble: Option<String>,
}

/// What the store knows of a scope, at `now`. `api` is the GitHub's host, such as `api.github.com`. It asks GitHub
/// nothing, and changes nothing.
///
/// # Errors
/// [`StoreError`] when it could not be read.
pub async fn status(
    store: impl Store + 'static,
    api: &str,
    scope: &Scope,
    now: Instant,
) -> Result<FleetStatus, StoreError> {
    let store: Arc<dyn Store> = Arc::new(store);
    let records = Records::new(store.clone(), api);
    let of_hosts = Records::new(store, crate::records::EVERY_GITHUB);
    let mut known: BTreeMap<RunnerName, Kept<Remembered>> = BTreeMap::new();
    known.extend(records.scan_all(scope, Kind::Memory).await?);
    for (name, _) in of_hosts
        .scan_all::<serde_json::Value>(scope, Kind::Heartbeat)
        .await?
    {
        known.entry(name).or_insert_with(Kept::nothing);
    }
    let keys: Vec<_> = known
        .keys()
        .flat_map(|name| {
            [Kind::Heartbeat, Kind::Fence].map(|kind| records.of_host(scope, kind, name))
        })
        .collect();
    let read = records.read_unparsed(&keys).await?;
    let mut read = keys.iter().zip(read);
    let pins = pins::standing(&records, Some(scope), now).await?;
    let mut runners = Vec::with_capacity(known.len());
    for (name, remembered) in known {
        let (Some(beat), Some(fence)) = (read.next(), read.next()) else {
            break;
        };
        let host = Host::read(&records, beat, fence, now);
        runners.push(RunnerStatus::of(name, remembered, &host, &pins, now));
    }
    Ok(FleetStatus {
        api: api.into(),
        scope: scope.clone(),
        at: now,
        pins,
        runners,
    })
}

impl RunnerStatus {
    fn of(
        name: RunnerName,
        remembered: Kept<Remembered>,
        host: &Host,
        pins: &[Pin],
        now: Instant,
    ) -> Self {
        let Remembered { memory, outcome } = remembered.value;
        let mut trouble = remembered.lost;
        let (mut lease, mut beacon_heard_at) = (None, memory.beacon_heard_at());
        for evidence in host.evidence(memory.id(), None, now, &Policy::default()) {
            match evidence.signal {
                Signal::Lease(heartbeat) => {
                    lease = heartbeat.live_lease(now).cloned();
                    beacon_heard_at = latest(beacon_heard_at, Some(heartbeat.heard_at));
                }
                Signal::Failed(failure) => trouble = Some(failure.what.to_string()),
                _ => {}
            }
        }
        let is_pinned = |outcome: &Outcome| {
            outcome
                .codes
                .iter()
                .any(|code| **code == *HoldCode::Pinned.as_str())
        };
        let is_pinned = outcome.as_ref().is_some_and(is_pinned);
        let concerns = |pin: &&Pin| match &pin.target {
            Some(Target::Runner { name: pinned, .. }) => *pinned == name,
            Some(Target::Label { .. }) => is_pinned,
            _ => true,
        };
        Self {
            id: memory.id(),
            stage: outcome.as_ref().map(|outcome| outcome.stage),
            last_occupied: memory.last_occupied(),
            vacant_since: outcome.as_ref().and_then(|outcome| outcome.vacant_since),
            lease,
            beacon_heard_at,
            pins: pins.iter().filter(concerns).cloned().collect(),
            outcome,
            trouble,
            name,
        }
    }

    /// The latest instant at which anything was decided or heard of it.
    #[must_use]
    pub fn last_known(&self) -> Option<Instant> {
        let decided = self.outcome.as_ref().map(|outcome| outcome.last);
        latest(decided, self.beacon_heard_at)
    }
}

impl FleetStatus {
    /// The same without the runners of which nothing was decided or heard for that long, and how many these are.
    #[must_use]
    pub fn within(mut self, span: TimeDelta) -> (Self, usize) {
        let all = self.runners.len();
        let at = self.at;
        let is_recent = |known: Instant| age(at, known) <= span;
        self.runners
            .retain(|runner| runner.last_known().is_some_and(is_recent));
        let left_out = all.saturating_sub(self.runners.len());
        (self, left_out)
    }
}

/// A table: a line of what stands in its columns, a line for each runner, and a line of totals.
impl fmt::Display for FleetStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [
            "RUNNER", "STAGE", "OCCUPIED", "VACANT", "LEASE", "BEACON", "PIN",
        ];
        let rows: Vec<_> = self.runners.iter().map(|of| of.cells(self.at)).collect();
        let widths: Vec<usize> = heads
            .iter()
            .enumerate()
            .map(|(column, head)| {
                let cells = rows.iter().filter_map(|row| row.get(column));
                let longest = cells.map(|cell| cell.chars().count()).max();
                longest.unwrap_or(0).max(head.len())
            })
            .collect();
        let mut line = |cells: &mut dyn Iterator<Item = &str>, last: &str| {
            for (cell, &width) in cells.zip(&widths) {
                write!(f, "{cell:<width$}  ")?;
            }
            writeln!(f, "{last}")
        };
        line(&mut heads.into_iter(), "DECIDED")?;
        for (row, runner) in rows.iter().zip(&self.runners) {
            let mut cells = row.iter().map(String::as_str);
            line(&mut cells, &runner.decided(self.at))?;
        }
        let count = |is: &dyn Fn(&RunnerStatus) -> bool| {
            self.runners.iter().filter(|runner| is(runner)).count()
        };
        write!(
            f,
            "{}: {} runners, {} occupied by a lease, {} vacant, {} pinned, {} may go",
            self.scope,
            self.runners.len(),
            count(&|runner| runner.lease.is_some()),
            count(&|runner| runner.vacant_since.is_some()),
            count(&|runner| !runner.pins.is_empty()),
            count(&|runner| runner.may_go()),
        )
    }
}

impl RunnerStatus {
    fn may_go(&self) -> bool {
        let may = |outcome: &Outcome| outcome.verdict == Verdict::Terminate && !outcome.in_shadow;
        self.outcome.as_ref().is_some_and(may)
    }

    fn cells(&self, now: Instant) -> [String; 7] {
        let nothing = || "-".to_owned();
        let since =
            |at: Option<Instant>| at.map_or_else(nothing, |at| Span(age(now, at)).to_string());
        let ago = |at: Option<Instant>| {
            at.map_or_else(nothing, |at| format!("{} ago", Span(age(now, at))))
        };
        let lasts = |lease: &JobLease| format!("for {}", Span(age(lease.until, now)));
        let pinned = self.pins.first().map(|pin| match pin.until {
            Some(until) => format!("for {}", Span(age(until, now))),
            None => "for ever".to_owned(),
        });
        [
            self.name.to_string(),
            self.stage
                .map_or_else(nothing, |stage| stage.as_str().to_owned()),
            ago(self.last_occupied),
            since(self.vacant_since),
            self.lease.as_ref().map_or_else(nothing, lasts),
            ago(self.beacon_heard_at),
            pinned.unwrap_or_else(nothing),
        ]
    }

    fn decided(&self, now: Instant) -> String {
        let Some(outcome) = &self.outcome else {
            let why = self.trouble.as_deref();
            return why.unwrap_or("nothing yet").to_owned();
        };
        let when = Span(age(now, outcome.last));
        let shadow = if outcome.in_shadow { "in shadow: " } else { "" };
        let why = match outcome.basis {
            Some(basis) => basis.to_string(),
            None => outcome.codes.join(", "),
        };
        format!("{shadow}{} {when} ago: {why}", outcome.verdict)
    }
}

impl Memory {
    /// When any witness last said that the runner has a job.
    fn last_occupied(&self) -> Option<Instant> {
        let occupied = self.occupied();
        latest(occupied.latest_but_lease(), occupied.lease)
    }
}

impl<T: Default> Kept<T> {
    /// What was never written.
    fn nothing() -> Self {
        Self {
            value: T::default(),
            over: Over::default(),
            age: TimeDelta::zero(),
            lost: None,
        }
    }
}
