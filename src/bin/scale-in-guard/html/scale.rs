//! The time axis: where an instant lies, which instants get a tick, and which quiet stretches are
//! squeezed so that what happened before and after them can still be seen.

use chrono::TimeDelta;
use scale_in_guard::time::Instant;
use std::{iter, time::Duration};

/// A quiet stretch is squeezed when it is longer than this and than twice all shorter ones together.
const QUIET_MS: i64 = 30 * 60_000;

/// What is left free before the first and after the last event, at the least.
const MARGIN_MS: i64 = 15_000;

/// How wide a squeezed stretch is, in percent of the axis.
const SQUEEZED: f64 = 6.0;

/// How far apart two labels are, at the least.
const LABEL: f64 = 8.5;

const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;

/// The distances that ticks may have, in seconds; beyond a year by tens.
const STEPS: [i64; 20] = [
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    10_800,
    21_600,
    43_200,
    DAY,
    7 * DAY,
    30 * DAY,
];

/// A stretch of the axis on which time runs evenly. Places are percents of its width.
pub(super) struct Section {
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) squeezed: bool,
}

pub(super) struct Scale {
    pub(super) sections: Vec<Section>,
}

/// A line across the picture, with its label where there is room for one.
pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) time: Option<String>,
    pub(super) date: Option<String>,
}

impl Scale {
    /// An axis for events at these instants, which are sorted. `None` without any.
    pub(super) fn new(times: &[Instant]) -> Option<Self> {
        let (first, last) = (*times.first()?, *times.last()?);
        let gaps = || times.iter().copied().zip(times.iter().copied().skip(1));
        let quiet = quiet(gaps().map(|(a, b)| span(a, b)).collect());
        let busy_ms = gaps()
            .map(|(a, b)| span(a, b))
            .filter(|&ms| ms < quiet)
            .fold(0, i64::saturating_add);
        let margin = (busy_ms / 50).max(MARGIN_MS);
        let mut sections = Vec::new();
        let mut start = shift(first, -margin);
        for (a, b) in gaps().filter(|&(a, b)| span(a, b) >= quiet) {
            let (from, to) = (shift(a, margin), shift(b, -margin));
            sections.push(section(start, from, false));
            sections.push(section(from, to, true));
            start = to;
        }
        sections.push(section(start, shift(last, margin), false));
        place(&mut sections);
        Some(Self { sections })
    }

    pub(super) fn start(&self) -> Instant {
        self.sections
            .first()
            .map_or(Instant::MIN_UTC, |section| section.from)
    }

    pub(super) fn end(&self) -> Instant {
        self.sections
            .last()
            .map_or(Instant::MAX_UTC, |section| section.to)
    }

    /// Where this instant lies, from 0 to 100.
    pub(super) fn x(&self, at: Instant) -> f64 {
        let index = self.sections.partition_point(|section| section.to < at);
        let Some(section) = self.sections.get(index) else {
            return 100.0;
        };
        let part = ratio(
            span(section.from, at.max(section.from)),
            span(section.from, section.to),
        );
        section.x + section.width * part
    }

    /// Round instants, evenly spaced, and at least one between any two squeezed stretches.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let even = |section: &&Section| !section.squeezed;
        let (ms, width) =
            self.sections
                .iter()
                .filter(even)
                .fold((0_i64, 0.0), |(ms, width), section| {
                    let more = span(section.from, section.to);
                    (ms.saturating_add(more), width + section.width)
                });
        let step = step(width / to_float(ms.max(1)) * 1_000.0);
        let mut ticks = Ticks::default();
        for section in self.sections.iter().filter(even) {
            let mut times = multiples(section, step);
            if times.is_empty() {
                times.push(shift(section.from, span(section.from, section.to) / 2));
            }
            for at in times {
                ticks.add(at, self.x(at), step);
            }
        }
        ticks.ticks
    }
}

#[derive(Default)]
struct Ticks {
    ticks: Vec<Tick>,
    labelled: Option<f64>,
    date: Option<Instant>,
}

impl Ticks {
    fn add(&mut self, at: Instant, x: f64, step: i64) {
        let room = self.labelled.is_none_or(|before| x - before >= LABEL);
        let mut tick = Tick {
            x,
            time: None,
            date: None,
        };
        if room {
            let exact = step < 60 || at.timestamp() % 60 != 0;
            let form = if exact { "%H:%M:%S" } else { "%H:%M" };
            tick.time = Some(at.format(form).to_string());
            tick.date = self.new_date(at);
            self.labelled = Some(x);
        }
        self.ticks.push(tick);
    }

    fn new_date(&mut self, at: Instant) -> Option<String> {
        let form = match self.date {
            Some(before) if before.date_naive() == at.date_naive() => return None,
            Some(before) if before.format("%Y").to_string() == at.format("%Y").to_string() => {
                "%m-%d"
            }
            _ => "%Y-%m-%d",
        };
        self.date = Some(at);
        Some(at.format(form).to_string())
    }
}

