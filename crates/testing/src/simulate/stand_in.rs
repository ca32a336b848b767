//! What stands in for agents and tools: same manifest, same schemas, answers by chance.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use orchestr8_agent_base::{
    Agent, AgentContext, AgentError, AgentManifest, AgentRegistry, Tool,
    registry::RegisteredAgent,
    tool::{RegisteredTool, ToolSpec},
};
use orchestr8_schema::{json_schema::JsonValidator, usage::Estimate};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{
    NotSimulable,
    referee::CallEnd,
    world::{Ending, World},
};
use crate::mocks::{Called, Mocks, replacement};

/// Where stand-ins find the world that they act in at present.
#[derive(Debug, Default)]
pub(super) struct Stage {
    world: Mutex<Option<Arc<World>>>,
}

impl Stage {
    pub(super) fn set(&self, world: &Arc<World>) {
        *self.world.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(world));
    }

    fn world(&self) -> Option<Arc<World>> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes a registry in which everything is a stand-in.
pub(super) fn all_of(agents: &AgentRegistry, stage: &Arc<Stage>, mocks: &Mocks) -> Result<AgentRegistry, NotSimulable> {
    let replaced = (0..mocks.replaced.len()).map(|number| Some((replacement(number).ok()?.id, number)));
    let replaced: HashMap<_, _> = replaced.flatten().collect();
    let mut all = AgentRegistry::new();
    for agent in agents.list() {
        let id = &agent.manifest().id;
        let called = replaced.get(id).map_or_else(|| Called::Agent(id.to_string()), |number| Called::Replaced(*number));
        let actor = Actor { called, real: Real::Agent(Arc::clone(agent)), stage: Arc::clone(stage) };
        all.register(AgentStandIn { manifest: agent.manifest().clone(), actor })?;
    }
    for tool in agents.tools().list() {
        let called = Called::Tool(tool.spec().name.to_string());
        let actor = Actor { called, real: Real::Tool(Arc::clone(tool)), stage: Arc::clone(stage) };
        all.tools_mut().register(ToolStandIn { spec: tool.spec().clone(), actor })?;
    }
    Ok(all)
}

/// What is stood in for.
#[derive(Debug)]
pub(super) enum Real {
    Agent(Arc<RegisteredAgent>),
    Tool(Arc<RegisteredTool>),
}

impl Real {
    pub(super) fn target(&self, input: &Value) -> Option<String> {
        match self {
            Self::Agent(agent) => agent.agent().target(input),
            Self::Tool(tool) => tool.callee().target(input),
        }
    }

    pub(super) fn output_schema(&self) -> Option<&JsonValidator> {
        match self {
            Self::Agent(agent) => agent.output_schema(),
            Self::Tool(tool) => tool.callee().output_schema(),
        }
    }

    /// What a call may use up, as it says.
    fn estimate(&self, input: &Value, config: &Map<String, Value>) -> Estimate {
        match self {
            Self::Agent(agent) => agent.agent().estimate(input, config),
            Self::Tool(_) => Estimate::default(),
        }
    }

    /// Whether its effect can neither be undone nor repeated without a second one.
    pub(super) fn acts_once(&self) -> bool {
        match self {
            Self::Agent(agent) => agent.manifest().irreversible && !agent.manifest().idempotent,
            Self::Tool(tool) => tool.spec().destructive && !tool.spec().idempotent,
        }
    }
}

/// Stands in for an agent.
struct AgentStandIn {
    manifest: AgentManifest,
    actor: Actor,
}

/// Stands in for a tool.
struct ToolStandIn {
    spec: ToolSpec,
    actor: Actor,
}

/// Does in a call what the world decides.
struct Actor {
    called: Called,
    real: Real,
    stage: Arc<Stage>,
}

/// Tells the world of a call's end, even if its future is dropped.
struct Told {
    world: Arc<World>,
    call: usize,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.world.answered(self.call, CallEnd::Dropped, None);
    }
}

impl Actor {
    async fn act(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        let Some(world) = self.stage.world() else {
            return Err(AgentError::internal("nothing is being simulated"));
        };
        let act = world.called((&self.called, &self.real), input, cx);
        let heeds = !matches!(act.ending, Ending::Never) && world.heeds(act.call);
        let told = Told { world: Arc::clone(&world), call: act.call };
        let acting = async {
            if !act.delay.is_zero() {
                tokio::time::sleep(act.delay).await;
            }
            match act.ending {
                Ending::Answer(value) => Ok(value),
                Ending::Fail(error) => Err(error),
                Ending::WhenTold => {
                    cancel.cancelled().await;
                    Err(AgentError::cancelled("the token fired"))
                }
                Ending::Never => std::future::pending().await,
            }
        };
        // Whoever does not heed its token is told all the same.
        let told_to_end = async {
            cancel.cancelled().await;
            world.told_to_end(told.call);
            match heeds {
                true => Err(AgentError::cancelled("the token fired")),
                false => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            biased;
            result = told_to_end => result,
            result = acting => result,
        };
        if let Some(usage) = world.usage(cx) {
            cx.usage(usage);
        }
        match &result {
            Ok(value) => world.answered(told.call, CallEnd::Succeeded, Some(value.clone())),
            Err(error) => world.answered(told.call, CallEnd::Failed(error.kind(), error.retry_after()), None),
        }
        result
    }
}

#[async_trait]
impl Agent for AgentStandIn {
    fn manifest(&self) -> AgentManifest {
        self.manifest.clone()
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        self.actor.act(input, cx, cancel).await
    }

    fn estimate(&self, input: &Value, config: &Map<String, Value>) -> Estimate {
        self.actor.real.estimate(input, config)
    }

    fn target(&self, input: &Value) -> Option<String> {
        self.actor.real.target(input)
    }
}

#[async_trait]
impl Tool for ToolStandIn {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    async fn call(&self, arguments: &Value, cx: &AgentContext, cancel: CancellationToken) -> Result<Value, AgentError> {
        self.actor.act(arguments, cx, cancel).await
    }

    fn target(&self, arguments: &Value) -> Option<String> {
        self.actor.real.target(arguments)
    }
}
