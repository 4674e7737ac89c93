#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    all(feature = "github", feature = "sqlite"),
    doc = include_str!("../README.md")
)]
#![cfg_attr(
    not(all(feature = "github", feature = "sqlite")),
    doc = "May this self-hosted GitHub Actions runner be terminated now? See the README."
)]

#[cfg(feature = "beacon")]
pub mod beacon;
pub mod beat;
#[cfg(feature = "guard")]
pub mod clock;
pub mod decision;
#[cfg(any(feature = "intake", feature = "webhook"))]
mod digest;
pub mod engine;
pub mod evidence;
mod explain;
pub mod fence;
pub mod fleet;
#[cfg(feature = "github")]
pub mod github;
#[cfg(feature = "guard")]
pub mod guard;
pub mod hold;
pub mod instance;
#[cfg(feature = "intake")]
pub mod intake;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod lease;
pub mod ledger;
#[cfg(feature = "guard")]
mod ledger_records;
pub mod memory;
pub mod permit;
mod pin;
pub mod policy;
#[cfg(any(feature = "github", feature = "webhook"))]
#[cfg_attr(
    not(feature = "webhook"),
    allow(unreachable_pub, dead_code, reason = "it is public with the receiver")
)]
mod receiver_record;
#[cfg(feature = "guard")]
mod records;
#[cfg(feature = "guard")]
pub mod registrar;
pub mod replay;
pub mod rules;
pub mod runner;
pub mod runner_log;
mod seen;
pub mod shadow;
#[cfg(feature = "guard")]
pub mod source;
#[cfg(feature = "github")]
pub mod sources;
pub mod stage;
#[cfg(feature = "guard")]
pub mod store;
#[cfg(feature = "guard")]
pub mod stores;
#[cfg(feature = "guard")]
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
mod vacancy;
#[cfg(feature = "webhook")]
pub mod webhook;

pub use decision::{Assessment, Basis, Decision, Hold, Verdict};
pub use engine::Engine;
pub use evidence::{Evidence, Job, JobStatus, JobsView, Registration, Signal, Status, Witness};
#[cfg(feature = "guard")]
pub use guard::Guard;
pub use hold::{HoldCode, HoldReason};
pub use memory::Memory;
pub use permit::{Go, Permit, Refused};
pub use policy::Policy;
pub use rules::{Finding, Look, Rule};
pub use runner::{Runner, Scope};
pub use stage::Stage;
