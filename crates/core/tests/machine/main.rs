//! Properties of the machine: over random workflows, schedules, answers, pauses, cancellations, compensations and hostile events.
//!
//! The driver here is pure. It knows only what commands tell it, and after each batch what it holds must be what the machine
//! calls outstanding.

#![expect(clippy::panic, reason = "a test that goes wrong says so by a panic")]

mod account;
mod hooks;
mod invariants;
mod policies;
mod reopening;
mod tables;
mod workflows;
mod world;

use orchestr8_agent_base::{AgentRegistry, ToolSpec, tool_fn};
use orchestr8_core::plan::Plan;
use orchestr8_schema::{ValidWorkflow, source::Options};
use orchestr8_testing::scripted;
use proptest::prelude::*;
use serde_json::Value;

use self::workflows::Shapes;

const ALL: Shapes = Shapes { early_joins: true, tolerance: true, undoing: true, budgets: Some(4) };
/// Those whose result does not depend on the order in which steps end.
const ORDERLY: Shapes = Shapes { early_joins: false, budgets: None, ..ALL };
/// Those whose result does not depend on what failed before it succeeded.
const STRICT: Shapes = Shapes { early_joins: false, tolerance: false, undoing: false, budgets: None };
/// Those that all have limits.
const SCARCE: Shapes = Shapes { budgets: Some(1), ..ALL };
/// Those that may go on after they failed.
const REOPENABLE: Shapes = Shapes { undoing: false, ..ALL };

fn registry() -> AgentRegistry {
    let mut agents = AgentRegistry::new();
    agents.register(scripted("any")).expect("registered");
    let tool = tool_fn(ToolSpec::new("any", "For a test").expect("well formed"), |_, _, _| async { Ok(Value::Null) });
    agents.tools_mut().register(tool).expect("registered");
    agents
}

/// Compiles a random document; the few that are not valid by chance are left out.
fn plan(document: &Value) -> Result<Plan, TestCaseError> {
    let workflow = ValidWorkflow::from_bundle(document, &Options::new())
        .map_err(|error| TestCaseError::reject(error.to_string()))?;
    Ok(Plan::compile(&workflow, &registry()).expect("it compiles"))
}

/// How many cases each property is tried on; `ORCHESTR8_CASES` sets another number for a longer run.
fn cases() -> ProptestConfig {
    let cases = std::env::var("ORCHESTR8_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(cases.unwrap_or(100))
}
