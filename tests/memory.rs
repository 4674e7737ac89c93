//! What earlier looks leave, and what no later look may take away from it.
#![allow(clippy::expect_used, clippy::panic)] // a test that cannot go on stops

use chrono::{DateTime, TimeDelta, Utc};
use scale_in_guard::{
    Basis, Decision, Engine, Evidence, HoldCode, Job, JobStatus, JobsView, Memory, Policy,
    Registration, Runner, Signal, Stage, Status, Verdict,
    evidence::{Claim, Own},
    lease::{Heartbeat, HostJob, Report},
    ledger::{Action, Delivery, Ledger},
    runner::{RunnerId, RunnerRef},
};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(second)
}

/// A runner that is looked at again and again.
struct Watched {
    engine: Engine,
    runner: Runner,
    memory: Memory,
}

impl Watched {
    fn new() -> Self {
        Self {
            engine: Engine::new(Policy::default()).expect("the default policy"),
            runner: Runner::new("r-1", "repo:acme/atlas")
                .expect("a runner")
                .launched_at(at(-3_600)),
            memory: Memory::default(),
        }
    }

    fn look(&mut self, second: i64, evidence: impl IntoIterator<Item = Evidence>) -> Decision {
        let evidence = evidence.into_iter().collect();
        self.engine
            .decide(&self.runner, evidence, &mut self.memory, at(second))
    }
}

fn registered(second: i64, busy: bool, status: Status) -> Evidence {
    Evidence::registration(Registration::registered(busy, status), at(second))
}

fn absent(second: i64) -> Evidence {
    Evidence::registration(Registration::absent(), at(second))
}

/// A complete view without a job, and GitHub's answer that this one is over.
fn over(second: i64, job: u64) -> Evidence {
    let view = JobsView {
        complete: true,
        jobs: vec![Job::new(job, JobStatus::Completed, None)],
    };
    Evidence::jobs(view, at(second))
}

fn no_jobs(second: i64) -> Evidence {
    Evidence::jobs(
        JobsView {
            complete: true,
            jobs: Vec::new(),
        },
        at(second),
    )
}

fn beacon(reports: impl IntoIterator<Item = (i64, Report)>) -> Heartbeat {
    let mut heartbeat: Option<Heartbeat> = None;
    for (second, report) in reports {
        heartbeat
            .get_or_insert_with(|| Heartbeat::new(at(second)))
            .hear(report, at(second), &Policy::default());
    }
    heartbeat.expect("a report")
}

fn renewed(second: i64) -> Report {
    Report::Renewed {
        job: HostJob::new("a"),
        at: at(second),
        valid_for: None,
    }
}

fn lease(second: i64, heartbeat: &Heartbeat) -> Evidence {
    Evidence::lease(Some(heartbeat.clone()), at(second))
}

fn holds_for(decision: &Decision, code: HoldCode) -> bool {
    decision.reasons().any(|reason| reason.code() == code)
}

#[test]
fn a_lagging_record_takes_no_remembered_lease_away() {
    let mut watched = Watched::new();
    let live = beacon([(0, renewed(0))]);
    let old = beacon([(-400, Report::Listening), (-20, Report::Listening)]);
    let _ = watched.look(
        0,
        [
            registered(0, true, Status::Online),
            no_jobs(0),
            lease(0, &live),
        ],
    );
    for second in [100, 160, 220, 599] {
        let decision = watched.look(
            second,
            [absent(second), no_jobs(second), lease(second, &old)],
        );
        assert!(
            holds_for(&decision, HoldCode::LeaseLive),
            "{}",
            decision.explain()
        );
    }
    // Once the lease has run out, that record still does not end its job.
    let decision = watched.look(700, [absent(700), no_jobs(700), lease(700, &old)]);
    assert!(
        holds_for(&decision, HoldCode::BeaconSilent),
        "{}",
        decision.explain()
    );
}

#[test]
fn a_stale_read_takes_no_remembered_lease_away() {
    let mut watched = Watched::new();
    let live = beacon([(0, renewed(0))]);
    let old = beacon([(-20, Report::Listening)]);
    let _ = watched.look(
        0,
        [
            registered(0, true, Status::Online),
            no_jobs(0),
            lease(0, &live),
        ],
    );
    let _ = watched.look(
        40,
        [
            registered(40, false, Status::Online),
            no_jobs(40),
            lease(0, &old),
        ],
    );
    for second in [100, 300, 599] {
        let decision = watched.look(second, [absent(second), no_jobs(second)]);
        assert!(
            holds_for(&decision, HoldCode::LeaseLive),
            "{}",
            decision.explain()
        );
    }
}

