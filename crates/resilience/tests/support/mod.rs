//! A service that answers as told, its error, and an observer that writes down what it hears.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{cell::RefCell, future::pending, rc::Rc, time::Duration};

use orchestr8_resilience::{
    BulkheadFull, CircuitOpen, Class, Classify, DeadlineReached, Elapsed, Observer, RateLimited,
    circuit_breaker::CircuitChange,
    observe::{GaveUp, ScheduledRetry, Waited},
};
use tokio::time::Instant;
use tower::service_fn;
use tower_service::Service;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    Plain(Class),
    Busy { retry_after: Duration },
    TimedOut(Elapsed),
    Rejected(CircuitOpen),
    Limited(RateLimited),
    Full(BulkheadFull),
    TooLate(Box<DeadlineReached<Failure>>),
}

impl Classify for Failure {
    fn classify(&self) -> Class {
        match self {
            Failure::Plain(class) => *class,
            Failure::Busy { .. } => Class::RateLimited,
            Failure::TimedOut(_) | Failure::TooLate(_) => Class::Timeout,
            Failure::Rejected(_) => Class::CircuitOpen,
            Failure::Limited(limited) => limited.class(),
            Failure::Full(_) => Class::RateLimited,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Busy { retry_after } => Some(*retry_after),
            Failure::Limited(limited) => limited.retry_after(),
            Failure::Plain(_)
            | Failure::TimedOut(_)
            | Failure::Rejected(_)
            | Failure::Full(_)
            | Failure::TooLate(_) => None,
        }
    }

    fn is_rejection(&self) -> bool {
        matches!(self, Failure::Rejected(_) | Failure::Limited(_) | Failure::Full(_))
    }
}

impl From<Elapsed> for Failure {
    fn from(elapsed: Elapsed) -> Self {
        Failure::TimedOut(elapsed)
    }
}

impl From<CircuitOpen> for Failure {
    fn from(rejection: CircuitOpen) -> Self {
        Failure::Rejected(rejection)
    }
}

impl From<RateLimited> for Failure {
    fn from(limited: RateLimited) -> Self {
        Failure::Limited(limited)
    }
}

impl From<BulkheadFull> for Failure {
    fn from(full: BulkheadFull) -> Self {
        Failure::Full(full)
    }
}

impl From<DeadlineReached<Failure>> for Failure {
    fn from(reached: DeadlineReached<Failure>) -> Self {
        Failure::TooLate(Box::new(reached))
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Success,
    Fails(Failure),
    Never,
}

impl Answer {
    pub(crate) const RETRYABLE: Self = Answer::Fails(Failure::Plain(Class::Retryable));
    pub(crate) const PERMANENT: Self = Answer::Fails(Failure::Plain(Class::Permanent));
    pub(crate) const INTERNAL: Self = Answer::Fails(Failure::Plain(Class::Internal));

    pub(crate) fn busy(seconds: f64) -> Self {
        let retry_after = Duration::from_secs_f64(seconds);
        Answer::Fails(Failure::Busy { retry_after })
    }
}

/// The instants of a service's calls.
pub(crate) type Calls = Rc<RefCell<Vec<Instant>>>;

/// A service whose calls end at once as the answers say, in order, the last one over and over.
pub(crate) fn scripted(
    answers: &[Answer],
) -> (impl Service<(), Response = (), Error = Failure> + Clone + use<>, Calls) {
    let calls = Calls::default();
    let (log, answers) = (Rc::clone(&calls), answers.to_vec());
    let service = service_fn(move |()| {
        let next = log.borrow().len().min(answers.len() - 1);
        let answer = answers[next].clone();
        log.borrow_mut().push(Instant::now());
        async move {
            match answer {
                Answer::Success => Ok(()),
                Answer::Fails(failure) => Err(failure),
                Answer::Never => pending().await,
            }
        }
    });
    (service, calls)
}

/// Seconds since `start`, for comparing with literals.
pub(crate) fn seconds_since(start: Instant, instant: Instant) -> f64 {
    (instant - start).as_secs_f64()
}

/// Writes down what it hears, one line each.
#[derive(Debug, Default)]
pub(crate) struct Log(RefCell<Vec<String>>);

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub(crate) fn write(&self, line: String) {
        self.0.borrow_mut().push(line);
    }
}

impl Observer<Failure> for Log {
    fn attempt_started(&self, attempt: u32) {
        self.write(format!("attempt {attempt}"));
    }

    fn retry_scheduled(&self, retry: &ScheduledRetry, error: &Failure) {
        let ScheduledRetry { attempt, delay, .. } = retry;
        self.write(format!("retry {attempt} in {delay:?} after {:?}", error.classify()));
    }

    fn succeeded(&self, attempts: u32) {
        self.write(format!("succeeded, attempts {attempts}"));
    }

    fn gave_up(&self, attempts: u32, reason: GaveUp, error: &Failure) {
        self.write(format!("gave up: {reason:?}, attempts {attempts}, {:?}", error.classify()));
    }

    fn timed_out(&self, elapsed: &Elapsed) {
        self.write(elapsed.to_string());
    }

    fn circuit_changed(&self, change: &CircuitChange) {
        self.write(format!("{} {}", change.key, change.reason.as_str()));
    }

    fn probe_started(&self, key: &str) {
        self.write(format!("{key} probe"));
    }

    fn rejected(&self, rejection: &CircuitOpen) {
        self.write(format!("{} rejected", rejection.key()));
    }

    fn timeout_cleared(&self) {
        self.write("in time".to_owned());
    }

    fn waited(&self, waited: &Waited<'_>) {
        let Waited { queue, key, time, .. } = waited;
        self.write(format!("waited {time:?} for {} {key}", queue.as_str()));
    }

    fn refused(&self, waited: &Waited<'_>, error: &Failure) {
        self.write(format!("refused by {} after {:?}: {error:?}", waited.queue.as_str(), waited.time));
    }
}
