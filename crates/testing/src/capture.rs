//! What was logged and traced while a test ran.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use orchestr8_core::{
    Engine,
    bus::{Delivery, Published, Subscription},
    machine::{State, fold},
    metrics::MetricsSnapshot,
};
use orchestr8_schema::ExecutionId;

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};

/// Collects the log lines and spans of this thread, of all levels, until what it returns is dropped. A test on tokio's current-thread
/// runtime, which a paused clock needs anyway, runs on one thread alone. Of a harness that is told to be
/// [captured](crate::Harness::captured) it collects what the engine publishes and counts, too.
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
    Captured { lines, engines: Engines::default(), _guard: tracing::subscriber::set_default(recorder) }
}

/// What [`capture`] has collected so far.
#[derive(Debug)]
pub struct Captured {
    lines: Lines,
    engines: Engines,
    _guard: DefaultGuard,
}

impl Captured {
    /// Returns a line for each thing that was logged, `LEVEL message field=value`, for each span, `span name field=value`, and for what
    /// was added to one later, `span field=value`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a line for each event that the bus has published, as a subscriber reads it: its type, and the path of its step; of progress
    /// `step.progress` or `model.delta` with what was said, and `events.dropped` where a subscriber would have missed some.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        let mut engines = self.engines.known();
        engines.iter_mut().for_each(Followed::read);
        engines.iter().flat_map(|engine| engine.lines.iter().cloned()).collect()
    }

    /// Returns what the engine of the latest life of the process has counted; absent before there is one.
    #[must_use]
    pub fn metrics(&self) -> Option<MetricsSnapshot> {
        self.engines.known().last().and_then(|followed| followed.engine.metrics())
    }

    pub(crate) fn engines(&self) -> Engines {
        self.engines.clone()
    }
}

/// The engines of a harness that is captured, one for each life of its process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Engines(Arc<Mutex<Vec<Followed>>>);

#[derive(Debug)]
struct Followed {
    engine: Engine,
    subscription: Subscription,
    /// Of each execution, for the paths of its steps.
    states: HashMap<ExecutionId, State>,
    lines: Vec<String>,
}

impl Engines {
    fn known(&self) -> MutexGuard<'_, Vec<Followed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows what an engine publishes from here on.
    pub(crate) fn follow(&self, engine: &Engine) {
        let subscription = engine.bus().subscribe(None).unwrap_or_else(|error| panic!("{error}")).with_progress();
        let (states, lines) = (HashMap::new(), Vec::new());
        self.known().push(Followed { engine: engine.clone(), subscription, states, lines });
    }
}

impl Followed {
    /// Takes what was published since it was read last.
    fn read(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let Poll::Ready(delivery) = pin!(self.subscription.next()).poll(&mut cx) else { return };
            self.lines.push(match delivery {
                Delivery::Event(Published { origin, event, .. }) => {
                    let state = self.states.entry(origin.identity.execution_id);
                    let state = state.or_insert_with(|| State::new(&origin.plan));
                    fold(&origin.plan, state, &event);
                    let activation = event.body.activation();
                    let path = activation.and_then(|activation| state.step_path(&origin.plan, activation));
                    let path = path.map(|path| format!(" {path}")).unwrap_or_default();
                    format!("{}{path}", event.body.name())
                }
                Delivery::Progress { progress, .. } => {
                    let name = if progress.is_text { "model.delta" } else { "step.progress" };
                    format!("{name} {}", progress.message)
                }
                Delivery::Dropped { count, .. } => format!("events.dropped {count}"),
            });
        }
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
