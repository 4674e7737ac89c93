//! Which request goes where: the one place that knows the paths.

use super::{
    answer::{Answer, json, not_allowed, not_found},
    deliver::Intake,
};
use hyper::{Method, Request, StatusCode, body::Incoming};
use scale_in_guard::webhook::Receiver;
use serde_json::json;
use std::sync::Arc;

/// Everything that can be asked.
#[derive(Debug)]
pub(super) struct Routes {
    receiver: Arc<Receiver>,
    deliveries: Intake,
}

impl Routes {
    pub(super) fn to(receiver: Arc<Receiver>) -> Self {
        let deliveries = Intake::into(receiver.clone());
        Self {
            receiver,
            deliveries,
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let method = request.method();
        match request.uri().path() {
            "/healthz" if matches!(*method, Method::GET | Method::HEAD) => self.health().await,
            "/healthz" => not_allowed("GET"),
            // Kept free.
            path if path == "/metrics" || path.starts_with("/beacons/") => not_found(),
            _ if *method == Method::POST => self.deliveries.take(request).await,
            _ if *method == Method::GET || *method == Method::HEAD => not_found(),
            _ => not_allowed("POST"),
        }
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
