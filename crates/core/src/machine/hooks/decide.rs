//! What a hook is given, and what its answer means.

use std::sync::Arc;

use orchestr8_schema::{
    ErrorKind, Failure,
    event::{Activation, EventBody, HookResult, HookVerdict},
    expression::Template,
    json_schema::Violations,
    validate::ValidKind,
    workflow::{HookMode, HookPoint},
};
use serde_json::{Map, Value, json};

use super::{HookCall, HookRef, HookRun, Stage};
use crate::{
    machine::{Phase, State, Status, decide::composite, scope::StepScope},
    plan::Plan,
};

/// Whose turn it is in a run of hooks.
pub(in crate::machine) enum Turn {
    /// Ours: this is decided next.
    Decide(EventBody),
    /// A hook's, which has not answered.
    Wait,
    /// Nobody's: there is no run, and none to come.
    Over,
}

/// Decides what comes next in the run that is about an activation, or in the last one of a workflow that is about to end.
pub(in crate::machine) fn turn(plan: &Plan, state: &State, activation: Activation) -> Turn {
    let (stage, place) = match state.hooks.runs.get(&activation) {
        Some(HookRun { stage, place, call: HookCall::Due, .. }) => (*stage, *place),
        Some(HookRun { stage, place, call: HookCall::Answered(answer), .. }) => {
            let Some(hook) = state.hooks_of(plan, activation, *stage).get(*place).copied() else { return Turn::Over };
            let result = Arc::new(judge(plan, state, activation, &hook, answer));
            return Turn::Decide(EventBody::HookFinished { activation, hook: hook.id, result });
        }
        Some(_) => return Turn::Wait,
        None if state.is_about_to_end(plan, activation) => (Stage::Ending, 0),
        None => return Turn::Over,
    };
    let Some(hook) = state.hooks_of(plan, activation, stage).get(place).copied() else { return Turn::Over };
    Turn::Decide(match input(plan, state, activation, &hook) {
        Ok(input) => EventBody::HookStarted { activation, hook: hook.id, input: Arc::new(input) },
        Err(error) => {
            let result = Arc::new(failed(state.hook_mode(plan, &hook), Arc::new(error)));
            EventBody::HookFinished { activation, hook: hook.id, result }
        }
    })
}

/// What a hook is given: its template, or `self`.
fn input(plan: &Plan, state: &State, activation: Activation, hook: &HookRef) -> Result<Value, Failure> {
    let own = own(plan, state, activation, hook.id.point);
    let Some((Some(planned), _)) = state.known(plan, hook) else { return Ok(own) };
    let input = match &planned.hook.input {
        None => own,
        Some(template) => {
            let scope = StepScope::of_scope(plan, state, hook.view).about(activation, &own);
            template.resolve(&scope, Template::MAX_INPUT_SIZE).map_err(|error| {
                Failure::new(ErrorKind::Validation, format!("the hook's input cannot be evaluated: {error}"))
            })?
        }
    };
    if let Some(schema) = planned.leaf.callee.input_schema()
        && let Err(violations) = schema.validate(&input)
    {
        let (callee, violations) = (planned.leaf.callee.name(), Violations(&violations));
        let message = format!("the hook's input does not fit the schema of {callee}: {violations}");
        return Err(Failure::new(ErrorKind::Validation, message));
    }
    Ok(input)
}

