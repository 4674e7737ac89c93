//! What earlier looks left: how long things have been as they are, who last said *occupied*, and
//! since when the runner has been vacant.

use crate::{
    evidence::{Claim, Evidence, Signal, Witness},
    fence::{Deregistration, Fence, Incarnation, Nonce, Phase, State},
    lease::Heartbeat,
    ledger::Noted,
    policy::Policy,
    runner::{Runner, RunnerId},
    seen::{Beacons, Left, READ_AGAIN, RegistrationSeen, Seen, fences},
    stage::Stage,
    time::{Instant, after, age, latest},
    vacancy::Vacancy,
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Two accounts of one launch, from the cloud and from a tag, differ by less than this.
pub(crate) const SAME_LAUNCH: TimeDelta = TimeDelta::seconds(10);

/// How many closed jobs of the ledger are remembered.
const CLOSED: usize = 64;

/// How many queued jobs are remembered.
const PENDING: usize = 8;

/// How many jobs are remembered that wait for something else than a runner.
const GATED: usize = 64;

/// Whether a runner comes up at this look: it was absent or offline when it was last seen, and is there again. That is
/// when GitHub hands it the oldest job that waits.
pub(crate) fn comes_up(memory: &Memory, registration: RegistrationSeen) -> bool {
    match registration {
        RegistrationSeen::Registered { offline, .. } => {
            memory.absent.is_some() || memory.offline.is_some() && !offline
        }
        _ => false,
    }
}

/// An unbroken run of looks that saw the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first of them.
    pub since: Instant,
    /// The latest of them.
    pub last: Instant,
}

impl Run {
    /// Prolongs a run to `now`, or begins it: when there is none, or its latest look was before
    /// `kept`, the observation gap ago.
    pub(crate) fn extend(run: &mut Option<Self>, now: Instant, kept: Instant) {
        let since = match run {
            Some(run) if run.last >= kept => run.since.min(now),
            _ => now,
        };
        *run = Some(Self { since, last: now });
    }

    /// Whether a run has lasted for `span`, over more looks than one.
    pub(crate) fn has_lasted(run: Option<Self>, now: Instant, span: TimeDelta) -> bool {
        run.is_some_and(|run| run.since < now && age(now, run.since) >= span)
    }
}

/// The latest instants at which witnesses said *occupied*, each on its own: in some stages some of
/// them do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Occupied {
    /// The `busy` flag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<Instant>,
    /// The jobs view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Instant>,
    /// The webhook ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Instant>,
    /// The lease, or a worker process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Instant>,
    /// A witness of the user's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<Instant>,
}

impl Occupied {
    /// The latest instant at which any witness that counts in this stage said *occupied*.
    pub(crate) fn latest(&self, stage: Stage) -> Option<Instant> {
        let flag = self.flag.filter(|_| stage.asks_the_flag());
        let lease = self.lease.filter(|_| stage != Stage::Wedged);
        latest(
            latest(flag, lease),
            latest(latest(self.jobs, self.webhooks), self.own),
        )
    }

    /// The latest instant at which any witness but the lease said *occupied*, the flag included.
    pub(crate) fn latest_but_lease(&self) -> Option<Instant> {
        let others = latest(latest(self.jobs, self.webhooks), self.own);
        latest(self.flag, others)
    }

    fn no_later_than(&mut self, now: Instant) {
        for at in [
            &mut self.flag,
            &mut self.jobs,
            &mut self.webhooks,
            &mut self.lease,
            &mut self.own,
        ] {
            *at = at.map(|at| at.min(now));
        }
    }
}

