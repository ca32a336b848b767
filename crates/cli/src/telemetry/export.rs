//! The exporter: OTLP over HTTP.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{Layer, Registry, filter};

/// How long the last spans may take to leave at the end of the program.
const FLUSH: Duration = Duration::from_secs(3);

/// Sends spans away; nothing without an endpoint.
#[derive(Debug)]
pub(super) struct Export {
    provider: Option<SdkTracerProvider>,
}

impl Export {
    /// Opens the export if the environment names an endpoint, and makes the layer that feeds it.
    ///
    /// Only our own spans are exported: those of the exporter's HTTP client would beget further ones for ever.
    pub(super) fn start() -> (Self, Option<Box<dyn Layer<Registry> + Send + Sync>>) {
        let value = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| value("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let Some(endpoint) = endpoint else { return (Self { provider: None }, None) };
        let is_set = |name| value(name).is_some();
        if endpoint.starts_with("https:") {
            eprintln!("warning: traces are not exported: `{endpoint}` needs TLS, which this program is built without");
            return (Self { provider: None }, None);
        }
        // The blocking client, since the batch processor exports from a thread of its own that has no async runtime.
        let mut exporter = opentelemetry_otlp::SpanExporter::builder().with_http();
        if !is_set("OTEL_EXPORTER_OTLP_TIMEOUT") && !is_set("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT") {
            exporter = exporter.with_timeout(FLUSH);
        }
        let exporter = match exporter.build() {
            Ok(exporter) => exporter,
            Err(error) => {
                eprintln!("warning: traces are not exported: {error}");
                return (Self { provider: None }, None);
            }
        };
        let mut resource = Resource::builder();
        if !is_set("OTEL_SERVICE_NAME") {
            resource = resource.with_service_name("orchestr8");
        }
        let provider =
            SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build();
        let tracer = provider.tracer("orchestr8");
        let ours = filter::filter_fn(|metadata| {
            metadata.target().starts_with("orchestr8") && *metadata.level() <= tracing::Level::DEBUG
        });
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(ours)
            .boxed();
        (Self { provider: Some(provider) }, Some(layer))
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            let sent = provider.force_flush();
            if let Err(error) = sent.and_then(|()| provider.shutdown_with_timeout(FLUSH)) {
                eprintln!("warning: some traces were not exported: {error}");
            }
        }
    }
}
