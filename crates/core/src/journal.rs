//! The journal as people see it: names, times and details that events do not store, rendered when somebody reads.

use std::{borrow::Cow, collections::HashSet};

use orchestr8_agent_base::context::{ExecutionIdentity, structural_key};
use orchestr8_schema::{
    Timestamp,
    api::{Entry, JournalExport, JournalSummary, Level},
    canonical,
    event::{Activation, CircuitStateName, Event, EventBody, TimeoutScope, Timer},
    expression::{Root, Scope, StepField},
};
use serde_json::{Map, Value, json};

use crate::{
    machine::{State, fold},
    plan::Plan,
    view,
};

/// A whole journal, rendered.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Journal {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// What they amount to.
    pub summary: JournalSummary,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

impl Journal {
    /// Renders a journal; `state` is what the events fold to.
    pub(crate) fn render(plan: &Plan, events: &[Event], state: &State) -> Self {
        let mut renderer = Renderer::new(plan);
        let entries: Vec<_> = events.iter().filter_map(|event| renderer.entry(event)).collect();
        let count = |level| entries.iter().filter(|entry| entry.level == level).count() as u32;
        let steps: HashSet<_> = entries.iter().filter_map(|entry| entry.step_path.as_deref()).collect();
        let summary = JournalSummary {
            total_entries: entries.len() as u64,
            step_count: steps.len() as u32,
            errors: count(Level::Error),
            warnings: count(Level::Warn),
            retries: entries.iter().filter(|entry| entry.kind == "retry.scheduled").count() as u32,
            status: view::status(state),
            duration: entries.last().map_or(0, |entry| entry.elapsed_ms),
        };
        Self { entries, summary, started_at: state.started_at(), completed_at: state.ended_at() }
    }

    /// Renders the journal as one document; absent if it is empty, which no stored journal is.
    #[must_use]
    pub fn export(self) -> Option<JournalExport> {
        let first = self.entries.first()?;
        Some(JournalExport {
            execution_id: first.execution_id,
            workflow_id: first.workflow_id.clone(),
            correlation_id: first.correlation_id.clone(),
            status: self.summary.status,
            started_at: self.started_at,
            completed_at: self.completed_at,
            duration: self
                .started_at
                .zip(self.completed_at)
                .map(|(start, end)| u64::try_from(end.since(start).as_millis()).unwrap_or(u64::MAX)),
            entries: self.entries,
            summary: self.summary,
        })
    }
}

/// Renders events one after another, each against the state that the ones before it made.
#[derive(Debug)]
pub struct Renderer<'a> {
    plan: &'a Plan,
    state: State,
    queued_at: Timestamp,
    latest: Timestamp,
    cancelling_at: Option<Timestamp>,
}

