//! Swaps that wait at the same time share a transaction: what a swap costs is its sync, and one sync does for
//! all of them.
//!
//! Nobody waits for others to come. A swap that is alone is committed at once, and those that are asked for
//! meanwhile are the next batch.

use super::{Millis, loss::Watched, swap_all};
use crate::store::{Key, StoreError, Swap, Version};
use std::{
    error::Error as StdError,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::oneshot, task::spawn_blocking};

const DOING: &str = "writing a record";

/// How many swaps share a transaction at the most: so many fail together, and keep other processes waiting.
const AT_MOST: usize = 256;

/// A swap, as it was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: Key,
    pub(super) expected: Option<Version>,
    pub(super) value: String,
    pub(super) at: Millis,
}

type Caller = oneshot::Sender<Result<Swap, StoreError>>;

/// The swaps that wait for the file, first come, first served.
#[derive(Debug)]
pub(super) struct Swaps {
    file: Arc<Watched>,
    waiting: Mutex<Vec<(Asked, Caller)>>,
}

impl Swaps {
    pub(super) fn of(file: Arc<Watched>) -> Self {
        let waiting = Mutex::default();
        Self { file, waiting }
    }

    /// What was asked for is done or refused, also when nobody waits for it any more.
    pub(super) async fn swap(self: &Arc<Self>, asked: Asked) -> Result<Swap, StoreError> {
        let (caller, answer) = oneshot::channel();
        if let Some(turn) = self.queue(asked, caller) {
            spawn_blocking(move || turn.serve());
        }
        let gone = "its thread ended before it was answered";
        let answer = answer.await;
        answer.unwrap_or_else(|_| Err(self.file.place.unusable(DOING, gone)))
    }

    /// Lines up. Whoever finds nobody there is to see that all are served.
    fn queue(self: &Arc<Self>, asked: Asked, caller: Caller) -> Option<Turn> {
        let mut waiting = self.waiting();
        waiting.push((asked, caller));
        (waiting.len() == 1).then(|| Turn {
            swaps: Arc::clone(self),
            is_due: true,
        })
    }

