//! Can what is known of the whole fleet be trusted, does GitHub let us ask, and is there a permit left?

use super::{Finding, Look, Rule};
use crate::{
    evidence::{Signal, Witness},
    fleet::{FleetReport, SILENCE_HOLDS, Snapshot},
    hold::{Cause, Doubt, HoldReason},
    time::after,
};
use std::collections::BTreeSet;

/// Holds while GitHub's request limit keeps a witness from being heard, the listing cannot be trusted, our clock differs from GitHub's by more than 30 s, most
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
        // It speaks before the others: it is the operator's, and what else is known may be known no longer.
        if let Some(limited) = rate_limit(look) {
            return Finding::Hold(limited);
        }
        let reports = look
            .evidence
            .iter()
            .filter_map(|evidence| match &evidence.signal {
                Signal::Fleet(report) => Some(report),
                _ => None,
            });
        let mut worst: Option<HoldReason> = None;
        for reason in reports.filter_map(|report| objection(report, look)) {
            // The gravest speaks; of equals, the one that lasts longest.
            let grave = |reason: &HoldReason| (gravity(&reason.cause), reason.retry_at);
            if worst
                .as_ref()
                .is_none_or(|known| grave(known) < grave(&reason))
            {
                worst = Some(reason);
            }
        }
        match worst {
            Some(reason) => Finding::Hold(reason),
            None if look.seen.roll.unheard(Witness::Fleet) => {
                look.unheard(Witness::Fleet, Cause::FleetUnreadable)
            }
            None => Finding::Clear,
        }
    }
}

/// How grave it is, of what can be the matter with a fleet: the larger, the graver.
fn gravity(cause: &Cause) -> u8 {
    match cause {
        Cause::SnapshotUntrusted(_) => 3,
        Cause::ClockSkew(_) => 2,
        Cause::BeaconsSilent(_) => 1,
        _ => 0,
    }
}

/// Whoever was kept from being heard by GitHub's request limit.
fn rate_limit(look: &Look<'_>) -> Option<HoldReason> {
    let mut witnesses = BTreeSet::new();
    let mut until = None;
    for evidence in look.evidence {
        if let Signal::Failed(failure) = &evidence.signal
            && failure.rate_limited
        {
            witnesses.insert(failure.witness);
            until = until.max(failure.retry_at);
        }
    }
    if witnesses.is_empty() {
        return None;
    }
    let retry_at = until.map(|until| until.max(look.now));
    let cause = Cause::RateLimited(witnesses.into_iter().collect(), until);
    Some(HoldReason::new(cause, retry_at))
}