#[test]
fn a_job_left_unfinished_holds_when_its_record_is_lost() {
    let mut watched = Watched::new();
    let live = beacon([(0, renewed(0))]);
    let _ = watched.look(
        0,
        [
            registered(0, true, Status::Online),
            no_jobs(0),
            lease(0, &live),
        ],
    );
    for second in (60..900).step_by(60) {
        let decision = watched.look(second, [absent(second), no_jobs(second)]);
        assert!(
            matches!(decision, Decision::Hold(_)),
            "at {second}: {}",
            decision.explain()
        );
    }
    // The silence is over at 900: from the first vacant look the window runs.
    for (second, held) in [(900, true), (1_199, true), (1_200, false)] {
        let decision = watched.look(second, [absent(second), no_jobs(second)]);
        assert_eq!(
            matches!(decision, Decision::Hold(_)),
            held,
            "at {second}: {}",
            decision.explain()
        );
    }
}

#[test]
fn of_several_records_the_word_for_occupied_counts_in_any_order() {
    for turned in [false, true] {
        let mut watched = Watched::new();
        let mut records = [beacon([(0, renewed(0))]), beacon([(0, Report::Listening)])];
        if turned {
            records.reverse();
        }
        let leases = records.map(|record| lease(0, &record));
        let busy = registered(0, true, Status::Online);
        let _ = watched.look(0, [busy, no_jobs(0)].into_iter().chain(leases));
        for second in (60..=1_140).step_by(60) {
            let decision = watched.look(second, [absent(second), no_jobs(second)]);
            assert!(
                matches!(decision, Decision::Hold(_)),
                "at {second}: {}",
                decision.explain()
            );
        }
    }
}

#[test]
fn a_launch_that_nobody_knows_and_a_listing_that_nobody_can_trust_are_not_waited_for_for_ever() {
    let mut watched = Watched::new();
    watched.runner.launched_at = None;
    let unlisted = |second| {
        let absent = Registration::Absent {
            beside_listing: false,
            scope_is_ours: false,
            listing_is_empty: false,
            was_shown: false,
            unaccounted: Vec::new(),
        };
        Evidence::registration(absent, at(second))
    };
    assert_eq!(
        watched.look(0, [unlisted(0)]).assessment().stage,
        Stage::Launching
    );
    assert_eq!(
        watched.look(600, [unlisted(600)]).assessment().stage,
        Stage::Unconfirmed
    );
}

#[test]
fn a_stale_busy_flag_is_no_registration() {
    let mut watched = Watched::new();
    for second in [0, 450, 900, 1_350] {
        let stale = registered(second - 40, true, Status::Offline);
        let decision = watched.look(second, [stale, no_jobs(second)]);
        assert_eq!(decision.assessment().stage, Stage::Unreadable);
        assert!(holds_for(&decision, HoldCode::RegistrationUnreadable));
    }
}

#[test]
fn a_runner_whose_beacon_was_heard_just_now_is_not_lost() {
    let mut watched = Watched::new();
    for second in [0, 450] {
        let _ = watched.look(
            second,
            [registered(second, true, Status::Offline), no_jobs(second)],
        );
    }
    let worker = beacon((0..=880).step_by(20).map(|second| (second, Report::Worker)));
    let told = [
        registered(880, true, Status::Offline),
        no_jobs(880),
        lease(880, &worker),
    ];
    assert!(holds_for(&watched.look(880, told), HoldCode::WorkerAlive));
    let told = |second| [registered(second, true, Status::Offline), no_jobs(second)];
    assert_eq!(
        watched.look(900, told(900)).assessment().stage,
        Stage::Serving
    );
    // Silent by now, and given up; but what it left holds until its silence is over.
    let decision = watched.look(960, told(960));
    assert_eq!(decision.assessment().stage, Stage::Lost);
    assert!(
        holds_for(&decision, HoldCode::BeaconSilent),
        "{}",
        decision.explain()
    );
}

