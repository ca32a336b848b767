//! Stands in for the exporter in a program built without it.

use orchestr8_schema::config::TelemetryConfig;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Sends nothing.
#[derive(Debug)]
pub(super) struct Export;

impl Export {
    /// There is nothing to open.
    pub(super) fn start(
        _: &TelemetryConfig,
        _: impl Fn() -> EnvFilter,
    ) -> (Self, Vec<Box<dyn Layer<Registry> + Send + Sync>>) {
        (Self, Vec::new())
    }
}

/// Sends nothing.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) enum MetricExport {}

#[cfg(feature = "server")]
impl MetricExport {
    /// There is nothing to send.
    pub(crate) fn start(_: &TelemetryConfig, _: &crate::server::Service) -> Option<Self> {
        None
    }

    /// There never is one.
    pub(crate) async fn finish(self) {
        match self {}
    }
}
