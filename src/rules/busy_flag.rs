//! Does GitHub say that the runner is busy?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    seen::RegistrationSeen,
};

/// Holds while GitHub says busy, or its word could not be read; clears on a fresh `busy: false`.
/// It abstains in the stages where the flag is not asked.
#[derive(Debug)]
pub(crate) struct BusyFlag;

impl Rule for BusyFlag {
    fn name(&self) -> &'static str {
        "busy_flag"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Registration]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        if !look.stage.asks_the_flag() {
            return Finding::Abstain;
        }
        match look.seen.registration {
            RegistrationSeen::Registered { busy: false, .. } => Finding::Clear,
            RegistrationSeen::Registered { busy: true, .. } => {
                Finding::Hold(HoldReason::new(Cause::Busy(look.now), look.after_grace()))
            }
            RegistrationSeen::Absent { .. } | RegistrationSeen::Unreadable => {
                look.unheard(Witness::Registration, Cause::RegistrationUnreadable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        evidence::Witness,
        hold::HoldCode::{Busy, RegistrationUnreadable},
        policy::StaleBusyBy,
        rules::cases::{Case, Found, absent, busy, event, failed, failed_until, of_another_status},
        rules::cases::{no_jobs, offline, online, partial, running, until, view},
        stage::Stage,
    };

    #[test]
    fn the_flag_is_asked_while_serving_and_unreadable_and_in_no_other_stage() {
        for stage in Stage::ALL {
            let found = match stage {
                Stage::Serving => Found::Clear,
                Stage::Unreadable => event(RegistrationUnreadable),
                _ => Found::Abstain,
            };
            Case::in_stage(stage).assert("busy_flag", stage, found, "in every stage");
        }
    }

    #[test]
    fn what_was_answered_decides() {
        use Stage::{Serving, Unreadable};
        let unreadable = event(RegistrationUnreadable);
        let limit = failed_until(Witness::Registration, 77, 0);
        for (row, evidence, stage, found) in [
            ("vacant", vec![online(0)], Serving, Found::Clear),
            ("busy", vec![busy(0)], Serving, until(Busy, 300)),
            ("offline", vec![offline(false, 0)], Serving, Found::Clear),
            (
                "another word",
                vec![of_another_status(0)],
                Serving,
                Found::Clear,
            ),
            (
                "offline and busy",
                vec![offline(true, 0)],
                Serving,
                until(Busy, 300),
            ),
            (
                "of two, busy",
                vec![busy(0), online(0)],
                Serving,
                until(Busy, 300),
            ),
            (
                "in either order",
                vec![online(0), busy(0)],
                Serving,
                until(Busy, 300),
            ),
            ("not asked", vec![], Unreadable, unreadable),
            (
                "failed",
                vec![failed(Witness::Registration, 0)],
                Unreadable,
                unreadable,
            ),
            (
                "a limit with an end",
                vec![limit],
                Unreadable,
                until(RegistrationUnreadable, 77),
            ),
            (
                "absent for one source, unreadable for another",
                vec![absent(0), failed(Witness::Registration, 0)],
                Unreadable,
                unreadable,
            ),
        ] {
            Case::once(evidence).assert("busy_flag", stage, found, row);
        }
    }

    #[test]
    fn a_flag_that_the_jobs_alone_deny_for_long_is_given_up_where_the_policy_says_so() {
        let told = |now| [busy(now), no_jobs(now)];
        let looks = |now| {
            Case::new()
                .looks((0..now).step_by(300), told)
                .look(now, told(now))
        };
        for (by, now, stage) in [
            (StaleBusyBy::Beacon, 3_600, Stage::Serving),
            (StaleBusyBy::Beacon, 36_000, Stage::Serving),
            (StaleBusyBy::Jobs, 3_599, Stage::Serving),
            (StaleBusyBy::Jobs, 3_600, Stage::BusyRefuted),
        ] {
            let case = looks(now).policy(|policy| policy.stale_busy_by = by);
            assert_eq!(case.judged("busy_flag").0, stage, "{by:?} at {now}");
        }
        let partly = |now: i64| match now {
            1_800 => [busy(now), partial(now)],
            _ => told(now),
        };
        let case = Case::new()
            .looks((0..3_600).step_by(300), partly)
            .look(3_600, told(3_600));
        let case = case.policy(|policy| policy.stale_busy_by = StaleBusyBy::Jobs);
        assert_eq!(
            case.judged("busy_flag").0,
            Stage::BusyRefuted,
            "a partial look breaks no run"
        );
        let shown = |now: i64| match now {
            1_800 => [busy(now), view(true, [running()], now)],
            _ => told(now),
        };
        let case = Case::new()
            .looks((0..3_600).step_by(300), shown)
            .look(3_600, told(3_600));
        let case = case.policy(|policy| policy.stale_busy_by = StaleBusyBy::Jobs);
        assert_eq!(
            case.judged("busy_flag").0,
            Stage::Serving,
            "a job was shown between"
        );
    }

    #[test]
    fn a_flag_clears_no_longer_than_evidence_max_age() {
        let unreadable = event(RegistrationUnreadable);
        for (age, stage, found) in [
            (29, Stage::Serving, Found::Clear),
            (30, Stage::Serving, Found::Clear),
            (31, Stage::Unreadable, unreadable),
        ] {
            let case = Case::once([online(-age)]);
            case.assert("busy_flag", stage, found, &format!("{age} s old"));
        }
    }
}