/// What is remembered of one runner between looks: a plain value of under 1 KiB, to be kept where
/// the next look finds it. `Memory::default()` is that of a runner never looked at.
///
/// It is written by whoever looks, and by nobody else; a store need not understand it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The number that its registration showed. Another one is another incarnation.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<RunnerId>,
    /// The number that the autoscaler gave. Another one is another incarnation.
    #[serde(skip_serializing_if = "Option::is_none")]
    given_id: Option<RunnerId>,
    /// When the instance was launched, as last given. An instant more than 10 s from it is another
    /// incarnation.
    #[serde(skip_serializing_if = "Option::is_none")]
    launched_at: Option<Instant>,
    /// The first look that could tell whether the runner is registered, or that nobody is.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_readable: Option<Instant>,
    /// The first look of all, which may have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_look: Option<Instant>,
    /// The latest look that found it registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_registered: Option<Instant>,
    /// When it was seen absent and then registered, or offline and then online.
    #[serde(skip_serializing_if = "Option::is_none")]
    came_up: Option<Instant>,
    /// Looks that found it absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<Run>,
    /// Those of them after the registration deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    overdue: Option<Run>,
    /// Looks that found it registered and offline.
    #[serde(skip_serializing_if = "Option::is_none")]
    offline: Option<Run>,
    /// Looks that found it busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<Run>,
    /// Looks in which a complete view of the jobs showed none.
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs_clear: Option<Run>,
    /// Looks in which no witness held.
    #[serde(skip_serializing_if = "Option::is_none")]
    vacant: Option<Run>,
    /// Who last said *occupied*.
    occupied: Occupied,
    /// When the beacon was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    beacon_heard_at: Option<Instant>,
    /// Until when the last known lease is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_until: Option<Instant>,
    /// Whether the beacon's last word left a job that was not over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    job_left: bool,
    /// Whether GitHub showed it in a listing in which nobody asked about it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    was_shown: bool,
    /// Whether a job in a view, or a webhook, ever named this runner.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    job_seen: bool,
    /// Queued jobs that could be on their way here, and since when: the last 8. They may have left the
    /// queue for this runner, and not be shown yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pending: Vec<(u64, Instant)>,
    /// Of those that were too many to be remembered, the one queued last.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<(u64, Instant)>,
    /// Jobs that waited for something else than a runner when last seen: they may be released at any moment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gated: Vec<u64>,
    /// The job of the ledger that was open at the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<Noted>,
    /// Jobs of the ledger that another witness closed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    closed: Vec<Noted>,
    /// Of those that were too many to be remembered: every one told no later than the one told last was closed no later
    /// than this, if it is over now.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_through: Option<Noted>,
    /// Vacancy counts from here on: it came up, a drain lapsed, or an operator released the runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts_from: Option<Instant>,
    /// The drain that was found lapsed.
    #[serde(skip_serializing_if = "Option::is_none")]
    lapsed: Option<Nonce>,
    /// When a guard deregistered it, or tried to; later where that was not seen at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_at: Option<Instant>,
    /// When an operator said that nothing stands behind what was heard until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    released_at: Option<Instant>,
}

impl Memory {
    /// Takes in what the witnesses say at one look. The vacancy comes after, with
    /// [`Memory::remember_vacancy`], for it depends on the rules.
    pub(crate) fn observe(
        &mut self,
        runner: &Runner,
        seen: &Seen<'_>,
        evidence: &[Evidence],
        now: Instant,
        policy: &Policy,
    ) {
        let kept = policy.kept_since(now);
        self.first_look.get_or_insert(now);
        if seen.registration.is_met() {
            self.first_readable.get_or_insert(now);
        }
        self.was_shown |= matches!(
            seen.registration,
            RegistrationSeen::Absent {
                was_shown: true,
                ..
            }
        );
        match seen.registration {
            RegistrationSeen::Registered { busy, offline, .. } => {
                if comes_up(self, seen.registration) {
                    self.came_up = Some(now);
                    self.counts_from = Some(now);
                }
                self.absent = None;
                self.overdue = None;
                self.last_registered = Some(now);
                Self::keep(&mut self.offline, offline, now, kept);
                Self::keep(&mut self.busy, busy, now, kept);
                if busy {
                    self.occupied.flag = Some(now);
                }
            }
            RegistrationSeen::Absent { counts: true, .. } => {
                self.offline = None;
                self.busy = None;
                Run::extend(&mut self.absent, now, kept);
                if now >= self.deadline(runner, now, policy) {
                    Run::extend(&mut self.overdue, now, kept);
                }
            }
            RegistrationSeen::Absent { counts: false, .. } | RegistrationSeen::Unreadable => {}
        }
        self.observe_jobs(seen, now, policy);
        self.observe_beacons(seen.beacons, now);
        for evidence in evidence.iter().filter(|_| seen.roll.asked(Witness::Own)) {
            if let Signal::Own(own) = &evidence.signal
                && own.claim == Claim::Occupied
            {
                let said_at = evidence.asked_at.min(own.until.unwrap_or(now)).min(now);
                self.occupied.own = latest(self.occupied.own, Some(said_at));
            }
        }
    }

