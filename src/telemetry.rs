//! What observers hear: spans and events of `tracing`, and metrics of the `metrics` facade (feature `metrics`), under
//! names that stay. docs/observability.md lists them all.
//!
//! Nothing here gives anything back, and an observer that panics is passed over: observers cannot change a
//! decision. None of it is written per runner into a label, so that a fleet of any size has the same few series.

use crate::{
    decision::{Basis, Claims, Decision, Verdict},
    evidence::{Claim, Signal},
    guard::Mode,
    permit::Refused,
    runner::Runner,
    shadow::busy_only,
    time::age,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// How many decisions were answered. `outcome`: `hold` or `terminate`. `reason`: the basis of a permit, or the code of
/// a hold's first reason. `mode`: `live` or `shadow`, where a hold for `shadow_mode` would have been a permit.
pub const DECISIONS: &str = "scale_in_guard_decisions_total";

/// How often each reason held, also beside others. `reason`: its code.
pub const HOLDS: &str = "scale_in_guard_holds_total";

/// How many permits became a go. `basis`; `fenced`: `true` where a live beacon could still have taken it back.
pub const GOES: &str = "scale_in_guard_goes_total";

/// How many permits were refused to become a go. `reason`: `expired`, `run_out`, `clock_set_back`, `taken`,
/// `outstanding`, `not_mine`, `not_settled`, `registered`, `unwritten`, `pinned` or `pins_unread`.
pub const REFUSALS: &str = "scale_in_guard_go_refusals_total";

/// In how many looks two witnesses disagreed. `occupied` and `vacant`: the witness that said so.
pub const DESYNCS: &str = "scale_in_guard_desyncs_total";

/// How long a source took to answer, in seconds. `source`: its name.
pub const SOURCE_SECONDS: &str = "scale_in_guard_source_seconds";

/// How often a source did not answer. `source`: its name.
pub const SOURCE_FAILURES: &str = "scale_in_guard_source_failures_total";

/// How long the store took, in seconds. `operation`: `read`, `scan` or `write`.
pub const STORE_SECONDS: &str = "scale_in_guard_store_seconds";

/// How often the store failed. `operation`: as above.
pub const STORE_FAILURES: &str = "scale_in_guard_store_failures_total";

/// How many requests went to GitHub. `method`; `status`: the number it answered, or `none`.
pub const GITHUB_REQUESTS: &str = "scale_in_guard_github_requests_total";

/// How long GitHub took to answer, in seconds. `method`.
pub const GITHUB_SECONDS: &str = "scale_in_guard_github_request_seconds";

/// What GitHub last said is left of the hourly limit.
pub const GITHUB_REMAINING: &str = "scale_in_guard_github_requests_remaining";

/// How old the last word of a runner's beacon was at a look, in seconds.
pub const BEACON_AGE: &str = "scale_in_guard_beacon_age_seconds";

/// In a beacon: how many reports were tried. `outcome`: `written` or `failed`.
pub const BEACON_REPORTS: &str = "scale_in_guard_beacon_reports_total";

/// In a beacon: when it last reported a runner, in seconds since 1970. `runner`: its name; a host has few.
pub const BEACON_REPORTED_AT: &str = "scale_in_guard_beacon_reported_at_seconds";

/// In a receiver of webhooks: how many deliveries were answered. `status`: the number.
pub const DELIVERIES: &str = "scale_in_guard_webhook_deliveries_total";

/// In a receiver of webhooks: how long an answer took, in seconds.
pub const DELIVERY_SECONDS: &str = "scale_in_guard_webhook_delivery_seconds";

/// Tells the recorder that is installed what each metric means, and in which unit. Call it once, after installing one.
#[cfg(feature = "metrics")]
pub fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(DECISIONS, "Decisions, by outcome and first reason");
    describe_counter!(HOLDS, "Reasons that held");
    describe_counter!(GOES, "Permits that became a go");
    describe_counter!(REFUSALS, "Permits that were refused to become a go");
    describe_counter!(DESYNCS, "Looks in which two witnesses disagreed");
    describe_histogram!(
        SOURCE_SECONDS,
        Unit::Seconds,
        "Time a source took to answer"
    );
    describe_counter!(SOURCE_FAILURES, "Times a source did not answer");
    describe_histogram!(STORE_SECONDS, Unit::Seconds, "Time the store took");
    describe_counter!(STORE_FAILURES, "Times the store failed");
    describe_counter!(GITHUB_REQUESTS, "Requests to GitHub");
    describe_histogram!(GITHUB_SECONDS, Unit::Seconds, "Time GitHub took to answer");
    describe_gauge!(GITHUB_REMAINING, "What is left of GitHub's hourly limit");
    describe_histogram!(BEACON_AGE, Unit::Seconds, "Age of a beacon's last word");
    describe_counter!(BEACON_REPORTS, "Reports that a beacon tried");
    describe_gauge!(
        BEACON_REPORTED_AT,
        Unit::Seconds,
        "When a beacon last reported a runner, since 1970"
    );
    describe_counter!(DELIVERIES, "Webhook deliveries, by the status answered");
    describe_histogram!(
        DELIVERY_SECONDS,
        Unit::Seconds,
        "Time until a delivery was answered"
    );
}

