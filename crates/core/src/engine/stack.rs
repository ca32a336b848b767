//! Where policies, the resilience layers and agents meet: what stands around each call of a leaf step, and in which order.
//!
//! `retry( backoff( rate limit( bulkhead( slot( circuit breaker( announce( timeout( agent ))))))))`
//!
//! The order and its reasons are those of [`orchestr8_resilience`]. Two layers are the engine's own: in the *slot* layer an attempt
//! waits for one of the engine's slots, and in the *announce* layer it waits until the journal knows of it. A rejection by
//! the circuit breaker therefore neither takes a slot's time nor is journaled as an attempt. Rate limit and bulkhead are there
//! for steps that ask for them; who waits for them holds no slot.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::Either;
use orchestr8_agent_base::{AgentError, Callee, service};
use orchestr8_resilience::{
    Backoff, Bucket, BucketRegistry, BulkheadLayer, BulkheadPolicy, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy,
    CircuitRegistry, Compartment, CompartmentRegistry, Counts, CountsRegistry, InvalidPolicy, Jitter, Observer,
    RateLimitLayer, RateLimitPolicy, RetryLayer, RetryPolicy, Stack, TimeoutLayer, circuit_breaker::Admitted,
    rate_limit::Rates,
};
use orchestr8_schema::{
    ErrorKind,
    json_schema::{JsonValidator, Violations},
    usage::Estimate,
};
use pin_project_lite::pin_project;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument;

use super::{Program, call::CallState};
use crate::plan::{self, CircuitPolicy, Leaf, LeafPolicy, SharedKey};
#[cfg(planted)]
use crate::planted::Defect;

/// A call as the driver polls it: all attempts, layers included; or its first attempt, before there are layers.
pub(super) type CallFuture = Pin<Box<dyn Future<Output = Result<Value, AgentError>> + Send>>;

/// The first attempt of a call, which was begun before there were layers around it.
pub(super) struct Begun {
    pub(super) attempt: CallFuture,
    /// What the call's circuit said to it.
    pub(super) admitted: Option<Admitted>,
}

/// The layers around one leaf step, prepared once for all its calls.
#[derive(Debug)]
pub(super) struct LeafStack {
    callee: Arc<Callee>,
    output_schema: Option<JsonValidator>,
    /// What the rest was made of.
    made_of: Arc<LeafPolicy>,
    retry: RetryPolicy,
    circuit: Option<LeafCircuit>,
    rate_limit: Option<(RateLimitPolicy, SharedKey)>,
    bulkhead: Option<(BulkheadPolicy, SharedKey)>,
    timeout: Duration,
    key: SharedKey,
    /// Of calls without a target.
    counts: Counts,
}

#[derive(Debug)]
struct LeafCircuit {
    policy: CircuitBreakerPolicy,
    /// The circuit of calls without a target.
    bare: Circuit,
}

/// What the calls of all executions share, by key.
#[derive(Debug, Default)]
pub(crate) struct Registries {
    pub(crate) circuits: CircuitRegistry,
    pub(crate) buckets: BucketRegistry,
    pub(crate) compartments: CompartmentRegistry,
    pub(crate) counts: CountsRegistry,
}

/// Which of the shared things one call belongs to.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) circuit: Option<Circuit>,
    /// Absent for most.
    pub(super) queues: Option<Box<Queues>>,
    /// Absent for calls without a target.
    counts: Option<Counts>,
}

/// Where attempts of a call may have to wait before they take a slot.
#[derive(Debug)]
pub(super) struct Queues {
    rate_limit: Option<RateLimited>,
    bulkhead: Option<(Compartment, BulkheadPolicy)>,
    /// That of the call, or without a circuit breaker one that never opens.
    circuit: Circuit,
}

/// The rate that a call keeps to.
#[derive(Clone, Debug)]
struct RateLimited {
    bucket: Bucket,
    policy: RateLimitPolicy,
    /// Tokens that the agent expects an attempt to use; 0 where nobody counts them.
    estimate: u64,
}

impl Queues {
    /// Puts back what an attempt took that is taken back before it begins.
    pub(super) fn give_back(&self) {
        if let Some(RateLimited { bucket, estimate, .. }) = &self.rate_limit {
            bucket.give_back(*estimate);
        }
    }

