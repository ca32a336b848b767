//! The exporter: OTLP over HTTP.

mod destination;
mod logs;
#[cfg(feature = "server")]
mod metrics;

use std::time::Duration;

use opentelemetry::{logs::LoggerProvider as _, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, LogExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::SdkLoggerProvider,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use orchestr8_core::telemetry::EXECUTION;
use orchestr8_schema::config::{TelemetryConfig, TelemetryMode};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{self, FilterExt as _},
};

#[cfg(feature = "server")]
pub(crate) use self::metrics::MetricExport;
use self::{
    destination::{Signal, variable},
    logs::Records,
};

/// How long the last spans and log records may each take to leave at the end of the program.
const FLUSH: Duration = Duration::from_secs(3);

/// What the HTTP client of the exporter is made of: what it tells would beget further exports for ever.
const EXPORTER: [&str; 7] = ["h2", "hyper", "mio", "opentelemetry", "reqwest", "tower", "want"];

/// A layer of the subscriber.
type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends spans and log records away; nothing without an endpoint.
#[derive(Debug)]
pub(super) struct Export {
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
}

impl Export {
    /// Opens the export if environment or settings name an endpoint, and makes the layers that feed it. Logs leave as they are filtered
    /// elsewhere.
    pub(super) fn start(config: &TelemetryConfig, filter: impl Fn() -> EnvFilter) -> (Self, Vec<BoxedLayer>) {
        let traces = open(Signal::Traces, || traces(config));
        let logs = open(Signal::Logs, || logs(config));
        let layers =
            [traces.as_ref().map(layer_of_traces), logs.as_ref().map(|provider| layer_of_logs(provider, filter()))];
        (Self { traces, logs }, layers.into_iter().flatten().collect())
    }
}

/// Opens the export of a signal, or tells why that cannot be.
fn open<T>(signal: Signal, open: impl FnOnce() -> Result<Option<T>, ExporterBuildError>) -> Option<T> {
    open().unwrap_or_else(|error| {
        signal.stays(&error.to_string());
        None
    })
}

/// Describes the program to whoever receives what leaves it.
fn resource() -> Resource {
    let resource = Resource::builder();
    match variable("OTEL_SERVICE_NAME") {
        Some(_) => resource.build(),
        None => resource.with_service_name("orchestr8").build(),
    }
}

fn traces(config: &TelemetryConfig) -> Result<Option<SdkTracerProvider>, ExporterBuildError> {
    let Some(to) = Signal::Traces.destination(config) else { return Ok(None) };
    // The blocking client, since the batch processor exports from a thread of its own that has no async runtime.
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http();
    let exporter = exporter.with_endpoint(to.url).with_timeout(to.timeout).build()?;
    let mut provider = SdkTracerProvider::builder().with_resource(resource());
    if variable("OTEL_TRACES_SAMPLER").is_none() {
        // Whoever began a trace decides for all of it.
        provider =
            provider.with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sampling_rate))));
    }
    let provider = match config.mode {
        TelemetryMode::Minimal => provider.with_batch_exporter(Executions(exporter)),
        TelemetryMode::Full | TelemetryMode::Disabled => provider.with_batch_exporter(exporter),
    };
    Ok(Some(provider.build()))
}

/// Only our own spans are exported.
fn layer_of_traces(provider: &SdkTracerProvider) -> BoxedLayer {
    let ours = filter::filter_fn(|metadata| {
        metadata.target().starts_with("orchestr8") && *metadata.level() <= tracing::Level::DEBUG
    });
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("orchestr8"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(ours)
        .boxed()
}

fn logs(config: &TelemetryConfig) -> Result<Option<SdkLoggerProvider>, ExporterBuildError> {
    let Some(to) = Signal::Logs.destination(config) else { return Ok(None) };
    let exporter = LogExporter::builder().with_http().with_endpoint(to.url).with_timeout(to.timeout).build()?;
    Ok(Some(SdkLoggerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build()))
}

fn layer_of_logs(provider: &SdkLoggerProvider, filter: EnvFilter) -> BoxedLayer {
    let not_of_the_exporter = filter::filter_fn(|metadata| {
        let module = metadata.target().split("::").next().unwrap_or_default();
        !EXPORTER.iter().any(|name| module.starts_with(name))
    });
    Records::new(provider.logger("orchestr8")).with_filter(filter.and(not_of_the_exporter)).boxed()
}

impl Drop for Export {
    fn drop(&mut self) {
        // Logs first: what is told of traces that do not leave can still leave itself.
        let logs = self.logs.take().map(|logs| logs.force_flush().and_then(|()| logs.shutdown_with_timeout(FLUSH)));
        let traces =
            self.traces.take().map(|traces| traces.force_flush().and_then(|()| traces.shutdown_with_timeout(FLUSH)));
        for (signal, left) in [(Signal::Traces, traces), (Signal::Logs, logs)] {
            if let Some(Err(error)) = left {
                eprintln!("warning: some {} were not exported: {error}", signal.name());
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
