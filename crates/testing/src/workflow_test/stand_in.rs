//! Agents and tools that ask the stage before they answer.

use std::sync::Arc;

use async_trait::async_trait;
use orchestr8_agent_base::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry, Tool,
    registry::RegisteredAgent,
    tool::{RegisteredTool, ToolSpec},
};
use orchestr8_schema::{
    json_schema::{JsonValidator, Violations},
    usage::Estimate,
};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{
    model::asking,
    stage::{Caller, Directed, Stage},
};
use crate::mocks::{Answer, Called, Callees, NoStandIn, error_of, replacement};

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
        all.register(StepStandIn {
            manifest: replacement(number)?,
            called: Called::Replaced(number),
            stage: Arc::clone(stage),
        })?;
    }
    Ok(all)
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
    let fits = |value: &Value| match schema.map(|schema| schema.validate(value)) {
        Some(Err(violations)) => {
            let callee = stage.name(called);
            Err(format!("the answer breaks the output schema of {callee}: {}", Violations(&violations)))
        }
        _ => Ok(()),
    };
    let (result, after) = match stage.answer(called, input, &Caller::of(cx), fits) {
        Directed::Wrong(message) => return Some(Err(AgentError::internal(message))),
        Directed::To(Answer::Real) => return None,
        Directed::To(Answer::Value(value, after)) => (Some(Ok(value)), after),
        Directed::To(Answer::Failure(failure, after)) => (Some(Err(error_of(&failure))), after),
        Directed::To(Answer::Hang) => (None, None),
    };
    let answering = async {
        match result {
            Some(result) => {
                if let Some(after) = after.filter(|after| !after.is_zero()) {
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
            None => asking(cx, self.real.agent().execute(input, cx, cancel)).await,
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
            None => asking(cx, self.real.tool().call(arguments, cx, cancel)).await,
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
