//! Where policies, the resilience layers and agents meet: what stands around each call of a leaf step, and in which order.
//!
//! `retry( backoff( slot( circuit breaker( announce( timeout( agent ))))))`
//!
//! The order and its reasons are those of [`orchestr8_resilience`]. Two layers are the engine's own: in the *slot* layer an attempt
//! waits for one of the engine's slots, and in the *announce* layer it waits until the journal knows of it. A rejection by
//! the circuit breaker therefore neither takes a slot's time nor is journaled as an attempt.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use orchestr8_agent_base::{
    AgentError, AgentService,
    service::{AgentRequest, ResponseFuture},
};
use orchestr8_resilience::{
    Backoff, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitRegistry, InvalidPolicy, Jitter, RetryLayer,
    RetryPolicy, Stack, TimeoutLayer,
};
use orchestr8_schema::{
    ErrorKind,
    json_schema::{JsonValidator, Violations},
};
use pin_project_lite::pin_project;
use serde_json::Value;
use tokio::time::Instant;
use tower_layer::layer_fn;
use tower_service::Service;
use tracing::{Instrument, instrument::Instrumented};

use super::call::CallState;
use crate::plan::{CircuitKey, CircuitPolicy, LeafPolicy, PlanStep};

/// A call as the driver polls it: all attempts, layers included.
pub(super) type CallFuture = Pin<Box<dyn Future<Output = Result<Value, AgentError>> + Send>>;

/// The layers around one leaf step, prepared once for all its calls.
#[derive(Debug)]
pub(super) struct LeafStack {
    service: AgentService,
    output_schema: Option<JsonValidator>,
    retry: RetryPolicy,
    circuit: Option<LeafCircuit>,
    timeout: Duration,
}

#[derive(Debug)]
struct LeafCircuit {
    policy: CircuitBreakerPolicy,
    key: CircuitKey,
    /// The circuit of calls without a target.
    bare: Circuit,
}

/// What belongs to one call rather than to its step.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallLimits {
    pub(super) seed: u64,
    pub(super) tries_used: u32,
    pub(super) not_before: Option<Instant>,
    pub(super) deadline: Option<Instant>,
}

impl LeafStack {
    pub(super) fn new(
        step: &PlanStep,
        output_schema: Option<&JsonValidator>,
        circuits: &CircuitRegistry,
    ) -> Result<Self, InvalidPolicy> {
        let circuit = match &step.policy.circuit_breaker {
            None => None,
            Some(policy) => Some(LeafCircuit {
                policy: circuit_policy(policy)?,
                key: policy.key.clone(),
                bare: circuits.circuit(&policy.key.of(None)),
            }),
        };
        Ok(Self {
            service: AgentService::new(Arc::clone(&step.agent)),
            output_schema: output_schema.cloned(),
            retry: retry_policy(&step.policy)?,
            circuit,
            timeout: step.policy.timeout,
        })
    }

    /// Returns how long one attempt may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Finds the circuit that a call with this input belongs to.
    pub(super) fn circuit(&self, step: &PlanStep, input: &Value, circuits: &CircuitRegistry) -> Option<Circuit> {
        let circuit = self.circuit.as_ref()?;
        let target = match &circuit.key {
            CircuitKey::Fixed(_) => None,
            CircuitKey::PerTarget(_) => step.agent.agent().target(input),
        };
        Some(match target {
            None => circuit.bare.clone(),
            Some(target) => circuits.circuit(&circuit.key.of(Some(&target))),
        })
    }

    /// Puts the layers around one call. Nothing happens before the future is polled.
    pub(super) fn call(&self, state: &Arc<CallState>, circuit: Option<&Circuit>, limits: CallLimits) -> CallFuture {
        let breaker = circuit.zip(self.circuit.as_ref()).map(|(circuit, known)| {
            CircuitBreakerLayer::new(circuit.clone(), known.policy).observer(Arc::clone(state))
        });
        let stack = Stack::new()
            .retry(
                RetryLayer::new(self.retry, limits.seed)
                    .tries_used(limits.tries_used)
                    .not_before(limits.not_before)
                    .deadline(limits.deadline)
                    .observer(Arc::clone(state)),
            )
            .slot(layer_fn(|inner| Slot { inner, state: Arc::clone(state), circuit: circuit.cloned() }))
            .circuit_breaker(breaker)
            .announce(layer_fn(|inner| Announce { inner, state: Arc::clone(state) }))
            .timeout(TimeoutLayer::new(self.timeout).observer(Arc::clone(state)));
        let attempts = Attempts {
            state: Arc::clone(state),
            service: self.service.clone(),
            output_schema: self.output_schema.clone(),
            timeout: self.timeout,
        };
        let service = tower_layer::Layer::layer(&stack, attempts);
        Box::pin(service.oneshot(()))
    }
}

