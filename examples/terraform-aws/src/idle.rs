//! How many idle runners are kept, and when: the module's `SCALE_DOWN_CONFIG`.

use croner::{
    Cron,
    parser::{CronParser, Seconds},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use scale_in_guard::time::Instant;
use serde::{Deserialize, de::IgnoredAny};
use std::str::FromStr;
use thiserror::Error;

/// A period counts while its cron pattern fires within so long: the module's own measure.
const SOON: SignedDuration = SignedDuration::from_secs(5);

/// How many runners of each owner are kept idle, and which of them go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Keep {
    /// How many are kept.
    pub(crate) count: usize,
    /// Which of the others go first.
    pub(crate) eviction: Eviction,
}

/// Which idle runners go first; the others are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Eviction {
    /// Those launched first.
    #[default]
    OldestFirst,
    /// Those launched last.
    NewestFirst,
}

/// The periods in which idle runners are kept. The first that counts is the one; outside of all, none are kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Idle {
    periods: Vec<Period>,
}

#[derive(Debug, Clone)]
struct Period {
    cron: Cron,
    zone: TimeZone,
    keep: Keep,
}

/// Why `SCALE_DOWN_CONFIG` was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum IdleError {
    /// It is not the JSON that the module writes.
    #[error(
        "{0}; the module writes it from idle_config, as [{{\"cron\":…,\"timeZone\":…,\"idleCount\":…}}]"
    )]
    Json(String),
    /// A cron pattern cannot be one.
    #[error("the cron pattern {pattern:?} of period {number} cannot be one: {why}")]
    Cron {
        /// Which period, from 1.
        number: usize,
        /// The pattern.
        pattern: String,
        /// Why not.
        why: String,
    },
    /// A time zone is not known.
    #[error("the time zone {name:?} of period {number} is not known; write it as Europe/Amsterdam")]
    Zone {
        /// Which period, from 1.
        number: usize,
        /// The zone.
        name: String,
    },
}

/// A period as the module writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PeriodJson {
    cron: String,
    time_zone: String,
    idle_count: usize,
    #[serde(default)]
    eviction_strategy: Option<Eviction>,
    /// Which kind of compute the module scales.
    #[serde(default, rename = "type")]
    _type: Option<IgnoredAny>,
}

impl FromStr for Idle {
    type Err = IdleError;

    fn from_str(json: &str) -> Result<Self, IdleError> {
        let periods: Option<Vec<PeriodJson>> =
            serde_json::from_str(json).map_err(|error| IdleError::Json(error.to_string()))?;
        let periods = periods.unwrap_or_default().into_iter().zip(1..);
        let periods = periods.map(|(period, number)| Period::read(period, number));
        Ok(Self {
            periods: periods.collect::<Result<_, _>>()?,
        })
    }
}

impl Idle {
    /// What is kept now.
    pub(crate) fn at(&self, now: Instant) -> Keep {
        let mut periods = self.periods.iter().filter(|period| period.counts(now));
        periods
            .next()
            .map_or_else(Keep::default, |period| period.keep)
    }
}

impl Period {
    fn read(period: PeriodJson, number: usize) -> Result<Self, IdleError> {
        // As the module's parser, it takes five fields and, with seconds, six.
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser
            .parse(&period.cron)
            .map_err(|error| IdleError::Cron {
                number,
                pattern: period.cron.clone(),
                why: error.to_string(),
            })?;
        let zone = TimeZone::get(&period.time_zone).map_err(|_| IdleError::Zone {
            number,
            name: period.time_zone,
        })?;
        Ok(Self {
            cron,
            zone,
            keep: Keep {
                count: period.idle_count,
                eviction: period.eviction_strategy.unwrap_or_default(),
            },
        })
    }

    /// Whether it fires soon.
    fn counts(&self, now: Instant) -> bool {
        let Ok(now) = Timestamp::from_millisecond(now.timestamp_millis()) else {
            return false;
        };
        let next = self
            .cron
            .find_next_occurrence(&now.to_zoned(self.zone.clone()), false);
        next.is_ok_and(|next| next.timestamp().duration_since(now) < SOON)
    }
}

/// An idle instance: its name, and when it was launched.
pub(crate) type Launched<'a> = (&'a str, Option<Instant>);

