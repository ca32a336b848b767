//! Not calling a service that does not work.
//!
//! A circuit is *closed* as long as attempts succeed. After several failures in a row it *opens*: attempts are rejected with
//! [`CircuitOpen`], and the service is left alone. When the reset timeout has passed, the next attempt is let through as a
//! *probe*, with the circuit *half-open*: the probe's outcome closes the circuit or opens it again, and until then all others
//! are rejected.
//!
//! State belongs to a key, not to a service: all clones of a service share it, and so do all callers of a [`CircuitRegistry`].
//! Attempts report to the [`Circuit`] that admitted them, which ignores what was admitted before its last change of state.
//!
//! ```
//! use std::time::Duration;
//! use orchestr8_resilience::{
//!     CircuitBreakerLayer, CircuitBreakerPolicy, CircuitOpen, CircuitRegistry, Class, Classify,
//! };
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! #[derive(Debug, PartialEq)]
//! enum PaymentError {
//!     Unreachable,
//!     NotNow(CircuitOpen),
//! }
//!
//! impl Classify for PaymentError {
//!     fn classify(&self) -> Class {
//!         match self {
//!             PaymentError::Unreachable => Class::Network,
//!             PaymentError::NotNow(_) => Class::CircuitOpen,
//!         }
//!     }
//! }
//!
//! impl From<CircuitOpen> for PaymentError {
//!     fn from(rejection: CircuitOpen) -> Self {
//!         PaymentError::NotNow(rejection)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), orchestr8_resilience::InvalidPolicy> {
//! let policy = CircuitBreakerPolicy::try_new(2, Duration::from_secs(60))?;
//! let circuits = CircuitRegistry::new();
//! let breaker = CircuitBreakerLayer::keyed(circuits, policy, |host: &&'static str| *host);
//! let service = breaker.layer(service_fn(|_host| async { Err::<(), _>(PaymentError::Unreachable) }));
//!
//! for _ in 0..2 {
//!     assert_eq!(service.clone().oneshot("one.example").await, Err(PaymentError::Unreachable));
//! }
//! let rejected = service.clone().oneshot("one.example").await;
//! assert!(matches!(rejected, Err(PaymentError::NotNow(_))));
//! assert_eq!(service.oneshot("other.example").await, Err(PaymentError::Unreachable));
//! # Ok(())
//! # }
//! ```
//!
//! # Cancellation safety
//!
//! An attempt that is dropped or panics counts neither as success nor as failure. If it was the probe, its permit is free at
//! once, and the next attempt is the probe.
//!
//! # Cost
//!
//! A call that finds its circuit closed and without failures, and succeeds, reads a few atomics: no lock, no clock, no
//! allocation. No lock is ever held while a service is called.

mod cell;
mod circuit;
mod gate;
mod policy;
mod registry;
mod state;

use std::{
    borrow::Borrow,
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use self::circuit::{Holder, Permit};
pub use self::{
    circuit::{Admitted, Circuit},
    gate::{Gate, UnlessOpen},
    policy::{CircuitBreakerPolicy, Outcome},
    registry::CircuitRegistry,
    state::{CircuitState, Probe, Reason},
};
use crate::{
    Classify,
    keyed::{Keyed, Lookup, Select, sealed},
    observe::Observer,
};

/// Rejects attempts while the circuit they belong to is open.
///
/// `C` says which circuit that is: a [`Circuit`], or a reference to one, for all requests, or [`Keyed`] by request.
#[derive(Clone, Copy, Debug)]
pub struct CircuitBreakerLayer<C = Circuit, O = ()> {
    circuits: C,
    policy: CircuitBreakerPolicy,
    admitted: Option<Admitted>,
    observer: O,
}

impl<C> CircuitBreakerLayer<C> {
    /// Makes a layer with one circuit for all requests: a [`Circuit`], or a `&Circuit` if the service is not kept for long.
    pub const fn new(circuit: C, policy: CircuitBreakerPolicy) -> Self {
        Self { circuits: circuit, policy, admitted: None, observer: () }
    }
}

impl<F> CircuitBreakerLayer<Keyed<CircuitRegistry, F>> {
    /// Makes a layer that finds the circuit of each request by the key that `key` reads from it.
    pub const fn keyed<R, K>(registry: CircuitRegistry, policy: CircuitBreakerPolicy, key: F) -> Self
    where
        F: Fn(&R) -> K,
        K: AsRef<str>,
    {
        Self { circuits: Keyed::new(registry, key), policy, admitted: None, observer: () }
    }
}

impl<C, O> CircuitBreakerLayer<C, O> {
    /// Sets who hears of rejections, probes and changes of state, in place of the current observer.
    #[must_use]
    pub fn observer<P>(self, observer: P) -> CircuitBreakerLayer<C, P> {
        CircuitBreakerLayer { circuits: self.circuits, policy: self.policy, admitted: self.admitted, observer }
    }

    /// Lets the first attempt through on an admission that its caller has got from the circuit already; default none.
    #[must_use]
    pub fn admitted(self, admitted: Option<Admitted>) -> Self {
        Self { admitted, ..self }
    }
}

impl<S, C: Clone, O: Clone> Layer<S> for CircuitBreakerLayer<C, O> {
    type Service = CircuitBreaker<S, C, O>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker {
            inner,
            circuits: self.circuits.clone(),
            policy: self.policy,
            admitted: self.admitted,
            observer: self.observer.clone(),
        }
    }
}

