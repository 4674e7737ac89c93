//! Reads that several asks share.

use crate::{
    evidence::{Evidence, Witness},
    github::{GitHub, GitHubError},
    source::{Ask, Round},
    time::Instant,
};
use chrono::TimeDelta;
use moka::future::Cache;
use std::{fmt, future::Future, hash::Hash, sync::Arc};

/// A read ends so long before the ask that it is made for, so that the ask hears why it failed.
const TO_TELL: TimeDelta = TimeDelta::milliseconds(50);

/// GitHub, for as long as the ask has.
pub(super) fn github_for(github: &GitHub, ask: &Ask) -> GitHub {
    github.until(ask.deadline().less(TO_TELL))
}

/// A witness that GitHub kept from being heard, and when asking again can help.
pub(super) fn unheard(
    witness: Witness,
    what: String,
    errors: &[GitHubError],
    asked_at: Instant,
) -> Evidence {
    let retry_at = errors.iter().filter_map(GitHubError::retry_at).max();
    let failed = Evidence::failed(witness, what, asked_at).again_at(retry_at);
    match errors.iter().any(GitHubError::is_rate_limited) {
        true => failed.rate_limited(),
        false => failed,
    }
}

/// Scopes whose last read is kept. It bounds memory, not freshness.
const KEPT: u64 = 1_024;

/// A read, for which round it was made, and when its first request was sent.
#[derive(Debug)]
pub(super) struct Read<V> {
    round: u64,
    pub(super) asked_at: Instant,
    pub(super) value: V,
}

/// The last read of each scope. Asks that come while one is under way share it.
pub(super) struct SharedReads<K, V> {
    last: Cache<K, Arc<Read<V>>>,
    /// Whether a read failed, perhaps because whoever asked for it had no more time.
    failed: fn(&V) -> bool,
}

impl<K, V> fmt::Debug for SharedReads<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedReads").finish_non_exhaustive()
    }
}

impl<K, V> SharedReads<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(super) fn new(failed: fn(&V) -> bool) -> Self {
        Self {
            last: Cache::new(KEPT),
            failed,
        }
    }

    /// The read that is under way; else the last one, if it was made for this round or `still` says that it
    /// will do; else a new one. None that was asked for before `since`, but where `still` says so; and none of
    /// another round that failed.
    pub(super) async fn get<F>(
        &self,
        key: K,
        round: &Round,
        asked_at: Instant,
        since: Instant,
        still: impl Fn(&Read<V>) -> bool + Send + Sync,
        value: impl Fn() -> F + Send + Sync,
    ) -> Arc<Read<V>>
    where
        F: Future<Output = V> + Send,
    {
        let round = round.number();
        let read = || {
            let value = value();
            async move {
                Arc::new(Read {
                    round,
                    asked_at,
                    value: value.await,
                })
            }
        };
        let outdated = |last: &Arc<Read<V>>| {
            let of_this_round = last.round >= round && last.asked_at >= since;
            !(of_this_round || still(last))
        };
        let entry = self.last.entry(key.clone());
        let shared = entry.or_insert_with_if(read(), outdated).await.into_value();
        let will_not_do = |last: &Arc<Read<V>>| {
            let is_too_old = last.asked_at < since && !still(last);
            is_too_old || last.round < round && (self.failed)(&last.value)
        };
        if !will_not_do(&shared) {
            return shared;
        }
        // The one that was under way had begun too long ago, or for somebody in a hurry.
        let entry = self.last.entry(key);
        entry
            .or_insert_with_if(read(), will_not_do)
            .await
            .into_value()
    }
}
