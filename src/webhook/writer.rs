//! The writer of a receiver: one task, which writes what waits, all of it at once, and tells each delivery when it is
//! durable.

use super::{
    batch::{Batch, Written},
    delivery::JobEvent,
    receiver::Counts,
};
use crate::{
    clock::{Clock, Deadline},
    ledger_records,
    receiver_record::{ReceiverRecord, Refused},
    records::{ATTEMPTS, Over, Records, every_scope},
    runner::{RunnerName, Scope},
    store::{Key, Kind, StoreError, Swap},
    time::Instant,
};
use chrono::TimeDelta;
use futures::future;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// How many deliveries are written together at the most.
const TOGETHER: usize = 1_000;

/// How often its own record is written where nothing comes. With a slow store it is still less than 15 s.
const BEAT: TimeDelta = TimeDelta::seconds(7);

/// How soon a refusal is told, and how soon a beat that failed is tried again.
const SOON: TimeDelta = TimeDelta::seconds(1);

/// What is brought to the writer.
#[derive(Debug)]
pub(super) enum Letter {
    /// An event, and who waits for it to be durable.
    Job(Box<JobEvent>, oneshot::Sender<Result<(), String>>),
    /// There will be no more.
    Stop(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) records: Records,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) name: RunnerName,
    pub(super) counts: Arc<Counts>,
    pub(super) patience: TimeDelta,
    own: BTreeMap<Scope, Own>,
    boot: String,
    /// What was told of refusals the last time.
    refused: Refused,
    missed: u64,
    beat: Deadline,
}

/// Its own record in one scope.
#[derive(Debug)]
struct Own {
    key: Key,
    record: ReceiverRecord,
    /// What is there now, where that is known.
    over: Option<Over>,
    is_written: bool,
}

fn new_boot() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Writer {
    pub(super) fn new(
        records: Records,
        clock: Arc<dyn Clock>,
        name: RunnerName,
        counts: Arc<Counts>,
        patience: TimeDelta,
        scopes: &[Scope],
    ) -> Self {
        let mut writer = Self {
            records,
            clock,
            name,
            counts,
            patience,
            own: BTreeMap::new(),
            boot: new_boot(),
            refused: Refused::default(),
            missed: 0,
            beat: Deadline::within(TimeDelta::zero()),
        };
        // So a guard of any scope knows of it before its first event, and of what it refuses.
        writer.own(&every_scope());
        for scope in scopes {
            writer.own(&ledger_records::ledger_scope(scope));
        }
        writer
    }

    /// Writes until it is told to stop, or nobody is there any more who could bring something.
    pub(super) async fn run(mut self, mut mail: mpsc::Receiver<Letter>) {
        let mut letters = Vec::new();
        loop {
            let wait = self.beat.or_sooner(Deadline::within(SOON));
            if let Ok(0) = wait.meet(mail.recv_many(&mut letters, TOGETHER)).await {
                return;
            }
            if let Some(stopped) = self.serve(letters.drain(..)).await {
                stopped.send(()).ok();
                return;
            }
        }
    }

    fn own(&mut self, scope: &Scope) -> &mut Own {
        let (boot, now) = (&self.boot, self.clock.now());
        let key = ledger_records::key(scope, Kind::Receiver, &self.name);
        self.own
            .entry(scope.in_lower_case())
            .or_insert_with(|| Own {
                key,
                record: ReceiverRecord::begun(boot.clone(), now),
                over: None,
                is_written: false,
            })
    }

    /// Writes what these letters bring, and answers them. It tells who waits for the end.
    async fn serve(
        &mut self,
        letters: impl Iterator<Item = Letter>,
    ) -> Option<oneshot::Sender<()>> {
        let (mut batch, mut callers, mut stop) = (Batch::default(), Vec::new(), None);
        let mut touched = Vec::new();
        for letter in letters {
            let (event, caller) = match letter {
                Letter::Job(event, caller) => (event, caller),
                Letter::Stop(stopped) => {
                    stop = Some(stopped);
                    continue;
                }
            };
            let (mut keys, is_missed) = batch.add(&event);
            self.missed = self.missed.saturating_add(u64::from(is_missed));
            for scope in event.scopes() {
                let own = self.own(scope);
                own.record.count();
                keys.push(own.key.clone());
                touched.push(scope.in_lower_case());
            }
            callers.push((caller, keys));
        }
        let refused = self.counts.refused();
        let all = stop.is_some() || self.beat.left().is_zero() || refused != self.refused;
        if callers.is_empty() && !all {
            return None;
        }
        for own in self.own.values_mut() {
            own.record.refused = refused;
            own.record.missed = self.missed;
            own.record.gone = stop.is_some();
        }
        let deadline = Deadline::within(self.patience);
        let (records, now) = (&self.records, self.clock.now());
        let own = self.own.iter_mut();
        let own = own.filter(|(scope, _)| all || touched.contains(scope));
        let own =
            own.map(|(_, own)| async move { (own.key.clone(), own.write(records, now).await) });
        let write = future::join(batch.write(records, now), future::join_all(own));
        let (failed, is_told) = match deadline.meet(write).await {
            Ok((Written { mut failed, missed }, own)) => {
                let missed = u64::try_from(missed).unwrap_or(u64::MAX);
                self.missed = self.missed.saturating_add(missed);
                let own = own
                    .into_iter()
                    .filter_map(|(key, wrote)| Some((key, wrote.err()?)));
                let mut is_told = true;
                for (key, error) in own {
                    is_told = false;
                    failed.insert(key, error.to_string());
                }
                // What was missed only now is told at once.
                (Ok(failed), is_told && missed == 0)
            }
            Err(late) => (Err(format!("{}: {late}", records.describe())), false),
        };
        if !is_told {
            self.beat = Deadline::within(SOON);
        } else if all {
            self.beat = Deadline::within(BEAT);
            self.refused = refused;
        }
        for (caller, keys) in callers {
            let why = match &failed {
                Ok(failed) => keys.iter().find_map(|key| failed.get(key)),
                Err(late) => Some(late),
            };
            caller.send(why.map_or(Ok(()), |why| Err(why.clone()))).ok();
        }
        stop
    }
}

impl Own {
    async fn write(&mut self, records: &Records, now: Instant) -> Result<(), StoreError> {
        self.record.written_at = now;
        for _ in 0..ATTEMPTS {
            let over = match self.over.take() {
                Some(over) => over,
                None => self.find(records, now).await?,
            };
            if let Swap::Done(version) = records.write(&self.key, &over, &self.record).await? {
                self.over = Some(over.followed_by(version));
                self.is_written = true;
                return Ok(());
            }
        }
        Err(records.contended())
    }

    /// Reads what is there. If it is not what this run wrote, the store lost that, or another receiver has this name:
    /// a guard is to see another run.
    async fn find(&mut self, records: &Records, now: Instant) -> Result<Over, StoreError> {
        let kept = records.read_one::<ReceiverRecord>(&self.key).await?;
        let is_ours = kept.lost.is_none() && kept.value.boot == self.record.boot;
        if self.is_written && !is_ours {
            tracing::warn!(record = %self.key, "webhooks: the receiver's own record is lost, or another receiver has its name");
            self.record.boot = new_boot();
            self.record.started_at = now;
        }
        Ok(kept.over)
    }
}
