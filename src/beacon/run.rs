//! The beacon at work: one look a second at every runner of this host, and a report of each whenever something
//! changed, and at every interval.

use super::{
    Blindness, ConfigStamp, Processes, Reporter, RootError, RunnerConfig, RunnerRoot, Watch, Word,
    report::ReportError,
};
use crate::{
    clock::{Clock, SteadyClock},
    lease::Heartbeat,
    policy::Policy,
    runner::{RunnerId, RunnerName, Scope},
    store::Store,
    telemetry,
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    sync::watch::{Receiver, Sender, channel},
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{Instant as Tick, interval, sleep, timeout, timeout_at},
};

/// How often it looks: a job that starts is reported at most so much later than its first line in the log.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a report may take before it is tried anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the last words may take, of all runners together.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// From the first to the next try of a report that failed; doubled from then on, up to the interval.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A beacon to be run: which runners of this host it watches, and where it reports.
#[derive(Debug)]
#[must_use = "a beacon that does not run reports nothing"]
pub struct Beacon {
    store: Arc<dyn Store>,
    policy: Arc<Policy>,
    interval: Duration,
    watched: Vec<Watched>,
}

/// A runner that is watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Its folder.
    pub root: RunnerRoot,
    /// Its name, as it is registered.
    pub name: RunnerName,
    /// Its registration's number.
    pub id: Option<RunnerId>,
    /// Where it is registered.
    pub scope: Scope,
    /// Where it is registered if its own files do not say.
    given: Option<Scope>,
    stamp: Option<ConfigStamp>,
}

/// Why a beacon could not begin, or ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// There is no runner in the folder, or it does not say who it is.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Its log cannot be understood.
    #[error("{}: {what}", .path.display())]
    Log {
        /// The runner's folder.
        path: PathBuf,
        /// What is the matter.
        what: Blindness,
    },
    /// Nobody says where it is registered.
    #[error(
        "{}: its .runner does not say where it is registered, as that of a just-in-time runner may not; give --scope",
        .path.display()
    )]
    NoScope {
        /// The runner's folder.
        path: PathBuf,
    },
    /// The scope that was given is not the runner's own.
    #[error(
        "{}: --scope says {given}, and its .runner {found}; leave --scope out, or name the folder of a runner of that scope",
        .path.display()
    )]
    OtherScope {
        /// The runner's folder.
        path: PathBuf,
        /// What was given.
        given: Scope,
        /// What the runner's own files say.
        found: Scope,
    },
    /// Two folders hold the same runner.
    #[error("{} and {} hold the same runner, {name} of {scope}; name each runner once", .one.display(), .other.display())]
    Twice {
        /// One of them.
        one: PathBuf,
        /// The other.
        other: PathBuf,
        /// The runner's name.
        name: RunnerName,
        /// Its scope.
        scope: Scope,
    },
    /// There is nothing to watch.
    #[error("there is no runner to watch; name a runner's folder with --runner-root")]
    Nothing,
    /// A look at the runners panicked.
    #[error("a look at the runners broke off, which is a fault of this program; begin it anew")]
    Broken,
    /// Other beacons report every runner that this one watched.
    #[error("{runner}: {what}")]
    Superseded {
        /// The last of them.
        runner: RunnerName,
        /// What came back.
        what: ReportError,
    },
}

impl Watched {
    fn read(root: RunnerRoot, given: Option<Scope>) -> Result<Self, RunError> {
        let stamp = root.config_stamp();
        let RunnerConfig { name, id, scope } = root.read_config()?;
        let path = || root.path().to_owned();
        let scope = match (scope, &given) {
            (Some(found), Some(given)) if !found.is_same_as(given) => {
                return Err(RunError::OtherScope {
                    path: path(),
                    given: given.clone(),
                    found,
                });
            }
            (Some(found), _) => found,
            (None, Some(given)) => given.clone(),
            (None, None) => return Err(RunError::NoScope { path: path() }),
        };
        Ok(Self {
            root,
            name,
            id,
            scope,
            given,
            stamp,
        })
    }

    fn is_same_as(&self, other: &Self) -> bool {
        self.id == other.id && self.has_key_of(other)
    }

    /// Whether both are written down under one key.
    fn has_key_of(&self, other: &Self) -> bool {
        self.name == other.name && self.scope.is_same_as(&other.scope)
    }

