//! One client behind every call.

use super::{API_URL, ApiUrl, GitHubError, PlainHttp, SetupError};
use crate::time::Instant;
use chrono::DateTime;
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderName, HeaderValue, LINK, USER_AGENT},
    redirect,
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use std::{
    error::Error as _,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use url::Url;

/// The version of the API that this client was written for.
const API_VERSION: &str = "2022-11-28";

/// A page of a hundred runs takes about 2 MB; what is much larger is no answer of GitHub's.
const LARGEST_BODY: usize = 32 << 20;

/// A GitHub to ask. Cheap to clone; clones share connections.
///
/// ```
/// use scale_in_guard::github::GitHub;
/// let github = GitHub::builder("ghp_example")
///     .api_url("https://github.example.com/api/v3")
///     .build()?;
/// assert!(!format!("{github:?}").contains("ghp_example"));
/// # Ok::<(), scale_in_guard::github::SetupError>(())
/// ```
#[derive(Clone)]
pub struct GitHub {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    api: ApiUrl,
    token: SecretString,
    requests: AtomicU64,
    refused: AtomicBool,
}

/// How to reach a GitHub.
#[derive(Debug)]
#[must_use = "a builder asks nobody anything"]
pub struct GitHubBuilder {
    token: SecretString,
    api_url: String,
    plain: PlainHttp,
    timeout: Duration,
}

impl GitHub {
    /// A GitHub to be asked with this token. It needs to read self-hosted runners (of a repository:
    /// `administration:read`; of an organisation: `organization_self_hosted_runners:read`) and, for the
    /// jobs, `actions:read` of the repositories.
    pub fn builder(token: impl Into<SecretString>) -> GitHubBuilder {
        GitHubBuilder {
            token: token.into(),
            api_url: API_URL.to_owned(),
            plain: PlainHttp::default(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn api(&self) -> &ApiUrl {
        &self.inner.api
    }

    /// How many requests were sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::Relaxed)
    }

    /// Whether GitHub ever refused the token (401).
    #[must_use]
    pub fn refused_token(&self) -> bool {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// Sends one GET and reads its answer.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        url: Url,
    ) -> Result<Answer<T>, GitHubError> {
        let request = request_line(&Method::GET, &url);
        let (response, heads) = self.ask(Method::GET, url, &request).await?;
        let status = response.status().as_u16();
        let body = body(response).await.map_err(|what| GitHubError::CutOff {
            request: request.clone(),
            status,
            request_id: heads.request_id.clone(),
            what,
        })?;
        match serde_json::from_slice(&body) {
            Ok(body) => Ok(Answer {
                body,
                date: heads.date,
                next: heads.next,
            }),
            Err(error) => Err(GitHubError::Malformed {
                request,
                status,
                request_id: heads.request_id,
                what: error.to_string(),
            }),
        }
    }

    /// Sends one DELETE. To send it again does no harm: what is gone is gone, and a number is never given
    /// twice.
    pub(super) async fn delete(&self, url: Url) -> Result<(), GitHubError> {
        let request = request_line(&Method::DELETE, &url);
        self.ask(Method::DELETE, url, &request).await.map(drop)
    }

    /// Sends one request; an answer that is no success is an error.
    async fn ask(
        &self,
        method: Method,
        url: Url,
        request: &str,
    ) -> Result<(Response, Heads), GitHubError> {
        let response = self.send(method, url, request).await?;
        let status = response.status();
        let heads = Heads::read(response.headers());
        if matches!(status, StatusCode::OK | StatusCode::NO_CONTENT) {
            return Ok((response, heads));
        }
        if status == StatusCode::UNAUTHORIZED {
            self.inner.refused.store(true, Ordering::Relaxed);
        }
        let body = body(response).await;
        Err(GitHubError::Status {
            request: request.to_owned(),
            status: status.as_u16(),
            message: body.ok().and_then(|body| message(&body)),
            request_id: heads.request_id,
        })
    }

    async fn send(&self, method: Method, url: Url, request: &str) -> Result<Response, GitHubError> {
        let token = self.inner.token.expose_secret();
        // It was seen to fit into a header when the client was made.
        let authorization = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut authorization = authorization.unwrap_or_else(|_| HeaderValue::from_static(""));
        authorization.set_sensitive(true);
        self.inner.requests.fetch_add(1, Ordering::Relaxed);
        let sent = self
            .inner
            .http
            .request(method, url)
            .header(AUTHORIZATION, authorization);
        sent.send().await.map_err(|error| GitHubError::NoAnswer {
            request: request.to_owned(),
            host: self.inner.api.host(),
            what: plainly(&error),
        })
    }
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub")
            .field("api", &self.inner.api.to_string())
            .finish_non_exhaustive()
    }
}

impl GitHubBuilder {
    /// Asks another GitHub than github.com: `https://HOST/api/v3` on Enterprise Server.
    pub fn api_url(mut self, url: impl Into<String>) -> Self {
        self.api_url = url.into();
        self
    }

    /// Whether the token may travel unencrypted. Default: to this machine only.
    pub fn plain_http(mut self, plain: PlainHttp) -> Self {
        self.plain = plain;
        self
    }

    /// How long one request may take in all. Default: 10 seconds.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes the client. It asks nothing yet.
    ///
    /// # Errors
    /// [`SetupError`] when the URL or the token cannot be one, or TLS cannot be set up.
    pub fn build(self) -> Result<GitHub, SetupError> {
        let api = ApiUrl::parse(&self.api_url, self.plain)?;
        let token = self.token.expose_secret();
        if token.trim().is_empty() {
            return Err(SetupError::Token { what: "is empty" });
        }
        if !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(SetupError::Token {
                what: "holds a space, a line break or another character that no token has",
            });
        }
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
            .timeout(self.timeout)
            .connect_timeout(self.timeout.min(Duration::from_secs(5)))
            .redirect(redirects())
            .tcp_nodelay(true);
        if api.is_loopback() {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| SetupError::Tls {
            what: plainly(&error),
        })?;
        Ok(GitHub {
            inner: Arc::new(Inner {
                http,
                api,
                token: self.token,
                requests: AtomicU64::new(0),
                refused: AtomicBool::new(false),
            }),
        })
    }
}

/// Follows redirects, as GitHub's documentation asks, but never from https to http. To another host
/// the token does not go along.
fn redirects() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let downgraded = attempt.url().scheme() == "http"
            && attempt.previous().iter().any(|url| url.scheme() == "https");
        if downgraded {
            attempt.error("redirected from https to http")
        } else {
            redirect::Policy::default().redirect(attempt)
        }
    })
}

/// An answer, and what its headers say.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) body: T,
    /// GitHub's clock when it answered.
    pub(super) date: Option<Instant>,
    /// The page after this one.
    pub(super) next: Option<String>,
}

struct Heads {
    date: Option<Instant>,
    next: Option<String>,
    request_id: Option<String>,
}

impl Heads {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let date = text(&DATE).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let request_id = text(&HeaderName::from_static("x-github-request-id"));
        Self {
            date: date.map(|date| date.to_utc()),
            next: text(&LINK).and_then(super::pages::next),
            request_id: request_id.map(|id| id.chars().take(100).collect()),
        }
    }
}

/// Reads a body to its end, or says why it could not.
async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| plainly(&error))? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(format!("it is longer than {LARGEST_BODY} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// GitHub's own words about a refusal.
fn message(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let message = body.get("message")?.as_str()?;
    Some(message.chars().take(200).collect())
}

/// An error with its causes, without the URL: the path stands beside it.
fn plainly(error: &reqwest::Error) -> String {
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

/// What is asked for, as errors name it.
pub(super) fn request_line(method: &Method, url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{method} {}?{query}", url.path()),
        None => format!("{method} {}", url.path()),
    }
}
