//! Why a runner must stay: every reason, its stable code, its sentence, and what ends it.

use crate::{
    decision::Basis,
    evidence::Witness,
    lease::HostJob,
    pin::Pin,
    policy::Corroboration,
    seen::Unheard,
    time::{At, Instant, Span, age},
};
use chrono::TimeDelta;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{fmt, sync::Arc};

/// Defines [`HoldCode`] from one table, so that no code can be without its exit.
macro_rules! hold_codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal, $exit:literal;)*) => {
        /// The stable code of a reason to hold. Codes are never renamed; new ones may be added.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum HoldCode {
            $($(#[$doc])* #[doc = concat!("\n\nEnds: ", $exit)] $code,)*
        }

        impl HoldCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The code as it stands in JSON: stable, in snake_case.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            /// What ends such a hold, and when at the latest, or the human act that does.
            #[must_use]
            pub fn exit(self) -> &'static str {
                match self { $(Self::$code => $exit,)* }
            }
        }
    };
}

hold_codes! {
    /// GitHub says that the runner is busy.
    Busy = "busy", "GitHub says busy: false; or, after stale_busy_after of a clear jobs view and a live beacon without a job, stage busy_refuted; or the runner departs or is lost.";
    /// The registration could not be read, or was read too long ago.
    RegistrationUnreadable = "registration_unreadable", "A read that answers. If none ever does, the operator mends the token, the scope or the network.";
    /// A view of the jobs shows one in progress that names this runner.
    JobInProgress = "job_in_progress", "GitHub shows the job completed; GitHub ends a job on a self-hosted runner after 5 days at the latest.";
    /// A webhook opened a job on this runner, and nothing closed it.
    WebhookJobOpen = "webhook_job_open", "Its completed delivery; GitHub's answer for its number: completed, or 404 twice; a live beacon that has been free for lease_ttl + lease_overrun; 5 days at the latest.";
    /// A queued job could be on its way to this runner.
    JobPending = "job_pending", "The job is taken, or job_pending has passed since it was created or changed. A source that gives no such instant holds for as long as it shows the job queued.";
    /// Nothing of the jobs view could be read.
    JobsUnreadable = "jobs_unreadable", "A read that answers. If none ever does, the operator mends the permission or the network, or takes the jobs view out of the deployment.";
    /// The webhook ledger could not be read.
    WebhooksUnreadable = "webhooks_unreadable", "A read that answers. If none ever does, the operator mends the store.";
    /// The lease of a job is live.
    LeaseLive = "lease_live", "The dispatcher's finish line, a report of listening, or lease_ttl after the last renewal (up to 5 minutes more where the runner's log says so).";
    /// A job was reported and never reported finished.
    JobNotFinished = "job_not_finished", "The dispatcher's finish line, or a report of listening; once the beacon is silent, lease_ttl + lease_overrun after its last word beside a complete and clear jobs view. Without a jobs view: the operator removes or releases the runner.";
    /// A worker process is there.
    WorkerAlive = "worker_alive", "A report without a worker process; after stale_busy_after beyond its job's end beside a complete and clear jobs view, stage wedged; once the beacon is silent, lease_ttl + lease_overrun after its last word beside such a view. Otherwise: the operator ends the process.";
    /// A self-update of the runner is under way.
    SelfUpdate = "self_update", "The update ends, 10 minutes after it began at the latest.";
    /// A beacon that was once heard is silent.
    BeaconSilent = "beacon_silent", "The beacon speaks again; or lease_ttl + lease_overrun after its last word beside a complete and clear jobs view. Without a jobs view: the operator restarts the beacon, or removes or releases the runner.";
    /// The heartbeat could not be read, or was read too long ago.
    LeaseUnreadable = "lease_unreadable", "A read that answers. If none ever does, the operator mends the store.";
    /// No witness independent of the busy flag says vacant.
    Uncorroborated = "uncorroborated", "The witness that the policy asks for says vacant. If there is none, the operator adds one: a jobs view that is complete, or a beacon.";
    /// The runner has not been vacant for long enough.
    GraceWindow = "grace_window", "grace after the runner became vacant, if it is looked at at least every max_observation_gap.";
    /// The runner came up just now.
    TooYoung = "too_young", "min_age after it came up.";
    /// The runner may still be on its way to register.
    Launching = "launching", "It registers, or its registration_deadline passes after its launch, or after our first look where that is unknown.";
    /// The runner is absent, but not yet beyond doubt.
    AbsenceUnconfirmed = "absence_unconfirmed", "A second look that finds it absent, far enough after the first, beside a listing that can be trusted; or it is found again. Where the listing or the scope can never be trusted: the operator mends them.";
    /// The runner was never seen by this name, and a registration that nobody accounts for may be it.
    UnaccountedRunners = "unaccounted_runners", "The operator gives the names as GitHub shows them, says how runners are named after machines, says which registrations are others', or gives the registration's number; or a sweep over the whole fleet asks about all that are registered.";
    /// The runner is registered and offline.
    Offline = "offline", "It comes online, or has been offline for lost_after.";
    /// A witness of the user's own objects.
    Objection = "objection", "That witness stops objecting.";
    /// A witness of the user's own could not be heard.
    ObjectionUnreadable = "objection_unreadable", "A read that answers. If none ever does, the operator mends that witness or takes it out.";
    /// An operator pinned the runner.
    Pinned = "pinned", "The pin's end, or the operator takes it away.";
    /// The listing of the scope cannot be trusted.
    SnapshotUntrusted = "snapshot_untrusted", "A listing whose total matches its rows and that is not shrunken; the same shrunken one in 3 looks over 10 minutes, in a scope that is ours. Where the scope never showed a runner of ours: ask once about one that is registered, or mint a registration token for the scope (scale-in-guard registration-token on the same store); if there is one and it is not shown, the operator mends the scope or the token.";
    /// Our clock and GitHub's differ too much.
    ClockSkew = "clock_skew", "The operator sets the clock of this machine.";
    /// This sweep has handed out all the permits it may.
    PermitBudgetSpent = "permit_budget_spent", "The next sweep.";
    /// Most beacons fell silent at once: it is more likely us than them.
    BeaconsSilent = "beacons_silent", "They speak again; 24 hours at the latest, or an operator says otherwise.";
    /// A witness was refused, or not even asked, because of GitHub's request limit.
    RateLimited = "rate_limited", "The limit's window ends, within an hour, or the pause that GitHub asked for; or the operator gives the token more requests, or lowers request_reserve. Where the points a minute are what is spent, time and again: fewer repositories in one guard.";
    /// What is known of the fleet could not be read, or was read too long ago.
    FleetUnreadable = "fleet_unreadable", "A read that answers. If none ever does, the operator mends it.";
    /// The memory of earlier looks could not be read or written.
    MemoryUnreadable = "memory_unreadable", "A store that answers. A record or file that is lost or corrupt is begun anew at the same look, and every window with it. If the store never answers, the operator mends it.";
    /// Somebody is letting this runner go already: a drain or a termination is under way.
    PermitOutstanding = "permit_outstanding", "That retirement goes on and ends, or lapses: a drain 10 minutes after its last step, a termination 60 seconds after its go; or an operator releases the runner.";
    /// GitHub said that it removed the registration, and shows it still.
    StillRegistered = "still_registered", "GitHub shows it no more; or the drain lapses, 10 minutes after its last step. If GitHub goes on showing it, the operator gives the token the right to remove runners.";
    /// The fence could not be read.
    FenceUnreadable = "fence_unreadable", "A read that answers. A record that cannot be read is begun anew at the same look. If none ever does, the operator mends the store.";
    /// The guard is in shadow mode: it would have given a permit, and gives none.
    ShadowMode = "shadow_mode", "The operator takes the guard out of shadow mode.";
    /// A rule of the user's own holds; the reason carries the rule's own code.
    Custom = "custom", "That rule stops holding; its author says when.";
}

