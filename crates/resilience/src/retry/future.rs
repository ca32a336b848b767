use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{Resumed, Retry, RetryPolicy, policy::Decision};
use crate::{
    Class, Classify,
    observe::{GaveUp, Observer, ScheduledRetry},
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
        #[pin]
        state: State<S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<F> {
        // The first attempt is due later.
        Starting {
            due_at: Instant,
        },
        Waiting {
            #[pin]
            delay: Sleep,
        },
        Readying,
        Attempting {
            #[pin]
            attempt: F,
        },
    }
}

#[derive(Debug)]
struct Call<S, R, O> {
    service: S,
    /// `None` once the last allowed attempt has taken it.
    request: Option<R>,
    policy: RetryPolicy,
    seed: u64,
    deadline: Option<Instant>,
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
    pub(super) fn new(retry: Retry<S, O>, request: R, seed: u64) -> Self {
        let Resumed { tries_used, not_before } = retry.resumed;
        Self {
            call: Call {
                service: retry.inner,
                request: Some(request),
                policy: retry.policy,
                seed,
                deadline: retry.deadline,
                observer: retry.observer,
                tries: tries_used,
                attempts: tries_used,
            },
            state: match not_before {
                None => State::Readying,
                Some(due_at) => State::Starting { due_at },
            },
        }
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Waiting { delay } => {
                    ready!(delay.poll(cx));
                    this.state.set(State::Readying);
                }
                StateProjection::Readying => {
                    let ready = ready!(this.call.service.poll_ready(cx));
                    let attempt = this.call.attempt(ready)?;
                    this.state.set(State::Attempting { attempt });
                }
                StateProjection::Attempting { attempt } => match ready!(attempt.poll(cx)) {
                    Ok(response) => return Poll::Ready(Ok(this.call.succeeded(response))),
                    Err(error) => {
                        let due_at = this.call.due_after(error)?;
                        this.state.set(State::due(due_at));
                    }
                },
                StateProjection::Starting { due_at } => {
                    let due_at = *due_at;
                    this.call.check_deadline(due_at)?;
                    this.state.set(State::due(Some(due_at)));
                }
            }
        }
    }
}

impl<F> State<F> {
    /// The next attempt is due then, or now.
    fn due(due_at: Option<Instant>) -> Self {
        match due_at {
            None => State::Readying,
            Some(due_at) => State::Waiting { delay: sleep_until(due_at) },
        }
    }
}

impl<S, R, O> Call<S, R, O>
where
    R: Clone,
    S: Service<R>,
    S::Error: Classify + From<DeadlineReached<S::Error>>,
    O: Observer<S::Error>,
{
    /// Fails if the first attempt is due too late.
    fn check_deadline(&self, due_at: Instant) -> Result<(), S::Error> {
        if self.is_before_deadline(due_at) { Ok(()) } else { Err(self.deadline_reached(None).into()) }
    }

    /// Starts the next attempt on a service that is ready, or dead.
    fn attempt(&mut self, ready: Result<(), S::Error>) -> Result<S::Future, S::Error> {
        if let Err(error) = ready {
            self.observer.gave_up(self.attempts, GaveUp::NotRetried, &error);
            return Err(error);
        }
        self.tries = self.tries.saturating_add(1);
        let request = if self.tries < self.policy.max_attempts() { self.request.clone() } else { self.request.take() };
        let Some(request) = request else {
            unreachable!("no attempt follows the one that took the request");
        };
        self.observer.attempt_started(self.tries);
        Ok(self.service.call(request))
    }

    fn succeeded(&mut self, response: S::Response) -> S::Response {
        self.attempts = self.attempts.saturating_add(1);
        self.observer.succeeded(self.attempts);
        response
    }

    /// When the next attempt is due after this failure; `None` is now. The error is the one to return.
    fn due_after(&mut self, error: S::Error) -> Result<Option<Instant>, S::Error> {
        let class = error.classify();
        if class != Class::CircuitOpen {
            self.attempts = self.attempts.saturating_add(1);
        }
        let delay = match self.policy.after_failure(self.tries, self.seed, class, error.retry_after()) {
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
        Ok((!delay.is_zero()).then_some(due_at))
    }

    fn is_before_deadline(&self, instant: Instant) -> bool {
        self.deadline.is_none_or(|deadline| instant < deadline)
    }

    fn deadline_reached(&self, last: Option<S::Error>) -> DeadlineReached<S::Error> {
        DeadlineReached { last, attempts: self.attempts }
    }
}

/// The error of a call whose next attempt would not start before its deadline.
///
/// Its class should be [`Class::Timeout`], its cause the [last](DeadlineReached::last) failure.
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
