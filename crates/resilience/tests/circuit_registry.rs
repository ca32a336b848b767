//! Circuits by key: who is evicted, and what becomes of the handles of evicted circuits.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use orchestr8_resilience::{
    Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitRegistry, circuit_breaker::CircuitState,
};
use support::{Answer, Failure, scripted};
use tower::{Layer, ServiceExt};

const CLOSED: CircuitState = CircuitState::Closed { failures: 0 };

/// Lets an attempt on this circuit end as told, under a policy that opens at the second failure.
async fn attempt(circuit: &Circuit, answer: Answer) -> Result<(), Failure> {
    let policy = CircuitBreakerPolicy::try_new(2, Duration::from_secs(60)).unwrap();
    let (service, _) = scripted(&[answer]);
    let breaker = CircuitBreakerLayer::new(circuit.clone(), policy);
    breaker.layer(service).oneshot(()).await
}

async fn open(circuit: &Circuit) {
    attempt(circuit, Answer::RETRYABLE).await.unwrap_err();
    attempt(circuit, Answer::RETRYABLE).await.unwrap_err();
    assert!(matches!(circuit.state(), CircuitState::Open { .. }));
}

fn keys(circuits: &CircuitRegistry) -> Vec<String> {
    let keys = circuits.snapshot();
    keys.iter().map(|(key, _)| key.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_used_closed_circuit_is_evicted() {
    let circuits = CircuitRegistry::with_capacity(3).unwrap();
    let [a, b, _c] = ["a", "b", "c"].map(|key| circuits.circuit(key));
    open(&a).await;
    attempt(&b, Answer::Success).await.unwrap();

    circuits.circuit("d");
    assert_eq!(keys(&circuits), ["a", "b", "d"]);
    circuits.circuit("e");
    assert_eq!(keys(&circuits), ["a", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_evicted_only_when_all_are_open() {
    let circuits = CircuitRegistry::with_capacity(2).unwrap();
    let [a, b] = ["a", "b"].map(|key| circuits.circuit(key));
    open(&b).await;
    open(&a).await;

    circuits.circuit("c");
    assert_eq!(keys(&circuits), ["a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_circuits_are_held_and_no_more() {
    let circuits = CircuitRegistry::new();
    open(&circuits.circuit("open")).await;
    for number in 0..3000 {
        circuits.circuit(&number.to_string());
    }
    assert_eq!(circuits.len(), 1000);
    assert!(matches!(circuits.state("open"), Some(CircuitState::Open { .. })));
    assert!(CircuitRegistry::with_capacity(0).is_err());
}

#[tokio::test(start_paused = true)]
async fn handles_of_an_evicted_circuit_go_on_with_the_one_that_the_registry_has() {
    let circuits = CircuitRegistry::with_capacity(1).unwrap();
    let [one, two] = ["a", "a"].map(|key| circuits.circuit(key));
    attempt(&one, Answer::RETRYABLE).await.unwrap_err();
    circuits.circuit("b");
    assert_eq!(one.state(), CLOSED, "what it knew is lost");
    assert_eq!(keys(&circuits), ["b"], "looking at it does not bring it back");

    attempt(&one, Answer::RETRYABLE).await.unwrap_err();
    attempt(&two, Answer::RETRYABLE).await.unwrap_err();

    assert!(one.rejection().is_some());
    assert!(two.rejection().is_some());
    let found: Vec<(Arc<str>, CircuitState)> = circuits.snapshot();
    assert_eq!(found, [(Arc::from("a"), one.state())]);
}

#[tokio::test(start_paused = true)]
async fn outcomes_of_attempts_on_an_evicted_circuit_are_ignored() {
    let circuits = CircuitRegistry::with_capacity(1).unwrap();
    let circuit = circuits.circuit("a");
    let policy = CircuitBreakerPolicy::try_new(1, Duration::from_secs(60)).unwrap();
    let (service, _) = scripted(&[Answer::RETRYABLE]);
    let breaker = CircuitBreakerLayer::new(circuit.clone(), policy);
    let in_progress = tower::Service::call(&mut breaker.layer(service), ());

    circuits.circuit("b");
    circuits.circuit("a");
    in_progress.await.unwrap_err();

    assert_eq!(circuits.state("a"), Some(CLOSED));
}

#[tokio::test(start_paused = true)]
async fn handles_outlive_their_registry() {
    let circuits = CircuitRegistry::with_capacity(1).unwrap();
    let circuit = circuits.circuit("a");
    circuits.circuit("b");
    drop(circuits);

    open(&circuit).await;
    assert!(circuit.rejection().is_some());
}

#[tokio::test(start_paused = true)]
async fn circuits_are_reset_by_key_and_all_together() {
    let circuits = CircuitRegistry::new();
    for key in ["a", "b", "c"] {
        open(&circuits.circuit(key)).await;
    }
    circuits.circuit("d");

    let change = circuits.reset("b").expect("b was open");
    assert_eq!((&*change.key, change.new, change.reason.as_str()), ("b", CLOSED, "reset"));
    assert_eq!(circuits.reset("d"), None);
    assert_eq!(circuits.reset("nobody"), None);
    let changed: Vec<_> = circuits.reset_all().into_iter().map(|change| change.key).collect();
    assert_eq!(changed, ["a", "c"].map(Arc::from));
    assert!(circuits.snapshot().iter().all(|(_, state)| *state == CLOSED));
}
