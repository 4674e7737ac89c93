//! Arithmetic on instants that cannot panic, and how instants and spans are written for people.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use std::fmt;
#[cfg(feature = "guard")]
use std::time::SystemTime;

/// An instant, always UTC.
pub type Instant = DateTime<Utc>;

/// An instant of the system, such as a file's date, held at the ends of the representable range: a file may have any.
#[cfg(feature = "guard")]
pub(crate) fn from_system(at: SystemTime) -> Instant {
    let span = |span| TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
    let since = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => span(since),
        Err(before) => -span(before.duration()),
    };
    after(Instant::UNIX_EPOCH, since)
}

/// `instant + span`, held at the ends of the representable range instead of overflowing.
pub(crate) fn after(instant: Instant, span: TimeDelta) -> Instant {
    instant
        .checked_add_signed(span)
        .unwrap_or(if span > TimeDelta::zero() {
            Instant::MAX_UTC
        } else {
            Instant::MIN_UTC
        })
}

/// How long ago `earlier` was at `now`; negative when it lies ahead.
pub(crate) fn age(now: Instant, earlier: Instant) -> TimeDelta {
    now.signed_duration_since(earlier)
}

/// How far another clock is ahead of ours, by the date on an answer that was given between our asking and our
/// receipt; negative where it is behind.
#[cfg(feature = "github")]
pub(crate) fn ahead_of(date: Instant, asked_at: Instant, received_at: Instant) -> TimeDelta {
    let ahead = age(date, received_at);
    match ahead > TimeDelta::zero() {
        true => ahead,
        false => age(date, asked_at).min(TimeDelta::zero()),
    }
}

/// The later of two instants, either of which may be unknown.
pub(crate) fn latest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.max(b)
}

/// Writes an instant as RFC 3339, to the second.
pub(crate) struct At(pub(crate) Instant);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

/// Writes a span with its two largest units, to the second: `2h 5m`, `4m 31s`, `0s`.
pub(crate) struct Span(pub(crate) TimeDelta);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.num_seconds();
        if left < 0 {
            f.write_str("-")?;
            left = left.saturating_neg();
        }
        let mut written = 0;
        for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
            let count = left / seconds;
            left %= seconds;
            if count > 0 && written < 2 {
                if written > 0 {
                    f.write_str(" ")?;
                }
                write!(f, "{count}{unit}")?;
                written += 1;
            } else if written > 0 {
                break;
            }
        }
        if written == 0 {
            f.write_str("0s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_with_its_two_largest_units() {
        for (seconds, written) in [
            (0, "0s"),
            (-90, "-1m 30s"),
            (59, "59s"),
            (60, "1m"),
            (271, "4m 31s"),
            (3_600, "1h"),
            (3_601, "1h"),
            (7_500, "2h 5m"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(Span(TimeDelta::seconds(seconds)).to_string(), written);
        }
    }

    #[cfg(feature = "guard")]
    #[test]
    fn any_instant_of_the_system_is_one_of_ours() {
        use std::time::Duration;

        let epoch = SystemTime::UNIX_EPOCH;
        let nanos = |nanos| Duration::from_nanos(nanos);
        for (at, expected) in [
            (epoch, "1970-01-01T00:00:00Z"),
            (epoch + nanos(1), "1970-01-01T00:00:00.000000001Z"),
            (epoch - nanos(1), "1969-12-31T23:59:59.999999999Z"),
            (
                epoch + Duration::from_secs(1_778_724_000),
                "2026-05-14T02:00:00Z",
            ),
        ] {
            assert_eq!(Ok(from_system(at)), expected.parse());
        }
        // What chrono's own conversion panics at, and what its spans cannot hold.
        for seconds in [1_000_000_000_000_000, 9_223_372_036_854_775_807] {
            let span = Duration::from_secs(seconds);
            for (at, end) in [
                (epoch.checked_add(span), Instant::MAX_UTC),
                (epoch.checked_sub(span), Instant::MIN_UTC),
            ] {
                assert!(at.is_none_or(|at| from_system(at) == end), "{at:?}");
            }
        }
    }

    #[test]
    fn nothing_done_with_the_ends_of_time_panics() {
        let (first, last) = (Instant::MIN_UTC, Instant::MAX_UTC);
        for (now, earlier) in [(first, last), (last, first), (last, last)] {
            let age = age(now, earlier);
            assert_eq!(after(earlier, age), now);
            assert!(!Span(age).to_string().is_empty());
            assert!(!At(now).to_string().is_empty());
        }
        assert_eq!(after(last, TimeDelta::MAX), last);
        assert_eq!(after(first, TimeDelta::MIN), first);
    }

    #[test]
    fn adding_past_the_end_of_time_stays_there() {
        assert_eq!(
            after(Instant::MAX_UTC, TimeDelta::seconds(1)),
            Instant::MAX_UTC
        );
        assert_eq!(
            after(Instant::MIN_UTC, TimeDelta::seconds(-1)),
            Instant::MIN_UTC
        );
    }
}
