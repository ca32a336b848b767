//! What an agent is told about the call that it serves, and what it may ask of whoever calls it.

mod cleanup;
mod durable;
mod host;
mod reserve;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, LazyLock, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use orchestr8_schema::{
    CorrelationId, ExecutionId, StepId, StepPath, Timestamp, canonical,
    event::{Activation, CallId, Durable, LogEntry},
    usage::{Estimate, Usage},
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tracing::Span;

use self::cleanup::Cleanups;
#[cfg(feature = "model")]
pub(crate) use self::reserve::Lack;
pub use self::{
    cleanup::Cleanup,
    durable::{Outcome, Records},
    host::{Host, Progress, Recording, Remark},
    reserve::Reserved,
};
use crate::{AgentError, Callee, secret::SecretString, tool::Tools};
pub use orchestr8_schema::event::LogLevel;

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
    id: CallId,
    /// Absent where nobody serves the agents that are called.
    host: Option<Arc<dyn Host>>,
    callee: Option<Arc<Callee>>,
    /// What keys of durable calls begin with: nothing for an agent, the place of the call for a tool that an agent calls.
    scope: String,
    extras: Mutex<Option<Box<Extras>>>,
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

/// What few calls need.
#[derive(Debug, Default)]
struct Extras {
    records: Records,
    cleanups: Cleanups,
    told_progress_at: Option<Instant>,
    /// What a budget has reserved for the attempt in progress, where there is one.
    reserved: Option<Reserved>,
    /// Of that, what is used, and what calls in progress may use.
    used: Estimate,
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
                id: CallId::Step(Activation(0)),
                host: None,
                callee: None,
                scope: String::new(),
                extras: Mutex::new(None),
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

