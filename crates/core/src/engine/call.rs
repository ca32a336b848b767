//! What a driver and one of its calls share: the call's side asks and tells, the driver's side grants.
//!
//! Both live in the driver's task (a call is polled by it), so the lock is never contended; it is there because the futures
//! must be `Send`.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use orchestr8_agent_base::{AgentContext, AgentError};
use orchestr8_resilience::{
    CircuitOpen, Elapsed, Observer,
    circuit_breaker::CircuitChange,
    observe::{GaveUp, ScheduledRetry},
};
use orchestr8_schema::{Failure, Timestamp};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::stack::CallFuture;
use crate::telemetry;

/// What a driver and one of its calls share.
pub(super) struct CallState {
    cx: AgentContext,
    input: Arc<Value>,
    /// No attempt may last beyond.
    deadline: Option<Timestamp>,
    span: Span,
    waker: AtomicWaker,
    port: Mutex<Port>,
}

#[derive(Default)]
struct Port {
    has_slot: bool,
    start_granted: bool,
    /// When the attempt in progress began.
    began_at: Timestamp,
    aborted: bool,
    /// The tokens of attempts fire at once.
    told: bool,
    /// The number of the attempt that begins next, or is in progress.
    attempt: u32,
    token: Option<CancellationToken>,
    attempt_span: Option<Span>,
    /// Open while a retry waits.
    backoff_span: Option<Span>,
    signals: Vec<Signal>,
    need: Option<Need>,
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
    /// An attempt failed, and the next one is due then.
    Retry { attempt: u32, failure: Failure, delay: Duration, due_at: Instant },
}

impl CallState {
    /// Begins a call whose first attempt has this number.
    pub(super) fn new(
        cx: AgentContext,
        input: Arc<Value>,
        deadline: Option<Timestamp>,
        span: Span,
        attempt: u32,
    ) -> Self {
        let port = Mutex::new(Port { attempt, ..Port::default() });
        Self { cx, input, deadline, span, waker: AtomicWaker::new(), port }
    }

    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn input(&self) -> &Arc<Value> {
        &self.input
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    // === the driver's side ===

    pub(super) fn grant_slot(&self) {
        self.port().has_slot = true;
    }

    /// Lets an attempt go on whose beginning is stored with this time.
    pub(super) fn grant_start(&self, at: Timestamp) {
        let mut port = self.port();
        (port.start_granted, port.began_at) = (true, at);
    }

    /// Takes what the call has told since the last time.
    pub(super) fn take_signals(&self) -> Heard {
        let mut port = self.port();
        Heard { signals: std::mem::take(&mut port.signals), need: port.need.take() }
    }

    fn has_signals(&self) -> bool {
        let port = self.port();
        port.need.is_some() || !port.signals.is_empty()
    }

    /// Returns the number of the attempt that begins next, or is in progress.
    pub(super) fn attempt(&self) -> u32 {
        self.port().attempt
    }

    /// Fires the token of the attempt in progress, or of the one that is about to begin.
    pub(super) fn cancel_attempt(&self) {
        let token = {
            let mut port = self.port();
            port.told = true;
            port.token.clone()
        };
        if let Some(token) = token {
            token.cancel();
        }
    }

    /// Has the call dropped at the next poll, which comes soon.
    pub(super) fn abort(&self) {
        self.cancel_attempt();
        self.port().aborted = true;
        self.waker.wake();
    }

    // === the call's side ===

    pub(super) fn has_slot(&self) -> bool {
        self.port().has_slot
    }

    pub(super) fn ask_for_slot(&self) {
        let mut port = self.port();
        port.backoff_span = None;
        port.need = Some(Need::Slot);
    }

    pub(super) fn ask_for_start(&self) {
        let mut port = self.port();
        port.backoff_span = None;
        port.need = Some(Need::Start);
    }

    pub(super) fn take_start(&self) -> bool {
        std::mem::take(&mut self.port().start_granted)
    }

    /// Makes what the agent is given for the attempt that begins now.
    pub(super) fn begin_attempt(&self, timeout: Duration) -> (AgentContext, CancellationToken, Span) {
        let token = CancellationToken::new();
        let mut port = self.port();
        let expires = port.began_at.plus(timeout);
        let deadline = self.deadline.map_or(expires, |deadline| deadline.min(expires));
        let span = telemetry::attempt_span(&self.span, port.attempt);
        if port.told {
            token.cancel();
        }
        port.token = Some(token.clone());
        port.attempt_span = Some(span.clone());
        (self.cx.for_attempt(port.attempt, Some(deadline)), token, span)
    }

    pub(super) fn end_attempt(&self, result: &Result<Value, AgentError>) {
        let mut port = self.port();
        port.token = None;
        if let Some(span) = port.attempt_span.take() {
            match result {
                Ok(_) => telemetry::record_end(&span, "completed", None),
                Err(error) => telemetry::record_end(&span, "failed", Some(error.kind())),
            }
        }
    }
}

/// The layers tell what they decide at the moment of the decision.
impl Observer<AgentError> for CallState {
    fn retry_scheduled(&self, retry: &ScheduledRetry, error: &AgentError) {
        let mut port = self.port();
        let next = port.attempt + 1;
        tracing::debug!(parent: &self.span, attempt = next, delay_ms = retry.delay.as_millis() as u64, "retry_backoff");
        let (attempt, failure) = (port.attempt, error.to_failure());
        port.signals.push(Signal::Retry { attempt, failure, delay: retry.delay, due_at: retry.due_at });
        port.backoff_span = Some(telemetry::backoff_span(&self.span, next, retry.delay));
        // The next attempt takes a slot of its own, once its delay is over.
        port.has_slot = false;
        port.attempt = next;
    }

    fn gave_up(&self, attempts: u32, reason: GaveUp, error: &AgentError) {
        if reason == GaveUp::Exhausted {
            tracing::warn!(parent: &self.span, attempts, error_code = error.kind().code(), "retry_exhausted");
        }
    }

    fn timed_out(&self, elapsed: &Elapsed) {
        let mut port = self.port();
        if let Some(span) = port.attempt_span.take() {
            tracing::warn!(parent: &span, timeout_ms = elapsed.limit().as_millis() as u64, "timeout_triggered");
            telemetry::record_end(&span, "failed", Some(orchestr8_schema::ErrorKind::Timeout));
        }
        let attempt = port.attempt;
        port.signals.push(Signal::TimedOut { attempt, timeout: elapsed.limit() });
        // Whatever the agent has handed its token to hears of the end; the agent's own future is dropped.
        let token = port.token.take();
        drop(port);
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
        self.port().signals.push(Signal::Circuit(change.clone()));
    }

    fn probe_started(&self, key: &str) {
        tracing::warn!(parent: &self.span, key, "circuit_probe_attempt");
    }

    fn rejected(&self, rejection: &CircuitOpen) {
        tracing::warn!(parent: &self.span, key = rejection.key(), "permit_rejected");
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
        let aborted = self.state.port().aborted;
        let Some(mut future) = self.future.take().filter(|_| !aborted) else {
            return Poll::Ready(Returned::Aborted);
        };
        match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Returned::Answered { key, result }),
            Poll::Pending if self.state.has_signals() => Poll::Ready(Returned::Signals { key, future }),
            Poll::Pending => {
                self.future = Some(future);
                Poll::Pending
            }
        }
    }
}
