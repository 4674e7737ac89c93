//! Reporting through an intake, for hosts that must not reach the store: CI jobs run next to the beacon.
//!
//! Each runner has a [`BeaconSecret`] of its own, made from a key that the intake alone holds. With it a beacon's
//! [`IntakeStore`] reaches that runner's heartbeat and fence through an [`Intake`], and no other record; and of the
//! fence it can make nothing but what a starting job makes of it. So whatever runs on the host and finds the secret
//! can forge what is said of its own runner, and of nothing else.

mod client;
mod door;
mod secret;
mod wire;

pub use client::{IntakeError, IntakeStore};
pub use door::{Answer, Intake};
pub use secret::{BeaconSecret, IntakeKey, KeyError};
