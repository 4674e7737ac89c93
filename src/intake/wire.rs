//! What a beacon and an intake say to each other.
//!
//! `GET /beacons/KIND?scope=SCOPE&runner=NAME` reads the record of that kind, `heartbeat` or `fence`, and answers
//! with [`Read`]; `PUT` at the same place, with [`Write`], swaps it, and answers with [`Written`], or with 409 where
//! somebody else wrote first. Both carry `Authorization: Bearer SECRET`.

use crate::store::Version;
use serde::{Deserialize, Serialize};

/// Where an intake answers.
pub(super) const PATH: &str = "/beacons/";

/// No heartbeat and no fence is longer, in bytes, and no request that carries one.
pub(super) const LONGEST: usize = 64 << 10;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Read {
    pub(super) record: Option<ReadRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReadRecord {
    pub(super) version: Number,
    pub(super) value: String,
    /// In milliseconds, by the clock of the store behind the intake.
    pub(super) age_ms: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Write {
    /// The version to go over; none where there is to be no record.
    pub(super) expected: Option<Number>,
    pub(super) value: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) version: Number,
}

/// What went wrong, for the reader.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wrong {
    pub(super) error: String,
}

/// A version, as text: not every reader of JSON knows numbers of 64 bits.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Number(pub(super) Version);

impl From<Number> for String {
    fn from(Number(Version(number)): Number) -> Self {
        number.to_string()
    }
}

impl TryFrom<String> for Number {
    type Error = std::num::ParseIntError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(|number| Self(Version(number)))
    }
}
