//! An execution as people and other systems see it: the REST body, made from plan and state.

use std::sync::Arc;

use orchestr8_schema::{
    Failure, StepIndex, StepPath,
    api::{
        Approval, AttemptRecord, BudgetState, Execution, ExecutionStatus, ExecutionSummary, ExecutionUsage, Progress,
        StepCompensation, StepDetail, StepResult, WaitingFor, WorkflowSummary,
    },
    event::{Activation, CallId, Event, EventBody, Reuse},
    policy::OnError,
    validate::{ValidKind, ValidWait},
    workflow::OnTimeout,
};
use serde_json::Value;

use crate::{
    execution::variables,
    machine::{
        Phase, Rescue, State, Status, StepState,
        budget::Balance,
        compensation::Fate,
        decide::composite::{default_output, outputs_by_id},
    },
    plan::Plan,
    redact::{Annotations, Redactor},
    truncate,
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

/// Renders an execution, secrets hidden.
pub(crate) fn execution(plan: &Plan, state: &State) -> Execution {
    execution_in_order(plan, state, &in_order(plan, state))
}

/// Renders an execution whose activations are in step-path order.
pub(crate) fn execution_in_order(plan: &Plan, state: &State, steps: &[(StepPath, Activation)]) -> Execution {
    let Some(queued) = state.queued() else { unreachable!("whoever renders an execution has folded its first event") };
    let workflow = workflow_summary(plan);
    let mut body = Execution::new(queued.execution_id, queued.correlation_id.clone(), workflow, status(state));
    body.compensation = state.compensation();
    body.progress = progress(state.steps());
    body.forked_from = queued.forked_from;
    body.last_sequence = state.sequence();
    body.started_at = state.started_at();
    body.completed_at = state.ended_at();
    body.duration = state.started_at().zip(state.ended_at()).map(|(start, end)| millis(end.since(start)));
    let (annotations, redactor) = redactor(plan, state);
    body.outputs = outputs(plan, state);
    if let (Some(outputs), None) = (&mut body.outputs, state.outputs()) {
        annotations.hide_outputs(plan, outputs);
    }
    if body.outputs.as_ref().is_some_and(|outputs| outputs.to_string().len() > MAX_OUTPUT_BYTES) {
        body.outputs = None;
        body.truncated = true;
    }
    body.outputs.iter_mut().for_each(|outputs| redactor.redact(outputs));
    if state.status() == Status::Completed {
        let mut variables = variables(plan, state);
        redactor.redact_map(&mut variables);
        body.variables = Some(variables).filter(|variables| !variables.is_empty());
    }
    body.usage = Some(state.execution_usage()).filter(|usage| *usage != ExecutionUsage::default());
    let balances = state.balances(plan).into_iter();
    body.budget = balances
        .map(|Balance { budget, limit, reserved, spent }| {
            (budget.key().to_owned(), BudgetState { limit, reserved, spent })
        })
        .collect();
    body.errors = errors(plan, state).map(|error| Failure::clone(error)).collect();
    body.errors.iter_mut().for_each(|error| redactor.redact_failure(error));

    body.steps_truncated = steps.len() > MAX_STEPS;
    for (path, activation) in steps {
        let step = &state.steps()[activation.get()];
        if let Some(kind) = waiting_for(plan, state, *activation)
            && body.waiting_for.len() < MAX_WAITING
        {
            let mut waiting = WaitingFor::new(kind, path.as_str(), step.due_at);
            if let ValidKind::Wait(ValidWait::Signal { name, .. }) = &plan.valid_step(step.step).kind {
                waiting.name = Some(name.to_string());
            }
            body.waiting_for.push(waiting);
        }
    }
    let shown = steps.iter().take(MAX_STEPS);
    body.steps = shown.map(|(path, activation)| self::step(plan, state, *activation, path)).collect();
    for step in &mut body.steps {
        hide(&redactor, step);
    }
    for waiting in &mut body.waiting_for {
        redactor.redact_text(&mut waiting.step_path);
    }
    body
}

/// Renders what a list tells of an execution.
pub(crate) fn summary(plan: &Plan, state: &State) -> ExecutionSummary {
    let Some(queued) = state.queued() else { unreachable!("whoever renders an execution has folded its first event") };
    let activations = (0..state.steps().len() as u32).map(Activation);
    let waiting = activations.filter(|activation| waiting_for(plan, state, *activation).is_some());
    let (started_at, completed_at) = (state.started_at(), state.ended_at());
    ExecutionSummary {
        execution_id: queued.execution_id,
        workflow: workflow_summary(plan),
        status: status(state),
        progress: progress(state.steps()),
        correlation_id: queued.correlation_id.clone(),
        started_at,
        completed_at,
        duration: started_at.zip(completed_at).map(|(start, end)| millis(end.since(start))),
        error_count: errors(plan, state).count() as u32,
        waiting_count: waiting.count() as u32,
    }
}

fn workflow_summary(plan: &Plan) -> WorkflowSummary {
    let workflow = plan.workflow().workflow();
    WorkflowSummary {
        id: workflow.metadata.id.clone(),
        name: workflow.metadata.name.clone(),
        version: Some(workflow.version.clone()),
    }
}

/// Renders all steps in step-path order, each with the path of the composite that it stands in.
pub(crate) fn steps(plan: &Plan, state: &State) -> Vec<(StepResult, Option<String>)> {
    steps_in_order(plan, state, &in_order(plan, state)).collect()
}

/// Renders steps whose activations are in step-path order, as they are asked for.
pub(crate) fn steps_in_order<'a>(
    plan: &'a Plan,
    state: &'a State,
    steps: &'a [(StepPath, Activation)],
) -> impl Iterator<Item = (StepResult, Option<String>)> + 'a {
    let (_, redactor) = redactor(plan, state);
    steps.iter().map(move |(path, activation)| {
        let mut step = self::step(plan, state, *activation, path);
        hide(&redactor, &mut step);
        let parent = state.parent_of(*activation).map(|parent| state.path_of(plan, parent).to_string());
        (step, parent)
    })
}