#[test]
fn a_completed_job_shows_that_the_runner_was_there() {
    let mut watched = Watched::new();
    watched.runner.launched_at = Some(at(0));
    let completed = Job::new(7, JobStatus::Completed, Some(RunnerRef::named("r-1")));
    for second in [0, 600, 720] {
        let view = JobsView {
            complete: true,
            jobs: vec![completed.clone()],
        };
        let decision = watched.look(second, [absent(second), Evidence::jobs(view, at(second))]);
        assert_ne!(decision.assessment().stage, Stage::NeverRegistered);
    }
}

#[test]
fn an_objection_that_is_over_does_not_count() {
    let mut watched = Watched::new();
    let own = |second| {
        let own = Own {
            claim: Claim::Occupied,
            note: "draining".into(),
            until: Some(at(10)),
        };
        Evidence::new("own", at(second), Signal::Own(own))
    };
    let told = |second| {
        [
            registered(second, false, Status::Online),
            no_jobs(second),
            own(second),
        ]
    };
    assert!(holds_for(&watched.look(0, told(0)), HoldCode::Objection));
    let _ = watched.look(20, told(20));
    let decision = watched.look(320, told(320));
    assert!(
        matches!(decision, Decision::Terminate(_)),
        "{}",
        decision.explain()
    );
}

#[test]
fn a_departed_runner_goes_when_either_of_its_windows_is_over() {
    let mut watched = Watched::new();
    let told = |second: i64| {
        let beats = (-600..=second)
            .step_by(15)
            .map(|second| (second, Report::Listening));
        lease(second, &beacon(beats))
    };
    let _ = watched.look(0, [registered(0, false, Status::Online), told(0)]);
    let _ = watched.look(5, [absent(5), told(5)]);
    let decision = watched.look(65, [absent(65), told(65)]);
    let Decision::Terminate(permit) = decision else {
        panic!("{}", decision.explain())
    };
    assert_eq!(permit.basis(), Basis::Departed);
}

#[test]
fn no_refusal_says_to_come_back_at_once_for_ever() {
    let mut watched = Watched::new();
    for second in (0..=1_800).step_by(300) {
        let live = beacon([(second - 10, renewed(second - 10))]);
        let told = [
            registered(second, true, Status::Offline),
            no_jobs(second),
            lease(second, &live),
        ];
        let decision = watched.look(second, told);
        let retry_at = decision.retry_at().expect("a window");
        assert!(retry_at > at(second), "{}", decision.explain());
    }
}

#[test]
fn another_number_or_another_launch_is_another_runner() {
    let vacant = |second| [registered(second, false, Status::Online), no_jobs(second)];
    for incarnation in [
        Runner::new("r-1", "repo:acme/atlas")
            .expect("a runner")
            .launched_at(at(-3_600))
            .with_id(8),
        Runner::new("r-1", "repo:acme/atlas")
            .expect("a runner")
            .launched_at(at(-3_500)),
    ] {
        let mut watched = Watched::new();
        watched.runner = watched.runner.with_id(7);
        let _ = watched.look(0, vacant(0));
        watched.runner = incarnation;
        assert!(
            matches!(watched.look(300, vacant(300)), Decision::Hold(_)),
            "its window begins anew"
        );
    }
}

/// Memory saw number 17; the autoscaler gives 18, and GitHub knows no such number.
#[test]
fn a_number_that_the_autoscaler_gives_anew_is_another_runner() {
    let mut watched = Watched::new();
    let shown = |second| {
        let id = Some(RunnerId(17));
        Evidence::registration(
            Registration::Registered {
                id,
                busy: false,
                status: Status::Online,
                labels: vec![],
            },
            at(second),
        )
    };
    let _ = watched.look(0, [shown(0), no_jobs(0)]);
    watched.runner = watched.runner.with_id(18);
    let absent = |second| Evidence::registration(Registration::absent(), at(second));
    let _ = watched.look(60, [absent(60), no_jobs(60)]);
    assert_eq!(watched.memory.id(), Some(RunnerId(18)));
    assert_eq!(watched.memory.last_registered(), None, "that was another");
}

