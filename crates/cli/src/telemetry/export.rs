//! The exporter: OTLP over HTTP.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use orchestr8_core::telemetry::EXECUTION;
use orchestr8_schema::config::{TelemetryConfig, TelemetryMode};
use tracing_subscriber::{Layer, Registry, filter};

/// How long the last spans may take to leave at the end of the program.
const FLUSH: Duration = Duration::from_secs(3);

/// Sends spans away; nothing without an endpoint.
#[derive(Debug)]
pub(super) struct Export {
    provider: Option<SdkTracerProvider>,
}

impl Export {
    /// Opens the export if environment or settings name an endpoint, and makes the layer that feeds it.
    ///
    /// Only our own spans are exported: those of the exporter's HTTP client would beget further ones for ever.
    pub(super) fn start(config: &TelemetryConfig) -> (Self, Option<Box<dyn Layer<Registry> + Send + Sync>>) {
        let nothing = || (Self { provider: None }, None);
        let value = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_set = |name| value(name).is_some();
        let told = value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| value("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let configured = config.endpoint.as_ref().filter(|_| told.is_none());
        let Some(endpoint) = told.as_ref().or(configured).filter(|_| config.mode != TelemetryMode::Disabled) else {
            return nothing();
        };
        if endpoint.starts_with("https:") {
            eprintln!("warning: traces are not exported: `{endpoint}` needs TLS, which this program is built without");
            return nothing();
        }
        // The blocking client, since the batch processor exports from a thread of its own that has no async runtime.
        let mut exporter = opentelemetry_otlp::SpanExporter::builder().with_http();
        if !is_set("OTEL_EXPORTER_OTLP_TIMEOUT") && !is_set("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT") {
            exporter = exporter.with_timeout(FLUSH);
        }
        if let Some(endpoint) = configured {
            exporter = exporter.with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')));
        }
        let exporter = match exporter.build() {
            Ok(exporter) => exporter,
            Err(error) => {
                eprintln!("warning: traces are not exported: {error}");
                return nothing();
            }
        };
        let mut resource = Resource::builder();
        if !is_set("OTEL_SERVICE_NAME") {
            resource = resource.with_service_name("orchestr8");
        }
        let mut provider = SdkTracerProvider::builder().with_resource(resource.build());
        if !is_set("OTEL_TRACES_SAMPLER") {
            // Whoever began a trace decides for all of it.
            provider =
                provider.with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sampling_rate))));
        }
        let provider = match config.mode {
            TelemetryMode::Minimal => provider.with_batch_exporter(Executions(exporter)),
            TelemetryMode::Full | TelemetryMode::Disabled => provider.with_batch_exporter(exporter),
        };
        let provider = provider.build();
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

/// Sends the spans of executions alone. The others exist all the same, so that traces go on through them.
#[derive(Debug)]
struct Executions<E>(E);

impl<E: SpanExporter> SpanExporter for Executions<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        batch.retain(|span| span.name == EXECUTION);
        if batch.is_empty() { Ok(()) } else { self.0.export(batch).await }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