    /// The runner in the folder, if what it says of itself changed since it was last read.
    fn anew(&mut self) -> Option<Result<Self, RunError>> {
        let stamp = self.root.config_stamp();
        if stamp.is_none() || stamp == self.stamp {
            return None;
        }
        self.stamp = stamp;
        Some(Self::read(self.root.clone(), self.given.clone()))
    }
}

impl Beacon {
    /// A beacon that reports to this store, at each change and each `interval`, which should be a quarter of
    /// [`Policy::beacon_ttl`] at the most. The policy should be the guard's: of it counts what is about leases.
    pub fn new(store: impl Store + 'static, policy: Policy, interval: Duration) -> Self {
        Self {
            store: Arc::new(store),
            policy: Arc::new(policy),
            interval,
            watched: Vec::new(),
        }
    }

    /// Watches the runner in this folder, too. `scope` is for one whose own files do not say where it is
    /// registered.
    ///
    /// # Errors
    /// [`RunError`] when it does not say who it is, or where, or is watched already.
    pub fn watch(&mut self, root: RunnerRoot, scope: Option<&Scope>) -> Result<&Watched, RunError> {
        let watched = Watched::read(root, scope.cloned())?;
        let twin = |known: &&Watched| known.has_key_of(&watched);
        if let Some(known) = self.watched.iter().find(twin) {
            return Err(RunError::Twice {
                one: known.root.path().to_owned(),
                other: watched.root.path().to_owned(),
                name: watched.name,
                scope: watched.scope,
            });
        }
        self.watched.push(watched);
        self.watched.last().ok_or(RunError::Nothing)
    }

    /// Watches and reports until `stop`, then reports a last word for each runner. The store may be away for any
    /// time: it goes on looking, and tells the present when the store is back.
    ///
    /// # Errors
    /// [`RunError`] when it cannot begin, or when other beacons report all of its runners.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        if self.watched.is_empty() {
            return Err(RunError::Nothing);
        }
        let clock = SteadyClock::start();
        let mut writers = JoinSet::new();
        let mut posts = Vec::new();
        let mut unread = None;
        for watched in self.watched.iter().cloned() {
            let (watch, error) = begin(&watched, &clock, &self.policy);
            if let Some(error) = error {
                tracing::error!(runner = %watched.name, %error, "its log cannot be read; it is reported as blind");
                unread = Some(error);
            }
            posts.push(self.post(watched, watch, clock, &mut writers));
        }
        // One of several must not keep the others from being watched.
        let all_blind = posts
            .iter()
            .all(|post| post.watch.heartbeat().blind.is_some());
        if let Some(error) = unread.filter(|_| all_blind) {
            return Err(error);
        }
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                ended = writers.join_next(), if !writers.is_empty() => {
                    if let Some(Ok(Err((runner, what)))) = ended {
                        tracing::error!(%runner, error = %what, "this runner is reported no more");
                        posts.retain(|post: &Post| !post.known.is_closed());
                        if posts.is_empty() {
                            return Err(RunError::Superseded { runner, what });
                        }
                    }
                    continue;
                }
                _ = looks.tick() => {}
            }
            let mut looked = spawn_blocking(move || {
                look(&mut posts, &clock);
                posts
            });
            let (looked, is_last) = tokio::select! {
                looked = &mut looked => (looked, false),
                // A look that hangs must not keep the beacon from ending.
                () = &mut stop => match timeout(LAST_WORDS, looked).await {
                    Ok(looked) => (looked, true),
                    Err(_) => return Ok(()),
                },
            };
            posts = looked.map_err(|_| RunError::Broken)?;
            if is_last {
                break;
            }
            self.follow(&mut posts, clock, &mut writers);
        }
        for post in &mut posts {
            post.watch.going(clock.now());
            post.tell(true, true);
        }
        drop(posts);
        let end = Tick::now() + LAST_WORDS;
        while let Ok(Some(_)) = timeout_at(end, writers.join_next()).await {}
        Ok(())
    }

    fn post(
        &self,
        watched: Watched,
        watch: Watch,
        clock: SteadyClock,
        writers: &mut JoinSet<Ended>,
    ) -> Post {
        let (known, word) = channel(Known {
            heartbeat: watch.heartbeat().clone(),
            starts: 0,
            going: false,
            looked: false,
        });
        let Watched {
            name, id, scope, ..
        } = &watched;
        tracing::info!(runner = %name, %scope, root = %watched.root.path().display(), "watching");
        let reporter = Reporter::new(self.store.clone(), scope, name, *id, clock.now());
        let writer = writers.spawn(report(reporter, name.clone(), word, self.interval, clock));
        Post {
            watched,
            watch,
            known,
            writer,
        }
    }

    /// Where a runner was configured anew, the old one has gone, and the new one is watched.
    fn follow(&self, posts: &mut [Post], clock: SteadyClock, writers: &mut JoinSet<Ended>) {
        for post in posts {
            let anew = match post.watched.anew() {
                None => continue,
                Some(Ok(anew)) => anew,
                Some(Err(error)) => {
                    let runner = &post.watched.name;
                    tracing::warn!(%runner, %error, "its .runner changed and cannot be followed; it is reported as before");
                    continue;
                }
            };
            if anew.is_same_as(&post.watched) {
                post.watched = anew;
                continue;
            }
            let (watch, _) = begin(&anew, &clock, &self.policy);
            if anew.has_key_of(&post.watched) {
                // Two must not write one record.
                post.writer.abort();
            } else {
                post.watch.going(clock.now());
                post.tell(true, true);
            }
            *post = self.post(anew, watch, clock, writers);
        }
    }
}