impl fmt::Display for HoldCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One reason to hold: what is the matter, and the earliest instant at which asking again can help.
///
/// Its [`Display`](fmt::Display) is a sentence that names the thing and the instant. In JSON it is
/// `{"code", "message", "retry_at"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldReason {
    pub(crate) cause: Cause,
    pub(crate) retry_at: Option<Instant>,
}

/// Why there is no evidence from a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    NotAsked,
    Failed(Arc<str>),
    Stale(Instant),
}

/// What is the matter, with what the sentence names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    Busy(Instant),
    RegistrationUnreadable(Missing),
    JobInProgress(u64, Instant),
    WebhookJobOpen(u64, Instant),
    JobPending(u64, Instant),
    JobsUnreadable(Missing),
    WebhooksUnreadable(Missing),
    LeaseLive(HostJob, Instant),
    LeaseRemembered(Instant),
    JobNotFinished(HostJob, Instant),
    WorkerAlive(Instant),
    SelfUpdate(Instant),
    BeaconSilent(Instant),
    LeaseUnreadable(Missing),
    Uncorroborated(Corroboration),
    GraceWindow {
        since: Option<Instant>,
        wanted: TimeDelta,
    },
    TooYoung(Option<Instant>),
    Launching(Instant),
    AbsenceUnconfirmed(Unconfirmed),
    UnaccountedRunners(Vec<Arc<str>>),
    Offline(Option<Instant>, TimeDelta),
    Objection(Arc<str>),
    ObjectionUnreadable(Missing),
    /// And whether it holds for want of the runner's labels.
    Pinned(Box<Pin>, bool),
    SnapshotUntrusted(Doubt),
    ClockSkew(i64),
    PermitBudgetSpent,
    BeaconsSilent(Instant),
    /// Who was not heard, and when the limit's window ends, where somebody knows.
    RateLimited(Vec<Witness>, Option<Instant>),
    FleetUnreadable(Missing),
    MemoryUnreadable(Missing),
    PermitOutstanding(Instant),
    StillRegistered(Instant),
    FenceUnreadable(Missing),
    ShadowMode(Basis),
    Custom(Arc<str>, Arc<str>),
}

