//! A real engine on a paused clock.

use std::{path::Path, sync::Arc};

use orchestr8_agent_base::{Agent, AgentRegistry, Tool};
use orchestr8_core::{Engine, EngineBuilder, ExecutionHandle, Outcome, Snapshot, Store};
use orchestr8_schema::{
    ValidWorkflow,
    api::{Entry, ExecutionStatus},
};
use serde_json::Value;

use crate::TestClock;

/// A real engine with a memory store, on a clock and with ids that a seed decides. The test pauses the runtime's clock:
/// `#[tokio::test(start_paused = true)]`.
///
/// Whatever goes wrong here panics with the reason, as suits a test.
#[derive(Debug)]
#[must_use]
pub struct Harness {
    builder: EngineBuilder,
    agents: AgentRegistry,
    seed: u64,
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl Harness {
    /// Makes a harness without agents.
    pub fn new() -> Self {
        Self { builder: Engine::builder(), agents: AgentRegistry::new(), seed: TestClock::SEED }
    }

    /// Adds an agent.
    ///
    /// # Panics
    ///
    /// If it cannot be registered.
    pub fn agent(mut self, agent: impl Agent) -> Self {
        self.agents.register(agent).unwrap_or_else(|error| panic!("{error}"));
        self
    }

    /// Sets the agents, those added so far excluded.
    pub fn registry(mut self, agents: AgentRegistry) -> Self {
        self.agents = agents;
        self
    }

    /// Adds a tool.
    ///
    /// # Panics
    ///
    /// If it cannot be registered.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.agents.tools_mut().register(tool).unwrap_or_else(|error| panic!("{error}"));
        self
    }

    /// Sets the seed of all ids and jitter.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets where journals are kept.
    pub fn store(mut self, store: impl Store) -> Self {
        self.builder = self.builder.store(store);
        self
    }

    /// Changes the engine before it is built.
    pub fn engine_with(mut self, change: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Self {
        self.builder = change(self.builder);
        self
    }

    /// Builds the engine.
    ///
    /// # Panics
    ///
    /// If it cannot be built.
    #[must_use]
    pub fn engine(self) -> Engine {
        self.builder
            .registry(self.agents)
            .clock(Arc::new(TestClock::new(self.seed)))
            .build()
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a workflow to its end on an engine of its own.
    ///
    /// # Panics
    ///
    /// If the workflow is not valid, or the execution cannot be started.
    pub async fn run(self, workflow: impl IntoWorkflow, input: Value) -> Run {
        let handle = self.start(workflow, input).await;
        Run::of(&handle).await
    }

    /// Starts a workflow on an engine of its own.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub async fn start(self, workflow: impl IntoWorkflow, input: Value) -> ExecutionHandle {
        let workflow = workflow.into_workflow();
        self.engine().start(&workflow, input).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// An execution that has ended, with its journal.
#[derive(Clone, Debug)]
pub struct Run {
    outcome: Outcome,
    snapshot: Snapshot,
    entries: Vec<Entry>,
}

impl Run {
    /// Waits for the end of an execution and reads its journal.
    ///
    /// # Panics
    ///
    /// If the execution is lost, or if folding its journal does not give the state that the engine ended with.
    pub async fn of(handle: &ExecutionHandle) -> Self {
        let outcome = handle.outcome().await.unwrap_or_else(|error| panic!("{error}"));
        let snapshot = handle.snapshot().await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(snapshot.state(), outcome.state(), "the journal does not fold to the live state");
        let entries = snapshot.journal().entries;
        Self { outcome, snapshot, entries }
    }

    /// Returns how the execution ended.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Returns the terminal status.
    #[must_use]
    pub fn status(&self) -> ExecutionStatus {
        self.outcome.status()
    }

    /// Returns the output of a step that completed.
    ///
    /// # Panics
    ///
    /// If it did not complete; the message has the journal.
    #[must_use]
    pub fn output(&self, step: &str) -> &Value {
        self.outcome.output(step).unwrap_or_else(|| panic!("`{step}` has no output\n{}", self.journal_text()))
    }

    /// Returns the state and events.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the journal.
    #[must_use]
    pub fn journal(&self) -> &[Entry] {
        &self.entries
    }

    /// Renders the journal, a line per entry: type, step path, attempt.
    #[must_use]
    pub fn journal_lines(&self) -> Vec<String> {
        let line = |entry: &Entry| {
            let mut line = entry.kind.clone();
            if let Some(path) = &entry.step_path {
                line = format!("{line} {path}");
            }
            if let Some(attempt) = entry.attempt {
                line = format!("{line} {attempt}");
            }
            line
        };
        self.entries.iter().map(line).collect()
    }

    /// Renders the journal with times, for messages.
    #[must_use]
    pub fn journal_text(&self) -> String {
        let lines = self
            .entries
            .iter()
            .map(|entry| format!("{:>4} +{}ms  {}", entry.sequence, entry.elapsed_ms, entry.message));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// What a harness can run.
pub trait IntoWorkflow {
    /// Makes a valid workflow of it.
    ///
    /// # Panics
    ///
    /// If it is not valid; the message has all problems.
    fn into_workflow(self) -> ValidWorkflow;
}

impl IntoWorkflow for ValidWorkflow {
    fn into_workflow(self) -> ValidWorkflow {
        self
    }
}

impl IntoWorkflow for &ValidWorkflow {
    fn into_workflow(self) -> ValidWorkflow {
        self.clone()
    }
}

/// The document as a JSON value.
impl IntoWorkflow for Value {
    fn into_workflow(self) -> ValidWorkflow {
        ValidWorkflow::from_value(&self).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The path of a file in JSON.
impl IntoWorkflow for &Path {
    fn into_workflow(self) -> ValidWorkflow {
        let text = std::fs::read_to_string(self).unwrap_or_else(|error| panic!("{}: {error}", self.display()));
        ValidWorkflow::from_json(&text).unwrap_or_else(|error| panic!("{}: {error}", self.display()))
    }
}
