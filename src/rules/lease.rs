//! Does the runner's host say that it holds a job?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    lease::{Heartbeat, SELF_UPDATE_HOLDS},
    seen::BeaconSeen,
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
        judge(look)
    }
}

pub(crate) fn judge(look: &Look<'_>) -> Finding {
    let remembered = look.memory.lease_until().filter(|&until| look.now < until);
    match (look.seen.beacon, remembered) {
        (BeaconSeen::Heard(heartbeat), _) => heard(heartbeat, look),
        (BeaconSeen::Unreadable, _) => look.unheard(Witness::Lease, Cause::LeaseUnreadable),
        (BeaconSeen::NeverHeard, Some(until)) => {
            hold(Cause::LeaseRemembered(until), look.after_grace())
        }
        (BeaconSeen::NeverHeard, None) => look
            .memory
            .beacon_heard_at()
            .and_then(|heard_at| silence(heard_at, look))
            .unwrap_or(Finding::Abstain),
    }
}

fn heard(heartbeat: &Heartbeat, look: &Look<'_>) -> Finding {
    let Look {
        policy, now, stage, ..
    } = *look;
    if let Some(lease) = heartbeat.live_lease(now) {
        return hold(
            Cause::LeaseLive(lease.job.clone(), lease.until),
            look.after_grace(),
        );
    }
    if let Some(since) = heartbeat.self_update(now) {
        return hold(Cause::SelfUpdate(since), after(since, SELF_UPDATE_HOLDS));
    }
    let alive = heartbeat.is_alive(now, policy);
    if stage != Stage::Wedged && (alive || !silence_is_over(heartbeat.heard_at, look)) {
        if let Some(lease) = heartbeat.unfinished() {
            return hold(
                Cause::JobNotFinished(lease.job.clone(), lease.renewed_at),
                look.after_grace(),
            );
        }
        if let Some(since) = heartbeat.worker_since {
            return hold(Cause::WorkerAlive(since), look.after_grace());
        }
    }
    if !alive && let Some(finding) = silence(heartbeat.heard_at, look) {
        return finding;
    }
    let counts = alive || stage == Stage::Departed;
    if counts && heartbeat.vacant_since(now).is_some() {
        return Finding::Clear;
    }
    Finding::Abstain
}

/// Holds on a silence, while serving, until a job that began before it cannot be running any more
/// and the jobs view says that none is.
fn silence(heard_at: Instant, look: &Look<'_>) -> Option<Finding> {
    let holds = look.stage == Stage::Serving && !silence_is_over(heard_at, look);
    let over_at = after(heard_at, look.policy.silence_limit());
    holds.then(|| hold(Cause::BeaconSilent(heard_at), over_at.max(look.now)))
}

fn silence_is_over(heard_at: Instant, look: &Look<'_>) -> bool {
    look.now >= after(heard_at, look.policy.silence_limit())
        && super::jobs::judge(look) == Finding::Clear
}

fn hold(cause: Cause, retry_at: Instant) -> Finding {
    Finding::Hold(HoldReason::new(cause, retry_at))
}
