//! The beacon: a small process on the runner's host that reads what the runner logs, watches for its worker
//! process, and reports both, also when there is nothing to report.
//!
//! One [`Watch`] folds what one runner shows into its [`Heartbeat`](crate::lease::Heartbeat): the log
//! ([`LogTail`]), the processes ([`Processes`]) and the job hooks ([`hook`]). Nothing here waits, and only the
//! listing of the log's folder asks what time it is.

pub mod hook;
mod log_tail;
mod processes;
mod report;
mod root;
mod run;
mod watch;

pub use log_tail::{Blindness, LogTail};
pub use processes::{Processes, RootProcesses};
pub use report::{ReportError, Reporter, Word};
pub use root::{ConfigStamp, RootError, RunnerConfig, RunnerRoot};
pub use run::{Beacon, RunError, Watched};
pub use watch::{Look, Watch};
