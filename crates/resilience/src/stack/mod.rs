//! The layers put together, in the one order that they have.
//!
//! The order and its reasons are explained at the [root](crate) of this crate; here it is code, in the [`Layer`] that a
//! [`Stack`] is.

mod optional;

use tower_layer::{Identity, Layer};

pub use self::optional::{Optional, OptionalFuture, OptionalService};
use crate::{BulkheadLayer, CircuitBreakerLayer, RateLimitLayer, RetryLayer, TimeoutLayer};

/// Composes the layers in their one order, whatever the order of the setters.
///
/// A layer that is not set is not there, at no cost: its place is taken by [`Identity`]. Two places are for layers of the
/// caller: [`slot`](Stack::slot) and [`announce`](Stack::announce). Each layer is told its [observer](crate::observe) before it
/// is put in.
///
/// A stack is a [`Layer`]. What it makes of a service is, with a retry layer, a [`Retry`](crate::Retry): for a service that
/// serves one call only, [`Retry::oneshot`](crate::Retry::oneshot) saves a clone.
///
/// The example at the [root](crate) of this crate runs a stack. This one has layers of the caller's own, and a circuit breaker
/// that may be switched off:
///
/// ```
/// use orchestr8_resilience::{Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, Stack};
/// # use orchestr8_resilience::{CircuitOpen, Class, Classify};
/// use tower::{Layer, ServiceExt, service_fn, util::MapRequestLayer};
/// # #[derive(Debug)]
/// # struct Failed;
/// # impl Classify for Failed {
/// #     fn classify(&self) -> Class { Class::Retryable }
/// # }
/// # impl From<CircuitOpen> for Failed {
/// #     fn from(_: CircuitOpen) -> Self { Failed }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let is_enabled = true;
/// let circuit = Circuit::new("shout");
/// let breaker = is_enabled.then(|| CircuitBreakerLayer::new(circuit, CircuitBreakerPolicy::default()));
/// let service = Stack::new()
///     .slot(MapRequestLayer::new(|word: &str| word.trim().to_owned()))
///     .circuit_breaker(breaker)
///     .announce(MapRequestLayer::new(|word: String| word + "!"))
///     .layer(service_fn(|word: String| async move { Ok::<_, Failed>(word.to_uppercase()) }));
/// assert_eq!(service.oneshot(" hello ").await.unwrap(), "HELLO!");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Stack<
    Retry = Identity,
    RateLimit = Identity,
    Bulkhead = Identity,
    Slot = Identity,
    CircuitBreaker = Identity,
    Announce = Identity,
    Timeout = Identity,
> {
    retry: Retry,
    rate_limit: RateLimit,
    bulkhead: Bulkhead,
    slot: Slot,
    circuit_breaker: CircuitBreaker,
    announce: Announce,
    timeout: Timeout,
}

impl Stack {
    /// Makes a stack without layers.
    pub fn new() -> Self {
        Self::default()
    }
}

