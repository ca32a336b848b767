//! A time limit on each attempt.
//!
//! The innermost layer, so that each attempt gets the whole limit and neither waiting for a turn nor a retry's delay eats of
//! it. Unlike tower's layer of the same name it keeps the type of the error, into which [`Elapsed`] must convert, and it needs
//! no clock for a service that answers at once.
//!
//! ```
//! use std::time::Duration;
//! use orchestr8_resilience::{Elapsed, TimeoutLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! #[derive(Debug, PartialEq)]
//! struct TooSlow(Duration);
//!
//! impl From<Elapsed> for TooSlow {
//!     fn from(elapsed: Elapsed) -> Self {
//!         TooSlow(elapsed.limit())
//!     }
//! }
//!
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(5)))
//!     .service(service_fn(|seconds: u64| async move {
//!         tokio::time::sleep(Duration::from_secs(seconds)).await;
//!         Ok::<_, TooSlow>("done")
//!     }));
//!
//! assert_eq!(service.clone().oneshot(4).await, Ok("done"));
//! assert_eq!(service.oneshot(6).await, Err(TooSlow(Duration::from_secs(5))));
//! # }
//! ```

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    observe::Observer,
    timer::{Nanos, Timer},
};

/// Limits the time of each attempt; 30 seconds by default.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer<O = ()> {
    limit: Nanos,
    observer: O,
}

impl TimeoutLayer {
    /// Makes a layer that ends attempts after `limit`. With a limit of zero only a service that answers at once succeeds.
    pub const fn new(limit: Duration) -> Self {
        Self { limit: Nanos::of(limit), observer: () }
    }
}

impl<O> TimeoutLayer<O> {
    /// Sets who hears of timeouts, in place of the current observer.
    #[must_use]
    pub fn observer<P>(self, observer: P) -> TimeoutLayer<P> {
        TimeoutLayer { limit: self.limit, observer }
    }
}

impl Default for TimeoutLayer {
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}

impl<S, O: Clone> Layer<S> for TimeoutLayer<O> {
    type Service = Timeout<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout { inner, limit: self.limit, observer: self.observer.clone() }
    }
}

/// The service of [`TimeoutLayer`].
///
/// The limit is counted from the moment when the inner service first keeps its caller waiting. If its answer and the expiry
/// come together, the answer wins. At expiry the [observer](Observer::timed_out) is called, then the inner future dropped,
/// then [`Elapsed`] returned as the service's error.
#[derive(Clone, Copy, Debug)]
pub struct Timeout<S, O = ()> {
    inner: S,
    limit: Nanos,
    observer: O,
}

impl<R, S, O> Service<R> for Timeout<S, O>
where
    S: Service<R>,
    S::Error: From<Elapsed>,
    O: Observer<S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, O>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        ResponseFuture {
            inner: Some(self.inner.call(request)),
            timer: Timer::new(),
            limit: self.limit,
            observer: self.observer.clone(),
        }
    }
}

pin_project! {
    /// The future of [`Timeout`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, O = ()> {
        #[pin]
        inner: Option<F>,
        timer: Timer,
        limit: Nanos,
        observer: O,
    }
}

impl<F, T, E, O> Future for ResponseFuture<F, O>
where
    F: Future<Output = Result<T, E>>,
    E: From<Elapsed>,
    O: Observer<E>,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            unreachable!("polled after completion");
        };
        if let Poll::Ready(result) = inner.poll(cx) {
            if this.timer.is_set() {
                this.observer.timeout_cleared();
            }
            return Poll::Ready(result);
        }

        ready!(this.timer.poll_after(this.limit.duration(), cx));

        let elapsed = Elapsed { limit: this.limit.duration() };
        this.observer.timed_out(&elapsed);
        this.inner.set(None);
        Poll::Ready(Err(elapsed.into()))
    }
}

/// The error of an attempt that took longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    limit: Duration,
}

impl Elapsed {
    /// Returns the limit that was exceeded.
    pub const fn limit(&self) -> Duration {
        self.limit
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {:?}", self.limit)
    }
}

impl Error for Elapsed {}
