//! Has the runner been vacant for long enough?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    stage::Stage,
    time::after,
};

/// Holds while the runner has been vacant for less than `grace`, in every stage but
/// `never_registered`. In `departed`, where the lease clears, it is enough that the runner has been
/// absent and vacant for `min_age`.
#[derive(Debug)]
pub(crate) struct Grace;

impl Rule for Grace {
    fn name(&self) -> &'static str {
        "grace"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        let Look {
            memory,
            policy,
            now,
            stage,
            vacancy,
            ..
        } = *look;
        if stage == Stage::NeverRegistered {
            return Finding::Clear;
        }
        let could_be_since = vacancy.could_be_since.unwrap_or(now);
        let mut wanted = policy.grace;
        let mut over_at = after(could_be_since, policy.grace);
        if stage == Stage::Departed && look.clears(&super::lease::Lease) {
            let absent_since = memory.absent().map_or(now, |run| run.since);
            let short = after(could_be_since.max(absent_since), policy.min_age);
            if short < over_at {
                (wanted, over_at) = (policy.min_age, short);
            }
        }
        match vacancy.since {
            Some(_) if now >= over_at => Finding::Clear,
            since => {
                let retry_at = match stage {
                    // What comes after these stages may want no window at all.
                    Stage::Launching | Stage::Unconfirmed => None,
                    _ => Some(look.not_before(over_at.max(now))),
                };
                let cause = Cause::GraceWindow { since, wanted };
                Finding::Hold(HoldReason::new(cause, retry_at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        evidence::{Claim, Evidence, Own, Signal, Witness},
        hold::HoldCode::GraceWindow,
        lease::{
            Heartbeat,
            Report::{Listening, Worker},
        },
        ledger::Action::{Completed, InProgress},
        rules::cases::{
            Case, Found, absent, alive_until, at, beat, busy, failed, finished, heard, listening,
            no_jobs, online, partial, renewed, running, seconds, until, view, webhooks,
        },
        stage::Stage,
    };

    const ONE: [i64; 3] = [-1, 0, 1];

    /// The window ends at this second: not one second before, and no later.
    fn ends_at(end: i64, row: &str, look_at: impl Fn(i64) -> Case) {
        for offset in ONE {
            let found = if offset < 0 {
                until(GraceWindow, end)
            } else {
                Found::Clear
            };
            let case = look_at(end + offset);
            assert_eq!(case.found("grace"), found, "{row}, {offset} s: {case:#?}");
        }
    }

    fn vacant(now: i64) -> [Evidence; 2] {
        [online(now), no_jobs(now)]
    }

    fn objecting(asked: i64) -> Evidence {
        let own = Own {
            claim: Claim::Occupied,
            note: "".into(),
            until: None,
        };
        Evidence::new("own", at(asked), Signal::Own(own))
    }

    #[test]
    fn where_nobody_attests_more_the_window_begins_at_our_first_vacant_look() {
        type Script = fn() -> Case;
        let scripts: [(&str, i64, Script); 10] = [
            ("one look", 300, || Case::new().look(0, vacant(0))),
            ("of looks the first", 300, || {
                Case::new().look(0, vacant(0)).look(200, vacant(200))
            }),
            ("busy between", 500, || {
                let case = Case::new()
                    .look(0, vacant(0))
                    .look(100, [busy(100), no_jobs(100)]);
                case.look(200, vacant(200))
            }),
            ("a job between", 500, || {
                let occupied = [online(100), view(false, [running()], 100)];
                let case = Case::new().look(0, vacant(0)).look(100, occupied);
                case.look(200, vacant(200))
            }),
            (
                "an objection between, which is no other rule's",
                400,
                || {
                    let case = Case::new().look(0, vacant(0)).look(100, vacant(100));
                    case.and(objecting(100)).look(200, vacant(200))
                },
            ),
            ("a look that failed between", 300, || {
                let failed = [
                    failed(Witness::Registration, 100),
                    failed(Witness::Jobs, 100),
                ];
                Case::new().look(0, vacant(0)).look(100, failed)
            }),
            ("an uncorroborated look between", 300, || {
                Case::new()
                    .look(0, vacant(0))
                    .look(100, [online(100), partial(100)])
            }),
            ("an uncorroborated look before", 400, || {
                Case::new()
                    .look(0, [online(0), partial(0)])
                    .look(100, vacant(100))
            }),
            ("a look at nothing before", 400, || {
                Case::new().look(0, []).look(100, vacant(100))
            }),
            ("a look that found it absent before", 360, || {
                Case::new()
                    .look(0, [absent(0), partial(0)])
                    .look(60, vacant(60))
            }),
        ];
        for (row, end, script) in scripts {
            ends_at(end, row, |now| script().look(now, vacant(now)));
        }
    }

    #[test]
    fn a_look_at_which_a_witness_held_or_nobody_corroborated_is_no_vacant_look() {
        ends_at(400, "a heartbeat that could not be read before", |now| {
            let case = Case::new()
                .look(0, vacant(0))
                .and(failed(Witness::Lease, 0));
            case.look(100, vacant(100)).look(now, vacant(now))
        });
        ends_at(400, "a jobs view that could not be read before", |now| {
            let beacon = |now| heard(alive_until(now, [(0, Listening), (100, Listening)]), now);
            let told = |now| vacant(now).into_iter().chain([beacon(now)]);
            let first = [
                online(0),
                failed(Witness::Jobs, 0),
                heard(listening(0, 0), 0),
            ];
            Case::new()
                .look(0, first)
                .look(100, told(100))
                .look(now, told(now))
        });
        let gone = |now| [absent(now), no_jobs(now)];
        ends_at(360, "a registration that could not be read before", |now| {
            let launched = Case::new().runner(|runner| runner.launched_at(at(-601)));
            let unread = [failed(Witness::Registration, 0), no_jobs(0)];
            launched
                .look(0, unread)
                .looks([60, 120], gone)
                .look(now, gone(now))
        });
        ends_at(480, "absent, but nobody said vacant before", |now| {
            let case = Case::new().look(0, [online(0), partial(0)]);
            let case = case.looks([60, 120], |t| [absent(t), partial(t)]);
            case.look(180, gone(180)).look(now, gone(now))
        });
    }

    #[test]
    fn a_look_that_is_not_vacant_does_not_clear_however_long_the_window() {
        let long = || Case::new().looks([0, 300, 600], vacant);
        for (row, evidence) in [
            ("busy", vec![busy(700), no_jobs(700)]),
            ("a job", vec![online(700), view(true, [running()], 700)]),
        ] {
            let case = long().look(700, evidence);
            assert_eq!(case.found("grace"), until(GraceWindow, 1000), "{row}");
        }
        for (row, evidence) in [
            ("uncorroborated", vec![online(700)]),
            ("unreadable", vec![no_jobs(700)]),
            (
                "a jobs view that failed",
                vec![online(700), failed(Witness::Jobs, 700)],
            ),
        ] {
            let case = long().look(700, evidence);
            assert_eq!(case.found("grace"), until(GraceWindow, 700), "{row}");
        }
    }

    #[test]
    fn a_gap_longer_than_max_observation_gap_starts_the_window_anew() {
        let after = |gap| Case::new().look(0, vacant(0)).look(gap, vacant(gap));
        assert_eq!(after(600).found("grace"), Found::Clear);
        assert_eq!(after(601).found("grace"), until(GraceWindow, 901));
        let narrow =
            |gap| after(gap).policy(|policy| policy.max_observation_gap = Some(seconds(400)));
        assert_eq!(narrow(400).found("grace"), Found::Clear);
        assert_eq!(narrow(401).found("grace"), until(GraceWindow, 701));
        let wide = |gap| after(gap).policy(|policy| policy.grace = seconds(400));
        assert_eq!(wide(800).found("grace"), Found::Clear, "twice grace");
        assert_eq!(wide(801).found("grace"), until(GraceWindow, 1201));
        let failed = |now| [failed(Witness::Registration, now), no_jobs(now)];
        let blind = Case::new().look(0, vacant(0)).look(300, failed(300));
        let blind = blind.look(601, vacant(601));
        assert_eq!(
            blind.found("grace"),
            until(GraceWindow, 901),
            "only vacant looks count"
        );
    }

    #[test]
    fn a_live_beacon_attests_vacancy_from_its_report_of_no_job() {
        type Told = fn(i64) -> Heartbeat;
        let told: [(&str, i64, Told); 7] = [
            ("listening", 300, |now| listening(0, now)),
            ("a release", 300, |now| {
                alive_until(now, [(-90, renewed(-90)), (0, finished(-60))])
            }),
            ("a release stamped ahead", 300, |now| {
                alive_until(now, [(-30, renewed(-30)), (0, finished(200))])
            }),
            ("a report of listening ends a lease", 300, |now| {
                alive_until(now, [(-30, renewed(-30)), (0, Listening)])
            }),
            ("told twice", 300, |now| {
                alive_until(now, [(0, Listening), (30, Listening)])
            }),
            ("told again just before it is silent", 300, |now| {
                alive_until(now, [(0, Listening), (59, Listening)])
            }),
            ("told again after a silence", 360, |now| {
                alive_until(now, [(0, Listening), (60, Listening)])
            }),
        ];
        for (row, end, told) in told {
            ends_at(end, row, |now| {
                Case::new().look(now, [online(now), heard(told(now), now)])
            });
        }
        let silent = |now| heard(beat([(0, Listening)]), now);
        let silent = Case::new().look(1000, vacant(1000)).and(silent(1000));
        assert_eq!(
            silent.found("grace"),
            until(GraceWindow, 1300),
            "only while it is alive"
        );
    }

    #[test]
    fn vacant_since_is_the_latest_instant_at_which_any_witness_said_occupied() {
        let beacon = |now| heard(listening(-600, now), now);
        let told = |now: i64| vacant(now).into_iter().chain([beacon(now)]);
        for (row, occupied) in [
            ("busy", vec![busy(100), no_jobs(100), beacon(100)]),
            (
                "a job",
                vec![online(100), view(true, [running()], 100), beacon(100)],
            ),
            ("an objection", told(100).chain([objecting(100)]).collect()),
        ] {
            ends_at(400, row, |now| {
                let case = Case::new().look(0, told(0)).look(100, occupied.clone());
                case.look(now, told(now))
            });
        }
        let deliveries = [(InProgress, 1, 50), (Completed, 1, 100)];
        ends_at(400, "a webhook, until it is closed", |now| {
            Case::new()
                .look(now, told(now))
                .and(webhooks(deliveries, now))
        });
        ends_at(500, "a lease, until its release is received", |now| {
            let reports = [(0, Listening), (50, renewed(50)), (200, finished(60))];
            let heartbeat = alive_until(now, reports);
            Case::new()
                .look(0, told(0))
                .look(now, vacant(now))
                .and(heard(heartbeat, now))
        });
    }

    #[test]
    fn in_departed_an_absence_of_min_age_is_enough_where_the_lease_clears() {
        // Its beacon goes with it.
        let last_word = |now| heard(beat([(-30, renewed(-30)), (30, finished(30))]), now);
        let gone = |now| [absent(now), last_word(now)];
        let served = || Case::new().look(40, [online(40), last_word(40)]);
        ends_at(180, "by the lease", |now| {
            served().looks([60, 120], gone).look(now, gone(now))
        });
        ends_at(300, "absent for longer than vacant", |now| {
            let case = Case::new()
                .look(0, [online(0), no_jobs(0)])
                .look(60, [absent(60)]);
            let late = move |now| {
                let late = beat([(150, renewed(150)), (180, finished(180))]);
                [absent(now), heard(late, now)]
            };
            case.look(180, late(180)).look(now, late(now))
        });
        ends_at(300, "by the jobs alone", |now| {
            let gone = |now| [absent(now), no_jobs(now)];
            let case = Case::new().look(0, vacant(0));
            case.looks([60, 120], gone).look(now, gone(now))
        });
        ends_at(340, "min_age is longer than grace", |now| {
            let case = served().looks([60, 120], gone).look(now, gone(now));
            case.policy(|policy| policy.min_age = seconds(600))
        });
        ends_at(310, "a min_age of its own", |now| {
            let case = served().looks([60, 120], gone).look(now, gone(now));
            case.policy(|policy| policy.min_age = seconds(250))
        });
    }

    #[test]
    fn in_the_stages_that_do_not_ask_the_flag_it_does_not_count_now_or_remembered() {
        for stage in [Stage::BusyRefuted, Stage::Wedged] {
            let case = Case::in_stage(stage);
            case.assert("grace", stage, Found::Clear, "its beacon attests it");
        }
        // Nobody attests it: the first look at which the flag is not asked is the first vacant one.
        let lost = Case::in_stage(Stage::Lost);
        let over_at = lost.now() + 300;
        lost.assert(
            "grace",
            Stage::Lost,
            until(GraceWindow, over_at),
            "busy till now",
        );
        let told_again = [
            (0, Worker),
            (0, renewed(0)),
            (0, finished(0)),
            (3600, Worker),
        ];
        let told_again = (30..3600)
            .step_by(30)
            .fold(told_again.to_vec(), |mut told, second| {
                told.insert(told.len() - 1, (second, Worker));
                told
            });
        let wedged = Case::in_stage(Stage::Wedged).instead(heard(beat(told_again), 3600));
        wedged.assert("grace", Stage::Wedged, Found::Clear, "nor its worker");
        ends_at(360, "departed", |now| {
            let case = Case::new().look(0, [busy(0), no_jobs(0)]);
            let gone = |now| [absent(now), no_jobs(now)];
            case.looks([60, 120], gone).look(now, gone(now))
        });
    }

    #[test]
    fn grace_is_waited_for_in_every_stage_but_never_registered() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage);
            let now = case.now();
            let case = case.and(objecting(now));
            let (reached, found) = case.judged("grace");
            assert_eq!(reached, stage);
            let holds = matches!(found, Found::Hold(GraceWindow, _));
            assert_eq!(holds, stage != Stage::NeverRegistered, "{stage}: {found:?}");
        }
    }
}