/// Renders one step in full; absent if there is none of this path.
pub(crate) fn step_detail(plan: &Plan, state: &State, events: &[Event], path: &str) -> Option<StepDetail> {
    let (place, activation) = in_order(plan, state).into_iter().find(|(place, _)| place.as_str() == path)?;
    let (annotations, redactor) = redactor(plan, state);
    let known = &state.steps()[activation.get()];
    let mut step = self::step(plan, state, activation, &place);
    hide(&redactor, &mut step);
    let mut input = known.input.as_deref().cloned();
    step.output = match known.phase {
        Phase::Completed => {
            Some(known.output.as_deref().cloned().unwrap_or_else(|| default_output(plan, state, activation)))
        }
        _ => None,
    };
    annotations.hide_step(known.step, input.as_mut(), step.output.as_mut());
    let mut original_size = None;
    for value in [input.as_mut(), step.output.as_mut()].into_iter().flatten() {
        redactor.redact(value);
        original_size = truncate::output(value).max(original_size);
    }
    let mut detail = StepDetail::new(step);
    detail.input = input;
    detail.resilience = attempts(events, activation);
    for error in detail.resilience.iter_mut().filter_map(|attempt| attempt.error.as_mut()) {
        redactor.redact_failure(error);
    }
    (detail.truncated, detail.original_size) = (original_size.is_some(), original_size);
    Some(detail)
}

