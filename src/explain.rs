//! A decision for a person: each rule, what it saw, from whom, how old, and what it found.

use crate::{
    decision::{Assessment, Decision, Hold, RuleFinding},
    evidence::{Claim, Evidence, JobStatus, Registration, Signal, Witness},
    fleet::Snapshot,
    hold::In,
    lease::{Heartbeat, Plain},
    rules::Finding,
    time::{At, Instant, Span, age},
};
use std::fmt;

impl Decision {
    /// Renders the decision for a person: the verdict, then each rule with what it found and why,
    /// then what each witness said and how long ago it was asked.
    pub fn explain(&self) -> String {
        Explained(self).to_string()
    }
}

struct Explained<'a>(&'a Decision);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let assessment = self.0.assessment();
        let now = assessment.at;
        let (name, scope) = (&assessment.runner.name, &assessment.runner.scope);
        match self.0 {
            Decision::Terminate(permit) => {
                writeln!(f, "TERMINATE {name} ({scope}): {}", permit.basis())?;
                let lasts = Span(age(permit.expires_at(), now));
                writeln!(f, "  asked at {}; the permit is good for {lasts}", At(now))?;
            }
            Decision::Hold(hold) => {
                writeln!(f, "HOLD {name} ({scope})")?;
                writeln!(f, "  asked at {}{}", At(now), Again(hold))?;
            }
        }
        write!(f, "  stage {}", assessment.stage)?;
        match assessment.vacant_since {
            Some(since) => writeln!(
                f,
                ", vacant for {} (since {})",
                Span(age(now, since)),
                At(since)
            )?,
            None => writeln!(f, ", not seen vacant")?,
        }
        if assessment.claims.desync() {
            let list = |claim| {
                let names: Vec<_> = assessment.claims.who(claim).map(Witness::as_str).collect();
                names.join(", ")
            };
            let (occupied, vacant) = (list(Claim::Occupied), list(Claim::Vacant));
            writeln!(
                f,
                "  the witnesses disagree: occupied by {occupied}; vacant by {vacant}"
            )?;
        }
        writeln!(f, "\n  rule           found    because")?;
        for found in &assessment.findings {
            write_rule(f, found, assessment)?;
        }
        writeln!(f, "\n  witness        asked    said")?;
        for evidence in &assessment.evidence {
            let asked = format!("{} ago", Span(age(now, evidence.asked_at)));
            writeln!(
                f,
                "  {:<14} {asked:<8} {}",
                evidence.witness(),
                Said(evidence, now)
            )?;
        }
        if assessment.evidence.is_empty() {
            writeln!(f, "  nobody was asked")?;
        }
        Ok(())
    }
}

struct Again<'a>(&'a Hold);

impl fmt::Display for Again<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.retry_at() {
            Some(at) => write!(
                f,
                "; ask again {} (at {})",
                In(at, self.0.assessment().at),
                At(at)
            ),
            None => f.write_str("; no clock tells when asking again can help"),
        }
    }
}

/// What the rule found and why; then from whom it knows, and since when they were asked.
fn write_rule(
    f: &mut fmt::Formatter<'_>,
    found: &RuleFinding,
    assessment: &Assessment,
) -> fmt::Result {
    let now = assessment.at;
    write!(f, "  {:<14} {:<8} ", found.rule, found.finding.as_str())?;
    let weighed = || {
        let evidence = assessment.evidence.iter();
        evidence.filter(|evidence| found.witnesses.contains(&evidence.witness()))
    };
    let mut separator = "";
    match &found.finding {
        Finding::Hold(reason) => write!(f, "{reason} [{}]", reason.code_str())?,
        _ if weighed().next().is_none() => f.write_str("–")?,
        _ => {
            for evidence in weighed() {
                write!(f, "{separator}{}", Said(evidence, now))?;
                separator = "; ";
            }
        }
    }
    separator = "  (";
    for evidence in weighed() {
        let asked = Span(age(now, evidence.asked_at));
        write!(f, "{separator}{}, {asked} ago", evidence.source)?;
        separator = "; ";
    }
    f.write_str(if weighed().next().is_some() {
        ")\n"
    } else {
        "\n"
    })
}

