//! Agents and tools that ask the stage before they answer.

use std::sync::Arc;

use async_trait::async_trait;
use orchestr8_agent_base::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry, Tool,
    manifest::InvalidManifest,
    registry::{RegisterError, RegisteredAgent},
    tool::{RegisterToolError, RegisteredTool, ToolSpec},
};
use orchestr8_schema::{
    id::{InvalidId, ToolName},
    json_schema::JsonValidator,
    usage::Estimate,
    workflow::VersionRange,
};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{
    callees::Callees,
    stage::{Answer, Called, Stage, error_of},
};

/// Why there is nobody to call.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoStandIn {
    #[error(transparent)]
    Agent(#[from] RegisterError),
    #[error(transparent)]
    Tool(#[from] RegisterToolError),
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    #[error(transparent)]
    Name(#[from] InvalidId),
}

/// Adds stand-ins for what a workflow calls and a registry does not know: they have no schemas, and answer nothing themselves.
pub(super) fn completed(agents: &AgentRegistry, callees: &Callees) -> Result<AgentRegistry, NoStandIn> {
    let mut agents = agents.clone();
    for (id, version) in &callees.unknown_agents {
        let version = lowest(version);
        match agents.register(Nobody(unknown_agent(id.as_str(), &version)?)) {
            // Two ranges may have the same lowest version.
            Ok(()) | Err(RegisterError::Duplicate { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for name in &callees.unknown_tools {
        agents.tools_mut().register(Nobody(unknown_tool(name)?))?;
    }
    Ok(agents)
}

fn unknown_agent(id: &str, version: &str) -> Result<AgentManifest, InvalidManifest> {
    AgentManifest::new(id, version, "Nobody has registered it")
}

fn unknown_tool(name: &ToolName) -> Result<ToolSpec, InvalidId> {
    ToolSpec::new(name.as_str(), "Nobody has registered it")
}

/// The lowest version that will do.
pub(crate) fn lowest(range: &VersionRange) -> String {
    match range {
        VersionRange::Latest => "1.0.0".to_owned(),
        VersionRange::Exact([major, minor, patch])
        | VersionRange::Caret([major, minor, patch])
        | VersionRange::Tilde([major, minor, patch]) => format!("{major}.{minor}.{patch}"),
    }
}

/// Makes a registry in which everybody who is called asks the stage first; what stands in for steps of other kinds comes to it.
pub(super) fn all_on(
    stage: &Arc<Stage>,
    agents: &AgentRegistry,
    callees: &Callees,
    replaced: usize,
) -> Result<AgentRegistry, NoStandIn> {
    let mut all = AgentRegistry::new();
    for agent in agents.list().filter(|agent| callees.calls_agent(&agent.manifest().id)) {
        let called = Called::Agent(agent.manifest().id.to_string());
        let config = agent.configure(None).unwrap_or_default();
        let stand_in = AgentStandIn { called, real: Arc::clone(agent), stage: Arc::clone(stage) };
        all.register_with_config(stand_in, config)?;
    }
    for tool in agents.tools().list().filter(|tool| callees.calls_tool(&tool.spec().name)) {
        let called = Called::Tool(tool.spec().name.to_string());
        all.tools_mut().register(ToolStandIn { called, real: Arc::clone(tool), stage: Arc::clone(stage) })?;
    }
    for number in 0..replaced {
        let manifest = unknown_agent(&replacement(number), "1.0.0")?;
        all.register(StepStandIn { manifest, called: Called::Replaced(number), stage: Arc::clone(stage) })?;
    }
    Ok(all)
}

/// The id of the agent that stands in for a step of another kind.
pub(super) fn replacement(number: usize) -> String {
    format!("@orchestr8-test/step-{number}")
}

/// Lends a manifest, or a spec, to nobody.
struct Nobody<T>(T);

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

/// Stands in for an agent.
struct AgentStandIn {
    called: Called,
    real: Arc<RegisteredAgent>,
    stage: Arc<Stage>,
}

/// Stands in for a tool.
struct ToolStandIn {
    called: Called,
    real: Arc<RegisteredTool>,
    stage: Arc<Stage>,
}

/// Stands in for a step of another kind.
struct StepStandIn {
    manifest: AgentManifest,
    called: Called,
    stage: Arc<Stage>,
}

/// Asks the stage, and answers; `None` has the real one called.
async fn answered(
    stage: &Stage,
    called: &Called,
    input: &Value,
    cx: &AgentContext,
    cancel: &CancellationToken,
    schema: Option<&JsonValidator>,
) -> Option<Result<Value, AgentError>> {
    let (result, after) = match stage.answer(called, input, cx, schema) {
        Answer::Real => return None,
        Answer::Wrong(message) => return Some(Err(AgentError::internal(message))),
        Answer::Value { value, after } => (Some(Ok(value)), after),
        Answer::Failure { failure, after } => (Some(Err(error_of(&failure))), after),
        Answer::Hang => (None, std::time::Duration::MAX),
    };
    let answering = async {
        match result {
            Some(result) => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                result
            }
            None => std::future::pending().await,
        }
    };
    Some(cancel.run_until_cancelled(answering).await.unwrap_or_else(|| Err(AgentError::cancelled("the token fired"))))
}

#[async_trait]
impl Agent for AgentStandIn {
    fn manifest(&self) -> AgentManifest {
        self.real.manifest().clone()
    }

    async fn validate(&self, input: &Value, cx: &AgentContext) -> Result<(), AgentError> {
        match self.stage.is_real(&self.called, cx) {
            true => self.real.agent().validate(input, cx).await,
            false => Ok(()),
        }
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        match answered(&self.stage, &self.called, input, cx, &cancel, self.real.output_schema()).await {
            Some(result) => result,
            None => self.real.agent().execute(input, cx, cancel).await,
        }
    }

    fn estimate(&self, input: &Value, config: &Map<String, Value>) -> Estimate {
        self.real.agent().estimate(input, config)
    }

    fn target(&self, input: &Value) -> Option<String> {
        self.real.agent().target(input)
    }
}

#[async_trait]
impl Tool for ToolStandIn {
    fn spec(&self) -> ToolSpec {
        self.real.spec().clone()
    }

    async fn call(&self, arguments: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let schema = self.real.callee().output_schema();
        match answered(&self.stage, &self.called, arguments, cx, &cancel, schema).await {
            Some(result) => result,
            None => self.real.tool().call(arguments, cx, cancel).await,
        }
    }

    fn target(&self, arguments: &Value) -> Option<String> {
        self.real.callee().target(arguments)
    }
}

#[async_trait]
impl Agent for StepStandIn {
    fn manifest(&self) -> AgentManifest {
        self.manifest.clone()
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let answer = answered(&self.stage, &self.called, input, cx, &cancel, None).await;
        answer.unwrap_or_else(|| Err(AgentError::internal("a step that is mocked cannot run as well")))
    }
}
