//! One client behind every call.

use super::{
    API_URL, ApiUrl, App, GitHubError, Limit, Limits, PlainHttp, Retry, SetupError,
    auth::{Credentials, Pass},
    breaker::{Breaker, Outage},
    call::Call,
    kept::Kept,
    limits::{NoTurn, Pace, Pause},
    send::{Heads, Reply, Transport},
};
use crate::{
    clock::{Clock, Deadline, SystemClock},
    policy::RequestReserve,
    time::{Instant, after, age},
};
use chrono::TimeDelta;
use reqwest::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
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

/// The longest that anything waits for a limit: its window is an hour.
const HOUR: TimeDelta = TimeDelta::hours(1);

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
    inner: Arc<Inner>,
    clock: Arc<dyn Clock>,
    manner: Manner,
}

struct Inner {
    transport: Transport,
    credentials: Credentials,
    pace: Pace,
    pause: Pause,
    breaker: Breaker,
    kept: Kept,
    /// GitHub's clock less ours, as the last answer told.
    ahead: Mutex<TimeDelta>,
    random: Mutex<fastrand::Rng>,
    refused: AtomicBool,
}

/// How a handle asks.
#[derive(Debug, Clone, Copy)]
struct Manner {
    time: Time,
    retry: Retry,
    /// What is left to others.
    reserve: Option<RequestReserve>,
    /// Whether an outage keeps it from asking, and its failures count as one.
    heeds_outage: bool,
}

/// How long a call may take in all.
#[derive(Debug, Clone, Copy)]
enum Time {
    Each(Duration),
    Until(Deadline),
}

/// How to reach a GitHub.
#[must_use = "a builder asks nobody anything"]
pub struct GitHubBuilder {
    who: Who,
    api_url: String,
    plain: PlainHttp,
    request_timeout: Option<Duration>,
    retry: Retry,
    limits: Limits,
    seed: Option<u64>,
    clock: Arc<dyn Clock>,
}

enum Who {
    Token(SecretString),
    App(App),
}

