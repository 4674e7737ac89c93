//! Does a workflow job name this runner, or could one be on its way to it?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason},
    ledger::LONGEST_JOB,
    seen::failure,
    time::{Instant, after},
};

/// Holds while a job in progress names this runner, a webhook opened one that nothing closed, a
/// queued job could be on its way here, or nothing of the configured view could be read. Clears
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
        judge(look)
    }
}

pub(crate) fn judge(look: &Look<'_>) -> Finding {
    let Look {
        seen, policy, now, ..
    } = *look;
    let (jobs, ledger) = (&seen.jobs, &seen.ledger);
    if let Some(job) = jobs.running {
        return Finding::Hold(HoldReason::new(
            Cause::JobInProgress(job.id),
            look.after_grace(),
        ));
    }
    if let Some((job, opened_at)) = ledger.open {
        let retry_at = Some(after(
            opened_at,
            if jobs.asked > 0 {
                policy.grace
            } else {
                LONGEST_JOB
            },
        ));
        let retry_at = retry_at.map(|at| at.max(look.after_grace()));
        return Finding::Hold(HoldReason::new(
            Cause::WebhookJobOpen(job.id, opened_at),
            retry_at,
        ));
    }
    if failure(look.evidence, Witness::Webhooks, now, policy).is_some() {
        return look.unheard(Witness::Webhooks, Cause::WebhooksUnreadable);
    }
    let pending = [
        jobs.pending.map(|(job, since)| (since, job.id)),
        ledger.pending.map(|(job, since)| (since, job.id)),
    ];
    if let Some((since, job)) = pending.into_iter().flatten().max() {
        let retry_at: Instant = after(since, policy.job_pending);
        return Finding::Hold(HoldReason::new(Cause::JobPending(job, since), retry_at));
    }
    if jobs.asked > 0 && jobs.read == 0 {
        return look.unheard(Witness::Jobs, Cause::JobsUnreadable);
    }
    if jobs.is_complete() {
        Finding::Clear
    } else {
        Finding::Abstain
    }
}
