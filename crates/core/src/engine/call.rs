//! What a driver and one of its calls share: the call's side asks and tells, the driver's side grants.
//!
//! Both live in the driver's task (a call is polled by it), so nothing here is ever contended: what every call needs are flags
//! that are plainly read and written, atomic only because the futures must be `Send`. What few calls need stands behind a lock.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use orchestr8_agent_base::{AgentContext, AgentError, context::Reserved};
use orchestr8_resilience::{
    CircuitOpen, Classify, Elapsed, Observer,
    circuit_breaker::CircuitChange,
    observe::{GaveUp, Queue, ScheduledRetry, Waited},
};
use orchestr8_schema::{Failure, Timestamp, event::QueueName, usage::Usage};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{host::ExecutionHost, stack::CallFuture};
use crate::telemetry;

/// What a driver and one of its calls share.
pub(super) struct CallState {
    cx: AgentContext,
    host: Arc<ExecutionHost>,
    /// No attempt may last beyond.
    deadline: Option<Timestamp>,
    span: Span,
    waker: AtomicWaker,
    has_slot: Flag,
    wants_slot: Flag,
    wants_start: Flag,
    start_granted: Flag,
    aborted: Flag,
    /// The tokens of attempts fire at once.
    told: Flag,
    has_signals: Flag,
    /// The number of the attempt that begins next, or is in progress.
    attempt: AtomicU32,
    /// When the attempt in progress began, in microseconds.
    began_at: AtomicI64,
    /// Of the latest attempt.
    token: Mutex<Option<CancellationToken>>,
    port: Mutex<Port>,
}

/// What only calls with something to tell need.
#[derive(Default)]
struct Port {
    signals: Vec<Signal>,
    /// Open while an attempt is in progress that somebody watches.
    attempt_span: Option<Span>,
    /// Open while a retry waits.
    backoff_span: Option<Span>,
}

/// A flag that only one task reads and writes, so that no read has to be tied to a write.
#[derive(Default)]
struct Flag(AtomicBool);

impl Flag {
    fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    fn set(&self, to: bool) {
        self.0.store(to, Relaxed);
    }

    fn take(&self) -> bool {
        let was = self.get();
        if was {
            self.set(false);
        }
        was
    }
}

/// What a call has told since the last time, and what it waits for.
pub(super) struct Heard {
    /// In the order in which it happened; empty, and without memory of its own, when all goes well.
    pub(super) signals: Vec<Signal>,
    pub(super) need: Option<Need>,
}

/// What a call waits for that only its driver can give.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    /// An attempt waits for a slot.
    Slot,
    /// An attempt is about to begin and waits until that is stored.
    Start,
}

/// What a call tells its driver.
#[derive(Debug)]
pub(super) enum Signal {
    /// An attempt took too long.
    TimedOut { attempt: u32, timeout: Duration },
    /// A circuit changed its state.
    Circuit(CircuitChange),
    /// An attempt waited for a permit, and has it now or was refused.
    Waited { queue: QueueName, key: String, time: Duration, rejected: bool },
    /// An attempt failed, or a layer rejected it, and the next one is due then.
    Retry { attempt: u32, rejected: bool, failure: Failure, delay: Duration, due_at: Instant },
}

