//! The beacon: a small process on the runner's host that reads what the runner logs, watches for its worker
//! process, and reports both, also when there is nothing to report.

pub mod hook;
mod log_tail;
mod processes;
mod root;

pub use log_tail::{Blindness, LogTail};
pub use processes::{Processes, RootProcesses};
pub use root::{ConfigStamp, RootError, RunnerConfig, RunnerRoot};
mod report;

pub use report::{ReportError, Reporter, Word};
