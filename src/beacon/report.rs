//! Reporting: the beacon's word into the store, and the fence taken when a job starts.

use crate::{
    beat::Beat,
    clock::Clock,
    fence::{Fence, State},
    lease::Heartbeat,
    records::{ATTEMPTS, Kept, Over, Records},
    runner::{RunnerId, RunnerName, Scope},
    store::{Key, Kind, Store, StoreError, Swap, Version},
    time::{Instant, after},
};
use chrono::TimeDelta;
use std::sync::Arc;
use thiserror::Error;
use uuid::Uuid;

/// By so much a run begins later than one that it takes the place of.
const SOONER: TimeDelta = TimeDelta::milliseconds(1);

/// Who writes the heartbeat of one runner. There is one of it, in one process, on the runner's host.
#[derive(Debug)]
pub struct Reporter {
    records: Records,
    beat: Key,
    fence: Key,
    boot: Arc<str>,
    began_at: Instant,
    runner: Option<RunnerId>,
    /// The report that was last tried, and the version of the one that was last written.
    sequence: u64,
    version: Option<Version>,
    /// A job started, and its fence is not taken yet.
    to_take: bool,
}

/// Why a report was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The store could not be reached, or refused. The next report tells the present.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process reports this runner: it began after this one.
    #[error(
        "another beacon (its run {boot}) reports this runner since this one began; there must be one for each runner, end one of them"
    )]
    Superseded {
        /// Which run of a beacon.
        boot: Arc<str>,
    },
}

/// What is to be reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What the beacon knew at its last look.
    pub heartbeat: Heartbeat,
    /// Whether a job started since the last word that was reported.
    pub started: bool,
    /// Whether it is the last word.
    pub going: bool,
}

impl Reporter {
    /// A reporter of this runner, that begins at `now` on the clock of its host: of two, the one that began
    /// later reports.
    pub fn new(
        store: impl Store + 'static,
        scope: &Scope,
        runner: &RunnerName,
        id: Option<RunnerId>,
        now: Instant,
    ) -> Self {
        // What it writes is of every GitHub: it names no other record.
        let records = Records::new(Arc::new(store), crate::records::EVERY_GITHUB);
        Self {
            beat: records.of_host(scope, Kind::Heartbeat, runner),
            fence: records.of_host(scope, Kind::Fence, runner),
            records,
            boot: Uuid::new_v4().to_string().into(),
            began_at: now,
            runner: id,
            sequence: 0,
            version: None,
            to_take: false,
        }
    }

    /// Reports one word, by the clock that the heartbeat was kept by. Where a job started, its fence is taken
    /// first: a guard that reads one of the two records knows of the job by either.
    ///
    /// # Errors
    /// [`ReportError`] when it was not written, or nobody knows whether it was. Report the present again.
    pub async fn report(&mut self, word: &Word, clock: &dyn Clock) -> Result<(), ReportError> {
        // What a job took and left while nobody could be told need not be taken any more.
        self.to_take = (self.to_take || word.started) && word.heartbeat.leaves_job();
        if self.version.is_none() {
            self.catch_up().await?;
        }
        if self.to_take {
            let last = self.sequence;
            let take = |fence: &mut Fence| *fence = fence.take(last);
            self.records.update(&self.fence, take).await?;
            self.to_take = false;
        }
        for _ in 0..ATTEMPTS {
            self.sequence = self.sequence.saturating_add(1);
            let beat = Beat {
                boot: self.boot.clone(),
                began_at: self.began_at,
                sequence: self.sequence,
                runner: self.runner,
                // At the last moment: what passes from here to the store makes it seem younger than it is.
                sent_at: clock.now(),
                heartbeat: word.heartbeat.clone(),
                going: word.going,
            };
            // A report is all that is so: nothing of an earlier one stays.
            let over = Over::whole(self.version.take());
            match self.records.write(&self.beat, &over, &beat).await? {
                Swap::Done(version) => {
                    self.version = Some(version);
                    return Ok(());
                }
                // A write of ours of which we heard nothing, or another beacon.
                Swap::Conflict => self.catch_up().await?,
            }
        }
        Err(self.records.contended().into())
    }

    /// Reads what was last reported, to go on from there. A job that took the fence did so at a report that
    /// may have been lost since.
    async fn catch_up(&mut self) -> Result<(), ReportError> {
        let kept: Kept<Option<Beat>> = self.records.read_one(&self.beat).await?;
        let fence: Kept<Fence> = self.records.read_one(&self.fence).await?;
        if let Some(known) = &kept.value
            && known.boot != self.boot
        {
            if self.sequence == 0 {
                // The clock may have been set back since that one began.
                self.began_at = self.began_at.max(after(known.began_at, SOONER));
            } else if known.began_at > self.began_at {
                return Err(ReportError::Superseded {
                    boot: known.boot.clone(),
                });
            }
        }
        let taken = match fence.value.state() {
            State::Taken { sequence, .. } => *sequence,
            _ => 0,
        };
        let known = kept.value.map_or(0, |known| known.sequence);
        self.sequence = self.sequence.max(known).max(taken);
        self.version = kept.over.version;
        Ok(())
    }
}
