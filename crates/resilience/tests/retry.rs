//! Retry, alone and with what is inside of it: rows 27 to 43 of the table in the resilience specification, section 9.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod support;

use std::time::Duration;

use orchestr8_resilience::{
    Backoff, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, Class, Classify, Jitter, RetryLayer, RetryPolicy,
    Stack, TimeoutLayer, circuit_breaker::CircuitState,
};
use support::{Answer, Failure, Log, scripted, seconds_since};
use tokio::time::{Instant, timeout};
use tower::{Layer, Service, ServiceExt};

/// One row; what it does not say is as in `Row::default`.
struct Row {
    number: u32,
    answers: Vec<Answer>,
    policy: RetryPolicy,
    seed: u64,
    timeout: Option<f64>,
    deadline: Option<f64>,
    cancel_at: Option<f64>,
    circuit: Option<CircuitBreakerPolicy>,
    /// When the attempts reach the service.
    calls: &'static [f64],
    ends_at: f64,
    /// The class of the error, if it ends with one.
    error: Option<Class>,
    /// The last line that the observer hears.
    last: &'static str,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            number: 0,
            answers: Vec::new(),
            policy: attempts(3),
            seed: 0,
            timeout: None,
            deadline: None,
            cancel_at: None,
            circuit: None,
            calls: &[],
            ends_at: 0.0,
            error: None,
            last: "",
        }
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn backoff(base: f64) -> Backoff {
    Backoff::try_new(seconds(base), seconds(30.0)).unwrap()
}

fn attempts(max_attempts: u32) -> RetryPolicy {
    RetryPolicy::try_new(max_attempts, backoff(1.0).jitter(Jitter::None)).unwrap()
}

fn circuit(threshold: u32, reset: f64) -> Option<CircuitBreakerPolicy> {
    Some(CircuitBreakerPolicy::try_new(threshold, seconds(reset)).unwrap())
}

/// A seed whose first factors are 0.5 and 1.5.
const HALF_THEN_MORE: u64 = 11_720_144;
/// A seed whose first factors are 1 and 1.5.
const ONE_THEN_MORE: u64 = 1_009_884_812;

