//! The beacon: a small process on the runner's host that reads what the runner logs, watches for its worker
//! process, and reports both, also when there is nothing to report.

mod report;

pub use report::{ReportError, Reporter, Word};
