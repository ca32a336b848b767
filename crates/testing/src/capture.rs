//! What was logged and traced while a test ran.

use std::{
    fmt::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};

/// Collects the log lines and spans of this thread, of all levels, until what it returns is dropped. A test on tokio's current-thread
/// runtime, which a paused clock needs anyway, runs on one thread alone.
///
/// ```
/// use orchestr8_testing::capture;
///
/// let captured = capture();
/// tracing::info!(attempt = 2, "tried again");
/// assert_eq!(captured.lines(), ["INFO tried again attempt=2"]);
/// ```
#[must_use]
pub fn capture() -> Captured {
    let lines = Lines::default();
    let recorder = Recorder { lines: lines.clone(), spans: AtomicU64::new(0) };
    Captured { lines, _guard: tracing::subscriber::set_default(recorder) }
}

/// What [`capture`] has collected so far.
#[derive(Debug)]
pub struct Captured {
    lines: Lines,
    _guard: DefaultGuard,
}

impl Captured {
    /// Returns a line for each thing that was logged, `LEVEL message field=value`, for each span, `span name field=value`, and for what
    /// was added to one later, `span field=value`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, line: Line) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }
}

struct Recorder {
    lines: Lines,
    spans: AtomicU64,
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(format!("span {}", span.metadata().name()));
        span.record(&mut line);
        self.lines.push(line);
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut line = Line("span".to_owned());
        values.record(&mut line);
        self.lines.push(line);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.lines.push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Writes fields as they are visited.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a text cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
