//! Which request goes where: the one place that knows the paths.

use super::{
    answer::{Answer, json, not_allowed, not_found},
    beacons,
    deliver::Deliveries,
};
use hyper::{Method, Request, StatusCode, body::Incoming};
use scale_in_guard::{
    intake::Intake,
    webhook::{Outcome, Receiver},
};
use serde_json::json;
use std::sync::Arc;

/// Everything that can be asked.
#[derive(Debug)]
pub(super) struct Routes {
    receiver: Arc<Receiver>,
    deliveries: Deliveries,
    intake: Option<Intake>,
}

impl Routes {
    pub(super) fn to(receiver: Arc<Receiver>, intake: Option<Intake>) -> Self {
        let deliveries = Deliveries::into(receiver.clone());
        Self {
            receiver,
            deliveries,
            intake,
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let method = request.method();
        match request.uri().path() {
            "/healthz" if matches!(*method, Method::GET | Method::HEAD) => self.health().await,
            "/healthz" => not_allowed("GET"),
            path if path.starts_with("/beacons/") => {
                beacons::answer(self.intake.as_ref(), request).await
            }
            // `--metrics` serves them elsewhere, where GitHub need not come.
            "/metrics" => not_found(),
            _ if *method == Method::POST => self.deliveries.take(request).await,
            _ if *method == Method::GET || *method == Method::HEAD => not_found(),
            _ => not_allowed("POST"),
        }
    }

    /// No more connections are taken for now: a delivery may be lost of which nobody hears.
    pub(super) fn is_full(&self) {
        let full = Outcome::Unavailable("too many connections".to_owned());
        self.receiver.refused(&full);
    }

    /// How it is. Anybody may ask, so it tells no names.
    async fn health(&self) -> Answer {
        let reached = self.receiver.reach_store().await;
        if let Err(error) = &reached {
            tracing::debug!(%error, "webhook: the store is away");
        }
        let tally = self.receiver.tally();
        let health = json!({
            "store_reachable": reached.is_ok(),
            "last_event_age_seconds": self.receiver.last_event_age().map(|age| age.num_seconds()),
            "stored": tally.stored,
            "ignored": tally.ignored,
            "refused": tally.refused,
        });
        match reached {
            Ok(()) => json(StatusCode::OK, &health),
            Err(_) => json(StatusCode::SERVICE_UNAVAILABLE, &health),
        }
    }
}
