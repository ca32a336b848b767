//! The time limit of an attempt.

mod support;

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use orchestr8_resilience::{Elapsed, Observer, TimeoutLayer};
use support::{Answer, Failure, scripted};
use tokio::time::{Instant, sleep_until};
use tower::{Layer, Service, ServiceExt, service_fn};

const LIMIT: Duration = Duration::from_secs(30);

/// Not a tokio test: without a runtime, arming a timer panics.
#[test]
fn a_service_that_is_ready_at_once_needs_no_timer() {
    let (service, _) = scripted(&[Answer::Success]);
    let mut service = TimeoutLayer::new(LIMIT).layer(service);
    let mut cx = Context::from_waker(Waker::noop());

    assert!(service.poll_ready(&mut cx).is_ready());
    let mut call = Box::pin(service.call(()));
    assert_eq!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_the_moment_of_expiry_wins() {
    let due_at = Instant::now() + LIMIT;
    let service = service_fn(move |()| async move {
        sleep_until(due_at).await;
        Ok::<_, Failure>(())
    });
    let service = TimeoutLayer::new(LIMIT).layer(service);

    assert_eq!(service.oneshot(()).await, Ok(()));
    assert_eq!(Instant::now(), due_at);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_dropped_at_expiry_after_the_observer_has_heard_of_it() {
    #[derive(Clone)]
    struct Witness(Rc<RefCell<Vec<&'static str>>>);

    impl Observer<Failure> for Witness {
        fn timed_out(&self, elapsed: &Elapsed) {
            assert_eq!(elapsed.limit(), LIMIT);
            self.0.borrow_mut().push("observed");
        }
    }

    impl Drop for DropGuard {
        fn drop(&mut self) {
            self.0.borrow_mut().push("dropped");
        }
    }

    struct DropGuard(Rc<RefCell<Vec<&'static str>>>);

    let events = Rc::new(RefCell::new(Vec::new()));
    let guard = Rc::clone(&events);
    let service = service_fn(move |()| {
        let guard = DropGuard(Rc::clone(&guard));
        async move {
            let _guard = guard;
            std::future::pending::<Result<(), Failure>>().await
        }
    });
    let mut service = TimeoutLayer::new(LIMIT).observer(Witness(Rc::clone(&events))).layer(service);
    let mut call = std::pin::pin!(service.ready().await.unwrap().call(()));

    let result = call.as_mut().await;

    assert!(matches!(result, Err(Failure::TimedOut(_))));
    assert_eq!(*events.borrow(), ["observed", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_rests_times_out() {
    let service = service_fn(|()| {
        poll_fn(|cx: &mut Context<'_>| {
            while let Poll::Ready(progress) = tokio::task::coop::poll_proceed(cx) {
                progress.made_progress();
            }
            Poll::<Result<(), Failure>>::Pending
        })
    });
    let call = TimeoutLayer::new(LIMIT).layer(service).oneshot(());
    let mut call = std::pin::pin!(call);

    poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    tokio::time::advance(LIMIT).await;

    let result = call.await;
    assert!(matches!(result, Err(Failure::TimedOut(_))));
}
