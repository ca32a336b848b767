//! The layers together, in their one order.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use orchestr8_resilience::{
    Backoff, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, Class, Jitter, RetryLayer, RetryPolicy, Stack,
    TimeoutLayer,
};
use support::{Answer, Failure, Log, scripted};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn, util::MapRequestLayer};
use tower_test::mock;

fn retry() -> RetryLayer {
    let backoff = Backoff::try_new(Duration::from_secs(1), Duration::from_secs(30)).unwrap();
    RetryLayer::new(RetryPolicy::try_new(3, backoff.jitter(Jitter::None)).unwrap(), 0)
}

fn breaker(threshold: u32) -> CircuitBreakerLayer {
    let policy = CircuitBreakerPolicy::try_new(threshold, Duration::from_secs(60)).unwrap();
    CircuitBreakerLayer::new(Circuit::new("key"), policy)
}

/// A layer that writes down that it is passed.
fn passing<'a>(log: &'a Log, name: &'static str) -> MapRequestLayer<impl Fn(()) + Clone + 'a> {
    MapRequestLayer::new(move |()| log.write(format!("passes {name}")))
}

#[tokio::test(start_paused = true)]
async fn layers_stand_in_their_order_whatever_the_order_of_the_setters() {
    let log = Log::default();
    let (service, _) = scripted(&[Answer::Never]);
    let stack = Stack::new()
        .announce(passing(&log, "announce"))
        .timeout(TimeoutLayer::new(Duration::from_secs(5)).observer(&log))
        .slot(passing(&log, "slot"))
        .retry(retry().observer(&log))
        .circuit_breaker(breaker(2).observer(&log));

    let result = stack.layer(service).oneshot(()).await;

    assert!(matches!(result, Err(Failure::Rejected(_))));
    let expected = [
        "attempt 1",
        "passes slot",
        "passes announce",
        "no answer within 5s",
        "retry 2 in 1s after Timeout",
        "attempt 2",
        "passes slot",
        "passes announce",
        "no answer within 5s",
        "key threshold-reached",
        "retry 3 in 2s after Timeout",
        "attempt 3",
        "passes slot",
        "key rejected",
        "gave up: NotRetried, attempts 2, CircuitOpen",
    ];
    assert_eq!(log.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_goes_to_a_service_that_was_found_ready() {
    let (service, mut handle) = mock::pair::<u32, &str>();
    let service = service.map_err(|_: BoxError| Failure::Plain(Class::Network));
    let mut service =
        Stack::new().retry(retry()).circuit_breaker(breaker(5)).timeout(TimeoutLayer::default()).layer(service);
    let other_side = async {
        let (request, answer) = handle.next_request().await.unwrap();
        assert_eq!(request, 7);
        answer.send_error("connection refused");
        let (request, answer) = handle.next_request().await.unwrap();
        assert_eq!(request, 7);
        answer.send_response("hello");
    };

    let call = service.ready().await.unwrap().call(7);
    let (result, ()) = tokio::join!(call, other_side);

    assert_eq!(result, Ok("hello"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_in_its_delay_leaves_nothing_behind() {
    let request = Arc::new(());
    let service = service_fn(|_: Arc<()>| async { Err::<(), _>(Failure::Plain(Class::Network)) });
    let service = Stack::new().retry(retry()).circuit_breaker(breaker(5)).layer(service);

    let call = tokio::time::timeout(Duration::from_millis(500), service.oneshot(Arc::clone(&request)));
    call.await.expect_err("the call is in its first delay");

    assert_eq!(Arc::strong_count(&request), 1);
}

#[tokio::test(start_paused = true)]
async fn without_layers_a_stack_is_the_service() {
    let (service, calls) = scripted(&[Answer::RETRYABLE]);
    let bare = Stack::new().layer(service.clone());
    assert_eq!(std::mem::size_of_val(&bare), std::mem::size_of_val(&service));

    let absent = Stack::new().circuit_breaker(None::<CircuitBreakerLayer>).timeout(None::<TimeoutLayer>);
    absent.layer(bare).oneshot(()).await.unwrap_err();
    assert_eq!(calls.borrow().len(), 1);
}

/// Calls can be spawned, if service, request and observer can.
#[test]
fn futures_are_send() {
    fn is_send<T: Send>(_: &T) {}

    let service = service_fn(|_: u32| async { Ok::<_, Failure>(()) });
    let stack = Stack::new().retry(retry()).circuit_breaker(breaker(1)).timeout(TimeoutLayer::default());
    is_send(&stack.layer(service).oneshot(1));
}
