//! What each event means, for people and as data.

use std::{borrow::Cow, sync::Arc};

use orchestr8_agent_base::context::{ExecutionIdentity, compensation_key, input_digest, structural_key};
use orchestr8_schema::{
    StepIndex, StepPath, Timestamp,
    api::Compensation,
    canonical,
    event::{
        Activation, CallId, CircuitStateName, Durable, Event, EventBody, HookId, HookOwner, HookVerdict, LogEntry,
        LoopVerdict, ModelCall, QueueName, Reuse, TimeoutScope, Timer, ToolCall,
    },
    expression::{Root, Scope, StepField},
    json_schema::JsonValidator,
    validate::{ValidKind, ValidWait},
    workflow::{DefaultCase, HookMode},
};
use serde_json::{Map, Value, json};

use super::{Renderer, millis};
use crate::{
    machine::{compensation::Fate, decide::composite::default_output, fold},
    plan::Plan,
    view,
};

impl Renderer {
    /// Says what an event means, for people and as data, against the state before it.
    pub(super) fn describe(&self, event: &Event) -> (String, Map<String, Value>) {
        let state = |activation: Activation| self.state.activation(activation);
        let planned = |activation| state(activation).map(|step| &self.plan.steps()[step.step.get()]);
        let kind = |activation| state(activation).map(|step| self.plan.declaration(step.step).kind.key());
        let id = |step: StepIndex| self.plan.steps().get(step.get()).map(|step| step.id.to_string());
        let id_of = |activation| planned(activation).map(|step| step.id.to_string());
        let path =
            |activation| self.state.step_path(&self.plan, activation).map_or_else(String::new, |path| path.to_string());
        let call_id = |call: CallId| match call {
            CallId::Step(activation) => format!("{}/step", path(activation)),
            CallId::Compensation(activation) => format!("{}/compensation", path(activation)),
            CallId::Hook(activation) => self.hook_call_id(activation),
        };
        let named = |call: CallId| match call {
            CallId::Step(activation) => path(activation),
            CallId::Compensation(activation) => format!("the compensation of {}", path(activation)),
            CallId::Hook(activation) => self.hook_call_id(activation),
        };
        let (message, data) = match &event.body {
            EventBody::ExecutionQueued(queued) => (
                format!("execution of {} queued", queued.workflow.id()),
                json!({
                    "workflow": queued.workflow,
                    "workflowDigest": digest(&queued.workflow),
                    "agentVersions": agent_versions(&self.plan, &queued.agent_versions),
                    "input": queued.input,
                    "variables": queued.variables,
                    "env": queued.env,
                    "idempotencyKey": queued.idempotency_key,
                    "budget": queued.budget,
                    "forkedFrom": queued.forked_from,
                    "retained": queued.retained.as_ref().map(|retained| retained.len()),
                }),
            ),
            EventBody::ExecutionStarted { epoch } => ("execution started".to_owned(), json!({ "epoch": epoch })),
            EventBody::ExecutionRecovered { epoch } => ("execution recovered".to_owned(), json!({ "epoch": epoch })),
            EventBody::ExecutionPaused { reason } => (told("execution paused", reason), json!({ "reason": reason })),
            EventBody::ExecutionResumed { reason } => (told("execution resumed", reason), json!({ "reason": reason })),
            EventBody::ExecutionReopened(reopening) => {
                let rerun: Vec<_> = reopening.rerun.iter().map(|activation| path(*activation)).collect();
                let told = match rerun.len() {
                    1 => "execution reopened: 1 step runs again".to_owned(),
                    count => format!("execution reopened: {count} steps run again"),
                };
                (told, json!({ "rerun": rerun, "budget": reopening.budget }))
            }
            EventBody::ExecutionCancelling(request) => (
                format!("cancellation requested: {}", request.reason),
                json!({
                    "reason": request.reason,
                    "gracePeriodMs": millis(request.grace_period),
                    "requestedBy": request.requested_by,
                    "supersededBy": request.superseded_by,
                }),
            ),
            EventBody::ExecutionFailing { error } => {
                (format!("execution is failing: {error}"), json!({ "error": error }))
            }
            EventBody::ExecutionCompleted { outputs } => {
                let mut completed = self.state.clone();
                fold(&self.plan, &mut completed, event);
                let outputs = match outputs {
                    Some(outputs) => Value::clone(outputs),
                    None => view::outputs(&self.plan, &completed).unwrap_or_default(),
                };
                let variables = crate::execution::variables(&self.plan, &completed);
                ("execution completed".to_owned(), json!({ "outputs": outputs, "variables": variables }))
            }
            EventBody::ExecutionFailed => {
                let error = self.state.error();
                let data = json!({ "error": error, "errors": view::errors(&self.plan, &self.state).collect::<Vec<_>>(), "compensation": self.state.compensation() });
                (
                    error.map_or_else(|| "execution failed".to_owned(), |error| format!("execution failed: {error}")),
                    data,
                )
            }
            EventBody::ExecutionCancelled { graceful } => {
                let request = self.state.cancelling();
                (
                    "execution cancelled".to_owned(),
                    json!({
                        "reason": request.map(|request| &request.reason),
                        "graceful": graceful,
                        "cancelMs": self.cancelling_at.map(|start| millis(event.at.since(start))),
                        "compensation": self.state.compensation(),
                    }),
                )
            }
            EventBody::StepScheduled { activation, input, idempotency_key, reuse } => {
                let leaf = planned(*activation).and_then(|step| step.leaf.as_ref());
                let callee = leaf.map(|leaf| &leaf.callee);
                let digest = self.input_digest(*activation, input);
                (
                    format!("{} scheduled", path(*activation)),
                    json!({
                        "kind": kind(*activation),
                        "agentId": callee.filter(|callee| !callee.is_tool()).map(|agent| &**agent.name()),
                        "tool": callee.filter(|callee| callee.is_tool()).map(|tool| &**tool.name()),
                        "input": input,
                        "inputDigest": digest,
                        "idempotencyKey": self.idempotency_key(*activation, &digest, idempotency_key.as_deref()),
                        "reuse": reuse.map(Reuse::as_str),
                    }),
                )
            }
            EventBody::StepStarted { activation } => {
                let dependencies: Option<Vec<_>> = state(*activation).map(|step| {
                    let unit = self.plan.unit_of(step.step);
                    let valid = self.plan.valid_step(step.step);
                    valid.dependencies.iter().filter_map(|step| id(unit.global(*step))).collect()
                });
                let data = json!({ "kind": kind(*activation), "dependencies": dependencies });
                (format!("{} started", path(*activation)), data)
            }
            EventBody::StepWaiting { activation, due_at } => {
                let valid = state(*activation).map(|step| &self.plan.valid_step(step.step).kind);
                let (what, signal) = match valid {
                    Some(ValidKind::Wait(ValidWait::Signal { name, .. })) => ("signal", Some(name.as_str())),
                    Some(ValidKind::Approval(_)) => ("approval", None),
                    _ => ("timer", None),
                };
                (
                    format!(
                        "{} waits for {}",
                        path(*activation),
                        signal.map_or(what.to_owned(), |name| format!("signal {name}"))
                    ),
                    json!({ "waitingFor": what, "dueAt": due_at, "signal": signal }),
                )
            }
            EventBody::StepCompleted { activation, output } => {
                let known = state(*activation);
                let is_reused = known.is_some_and(|step| step.reuse == Some(Reuse::Reused));
                let duration = known.and_then(|step| step.started_at).map(|start| millis(event.at.since(start)));
                let output = match output {
                    Some(output) => Value::clone(output),
                    None if is_reused => known.and_then(|step| step.output.as_deref()).cloned().unwrap_or_default(),
                    None => default_output(&self.plan, &self.state, *activation),
                };
                let origin = self.state.queued().and_then(|queued| queued.forked_from).filter(|_| is_reused);
                let serves = planned(*activation).and_then(|step| step.serves);
                (
                    format!("{} completed", path(*activation)),
                    json!({
                        "attempts": known.map(|step| step.attempts),
                        "duration": duration,
                        "aliasFor": serves.and_then(id),
                        "case": self.state.case_of(&self.plan, *activation),
                        "captures": self.captures(*activation, &output),
                        "reused": is_reused.then_some(true),
                        "from": origin.map(|from| from.execution_id),
                        "output": output,
                    }),
                )
            }
            EventBody::StepFailed { activation, error, fatal } => {
                let known = state(*activation);
                let duration = known.and_then(|step| step.started_at).map(|start| millis(event.at.since(start)));
                (
                    format!("{} failed: {error}", path(*activation)),
                    json!({ "error": error, "attempts": error.attempts, "duration": duration, "fatal": fatal }),
                )
            }
            EventBody::StepSkipped { activation, reason, dependency } => {
                let dependency = dependency.and_then(id);
                (
                    format!("{} skipped: {}", path(*activation), reason.as_str()),
                    json!({ "skipReason": reason.as_str(), "dependency": dependency }),
                )
            }
            EventBody::StepCancelled { activation, forced } => {
                let reason = self.state.reason_of_cancelling(&self.plan, *activation);
                (format!("{} cancelled", path(*activation)), json!({ "reason": reason, "forced": forced }))
            }
            EventBody::StepFallback { activation, fallback } => (
                format!("{} stands in for {}", path(*fallback), path(*activation)),
                json!({ "fallbackStepId": id_of(*fallback) }),
            ),
            EventBody::StepRecovered { activation, fallback } => (
                format!("{} was recovered by {}", path(*activation), path(*fallback)),
                json!({ "fallbackStepId": id_of(*fallback) }),
            ),
            EventBody::StepFallbackFailed { activation, fallback } => (
                format!("{} was not recovered by {}", path(*activation), path(*fallback)),
                json!({ "fallbackStepId": id_of(*fallback), "error": state(*fallback).and_then(|step| step.error.as_ref()) }),
            ),
            EventBody::BranchDecided { activation, case } => {
                let name = match state(*activation).map(|step| &self.plan.valid_step(step.step).kind) {
                    Some(ValidKind::Branch(branch)) => {
                        branch.cases.get(*case as usize).map_or(DefaultCase::NAME, |case| &*case.name)
                    }
                    _ => DefaultCase::NAME,
                };
                (format!("{} takes {name}", path(*activation)), json!({ "case": name }))
            }
            EventBody::ParallelJoined { activation, completed } => {
                (format!("{} joined: {completed} have completed", path(*activation)), json!({ "completed": completed }))
            }
            EventBody::MapOpened { activation, items } => (
                format!("{} runs for {} items", path(*activation), items.items.len()),
                json!({ "items": items.items, "keys": items.keys }),
            ),
            EventBody::MapItemFinished { activation, index, result } => {
                let key = self.state.item_key(*activation, *index);
                let mut data = json!({ "index": index, "key": key, "accumulator": result.accumulator });
                let status = match &result.outcome {
                    Ok(value) => {
                        data["value"] = Value::clone(value);
                        "completed"
                    }
                    Err(error) => {
                        data["error"] = json!(error);
                        "failed"
                    }
                };
                data["status"] = json!(status);
                (format!("item {index} of {} {status}", path(*activation)), data)
            }
            EventBody::LoopDecided { activation, decision } => {
                let (goes_on, reason, due_at) = match decision.verdict {
                    LoopVerdict::Continue { due_at } => (true, None, due_at),
                    LoopVerdict::Condition => (false, Some("condition"), None),
                    LoopVerdict::Limit => (false, Some("limit"), None),
                };
                let what = if goes_on { "goes on" } else { "ends" };
                (
                    format!("{} {what} at iteration {}", path(*activation), decision.index),
                    json!({
                        "index": decision.index,
                        "continue": goes_on,
                        "reason": reason,
                        "value": decision.value,
                        "dueAt": due_at,
                    }),
                )
            }
            EventBody::SignalReceived(signal) => (
                format!("signal {} received", signal.name),
                json!({
                    "name": signal.name,
                    "payload": signal.payload,
                    "signalId": signal.signal_id,
                    "path": signal.step_path,
                }),
            ),
            EventBody::SignalDelivered { activation, signal_sequence } => {
                let name = match state(*activation).map(|step| &self.plan.valid_step(step.step).kind) {
                    Some(ValidKind::Wait(ValidWait::Signal { name, .. })) => Some(name.as_str()),
                    _ => None,
                };
                (
                    format!("{} takes signal {}", path(*activation), name.unwrap_or_default()),
                    json!({ "name": name, "signalSequence": signal_sequence }),
                )
            }
            EventBody::ApprovalRequested { activation, expires_at } => {
                let input = state(*activation).and_then(|step| step.input.as_deref());
                let schema = match state(*activation).map(|step| &self.plan.valid_step(step.step).kind) {
                    Some(ValidKind::Approval(approval)) => approval.schema.as_ref().map(JsonValidator::schema),
                    _ => None,
                };
                (
                    format!("{} asks for approval", path(*activation)),
                    json!({ "prompt": input.map(|input| &input["prompt"]), "schema": schema, "expiresAt": expires_at }),
                )
            }
            EventBody::ApprovalAnswered { activation, answer } => (
                format!("{} was answered: {}", path(*activation), answer.decision.as_str()),
                json!({
                    "decision": answer.decision.as_str(),
                    "answer": answer.answer,
                    "comment": answer.comment,
                    "by": answer.by,
                }),
            ),
            EventBody::CompensationStarted { order } => (
                format!("compensation of {} steps started", order.len()),
                json!({ "paths": order.iter().map(|activation| path(*activation)).collect::<Vec<_>>() }),
            ),
            EventBody::CompensationStepStarted { activation, input, idempotency_key } => {
                let callee = planned(*activation).and_then(|step| step.compensation.as_ref()).map(|leaf| &leaf.callee);
                (
                    format!("the compensation of {} started", path(*activation)),
                    json!({
                        "agentId": callee.filter(|callee| !callee.is_tool()).map(|agent| &**agent.name()),
                        "tool": callee.filter(|callee| callee.is_tool()).map(|tool| &**tool.name()),
                        "input": input,
                        "idempotencyKey": self.compensation_key(*activation, idempotency_key.as_deref()),
                    }),
                )
            }
            EventBody::CompensationStepCompleted { activation } => (
                format!("the effect of {} was undone", path(*activation)),
                json!({ "attempts": self.compensation_attempts(*activation) }),
            ),
            EventBody::CompensationStepFailed { activation, error } => (
                format!("the effect of {} was not undone: {error}", path(*activation)),
                json!({ "attempts": self.compensation_attempts(*activation), "error": error }),
            ),
            EventBody::CompensationFinished { result } => {
                let complete = *result == Compensation::Complete;
                let message = if complete { "compensation is complete" } else { "compensation is incomplete" };
                (message.to_owned(), json!({ "result": result }))
            }
            EventBody::HookStarted { activation, hook, input } => {
                let mut data = self.hook_data(*activation, hook);
                data["input"] = Value::clone(input);
                (format!("hook {} is called", self.hook_name(*activation, hook)), data)
            }
            EventBody::HookFinished { activation, hook, result } => {
                let mut data = self.hook_data(*activation, hook);
                let since = self.state.hook_in_progress(&self.plan, *activation).map(|called| called.since);
                data["duration"] = json!(since.map(|since| millis(event.at.since(since))));
                data["reason"] = json!(result.reason);
                data["error"] = json!(result.error);
                let is_guard = data["mode"] == HookMode::Guard.as_str();
                let what = match &result.verdict {
                    HookVerdict::Deny => "denies",
                    _ if result.error.is_some() => "failed",
                    HookVerdict::Replace(_) => "allows, with another input",
                    HookVerdict::Allow if is_guard => "allows",
                    HookVerdict::Allow => "has looked on",
                };
                if let HookVerdict::Replace(input) = &result.verdict {
                    data["input"] = Value::clone(input);
                }
                if is_guard {
                    data["decision"] = json!(if result.verdict == HookVerdict::Deny { "deny" } else { "allow" });
                }
                (format!("hook {} {what}", self.hook_name(*activation, hook)), data)
            }
            EventBody::AttemptStarted { call, attempt, restart, timeout, reserved } => (
                format!("attempt {attempt} of {} started", named(*call)),
                json!({
                    "callId": call_id(*call),
                    "restart": restart,
                    "timeoutMs": timeout.map(millis),
                    "reserved": reserved,
                }),
            ),
            EventBody::AttemptFinished { call, attempt, result, is_final, usage } => {
                let duration = self.attempt_began(*call).map(|start| millis(event.at.since(start)));
                let mut data =
                    json!({ "callId": call_id(*call), "final": is_final, "duration": duration, "usage": usage });
                match result {
                    Ok(output) => {
                        data["output"] = Value::clone(output);
                        (format!("attempt {attempt} of {} succeeded", named(*call)), data)
                    }
                    Err(error) => {
                        data["error"] = json!(error);
                        (format!("attempt {attempt} of {} failed: {error}", named(*call)), data)
                    }
                }
            }
            EventBody::AttemptDeferred { call } => (
                format!("an attempt of {} waits for the budget", named(*call)),
                json!({ "callId": call_id(*call), "reason": "budget" }),
            ),
            EventBody::BudgetExceeded { budget, .. } => {
                let balance = self.state.balances(&self.plan).into_iter().find(|balance| balance.budget == *budget);
                let (limit, used) = (balance.map(|balance| balance.limit), balance.map(|balance| balance.spent));
                let data = json!({ "budget": budget.key(), "limit": limit, "used": used });
                (format!("the budget's {} is spent", budget.key()), data)
            }
            EventBody::AttemptRejected { call, error, is_final } => (
                format!("an attempt of {} was rejected: {error}", named(*call)),
                json!({ "callId": call_id(*call), "error": error, "final": is_final }),
            ),
            EventBody::RetryScheduled { call, attempt, delay, due_at } => (
                format!("attempt {attempt} of {} in {}", named(*call), orchestr8_schema::Millis::from(*delay)),
                json!({ "callId": call_id(*call), "delayMs": millis(*delay), "dueAt": due_at }),
            ),
            EventBody::TimerFired { timer } => {
                let name = match timer {
                    Timer::ExecutionDeadline => "execution-deadline".to_owned(),
                    Timer::StepDeadline(activation) => format!("{}/deadline", path(*activation)),
                    Timer::Wait(activation) => format!("{}/wait", path(*activation)),
                    Timer::Grace => "grace".to_owned(),
                    Timer::Compensation => "compensation".to_owned(),
                };
                (format!("timer {name} fired"), json!({ "timerId": name }))
            }
            EventBody::TimeoutExceeded { scope, timeout } => {
                let scope = match scope {
                    TimeoutScope::Attempt(..) => "attempt",
                    TimeoutScope::Step(_) => "step",
                    TimeoutScope::Execution => "execution",
                };
                let timeout = orchestr8_schema::Millis::from(*timeout);
                (format!("the {scope} took longer than {timeout}"), json!({ "scope": scope, "timeoutMs": timeout }))
            }
            EventBody::CircuitChanged(change) => {
                let state = match change.state {
                    CircuitStateName::Closed => "closed",
                    CircuitStateName::Open => "open",
                    CircuitStateName::HalfOpen => "half-open",
                };
                (
                    format!("circuit {} is {state} now", change.key),
                    json!({ "key": change.key, "reason": change.reason, "reopensAt": change.reopens_at }),
                )
            }
            EventBody::DurableRecorded(durable) => {
                let Durable { call, key, digest, value, usage, .. } = &**durable;
                let call_id = call_id(*call);
                let data = json!({ "callId": call_id, "key": key, "digest": digest, "value": value, "usage": usage });
                (format!("{} has recorded {key}", named(*call)), data)
            }
            EventBody::ModelCalled(called) => {
                let ModelCall { call, provider, model, chain, turn, usage, duration, error, .. } = &**called;
                let what = if error.is_some() { "could not ask" } else { "asked" };
                (
                    format!("{} {what} {provider}/{model}", named(*call)),
                    json!({
                        "callId": call_id(*call),
                        "provider": provider,
                        "model": model,
                        "resolution": chain,
                        "turn": turn,
                        "usage": usage,
                        "costUsd": usage.as_ref().map(|usage| usage.cost_usd),
                        "duration": millis(*duration),
                        "error": error,
                    }),
                )
            }
            EventBody::ToolCalled(called) => {
                let ToolCall { call, tool, turn, duration, error, is_denied, .. } = &**called;
                let what = match (is_denied, error) {
                    (true, _) => "was not given",
                    (false, Some(_)) => "called in vain",
                    (false, None) => "called",
                };
                (
                    format!("{} {what} tool {tool}", named(*call)),
                    json!({
                        "callId": call_id(*call),
                        "tool": tool,
                        "turn": turn,
                        "duration": duration.map(millis),
                        "error": error,
                    }),
                )
            }
            EventBody::LogEntry(entry) => {
                let LogEntry { call, level, message, data, .. } = &**entry;
                let level = level.as_str();
                let facts = json!({ "callId": call_id(*call), "level": level, "message": message, "data": data });
                (format!("{}: {message}", named(*call)), facts)
            }
            EventBody::PermitWaited(wait) => {
                let queue = match wait.queue {
                    QueueName::RateLimit => "rate limit",
                    QueueName::Bulkhead => "bulkhead",
                };
                let verb = if wait.rejected { "was refused by" } else { "waited for" };
                (
                    format!("{} {verb} {queue} {}", named(wait.call), wait.key),
                    json!({ "key": wait.key, "waitedMs": millis(wait.waited), "rejected": wait.rejected }),
                )
            }
        };
        let mut data = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        data.retain(|_, value| !value.is_null());
        (message, data)
    }

