//! What an engine tells an agent, on one day at noon.

use std::sync::Arc;

use orchestr8_agent_base::{
    AgentContext, Clock,
    context::{ExecutionIdentity, StepIdentity},
};
use orchestr8_schema::{ExecutionId, StepId, StepPath, Timestamp};
use serde_json::{Map, Value};

/// Noon of one day.
#[derive(Debug)]
pub(crate) struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2025-01-17T12:00:00Z".parse().expect("a time")
    }

    fn random(&self) -> u64 {
        7
    }
}

pub(crate) fn context(input: &Value, config: Map<String, Value>) -> AgentContext {
    let execution = ExecutionIdentity::new(
        ExecutionId::from_parts(1, [1; 10]),
        "test",
        "correlation".parse().expect("well formed"),
        Noon.now(),
    );
    let step: StepId = "step".parse().expect("well formed");
    let path = StepPath::from(&step);
    AgentContext::builder(
        Arc::new(execution),
        Arc::new(StepIdentity::new(step, path, 0)),
        Arc::new(Noon),
        Arc::new(input.clone()),
    )
    .config(Arc::new(config))
    .build()
}
