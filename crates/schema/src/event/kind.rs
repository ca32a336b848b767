//! What can be told of an event without its contents: its name, its sort, the step that it is about.

use super::{Activation, CircuitStateName, EventBody, EventSort, QueueName, TimeoutScope, Timer};
use crate::ErrorKind;

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
            Self::DurableRecorded(_) => "durable.recorded",
            Self::ModelCalled(_) => "model.called",
            Self::LogEntry(_) => "log.entry",
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
            Self::ToolCalled(called) => match called.is_denied => {
                false => "tool.called",
                true => "tool.denied",
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
            | Self::DurableRecorded(_)
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
            Self::TimeoutExceeded { .. }
            | Self::CircuitChanged(_)
            | Self::PermitWaited(_)
            | Self::ModelCalled(_)
            | Self::ToolCalled(_)
            | Self::LogEntry(_) => EventSort::Informational,
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
            Self::DurableRecorded(durable) => durable.call.activation(),
            Self::ModelCalled(called) => called.call.activation(),
            Self::ToolCalled(called) => called.call.activation(),
            Self::LogEntry(entry) => entry.call.activation(),
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