    /// Remembers the queued jobs that could be on their way here, until they are shown elsewhere. Of more than it can
    /// keep, what is dropped holds until the last of it cannot come here any more.
    fn observe_pending(&mut self, seen: &Seen<'_>, now: Instant, policy: &Policy) {
        let (jobs, left) = (&seen.jobs, Left::of(self, seen.registration));
        let still = |&(id, since): &(u64, Instant)| {
            now < after(since, policy.job_pending)
                && !jobs.shows_elsewhere(id)
                && !left.misses(since, policy)
        };
        self.pending.retain(still);
        self.dropped = self
            .dropped
            .filter(|&(_, since)| now < after(since, policy.job_pending));
        if jobs.pending.is_empty() {
            return;
        }
        self.pending.extend_from_slice(&jobs.pending);
        // Each job once, with the latest instant that is told of it; of many, those that hold longest.
        self.pending
            .sort_unstable_by_key(|&(id, since)| (id, Reverse(since)));
        self.pending.dedup_by_key(|&mut (id, _)| id);
        self.pending
            .sort_unstable_by_key(|&(id, since)| (since, id));
        let surplus = self.pending.len().saturating_sub(PENDING);
        let dropped = self
            .pending
            .drain(..surplus)
            .max_by_key(|&(_, since)| since);
        let since = |job: &Option<(u64, Instant)>| job.map(|(_, since)| since);
        if since(&dropped) > since(&self.dropped) {
            self.dropped = dropped;
        }
    }

    /// Takes in the fence, before the other witnesses are read: what they say counts for less after a guard
    /// deregistered the runner. And where a drain lapsed, or a termination of which nothing was heard, vacancy
    /// counts anew, once.
    pub(crate) fn observe_fence(
        &mut self,
        runner: &Runner,
        registration: RegistrationSeen,
        evidence: &[Evidence],
        now: Instant,
    ) {
        let whom = Incarnation::of(runner, self.id());
        let removes = |fence: &Fence| {
            matches!(fence.state(), State::Draining(drain)
                if matches!(drain.deregistration, Deregistration::Due | Deregistration::Done))
        };
        // GitHub refused it, or it registered again: jobs come to it as to any other.
        let serves_on = registration.is_registered();
        if serves_on
            && fences(evidence).next().is_some()
            && !fences(evidence).any(|fence| removes(&fence.fence))
        {
            self.removed_at = None;
        }
        for fence in fences(evidence) {
            let removes = removes(&fence.fence);
            if fence.fence.removed(whom) && (removes || !serves_on) {
                let at = fence.written_at.min(now);
                let is_later = |known| age(at, known) > READ_AGAIN;
                if self.removed_at.is_none() || removes && self.removed_at.is_some_and(is_later) {
                    self.removed_at = Some(at);
                }
            }
            if let Phase::Lapsed(nonce) = fence.phase(whom, now)
                && self.lapsed.as_ref() != Some(nonce)
            {
                self.lapsed = Some(nonce.clone());
                self.counts_from = Some(now);
            }
        }
    }

    /// An operator says that nothing stands behind what was heard until now: what a silent beacon left, and
    /// the job that a webhook left open, hold no more, and vacancy counts from now. A live lease still holds.
    #[cfg(feature = "guard")]
    pub(crate) fn release(&mut self, now: Instant) {
        self.job_left = false;
        self.closed.extend(self.open.take());
        self.vacant = None;
        self.counts_from = Some(now);
        self.released_at = Some(now);
    }

