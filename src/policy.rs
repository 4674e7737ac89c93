//! The policy: how long things are waited for, and what counts as corroboration.

mod amount;

pub use amount::{PermitBudget, RequestReserve};

use crate::time::{Instant, after};
use chrono::TimeDelta;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
    ser::SerializeMap,
};
use std::{fmt, time::Duration};
use thiserror::Error;

/// No period may be longer than this; a longer one is a typing error.
const LONGEST: TimeDelta = TimeDelta::days(366);

/// What is left of a drain's ten minutes is for the second look.
const LONGEST_SETTLE: TimeDelta = TimeDelta::minutes(8);

/// A permit that outlives this is not "look, then act", and a read that is older is no look.
const LONGEST_LOOK: TimeDelta = TimeDelta::minutes(10);

/// Which independent witnesses must say *vacant* before a permit, beside the `busy` flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Corroboration {
    /// The jobs view or the lease.
    #[default]
    Any,
    /// The jobs view.
    Jobs,
    /// The lease.
    Lease,
    /// The jobs view and the lease.
    Both,
}

/// Who must deny a `busy: true` for [`Policy::stale_busy_after`] before it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StaleBusyBy {
    /// A live beacon that reports no job, beside a complete view of the jobs that shows none.
    #[default]
    Beacon,
    /// Such a view alone. For fleets without beacons whose runners GitHub shows busy for ever.
    Jobs,
}

/// Why a policy was refused. Every message names the key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A period that must be positive is not, or one is negative or absurdly long.
    #[error("{key}: {found} is out of range: {wanted}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// Two keys contradict each other.
    #[error("{key} ({value}) and {other} ({other_value}) contradict each other: {why}")]
    Contradiction {
        /// One key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The other key.
        other: &'static str,
        /// Its value.
        other_value: String,
        /// What would never work.
        why: &'static str,
    },
}

/// Reads a period as people write it (`"5m"`, `"1h 30m"`).
///
/// # Errors
/// A sentence that says what was found instead.
pub(crate) fn parse_period(text: &str) -> Result<TimeDelta, String> {
    if text.trim_start().starts_with('-') {
        return Err(format!("{text:?} is negative; a period is such as \"5m\""));
    }
    let std = humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is no period such as \"5m\" or \"1h 30m\": {error}"))?;
    TimeDelta::from_std(std).map_err(|_| format!("{text:?} is too long a period"))
}

/// The sum of two periods, which an unchecked policy may have made absurdly long.
fn sum(a: TimeDelta, b: TimeDelta) -> TimeDelta {
    a.checked_add(&b).unwrap_or(TimeDelta::MAX)
}

/// Writes a period as [`parse_period`] reads it.
fn period(value: TimeDelta) -> String {
    match value.to_std() {
        Ok(std) => humantime::format_duration(std).to_string(),
        Err(_) => {
            let positive = value.abs().to_std().unwrap_or(Duration::MAX);
            format!("-{}", humantime::format_duration(positive))
        }
    }
}