fn rows() -> Vec<Row> {
    let (success, retryable) = (Answer::Success, Answer::RETRYABLE);
    vec![
        Row {
            number: 27,
            answers: vec![success.clone()],
            calls: &[0.0],
            ends_at: 0.0,
            last: "succeeded, attempts 1",
            ..Row::default()
        },
        Row {
            number: 28,
            answers: vec![retryable.clone(), success.clone()],
            calls: &[0.0, 1.0],
            ends_at: 1.0,
            last: "succeeded, attempts 2",
            ..Row::default()
        },
        Row {
            number: 29,
            answers: vec![retryable.clone()],
            calls: &[0.0, 1.0, 3.0],
            ends_at: 3.0,
            error: Some(Class::Retryable),
            last: "gave up: Exhausted, attempts 3, Retryable",
            ..Row::default()
        },
        Row {
            number: 30,
            answers: vec![Answer::PERMANENT],
            calls: &[0.0],
            ends_at: 0.0,
            error: Some(Class::Permanent),
            last: "gave up: NotRetried, attempts 1, Permanent",
            ..Row::default()
        },
        Row {
            number: 31,
            answers: vec![Answer::INTERNAL],
            calls: &[0.0],
            ends_at: 0.0,
            error: Some(Class::Internal),
            last: "gave up: NotRetried, attempts 1, Internal",
            ..Row::default()
        },
        Row {
            number: 32,
            answers: vec![Answer::INTERNAL, success.clone()],
            policy: attempts(3).retry_internal_errors(true),
            calls: &[0.0, 1.0],
            ends_at: 1.0,
            last: "succeeded, attempts 2",
            ..Row::default()
        },
        Row {
            number: 33,
            answers: vec![Answer::Never],
            timeout: Some(30.0),
            calls: &[0.0, 31.0, 63.0],
            ends_at: 93.0,
            error: Some(Class::Timeout),
            last: "gave up: Exhausted, attempts 3, Timeout",
            ..Row::default()
        },
        Row {
            number: 34,
            answers: vec![Answer::busy(5.0), success.clone()],
            calls: &[0.0, 5.0],
            ends_at: 5.0,
            last: "succeeded, attempts 2",
            ..Row::default()
        },
        Row {
            number: 35,
            answers: vec![Answer::busy(0.2), success.clone()],
            calls: &[0.0, 1.0],
            ends_at: 1.0,
            last: "succeeded, attempts 2",
            ..Row::default()
        },
        Row {
            number: 36,
            answers: vec![Answer::busy(40.0), success.clone()],
            calls: &[0.0, 40.0],
            ends_at: 40.0,
            last: "succeeded, attempts 2",
            ..Row::default()
        },
        Row {
            number: 37,
            answers: vec![retryable.clone()],
            deadline: Some(2.0),
            calls: &[0.0, 1.0],
            ends_at: 1.0,
            error: Some(Class::Timeout),
            last: "gave up: DeadlineReached, attempts 2, Retryable",
            ..Row::default()
        },
        Row {
            number: 38,
            answers: vec![retryable.clone()],
            cancel_at: Some(0.5),
            calls: &[0.0],
            ends_at: 0.5,
            error: Some(Class::Cancelled),
            last: "retry 2 in 1s after Retryable",
            ..Row::default()
        },
        Row {
            number: 39,
            answers: vec![retryable.clone()],
            policy: attempts(1),
            calls: &[0.0],
            ends_at: 0.0,
            error: Some(Class::Retryable),
            last: "gave up: NotRetried, attempts 1, Retryable",
            ..Row::default()
        },
        Row {
            number: 40,
            answers: vec![retryable.clone()],
            policy: RetryPolicy::try_new(3, backoff(1.0)).unwrap(),
            seed: HALF_THEN_MORE,
            calls: &[0.0, 0.5, 3.5],
            ends_at: 3.5,
            error: Some(Class::Retryable),
            last: "gave up: Exhausted, attempts 3, Retryable",
            ..Row::default()
        },
        Row {
            number: 41,
            answers: vec![retryable.clone(), retryable.clone(), success.clone()],
            policy: RetryPolicy::try_new(3, backoff(20.0)).unwrap(),
            seed: ONE_THEN_MORE,
            calls: &[0.0, 20.0, 65.0],
            ends_at: 65.0,
            last: "succeeded, attempts 3",
            ..Row::default()
        },
        Row {
            number: 42,
            answers: vec![retryable.clone()],
            policy: attempts(5),
            circuit: circuit(2, 60.0),
            calls: &[0.0, 1.0],
            ends_at: 3.0,
            error: Some(Class::CircuitOpen),
            last: "gave up: NotRetried, attempts 2, CircuitOpen",
            ..Row::default()
        },
        Row {
            number: 43,
            answers: vec![retryable.clone(), retryable, success],
            policy: attempts(5),
            circuit: circuit(2, 1.0),
            calls: &[0.0, 1.0, 3.0],
            ends_at: 3.0,
            last: "succeeded, attempts 3",
            ..Row::default()
        },
    ]
}

