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

mod call;
mod composite;
mod hook;
mod inner;
mod kind;
mod limit;
mod origin;
mod request;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use self::{
    call::{CallId, CircuitChange, CircuitStateName, PermitWait, QueueName},
    composite::{ItemResult, LoopDecision, LoopVerdict, MapItems},
    hook::{EngineHook, HookId, HookOwner, HookResult, HookVerdict},
    inner::{Durable, LogEntry, LogLevel, ModelCall, ToolCall},
    limit::{BudgetKind, TimeoutScope, Timer},
    origin::{ForkedFrom, Queued, Retained, Reuse},
    request::{ApprovalAnswer, ApprovalDecision, Cancelling, Reopening, Signal},
};
use crate::{
    Failure, StepIndex, Timestamp,
    api::Compensation,
    usage::{Estimate, Usage},
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
/// People and other systems see its [`StepPath`](crate::StepPath) instead.
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
    /// [`ValidWorkflow::from_bundle`](crate::ValidWorkflow::from_bundle) and not by serde; see [`Queued::with_workflow`].
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
    /// `durable.recorded`: an inner call of an agent has succeeded, and is not made again by later attempts.
    DurableRecorded(Arc<Durable>),
    /// `model.called`; informational.
    ModelCalled(Arc<ModelCall>),
    /// `tool.called` or `tool.denied`; informational.
    ToolCalled(Arc<ToolCall>),
    /// `log.entry`: an agent has remarked something; informational.
    LogEntry(Arc<LogEntry>),
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
