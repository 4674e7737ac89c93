//! Evidence combined: what each kind of witness says at one look, however many of it were asked.
//! Occupied wins over vacant, an answer over silence, and the order of the evidence never matters.

use crate::{
    evidence::{Evidence, Failure, Job, JobStatus, Recent, Registration, Signal, Status, Witness},
    fence::{Drain, FenceSeen, Incarnation},
    lease::{Heartbeat, JobLease},
    ledger::{LedgerSeen, Others},
    memory::{Memory, comes_up},
    policy::Policy,
    runner::{Runner, RunnerId, fits},
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use std::sync::Arc;

/// By less than this the same report can seem older when it is read again: each read tells anew how long ago it
/// was written, on two clocks that are not asked at one instant. A beacon looks once a second, so that an older
/// report is older by more.
pub(crate) const READ_AGAIN: TimeDelta = TimeDelta::seconds(1);

/// When a runner left, for the jobs that could come to it: one that was queued well after that cannot.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Left {
    /// A guard deregistered it.
    removed_at: Option<Instant>,
    /// It is absent, and this is when it was last registered; of one that never was, the first look that found it
    /// absent.
    last_there: Option<Instant>,
}

impl Left {
    pub(crate) fn of(memory: &Memory, registration: RegistrationSeen) -> Self {
        let is_gone = matches!(registration, RegistrationSeen::Absent { counts: true, .. });
        let absent_since = memory.absent().map(|run| run.since);
        let last_there = memory.last_registered().or(absent_since);
        Self {
            removed_at: memory.removed_at(),
            last_there: last_there.filter(|_| is_gone),
        }
    }

    /// Whether a job that was queued then cannot come here: after a DELETE by as much as our clock may be from
    /// GitHub's; after an absence that was only found by as much more as GitHub's list of runners may lag.
    pub(crate) fn misses(self, queued_at: Instant, policy: &Policy) -> bool {
        let skew = crate::fleet::MAX_GITHUB_SKEW;
        let lag = policy
            .job_pending
            .max(crate::stage::ABSENCE_CONFIRMED_AFTER);
        self.removed_at.is_some_and(|at| age(queued_at, at) > skew)
            || self
                .last_there
                .is_some_and(|at| queued_at > after(after(at, lag), skew))
    }
}

/// Everything the witnesses say at one look.
#[derive(Debug)]
pub(crate) struct Seen<'e> {
    pub(crate) registration: RegistrationSeen,
    pub(crate) jobs: JobsSeen<'e>,
    pub(crate) beacons: Beacons<'e>,
    pub(crate) ledger: LedgerSeen<'e>,
    /// The drain that this look is the second one of, once it has settled.
    pub(crate) drained: Option<&'e Drain>,
    pub(crate) recent: Recent,
    pub(crate) roll: Roll,
}

/// What the registration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistrationSeen {
    /// It could not be read.
    Unreadable,
    /// GitHub knows no such runner. It counts only beside a listing that can be trusted.
    Absent {
        counts: bool,
        scope_is_ours: bool,
        /// Whether nobody was registered in the scope.
        listing_is_empty: bool,
        /// Whether GitHub showed it before.
        was_shown: bool,
        /// Whether no registration that is there may be this runner under another name.
        is_accounted: bool,
    },
    /// GitHub knows the runner.
    Registered {
        id: Option<RunnerId>,
        busy: bool,
        offline: bool,
    },
}

/// What the jobs views say together.
#[derive(Debug)]
pub(crate) struct JobsSeen<'e> {
    /// How many views were asked for.
    pub(crate) asked: usize,
    /// How many were read, recently enough.
    pub(crate) read: usize,
    /// How many of those were complete.
    complete: usize,
    /// A job that names this runner and is not over.
    pub(crate) running: Option<&'e Job>,
    /// Whether any job, over or not, names this runner.
    pub(crate) named: bool,
    /// The queued jobs that could be on their way here, by number, and since when.
    pub(crate) pending: Vec<(u64, Instant)>,
    /// Jobs that fit and wait for something else than a runner.
    gated: Vec<u64>,
    evidence: &'e [Evidence],
}

