//! One flight for many: what several want at the same time is fetched once.

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use std::{
    fmt,
    future::Future,
    sync::{Mutex, PoisonError},
};
use tokio::task::AbortHandle;

/// What is being fetched, if anything is. It is fetched to its end, also when all who wanted it have gone.
pub(super) struct Flight<T: Clone>(Mutex<Option<UnderWay<T>>>);

struct UnderWay<T: Clone> {
    task: AbortHandle,
    flight: Shared<BoxFuture<'static, T>>,
}

impl<T: Clone> Default for Flight<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> fmt::Debug for Flight<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// What comes of the flight that is under way; else what is `at_hand`; else of a new one. `lost` is what
    /// comes of one whose runtime ended.
    pub(super) async fn join<F>(
        &self,
        at_hand: impl FnOnce() -> Option<T>,
        fetch: impl FnOnce() -> F,
        lost: T,
    ) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        let flight = {
            let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // One that has landed is over, also when nobody was there to see it.
            let joined = under_way.as_ref().filter(|known| !known.task.is_finished());
            match joined {
                Some(known) => known.flight.clone(),
                None => {
                    if let Some(at_hand) = at_hand() {
                        return at_hand;
                    }
                    let task = tokio::spawn(fetch());
                    let abort = task.abort_handle();
                    let flight = task.map(|done| done.unwrap_or(lost)).boxed().shared();
                    *under_way = Some(UnderWay {
                        task: abort,
                        flight: flight.clone(),
                    });
                    flight
                }
            }
        };
        flight.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };
    use tokio::sync::Notify;

    #[tokio::test]
    async fn those_who_come_at_the_same_time_share_and_later_ones_do_not() {
        let flight = Arc::new(Flight::<u32>::default());
        let (flown, landing) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let join = || {
            let (flight, flown, landing) = (flight.clone(), flown.clone(), landing.clone());
            async move {
                let fetch = || async move {
                    let number = flown.fetch_add(1, Ordering::Relaxed) + 1;
                    landing.notified().await;
                    number
                };
                flight.join(|| None, fetch, 0).await
            }
        };
        let joined: Vec<_> = (0..10).map(|_| tokio::spawn(join())).collect();
        tokio::task::yield_now().await;
        // Whoever began it goes away.
        joined[0].abort();
        landing.notify_one();
        for joined in joined.into_iter().skip(1) {
            assert_eq!(joined.await.unwrap(), 1);
        }
        landing.notify_one();
        assert_eq!(join().await, 2);
        let at_hand = flight.join(|| Some(7), || async { 8 }, 0).await;
        assert_eq!(at_hand, 7);
    }

    #[tokio::test]
    async fn what_came_when_all_had_gone_is_not_told_later() {
        let flight = Flight::<u32>::default();
        let gone = flight.join(|| None, || async { 1 }, 0).now_or_never();
        assert_eq!(gone, None);
        tokio::task::yield_now().await;
        assert_eq!(flight.join(|| None, || async { 2 }, 0).await, 2);
    }
}
