//! What an engine has done so far, in numbers, read as one snapshot by whoever exports it.
//!
//! Nothing is counted unless [`EngineBuilder::metrics`](crate::EngineBuilder::metrics) asks for it. Counting follows the journal: an
//! event counts when it is stored. Counters begin with the engine and never fall. A label holds at most [`MAX_LABELS`] different
//! values; what comes after counts as `other`. Ids and step paths are never labels.
//!
//! ```
//! use orchestr8_core::{Engine, agent_base::HelloWorld, schema::ValidWorkflow};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder().agent(HelloWorld).metrics(true).build()?;
//! let workflow = ValidWorkflow::from_value(&json!({
//!     "version": "1.0.0",
//!     "metadata": { "id": "greet", "name": "Greet" },
//!     "steps": [{ "id": "hello", "agent": { "id": "@orchestr8/hello-world" } }]
//! }))?;
//! engine.start(&workflow, json!({})).await?.outcome().await?;
//! let metrics = engine.metrics().expect("it was asked to count");
//! let callee = &metrics.callees["@orchestr8/hello-world"];
//! assert_eq!((callee.completed, callee.attempts.succeeded), (1, 1));
//! # Ok(())
//! # }
//! ```

mod count;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orchestr8_resilience::circuit_breaker::CircuitState;
use orchestr8_schema::{ErrorKind, ExecutionId, StepPath, Timestamp, usage::Usage};

pub(crate) use self::count::{Meter, Metrics};

/// The most different values of a label.
pub const MAX_LABELS: usize = 100;

/// The most failures that are remembered one by one.
pub const MAX_RECENT: usize = 20;

/// The upper bounds of a histogram's buckets; a last one takes the rest.
pub const BOUNDS: [Duration; 12] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(300),
];

/// What an engine has counted.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Executions that have ended, by workflow and status.
    pub executions: BTreeMap<(Arc<str>, &'static str), u64>,
    /// How long they took from being asked for to their end, by status.
    pub execution_durations: BTreeMap<&'static str, Durations>,
    /// Executions that have had their turn and not ended.
    pub active: u64,
    /// Those of the active ones that only wait, and hold no place of an active one.
    pub waiting: u64,
    /// Executions that wait for their turn.
    pub queued: u64,
    /// Attempts that hold a slot.
    pub running: u64,
    /// Attempts that wait for one.
    pub ready: u64,
    /// What was called: agents by id, tools by name.
    pub callees: BTreeMap<Arc<str>, CalleeMetrics>,
    /// Models that agents have asked, by provider and id.
    pub models: BTreeMap<(Arc<str>, Arc<str>), ModelMetrics>,
    /// Tools that agents have called, by name. What was not let through has reached nobody, and counts as `other`: its name is whatever a model has
    /// written.
    pub agents_tools: BTreeMap<Arc<str>, Attempts>,
    /// The state of each circuit, by key: `closed`, `open` or `half-open`.
    pub circuits: BTreeMap<Arc<str>, &'static str>,
    /// Changes of circuits, by the state before and after.
    pub circuit_transitions: BTreeMap<(&'static str, &'static str), u64>,
    /// Executions that were undone, by how that ended.
    pub compensations: BTreeMap<&'static str, u64>,
    /// Approvals that wait for a person.
    pub approvals_waiting: u64,
    /// Remarks of agents that were left out, because their execution kept [as many as it may](orchestr8_schema::event::LogEntry::MAX) already.
    pub remarks_left_out: u64,
    /// How long appending to the journal took.
    pub appends: Durations,
    /// The bytes that events have taken, as far as the [store](crate::store::Store::journal_bytes) tells.
    pub journal_bytes: Option<u64>,
    /// Steps that failed, by kind of failure.
    pub failures: BTreeMap<ErrorKind, u64>,
    /// The latest of them, newest first, at most [`MAX_RECENT`]. Secrets are hidden.
    pub recent_failures: Vec<RecentFailure>,
    /// What was used up, as far as agents have reported it.
    pub usage: Usage,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentFailure {
    /// Of which execution.
    pub execution_id: ExecutionId,
    /// Which step.
    pub step_path: StepPath,
    /// The kind of failure.
    pub code: ErrorKind,
    /// What was attempted and why it failed.
    pub message: String,
    /// When it failed.
    pub at: Timestamp,
}

/// What is counted of one agent or tool.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CalleeMetrics {
    /// Whether it is a tool.
    pub is_tool: bool,
    /// Steps that completed.
    pub completed: u64,
    /// Steps that failed.
    pub failed: u64,
    /// Steps that did not run.
    pub skipped: u64,
    /// Steps that were cancelled.
    pub cancelled: u64,
    /// Its attempts.
    pub attempts: Attempts,
    /// Retries that were scheduled.
    pub retries: u64,
    /// Attempts that took too long.
    pub timeouts: u64,
    /// From the first attempt of a step to its end.
    pub durations: Durations,
    /// From a step's turn to its first attempt.
    pub queued: Durations,
}