/// Lists the approvals that an execution waits for, in step-path order.
pub(crate) fn approvals(plan: &Plan, state: &State) -> Vec<Approval> {
    let Some(queued) = state.queued() else { return Vec::new() };
    let (_, redactor) = redactor(plan, state);
    let workflow = &plan.workflow().workflow().metadata;
    let waiting = in_order(plan, state).into_iter().filter_map(|(path, activation)| {
        let step = &state.steps()[activation.get()];
        let ValidKind::Approval(approval) = &plan.valid_step(step.step).kind else { return None };
        (step.phase == Phase::Waiting).then(|| {
            let prompt = step.input.as_deref().and_then(|input| input["prompt"].as_str()).unwrap_or_default();
            let mut prompt = prompt.to_owned();
            redactor.redact_text(&mut prompt);
            Approval {
                execution_id: queued.execution_id,
                workflow: WorkflowSummary { id: workflow.id.clone(), name: workflow.name.clone(), version: None },
                step_path: path.to_string(),
                prompt,
                schema: approval.schema.as_ref().map(|schema| schema.schema().clone()),
                requested_at: step.scheduled_at.unwrap_or_default(),
                expires_at: step.due_at,
                on_timeout: match approval.on_timeout {
                    OnTimeout::Fail => "fail",
                    OnTimeout::Reject => "reject",
                    OnTimeout::Answer(_) => "answer",
                }
                .to_owned(),
            }
        })
    });
    waiting.collect()
}

/// The definition as it is executed.
pub(crate) fn workflow(plan: &Plan, state: &State) -> Value {
    let mut workflow = plan.workflow().to_bundle();
    redactor(plan, state).1.redact(&mut workflow);
    workflow
}

/// What is known of an execution's secrets.
pub(crate) fn redactor<'a>(plan: &'a Plan, state: &State) -> (&'a Annotations, Redactor) {
    let (annotations, mut redactor) = (plan.annotations(), plan.secrets().clone());
    annotations.learn_state(&mut redactor, state);
    (annotations, redactor)
}

fn hide(redactor: &Redactor, step: &mut StepResult) {
    redactor.redact_text(&mut step.step_path);
    if let Some(error) = &mut step.error {
        redactor.redact_failure(error);
    }
}

/// All activations in step-path order.
fn in_order(plan: &Plan, state: &State) -> Vec<(StepPath, Activation)> {
    let mut steps: Vec<_> = (0..state.steps().len() as u32)
        .map(|index| (state.path_of(plan, Activation(index)), Activation(index)))
        .collect();
    steps.sort_unstable();
    steps
}

/// The attempts of a step, with the delays between them.
fn attempts(events: &[Event], of: Activation) -> Vec<AttemptRecord> {
    let mut attempts: Vec<AttemptRecord> = Vec::new();
    for event in events {
        match &event.body {
            EventBody::AttemptStarted { call: CallId::Step(activation), attempt, .. } if *activation == of => {
                attempts.push(AttemptRecord::started(*attempt, event.at));
            }
            EventBody::AttemptFinished { call: CallId::Step(activation), result, .. } if *activation == of => {
                if let Some(last) = attempts.last_mut() {
                    last.completed_at = Some(event.at);
                    last.error = result.as_ref().err().map(|error| Failure::clone(error));
                }
            }
            EventBody::RetryScheduled { call: CallId::Step(activation), delay, .. } if *activation == of => {
                if let Some(last) = attempts.last_mut() {
                    last.delay_ms = Some(millis(*delay));
                }
            }
            _ => {}
        }
    }
    attempts
}

/// What a step waits for, if it waits.
pub(crate) fn waiting_for(plan: &Plan, state: &State, activation: Activation) -> Option<&'static str> {
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
    // Read from a journal, the same failure is there twice.
    let others = fatal.filter(move |error| own.is_some_and(|own| own != *error));
    own.into_iter().chain(others)
}

/// Shows the status of a step.
pub(crate) fn step_status(state: &State, activation: Activation) -> &'static str {
    let known = &state.steps()[activation.get()];
    let waits = state.is_deferred(activation) && known.phase == Phase::Scheduled;
    if waits { "waiting" } else { known.phase.status() }
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
    result.status = step_status(state, activation).to_owned();
    result.waiting_for = waiting_for(plan, state, activation).map(str::to_owned);
    result.error = known.error.as_deref().filter(|_| known.phase == Phase::Failed).cloned();
    result.skip_reason = known.skip_reason.map(|reason| reason.as_str().to_owned());
    result.alias_for = planned.serves.filter(|_| known.phase == Phase::Completed).map(id_of);
    result.recovered_by = planned.fallback.filter(|_| known.rescue == Rescue::Recovered).map(id_of);
    result.reused = known.phase == Phase::Completed && known.reuse == Some(Reuse::Reused);
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
