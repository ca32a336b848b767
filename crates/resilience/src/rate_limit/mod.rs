//! Not calling a service more often than it allows.
//!
//! A *bucket* holds what a minute allows: so many requests, so many units of weight, or both. It is full at first and is
//! refilled continuously. An attempt takes one request and its weight, both at once; if they are not there it waits, first come,
//! first served, and if that would take longer than its [policy](RateLimitPolicy) allows it fails at once with
//! [`RateLimited`], which says when to come again.
//!
//! Weight is what requests differ in: the tokens that a prompt will cost, the rows of a batch. It is [estimated](Weigh::estimate)
//! before the attempt and [corrected](Weigh::used) after it. A correction may leave less than nothing in the bucket, for which
//! others wait then; a request may not.
//!
//! ```
//! use std::time::Duration;
//! use orchestr8_resilience::{
//!     Bucket, Class, Classify, RateLimitLayer, RateLimitPolicy, RateLimited, rate_limit::Rates,
//! };
//! use tokio::time::Instant;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! #[derive(Debug)]
//! struct TooMany(RateLimited);
//!
//! impl Classify for TooMany {
//!     fn classify(&self) -> Class {
//!         self.0.class()
//!     }
//! }
//!
//! impl From<RateLimited> for TooMany {
//!     fn from(limited: RateLimited) -> Self {
//!         TooMany(limited)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), orchestr8_resilience::InvalidPolicy> {
//! let rates = Rates::try_new(Some(60), None)?;
//! let policy = RateLimitPolicy::new(rates).max_wait(Duration::from_secs(1))?;
//! let search = RateLimitLayer::new(Bucket::new("search", rates), policy)
//!     .layer(service_fn(|word: &'static str| async move { Ok::<_, TooMany>(word.len()) }));
//!
//! let start = Instant::now();
//! for _ in 0..61 {
//!     search.clone().oneshot("tower").await.unwrap();
//! }
//! assert_eq!(start.elapsed(), Duration::from_secs(1));
//! # Ok(())
//! # }
//! ```
//!
//! # Where it belongs
//!
//! Outside of the circuit breaker and inside of retry: each attempt takes a permit, and waiting for it holds no probe. What an
//! attempt did not use that was [rejected](Classify::is_rejection) further in is given back. Say [`unless_open`](RateLimitLayer::unless_open), so that nobody waits
//! only to be rejected.
//!
//! # Cancellation safety
//!
//! Who is dropped while waiting leaves the queue and takes nothing; the same goes for a permit that was granted but with which
//! the service was not called. Once it is called, its permit is used.

mod bucket;
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
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use self::{bucket::Permit, state::Limits};
pub use self::{
    bucket::{Bucket, BucketRegistry, BucketState},
    policy::{RateLimitPolicy, Rates},
};
use crate::{
    Class, Classify,
    circuit_breaker::{Gate, UnlessOpen},
    keyed::{Keyed, Select},
    observe::{Observer, Queue, Waited},
    turn::{self, Turn},
};

/// Lets attempts pass at the rates of a bucket.
///
/// `B` says which bucket that is: a [`Bucket`] for all requests, or [`Keyed`] by request. `W` says what a request
/// [weighs](Weigh), `G` whether it may [wait](Gate).
#[derive(Clone, Copy, Debug)]
pub struct RateLimitLayer<B = Bucket, W = (), G = (), O = ()> {
    buckets: B,
    policy: RateLimitPolicy,
    deadline: Option<Instant>,
    weigh: W,
    gate: G,
    observer: O,
}

impl RateLimitLayer {
    /// Makes a layer with one bucket for all requests, none of which weighs anything.
    pub const fn new(bucket: Bucket, policy: RateLimitPolicy) -> Self {
        Self { buckets: bucket, policy, deadline: None, weigh: (), gate: (), observer: () }
    }
}

impl<F> RateLimitLayer<Keyed<(BucketRegistry, Rates), F>> {
    /// Makes a layer that finds the bucket of each request by the key that `key` reads from it.
    pub const fn keyed<R, K>(registry: BucketRegistry, policy: RateLimitPolicy, key: F) -> Self
    where
        F: Fn(&R) -> K,
        K: AsRef<str>,
    {
        let buckets = Keyed::new((registry, policy.rates()), key);
        Self { buckets, policy, deadline: None, weigh: (), gate: (), observer: () }
    }
}