/// A decision was answered.
pub(crate) fn decided(decision: &Decision, mode: Mode) {
    quietly(|| {
        tell(decision, mode);
        let assessment = decision.assessment();
        let verdict = decision.verdict();
        let codes = || decision.reasons().map(|reason| reason.code_str());
        let reason = match decision {
            Decision::Terminate(permit) => permit.basis().as_str(),
            Decision::Hold(_) => codes().next().unwrap_or_default(),
        };
        let mode = match mode {
            Mode::Live => "live",
            Mode::Shadow => "shadow",
        };
        let outcome = match verdict {
            Verdict::Terminate => "terminate",
            Verdict::Hold => "hold",
        };
        count(
            DECISIONS,
            &[("outcome", outcome), ("reason", reason), ("mode", mode)],
        );
        codes().for_each(|code| count(HOLDS, &[("reason", code)]));
        disagreed(assessment.claims);
        for piece in &assessment.evidence {
            if let Signal::Lease(heartbeat) = &piece.signal {
                let old = age(assessment.at, heartbeat.heard_at).to_std();
                record(BEACON_AGE, &[], old.unwrap_or_default());
            }
        }
    });
}

fn disagreed(claims: Claims) {
    for occupied in claims.who(Claim::Occupied) {
        for vacant in claims.who(Claim::Vacant) {
            let labels = [("occupied", occupied.as_str()), ("vacant", vacant.as_str())];
            count(DESYNCS, &labels);
        }
    }
}

/// The event `decided`: at info where a runner may go or the mode is shadow, else at debug.
fn tell(decision: &Decision, mode: Mode) {
    let assessment = decision.assessment();
    let runner = &assessment.runner;
    let verdict = decision.verdict();
    let codes: Vec<_> = decision.reasons().map(|reason| reason.code_str()).collect();
    let codes = codes.join(",");
    let desync = assessment.claims.desync();
    let busy_only = busy_only(assessment);
    let (scope, stage) = (&runner.scope, assessment.stage);
    match (mode, verdict) {
        (Mode::Shadow, _) => tracing::info!(
            runner = %runner.name, %scope, %verdict, %busy_only, %stage, codes, desync, "decided in shadow"
        ),
        (Mode::Live, Verdict::Terminate) => tracing::info!(
            runner = %runner.name, %scope, %verdict, %busy_only, %stage, desync, "decided"
        ),
        (Mode::Live, Verdict::Hold) => tracing::debug!(
            runner = %runner.name, %scope, %verdict, %busy_only, %stage, codes, desync, "decided"
        ),
    }
}

/// A permit becomes a go, unless telling it takes until the permit has expired: then it is told as refused, too.
pub(crate) fn went(runner: &Runner, basis: Basis, fenced: bool) {
    quietly(|| {
        let basis = basis.as_str();
        tracing::info!(runner = %runner.name, scope = %runner.scope, basis, fenced, "go");
        let fenced = if fenced { "true" } else { "false" };
        count(GOES, &[("basis", basis), ("fenced", fenced)]);
    });
}

