//! Reports that a scripted beacon repeats.

use super::{ScriptedLease, Word};
use crate::{
    lease::Report,
    time::{Instant, after},
};
use chrono::TimeDelta;

/// The reports that a scenario's beacon repeats, as far as the story has come. A later `lease` entry
/// cuts none of them short.
#[derive(Debug, Default)]
pub struct Beats<'s> {
    beats: Vec<Beat<'s>>,
}

#[derive(Debug)]
struct Beat<'s> {
    next: Instant,
    every: TimeDelta,
    until: Instant,
    word: &'s Word,
}

impl<'s> Beats<'s> {
    /// A lease entry of `now` begins to repeat itself, if it does. Its first report is not among the
    /// repeated ones.
    pub fn begin(&mut self, lease: &'s ScriptedLease, now: Instant) {
        if let Some((every, until)) = lease.every
            && after(now, every) <= until
        {
            self.beats.push(Beat {
                next: after(now, every),
                every,
                until,
                word: &lease.word,
            });
        }
    }

    /// The next report that is due up to `now`, in the order of time; `None` when none is left.
    pub fn due(&mut self, now: Instant) -> Option<(Instant, Report)> {
        let due = self
            .beats
            .iter()
            .enumerate()
            .filter(|(_, beat)| beat.next <= now);
        let (index, _) = due.min_by_key(|(_, beat)| beat.next)?;
        // It keeps its place: of two due at once the earlier entry's comes first.
        let beat = self.beats.get_mut(index)?;
        let due = (beat.next, beat.word.report());
        beat.next = after(beat.next, beat.every);
        if beat.next == due.0 || beat.next > beat.until {
            self.beats.remove(index);
        }
        Some(due)
    }
}