/// One of the attempts that a call takes.
struct Attempt<'a> {
    deadline: Deadline,
    /// How many requests they have sent.
    sent: &'a AtomicU32,
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

    /// Whether GitHub's last word about our credentials was a refusal (401).
    #[must_use]
    pub fn refused_token(&self) -> bool {
        self.inner.refused.load(Ordering::Relaxed)
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

    /// The same, with the time that a call has by default.
    pub(super) fn unhurried(&self) -> Self {
        self.with(|manner| manner.time = Time::Each(CALL_TIMEOUT))
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

    fn ahead(&self) -> TimeDelta {
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
        let began = crate::clock::monotonic();
        let mut pauses = self.pauses();
        let sent = AtomicU32::new(0);
        let attempt = Attempt {
            deadline,
            sent: &sent,
        };
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
            // A token that could not be had was asked for several times already.
            let may_help = !error.was_repeated() && call.may_be_repeated(&error);
            let pause = pauses.next().filter(|_| may_help);
            let Some(pause) = pause.and_then(|pause| self.pause(&error, pause, deadline)) else {
                let took = crate::clock::monotonic().saturating_duration_since(began);
                let took = TimeDelta::from_std(took).unwrap_or_default();
                return Err(error.after(sent.load(Ordering::Relaxed), took));
            };
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

    /// How long to wait before the next attempt; `None` where there is no time for it.
    fn pause(&self, error: &GitHubError, pause: Duration, deadline: Deadline) -> Option<Duration> {
        let asked_for = error.retry_at().map(|at| age(at, self.now()));
        let asked_for = asked_for.and_then(|span| span.to_std().ok());
        let pause = pause.max(asked_for.unwrap_or_default());
        (pause < deadline.left()).then_some(pause)
    }

    async fn attempt(
        &self,
        call: &Call,
        etag: Option<&str>,
        attempt: &Attempt<'_>,
    ) -> Result<Reply, GitHubError> {
        let credentials = &self.inner.credentials;
        let pass = credentials.pass(self, call).await?;
        let mut reply = self.send(call, &pass, etag, attempt).await?;
        if reply.status == 401 && credentials.refused(&pass, call) {
            let pass = credentials.pass(self, call).await?;
            reply = self.send(call, &pass, etag, attempt).await?;
        }
        self.judge(call, reply, etag)
    }

    async fn attempt_as_app(
        &self,
        app: &App,
        call: &Call,
        attempt: &Attempt<'_>,
    ) -> Result<Reply, GitHubError> {
        let ahead = self.ahead();
        let pass = self.pass_of(app, call)?;
        let mut reply = self.send(call, &pass, None, attempt).await?;
        // Dated by a clock that was off: the refusal itself says by how much.
        let was_off = (self.ahead() - ahead).abs() > TimeDelta::seconds(30);
        if reply.status == 401 && was_off {
            let pass = self.pass_of(app, call)?;
            reply = self.send(call, &pass, None, attempt).await?;
        }
        self.judge(call, reply, None)
    }

    fn pass_of(&self, app: &App, call: &Call) -> Result<Pass, GitHubError> {
        let authorization = app.jwt(after(self.now(), self.ahead()));
        let unsigned = || self.no_answer(call, "the app's private key does not sign".to_owned());
        Ok(Pass {
            authorization: authorization.ok_or_else(unsigned)?,
            primary: Arc::default(),
        })
    }

    /// Whether an answer is what was asked for.
    fn judge(&self, call: &Call, reply: Reply, etag: Option<&str>) -> Result<Reply, GitHubError> {
        let is_good = match (reply.status, &call.method) {
            (200, &Method::GET) | (200 | 201, &Method::POST) | (204, &Method::DELETE) => true,
            (304, &Method::GET) => etag.is_some(),
            _ => false,
        };
        let is_limited = limit_of(&reply).is_some();
        if !is_limited {
            self.inner.pause.answered();
        }
        if is_good || reply.status == 401 {
            self.inner.refused.store(!is_good, Ordering::Relaxed);
        }
        match is_good {
            true => Ok(reply),
            false => Err(self.refusal(call, &reply)),
        }
    }

    /// Sends one request, if the limits and GitHub's health allow it.
    async fn send(
        &self,
        call: &Call,
        pass: &Pass,
        etag: Option<&str>,
        Attempt { deadline, sent }: &Attempt<'_>,
    ) -> Result<Reply, GitHubError> {
        let (inner, deadline) = (&self.inner, *deadline);
        let now = self.now();
        self.may_send(call)?;
        let taking = pass.primary.take(self.manner.reserve, now);
        let taken = deadline.meet(taking).await;
        let taken = taken.map_err(|late| self.no_answer(call, late.to_string()))?;
        let mut ticket = taken.map_err(|spent| {
            let (remaining, limit, reserve) =
                (spent.told.remaining, spent.told.limit, spent.reserve);
            let limit = match remaining == 0 || reserve == 0 {
                true => Limit::Primary,
                false => Limit::Reserve {
                    remaining,
                    limit,
                    reserve,
                },
            };
            limited(call, limit, spent.until)
        })?;
        let turn = inner.pace.turn(call.slot(), deadline).await;
        let _turn = turn.map_err(|no_turn| match no_turn {
            NoTurn::Spent(span) => {
                let span = TimeDelta::from_std(span).unwrap_or(HOUR);
                limited(call, Limit::Pace, after(now, span))
            }
            NoTurn::Crowded => self.no_answer(call, "no turn in time".to_owned()),
        })?;
        // Meanwhile GitHub may have asked for a pause, or failed.
        self.may_send(call)?;
        let asked_at = self.now();
        if self.manner.heeds_outage {
            let admitted = inner.breaker.admit(asked_at);
            admitted.map_err(|outage| down(call, outage))?;
        }
        let time = inner.transport.timeout(call.slot());
        let within = time.min(deadline.left());
        sent.fetch_add(1, Ordering::Relaxed);
        ticket.sent();
        let reply = inner
            .transport
            .send(call, &pass.authorization, etag, within)
            .await;
        self.learn(pass, asked_at, &reply);
        // A refusal by somebody in between tells nothing of what GitHub counted.
        let tells = |heads: &Heads| heads.left.is_some() && heads.is_core;
        if reply.as_ref().is_ok_and(|reply| tells(&reply.heads)) {
            ticket.counted();
        }
        drop(ticket);
        if self.manner.heeds_outage {
            match &reply {
                Ok(reply) if reply.status == 408 || reply.status >= 500 => {
                    inner
                        .breaker
                        .failed(self.now(), &reply.refusal().to_string());
                }
                Ok(_) => inner.breaker.answered(),
                // Whoever had no time to wait says nothing of GitHub.
                Err(_) if within < time => {}
                Err(error) => inner.breaker.failed(self.now(), &error.to_string()),
            }
        }
        reply
    }

    /// Whether GitHub asks for nothing to be sent now, or has been failing.
    fn may_send(&self, call: &Call) -> Result<(), GitHubError> {
        let now = self.now();
        if let Some(until) = self.inner.pause.until(now) {
            return Err(limited(call, Limit::Secondary, until));
        }
        match self.inner.breaker.outage(now) {
            Some(outage) if self.manner.heeds_outage => Err(down(call, outage)),
            _ => Ok(()),
        }
    }

    /// What the headers of an answer tell of GitHub's clock and of its limit.
    fn learn(&self, pass: &Pass, asked_at: Instant, reply: &Result<Reply, GitHubError>) {
        let Ok(reply) = reply else {
            return;
        };
        let heads = &reply.heads;
        let now = self.now();
        if let Some(date) = heads.date {
            // It was answered between our asking and our receipt.
            let (ahead, behind) = (age(date, now), age(date, asked_at));
            let ahead = match ahead > TimeDelta::zero() {
                true => ahead,
                false => behind.min(TimeDelta::zero()),
            };
            let mut known = self
                .inner
                .ahead
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *known = ahead;
        }
        let is_good = (200..400).contains(&reply.status);
        match (heads.left, heads.resets_at) {
            (Some(left), Some(at)) if heads.is_core => {
                let until = self.in_our_time(at);
                pass.primary.learn(Some((left, until)), now);
            }
            (None, _) if is_good => pass.primary.learn(None, now),
            _ => {}
        }
    }

    /// What a refusal means, in GitHub's order ("Rate limits for the REST API").
    fn refusal(&self, call: &Call, reply: &Reply) -> GitHubError {
        let answer = reply.refusal();
        let (request, heads) = (call.line(), &reply.heads);
        if let Some(limit) = limit_of(reply) {
            let now = self.now();
            let until = match limit {
                Limit::Primary => {
                    let resets_at = heads.resets_at.map(|at| self.in_our_time(at));
                    let soonest = after(now, TimeDelta::seconds(1));
                    let latest = after(now, HOUR);
                    resets_at.map_or(latest, |at| at.clamp(soonest, latest))
                }
                _ => self.inner.pause.ask(now, heads.retry_after),
            };
            return GitHubError::RateLimited {
                request,
                limit,
                until,
                answer: Some(answer),
            };
        }
        let needs = match &heads.accepted {
            Some(accepted) if !accepted.is_empty() => {
                format!("{} (GitHub would accept {accepted})", call.needs())
            }
            _ => call.needs(),
        };
        GitHubError::Status {
            request,
            answer,
            needs,
        }
    }

    fn no_answer(&self, call: &Call, what: String) -> GitHubError {
        GitHubError::NoAnswer {
            request: call.line(),
            host: self.api().host(),
            what,
        }
    }
}

/// The limit that a refusal speaks of, if it does.
fn limit_of(reply: &Reply) -> Option<Limit> {
    let heads = &reply.heads;
    if !matches!(reply.status, 403 | 429) {
        return None;
    }
    if heads.retry_after.is_some() {
        return Some(Limit::Secondary);
    }
    if heads.left.is_some_and(|left| left.remaining == 0) {
        return Some(Limit::Primary);
    }
    let said = reply.refusal().message.unwrap_or_default().to_lowercase();
    let speaks_of_a_limit = said.contains("rate limit") || said.contains("abuse");
    (reply.status == 429 || speaks_of_a_limit).then_some(Limit::Secondary)
}

fn limited(call: &Call, limit: Limit, until: Instant) -> GitHubError {
    GitHubError::RateLimited {
        request: call.line(),
        limit,
        until,
        answer: None,
    }
}

fn down(call: &Call, outage: Outage) -> GitHubError {
    let Outage { since, until, last } = outage;
    GitHubError::Down {
        request: call.line(),
        since,
        until,
        last,
    }
}

fn parse<T: DeserializeOwned>(call: &Call, reply: &Reply) -> Result<T, GitHubError> {
    serde_json::from_slice(&reply.body).map_err(|error| GitHubError::Malformed {
        request: call.line(),
        status: reply.status,
        request_id: reply.heads.request_id.clone(),
        what: error.to_string(),
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

impl fmt::Debug for GitHubBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHubBuilder")
            .field("api_url", &self.api_url)
            .finish_non_exhaustive()
    }
}

impl GitHubBuilder {
    fn of(who: Who) -> Self {
        Self {
            who,
            api_url: API_URL.to_owned(),
            plain: PlainHttp::default(),
            request_timeout: None,
            retry: Retry::default(),
            limits: Limits::default(),
            seed: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Asks another GitHub than github.com: `https://HOST/api/v3` on Enterprise Server,
    /// `https://api.TENANT.ghe.com` on a tenant's.
    pub fn api_url(mut self, url: impl Into<String>) -> Self {
        self.api_url = url.into();
        self
    }

    /// Whether the token may travel unencrypted. Default: to this machine only.
    pub fn plain_http(mut self, plain: PlainHttp) -> Self {
        self.plain = plain;
        self
    }

    /// How long one request may take. Default: 5 seconds for a read, 12 for a write, for GitHub gives up after 10
    /// and may have carried it out until then.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = Some(timeout);
        self
    }

    /// How often it asks again. Default: [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How fast, and how much at once. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Makes its pauses, and the names that it makes up, the same in every run: for tests.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// What time it is. Default: this machine's clock. A guard's own is used where a guard asks.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the client. It asks nothing yet.
    ///
    /// # Errors
    /// [`SetupError`] when the URL or the token cannot be one, or TLS cannot be set up.
    pub fn build(self) -> Result<GitHub, SetupError> {
        let api = ApiUrl::parse(&self.api_url, self.plain)?;
        let credentials = match self.who {
            Who::Token(token) => Credentials::token(&token)?,
            Who::App(app) => Credentials::app(app),
        };
        let random = self
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Ok(GitHub {
            inner: Arc::new(Inner {
                transport: Transport::new(api, self.request_timeout)?,
                credentials,
                pace: Pace::new(self.limits),
                pause: Pause::default(),
                breaker: Breaker::default(),
                kept: Kept::default(),
                ahead: Mutex::default(),
                random: Mutex::new(random),
                refused: AtomicBool::new(false),
            }),
            clock: self.clock,
            manner: Manner {
                time: Time::Each(CALL_TIMEOUT),
                retry: self.retry,
                reserve: None,
                heeds_outage: true,
            },
        })
    }
}
