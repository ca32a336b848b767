//! Agents and tools that give what was recorded.

use std::sync::Arc;

use async_trait::async_trait;
use orchestr8_agent_base::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry, Tool,
    manifest::InvalidManifest,
    registry::{RegisterError, RegisteredAgent},
    tool::{RegisterToolError, RegisteredTool, ToolSpec},
};
use orchestr8_schema::{
    AgentId, ErrorKind, canonical,
    id::{InvalidId, ToolName},
    usage::Estimate,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::Tape;

/// Why nobody can stand in for what was called.
#[derive(Debug, thiserror::Error)]
#[error("making a stand-in for what was recorded")]
pub struct StandInError(#[source] Box<dyn std::error::Error + Send + Sync>);

macro_rules! from {
    ($($error:ty),*) => {
        $(impl From<$error> for StandInError {
            fn from(error: $error) -> Self {
                Self(error.into())
            }
        })*
    };
}

from!(RegisterError, RegisterToolError, InvalidManifest, InvalidId);

pub(super) fn registry(tape: &Arc<Tape>, agents: &AgentRegistry) -> Result<AgentRegistry, StandInError> {
    let mut all = AgentRegistry::new();
    for agent in agents.list() {
        let config = agent.configure(None).unwrap_or_default();
        let real = Some(Arc::clone(agent));
        all.register_with_config(
            AgentStandIn { manifest: agent.manifest().clone(), real, tape: Arc::clone(tape) },
            config,
        )?;
    }
    for tool in agents.tools().list() {
        let real = Some(Arc::clone(tool));
        all.tools_mut().register(ToolStandIn { spec: tool.spec().clone(), real, tape: Arc::clone(tape) })?;
    }
    for (id, version) in &tape.agents {
        let known: AgentId = id.parse()?;
        if all.latest(&known).is_none() && !version.is_empty() {
            let manifest = AgentManifest::new(id, version, "It was recorded")?;
            all.register(AgentStandIn { manifest, real: None, tape: Arc::clone(tape) })?;
        }
    }
    for name in &tape.tools {
        let known: ToolName = name.parse()?;
        if all.tools().get(&known).is_none() {
            let spec = ToolSpec::new(name, "It was recorded")?;
            all.tools_mut().register(ToolStandIn { spec, real: None, tape: Arc::clone(tape) })?;
        }
    }
    Ok(all)
}

struct AgentStandIn {
    manifest: AgentManifest,
    real: Option<Arc<RegisteredAgent>>,
    tape: Arc<Tape>,
}

struct ToolStandIn {
    spec: ToolSpec,
    real: Option<Arc<RegisteredTool>>,
    tape: Arc<Tape>,
}

#[async_trait]
impl Agent for AgentStandIn {
    fn manifest(&self) -> AgentManifest {
        self.manifest.clone()
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        played(&self.tape, cx, &cancel, &canonical::digest(input)).await
    }

    fn estimate(&self, input: &Value, config: &Map<String, Value>) -> Estimate {
        self.real.as_ref().map_or_else(Estimate::default, |real| real.agent().estimate(input, config))
    }

    fn target(&self, input: &Value) -> Option<String> {
        self.real.as_ref()?.agent().target(input)
    }
}

#[async_trait]
impl Tool for ToolStandIn {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    async fn call(&self, arguments: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let digest = canonical::digest(&json!({ "arguments": arguments, "name": self.spec.name }));
        played(&self.tape, cx, &cancel, &digest).await
    }

    fn target(&self, arguments: &Value) -> Option<String> {
        self.real.as_ref()?.callee().target(arguments)
    }
}

/// Gives what was recorded of an attempt, after as long as it took.
async fn played(tape: &Tape, cx: &AgentContext, cancel: &CancellationToken, digest: &str) -> Result<Value, AgentError> {
    let attempt = tape.play(cx.step_path(), cx.attempt(), digest).map_err(|miss| {
        AgentError::new(ErrorKind::NotFound, format!("there is no recording of {}: {}", miss.step_path, miss.because))
    })?;
    if !attempt.took.is_zero() && cancel.run_until_cancelled(tokio::time::sleep(attempt.took)).await.is_none() {
        return Err(AgentError::cancelled("the token fired"));
    }
    if let Some(usage) = attempt.usage {
        cx.usage(usage);
    }
    attempt.result.map_err(|failure| AgentError::from_failure(&failure))
}
