//! Stands in for the exporter in a program built without it.

use orchestr8_schema::config::TelemetryConfig;
use tracing_subscriber::{Layer, Registry};

/// Sends nothing.
#[derive(Debug)]
pub(super) struct Export;

impl Export {
    /// There is nothing to open.
    pub(super) fn start(_: &TelemetryConfig) -> (Self, Option<Box<dyn Layer<Registry> + Send + Sync>>) {
        (Self, None)
    }
}