impl<B, W, G, O> RateLimitLayer<B, W, G, O> {
    /// Sets who knows what requests weigh.
    #[must_use]
    pub fn weigh<V>(self, weigh: V) -> RateLimitLayer<B, V, G, O> {
        let Self { buckets, policy, deadline, gate, observer, .. } = self;
        RateLimitLayer { buckets, policy, deadline, weigh, gate, observer }
    }

    /// Sets the circuit that nobody waits for who would be rejected by it: what the circuit breaker further in was given, a
    /// [`Circuit`](crate::Circuit), a reference to one, or the [`Keyed`] of circuits.
    #[must_use]
    pub fn unless_open<C>(self, circuits: C) -> RateLimitLayer<B, W, UnlessOpen<C>, O> {
        let Self { buckets, policy, deadline, weigh, observer, .. } = self;
        RateLimitLayer { buckets, policy, deadline, weigh, gate: UnlessOpen(circuits), observer }
    }

    /// Sets the instant before which a wait must be over; none unless set.
    ///
    /// Who would wait longer does not wait at all: the attempt fails at once with [`Refusal::TooLate`].
    #[must_use]
    pub fn deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets who hears of waits and refusals, in place of the current observer.
    #[must_use]
    pub fn observer<P>(self, observer: P) -> RateLimitLayer<B, W, G, P> {
        let Self { buckets, policy, deadline, weigh, gate, .. } = self;
        RateLimitLayer { buckets, policy, deadline, weigh, gate, observer }
    }
}

impl<S, B: Clone, W: Clone, G: Clone, O: Clone> Layer<S> for RateLimitLayer<B, W, G, O> {
    type Service = RateLimit<S, B, W, G, O>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit { inner, layer: self.clone() }
    }
}

/// Says what requests weigh, in units of [`Rates::weight`].
///
/// `()` is for requests without weight, a number for those that all weigh as much.
pub trait Weigh<R, T> {
    /// Returns what this request will weigh, to the best of one's knowledge.
    fn estimate(&self, request: &R) -> u64;

    /// Returns what the request turned out to weigh, by the answer to it; `None`, the default, leaves it at the estimate, as
    /// does an attempt that fails.
    fn used(&self, response: &T) -> Option<u64> {
        let _ = response;
        None
    }
}

impl<R, T> Weigh<R, T> for () {
    fn estimate(&self, _request: &R) -> u64 {
        0
    }
}

impl<R, T> Weigh<R, T> for u64 {
    fn estimate(&self, _request: &R) -> u64 {
        *self
    }
}

/// The service of [`RateLimitLayer`].
///
/// It is always ready: an attempt waits in its future, and the inner service is asked whether it is ready when its turn has come.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit<S, B = Bucket, W = (), G = (), O = ()> {
    inner: S,
    layer: RateLimitLayer<B, W, G, O>,
}

impl<R, S, B, W, G, O> Service<R> for RateLimit<S, B, W, G, O>
where
    S: Service<R> + Clone,
    S::Error: Classify + From<RateLimited>,
    B: Select<R, Handle = Bucket>,
    W: Weigh<R, S::Response> + Clone,
    G: Gate<R, S::Error>,
    O: Observer<S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, R, W, O>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let RateLimitLayer { buckets, policy, deadline, weigh, gate, observer } = &mut self.layer;
        let limits = Limits { max_wait: policy.longest_wait(), deadline: *deadline };
        let state = match gate.rejection(&request, observer) {
            Some(error) => State::Refused { error: Some(error) },
            None => match buckets.select(&request).ask(weigh.estimate(&request), limits) {
                Ok(permit) => {
                    let permit = Watched { permit, observer: observer.clone() };
                    State::Admitted { turn: Turn::new(self.inner.clone(), request), permit, weigh: weigh.clone() }
                }
                Err(refusal) => {
                    let key = Arc::clone(&refusal.key);
                    let error = refusal.into();
                    let waited = Waited { queue: Queue::RateLimit, key: &key, time: Duration::ZERO };
                    observer.refused(&waited, &error);
                    State::Refused { error: Some(error) }
                }
            },
        };
        ResponseFuture { state }
    }
}

