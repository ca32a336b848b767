//! What happens in an execution, as stored: small, shared, and named by number.
//!
//! The state of an execution is only ever the fold of its events. So an event holds what cannot be derived: ids, paths, digests,
//! default outputs and durations follow from the plan and from earlier events and are rendered when somebody reads. The sequence
//! of an event is its place in the journal, counted from 1.
//!
//! Stores write events down by serde, in a format that is not for people (in which times keep their microseconds). Names of variants and
//! fields are part of what is stored: they are added to, and never changed. A field that is added has a default.
//!
//! Events come in three sorts: *external* ones are facts and requests from the driver, *derived* ones are decisions of the machine,
//! *informational* ones change nothing. [`EventBody::sort`] tells which is which.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    CorrelationId, ErrorKind, ExecutionId, Failure, IdempotencyKey, StepIndex, StepPath, Timestamp, ValidWorkflow,
    api::Compensation,
    policy::Budget,
    usage::{Estimate, Usage},
    workflow::{HookMode, HookPoint},
};

/// An event: when, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it happened; a derived event has the time of its cause.
    pub at: Timestamp,
    /// What happened.
    pub body: EventBody,
}

/// The number of an activation: a step instance of one execution, counted in the order in which scopes opened.
///
/// People and other systems see its [`StepPath`] instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Activation(pub u32);

impl Activation {
    /// Stands for the execution itself, in the hooks that are called about it and in their attempts.
    pub const EXECUTION: Self = Self(u32::MAX);

    /// Returns the number for use with slices.
    #[must_use]
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// Who decides about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSort {
    /// A fact or a request from outside.
    External,
    /// A decision.
    Derived,
    /// A remark that changes nothing.
    Informational,
}

