//! Any bytes as a delivery: nothing panics, and what is read names a job and an owner.
//!
//! Run: `cargo fuzz run --fuzz-dir tests/fuzz webhook` (on a stable toolchain with `RUSTC_BOOTSTRAP=1`).
#![no_main]

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use scale_in_guard::{
    ledger::Ledger,
    webhook::{Event, Secrets, parse, verify},
};

fuzz_target!(|data: &[u8]| {
    let secrets = Secrets::new(["s3cret"]).expect("a secret");
    let header = std::str::from_utf8(data).ok();
    assert!(verify(&secrets, header, b"{}").is_err());
    for kind in ["application/json", "application/x-www-form-urlencoded"] {
        let read = parse(Some("workflow_job"), Some(kind), data, DateTime::UNIX_EPOCH);
        if let Ok(Event::Job(job)) = read {
            assert!(!job.scopes().is_empty());
            let mut ledger = Ledger::default();
            ledger.receive(job.delivery.clone());
            let once = ledger.clone();
            ledger.receive(job.delivery);
            assert_eq!(ledger, once);
        }
    }
});