    /// What is to learn how many tokens attempts use up.
    fn meter(&self) -> Option<&RateLimited> {
        self.rate_limit.as_ref().filter(|limited| limited.policy.rates().weight().is_some())
    }
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
        leaf: &Leaf,
        output_schema: Option<&JsonValidator>,
        registries: &Registries,
    ) -> Result<Self, InvalidPolicy> {
        let key = leaf.policy.key.clone();
        let circuit = match &leaf.policy.circuit_breaker {
            None => None,
            Some(policy) => {
                Some(LeafCircuit { policy: circuit_policy(policy)?, bare: registries.circuits.circuit(&key.of(None)) })
            }
        };
        Ok(Self {
            callee: Arc::clone(&leaf.callee),
            output_schema: output_schema.cloned(),
            made_of: Arc::clone(&leaf.policy),
            retry: retry_policy(&leaf.policy)?,
            circuit,
            rate_limit: leaf.policy.rate_limit.as_ref().map(rate_limit_policy).transpose()?,
            bulkhead: leaf.policy.bulkhead.as_ref().map(bulkhead_policy).transpose()?,
            #[cfg(not(planted))]
            timeout: leaf.policy.timeout,
            #[cfg(planted)]
            timeout: leaf.policy.timeout * if Defect::TimeoutTwice.is_made() { 2 } else { 1 },
            counts: registries.counts.counts(&key.of(None)),
            key,
        })
    }

    /// Whether these layers are those of another step, too.
    pub(super) fn serves(&self, leaf: &Leaf, output_schema: Option<&JsonValidator>) -> bool {
        Arc::ptr_eq(&self.callee, &leaf.callee)
            && Arc::ptr_eq(&self.made_of, &leaf.policy)
            && self.output_schema.is_none()
            && output_schema.is_none()
    }

    /// Returns how long one attempt may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Finds what a call with this input shares with others.
    pub(super) fn places<'a>(
        &self,
        input: &Value,
        config: impl FnOnce() -> Option<&'a Map<String, Value>>,
        registries: &Registries,
    ) -> Places {
        let target = match self.key {
            SharedKey::Fixed(_) => None,
            SharedKey::PerTarget(_) => self.target(input),
        };
        let key_of = |key: &SharedKey| key.of(target.as_deref());
        let (circuit, counts) = match &target {
            None => (self.circuit.as_ref().map(|circuit| circuit.bare.clone()), None),
            Some(_) => {
                let key = key_of(&self.key);
                let circuit = self.circuit.as_ref().map(|_| registries.circuits.circuit(&key));
                (circuit, Some(registries.counts.counts(&key)))
            }
        };
        if self.rate_limit.is_none() && self.bulkhead.is_none() {
            return Places { circuit, queues: None, counts };
        }
        let bulkhead = self.bulkhead.as_ref();
        let queues = Queues {
            rate_limit: self.rate_limit.as_ref().map(|(policy, key)| {
                let bucket = registries.buckets.bucket(&key_of(key), policy.rates());
                let asked = policy.rates().weight().and_then(|_| config());
                let estimate = asked.map_or(0, |config| estimate(&self.callee, input, config).under(None, None).tokens);
                RateLimited { bucket, policy: *policy, estimate }
            }),
            bulkhead: bulkhead
                .map(|(policy, key)| (registries.compartments.compartment(&key_of(key), policy), *policy)),
            circuit: circuit.clone().unwrap_or_else(|| Circuit::new("")),
        };
        Places { circuit, queues: Some(Box::new(queues)), counts }
    }

    /// Takes the report that a call succeeded which never had layers around it.
    pub(super) fn succeeded(&self, places: &Places, admitted: Option<Admitted>) {
        if let Some((circuit, admitted)) = places.circuit.as_ref().zip(admitted) {
            circuit.succeeded(admitted);
        }
        Observer::<AgentError>::succeeded(places.counts.as_ref().unwrap_or(&self.counts), 1);
    }

    /// Asks the agent what a call with this input depends on.
    fn target(&self, input: &Value) -> Option<String> {
        // An agent that panics here will do so again when it is called, where it is caught and told.
        catch_unwind(AssertUnwindSafe(|| self.callee.target(input))).unwrap_or_default()
    }
}

/// Asks an agent what an attempt with this input may use up.
pub(super) fn estimate(callee: &Callee, input: &Value, config: &Map<String, Value>) -> Estimate {
    // An agent that panics here will do so again when it is called, where it is caught and told.
    catch_unwind(AssertUnwindSafe(|| callee.estimate(input, config))).unwrap_or_default()
}