    /// GitHub refused to deregister it: it has a job.
    #[cfg(feature = "guard")]
    pub(crate) fn flag_said_busy(&mut self, now: Instant) {
        self.occupied.flag = latest(self.occupied.flag, Some(now));
    }

    fn observe_jobs(&mut self, seen: &Seen<'_>, now: Instant, policy: &Policy) {
        let kept = policy.kept_since(now);
        if seen.jobs.running.is_some() {
            self.occupied.jobs = Some(now);
        }
        self.occupied.webhooks = latest(self.occupied.webhooks, seen.ledger.occupied_at);
        self.job_seen |= seen.jobs.named || seen.ledger.named;
        let open = seen.jobs.running.is_some() || seen.ledger.open.is_some();
        if open {
            self.jobs_clear = None;
        } else if seen.jobs.is_complete()
            && seen.jobs.pending.is_empty()
            && seen.ledger.pending.is_none()
        {
            Run::extend(&mut self.jobs_clear, now, kept);
        }
        self.observe_pending(seen, now, policy);
        seen.jobs.remember_gated(&mut self.gated);
        let surplus = self.gated.len().saturating_sub(GATED);
        self.gated.drain(..surplus);
        self.open = seen.ledger.open;
        self.closed.extend_from_slice(&seen.ledger.newly_closed);
        let over = |closed: &Noted| now < after(closed.at, crate::ledger::LONGEST_JOB);
        self.closed.retain(over);
        self.closed_through = self.closed_through.filter(over);
        // Those told first make room: what stands in their place says when the last of them was closed.
        self.closed.sort_by_key(|closed| closed.told_at);
        let surplus = self.closed.len().saturating_sub(CLOSED);
        for closed in self.closed.drain(..surplus) {
            self.closed_through = Some(match self.closed_through {
                Some(through) => Noted {
                    at: through.at.max(closed.at),
                    told_at: through.told_at.max(closed.told_at),
                    ..closed
                },
                None => closed,
            });
        }
    }

    fn observe_beacons(&mut self, beacons: Beacons<'_>, now: Instant) {
        for heartbeat in beacons.heard() {
            let heard_at = heartbeat.heard_at.min(now);
            self.beacon_heard_at = latest(self.beacon_heard_at, Some(heard_at));
            self.occupied.lease = latest(self.occupied.lease, heartbeat.last_occupied(now));
            if beacons.unreadable {
                continue;
            }
            // A beacon that knows of no lease, and does not say that there is no job, has forgotten.
            if !heartbeat.leases.is_empty() || heartbeat.vacant_since(now).is_some() {
                self.lease_until = None;
            }
        }
        if !beacons.unreadable && beacons.heard().next().is_some() {
            self.job_left = beacons.heard().any(Heartbeat::leaves_job);
        }
        if let Some(lease) = beacons.live_lease {
            self.lease_until = latest(self.lease_until, Some(lease.until));
        }
        if self.lease_until.is_some_and(|until| now < until) {
            self.occupied.lease = Some(now);
        }
    }

    fn keep(run: &mut Option<Run>, still: bool, now: Instant, kept: Instant) {
        if still {
            Run::extend(run, now, kept);
        } else {
            *run = None;
        }
    }

    /// Takes in what the rules made of the look.
    pub(crate) fn remember_vacancy(&mut self, vacancy: &Vacancy) {
        self.vacant = vacancy.run;
    }

    /// Every run of looks.
    fn runs(&mut self) -> [&mut Option<Run>; 6] {
        [
            &mut self.absent,
            &mut self.overdue,
            &mut self.offline,
            &mut self.busy,
            &mut self.jobs_clear,
            &mut self.vacant,
        ]
    }

    /// Forgets since when anything has lasted; who said *occupied* stays.
    pub(crate) fn forget_windows(&mut self) {
        for run in self.runs() {
            *run = None;
        }
        for at in [
            &mut self.first_look,
            &mut self.first_readable,
            &mut self.came_up,
        ] {
            *at = None;
        }
    }

