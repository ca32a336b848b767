//! Snapshots: a restart forgets no open circuit and no empty bucket, whatever the clocks do.

#![cfg(feature = "serde")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod support;

use std::time::{Duration, SystemTime};

use orchestr8_resilience::{
    BucketRegistry, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitRegistry, Snapshot,
    circuit_breaker::{CircuitState, Probe},
    rate_limit::Rates,
};
use support::{Answer, scripted};
use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt};

const WALL: SystemTime = SystemTime::UNIX_EPOCH;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn fail(circuit: &Circuit, threshold: u32) {
    let policy = CircuitBreakerPolicy::try_new(threshold, seconds(60)).unwrap();
    let (service, _) = scripted(&[Answer::RETRYABLE]);
    CircuitBreakerLayer::new(circuit.clone(), policy).layer(service).oneshot(()).await.unwrap_err();
}

/// Circuits in all states, and buckets of which something is missing; at 1000 by the wall clock.
async fn known() -> (CircuitRegistry, BucketRegistry) {
    let (circuits, buckets) = (CircuitRegistry::new(), BucketRegistry::new());
    fail(&circuits.circuit("half-open"), 1).await;
    advance(seconds(70)).await;
    let (service, _) = scripted(&[Answer::Never]);
    let policy = CircuitBreakerPolicy::try_new(1, seconds(60)).unwrap();
    let probe = CircuitBreakerLayer::new(circuits.circuit("half-open"), policy).layer(service).oneshot(());
    let _ = tokio::time::timeout(Duration::ZERO, probe).await;
    fail(&circuits.circuit("failed"), 3).await;
    fail(&circuits.circuit("open"), 1).await;
    circuits.circuit("quiet");
    let rates = Rates::try_new(Some(60), Some(6000)).unwrap();
    buckets.bucket("debt", rates).correct(0, 7000);
    buckets.bucket("full", rates);
    (circuits, buckets)
}

#[tokio::test(start_paused = true)]
async fn what_is_known_comes_back_as_if_time_had_gone_on() {
    let (circuits, buckets) = known().await;
    let snapshot = Snapshot::take(WALL + seconds(1000), &circuits, &buckets);
    let written = serde_json::to_string_pretty(&snapshot).unwrap();
    insta::assert_snapshot!(written);
    let snapshot: Snapshot = serde_json::from_str(&written).unwrap();

    let (circuits, buckets) = (CircuitRegistry::new(), BucketRegistry::new());
    advance(seconds(5_000_000)).await;
    snapshot.restore(WALL + seconds(1020), &circuits, &buckets);

    let now = Instant::now();
    assert_eq!(circuits.state("open"), Some(CircuitState::Open { until: now + seconds(40) }));
    assert_eq!(circuits.state("failed"), Some(CircuitState::Closed { failures: 1 }));
    assert_eq!(circuits.state("half-open"), Some(CircuitState::Open { until: now }));
    assert_eq!(circuits.state("quiet"), None);
    assert_eq!(buckets.state("debt").unwrap().weight, Some(1000));
    assert_eq!(buckets.state("full"), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_by_now_is_kept() {
    let (circuits, buckets) = known().await;
    let snapshot = Snapshot::take(WALL, &circuits, &buckets);
    advance(seconds(30)).await;
    fail(&circuits.circuit("failed"), 3).await;
    buckets.bucket("debt", Rates::try_new(Some(60), Some(6000)).unwrap()).correct(0, 500);
    let before = (circuits.snapshot(), buckets.states());

    snapshot.restore(WALL + seconds(30), &circuits, &buckets);

    assert_eq!((circuits.snapshot(), buckets.states()), before);
    assert!(matches!(circuits.state("half-open"), Some(CircuitState::HalfOpen { probe: Probe::Free })));
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_opens_nothing_for_longer_and_forgets_after_its_time() {
    let (circuits, buckets) = known().await;
    let snapshot = Snapshot::take(WALL + seconds(1_000_000_000), &circuits, &buckets);

    let (circuits, buckets) = (CircuitRegistry::new(), BucketRegistry::new());
    snapshot.restore(WALL, &circuits, &buckets);
    assert_eq!(circuits.state("open"), Some(CircuitState::Open { until: Instant::now() + seconds(60) }));
    assert_eq!(buckets.state("debt").unwrap().weight, Some(-1000));

    let (circuits, buckets) = (CircuitRegistry::new(), BucketRegistry::new());
    snapshot.restore(WALL + seconds(100_000_000_000), &circuits, &buckets);
    assert_eq!(circuits.state("open"), Some(CircuitState::Open { until: Instant::now() }));
    assert_eq!(buckets.state("debt").unwrap().weight, Some(6000));
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_passed_over_or_does_no_harm() {
    let written = format!(
        r#"{{"takenAt": 0, "circuits": [
            {{"key": "for ever", "state": "open", "reopensAt": {max}}},
            {{"key": "many", "state": "closed", "failures": {failures}}}
        ], "buckets": [
            {{"key": "no rate", "requestsPerMinute": 0, "weightPerMinute": null, "requestsMissing": 1, "weightMissing": 0}},
            {{"key": "empty", "requestsPerMinute": 60, "weightPerMinute": null, "requestsMissing": {max}, "weightMissing": {max}}}
        ]}}"#,
        max = u64::MAX,
        failures = u32::MAX,
    );
    let snapshot: Snapshot = serde_json::from_str(&written).unwrap();
    let (circuits, buckets) = (CircuitRegistry::new(), BucketRegistry::new());
    snapshot.restore(WALL + Duration::from_secs(1), &circuits, &buckets);

    assert_eq!(circuits.state("for ever"), None);
    fail(&circuits.circuit("many"), 3).await;
    assert!(matches!(circuits.state("many"), Some(CircuitState::Open { .. })));
    assert_eq!(buckets.state("no rate"), None);
    advance(seconds(62 * 60)).await;
    assert_eq!(buckets.state("empty").unwrap().requests, Some(60));
}
