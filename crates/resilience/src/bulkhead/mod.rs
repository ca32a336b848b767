//! Not calling a service more than so many times at once.
//!
//! Attempts are in progress in a *compartment*, up to as many as it has [permits](BulkheadPolicy). Further ones wait, first come,
//! first served, in a queue that is bounded too: when it is full, or when the wait takes too long, an attempt fails with
//! [`BulkheadFull`]. What is slow then fills its own compartment, and leaves the rest of the ship dry.
//!
//! ```
//! use std::time::Duration;
//! use orchestr8_resilience::{BulkheadFull, BulkheadLayer, BulkheadPolicy, Class, Classify, Compartment};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! #[derive(Debug)]
//! struct TooMany(BulkheadFull);
//!
//! impl Classify for TooMany {
//!     fn classify(&self) -> Class {
//!         Class::RateLimited
//!     }
//! }
//!
//! impl From<BulkheadFull> for TooMany {
//!     fn from(full: BulkheadFull) -> Self {
//!         TooMany(full)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), orchestr8_resilience::InvalidPolicy> {
//! let policy = BulkheadPolicy::try_new(1)?.max_queue(1)?;
//! let render = BulkheadLayer::new(Compartment::new("render", &policy), policy).layer(service_fn(|pages: u64| async move {
//!     tokio::time::sleep(Duration::from_secs(pages)).await;
//!     Ok::<_, TooMany>(pages)
//! }));
//!
//! let call = |pages| render.clone().oneshot(pages);
//! let (first, second, third) = tokio::join!(call(3), call(2), call(1));
//! assert_eq!((first.unwrap(), second.unwrap()), (3, 2));
//! assert!(third.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # Where it belongs
//!
//! Outside of the circuit breaker and of the timeout, so that waiting holds no probe and eats of no time limit, and inside of
//! retry, so that a delay holds no permit. Say [`unless_open`](BulkheadLayer::unless_open), so that nobody waits only to be
//! rejected.
//!
//! # Cancellation safety
//!
//! Who is dropped while waiting leaves the queue, and an attempt that ends in any way, dropped and panicking ones included, gives
//! its permit to the first who waits.

mod compartment;
mod policy;
mod state;

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use self::compartment::Permit;
pub use self::{
    compartment::{Compartment, CompartmentRegistry, CompartmentState},
    policy::BulkheadPolicy,
};
use crate::{
    circuit_breaker::{Gate, UnlessOpen},
    keyed::{Keyed, Select},
    observe::{Observer, Queue, Waited},
    turn::{self, Turn},
};

/// Lets so many attempts be in progress at once.
///
/// `C` says in which compartment: a [`Compartment`] for all requests, or [`Keyed`] by request. `G` says whether a request may
/// [wait](Gate).
#[derive(Clone, Copy, Debug)]
pub struct BulkheadLayer<C = Compartment, G = (), O = ()> {
    compartments: C,
    policy: BulkheadPolicy,
    gate: G,
    observer: O,
}

impl BulkheadLayer {
    /// Makes a layer with one compartment for all requests.
    pub const fn new(compartment: Compartment, policy: BulkheadPolicy) -> Self {
        Self { compartments: compartment, policy, gate: (), observer: () }
    }
}

impl<F> BulkheadLayer<Keyed<(CompartmentRegistry, BulkheadPolicy), F>> {
    /// Makes a layer that finds the compartment of each request by the key that `key` reads from it.
    pub const fn keyed<R, K>(registry: CompartmentRegistry, policy: BulkheadPolicy, key: F) -> Self
    where
        F: Fn(&R) -> K,
        K: AsRef<str>,
    {
        Self { compartments: Keyed::new((registry, policy), key), policy, gate: (), observer: () }
    }
}

impl<C, G, O> BulkheadLayer<C, G, O> {
    /// Sets the circuit that nobody waits for who would be rejected by it: what the circuit breaker further in was given, a
    /// [`Circuit`](crate::Circuit), a reference to one, or the [`Keyed`] of circuits.
    #[must_use]
    pub fn unless_open<D>(self, circuits: D) -> BulkheadLayer<C, UnlessOpen<D>, O> {
        let Self { compartments, policy, observer, .. } = self;
        BulkheadLayer { compartments, policy, gate: UnlessOpen(circuits), observer }
    }

    /// Sets who hears of waits and refusals, in place of the current observer.
    #[must_use]
    pub fn observer<P>(self, observer: P) -> BulkheadLayer<C, G, P> {
        let Self { compartments, policy, gate, .. } = self;
        BulkheadLayer { compartments, policy, gate, observer }
    }
}