    /// Empties the memory when it is about another incarnation: another number, or another launch.
    pub(crate) fn identify(
        &mut self,
        runner: &Runner,
        seen: Option<RunnerId>,
        now: Instant,
        policy: &Policy,
    ) {
        let known = |id| Incarnation {
            id,
            launched_at: self.launched_at,
        };
        // Where GitHub shows no number, one that the autoscaler gives for the first time tells that this is another
        // runner than the one that was seen.
        let given = Incarnation::of(runner, None);
        let is_new = runner.id != self.given_id;
        let now_seen = match seen {
            None if is_new => given,
            seen => Incarnation { id: seen, ..given },
        };
        if known(self.id).differs(now_seen) || known(self.given_id).differs(given) {
            *self = Self::default();
        }
        self.no_later_than(now, policy);
        self.id = seen.or(self.id);
        self.given_id = runner.id.or(self.given_id);
        self.launched_at = runner.launched_at.or(self.launched_at);
    }

    /// Forgets what lies ahead of `now`: an earlier look was made by a clock that was ahead. What it
    /// said *occupied* counts as said now, and the windows that it began start anew.
    fn no_later_than(&mut self, now: Instant, policy: &Policy) {
        self.occupied.no_later_than(now);
        let longest = after(after(now, policy.silence_limit()), policy.max_clock_skew);
        self.lease_until = self.lease_until.map(|until| until.min(longest));
        for (_, since) in self.pending.iter_mut().chain(&mut self.dropped) {
            *since = (*since).min(now);
        }
        let noted = self.open.iter_mut().chain(&mut self.closed);
        for noted in noted.chain(&mut self.closed_through) {
            noted.at = noted.at.min(now);
        }
        for at in [
            &mut self.first_look,
            &mut self.first_readable,
            &mut self.last_registered,
            &mut self.came_up,
            &mut self.beacon_heard_at,
            &mut self.counts_from,
            &mut self.released_at,
            &mut self.removed_at,
        ] {
            *at = at.map(|at| at.min(now));
        }
        for run in self.runs() {
            *run = run.filter(|run| run.last <= now);
        }
    }

    /// Whether it must be written over what was `written`: something changed, or what only goes on was
    /// written long ago. Until then the gap between looks is reckoned a little too long, never too short.
    #[cfg(feature = "guard")]
    pub(crate) fn is_news(&self, written: &Self, policy: &Policy) -> bool {
        let often_enough = policy.observation_gap() / 3;
        let recent = |now: Instant, then: Instant| age(now, then) < often_enough;
        let mut same = written.clone();
        let mut these = self.clone();
        for (now, then) in these.runs().into_iter().zip(same.runs()) {
            if let (Some(now), Some(then)) = (*now, then)
                && now.since == then.since
                && recent(now.last, then.last)
            {
                *then = now;
            }
        }
        if let (Some(now), Some(then)) = (self.last_registered, same.last_registered)
            && recent(now, then)
        {
            same.last_registered = Some(now);
        }
        *self != same
    }

    /// When the runner must have registered: its deadline after its launch, else after our first
    /// look that could tell, else after our first look.
    pub(crate) fn deadline(&self, runner: &Runner, now: Instant, policy: &Policy) -> Instant {
        let from = runner.launched_at.or(self.launched_at);
        let from = from
            .or(self.first_readable)
            .or(self.first_look)
            .unwrap_or(now);
        after(from, policy.registration_deadline)
    }

    /// Whether it may have come up since then, for all that is known before this look.
    #[cfg(feature = "github")]
    pub(crate) fn may_have_come_up(&self, since: Instant) -> bool {
        let was_away = self.absent.is_some() || self.offline.is_some();
        was_away || self.came_up.is_some_and(|at| at > since)
    }

    /// When it was seen to come up, if it ever was.
    pub(crate) fn came_up_again(&self) -> Option<Instant> {
        self.came_up
    }

