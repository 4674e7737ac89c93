//! Generated worlds: a runner, what the witnesses said at earlier looks, and what they say now.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::{collection::vec, option, prelude::*};
use scale_in_guard::{
    Evidence, Job, JobStatus, JobsView, Policy, Registration, Runner, Signal, Status, Witness,
    evidence::{Claim, Own, Pin},
    fleet::{FleetReport, Snapshot},
    lease::{Heartbeat, HostJob, Report},
    ledger::{Action, Delivery, Ledger},
    runner::{RunnerId, RunnerRef},
};

/// An instant of a world, in seconds from its beginning.
pub(crate) type Second = i64;

pub(crate) fn at(second: Second) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(second)
}

/// One piece of evidence, before it is stamped with the look's instant.
#[derive(Debug, Clone)]
pub(crate) enum Word {
    Registration(Registration),
    Jobs(JobsView),
    /// Reports of the beacon, each so many seconds before the look, the oldest first.
    Lease(Vec<(Second, Report)>),
    NeverHeard,
    /// Deliveries about one job, each so many seconds before the look.
    Webhooks(Vec<(Second, Action)>),
    /// A job that no other word speaks of was opened so many seconds before the look.
    Opened(Second),
    Fleet(FleetReport),
    Own(Claim),
    Pinned(Option<Second>),
    Failed(Witness),
    /// GitHub's request limit kept it from being heard, until then.
    Limited(Witness, Option<Second>),
    /// The same word, read so many seconds ago.
    Late(Second, Box<Word>),
}

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) runner: Runner,
    /// How long after the one before each earlier look was made, and what was said.
    pub(crate) past: Vec<(Second, Vec<Word>)>,
    /// How long after the last of them this one is made, and what is said.
    pub(crate) gap: Second,
    pub(crate) words: Vec<Word>,
}

impl World {
    /// The instants of the looks, this one last.
    pub(crate) fn looks(&self) -> Vec<(Second, &[Word])> {
        let mut now = 0;
        let mut looks = Vec::new();
        for (gap, words) in &self.past {
            now += gap;
            looks.push((now, &words[..]));
        }
        looks.push((now + self.gap, &self.words[..]));
        looks
    }
}

/// What the words said at `now` are as evidence.
pub(crate) fn evidence(words: &[Word], now: DateTime<Utc>) -> Vec<Evidence> {
    words.iter().map(|word| spoken(word, now)).collect()
}

fn spoken(word: &Word, now: DateTime<Utc>) -> Evidence {
    let ago = |seconds: Second| now - TimeDelta::seconds(seconds);
    match word {
        Word::Registration(registration) => Evidence::registration(registration.clone(), now),
        Word::Jobs(view) => Evidence::jobs(view.clone(), now),
        Word::Lease(reports) => {
            let mut heartbeat: Option<Heartbeat> = None;
            for (seconds, report) in reports {
                let heard_at = ago(*seconds);
                heartbeat
                    .get_or_insert_with(|| Heartbeat::new(heard_at))
                    .hear(report.clone(), heard_at, &Policy::default());
            }
            Evidence::lease(heartbeat, now)
        }
        Word::NeverHeard => Evidence::lease(None, now),
        Word::Opened(seconds) => told(8, &[(*seconds, Action::InProgress)], now),
        Word::Webhooks(deliveries) => told(7, deliveries, now),
        Word::Fleet(report) => Evidence::new("fleet", now, Signal::Fleet(report.clone())),
        Word::Own(claim) => Evidence::new(
            "own",
            now,
            Signal::Own(Own {
                claim: *claim,
                note: "a test".into(),
                until: None,
            }),
        ),
        Word::Pinned(until) => Evidence::new(
            "operator",
            now,
            Signal::Pinned(Pin {
                note: "a test".into(),
                until: until.map(at),
                ..Pin::default()
            }),
        ),
        Word::Failed(witness) => Evidence::failed(*witness, "502", now),
        Word::Limited(witness, until) => Evidence::failed(*witness, "429", now)
            .again_at(until.map(at))
            .rate_limited(),
        Word::Late(seconds, word) => Evidence {
            asked_at: ago(*seconds),
            ..spoken(word, now)
        },
    }
}

