//! Does the runner's host say that it holds a job?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    lease::{Heartbeat, SELF_UPDATE_HOLDS},
    stage::Stage,
    time::{Instant, after},
};

/// Holds on a live lease, on a job that was never reported finished, on a worker process, on a
/// self-update, and, while serving, on the silence of a beacon that was once heard. Clears when a
/// live beacon reports no job, or, in `departed`, when its last word was that.
#[derive(Debug)]
pub(crate) struct Lease;

impl Rule for Lease {
    fn name(&self) -> &'static str {
        "lease"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Lease]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        let Look {
            seen, memory, now, ..
        } = *look;
        if let Some(lease) = seen.beacons.live_lease {
            return hold(
                Cause::LeaseLive(lease.job.clone(), lease.until),
                look.after_grace(),
            );
        }
        if let Some(until) = memory.lease_until().filter(|&until| now < until) {
            return hold(Cause::LeaseRemembered(until), look.after_grace());
        }
        if seen.beacons.unreadable {
            return look.unheard(Witness::Lease, Cause::LeaseUnreadable);
        }
        let mut heard = seen.beacons.heard().map(|heartbeat| heard(heartbeat, look));
        match heard.next() {
            Some(first) => heard.fold(first, Finding::stricter),
            // It was heard once: its record is lost.
            None => memory
                .beacon_missed_since()
                .and_then(|heard_at| silence(heard_at, memory.job_left(), look))
                .unwrap_or(Finding::Abstain),
        }
    }
}

fn heard(heartbeat: &Heartbeat, look: &Look<'_>) -> Finding {
    let Look {
        policy, now, stage, ..
    } = *look;
    if let Some(since) = heartbeat.self_update(now) {
        return hold(Cause::SelfUpdate(since), after(since, SELF_UPDATE_HOLDS));
    }
    let alive = heartbeat.is_alive(now, policy);
    if stage != Stage::Wedged && (alive || !silence_is_over(heartbeat.heard_at, look)) {
        let retry_at = || match alive {
            true => look.after_grace(),
            false => {
                let silence_over_at = after(heartbeat.heard_at, policy.silence_limit());
                look.after_grace().min(silence_over_at.max(now))
            }
        };
        if let Some(lease) = heartbeat.unfinished() {
            let cause = Cause::JobNotFinished(lease.job.clone(), lease.renewed_at);
            return hold(cause, retry_at());
        }
        if let Some(since) = heartbeat.worker_since {
            return hold(Cause::WorkerAlive(since), retry_at());
        }
    }
    let is_idle = heartbeat.vacant_since(now).is_some();
    let gone = matches!(stage, Stage::Departed | Stage::Drained);
    if is_idle && (alive || gone && is_last_word(heartbeat, look)) {
        return Finding::Clear;
    }
    if alive {
        return Finding::Abstain;
    }
    silence(heartbeat.heard_at, false, look).unwrap_or(Finding::Abstain)
}

/// Whether nobody has said *occupied* since the beacon's last word, but for what lags behind it.
///
/// Of a runner that a guard deregistered it must be from so long after that that a job dispatched before would have
/// shown: once it is deregistered, no flag says busy, and it departs whether it has a job or not.
fn is_last_word(heartbeat: &Heartbeat, look: &Look<'_>) -> bool {
    let policy = look.policy;
    let shown_at = |at| after(at, policy.settle - policy.beacon_ttl);
    match look.memory.removed_at() {
        Some(removed_at) if heartbeat.heard_at < shown_at(removed_at) => return false,
        // Before that it was no last word of one that departed by itself.
        None if look.stage == Stage::Drained => return false,
        _ => {}
    }
    // What others say lags: a little later than the last word it may still be about a job that the beacon knew.
    let known_job = heartbeat.last_job_at;
    let lags = |at| known_job.is_some_and(|ended| at <= after(ended, policy.beacon_ttl));
    let later = look.memory.occupied().latest_but_lease();
    later.is_none_or(|at| at <= heartbeat.heard_at || lags(at))
}

