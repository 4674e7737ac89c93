//! What beacons report: read within bounds, and handed to the intake.

use super::answer::{Answer, closing, line, not_found, with_type};
use http_body_util::{BodyExt, Limited};
use hyper::{Request, StatusCode, body::Incoming, header::AUTHORIZATION};
use scale_in_guard::intake::Intake;
use std::time::Duration;
use tokio::time::timeout;

/// How long a body may take: a report is short.
const TO_READ: Duration = Duration::from_secs(5);

/// Answers a request of a beacon's. Without an intake there is nothing here.
pub(super) async fn answer(intake: Option<&Intake>, request: Request<Incoming>) -> Answer {
    let Some(intake) = intake else {
        return not_found();
    };
    let (head, body) = request.into_parts();
    let body = Limited::new(body, Intake::LONGEST_BODY).collect();
    let body = match timeout(TO_READ, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let text = "the body is cut off, or longer than any report";
            return closing(line(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Err(_) => return closing(line(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    };
    let target = head
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let authorization = head.headers.get(AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let answer = intake
        .answer(head.method.as_str(), target, authorization, &body)
        .await;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_type(status, answer.body, "application/json")
}