#[test]
fn a_number_that_the_registration_shows_is_not_forgotten_for_one_failed_read() {
    let mut watched = Watched::new();
    watched.runner = watched.runner.with_id(7);
    let shown = |second, busy| {
        let id = Some(RunnerId(8));
        Evidence::registration(
            Registration::Registered {
                id,
                busy,
                status: Status::Online,
                labels: vec![],
            },
            at(second),
        )
    };
    let _ = watched.look(0, [shown(0, true), no_jobs(0)]);
    let _ = watched.look(100, [no_jobs(100)]);
    assert_eq!(watched.memory.id(), Some(RunnerId(8)));
    assert_eq!(
        watched.memory.occupied().flag,
        Some(at(0)),
        "nor who said occupied"
    );
}

#[test]
fn a_last_word_older_than_a_busy_flag_is_not_the_last() {
    let mut watched = Watched::new();
    let listening = beacon(
        (0..=60)
            .step_by(15)
            .map(|second| (second, Report::Listening)),
    );
    let _ = watched.look(
        60,
        [registered(60, false, Status::Online), lease(60, &listening)],
    );
    // The beacon dies, a job starts, somebody deregisters the runner.
    for second in (120..1_200).step_by(60) {
        let _ = watched.look(
            second,
            [
                registered(second, true, Status::Online),
                lease(second, &listening),
            ],
        );
    }
    for second in (1_200..7_200).step_by(60) {
        let decision = watched.look(second, [absent(second), lease(second, &listening)]);
        assert!(
            holds_for(&decision, HoldCode::Uncorroborated),
            "{}",
            decision.explain()
        );
    }
}

fn queued(second: i64, job: Job, complete: bool) -> Evidence {
    Evidence::jobs(
        JobsView {
            complete,
            jobs: vec![job],
        },
        at(second),
    )
}

#[test]
fn a_queued_job_that_leaves_the_view_may_have_come_here() {
    let job = Job {
        changed_at: Some(at(270)),
        ..Job::new(5, JobStatus::Queued, None)
    };
    let elsewhere = Job::new(5, JobStatus::InProgress, Some(RunnerRef::named("r-2")));
    for (shown, held) in [(None, true), (Some(elsewhere), false)] {
        let mut watched = Watched::new();
        let online = |second| registered(second, false, Status::Online);
        let _ = watched.look(0, [online(0), no_jobs(0)]);
        assert!(holds_for(
            &watched.look(280, [online(280), queued(280, job.clone(), true)]),
            HoldCode::JobPending
        ));
        let view = JobsView {
            complete: true,
            jobs: shown.into_iter().collect(),
        };
        let decision = watched.look(310, [online(310), Evidence::jobs(view, at(310))]);
        assert_eq!(
            holds_for(&decision, HoldCode::JobPending),
            held,
            "{}",
            decision.explain()
        );
        let _ = watched.look(359, [online(359), no_jobs(359)]);
        let decision = watched.look(360, [online(360), no_jobs(360)]);
        assert!(
            matches!(decision, Decision::Terminate(_)),
            "{}",
            decision.explain()
        );
    }
}

#[test]
fn what_a_queued_job_says_of_its_runner_means_nothing() {
    for runner in [
        RunnerRef::numbered(5),
        RunnerRef {
            id: Some(RunnerId(0)),
            name: Some("".into()),
        },
    ] {
        let mut watched = Watched::new();
        let job = Job {
            changed_at: Some(at(0)),
            ..Job::new(5, JobStatus::Queued, Some(runner))
        };
        let decision = watched.look(
            10,
            [registered(10, false, Status::Online), queued(10, job, true)],
        );
        assert!(
            holds_for(&decision, HoldCode::JobPending),
            "{}",
            decision.explain()
        );
    }
}

#[test]
fn every_runner_that_a_webhook_named_is_held() {
    let mut ledger = Ledger::default();
    for (second, runner) in [(200, "r-2"), (290, "r-1")] {
        ledger.receive(Delivery {
            action: Action::InProgress,
            job_id: 9,
            attempt: 1,
            runner: Some(RunnerRef::named(runner)),
            labels: Vec::new(),
            repository: None,
            received_at: at(second),
        });
    }
    let mut watched = Watched::new();
    let told = Evidence::new("webhooks", at(300), Signal::Webhooks(ledger));
    let decision = watched.look(
        300,
        [registered(300, false, Status::Online), no_jobs(300), told],
    );
    assert!(
        holds_for(&decision, HoldCode::WebhookJobOpen),
        "{}",
        decision.explain()
    );
}