/// What the beacon says. One record is all there is, but for a user who keeps several: then each is
/// judged, and the word for *occupied* counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beacons<'e> {
    evidence: &'e [Evidence],
    /// What was heard no later than this is not about now: an operator said so.
    released_at: Option<Instant>,
    now: Instant,
    /// A heartbeat could not be read, or was read too long ago.
    pub(crate) unreadable: bool,
    /// One of them has been heard lately.
    pub(crate) alive: bool,
    /// The live lease that lasts longest. It holds even when it was read too long ago.
    pub(crate) live_lease: Option<&'e JobLease>,
    /// Since when a live beacon has attested that there is no job.
    pub(crate) attests_vacancy_since: Option<Instant>,
    /// Since when a live beacon has seen a worker process outlive its job.
    pub(crate) worker_outlived_since: Option<Instant>,
}

/// Which witnesses were asked, and which of them could not be heard, or not recently enough.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Roll {
    asked: u16,
    unheard: u16,
}

/// Its place in a [`Roll`]. A new witness does not compile before it has one.
fn place(witness: Witness) -> u16 {
    match witness {
        Witness::Registration => 1,
        Witness::Jobs => 1 << 1,
        Witness::Lease => 1 << 2,
        Witness::Webhooks => 1 << 3,
        Witness::Fleet => 1 << 4,
        Witness::Own => 1 << 5,
        Witness::Fence => 1 << 6,
        Witness::Memory => 1 << 7,
    }
}

impl Roll {
    fn call(evidence: &[Evidence], recent: Recent) -> Self {
        let mut roll = Self::default();
        for evidence in evidence {
            let witness = place(evidence.witness());
            roll.asked |= witness;
            if matches!(evidence.signal, Signal::Failed(_)) || !recent.holds(evidence) {
                roll.unheard |= witness;
            }
        }
        roll
    }

    pub(crate) fn asked(self, witness: Witness) -> bool {
        self.asked & place(witness) != 0
    }

    pub(crate) fn unheard(self, witness: Witness) -> bool {
        self.unheard & place(witness) != 0
    }
}

/// Why a witness could not be heard: who failed, or how old its word is.
pub(crate) fn failure<'e>(
    evidence: &'e [Evidence],
    witness: Witness,
    recent: Recent,
) -> Option<Unheard<'e>> {
    let of_witness = evidence
        .iter()
        .filter(|evidence| evidence.witness() == witness);
    let unheard = of_witness.filter_map(|evidence| match &evidence.signal {
        Signal::Failed(failure) => Some(Unheard::Failed(failure)),
        _ if !recent.holds(evidence) => Some(Unheard::Stale(evidence.asked_at)),
        _ => None,
    });
    // Of several, the one that can be mended last speaks.
    unheard.max_by_key(|unheard| match unheard {
        Unheard::Failed(failure) => (failure.retry_at, Some(&*failure.what), None),
        Unheard::Stale(asked_at) => (None, None, Some(*asked_at)),
    })
}

/// Why there is no evidence from a witness.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unheard<'e> {
    Failed(&'e Failure),
    Stale(Instant),
}

impl<'e> Seen<'e> {
    pub(crate) fn read(
        runner: &Runner,
        registration: RegistrationSeen,
        evidence: &'e [Evidence],
        recent: Recent,
        memory: &Memory,
        now: Instant,
        policy: &Policy,
    ) -> Self {
        let seen_id = registration.id().or(memory.id());
        let roll = Roll::call(evidence, recent);
        let came_up = comes_up(memory, registration)
            .then_some(now)
            .or(memory.came_up_again());
        let mut jobs = JobsSeen::read(runner, seen_id, evidence, recent);
        jobs.read_queue(runner, recent, (memory, came_up), now, policy);
        let left = Left::of(memory, registration);
        jobs.pending
            .retain(|&(_, since)| !left.misses(since, policy));
        let beacons = Beacons::read(evidence, roll, memory, now, policy);
        let mut ledger = LedgerSeen::default();
        let others = Others {
            runner,
            labels: Labels::read(runner, evidence, recent),
            seen_id,
            jobs: &jobs,
            beacons,
            closed: memory.closed(),
            closed_through: memory.closed_through(),
            open: memory.open(),
            left,
            came_up,
        };
        // Most looks have no ledger and no open job: they ask for no more.
        let ledgers = || {
            let asked = evidence.iter().filter(|_| roll.asked(Witness::Webhooks));
            asked.filter_map(|evidence| match &evidence.signal {
                Signal::Webhooks(ledger) => Some(ledger),
                _ => None,
            })
        };
        for told in ledgers() {
            ledger.read(told, &others, now, policy);
        }
        ledger.recall(ledgers(), &others, now, policy);
        let whom = Incarnation::of(runner, seen_id);
        let drained = fences(evidence)
            .filter_map(|fence| fence.second_look(whom, now, policy))
            .next();
        Self {
            registration,
            jobs,
            beacons,
            ledger,
            drained,
            recent,
            roll,
        }
    }
}

