//! What an agent is told about the call that it serves.

use std::{
    fmt,
    sync::{
        Arc, LazyLock, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use orchestr8_schema::{CorrelationId, ExecutionId, StepId, StepPath, Timestamp, canonical, usage::Usage};
use serde_json::{Map, Value, json};

use crate::Callee;

/// Wall time and chance, the only ones that an agent may use, so that tests can hold the one and repeat the other.
///
/// Durations are not its business: they run on the clock of the tokio runtime.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the wall time.
    fn now(&self) -> Timestamp;

    /// Returns 64 random bits.
    fn random(&self) -> u64;
}

/// The identity of an execution, shared by all calls that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutionIdentity {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The id of its workflow, as its author wrote it.
    pub workflow_id: Arc<str>,
    /// What ties it to the request that caused it.
    pub correlation_id: CorrelationId,
    /// When it started.
    pub started_at: Timestamp,
}

impl ExecutionIdentity {
    /// Puts an identity together.
    #[must_use]
    pub fn new(
        execution_id: ExecutionId,
        workflow_id: impl Into<Arc<str>>,
        correlation_id: CorrelationId,
        started_at: Timestamp,
    ) -> Self {
        Self { execution_id, workflow_id: workflow_id.into(), correlation_id, started_at }
    }
}

/// The identity of a step within its workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepIdentity {
    /// The step's id.
    pub step_id: StepId,
    /// Its place, composites included.
    pub step_path: StepPath,
    /// How often the place was entered before: the iteration in a loop, else 0.
    pub visit: u32,
}

impl StepIdentity {
    /// Puts an identity together.
    #[must_use]
    pub fn new(step_id: StepId, step_path: StepPath, visit: u32) -> Self {
        Self { step_id, step_path, visit }
    }
}

/// Makes the idempotency key of a step whose policies give none: SHA-256, in hex, of `step`, workflow id, execution id, step path and
/// digest of the input (see [`input_digest`]), joined by newlines.
#[must_use]
pub fn structural_key(execution: &ExecutionIdentity, step_path: &StepPath, digest: &str) -> String {
    let ExecutionIdentity { workflow_id, execution_id, .. } = execution;
    canonical::sha256_hex(format!("step\n{workflow_id}\n{execution_id}\n{step_path}\n{digest}").as_bytes())
}

/// Makes the digest of what a step is given: SHA-256, in hex, of the canonical JSON of an agent's input, or of a tool's name and
/// arguments.
#[must_use]
pub fn input_digest(callee: &Callee, input: &Value) -> String {
    if callee.is_tool() {
        canonical::digest(&json!({ "arguments": input, "name": **callee.name() }))
    } else {
        canonical::digest(input)
    }
}

/// Makes the idempotency key of the call that undoes a step, where its policies give none: SHA-256, in hex, of `compensate`, workflow id,
/// execution id and step path, joined by newlines.
#[must_use]
pub fn compensation_key(execution: &ExecutionIdentity, step_path: &StepPath) -> String {
    let ExecutionIdentity { workflow_id, execution_id, .. } = execution;
    canonical::sha256_hex(format!("compensate\n{workflow_id}\n{execution_id}\n{step_path}").as_bytes())
}

/// What an agent is told about the call that it serves. Immutable, and cheap to clone.
///
/// Variables and other steps' results are not in it: an agent depends on nothing else of the execution than its input.
///
/// Tests make one with [`AgentContext::builder`]; engines do the same.
#[derive(Clone, Debug)]
pub struct AgentContext {
    call: Arc<Call>,
    attempt: u32,
    deadline: Option<Timestamp>,
}

/// What all attempts of one step share.
#[derive(Debug)]
struct Call {
    execution: Arc<ExecutionIdentity>,
    step: Arc<StepIdentity>,
    clock: Arc<dyn Clock>,
    /// Absent stands for an empty one, which then needs no memory.
    config: Option<Arc<Map<String, Value>>>,
    input: Arc<Value>,
    idempotency_key: OnceLock<String>,
    usage: Mutex<Option<Usage>>,
    /// Whether the agent's own check of the input has succeeded.
    validated: AtomicBool,
}

impl AgentContext {
    /// Begins a context. The input is needed for the idempotency key, which is made only when somebody asks for it.
    pub fn builder(
        execution: Arc<ExecutionIdentity>,
        step: Arc<StepIdentity>,
        clock: Arc<dyn Clock>,
        input: Arc<Value>,
    ) -> AgentContextBuilder {
        AgentContextBuilder {
            call: Call {
                execution,
                step,
                clock,
                config: None,
                input,
                idempotency_key: OnceLock::new(),
                usage: Mutex::new(None),
                validated: AtomicBool::new(false),
            },
        }
    }