/// What is counted of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ModelMetrics {
    /// Calls that were answered.
    pub succeeded: u64,
    /// Calls that were not.
    pub failed: u64,
    /// What they have used up, and cost as far as prices are known.
    pub usage: Usage,
}

/// How attempts ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// With an output.
    pub succeeded: u64,
    /// With a failure.
    pub failed: u64,
    /// They reached nobody: a circuit was open, a limit was reached, or a budget was spent.
    pub rejected: u64,
    /// They were told to end, and did.
    pub cancelled: u64,
}

impl Attempts {
    /// Adds others.
    pub fn add(&mut self, others: Self) {
        self.succeeded += others.succeeded;
        self.failed += others.failed;
        self.rejected += others.rejected;
        self.cancelled += others.cancelled;
    }
}

/// A distribution of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many there were in each bucket of [`BOUNDS`]; those above all come last.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Their sum.
    pub sum: Duration,
}

impl Durations {
    /// Adds one.
    pub fn add(&mut self, duration: Duration) {
        self.buckets[count::bucket(duration)] += 1;
        self.sum += duration;
    }

    /// Adds all of another distribution.
    pub fn add_all(&mut self, other: &Self) {
        for (mine, other) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += other;
        }
        self.sum += other.sum;
    }

    /// Returns how many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Estimates the duration that this share of all, 0 to 1, does not exceed: between the bounds of a bucket it is drawn as a
    /// line, as Prometheus does in `histogram_quantile`. What is above all bounds counts as the last bound; nothing at all as zero.
    ///
    /// ```
    /// use std::time::Duration;
    /// use orchestr8_core::metrics::Durations;
    ///
    /// let mut durations = Durations::default();
    /// for milliseconds in [2, 3, 4, 80] {
    ///     durations.add(Duration::from_millis(milliseconds));
    /// }
    /// assert_eq!(durations.quantile(0.75), Duration::from_millis(5));
    /// ```
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = share.clamp(0.0, 1.0) * self.count() as f64;
        let (mut below, mut lower) = (0_u64, Duration::ZERO);
        for (&upper, &count) in BOUNDS.iter().zip(&self.buckets) {
            if count > 0 && (below + count) as f64 >= rank {
                return lower + (upper - lower).mul_f64(((rank - below as f64) / count as f64).clamp(0.0, 1.0));
            }
            below += count;
            lower = upper;
        }
        if self.count() == 0 { Duration::ZERO } else { lower }
    }
}

/// Lists the states of circuits, as many as a label holds.
pub(crate) fn states(circuits: Vec<(Arc<str>, CircuitState)>) -> BTreeMap<Arc<str>, &'static str> {
    circuits.into_iter().take(MAX_LABELS).map(|(key, state)| (key, state.name())).collect()
}
