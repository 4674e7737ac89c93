//! One client behind every call.

use super::{
    ApiUrl, App, GitHubBuilder, GitHubError, Retry,
    attempt::Attempt,
    auth::Credentials,
    breaker::Breaker,
    builder::Who,
    call::Call,
    kept::Kept,
    limits::{HOUR, Pace, Pause},
    send::{Heads, Reply, Transport},
};
use crate::{
    clock::{Clock, Deadline, elapsed_since, monotonic},
    policy::RequestReserve,
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use reqwest::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use url::Url;

/// How long a call may take in all where nobody says.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A persistent caller asks for the last time so long before its time is over.
const LAST_TRY: Duration = Duration::from_secs(1);

/// A GitHub to ask. Cheap to clone; clones share connections, limits and what they have read.
///
/// ```
/// use scale_in_guard::github::GitHub;
/// let github = GitHub::builder("ghp_example")
///     .api_url("https://github.example.com/api/v3")
///     .build()?;
/// assert!(!format!("{github:?}").contains("ghp_example"));
/// # Ok::<(), scale_in_guard::github::SetupError>(())
/// ```
///
/// A call that fails for a reason that may pass is [repeated](Retry), with pauses that GitHub asks for or that
/// grow, and never beyond the time that the call [has](Self::within). While GitHub fails again and again, nobody waits
/// for it: calls fail at once until one that is let through succeeds. See docs/reliability.md.
#[derive(Clone)]
pub struct GitHub {
    pub(super) inner: Arc<Inner>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) manner: Manner,
}

/// What clones share.
pub(super) struct Inner {
    pub(super) transport: Transport,
    pub(super) credentials: Credentials,
    pub(super) pace: Pace,
    pub(super) pause: Pause,
    pub(super) breaker: Breaker,
    pub(super) kept: Kept,
    /// GitHub's clock less ours, as the last answer told.
    pub(super) ahead: Mutex<TimeDelta>,
    pub(super) random: Mutex<fastrand::Rng>,
    /// Whether GitHub refused our credentials, and whether it accepted them.
    pub(super) refused: AtomicBool,
    pub(super) accepted: AtomicBool,
}

/// How a handle asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    time: Time,
    retry: Retry,
    /// What is left to others.
    pub(super) reserve: Option<RequestReserve>,
    /// Whether an outage keeps it from asking, and its failures count as one.
    pub(super) heeds_outage: bool,
}

impl Manner {
    pub(super) fn of(retry: Retry) -> Self {
        Self {
            time: Time::Each(CALL_TIMEOUT),
            retry,
            reserve: None,
            heeds_outage: true,
        }
    }
}

/// How long a call may take in all.
#[derive(Debug, Clone, Copy)]
enum Time {
    Each(Duration),
    Until(Deadline),
}

/// On whose behalf a call is made.
#[derive(Clone, Copy)]
enum As<'a> {
    /// Ours: with our token, or with one of an installation.
    User,
    /// Of the app itself.
    App(&'a App),
}

/// An answer, and what its headers say.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) body: T,
    /// GitHub's clock when it answered.
    pub(super) date: Option<Instant>,
    /// The page after this one.
    pub(super) next: Option<String>,
    /// The last page.
    pub(super) last: Option<String>,
}

impl GitHub {
    /// A GitHub to be asked with this token. It needs to read self-hosted runners (of a repository:
    /// `administration:read`; of an organisation: `organization_self_hosted_runners:read`) and, for the
    /// jobs, `actions:read` of the repositories. What deregisters runners or registers them needs the same with
    /// `write`.
    pub fn builder(token: impl Into<SecretString>) -> GitHubBuilder {
        GitHubBuilder::of(Who::Token(token.into()))
    }

    /// A GitHub to be asked as an installation of this app, with the permissions of [`builder`](Self::builder).
    pub fn app(app: App) -> GitHubBuilder {
        GitHubBuilder::of(Who::App(app))
    }

    /// Where it is.
    #[must_use]
    pub fn api(&self) -> &ApiUrl {
        &self.inner.transport.api
    }