/// Why a listing is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Its total does not match its rows.
    Inconsistent,
    /// It is empty, or too short.
    Shrunken,
    /// It shows none of ours, and none ever did.
    Foreign,
}

/// What is wanting for an absence to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unconfirmed {
    /// The listing beside it was not read, or cannot be trusted.
    NoListing,
    /// The scope never showed us a runner of ours.
    ForeignScope,
    /// A second look.
    SecondLook,
}

impl Missing {
    pub(crate) fn of(unheard: Option<Unheard<'_>>) -> Self {
        match unheard {
            None => Self::NotAsked,
            Some(Unheard::Failed(failure)) => Self::Failed(failure.what.clone()),
            Some(Unheard::Stale(asked_at)) => Self::Stale(asked_at),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("nobody asked"),
            Self::Failed(what) => f.write_str(what),
            Self::Stale(asked_at) => write!(
                f,
                "the only read, of {}, is too old to count, or from the future",
                At(*asked_at)
            ),
        }
    }
}

impl HoldReason {
    pub(crate) fn new(cause: Cause, retry_at: impl Into<Option<Instant>>) -> Self {
        Self {
            cause,
            retry_at: retry_at.into(),
        }
    }

    /// A reason of a user's own rule: its stable code, its sentence, and when asking again can
    /// help, if that is known.
    pub fn custom(
        code: impl Into<Arc<str>>,
        message: impl Into<Arc<str>>,
        retry_at: Option<Instant>,
    ) -> Self {
        Self::new(Cause::Custom(code.into(), message.into()), retry_at)
    }

    /// The code; [`HoldCode::Custom`] for a user's own rule.
    #[must_use]
    pub fn code(&self) -> HoldCode {
        match &self.cause {
            Cause::Busy(_) => HoldCode::Busy,
            Cause::RegistrationUnreadable(_) => HoldCode::RegistrationUnreadable,
            Cause::JobInProgress(..) => HoldCode::JobInProgress,
            Cause::WebhookJobOpen(..) => HoldCode::WebhookJobOpen,
            Cause::JobPending(..) => HoldCode::JobPending,
            Cause::JobsUnreadable(_) => HoldCode::JobsUnreadable,
            Cause::WebhooksUnreadable(_) => HoldCode::WebhooksUnreadable,
            Cause::LeaseLive(..) | Cause::LeaseRemembered(_) => HoldCode::LeaseLive,
            Cause::JobNotFinished(..) => HoldCode::JobNotFinished,
            Cause::WorkerAlive(_) => HoldCode::WorkerAlive,
            Cause::SelfUpdate(_) => HoldCode::SelfUpdate,
            Cause::BeaconSilent(_) => HoldCode::BeaconSilent,
            Cause::LeaseUnreadable(_) => HoldCode::LeaseUnreadable,
            Cause::Uncorroborated(_) => HoldCode::Uncorroborated,
            Cause::GraceWindow { .. } => HoldCode::GraceWindow,
            Cause::TooYoung(_) => HoldCode::TooYoung,
            Cause::Launching(_) => HoldCode::Launching,
            Cause::AbsenceUnconfirmed(_) => HoldCode::AbsenceUnconfirmed,
            Cause::UnaccountedRunners(_) => HoldCode::UnaccountedRunners,
            Cause::Offline(..) => HoldCode::Offline,
            Cause::Objection(_) => HoldCode::Objection,
            Cause::ObjectionUnreadable(_) => HoldCode::ObjectionUnreadable,
            Cause::Pinned(..) => HoldCode::Pinned,
            Cause::SnapshotUntrusted(_) => HoldCode::SnapshotUntrusted,
            Cause::ClockSkew(_) => HoldCode::ClockSkew,
            Cause::PermitBudgetSpent => HoldCode::PermitBudgetSpent,
            Cause::BeaconsSilent(_) => HoldCode::BeaconsSilent,
            Cause::RateLimited(..) => HoldCode::RateLimited,
            Cause::FleetUnreadable(_) => HoldCode::FleetUnreadable,
            Cause::MemoryUnreadable(_) => HoldCode::MemoryUnreadable,
            Cause::PermitOutstanding(_) => HoldCode::PermitOutstanding,
            Cause::StillRegistered(_) => HoldCode::StillRegistered,
            Cause::FenceUnreadable(_) => HoldCode::FenceUnreadable,
            Cause::ShadowMode(_) => HoldCode::ShadowMode,
            Cause::Custom(..) => HoldCode::Custom,
        }
    }