/// A permit was refused to become a go.
pub(crate) fn refused(runner: &Runner, refused: &Refused) {
    quietly(|| {
        let reason = refused.as_str();
        tracing::info!(runner = %runner.name, scope = %runner.scope, reason, "go refused");
        count(REFUSALS, &[("reason", reason)]);
    });
}

/// A source was asked. `took` is `None` where it was not waited for to the end.
pub(crate) fn asked(source: &str, took: Option<Duration>, answered: bool) {
    quietly(|| {
        let labels = [("source", source)];
        if let Some(took) = took {
            record(SOURCE_SECONDS, &labels, took);
        }
        if !answered {
            tracing::debug!(source, "no answer");
            count(SOURCE_FAILURES, &labels);
        }
    });
}

/// The store was used.
pub(crate) fn stored(operation: &'static str, took: Duration, done: bool) {
    quietly(|| {
        let labels = [("operation", operation)];
        record(STORE_SECONDS, &labels, took);
        if !done {
            count(STORE_FAILURES, &labels);
        }
    });
}

/// A request went to GitHub.
#[cfg(feature = "github")]
pub(crate) fn requested(method: &str, status: Option<u16>, took: Duration) {
    quietly(|| {
        let status = status.map_or("none".to_owned(), |status| status.to_string());
        tracing::trace!(method, status, "asked GitHub");
        count(GITHUB_REQUESTS, &[("method", method), ("status", &status)]);
        record(GITHUB_SECONDS, &[("method", method)], took);
    });
}

/// GitHub said what is left of the hourly limit.
#[cfg(feature = "github")]
pub(crate) fn remaining(requests: u64) {
    quietly(|| set(GITHUB_REMAINING, &[], requests as f64));
}

/// A beacon reported, or tried to.
#[cfg(feature = "beacon")]
pub(crate) fn reported(runner: &crate::runner::RunnerName, at: Option<crate::time::Instant>) {
    quietly(|| {
        let outcome = if at.is_some() { "written" } else { "failed" };
        count(BEACON_REPORTS, &[("outcome", outcome)]);
        if let Some(at) = at {
            let seconds = at.timestamp_millis() as f64 / 1000.0;
            set(BEACON_REPORTED_AT, &[("runner", runner.as_str())], seconds);
        }
    });
}

/// A delivery of a webhook was answered.
#[cfg(feature = "webhook")]
pub(crate) fn delivered(status: u16, took: Option<Duration>) {
    quietly(|| {
        count(DELIVERIES, &[("status", &status.to_string())]);
        if let Some(took) = took {
            record(DELIVERY_SECONDS, &[], took);
        }
    });
}

/// What an observer does, and how it fails, is no affair of whoever is observed.
fn quietly(observe: impl FnOnce()) {
    // What panicked has been told by the panic hook.
    let _ = catch_unwind(AssertUnwindSafe(observe));
}

type Label<'a> = (&'static str, &'a str);

#[cfg(feature = "metrics")]
fn owned(labels: &[Label<'_>]) -> Vec<metrics::Label> {
    let labels = labels.iter();
    labels
        .map(|(name, value)| metrics::Label::new(*name, (*value).to_owned()))
        .collect()
}

fn count(name: &'static str, labels: &[Label<'_>]) {
    #[cfg(feature = "metrics")]
    metrics::counter!(name, owned(labels)).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = (name, labels);
}

fn record(name: &'static str, labels: &[Label<'_>], span: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!(name, owned(labels)).record(span.as_secs_f64());
    #[cfg(not(feature = "metrics"))]
    let _ = (name, labels, span);
}

#[cfg(any(feature = "github", feature = "beacon"))]
fn set(name: &'static str, labels: &[Label<'_>], value: f64) {
    #[cfg(feature = "metrics")]
    metrics::gauge!(name, owned(labels)).set(value);
    #[cfg(not(feature = "metrics"))]
    let _ = (name, labels, value);
}
