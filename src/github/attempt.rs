//! One attempt: a request, if the limits and GitHub's health allow it, and what its answer means.

use super::{
    App, GitHub, GitHubError, Limit,
    auth::Pass,
    breaker::Outage,
    call::{Call, Right},
    limits::{HOUR, NoTurn},
    send::{Reply, Unanswered},
};
use crate::{
    clock::Deadline,
    telemetry,
    time::{Instant, after, ahead_of},
};
use chrono::TimeDelta;
use reqwest::Method;
use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicU32, Ordering},
};
use tracing::Instrument;

/// One of the attempts that a call takes.
pub(super) struct Attempt<'a> {
    pub(super) deadline: Deadline,
    /// How many requests they have sent.
    pub(super) sent: &'a AtomicU32,
}

impl GitHub {
    pub(super) async fn attempt(
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

    pub(super) async fn attempt_as_app(
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
        match reply.status {
            401 => self.inner.refused.store(true, Ordering::Relaxed),
            _ if is_good && call.right != Right::BeTheApp => {
                self.inner.accepted.store(true, Ordering::Relaxed)
            }
            _ => {}
        }
        let judged = match is_good {
            true => Ok(reply),
            false => Err(self.refusal(call, &reply)),
        };
        if !judged.as_ref().is_err_and(GitHubError::is_rate_limited) {
            self.inner.pause.answered();
        }
        judged
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
        let failures = match self.manner.heeds_outage {
            true => {
                let admitted = inner.breaker.admit(asked_at);
                Some(admitted.map_err(|outage| down(call, outage))?)
            }
            false => None,
        };
        let time = inner.transport.timeout(call.slot());
        let within = time.min(deadline.left());
        sent.fetch_add(1, Ordering::Relaxed);
        ticket.sent();
        let sending = inner
            .transport
            .send(call, &pass.authorization, etag, within);
        let (method, path) = (&call.method, call.url.path());
        let span = tracing::debug_span!("github", %method, path);
        let began = tokio::time::Instant::now();
        let reply = sending.instrument(span).await;
        let status = reply.as_ref().ok().map(|reply| reply.status);
        telemetry::requested(call.method.as_str(), status, began.elapsed());
        self.learn(pass, asked_at, &reply);
        if has_told(&reply) {
            ticket.counted();
        }
        drop(ticket);
        if let Some(failures) = failures {
            let failed = |what: String| inner.breaker.failed(self.now(), failures, &what);
            match &reply {
                Ok(reply) if reply.status == 408 || reply.status >= 500 => {
                    failed(reply.refusal().to_string());
                }
                Ok(_) => inner.breaker.answered(),
                // Whoever had no time to wait says nothing of GitHub.
                Err(_) if within < time => {}
                Err(unanswered) => failed(unanswered.error.to_string()),
            }
        }
        reply.map_err(|unanswered| unanswered.error)
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
    fn learn(&self, pass: &Pass, asked_at: Instant, reply: &Result<Reply, Unanswered>) {
        let Ok(reply) = reply else {
            return;
        };
        let heads = &reply.heads;
        let now = self.now();
        if let Some(date) = heads.date {
            let mut known = self
                .inner
                .ahead
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *known = ahead_of(date, asked_at, now);
        }
        let is_good = (200..400).contains(&reply.status);
        match (heads.left, heads.resets_at) {
            (Some(left), Some(at)) if heads.is_core => {
                let until = self.in_our_time(at);
                telemetry::remaining(left.remaining);
                pass.primary.learn(Some((left, until)), now);
            }
            (None, _) if is_good => pass.primary.learn(None, now),
            _ => {}
        }
    }

    /// What a refusal means, in GitHub's order ("Rate limits for the REST API").
    fn refusal(&self, call: &Call, reply: &Reply) -> GitHubError {
        let mut answer = reply.refusal();
        let (request, heads) = (call.line(), &reply.heads);
        let told = heads
            .retry_after
            .map(|span| span.clamp(TimeDelta::zero(), HOUR));
        answer.retry_at = told.map(|span| after(self.now(), span));
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
                answer: Some(answer.into()),
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
            answer: answer.into(),
            needs,
        }
    }

    pub(super) fn no_answer(&self, call: &Call, what: String) -> GitHubError {
        GitHubError::NoAnswer {
            request: call.line(),
            host: self.api().host(),
            what,
        }
    }
}

/// Whether nothing is left to be told of what GitHub counted: it said so, or it was not reached. A refusal by somebody
/// in between does not say.
fn has_told(reply: &Result<Reply, Unanswered>) -> bool {
    match reply {
        Ok(reply) => {
            let heads = &reply.heads;
            let is_good = (200..400).contains(&reply.status);
            heads.is_core && (heads.left.is_some() || is_good)
        }
        Err(unanswered) => !unanswered.was_reached,
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
