//! A workflow compiled for execution: names become dense numbers, policies are merged, agents are looked up.
//!
//! A [`Plan`] is made once and shared by all executions of its workflow. It holds no state. A workflow and the workflows that it
//! runs as steps are its [`Unit`]s; their steps and scopes are numbered through, unit after unit, so that a number names a
//! step of the whole plan.

mod graph;
mod hook;
mod policy;
mod step;

use std::{
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
    time::Duration,
};

use orchestr8_agent_base::{AgentRegistry, SecretString};
use orchestr8_schema::{
    AgentId, StepId, StepIndex, ValidStep, ValidWorkflow,
    id::ToolName,
    policy::{Budget, OnFailure},
    validate::{ScopeIndex, ValidKind},
    workflow::{Step, VersionRange},
};
use serde_json::Value;

use self::step::Shared;
pub use self::{
    graph::{Edge, Graph},
    hook::PlanHook,
    policy::{Bulkhead, CircuitPolicy, Counted, LeafPolicy, RateLimit, SharedKey},
    step::{Leaf, PlanStep},
};
use crate::redact::{Annotations, Redactor};

/// A workflow compiled for execution.
pub struct Plan {
    units: Box<[Unit]>,
    steps: Box<[PlanStep]>,
    scopes: Box<[PlanScope]>,
    graph: Graph,
    hooks: Box<[PlanHook]>,
    limits: Limits,
    agent_versions: Arc<[Arc<str>]>,
    /// What is secret; looked for when somebody first reads what is executed.
    annotations: OnceLock<Annotations>,
    /// The secrets that the workflows name and may ask for.
    secrets: Redactor,
}

/// A workflow of a plan: the one that is executed, or one that it runs as a step.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unit {
    /// The workflow.
    pub workflow: ValidWorkflow,
    first_step: u32,
    first_scope: u32,
    metadata: Value,
    /// Its hooks, by number.
    pub hooks: Range<u32>,
    /// What a fatal failure does to the rest of its steps.
    pub on_failure: OnFailure,
    /// Whether its steps are undone after a failure of the execution.
    pub compensates_failure: bool,
    /// Whether its steps are undone after a cancellation.
    pub compensates_cancellation: bool,
    /// How many attempts of its steps may be in progress at once; absent leaves it to what it runs in.
    pub max_concurrent_steps: Option<u32>,
}

/// A list of steps that run together.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlanScope {
    /// The workflow that it stands in.
    pub unit: usize,
    /// Whether it is the list of a workflow rather than of a composite.
    pub is_root: bool,
    /// The steps in the order of their declaration.
    pub steps: Box<[StepIndex]>,
}

/// What holds for a whole execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest that an execution may take, as the workflow says; absent if it does not say.
    pub timeout: Option<Duration>,
    /// Whether a wait or an approval may take longer than any limit that nobody has set.
    pub waits: bool,
    /// Attempts in progress at most; absent leaves it to the engine.
    pub max_concurrent_steps: Option<u32>,
    /// How long running attempts may take to end.
    pub grace_period: Duration,
    /// Whether running attempts are told of a cancellation.
    pub propagate: bool,
    /// How long a cleanup of an agent may take after an attempt that was told to end.
    pub cleanup: Duration,
    /// How long compensation may take.
    pub compensation: Duration,
    /// What the execution may use up; absent if nothing limits it.
    pub budget: Option<BudgetLimits>,
}

/// What an execution may use up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetLimits {
    /// Tokens of models.
    pub tokens: Option<u64>,
    /// Billionths of a US dollar.
    pub cost: Option<u64>,
    /// Activations of steps that call something.
    pub steps: Option<u64>,
    /// Time from the start.
    pub duration: Option<Duration>,
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
    /// No tool of that name is registered.
    #[error("step `{step}` calls the tool `{tool}`, which is not registered")]
    UnknownTool {
        /// The step.
        step: StepId,
        /// The tool that it calls.
        tool: ToolName,
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
    /// A hook cannot be called as it is written.
    #[error("a hook of {place}: {message}")]
    Hook {
        /// Whose hook it is.
        place: String,
        /// What is wrong.
        message: String,
    },
}

impl Plan {
    /// How many different policies back a step looks for one to share.
    pub(crate) const SHARED: usize = 16;