    /// The code as it stands in JSON: of a user's own rule, the code that the rule gave.
    #[must_use]
    pub fn code_str(&self) -> &str {
        match &self.cause {
            Cause::Custom(code, _) => code,
            _ => self.code().as_str(),
        }
    }

    /// The earliest instant at which asking again can help, as far as this reason goes; `None`
    /// where something must happen that no clock foretells.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Busy(at) => write!(f, "GitHub said busy: true at {}", At(*at)),
            Cause::RegistrationUnreadable(missing) => write!(f, "the registration could not be read: {missing}"),
            Cause::JobInProgress(job, at) => {
                write!(f, "job {job} was in progress on this runner at {}", At(*at))
            }
            Cause::WebhookJobOpen(job, at) => {
                write!(f, "a webhook of {} opened job {job} on this runner, and nothing has closed it", At(*at))
            }
            Cause::JobPending(job, at) => {
                write!(f, "job {job}, queued since {}, could be on its way to this runner", At(*at))
            }
            Cause::JobsUnreadable(missing) => write!(f, "the jobs could not be read: {missing}"),
            Cause::WebhooksUnreadable(missing) => write!(f, "the webhook ledger could not be read: {missing}"),
            Cause::LeaseLive(job, until) => write!(f, "the lease of job {job} is live until {}", At(*until)),
            Cause::LeaseRemembered(until) => {
                write!(f, "a lease seen earlier is live until {}, and its beacon cannot be heard now", At(*until))
            }
            Cause::JobNotFinished(job, at) => {
                write!(f, "job {job}, last renewed at {}, was never reported finished", At(*at))
            }
            Cause::WorkerAlive(since) => write!(f, "a worker process has been there since {}", At(*since)),
            Cause::SelfUpdate(since) => write!(f, "the runner has been updating itself since {}", At(*since)),
            Cause::BeaconSilent(heard_at) => write!(f, "the beacon has been silent since {}", At(*heard_at)),
            Cause::LeaseUnreadable(missing) => write!(f, "the heartbeat could not be read: {missing}"),
            Cause::Uncorroborated(wanted) => f.write_str(match wanted {
                Corroboration::Any => "neither the jobs view nor the lease says vacant",
                Corroboration::Jobs => "the jobs view does not say vacant",
                Corroboration::Lease => "the lease does not say vacant",
                Corroboration::Both => "the jobs view and the lease do not both say vacant",
            }),
            Cause::GraceWindow { since: Some(since), wanted } => {
                write!(f, "vacant since {}, wanted for {}", At(*since), Span(*wanted))
            }
            Cause::GraceWindow { since: None, wanted } => {
                write!(f, "not seen vacant now, wanted for {}", Span(*wanted))
            }
            Cause::TooYoung(Some(came_up)) => write!(f, "the runner came up at {}", At(*came_up)),
            Cause::TooYoung(None) => f.write_str("the runner came up just now"),
            Cause::Launching(deadline) => {
                write!(f, "the runner has until {} to register", At(*deadline))
            }
            Cause::AbsenceUnconfirmed(why) => f.write_str(match why {
                Unconfirmed::NoListing => "GitHub knows no such runner, but no listing that can be trusted stands beside that answer",
                Unconfirmed::ForeignScope => "GitHub knows no such runner, but this scope never showed a runner of ours",
                Unconfirmed::SecondLook => "GitHub knows no such runner; that must be seen again",
            }),
            Cause::UnaccountedRunners(names) => {
                f.write_str("GitHub never showed a runner of this name, and lists ")?;
                for (index, name) in names.iter().enumerate() {
                    write!(f, "{}{name:?}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(
                    ", which nobody accounts for and which may be this machine under another name; ask about every runner by the name that GitHub shows, or say how runners are named (--runner-names), which registrations are others' (--others, --others-labelled), or this one's number (id)",
                )
            }
            Cause::Offline(Some(since), limit) => {
                write!(f, "the runner has been offline since {}, given up after {}", At(*since), Span(*limit))
            }
            Cause::Offline(None, limit) => write!(f, "the runner is offline, given up after {}", Span(*limit)),
            Cause::Objection(note) => write!(f, "a witness of your own objects: {note}"),
            Cause::ObjectionUnreadable(missing) => write!(f, "a witness of your own could not be heard: {missing}"),
            Cause::Pinned(pin, true) => write!(f, "{pin} (its labels are not known, so this pin may be its own)"),
            Cause::Pinned(pin, false) => pin.fmt(f),
            Cause::SnapshotUntrusted(Doubt::Foreign) => f.write_str(
                "the listing of this scope shows no runner of ours, and none ever did; ask once about one that is registered here, or get the tokens for new ones from scale-in-guard registration-token on this store",
            ),
            Cause::SnapshotUntrusted(Doubt::Shrunken) => {
                f.write_str("the listing of this scope is empty, or shows fewer of our runners than departures explain")
            }
            Cause::SnapshotUntrusted(Doubt::Inconsistent) => {
                f.write_str("the total of this scope's listing does not match its rows")
            }
            Cause::ClockSkew(seconds) => write!(
                f,
                "GitHub's clock is {}s {} this machine's; set this machine's clock",
                seconds.unsigned_abs(),
                if *seconds < 0 { "behind" } else { "ahead of" },
            ),
            Cause::PermitBudgetSpent => f.write_str("this sweep has handed out all the permits it may"),
            Cause::BeaconsSilent(since) => write!(f, "most beacons have been silent since {}", At(*since)),
            Cause::RateLimited(witnesses, until) => {
                f.write_str("GitHub's request limit leaves nothing for ")?;
                for (index, witness) in witnesses.iter().enumerate() {
                    write!(f, "{}{witness}", if index == 0 { "" } else { ", " })?;
                }
                match until {
                    Some(until) => write!(f, " until {}", At(*until)),
                    None => f.write_str("; nobody knows until when"),
                }
            }
            Cause::FleetUnreadable(missing) => write!(f, "the state of the fleet could not be read: {missing}"),
            Cause::MemoryUnreadable(missing) => write!(f, "the memory of earlier looks: {missing}"),
            Cause::PermitOutstanding(lapses_at) => {
                write!(f, "somebody is letting this runner go; that lapses at {} if nothing more is heard of it", At(*lapses_at))
            }
            Cause::StillRegistered(lapses_at) => {
                write!(f, "GitHub said that it removed the registration, and shows it still; the drain lapses at {}", At(*lapses_at))
            }
            Cause::FenceUnreadable(missing) => write!(f, "the fence could not be read: {missing}"),
            Cause::ShadowMode(basis) => {
                write!(f, "in shadow mode; outside it this would be a permit: {basis}")
            }
            Cause::Custom(_, message) => f.write_str(message),
        }
    }
}

impl Serialize for HoldReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut reason = serializer.serialize_struct("HoldReason", 3)?;
        reason.serialize_field("code", self.code_str())?;
        reason.serialize_field("message", &format_args!("{self}"))?;
        reason.serialize_field("retry_at", &self.retry_at)?;
        reason.end()
    }
}

/// How long is left until `at`, for a person: `in 4m 31s`, or `now`.
pub(crate) struct In(pub(crate) Instant, pub(crate) Instant);

impl fmt::Display for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = age(self.0, self.1);
        if left <= TimeDelta::zero() {
            f.write_str("now")
        } else {
            write!(f, "in {}", Span(left))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_snake_case_and_names_its_exit() {
        for code in HoldCode::ALL {
            let name = code.as_str();
            assert!(
                name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{name}"
            );
            assert!(
                code.exit().len() > 10 && code.exit().ends_with('.'),
                "{name}"
            );
        }
    }
}
