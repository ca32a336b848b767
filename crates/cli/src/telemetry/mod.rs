//! Logs to standard error and to files, and traces, logs and metrics to a collector.
//!
//! Libraries only emit spans and events; here they find their subscriber. Logs are lines for people, or JSON with `--format json`; those of
//! a server are also JSON in the folder `logs` of its data directory. `RUST_LOG` overrides what is logged. Traces and logs, and what a server
//! counts, leave over OTLP/HTTP when `OTEL_EXPORTER_OTLP_ENDPOINT` or `telemetry.endpoint` is set and the feature `otel` is on.

#[cfg_attr(feature = "otel", path = "export/mod.rs")]
#[cfg_attr(not(feature = "otel"), path = "no_export.rs")]
mod export;
#[cfg(feature = "server")]
#[cfg_attr(feature = "otel", path = "remote_parent.rs")]
#[cfg_attr(not(feature = "otel"), path = "no_remote_parent.rs")]
mod remote_parent;
#[cfg_attr(feature = "otel", path = "trace_context.rs")]
#[cfg_attr(not(feature = "otel"), path = "no_trace_context.rs")]
mod trace_context;

use std::{io::IsTerminal as _, panic, path::PathBuf, sync::Arc};

use orchestr8_schema::config::TelemetryConfig;
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub(crate) use self::trace_context::traceparent;
#[cfg(feature = "server")]
pub(crate) use self::{export::MetricExport, remote_parent::continue_trace};
use crate::{log_files::LogFiles, ui::Color};

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Nothing.
    Silent,
    /// What failed.
    Errors,
    /// Also what may be wrong.
    Warnings,
    /// Also what an operator acts on.
    Info,
    /// Also each decision.
    Debug,
    /// Everything.
    Trace,
}

impl Verbosity {
    fn directives(self) -> &'static str {
        match self {
            Self::Silent => "off",
            Self::Errors => "error",
            Self::Warnings => "warn",
            Self::Info => "warn,orchestr8=info",
            Self::Debug => "warn,orchestr8=debug",
            Self::Trace => "info,orchestr8=trace",
        }
    }
}

/// How logs are written.
#[derive(Clone, Debug)]
pub struct Logs {
    /// How much.
    pub verbosity: Verbosity,
    /// As JSON.
    pub json: bool,
    /// In colour.
    pub color: Color,
    /// Whether they are written to standard error.
    pub to_stderr: bool,
    /// The folder of files that they are written to, too.
    pub folder: Option<PathBuf>,
}

/// What is open as long as the program runs; dropping it sends the spans and lines of the log that have not left yet.
#[derive(Debug)]
#[must_use = "dropping it ends the export"]
pub struct Telemetry {
    _export: export::Export,
}

/// Installs the subscriber of the program. Should there be one already, as in tests, it stays.
pub fn start(logs: Logs, config: &TelemetryConfig) -> Telemetry {
    let filter = || match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::new(directives),
        _ => EnvFilter::new(logs.verbosity.directives()),
    };
    let ansi = match logs.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    };
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
    let format = if logs.json {
        format.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    } else {
        format.boxed()
    };
    let (export, mut layers) = export::Export::start(config, filter);
    if logs.to_stderr {
        layers.push(format.with_filter(filter()).boxed());
    }
    layers.extend(logs.folder.map(|folder| to_files(folder).with_filter(filter()).boxed()));
    // In a process that has a subscriber already, that one is meant.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    log_panics();
    Telemetry { _export: export }
}

/// Writes each event as one line of JSON, with the span that it happened in.
fn to_files(folder: PathBuf) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(Arc::new(LogFiles::new(folder)));
    layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
}

/// Makes a panic, wherever it is caught, a line in the log like any other error, without a backtrace.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("no message");
        tracing::error!(location, "panicked: {message}");
    }));
}
