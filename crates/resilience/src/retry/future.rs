use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::{Terms, policy::Decision};
use crate::{
    Classify,
    observe::{GaveUp, Observer, ScheduledRetry},
    timer::Timer,
};

pin_project! {
    /// The future of [`Retry`]: one call with all its attempts and delays.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, R, O = ()>
    where
        S: Service<R>,
    {
        call: Call<S, R, O>,
        turn: Turn,
        #[pin]
        attempt: Option<S::Future>,
    }
}

/// When the next attempt starts. Not looked at while there is one.
#[derive(Debug)]
enum Turn {
    /// As soon as the service is ready.
    Now,
    /// Then, and it is the first one: nobody has looked yet whether that is too late.
    First { due_at: Instant },
    /// Then.
    At { due_at: Instant, timer: Timer },
}

#[derive(Debug)]
struct Call<S, R, O> {
    service: S,
    /// `None` once the last allowed attempt has taken it.
    request: Option<R>,
    terms: Terms,
    seed: u64,
    observer: O,
    /// Uses of `max_attempts`, rejected ones included.
    tries: u32,
    /// Tries that reached the service.
    attempts: u32,
}

impl<S, R, O> ResponseFuture<S, R, O>
where
    S: Service<R>,
{
    #[inline]
    pub(super) fn new(service: S, request: R, terms: Terms, seed: u64, observer: O) -> Self {
        let tries = terms.tries_used;
        let turn = terms.not_before.map_or(Turn::Now, |due_at| Turn::First { due_at });
        let call = Call { service, request: Some(request), terms, seed, observer, tries, attempts: tries };
        Self { call, turn, attempt: None }
    }
}

impl<S, R, O> Future for ResponseFuture<S, R, O>
where
    R: Clone,
    S: Service<R>,
    S::Error: Classify + From<DeadlineReached<S::Error>>,
    O: Observer<S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(attempt) = this.attempt.as_mut().as_pin_mut() {
                match ready!(attempt.poll(cx)) {
                    Ok(response) => return Poll::Ready(Ok(this.call.succeeded(response))),
                    Err(error) => *this.turn = this.call.turn_after(error)?,
                }
                this.attempt.set(None);
            }
            if !matches!(this.turn, Turn::Now) {
                ready!(this.call.poll_turn(this.turn, cx))?;
            }
            let ready = ready!(this.call.service.poll_ready(cx));
            let attempt = this.call.attempt(ready)?;
            this.attempt.set(Some(attempt));
        }
    }
}

impl Turn {
    fn at(due_at: Instant) -> Self {
        Turn::At { due_at, timer: Timer::new() }
    }
}

impl<S, R, O> Call<S, R, O>
where
    R: Clone,
    S: Service<R>,
    S::Error: Classify + From<DeadlineReached<S::Error>>,
    O: Observer<S::Error>,
{
    /// Waits until the next attempt is due, unless it is the first one and due too late.
    #[cold]
    fn poll_turn(&mut self, turn: &mut Turn, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if let Turn::First { due_at } = *turn {
            if !self.is_before_deadline(due_at) {
                return Poll::Ready(Err(self.deadline_reached(None).into()));
            }
            *turn = Turn::at(due_at);
        }
        if let Turn::At { due_at, timer } = turn {
            ready!(timer.poll_until(*due_at, cx));
            *turn = Turn::Now;
        }
        Poll::Ready(Ok(()))
    }

    /// Starts the next attempt on a service that is ready, or dead.
    #[inline]
    fn attempt(&mut self, ready: Result<(), S::Error>) -> Result<S::Future, S::Error> {
        if let Err(error) = ready {
            self.observer.gave_up(self.attempts, GaveUp::NotRetried, &error);
            return Err(error);
        }
        self.tries = self.tries.saturating_add(1);
        let request =
            if self.tries < self.terms.policy.max_attempts() { self.request.clone() } else { self.request.take() };
        let Some(request) = request else {
            unreachable!("no attempt follows the one that took the request");
        };
        self.observer.attempt_started(self.tries);
        Ok(self.service.call(request))
    }

    #[inline]
    fn succeeded(&mut self, response: S::Response) -> S::Response {
        self.attempts = self.attempts.saturating_add(1);
        self.observer.succeeded(self.attempts);
        response
    }

    /// When the next attempt starts after this failure. The error is the one to return.
    #[cold]
    fn turn_after(&mut self, error: S::Error) -> Result<Turn, S::Error> {
        let class = error.classify();
        if !error.is_rejection() {
            self.attempts = self.attempts.saturating_add(1);
        }
        let delay = match self.terms.policy.after_failure(self.tries, self.seed, class, error.retry_after()) {
            Decision::RetryAfter(delay) => delay,
            Decision::GiveUp(reason) => {
                self.observer.gave_up(self.attempts, reason, &error);
                return Err(error);
            }
        };

        // A delay that ends after the end of time reaches any deadline.
        let due_at = Instant::now().checked_add(delay);
        let Some(due_at) = due_at.filter(|due_at| self.is_before_deadline(*due_at)) else {
            self.observer.gave_up(self.attempts, GaveUp::DeadlineReached, &error);
            return Err(self.deadline_reached(Some(error)).into());
        };
        let retry = ScheduledRetry { attempt: self.tries.saturating_add(1), delay, due_at };
        self.observer.retry_scheduled(&retry, &error);
        Ok(if delay.is_zero() { Turn::Now } else { Turn::at(due_at) })
    }

    fn is_before_deadline(&self, instant: Instant) -> bool {
        self.terms.deadline.is_none_or(|deadline| instant < deadline)
    }

    fn deadline_reached(&self, last: Option<S::Error>) -> DeadlineReached<S::Error> {
        DeadlineReached { last, attempts: self.attempts }
    }
}

/// The error of a call whose next attempt would not start before its deadline.
///
/// Its class should be [`Class::Timeout`](crate::Class::Timeout), its cause the [last](DeadlineReached::last) failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineReached<E> {
    last: Option<E>,
    attempts: u32,
}

impl<E> DeadlineReached<E> {
    /// Returns the failure of the last attempt, which is the cause; `None` if the call was to wait for its first one.
    pub const fn last(&self) -> Option<&E> {
        self.last.as_ref()
    }

    /// Takes the failure of the last attempt out of this one.
    pub fn into_last(self) -> Option<E> {
        self.last
    }

    /// Returns how many attempts reached the service.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl<E> fmt::Display for DeadlineReached<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the next attempt would start after the deadline")
    }
}

impl<E: Error + 'static> Error for DeadlineReached<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.last.as_ref().map(|last| last as _)
    }
}