    /// Compiles a workflow with the agents that it calls.
    ///
    /// # Errors
    ///
    /// [`PlanError`] if an agent is missing, or its configuration does not fit.
    pub fn compile(workflow: &ValidWorkflow, agents: &AgentRegistry) -> Result<Self, PlanError> {
        let mut units = Unit::all_of(workflow);
        let graph = Graph::new(&units);
        let count = units.iter().map(|unit| unit.workflow.steps().len()).sum();
        let mut by_rank: Vec<_> = (0..count).map(|index| StepIndex(index as u32)).collect();
        by_rank.sort_by_key(|&step| (graph.dependencies(step), step));
        let mut ranks = vec![0; count];
        for (rank, step) in by_rank.iter().enumerate() {
            ranks[step.get()] = rank as u32;
        }
        let mut shared = Shared::default();
        let mut steps = Vec::with_capacity(count);
        let mut scopes = Vec::new();
        let mut hooks = Vec::new();
        for unit in &mut units {
            let place = || format!("workflow `{}`", unit.workflow.id());
            unit.hooks = hook::compile(unit.workflow.hooks(), &unit.workflow, place, agents, &mut hooks)?;
        }
        for (number, unit) in units.iter().enumerate() {
            scopes.extend(unit.workflow.scopes().iter().map(|scope| PlanScope {
                unit: number,
                is_root: scope.parent.is_none(),
                steps: scope.steps.iter().map(|&step| unit.global(step)).collect(),
            }));
            for local in (0..unit.workflow.steps().len()).map(|index| StepIndex(index as u32)) {
                let rank = ranks[unit.global(local).get()];
                let mut step = PlanStep::compile(&units, number, local, rank, agents, &mut shared)?;
                let place = || format!("step `{}`", step.id);
                let own = &unit.workflow.step(local).hooks;
                step.hooks = hook::compile(own, &unit.workflow, place, agents, &mut hooks)?;
                steps.push(step);
            }
            step::place(unit, &mut steps);
        }
        let version = |step: &PlanStep| step.leaf.as_ref().map_or_else(Arc::default, |leaf| Arc::clone(&leaf.version));
        let agent_versions = steps.iter().map(version).collect();
        Ok(Self {
            limits: Limits::new(&units),
            units,
            steps: steps.into(),
            scopes: scopes.into(),
            graph,
            hooks: hooks.into(),
            agent_versions,
            annotations: OnceLock::new(),
            secrets: Redactor::default(),
        })
    }

    /// Returns the workflow that the plan was compiled from.
    #[must_use]
    pub fn workflow(&self) -> &ValidWorkflow {
        &self.units[0].workflow
    }

    /// Returns the workflow and those that it runs as steps.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Returns all steps: those of the workflow in the order of declaration, inner ones behind the composite that holds them,
    /// then those of the workflows that it runs.
    #[must_use]
    pub fn steps(&self) -> &[PlanStep] {
        &self.steps
    }

    /// Returns all scopes; that of the workflow itself is the first.
    #[must_use]
    pub fn scopes(&self) -> &[PlanScope] {
        &self.scopes
    }

    /// Returns what the verifier made of a step: its templates, conditions and schemas.
    #[must_use]
    pub fn valid_step(&self, step: StepIndex) -> &ValidStep {
        let unit = self.unit_of(step);
        &unit.workflow.steps()[(step.0 - unit.first_step) as usize]
    }

    /// Returns a step as its author wrote it.
    #[must_use]
    pub fn declaration(&self, step: StepIndex) -> &Step {
        let unit = self.unit_of(step);
        unit.workflow.declaration(StepIndex(step.0 - unit.first_step))
    }

    /// Returns the workflow that a step stands in.
    #[must_use]
    pub fn unit_of(&self, step: StepIndex) -> &Unit {
        &self.units[self.steps[step.get()].unit]
    }

    /// Returns the scopes that a step may open: none of a step that is no composite.
    #[must_use]
    pub fn scopes_inside(&self, step: StepIndex) -> Vec<ScopeIndex> {
        let own = |scope: ScopeIndex| self.unit_of(step).global_scope(scope);
        match &self.valid_step(step).kind {
            ValidKind::Parallel(parallel) => vec![own(parallel.scope)],
            ValidKind::Branch(branch) => {
                branch.cases.iter().map(|case| case.scope).chain(branch.default).map(own).collect()
            }
            ValidKind::Map(map) => vec![own(map.scope)],
            ValidKind::Loop(looped) => vec![own(looped.scope)],
            _ => self.steps[step.get()].child.into_iter().collect(),
        }
    }

    /// Returns the edges between steps.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the hooks of the workflows, then those of the steps.
    #[must_use]
    pub fn hooks(&self) -> &[PlanHook] {
        &self.hooks
    }

    /// Returns what holds for a whole execution.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the versions of the agents that the steps were resolved to, by step; empty for steps that call none.
    #[must_use]
    pub fn agent_versions(&self) -> &Arc<[Arc<str>]> {
        &self.agent_versions
    }