/// The fences that were read: one, as a rule.
pub(crate) fn fences(evidence: &[Evidence]) -> impl Iterator<Item = &FenceSeen> {
    evidence
        .iter()
        .filter_map(|evidence| match &evidence.signal {
            Signal::Fence(fence) => Some(fence),
            _ => None,
        })
}

impl Seen<'_> {
    /// Whether this is the second look of a drain that deregistered the runner, or found it absent when it had
    /// settled: why it is absent is known.
    pub(crate) fn was_deregistered(&self) -> bool {
        let absent = matches!(self.registration, RegistrationSeen::Absent { .. });
        absent && self.drained.is_some_and(Drain::knows_absence)
    }
}

/// The labels that a runner is known to have: those given for it, and those of its registration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels<'e> {
    given: &'e [Arc<str>],
    evidence: &'e [Evidence],
    recent: Recent,
}

impl<'e> Labels<'e> {
    pub(crate) fn read(runner: &'e Runner, evidence: &'e [Evidence], recent: Recent) -> Self {
        Self {
            given: &runner.labels,
            evidence,
            recent,
        }
    }

    /// Every account of them.
    fn known(self) -> impl Iterator<Item = &'e [Arc<str>]> {
        let registered = self
            .evidence
            .iter()
            .filter_map(move |evidence| match &evidence.signal {
                Signal::Registration(Registration::Registered { labels, .. })
                    if self.recent.holds(evidence) =>
                {
                    Some(&**labels)
                }
                _ => None,
            });
        let known = registered.chain([self.given]);
        known.filter(|have| !have.is_empty())
    }

    /// Whether nobody knows them.
    pub(crate) fn are_unknown(self) -> bool {
        self.known().next().is_none()
    }

    /// Whether a job that asks for `wanted` could be sent here: by any account of the labels, or
    /// where nobody knows them.
    pub(crate) fn fit(self, wanted: &[Arc<str>]) -> bool {
        self.are_unknown() || self.known().any(|have| fits(have, wanted))
    }
}

impl RegistrationSeen {
    pub(crate) fn read(evidence: &[Evidence], recent: Recent) -> Self {
        let mut registered = None;
        let mut absent = None;
        let mut failed = false;
        for evidence in evidence {
            match &evidence.signal {
                Signal::Registration(said) => {
                    let fresh = recent.holds(evidence);
                    failed |= !fresh;
                    match said {
                        &Registration::Registered {
                            id, busy, status, ..
                        } if fresh => {
                            let offline = status == Status::Offline;
                            let (ids, was_busy, was_offline) =
                                registered.unwrap_or((None, false, true));
                            registered =
                                Some((id.max(ids), busy || was_busy, offline && was_offline));
                        }
                        Registration::Registered { .. } => {}
                        Registration::Absent {
                            beside_listing,
                            scope_is_ours,
                            listing_is_empty,
                            was_shown,
                            unaccounted,
                        } => {
                            let (counts, ours, empty, shown, accounted) =
                                absent.unwrap_or((true, true, true, false, true));
                            absent = Some((
                                counts && *beside_listing,
                                ours && *scope_is_ours,
                                empty && *listing_is_empty,
                                shown || *was_shown,
                                accounted && unaccounted.is_empty(),
                            ));
                        }
                    }
                }
                Signal::Failed(failure) => failed |= failure.witness == Witness::Registration,
                _ => {}
            }
        }
        match (registered, absent) {
            (Some((id, busy, offline)), _) => Self::Registered { id, busy, offline },
            (None, Some((counts, scope_is_ours, listing_is_empty, was_shown, is_accounted)))
                if !failed =>
            {
                Self::Absent {
                    counts,
                    scope_is_ours,
                    listing_is_empty,
                    was_shown,
                    is_accounted,
                }
            }
            _ => Self::Unreadable,
        }
    }