/// Holds on a silence, while serving, where the last word left a job, or after a guard deregistered the runner,
/// until a job that began before it cannot be running any more and the jobs view says that none is.
fn silence(heard_at: Instant, job_left: bool, look: &Look<'_>) -> Option<Finding> {
    let was_removed = look.memory.removed_at().is_some();
    let counts = job_left || was_removed || look.stage == Stage::Serving;
    let holds = counts && !silence_is_over(heard_at, look);
    let over_at = after(heard_at, look.policy.silence_limit());
    holds.then(|| {
        hold(
            Cause::BeaconSilent(heard_at),
            look.not_before(over_at.max(look.now)),
        )
    })
}

fn silence_is_over(heard_at: Instant, look: &Look<'_>) -> bool {
    look.now >= after(heard_at, look.policy.silence_limit()) && look.clears(&super::jobs::Jobs)
}

fn hold(cause: Cause, retry_at: Instant) -> Finding {
    Finding::Hold(HoldReason::new(cause, retry_at))
}

#[cfg(test)]
mod tests {
    use crate::{
        evidence::{Evidence, Witness},
        hold::HoldCode::{
            BeaconSilent, JobNotFinished, LeaseLive, LeaseUnreadable, SelfUpdate, WorkerAlive,
        },
        lease::{Heartbeat, HostJob, Report},
        rules::cases::{
            Case, Found, absent, alive_until, at, beat, event, failed, failed_until, finished,
            heard, job, listening, never_heard, no_jobs, offline, online, partial, renewed,
            running, until, view, worker_after_its_job, working,
        },
        stage::Stage,
    };
    use Found::{Abstain, Clear};
    use Report::{Alive, Going, Listening, Restarted, Started, UpdateBegun, UpdateEnded, Worker};

    /// A serving runner, and what its beacon has told by now.
    fn serving(now: i64, heartbeat: Heartbeat) -> Case {
        Case::new().look(now, [online(now), heard(heartbeat, now)])
    }

