//! What is answered.

use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue},
};
use std::fmt::Display;

pub(super) type Answer = Response<Full<Bytes>>;

/// An answer of one line.
pub(super) fn line(status: StatusCode, text: impl Display) -> Answer {
    with_type(status, format!("{text}\n"), "text/plain; charset=utf-8")
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    with_type(status, format!("{value}\n"), "application/json")
}

pub(super) fn with_type(status: StatusCode, body: String, kind: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

pub(super) fn not_found() -> Answer {
    line(StatusCode::NOT_FOUND, "there is nothing here")
}

/// This path takes no such request, but these.
pub(super) fn not_allowed(allowed: &'static str) -> Answer {
    let text = format_args!("only {allowed} here").to_string();
    let mut answer = line(StatusCode::METHOD_NOT_ALLOWED, text);
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// The same answer, after which the connection ends: the rest of the request is not read.
pub(super) fn closing(mut answer: Answer) -> Answer {
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