/// What `self` shows: the step or the workflow that a hook is about.
fn own(plan: &Plan, state: &State, activation: Activation, point: HookPoint) -> Value {
    let mut own = Map::new();
    let mut put = |key: &str, value: Value| {
        own.insert(key.to_owned(), value);
    };
    let (input, output, error, status) = match state.activation(activation) {
        Some(step) => {
            put("stepId", plan.steps()[step.step.get()].id.as_str().into());
            put("stepPath", state.path_of(plan, activation).as_str().into());
            match point {
                HookPoint::AfterExecution | HookPoint::OnError if !step.phase.is_terminal() => {
                    let end = step.composite.as_ref().and_then(|composite| composite.end.as_ref());
                    match end {
                        Some(Err(error)) => (step.input.clone(), None, Some(Arc::clone(error)), "failed"),
                        _ => (step.input.clone(), composite::child_output(plan, state, activation), None, "completed"),
                    }
                }
                _ => (step.input.clone(), step.output.clone(), step.error.clone(), step.phase.status()),
            }
        }
        None => {
            let error = state.error().cloned().or_else(|| {
                let cancelling = state.cancelling().filter(|_| state.status == Status::Cancelling)?;
                Some(Arc::new(Failure::new(ErrorKind::Cancelled, &cancelling.reason)))
            });
            let (status, output) = match state.status {
                Status::Failing => ("failed", None),
                Status::Cancelling => ("cancelled", None),
                _ => ("completed", composite::own_outputs(plan, state).map(Arc::new)),
            };
            (state.input().cloned(), output.filter(|_| point == HookPoint::AfterExecution), error, status)
        }
    };
    let is_before = point.allows_guards();
    put("input", input.as_deref().cloned().unwrap_or_default());
    if let Some(output) = output.filter(|_| !is_before) {
        put("output", Value::clone(&output));
    }
    if let Some(error) = error.filter(|_| !is_before) {
        put("error", json!(error));
    }
    put("point", point.key().into());
    if !is_before {
        put("status", status.into());
    }
    Value::Object(own)
}

/// What an answer means. Observers are not listened to; a guard that says nothing clear denies.
fn judge(
    plan: &Plan,
    state: &State,
    activation: Activation,
    hook: &HookRef,
    answer: &Result<Arc<Value>, Arc<Failure>>,
) -> HookResult {
    let mode = state.hook_mode(plan, hook);
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return failed(mode, Arc::clone(error)),
    };
    let nothing = HookResult { verdict: HookVerdict::Allow, reason: None, error: None };
    if mode == HookMode::Observer {
        return nothing;
    }
    let reason = answer.get("reason").and_then(Value::as_str).map(str::to_owned);
    match (answer.get("decision").and_then(Value::as_str), answer.get("input")) {
        (Some("allow"), None) => HookResult { reason, ..nothing },
        (Some("allow"), Some(input)) => match replaced(plan, state, activation, input) {
            Ok(input) => HookResult { verdict: HookVerdict::Replace(Arc::new(input)), reason, error: None },
            Err(message) => failed(mode, Arc::new(Failure::new(ErrorKind::Validation, message))),
        },
        (Some("deny"), _) => HookResult { verdict: HookVerdict::Deny, reason, error: None },
        _ => {
            let message = "the guard's answer is neither `allow` nor `deny`";
            failed(mode, Arc::new(Failure::new(ErrorKind::Validation, message)))
        }
    }
}

fn failed(mode: HookMode, error: Arc<Failure>) -> HookResult {
    let verdict = if mode == HookMode::Guard { HookVerdict::Deny } else { HookVerdict::Allow };
    HookResult { verdict, reason: None, error: Some(error) }
}

/// Checks what a guard puts in the place of an input, as the input was checked.
fn replaced(plan: &Plan, state: &State, activation: Activation, input: &Value) -> Result<Value, String> {
    let unfit = |violations: &[_]| format!("the input that the guard gives does not fit: {}", Violations(violations));
    let Some(step) = state.activation(activation) else {
        return plan.workflow().check_input(input.clone()).map_err(|violations| unfit(&violations));
    };
    let planned = &plan.steps()[step.step.get()];
    let valid = plan.valid_step(step.step);
    if !input.is_object() {
        return Err("the input that the guard gives is not an object".to_owned());
    }
    let own = valid.input.schema().filter(|_| step.phase == Phase::Before);
    let callee = planned.leaf.as_ref().and_then(|leaf| leaf.callee.input_schema());
    for schema in own.into_iter().chain(callee) {
        schema.validate(input).map_err(|violations| unfit(&violations))?;
    }
    match &valid.kind {
        ValidKind::Workflow(child) => child.check_input(input.clone()).map_err(|violations| unfit(&violations)),
        _ => Ok(input.clone()),
    }
}
