//! One request, and its answer read to the end.

use super::{
    ApiUrl, GitHubError, SetupError,
    call::Call,
    error::Refusal,
    limits::{Slot, Told},
};
use crate::time::{Instant, age};
use chrono::{DateTime, TimeDelta};
use reqwest::{
    Response, StatusCode,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, HeaderValue,
        IF_NONE_MATCH, LINK, LOCATION, RETRY_AFTER, USER_AGENT,
    },
    redirect,
};
use std::{
    error::Error as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use url::Url;

/// The version of the API that this client was written for.
const API_VERSION: &str = "2022-11-28";

/// A page of a hundred runs takes about 2 MB; what is much larger is no answer of GitHub's.
const LARGEST_BODY: usize = 32 << 20;

/// No answer of GitHub's is more than this many redirects away.
const MOST_HOPS: usize = 5;

/// How long one request may take where the user does not say. GitHub itself gives up after 10 seconds, so a
/// write may have been carried out until then.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(12);

/// Sends requests to one GitHub.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    pub(super) api: ApiUrl,
    timeout: Option<Duration>,
    requests: AtomicU64,
}

/// An answer, whatever it is.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) heads: Heads,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) error: GitHubError,
    /// Whether GitHub may have heard the question.
    pub(super) was_reached: bool,
}

impl From<GitHubError> for Unanswered {
    fn from(error: GitHubError) -> Self {
        Self {
            error,
            was_reached: true,
        }
    }
}

/// What the headers of an answer say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heads {
    /// GitHub's clock.
    pub(super) date: Option<Instant>,
    pub(super) next: Option<String>,
    pub(super) last: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) request_id: Option<String>,
    /// How long GitHub asks to wait.
    pub(super) retry_after: Option<TimeDelta>,
    /// What is left of the limit that this request counted against.
    pub(super) left: Option<Told>,
    /// When that limit's window ends, in GitHub's time.
    pub(super) resets_at: Option<Instant>,
    /// Whether that limit is the one of ordinary requests.
    pub(super) is_core: bool,
    /// The permissions that GitHub would have accepted.
    pub(super) accepted: Option<String>,
}

impl Transport {
    pub(super) fn new(api: ApiUrl, timeout: Option<Duration>) -> Result<Self, SetupError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/vnd.github+json"),
        );
        headers.insert(
            HeaderName::from_static("x-github-api-version"),
            HeaderValue::from_static(API_VERSION),
        );
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("scale-in-guard/", env!("CARGO_PKG_VERSION"))),
        );
        let mut http = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(timeout.unwrap_or(READ_TIMEOUT).min(READ_TIMEOUT))
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true);
        if api.is_loopback() {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| SetupError::Tls {
            what: plainly(&error),
        })?;
        Ok(Self {
            http,
            api,
            timeout,
            requests: AtomicU64::new(0),
        })
    }

    /// How many requests were sent.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How long one request may take.
    pub(super) fn timeout(&self, slot: Slot) -> Duration {
        self.timeout.unwrap_or(match slot {
            Slot::Read => READ_TIMEOUT,
            Slot::Write => WRITE_TIMEOUT,
        })
    }

    /// Sends a request and reads the answer, within so long.
    pub(super) async fn send(
        &self,
        call: &Call,
        authorization: &HeaderValue,
        etag: Option<&str>,
        within: Duration,
    ) -> Result<Reply, Unanswered> {
        match tokio::time::timeout(within, self.follow(call, authorization, etag)).await {
            Ok(reply) => reply,
            Err(_) => Err(self.no_answer(call, "no answer in time".to_owned()).into()),
        }
    }

    /// Follows redirects, as GitHub's documentation asks, with the method that was asked for, and to no other host.
    async fn follow(
        &self,
        call: &Call,
        authorization: &HeaderValue,
        etag: Option<&str>,
    ) -> Result<Reply, Unanswered> {
        let mut url = call.url.clone();
        for _ in 0..=MOST_HOPS {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let request = self.http.request(call.method.clone(), url.clone());
            let mut request = request.header(AUTHORIZATION, authorization);
            if let Some(etag) = etag {
                request = request.header(IF_NONE_MATCH, etag);
            }
            if let Some(body) = &call.body {
                request = request
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.to_string());
            }
            let response = request.send().await.map_err(|error| Unanswered {
                was_reached: !error.is_connect(),
                error: self.no_answer(call, plainly(&error)),
            })?;
            let Some(to) = redirected_to(&response, &url) else {
                let mut reply = self.read(call, response).await?;
                if reply.status >= 300 {
                    reply.body = without(authorization, &reply.body);
                }
                return Ok(reply);
            };
            // What another host says is not GitHub's word.
            if !self.api.is_origin_of(&to) {
                let what = "redirected to another host, which is not followed".to_owned();
                return Err(self.no_answer(call, what).into());
            }
            url = to;
        }
        let what = "it is redirected again and again".to_owned();
        Err(self.no_answer(call, what).into())
    }

    async fn read(&self, call: &Call, response: Response) -> Result<Reply, GitHubError> {
        let status = response.status();
        let heads = Heads::read(response.headers());
        match body(response).await {
            Ok(body) => Ok(Reply {
                status: status.as_u16(),
                heads,
                body,
            }),
            Err(Broken::TooLong) => Err(GitHubError::Malformed {
                request: call.line(),
                status: status.as_u16(),
                request_id: heads.request_id,
                what: format!("it is longer than {LARGEST_BODY} bytes"),
            }),
            Err(Broken::Off(what)) if status.is_success() => Err(GitHubError::CutOff {
                request: call.line(),
                status: status.as_u16(),
                request_id: heads.request_id,
                what,
            }),
            // The status of a refusal says enough.
            Err(_) => Ok(Reply {
                status: status.as_u16(),
                heads,
                body: Vec::new(),
            }),
        }
    }

    fn no_answer(&self, call: &Call, what: String) -> GitHubError {
        GitHubError::NoAnswer {
            request: call.line(),
            host: self.api.host(),
            what,
        }
    }
}

