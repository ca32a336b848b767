//! What came of many simulated executions.

use std::time::Duration;

use serde::Serialize;

use super::{Fault, Invariant};

/// What came of many simulated executions.
///
/// As JSON: `{seeds, executions, events, virtualMs, completed, failed, cancelled, waiting, stuck, violations, coverage}`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Report {
    /// How many seeds were tried.
    pub seeds: u64,
    /// How many executions were run, those that were compared with another included.
    pub executions: u64,
    /// How many events their journals have.
    pub events: u64,
    /// How much time passed in them, in milliseconds.
    #[serde(rename = "virtualMs", serialize_with = "millis")]
    pub elapsed: Duration,
    /// How many completed.
    pub completed: u64,
    /// How many failed; that is no violation.
    pub failed: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// How many waited at the horizon for something that has a name.
    pub waiting: u64,
    /// How many could not end, and could not say why; each is a violation, too.
    pub stuck: u64,
    /// The promises that were broken: of each the smallest example that was found.
    pub violations: Vec<Counterexample>,
    /// Mocks that could not answer as they should: what they answer breaks the agent's output schema, or no rule holds. What was simulated
    /// with them says nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<MockMistake>,
    /// What was reached.
    pub coverage: Coverage,
}

/// A mock that could not answer as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MockMistake {
    /// What is mocked, as it is written.
    pub target: String,
    /// The way down in the mock: `sequence`, `1`, `returns`.
    pub way: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// The step that made the call.
    pub step: String,
    /// The seed.
    pub seed: u64,
}

/// An execution that breaks a promise.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Counterexample {
    /// Which promise.
    #[serde(serialize_with = "text")]
    pub invariant: Invariant,
    /// How it is broken.
    pub message: String,
    /// The seed.
    pub seed: u64,
    /// The faults that it takes; none can be left out.
    #[serde(serialize_with = "texts")]
    pub faults: Vec<Fault>,
    /// The number of events that the journal had by then.
    pub sequence: u64,
    /// The journal, a line for each event.
    pub journal: Vec<String>,
    /// How many of the seeds broke it.
    pub seen: u64,
}

/// What was reached in any of the executions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Coverage {
    /// How many steps the workflow has, inner ones included.
    pub steps: usize,
    /// The steps that never began, by id.
    pub steps_never_reached: Vec<String>,
    /// The cases of branches that were never taken: the branch's id and the case's name.
    pub cases_never_taken: Vec<String>,
}

fn millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn text<S: serde::Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

fn texts<S: serde::Serializer>(values: &[impl ToString], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}
