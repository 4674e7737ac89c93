//! Since when a runner has been vacant.

use crate::{
    memory::Run,
    rules::{Look, busy_flag, corroboration, jobs, lease},
    seen::RegistrationSeen,
    stage::{Stage, wedged_since},
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
    pub(crate) vacant: Option<Run>,
    /// The run of looks in which no witness but the flag held, to be remembered.
    pub(crate) quiet: Option<Run>,
}

/// Judges the vacancy. The stage of the look is known; its own vacancy is not yet.
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
    let corroborated = !corroboration::judge(look).holds();
    let still = seen.registration.is_readable()
        && !jobs::judge(look).holds()
        && !lease::judge(look).holds();
    // A runner that is gone need not be told so again by a beacon that went with it.
    let absent = matches!(seen.registration, RegistrationSeen::Absent { .. });
    let last_word = seen.beacons.last_word_vacant_since(now);
    let is_quiet = still && (corroborated || (absent && last_word.is_some()));
    let is_vacant = still && corroborated && !busy_flag::judge(look).holds();

    let occupied = memory.occupied();
    let said_with_flag = occupied.latest(Stage::Serving);
    let said_without = occupied.latest(Stage::Departed);
    let vacant = carry(memory.vacant(), is_vacant, said_with_flag, look);
    let quiet = carry(memory.quiet(), is_quiet, said_without, look);

    let (is_vacant, run) = match stage {
        Stage::Wedged => {
            let since = wedged_since(seen, memory, now, policy);
            (still, since.map(|since| Run { since, last: now }))
        }
        _ if stage.asks_the_flag() => (is_vacant, vacant),
        _ => (is_quiet, quiet),
    };
    let run = Run::alive(run, now, policy.observation_gap());
    let attested = seen.beacons.attests_vacancy_since(now, policy);
    let start = run
        .map_or(now, |run| run.since)
        .min(attested.unwrap_or(now));
    let could_be_since = latest(Some(start), occupied.latest(stage));
    Vacancy {
        since: could_be_since.filter(|_| is_vacant),
        could_be_since,
        vacant,
        quiet,
    }
}

/// Carries a run of looks on. A look that is not of its kind leaves it as it is: it either could
/// not tell, or it said *occupied*, which starts the run anew at the next look of its kind.
fn carry(
    run: Option<Run>,
    is_one: bool,
    occupied_at: Option<Instant>,
    look: &Look<'_>,
) -> Option<Run> {
    let mut run = run.filter(|run| occupied_at.is_none_or(|at| at <= run.since));
    if is_one {
        Run::extend(&mut run, look.now, look.policy.observation_gap());
    }
    run
}