#[tokio::test(start_paused = true)]
async fn calls_are_retried_as_the_table_says() {
    for row in rows() {
        let number = row.number;
        let start = Instant::now();
        let log = Log::default();
        let circuit = Circuit::new("key");
        let (service, calls) = scripted(&row.answers);
        let service = Stack::new()
            .retry(
                RetryLayer::new(row.policy, row.seed)
                    .deadline(row.deadline.map(|deadline| start + seconds(deadline)))
                    .observer(&log),
            )
            .circuit_breaker(row.circuit.map(|policy| CircuitBreakerLayer::new(circuit.clone(), policy)))
            .timeout(row.timeout.map(|limit| TimeoutLayer::new(seconds(limit))))
            .layer(service);

        let call = service.oneshot(());
        let result = match row.cancel_at {
            Some(cancel_at) => timeout(seconds(cancel_at), call).await.unwrap_or(Err(Failure::Plain(Class::Cancelled))),
            None => call.await,
        };

        let error = result.as_ref().err().map(Classify::classify);
        assert_eq!(error, row.error, "row {number}: result");
        assert_eq!(seconds_since(start, Instant::now()), row.ends_at, "row {number}: end");
        let calls: Vec<f64> = calls.borrow().iter().map(|call| seconds_since(start, *call)).collect();
        assert_eq!(calls, row.calls, "row {number}: calls");
        assert_eq!(log.lines().last().map(String::as_str), Some(row.last), "row {number}");
        if number == 43 {
            assert_eq!(circuit.state(), CircuitState::Closed { failures: 0 });
        }
        if let Err(Failure::TooLate(reached)) = result {
            assert_eq!(reached.last(), Some(&Failure::Plain(Class::Retryable)), "row {number}: cause");
            assert_eq!(reached.attempts(), 2, "row {number}: attempts");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_reported_before_its_delay_and_its_request_is_reused() {
    let log = Log::default();
    let (service, _) = scripted(&[Answer::RETRYABLE, Answer::busy(2.0005), Answer::Success]);
    let service = RetryLayer::new(attempts(3), 0).observer(&log).layer(service);

    service.oneshot(()).await.unwrap();

    let expected = [
        "attempt 1",
        "retry 2 in 1s after Retryable",
        "attempt 2",
        "retry 3 in 2.001s after RateLimited",
        "attempt 3",
        "succeeded, attempts 3",
    ];
    assert_eq!(log.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_call_waits_until_it_is_due_and_counts_on() {
    let start = Instant::now();
    let log = Log::default();
    let (service, calls) = scripted(&[Answer::RETRYABLE]);
    let resumed = RetryLayer::new(attempts(4), 0).tries_used(2).not_before(Some(start + seconds(7.0))).observer(&log);

    let result = resumed.layer(service).oneshot(()).await;

    assert_eq!(result, Err(Failure::Plain(Class::Retryable)));
    let calls: Vec<f64> = calls.borrow().iter().map(|call| seconds_since(start, *call)).collect();
    assert_eq!(calls, [7.0, 11.0]);
    let expected =
        ["attempt 3", "retry 4 in 4s after Retryable", "attempt 4", "gave up: Exhausted, attempts 4, Retryable"];
    assert_eq!(log.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_call_that_is_due_after_its_deadline_fails_at_once() {
    let start = Instant::now();
    let (service, calls) = scripted(&[Answer::Success]);
    let late =
        RetryLayer::new(attempts(3), 0).not_before(Some(start + seconds(5.0))).deadline(Some(start + seconds(5.0)));

    let result = late.layer(service).oneshot(()).await;

    assert!(matches!(result, Err(Failure::TooLate(reached)) if reached.last().is_none()));
    assert_eq!(Instant::now(), start);
    assert!(calls.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn policy_narrows_what_is_retried() {
    let everything = attempts(2).retry_internal_errors(true);
    let nothing = attempts(2)
        .retry_timeouts(false)
        .retry_network_errors(false)
        .retry_retryable_errors(false)
        .retry_rate_limits(false);
    for (class, retried) in [
        (Class::Timeout, true),
        (Class::Network, true),
        (Class::Retryable, true),
        (Class::ServerError, true),
        (Class::RateLimited, true),
        (Class::Internal, true),
        (Class::Permanent, false),
        (Class::CircuitOpen, false),
        (Class::Cancelled, false),
    ] {
        for (policy, expected) in [(everything, 1 + usize::from(retried)), (nothing, 1)] {
            let (service, calls) = scripted(&[Answer::Fails(Failure::Plain(class))]);
            let result = RetryLayer::new(policy, 0).layer(service).oneshot(()).await;
            assert_eq!(result, Err(Failure::Plain(class)));
            assert_eq!(calls.borrow().len(), expected, "{class:?} under {policy:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_service_do_not_wait_in_step() {
    let (service, calls) = scripted(&[Answer::RETRYABLE]);
    let policy = RetryPolicy::try_new(2, backoff(1.0)).unwrap();
    let mut service = RetryLayer::new(policy, 3).layer(service);

    let mut delays = Vec::new();
    for _ in 0..2 {
        let start = Instant::now();
        let _ = service.ready().await.unwrap().call(()).await;
        delays.push(Instant::now() - start);
    }

    assert_eq!(delays[0], backoff(1.0).delay(1, 3));
    assert_ne!(delays[0], delays[1]);
    assert_eq!(calls.borrow().len(), 4);
}

#[test]
fn policies_that_contradict_themselves_are_refused() {
    assert!(RetryPolicy::try_new(0, Backoff::default()).is_err());
    assert!(Backoff::try_new(seconds(2.0), seconds(1.0)).is_err());
    assert!(CircuitBreakerPolicy::try_new(0, seconds(1.0)).is_err());
    assert!(CircuitBreakerPolicy::try_new(1, Duration::ZERO).is_err());
}
