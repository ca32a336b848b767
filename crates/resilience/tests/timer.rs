//! The one timer behind all waits: exact to the tick, whoever is dropped, woken late or gone meanwhile.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod support;

use std::{
    future::{pending, poll_fn},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use orchestr8_resilience::TimeoutLayer;
use proptest::prelude::*;
use support::Failure;
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep, sleep_until},
};
use tower::{Layer, Service, service_fn};

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// A call that ends after `lasts`, or fails at its limit.
fn call(lasts: Duration, limit: Duration) -> impl Future<Output = Result<(), Failure>> {
    let service = service_fn(move |()| async move {
        sleep(lasts).await;
        Ok::<_, Failure>(())
    });
    TimeoutLayer::new(limit).layer(service).call(())
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Begun at any time, with any limits, each call ends when tokio's own timer for it rings, or with its answer.
    #[test]
    fn every_call_ends_in_the_tick_of_its_own_limit(
        calls in prop::collection::vec((0..2_000_u64, 1..3_000_u64, 1..3_000_u64, any::<bool>()), 1..120),
    ) {
        let runtime = paused();
        runtime.block_on(async {
            let start = Instant::now();
            let mut running = Vec::new();
            for (begins, lasts, limit, is_dropped) in calls {
                running.push((begins, lasts, limit, is_dropped, tokio::spawn(async move {
                    sleep_until(start + millis(begins)).await;
                    let call = call(millis(lasts), millis(limit));
                    if is_dropped {
                        let _ = tokio::time::timeout(millis(limit / 2), call).await;
                        return None;
                    }
                    Some((call.await.is_ok(), start.elapsed()))
                })));
            }
            for (begins, lasts, limit, is_dropped, call) in running {
                let ended = call.await.unwrap();
                let expected = (lasts <= limit, millis(begins + lasts.min(limit)));
                prop_assert_eq!(ended, (!is_dropped).then_some(expected));
            }
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_woken_and_never_polled_delays_nobody() {
    let mut asleep = pin!(call(millis(9_999), millis(100)));
    assert!(asleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let start = Instant::now();

    call(millis(9_999), millis(200)).await.unwrap_err();

    assert_eq!(start.elapsed(), millis(200));
}

#[tokio::test(start_paused = true)]
async fn the_task_that_polls_last_is_the_one_that_is_woken() {
    let mut moved = Box::pin(call(millis(9_999), millis(100)));
    assert!(moved.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());

    let elsewhere = tokio::spawn(async move {
        moved.await.unwrap_err();
        Instant::now()
    });

    let start = Instant::now();
    assert_eq!(elsewhere.await.unwrap() - start, millis(100));
}

/// One thread, several runtimes: their clocks and drivers have nothing to do with each other.
#[test]
fn runtimes_that_share_a_thread_share_no_timer() {
    let [first, second] = [paused(), paused()];
    let poll_once = |call: &mut (dyn Future<Output = Result<(), Failure>> + Unpin)| {
        let poll = std::pin::Pin::new(call).poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
    };
    let mut waits_in_first = Box::pin(call(millis(9_999), millis(50)));
    first.block_on(async { poll_once(&mut waits_in_first) });

    for runtime in [&second, &first, &second] {
        let elapsed = runtime.block_on(async {
            let start = Instant::now();
            call(millis(9_999), millis(100)).await.unwrap_err();
            start.elapsed()
        });
        assert_eq!(elapsed, millis(100));
    }
    first.block_on(waits_in_first).unwrap_err();
}

#[test]
fn a_runtime_may_end_while_calls_of_others_wait_on_its_timer() {
    let runtime = paused();
    let mut waits =
        Box::pin(TimeoutLayer::new(millis(50)).layer(service_fn(|()| pending::<Result<(), Failure>>())).call(()));
    let poll_once = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending()));
    assert!(runtime.block_on(poll_once));

    drop(runtime);

    // It waits on where it is polled next.
    assert!(matches!(paused().block_on(waits), Err(Failure::TimedOut(_))));
}

#[tokio::test(start_paused = true)]
async fn a_limit_beyond_the_end_of_the_clock_is_none() {
    assert_eq!(call(Duration::from_secs(400 * 24 * 60 * 60), Duration::MAX).await, Ok(()));
}

/// Ten thousand calls wait at once, from several workers; those that are answered leave nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_many_threads_end_at_their_limits() {
    let calls: Vec<_> = (0..10_000_u64)
        .map(|number| {
            tokio::spawn(async move {
                let start = Instant::now();
                let ended = if number % 2 == 0 {
                    call(millis(1), millis(60_000))
                } else {
                    call(millis(60_000), millis(1 + number % 20))
                };
                (number, ended.await.is_ok(), start.elapsed())
            })
        })
        .collect();
    for call in calls {
        let (number, is_ok, elapsed) = call.await.unwrap();
        assert_eq!(is_ok, number % 2 == 0);
        assert!(is_ok || elapsed >= millis(1 + number % 20));
    }
}
