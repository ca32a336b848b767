//! Trying again, after a delay, what failed in a way that may pass.
//!
//! The outermost layer: a *call* comes in, up to [`max_attempts`](RetryPolicy::max_attempts) *attempts* go out, one after
//! another, and between them the layer waits for the [backoff](crate::Backoff), or for as long as the failed side asked, if that
//! is longer. A failure that is not retried, and the failure of the last attempt, are returned as they are.
//!
//! ```
//! use std::cell::Cell;
//! use orchestr8_resilience::{Class, Classify, DeadlineReached, RetryLayer, RetryPolicy};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! #[derive(Debug, PartialEq)]
//! struct ConnectionLost;
//!
//! impl Classify for ConnectionLost {
//!     fn classify(&self) -> Class {
//!         Class::Network
//!     }
//! }
//!
//! impl From<DeadlineReached<ConnectionLost>> for ConnectionLost {
//!     fn from(_: DeadlineReached<ConnectionLost>) -> Self {
//!         ConnectionLost
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let lost = Cell::new(2);
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryPolicy::default(), 42))
//!     .service(service_fn(|name: &'static str| {
//!         let answer = if lost.replace(lost.get() - 1) > 0 { Err(ConnectionLost) } else { Ok(name.len()) };
//!         async move { answer }
//!     }));
//! assert_eq!(service.oneshot("three").await, Ok(5));
//! # }
//! ```
//!
//! # Why not tower's
//!
//! `tower::retry` leaves everything to a policy that is cloned per call, sees a failure only after the fact, and answers with a
//! future. A deadline that turns a failure into another, numbers that go on after a restart, and the duty to report a delay
//! before it starts would each have to live in that policy and its future, which then is the mechanism under another name. The
//! loop itself is short, and here it can be read in one place.
//!
//! # Cancellation safety
//!
//! Dropping the future drops the attempt in progress, or ends the delay, at once. Nothing is left behind: there is no task, and
//! the guards of inner layers give back what they hold.

mod future;
mod policy;

use std::{
    mem,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

pub use self::{
    future::{DeadlineReached, ResponseFuture},
    policy::RetryPolicy,
};
use crate::{Classify, backoff::Seeds, observe::Observer};

/// Retries calls that fail in a way that may pass.
///
/// Besides the [policy](RetryPolicy), which is the same for many calls, it takes what belongs to one call: a deadline, and where
/// the call stands if it was begun before.
#[derive(Clone, Copy, Debug)]
pub struct RetryLayer<O = ()> {
    terms: Terms,
    seed: u64,
    observer: O,
}

/// What holds for the calls of a service.
#[derive(Clone, Copy, Debug)]
struct Terms {
    policy: RetryPolicy,
    tries_used: u32,
    not_before: Option<Instant>,
    deadline: Option<Instant>,
}

impl RetryLayer {
    /// Makes a layer from a policy and the seed of its jitter.
    ///
    /// The first call of a service made by this layer draws its delays from `seed` itself; further calls, and clones of the
    /// service, draw from seeds of their own that follow from it. Nothing is drawn before a delay is needed.
    pub const fn new(policy: RetryPolicy, seed: u64) -> Self {
        let terms = Terms { policy, tries_used: 0, not_before: None, deadline: None };
        Self { terms, seed, observer: () }
    }
}

impl<O> RetryLayer<O> {
    /// Sets how many of the allowed attempts were made before; 0 unless set. Attempts, and the growth of delays, count on from
    /// there. One attempt is made in any case.
    #[must_use]
    pub fn tries_used(mut self, tries: u32) -> Self {
        self.terms.tries_used = tries;
        self
    }

    /// Sets when the first attempt is due, such as the end of a delay that was decided before; at once unless set.
    #[must_use]
    pub fn not_before(mut self, due_at: Option<Instant>) -> Self {
        self.terms.not_before = due_at;
        self
    }

    /// Sets the instant before which an attempt must start; none unless set.
    ///
    /// A delay that would reach it is not waited for: the call fails at once with [`DeadlineReached`]. An attempt in progress is
    /// not interrupted when the deadline passes; race the whole call against it for that.
    #[must_use]
    pub fn deadline(mut self, deadline: Option<Instant>) -> Self {
        self.terms.deadline = deadline;
        self
    }

    /// Sets who hears of attempts and retries, in place of the current observer.
    #[must_use]
    pub fn observer<P>(self, observer: P) -> RetryLayer<P> {
        RetryLayer { terms: self.terms, seed: self.seed, observer }
    }
}

impl<S, O: Clone> Layer<S> for RetryLayer<O> {
    type Service = Retry<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry { inner, terms: self.terms, seeds: Seeds::starting_with(self.seed), observer: self.observer.clone() }
    }
}

/// The service of [`RetryLayer`].
///
/// It keeps a clone of the request as long as another attempt may follow, so `R: Clone` should be cheap: a reference, an `Arc`.
#[derive(Clone, Debug)]
pub struct Retry<S, O = ()> {
    inner: S,
    terms: Terms,
    seeds: Seeds,
    observer: O,
}

impl<S, O> Retry<S, O> {
    /// Makes the one call that this service was built for, without asking whether it is ready and without cloning it.
    ///
    /// For a stack that is put together for a single call. It does what `tower::ServiceExt::oneshot` does, with less.
    #[inline]
    pub fn oneshot<R>(mut self, request: R) -> ResponseFuture<S, R, O>
    where
        S: Service<R>,
    {
        let seed = self.seeds.next();
        ResponseFuture::new(self.inner, request, self.terms, seed, self.observer)
    }
}

impl<R, S, O> Service<R> for Retry<S, O>
where
    R: Clone,
    S: Service<R> + Clone,
    S::Error: Classify + From<DeadlineReached<S::Error>>,
    O: Observer<S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, R, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        // The service that was found ready goes into the future, its clone stays.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        ResponseFuture::new(ready, request, self.terms, self.seeds.next(), self.observer.clone())
    }
}