#[test]
fn an_open_webhook_job_is_not_lost_with_the_ledger() {
    let mut ledger = Ledger::default();
    ledger.receive(Delivery {
        action: Action::InProgress,
        job_id: 9,
        attempt: 1,
        runner: Some(RunnerRef::named("r-1")),
        labels: Vec::new(),
        repository: None,
        received_at: at(0),
    });
    let mut watched = Watched::new();
    let online = |second| registered(second, false, Status::Online);
    let told = |second, ledger: &Ledger| {
        Evidence::new("webhooks", at(second), Signal::Webhooks(ledger.clone()))
    };
    let _ = watched.look(0, [online(0), no_jobs(0), told(0, &ledger)]);
    for (second, lost) in [
        (60, Vec::new()),
        (120, vec![told(120, &Ledger::default())]),
        (299, Vec::new()),
    ] {
        let decision = watched.look(
            second,
            [online(second), no_jobs(second)].into_iter().chain(lost),
        );
        assert!(
            holds_for(&decision, HoldCode::WebhookJobOpen),
            "{}",
            decision.explain()
        );
    }
    // GitHub says that it is over.
    let decision = watched.look(300, [online(300), over(300, 9)]);
    assert!(
        !holds_for(&decision, HoldCode::WebhookJobOpen),
        "{}",
        decision.explain()
    );
    assert!(matches!(
        watched.look(600, [online(600), no_jobs(600)]),
        Decision::Terminate(_)
    ));
}

#[test]
fn a_worker_that_came_after_the_job_is_not_wedged() {
    let mut watched = Watched::new();
    let finished = Report::Finished {
        job: HostJob::new("a"),
        at: at(60),
    };
    let mut reports = vec![(0, renewed(0)), (60, finished)];
    let mut last = None;
    for second in (125..=7_200).step_by(15) {
        reports.push((second, Report::Worker));
        if second % 300 == 125 {
            let worker = beacon(reports.iter().cloned());
            let told = [
                registered(second, true, Status::Online),
                no_jobs(second),
                lease(second, &worker),
            ];
            last = Some(watched.look(second, told));
        }
    }
    let last = last.expect("a look");
    assert!(
        holds_for(&last, HoldCode::WorkerAlive),
        "{}",
        last.explain()
    );
}

#[test]
fn a_clock_that_was_ahead_leaves_no_hold_for_ever() {
    let mut watched = Watched::new();
    watched.runner.launched_at = None;
    let year = 365 * 86_400;
    let _ = watched.look(
        year,
        [registered(year, true, Status::Online), no_jobs(year)],
    );
    let vacant = |second| [registered(second, false, Status::Online), no_jobs(second)];
    let mut heard = beacon([(year, Report::Listening)]);
    for second in (0..300).step_by(15) {
        heard.hear(Report::Listening, at(second), &Policy::default());
    }
    assert!(heard.is_alive(at(290), &Policy::default()));
    let _ = watched.look(0, vacant(0));
    let _ = watched.look(60, vacant(60));
    let decision = watched.look(360, vacant(360));
    assert!(
        matches!(decision, Decision::Terminate(_)),
        "{}",
        decision.explain()
    );
}

#[test]
fn nothing_that_a_clock_ahead_remembered_holds_for_long() {
    let year = 365 * 86_400;
    let mut ledger = Ledger::default();
    ledger.receive(Delivery {
        action: Action::InProgress,
        job_id: 9,
        attempt: 1,
        runner: Some(RunnerRef::named("r-1")),
        labels: Vec::new(),
        repository: None,
        received_at: at(year),
    });
    let job = Job {
        changed_at: Some(at(year)),
        ..Job::new(5, JobStatus::Queued, None)
    };
    let live = beacon([(year, renewed(year))]);
    let told = [
        Evidence::new("webhooks", at(year), Signal::Webhooks(ledger)),
        queued(year, job, true),
        lease(year, &live),
    ];
    for word in told {
        let mut watched = Watched::new();
        let _ = watched.look(year, [registered(year, true, Status::Online), word]);
        let mut decision = None;
        for second in (0..=7_200).step_by(300) {
            decision = Some(watched.look(
                second,
                [registered(second, false, Status::Online), over(second, 9)],
            ));
        }
        let decision = decision.expect("a look");
        assert!(
            matches!(decision, Decision::Terminate(_)),
            "{}",
            decision.explain()
        );
    }
}

