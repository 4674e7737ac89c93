//! Is it settled whether the runner is registered, and connected?

use super::{Finding, Look, Rule};
use crate::{
    evidence::Witness,
    hold::{Cause, HoldReason, Unconfirmed},
    memory::Run,
    seen::RegistrationSeen,
    stage::{ABSENCE_CONFIRMED_AFTER, Stage},
    time::after,
};

/// Holds while the runner is launching, while its absence is not beyond doubt, and while it is
/// offline, until it has been so for `lost_after`: jobs do run on runners that REST calls offline.
#[derive(Debug)]
pub(crate) struct RegistrationSettled;

impl Rule for RegistrationSettled {
    fn name(&self) -> &'static str {
        "registration"
    }

    fn witnesses(&self) -> &'static [Witness] {
        &[Witness::Registration]
    }

    fn judge(&self, look: &Look<'_>) -> Finding {
        judge(look)
    }
}

pub(crate) fn judge(look: &Look<'_>) -> Finding {
    let Look {
        seen,
        memory,
        policy,
        now,
        ..
    } = *look;
    let hold = |cause, retry_at| Finding::Hold(HoldReason::new(cause, retry_at));
    match look.stage {
        Stage::Launching => {
            let deadline = memory.deadline(look.runner, now, policy);
            return hold(Cause::Launching(deadline), Some(deadline));
        }
        Stage::Unconfirmed => {
            let (why, retry_at) = unconfirmed(look);
            return hold(Cause::AbsenceUnconfirmed(why), retry_at);
        }
        _ => {}
    }
    let offline = matches!(
        seen.registration,
        RegistrationSeen::Registered { offline: true, .. }
    );
    if offline && !Run::has_lasted(memory.offline(), now, policy.lost_after) {
        let since = memory.offline().map(|run| run.since);
        let retry_at = after(since.unwrap_or(now), policy.lost_after);
        return hold(Cause::Offline(since, policy.lost_after), Some(retry_at));
    }
    Finding::Clear
}

/// What an absence still wants, and when the next look can give it.
fn unconfirmed(look: &Look<'_>) -> (Unconfirmed, Option<crate::time::Instant>) {
    let Look {
        seen,
        memory,
        policy,
        now,
        ..
    } = *look;
    let (
        RegistrationSeen::Absent {
            counts: true,
            scope_is_ours,
        },
        Some(absent),
    ) = (seen.registration, memory.absent())
    else {
        return (Unconfirmed::NoListing, None);
    };
    let departed_at = after(absent.since, ABSENCE_CONFIRMED_AFTER);
    let deadline = memory.deadline(look.runner, now, policy);
    let met_too_late = memory
        .first_readable()
        .is_none_or(|first| first >= deadline);
    if memory.ever_seen() || met_too_late {
        return (Unconfirmed::SecondLook, Some(departed_at));
    }
    if !scope_is_ours {
        return (Unconfirmed::ForeignScope, None);
    }
    let overdue_since = memory.overdue().map_or(now, |run| run.since);
    (
        Unconfirmed::SecondLook,
        Some(after(overdue_since, policy.min_age)),
    )
}
