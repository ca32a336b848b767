//! The layers put together, in the one order that they have.
//!
//! The order and its reasons are explained at the [root](crate) of this crate; here it is code, in the [`Layer`] that a
//! [`Stack`] is.

mod optional;

use tower_layer::{Identity, Layer};

pub use self::optional::{Optional, OptionalFuture, OptionalService};
use crate::{CircuitBreakerLayer, RetryLayer, TimeoutLayer};

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
pub struct Stack<Retry = Identity, Slot = Identity, CircuitBreaker = Identity, Announce = Identity, Timeout = Identity>
{
    retry: Retry,
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

impl<Retry, Slot, CircuitBreaker, Announce, Timeout> Stack<Retry, Slot, CircuitBreaker, Announce, Timeout> {
    /// Sets the retry layer. Where calls are retried only sometimes, a policy of a single attempt is the way not to.
    pub fn retry<O>(self, layer: RetryLayer<O>) -> Stack<RetryLayer<O>, Slot, CircuitBreaker, Announce, Timeout> {
        Stack {
            retry: layer,
            slot: self.slot,
            circuit_breaker: self.circuit_breaker,
            announce: self.announce,
            timeout: self.timeout,
        }
    }

    /// Sets a layer of the caller's own that each attempt passes before the circuit breaker is asked: the place to wait for a
    /// turn. It is passed again by each attempt, and not held during a delay.
    pub fn slot<L>(self, layer: L) -> Stack<Retry, L, CircuitBreaker, Announce, Timeout> {
        Stack {
            retry: self.retry,
            slot: layer,
            circuit_breaker: self.circuit_breaker,
            announce: self.announce,
            timeout: self.timeout,
        }
    }

    /// Sets the circuit breaker, or with an `Option` that is `None` a place where one could be.
    pub fn circuit_breaker<C, O>(
        self,
        layer: impl Into<Optional<CircuitBreakerLayer<C, O>>>,
    ) -> Stack<Retry, Slot, Optional<CircuitBreakerLayer<C, O>>, Announce, Timeout> {
        Stack {
            retry: self.retry,
            slot: self.slot,
            circuit_breaker: layer.into(),
            announce: self.announce,
            timeout: self.timeout,
        }
    }

    /// Sets a layer of the caller's own that an attempt passes once the circuit breaker has admitted it, and before its time
    /// starts: the place to record that the service is about to be called. If it fails, the circuit breaker counts its error.
    pub fn announce<L>(self, layer: L) -> Stack<Retry, Slot, CircuitBreaker, L, Timeout> {
        Stack {
            retry: self.retry,
            slot: self.slot,
            circuit_breaker: self.circuit_breaker,
            announce: layer,
            timeout: self.timeout,
        }
    }

    /// Sets the timeout, or with an `Option` that is `None` a place where one could be.
    pub fn timeout<O>(
        self,
        layer: impl Into<Optional<TimeoutLayer<O>>>,
    ) -> Stack<Retry, Slot, CircuitBreaker, Announce, Optional<TimeoutLayer<O>>> {
        Stack {
            retry: self.retry,
            slot: self.slot,
            circuit_breaker: self.circuit_breaker,
            announce: self.announce,
            timeout: layer.into(),
        }
    }
}

impl<S, Retry, Slot, CircuitBreaker, Announce, Timeout> Layer<S>
    for Stack<Retry, Slot, CircuitBreaker, Announce, Timeout>
where
    Timeout: Layer<S>,
    Announce: Layer<Timeout::Service>,
    CircuitBreaker: Layer<Announce::Service>,
    Slot: Layer<CircuitBreaker::Service>,
    Retry: Layer<Slot::Service>,
{
    type Service = Retry::Service;

    fn layer(&self, service: S) -> Self::Service {
        let service = self.timeout.layer(service);
        let service = self.announce.layer(service);
        let service = self.circuit_breaker.layer(service);
        let service = self.slot.layer(service);
        self.retry.layer(service)
    }
}
