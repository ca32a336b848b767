//! A workflow compiled for execution: names become dense numbers, policies are merged, agents are looked up.
//!
//! A [`Plan`] is made once and shared by all executions of its workflow. It holds no state.

mod graph;
mod policy;

use std::{fmt, sync::Arc, time::Duration};

use orchestr8_agent_base::{AgentRegistry, context::StepIdentity, registry::RegisteredAgent};
use orchestr8_schema::{
    AgentId, StepId, StepIndex, StepPath, ValidStep, ValidWorkflow,
    policy::{OnError, OnFailure},
    workflow::{AgentStep, Step, StepHooks, StepKind, VersionRange},
};
use serde_json::{Map, Value};

pub use self::{
    graph::{Edge, Graph},
    policy::{CircuitKey, CircuitPolicy, LeafPolicy},
};

/// A workflow compiled for execution.
pub struct Plan {
    workflow: ValidWorkflow,
    steps: Box<[PlanStep]>,
    graph: Graph,
    /// The step that stands at each rank.
    by_rank: Box<[StepIndex]>,
    limits: Limits,
    /// What the root `metadata` shows.
    metadata: Value,
    agent_versions: Arc<[Arc<str>]>,
}

/// What a plan knows of one step.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlanStep {
    /// The agent that the step calls.
    pub agent: Arc<RegisteredAgent>,
    /// The agent's merged configuration.
    pub config: Arc<Map<String, Value>>,
    /// The step's identity, as its agent sees it.
    pub identity: Arc<StepIdentity>,
    /// How its calls are made; shared by steps that are called alike.
    pub policy: Arc<LeafPolicy>,
    /// What its final failure means.
    pub on_error: OnError,
    /// The place in the order in which ready steps are scheduled: number of dependencies, then declaration index.
    pub rank: u32,
}

/// What holds for a whole execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest that an execution may take.
    pub timeout: Duration,
    /// Attempts in progress at most; absent leaves it to the engine.
    pub max_concurrent_steps: Option<u32>,
    /// How long running attempts may take to end.
    pub grace_period: Duration,
    /// Whether running attempts are told of a cancellation.
    pub propagate: bool,
    /// What a fatal failure does to the rest.
    pub on_failure: OnFailure,
}

/// The error of a workflow that this engine cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No agent of that id is registered.
    #[error("step `{step}` calls {agent}, which is not registered")]
    UnknownAgent {
        /// The step.
        step: StepId,
        /// The agent that it calls.
        agent: AgentId,
    },
    /// An agent of that id is registered, but in no version that will do.
    #[error("step `{step}` calls {agent} in version {range}; registered: {registered}")]
    NoVersion {
        /// The step.
        step: StepId,
        /// The agent that it calls.
        agent: AgentId,
        /// The versions that would do.
        range: VersionRange,
        /// The versions there are.
        registered: String,
    },
    /// The agent's configuration breaks its schema.
    #[error("step `{step}`: {message}")]
    Config {
        /// The step.
        step: StepId,
        /// What is wrong.
        message: String,
    },
    /// The policies of a step contradict each other.
    #[error("step `{step}`: {message}")]
    Policy {
        /// The step.
        step: StepId,
        /// What is wrong.
        message: String,
    },
    /// The workflow asks for something that this version of the engine does not do.
    #[error("{place} uses `{what}`, which this version does not run")]
    Unsupported {
        /// The step, `policies`, or the workflow.
        place: String,
        /// What it uses.
        what: &'static str,
    },
}

impl Plan {
    /// How many different policies back a step looks for one to share.
    pub(crate) const SHARED: usize = 16;

    /// Compiles a workflow with the agents that it calls.
    ///
    /// # Errors
    ///
    /// [`PlanError`] if an agent is missing, its configuration does not fit, or the workflow asks for something that this
    /// version does not do.
    pub fn compile(workflow: &ValidWorkflow, agents: &AgentRegistry) -> Result<Self, PlanError> {
        let policies = &workflow.workflow().policies;
        if policies.budget.is_some() {
            return Err(PlanError::Unsupported { place: "policies".into(), what: "budget" });
        }
        if !workflow.hooks().is_empty() {
            return Err(PlanError::Unsupported { place: "the workflow".into(), what: "hooks" });
        }
        let valid = workflow.steps();
        let graph = Graph::new(valid);
        let mut by_rank: Vec<_> = (0..valid.len()).map(|index| StepIndex(index as u32)).collect();
        by_rank.sort_by_key(|&step| (graph.dependencies(step), step));
        let mut ranks = vec![0; valid.len()];
        for (rank, step) in by_rank.iter().enumerate() {
            ranks[step.get()] = rank as u32;
        }
        let mut shared = Shared::default();
        let steps = workflow
            .workflow()
            .steps
            .iter()
            .zip(ranks)
            .map(|(step, rank)| PlanStep::compile(step, rank, workflow, agents, &mut shared))
            .collect::<Result<Box<[_]>, _>>()?;
        let agent_versions =
            steps.iter().map(|step: &PlanStep| step.agent.manifest().version.to_string().into()).collect();
        let metadata = serde_json::to_value(&workflow.workflow().metadata).unwrap_or_default();
        Ok(Self {
            workflow: workflow.clone(),
            steps,
            graph,
            by_rank: by_rank.into(),
            limits: Limits::new(workflow),
            metadata,
            agent_versions,
        })
    }