/// From how many milliseconds on a quiet stretch is squeezed.
fn quiet(mut gaps: Vec<i64>) -> i64 {
    gaps.sort_unstable();
    let mut shorter = 0_i64;
    for gap in gaps {
        if gap > QUIET_MS && gap > shorter.saturating_mul(2) {
            return gap;
        }
        shorter = shorter.saturating_add(gap);
    }
    i64::MAX
}

fn section(from: Instant, to: Instant, squeezed: bool) -> Section {
    Section {
        from,
        to,
        x: 0.0,
        width: 0.0,
        squeezed,
    }
}

fn place(sections: &mut [Section]) {
    let squeezed = sections.iter().filter(|section| section.squeezed).count();
    let each = SQUEEZED.min(50.0 / to_float(i64::try_from(squeezed.max(1)).unwrap_or(i64::MAX)));
    let even_ms = sections
        .iter()
        .filter(|section| !section.squeezed)
        .map(|section| span(section.from, section.to))
        .fold(0, i64::saturating_add);
    let left = sections
        .iter()
        .filter(|section| section.squeezed)
        .fold(100.0, |left, _| left - each);
    let mut x = 0.0;
    for section in sections {
        section.x = x;
        section.width = match section.squeezed {
            true => each,
            false => left * ratio(span(section.from, section.to), even_ms),
        };
        x += section.width;
    }
}

/// How many seconds lie between two ticks, where a second is this wide.
fn step(second: f64) -> i64 {
    let tens = iter::successors(Some(YEAR), |step| step.checked_mul(10));
    STEPS
        .into_iter()
        .chain(tens)
        .find(|&step| to_float(step) * second >= LABEL)
        .unwrap_or(i64::MAX)
}

fn multiples(section: &Section, step: i64) -> Vec<Instant> {
    let first = section
        .from
        .timestamp()
        .div_euclid(step)
        .checked_add(1)
        .and_then(|count| count.checked_mul(step));
    iter::successors(first, |at| at.checked_add(step))
        .map_while(|at| Instant::from_timestamp(at, 0))
        .take_while(|&at| at <= section.to)
        .collect()
}

/// From one instant to another, in milliseconds; nothing when the second lies before.
pub(super) fn span(from: Instant, to: Instant) -> i64 {
    to.signed_duration_since(from).num_milliseconds().max(0)
}

/// A span in words: `7m 40s`.
pub(super) fn lasted(ms: i64) -> String {
    let seconds = u64::try_from(ms / 1_000).unwrap_or(0);
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// A long span in a few letters: `5 d`.
pub(super) fn roughly(ms: i64) -> String {
    let hours = (ms + 1_800_000) / 3_600_000;
    match hours {
        0..2 => format!("{} min", ms / 60_000),
        2..36 => format!("{hours} h"),
        _ => format!("{} d", (hours + 12) / 24),
    }
}

fn shift(at: Instant, ms: i64) -> Instant {
    at.checked_add_signed(TimeDelta::milliseconds(ms))
        .unwrap_or(at)
}

fn ratio(part: i64, whole: i64) -> f64 {
    to_float(part) / to_float(whole.max(1))
}

/// A picture needs no exact milliseconds.
#[allow(clippy::cast_precision_loss)]
fn to_float(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(times: &[&str]) -> Vec<Instant> {
        times.iter().map(|time| time.parse().unwrap()).collect()
    }

    #[test]
    fn without_events_there_is_no_axis() {
        assert!(Scale::new(&[]).is_none());
    }

    #[test]
    fn one_event_lies_in_the_middle() {
        let at = times(&["2026-06-01T00:00:00Z"]);
        let scale = Scale::new(&at).unwrap();
        assert!((scale.x(at[0]) - 50.0).abs() < 1e-9);
        assert!(scale.ticks().iter().any(|tick| tick.time.is_some()));
    }

    #[test]
    fn long_quiet_stretches_are_squeezed() {
        let at = times(&[
            "2026-06-01T06:00:00Z",
            "2026-06-01T06:10:00Z",
            "2026-06-06T07:50:00Z",
            "2026-06-06T08:00:00Z",
        ]);
        let scale = Scale::new(&at).unwrap();
        assert_eq!(scale.sections.len(), 3);
        let places: Vec<f64> = at.iter().map(|&at| scale.x(at)).collect();
        assert!(places.is_sorted());
        assert!(places[1] > 40.0 && places[2] < 60.0, "{places:?}");
        let dates: Vec<_> = scale.ticks().into_iter().filter_map(|t| t.date).collect();
        assert_eq!(dates, ["2026-06-01", "06-06"]);
    }

    #[test]
    fn the_ends_of_time_have_an_axis() {
        let scale = Scale::new(&[Instant::MIN_UTC, Instant::MAX_UTC]).unwrap();
        assert!(scale.ticks().len() < 40);
        let scale = Scale::new(&[Instant::MIN_UTC, Instant::UNIX_EPOCH, Instant::MAX_UTC]).unwrap();
        for section in &scale.sections {
            assert!(section.x.is_finite() && section.width.is_finite());
        }
        assert!(scale.ticks().len() < 40);
    }
}
