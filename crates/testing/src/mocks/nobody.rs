//! Agents and tools that nobody has registered.

use async_trait::async_trait;
use orchestr8_agent_base::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry, Tool,
    manifest::InvalidManifest,
    registry::RegisterError,
    tool::{RegisterToolError, ToolSpec},
};
use orchestr8_schema::{id::InvalidId, workflow::VersionRange};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::callees::Callees;

/// Why there is nobody to call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoStandIn {
    #[error(transparent)]
    Agent(#[from] RegisterError),
    #[error(transparent)]
    Tool(#[from] RegisterToolError),
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    #[error(transparent)]
    Name(#[from] InvalidId),
}

/// Adds stand-ins for what a workflow calls and a registry does not know. They answer nothing themselves, and have no schemas but what
/// `agent` and `tool` add to what they say of themselves.
pub(crate) fn completed(
    agents: &AgentRegistry,
    callees: &Callees,
    agent: impl Fn(AgentManifest) -> AgentManifest,
    tool: impl Fn(ToolSpec) -> ToolSpec,
) -> Result<AgentRegistry, NoStandIn> {
    let mut agents = agents.clone();
    for (id, version) in &callees.unknown_agents {
        let manifest = AgentManifest::new(id.as_str(), &lowest(version), "Nobody has registered it")?;
        match agents.register(Nobody(agent(manifest))) {
            // Two ranges may have the same lowest version.
            Ok(()) | Err(RegisterError::Duplicate { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let lent = callees.unknown_lent.iter().filter(|name| !callees.unknown_tools.contains(name));
    for name in callees.unknown_tools.iter().chain(lent) {
        agents.tools_mut().register(Nobody(tool(ToolSpec::new(name.as_str(), "Nobody has registered it")?)))?;
    }
    Ok(agents)
}

/// The lowest version that will do.
fn lowest(range: &VersionRange) -> String {
    match range {
        VersionRange::Latest => "1.0.0".to_owned(),
        VersionRange::Exact([major, minor, patch])
        | VersionRange::Caret([major, minor, patch])
        | VersionRange::Tilde([major, minor, patch]) => format!("{major}.{minor}.{patch}"),
    }
}

/// Returns what the agent says of itself that stands in for a step of another kind, by number.
pub(crate) fn replacement(number: usize) -> Result<AgentManifest, InvalidManifest> {
    AgentManifest::new(&replacement_id(number), "1.0.0", "Stands in for a step")
}

/// The id of the agent that stands in for a step of another kind.
pub(super) fn replacement_id(number: usize) -> String {
    format!("@orchestr8-test/step-{number}")
}

/// Lends a manifest, or a spec, to nobody.
pub(crate) struct Nobody<T>(pub(crate) T);

#[async_trait]
impl Agent for Nobody<AgentManifest> {
    fn manifest(&self) -> AgentManifest {
        self.0.clone()
    }

    async fn execute(&self, _: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        Err(AgentError::internal(format!("{} is not registered", self.0.id)))
    }
}

#[async_trait]
impl Tool for Nobody<ToolSpec> {
    fn spec(&self) -> ToolSpec {
        self.0.clone()
    }

    async fn call(&self, _: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        Err(AgentError::internal(format!("{} is not registered", self.0.name)))
    }
}