#[test]
fn two_accounts_of_one_launch_are_one_runner() {
    let mut watched = Watched::new();
    let vacant = |second| [registered(second, false, Status::Online), no_jobs(second)];
    let _ = watched.look(0, vacant(0));
    watched.runner.launched_at = Some(at(-3_600) + TimeDelta::milliseconds(400));
    assert!(matches!(
        watched.look(300, vacant(300)),
        Decision::Terminate(_)
    ));
}

#[test]
fn a_second_self_update_holds_as_the_first_did() {
    let policy = Policy::default();
    let mut heard = beacon([(0, Report::UpdateBegun), (7_200, Report::UpdateBegun)]);
    heard.hear(Report::Listening, at(7_201), &policy);
    assert_eq!(heard.self_update(at(7_300)), Some(at(7_200)));
}

/// A memory with everything in it that it can hold.
#[test]
fn a_remembered_runner_takes_less_than_a_kilobyte() {
    let mut watched = Watched::new();
    watched.runner = watched.runner.with_id(18_446_744_073_709_551_615);
    let live = beacon([(0, Report::Worker), (1, renewed(1))]);
    let _ = watched.look(0, [absent(0)]);
    let busy = registered(60, true, Status::Offline);
    let mut all = vec![busy, no_jobs(60), lease(60, &live)];
    let own = Own {
        claim: Claim::Occupied,
        note: "x".into(),
        until: None,
    };
    all.push(Evidence::new("own", at(60), Signal::Own(own)));
    let _ = watched.look(60, all);
    let json = serde_json::to_string(&watched.memory).expect("a plain value");
    assert!(json.len() < 1_024, "{} bytes: {json}", json.len());
    assert!(size_of::<Memory>() < 1_024, "{} bytes", size_of::<Memory>());
    let read: Memory = serde_json::from_str(&json).expect("the same value");
    assert_eq!(read, watched.memory);
}

#[test]
fn a_window_does_not_run_while_our_clock_is_off() {
    let idle = |second| registered(second, false, Status::Online);
    let skewed = |second, seconds| {
        let report = scale_in_guard::fleet::FleetReport {
            clock_skew_seconds: Some(seconds),
            ..scale_in_guard::fleet::FleetReport::default()
        };
        Evidence::new("fleet", at(second), Signal::Fleet(report))
    };
    let mut watched = Watched::new();
    // Our clock is six minutes behind, and is put right.
    let _ = watched.look(0, [idle(0), no_jobs(0), skewed(0, 360)]);
    let decision = watched.look(361, [idle(361), no_jobs(361), skewed(361, 0)]);
    assert_eq!(decision.verdict(), Verdict::Hold);
    assert_eq!(decision.retry_at(), Some(at(661)), "the window begins now");
    let decision = watched.look(661, [idle(661), no_jobs(661), skewed(661, 0)]);
    assert_eq!(decision.verdict(), Verdict::Terminate);
}

#[test]
fn of_several_queued_jobs_the_one_that_is_shown_nowhere_may_have_come_here() {
    let queued = |id, second| Job {
        changed_at: Some(at(second)),
        ..Job::new(id, JobStatus::Queued, None)
    };
    let elsewhere = |id| {
        let runner = RunnerRef::named("r-2");
        Job::new(id, JobStatus::InProgress, Some(runner))
    };
    let view = |second, jobs| {
        let view = JobsView {
            complete: true,
            jobs,
        };
        Evidence::jobs(view, at(second))
    };
    let idle = |second| registered(second, false, Status::Online);
    let mut watched = Watched::new();
    let _ = watched.look(0, [idle(0), no_jobs(0)]);
    let _ = watched.look(
        301,
        [idle(301), view(301, vec![queued(5, 300), queued(6, 301)])],
    );
    let decision = watched.look(330, [idle(330), view(330, vec![elsewhere(6)])]);
    let codes: Vec<_> = decision.reasons().map(|reason| reason.code()).collect();
    assert!(
        codes.contains(&HoldCode::JobPending),
        "job 5 is shown nowhere: {codes:?}"
    );
    assert_eq!(decision.retry_at(), Some(at(390)));
    let decision = watched.look(390, [idle(390), view(390, vec![elsewhere(6)])]);
    assert_eq!(decision.verdict(), Verdict::Terminate);
}