    /// Those who waited the longest, and whether somebody waits still.
    fn next_batch(&self) -> (Vec<(Asked, Caller)>, bool) {
        let mut waiting = self.waiting();
        let count = waiting.len().min(AT_MOST);
        let rest = waiting.split_off(count);
        let is_due = !rest.is_empty();
        (mem::replace(&mut waiting, rest), is_due)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(Asked, Caller)>> {
        // Nothing that may panic is done while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to serve all who wait. While somebody waits there is one that is due, and no more than one.
#[derive(Debug)]
struct Turn {
    swaps: Arc<Swaps>,
    is_due: bool,
}

impl Turn {
    fn serve(self) {
        let mut next = Some(self);
        while let Some(mut turn) = next.take() {
            let (callers, done) = turn.write();
            // It ends before they are answered: who drops the store then has closed its file.
            next = turn.is_due.then_some(turn);
            answer(callers, done);
        }
    }

    fn write(&mut self) -> (Vec<Caller>, Result<Vec<Swap>, StoreError>) {
        let file = &self.swaps.file;
        // The file first: who comes while it is in use by others is of this batch.
        let mut state = file.state();
        let (batch, is_due) = self.swaps.next_batch();
        self.is_due = is_due;
        let (asked, callers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let done = file.run_in(&mut state, DOING, |open| swap_all(open, &asked));
        (callers, done)
    }
}

/// A runtime that shuts down drops what it has not begun, and a thread may panic: then nobody may wait for an
/// answer that does not come.
impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_due {
            self.swaps.waiting().clear();
        }
    }
}

/// Tells each what became of its own swap, or all of them why nobody knows. Who does not wait any more is not
/// told.
fn answer(callers: Vec<Caller>, done: Result<Vec<Swap>, StoreError>) {
    match done {
        Ok(swaps) => {
            for (caller, swap) in callers.into_iter().zip(swaps) {
                caller.send(Ok(swap)).ok();
            }
        }
        Err(StoreError::Lost { store, what }) => {
            for caller in callers {
                let (store, what) = (store.clone(), what.clone());
                caller.send(Err(StoreError::Lost { store, what })).ok();
            }
        }
        Err(StoreError::Unusable {
            store,
            doing,
            source,
        }) => {
            let shared: Arc<dyn StdError + Send + Sync> = source.into();
            for caller in callers {
                let unusable = StoreError::Unusable {
                    store: store.clone(),
                    doing,
                    source: Box::new(Arc::clone(&shared)),
                };
                caller.send(Err(unusable)).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::sqlite::{
        read,
        tests::{first, key, new_file},
    };

    type Answer = oneshot::Receiver<Result<Swap, StoreError>>;

    fn swaps() -> (tempfile::TempDir, Arc<Swaps>) {
        let (folder, file) = new_file();
        (folder, Arc::new(Swaps::of(Arc::new(file))))
    }

    fn ask(swaps: &Arc<Swaps>, asked: Asked) -> (Option<Turn>, Answer) {
        let (caller, answer) = oneshot::channel();
        (swaps.queue(asked, caller), answer)
    }

    /// Asks for all of them before any is served.
    fn ask_all(swaps: &Arc<Swaps>, all: impl IntoIterator<Item = Asked>) -> (Turn, Vec<Answer>) {
        let asked = all.into_iter().map(|asked| ask(swaps, asked));
        let (mut turns, answers): (Vec<_>, Vec<_>) = asked.unzip();
        let due = turns.remove(0).expect("the first one has a turn");
        assert!(turns.iter().all(Option::is_none), "and nobody else");
        (due, answers)
    }

    fn value(swaps: &Swaps, name: &str) -> Option<String> {
        let records = swaps
            .file
            .run("reading", |file| read(file, &[key(name)], Millis(0)));
        let found = records.unwrap().into_iter().flatten().next();
        found.map(|record| record.value)
    }

    #[test]
    fn a_batch_is_bounded_and_the_rest_is_served_after_it() {
        let (_folder, swaps) = swaps();
        let all = (0..AT_MOST + 44).map(|number| first(&format!("r-{number}"), ""));
        let (mut due, mut answers) = ask_all(&swaps, all);
        let (callers, done) = due.write();
        assert_eq!((callers.len(), done.unwrap().len()), (AT_MOST, AT_MOST));
        drop(callers);
        assert!(due.is_due, "somebody waits");
        let (none, answer_meanwhile) = ask(&swaps, first("meanwhile", ""));
        assert!(none.is_none(), "the turn that is due serves this one, too");
        answers.push(answer_meanwhile);
        due.serve();
        let done = answers.iter_mut().skip(AT_MOST).map(|answer| {
            let swap = answer.try_recv().unwrap().unwrap();
            matches!(swap, Swap::Done(_))
        });
        assert!(done.eq([true; 45]));
        let (due, _answer) = ask(&swaps, first("after", ""));
        assert!(due.is_some(), "nobody was left to serve");
    }

    #[test]
    fn swaps_of_one_batch_are_decided_in_their_order() {
        let (_folder, swaps) = swaps();
        let (due, _) = ask_all(&swaps, [first("r-0", "kept")]);
        due.serve();
        let all = [
            first("r-0", "wrong"),
            first("r-1", "wins"),
            first("r-1", "loses"),
            first("r-2", "alone"),
            first("r-1", "loses"),
        ];
        let (due, answers) = ask_all(&swaps, all);
        due.serve();
        let done = answers.into_iter().map(|mut answer| {
            let swap = answer.try_recv().unwrap().unwrap();
            matches!(swap, Swap::Done(_))
        });
        assert!(done.eq([false, true, false, true, false]));
        assert_eq!(value(&swaps, "r-0").as_deref(), Some("kept"));
        assert_eq!(value(&swaps, "r-1").as_deref(), Some("wins"));
        assert_eq!(value(&swaps, "r-2").as_deref(), Some("alone"));
    }

    #[test]
    fn an_error_reaches_every_swap_of_its_batch() {
        let (_folder, swaps) = swaps();
        let names = ["r-1", "r-2", "r-3"];
        // The disk is full: the last of them does not fit.
        swaps
            .file
            .run("filling the disk", |file| {
                let pages: i64 = file.query_row("PRAGMA page_count", (), |row| row.get(0))?;
                file.pragma_update(None, "max_page_count", pages)
            })
            .unwrap();
        let long = "x".repeat(1 << 20);
        let (due, answers) = ask_all(&swaps, names.map(|name| first(name, &long)));
        due.serve();
        for mut answer in answers {
            let met = answer.try_recv().unwrap();
            assert!(
                matches!(&met, Err(error @ StoreError::Unusable { doing: DOING, .. }) if error.to_string().contains("full")),
                "{met:?}"
            );
        }
        #[cfg(unix)]
        {
            let (due, answers) = ask_all(&swaps, names.map(|name| first(name, "gone")));
            std::fs::remove_file(&swaps.file.place.path).unwrap();
            due.serve();
            for mut answer in answers {
                let met = answer.try_recv().unwrap();
                assert!(matches!(met, Err(StoreError::Lost { .. })), "{met:?}");
            }
        }
        assert!(names.iter().all(|name| value(&swaps, name).is_none()));
    }

    #[test]
    fn who_waits_for_a_turn_that_never_comes_is_told() {
        let (_folder, swaps) = swaps();
        let (due, answers) = ask_all(&swaps, [first("r-1", ""), first("r-2", "")]);
        drop(due);
        for mut answer in answers {
            let told = answer.try_recv();
            assert_eq!(told.err(), Some(oneshot::error::TryRecvError::Closed));
        }
        let (due, mut answers) = ask_all(&swaps, [first("r-3", "")]);
        due.serve();
        assert!(matches!(
            answers.remove(0).try_recv(),
            Ok(Ok(Swap::Done(_)))
        ));
        assert_eq!(value(&swaps, "r-1"), None);
    }
}