    /// Which hook it is, for people.
    fn hook_name(&self, activation: Activation, hook: &HookId) -> String {
        let path = self.state.step_path(&self.plan, activation);
        let path = path.as_ref().map_or("execution", StepPath::as_str);
        format!("{path}/{}/{}", hook.point.key(), hook.index)
    }

    fn hook_data(&self, activation: Activation, hook: &HookId) -> Value {
        let known = match hook.owner {
            HookOwner::Engine => self.state.engine_hooks().get(hook.index as usize),
            HookOwner::Workflow { .. } | HookOwner::Step => None,
        };
        json!({
            "point": hook.point.key(),
            "index": hook.index,
            "mode": self.state.mode_of(&self.plan, activation, hook).map(HookMode::as_str),
            "hook": known.map(|known| &known.name),
        })
    }

    fn hook_call_id(&self, activation: Activation) -> String {
        match self.state.hook_in_progress(&self.plan, activation) {
            Some(called) => format!("{}/hook", self.hook_name(activation, &called.hook.id)),
            None => "hook".to_owned(),
        }
    }

    fn input_digest(&self, activation: Activation, input: &Value) -> String {
        let step = self.state.activation(activation).and_then(|step| self.plan.steps().get(step.step.get()));
        match step.and_then(|step| step.leaf.as_ref()) {
            Some(leaf) => input_digest(&leaf.callee, input),
            None => canonical::digest(input),
        }
    }