/// What happened. The set is closed on purpose: whoever adds an event is led by the compiler to everything that handles events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EventBody {
    /// `execution.queued`: the execution exists. A store keeps it in a form of its own, since a workflow is read by
    /// [`ValidWorkflow::from_bundle`] and not by serde; see [`Queued::with_workflow`].
    #[serde(skip)]
    ExecutionQueued(Arc<Queued>),
    /// `execution.started`: a driver has taken it up.
    ExecutionStarted {
        /// The epoch of the driver's lease.
        epoch: u64,
    },
    /// `execution.recovered`: another driver has taken it up, and begins again what was interrupted.
    ExecutionRecovered {
        /// The epoch of the driver's lease.
        epoch: u64,
    },
    /// `execution.paused`: nothing starts until it is resumed.
    ExecutionPaused {
        /// Why, for people.
        reason: Option<Arc<str>>,
    },
    /// `execution.resumed`: what waited goes on, and deadlines have moved by the length of the pause.
    ExecutionResumed {
        /// Why, for people.
        reason: Option<Arc<str>>,
    },
    /// `execution.reopened`: it had failed, and goes on with what had not completed.
    ExecutionReopened(Arc<Reopening>),
    /// `execution.cancelling`: somebody asks for its end.
    ExecutionCancelling(Arc<Cancelling>),
    /// `execution.failing`: it cannot complete any more.
    ExecutionFailing {
        /// Why.
        error: Arc<Failure>,
    },
    /// `execution.completed`.
    ExecutionCompleted {
        /// What the workflow's `outputs` gave; absent if it has none, so that the outputs are those of its steps.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        outputs: Option<Arc<Value>>,
    },
    /// `execution.failed`: the error is that of `execution.failing`.
    ExecutionFailed,
    /// `execution.cancelled`.
    ExecutionCancelled {
        /// Whether everything ended within the grace.
        graceful: bool,
    },
    /// `step.scheduled`: the step's turn has come, its input is resolved.
    StepScheduled {
        /// Which step.
        activation: Activation,
        /// The resolved input.
        input: Arc<Value>,
        /// What the policy `idempotencyKey` gave; absent if there is none, so that the key is structural.
        idempotency_key: Option<Arc<str>>,
        /// Whether a fork takes the step's result over, or why not; absent if there is none to take over.
        #[serde(default)]
        reuse: Option<Reuse>,
    },
    /// `step.started`: the first attempt runs.
    StepStarted {
        /// Which step.
        activation: Activation,
    },
    /// `step.waiting`: for a time, a signal or a person; it holds nothing meanwhile.
    StepWaiting {
        /// Which step.
        activation: Activation,
        /// When the wait is over in any case; absent if nothing limits it.
        due_at: Option<Timestamp>,
    },
    /// `step.completed`.
    StepCompleted {
        /// Which step.
        activation: Activation,
        /// Its output; absent for the default output of a composite, which follows from what is inside, and for a result that a fork
        /// takes over.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        output: Option<Arc<Value>>,
    },
    /// `step.failed`: finally.
    StepFailed {
        /// Which step.
        activation: Activation,
        /// Why.
        error: Arc<Failure>,
        /// Whether its scope fails with it.
        fatal: bool,
    },
    /// `step.skipped`.
    StepSkipped {
        /// Which step.
        activation: Activation,
        /// Why.
        reason: SkipReason,
        /// The dependency that was not satisfied, if that is why.
        dependency: Option<StepIndex>,
    },
    /// `step.cancelled`.
    StepCancelled {
        /// Which step.
        activation: Activation,
        /// Whether it was dropped rather than left to end.
        forced: bool,
    },
    /// `step.fallback`: the step that stands in for a failed one is called for.
    StepFallback {
        /// The step that failed.
        activation: Activation,
        /// The one that stands in for it.
        fallback: Activation,
    },
    /// `step.recovered`: the fallback completed, so the failure is not fatal.
    StepRecovered {
        /// The step that failed.
        activation: Activation,
        /// The one that stood in for it.
        fallback: Activation,
    },
    /// `step.fallback-failed`: the failure stands, and is fatal.
    StepFallbackFailed {
        /// The step that failed.
        activation: Activation,
        /// The one that was to stand in for it.
        fallback: Activation,
    },
    /// `branch.decided`.
    BranchDecided {
        /// Which step.
        activation: Activation,
        /// The place of the case that is taken; behind the last case stands the default.
        case: u32,
    },
    /// `parallel.joined`: enough of the group has completed.
    ParallelJoined {
        /// Which step.
        activation: Activation,
        /// How many of the joined steps have.
        completed: u32,
    },
    /// `map.opened`.
    MapOpened {
        /// Which step.
        activation: Activation,
        /// What it runs for.
        items: Arc<MapItems>,
    },
    /// `map.item-finished`: an item has a value, or has failed; with an accumulator in the order of the items.
    MapItemFinished {
        /// Which step.
        activation: Activation,
        /// Which item, from 0.
        index: u32,
        /// How it ended.
        result: Arc<ItemResult>,
    },
    /// `loop.decided`: another iteration begins, or the loop ends.
    LoopDecided {
        /// Which step.
        activation: Activation,
        /// What was decided.
        decision: Arc<LoopDecision>,
    },
    /// `signal.received`.
    SignalReceived(Arc<Signal>),
    /// `signal.delivered`: a waiting step takes a signal.
    SignalDelivered {
        /// Which step.
        activation: Activation,
        /// The sequence of the `signal.received`.
        signal_sequence: u64,
    },
    /// `approval.requested`: the prompt is the step's input.
    ApprovalRequested {
        /// Which step.
        activation: Activation,
        /// Until when it can be answered.
        expires_at: Option<Timestamp>,
    },
    /// `approval.answered`.
    ApprovalAnswered {
        /// Which step.
        activation: Activation,
        /// What was answered.
        answer: Arc<ApprovalAnswer>,
    },
    /// `compensation.started`: what was done is undone from here on.
    CompensationStarted {
        /// The steps whose effects are undone, in this order.
        order: Arc<[Activation]>,
    },
    /// `compensation.step-started`: the turn of a step's compensation has come, its input is resolved.
    CompensationStepStarted {
        /// Which step is undone.
        activation: Activation,
        /// The resolved input.
        input: Arc<Value>,
        /// What the policy `idempotencyKey` gave; absent if there is none, so that the key is structural.
        idempotency_key: Option<Arc<str>>,
    },
    /// `compensation.step-completed`.
    CompensationStepCompleted {
        /// Which step was undone.
        activation: Activation,
    },
    /// `compensation.step-failed`: finally; the others are undone all the same.
    CompensationStepFailed {
        /// Which step was not undone.
        activation: Activation,
        /// Why.
        error: Arc<Failure>,
    },
    /// `compensation.finished`.
    CompensationFinished {
        /// Whether all was undone.
        result: Compensation,
    },
    /// `attempt.started`: the agent is about to be called.
    AttemptStarted {
        /// Which call.
        call: CallId,
        /// The number of the attempt, counted from 1.
        attempt: u32,
        /// How often this attempt was begun again after a crash.
        restart: u32,
        /// How long it may take; absent if nothing limits it.
        timeout: Option<Duration>,
        /// What is reserved for it, where there is a budget.
        #[serde(default)]
        reserved: Option<Arc<Estimate>>,
    },
    /// `attempt.finished`: the agent has answered.
    AttemptFinished {
        /// Which call.
        call: CallId,
        /// The number of the attempt.
        attempt: u32,
        /// What it gave.
        result: Result<Arc<Value>, Arc<Failure>>,
        /// Whether no further attempt will be made.
        is_final: bool,
        /// What the agent said that it used up.
        #[serde(default)]
        usage: Option<Arc<Usage>>,
    },
    /// `attempt.deferred`: the attempt waits until others have given back what they reserved of a budget.
    AttemptDeferred {
        /// Which call.
        call: CallId,
    },
    /// `attempt.rejected`: the agent was not called.
    AttemptRejected {
        /// Which call.
        call: CallId,
        /// Why.
        error: Arc<Failure>,
        /// Whether no further attempt will be made.
        is_final: bool,
    },
    /// `retry.scheduled`.
    RetryScheduled {
        /// Which call.
        call: CallId,
        /// The number of the next attempt.
        attempt: u32,
        /// How long it waits.
        delay: Duration,
        /// When it is due.
        due_at: Timestamp,
    },
    /// `hook.started`: a hook is about to be called.
    HookStarted {
        /// What it is about: a step, or [`Activation::EXECUTION`].
        activation: Activation,
        /// Which hook.
        hook: HookId,
        /// Its resolved input.
        input: Arc<Value>,
    },
    /// `hook.finished`: the hook has answered, or its input has no value.
    HookFinished {
        /// What it is about: a step, or [`Activation::EXECUTION`].
        activation: Activation,
        /// Which hook.
        hook: HookId,
        /// What follows from its answer.
        result: Arc<HookResult>,
    },
    /// `budget.exceeded`: a limit was reached.
    BudgetExceeded {
        /// What it was that could not go on: a step, or [`Activation::EXECUTION`].
        activation: Activation,
        /// Which limit.
        budget: BudgetKind,
    },
    /// `timer.fired`.
    TimerFired {
        /// Which timer.
        timer: Timer,
    },
    /// `timeout.exceeded`; informational.
    TimeoutExceeded {
        /// What took too long.
        scope: TimeoutScope,
        /// What was allowed.
        timeout: Duration,
    },
    /// `circuit.opened`, `circuit.half-opened` or `circuit.closed`; informational.
    CircuitChanged(Arc<CircuitChange>),
    /// `rate-limit.waited` or `bulkhead.waited`; informational.
    PermitWaited(Arc<PermitWait>),
}