impl CallState {
    /// Begins a call whose first attempt has this number.
    pub(super) fn new(
        cx: AgentContext,
        host: Arc<ExecutionHost>,
        deadline: Option<Timestamp>,
        span: Span,
        attempt: u32,
        has_slot: bool,
    ) -> Self {
        Self {
            cx,
            host,
            deadline,
            span,
            waker: AtomicWaker::new(),
            has_slot: Flag(AtomicBool::new(has_slot)),
            wants_slot: Flag::default(),
            wants_start: Flag::default(),
            start_granted: Flag::default(),
            aborted: Flag::default(),
            told: Flag::default(),
            has_signals: Flag::default(),
            attempt: AtomicU32::new(attempt),
            began_at: AtomicI64::new(0),
            token: Mutex::new(None),
            port: Mutex::default(),
        }
    }

    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn token(&self) -> MutexGuard<'_, Option<CancellationToken>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        self.port().signals.push(signal);
        self.has_signals.set(true);
    }

    fn signal_wait(&self, waited: &Waited<'_>, rejected: bool) {
        let queue = match waited.queue {
            Queue::Bulkhead => QueueName::Bulkhead,
            Queue::RateLimit => QueueName::RateLimit,
        };
        self.signal(Signal::Waited { queue, key: waited.key.to_owned(), time: waited.time, rejected });
    }

    /// Takes what the agent has said that it used up.
    pub(super) fn take_usage(&self) -> Option<Arc<Usage>> {
        self.cx.take_usage().map(Arc::new)
    }

    /// Tells the agent what is reserved for the attempt that begins now.
    pub(super) fn set_reserved(&self, reserved: Reserved) {
        self.cx.set_reserved(reserved);
    }

    /// Hides secrets that the agent was given in what it answers.
    pub(super) fn hide_secrets(&self, result: &mut Result<Value, AgentError>) {
        self.host.hide_in(result);
    }

    /// Returns what the agent has said so far that this attempt used up.
    pub(super) fn reported_usage(&self) -> Option<Usage> {
        self.cx.reported_usage()
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    // === the driver's side ===

    pub(super) fn grant_slot(&self) {
        self.has_slot.set(true);
    }

    pub(super) fn take_slot_back(&self) {
        self.has_slot.set(false);
    }

    /// Lets an attempt go on whose beginning is stored with this time.
    pub(super) fn grant_start(&self, at: Timestamp) {
        self.began_at.store(at.as_micros(), Relaxed);
        self.start_granted.set(true);
    }

    /// Takes what the call has told since the last time.
    pub(super) fn take_signals(&self) -> Heard {
        let signals = if self.has_signals.take() { std::mem::take(&mut self.port().signals) } else { Vec::new() };
        let need = match (self.wants_slot.take(), self.wants_start.take()) {
            (true, _) => Some(Need::Slot),
            (false, true) => Some(Need::Start),
            (false, false) => None,
        };
        Heard { signals, need }
    }

    fn has_news(&self) -> bool {
        self.wants_slot.get() || self.wants_start.get() || self.has_signals.get()
    }

    /// Returns the number of the attempt that begins next, or is in progress.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt.load(Relaxed)
    }

    /// Fires the token of the attempt in progress, or of the one that is about to begin.
    pub(super) fn cancel_attempt(&self) {
        self.told.set(true);
        let token = self.token().clone();
        if let Some(token) = token {
            token.cancel();
        }
    }

    /// Has the call dropped at the next poll, which comes soon.
    pub(super) fn abort(&self) {
        self.cancel_attempt();
        self.aborted.set(true);
        self.waker.wake();
    }

    // === the call's side ===

    pub(super) fn has_slot(&self) -> bool {
        self.has_slot.get()
    }

    pub(super) fn ask_for_slot(&self) {
        self.end_backoff();
        self.wants_slot.set(true);
    }

    pub(super) fn ask_for_start(&self) {
        self.end_backoff();
        self.wants_start.set(true);
    }

    /// Whether the attempt's beginning is stored, and it has not yet begun in the layers.
    pub(super) fn may_start(&self) -> bool {
        self.start_granted.get()
    }

    pub(super) fn take_start(&self) -> bool {
        self.start_granted.take()
    }

    fn end_backoff(&self) {
        if self.attempt() > 1 {
            self.port().backoff_span = None;
        }
    }

    /// Makes what the agent is given for the attempt that begins now.
    pub(super) fn begin_attempt(&self, timeout: Duration) -> (AgentContext, CancellationToken, Span) {
        let attempt = self.attempt();
        let expires = Timestamp::from_micros(self.began_at.load(Relaxed)).plus(timeout);
        let deadline = self.deadline.map_or(expires, |deadline| deadline.min(expires));
        let span = telemetry::attempt_span(&self.span, attempt);
        if !span.is_disabled() {
            self.port().attempt_span = Some(span.clone());
        }
        let token = CancellationToken::new();
        if self.told.get() {
            token.cancel();
        }
        *self.token() = Some(token.clone());
        (self.cx.for_attempt(attempt, Some(deadline)), token, span)
    }

    pub(super) fn end_attempt(&self, span: &Span, result: &Result<Value, AgentError>) {
        if span.is_disabled() {
            return;
        }
        self.port().attempt_span = None;
        match result {
            Ok(_) => telemetry::record_end(span, "completed", None),
            Err(error) => telemetry::record_end(span, "failed", Some(error.kind())),
        }
    }
}