    /// Returns the execution's id.
    #[must_use]
    pub fn execution_id(&self) -> ExecutionId {
        self.call.execution.execution_id
    }

    /// Returns the workflow's id.
    #[must_use]
    pub fn workflow_id(&self) -> &str {
        &self.call.execution.workflow_id
    }

    /// Returns what ties the execution to the request that caused it. Send it to what you call.
    #[must_use]
    pub fn correlation_id(&self) -> &CorrelationId {
        &self.call.execution.correlation_id
    }

    /// Returns the step's id.
    #[must_use]
    pub fn step_id(&self) -> &StepId {
        &self.call.step.step_id
    }

    /// Returns the step's place in the workflow.
    #[must_use]
    pub fn step_path(&self) -> &StepPath {
        &self.call.step.step_path
    }

    /// Returns how often the step's place was entered before.
    #[must_use]
    pub fn visit(&self) -> u32 {
        self.call.step.visit
    }

    /// Returns the number of this attempt, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns when the execution started.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.call.execution.started_at
    }

    /// Returns when this attempt will be given up; absent if nothing limits it.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// Returns the wall time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.call.clock.now()
    }

    /// Returns 64 random bits.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.call.clock.random()
    }

    /// Returns the key under which the effect of this step may be asked for again: the same for all attempts and restarts, and
    /// different for every other step. Send it to what you call.
    ///
    /// It is SHA-256, in hex, of `step`, workflow id, execution id, step path and digest of the input, joined by newlines; or
    /// what the step's policy `idempotencyKey` gives.
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        let Call { execution, step, input, idempotency_key, .. } = &*self.call;
        idempotency_key.get_or_init(|| structural_key(execution, &step.step_path, &canonical::digest(input)))
    }

    /// Returns the agent's configuration: what the step says over what the registration says over the schema's defaults.
    #[must_use]
    pub fn config(&self) -> &Map<String, Value> {
        static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.call.config.as_deref().unwrap_or(&EMPTY)
    }

    /// Returns the input of the call, as the agent is given it.
    #[must_use]
    pub fn input(&self) -> &Arc<Value> {
        &self.call.input
    }

    /// Says what this attempt has used up, beyond what it said before. It stands in the journal, and counts towards the budgets of
    /// the workflow, when the attempt has ended, however that was.
    ///
    /// ```
    /// # use orchestr8_agent_base::AgentContext;
    /// # use orchestr8_schema::usage::Usage;
    /// # fn call(cx: &AgentContext) {
    /// cx.usage(Usage::new(1200, 300, 0.0081));
    /// # }
    /// ```
    pub fn usage(&self, usage: Usage) {
        let mut sum = self.call.usage.lock().unwrap_or_else(PoisonError::into_inner);
        sum.get_or_insert_default().add(&usage);
    }

    /// Returns what was said to be used up since it was taken for the last time.
    #[must_use]
    pub fn reported_usage(&self) -> Option<Usage> {
        *self.call.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was said to be used up since the last time; whoever makes calls asks at the end of each attempt.
    #[must_use]
    pub fn take_usage(&self) -> Option<Usage> {
        self.call.usage.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn is_validated(&self) -> bool {
        self.call.validated.load(Ordering::Acquire)
    }

    pub(crate) fn set_validated(&self) {
        self.call.validated.store(true, Ordering::Release);
    }

    /// Returns the same context for another attempt of the same step.
    #[must_use]
    pub fn for_attempt(&self, attempt: u32, deadline: Option<Timestamp>) -> Self {
        Self { call: Arc::clone(&self.call), attempt, deadline }
    }
}

/// Puts an [`AgentContext`] together.
#[derive(Debug)]
#[must_use]
pub struct AgentContextBuilder {
    call: Call,
}

impl AgentContextBuilder {
    /// Sets the configuration; default none.
    pub fn config(mut self, config: Arc<Map<String, Value>>) -> Self {
        self.call.config = Some(config);
        self
    }

    /// Sets the idempotency key instead of the structural one.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.call.idempotency_key = OnceLock::from(key.into());
        self
    }

    /// Makes the context of the first attempt, without a deadline.
    #[must_use]
    pub fn build(self) -> AgentContext {
        AgentContext { call: Arc::new(self.call), attempt: 1, deadline: None }
    }
}