impl sealed::Sealed for Circuit {}
impl sealed::Sealed for &Circuit {}
impl sealed::Sealed for CircuitRegistry {}

impl<R> Select<R> for Circuit {
    type Handle = Circuit;

    #[inline]
    fn select(&mut self, _request: &R) -> Circuit {
        self.refresh();
        self.clone()
    }
}

impl<'a, R> Select<R> for &'a Circuit {
    type Handle = &'a Circuit;

    #[inline]
    fn select(&mut self, _request: &R) -> &'a Circuit {
        self
    }
}

impl Lookup for CircuitRegistry {
    type Handle = Circuit;

    fn look_up(&self, key: &str) -> Circuit {
        self.circuit(key)
    }
}

/// The service of [`CircuitBreakerLayer`].
///
/// It is ready when the inner service is, open circuit or not: a rejection is the answer to a call.
#[derive(Clone, Copy, Debug)]
pub struct CircuitBreaker<S, C = Circuit, O = ()> {
    inner: S,
    circuits: C,
    policy: CircuitBreakerPolicy,
    admitted: Option<Admitted>,
    observer: O,
}

impl<R, S, C, O> Service<R> for CircuitBreaker<S, C, O>
where
    S: Service<R>,
    S::Error: Classify + From<CircuitOpen>,
    C: Select<R, Handle: Borrow<Circuit>>,
    O: Observer<S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C::Handle, O>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        let circuit = self.circuits.select(&request);
        let admitted = match self.admitted.take().or_else(|| circuit.borrow().admit_if_closed()) {
            Some(admitted) => Ok(Permit::new(Holder::Given(circuit), admitted.ticket())),
            None => admit::<_, S::Error, _>(circuit.borrow().clone(), &self.observer),
        };
        let state = match admitted {
            Ok(permit) => State::Admitted { attempt: self.inner.call(request), permit },
            Err(rejection) => State::Rejected { rejection: Some(rejection) },
        };
        ResponseFuture { state, policy: self.policy, observer: self.observer.clone() }
    }
}

#[cold]
fn admit<C, E, O>(mut circuit: Circuit, observer: &O) -> Result<Permit<C>, Box<CircuitOpen>>
where
    C: Borrow<Circuit>,
    E: ?Sized,
    O: Observer<E>,
{
    let (ticket, change) = circuit.admit().inspect_err(|rejection| observer.rejected(rejection))?;
    if let Some(change) = &change {
        observer.circuit_changed(change);
    }
    if ticket.is_probe() {
        observer.probe_started(circuit.key());
    }
    Ok(Permit::new(Holder::Successor(circuit), ticket))
}

pin_project! {
    /// The future of [`CircuitBreaker`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C = Circuit, O = ()>
    where
        C: Borrow<Circuit>,
    {
        #[pin]
        state: State<F, C>,
        policy: CircuitBreakerPolicy,
        observer: O,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<F, C>
    where
        C: Borrow<Circuit>,
    {
        Admitted {
            #[pin]
            attempt: F,
            permit: Permit<C>,
        },
        Rejected {
            // Apart, so that it takes no room in the others.
            rejection: Option<Box<CircuitOpen>>,
        },
    }
}

impl<F, T, E, C, O> Future for ResponseFuture<F, C, O>
where
    C: Borrow<Circuit>,
    F: Future<Output = Result<T, E>>,
    E: Classify + From<CircuitOpen>,
    O: Observer<E>,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (attempt, permit) = match this.state.project() {
            StateProjection::Admitted { attempt, permit } => (attempt, permit),
            StateProjection::Rejected { rejection } => {
                let Some(rejection) = rejection.take() else {
                    unreachable!("polled after completion");
                };
                return Poll::Ready(Err((*rejection).into()));
            }
        };
        let result = ready!(attempt.poll(cx));
        let outcome = match &result {
            Ok(_) => Outcome::Success,
            Err(error) => this.policy.outcome(error.classify()),
        };
        if let Some(change) = permit.record(outcome, this.policy) {
            this.observer.circuit_changed(&change);
        }
        Poll::Ready(result)
    }
}

/// The error of an attempt that was rejected because its circuit is open. The service was not called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitOpen {
    key: Arc<str>,
    reopens_at: Option<Instant>,
    retry_after: Option<Duration>,
}

impl CircuitOpen {
    /// Returns the key of the circuit.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns when the circuit will let a probe through; `None` if the probe is in progress.
    pub const fn reopens_at(&self) -> Option<Instant> {
        self.reopens_at
    }

    /// Returns how long that was from the moment of the rejection.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit `{}` is open", self.key)?;
        match self.retry_after {
            Some(retry_after) => write!(f, " for another {retry_after:?}"),
            None => f.write_str(" until its probe has an outcome"),
        }
    }
}

impl Error for CircuitOpen {}

/// A change of a circuit from one of closed, open and half-open to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitChange {
    /// The key of the circuit.
    pub key: Arc<str>,
    /// The state before; when a row of failures opened the circuit, without the last one of them.
    pub old: CircuitState,
    /// The state after.
    pub new: CircuitState,
    /// What made the change.
    pub reason: Reason,
    /// How many changes the circuit has seen, this one included: later changes have higher numbers.
    pub generation: u64,
}
