//! The port of deregistering: who takes a runner's registration away.

use crate::{
    runner::{Runner, RunnerId},
    source::Trouble,
};
use async_trait::async_trait;
use std::fmt;

/// Takes a runner's registration away, so that no new job can come to it. With feature `github`,
/// [`GitHub`](crate::github::GitHub) is one.
#[cfg_attr(feature = "testing", mockall::automock)]
#[async_trait]
pub trait Registrar: fmt::Debug + Send + Sync {
    /// Takes the registration of this number away. It may be asked again for the same: a lost answer is asked
    /// for anew.
    ///
    /// # Errors
    /// When nobody knows whether it was done.
    async fn deregister(&self, runner: &Runner, id: RunnerId) -> Result<Deregistered, Trouble>;
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deregistered {
    /// It was removed.
    Removed,
    /// There is none: it was removed before, or never was.
    Unknown,
    /// It stays: the runner has a job, GitHub says.
    Occupied,
}