fn retry_policy(policy: &LeafPolicy) -> Result<RetryPolicy, InvalidPolicy> {
    let jitter = if policy.jitter { Jitter::Full } else { Jitter::None };
    let backoff = Backoff::try_new(policy.base_delay, policy.max_delay)?.jitter(jitter);
    let retries = |kind| policy.retryable.contains(&kind);
    Ok(RetryPolicy::try_new(policy.max_attempts, backoff)?
        .retry_timeouts(retries(ErrorKind::Timeout))
        .retry_network_errors(retries(ErrorKind::Network))
        .retry_retryable_errors(retries(ErrorKind::Retryable))
        .retry_rate_limits(retries(ErrorKind::RateLimited))
        .retry_internal_errors(retries(ErrorKind::Internal)))
}

fn circuit_policy(policy: &CircuitPolicy) -> Result<CircuitBreakerPolicy, InvalidPolicy> {
    Ok(CircuitBreakerPolicy::try_new(policy.failure_threshold, policy.reset_timeout)?
        .count_timeouts(policy.counted.count_timeouts)
        .count_network_errors(policy.counted.count_network_errors)
        .count_server_errors(policy.counted.count_5xx_errors)
        .count_retryable_errors(policy.counted.count_retryable_errors))
}

// === slot ===

/// Is ready when the driver has given the attempt a slot, or when the circuit breaker would reject it anyway.
struct Slot<S> {
    inner: S,
    state: Arc<CallState>,
    circuit: Option<Circuit>,
}

impl<S: Service<(), Error = AgentError>> Service<()> for Slot<S> {
    type Response = S::Response;
    type Error = AgentError;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        let rejected = || self.circuit.as_ref().is_some_and(|circuit| circuit.rejection().is_some());
        if self.state.has_slot() || rejected() {
            return self.inner.poll_ready(cx);
        }
        self.state.ask_for_slot();
        Poll::Pending
    }

    fn call(&mut self, (): ()) -> S::Future {
        self.inner.call(())
    }
}

// === announce ===

/// Lets an attempt through once its beginning is stored.
struct Announce<S> {
    inner: S,
    state: Arc<CallState>,
}

impl<S: Service<(), Error = AgentError>> Service<()> for Announce<S> {
    type Response = S::Response;
    type Error = AgentError;
    type Future = AnnounceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, (): ()) -> AnnounceFuture<S::Future> {
        AnnounceFuture { attempt: self.inner.call(()), state: Arc::clone(&self.state), stored: false }
    }
}

pin_project! {
    /// Polls the attempt once its beginning is stored, and not before.
    struct AnnounceFuture<F> {
        #[pin]
        attempt: F,
        state: Arc<CallState>,
        stored: bool,
    }
}

impl<F: Future> Future for AnnounceFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !*this.stored {
            if !this.state.take_start() {
                this.state.ask_for_start();
                return Poll::Pending;
            }
            *this.stored = true;
        }
        this.attempt.poll(cx)
    }
}

// === attempts ===

/// Calls the agent, with a context and a token for each attempt.
struct Attempts {
    state: Arc<CallState>,
    service: AgentService,
    output_schema: Option<JsonValidator>,
    timeout: Duration,
}

impl Service<()> for Attempts {
    type Response = Value;
    type Error = AgentError;
    type Future = AttemptFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> AttemptFuture {
        AttemptFuture {
            state: Arc::clone(&self.state),
            service: self.service.clone(),
            output_schema: self.output_schema.clone(),
            timeout: self.timeout,
            attempt: None,
        }
    }
}

pin_project! {
    /// One attempt; the agent is not called before the first poll.
    struct AttemptFuture {
        state: Arc<CallState>,
        service: AgentService,
        output_schema: Option<JsonValidator>,
        timeout: Duration,
        #[pin]
        attempt: Option<Instrumented<ResponseFuture>>,
    }
}

impl Future for AttemptFuture {
    type Output = Result<Value, AgentError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.attempt.is_none() {
            let (context, token, span) = this.state.begin_attempt(*this.timeout);
            let request = AgentRequest::new(Arc::clone(this.state.input()), context, token);
            this.attempt.set(Some(this.service.call(request).instrument(span)));
        }
        let Some(attempt) = this.attempt.as_mut().as_pin_mut() else {
            unreachable!("the attempt has just been set");
        };
        let mut result = std::task::ready!(attempt.poll(cx));
        if let (Ok(output), Some(schema)) = (&result, this.output_schema)
            && let Err(violations) = schema.validate(output)
        {
            let message = format!("the output does not fit the step's schema: {}", Violations(&violations));
            result = Err(AgentError::validation(message));
        }
        this.state.end_attempt(&result);
        Poll::Ready(result)
    }
}