/// Defines [`Policy`] from one table, so that the struct, its defaults, its keys and its text form
/// cannot drift apart.
macro_rules! policy {
    ($($(#[$doc:meta])* $key:ident = $default:expr;)*) => {
        /// What the guard waits for, how long, and whom it believes. A plain struct: change what
        /// you need, and hand it to [`Engine::new`](crate::Engine::new), which checks it.
        ///
        /// In a file, periods are written as people write them, and an unknown key is refused:
        ///
        /// ```
        /// use chrono::TimeDelta;
        /// use scale_in_guard::Policy;
        ///
        /// let policy: Policy = serde_json::from_str(r#"{"grace": "10m", "corroboration": "both"}"#)?;
        /// assert_eq!(policy.grace, TimeDelta::minutes(10));
        ///
        /// let refused = serde_json::from_str::<Policy>(r#"{"grace": "-10m"}"#).unwrap_err();
        /// assert!(refused.to_string().starts_with("grace: "));
        /// # Ok::<(), serde_json::Error>(())
        /// ```
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Policy {
            $($(#[$doc])* pub $key: TimeDelta,)*
            /// How long a gap between two looks may be before what they saw no longer adds up: a
            /// whole job could hide in a longer one. Not less than `grace`. `None`, the default,
            /// is the larger of 10 minutes and twice `grace`. A caller that looks less often never
            /// gets a permit, unless a live beacon watched in the meantime.
            pub max_observation_gap: Option<TimeDelta>,
            /// Who must corroborate a `busy: false`. Default: [`Corroboration::Any`].
            pub corroboration: Corroboration,
            /// Who must deny a stale `busy: true`. Default: [`StaleBusyBy::Beacon`].
            pub stale_busy_by: StaleBusyBy,
            /// A kill budget: `5`, or `"10%"` of the runners a sweep asks about. Default: none.
            pub max_permits_per_sweep: Option<PermitBudget>,
            /// How much of GitHub's hourly request limit the guard's reads leave to others: `500`, or a share.
            /// Default: `"10%"`, for the autoscaler that shares the token needs it to start runners.
            pub request_reserve: RequestReserve,
        }

        impl Default for Policy {
            fn default() -> Self {
                Self {
                    $($key: $default,)*
                    max_observation_gap: None,
                    corroboration: Corroboration::Any,
                    stale_busy_by: StaleBusyBy::Beacon,
                    max_permits_per_sweep: None,
                    request_reserve: RequestReserve::default(),
                }
            }
        }

        impl Policy {
            /// The keys of a policy file.
            pub const KEYS: &'static [&'static str] = &[
                $(stringify!($key),)* "max_observation_gap", "corroboration", "stale_busy_by", "max_permits_per_sweep",
                "request_reserve",
            ];

            fn periods(&self) -> impl Iterator<Item = (&'static str, TimeDelta)> {
                [$((stringify!($key), Some(self.$key)),)* ("max_observation_gap", self.max_observation_gap)]
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, value?)))
            }

            fn period_mut(&mut self, key: &str) -> Option<&mut TimeDelta> {
                match key {
                    $(stringify!($key) => Some(&mut self.$key),)*
                    "max_observation_gap" => Some(self.max_observation_gap.get_or_insert_default()),
                    _ => None,
                }
            }
        }
    };
}

policy! {
    /// How long a runner must have been vacant before it may go. Default 5 minutes: the
    /// assignment lag seen is 25 to 60 seconds and more (terraform-aws-github-runner#5085, #5228), the usual sweep 5 minutes.
    grace = TimeDelta::minutes(5);
    /// How long a runner is left alone after it came up. Default 2 minutes: runners were removed
    /// about 10 seconds after they began to listen (actions-runner-controller#4000).
    min_age = TimeDelta::minutes(2);
    /// How long a queued job that this runner could take holds it: it may be on its way here.
    /// Default 90 seconds: a job not picked up within 60 is queued again (GitHub's documentation of self-hosted runners).
    job_pending = TimeDelta::seconds(90);
    /// How long an instance may take to register. Default 10 minutes: slow boots; the 5 minutes of
    /// other autoscalers are too short for their users (terraform-aws-github-runner's `runner_boot_time_in_minutes`).
    registration_deadline = TimeDelta::minutes(10);
    /// How long a lease is live after its renewal. Default 10 minutes, set by GitHub's server
    /// (logs in actions/runner#1546, #3448, #4492). More than `beacon_ttl`.
    lease_ttl = TimeDelta::minutes(10);
    /// How much longer than its lease a worker may run on. Default 5 minutes: the runner's own
    /// retry window (`JobDispatcher.cs`, `LockedUntil` + 5 minutes).
    lease_overrun = TimeDelta::minutes(5);
    /// How long a beacon may be silent and count as alive. Default 60 seconds: four heartbeats.
    beacon_ttl = TimeDelta::seconds(60);
    /// How old a read may be and still be evidence. Default 30 seconds (terraform-aws-github-runner#5085: a 7-second race
    /// killed jobs).
    evidence_max_age = TimeDelta::seconds(30);
    /// How long a registered runner must have been offline to be given up. Default 15 minutes:
    /// `lease_ttl` and `lease_overrun`; jobs do run on runners that REST calls offline.
    lost_after = TimeDelta::minutes(15);
    /// How long a `busy` flag must have been contradicted, or a worker process outlived its job,
    /// to be given up. Default 1 hour.
    stale_busy_after = TimeDelta::hours(1);
    /// How long a permit is good for. Default 10 seconds: look, then act.
    permit_ttl = TimeDelta::seconds(10);
    /// How long is waited between draining a runner and the last look. Default 90 seconds: more
    /// than the assignment lag, and more than `beacon_ttl`.
    settle = TimeDelta::seconds(90);
    /// How far ahead of ours the clock of a runner's host may be. Default 5 minutes: GitHub's own
    /// tolerance (`BrokerMessageListener.cs`). It only ever lengthens a lease.
    max_clock_skew = TimeDelta::minutes(5);
    /// How long one question may take in all. Default 10 seconds. Not more than `sweep_deadline`.
    ask_deadline = TimeDelta::seconds(10);
    /// How long one sweep may take in all. Default 5 minutes.
    sweep_deadline = TimeDelta::minutes(5);
}

