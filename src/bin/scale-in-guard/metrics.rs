//! The option `--metrics`: a Prometheus endpoint of its own, so that what is open to the world need not show it.

use crate::{Fault, terminal::tell};
use clap::Args;
use metrics_exporter_prometheus::PrometheusBuilder;
use scale_in_guard::telemetry;
use std::net::SocketAddr;

#[derive(Args)]
pub(crate) struct Metrics {
    /// Serve metrics for Prometheus at http://ADDR, such as 127.0.0.1:9464; docs/observability.md lists them
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
}

/// Upper bounds, in seconds, of what takes from a millisecond to the longest deadline.
const BUCKETS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

impl Metrics {
    /// Serves them from now on, if they are wanted.
    pub(crate) fn serve(&self) -> Result<(), Fault> {
        let Some(at) = self.metrics else {
            return Ok(());
        };
        let named = |error| format!("--metrics {at}: {error}");
        let builder = PrometheusBuilder::new().with_http_listener(at);
        let builder = builder.set_buckets(&BUCKETS).map_err(named)?;
        builder.install().map_err(named)?;
        telemetry::describe();
        tell(format_args!(
            "scale-in-guard: metrics at http://{at}/metrics"
        ));
        Ok(())
    }
}
