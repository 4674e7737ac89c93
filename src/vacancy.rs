//! Since when a runner has been vacant.

use crate::{
    memory::Run,
    rules::{Look, busy_flag::BusyFlag, corroboration::Corroborated, jobs::Jobs, lease::Lease},
    stage::Stage,
    time::{Instant, latest},
};

/// What one look makes of the vacancy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Vacancy {
    /// Since when the runner has been vacant; `None` unless this look is a vacant one.
    pub(crate) since: Option<Instant>,
    /// The earliest instant from which it could turn out to have been vacant, at a later look that
    /// is a vacant one.
    pub(crate) could_be_since: Option<Instant>,
    /// The run of vacant looks, to be remembered.
    pub(crate) run: Option<Run>,
}

/// Judges the vacancy. The rules about witnesses have been asked.
///
/// *Vacant since* is the latest instant at which a witness that counts said *occupied*; where
/// nobody attests vacancy before our own first vacant look, it is that look. A live beacon that
/// reports no job attests it from when it began to.
pub(crate) fn assess(look: &Look<'_>) -> Vacancy {
    let Look {
        seen,
        memory,
        policy,
        now,
        stage,
        ..
    } = *look;
    let kept = policy.kept_since(now);
    // What the guard deregistered is absent, whatever the listing beside it is worth.
    let is_vacant = (seen.registration.is_readable() || seen.was_deregistered())
        && !look.holds(&BusyFlag)
        && !look.holds(&Jobs)
        && !look.holds(&Lease)
        && !look.holds(&Corroborated);
    // Whoever said *occupied* since the run began has ended it: the next vacant look begins anew.
    let occupied_at = memory.occupied().latest(stage);
    let unbroken = |run: &Run| run.last >= kept && occupied_at.is_none_or(|at| at <= run.since);
    let mut run = memory.vacant().filter(unbroken);
    if is_vacant {
        Run::extend(&mut run, now, kept);
    }
    let attested = match stage {
        // Its job's end is logged, and the worker that outlived it does not count.
        Stage::Wedged
            if seen
                .beacons
                .heard()
                .all(|beacon| beacon.unfinished().is_none()) =>
        {
            seen.beacons.worker_outlived_since
        }
        _ => seen.beacons.attests_vacancy_since,
    };
    let start = run
        .map_or(now, |run| run.since)
        .min(attested.unwrap_or(now));
    let could_be_since = latest(Some(start), latest(occupied_at, memory.counts_from()));
    Vacancy {
        since: could_be_since.filter(|_| is_vacant),
        could_be_since,
        run,
    }
}