impl Keep {
    /// Which of these idle instances are kept. One whose launch is not known goes last, for nobody knows how old it is.
    pub(crate) fn choose<'a>(self, idle: impl IntoIterator<Item = Launched<'a>>) -> Vec<&'a str> {
        let mut idle: Vec<_> = idle.into_iter().collect();
        idle.sort_by(|(a_name, a), (b_name, b)| {
            let by_launch = match self.eviction {
                Eviction::OldestFirst => b.cmp(a),
                Eviction::NewestFirst => a.cmp(b),
            };
            let unknown_first = b.is_none().cmp(&a.is_none());
            unknown_first
                .then(by_launch)
                .then_with(|| a_name.cmp(b_name))
        });
        idle.into_iter()
            .take(self.count)
            .map(|(name, _)| name)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    fn of_one(cron: &str, zone: &str) -> Idle {
        format!(r#"[{{"cron":"{cron}","timeZone":"{zone}","idleCount":2}}]"#)
            .parse()
            .unwrap()
    }

    #[test]
    fn a_period_counts_while_its_pattern_fires_within_five_seconds() {
        let office = "* * 9-17 * * 1-5";
        for (cron, zone, now, counts) in [
            // 2026-05-14 is a Thursday; Amsterdam is two hours ahead then.
            (office, "Europe/Amsterdam", "2026-05-14T07:00:00Z", true),
            (office, "Europe/Amsterdam", "2026-05-14T06:59:56Z", true),
            (office, "Europe/Amsterdam", "2026-05-14T06:59:55.001Z", true),
            (office, "Europe/Amsterdam", "2026-05-14T06:59:55Z", false),
            (office, "Europe/Amsterdam", "2026-05-14T15:59:58.999Z", true),
            (office, "Europe/Amsterdam", "2026-05-14T15:59:59Z", false),
            (office, "UTC", "2026-05-14T07:00:00Z", false),
            (office, "UTC", "2026-05-14T17:00:00Z", true),
            // In winter it is one.
            (office, "Europe/Amsterdam", "2026-01-15T07:30:00Z", false),
            (office, "Europe/Amsterdam", "2026-01-15T08:00:00Z", true),
            // Saturday; and Sunday, which is 0 and 7.
            (office, "UTC", "2026-05-16T10:00:00Z", false),
            ("* * * * * 0", "UTC", "2026-05-17T10:00:00Z", true),
            ("* * * * * 7", "UTC", "2026-05-17T10:00:00Z", true),
            ("* * * * * 1", "UTC", "2026-05-17T10:00:00Z", false),
            ("* * * * * SUN", "UTC", "2026-05-17T10:00:00Z", true),
            // It is Monday in Tokyo already.
            ("* * * * * 1", "Asia/Tokyo", "2026-05-17T20:00:00Z", true),
            // Five fields fire at full minutes only.
            ("* * * * *", "UTC", "2026-05-14T10:00:10Z", false),
            ("* * * * *", "UTC", "2026-05-14T10:00:57Z", true),
            ("*/10 * * * * *", "UTC", "2026-05-14T10:00:06Z", true),
            ("*/10 * * * * *", "UTC", "2026-05-14T10:00:04Z", false),
        ] {
            let keep = of_one(cron, zone).at(at(now));
            assert_eq!(
                keep.count,
                if counts { 2 } else { 0 },
                "{cron} {zone} {now}"
            );
        }
    }

    #[test]
    fn a_night_in_which_the_clock_is_put_back_keeps_as_ever() {
        // 03:00 in summer becomes 02:00 in winter, at 01:00 UTC.
        let night = of_one("* * 2 * * *", "Europe/Amsterdam");
        for now in ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"] {
            assert_eq!(night.at(at(now)).count, 2, "{now}");
        }
        assert_eq!(night.at(at("2026-10-25T02:30:00Z")).count, 0);
    }

    #[test]
    fn the_first_period_that_counts_is_the_one() {
        let idle: Idle = r#"[
            {"cron": "* * 9-17 * * *", "timeZone": "UTC", "idleCount": 5, "evictionStrategy": "newest_first"},
            {"cron": "* * * * * *", "timeZone": "UTC", "idleCount": 1, "evictionStrategy": null, "type": "ec2"}
        ]"#
        .parse()
        .unwrap();
        let keep = |count, eviction| Keep { count, eviction };
        let by_day = idle.at(at("2026-05-14T10:00:00Z"));
        assert_eq!(by_day, keep(5, Eviction::NewestFirst));
        let by_night = idle.at(at("2026-05-14T20:00:00Z"));
        assert_eq!(by_night, keep(1, Eviction::OldestFirst));
        for none in ["[]", "null"] {
            let none: Idle = none.parse().unwrap();
            assert_eq!(none.at(at("2026-05-14T10:00:00Z")), Keep::default());
        }
    }

    #[test]
    fn what_is_no_config_is_refused_with_what_is_wrong() {
        let period = |cron: &str, zone: &str, more: &str| {
            format!(r#"[{{"cron":"{cron}","timeZone":"{zone}","idleCount":1{more}}}]"#)
        };
        for (json, says) in [
            ("", "idle_config"),
            ("{}", "idle_config"),
            (r#"[{"cron":"* * * * * *","timeZone":"UTC"}]"#, "idleCount"),
            (
                r#"[{"cron":"* * * * * *","timeZone":"UTC","idleCount":-1}]"#,
                "idle_config",
            ),
            (&period("never", "UTC", ""), "period 1"),
            (&period("* * 25 * * *", "UTC", ""), "period 1"),
            (&period("* * * * * *", "Europe/Atlantis", ""), "Atlantis"),
            (
                &period("* * * * * *", "UTC", r#","evictionStrategy":"random""#),
                "random",
            ),
            (
                &period("* * * * * *", "UTC", r#","idelCount":2"#),
                "idelCount",
            ),
        ] {
            let refused = json.parse::<Idle>().unwrap_err().to_string();
            assert!(refused.contains(says), "{json}: {refused}");
        }
    }

    #[test]
    fn those_that_would_go_last_are_kept() {
        let oldest = Some(at("2026-05-14T01:00:00Z"));
        let middle = Some(at("2026-05-14T02:00:00Z"));
        let newest = Some(at("2026-05-14T03:00:00Z"));
        let idle = [("o", oldest), ("n", newest), ("m", middle)];
        for (count, eviction, kept) in [
            (0, Eviction::OldestFirst, &[][..]),
            (1, Eviction::OldestFirst, &["n"]),
            (2, Eviction::OldestFirst, &["n", "m"]),
            (2, Eviction::NewestFirst, &["o", "m"]),
            (9, Eviction::NewestFirst, &["o", "m", "n"]),
        ] {
            let keep = Keep { count, eviction };
            assert_eq!(keep.choose(idle), kept, "{keep:?}");
        }
        let unknown = Keep {
            count: 1,
            eviction: Eviction::OldestFirst,
        };
        assert_eq!(unknown.choose([("n", newest), ("?", None)]), ["?"]);
    }
}