#[expect(
    clippy::type_complexity,
    reason = "each place is a parameter, so that a layer that is not there costs nothing"
)]
impl<Retry, RateLimit, Bulkhead, Slot, CircuitBreaker, Announce, Timeout>
    Stack<Retry, RateLimit, Bulkhead, Slot, CircuitBreaker, Announce, Timeout>
{
    /// Sets the retry layer. Where calls are retried only sometimes, a policy of a single attempt is the way not to.
    pub fn retry<O>(
        self,
        layer: RetryLayer<O>,
    ) -> Stack<RetryLayer<O>, RateLimit, Bulkhead, Slot, CircuitBreaker, Announce, Timeout> {
        let Self { rate_limit, bulkhead, slot, circuit_breaker, announce, timeout, .. } = self;
        Stack { retry: layer, rate_limit, bulkhead, slot, circuit_breaker, announce, timeout }
    }

    /// Sets the rate limit, or with an `Option` that is `None` a place where one could be.
    pub fn rate_limit<B, W, G, O>(
        self,
        layer: impl Into<Optional<RateLimitLayer<B, W, G, O>>>,
    ) -> Stack<Retry, Optional<RateLimitLayer<B, W, G, O>>, Bulkhead, Slot, CircuitBreaker, Announce, Timeout> {
        let Self { retry, bulkhead, slot, circuit_breaker, announce, timeout, .. } = self;
        Stack { retry, rate_limit: layer.into(), bulkhead, slot, circuit_breaker, announce, timeout }
    }

    /// Sets the bulkhead, or with an `Option` that is `None` a place where one could be.
    pub fn bulkhead<C, G, O>(
        self,
        layer: impl Into<Optional<BulkheadLayer<C, G, O>>>,
    ) -> Stack<Retry, RateLimit, Optional<BulkheadLayer<C, G, O>>, Slot, CircuitBreaker, Announce, Timeout> {
        let Self { retry, rate_limit, slot, circuit_breaker, announce, timeout, .. } = self;
        Stack { retry, rate_limit, bulkhead: layer.into(), slot, circuit_breaker, announce, timeout }
    }

    /// Sets a layer of the caller's own that each attempt passes before the circuit breaker is asked: the place to wait for a
    /// turn. It is passed again by each attempt, and not held during a delay.
    pub fn slot<L>(self, layer: L) -> Stack<Retry, RateLimit, Bulkhead, L, CircuitBreaker, Announce, Timeout> {
        let Self { retry, rate_limit, bulkhead, circuit_breaker, announce, timeout, .. } = self;
        Stack { retry, rate_limit, bulkhead, slot: layer, circuit_breaker, announce, timeout }
    }

    /// Sets the circuit breaker, or with an `Option` that is `None` a place where one could be.
    pub fn circuit_breaker<C, O>(
        self,
        layer: impl Into<Optional<CircuitBreakerLayer<C, O>>>,
    ) -> Stack<Retry, RateLimit, Bulkhead, Slot, Optional<CircuitBreakerLayer<C, O>>, Announce, Timeout> {
        let Self { retry, rate_limit, bulkhead, slot, announce, timeout, .. } = self;
        Stack { retry, rate_limit, bulkhead, slot, circuit_breaker: layer.into(), announce, timeout }
    }

    /// Sets a layer of the caller's own that an attempt passes once the circuit breaker has admitted it, and before its time
    /// starts: the place to record that the service is about to be called. If it fails, the circuit breaker counts its error.
    pub fn announce<L>(self, layer: L) -> Stack<Retry, RateLimit, Bulkhead, Slot, CircuitBreaker, L, Timeout> {
        let Self { retry, rate_limit, bulkhead, slot, circuit_breaker, timeout, .. } = self;
        Stack { retry, rate_limit, bulkhead, slot, circuit_breaker, announce: layer, timeout }
    }

    /// Sets the timeout, or with an `Option` that is `None` a place where one could be.
    pub fn timeout<O>(
        self,
        layer: impl Into<Optional<TimeoutLayer<O>>>,
    ) -> Stack<Retry, RateLimit, Bulkhead, Slot, CircuitBreaker, Announce, Optional<TimeoutLayer<O>>> {
        let Self { retry, rate_limit, bulkhead, slot, circuit_breaker, announce, .. } = self;
        Stack { retry, rate_limit, bulkhead, slot, circuit_breaker, announce, timeout: layer.into() }
    }
}

impl<S, Retry, RateLimit, Bulkhead, Slot, CircuitBreaker, Announce, Timeout> Layer<S>
    for Stack<Retry, RateLimit, Bulkhead, Slot, CircuitBreaker, Announce, Timeout>
where
    Timeout: Layer<S>,
    Announce: Layer<Timeout::Service>,
    CircuitBreaker: Layer<Announce::Service>,
    Slot: Layer<CircuitBreaker::Service>,
    Bulkhead: Layer<Slot::Service>,
    RateLimit: Layer<Bulkhead::Service>,
    Retry: Layer<RateLimit::Service>,
{
    type Service = Retry::Service;

    #[inline]
    fn layer(&self, service: S) -> Self::Service {
        let service = self.timeout.layer(service);
        let service = self.announce.layer(service);
        let service = self.circuit_breaker.layer(service);
        let service = self.slot.layer(service);
        let service = self.bulkhead.layer(service);
        let service = self.rate_limit.layer(service);
        self.retry.layer(service)
    }
}