    /// When it came up: seen absent, then registered, or offline, then online; else its launch; neither known, our first
    /// look.
    pub(crate) fn came_up(&self, runner: &Runner) -> Option<Instant> {
        self.came_up
            .or(runner.launched_at)
            .or(self.launched_at)
            .or(self.first_look)
    }

    /// The registration's number, once seen or given.
    #[must_use]
    pub fn id(&self) -> Option<RunnerId> {
        self.id.or(self.given_id)
    }

    /// The latest look that found it registered.
    #[must_use]
    pub fn last_registered(&self) -> Option<Instant> {
        self.last_registered
    }

    /// Who last said *occupied*.
    #[must_use]
    pub fn occupied(&self) -> Occupied {
        self.occupied
    }

    pub(crate) fn closed(&self) -> &[Noted] {
        &self.closed
    }

    pub(crate) fn closed_through(&self) -> Option<Noted> {
        self.closed_through
    }

    /// Whether an earlier look found that this job of the ledger is over.
    #[cfg(feature = "guard")]
    pub(crate) fn has_closed(&self, id: u64, attempt: u32) -> bool {
        let mut closed = self.closed.iter();
        closed.any(|closed| (closed.id, closed.attempt) == (id, attempt))
    }

    pub(crate) fn open(&self) -> Option<Noted> {
        self.open
    }

    /// Whether our first look that could tell came after the deadline, or none did.
    pub(crate) fn met_too_late(&self, deadline: Instant) -> bool {
        self.first_readable.is_none_or(|first| first >= deadline)
    }

    pub(crate) fn beacon_heard_at(&self) -> Option<Instant> {
        self.beacon_heard_at
    }

    /// When a beacon was last heard whose silence counts.
    pub(crate) fn beacon_missed_since(&self) -> Option<Instant> {
        self.beacon_heard_at
            .filter(|&heard_at| Some(heard_at) > self.released_at)
    }

    pub(crate) fn counts_from(&self) -> Option<Instant> {
        self.counts_from
    }

    pub(crate) fn removed_at(&self) -> Option<Instant> {
        self.removed_at
    }

    pub(crate) fn released_at(&self) -> Option<Instant> {
        self.released_at
    }

    pub(crate) fn lease_until(&self) -> Option<Instant> {
        self.lease_until
    }

    /// The queued jobs that could be on their way here, and since when.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (u64, Instant)> {
        self.pending.iter().copied().chain(self.dropped)
    }

    pub(crate) fn gated(&self) -> &[u64] {
        &self.gated
    }

    pub(crate) fn job_left(&self) -> bool {
        self.job_left
    }

    pub(crate) fn absent(&self) -> Option<Run> {
        self.absent
    }

    pub(crate) fn overdue(&self) -> Option<Run> {
        self.overdue
    }

    pub(crate) fn offline(&self) -> Option<Run> {
        self.offline
    }

    pub(crate) fn busy(&self) -> Option<Run> {
        self.busy
    }

    pub(crate) fn jobs_clear(&self) -> Option<Run> {
        self.jobs_clear
    }

    pub(crate) fn vacant(&self) -> Option<Run> {
        self.vacant
    }

    /// Whether an earlier look left this job open: queued and perhaps on its way here, or opened by a
    /// webhook.
    #[cfg(feature = "guard")]
    pub(crate) fn awaits(&self, job: u64) -> bool {
        self.pending.iter().any(|&(id, _)| id == job)
            || self.gated.contains(&job)
            || self.open.is_some_and(|open| open.id == job)
    }

    /// Whether any witness ever said that it had a job.
    #[must_use]
    pub fn was_occupied(&self) -> bool {
        self.job_seen || self.occupied != Occupied::default()
    }

    /// Whether any witness ever saw this runner: registered, with a job, or through its beacon.
    pub(crate) fn ever_seen(&self) -> bool {
        let was_registered = self.last_registered.is_some() || self.was_shown;
        was_registered || self.job_seen || self.beacon_heard_at.is_some()
    }
}