fn objection(report: &FleetReport, look: &Look<'_>) -> Option<HoldReason> {
    let doubt = match report.snapshot {
        Snapshot::Trusted => None,
        Snapshot::Inconsistent => Some((Doubt::Inconsistent, None)),
        Snapshot::Shrunken { believed_at: None } => Some((Doubt::Foreign, None)),
        Snapshot::Shrunken { believed_at } => Some((Doubt::Shrunken, believed_at)),
    };
    // What the guard deregistered is absent by that, and the last one leaves an empty listing.
    let absence_counts = !look.seen.was_deregistered();
    if let Some((doubt, believed_at)) = doubt.filter(|_| absence_counts) {
        return Some(HoldReason::new(
            Cause::SnapshotUntrusted(doubt),
            believed_at,
        ));
    }
    if let Some(seconds) = report.clock_skew_seconds
        && report.clock_is_off()
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

#[cfg(test)]
mod tests {
    use crate::{
        Engine, Evidence, Memory, Policy, Runner,
        decision::Basis,
        evidence::{Failure, Witness},
        fence::Deregistration,
        fleet::{FleetReport, Snapshot},
        hold::HoldCode::{
            BeaconsSilent, ClockSkew, FleetUnreadable, JobsUnreadable, PermitBudgetSpent,
            RateLimited, SnapshotUntrusted,
        },
        rules::cases::{
            Case, Found, absent, at, drained, event, failed, failed_until, fleet, no_jobs, online,
            until,
        },
        stage::Stage,
    };
    use Found::Clear;

    #[test]
    fn a_listing_that_the_last_drain_left_empty_is_no_reason_to_hold() {
        let shrunken = FleetReport {
            snapshot: Snapshot::Shrunken { believed_at: None },
            ..FleetReport::default()
        };
        for (deregistration, found) in [
            (Deregistration::Done, Clear),
            (Deregistration::NotWanted, event(SnapshotUntrusted)),
        ] {
            let case = Case::new().look(0, [online(0), no_jobs(0)]);
            let drained = drained(Basis::Vacant, deregistration, 300);
            let case = case.look(390, [absent(390), no_jobs(390), drained]);
            let case = case.and(fleet(shrunken.clone(), 390));
            assert_eq!(case.found("fleet"), found, "{deregistration:?}");
        }
    }

    const DAY: i64 = 24 * 60 * 60;

    fn trusted() -> FleetReport {
        FleetReport::default()
    }

    fn snapshot(snapshot: Snapshot) -> FleetReport {
        FleetReport {
            snapshot,
            ..trusted()
        }
    }

    fn skew(seconds: i64) -> FleetReport {
        FleetReport {
            clock_skew_seconds: Some(seconds),
            ..trusted()
        }
    }

    fn left(permits: u32) -> FleetReport {
        FleetReport {
            permits_left: Some(permits),
            ..trusted()
        }
    }

    fn silent_since(second: i64) -> FleetReport {
        FleetReport {
            beacons_silent_since: Some(at(second)),
            ..trusted()
        }
    }

    #[test]
    fn what_cannot_be_trusted_of_the_fleet_holds_everyone() {
        let shrunken = |second: Option<i64>| {
            snapshot(Snapshot::Shrunken {
                believed_at: second.map(at),
            })
        };
        for (row, report, found) in [
            ("nothing is the matter", trusted(), Clear),
            (
                "rows that do not add up",
                snapshot(Snapshot::Inconsistent),
                event(SnapshotUntrusted),
            ),
            (
                "shrunken",
                shrunken(Some(600)),
                until(SnapshotUntrusted, 600),
            ),
            (
                "shrunken, in a scope not ours",
                shrunken(None),
                event(SnapshotUntrusted),
            ),
            ("no skew", skew(0), Clear),
            ("30 s ahead", skew(30), Clear),
            ("31 s ahead", skew(31), event(ClockSkew)),
            ("30 s behind", skew(-30), Clear),
            ("31 s behind", skew(-31), event(ClockSkew)),
            ("as far behind as can be", skew(i64::MIN), event(ClockSkew)),
            ("a permit left", left(1), Clear),
            ("none left", left(0), event(PermitBudgetSpent)),
            ("silent now", silent_since(0), until(BeaconsSilent, DAY)),
            (
                "silent, a second before the end",
                silent_since(1 - DAY),
                until(BeaconsSilent, 1),
            ),
            ("silent for 24 h", silent_since(-DAY), Clear),
            ("silent for longer", silent_since(-1 - DAY), Clear),
            (
                "silent for longer, and none left",
                FleetReport {
                    permits_left: Some(0),
                    ..silent_since(-DAY)
                },
                event(PermitBudgetSpent),
            ),
        ] {
            for stage in Stage::ALL {
                let case = Case::in_stage(stage);
                let (now, moved) = (case.now(), report.clone());
                // The tables' seconds are reckoned from the look.
                let later = |at| at + crate::rules::cases::seconds(now);
                let report = FleetReport {
                    beacons_silent_since: moved.beacons_silent_since.map(later),
                    snapshot: match moved.snapshot {
                        Snapshot::Shrunken { believed_at } => Snapshot::Shrunken {
                            believed_at: believed_at.map(later),
                        },
                        other => other,
                    },
                    ..moved
                };
                let found = match found {
                    // Its absence is the drain's own doing.
                    Found::Hold(SnapshotUntrusted, _) if stage == Stage::Drained => Clear,
                    Found::Hold(code, retry) => Found::Hold(code, retry.map(|at| at + now)),
                    other => other,
                };
                case.and(fleet(report, now))
                    .assert("fleet", stage, found, row);
            }
        }
    }

    #[test]
    fn a_request_limit_holds_in_every_stage_besides_the_witness_it_silenced() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage);
            let now = case.now();
            let jobs = || failed(Witness::Jobs, now);
            let limited = jobs().again_at(at(now + 77)).rate_limited();
            let case = case.instead(limited);
            let limit = until(RateLimited, now + 77);
            assert_eq!(case.found("fleet"), limit, "{stage}");
            assert_eq!(case.found("jobs"), until(JobsUnreadable, now + 77));
            // What lies behind us is now, and what nobody knows is nothing.
            let late = case.clone().instead(jobs().again_at(at(-9)).rate_limited());
            assert_eq!(late.found("fleet"), until(RateLimited, now), "{stage}");
            assert_eq!(late.found("jobs"), until(JobsUnreadable, now), "{stage}");
            let unknown = case.instead(jobs().rate_limited());
            assert_eq!(unknown.found("fleet"), event(RateLimited), "{stage}");
        }
    }

    #[test]
    fn of_several_limits_all_are_named_and_the_latest_counts_in_any_order() {
        let told = [
            failed(Witness::Registration, 0).rate_limited(),
            failed(Witness::Jobs, 0).again_at(at(60)).rate_limited(),
            failed(Witness::Jobs, 0).again_at(at(90)).rate_limited(),
            failed(Witness::Own, 0).again_at(at(600)),
            fleet(skew(31), 0),
        ];
        let says = |told: Vec<Evidence>| {
            let engine = Engine::new(Policy::default()).unwrap();
            let runner = Runner::new("r-1", "repo:acme/atlas").unwrap();
            let decision = engine.decide(&runner, told, &mut Memory::default(), at(0));
            let mut reasons = decision.reasons();
            let reason = reasons.find(|reason| reason.code() == RateLimited).unwrap();
            assert_eq!(reason.retry_at(), Some(at(90)));
            reason.to_string()
        };
        let said = says(told.to_vec());
        assert!(said.contains("registration, jobs until "), "{said}");
        assert_eq!(said, says(told.into_iter().rev().collect()));
    }

    #[test]
    fn a_failure_written_before_there_were_limits_is_read() {
        let old = r#"{"witness": "jobs", "what": "502"}"#;
        let read: Failure = serde_json::from_str(old).unwrap();
        assert!(!read.rate_limited && read.retry_at.is_none());
        let written = serde_json::to_value(&read).unwrap();
        let as_it_was: serde_json::Value = serde_json::from_str(old).unwrap();
        assert_eq!(written, as_it_was);
    }

    #[test]
    fn a_report_that_could_not_be_read_holds_and_the_order_of_reports_is_nothing() {
        let failed = || failed(Witness::Fleet, 0);
        let limit = failed_until(Witness::Fleet, 77, 0);
        for (row, evidence, found) in [
            ("nobody asked", vec![], Clear),
            ("failed", vec![failed()], event(FleetUnreadable)),
            (
                "a limit with an end",
                vec![limit],
                until(FleetUnreadable, 77),
            ),
            ("30 s old", vec![fleet(trusted(), -30)], Clear),
            (
                "31 s old",
                vec![fleet(trusted(), -31)],
                event(FleetUnreadable),
            ),
            (
                "one failed",
                vec![fleet(trusted(), 0), failed()],
                event(FleetUnreadable),
            ),
            (
                "31 s old, and it holds",
                vec![fleet(left(0), -31)],
                event(PermitBudgetSpent),
            ),
            (
                "one holds",
                vec![fleet(trusted(), 0), fleet(skew(31), 0)],
                event(ClockSkew),
            ),
            (
                "two hold",
                vec![
                    fleet(left(0), 0),
                    fleet(silent_since(0), 0),
                    fleet(skew(31), 0),
                ],
                event(ClockSkew),
            ),
        ] {
            let mut turned = evidence.clone();
            turned.reverse();
            let found_in = |told| Case::once(told).and(online(0)).found("fleet");
            assert_eq!(found_in(evidence), found, "{row}");
            assert_eq!(found_in(turned), found, "{row}, turned");
        }
    }
}