    /// How many requests were sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.inner.transport.requests()
    }

    /// Whether GitHub refused our credentials (401, or an app that it does not know there), and never accepted them.
    #[must_use]
    pub fn refused_token(&self) -> bool {
        let of = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        of(&self.inner.refused) && !of(&self.inner.accepted)
    }

    /// The same GitHub, whose calls may each take so long in all, with every repetition and every page. Default:
    /// 30 seconds.
    #[must_use]
    pub fn within(&self, span: Duration) -> Self {
        self.with(|manner| manner.time = Time::Each(span))
    }

    /// The same, by a deadline.
    pub(crate) fn until(&self, deadline: Deadline) -> Self {
        self.with(|manner| manner.time = Time::Until(deadline))
    }

    /// The same, which leaves so much of the hourly limit to others.
    pub(crate) fn sparing(&self, reserve: RequestReserve) -> Self {
        self.with(|manner| manner.reserve = Some(reserve))
    }

    /// The same, which asks as often as this, and through an outage.
    pub(super) fn persistent(&self, retry: Retry) -> Self {
        self.with(|manner| {
            manner.retry = retry;
            manner.heeds_outage = false;
        })
    }

    /// The same, which asks once.
    pub(crate) fn unrepeated(&self) -> Self {
        self.with(|manner| manner.retry = Retry::none())
    }

    /// The same, with the time that a call has by default.
    pub(super) fn unhurried(&self) -> Self {
        self.within(CALL_TIMEOUT)
    }

    /// The same, which tells the time by this clock.
    pub(crate) fn timed_by(&self, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            ..self.clone()
        }
    }

    fn with(&self, change: impl FnOnce(&mut Manner)) -> Self {
        let mut other = self.clone();
        change(&mut other.manner);
        other
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// When a call that begins now must be over.
    pub(super) fn deadline(&self) -> Deadline {
        match self.manner.time {
            Time::Each(span) => Deadline::within(TimeDelta::from_std(span).unwrap_or(HOUR)),
            Time::Until(deadline) => deadline,
        }
    }

    /// An instant of GitHub's clock, by ours.
    pub(super) fn in_our_time(&self, at: Instant) -> Instant {
        after(at, -self.ahead())
    }

    /// By how much GitHub's clock is ahead of ours, as its last answer told.
    pub(crate) fn ahead(&self) -> TimeDelta {
        let ahead = self.inner.ahead.lock();
        *ahead.unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        call: &Call,
    ) -> Result<Answer<T>, GitHubError> {
        let reply = self.repeat(call, As::User, None).await?;
        let body = parse(call, &reply)?;
        Ok(Answer::of(body, reply.heads))
    }

    /// Asks for what may not have changed: then GitHub says so, and it costs nothing of the hourly limit.
    pub(super) async fn ask_whether_changed<T>(&self, call: &Call) -> Result<Answer<T>, GitHubError>
    where
        T: DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let kept = self.inner.kept.get::<T>(&call.url).await;
        let etag = kept.as_ref().map(|kept| &*kept.etag);
        let reply = self.repeat(call, As::User, etag).await?;
        if let Some(kept) = kept
            && reply.status == 304
        {
            if !reply.speaks_of(&kept.etag) {
                self.inner.kept.forget(&call.url).await;
                return Err(GitHubError::Malformed {
                    request: call.line(),
                    status: 304,
                    request_id: reply.heads.request_id,
                    what: "it has not changed, it says, and gives another tag".to_owned(),
                });
            }
            return Ok(Answer {
                body: T::clone(&kept.body),
                date: reply.heads.date,
                next: kept.next,
                last: kept.last,
            });
        }
        let body: T = parse(call, &reply)?;
        self.inner.kept.put(&call.url, &reply, body.clone()).await;
        Ok(Answer::of(body, reply.heads))
    }

    /// Forgets what was read there.
    pub(super) async fn forget(&self, urls: impl IntoIterator<Item = &Url>) {
        for url in urls {
            self.inner.kept.forget(url).await;
        }
    }

    /// Asks for something to be removed.
    pub(super) async fn delete(&self, call: &Call) -> Result<(), GitHubError> {
        self.repeat(call, As::User, None).await.map(drop)
    }

    /// Asks on behalf of the app itself.
    pub(super) async fn as_app<T: DeserializeOwned>(
        &self,
        app: &App,
        call: &Call,
    ) -> Result<Answer<T>, GitHubError> {
        let reply = self.repeat(call, As::App(app), None).await;
        // Also the last of several: a 404 of an installation must not be read as one of a runner.
        let reply =
            reply.map_err(|error| error.explained(|error| self.explained(app, call, error)))?;
        let body = parse(call, &reply)?;
        Ok(Answer::of(body, reply.heads))
    }

    /// What a refusal of the app means; it is one of our credentials.
    fn explained(&self, app: &App, call: &Call, error: GitHubError) -> GitHubError {
        let explained = app.explain(call, error);
        if matches!(explained, GitHubError::App { .. }) && !explained.is_transient() {
            self.inner.refused.store(true, Ordering::Relaxed);
        }
        explained
    }

    /// Asks as often as it is worth, and not beyond the deadline.
    async fn repeat(
        &self,
        call: &Call,
        on_behalf: As<'_>,
        etag: Option<&str>,
    ) -> Result<Reply, GitHubError> {
        let deadline = self.deadline();
        let began = monotonic();
        let mut pauses = self.pauses();
        let sent = AtomicU32::new(0);
        let attempt = Attempt {
            deadline,
            sent: &sent,
        };
        let mut answered = None;
        loop {
            let asked = async {
                match on_behalf {
                    As::User => self.attempt(call, etag, &attempt).await,
                    As::App(app) => self.attempt_as_app(app, call, &attempt).await,
                }
            };
            let error = match deadline.meet(asked).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => error,
                Err(late) => self.no_answer(call, late.to_string()),
            };
            // What GitHub answered says more than that we had no time to wait for its last answer.
            let error = match (error, answered.take()) {
                (GitHubError::NoAnswer { .. }, Some(before)) if deadline.left().is_zero() => before,
                (error, _) => error,
            };
            let pause = pauses.next().filter(|_| self.may_help(call, &error));
            let Some(pause) = pause.and_then(|pause| self.pause(&error, pause, deadline)) else {
                return Err(error.after(sent.load(Ordering::Relaxed), elapsed_since(began)));
            };
            answered = Some(error).filter(|error| error.status().is_some());
            tokio::time::sleep(pause).await;
        }
    }

    /// The pauses between the attempts of one call.
    pub(super) fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        self.manner.retry.pauses(self.fork_random())
    }

    pub(super) fn fork_random(&self) -> fastrand::Rng {
        let random = self.inner.random.lock();
        random.unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// Whether asking again may help, and does no harm.
    fn may_help(&self, call: &Call, error: &GitHubError) -> bool {
        match self.manner.heeds_outage {
            // A token that could not be had was asked for several times already.
            true => !error.was_repeated() && call.may_be_repeated(error),
            // It goes on through an outage, also where that keeps it from a token.
            false => call.may_be_repeated(error) || error.is_outage(),
        }
    }

    /// How long to wait before the next attempt; `None` where there is no time for it.
    fn pause(&self, error: &GitHubError, pause: Duration, deadline: Deadline) -> Option<Duration> {
        let asked_for = error.retry_at().map(|at| age(at, self.now()));
        let asked_for = asked_for.and_then(|span| span.to_std().ok());
        // Not all at the very instant that GitHub named.
        let pause = pause + asked_for.unwrap_or_default();
        let left = deadline.left();
        if pause < left {
            return Some(pause);
        }
        // Whoever goes on to the end asks once more before it.
        let last = left.checked_sub(LAST_TRY).filter(|span| !span.is_zero());
        last.filter(|_| asked_for.is_none() && !self.manner.heeds_outage)
    }
}

fn parse<T: DeserializeOwned>(call: &Call, reply: &Reply) -> Result<T, GitHubError> {
    serde_json::from_slice(&reply.body).map_err(|error| GitHubError::Malformed {
        request: call.line(),
        status: reply.status,
        request_id: reply.heads.request_id.clone(),
        what: match (call.method == Method::GET, error.classify()) {
            // What it says of a value could quote a secret.
            (false, Category::Data) => "a field of it is missing, or of another kind".to_owned(),
            _ => error.to_string(),
        },
    })
}

impl<T> Answer<T> {
    fn of(body: T, heads: Heads) -> Self {
        Self {
            body,
            date: heads.date,
            next: heads.next,
            last: heads.last,
        }
    }
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub")
            .field("api", &self.api().to_string())
            .field("as", &self.inner.credentials)
            .finish_non_exhaustive()
    }
}
