//! What the engine does, seen through its public face.

mod budgets;
mod cancellation;
mod cassettes;
mod compensation;
mod composites;
mod durable_calls;
mod execution;
mod failure;
mod fairness;
mod fallback;
mod faulty_store;
mod forks;
mod guardrails;
mod hooks;
mod hostile_agents;
mod limits;
mod llm;
mod llm_budgets;
mod metrics;
mod pauses;
mod queues;
mod recovery;
mod reopening;
mod secrets;
mod standstill;
mod tools;
mod upgrades;
mod views;
mod watching;
mod why;

use serde_json::{Value, json};

/// A workflow of these steps.
fn workflow(steps: Value) -> Value {
    let mut workflow = json!({ "version": "1.0.0", "metadata": { "id": "test", "name": "Test" } });
    workflow["steps"] = steps;
    workflow
}

/// A workflow of these steps with policies.
fn workflow_with(steps: Value, policies: Value) -> Value {
    let mut workflow = workflow(steps);
    workflow["policies"] = policies;
    workflow
}

/// A step that calls `@test/<agent>` after others.
fn step(id: &str, agent: &str, dependencies: &[&str]) -> Value {
    json!({ "id": id, "agent": { "id": format!("@test/{agent}") }, "dependencies": dependencies })
}