    /// Records in a span what was asked or answered, secrets hidden, if spans may hold that. A long one is cut.
    pub(crate) fn show_content(&self, span: &Span, field: &str, content: impl FnOnce() -> Value) {
        const MOST: usize = 64 * 1024;

        let Some(host) = self.host().filter(|host| !span.is_disabled() && host.shows_content()) else { return };
        let mut content = content();
        host.hide(&mut content);
        let mut text = content.to_string();
        if text.len() > MOST {
            text.truncate((0..=MOST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
        }
        span.record(field, text);
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

    /// Makes an inner call whose result is kept: journaled before it is returned, and given to later attempts and after a restart instead
    /// of calling again. So a step that is tried again pays only for what had not been answered.
    ///
    /// `key` names the call within the step; `request` is everything that the answer depends on. The same key with another request
    /// drops what was recorded under it, and all that was recorded later. Only successes are recorded; an error is returned as it is.
    /// Secrets that the execution was given are hidden in the value, also in what is returned here. Calls may be made at once.
    ///
    /// ```
    /// # use orchestr8_agent_base::{AgentContext, AgentError};
    /// # use serde_json::{Value, json};
    /// # async fn search(query: &str) -> Result<Value, AgentError> { Ok(json!([query])) }
    /// # async fn execute(cx: &AgentContext) -> Result<Value, AgentError> {
    /// let query = "durable execution";
    /// let found = cx.durable("search", &json!({ "query": query }), search(query)).await?;
    /// # Ok(found) }
    /// ```
    ///
    /// # Errors
    ///
    /// What the call answers; CANCELLED if the execution is ending, so that nothing can be recorded.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped the result may have been recorded or not.
    pub async fn durable<T: Into<Outcome>>(
        &self,
        key: &str,
        request: &Value,
        call: impl Future<Output = Result<T, AgentError>>,
    ) -> Result<Value, AgentError> {
        let digest = canonical::digest(request);
        let key = if self.call.scope.is_empty() { key.to_owned() } else { format!("{}/{key}", self.call.scope) };
        if let Some(known) = self.peek_extras(|extras| extras.records.find(&key, &digest).cloned()).flatten() {
            return Ok(Value::clone(&known.value));
        }
        let Outcome { mut value, usage } = call.await?.into();
        if let Some(host) = &self.call.host {
            host.hide(&mut value);
        }
        let durable = Durable {
            call: self.call.id,
            attempt: self.attempt,
            key: key.into(),
            digest: digest.into(),
            value: Arc::new(value.clone()),
            usage,
        };
        match &self.call.host {
            Some(host) => host.record(durable.clone()).await?,
            // Nobody else counts it.
            None => {
                if let Some(usage) = usage {
                    self.usage(usage);
                }
            }
        }
        self.with_extras(|extras| extras.records.push(Arc::new(durable)));
        Ok(value)
    }

    /// Returns a secret. The workflow must list the reference in `context.secretRefs` and, if the agent's manifest lists any, so must that.
    ///
    /// From here on the secret's text is hidden in what the agent answers, records and remarks.
    ///
    /// # Errors
    ///
    /// DENIED if the agent may not have it, NOT_FOUND if there is none.
    pub fn secret(&self, reference: &str) -> Result<SecretString, AgentError> {
        let declared = self.call.callee.as_deref().map_or(&[][..], Callee::secrets);
        match &self.call.host {
            Some(host) => host.secret(reference, declared),
            None => Err(AgentError::not_found(format!("there is no secret `{reference}`: nobody has any here"))),
        }
    }

    /// Returns the secrets; see [`secret`](Self::secret).
    #[must_use]
    pub fn secrets(&self) -> AgentSecrets<'_> {
        AgentSecrets(self)
    }

    /// Shows how far the attempt has come, to whoever looks on: `fraction` is from 0 to 1. At most ten times a second, what comes more
    /// often is left out; nothing of it is kept.
    pub fn progress(&self, fraction: Option<f64>, message: impl Into<String>) {
        self.show(self.progress_of(fraction, message.into()), false);
    }

    /// Puts together what is shown of the attempt.
    pub(crate) fn progress_of(&self, fraction: Option<f64>, message: String) -> Progress {
        Progress::new(self.call.id, Arc::clone(&self.call.step), self.attempt, fraction, message)
    }

    /// Shows progress, unless it comes too soon; what is `essential` comes at any time. Tells whether it was shown.
    pub(crate) fn show(&self, progress: Progress, essential: bool) -> bool {
        const LEAST_PAUSE: Duration = Duration::from_millis(100);

        let Some(host) = &self.call.host else { return true };
        let now = Instant::now();
        let is_due = self.with_extras(|extras| {
            let is_due = extras.told_progress_at.is_none_or(|at| now.duration_since(at) >= LEAST_PAUSE);
            if is_due || essential {
                extras.told_progress_at = Some(now);
            }
            is_due || essential
        });
        if is_due {
            host.progress(progress);
        }
        is_due
    }

    /// Remarks something in the journal, as `log.entry`; `data` holds further facts, or null. An execution keeps 1000 remarks;
    /// further ones are left out, and counted.
    pub fn log(&self, level: LogLevel, message: impl Into<String>, data: Value) {
        let Some(host) = &self.call.host else { return };
        let mut remark = Value::Array(vec![Value::String(message.into()), data]);
        host.hide(&mut remark);
        let data = Arc::new(remark[1].take());
        let message = remark[0].as_str().unwrap_or_default().into();
        host.remark(Remark::Log(LogEntry { call: self.call.id, attempt: self.attempt, level, message, data }));
    }

    /// Returns the tools that the agent may call.
    pub fn tools(&self) -> Tools {
        Tools::of(self.clone())
    }

    /// Returns which call of the execution this is.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        self.call.id
    }

    pub(crate) fn host(&self) -> Option<&Arc<dyn Host>> {
        self.call.host.as_ref()
    }

    /// Makes the context of a tool that is called within this attempt.
    pub(crate) fn for_tool(&self, scope: &str, key: String, input: Arc<Value>, callee: Arc<Callee>) -> Self {
        let Call { id, host, execution, step, clock, .. } = &*self.call;
        let scope = if self.call.scope.is_empty() { scope.to_owned() } else { format!("{}/{scope}", self.call.scope) };
        let (execution, step, clock) = (Arc::clone(execution), Arc::clone(step), Arc::clone(clock));
        let AgentContextBuilder { mut call } = Self::builder(execution, step, clock, input);
        (call.id, call.host, call.scope, call.callee) = (*id, host.clone(), scope, Some(callee));
        call.idempotency_key = OnceLock::from(key);
        let records = self.peek_extras(|extras| extras.records.clone()).unwrap_or_default();
        if !records.is_empty() {
            call.extras = Mutex::new(Some(Box::new(Extras { records, ..Extras::default() })));
        }
        Self { call: Arc::new(call), attempt: self.attempt, deadline: self.deadline }
    }

    fn with_extras<T>(&self, with: impl FnOnce(&mut Extras) -> T) -> T {
        with(self.call.extras.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
    }

    /// As [`with_extras`](Self::with_extras), if there are any.
    fn peek_extras<T>(&self, with: impl FnOnce(&mut Extras) -> T) -> Option<T> {
        self.call.extras.lock().unwrap_or_else(PoisonError::into_inner).as_deref_mut().map(with)
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

/// The secrets of a call.
#[derive(Clone, Copy, Debug)]
pub struct AgentSecrets<'a>(&'a AgentContext);

impl AgentSecrets<'_> {
    /// Returns a secret; see [`AgentContext::secret`].
    ///
    /// # Errors
    ///
    /// DENIED if the agent may not have it, NOT_FOUND if there is none.
    pub fn get(&self, reference: &str) -> Result<SecretString, AgentError> {
        self.0.secret(reference)
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

    /// Sets who serves the agent, and which call of the execution it is; default nobody.
    pub fn host(mut self, host: Arc<dyn Host>, call: CallId) -> Self {
        (self.call.host, self.call.id) = (Some(host), call);
        self
    }

    /// Sets what is called; default nothing is known of it.
    pub fn callee(mut self, callee: Arc<Callee>) -> Self {
        self.call.callee = Some(callee);
        self
    }

    /// Sets what was recorded of the call before; default nothing.
    pub fn records(mut self, records: Records) -> Self {
        if !records.is_empty() {
            self.call.extras = Mutex::new(Some(Box::new(Extras { records, ..Extras::default() })));
        }
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
