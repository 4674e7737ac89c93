//! Deliveries that wait at the same time, as the records that they change: each record is written once for all of
//! them.

use super::{delivery::JobEvent, prune::prune};
use crate::{
    ledger::{Action, Delivery, LedgerJob},
    ledger_records::{LedgerRecord, jobs_key, slot_key},
    records::{ATTEMPTS, Records},
    runner::RunnerName,
    store::{Key, Record, Swap},
    time::Instant,
};
use futures::{StreamExt, stream};
use std::collections::{BTreeMap, HashMap};

/// Records that are written at the same time.
const AT_ONCE: usize = 256;

/// What is told, by the records that keep it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    told: BTreeMap<Key, Vec<LedgerJob>>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Which records could not be written, and why.
    pub(super) failed: HashMap<Key, String>,
    /// How much was begun anew or forgotten that a guard could have missed.
    pub(super) missed: usize,
}

impl Batch {
    /// Takes in an event. It tells which records must be written before it is answered, and whether a guard that looks
    /// for the runner will not find it.
    pub(super) fn add(&mut self, event: &JobEvent) -> (Vec<Key>, bool) {
        let delivery = &event.delivery;
        let named = delivery
            .runner
            .as_ref()
            .and_then(|runner| runner.name.as_deref());
        let runner = named.and_then(|name| RunnerName::new(name).ok());
        let waiting = in_the_queue(delivery, runner.is_some());
        let mut keys = Vec::new();
        for scope in event.scopes() {
            let slot = (slot_key(scope, delivery.job_id), waiting.clone());
            let jobs = runner
                .as_ref()
                .map(|runner| (jobs_key(scope, runner), delivery.clone()));
            for (key, delivery) in [slot].into_iter().chain(jobs) {
                let Some(job) = LedgerJob::told_by(delivery) else {
                    continue;
                };
                keys.push(key.clone());
                self.told.entry(key).or_default().push(job);
            }
        }
        (keys, runner.is_none() && delivery.runner.is_some())
    }

    /// Writes all of it: one read, and then a swap for each record that changes.
    pub(super) async fn write(self, records: &Records, now: Instant) -> Written {
        let keys: Vec<_> = self.told.keys().cloned().collect();
        let mut written = Written::default();
        if keys.is_empty() {
            return written;
        }
        let read = match records.read_unparsed(&keys).await {
            Ok(read) => read,
            Err(error) => {
                let why = error.to_string();
                written.failed = keys.into_iter().map(|key| (key, why.clone())).collect();
                return written;
            }
        };
        let folds = self
            .told
            .into_iter()
            .zip(read)
            .map(|((key, told), found)| async move {
                let folded = fold(records, &key, told, found, now).await;
                (key, folded)
            });
        let mut folds = stream::iter(folds).buffer_unordered(AT_ONCE);
        while let Some((key, folded)) = folds.next().await {
            match folded {
                Ok(missed) => written.missed = written.missed.saturating_add(missed),
                Err(why) => {
                    written.failed.insert(key, why);
                }
            }
        }
        written
    }
}

/// What a delivery means for the jobs that wait: one that has a runner waits no more. One whose runner has no name
/// to look for stays in sight of all.
fn in_the_queue(delivery: &Delivery, is_named: bool) -> Delivery {
    match is_named {
        false => delivery.clone(),
        true => Delivery {
            action: Action::Completed,
            runner: None,
            ..delivery.clone()
        },
    }
}

/// Folds what was told into one record. It tells how much of the record was begun anew or forgotten.
async fn fold(
    records: &Records,
    key: &Key,
    told: Vec<LedgerJob>,
    mut found: Option<Record>,
    now: Instant,
) -> Result<usize, String> {
    for _ in 0..ATTEMPTS {
        let kept = records.parse::<LedgerRecord>(key, found);
        let mut record = kept.value;
        let before = record.jobs.clone();
        record.jobs.extend(told.iter().cloned());
        let missed = prune(&mut record.jobs, key.kind(), now);
        // What is delivered again changes nothing, and was written then.
        if record.jobs == before && kept.lost.is_none() {
            return Ok(missed);
        }
        if let Some(lost) = &kept.lost {
            tracing::warn!(record = %key, lost, "webhooks: a part of the ledger is begun anew");
        }
        record.written_at = Some(now);
        match records.write(key, &kept.over, &record).await {
            Ok(Swap::Done(_)) => return Ok(missed.saturating_add(usize::from(kept.lost.is_some()))),
            Ok(Swap::Conflict) => {}
            Err(error) => return Err(error.to_string()),
        }
        let read = records.read_unparsed(std::slice::from_ref(key)).await;
        found = read.map_err(|error| error.to_string())?.pop().flatten();
    }
    Err(records.contended().to_string())
}
