//! Can what is known of the whole fleet be trusted, and is there a permit left?

use super::{Finding, Look, Rule};
use crate::{
    evidence::{Signal, Witness},
    fleet::{FleetReport, MAX_GITHUB_SKEW, SILENCE_HOLDS, Snapshot},
    hold::{Cause, HoldReason},
    seen::failure,
    time::after,
};

/// Holds while the listing cannot be trusted, our clock differs from GitHub's by more than 30 s, most
/// beacons are silent at once, or the permit budget is spent.
#[derive(Debug)]
pub(crate) struct Fleet;

impl Rule for Fleet {
    fn name(&self) -> &'static str {
        "fleet"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Fleet]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        judge(look)
    }
}

pub(crate) fn judge(look: &Look<'_>) -> Finding {
    let reports = look
        .evidence
        .iter()
        .filter_map(|evidence| match &evidence.signal {
            Signal::Fleet(report) => Some(report),
            _ => None,
        });
    let mut worst: Option<HoldReason> = None;
    for reason in reports.filter_map(|report| objection(report, look)) {
        if worst
            .as_ref()
            .is_none_or(|known| known.code() as u8 > reason.code() as u8)
        {
            worst = Some(reason);
        }
    }
    match worst {
        Some(reason) => Finding::Hold(reason),
        None if failure(look.evidence, Witness::Fleet, look.now, look.policy).is_some() => {
            look.unheard(Witness::Fleet, Cause::FleetUnreadable)
        }
        None => Finding::Clear,
    }
}

fn objection(report: &FleetReport, look: &Look<'_>) -> Option<HoldReason> {
    let (shrunken, believed_at) = match report.snapshot {
        Snapshot::Trusted => (None, None),
        Snapshot::Inconsistent => (Some(false), None),
        Snapshot::Shrunken { believed_at } => (Some(true), believed_at),
    };
    if let Some(shrunken) = shrunken {
        return Some(HoldReason::new(
            Cause::SnapshotUntrusted { shrunken },
            believed_at,
        ));
    }
    if let Some(seconds) = report.clock_skew_seconds
        && seconds.unsigned_abs() > MAX_GITHUB_SKEW.num_seconds().unsigned_abs()
    {
        return Some(HoldReason::new(Cause::ClockSkew(seconds), None));
    }
    if let Some(since) = report.beacons_silent_since {
        let over_at = after(since, SILENCE_HOLDS);
        if look.now < over_at {
            return Some(HoldReason::new(Cause::BeaconsSilent(since), over_at));
        }
    }
    if report.permits_left == Some(0) {
        return Some(HoldReason::new(Cause::PermitBudgetSpent, None));
    }
    None
}