/// Makes the first attempt of a call, without layers.
pub(super) fn begin(program: Arc<Program>, stack: u32, state: Arc<CallState>) -> CallFuture {
    Box::pin(async move {
        match program.stack(stack) {
            Some(leaf) => attempt(&state, leaf, None).await,
            None => Err(nothing_called()),
        }
    })
}

/// Puts the layers of this number around one call, whose first attempt may have begun. Nothing happens before the future is
/// polled.
///
/// The layers borrow from the future that they live in, so they share nothing that would have to be counted.
pub(super) fn call(
    program: Arc<Program>,
    stack: u32,
    state: Arc<CallState>,
    places: Places,
    limits: CallLimits,
    begun: Option<Begun>,
) -> CallFuture {
    Box::pin(async move {
        let Some(leaf) = program.stack(stack) else {
            return Err(nothing_called());
        };
        let (mut begun, admitted) = begun.map_or((None, None), |begun| (Some(begun.attempt), begun.admitted));
        let (state, circuit) = (&*state, places.circuit.as_ref());
        let observer = (state, places.counts.as_ref().unwrap_or(&leaf.counts));
        let breaker = circuit.zip(leaf.circuit.as_ref()).map(|(circuit, known)| {
            CircuitBreakerLayer::new(circuit, known.policy).admitted(admitted).observer(observer)
        });
        #[cfg(planted)]
        let breaker = breaker.filter(|_| !Defect::CircuitIgnored.is_made());
        let retry = RetryLayer::new(leaf.retry, limits.seed)
            .tries_used(limits.tries_used)
            .not_before(limits.not_before)
            .deadline(limits.deadline)
            .observer(observer);
        let stack = Stack::new()
            .retry(retry)
            .slot(SlotLayer { state, circuit })
            .circuit_breaker(breaker)
            .announce(AnnounceLayer { state })
            .timeout(TimeoutLayer::new(leaf.timeout).observer(observer));
        let Some(queues) = places.queues.as_deref() else {
            let attempts = Attempts(|| match begun.take() {
                Some(begun) => Either::Left(begun),
                None => Either::Right(attempt(state, leaf, None)),
            });
            return stack.layer(attempts).oneshot(()).await;
        };
        let attempts = Attempts(|| attempt(state, leaf, queues.meter()));
        let Queues { rate_limit, bulkhead, circuit } = queues;
        let rate_limit = rate_limit.clone().map(|RateLimited { bucket, policy, estimate }| {
            RateLimitLayer::new(bucket, policy)
                .weigh(estimate)
                .deadline(limits.deadline)
                .unless_open(circuit)
                .observer(observer)
        });
        let bulkhead = bulkhead.clone().map(|(compartment, policy)| {
            BulkheadLayer::new(compartment, policy).unless_open(circuit).observer(observer)
        });
        // In a box of its own, so that the calls of other steps are no larger for it.
        let call = stack.rate_limit(rate_limit).bulkhead(bulkhead).layer(attempts).oneshot(());
        Box::pin(call).await
    })
}

fn nothing_called() -> AgentError {
    AgentError::internal("the step calls nothing")
}

fn retry_policy(policy: &LeafPolicy) -> Result<RetryPolicy, InvalidPolicy> {
    let jitter = if policy.jitter { Jitter::Full } else { Jitter::None };
    let backoff = Backoff::try_new(policy.base_delay, policy.max_delay)?.jitter(jitter);
    let retries = |kind| policy.retryable.contains(&kind);
    #[cfg(not(planted))]
    let max_attempts = policy.max_attempts;
    #[cfg(planted)]
    let max_attempts = policy.max_attempts + u32::from(Defect::AttemptTooMany.is_made());
    Ok(RetryPolicy::try_new(max_attempts, backoff)?
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

fn rate_limit_policy(policy: &plan::RateLimit) -> Result<(RateLimitPolicy, SharedKey), InvalidPolicy> {
    let rates = Rates::try_new(policy.requests_per_minute, policy.tokens_per_minute)?;
    Ok((RateLimitPolicy::new(rates).max_wait(policy.max_wait)?, policy.key.clone()))
}

fn bulkhead_policy(policy: &plan::Bulkhead) -> Result<(BulkheadPolicy, SharedKey), InvalidPolicy> {
    let bulkhead = BulkheadPolicy::try_new(policy.max_concurrent)?;
    Ok((bulkhead.max_queue(policy.max_queue)?.queue_timeout(policy.queue_timeout)?, policy.key.clone()))
}

// === slot ===

#[derive(Clone, Copy)]
struct SlotLayer<'a> {
    state: &'a CallState,
    circuit: Option<&'a Circuit>,
}

impl<'a, S> Layer<S> for SlotLayer<'a> {
    type Service = Slot<'a, S>;

    fn layer(&self, inner: S) -> Slot<'a, S> {
        Slot { inner, state: self.state, circuit: self.circuit }
    }
}