/// What an execution was made from: the first event of every journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Queued<W = ValidWorkflow> {
    /// The execution's id.
    pub execution_id: ExecutionId,
    /// What ties it to the request that caused it.
    pub correlation_id: CorrelationId,
    /// The whole workflow; later edits of the file do not touch it.
    pub workflow: W,
    /// The agent versions that its steps were resolved to, by step.
    pub agent_versions: Arc<[Arc<str>]>,
    /// The execution's input, defaults filled in.
    pub input: Arc<Value>,
    /// The variables, overridden by the caller; an object.
    pub variables: Arc<Value>,
    /// What the root `env` shows; an object.
    pub env: Arc<Value>,
    /// The key under which the request may be repeated.
    pub idempotency_key: Option<IdempotencyKey>,
    /// A limit on the whole execution that is tighter than the workflow's.
    pub timeout: Option<Duration>,
    /// The hooks that the engine had when it took the execution on.
    #[serde(default)]
    pub hooks: Arc<[EngineHook]>,
    /// Where the execution begins that it was made from; absent if it is no fork.
    #[serde(default)]
    pub forked_from: Option<ForkedFrom>,
    /// Results that a fork may take over, by step path.
    #[serde(default)]
    pub retained: Option<Arc<BTreeMap<StepPath, Retained>>>,
}

