//! The right to terminate one runner: a permit, and the go that it is redeemed for.

use crate::{
    decision::{Assessment, Basis},
    evidence::Pin,
    fence::FenceRefused,
    policy::Policy,
    runner::Runner,
    time::{At, Instant, after},
};
#[cfg(feature = "guard")]
use crate::{
    evidence::{Registration, Signal, shown_id},
    fence::Incarnation,
    seen::fences,
};
use std::{fmt, sync::Arc};
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
    /// When it expires by the monotonic clock, which nobody sets; `None` where no guard gave it.
    #[cfg(feature = "guard")]
    expires: Option<Monotonic>,
    assessment: Assessment,
}

/// An instant of the monotonic clock.
#[cfg(feature = "guard")]
pub(crate) type Monotonic = std::time::Instant;

impl Permit {
    pub(crate) fn new(basis: Basis, assessment: Assessment, policy: &Policy) -> Self {
        Self {
            basis,
            expires_at: after(assessment.at, policy.permit_ttl),
            #[cfg(feature = "guard")]
            expires: None,
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

    /// The same permit, which expires by the monotonic clock, too.
    #[cfg(feature = "guard")]
    pub(crate) fn expiring(self, expires: Monotonic) -> Self {
        Self {
            expires: Some(expires),
            ..self
        }
    }

    /// Whether it has expired by the monotonic clock.
    #[cfg(feature = "guard")]
    pub(crate) fn has_run_out(&self, now: Monotonic) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// The fence's epoch, as it was read before the evidence was asked for. A fence never written has the first.
    #[cfg(feature = "guard")]
    pub(crate) fn epoch(&self) -> u64 {
        let mut fences = fences(&self.assessment.evidence);
        fences.next().map_or(0, |seen| seen.fence.epoch())
    }

    /// Whether a beacon is alive on the runner's host that sees what goes on there.
    #[cfg(feature = "guard")]
    pub(crate) fn has_live_beacon(&self, policy: &Policy) -> bool {
        let mut evidence = self.assessment.evidence.iter();
        evidence.any(|evidence| {
            matches!(&evidence.signal, Signal::Lease(heartbeat)
                if heartbeat.blind.is_none() && heartbeat.is_alive(self.assessment.at, policy))
        })
    }

    /// Whether GitHub showed the runner at the look that it rests on.
    #[cfg(feature = "guard")]
    pub(crate) fn shows_registration(&self) -> bool {
        let mut evidence = self.assessment.evidence.iter();
        evidence.any(|evidence| {
            matches!(
                evidence.signal,
                Signal::Registration(Registration::Registered { .. })
            )
        })
    }

    /// Which runner it is about, as far as its number is known.
    #[cfg(feature = "guard")]
    pub(crate) fn whom(&self) -> Incarnation {
        let shown = shown_id(&self.assessment.evidence);
        Incarnation::of(self.runner(), shown)
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
        Ok(Go {
            permit: self,
            fenced: false,
        })
    }

    /// What a guard makes of it that holds the fence.
    #[cfg(feature = "guard")]
    pub(crate) fn into_go(self, fenced: bool) -> Go {
        Go {
            permit: self,
            fenced,
        }
    }
}

/// The right to call terminate now, once: what a permit is redeemed for.
#[derive(Debug)]
#[must_use = "a go that is not acted on at once is worth nothing"]
pub struct Go {
    permit: Permit,
    fenced: bool,
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

    /// Whether a job that started would have taken the runner back: a beacon is alive on its host. Without
    /// one the fence only keeps guards off each other.
    #[must_use]
    pub fn fenced(&self) -> bool {
        self.fenced
    }

    /// What the permit rests on.
    #[must_use]
    pub fn assessment(&self) -> &Assessment {
        &self.permit.assessment
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
    /// It came too late by the monotonic clock: the wall clock was set back meanwhile.
    #[error("the permit has run out by the monotonic clock; ask again")]
    RunOut,
    /// The fence did not let it through.
    #[error("the permit was not redeemed: {0}")]
    Fence(#[from] FenceRefused),
    /// The fence could not be read or written. It may have been: then it lapses by itself.
    #[error("the permit was not redeemed, for its fence could not be written: {what}; ask again")]
    Unwritten {
        /// What went wrong.
        what: Arc<str>,
    },
    /// An operator pinned the runner since the permit's look.
    #[error("the permit was not redeemed: {pin}")]
    Pinned {
        /// The pin.
        pin: Box<Pin>,
    },
    /// Whether an operator pinned the runner could not be read.
    #[error("the permit was not redeemed, for the pins could not be read: {what}; ask again")]
    PinsUnread {
        /// What went wrong.
        what: Arc<str>,
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

impl Refused {
    /// Its name in metrics and in logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::RunOut => "run_out",
            Self::ClockSetBack { .. } => "clock_set_back",
            Self::Unwritten { .. } => "unwritten",
            Self::Pinned { .. } => "pinned",
            Self::PinsUnread { .. } => "pins_unread",
            Self::Fence(refused) => match refused {
                FenceRefused::Taken => "taken",
                FenceRefused::Outstanding { .. } => "outstanding",
                FenceRefused::NotMine => "not_mine",
                FenceRefused::NotSettled { .. } => "not_settled",
                FenceRefused::Registered => "registered",
            },
        }
    }
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