    /// Has the texts of secrets hidden that its executions may be given. Those that are found later are hidden once they are given out.
    pub(crate) fn hiding<'s>(mut self, secrets: impl IntoIterator<Item = &'s SecretString>) -> Self {
        secrets.into_iter().for_each(|secret| self.secrets.learn_secret(secret.expose()));
        self
    }

    /// Returns what is hidden of all of its executions, before anything is known of one.
    pub(crate) fn secrets(&self) -> &Redactor {
        &self.secrets
    }

    /// Lists the references of secrets that its workflows name.
    pub(crate) fn secret_refs(&self) -> impl Iterator<Item = &str> {
        let named = self.units.iter().flat_map(|unit| &unit.workflow.workflow().context.secret_refs);
        named.map(String::as_str)
    }

    pub(crate) fn annotations(&self) -> &Annotations {
        self.annotations.get_or_init(|| Annotations::of(self))
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("workflow", &self.workflow().id())
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

impl Unit {
    /// Finds the workflow and all that it runs, each once.
    fn all_of(workflow: &ValidWorkflow) -> Box<[Self]> {
        let mut units = vec![Self::new(workflow, 0, 0)];
        let mut next = 0;
        while let Some(unit) = units.get(next) {
            next += 1;
            let children: Vec<_> = unit
                .workflow
                .steps()
                .iter()
                .filter_map(|step| match &step.kind {
                    ValidKind::Workflow(child) => Some(child.clone()),
                    _ => None,
                })
                .collect();
            for child in children {
                if units.iter().all(|unit| !unit.workflow.is_same(&child)) {
                    let (mut first_step, mut first_scope) = (0, 0);
                    if let Some(last) = units.last() {
                        first_step = last.first_step + last.workflow.steps().len() as u32;
                        first_scope = last.first_scope + last.workflow.scopes().len() as u32;
                    }
                    units.push(Self::new(&child, first_step, first_scope));
                }
            }
        }
        units.into()
    }

    fn new(workflow: &ValidWorkflow, first_step: u32, first_scope: u32) -> Self {
        let declared = workflow.workflow();
        let compensation = declared.policies.compensation.clone().unwrap_or_default();
        Self {
            workflow: workflow.clone(),
            first_step,
            first_scope,
            metadata: serde_json::to_value(&declared.metadata).unwrap_or_default(),
            hooks: 0..0,
            on_failure: declared.policies.on_failure.unwrap_or_default(),
            compensates_failure: compensation.on_failure.unwrap_or(true),
            compensates_cancellation: compensation.on_cancel.unwrap_or(true),
            max_concurrent_steps: declared.policies.concurrency.as_ref().and_then(|policy| policy.max_concurrent_steps),
        }
    }

    /// Returns the number that a step of this workflow has in the plan.
    #[must_use]
    pub fn global(&self, step: StepIndex) -> StepIndex {
        StepIndex(self.first_step + step.0)
    }

    /// Returns the number that a scope of this workflow has in the plan.
    #[must_use]
    pub fn global_scope(&self, scope: ScopeIndex) -> ScopeIndex {
        ScopeIndex(self.first_scope + scope.0)
    }

    /// Returns the workflow's metadata, as expressions see it.
    #[must_use]
    pub fn metadata(&self) -> &Value {
        &self.metadata
    }
}

impl From<&Budget> for BudgetLimits {
    fn from(budget: &Budget) -> Self {
        Self {
            tokens: budget.max_tokens,
            cost: budget.max_cost_usd.map(crate::machine::budget::nanos),
            steps: budget.max_steps,
            duration: budget.max_duration.map(orchestr8_schema::Millis::as_duration),
        }
    }
}

impl Limits {
    fn new(units: &[Unit]) -> Self {
        use orchestr8_schema::policy::{CancellationPolicy, CompensationPolicy, ConcurrencyPolicy};

        let policies = &units[0].workflow.workflow().policies;
        let cancellation = policies.cancellation.clone().unwrap_or_default();
        let concurrency = policies.concurrency.clone().unwrap_or_default();
        let compensation = policies.compensation.as_ref().and_then(|compensation| compensation.timeout);
        let asked = policies.timeout.as_ref().and_then(|timeout| timeout.global);
        let waits = units
            .iter()
            .flat_map(|unit| unit.workflow.steps())
            .any(|step| matches!(step.kind, ValidKind::Wait(_) | ValidKind::Approval(_)));
        Self {
            timeout: asked.map(orchestr8_schema::Millis::as_duration),
            waits,
            max_concurrent_steps: concurrency.max_concurrent_steps,
            grace_period: cancellation.grace_period.unwrap_or(CancellationPolicy::DEFAULT_GRACE_PERIOD).as_duration(),
            propagate: cancellation.propagate.unwrap_or(true),
            budget: policies.budget.as_ref().map(BudgetLimits::from),
            cleanup: concurrency.cleanup_timeout_ms.unwrap_or(ConcurrencyPolicy::DEFAULT_CLEANUP_TIMEOUT).as_duration(),
            compensation: compensation.unwrap_or(CompensationPolicy::DEFAULT_TIMEOUT).as_duration(),
        }
    }
}