/// Begins to watch a runner; one whose log cannot be understood is watched all the same, as blind.
fn begin(
    watched: &Watched,
    clock: &SteadyClock,
    policy: &Arc<Policy>,
) -> (Watch, Option<RunError>) {
    let (watch, read) = Watch::begin_anyway(watched.root.clone(), clock.now(), policy.clone());
    let unread = match read {
        Err(what @ Blindness::UnknownFormat { .. }) => Some(RunError::Log {
            path: watched.root.path().to_owned(),
            what,
        }),
        _ => None,
    };
    (watch, unread)
}

/// A runner that is watched, and what is known of it for whoever reports it.
#[derive(Debug)]
struct Post {
    watched: Watched,
    watch: Watch,
    known: Sender<Known>,
    writer: AbortHandle,
}

/// What is known of a runner.
#[derive(Debug, Clone)]
struct Known {
    heartbeat: Heartbeat,
    /// How many jobs were seen to start.
    starts: u64,
    going: bool,
    /// Whether it was looked at since the beacon began: before that there is nothing to say.
    looked: bool,
}

impl Post {
    fn tell(&self, changed: bool, going: bool) {
        let heartbeat = self.watch.heartbeat().clone();
        self.known.send_if_modified(|known| {
            known.heartbeat = heartbeat;
            known.going |= going;
            known.looked = true;
            changed
        });
    }
}

/// Looks once at every runner: first which processes there are, then at each log.
fn look(posts: &mut [Post], clock: &SteadyClock) {
    let processes = Processes::scan(posts.iter().map(|post| post.watch.root()));
    for post in posts {
        let look = post.watch.look(&processes, clock.now());
        if look.started {
            post.known.send_if_modified(|known| {
                known.starts += 1;
                false
            });
        }
        post.tell(look.changed || look.started, false);
    }
}

/// How a writer ends: with its last word, or because another beacon reports its runner.
type Ended = Result<(), (RunnerName, ReportError)>;

/// Reports one runner until its last word is told.
async fn report(
    mut reporter: Reporter,
    runner: RunnerName,
    mut word: Receiver<Known>,
    interval: Duration,
    clock: SteadyClock,
) -> Ended {
    let mut told_starts = 0;
    let mut retry_after = RETRY_AFTER;
    let mut is_away = false;
    if !word.borrow().looked && word.changed().await.is_err() {
        return Ok(());
    }
    loop {
        let known = word.borrow_and_update().clone();
        let present = Word {
            heartbeat: known.heartbeat,
            started: known.starts > told_starts,
            going: known.going,
        };
        let failed = match timeout(PATIENCE, reporter.report(&present, &clock)).await {
            Ok(Ok(())) => None,
            Ok(Err(superseded @ ReportError::Superseded { .. })) => {
                return Err((runner, superseded));
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        telemetry::reported(&runner, failed.is_none().then(|| clock.now()));
        match failed {
            None => {
                if is_away {
                    tracing::info!(%runner, "the store is back; the present is reported");
                }
                is_away = false;
                told_starts = known.starts;
                retry_after = RETRY_AFTER;
                if known.going {
                    return Ok(());
                }
                // The sender is gone only after the last word.
                let _ = timeout(interval, word.changed()).await;
            }
            Some(error) => {
                if !is_away {
                    tracing::warn!(%runner, error, "not reported; it is tried again, and what is then the present is told");
                }
                is_away = true;
                sleep(retry_after).await;
                retry_after = (retry_after * 2).min(interval);
            }
        }
    }
}