    /// What the step's policy gave, else what follows from its place and the digest of its input.
    fn idempotency_key(&self, activation: Activation, digest: &str, explicit: Option<&str>) -> Option<String> {
        if let Some(explicit) = explicit {
            return Some(explicit.to_owned());
        }
        let path = self.state.step_path(&self.plan, activation)?;
        Some(structural_key(&self.identity()?, &path, digest))
    }

    /// What the compensation's policy gave, else what follows from its place.
    fn compensation_key(&self, activation: Activation, explicit: Option<&str>) -> Option<String> {
        if let Some(explicit) = explicit {
            return Some(explicit.to_owned());
        }
        Some(compensation_key(&self.identity()?, &self.state.step_path(&self.plan, activation)?))
    }

    fn compensation_attempts(&self, activation: Activation) -> u32 {
        match self.state.fate(activation) {
            Some(Fate::Running(attempts) | Fate::Completed(attempts) | Fate::Failed(attempts, _)) => attempts,
            Some(Fate::Pending) | None => 0,
        }
    }

    fn identity(&self) -> Option<ExecutionIdentity> {
        let queued = self.state.queued()?;
        let correlation_id = queued.correlation_id.clone();
        Some(ExecutionIdentity::new(queued.execution_id, queued.workflow.id(), correlation_id, self.queued_at))
    }