impl<'a> Renderer<'a> {
    /// Begins with the first event of a journal.
    #[must_use]
    pub fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            state: State::new(plan),
            queued_at: Timestamp::default(),
            latest: Timestamp::default(),
            cancelling_at: None,
        }
    }

    /// Renders the next event; absent only before the first one, `execution.queued`.
    pub fn entry(&mut self, event: &Event) -> Option<Entry> {
        let before = self.state.sequence();
        if before == 0 {
            (self.queued_at, self.latest) = (event.at, event.at);
        }
        if let EventBody::ExecutionCancelling(_) = event.body {
            self.cancelling_at.get_or_insert(event.at);
        }
        let (message, data) = self.describe(event);
        fold(self.plan, &mut self.state, event);
        let queued = self.state.queued()?;
        let mut entry = Entry::new(
            before + 1,
            event.at,
            event.body.name(),
            level(&event.body),
            queued.execution_id,
            self.plan.workflow().id(),
            queued.correlation_id.clone(),
        );
        entry.elapsed_ms = millis(event.at.since(self.queued_at));
        entry.delta_ms = millis(event.at.since(self.latest));
        self.latest = self.latest.max(event.at);
        entry.message = message;
        entry.data = data;
        if let Some(step) = event.body.activation().and_then(|activation| self.plan.steps().get(activation.get())) {
            entry.step_id = Some(step.identity.step_id.to_string());
            entry.step_path = Some(step.identity.step_path.to_string());
            entry.visit = Some(step.identity.visit);
        }
        entry.attempt = attempt(&event.body);
        Some(entry)
    }

    /// Says what an event means, for people and as data, against the state before it.
    fn describe(&self, event: &Event) -> (String, Map<String, Value>) {
        let step =
            |activation: Activation| (self.plan.steps().get(activation.get()), self.state.activation(activation));
        let path = |activation| step(activation).0.map_or_else(String::new, |step| step.identity.step_path.to_string());
        let call = |activation| json!(format!("{}/step", path(activation)));
        let (message, data) = match &event.body {
            EventBody::ExecutionQueued(queued) => (
                format!("execution of {} queued", queued.workflow.id()),
                json!({
                    "workflow": queued.workflow,
                    "workflowDigest": digest(&queued.workflow),
                    "agentVersions": agent_versions(self.plan, &queued.agent_versions),
                    "input": queued.input,
                    "variables": queued.variables,
                    "env": queued.env,
                    "idempotencyKey": queued.idempotency_key,
                }),
            ),
            EventBody::ExecutionStarted { epoch } => ("execution started".to_owned(), json!({ "epoch": epoch })),
            EventBody::ExecutionCancelling(request) => (
                format!("cancellation requested: {}", request.reason),
                json!({
                    "reason": request.reason,
                    "gracePeriodMs": millis(request.grace_period),
                    "requestedBy": request.requested_by,
                }),
            ),
            EventBody::ExecutionFailing { error } => {
                (format!("execution is failing: {error}"), json!({ "error": error }))
            }
            EventBody::ExecutionCompleted { outputs } => {
                let mut completed = self.state.clone();
                fold(self.plan, &mut completed, event);
                let outputs = match outputs {
                    Some(outputs) => Value::clone(outputs),
                    None => view::outputs(self.plan, &completed).unwrap_or_default(),
                };
                let variables = crate::execution::variables(self.plan, &completed);
                ("execution completed".to_owned(), json!({ "outputs": outputs, "variables": variables }))
            }
            EventBody::ExecutionFailed => {
                let error = self.state.error();
                let data = json!({ "error": error, "errors": view::errors(self.plan, &self.state).collect::<Vec<_>>(), "compensation": "none" });
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
                        "compensation": "none",
                    }),
                )
            }
            EventBody::StepScheduled { activation, input, idempotency_key } => {
                let agent = step(*activation).0.map(|step| step.agent.manifest().id.to_string());
                (
                    format!("{} scheduled", path(*activation)),
                    json!({
                        "kind": "agent",
                        "agentId": agent,
                        "input": input,
                        "inputDigest": canonical::digest(input),
                        "idempotencyKey": self.idempotency_key(*activation, input, idempotency_key.as_deref()),
                    }),
                )
            }
            EventBody::StepStarted { activation } => {
                let dependencies: Vec<_> = self
                    .plan
                    .workflow()
                    .steps()
                    .get(activation.get())
                    .into_iter()
                    .flat_map(|step| &step.dependencies)
                    .filter_map(|step| Some(self.plan.steps().get(step.get())?.identity.step_id.as_str()))
                    .collect();
                (format!("{} started", path(*activation)), json!({ "kind": "agent", "dependencies": dependencies }))
            }
            EventBody::StepCompleted { activation, output } => {
                let known = step(*activation).1;
                let duration = known.and_then(|step| step.started_at).map(|start| millis(event.at.since(start)));
                (
                    format!("{} completed", path(*activation)),
                    json!({
                        "output": output,
                        "attempts": known.map(|step| step.attempts),
                        "duration": duration,
                        "captures": self.captures(*activation, output),
                    }),
                )
            }
            EventBody::StepFailed { activation, error, fatal } => {
                let known = step(*activation).1;
                let duration = known.and_then(|step| step.started_at).map(|start| millis(event.at.since(start)));
                (
                    format!("{} failed: {error}", path(*activation)),
                    json!({ "error": error, "attempts": error.attempts, "duration": duration, "fatal": fatal }),
                )
            }
            EventBody::StepSkipped { activation, reason, dependency } => {
                let dependency = dependency.and_then(|step| self.plan.steps().get(step.get()));
                let dependency = dependency.map(|step| step.identity.step_id.as_str());
                (
                    format!("{} skipped: {}", path(*activation), reason.as_str()),
                    json!({ "skipReason": reason.as_str(), "dependency": dependency }),
                )
            }
            EventBody::StepCancelled { activation, forced } => {
                let reason = self.state.cancelling().map_or("the workflow failed", |request| request.reason.as_str());
                (format!("{} cancelled", path(*activation)), json!({ "reason": reason, "forced": forced }))
            }
            EventBody::AttemptStarted { activation, attempt, restart, timeout } => (
                format!("attempt {attempt} of {} started", path(*activation)),
                json!({ "callId": call(*activation), "restart": restart, "timeoutMs": timeout.map(millis) }),
            ),
            EventBody::AttemptFinished { activation, attempt, result, is_final } => {
                let duration = self.attempt_began(*activation).map(|start| millis(event.at.since(start)));
                let mut data = json!({ "callId": call(*activation), "final": is_final, "duration": duration });
                match result {
                    Ok(output) => {
                        data["output"] = Value::clone(output);
                        (format!("attempt {attempt} of {} succeeded", path(*activation)), data)
                    }
                    Err(error) => {
                        data["error"] = json!(error);
                        (format!("attempt {attempt} of {} failed: {error}", path(*activation)), data)
                    }
                }
            }
            EventBody::AttemptRejected { activation, error, is_final } => (
                format!("an attempt of {} was rejected: {error}", path(*activation)),
                json!({ "callId": call(*activation), "error": error, "final": is_final }),
            ),
            EventBody::RetryScheduled { activation, attempt, delay, due_at } => (
                format!("attempt {attempt} of {} in {}", path(*activation), orchestr8_schema::Millis::from(*delay)),
                json!({ "callId": call(*activation), "delayMs": millis(*delay), "dueAt": due_at }),
            ),
            EventBody::TimerFired { timer } => {
                let name = match timer {
                    Timer::ExecutionDeadline => "execution-deadline".to_owned(),
                    Timer::StepDeadline(activation) => format!("{}/deadline", path(*activation)),
                    Timer::Grace => "grace".to_owned(),
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
        };
        let mut data = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        data.retain(|_, value| !value.is_null());
        (message, data)
    }

    /// What the step's policy gave, else what follows from its place and input.
    fn idempotency_key(&self, activation: Activation, input: &Value, explicit: Option<&str>) -> Option<String> {
        if let Some(explicit) = explicit {
            return Some(explicit.to_owned());
        }
        let queued = self.state.queued()?;
        let step = self.plan.steps().get(activation.get())?;
        let identity = ExecutionIdentity::new(
            queued.execution_id,
            queued.workflow.id(),
            queued.correlation_id.clone(),
            self.queued_at,
        );
        Some(structural_key(&identity, &step.identity.step_path, input))
    }

    /// The variables that a step sets with this output; absent if it sets none.
    fn captures(&self, activation: Activation, output: &Value) -> Option<Map<String, Value>> {
        let captures = &self.plan.workflow().steps().get(activation.get())?.captures;
        let scope = OutputScope(output);
        let values =
            captures.iter().filter_map(|(name, path)| Some((name.clone(), path.evaluate(&scope)?.into_owned())));
        Some(values.collect()).filter(|_: &Map<_, _>| !captures.is_empty())
    }

    fn attempt_began(&self, activation: Activation) -> Option<Timestamp> {
        self.state.activation(activation)?.attempt_at
    }
}