pin_project! {
    /// The future of [`RateLimit`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, R, W = (), O = ()>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<S, R, W, O>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, R, W, O>
    where
        S: Service<R>,
    {
        Refused {
            error: Option<S::Error>,
        },
        Admitted {
            #[pin]
            turn: Turn<S, R>,
            permit: Watched<O>,
            weigh: W,
        },
    }
}

impl<S, R, W, O> Future for ResponseFuture<S, R, W, O>
where
    S: Service<R>,
    S::Error: Classify,
    W: Weigh<R, S::Response>,
    O: Observer<S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (turn, watched, weigh) = match self.project().state.project() {
            StateProjection::Admitted { turn, permit, weigh } => (turn, permit, weigh),
            StateProjection::Refused { error } => {
                let Some(error) = error.take() else {
                    unreachable!("polled after completion");
                };
                return Poll::Ready(Err(error));
            }
        };
        let result = ready!(turn.poll(watched, cx));
        let permit = &mut watched.permit;
        match &result {
            Ok(response) => {
                if let Some(used) = weigh.used(response) {
                    permit.bucket().correct(permit.weight(), used);
                }
            }
            Err(error) if error.is_rejection() => permit.give_back(),
            Err(_) => {}
        }
        Poll::Ready(result)
    }
}

impl<S: Service<R>, R, W, O> fmt::Debug for ResponseFuture<S, R, W, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A permit, and who hears of the wait for it.
struct Watched<O> {
    permit: Permit,
    observer: O,
}

impl<E, O: Observer<E>> turn::Permit<E> for Watched<O> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let time = ready!(self.permit.poll(cx));
        if !time.is_zero() {
            let waited = Waited { queue: Queue::RateLimit, key: self.permit.bucket().key(), time };
            self.observer.waited(&waited);
        }
        Poll::Ready(Ok(()))
    }

    fn called(&mut self) {
        self.permit.used();
    }
}

/// The error of an attempt that a bucket has no room for. The service was not called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimited {
    key: Arc<str>,
    refusal: Refusal,
}

/// Why a bucket refuses an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The wait would be longer than the policy allows.
    TooLong {
        /// How long it would be.
        retry_after: Duration,
    },
    /// The wait would reach the [deadline](RateLimitLayer::deadline).
    TooLate {
        /// How long it would be.
        wait: Duration,
    },
    /// The request is estimated to weigh more than a full bucket holds.
    TooHeavy {
        /// The estimate.
        weight: u64,
        /// What a full bucket holds.
        capacity: u64,
    },
}

impl RateLimited {
    /// Returns the key of the bucket.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns why the attempt was refused.
    pub const fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// Returns what an error made of this one should be classified as: [`Class::RateLimited`], or [`Class::Permanent`] if the
    /// same request will never pass, or not in time.
    pub const fn class(&self) -> Class {
        match self.refusal {
            Refusal::TooLong { .. } => Class::RateLimited,
            Refusal::TooLate { .. } | Refusal::TooHeavy { .. } => Class::Permanent,
        }
    }

    /// Returns when the request would have passed, counted from its refusal; `None` if never, or not in time.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.refusal {
            Refusal::TooLong { retry_after } => Some(retry_after),
            Refusal::TooLate { .. } | Refusal::TooHeavy { .. } => None,
        }
    }
}

impl fmt::Display for RateLimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refusal {
            Refusal::TooLong { retry_after } => {
                write!(f, "rate limit `{}` has nothing left for another {retry_after:?}", self.key)
            }
            Refusal::TooLate { wait } => {
                write!(f, "rate limit `{}` has nothing left for another {wait:?}, which is too late", self.key)
            }
            Refusal::TooHeavy { weight, capacity } => {
                write!(
                    f,
                    "a request of weight {weight} never passes rate limit `{}` of {capacity} per minute",
                    self.key
                )
            }
        }
    }
}

impl Error for RateLimited {}