/// The checkpoint that a fork begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForkedFrom {
    /// The execution that it was made from.
    pub execution_id: ExecutionId,
    /// How many events of that had happened.
    pub sequence: u64,
}

/// A result that a fork may take over, and all that it depended on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retained {
    /// The kind of the step.
    pub kind: Arc<str>,
    /// The id of the agent or the name of the tool; empty for a wait and an approval.
    pub callee: Arc<str>,
    /// The agent's version.
    pub version: Arc<str>,
    /// The digest of the agent's configuration, or of what a wait or an approval says of itself.
    pub config_digest: Arc<str>,
    /// The digest of the resolved input.
    pub input_digest: Arc<str>,
    /// What the step gave.
    pub output: Arc<Value>,
}

/// Whether a fork takes a result over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reuse {
    /// It does.
    Reused,
    /// No: the step has another input.
    InputChanged,
    /// No: another agent or tool is called, or the step is of another kind.
    CalleeChanged,
    /// No: the agent has another version.
    VersionChanged,
    /// No: the agent, the wait or the approval is configured otherwise.
    ConfigChanged,
}

impl Reuse {
    /// Returns the verdict as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::InputChanged => "input-changed",
            Self::CalleeChanged => "callee-changed",
            Self::VersionChanged => "version-changed",
            Self::ConfigChanged => "config-changed",
        }
    }
}

impl Queued {
    /// Puts the first event together; there is neither an idempotency key nor a tighter limit.
    #[must_use]
    pub fn new(
        execution_id: ExecutionId,
        correlation_id: CorrelationId,
        workflow: ValidWorkflow,
        agent_versions: Arc<[Arc<str>]>,
        input: Arc<Value>,
        variables: Arc<Value>,
        env: Arc<Value>,
    ) -> Self {
        Self {
            execution_id,
            correlation_id,
            workflow,
            agent_versions,
            input,
            variables,
            env,
            idempotency_key: None,
            timeout: None,
            hooks: Arc::default(),
            forked_from: None,
            retained: None,
        }
    }
}

impl<W> Queued<W> {
    /// Puts something else in the place of the workflow: for a store, the name that it keeps the workflow under.
    #[must_use]
    pub fn with_workflow<V>(self, workflow: V) -> Queued<V> {
        Queued {
            execution_id: self.execution_id,
            correlation_id: self.correlation_id,
            workflow,
            agent_versions: self.agent_versions,
            input: self.input,
            variables: self.variables,
            env: self.env,
            idempotency_key: self.idempotency_key,
            timeout: self.timeout,
            hooks: self.hooks,
            forked_from: self.forked_from,
            retained: self.retained,
        }
    }
}

/// A hook of an engine, as an execution knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineHook {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is called.
    pub points: Vec<HookPoint>,
    /// What its answer means.
    pub mode: HookMode,
}

/// Which one it is of the hooks that are called about the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookId {
    /// Who asks for it.
    pub owner: HookOwner,
    /// Where it is called.
    pub point: HookPoint,
    /// Its place in the owner's list: of that point in a file, of all hooks in an engine.
    pub index: u32,
}

/// Who asks for a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum HookOwner {
    /// The engine.
    Engine,
    /// A workflow.
    Workflow {
        /// How many workflows are around it.
        depth: u32,
    },
    /// The step that it is about.
    Step,
}

/// What follows from the answer of a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookResult {
    /// What may come next.
    pub verdict: HookVerdict,
    /// Why, as a guard says.
    pub reason: Option<String>,
    /// Why there is no answer, or none that can be used.
    pub error: Option<Arc<Failure>>,
}

