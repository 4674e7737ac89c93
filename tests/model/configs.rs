//! The configurations that are explored, and how far.

use crate::world::{Bounds, Config, Way};
use chrono::TimeDelta;
use scale_in_guard::{Policy, policy::Corroboration};

/// A policy of short periods. A permit is good for part of a tick, or for longer than any window.
fn policy(permit_ttl: i64) -> Policy {
    let seconds = TimeDelta::seconds;
    Policy {
        grace: seconds(30),
        min_age: seconds(0),
        job_pending: seconds(0),
        lease_ttl: seconds(60),
        lease_overrun: seconds(30),
        beacon_ttl: seconds(45),
        evidence_max_age: seconds(29),
        permit_ttl: seconds(permit_ttl),
        settle: seconds(60),
        ..Policy::default()
    }
}

const SHORT: i64 = 10;
const LONG: i64 = 300;

/// Whether more is to be explored than an ordinary run does.
pub(crate) fn large() -> bool {
    std::env::var("MODEL_BOUNDS").is_ok_and(|bounds| bounds == "large")
}

/// Bounds in which nothing goes wrong for so many ticks.
fn bounds(ticks: u8, more_ticks: u8) -> Bounds {
    Bounds {
        ticks: if large() { ticks + more_ticks } else { ticks },
        jobs: 1,
        freezes: 1,
        ..Bounds::default()
    }
}

/// Bounds of an ordinary run, or those of a large one.
fn or_large(small: Bounds, large_ones: Bounds) -> Bounds {
    if large() { large_ones } else { small }
}

/// Asked and redeemed, by two guards. The beacon lives and is in time; the jobs view never shows the job in time;
/// permits outlive the window, so that only the fence's epoch is left.
pub(crate) fn redeem_epoch() -> Config {
    Config {
        name: "redeem, epoch",
        policy: policy(LONG),
        guards: [Way::Redeem, Way::Redeem],
        beacon: true,
        jobs_lag: Some(20),
        goes_at_once: true,
        window: 3,
        delete_window: 0,
        reclaimed_within: 20,
        bounds: or_large(
            bounds(4, 0),
            Bounds {
                jobs: 2,
                freezes: 2,
                ..bounds(4, 1)
            },
        ),
    }
}

/// Asked and redeemed, on the word of a beacon alone, that dies, returns, and whose reports are lost or late.
pub(crate) fn redeem_beacon_dies() -> Config {
    let small = Bounds {
        beacon_deaths: 1,
        freezes: 0,
        ..bounds(4, 1)
    };
    let large_ones = Bounds {
        lost: 1,
        freezes: 1,
        ..small
    };
    Config {
        name: "redeem, beacon dies",
        policy: Policy {
            corroboration: Corroboration::Lease,
            ..policy(SHORT)
        },
        guards: [Way::Redeem, Way::None],
        jobs_lag: None,
        goes_at_once: false,
        window: 3 + if large() { 1 } else { 0 },
        bounds: or_large(small, large_ones),
        ..redeem_epoch()
    }
}

/// Asked and redeemed without a beacon, by a jobs view that lags by a tick and is up to a tick old.
pub(crate) fn redeem_jobs() -> Config {
    let small = Bounds {
        failures: 1,
        ..bounds(5, 0)
    };
    Config {
        name: "redeem, jobs view",
        policy: Policy {
            evidence_max_age: TimeDelta::seconds(30),
            ..policy(SHORT)
        },
        guards: [Way::Redeem, Way::Redeem],
        beacon: false,
        jobs_lag: Some(1),
        goes_at_once: false,
        window: 2,
        bounds: or_large(
            small,
            Bounds {
                jobs: 2,
                freezes: 2,
                ..small
            },
        ),
        ..redeem_epoch()
    }
}

/// Retired without deregistering: as the first, and a drain that is announced, settles and is looked at again.
pub(crate) fn retire_epoch() -> Config {
    Config {
        name: "retire, registered",
        guards: [Way::Retire, if large() { Way::Retire } else { Way::None }],
        bounds: bounds(5, 0),
        ..redeem_epoch()
    }
}

/// Retired and deregistered without a beacon.
pub(crate) fn deregister_jobs() -> Config {
    let small = Bounds {
        failures: 1,
        ..bounds(4, 2)
    };
    Config {
        name: "deregister, jobs view",
        policy: policy(SHORT),
        guards: [Way::Deregister, Way::Deregister],
        beacon: false,
        jobs_lag: Some(1),
        goes_at_once: false,
        window: 1,
        delete_window: 1,
        bounds: or_large(small, Bounds { jobs: 2, ..small }),
        ..redeem_epoch()
    }
}

/// The same with a jump of ten minutes, in which a drain lapses.
pub(crate) fn deregister_lapse() -> Config {
    Config {
        name: "deregister, lapse",
        guards: [Way::Deregister, Way::None],
        bounds: Bounds {
            jumps: 1,
            failures: 1,
            ..bounds(4, 1)
        },
        ..deregister_jobs()
    }
}

/// Retired and deregistered, with a beacon that dies and returns beside a jobs view that lags.
pub(crate) fn deregister_beacon_dies() -> Config {
    let small = Bounds {
        beacon_deaths: 1,
        freezes: 0,
        ..bounds(3, 1)
    };
    let large_ones = Bounds {
        lost: 1,
        freezes: 1,
        ..small
    };
    Config {
        name: "deregister, beacon dies",
        guards: [Way::Deregister, Way::None],
        beacon: true,
        bounds: or_large(small, large_ones),
        ..deregister_jobs()
    }
}

/// Retired and deregistered on the word of a beacon alone, that dies and returns.
pub(crate) fn deregister_lease() -> Config {
    let small = Bounds {
        beacon_deaths: 1,
        freezes: 0,
        ..bounds(4, 2)
    };
    let large_ones = Bounds { lost: 1, ..small };
    Config {
        name: "deregister, lease alone",
        policy: Policy {
            corroboration: Corroboration::Lease,
            settle: TimeDelta::seconds(if large() { 120 } else { 90 }),
            ..policy(SHORT)
        },
        jobs_lag: None,
        delete_window: 3 + if large() { 1 } else { 0 },
        bounds: or_large(small, large_ones),
        ..deregister_beacon_dies()
    }
}

/// One guard deregisters and the other does not, and permits outlive the window.
pub(crate) fn mixed() -> Config {
    Config {
        name: "mixed guards",
        policy: Policy {
            grace: TimeDelta::zero(),
            ..policy(LONG)
        },
        guards: [Way::Retire, Way::Deregister],
        window: 11,
        delete_window: 21,
        reclaimed_within: 40,
        bounds: Bounds {
            failures: 1,
            ..bounds(4, 1)
        },
        ..deregister_jobs()
    }
}
