//! An execution as people and other systems see it: the REST body, made from plan and state.

use std::sync::Arc;

use orchestr8_schema::{
    Failure, StepIndex, StepPath,
    api::{
        BudgetState, Execution, ExecutionStatus, Progress, StepCompensation, StepResult, WaitingFor, WorkflowSummary,
    },
    event::Activation,
    policy::OnError,
    usage::Usage,
    validate::{ValidKind, ValidWait},
};
use serde_json::Value;

use crate::{
    execution::variables,
    machine::{
        Phase, Rescue, State, Status, StepState, budget::Balance, compensation::Fate, decide::composite::outputs_by_id,
    },
    plan::Plan,
};

/// Steps that a body shows at most.
const MAX_STEPS: usize = 1000;
/// Things waited for that a body shows at most.
const MAX_WAITING: usize = 100;
/// Outputs of more bytes of JSON are left out of a body.
const MAX_OUTPUT_BYTES: usize = 1024 * 1024;

/// Shows a status; `failing` is internal and shows as `running`.
pub(crate) fn status(state: &State) -> ExecutionStatus {
    match state.status() {
        Status::Queued => ExecutionStatus::Queued,
        Status::Running | Status::Failing => ExecutionStatus::Running,
        Status::Paused => ExecutionStatus::Paused,
        Status::Cancelling => ExecutionStatus::Cancelling,
        Status::Completed => ExecutionStatus::Completed,
        Status::Failed => ExecutionStatus::Failed,
        Status::Cancelled => ExecutionStatus::Cancelled,
    }
}

/// Renders the outputs of a completed execution: what `outputs` gave, else every completed step's output by id.
pub(crate) fn outputs(plan: &Plan, state: &State) -> Option<Value> {
    if state.status() != Status::Completed {
        return None;
    }
    if let Some(outputs) = state.outputs() {
        return Some(Value::clone(outputs));
    }
    Some(outputs_by_id(plan, state, 0))
}

/// Renders an execution.
pub(crate) fn execution(plan: &Plan, state: &State) -> Execution {
    let workflow = plan.workflow().workflow();
    let summary = WorkflowSummary {
        id: workflow.metadata.id.clone(),
        name: workflow.metadata.name.clone(),
        version: Some(workflow.version.clone()),
    };
    let Some(queued) = state.queued() else { unreachable!("whoever renders an execution has folded its first event") };
    let mut body = Execution::new(queued.execution_id, queued.correlation_id.clone(), summary, status(state));
    body.compensation = state.compensation();
    body.progress = progress(state.steps());
    body.last_sequence = state.sequence();
    body.started_at = state.started_at();
    body.completed_at = state.ended_at();
    body.duration = state.started_at().zip(state.ended_at()).map(|(start, end)| millis(end.since(start)));
    body.outputs = outputs(plan, state);
    if body.outputs.as_ref().is_some_and(|outputs| outputs.to_string().len() > MAX_OUTPUT_BYTES) {
        body.outputs = None;
        body.truncated = true;
    }
    if state.status() == Status::Completed {
        let variables = variables(plan, state);
        body.variables = Some(variables).filter(|variables| !variables.is_empty());
    }
    body.usage = Some(state.usage()).filter(|usage| *usage != Usage::default());
    let balances = state.balances(plan).into_iter();
    body.budget = balances
        .map(|Balance { budget, limit, reserved, spent }| {
            (budget.key().to_owned(), BudgetState { limit, reserved, spent })
        })
        .collect();
    body.errors = errors(plan, state).map(|error| Failure::clone(error)).collect();

    let mut steps: Vec<_> = (0..state.steps().len() as u32)
        .map(|index| (state.path_of(plan, Activation(index)), Activation(index)))
        .collect();
    steps.sort_unstable();
    body.steps_truncated = steps.len() > MAX_STEPS;
    for (path, activation) in &steps {
        let step = &state.steps()[activation.get()];
        if let Some(kind) = waiting_for(plan, state, *activation)
            && body.waiting_for.len() < MAX_WAITING
        {
            body.waiting_for.push(WaitingFor::new(kind, path.as_str(), step.due_at));
        }
    }
    let shown = steps.into_iter().take(MAX_STEPS);
    body.steps = shown.map(|(path, activation)| self::step(plan, state, activation, &path)).collect();
    body
}