/// The layers tell what they decide at the moment of the decision.
impl Observer<AgentError> for CallState {
    fn retry_scheduled(&self, retry: &ScheduledRetry, error: &AgentError) {
        let attempt = self.attempt();
        let rejected = error.is_rejection();
        // A number is that of an attempt that reached the agent.
        let next = if rejected { attempt } else { attempt + 1 };
        tracing::debug!(parent: &self.span, attempt = next, delay_ms = retry.delay.as_millis() as u64, "retry_backoff");
        let failure = error.to_failure();
        self.signal(Signal::Retry { attempt, rejected, failure, delay: retry.delay, due_at: retry.due_at });
        self.port().backoff_span = Some(telemetry::backoff_span(&self.span, next, retry.delay));
        // The next attempt takes a slot of its own, once its delay is over.
        self.has_slot.set(false);
        self.attempt.store(next, Relaxed);
    }

    fn gave_up(&self, attempts: u32, reason: GaveUp, error: &AgentError) {
        if reason == GaveUp::Exhausted {
            tracing::warn!(parent: &self.span, attempts, error_code = error.kind().code(), "retry_exhausted");
        }
    }

    fn timed_out(&self, elapsed: &Elapsed) {
        let span = self.port().attempt_span.take();
        if let Some(span) = span {
            tracing::warn!(parent: &span, timeout_ms = elapsed.limit().as_millis() as u64, "timeout_triggered");
            telemetry::record_end(&span, "failed", Some(orchestr8_schema::ErrorKind::Timeout));
        }
        self.signal(Signal::TimedOut { attempt: self.attempt(), timeout: elapsed.limit() });
        // Whatever the agent has handed its token to hears of the end; the agent's own future is dropped.
        let token = self.token().take();
        if let Some(token) = token {
            token.cancel();
        }
    }

    fn circuit_changed(&self, change: &CircuitChange) {
        tracing::info!(
            parent: &self.span,
            key = &*change.key, old_state = ?change.old, new_state = ?change.new, reason = change.reason.as_str(),
            "circuit_state_change"
        );
        self.signal(Signal::Circuit(change.clone()));
    }

    fn probe_started(&self, key: &str) {
        tracing::warn!(parent: &self.span, key, "circuit_probe_attempt");
    }

    fn rejected(&self, rejection: &CircuitOpen) {
        tracing::warn!(parent: &self.span, key = rejection.key(), "permit_rejected");
    }

    fn waited(&self, waited: &Waited<'_>) {
        let Waited { queue, key, time, .. } = *waited;
        let waited_ms = time.as_millis() as u64;
        tracing::info!(parent: &self.span, layer = queue.as_str(), key, waited_ms, "permit_wait");
        self.signal_wait(waited, false);
    }

    fn refused(&self, waited: &Waited<'_>, _error: &AgentError) {
        tracing::warn!(parent: &self.span, layer = waited.queue.as_str(), key = waited.key, "permit_rejected");
        self.signal_wait(waited, true);
    }
}

impl fmt::Debug for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallState").field("step_path", self.cx.step_path()).finish_non_exhaustive()
    }
}

/// A call that waits for something outside of its driver. Resolves whenever the driver has something to do with it.
pub(super) struct InFlight {
    pub(super) key: usize,
    pub(super) state: Arc<CallState>,
    pub(super) future: Option<CallFuture>,
}

/// Why an [`InFlight`] call came back.
pub(super) enum Returned {
    /// It was aborted, and is dropped.
    Aborted,
    /// It has something to tell, and goes on then.
    Signals { key: usize, future: CallFuture },
    /// It has its final answer.
    Answered { key: usize, result: Result<Value, AgentError> },
}

impl Future for InFlight {
    type Output = Returned;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Returned> {
        self.state.waker.register(cx.waker());
        let key = self.key;
        let aborted = self.state.aborted.get();
        let Some(mut future) = self.future.take().filter(|_| !aborted) else {
            return Poll::Ready(Returned::Aborted);
        };
        match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Returned::Answered { key, result }),
            Poll::Pending if self.state.has_news() => Poll::Ready(Returned::Signals { key, future }),
            Poll::Pending => {
                self.future = Some(future);
                Poll::Pending
            }
        }
    }
}