    /// The number that the registration shows, if it was read.
    pub(crate) fn id(self) -> Option<RunnerId> {
        match self {
            Self::Registered { id, .. } => id,
            _ => None,
        }
    }

    /// Whether GitHub shows it.
    pub(crate) fn is_registered(self) -> bool {
        matches!(self, Self::Registered { .. })
    }

    /// Whether this look could tell whether the runner is registered.
    pub(crate) fn is_readable(self) -> bool {
        !matches!(self, Self::Unreadable | Self::Absent { counts: false, .. })
    }

    /// Whether the runner was met at this look: it could be told whether it is registered, or nobody is.
    pub(crate) fn is_met(self) -> bool {
        let nobody = matches!(
            self,
            Self::Absent {
                listing_is_empty: true,
                ..
            }
        );
        self.is_readable() || nobody
    }
}

impl<'e> JobsSeen<'e> {
    fn read(
        runner: &Runner,
        seen_id: Option<RunnerId>,
        evidence: &'e [Evidence],
        recent: Recent,
    ) -> Self {
        let mut seen = Self {
            asked: 0,
            read: 0,
            complete: 0,
            running: None,
            named: false,
            pending: Vec::new(),
            gated: Vec::new(),
            evidence,
        };
        for evidence in evidence {
            match &evidence.signal {
                Signal::Jobs(view) => {
                    seen.asked += 1;
                    if recent.holds(evidence) {
                        seen.read += 1;
                        seen.complete += usize::from(view.complete);
                    }
                    for job in &view.jobs {
                        seen.job(runner, seen_id, job);
                    }
                }
                Signal::Failed(failure) if failure.witness == Witness::Jobs => seen.asked += 1,
                _ => {}
            }
        }
        seen
    }

    fn job(&mut self, runner: &Runner, seen_id: Option<RunnerId>, job: &'e Job) {
        let ours = job.names(runner, seen_id);
        self.named |= ours;
        // Whatever the word: what is not over, and has this runner, is here or as good as here.
        if ours && job.status != JobStatus::Completed {
            let known = self.running.filter(|known| known.id >= job.id);
            self.running = known.or(Some(job));
        }
    }

    /// Reads which jobs could be on their way here, and since when: since a job changed; since the runner came up, for
    /// then GitHub hands out the oldest; and of a job that waited for something else when last seen, since this look.
    fn read_queue(
        &mut self,
        runner: &Runner,
        recent: Recent,
        (memory, came_up): (&Memory, Option<Instant>),
        now: Instant,
        policy: &Policy,
    ) {
        let labels = Labels::read(runner, self.evidence, recent);
        let is_here = |job: &Job| self.running.is_some_and(|running| running.id == job.id);
        let (mut pending, mut gated) = (Vec::new(), Vec::new());
        for job in self.all() {
            if is_here(job) || job.is_elsewhere() || !labels.fit(&job.labels) {
                continue;
            }
            match job.status {
                // What a queued job says of another runner means nothing; and one that is in progress
                // without a runner is on its way to one.
                JobStatus::Queued | JobStatus::InProgress | JobStatus::Other => {
                    let released = memory.gated().contains(&job.id).then_some(now);
                    let changed_at = job.changed_at.unwrap_or(now);
                    let since = released.max(came_up).max(Some(changed_at)).unwrap_or(now);
                    if age(now, since) < policy.job_pending {
                        pending.push((job.id, since));
                    }
                }
                JobStatus::Waiting => gated.push(job.id),
                JobStatus::Completed => {}
            }
        }
        // One that waited, and that a whole view shows nowhere, has left its gate.
        if self.is_complete() {
            let shown = |id: u64| self.all().any(|job| job.id == id);
            let left = memory.gated().iter().filter(|&&id| !shown(id));
            pending.extend(
                left.map(|&id| (id, now))
                    .filter(|_| !policy.job_pending.is_zero()),
            );
        }
        (self.pending, self.gated) = (pending, gated);
    }

