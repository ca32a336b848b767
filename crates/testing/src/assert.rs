//! What to say about an execution. Each failed assertion shows the journal.

use orchestr8_schema::api::Entry;
use serde_json::Value;

use crate::{
    Run,
    workflow_test::compare::{Extent, difference},
};

/// Asserts that an execution completed.
#[macro_export]
macro_rules! assert_completed {
    ($run:expr) => {{
        let run: &$crate::Run = &$run;
        assert!(run.outcome().is_completed(), "expected completed, got {}\n{}", run.status(), run.journal_text());
    }};
}

/// Asserts that an execution failed with a kind of failure, and gives the failure.
#[macro_export]
macro_rules! assert_failed {
    ($run:expr, $kind:expr) => {{
        let run: &$crate::Run = &$run;
        let error = run.outcome().error().cloned();
        let (code, expected) = (error.as_ref().map(|error| error.code), Some($kind));
        assert!(
            run.status().as_str() == "failed" && code == expected,
            "expected failed with {expected:?}, got {} with {code:?}\n{}",
            run.status(),
            run.journal_text()
        );
        error.expect("a failed execution has a failure")
    }};
}

/// Asserts that a journal has these entries in this order, with others in between. An entry is written as its type, step path
/// and attempt, as far as wanted: `"step.completed fetch"`, `"attempt.started fetch 2"`.
#[macro_export]
macro_rules! assert_events {
    ($run:expr, [$($expected:expr),* $(,)?]) => {{
        let run: &$crate::Run = &$run;
        if let Some(missing) = $crate::find_gap(&run.journal_lines(), &[$($expected),*]) {
            panic!("`{missing}` is missing, or out of order, in\n{}", run.journal_lines().join("\n"));
        }
    }};
}

/// Asserts how many calls of a step reached its agent.
#[macro_export]
macro_rules! assert_attempts {
    ($run:expr, $step:expr, $attempts:expr) => {{
        let run: &$crate::Run = &$run;
        let body = run.outcome().to_body();
        let attempts = body.steps.iter().find(|step| step.step_path == $step).map(|step| step.attempts);
        assert_eq!(attempts, Some($attempts), "attempts of {}\n{}", $step, run.journal_text());
    }};
}

/// Returns the first expected entry that does not follow those before it.
#[must_use]
pub fn find_gap<'a>(lines: &[String], expected: &[&'a str]) -> Option<&'a str> {
    let mut rest = lines.iter();
    expected.iter().copied().find(|wanted| {
        !rest.any(|line| line == wanted || line.strip_prefix(wanted).is_some_and(|more| more.starts_with(' ')))
    })
}

/// Asserts in which order steps first started, with others in between: `assert_order!(run, ["fetch", "score"])`.
#[macro_export]
macro_rules! assert_order {
    ($run:expr, [$($step:expr),* $(,)?]) => {{
        let run: &$crate::Run = &$run;
        let started = $crate::first_starts(run);
        if let Some(missing) = $crate::find_gap(&started, &[$($step),*]) {
            panic!("`{missing}` did not start, or not in that order; steps started so: {}", started.join(", "));
        }
    }};
}

/// Asserts how much virtual time an execution took at most.
#[macro_export]
macro_rules! assert_within {
    ($run:expr, $duration:expr) => {{
        let run: &$crate::Run = &$run;
        let (took, most): (std::time::Duration, std::time::Duration) = (run.took(), $duration);
        assert!(took <= most, "it took {took:?}, more than {most:?}\n{}", run.journal_text());
    }};
}

/// Asserts the last state of a circuit that the journal tells of: `assert_circuit!(run, "cb:@test/search", "open")`.
#[macro_export]
macro_rules! assert_circuit {
    ($run:expr, $key:expr, $state:expr) => {{
        let run: &$crate::Run = &$run;
        assert_eq!($crate::last_circuit_state(run, $key), Some($state), "the circuit {}\n{}", $key, run.journal_text());
    }};
}

/// Asserts that a JSON value has at least what is expected: objects may have more keys, and `"<any>"`, `"<uuid>"` and `"<time>"` stand
/// for any value, any UUID and any time.
#[macro_export]
macro_rules! assert_json {
    ($actual:expr, $($expected:tt)+) => {{
        let (actual, expected): (&serde_json::Value, serde_json::Value) = (&$actual, serde_json::json!($($expected)+));
        if let Some(difference) = $crate::json_difference(actual, &expected) {
            panic!("{difference}\nin {actual:#}");
        }
    }};
}

/// Asserts that a text occurs in no view of an execution: not in its stored events, its journal, its body as the REST interface shows it,
/// or what was logged, if that was captured (see [`capture`](crate::capture())).
#[macro_export]
macro_rules! assert_no_secret {
    ($run:expr, $canary:expr) => {{
        let run: &$crate::Run = &$run;
        if let Some(place) = $crate::find_text(run, $canary) {
            panic!("the secret is in {place}");
        }
    }};
    ($run:expr, $canary:expr, $captured:expr) => {{
        $crate::assert_no_secret!($run, $canary);
        let captured: &$crate::Captured = &$captured;
        if let Some(line) = captured.lines().into_iter().find(|line| line.contains($canary)) {
            panic!("the secret is in what was logged: {line}");
        }
    }};
}

/// Whether an entry tells that a step begins, of whatever kind it is.
pub(crate) fn begins_step(entry: &Entry) -> bool {
    matches!(entry.kind.as_str(), "step.started" | "step.waiting" | "approval.requested")
}

/// Returns the paths of all steps, in the order in which they first started.
#[must_use]
pub fn first_starts(run: &Run) -> Vec<String> {
    let mut started: Vec<String> = Vec::new();
    for entry in run.journal().iter().filter(|entry| begins_step(entry)) {
        if let Some(path) = &entry.step_path
            && !started.contains(path)
        {
            started.push(path.clone());
        }
    }
    started
}

/// Returns the last state of a circuit that the journal tells of.
#[must_use]
pub fn last_circuit_state(run: &Run, key: &str) -> Option<&'static str> {
    let mut changes = run.journal().iter().rev().filter(|entry| entry.data.get("key").is_some_and(|of| of == key));
    let state = |kind: &str| match kind {
        "circuit.opened" => Some("open"),
        "circuit.half-opened" => Some("half-open"),
        "circuit.closed" => Some("closed"),
        _ => None,
    };
    changes.find_map(|entry| state(&entry.kind))
}

/// Says where a value is not what was expected.
#[must_use]
pub fn json_difference(actual: &Value, expected: &Value) -> Option<String> {
    let found = difference(actual, expected, Extent::Subset)?;
    let actual = found.actual.map_or_else(|| "nothing".to_owned(), |actual| actual.to_string());
    Some(format!("expected {} at /{}, got {actual}", found.expected, found.way.join("/")))
}

/// Says in which view of an execution a text occurs.
#[must_use]
pub fn find_text(run: &Run, text: &str) -> Option<&'static str> {
    // As it stands there, with quotes and line ends escaped.
    let quoted = Value::from(text).to_string();
    let escaped = quoted.trim_matches('"');
    let views = [
        ("its stored events", format!("{:?}", run.snapshot().events())),
        ("its journal", serde_json::to_string(run.journal()).unwrap_or_default()),
        ("its body", serde_json::to_string(&run.outcome().to_body()).unwrap_or_default()),
    ];
    views.into_iter().find_map(|(view, shown)| shown.contains(escaped).then_some(view))
}
