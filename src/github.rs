//! GitHub: its REST API over HTTPS, for repositories, organisations and enterprises, on github.com,
//! `*.ghe.com` and Enterprise Server.
//!
//! Every call goes through one client: with a token or as a GitHub App, within GitHub's limits, repeated
//! where that may help and does no harm, and never beyond its time. What a failure means for a decision, and
//! what each call may be repeated for, stands in docs/reliability.md.

mod attempt;
mod auth;
mod breaker;
mod builder;
mod call;
mod client;
mod error;
mod flight;
mod gate;
mod ghosts;
mod host;
mod jit;
mod kept;
mod limits;
mod minted;
mod models;
mod pages;
mod retry;
mod runners;
mod runs;
mod send;
mod tokens;

pub use auth::{App, AppKey};
pub use builder::GitHubBuilder;
pub use client::GitHub;
pub use error::{GitHubError, Limit, Refusal, SetupError};
pub use gate::{GateShut, Spawn, SpawnGate};
pub use ghosts::{Ghost, GhostRemoval, Ghosts, GhostsError, KeptFor};
pub use host::{API_URL, ApiUrl, PlainHttp};
#[cfg(feature = "intake")]
pub(crate) use host::{NoBase, base, is_loopback};
pub use jit::{IfTaken, Jit, JitError, JitRequest, JitRequestBuilder, JitRequestError, JitTried};
pub use limits::Limits;
pub use retry::Retry;
pub use runners::{Connection, Listing, RunnerRow};
pub use runs::{Repository, Run, RunStatus, RunsPage};
#[cfg(feature = "intake")]
pub(crate) use send::plainly;
pub use tokens::{RegistrationError, RegistrationToken, RegistrationTokens};
