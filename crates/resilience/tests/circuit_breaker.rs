//! The circuit breaker around a service: rows 1 to 26 of the table in the resilience specification, section 9.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it by panicking")]

mod support;

use std::{collections::HashMap, future::Future, pin::Pin, task::Poll, time::Duration};

use orchestr8_resilience::{
    Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitRegistry, Class,
    circuit_breaker::{CircuitState, Probe},
};
use support::{Answer, Failure, Log, scripted};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};
use tower::{Layer, Service, ServiceExt, service_fn};

type Ends = Result<(), Failure>;

fn policy(threshold: u32) -> CircuitBreakerPolicy {
    CircuitBreakerPolicy::try_new(threshold, Duration::from_secs(60)).unwrap()
}

/// Plays one row, in its notation: `3F`, `3?`, `62+a`, `70-aF`, `3reset`; with `T` for a timeout. `y:3F` is about key y instead
/// of key x, `2:3F` is by a second clone of the service. Returns what came of the last word.
async fn play(sequence: &str, policy: CircuitBreakerPolicy) -> String {
    let start = Instant::now();
    let circuits = CircuitRegistry::new();
    let breaker =
        CircuitBreakerLayer::keyed(circuits.clone(), policy, |(key, _): &(&'static str, oneshot::Receiver<Ends>)| *key);
    let service = breaker.layer(service_fn(|(_, end): (_, oneshot::Receiver<Ends>)| async move { end.await.unwrap() }));
    let mut clones = [service.clone(), service];
    let mut in_progress = HashMap::new();
    let mut answer = String::new();

    for word in sequence.split_whitespace() {
        let (who, word) = word.split_once(':').unwrap_or(("1", word));
        let key = if who == "y" { "y" } else { "x" };
        let service = &mut clones[usize::from(who == "2")];
        let (at, what) = word.split_at(word.find(|c: char| c != '.' && !c.is_numeric()).unwrap());
        sleep_until(start + Duration::from_secs_f64(at.parse().unwrap())).await;

        answer = match what.split_at(1) {
            ("r", _) => {
                circuits.reset(key);
                String::new()
            }
            ("-", name_and_end) => {
                let (name, end) = name_and_end.split_at(1);
                let (end_of, call): (oneshot::Sender<Ends>, Call) = in_progress.remove(name).unwrap();
                end_of.send(ends(end)).unwrap();
                let _ = call.await;
                String::new()
            }
            (how, name) => {
                let (end_of, end) = oneshot::channel();
                let mut call: Call = Box::pin(service.ready().await.unwrap().call((key, end)));
                let at_once = matches!(how, "S" | "F" | "N" | "C" | "T");
                let mut end_of = Some(end_of);
                if at_once && let Some(end_of) = end_of.take() {
                    end_of.send(ends(how)).unwrap();
                }
                let answer = match std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
                    Poll::Ready(Err(Failure::Rejected(rejection))) => {
                        match (rejection.retry_after(), rejection.reopens_at()) {
                            (Some(retry_after), Some(reopens_at)) => {
                                assert_eq!(Instant::now() + retry_after, reopens_at);
                                format!("rejected, retryAfter {}", retry_after.as_secs_f64())
                            }
                            _ => "rejected, no reopensAt".to_owned(),
                        }
                    }
                    Poll::Ready(_) => String::new(),
                    Poll::Pending => "admitted, ".to_owned(),
                };
                if let Some(end_of) = end_of {
                    in_progress.insert(name, (end_of, call));
                }
                answer
            }
        };
        if !answer.starts_with("rejected") {
            answer += &match circuits.state(key).unwrap() {
                CircuitState::Closed { failures } => format!("closed {failures}"),
                CircuitState::Open { until } => {
                    format!("open until {}", (until - start).as_secs_f64())
                }
                CircuitState::HalfOpen { probe: Probe::Taken } => "half-open".to_owned(),
                CircuitState::HalfOpen { probe: Probe::Free } => "half-open, free".to_owned(),
            };
        }
    }
    answer
}

type Call = Pin<Box<dyn Future<Output = Ends>>>;

fn ends(letter: &str) -> Ends {
    match letter {
        "S" => Ok(()),
        "F" => Err(Failure::Plain(Class::Retryable)),
        "N" => Err(Failure::Plain(Class::Permanent)),
        "C" => Err(Failure::Plain(Class::Cancelled)),
        "T" => Err(Failure::Plain(Class::Timeout)),
        other => panic!("no end is called {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn circuits_open_and_close_as_the_table_says() {
    let three = policy(3);
    for (row, policy, sequence, expected) in [
        (1, three, "0S", "closed 0"),
        (2, three, "0F 1F", "closed 2"),
        (3, three, "0F 1F 2F", "open until 62"),
        (4, three, "0F 1F 2S 3F 4F", "closed 2"),
        (5, three, "0F 1N 2F 3F", "open until 63"),
        (6, three, "0F 1C 2F 3F", "open until 63"),
        (7, three, "0F 1F 2F 3?", "rejected, retryAfter 59"),
        (8, three, "0F 1F 2F 61.999?", "rejected, retryAfter 0.001"),
        (9, three, "0F 1F 2F 62?", "admitted, half-open"),
        (10, three, "0F 1F 2F 62+a 62.5?", "rejected, no reopensAt"),
        (11, three, "0F 1F 2F 62S", "closed 0"),
        (12, three, "0F 1F 2F 62F", "open until 122"),
        (13, three, "0F 1F 2F 62+a 70-aF", "open until 130"),
        (14, three, "0F 1F 2F 62C 62?", "admitted, half-open"),
        (15, three, "0F 1F 2F 62N", "closed 0"),
        (16, three, "0F 1F 2F 62F 121?", "rejected, retryAfter 1"),
        (17, three, "0F 1F 2F 62F 122S 123F", "closed 1"),
        (18, three, "0+a 1F 2F 3F 4-aS", "open until 63"),
        (19, three, "0+a 1F 2F 3F 4-aF", "open until 63"),
        (20, three, "0+a 1F 2F 3F 63+b 64-aF 65-bS", "closed 0"),
        (21, three, "0N 1N 2N 3N", "closed 0"),
        (22, three, "0F 1F 2F 3reset 4?", "admitted, closed 0"),
        (23, three, "x:0F x:1F x:2F y:3?", "admitted, closed 0"),
        (24, three, "1:0F 1:1F 2:2F 1:3?", "rejected, retryAfter 59"),
        (25, three.count_timeouts(false), "0T 1T 2T", "closed 0"),
        (26, policy(1), "0F", "open until 60"),
    ] {
        assert_eq!(play(sequence, policy).await, expected, "row {row}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_rejects_in_call_without_calling_inner() {
    let circuit = Circuit::new("key");
    let (service, calls) = scripted(&[Answer::RETRYABLE]);
    let mut service = CircuitBreakerLayer::new(circuit.clone(), policy(1)).layer(service);
    assert_eq!(circuit.rejection(), None);
    service.clone().oneshot(()).await.unwrap_err();

    let ready = service.ready().await.expect("ready to reject");
    let result = ready.call(()).await;

    let foreseen = circuit.rejection().expect("an open circuit rejects");
    assert_eq!(result, Err(Failure::Rejected(foreseen)));
    assert_eq!(calls.borrow().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_its_permit_back() {
    let circuit = Circuit::new("key");
    let (service, calls) = scripted(&[Answer::RETRYABLE, Answer::Never, Answer::Success]);
    let service = CircuitBreakerLayer::new(circuit.clone(), policy(1)).layer(service);
    service.clone().oneshot(()).await.unwrap_err();
    tokio::time::advance(Duration::from_secs(60)).await;

    let probe = tokio::time::timeout(Duration::from_secs(1), service.clone().oneshot(()));
    probe.await.expect_err("the probe never ends");

    assert_eq!(circuit.state(), CircuitState::HalfOpen { probe: Probe::Free });
    service.oneshot(()).await.unwrap();
    assert_eq!(circuit.state(), CircuitState::Closed { failures: 0 });
    assert_eq!(calls.borrow().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_admission_lets_the_first_attempt_through_whatever_has_happened_since_and_no_other() {
    let circuit = Circuit::new("key");
    let (service, calls) = scripted(&[Answer::RETRYABLE, Answer::Success]);
    let admitted = circuit.admit_if_closed().expect("closed");
    CircuitBreakerLayer::new(circuit.clone(), policy(1)).layer(service.clone()).oneshot(()).await.unwrap_err();
    assert!(circuit.admit_if_closed().is_none(), "open");

    let mut late = CircuitBreakerLayer::new(circuit.clone(), policy(1)).admitted(Some(admitted)).layer(service);
    late.ready().await.unwrap().call(()).await.unwrap();
    late.ready().await.unwrap().call(()).await.unwrap_err();

    assert_eq!(calls.borrow().len(), 2);
    assert!(circuit.rejection().is_some(), "the success of an attempt from before the opening says nothing");
    circuit.succeeded(admitted);
    assert!(circuit.rejection().is_some(), "reported or not");
}

#[tokio::test(start_paused = true)]
async fn the_success_of_an_admitted_attempt_ends_a_row_of_failures() {
    let circuit = Circuit::new("key");
    let (service, _) = scripted(&[Answer::RETRYABLE]);
    CircuitBreakerLayer::new(circuit.clone(), policy(2)).layer(service).oneshot(()).await.unwrap_err();
    assert_eq!(circuit.state(), CircuitState::Closed { failures: 1 });

    circuit.succeeded(circuit.admit_if_closed().expect("closed"));

    assert_eq!(circuit.state(), CircuitState::Closed { failures: 0 });
}

#[tokio::test(start_paused = true)]
async fn changes_probes_and_rejections_are_observed() {
    let log = Log::default();
    let circuit = Circuit::new("key");
    let (service, _) = scripted(&[Answer::RETRYABLE, Answer::RETRYABLE, Answer::Success]);
    let service = CircuitBreakerLayer::new(circuit, policy(1)).observer(&log).layer(service);

    for wait in [0, 1, 60, 60] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        let _ = service.clone().oneshot(()).await;
    }

    let expected = [
        "key threshold-reached",
        "key rejected",
        "key reset-time-passed",
        "key probe",
        "key probe-failed",
        "key reset-time-passed",
        "key probe",
        "key probe-passed",
    ];
    assert_eq!(log.lines(), expected);
}
