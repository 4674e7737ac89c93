//! What a deployment can and cannot know.

use crate::{
    evidence::Witness,
    policy::{Corroboration, Policy},
    runner::Scope,
    source::{EvidenceSource, Reach},
    time::Span,
};
use chrono::TimeDelta;
use serde::Serialize;
use std::{fmt, sync::Arc};

/// What a guard can and cannot know about the runners of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The scope.
    pub scope: Scope,
    /// Each witness: the source's name, who it is, how far its word goes.
    pub witnesses: Vec<(String, Witness, Reach)>,
    /// Which permits are possible.
    pub permits: Permits,
    /// How long before a look a job can have begun that nobody shows yet.
    pub window: Window,
    grace: TimeDelta,
    /// How old a shared read may be.
    shared_for: TimeDelta,
}

/// Which permits a deployment can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Permits {
    /// None: nobody knows who is registered.
    None,
    /// For runners that never registered, and for no others: nobody can say *vacant* but the flag.
    PhantomsOnly,
    /// For phantoms, and for vacant runners on whose host a beacon is alive that reports to the guard's store.
    WithBeacon,
    /// For phantoms and for vacant runners.
    Vacant,
}

/// How long before a look a job can have begun that nobody shows yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Nobody says *vacant*: there is no such permit, and no window.
    None,
    /// As long as GitHub's jobs view lags: 25 to 60 seconds and more were seen.
    JobsLag,
    /// The few seconds until the runner's first log line, and the time for which a silent beacon counts as
    /// alive.
    Beacon(#[serde(skip)] TimeDelta),
}

impl Coverage {
    pub(super) fn of(sources: &[Arc<dyn EvidenceSource>], policy: &Policy, scope: &Scope) -> Self {
        let asked = sources.iter().filter_map(|source| {
            let reach = source.reach(scope);
            let row = (source.name().to_owned(), source.witness(), reach);
            (reach > Reach::Nothing).then_some(row)
        });
        let witnesses: Vec<_> = asked.collect();
        let clears = |wanted| {
            let mut rows = witnesses.iter();
            rows.any(|&(_, witness, reach)| witness == wanted && reach == Reach::Clears)
        };
        let (jobs, lease) = (clears(Witness::Jobs), clears(Witness::Lease));
        let corroborated = |lease| match policy.corroboration {
            Corroboration::Any => jobs || lease,
            Corroboration::Jobs => jobs,
            Corroboration::Lease => lease,
            Corroboration::Both => jobs && lease,
        };
        let wants_lease = matches!(
            policy.corroboration,
            Corroboration::Lease | Corroboration::Both
        );
        // Whether a beacon runs on a runner's host, only its heartbeat tells.
        let permits = match clears(Witness::Registration) {
            false => Permits::None,
            true if corroborated(lease) => Permits::Vacant,
            true if corroborated(true) => Permits::WithBeacon,
            true => Permits::PhantomsOnly,
        };
        Self {
            scope: scope.clone(),
            permits,
            window: match permits {
                // Where the jobs alone will do, a runner may go whose beacon was never heard.
                Permits::WithBeacon => Window::Beacon(policy.beacon_ttl),
                Permits::Vacant if lease && (!jobs || wants_lease) => {
                    Window::Beacon(policy.beacon_ttl)
                }
                Permits::Vacant => Window::JobsLag,
                Permits::None | Permits::PhantomsOnly => Window::None,
            },
            witnesses,
            grace: policy.grace,
            shared_for: policy.evidence_max_age / 2,
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: asks", self.scope)?;
        for (index, (name, witness, reach)) in self.witnesses.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let reach = match (witness, reach) {
                (Witness::Jobs | Witness::Lease, Reach::Clears) => "can say vacant",
                _ => "can hold",
            };
            write!(f, "{comma} {name} ({reach})")?;
        }
        f.write_str("; reads what beacons report to its store. ")?;
        match self.permits {
            Permits::None => {
                f.write_str("No permit is possible: nobody is asked who is registered.")
            }
            Permits::PhantomsOnly => f.write_str(
                "Permits for runners that never registered only: the policy wants a complete jobs view; name all repositories.",
            ),
            Permits::WithBeacon => write!(
                f,
                "Permits for runners vacant for {} on whose host a beacon is alive, and for runners that never registered.",
                Span(self.grace)
            ),
            Permits::Vacant => write!(f, "Permits for runners vacant for {}.", Span(self.grace)),
        }?;
        match self.window {
            Window::None => Ok(()),
            Window::JobsLag => write!(
                f,
                " What remains: a job that began so lately that GitHub's jobs view does not show it (lags of 25 to 60 s and more were seen; a read that asks share adds up to {}) can be killed.",
                Span(self.shared_for)
            ),
            Window::Beacon(ttl) => write!(
                f,
                " What remains: a job that began less than a few seconds and {} ago can be killed.",
                Span(ttl)
            ),
        }
    }
}