    /// Returns the workflow that the plan was compiled from.
    #[must_use]
    pub fn workflow(&self) -> &ValidWorkflow {
        &self.workflow
    }

    /// Returns all steps in the order of declaration.
    #[must_use]
    pub fn steps(&self) -> &[PlanStep] {
        &self.steps
    }

    /// Returns what the verifier made of a step: its templates, conditions and schemas.
    #[must_use]
    pub fn valid_step(&self, step: StepIndex) -> &ValidStep {
        &self.workflow.steps()[step.get()]
    }

    /// Returns the edges between steps.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the step that stands at a rank.
    #[must_use]
    pub fn at_rank(&self, rank: u32) -> StepIndex {
        self.by_rank[rank as usize]
    }

    /// Returns the workflow's metadata, as expressions see it.
    #[must_use]
    pub fn metadata(&self) -> &Value {
        &self.metadata
    }

    /// Returns what holds for a whole execution.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the versions of the agents that the steps were resolved to.
    #[must_use]
    pub fn agent_versions(&self) -> &Arc<[Arc<str>]> {
        &self.agent_versions
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("workflow", &self.workflow.id())
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

impl PlanStep {
    fn compile(
        step: &Step,
        rank: u32,
        workflow: &ValidWorkflow,
        agents: &AgentRegistry,
        shared: &mut Shared,
    ) -> Result<Self, PlanError> {
        let StepKind::Agent(AgentStep { agent: call, .. }) = &step.kind else {
            return Err(PlanError::Unsupported { place: format!("step `{}`", step.id), what: step.kind.key() });
        };
        let unsupported = |what| PlanError::Unsupported { place: format!("step `{}`", step.id), what };
        if step.hooks != StepHooks::default() {
            return Err(unsupported("hooks"));
        }
        if step.compensate.is_some() {
            return Err(unsupported("compensate"));
        }
        let Some(agent) = agents.get(&call.id, &call.version) else {
            let (step, agent) = (step.id.clone(), call.id.clone());
            let registered: Vec<_> = agents.versions(&agent).map(ToString::to_string).collect();
            return Err(if registered.is_empty() {
                PlanError::UnknownAgent { step, agent }
            } else {
                PlanError::NoVersion { step, agent, range: call.version.clone(), registered: registered.join(", ") }
            });
        };
        let config = agent
            .configure(call.config.as_ref())
            .map_err(|error| PlanError::Config { step: step.id.clone(), message: error.to_string() })?;
        if step.on_error == OnError::Fallback {
            return Err(unsupported("onError: fallback"));
        }
        Ok(Self {
            agent: Arc::clone(agent),
            config: share(&mut shared.configs, config),
            identity: Arc::new(StepIdentity::new(step.id.clone(), StepPath::from(&step.id), 0)),
            policy: share(&mut shared.policies, LeafPolicy::resolve(step, workflow, agent.manifest())?),
            on_error: step.on_error,
            rank,
        })
    }
}

/// What steps have in common, so that the many steps of a large workflow are near each other in memory.
#[derive(Default)]
struct Shared {
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

impl Limits {
    fn new(workflow: &ValidWorkflow) -> Self {
        use orchestr8_schema::policy::{CancellationPolicy, WorkflowTimeout};

        let policies = &workflow.workflow().policies;
        let cancellation = policies.cancellation.clone().unwrap_or_default();
        Self {
            timeout: policies
                .timeout
                .as_ref()
                .and_then(|timeout| timeout.global)
                .unwrap_or(WorkflowTimeout::DEFAULT_GLOBAL)
                .as_duration(),
            max_concurrent_steps: policies
                .concurrency
                .as_ref()
                .and_then(|concurrency| concurrency.max_concurrent_steps),
            grace_period: cancellation.grace_period.unwrap_or(CancellationPolicy::DEFAULT_GRACE_PERIOD).as_duration(),
            propagate: cancellation.propagate.unwrap_or(true),
            on_failure: policies.on_failure.unwrap_or_default(),
        }
    }
}
