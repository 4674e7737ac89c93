//! Any bytes as a runner's log: nothing panics, and the picture stays small and consistent.
//!
//! Run: `cargo fuzz run --fuzz-dir tests/fuzz runner_log` (on a stable toolchain with
//! `RUSTC_BOOTSTRAP=1`).
#![no_main]

use chrono::{DateTime, TimeDelta};
use libfuzzer_sys::fuzz_target;
use scale_in_guard::{
    Policy,
    lease::{Heartbeat, LeaseState},
    runner_log::LogReader,
};

fuzz_target!(|data: &[u8]| {
    let policy = Policy::default();
    let mut now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    let mut reader = LogReader::default();
    let mut heartbeat = Heartbeat::new(now);
    for line in data.split(|&byte| byte == b'\n') {
        let open = heartbeat.unfinished().cloned();
        let report = reader.read(&String::from_utf8_lossy(line));
        let says = format!("{report:?}");
        heartbeat.hear(report, now, &policy);
        // A job that was open is open still, unless its own end or a restart was reported.
        if let Some(open) = open {
            let kept = heartbeat.leases.iter().find(|lease| lease.job == open.job);
            if kept.is_some_and(|lease| lease.state != LeaseState::Open) {
                assert!(says.contains(&open.job.to_string()) || says == "Restarted", "{says}");
            }
        }
        assert!(heartbeat.leases.len() <= 8);
        if let Some(lease) = heartbeat.live_lease(now) {
            assert_eq!(heartbeat.vacant_since(now), None);
            assert!(lease.until <= now + TimeDelta::seconds(900) + policy.max_clock_skew);
        }
        now += TimeDelta::seconds(7);
    }
});
