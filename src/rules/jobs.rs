//! Does a workflow job name this runner, or could one be on its way to it?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    stage::Stage,
    time::{Instant, after},
};

/// Holds while a job in progress names this runner, a webhook opened one that nothing closed, a
/// queued job could be on its way here, or nothing of the configured view could be read; of a runner that never
/// registered, if anything of it could not. Clears
/// when a complete view shows none; abstains when the view is partial or not configured.
#[derive(Debug)]
pub(crate) struct Jobs;

impl Rule for Jobs {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Jobs, Witness::Webhooks]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        let Look { seen, policy, .. } = *look;
        let (jobs, ledger) = (&seen.jobs, &seen.ledger);
        if let Some(job) = jobs.running {
            return Finding::Hold(HoldReason::new(
                Cause::JobInProgress(job.id, look.now),
                look.after_grace(),
            ));
        }
        if let Some(open) = ledger.open {
            let cause = Cause::WebhookJobOpen(open.id, open.at);
            return Finding::Hold(HoldReason::new(cause, look.after_grace()));
        }
        if seen.roll.unheard(Witness::Webhooks) {
            return look.unheard(Witness::Webhooks, Cause::WebhooksUnreadable);
        }
        // The memory has those of this look, and those of earlier ones that are shown nowhere now: they
        // may have come here.
        let told = ledger.pending.map(|(job, since)| (since, job.id));
        let remembered = look.memory.pending();
        let remembered = remembered.map(|(job, since)| (since, job));
        if let Some((since, job)) = told.into_iter().chain(remembered).max() {
            let retry_at: Instant = after(since, policy.job_pending);
            return Finding::Hold(HoldReason::new(Cause::JobPending(job, since), retry_at));
        }
        // A phantom goes on its absence alone: there, what could not be read must not be passed over.
        let is_missed = jobs.read == 0 || look.stage == Stage::NeverRegistered;
        if jobs.asked > jobs.read && is_missed {
            return look.unheard(Witness::Jobs, Cause::JobsUnreadable);
        }
        if jobs.is_complete() {
            Finding::Clear
        } else {
            Finding::Abstain
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        evidence::{Evidence, Job, JobStatus, Registration, Signal, Status, Witness},
        hold::HoldCode::{
            JobInProgress, JobPending, JobsUnreadable, WebhookJobOpen, WebhooksUnreadable,
        },
        ledger::{
            Action::{Completed, InProgress, Queued, Waiting},
            Delivery, Ledger,
        },
        policy::Policy,
        rules::cases::{
            Case, Found, absent, absent_where, alive_until, at, beat, event, failed, failed_until,
            finished, heard, listening, no_jobs, offline, online, partial, renewed, running,
            seconds, until, view, webhooks, webhooks_naming,
        },
        runner::RunnerRef,
        stage::Stage,
    };
    use Found::{Abstain, Clear};

    const DAY: i64 = 24 * 60 * 60;

    /// A job that names a runner.
    fn naming(status: JobStatus, runner: RunnerRef) -> Job {
        Job::new(7, status, Some(runner))
    }

    /// A queued job that was last changed at `changed`.
    fn queued(changed: i64, label: &str) -> Job {
        Job {
            labels: vec![label.into()],
            changed_at: Some(at(changed)),
            ..Job::new(9, JobStatus::Queued, None)
        }
    }

    fn labelled(evidence: impl IntoIterator<Item = Evidence>) -> Case {
        let case = Case::once(evidence);
        case.runner(|runner| runner.with_labels(["self-hosted", "Linux"]))
    }

    #[test]
    fn the_view_is_judged_alike_in_every_stage() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage);
            let now = case.now();
            case.assert("jobs", stage, Clear, "complete");
            let silent = case.clone().without(Witness::Jobs);
            assert_eq!(silent.found("jobs"), Abstain, "not configured: {stage}");
            let busy = case.clone().instead(view(false, [running()], now));
            let (reached, found) = busy.judged("jobs");
            // A runner that is gone may go after `min_age`.
            let gone = matches!(reached, Stage::Departed | Stage::Unconfirmed);
            let wait = if gone { 120 } else { 300 };
            assert_eq!(
                found,
                until(JobInProgress, now + wait),
                "in progress: {stage}"
            );
            for (row, evidence, found) in [
                ("partial", partial(now), Abstain),
                ("failed", failed(Witness::Jobs, now), event(JobsUnreadable)),
            ] {
                let case = case.clone().instead(evidence);
                assert_eq!(case.found("jobs"), found, "{row}: {stage}");
            }
        }
    }

    #[test]
    fn a_job_that_names_the_runner_and_is_not_over_holds_whatever_its_status() {
        for status in [
            JobStatus::Queued,
            JobStatus::Waiting,
            JobStatus::InProgress,
            JobStatus::Other,
        ] {
            let long_ago = Job {
                changed_at: Some(at(-3_600)),
                ..naming(status, RunnerRef::named("r-1"))
            };
            let case = Case::once([online(0), view(true, [long_ago], 0)]);
            assert_eq!(case.found("jobs"), until(JobInProgress, 300), "{status:?}");
        }
    }

    #[test]
    fn the_labels_of_its_registration_decide_where_none_were_given() {
        let registered = |labels: &[&str]| {
            let registered = Registration::Registered {
                id: None,
                busy: false,
                status: Status::Online,
                labels: labels.iter().map(|&label| label.into()).collect(),
            };
            Evidence::registration(registered, at(0))
        };
        let gpu = || view(true, [queued(0, "gpu")], 0);
        let pending = until(JobPending, 90);
        for (row, case, found) in [
            (
                "nobody knows",
                Case::once([registered(&[]), gpu()]),
                pending,
            ),
            (
                "it lacks gpu",
                Case::once([registered(&["Linux"]), gpu()]),
                Clear,
            ),
            (
                "it has gpu",
                Case::once([registered(&["GPU"]), gpu()]),
                pending,
            ),
            (
                "given, it lacks gpu",
                labelled([registered(&[]), gpu()]),
                Clear,
            ),
            (
                "one account has gpu",
                labelled([registered(&["gpu"]), gpu()]),
                pending,
            ),
        ] {
            assert_eq!(case.found("jobs"), found, "{row}");
        }
    }

    #[test]
    fn a_job_in_progress_names_the_runner_by_id_or_else_by_its_name() {
        let here = until(JobInProgress, 300);
        for (row, job, found) in [
            ("by name", running(), here),
            (
                "by id",
                naming(JobStatus::InProgress, RunnerRef::numbered(18)),
                here,
            ),
            (
                "another id",
                naming(JobStatus::InProgress, RunnerRef::numbered(19)),
                Clear,
            ),
            (
                "another name",
                naming(JobStatus::InProgress, RunnerRef::named("r-2")),
                Clear,
            ),
            (
                "its name in another case",
                naming(JobStatus::InProgress, RunnerRef::named("R-1")),
                here,
            ),
            (
                "a longer name",
                naming(JobStatus::InProgress, RunnerRef::named("r-12")),
                Clear,
            ),
            (
                "nobody yet",
                Job::new(7, JobStatus::InProgress, None),
                until(JobPending, 90),
            ),
            (
                "completed",
                naming(JobStatus::Completed, RunnerRef::named("r-1")),
                Clear,
            ),
            (
                "an unknown status",
                naming(JobStatus::Other, RunnerRef::named("r-1")),
                here,
            ),
        ] {
            let case = Case::once([online(0), view(true, [job], 0)]);
            let case = case.runner(|runner| runner.with_id(18));
            assert_eq!(case.found("jobs"), found, "{row}");
        }
    }

    #[test]
    fn one_unreadable_repository_makes_the_view_partial_and_what_it_shows_still_holds() {
        let failed = || failed(Witness::Jobs, 0);
        let limit = failed_until(Witness::Jobs, 77, 0);
        for (row, evidence, found) in [
            ("both complete", vec![no_jobs(0), no_jobs(0)], Clear),
            ("one partial", vec![no_jobs(0), partial(0)], Abstain),
            ("one failed", vec![no_jobs(0), failed()], Abstain),
            ("one too old", vec![no_jobs(0), no_jobs(-31)], Abstain),
            (
                "all failed",
                vec![failed(), failed()],
                event(JobsUnreadable),
            ),
            (
                "a limit with an end",
                vec![limit],
                until(JobsUnreadable, 77),
            ),
            ("29 s old", vec![no_jobs(-29)], Clear),
            ("30 s old", vec![no_jobs(-30)], Clear),
            ("31 s old", vec![no_jobs(-31)], event(JobsUnreadable)),
            (
                "one failed, the other holds",
                vec![failed(), view(true, [running()], 0)],
                until(JobInProgress, 300),
            ),
        ] {
            let mut turned = evidence.clone();
            turned.reverse();
            assert_eq!(Case::once(evidence).found("jobs"), found, "{row}");
            assert_eq!(Case::once(turned).found("jobs"), found, "{row}, turned");
        }
    }

    #[test]
    fn a_queued_job_that_could_come_here_holds_for_job_pending() {
        for (row, jobs, found) in [
            ("just now", vec![queued(0, "linux")], until(JobPending, 90)),
            ("89 s ago", vec![queued(-89, "linux")], until(JobPending, 1)),
            ("90 s ago", vec![queued(-90, "linux")], Clear),
            ("91 s ago", vec![queued(-91, "linux")], Clear),
            ("not for its labels", vec![queued(0, "gpu")], Clear),
            (
                "waiting for an approval",
                vec![Job {
                    status: JobStatus::Waiting,
                    ..queued(0, "linux")
                }],
                Clear,
            ),
            (
                "of several, the latest",
                vec![
                    queued(-60, "linux"),
                    queued(-10, "linux"),
                    queued(-30, "linux"),
                ],
                until(JobPending, 80),
            ),
        ] {
            let case = labelled([online(0), view(true, jobs.clone(), 0)]);
            assert_eq!(case.found("jobs"), found, "{row}");
            let expected = if found == Clear { Abstain } else { found };
            let case = labelled([online(0), view(false, jobs, 0)]);
            assert_eq!(case.found("jobs"), expected, "{row}, in a partial view");
        }
        let unlabelled = Case::once([online(0), view(true, [queued(0, "gpu")], 0)]);
        let any = "a runner of unknown labels could take any job";
        assert_eq!(unlabelled.found("jobs"), until(JobPending, 90), "{any}");
        let longer = labelled([online(0), view(true, [queued(-90, "linux")], 0)]);
        let longer = longer.policy(|policy| policy.job_pending = chrono::TimeDelta::seconds(91));
        assert_eq!(
            longer.found("jobs"),
            until(JobPending, 1),
            "as the policy says"
        );
    }

    /// The webhook's hold, whatever it says of when to ask again.
    fn holds_open(case: &Case, row: &str) {
        let found = case.found("jobs");
        assert!(
            matches!(found, Found::Hold(WebhookJobOpen, _)),
            "{row}: {found:?}"
        );
    }

    #[test]
    fn a_job_that_a_webhook_opened_holds_in_every_stage_until_it_is_closed() {
        for stage in Stage::ALL {
            let case = Case::in_stage(stage).without(Witness::Jobs);
            let now = case.now();
            let open = webhooks([(InProgress, 1, now - 20)], now);
            holds_open(&case.and(open), &format!("{stage}"));
        }
        let open = [(InProgress, 1, 0)];
        let closed = [(InProgress, 1, 0), (Completed, 1, 5)];
        let first = [(Completed, 1, 0), (InProgress, 1, 5)];
        for (row, evidence) in [
            ("without a view", vec![webhooks(open, 10)]),
            (
                "beside a partial view",
                vec![webhooks(open, 10), partial(10)],
            ),
            (
                "beside a view too young",
                vec![webhooks(open, 10), no_jobs(10)],
            ),
            (
                "another attempt's end",
                vec![webhooks([(InProgress, 2, 0), (Completed, 1, 5)], 10)],
            ),
            (
                "queued before",
                vec![webhooks([(Queued, 1, -5), (InProgress, 1, 0)], 10)],
            ),
        ] {
            holds_open(&Case::new().look(10, evidence), row);
        }
        for (row, evidence, found) in [
            ("completed", vec![webhooks(closed, 10)], Abstain),
            ("completed came first", vec![webhooks(first, 10)], Abstain),
            (
                "completed, and a view",
                vec![webhooks(closed, 10), no_jobs(10)],
                Clear,
            ),
            ("waiting", vec![webhooks([(Waiting, 1, 0)], 10)], Abstain),
            (
                "of another runner",
                vec![webhooks_naming(RunnerRef::named("r-2"), open, 10)],
                Abstain,
            ),
            (
                "the job's endpoint says completed",
                vec![
                    webhooks(open, 10),
                    view(
                        false,
                        [naming(JobStatus::Completed, RunnerRef::named("r-1"))],
                        10,
                    ),
                ],
                Abstain,
            ),
            (
                "failed",
                vec![failed(Witness::Webhooks, 10)],
                event(WebhooksUnreadable),
            ),
            (
                "a limit with an end",
                vec![failed_until(Witness::Webhooks, 77, 10), no_jobs(10)],
                until(WebhooksUnreadable, 77),
            ),
            ("30 s old", vec![webhooks(closed, -20)], Abstain),
            (
                "31 s old",
                vec![webhooks(closed, -21)],
                event(WebhooksUnreadable),
            ),
        ] {
            assert_eq!(Case::new().look(10, evidence).found("jobs"), found, "{row}");
        }
    }

    /// An approval, a deployment gate, a concurrency slot: a job that waits for long becomes ready late.
    #[test]
    fn a_job_is_on_its_way_from_when_it_left_its_gate() {
        let gated = |now| {
            let job = Job {
                changed_at: Some(at(-5_000)),
                ..Job::new(9, JobStatus::Waiting, None)
            };
            [online(now), view(true, [job], now)]
        };
        let waits = Case::new().looks([0, 300], gated);
        assert_eq!(waits.found("jobs"), Clear, "while it waits");
        let released = |now| [online(now), view(true, [queued(-5_000, "x")], now)];
        let nowhere = |now| [online(now), no_jobs(now)];
        let elsewhere = |now| {
            let other = RunnerRef::named("r-2");
            let job = Job::new(9, JobStatus::InProgress, Some(other));
            [online(now), view(true, [job], now)]
        };
        for (row, next) in [
            ("queued", released as fn(i64) -> [Evidence; 2]),
            ("nowhere", nowhere),
        ] {
            let left = waits.clone().look(330, next(330));
            assert_eq!(left.found("jobs"), until(JobPending, 420), "{row}");
            let later = |now| left.clone().look(now, nowhere(now)).found("jobs");
            assert_eq!(later(419), until(JobPending, 420), "{row}");
            assert_eq!(later(420), Clear, "{row}");
            let shown = left.clone().look(340, elsewhere(340));
            assert_eq!(shown.found("jobs"), Clear, "{row}, then elsewhere");
        }
        let elsewhere = waits.clone().look(330, elsewhere(330));
        assert_eq!(elsewhere.found("jobs"), Clear, "another runner has it");
        let unread = waits.look(330, [online(330), failed(Witness::Jobs, 330)]);
        let left = unread.look(360, nowhere(360));
        assert_eq!(
            left.found("jobs"),
            until(JobPending, 450),
            "after a read that failed"
        );
    }

    #[test]
    fn a_runner_that_comes_back_gets_the_oldest_job() {
        let old = |now| view(true, [queued(-5_000, "x")], now);
        let away = Case::new().looks([0, 300], |t| [offline(false, t), old(t)]);
        let back = away.look(330, [online(330), old(330)]);
        assert_eq!(
            back.found("jobs"),
            until(JobPending, 420),
            "it has just come up"
        );
        let later = back.look(420, [online(420), old(420)]);
        assert_eq!(later.found("jobs"), Clear, "nobody takes it");
    }

    /// A queue that is never empty must not keep what is gone.
    #[test]
    fn a_job_queued_well_after_the_runner_was_there_cannot_come_to_it() {
        let fresh = |now| view(true, [queued(now, "x")], now);
        let gone = Case::new().look(-300, [online(-300), no_jobs(-300)]);
        let gone = gone.looks([0, 60], |t| [absent(t), fresh(t)]);
        gone.assert("jobs", Stage::Departed, Clear, "departed");
        let soon = Case::new().look(-100, [online(-100), no_jobs(-100)]);
        let soon = soon.looks([-60, 0], |t| [absent(t), fresh(t)]);
        assert_eq!(
            soon.found("jobs"),
            until(JobPending, 90),
            "it may have been dispatched before"
        );
        let phantom = Case::new().looks([0, 600, 720], |t| [absent(t), fresh(t)]);
        phantom.assert("jobs", Stage::NeverRegistered, Clear, "it never was there");
        let unsure = Case::new().look(-300, [online(-300), no_jobs(-300)]);
        let unsure = unsure.look(0, [absent_where(false, true, 0), fresh(0)]);
        assert_eq!(
            unsure.found("jobs"),
            until(JobPending, 90),
            "an absence that proves nothing"
        );
    }

    #[test]
    fn no_view_closes_a_webhooks_job_but_by_showing_it_over() {
        let opened = |now| webhooks([(InProgress, 1, 0)], now);
        let nobody = |policy: &mut Policy| policy.grace = seconds(0);
        for now in [1, 299, 300, 301, 3_600, DAY] {
            let lacking = Case::new().look(now, [opened(now), no_jobs(now)]);
            holds_open(&lacking, "it lacks it");
            holds_open(&lacking.policy(nobody), "it lacks it, and grace is waived");
        }
        let queued = view(true, [queued_again()], 310);
        holds_open(
            &Case::new().look(310, [opened(310), queued]),
            "queued again",
        );
        for complete in [true, false] {
            let over = naming(JobStatus::Completed, RunnerRef::named("r-1"));
            let case = Case::new().look(310, [opened(310), view(complete, [over], 310)]);
            let found = if complete { Clear } else { Abstain };
            assert_eq!(case.found("jobs"), found, "it shows it over");
        }
    }

    /// Of more closed jobs than are remembered none closes anew.
    #[test]
    fn a_hundred_lost_completed_end_as_one_does() {
        let over = |id| Job::new(id, JobStatus::Completed, None);
        let all = |now| {
            let mut ledger = Ledger::default();
            for id in 0..100 {
                ledger.receive(Delivery {
                    action: InProgress,
                    job_id: id,
                    attempt: 1,
                    runner: Some(RunnerRef::named("r-1")),
                    labels: Vec::new(),
                    repository: None,
                    received_at: at(i64::try_from(id).unwrap()),
                });
            }
            let told = Evidence::new("webhooks", at(now), Signal::Webhooks(ledger));
            [online(now), told, view(true, (0..100).map(over), now)]
        };
        let case = Case::new().looks([200, 400], all).look(500, all(500));
        assert_eq!(case.found("grace"), Clear, "vacant since the first look");
    }

    /// The webhook's own job, as a view shows it after its runner gave it back.
    fn queued_again() -> Job {
        Job {
            changed_at: Some(at(0)),
            ..Job::new(7, JobStatus::Queued, None)
        }
    }

    #[test]
    fn a_closed_job_is_not_opened_again_by_the_same_id_and_attempt() {
        let opened = |attempt, now| webhooks([(InProgress, attempt, 0)], now);
        let over = view(
            true,
            [naming(JobStatus::Completed, RunnerRef::named("r-1"))],
            300,
        );
        let case = Case::new().look(300, [opened(1, 300), over]);
        assert_eq!(case.found("jobs"), Clear);
        let again = case.clone().look(360, [opened(1, 360), partial(360)]);
        assert_eq!(again.found("jobs"), Abstain);
        let without_a_view = case.clone().look(360, [opened(1, 360)]);
        assert_eq!(without_a_view.found("jobs"), Abstain);
        holds_open(
            &case.look(360, [opened(2, 360)]),
            "another attempt is another job",
        );
    }

    #[test]
    fn five_days_end_a_webhooks_job_in_any_case() {
        let at = |now| Case::new().look(now, [webhooks([(InProgress, 1, 0)], now)]);
        holds_open(&at(5 * DAY - 1), "one second before");
        assert_eq!(at(5 * DAY).found("jobs"), Abstain);
        assert_eq!(at(5 * DAY + 1).found("jobs"), Abstain);
    }

    #[test]
    fn a_live_beacon_that_knew_of_the_job_closes_it_after_lease_ttl_and_lease_overrun() {
        // The delivery is at 1000; the beacon reports a job, its end, and then none.
        let job_until = |end, now| {
            let reports = [(end - 1, renewed(end - 1)), (end, finished(end))];
            heard(alive_until(now, reports), now)
        };
        for (row, now, beacon, closes) in [
            (
                "899 s after the delivery",
                1899,
                job_until(900, 1899),
                false,
            ),
            ("900 s after the delivery", 1900, job_until(900, 1900), true),
            (
                "899 s after the job's end",
                1999,
                job_until(1100, 1999),
                false,
            ),
            (
                "900 s after the job's end",
                2000,
                job_until(1100, 2000),
                true,
            ),
            (
                "reported lease_ttl before the delivery",
                1900,
                job_until(400, 1900),
                true,
            ),
            ("reported before that", 1900, job_until(399, 1900), false),
            (
                "never reported a job",
                1900,
                heard(listening(0, 1900), 1900),
                false,
            ),
            (
                "silent",
                1900,
                heard(
                    alive_until(1840, [(899, renewed(899)), (900, finished(900))]),
                    1900,
                ),
                false,
            ),
            (
                "still has it",
                1900,
                heard(alive_until(1900, [(900, renewed(900))]), 1900),
                false,
            ),
        ] {
            let case = Case::new().look(now, [webhooks([(InProgress, 1, 1000)], now), beacon]);
            if closes {
                assert_eq!(case.found("jobs"), Abstain, "{row}");
            } else {
                holds_open(&case, row);
            }
        }
        let listening_again = beat([(900, renewed(900)), (950, crate::lease::Report::Listening)]);
        let case = Case::new().look(
            970,
            [
                webhooks([(InProgress, 1, 940)], 970),
                heard(listening_again, 970),
            ],
        );
        holds_open(&case, "free for 20 s");
    }

    #[test]
    fn a_queued_delivery_holds_for_job_pending() {
        for (row, now, found) in [
            ("just now", 0, until(JobPending, 90)),
            ("89 s ago", 89, until(JobPending, 90)),
            ("90 s ago", 90, Abstain),
            ("91 s ago", 91, Abstain),
        ] {
            let case = Case::new().runner(|runner| runner.with_labels(["linux"]));
            let case = case.look(now, [webhooks([(Queued, 1, 0)], now)]);
            assert_eq!(case.found("jobs"), found, "{row}");
            let case = case.runner(|runner| runner.with_labels(["windows"]));
            assert_eq!(case.found("jobs"), Abstain, "{row}, not for its labels");
        }
        for (shown, told, ends) in [(-60, -10, 80), (-10, -60, 80)] {
            let both = [
                view(true, [queued(shown, "linux")], 0),
                webhooks([(Queued, 1, told)], 0),
            ];
            assert_eq!(
                Case::once(both).found("jobs"),
                until(JobPending, ends),
                "the later one"
            );
        }
        let taken = [(Queued, 1, 0), (InProgress, 1, 5)];
        let taken = webhooks_naming(RunnerRef::named("r-2"), taken, 10);
        assert_eq!(
            Case::new().look(10, [taken]).found("jobs"),
            Abstain,
            "taken by another"
        );
    }

    #[test]
    fn an_open_webhook_beside_a_view_asks_again_when_grace_could_be_over() {
        let case = Case::new().look(10, [webhooks([(InProgress, 1, 0)], 10), no_jobs(10)]);
        assert_eq!(case.found("jobs"), until(WebhookJobOpen, 310));
    }
}
