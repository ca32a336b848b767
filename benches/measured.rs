//! The engine as the benchmarks run it: with an agent that does nothing, all else as it comes, and a check that nothing was left out.

use async_trait::async_trait;
use orchestr8_agent_base::{Agent, AgentContext, AgentError, AgentManifest, CancellationToken};
use orchestr8_core::{Engine, EngineBuilder};
use orchestr8_schema::ValidWorkflow;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// Answers at once.
#[derive(Debug)]
pub struct Noop;

#[async_trait]
impl Agent for Noop {
    fn manifest(&self) -> AgentManifest {
        AgentManifest::new("@bench/noop", "1.0.0", "Does nothing").expect("well formed")
    }

    async fn execute(&self, input: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        std::hint::black_box(input);
        Ok(json!({ "result": "ok" }))
    }
}

/// Two workers.
#[must_use]
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime")
}

/// Begins an engine that lets as many attempts as can be in progress at once.
pub fn engine() -> EngineBuilder {
    Engine::builder().agent(Noop).max_concurrent_steps(u32::MAX / 2).max_active_executions(1_000_000)
}

/// Reads a workflow.
#[must_use]
pub fn workflow(document: &Value) -> ValidWorkflow {
    ValidWorkflow::from_value(document).expect("a valid workflow")
}

/// Runs a workflow once.
pub async fn execute(engine: &Engine, workflow: &ValidWorkflow, input: Value) {
    let execution = engine.start(workflow, input).await.expect("it starts");
    let outcome = execution.outcome().await.expect("it ends");
    assert!(outcome.is_completed(), "{:?}", outcome.error());
}

/// Runs a workflow once more, folds its journal, and compares that with the state that the execution ended in: a path that keeps no journal
/// must not be measured.
pub async fn check(engine: &Engine, workflow: &ValidWorkflow, input: Value) {
    let execution = engine.start(workflow, input).await.expect("it starts");
    let outcome = execution.outcome().await.expect("it ends");
    let folded = engine.snapshot(execution.id()).await.expect("it is stored");
    assert!(outcome.is_completed() && folded.events().len() > outcome.state().steps().len());
    assert!(folded.state() == outcome.state(), "the journal leads elsewhere");
}