/// Is ready when the driver has given the attempt a slot, or when the circuit breaker would reject it anyway.
#[derive(Clone, Copy)]
struct Slot<'a, S> {
    inner: S,
    state: &'a CallState,
    circuit: Option<&'a Circuit>,
}

impl<S: Service<(), Error = AgentError>> Service<()> for Slot<'_, S> {
    type Response = S::Response;
    type Error = AgentError;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        let rejected = || self.circuit.is_some_and(|circuit| circuit.rejection().is_some());
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

#[derive(Clone, Copy)]
struct AnnounceLayer<'a> {
    state: &'a CallState,
}

impl<'a, S> Layer<S> for AnnounceLayer<'a> {
    type Service = Announce<'a, S>;

    fn layer(&self, inner: S) -> Announce<'a, S> {
        Announce { inner, state: self.state }
    }
}

/// Lets an attempt through once its beginning is stored.
#[derive(Clone, Copy)]
struct Announce<'a, S> {
    inner: S,
    state: &'a CallState,
}

impl<'a, S: Service<(), Error = AgentError>> Service<()> for Announce<'a, S> {
    type Response = S::Response;
    type Error = AgentError;
    type Future = AnnounceFuture<'a, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, (): ()) -> Self::Future {
        AnnounceFuture { attempt: self.inner.call(()), state: self.state, stored: false }
    }
}

pin_project! {
    /// Polls the attempt once its beginning is stored, and not before.
    struct AnnounceFuture<'a, F> {
        #[pin]
        attempt: F,
        state: &'a CallState,
        stored: bool,
    }
}

impl<F: Future> Future for AnnounceFuture<'_, F> {
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

/// Calls the agent, each time by the same function.
#[derive(Clone, Copy)]
struct Attempts<F>(F);

impl<F, Attempt> Service<()> for Attempts<F>
where
    F: FnMut() -> Attempt,
    Attempt: Future<Output = Result<Value, AgentError>>,
{
    type Response = Value;
    type Error = AgentError;
    type Future = Attempt;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Attempt {
        (self.0)()
    }
}

/// Calls the agent once, with a context and a token of the attempt's own.
async fn attempt(state: &CallState, leaf: &LeafStack, meter: Option<&RateLimited>) -> Result<Value, AgentError> {
    let mut meter = meter.map(|limited| Meter { limited, state, has_answered: false });
    let (cx, token, span) = state.begin_attempt(leaf.timeout);
    let mut result = service::call(&leaf.callee, cx.input(), &cx, token).instrument(span.clone()).await;
    if let Some(meter) = &mut meter {
        meter.has_answered = true;
    }
    if let (Ok(output), Some(schema)) = (&result, &leaf.output_schema)
        && let Err(violations) = schema.validate(output)
    {
        let message = format!("the output does not fit the step's schema: {}", Violations(&violations));
        result = Err(AgentError::validation(message));
    }
    #[cfg(planted)]
    match &mut result {
        Err(error) if Defect::RetryAfterIgnored.is_made() => {
            result = Err(AgentError::new(error.kind(), error.to_string()));
        }
        Ok(output) if Defect::AnswerLost.is_made() => *output = Value::Null,
        _ => {}
    }
    state.hide_secrets(&mut result);
    state.end_attempt(&span, &result);
    result
}

/// Puts what an attempt has reported in the place of what it was expected to use, when it ends.
struct Meter<'a> {
    limited: &'a RateLimited,
    state: &'a CallState,
    has_answered: bool,
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        let Some(usage) = self.state.reported_usage() else { return };
        let RateLimited { bucket, estimate, .. } = self.limited;
        // What is dropped may have used more than it has said so far.
        let least = if self.has_answered { 0 } else { *estimate };
        bucket.correct(*estimate, usage.tokens().max(least));
    }
}