/// What may come next, after a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookVerdict {
    /// What was to come.
    Allow,
    /// The same with another input.
    Replace(Arc<Value>),
    /// Nothing: a guard denies it.
    Deny,
}

/// What a map runs for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MapItems {
    /// The items.
    pub items: Vec<Value>,
    /// The items' names in step paths, one each; absent if they are counted.
    pub keys: Option<Vec<Arc<str>>>,
    /// What the accumulator starts with, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub accumulator: Option<Arc<Value>>,
}

/// How an item of a map ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemResult {
    /// Its value, or why it has none.
    pub outcome: Result<Arc<Value>, Arc<Failure>>,
    /// What the accumulator is from then on, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub accumulator: Option<Arc<Value>>,
}

/// Whether a loop goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopDecision {
    /// The number of the iteration that begins, or would have.
    pub index: u32,
    /// What was decided, and why.
    pub verdict: LoopVerdict,
    /// The loop's value from then on.
    pub value: Arc<Value>,
}

/// What is decided about a loop before each iteration and at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LoopVerdict {
    /// Another iteration begins.
    Continue {
        /// When, if not at once.
        due_at: Option<Timestamp>,
    },
    /// It ends: the condition says so.
    Condition,
    /// It ends: there are no iterations left.
    Limit,
}

/// Something told to a running execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    /// Its name.
    pub name: Arc<str>,
    /// What it says, at most [`Signal::MAX_PAYLOAD`] bytes of JSON.
    pub payload: Value,
    /// A name of its own, so that it can be sent again without being told twice.
    pub signal_id: Option<Arc<str>>,
    /// The one step that it is for; absent means any that waits for its name.
    pub step_path: Option<StepPath>,
}

impl Signal {
    /// The most bytes of JSON of a payload: 64 KB.
    pub const MAX_PAYLOAD: usize = 64 * 1024;
    /// The most signals that an execution keeps until somebody waits for them.
    pub const MAX_UNDELIVERED: usize = 1000;
}

/// The answer of a person who was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalAnswer {
    /// What they decided.
    pub decision: ApprovalDecision,
    /// What they answered, as the step's schema asks.
    pub answer: Value,
    /// What they remarked.
    pub comment: Option<String>,
    /// Who it was, if known.
    pub by: Option<String>,
}

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ApprovalDecision {
    /// It may go on.
    Approve,
    /// It may not.
    Reject,
}

impl ApprovalDecision {
    /// Returns the decision as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// A request for the end of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancelling {
    /// Why, for people.
    pub reason: String,
    /// How long running attempts may take to end.
    pub grace_period: Duration,
    /// Who asks, if known.
    pub requested_by: Option<String>,
    /// The fork that goes on in its place, and for which its effects stand: nothing is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ExecutionId>,
}

/// What goes on of an execution that had failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Reopening {
    /// The steps that are pending again, as if their turn had never come. Composites that only go on are not among them.
    pub rerun: Vec<Activation>,
    /// Limits in the place of those that held before; absent ones hold on.
    #[serde(default)]
    pub budget: Option<Budget>,
}

impl Reopening {
    /// Makes one that leaves the limits as they are.
    #[must_use]
    pub fn new(rerun: Vec<Activation>) -> Self {
        Self { rerun, budget: None }
    }
}

/// Why a step did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SkipReason {
    /// A step that it depends on did not complete.
    DependencyNotCompleted,
    /// Its condition did not hold.
    ConditionNotMet,
    /// The workflow failed before its turn.
    WorkflowFailed,
    /// It stands in for a step that did not fail.
    FallbackNotNeeded,
}

impl SkipReason {
    /// Returns the reason as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DependencyNotCompleted => "dependency-not-completed",
            Self::ConditionNotMet => "condition-not-met",
            Self::WorkflowFailed => "workflow-failed",
            Self::FallbackNotNeeded => "fallback-not-needed",
        }
    }
}

/// A timer of an execution, named by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Timer {
    /// The whole execution has taken too long.
    ExecutionDeadline,
    /// One step has taken too long, all attempts and waits included.
    StepDeadline(Activation),
    /// A wait is over, a signal or an answer is late, or the next iteration of a loop is due.
    Wait(Activation),
    /// Running attempts have had their grace.
    Grace,
    /// Compensation has taken too long.
    Compensation,
}