/// One piece of evidence in a few words.
pub(crate) struct Said<'a>(pub(crate) &'a Evidence, pub(crate) Instant);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(evidence, now) = self;
        match &evidence.signal {
            Signal::Registration(Registration::Registered { busy, status, .. }) => {
                write!(f, "busy: {busy}, {status}")
            }
            Signal::Registration(Registration::Absent {
                beside_listing: true,
                ..
            }) => f.write_str("no such runner; others are listed"),
            Signal::Registration(Registration::Absent { .. }) => f.write_str("no such runner"),
            Signal::Jobs(view) => {
                let part = if view.complete {
                    "complete view"
                } else {
                    "partial view"
                };
                let running = view
                    .jobs
                    .iter()
                    .filter(|job| job.status == JobStatus::InProgress)
                    .count();
                let queued = view
                    .jobs
                    .iter()
                    .filter(|job| job.status == JobStatus::Queued)
                    .count();
                write!(f, "{part}, {running} in progress, {queued} queued")
            }
            Signal::Lease(heartbeat) => write_heartbeat(f, heartbeat, *now),
            Signal::NeverHeard => f.write_str("never heard"),
            Signal::Webhooks(ledger) => {
                let open = ledger
                    .jobs()
                    .iter()
                    .filter(|job| job.opened_at.is_some() && job.closed_at.is_none());
                write!(
                    f,
                    "{} jobs, {} not completed",
                    ledger.jobs().len(),
                    open.count()
                )
            }
            Signal::Fleet(report) => match report.snapshot {
                Snapshot::Trusted => f.write_str("listing trusted"),
                Snapshot::Inconsistent => f.write_str("listing does not add up"),
                Snapshot::Shrunken { .. } => f.write_str("listing empty, or short of our runners"),
            },
            Signal::Own(own) => write!(f, "{}: {}", claimed(own.claim), own.note),
            Signal::Fence(fence) => {
                write!(
                    f,
                    "{fence}, written {} ago",
                    Span(age(*now, fence.written_at))
                )
            }
            Signal::Pinned(pin) => pin.fmt(f),
            Signal::Failed(failure) => write!(f, "not heard: {}", failure.what),
        }
    }
}

fn claimed(claim: Claim) -> &'static str {
    match claim {
        Claim::Occupied => "occupied",
        Claim::Vacant => "vacant",
        Claim::Unknown => "cannot tell",
    }
}

fn write_heartbeat(f: &mut fmt::Formatter<'_>, heartbeat: &Heartbeat, now: Instant) -> fmt::Result {
    write!(f, "heard {} ago: ", Span(age(now, heartbeat.heard_at)))?;
    let mut parts = Vec::new();
    if let Some(lease) = heartbeat.live_lease(now) {
        parts.push(format!(
            "lease of job {} live until {}",
            lease.job,
            At(lease.until)
        ));
    } else if let Some(lease) = heartbeat.unfinished() {
        parts.push(format!("job {} never finished", lease.job));
    }
    if heartbeat.worker_since.is_some() {
        parts.push("a worker process".to_owned());
    }
    if heartbeat.self_update(now).is_some() {
        parts.push("updating itself".to_owned());
    }
    if let Some(what) = &heartbeat.blind {
        parts.push(format!("it cannot see: {}", Plain(what)));
    }
    if heartbeat.gone {
        parts.push("it said that it goes".to_owned());
    }
    if parts.is_empty() {
        parts.push(match heartbeat.vacant_since(now) {
            Some(since) => format!("no job since {}", At(since)),
            None => "alive, nothing else".to_owned(),
        });
    }
    f.write_str(&parts.join(", "))
}