/// What webhooks told of one job of this runner.
fn told(job_id: u64, deliveries: &[(Second, Action)], now: DateTime<Utc>) -> Evidence {
    let mut ledger = Ledger::default();
    for (seconds, action) in deliveries {
        ledger.receive(Delivery {
            action: *action,
            job_id,
            attempt: 1,
            runner: Some(RunnerRef::named("r-1")),
            labels: Vec::new(),
            repository: None,
            received_at: now - TimeDelta::seconds(*seconds),
        });
    }
    Evidence::new("webhooks", now, Signal::Webhooks(ledger))
}

pub(crate) fn job(id: u64, status: JobStatus, runner: Option<&str>) -> Job {
    Job::new(id, status, runner.map(RunnerRef::named))
}

fn any_registration() -> BoxedStrategy<Registration> {
    let status = prop_oneof![4 => Just(Status::Online), 2 => Just(Status::Offline), 1 => Just(Status::Other)];
    let id = option::weighted(0.2, Just(RunnerId(5)));
    prop_oneof![
        5 => (id, any::<bool>(), status)
            .prop_map(|(id, busy, status)| Registration::Registered { id, busy, status, labels: vec![] }),
        2 => Just(Registration::absent()),
        1 => (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(beside_listing, scope_is_ours, listing_is_empty, was_shown, wrong_name)| Registration::Absent {
                beside_listing,
                scope_is_ours,
                listing_is_empty,
                was_shown,
                unaccounted: if wrong_name { vec!["ip-10-0-0-5".into()] } else { vec![] },
            }),
    ]
    .boxed()
}

fn any_jobs() -> BoxedStrategy<JobsView> {
    let queued = (0_i64..200).prop_map(|second| Job {
        changed_at: Some(at(second)),
        ..job(4, JobStatus::Queued, None)
    });
    let any_job = prop_oneof![
        2 => Just(job(1, JobStatus::InProgress, Some("r-1"))),
        3 => Just(job(2, JobStatus::InProgress, Some("r-2"))),
        1 => Just(job(3, JobStatus::Other, Some("r-1"))),
        1 => Just(job(7, JobStatus::Completed, Some("r-1"))),
        1 => Just(job(5, JobStatus::Waiting, None)),
        1 => queued,
    ];
    (prop::bool::weighted(0.8), vec(any_job, 0..2))
        .prop_map(|(complete, jobs)| JobsView { complete, jobs })
        .boxed()
}

fn any_report() -> BoxedStrategy<Report> {
    let of = |job: bool| HostJob::new(if job { "a" } else { "b" });
    let second = -600_i64..4_000;
    prop_oneof![
        4 => Just(Report::Listening),
        1 => Just(Report::Alive),
        3 => (any::<bool>(), second.clone()).prop_map(move |(job, second)| Report::Renewed {
            job: of(job), at: at(second), valid_for: None }),
        1 => (any::<bool>(), second.clone()).prop_map(move |(job, second)| Report::Started {
            job: of(job), at: at(second) }),
        2 => (any::<bool>(), second).prop_map(move |(job, second)| Report::Finished {
            job: of(job), at: at(second) }),
        1 => Just(Report::Worker),
        1 => Just(Report::Restarted),
        1 => Just(Report::UpdateBegun),
        1 => Just(Report::UpdateEnded),
        1 => Just(Report::Going),
    ]
    .boxed()
}

fn any_lease() -> BoxedStrategy<Word> {
    vec((prop_oneof![0_i64..45, 0_i64..1_500], any_report()), 1..5)
        .prop_map(|mut reports| {
            reports.sort_by_key(|(seconds, _)| -seconds);
            Word::Lease(reports)
        })
        .boxed()
}

fn any_fleet() -> BoxedStrategy<FleetReport> {
    let snapshot = prop_oneof![
        8 => Just(Snapshot::Trusted),
        1 => Just(Snapshot::Inconsistent),
        1 => Just(Snapshot::Shrunken { believed_at: Some(at(700)) }),
    ];
    (
        snapshot,
        option::weighted(0.3, -40_i64..40),
        option::weighted(0.3, 0_u32..3),
    )
        .prop_map(|(snapshot, clock_skew_seconds, permits_left)| FleetReport {
            snapshot,
            clock_skew_seconds,
            permits_left,
            beacons_silent_since: None,
        })
        .boxed()
}

fn any_webhooks() -> BoxedStrategy<Word> {
    let action = prop_oneof![
        Just(Action::Queued),
        Just(Action::InProgress),
        Just(Action::Completed)
    ];
    vec((0_i64..3_000, action), 1..3)
        .prop_map(Word::Webhooks)
        .boxed()
}