impl<S, C: Clone, G: Clone, O: Clone> Layer<S> for BulkheadLayer<C, G, O> {
    type Service = Bulkhead<S, C, G, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Bulkhead { inner, layer: self.clone() }
    }
}

/// The service of [`BulkheadLayer`].
///
/// It is always ready: an attempt waits in its future, and the inner service is asked whether it is ready when its turn has come.
#[derive(Clone, Copy, Debug)]
pub struct Bulkhead<S, C = Compartment, G = (), O = ()> {
    inner: S,
    layer: BulkheadLayer<C, G, O>,
}

impl<R, S, C, G, O> Service<R> for Bulkhead<S, C, G, O>
where
    S: Service<R> + Clone,
    S::Error: From<BulkheadFull>,
    C: Select<R, Handle = Compartment>,
    G: Gate<R, S::Error>,
    O: Observer<S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, R, O>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let BulkheadLayer { compartments, policy, gate, observer } = &mut self.layer;
        let state = match gate.rejection(&request, observer) {
            Some(error) => State::Refused { error: Some(error) },
            None => match compartments.select(&request).ask(policy) {
                Ok(permit) => State::Admitted {
                    turn: Turn::new(self.inner.clone(), request),
                    permit: Some(Watched { permit, observer: observer.clone() }),
                },
                Err(full) => State::Refused { error: Some(refuse(full, Duration::ZERO, observer)) },
            },
        };
        ResponseFuture { state }
    }
}

fn refuse<E: From<BulkheadFull>>(full: BulkheadFull, time: Duration, observer: &impl Observer<E>) -> E {
    let key = Arc::clone(&full.key);
    let error = full.into();
    observer.refused(&Waited { queue: Queue::Bulkhead, key: &key, time }, &error);
    error
}

pin_project! {
    /// The future of [`Bulkhead`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, R, O = ()>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<S, R, O>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, R, O>
    where
        S: Service<R>,
    {
        Refused {
            error: Option<S::Error>,
        },
        Admitted {
            #[pin]
            turn: Turn<S, R>,
            permit: Option<Watched<O>>,
        },
    }
}

impl<S, R, O> Future for ResponseFuture<S, R, O>
where
    S: Service<R>,
    S::Error: From<BulkheadFull>,
    O: Observer<S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Admitted { turn, permit } => {
                let Some(watched) = permit else {
                    unreachable!("polled after completion");
                };
                let result = ready!(turn.poll(watched, cx));
                // The attempt is over, whatever its caller does with the future.
                *permit = None;
                Poll::Ready(result)
            }
            StateProjection::Refused { error } => {
                let Some(error) = error.take() else {
                    unreachable!("polled after completion");
                };
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S: Service<R>, R, O> fmt::Debug for ResponseFuture<S, R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A permit, and who hears of the wait for it.
struct Watched<O> {
    permit: Permit,
    observer: O,
}

impl<E: From<BulkheadFull>, O: Observer<E>> turn::Permit<E> for Watched<O> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let time = ready!(self.permit.poll(cx)).map_err(|full| {
            let time = match full.refusal {
                Refusal::TooLong { limit } => limit,
                Refusal::QueueFull => Duration::ZERO,
            };
            refuse(full, time, &self.observer)
        })?;
        if !time.is_zero() {
            let waited = Waited { queue: Queue::Bulkhead, key: self.permit.compartment().key(), time };
            self.observer.waited(&waited);
        }
        Poll::Ready(Ok(()))
    }
}

/// The error of an attempt that a compartment has no room for. The service was not called.
///
/// Its class should be [`Class::RateLimited`](crate::Class::RateLimited).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkheadFull {
    key: Arc<str>,
    refusal: Refusal,
}

/// Why a compartment refuses an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// As many wait as may.
    QueueFull,
    /// It waited for as long as it may.
    TooLong {
        /// How long that is.
        limit: Duration,
    },
}

impl BulkheadFull {
    /// Returns the key of the compartment.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns why the attempt was refused.
    pub const fn refusal(&self) -> Refusal {
        self.refusal
    }
}

impl fmt::Display for BulkheadFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refusal {
            Refusal::QueueFull => write!(f, "the queue of bulkhead `{}` is full", self.key),
            Refusal::TooLong { limit } => write!(f, "bulkhead `{}` had no room within {limit:?}", self.key),
        }
    }
}

impl Error for BulkheadFull {}
