//! What may be said when an execution is started.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orchestr8_agent_base::Clock;
use orchestr8_schema::{
    CorrelationId, ExecutionId, IdempotencyKey, StepPath, ValidWorkflow,
    event::{ForkedFrom, Queued, Retained},
    json_schema::{Violation, Violations},
    policy::Budget,
};
use serde_json::{Map, Value};

use crate::{
    clock,
    execution::ExecutionHandle,
    hook::EngineHooks,
    plan::{Plan, PlanError},
    store::StoreError,
};

/// A request to start an execution.
///
/// ```
/// use std::time::Duration;
///
/// use orchestr8_core::engine::StartRequest;
/// # use orchestr8_core::schema::ValidWorkflow;
/// # fn request(workflow: &ValidWorkflow) -> Result<StartRequest, Box<dyn std::error::Error>> {
/// let request = StartRequest::new(workflow, serde_json::json!({ "name": "Ada" }))
///     .correlation_id("order-4711".parse()?)
///     .timeout(Duration::from_secs(10));
/// # Ok(request)
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct StartRequest {
    pub(super) workflow: ValidWorkflow,
    input: Value,
    correlation_id: Option<CorrelationId>,
    variables: Map<String, Value>,
    env: Map<String, Value>,
    timeout: Option<Duration>,
    pub(super) default_timeout: Option<Duration>,
    pub(super) max_events: Option<u64>,
    max_concurrent_steps: Option<u32>,
    budget: Option<Budget>,
    idempotency: Option<NamedRequest>,
    origin: Option<(ForkedFrom, Arc<BTreeMap<StepPath, Retained>>)>,
}

/// An idempotency key, and the digest of what is asked for under it.
pub(super) type NamedRequest = (IdempotencyKey, String);

/// An execution that was started, or found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Submission {
    /// The execution.
    pub handle: ExecutionHandle,
    /// Whether the request's idempotency key stood for an execution already, so that none was started.
    pub replayed: bool,
}

/// Why an execution was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This engine cannot run the workflow.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The input breaks the workflow's schema.
    #[error("the input does not fit the workflow's `inputs`: {}", Violations(.0))]
    Input(Vec<Violation>),
    /// The idempotency key stands for another request.
    #[error("the idempotency key `{key}` was used with another request")]
    IdempotencyConflict {
        /// The key.
        key: IdempotencyKey,
    },
    /// The engine takes no more executions.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// The store failed.
    #[error("storing the execution")]
    Store(#[from] StoreError),
}

impl StartRequest {
    /// Makes a request that says what to run on what input.
    pub fn new(workflow: &ValidWorkflow, input: Value) -> Self {
        Self {
            workflow: workflow.clone(),
            input,
            correlation_id: None,
            variables: Map::new(),
            env: Map::new(),
            timeout: None,
            default_timeout: None,
            max_events: None,
            max_concurrent_steps: None,
            budget: None,
            idempotency: None,
            origin: None,
        }
    }

    /// Sets what ties the execution to its cause; default a fresh id.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Overrides variables of the workflow by name.
    pub fn variables(mut self, variables: Map<String, Value>) -> Self {
        self.variables = variables;
        self
    }

    /// Gives values of process variables. Only names in the workflow's `allowedEnvVars` count; what the workflow declares under
    /// `context.environment` goes before.
    pub fn env<K: Into<String>, V: Into<String>>(mut self, env: impl IntoIterator<Item = (K, V)>) -> Self {
        self.env = env.into_iter().map(|(name, value)| (name.into(), Value::String(value.into()))).collect();
        self
    }

    /// Limits the whole execution; it may only be tighter than what the workflow says.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Limits how many of its steps run at the same time; it may only be tighter than what workflow and engine say, and is at least 1.
    pub fn max_concurrent_steps(mut self, count: u32) -> Self {
        self.max_concurrent_steps = Some(count.max(1));
        self
    }

    /// Limits what the whole execution may use up; of each limit the tighter one holds, this or the workflow's.
    ///
    /// ```
    /// # use orchestr8_core::{StartRequest, schema::policy::Budget};
    /// # fn limited(request: StartRequest) -> StartRequest {
    /// let mut budget = Budget::default();
    /// budget.max_cost_usd = Some(0.50);
    /// request.budget(budget)
    /// # }
    /// ```
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget).filter(|budget| *budget != Budget::default());
        self
    }

    /// Names the request, so that it can be repeated without starting a second execution. The digest stands for what is asked
    /// for: the same key with another digest is a conflict.
    pub fn idempotency(mut self, key: IdempotencyKey, digest: impl Into<String>) -> Self {
        self.idempotency = Some((key, digest.into()));
        self
    }

    /// Makes it a fork, which may take these results over.
    pub(super) fn forked(mut self, from: ForkedFrom, retained: BTreeMap<StepPath, Retained>) -> Self {
        self.origin = Some((from, Arc::new(retained)));
        self
    }

    pub(super) fn into_queued(
        self,
        id: ExecutionId,
        plan: &Plan,
        hooks: &EngineHooks,
        clock: &dyn Clock,
    ) -> Result<(Arc<Queued>, Option<NamedRequest>), StartError> {
        let declared = self.workflow.workflow();
        let input = self.workflow.check_input(self.input).map_err(StartError::Input)?;

        let mut variables = declared.context.variables.clone();
        if let (None, Value::Object(input)) = (self.workflow.inputs(), &input) {
            let named = input.iter().filter(|(name, _)| declared.context.variables.contains_key(*name));
            variables.extend(named.map(|(name, value)| (name.clone(), value.clone())));
        }
        variables.extend(self.variables);

        let mut env = self.env;
        env.retain(|name, _| declared.allowed_env_vars.contains(name));
        let environment = declared.context.environment.iter();
        env.extend(environment.map(|(name, value)| (name.clone(), Value::String(value.clone()))));

        let mut queued = Queued::new(
            id,
            self.correlation_id.unwrap_or_else(|| clock::correlation_id(clock)),
            self.workflow,
            Arc::clone(plan.agent_versions()),
            Arc::new(input),
            Arc::new(Value::Object(variables)),
            Arc::new(Value::Object(env)),
        );
        queued.hooks = Arc::clone(&hooks.records);
        (queued.timeout, queued.default_timeout) = (self.timeout, self.default_timeout);
        (queued.max_concurrent_steps, queued.budget) = (self.max_concurrent_steps, self.budget);
        queued.max_events = self.max_events;
        if let Some((from, retained)) = self.origin {
            (queued.forked_from, queued.retained) = (Some(from), Some(retained));
        }
        queued.idempotency_key = self.idempotency.as_ref().map(|(key, _)| key.clone());
        Ok((Arc::new(queued), self.idempotency))
    }
}
