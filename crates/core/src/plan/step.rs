//! What a plan knows of one step.

use std::{ops::Range, sync::Arc, time::Duration};

use orchestr8_agent_base::{AgentRegistry, Callee, context::StepIdentity};
use orchestr8_schema::{
    StepId, StepIndex, StepPath,
    id::ToolName,
    policy::OnError,
    validate::{ScopeIndex, ValidKind},
    workflow::{AgentCall, Call, StepKind},
};
use serde_json::{Map, Value};

use super::{LeafPolicy, Plan, PlanError, Unit, policy::Asked};

/// What a plan knows of one step.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlanStep {
    /// The step's id.
    pub id: StepId,
    /// Its identity as agents see it, of steps whose place is always the same: those of the workflow's own list.
    pub identity: Option<Arc<StepIdentity>>,
    /// The workflow that it stands in, by number.
    pub unit: usize,
    /// The list that it stands in.
    pub scope: ScopeIndex,
    /// Its place in that list.
    pub position: u32,
    /// Its place in the order in which ready steps are scheduled: number of dependencies, then declaration index.
    pub rank: u32,
    /// What its final failure means.
    pub on_error: OnError,
    /// How long the whole step may take, all attempts and waits included.
    pub deadline: Option<Duration>,
    /// The step that stands in when this one fails.
    pub fallback: Option<StepIndex>,
    /// The step that this one stands in for.
    pub serves: Option<StepIndex>,
    /// Whether a parallel group joins it.
    pub is_joined: bool,
    /// How it is called; absent for steps that call nothing.
    pub leaf: Option<Leaf>,
    /// How its effect is undone; absent if it need not be.
    pub compensation: Option<Box<Leaf>>,
    /// Its hooks, by number.
    pub hooks: Range<u32>,
    /// The list of steps of the workflow that it runs.
    pub child: Option<ScopeIndex>,
}

/// How an agent or a tool is called: that of a leaf step, or one that undoes it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Leaf {
    /// The agent or tool.
    pub callee: Arc<Callee>,
    /// The agent's version; empty for a tool.
    pub version: Arc<str>,
    /// The agent's merged configuration; empty for a tool.
    pub config: Arc<Map<String, Value>>,
    /// How its calls are made; shared by steps that are called alike.
    pub policy: Arc<LeafPolicy>,
}

impl PlanStep {
    /// Compiles a step but for its place in its scope, which [`place`] fills in.
    pub(super) fn compile(
        units: &[Unit],
        number: usize,
        local: StepIndex,
        rank: u32,
        agents: &AgentRegistry,
        shared: &mut Shared,
    ) -> Result<Self, PlanError> {
        let unit = &units[number];
        let valid = unit.workflow.step(local);
        let step = unit.workflow.declaration(local);
        let asked = Asked::of_step(step, &unit.workflow);
        let leaf = match &step.kind {
            StepKind::Agent(agent) => Some(Leaf::of_agent(&asked, &agent.agent, unit, agents, shared)?),
            StepKind::Tool(tool) => Some(Leaf::of_tool(&asked, &tool.name, unit, agents, shared)?),
            _ => None,
        };
        let compensation = match &valid.compensate {
            Some(compensation) => {
                let asked = Asked::of_compensation(step, compensation, &unit.workflow);
                Some(Box::new(match &compensation.call {
                    Call::Agent(agent) => Leaf::of_agent(&asked, agent, unit, agents, shared)?,
                    Call::Tool(tool) => Leaf::of_tool(&asked, &tool.name, unit, agents, shared)?,
                }))
            }
            None => None,
        };
        let child = match &valid.kind {
            ValidKind::Workflow(child) => {
                units.iter().find(|unit| unit.workflow.is_same(child)).map(|unit| unit.global_scope(ScopeIndex::ROOT))
            }
            _ => None,
        };
        let is_fixed = number == 0 && valid.scope == ScopeIndex::ROOT;
        let identity = || Arc::new(StepIdentity::new(step.id.clone(), StepPath::from(&step.id), 0));
        Ok(Self {
            id: step.id.clone(),
            identity: is_fixed.then(identity),
            unit: number,
            scope: unit.global_scope(valid.scope),
            position: 0,
            rank,
            on_error: step.on_error,
            deadline: step.policies.deadline.map(orchestr8_schema::Millis::as_duration),
            fallback: valid.fallback.map(|step| unit.global(step)),
            serves: valid.serves.map(|step| unit.global(step)),
            is_joined: false,
            leaf,
            compensation,
            hooks: 0..0,
            child,
        })
    }
}

impl Leaf {
    fn of_agent(
        asked: &Asked<'_>,
        call: &AgentCall,
        unit: &Unit,
        agents: &AgentRegistry,
        shared: &mut Shared,
    ) -> Result<Self, PlanError> {
        let Some(agent) = agents.get(&call.id, &call.version) else {
            let (step, agent) = (asked.step.clone(), call.id.clone());
            let registered: Vec<_> = agents.versions(&agent).map(ToString::to_string).collect();
            return Err(if registered.is_empty() {
                PlanError::UnknownAgent { step, agent }
            } else {
                PlanError::NoVersion { step, agent, range: call.version.clone(), registered: registered.join(", ") }
            });
        };
        let config = agent
            .configure(call.config.as_ref())
            .map_err(|error| PlanError::Config { step: asked.step.clone(), message: error.to_string() })?;
        let version = agent.manifest().version.to_string();
        Self::new(asked, agent.callee(), version.into(), config, unit, shared)
    }

    fn of_tool(
        asked: &Asked<'_>,
        name: &ToolName,
        unit: &Unit,
        agents: &AgentRegistry,
        shared: &mut Shared,
    ) -> Result<Self, PlanError> {
        let Some(tool) = agents.tools().get(name) else {
            return Err(PlanError::UnknownTool { step: asked.step.clone(), tool: name.clone() });
        };
        Self::new(asked, tool.callee(), Arc::default(), Map::new(), unit, shared)
    }

    fn new(
        asked: &Asked<'_>,
        callee: &Arc<Callee>,
        version: Arc<str>,
        config: Map<String, Value>,
        unit: &Unit,
        shared: &mut Shared,
    ) -> Result<Self, PlanError> {
        let policy = LeafPolicy::resolve(asked, &unit.workflow, callee);
        Ok(Self {
            callee: Arc::clone(callee),
            version,
            config: share(&mut shared.configs, config),
            policy: share(&mut shared.policies, policy),
        })
    }
}

/// Fills in the places of a workflow's steps in their scopes.
pub(super) fn place(unit: &Unit, steps: &mut [PlanStep]) {
    for scope in unit.workflow.scopes() {
        for (position, &step) in scope.steps.iter().enumerate() {
            steps[unit.global(step).get()].position = position as u32;
        }
    }
    for step in unit.workflow.steps() {
        if let ValidKind::Parallel(parallel) = &step.kind {
            for &joined in &parallel.joined {
                steps[unit.global(joined).get()].is_joined = true;
            }
        }
    }
}

/// What steps have in common, so that the many steps of a large workflow are near each other in memory.
#[derive(Default)]
pub(super) struct Shared {
    policies: Vec<Arc<LeafPolicy>>,
    configs: Vec<Arc<Map<String, Value>>>,
}

/// Finds an equal value among the latest ones, or adds this one to them.
fn share<T: PartialEq>(values: &mut Vec<Arc<T>>, value: T) -> Arc<T> {
    if let Some(found) = values.iter().rev().take(Plan::SHARED).find(|found| ***found == value) {
        return Arc::clone(found);
    }
    let value = Arc::new(value);
    values.push(Arc::clone(&value));
    value
}