/// One of the limits of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BudgetKind {
    /// `maxTokens`.
    Tokens,
    /// `maxCostUsd`.
    Cost,
    /// `maxSteps`.
    Steps,
    /// `maxDuration`.
    Duration,
}

impl BudgetKind {
    /// Every limit.
    pub const ALL: [Self; 4] = [Self::Tokens, Self::Cost, Self::Steps, Self::Duration];

    /// Returns the key that the limit is written under.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Tokens => "maxTokens",
            Self::Cost => "maxCostUsd",
            Self::Steps => "maxSteps",
            Self::Duration => "maxDuration",
        }
    }
}

/// A call, named by what it is for. One call is all attempts of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CallId {
    /// The agent or tool of a step.
    Step(Activation),
    /// What undoes a step.
    Compensation(Activation),
    /// A hook about a step, or about [`Activation::EXECUTION`].
    Hook(Activation),
}

impl CallId {
    /// Returns the step that the call is about, if it is about one.
    #[must_use]
    pub fn activation(self) -> Option<Activation> {
        match self {
            Self::Step(activation) | Self::Compensation(activation) => Some(activation),
            Self::Hook(activation) => Some(activation).filter(|activation| *activation != Activation::EXECUTION),
        }
    }
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TimeoutScope {
    /// One attempt of a call.
    Attempt(CallId, u32),
    /// A step with all its attempts and waits.
    Step(Activation),
    /// The execution.
    Execution,
}

/// A circuit breaker's change of state, as one execution caused it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitChange {
    /// The call that caused it.
    pub call: CallId,
    /// The circuit's key.
    pub key: String,
    /// The state it is in now.
    pub state: CircuitStateName,
    /// Why, in a few words.
    pub reason: Cow<'static, str>,
    /// When an open circuit lets a probe through.
    pub reopens_at: Option<Timestamp>,
}

/// The state of a circuit breaker by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CircuitStateName {
    /// Calls go through.
    Closed,
    /// Calls are rejected.
    Open,
    /// One probe goes through.
    HalfOpen,
}

/// A wait of an attempt for its permit, which it has now or was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermitWait {
    /// The call that waited.
    pub call: CallId,
    /// What was waited for.
    pub queue: QueueName,
    /// Who shares the permits.
    pub key: String,
    /// How long it took.
    pub waited: Duration,
    /// Whether the attempt was refused.
    pub rejected: bool,
}

/// What an attempt may have to wait for, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum QueueName {
    /// Calls may come only so often.
    RateLimit,
    /// Only so many calls may be in progress.
    Bulkhead,
}

/// Writes the names of events down once, for the list and for the match.
macro_rules! names {
    ($($event:pat => $name:literal,)*; $($other:pat => match $field:expr => { $($value:pat => $one:literal,)* },)*) => {
        /// The names of all events.
        pub const NAMES: &[&str] = &[$($name,)* $($($one,)*)*];

        /// Returns the event's name, such as `step.completed`.
        #[must_use]
        pub fn name(&self) -> &'static str {
            match self {
                $($event => $name,)*
                $($other => match $field { $($value => $one,)* },)*
            }
        }
    };
}

