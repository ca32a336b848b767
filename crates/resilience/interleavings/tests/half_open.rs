//! Threads that ask one circuit at once: whatever the schedule, a half-open circuit has a single probe.

use std::{
    future::{Future, pending},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use orchestr8_resilience::{
    Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitOpen, CircuitRegistry, Class, Classify,
    circuit_breaker::{CircuitState, Probe},
};
use shuttle::{
    sync::{Arc, Barrier, Mutex},
    thread,
};
use tower::{Layer, Service, service_fn};

const SCHEDULES: usize = 2_000;
const ASKING: usize = 4;

#[derive(Debug)]
enum Failed {
    Down,
    Rejected,
}

impl Classify for Failed {
    fn classify(&self) -> Class {
        match self {
            Failed::Down => Class::Network,
            Failed::Rejected => Class::CircuitOpen,
        }
    }
}

impl From<CircuitOpen> for Failed {
    fn from(_: CircuitOpen) -> Self {
        Failed::Rejected
    }
}

/// How an attempt ends, if at all.
#[derive(Clone, Copy)]
enum End {
    Never,
    Success,
    Failure,
}

/// Makes an attempt; the circuit is due for a probe as soon as it has opened.
fn attempt(circuit: &Circuit, end: End) -> Poll<Result<(), Failed>> {
    let policy = CircuitBreakerPolicy::try_new(1, Duration::from_nanos(1)).expect("neither is zero");
    let mut service = CircuitBreakerLayer::new(circuit.clone(), policy).layer(service_fn(|()| async {
        match end {
            End::Never => pending().await,
            End::Success => Ok(()),
            End::Failure => Err(Failed::Down),
        }
    }));
    let call = pin!(service.call(()));
    call.poll(&mut Context::from_waker(Waker::noop()))
}

fn due_for_a_probe() -> Circuit {
    let circuit = Circuit::new("key");
    assert!(attempt(&circuit, End::Failure).is_ready());
    while circuit.rejection().is_some() {}
    circuit
}

#[test]
fn a_half_open_circuit_admits_one_among_many() {
    shuttle::check_random(
        || {
            let circuit = due_for_a_probe();
            let admitted = Arc::new(Mutex::new(0));
            // Nobody gives the permit back before all have asked.
            let all_have_asked = Arc::new(Barrier::new(ASKING));
            let threads: Vec<_> = (0..ASKING)
                .map(|_| {
                    let (circuit, admitted) = (circuit.clone(), Arc::clone(&admitted));
                    let all_have_asked = Arc::clone(&all_have_asked);
                    thread::spawn(move || {
                        let policy = CircuitBreakerPolicy::try_new(1, Duration::from_nanos(1)).expect("neither is zero");
                        let mut service = CircuitBreakerLayer::new(circuit, policy)
                            .layer(service_fn(|()| pending::<Result<(), Failed>>()));
                        let call = pin!(service.call(()));
                        if call.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                            *admitted.lock().expect("nobody panics") += 1;
                        }
                        all_have_asked.wait();
                    })
                })
                .collect();
            for thread in threads {
                thread.join().expect("nobody panics");
            }
            assert_eq!(*admitted.lock().expect("nobody panics"), 1);
            assert_eq!(circuit.state(), CircuitState::HalfOpen { probe: Probe::Free });
        },
        SCHEDULES,
    );
}

/// Probes that succeed, fail and are dropped, all at once: the circuit ends in one of its states, and can be used.
#[test]
fn a_circuit_survives_any_order_of_outcomes() {
    shuttle::check_random(
        || {
            let circuit = due_for_a_probe();
            let threads: Vec<_> = [End::Success, End::Failure, End::Never, End::Success]
                .into_iter()
                .map(|end| {
                    let circuit = circuit.clone();
                    thread::spawn(move || drop(attempt(&circuit, end)))
                })
                .collect();
            for thread in threads {
                thread.join().expect("nobody panics");
            }
            assert_ne!(circuit.state(), CircuitState::HalfOpen { probe: Probe::Taken });
            while circuit.rejection().is_some() {}
            assert!(matches!(attempt(&circuit, End::Success), Poll::Ready(Ok(()))));
            assert_eq!(circuit.state(), CircuitState::Closed { failures: 0 });
        },
        SCHEDULES,
    );
}

/// A circuit that is evicted while it is used: who holds it goes on with the one that the registry has.
#[test]
fn an_eviction_meanwhile_leaves_one_circuit_for_the_key() {
    shuttle::check_random(
        || {
            let circuits = CircuitRegistry::with_capacity(1).expect("there is room for one");
            let circuit = circuits.circuit("key");
            let evicting = {
                let circuits = circuits.clone();
                thread::spawn(move || drop(circuits.circuit("other")))
            };
            let failing = {
                let circuit = circuit.clone();
                thread::spawn(move || drop(attempt(&circuit, End::Failure)))
            };
            evicting.join().expect("nobody panics");
            failing.join().expect("nobody panics");
            assert_eq!(circuits.len(), 1);
            assert!(attempt(&circuit, End::Success).is_ready());
        },
        SCHEDULES,
    );
}