fn any_word() -> BoxedStrategy<Word> {
    let witness = prop_oneof![
        Just(Witness::Registration),
        Just(Witness::Jobs),
        Just(Witness::Lease),
        Just(Witness::Webhooks),
        Just(Witness::Fleet),
        Just(Witness::Own),
    ];
    let claim = prop_oneof![
        Just(Claim::Occupied),
        Just(Claim::Vacant),
        Just(Claim::Unknown)
    ];
    let word = prop_oneof![
        4 => any_registration().prop_map(Word::Registration),
        4 => any_jobs().prop_map(Word::Jobs),
        4 => any_lease(),
        2 => any_webhooks(),
        1 => Just(Word::NeverHeard),
        1 => any_fleet().prop_map(Word::Fleet),
        1 => claim.prop_map(Word::Own),
        1 => option::of(0_i64..2_000).prop_map(Word::Pinned),
        1 => witness.clone().prop_map(Word::Failed),
        1 => (witness, option::of(0_i64..2_000)).prop_map(|(witness, until)| Word::Limited(witness, until)),
    ];
    (option::weighted(0.04, 1_i64..60), word)
        .prop_map(|(late, word)| match late {
            Some(seconds) => Word::Late(seconds, Box::new(word)),
            None => word,
        })
        .boxed()
}

/// Words that leave a fair chance of a permit, so that the laws are tried on both verdicts.
fn calm_words() -> BoxedStrategy<Vec<Word>> {
    let registration = prop_oneof![
        6 => Just(Registration::registered(false, Status::Online)),
        1 => Just(Registration::registered(true, Status::Online)),
        2 => Just(Registration::registered(true, Status::Offline)),
        4 => Just(Registration::absent()),
    ];
    let jobs = option::weighted(
        0.8,
        Just(Word::Jobs(JobsView {
            complete: true,
            jobs: Vec::new(),
        })),
    );
    let lease = prop_oneof![
        3 => Just(None),
        3 => (0_i64..50).prop_map(|ago| Some(Word::Lease(vec![(ago + 15, Report::Listening), (ago, Report::Alive)]))),
        1 => (0_i64..2_000).prop_map(|ago| Some(Word::Lease(vec![(ago, Report::Listening)]))),
    ];
    (registration, jobs, lease)
        .prop_map(|(registration, jobs, lease)| {
            let registration = Word::Registration(registration);
            std::iter::once(registration)
                .chain(jobs)
                .chain(lease)
                .collect()
        })
        .boxed()
}

fn any_words() -> BoxedStrategy<Vec<Word>> {
    prop_oneof![
        3 => calm_words(),
        1 => vec(any_word(), 0..6),
        1 => (calm_words(), any_word()).prop_map(|(mut words, word)| {
            words.push(word);
            words
        }),
    ]
    .boxed()
}

fn any_gap() -> BoxedStrategy<Second> {
    prop_oneof![6 => 60_i64..600, 1 => 0_i64..60, 1 => 600_i64..5_000].boxed()
}

pub(crate) fn any_runner() -> BoxedStrategy<Runner> {
    (
        option::weighted(0.6, -2_000_i64..200),
        option::weighted(0.2, Just(5_u64)),
    )
        .prop_map(|(launched, id)| {
            let mut runner = Runner::new("r-1", "repo:acme/atlas").expect("a name and a scope");
            if let Some(second) = launched {
                runner = runner.launched_at(at(second));
            }
            match id {
                Some(id) => runner.with_id(id),
                None => runner,
            }
        })
        .boxed()
}

/// Any world. Half of them stay much as they are from look to look, as real ones do.
pub(crate) fn any_world() -> BoxedStrategy<World> {
    let steady = (
        calm_words(),
        vec(any_gap(), 0..8),
        option::weighted(0.3, any_words()),
    )
        .prop_map(|(words, gaps, first)| {
            let mut past: Vec<_> = gaps.into_iter().map(|gap| (gap, words.clone())).collect();
            if let (Some(first), Some((_, look))) = (first, past.first_mut()) {
                *look = first;
            }
            (past, words)
        });
    let wild = (vec((any_gap(), any_words()), 0..8), any_words());
    (any_runner(), prop_oneof![steady, wild], any_gap())
        .prop_map(|(runner, (past, words), gap)| World {
            runner,
            past,
            gap,
            words,
        })
        .boxed()
}