impl EventBody {
    names! {
            Self::ExecutionQueued(_) => "execution.queued",
            Self::ExecutionStarted { .. } => "execution.started",
            Self::ExecutionRecovered { .. } => "execution.recovered",
            Self::ExecutionPaused { .. } => "execution.paused",
            Self::ExecutionResumed { .. } => "execution.resumed",
            Self::ExecutionReopened(_) => "execution.reopened",
            Self::ExecutionCancelling(_) => "execution.cancelling",
            Self::ExecutionFailing { .. } => "execution.failing",
            Self::ExecutionCompleted { .. } => "execution.completed",
            Self::ExecutionFailed => "execution.failed",
            Self::ExecutionCancelled { .. } => "execution.cancelled",
            Self::StepScheduled { .. } => "step.scheduled",
            Self::StepStarted { .. } => "step.started",
            Self::StepWaiting { .. } => "step.waiting",
            Self::StepCompleted { .. } => "step.completed",
            Self::StepFailed { .. } => "step.failed",
            Self::StepSkipped { .. } => "step.skipped",
            Self::StepCancelled { .. } => "step.cancelled",
            Self::StepFallback { .. } => "step.fallback",
            Self::StepRecovered { .. } => "step.recovered",
            Self::StepFallbackFailed { .. } => "step.fallback-failed",
            Self::BranchDecided { .. } => "branch.decided",
            Self::ParallelJoined { .. } => "parallel.joined",
            Self::MapOpened { .. } => "map.opened",
            Self::MapItemFinished { .. } => "map.item-finished",
            Self::LoopDecided { .. } => "loop.decided",
            Self::SignalReceived(_) => "signal.received",
            Self::SignalDelivered { .. } => "signal.delivered",
            Self::ApprovalRequested { .. } => "approval.requested",
            Self::ApprovalAnswered { .. } => "approval.answered",
            Self::CompensationStarted { .. } => "compensation.started",
            Self::CompensationStepStarted { .. } => "compensation.step-started",
            Self::CompensationStepCompleted { .. } => "compensation.step-completed",
            Self::CompensationStepFailed { .. } => "compensation.step-failed",
            Self::CompensationFinished { .. } => "compensation.finished",
            Self::AttemptStarted { .. } => "attempt.started",
            Self::AttemptFinished { .. } => "attempt.finished",
            Self::AttemptRejected { .. } => "attempt.rejected",
            Self::RetryScheduled { .. } => "retry.scheduled",
            Self::HookStarted { .. } => "hook.started",
            Self::HookFinished { .. } => "hook.finished",
            Self::AttemptDeferred { .. } => "attempt.deferred",
            Self::BudgetExceeded { .. } => "budget.exceeded",
            Self::TimerFired { .. } => "timer.fired",
            Self::TimeoutExceeded { .. } => "timeout.exceeded",
            ;
            Self::CircuitChanged(change) => match change.state => {
                CircuitStateName::Closed => "circuit.closed",
                CircuitStateName::Open => "circuit.opened",
                CircuitStateName::HalfOpen => "circuit.half-opened",
            },
            Self::PermitWaited(wait) => match wait.queue => {
                QueueName::RateLimit => "rate-limit.waited",
                QueueName::Bulkhead => "bulkhead.waited",
            },
    }

    /// Returns who decides about the event.
    #[must_use]
    pub fn sort(&self) -> EventSort {
        match self {
            Self::ExecutionQueued(_)
            | Self::ExecutionStarted { .. }
            | Self::ExecutionRecovered { .. }
            | Self::ExecutionPaused { .. }
            | Self::ExecutionResumed { .. }
            | Self::ExecutionReopened(_)
            | Self::ExecutionCancelling(_)
            | Self::AttemptStarted { .. }
            | Self::AttemptFinished { .. }
            | Self::AttemptRejected { .. }
            | Self::AttemptDeferred { .. }
            | Self::RetryScheduled { .. }
            | Self::SignalReceived(_)
            | Self::ApprovalAnswered { .. }
            | Self::TimerFired { .. } => EventSort::External,
            Self::ExecutionFailing { .. }
            | Self::ExecutionCompleted { .. }
            | Self::ExecutionFailed
            | Self::ExecutionCancelled { .. }
            | Self::StepScheduled { .. }
            | Self::StepStarted { .. }
            | Self::StepWaiting { .. }
            | Self::StepCompleted { .. }
            | Self::StepFailed { .. }
            | Self::StepSkipped { .. }
            | Self::StepCancelled { .. }
            | Self::StepFallback { .. }
            | Self::StepRecovered { .. }
            | Self::StepFallbackFailed { .. }
            | Self::BranchDecided { .. }
            | Self::ParallelJoined { .. }
            | Self::MapOpened { .. }
            | Self::MapItemFinished { .. }
            | Self::LoopDecided { .. }
            | Self::SignalDelivered { .. }
            | Self::HookStarted { .. }
            | Self::HookFinished { .. }
            | Self::BudgetExceeded { .. }
            | Self::ApprovalRequested { .. }
            | Self::CompensationStarted { .. }
            | Self::CompensationStepStarted { .. }
            | Self::CompensationStepCompleted { .. }
            | Self::CompensationStepFailed { .. }
            | Self::CompensationFinished { .. } => EventSort::Derived,
            Self::TimeoutExceeded { .. } | Self::CircuitChanged(_) | Self::PermitWaited(_) => EventSort::Informational,
        }
    }