impl Reply {
    /// The answer as a refusal.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal {
            status: self.status,
            message: message(&self.body),
            request_id: self.heads.request_id.clone(),
            retry_at: None,
        }
    }
}

impl Reply {
    /// Whether it is about what has this tag, as far as it says. A weak tag and a strong one are compared alike.
    pub(super) fn speaks_of(&self, etag: &str) -> bool {
        let bare = |tag: &str| tag.trim_start_matches("W/").to_owned();
        let told = self.heads.etag.as_deref();
        told.is_none_or(|told| bare(told) == bare(etag))
    }
}

/// Where a response sends us, if it does.
fn redirected_to(response: &Response, from: &Url) -> Option<Url> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?;
    let to = from.join(location.to_str().ok()?).ok()?;
    matches!(to.scheme(), "http" | "https").then_some(to)
}

impl Heads {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let named = |name: &'static str| text(HeaderName::from_static(name));
        let number = |name: &'static str| named(name).and_then(|text| text.trim().parse().ok());
        let short = |text: &str, most: usize| text.chars().take(most).collect::<String>();
        let date = text(DATE).and_then(http_date);
        let link = |relation| text(LINK).and_then(|link| super::pages::link(link, relation));
        let resets_at = named("x-ratelimit-reset").and_then(|text| text.trim().parse().ok());
        let left = number("x-ratelimit-limit").zip(number("x-ratelimit-remaining"));
        Self {
            date,
            next: link("next"),
            last: link("last"),
            etag: text(ETAG).map(str::to_owned),
            request_id: named("x-github-request-id").map(|id| short(id, 100)),
            retry_after: text(RETRY_AFTER).and_then(|text| retry_after(text, date)),
            left: left.map(|(limit, remaining)| Told { limit, remaining }),
            resets_at: resets_at.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            is_core: named("x-ratelimit-resource").is_none_or(|resource| resource == "core"),
            accepted: named("x-accepted-github-permissions").map(|text| short(text, 200)),
        }
    }
}

fn http_date(text: &str) -> Option<Instant> {
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some(date.to_utc())
}

/// A `Retry-After`: so many seconds, or a date.
fn retry_after(text: &str, date: Option<Instant>) -> Option<TimeDelta> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Some(TimeDelta::seconds(seconds.into()));
    }
    Some(age(http_date(text)?, date?))
}

/// Why a body could not be read to its end.
enum Broken {
    Off(String),
    TooLong,
}

/// Reads a body to its end.
async fn body(mut response: Response) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    let broke_off = |error: reqwest::Error| Broken::Off(plainly(&error));
    while let Some(chunk) = response.chunk().await.map_err(broke_off)? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(Broken::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A refusal without the credentials, which somebody in between might send back.
fn without(authorization: &HeaderValue, body: &[u8]) -> Vec<u8> {
    let told = String::from_utf8_lossy(body);
    let secret = authorization.to_str().unwrap_or_default();
    let secret = secret.strip_prefix("Bearer ").unwrap_or(secret);
    match secret.is_empty() {
        true => told.into_owned().into_bytes(),
        false => told.replace(secret, "…").into_bytes(),
    }
}

/// GitHub's own words about a refusal.
fn message(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let message = body.get("message")?.as_str()?;
    Some(message.chars().take(200).collect())
}

/// An error with its causes, without the URL: the path stands beside it.
pub(crate) fn plainly(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause = error.source();
    let mut text = String::new();
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.is_empty() {
        "the request failed".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(pairs: &[(&'static str, &'static str)]) -> Heads {
        let headers = pairs.iter().map(|&(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        Heads::read(&headers.collect())
    }

    #[test]
    fn a_pause_is_told_in_seconds_or_as_a_date() {
        let date = ("date", "Thu, 14 May 2026 02:00:00 GMT");
        for (told, seconds) in [
            ("60", Some(60)),
            (" 5 ", Some(5)),
            ("Thu, 14 May 2026 02:01:30 GMT", Some(90)),
            ("soon", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            let heads = heads(&[date, ("retry-after", told)]);
            assert_eq!(heads.retry_after, seconds.map(TimeDelta::seconds), "{told}");
        }
    }

    #[test]
    fn a_limit_is_read_where_it_is_told_whole() {
        let limit = ("x-ratelimit-limit", "5000");
        let remaining = ("x-ratelimit-remaining", "4987");
        let told = Told {
            limit: 5000,
            remaining: 4987,
        };
        assert_eq!(heads(&[limit, remaining]).left, Some(told));
        assert_eq!(heads(&[limit]).left, None);
        assert_eq!(
            heads(&[("x-ratelimit-limit", "many"), remaining]).left,
            None
        );
        assert!(heads(&[]).is_core);
        let other = ("x-ratelimit-resource", "actions_runner_registration");
        assert!(!heads(&[other]).is_core);
    }
}