/// Shows the output of the step that captures from it.
struct OutputScope<'a>(&'a Value);

impl Scope for OutputScope<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        matches!(root, Root::Step { field: StepField::Output, .. }).then_some(Cow::Borrowed(self.0))
    }
}

/// How much an event matters: `error` for failed, `warn` for retry, timeout, circuit and denial, `debug` for timers.
fn level(body: &EventBody) -> Level {
    match body {
        EventBody::ExecutionFailing { .. }
        | EventBody::ExecutionFailed
        | EventBody::StepFailed { .. }
        | EventBody::AttemptFinished { result: Err(_), is_final: true, .. }
        | EventBody::AttemptRejected { .. } => Level::Error,
        EventBody::AttemptFinished { result: Err(_), .. }
        | EventBody::RetryScheduled { .. }
        | EventBody::TimeoutExceeded { .. }
        | EventBody::CircuitChanged(_) => Level::Warn,
        EventBody::TimerFired { .. } => Level::Debug,
        _ => Level::Info,
    }
}

fn attempt(body: &EventBody) -> Option<u32> {
    match body {
        EventBody::AttemptStarted { attempt, .. }
        | EventBody::AttemptFinished { attempt, .. }
        | EventBody::RetryScheduled { attempt, .. }
        | EventBody::TimeoutExceeded { scope: TimeoutScope::Attempt(_, attempt), .. } => Some(*attempt),
        _ => None,
    }
}

fn digest(workflow: &orchestr8_schema::ValidWorkflow) -> Option<String> {
    Some(canonical::digest(&serde_json::to_value(workflow).ok()?))
}

fn agent_versions(plan: &Plan, versions: &[std::sync::Arc<str>]) -> Map<String, Value> {
    let steps = plan.steps().iter().map(|step| step.agent.manifest().id.to_string());
    steps.zip(versions).map(|(agent, version)| (agent, Value::from(&**version))).collect()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
