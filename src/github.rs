//! GitHub as a witness: its REST API over HTTPS, for repositories, organisations and enterprises, on
//! github.com, `*.ghe.com` and Enterprise Server.
//!
//! Every call goes through one client. It reads nothing but runners, runs and jobs, and it writes
//! nothing. Retries, rate limits and GitHub Apps come with a later release; until then a call that fails
//! is a reason to hold, with GitHub's status, the endpoint and the request id.

mod client;
mod error;
mod host;
mod models;
mod pages;
mod runners;
mod runs;

pub use client::{GitHub, GitHubBuilder};
pub use error::{GitHubError, SetupError};
pub use host::{API_URL, ApiUrl, PlainHttp};
pub use runners::{Listing, RunnerRow};
pub use runs::{Repository, RunStatus, RunsPage};
