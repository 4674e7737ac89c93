//! The gate before a spawn: whether GitHub can register a runner at all, before a slot is taken for it.

use super::{Jit, JitError, JitRequest, RegistrationError, RegistrationToken, RegistrationTokens};
use crate::runner::Scope;
use std::{fmt, sync::Arc};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets so many spawns be under way at the same time, and none where GitHub cannot register it. Cheap to clone;
/// clones are one gate.
///
/// An autoscaler that takes a slot and starts an instance first, and asks for a token afterwards, makes phantoms
/// while GitHub fails. Ask the gate first:
///
/// ```no_run
/// use scale_in_guard::github::{GitHub, RegistrationTokens, SpawnGate};
/// # async fn start_instance(_: &str, _: scale_in_guard::github::RegistrationToken) -> std::io::Result<()> { Ok(()) }
/// # async fn run(github: GitHub) -> Result<(), Box<dyn std::error::Error>> {
/// let gate = SpawnGate::new(RegistrationTokens::new(github), 20);
/// match gate.enter(&"org:acme".parse()?).await {
///     Ok(spawn) => {
///         start_instance("i-1", spawn.token().clone()).await?; // take the slot here
///         drop(spawn); // once it has registered, or was given up
///     }
///     Err(shut) => eprintln!("{shut}"), // no slot was taken
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SpawnGate {
    tokens: RegistrationTokens,
    free: Arc<Semaphore>,
}

/// One spawn that is under way, with what its runner is registered by: a token, or a just-in-time configuration. When
/// it is dropped, the next may begin.
#[must_use = "a spawn that is dropped is over"]
pub struct Spawn<T = RegistrationToken> {
    ticket: T,
    _place: OwnedSemaphorePermit,
}

/// Why no spawn may begin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GateShut {
    /// As many as may be are under way.
    #[error("as many spawns as may be are under way; try again when one of them is over")]
    Full,
    /// GitHub cannot register runners.
    #[error("GitHub cannot register a runner: {0}")]
    Registration(#[from] RegistrationError),
    /// GitHub gives no just-in-time configuration.
    #[error("GitHub cannot register a runner: {0}")]
    Jit(#[from] JitError),
}

impl SpawnGate {
    /// A gate that lets `most` spawns be under way at the same time; 1 at the least.
    #[must_use]
    pub fn new(tokens: RegistrationTokens, most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            tokens,
            free: Arc::new(Semaphore::new(most)),
        }
    }

    /// Waits for a place and for a token. What it gives back has both: nothing that GitHub may refuse stands
    /// between it and a registered runner.
    ///
    /// # Errors
    /// [`GateShut::Registration`] when there is no token. No place is taken then.
    pub async fn enter(&self, scope: &Scope) -> Result<Spawn, GateShut> {
        // A gate that is shut keeps nobody waiting for a place.
        self.tokens.outlook(scope)?;
        let place = self.place().await?;
        self.begin(scope, place).await
    }

    /// Waits for a place and for a just-in-time configuration. An adopted registration, whose configuration GitHub
    /// shows no more, takes a place as well.
    ///
    /// # Errors
    /// [`GateShut::Jit`] when there is none. No place is taken then.
    pub async fn enter_jit(&self, request: &JitRequest) -> Result<Spawn<Jit>, GateShut> {
        let place = self.place().await?;
        Ok(Spawn {
            ticket: self.tokens.jit_config(request).await?,
            _place: place,
        })
    }

    /// The same, without waiting for a place.
    ///
    /// # Errors
    /// [`GateShut::Full`] when there is no place, [`GateShut::Registration`] when there is no token.
    pub async fn try_enter(&self, scope: &Scope) -> Result<Spawn, GateShut> {
        let place = Arc::clone(&self.free).try_acquire_owned();
        self.begin(scope, place.map_err(|_| GateShut::Full)?).await
    }

    /// How many more spawns may begin now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, GateShut> {
        let place = Arc::clone(&self.free).acquire_owned().await;
        // It is never closed.
        place.map_err(|_| GateShut::Full)
    }

    async fn begin(&self, scope: &Scope, place: OwnedSemaphorePermit) -> Result<Spawn, GateShut> {
        Ok(Spawn {
            ticket: self.tokens.registration_token(scope).await?,
            _place: place,
        })
    }
}

impl Spawn {
    /// The token for its runner.
    #[must_use]
    pub fn token(&self) -> &RegistrationToken {
        &self.ticket
    }
}

impl Spawn<Jit> {
    /// The configuration for its runner.
    #[must_use]
    pub fn jit(&self) -> &Jit {
        &self.ticket
    }
}

impl fmt::Debug for SpawnGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnGate")
            .field("free", &self.free())
            .finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for Spawn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}