    /// Which of the jobs that were `known` to wait, and of those that do, wait as far as anybody can tell, by number.
    pub(crate) fn remember_gated(&self, known: &mut Vec<u64>) {
        if self.read == 0 {
            return;
        }
        let pending = |id: u64| self.pending.iter().any(|&(pending, _)| pending == id);
        known.retain(|&id| !self.is_complete() && !self.shows_elsewhere(id) && !pending(id));
        known.extend(self.gated.iter().copied());
        known.sort_unstable();
        known.dedup();
    }

    /// Whether every view asked for was read and complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.asked > 0 && self.complete == self.asked
    }

    /// Whether a view says that the job is over.
    pub(crate) fn says_completed(&self, id: u64) -> bool {
        self.all()
            .any(|job| job.id == id && job.status == JobStatus::Completed)
    }

    /// Whether a view shows the job over, or in progress on a runner that it names.
    pub(crate) fn shows_elsewhere(&self, id: u64) -> bool {
        self.says_completed(id) || self.all().any(|job| job.id == id && job.is_elsewhere())
    }

    fn all(&self) -> impl Iterator<Item = &'e Job> {
        self.evidence
            .iter()
            .flat_map(|evidence| match &evidence.signal {
                Signal::Jobs(view) => view.jobs.iter(),
                _ => [].iter(),
            })
    }
}

impl<'e> Beacons<'e> {
    fn read(
        evidence: &'e [Evidence],
        roll: Roll,
        memory: &Memory,
        now: Instant,
        policy: &Policy,
    ) -> Self {
        let mut beacons = Self {
            evidence,
            released_at: memory.released_at(),
            now,
            unreadable: roll.unheard(Witness::Lease),
            alive: false,
            live_lease: None,
            attests_vacancy_since: None,
            worker_outlived_since: None,
        };
        // What all of them must agree on: since when each has said so.
        let (mut vacant, mut outlived) = (Agreed::default(), Agreed::default());
        let (mut all_alive, mut worker) = (true, false);
        let mut heard_at = None;
        for heartbeat in beacons.heard() {
            let alive = heartbeat.is_alive(now, policy);
            beacons.alive |= alive;
            heard_at = heard_at.max(Some(heartbeat.heard_at));
            all_alive &= alive;
            let live = heartbeat.live_lease(now);
            let lasts = |lease: Option<&JobLease>| lease.map(|lease| lease.until);
            if lasts(live) > lasts(beacons.live_lease) {
                beacons.live_lease = live;
            }
            let vacant_since = heartbeat.vacant_since(now);
            let outlived_since = heartbeat.outlived_since(now, policy);
            worker |= outlived_since.is_some();
            vacant.add(vacant_since);
            outlived.add(outlived_since.or(vacant_since));
        }
        let lags = |known| heard_at.is_none_or(|heard_at| age(known, heard_at) >= READ_AGAIN);
        if memory.beacon_heard_at().is_some_and(lags) {
            // The store lags behind an earlier look: this is as good as no record.
            beacons.evidence = &[];
            return beacons;
        }
        beacons.attests_vacancy_since = vacant.since().filter(|_| all_alive);
        beacons.worker_outlived_since = outlived.since().filter(|_| all_alive && worker);
        beacons
    }

    /// The heartbeats that count: all but those of which an operator said, since they were heard, that nothing
    /// stands behind them. A live lease holds all the same.
    pub(crate) fn heard(self) -> impl Iterator<Item = &'e Heartbeat> {
        let is_over = move |heartbeat: &Heartbeat| {
            self.released_at.is_some_and(|at| heartbeat.heard_at <= at)
                && heartbeat.live_lease(self.now).is_none()
        };
        self.evidence
            .iter()
            .filter_map(|evidence| match &evidence.signal {
                Signal::Lease(heartbeat) => Some(heartbeat),
                _ => None,
            })
            .filter(move |heartbeat| !is_over(heartbeat))
    }
}

/// The instant from which on everybody has said so.
#[derive(Default)]
struct Agreed {
    since: Option<Instant>,
    denied: bool,
}

impl Agreed {
    fn add(&mut self, since: Option<Instant>) {
        self.denied |= since.is_none();
        self.since = self.since.max(since);
    }

    fn since(&self) -> Option<Instant> {
        self.since.filter(|_| !self.denied)
    }
}