/// What a step waits for, if it waits.
fn waiting_for(plan: &Plan, state: &State, activation: Activation) -> Option<&'static str> {
    let step = &state.steps()[activation.get()];
    match step.phase {
        Phase::Scheduled | Phase::Backoff if state.is_deferred(activation) => Some("budget"),
        Phase::Backoff => Some("backoff"),
        Phase::Waiting => Some(match plan.valid_step(step.step).kind {
            ValidKind::Approval(_) => "approval",
            ValidKind::Wait(ValidWait::Signal { .. }) => "signal",
            _ => "timer",
        }),
        _ => None,
    }
}

/// The fatal failures of a failed execution: its own, then those of its own steps in the order of declaration.
pub(crate) fn errors<'a>(plan: &'a Plan, state: &'a State) -> impl Iterator<Item = &'a Arc<Failure>> {
    let own = state.error();
    let fatal = state.own_steps().iter().filter_map(|step| {
        let planned = &plan.steps()[step.step.get()];
        let is_fatal = planned.on_error != OnError::Continue && planned.serves.is_none();
        step.error.as_ref().filter(|_| step.phase == Phase::Failed && is_fatal && !step.is_satisfied())
    });
    let others = fatal.filter(move |error| own.is_some_and(|own| !Arc::ptr_eq(own, error)));
    own.into_iter().chain(others)
}

/// Renders a step without its input and output.
fn step(plan: &Plan, state: &State, activation: Activation, path: &StepPath) -> StepResult {
    let known = &state.steps()[activation.get()];
    let planned = &plan.steps()[known.step.get()];
    let declared = plan.declaration(known.step);
    let id_of = |step: StepIndex| plan.steps()[step.get()].id.to_string();
    let mut result = StepResult::default();
    result.step_id = planned.id.to_string();
    result.step_path = path.to_string();
    result.visit = state.visit_of(plan, activation);
    result.name = declared.name.clone().unwrap_or_else(|| result.step_id.clone());
    result.kind = declared.kind.key().to_owned();
    let callee = planned.leaf.as_ref().map(|leaf| &leaf.callee);
    result.agent_id = callee.filter(|callee| !callee.is_tool()).map(|agent| agent.name().to_string());
    result.tool = callee.filter(|callee| callee.is_tool()).map(|tool| tool.name().to_string());
    let waits = state.is_deferred(activation) && known.phase == Phase::Scheduled;
    result.status = if waits { "waiting" } else { known.phase.status() }.to_owned();
    result.waiting_for = waiting_for(plan, state, activation).map(str::to_owned);
    result.error = known.error.as_deref().filter(|_| known.phase == Phase::Failed).cloned();
    result.skip_reason = known.skip_reason.map(|reason| reason.as_str().to_owned());
    result.alias_for = planned.serves.filter(|_| known.phase == Phase::Completed).map(id_of);
    result.recovered_by = planned.fallback.filter(|_| known.rescue == Rescue::Recovered).map(id_of);
    result.case = state.case_of(plan, activation).map(str::to_owned);
    result.attempts = known.attempts;
    result.compensation = state.fate(activation).map(compensation);
    result.started_at = known.started_at;
    result.completed_at = known.ended_at;
    result.duration = known.started_at.zip(known.ended_at).map(|(start, end)| millis(end.since(start)));
    result
}

fn compensation(fate: Fate<'_>) -> StepCompensation {
    let (status, attempts, error) = match fate {
        Fate::Pending => ("pending", 0, None),
        Fate::Running(attempts) => ("running", attempts, None),
        Fate::Completed(attempts) => ("completed", attempts, None),
        Fate::Failed(attempts, error) => ("failed", attempts, Some(error.clone())),
    };
    StepCompensation::new(status, attempts, error)
}

fn progress(steps: &[StepState]) -> Progress {
    let mut progress = Progress::default();
    progress.total = steps.len() as u32;
    for step in steps {
        match step.phase {
            Phase::Completed => progress.completed += 1,
            Phase::Failed => progress.failed += 1,
            Phase::Skipped => progress.skipped += 1,
            Phase::Cancelled => progress.cancelled += 1,
            Phase::Starting
            | Phase::Running
            | Phase::Between
            | Phase::Backoff
            | Phase::Deciding
            | Phase::Open
            | Phase::Closing
            | Phase::Waiting
            | Phase::Answered => progress.running += 1,
            Phase::Blocked | Phase::Ready | Phase::Before | Phase::Scheduled | Phase::Opening => {}
        }
    }
    let terminal = progress.completed + progress.failed + progress.skipped + progress.cancelled;
    progress.percent = (u64::from(terminal) * 100 / u64::from(progress.total.max(1))) as u32;
    progress
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
