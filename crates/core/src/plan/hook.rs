//! What a plan knows of hooks.

use std::{ops::Range, sync::Arc};

use orchestr8_agent_base::AgentRegistry;
use orchestr8_schema::{ValidWorkflow, validate::ValidHook, workflow::Call};
use serde_json::Map;

use super::{Leaf, LeafPolicy, PlanError};

/// A hook of a workflow file.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlanHook {
    /// Its point, place, input and mode.
    pub hook: ValidHook,
    /// How it is called.
    pub leaf: Leaf,
}

/// Compiles a list of hooks, and returns their numbers.
pub(super) fn compile(
    hooks: &[ValidHook],
    workflow: &ValidWorkflow,
    place: impl Fn() -> String,
    agents: &AgentRegistry,
    all: &mut Vec<PlanHook>,
) -> Result<Range<u32>, PlanError> {
    let first = all.len() as u32;
    for hook in hooks {
        let fail = |message: String| PlanError::Hook { place: place(), message };
        let (callee, version, config) = match &hook.call {
            Call::Agent(call) => {
                let agent = agents
                    .get(&call.id, &call.version)
                    .ok_or_else(|| fail(format!("{} in version {} is not registered", call.id, call.version)))?;
                let config = agent.configure(call.config.as_ref()).map_err(|error| fail(error.to_string()))?;
                (Arc::clone(agent.callee()), agent.manifest().version.to_string().into(), config)
            }
            Call::Tool(call) => {
                let tool = agents.tools().get(&call.name);
                let tool = tool.ok_or_else(|| fail(format!("the tool `{}` is not registered", call.name)))?;
                (Arc::clone(tool.callee()), Arc::default(), Map::new())
            }
        };
        let policy = LeafPolicy::of_hook(hook.timeout.as_duration(), workflow, &callee);
        let leaf = Leaf { callee, version, config: Arc::new(config), policy: Arc::new(policy) };
        all.push(PlanHook { hook: hook.clone(), leaf });
    }
    Ok(first..all.len() as u32)
}