/// Periods that may be zero: what they wait for can be waived. The others make nothing work.
const MAY_BE_ZERO: &[&str] = &[
    "grace",
    "min_age",
    "job_pending",
    "lease_overrun",
    "max_clock_skew",
];

impl Policy {
    /// The gap between two looks after which the windows start anew; see the field.
    #[must_use]
    pub fn observation_gap(&self) -> TimeDelta {
        self.max_observation_gap
            .unwrap_or_else(|| TimeDelta::minutes(10).max(sum(self.grace, self.grace)))
    }

    /// Since when a run of looks must have been prolonged not to be broken at `now`.
    pub(crate) fn kept_since(&self, now: Instant) -> Instant {
        after(now, -self.observation_gap())
    }

    /// How long after a beacon's last word a job that it knew of can still be running.
    pub(crate) fn silence_limit(&self) -> TimeDelta {
        sum(self.lease_ttl, self.lease_overrun)
    }

    /// Checks that every period is in range and that no two keys contradict each other.
    ///
    /// # Errors
    /// The first fault found, with the key or the two keys it concerns.
    pub fn validate(&self) -> Result<(), PolicyError> {
        for (key, value) in self.periods() {
            let may_be_zero = MAY_BE_ZERO.contains(&key);
            let too_short = value < TimeDelta::zero() || (value.is_zero() && !may_be_zero);
            if too_short || value > LONGEST {
                return Err(PolicyError::OutOfRange {
                    key,
                    found: period(value),
                    wanted: match (value > LONGEST, may_be_zero) {
                        (true, _) => "a period of a year at the most",
                        (false, true) => "no negative period",
                        (false, false) => "a period longer than nothing",
                    },
                });
            }
        }
        for (key, value) in [
            ("permit_ttl", self.permit_ttl),
            ("evidence_max_age", self.evidence_max_age),
        ] {
            if value > LONGEST_LOOK {
                return Err(PolicyError::OutOfRange {
                    key,
                    found: period(value),
                    wanted: "10 minutes at the most",
                });
            }
        }
        if let Some(budget @ PermitBudget::Percent(percent)) = self.max_permits_per_sweep
            && !PermitBudget::SHARES.contains(&percent)
        {
            return Err(PolicyError::OutOfRange {
                key: "max_permits_per_sweep",
                found: budget.to_string(),
                wanted: "a share from 1% to 100%",
            });
        }
        if let reserve @ RequestReserve::Percent(percent) = self.request_reserve
            && !RequestReserve::SHARES.contains(&percent)
        {
            return Err(PolicyError::OutOfRange {
                key: "request_reserve",
                found: reserve.to_string(),
                wanted: "a share from 0% to 90%",
            });
        }
        let gap = self.observation_gap();
        for (fine, (key, value), (other, other_value), why) in [
            (
                gap >= self.grace,
                ("max_observation_gap", gap),
                ("grace", self.grace),
                "a caller that asks again at the end of the grace window would find it started anew",
            ),
            (
                self.beacon_ttl < self.lease_ttl,
                ("beacon_ttl", self.beacon_ttl),
                ("lease_ttl", self.lease_ttl),
                "a lease would run out before its beacon is missed",
            ),
            (
                self.settle > self.beacon_ttl,
                ("settle", self.settle),
                ("beacon_ttl", self.beacon_ttl),
                "the last look would come before a beacon's silence can show",
            ),
            (
                self.settle < gap,
                ("settle", self.settle),
                ("max_observation_gap", gap),
                "the second look would come too late to go on with the first, and no drain would ever end",
            ),
            (
                self.ask_deadline <= self.sweep_deadline,
                ("ask_deadline", self.ask_deadline),
                ("sweep_deadline", self.sweep_deadline),
                "one question could not end within the sweep that asks it",
            ),
        ] {
            if !fine {
                return Err(PolicyError::Contradiction {
                    key,
                    value: period(value),
                    other,
                    other_value: period(other_value),
                    why,
                });
            }
        }
        if self.settle > LONGEST_SETTLE {
            return Err(PolicyError::OutOfRange {
                key: "settle",
                found: period(self.settle),
                wanted: "8 minutes at the most: a drain lapses 10 minutes after its last step",
            });
        }
        Ok(())
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.periods() {
            map.serialize_entry(key, &period(value))?;
        }
        map.serialize_entry("corroboration", &self.corroboration)?;
        map.serialize_entry("stale_busy_by", &self.stale_busy_by)?;
        if let Some(budget) = &self.max_permits_per_sweep {
            map.serialize_entry("max_permits_per_sweep", budget)?;
        }
        map.serialize_entry("request_reserve", &self.request_reserve)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Policy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a policy: a table of keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Policy, A::Error> {
                let mut policy = Policy::default();
                let mut given: Vec<String> = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    let named = |error: A::Error| A::Error::custom(format!("{key}: {error}"));
                    if given.contains(&key) {
                        return Err(A::Error::custom(format!("{key}: given twice")));
                    }
                    match key.as_str() {
                        // Of an earlier version, where it changed what is read: now all is.
                        "full_scan_every" => {
                            let text: String = map.next_value().map_err(named)?;
                            parse_period(&text)
                                .map_err(|why| A::Error::custom(format!("{key}: {why}")))?;
                        }
                        "corroboration" => {
                            policy.corroboration = map.next_value().map_err(named)?
                        }
                        "stale_busy_by" => {
                            policy.stale_busy_by = map.next_value().map_err(named)?
                        }
                        "max_permits_per_sweep" => {
                            policy.max_permits_per_sweep = map.next_value().map_err(named)?;
                        }
                        "request_reserve" => {
                            policy.request_reserve = map.next_value().map_err(named)?
                        }
                        _ => match policy.period_mut(&key) {
                            Some(slot) => {
                                let text: String = map.next_value().map_err(named)?;
                                *slot = parse_period(&text)
                                    .map_err(|why| A::Error::custom(format!("{key}: {why}")))?;
                            }
                            None => return Err(A::Error::unknown_field(&key, Policy::KEYS)),
                        },
                    }
                    given.push(key);
                }
                policy.validate().map_err(A::Error::custom)?;
                Ok(policy)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Policy, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_is_valid_and_reads_back() {
        let policy = Policy::default();
        policy.validate().unwrap();
        let written = serde_json::to_string(&policy).unwrap();
        assert_eq!(read(&written).unwrap(), policy);
        assert_eq!(read("{}").unwrap(), policy);
    }

    #[test]
    fn every_key_can_be_set() {
        for key in Policy::KEYS {
            let value = match *key {
                "corroboration" => "\"both\"",
                "stale_busy_by" => "\"jobs\"",
                "max_permits_per_sweep" => "\"10%\"",
                "request_reserve" => "500",
                "beacon_ttl" | "ask_deadline" => "\"61s\"",
                _ => "\"301s\"",
            };
            let policy = read(&format!("{{\"{key}\": {value}}}"));
            let policy = policy.unwrap_or_else(|error| panic!("{key}: {error}"));
            assert_ne!(policy, Policy::default(), "{key} has no effect");
        }
    }

    #[test]
    fn a_bad_value_is_refused_by_the_name_of_its_key() {
        for (json, key, says) in [
            (r#"{"grcae": "5m"}"#, "grcae", "unknown field"),
            (r#"{"grace": "-5m"}"#, "grace", "negative"),
            (r#"{"grace": 300}"#, "grace", "expected a string"),
            (r#"{"grace": "soon"}"#, "grace", "no period"),
            (r#"{"grace": "5"}"#, "grace", "no period"),
            (r#"{"grace": "400d"}"#, "grace", "a year"),
            (r#"{"grace": "9999999999999y"}"#, "grace", ""),
            (
                r#"{"permit_ttl": "0s"}"#,
                "permit_ttl",
                "longer than nothing",
            ),
            (r#"{"grace": "5m", "grace": "6m"}"#, "grace", "twice"),
            (
                r#"{"corroboration": "most"}"#,
                "corroboration",
                "unknown variant",
            ),
            (
                r#"{"max_permits_per_sweep": "101%"}"#,
                "max_permits_per_sweep",
                "10%",
            ),
            (
                r#"{"max_permits_per_sweep": "0%"}"#,
                "max_permits_per_sweep",
                "10%",
            ),
            (
                r#"{"max_permits_per_sweep": -1}"#,
                "max_permits_per_sweep",
                "-1",
            ),
            (
                r#"{"max_permits_per_sweep": "+5%"}"#,
                "max_permits_per_sweep",
                "10%",
            ),
            (r#"{"request_reserve": "91%"}"#, "request_reserve", "90%"),
            (r#"{"request_reserve": "%"}"#, "request_reserve", "90%"),
            (r#"{"request_reserve": "500"}"#, "request_reserve", "90%"),
            (r#"{"request_reserve": -1}"#, "request_reserve", "-1"),
            (r#"{"request_reserve": 0.1}"#, "request_reserve", "0.1"),
            (r#"{"request_reserve": null}"#, "request_reserve", "null"),
            (r#"{"settle": "8m 1s"}"#, "settle", "8 minutes at the most"),
        ] {
            let error = read(json).expect_err(json);
            assert!(
                error.contains(key) && error.contains(says),
                "{json}: {error}"
            );
        }
    }

    #[test]
    fn a_reserve_is_a_number_or_a_share_and_reads_back() {
        for (json, reserve, of_5000) in [
            (r#"{"request_reserve": 0}"#, RequestReserve::Count(0), 0),
            (r#"{"request_reserve": 7}"#, RequestReserve::Count(7), 7),
            (
                r#"{"request_reserve": "0%"}"#,
                RequestReserve::Percent(0),
                0,
            ),
            (
                r#"{"request_reserve": "90%"}"#,
                RequestReserve::Percent(90),
                4_500,
            ),
            ("{}", RequestReserve::Percent(10), 500),
        ] {
            let policy = read(json).expect(json);
            assert_eq!(policy.request_reserve, reserve, "{json}");
            assert_eq!(reserve.requests(5_000), of_5000, "{json}");
            let written = serde_json::to_string(&policy).unwrap();
            assert_eq!(read(&written).unwrap(), policy, "{json}");
        }
        let most = RequestReserve::Percent(90).requests(u64::MAX);
        assert!(most < u64::MAX && most > u64::MAX / 10 * 8);
        let unchecked = Policy {
            request_reserve: RequestReserve::Percent(91),
            ..Policy::default()
        };
        assert!(unchecked.validate().is_err());
    }

    #[test]
    fn a_contradiction_names_both_keys() {
        for (json, key, other) in [
            (
                r#"{"grace": "20m", "max_observation_gap": "15m"}"#,
                "max_observation_gap",
                "grace",
            ),
            (
                r#"{"beacon_ttl": "10m", "settle": "11m"}"#,
                "beacon_ttl",
                "lease_ttl",
            ),
            (r#"{"settle": "60s"}"#, "settle", "beacon_ttl"),
            (
                r#"{"settle": "5m", "max_observation_gap": "5m"}"#,
                "settle",
                "max_observation_gap",
            ),
            (
                r#"{"ask_deadline": "6m"}"#,
                "ask_deadline",
                "sweep_deadline",
            ),
        ] {
            let error = read(json).expect_err(json);
            assert!(
                error.contains(key) && error.contains(other),
                "{json}: {error}"
            );
        }
        assert!(read(r#"{"grace": "15m", "max_observation_gap": "15m"}"#).is_ok());
    }

    #[test]
    fn the_gap_follows_grace_unless_it_is_given() {
        assert_eq!(Policy::default().observation_gap(), TimeDelta::minutes(10));
        assert_eq!(
            read(r#"{"grace": "20m"}"#).unwrap().observation_gap(),
            TimeDelta::minutes(40)
        );
    }
}