    /// Returns the step that the event is about, if it is about one.
    #[must_use]
    pub fn activation(&self) -> Option<Activation> {
        match self {
            Self::StepScheduled { activation, .. }
            | Self::StepStarted { activation }
            | Self::StepWaiting { activation, .. }
            | Self::StepFallback { activation, .. }
            | Self::StepRecovered { activation, .. }
            | Self::StepFallbackFailed { activation, .. }
            | Self::BranchDecided { activation, .. }
            | Self::ParallelJoined { activation, .. }
            | Self::MapOpened { activation, .. }
            | Self::MapItemFinished { activation, .. }
            | Self::LoopDecided { activation, .. }
            | Self::SignalDelivered { activation, .. }
            | Self::ApprovalRequested { activation, .. }
            | Self::ApprovalAnswered { activation, .. }
            | Self::StepCompleted { activation, .. }
            | Self::StepFailed { activation, .. }
            | Self::StepSkipped { activation, .. }
            | Self::StepCancelled { activation, .. }
            | Self::CompensationStepStarted { activation, .. }
            | Self::CompensationStepCompleted { activation }
            | Self::CompensationStepFailed { activation, .. }
            | Self::HookStarted { activation, .. }
            | Self::HookFinished { activation, .. }
            | Self::BudgetExceeded { activation, .. }
            | Self::TimerFired { timer: Timer::StepDeadline(activation) | Timer::Wait(activation) }
            | Self::TimeoutExceeded { scope: TimeoutScope::Step(activation), .. } => Some(*activation),
            Self::AttemptStarted { call, .. }
            | Self::AttemptFinished { call, .. }
            | Self::AttemptRejected { call, .. }
            | Self::AttemptDeferred { call }
            | Self::RetryScheduled { call, .. }
            | Self::TimeoutExceeded { scope: TimeoutScope::Attempt(call, _), .. } => call.activation(),
            Self::CircuitChanged(change) => change.call.activation(),
            Self::PermitWaited(wait) => wait.call.activation(),
            Self::ExecutionQueued(_)
            | Self::ExecutionStarted { .. }
            | Self::ExecutionRecovered { .. }
            | Self::ExecutionPaused { .. }
            | Self::ExecutionResumed { .. }
            | Self::ExecutionReopened(_)
            | Self::ExecutionCancelling(_)
            | Self::ExecutionFailing { .. }
            | Self::ExecutionCompleted { .. }
            | Self::ExecutionFailed
            | Self::ExecutionCancelled { .. }
            | Self::SignalReceived(_)
            | Self::CompensationStarted { .. }
            | Self::CompensationFinished { .. }
            | Self::TimerFired { timer: Timer::ExecutionDeadline | Timer::Grace | Timer::Compensation }
            | Self::TimeoutExceeded { scope: TimeoutScope::Execution, .. } => None,
        }
    }

    /// Whether the event is the last of its journal, unless the execution is reopened.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::ExecutionCompleted { .. } | Self::ExecutionFailed | Self::ExecutionCancelled { .. })
    }

    /// Returns the kind of failure that the event tells of, if it does.
    #[must_use]
    pub fn error_kind(&self) -> Option<ErrorKind> {
        match self {
            Self::ExecutionFailing { error }
            | Self::StepFailed { error, .. }
            | Self::AttemptRejected { error, .. }
            | Self::CompensationStepFailed { error, .. } => Some(error.code),
            Self::AttemptFinished { result: Err(error), .. } => Some(error.code),
            _ => None,
        }
    }
}

/// Reads what is there as something, `null` included; what is not there does not come here.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_event_fits_a_cache_line() {
        assert!(size_of::<super::Event>() <= 64, "{} bytes", size_of::<super::Event>());
    }
}
