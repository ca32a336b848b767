//! Bulkheads: rows 49 and 50 of the table in the resilience specification, section 9, and what becomes of permits.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod support;

use std::{
    future::{pending, ready},
    task::{Context, Waker},
    time::Duration,
};

use orchestr8_resilience::{
    BulkheadLayer, BulkheadPolicy, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, Class, Classify, Compartment,
    CompartmentRegistry, Stack, bulkhead::Refusal,
};
use proptest::prelude::*;
use support::{Answer, Failure, Log, scripted};
use tokio::{
    runtime::Builder,
    sync::oneshot,
    time::{Instant, sleep},
};
use tower::{Layer, Service, service_fn};

fn policy(max_concurrent: u32, max_queue: u32, queue_timeout: u64) -> BulkheadPolicy {
    let policy = BulkheadPolicy::try_new(max_concurrent).unwrap().max_queue(max_queue).unwrap();
    policy.queue_timeout(Duration::from_secs(queue_timeout)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn rows_49_and_50_a_queue_is_bounded_in_length_and_time() {
    let start = Instant::now();
    let policy = policy(2, 1, 5);
    let compartment = Compartment::new("key", &policy);
    let layer = BulkheadLayer::new(compartment.clone(), policy);
    let mut service = layer.layer(service_fn(|()| pending::<Result<(), Failure>>()));
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(service.call(()))).collect();
    tokio::task::yield_now().await;
    assert_eq!((compartment.state().running, compartment.state().waiting), (2, 1));

    let mut ends = Vec::new();
    for call in calls.into_iter().skip(2) {
        let Err(Failure::Full(full)) = call.await.unwrap() else { panic!("nobody ends") };
        assert_eq!(Failure::Full(full.clone()).classify(), Class::RateLimited);
        ends.push((start.elapsed().as_secs(), full.refusal()));
    }
    let limit = Duration::from_secs(5);
    assert_eq!(ends, [(5, Refusal::TooLong { limit }), (5, Refusal::QueueFull)]);
    assert_eq!((compartment.state().running, compartment.state().waiting), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn the_fourth_call_is_refused_at_once() {
    let policy = policy(2, 1, 5);
    let layer = BulkheadLayer::new(Compartment::new("key", &policy), policy);
    let mut service = layer.layer(service_fn(|()| pending::<Result<(), Failure>>()));
    let _running = [(); 3].map(|()| service.call(()));
    let start = Instant::now();
    assert!(matches!(service.call(()).await, Err(Failure::Full(full)) if full.refusal() == Refusal::QueueFull));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn waits_and_refusals_are_observed_and_nobody_waits_whom_an_open_circuit_would_reject() {
    let log = Log::default();
    let policy = policy(1, 1, 5);
    let circuit = Circuit::new("circuit");
    let breaker = CircuitBreakerPolicy::try_new(1, Duration::from_secs(60)).unwrap();
    let layer = BulkheadLayer::new(Compartment::new("key", &policy), policy);
    let stack = Stack::new()
        .bulkhead(layer.unless_open(circuit.clone()).observer(&log))
        .circuit_breaker(CircuitBreakerLayer::new(circuit, breaker));
    let mut service = stack.layer(service_fn(|()| async {
        sleep(Duration::from_secs(2)).await;
        Err::<(), _>(Failure::Plain(Class::Network))
    }));

    let (first, second, third) = (service.call(()), service.call(()), service.call(()));
    let _ = tokio::join!(first, second, third);
    service.call(()).await.unwrap_err();

    let expected = [
        "refused by bulkhead after 0ns: Full(BulkheadFull { key: \"key\", refusal: QueueFull })",
        "waited 2s for bulkhead key",
        "circuit rejected",
    ];
    assert_eq!(log.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn compartments_are_shared_by_key_and_empty_ones_evicted() {
    let one = policy(1, 0, 5);
    let compartments = CompartmentRegistry::with_capacity(2).unwrap();
    let layer = BulkheadLayer::keyed(compartments.clone(), one, |key: &&'static str| *key);
    let mut service = layer.layer(service_fn(|key: &'static str| async move {
        if key == "busy" { pending().await } else { ready(Ok::<_, Failure>(())).await }
    }));
    let mut busy = Box::pin(service.call("busy"));
    assert!(busy.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    for key in ["empty", "new"] {
        service.call(key).await.unwrap();
    }

    let states: Vec<_> =
        compartments.states().into_iter().map(|(key, state)| (key.to_string(), state.running)).collect();
    assert_eq!(states, [("busy".to_owned(), 1), ("new".to_owned(), 0)]);
    service.call("busy").await.unwrap_err();

    // Another policy holds from now on, for those who wait, too.
    let two = policy(2, 0, 5);
    let wider = compartments.compartment("busy", &two);
    let mut service = BulkheadLayer::new(wider.clone(), two).layer(service_fn(|()| ready(Ok::<_, Failure>(()))));
    service.call(()).await.unwrap();
    drop(busy);
    assert_eq!(compartments.state("busy").unwrap().running, 0);
    assert_eq!(wider.key(), "busy");
}

#[tokio::test(start_paused = true)]
async fn a_panicking_attempt_gives_its_permit_to_the_next() {
    let policy = policy(1, 1, 5);
    let compartment = Compartment::new("key", &policy);
    let (service, _) = scripted(&[Answer::Success]);
    let mut panics = BulkheadLayer::new(compartment.clone(), policy).layer(service_fn(|()| async {
        tokio::task::yield_now().await;
        panic!("as told");
        #[expect(unreachable_code, reason = "the type of the service")]
        Ok::<(), Failure>(())
    }));
    let mut works = BulkheadLayer::new(compartment.clone(), policy).layer(service);

    let first = tokio::spawn(panics.call(()));
    works.call(()).await.unwrap();

    assert!(first.await.unwrap_err().is_panic());
    assert_eq!(compartment.state().running, 0);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Call,
    End(usize),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..4_u64).prop_map(Step::Wait),
        5 => Just(Step::Call),
        4 => (0..12_usize).prop_map(Step::End),
        1 => (0..12_usize).prop_map(Step::Drop),
    ]
}

/// Who runs, and who waits since when.
#[derive(Default)]
struct Model {
    running: Vec<usize>,
    waiting: Vec<(usize, u64)>,
}

impl Model {
    fn serve(&mut self, max: usize) {
        while self.running.len() < max && !self.waiting.is_empty() {
            self.running.push(self.waiting.remove(0).0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compartment_does_what_the_specification_says(
        (max, queue) in (1..4_u32, 0..4_u32),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        const TIMEOUT: u64 = 5;
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let policy = policy(max, queue, TIMEOUT);
            let compartment = Compartment::new("key", &policy);
            let mut service = BulkheadLayer::new(compartment.clone(), policy).layer(service_fn(
                |end: oneshot::Receiver<()>| async move {
                    let _ = end.await;
                    Ok::<_, Failure>(())
                },
            ));
            let mut model = Model::default();
            let mut calls = Vec::new();
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Wait(seconds) => {
                        sleep(Duration::from_secs(seconds)).await;
                        now += seconds;
                        model.waiting.retain(|(_, since)| now - since < TIMEOUT);
                    }
                    Step::Call => {
                        let number = calls.len();
                        let (end, ended) = oneshot::channel();
                        let call = tokio::spawn(service.call(ended));
                        if model.running.len() < max as usize {
                            model.running.push(number);
                        } else if model.waiting.len() < queue as usize {
                            model.waiting.push((number, now));
                        }
                        calls.push((Some(end), call));
                    }
                    Step::End(which) => {
                        if let Some(end) = calls.get_mut(which).and_then(|(end, _)| end.take()) {
                            let _ = end.send(());
                            model.running.retain(|running| *running != which);
                            // One that waits finds its end there when its turn comes, and ends at once.
                            while { model.serve(max as usize); model.running.iter().any(|run| calls[*run].0.is_none()) } {
                                model.running.retain(|running| calls[*running].0.is_some());
                            }
                        }
                    }
                    Step::Drop(which) => {
                        if let Some((_, call)) = calls.get(which) {
                            call.abort();
                            model.running.retain(|running| *running != which);
                            model.waiting.retain(|(waiting, _)| *waiting != which);
                            while { model.serve(max as usize); model.running.iter().any(|run| calls[*run].0.is_none()) } {
                                model.running.retain(|running| calls[*running].0.is_some());
                            }
                        }
                    }
                }
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                let state = compartment.state();
                prop_assert_eq!((state.running as usize, state.waiting), (model.running.len(), model.waiting.len()));
            }
            Ok(())
        })?;
    }
}