    #[test]
    fn a_live_lease_holds_in_every_stage() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage);
            let now = case.now();
            let beacon = heard(beat([(now - 500, renewed(now - 500))]), now);
            let found = case.instead(beacon).found("lease");
            assert!(
                matches!(found, Found::Hold(LeaseLive, _)),
                "{stage}: {found:?}"
            );
        }
    }

    #[test]
    fn a_beacon_never_heard_has_no_opinion_in_any_stage() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage);
            let now = case.now();
            let found = match stage {
                // These two are only reached beside a live beacon.
                Stage::BusyRefuted => Clear,
                _ => Abstain,
            };
            case.assert("lease", stage, found, "as it came here");
            if !matches!(stage, Stage::BusyRefuted | Stage::Wedged) {
                case.instead(never_heard(now))
                    .assert("lease", stage, Abstain, "asked");
            }
        }
    }

    #[test]
    fn a_lease_is_live_for_lease_ttl_after_the_later_of_its_stamp_and_our_receipt() {
        let started = |stamp| Started {
            job: job(),
            at: at(stamp),
        };
        for (row, report, ends) in [
            ("stamped when received", renewed(0), 600),
            ("stamped before", renewed(-3600), 600),
            ("stamped ahead", renewed(200), 800),
            ("at max_clock_skew", renewed(300), 900),
            ("further ahead than max_clock_skew", renewed(3600), 900),
            ("a start counts as a renewal", started(0), 600),
            ("a start stamped ahead", started(200), 800),
        ] {
            let told = |now| serving(now, alive_until(now, [(0, report.clone())])).found("lease");
            let live = |now| until(LeaseLive, now + 300);
            assert_eq!(told(ends - 1), live(ends - 1), "{row}");
            // It ran out, and its end was not logged.
            for now in [ends, ends + 1] {
                assert_eq!(told(now), until(JobNotFinished, now + 300), "{row}");
            }
        }
        let renewed_again = [(0, renewed(0)), (60, renewed(60))];
        let told = |now| serving(now, alive_until(now, renewed_again.clone())).found("lease");
        assert_eq!(told(659), until(LeaseLive, 959));
        assert_eq!(told(660), until(JobNotFinished, 960));
    }

    #[test]
    fn a_lease_ends_by_a_finish_line_or_a_later_report_of_listening_and_by_nothing_else() {
        let other = HostJob::new("another");
        let other = Report::Finished {
            job: other,
            at: at(10),
        };
        let live = until(LeaseLive, 320);
        for (row, reports, found) in [
            ("finished", vec![(0, renewed(0)), (10, finished(10))], Clear),
            ("listening", vec![(0, renewed(0)), (10, Listening)], Clear),
            (
                "listening before",
                vec![(0, Listening), (10, renewed(10))],
                live,
            ),
            ("a sign of life", vec![(0, renewed(0)), (10, Alive)], live),
            (
                "its listener started anew",
                vec![(0, renewed(0)), (10, Restarted)],
                live,
            ),
            ("its beacon goes", vec![(0, renewed(0)), (10, Going)], live),
            (
                "another job's end",
                vec![(0, renewed(0)), (10, other)],
                live,
            ),
            (
                "an update ended",
                vec![(0, renewed(0)), (10, UpdateEnded)],
                live,
            ),
        ] {
            assert_eq!(serving(20, beat(reports)).found("lease"), found, "{row}");
        }
    }

    #[test]
    fn a_worker_process_holds_until_it_is_gone() {
        for (row, heartbeat, found) in [
            ("there", working(0, 20), until(WorkerAlive, 320)),
            ("gone", beat([(0, Worker), (10, Listening)]), Clear),
            (
                "after its job's end",
                worker_after_its_job(20),
                until(WorkerAlive, 320),
            ),
            ("never there", listening(0, 20), Clear),
        ] {
            assert_eq!(serving(20, heartbeat).found("lease"), found, "{row}");
        }
    }

    #[test]
    fn a_self_update_holds_for_ten_minutes_at_the_most() {
        let updating = |now| alive_until(now, [(-30, Listening), (0, UpdateBegun)]);
        for (now, found) in [(599, until(SelfUpdate, 600)), (600, Clear), (601, Clear)] {
            assert_eq!(serving(now, updating(now)).found("lease"), found, "{now}");
        }
        let ended = beat([(-30, Listening), (0, UpdateBegun), (10, UpdateEnded)]);
        assert_eq!(serving(20, ended).found("lease"), Clear, "ended");
    }

    #[test]
    fn a_beacon_that_is_silent_holds_while_serving_whatever_it_said_last() {
        for (row, reports) in [
            ("listening", vec![(0, Listening)]),
            ("a release", vec![(-10, renewed(-10)), (0, finished(0))]),
            ("a sign of life", vec![(0, Alive)]),
            ("that it goes", vec![(-10, Listening), (0, Going)]),
        ] {
            for now in [60, 61, 899] {
                let case = serving(now, beat(reports.clone())).and(no_jobs(now));
                assert_eq!(
                    case.found("lease"),
                    until(BeaconSilent, 900),
                    "{row}: {now}"
                );
            }
            for now in [900, 901] {
                let case = serving(now, beat(reports.clone()));
                let over = case.clone().and(no_jobs(now));
                over.assert("lease", Stage::Serving, Abstain, row);
                for (view_is, evidence) in [
                    ("not configured", None),
                    ("partial", Some(partial(now))),
                    ("failed", Some(failed(Witness::Jobs, now))),
                    ("occupied", Some(view(true, [running()], now))),
                ] {
                    let case = evidence.into_iter().fold(case.clone(), Case::and);
                    assert_eq!(
                        case.found("lease"),
                        until(BeaconSilent, now),
                        "{row}, {view_is}"
                    );
                }
            }
        }
        assert_eq!(
            serving(59, beat([(0, Listening)])).found("lease"),
            Clear,
            "not yet"
        );
    }

    #[test]
    fn what_a_silent_beacon_left_unfinished_holds_until_its_silence_has_ended() {
        for (row, reports, code) in [
            ("a job", vec![(0, renewed(0))], JobNotFinished),
            ("a worker", vec![(0, Worker)], WorkerAlive),
        ] {
            let last_word = beat(reports);
            let case = |now| serving(now, last_word.clone());
            let clear = |now| case(now).and(no_jobs(now)).found("lease");
            assert_eq!(clear(899), until(code, 900), "{row}");
            assert_eq!(clear(900), Abstain, "{row}");
            assert_eq!(clear(901), Abstain, "{row}");
            for case in [case(900).and(partial(900)), case(900)] {
                let found = case.found("lease");
                let holds = matches!(found, Found::Hold(known, _) if known == code);
                assert!(holds, "{row}, without a complete view: {found:?}");
            }
        }
    }

    #[test]
    fn silence_by_itself_holds_only_while_serving_and_a_last_word_counts_only_in_departed() {
        let release = [(-10, renewed(-10)), (0, finished(0))];
        for (row, last_word, departed) in [
            ("listening", beat([(0, Listening)]), Clear),
            ("a release", beat(release), Clear),
            ("a sign of life", beat([(0, Alive)]), Abstain),
            (
                "that it goes",
                beat([(-10, Listening), (0, Going)]),
                Abstain,
            ),
        ] {
            for stage in [
                Stage::Unconfirmed,
                Stage::Unreadable,
                Stage::Departed,
                Stage::Lost,
            ] {
                let case = Case::in_stage(stage);
                let (now, found) = match stage {
                    Stage::Departed => (case.now(), departed),
                    _ => (case.now(), Abstain),
                };
                let case = case.and(heard(moved(&last_word, now - 60), now));
                case.assert("lease", stage, found, row);
            }
        }
        for (row, last_word, code) in [
            ("a job", beat([(0, renewed(0))]), JobNotFinished),
            ("a worker", beat([(0, Worker)]), WorkerAlive),
        ] {
            let gone = |now, beacon| {
                let case = Case::new().look(now - 120, [online(now - 120)]);
                let case = case.look(now - 60, [absent(now - 60), no_jobs(now - 60)]);
                case.look(now, [absent(now), no_jobs(now), heard(beacon, now)])
            };
            let hold = until(code, 900);
            gone(899, last_word.clone()).assert("lease", Stage::Departed, hold, row);
            gone(900, last_word).assert("lease", Stage::Departed, Abstain, row);
        }
    }

    /// The same heartbeat, that much later.
    fn moved(heartbeat: &Heartbeat, by: i64) -> Heartbeat {
        let by = crate::rules::cases::seconds(by);
        let mut moved = heartbeat.clone();
        moved.heard_at += by;
        moved.idle_since = moved.idle_since.map(|at| at + by);
        moved.last_job_at = moved.last_job_at.map(|at| at + by);
        for lease in &mut moved.leases {
            lease.until += by;
        }
        moved
    }

    #[test]
    fn a_lost_runners_unfinished_job_holds_no_longer_than_its_silence() {
        let lost = |now, view: fn(i64) -> Evidence| {
            let case = Case::new().looks([now - 900, now - 400], |t| [offline(true, t), view(t)]);
            case.look(
                now,
                [
                    offline(true, now),
                    view(now),
                    heard(beat([(0, renewed(0))]), now),
                ],
            )
        };
        let hold = until(JobNotFinished, 900);
        lost(899, no_jobs).assert("lease", Stage::Lost, hold, "before");
        lost(900, no_jobs).assert("lease", Stage::Lost, Abstain, "after");
        let found = lost(900, partial).found("lease");
        assert!(
            matches!(found, Found::Hold(JobNotFinished, _)),
            "beside a partial view"
        );
    }

    #[test]
    fn in_wedged_neither_the_worker_nor_its_lease_holds() {
        let looks = || (0..3599).step_by(300);
        let worker = |now| heard(worker_after_its_job(now), now);
        let told = |now| [online(now), no_jobs(now), worker(now)];
        for (now, stage, found) in [
            (3599, Stage::Serving, until(WorkerAlive, 3600)),
            (3600, Stage::Wedged, Abstain),
            (3601, Stage::Wedged, Abstain),
        ] {
            let case = Case::new().looks(looks(), told).look(now, told(now));
            case.assert("lease", stage, found, "its end is logged");
        }
        // Its end is not logged: its lease ran out at 600, lease_overrun ended at 900.
        let worker = |now| heard(alive_until(now, [(0, renewed(0)), (0, Worker)]), now);
        let told = |now| [online(now), no_jobs(now), worker(now)];
        for (now, stage, found) in [
            (4499, Stage::Serving, until(JobNotFinished, 4500)),
            (4500, Stage::Wedged, Abstain),
        ] {
            let looks = (0..4499).step_by(600);
            let case = Case::new().looks(looks, told).look(now, told(now));
            case.assert("lease", stage, found, "its lease ran out");
        }
    }

    #[test]
    fn a_lease_once_seen_holds_though_its_beacon_cannot_be_heard_now() {
        let seen = |now| {
            let case = Case::new().look(0, [online(0), heard(beat([(0, renewed(0))]), 0)]);
            case.look(now, [online(now), no_jobs(now)])
        };
        for (row, now, found) in [
            ("live", 599, until(LeaseLive, 899)),
            ("run out, and silent", 600, until(BeaconSilent, 900)),
            ("silent", 899, until(BeaconSilent, 900)),
            ("the silence has ended", 900, Abstain),
        ] {
            assert_eq!(seen(now).found("lease"), found, "{row}");
            let asked = seen(now).and(never_heard(now));
            assert_eq!(asked.found("lease"), found, "{row}: asked");
        }
        let forgotten = seen(20).and(heard(beat([(20, Alive)]), 20));
        let row = "a beacon that was started anew has no word on it";
        assert_eq!(forgotten.found("lease"), until(LeaseLive, 320), "{row}");
        let ended = seen(20).and(heard(beat([(20, Listening)]), 20));
        assert_eq!(ended.found("lease"), Clear, "it says that there is no job");
        let partial = seen(900).instead(partial(900));
        assert_eq!(
            partial.found("lease"),
            until(BeaconSilent, 900),
            "beside a partial view"
        );
    }

    /// Each read places a record on our clock anew, by the age that the store tells.
    #[test]
    fn the_same_report_read_again_is_no_older_report() {
        let read = |now, later: i64, last_word: &Heartbeat| {
            let mut heartbeat = last_word.clone();
            heartbeat.heard_at += chrono::TimeDelta::milliseconds(later);
            heard(heartbeat, now)
        };
        for (row, last_word, found) in [
            ("listening", listening(-60, 0), Clear),
            ("a worker", working(-60, 0), until(WorkerAlive, 302)),
        ] {
            let case = Case::new().look(1, [online(1), read(1, 500, &last_word)]);
            let again = |later| {
                let again = [online(2), read(2, later, &last_word)];
                case.clone().look(2, again).found("lease")
            };
            assert_eq!(again(-499), found, "{row}");
            assert_eq!(
                again(-500),
                until(BeaconSilent, 900),
                "{row}: the store lags"
            );
        }
    }

    #[test]
    fn a_heartbeat_that_cannot_be_read_holds() {
        let limit = failed_until(Witness::Lease, 77, 0);
        let old = |age: i64| heard(listening(-60, 0), -age);
        for (row, evidence, found) in [
            (
                "failed",
                vec![failed(Witness::Lease, 0)],
                event(LeaseUnreadable),
            ),
            (
                "a limit with an end",
                vec![limit],
                until(LeaseUnreadable, 77),
            ),
            ("29 s old", vec![old(29)], Clear),
            ("30 s old", vec![old(30)], Clear),
            ("31 s old", vec![old(31)], event(LeaseUnreadable)),
            (
                "31 s old, with a live lease",
                vec![heard(beat([(-40, renewed(-40))]), -31)],
                until(LeaseLive, 300),
            ),
            (
                "of two, one failed",
                vec![old(0), failed(Witness::Lease, 0)],
                event(LeaseUnreadable),
            ),
            (
                "of two, one never heard",
                vec![old(0), never_heard(0)],
                Clear,
            ),
            (
                "of two, one with a live lease",
                vec![old(0), heard(beat([(-40, renewed(-40))]), 0)],
                until(LeaseLive, 300),
            ),
            (
                "of two, one with a worker",
                vec![heard(working(-60, 0), 0), old(0)],
                until(WorkerAlive, 300),
            ),
            (
                "a live lease, and a read that failed",
                vec![
                    failed(Witness::Lease, 0),
                    heard(beat([(-40, renewed(-40))]), 0),
                ],
                until(LeaseLive, 300),
            ),
        ] {
            let mut turned = evidence.clone();
            turned.reverse();
            assert_eq!(
                Case::once(evidence).and(online(0)).found("lease"),
                found,
                "{row}"
            );
            assert_eq!(
                Case::once(turned).and(online(0)).found("lease"),
                found,
                "{row}, turned"
            );
        }
        for stage in Stage::ALL {
            let case = Case::in_stage(stage);
            let now = case.now();
            let found = case.instead(failed(Witness::Lease, now)).found("lease");
            assert_eq!(found, event(LeaseUnreadable), "{stage}");
        }
    }
}