    /// The variables that a step sets with this output; absent if it sets none.
    fn captures(&self, activation: Activation, output: &Value) -> Option<Map<String, Value>> {
        let captures = &self.plan.valid_step(self.state.activation(activation)?.step).captures;
        let scope = OutputScope(output);
        let values =
            captures.iter().filter_map(|(name, path)| Some((name.clone(), path.evaluate(&scope)?.into_owned())));
        Some(values.collect()).filter(|_: &Map<_, _>| !captures.is_empty())
    }

    fn attempt_began(&self, call: CallId) -> Option<Timestamp> {
        match call {
            CallId::Step(activation) => self.state.activation(activation)?.attempt_at,
            CallId::Compensation(activation) => self.state.undoing(activation)?.attempt_at,
            CallId::Hook(activation) => Some(self.state.hook_in_progress(&self.plan, activation)?.since),
        }
    }
}

/// Shows the output of the step that captures from it.
struct OutputScope<'a>(&'a Value);

impl Scope for OutputScope<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        matches!(root, Root::Step { field: StepField::Output, .. }).then_some(Cow::Borrowed(self.0))
    }
}

fn digest(workflow: &orchestr8_schema::ValidWorkflow) -> Option<String> {
    Some(canonical::digest(&serde_json::to_value(workflow).ok()?))
}

fn agent_versions(plan: &Plan, versions: &[Arc<str>]) -> Map<String, Value> {
    let leaves = plan.steps().iter().zip(versions).filter_map(|(step, version)| Some((step.leaf.as_ref()?, version)));
    let agents = leaves.filter(|(leaf, _)| !leaf.callee.is_tool());
    agents.map(|(leaf, version)| (leaf.callee.name().to_string(), Value::from(&**version))).collect()
}

/// What happened, and why if somebody said so.
fn told(what: &str, reason: &Option<Arc<str>>) -> String {
    reason.as_ref().map_or_else(|| what.to_owned(), |reason| format!("{what}: {reason}"))
}
