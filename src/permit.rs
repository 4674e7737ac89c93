//! The right to terminate one runner: a permit, and the go that it is redeemed for.

use crate::{
    decision::{Assessment, Basis},
    policy::Policy,
    runner::Runner,
    time::{At, Instant, after},
};
use std::fmt;
use thiserror::Error;

/// A move-only, expiring capability for one runner. Only a decision makes one.
///
/// It cannot be built outside this crate,
///
/// ```compile_fail,E0451
/// # fn forge(assessment: scale_in_guard::Assessment, expires_at: scale_in_guard::time::Instant) {
/// let permit = scale_in_guard::Permit { basis: scale_in_guard::Basis::Vacant, expires_at, assessment };
/// # }
/// ```
///
/// nor copied,
///
/// ```compile_fail,E0599
/// fn twice(permit: scale_in_guard::Permit) -> [scale_in_guard::Permit; 2] {
///     [permit.clone(), permit]
/// }
/// ```
///
/// nor redeemed twice,
///
/// ```compile_fail,E0382
/// fn twice(permit: scale_in_guard::Permit, now: scale_in_guard::time::Instant) {
///     let (_first, _second) = (permit.redeem(now), permit.redeem(now));
/// }
/// ```
///
/// nor read back from a log.
///
/// ```compile_fail,E0277
/// fn read(json: &str) -> scale_in_guard::Permit {
///     serde_json::from_str(json).unwrap()
/// }
/// ```
///
/// What it is for does compile:
///
/// ```
/// fn once(permit: scale_in_guard::Permit, now: scale_in_guard::time::Instant) {
///     match permit.redeem(now) {
///         Ok(go) => println!("terminate {} ({})", go.runner().name, go.basis()),
///         Err(refused) => println!("{refused}"),
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use = "a permit expires within seconds; redeem it or let the runner be"]
pub struct Permit {
    basis: Basis,
    expires_at: Instant,
    assessment: Assessment,
}

impl Permit {
    pub(crate) fn new(basis: Basis, assessment: Assessment, policy: &Policy) -> Self {
        Self {
            basis,
            expires_at: after(assessment.at, policy.permit_ttl),
            assessment,
        }
    }

    /// The runner that may go.
    #[must_use]
    pub fn runner(&self) -> &Runner {
        &self.assessment.runner
    }

    /// On what grounds.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// When the look was made that it rests on.
    #[must_use]
    pub fn issued_at(&self) -> Instant {
        self.assessment.at
    }

    /// From when on it is worth nothing.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        self.expires_at
    }

    /// What the decision rests on.
    #[must_use]
    pub fn assessment(&self) -> &Assessment {
        &self.assessment
    }

    /// What the permit rests on, without the permit.
    pub(crate) fn into_assessment(self) -> Assessment {
        self.assessment
    }

    /// Whether it would be redeemed at `now`.
    pub(crate) fn is_good(&self, now: Instant) -> Result<(), Refused> {
        if now < self.issued_at() {
            return Err(Refused::ClockSetBack {
                issued_at: self.issued_at(),
                now,
            });
        }
        if now >= self.expires_at {
            return Err(Refused::Expired {
                expires_at: self.expires_at,
                now,
            });
        }
        Ok(())
    }

    /// Turns the permit into the right to call terminate now, once.
    ///
    /// # Errors
    /// [`Refused`] when it has expired, or when the clock stands before its issue: then it was set
    /// back, and nobody knows how old the permit is. Ask again.
    pub fn redeem(self, now: Instant) -> Result<Go, Refused> {
        self.is_good(now)?;
        Ok(Go { permit: self })
    }
}

/// The right to call terminate now, once: what a permit is redeemed for.
#[derive(Debug)]
#[must_use = "a go that is not acted on at once is worth nothing"]
pub struct Go {
    permit: Permit,
}

impl Go {
    /// The runner to terminate.
    #[must_use]
    pub fn runner(&self) -> &Runner {
        self.permit.runner()
    }

    /// On what grounds.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.permit.basis
    }

    /// Until when terminate may be called.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.permit.expires_at
    }
}

/// Why a permit was not redeemed. The runner must stay; ask again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// It came too late.
    #[error("the permit expired at {}, and it is {} now; ask again", At(*.expires_at), At(*.now))]
    Expired {
        /// When it expired.
        expires_at: Instant,
        /// When it was to be redeemed.
        now: Instant,
    },
    /// The clock was set back since it was issued.
    #[error("the permit was issued at {}, and the clock says {} now: it was set back; ask again", At(*.issued_at), At(*.now))]
    ClockSetBack {
        /// When it was issued.
        issued_at: Instant,
        /// When it was to be redeemed.
        now: Instant,
    },
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "terminate {}: {}, until {}",
            self.runner().name,
            self.basis,
            At(self.expires_at)
        )
    }
}
