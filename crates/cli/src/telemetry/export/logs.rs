//! Lines of the log as records of OpenTelemetry
//!
//! Written here rather than taken from `opentelemetry-appender-tracing`: that one ties a record to the span that is entered, and many of our
//! lines are told of a span that is not, but named as their parent.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use opentelemetry::{
    logs::{AnyValue, LogRecord as _, Logger as _, Severity},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger};
use orchestr8_core::{agent_base::Clock as _, clock::SystemClock};
use tracing::{
    Event, Level, Subscriber, dispatcher,
    field::{Field, Visit},
};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

/// Makes a record of each event, in the span that it belongs to.
#[derive(Debug)]
pub(super) struct Records {
    logger: SdkLogger,
    clock: SystemClock,
}

impl Records {
    pub(super) fn new(logger: SdkLogger) -> Self {
        Self { logger, clock: SystemClock::new() }
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Records {
    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let metadata = event.metadata();
        let mut record = self.logger.create_log_record();
        let now = Duration::from_micros(self.clock.now().as_micros().unsigned_abs());
        record.set_timestamp(UNIX_EPOCH + now);
        record.set_target(metadata.target());
        record.set_severity_number(severity(*metadata.level()));
        record.set_severity_text(metadata.level().as_str());
        // The layer of traces knows where the span is in its trace; both are of the one subscriber of the program.
        let identity = |span: SpanRef<'_, S>| dispatcher::get_default(|all| get_otel_context(&span.id(), all));
        if let Some(inside) = cx.event_span(event).and_then(identity) {
            let identity = inside.span().span_context().clone();
            if identity.is_valid() {
                record.set_trace_context(identity.trace_id(), identity.span_id(), Some(identity.trace_flags()));
            }
        }
        event.record(&mut Fields(&mut record));
        self.logger.emit(record);
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warn,
        Level::INFO => Severity::Info,
        Level::DEBUG => Severity::Debug,
        Level::TRACE => Severity::Trace,
    }
}

/// Writes fields to a record; the message is its body.
struct Fields<'a>(&'a mut SdkLogRecord);

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: AnyValue) {
        match field.name() {
            "message" => self.0.set_body(value),
            name => self.0.add_attribute(name, value),
        }
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned().into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.record_str(field, &value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}
