//! Amounts that a policy gives as a number or as a share: the kill budget, and what is left of GitHub's requests.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};
use std::{fmt, ops::RangeInclusive};

/// Defines the amounts from one table, so that all of them are written and read alike.
macro_rules! amounts {
    ($($(#[$doc:meta])* $name:ident, $shares:expr, $wanted:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $name {
                /// So many.
                Count(u32),
                /// This share, in percent.
                Percent(u8),
            }

            impl $name {
                /// The shares that it may be, in percent.
                pub(super) const SHARES: RangeInclusive<u8> = $shares;
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    match self {
                        Self::Count(count) => count.fmt(f),
                        Self::Percent(percent) => write!(f, "{percent}%"),
                    }
                }
            }

            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    match self {
                        Self::Count(count) => serializer.serialize_u32(*count),
                        Self::Percent(_) => serializer.collect_str(self),
                    }
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let amount = Amount {
                        wanted: $wanted,
                        shares: Self::SHARES,
                        count: Self::Count,
                        percent: Self::Percent,
                    };
                    deserializer.deserialize_any(amount)
                }
            }
        )*
    };
}

amounts! {
    /// A kill budget: how many permits one sweep may hand out. A share is of the runners asked about, from 1 to
    /// 100 percent.
    PermitBudget, 1..=100, "a number of runners, or a share of the fleet such as \"10%\"";
    /// How much of GitHub's hourly request limit is left to others. A share is from 0 to 90 percent.
    RequestReserve, 0..=90, "a number of requests, or a share of the limit from \"0%\" to \"90%\"";
}

impl PermitBudget {
    /// How many permits a sweep over `fleet` runners may hand out. A share is rounded down, but
    /// never to none.
    ///
    /// ```
    /// use scale_in_guard::policy::PermitBudget;
    /// assert_eq!(PermitBudget::Percent(10).permits(57), 5);
    /// assert_eq!(PermitBudget::Percent(10).permits(3), 1);
    /// assert_eq!(PermitBudget::Count(0).permits(57), 0);
    /// ```
    #[must_use]
    pub fn permits(self, fleet: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => (fleet.saturating_mul(usize::from(percent)) / 100).max(1),
        }
    }
}

impl RequestReserve {
    /// How many of `limit` requests are left to others. A share is rounded up.
    ///
    /// ```
    /// use scale_in_guard::policy::RequestReserve;
    /// assert_eq!(RequestReserve::Percent(10).requests(5_000), 500);
    /// assert_eq!(RequestReserve::Percent(10).requests(15), 2);
    /// assert_eq!(RequestReserve::Count(1_000).requests(5_000), 1_000);
    /// assert_eq!(RequestReserve::Count(1_000).requests(60), 60);
    /// ```
    #[must_use]
    pub fn requests(self, limit: u64) -> u64 {
        let requests = match self {
            Self::Count(count) => u64::from(count),
            Self::Percent(percent) => {
                let percent = u64::from(percent);
                // In two parts, for no limit is too large to be reckoned with.
                let (hundreds, rest) = (limit / 100, limit % 100);
                hundreds
                    .saturating_mul(percent)
                    .saturating_add((rest * percent).div_ceil(100))
            }
        };
        requests.min(limit)
    }
}

impl Default for RequestReserve {
    fn default() -> Self {
        Self::Percent(10)
    }
}

/// Reads an amount.
struct Amount<T> {
    wanted: &'static str,
    shares: RangeInclusive<u8>,
    count: fn(u32) -> T,
    percent: fn(u8) -> T,
}

impl<T> Visitor<'_> for Amount<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted)
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<T, E> {
        u32::try_from(count)
            .map(self.count)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(count), &self))
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<T, E> {
        match u64::try_from(count) {
            Ok(count) => self.visit_u64(count),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(count), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.strip_suffix('%')
            .map(str::trim_end)
            // A sign is no digit.
            .filter(|percent| percent.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|percent| percent.parse().ok())
            .filter(|percent| self.shares.contains(percent))
            .map(self.percent)
            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}
