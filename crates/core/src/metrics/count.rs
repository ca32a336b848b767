//! Counting, beside the work: by atomic numbers, and under a lock what happens seldom.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use orchestr8_agent_base::Callee;
use orchestr8_schema::{
    ErrorKind, Failure, Timestamp,
    api::{Compensation, ExecutionStatus},
    event::{Activation, CallId, CircuitStateName, Event, EventBody, ModelCall, TimeoutScope, ToolCall},
    usage::Usage,
    validate::ValidKind,
};

use super::{
    Attempts, BOUNDS, CalleeMetrics, Durations, MAX_LABELS, MAX_RECENT, MetricsSnapshot, ModelMetrics, RecentFailure,
};
use crate::{
    machine::{Phase, State, StepState},
    plan::Plan,
    store::status_after,
    view,
};

/// What an engine counts with.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    callees: Mutex<BTreeMap<Arc<str>, Arc<Meter>>>,
    ended: Mutex<Ended>,
    queued: AtomicU64,
    approvals_requested: AtomicU64,
    approvals_settled: AtomicU64,
    remarks_left_out: AtomicU64,
    appends: Histogram,
}

/// What few events change.
#[derive(Debug, Default)]
struct Ended {
    executions: BTreeMap<(Arc<str>, &'static str), u64>,
    workflows: BTreeSet<Arc<str>>,
    compensations: BTreeMap<&'static str, u64>,
    durations: BTreeMap<&'static str, Durations>,
    transitions: BTreeMap<(&'static str, &'static str), u64>,
    failures: BTreeMap<ErrorKind, u64>,
    recent: VecDeque<RecentFailure>,
    usage: Usage,
    models: BTreeMap<(Arc<str>, Arc<str>), ModelMetrics>,
    agents_tools: BTreeMap<Arc<str>, Attempts>,
}

/// What one agent or tool is counted with; all steps that call it share one.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    is_tool: AtomicBool,
    steps: [AtomicU64; 4],
    attempts: [AtomicU64; 4],
    retries: AtomicU64,
    timeouts: AtomicU64,
    durations: Histogram,
    queued: Histogram,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// In microseconds.
    sum: AtomicU64,
}

impl Metrics {
    /// Finds or makes the meters of a plan's steps; steps that call nothing have none.
    pub(crate) fn meters(&self, plan: &Plan) -> Box<[Option<Arc<Meter>>]> {
        let mut callees = lock(&self.callees);
        let mut meter = |callee: &Callee| {
            let name = callee.name();
            let is_known = callees.contains_key(name) || callees.len() < MAX_LABELS;
            let meter = callees.entry(if is_known { Arc::clone(name) } else { Arc::from(OTHER) }).or_default();
            meter.is_tool.store(is_known && callee.is_tool(), Relaxed);
            Arc::clone(meter)
        };
        plan.steps().iter().map(|step| step.leaf.as_ref().map(|leaf| meter(&leaf.callee))).collect()
    }

    /// Counts a batch that is stored; the state is the one that it leads to.
    pub(crate) fn count(&self, batch: &[Event], plan: &Plan, state: &State, meters: &[Option<Arc<Meter>>]) {
        let step = |activation: Activation| state.activation(activation);
        let meter = |activation| step(activation).and_then(|known| meters[known.step.get()].as_deref());
        for event in batch {
            if let EventBody::AttemptFinished { usage: Some(usage), .. } = &event.body {
                lock(&self.ended).usage.add(usage);
            }
            if let EventBody::DurableRecorded(durable) = &event.body
                && let Some(usage) = &durable.usage
            {
                lock(&self.ended).usage.add(usage);
            }
            match &event.body {
                EventBody::StepStarted { activation } => {
                    if let (Some(meter), Some(scheduled)) =
                        (meter(*activation), step(*activation).and_then(|known| known.scheduled_at))
                    {
                        meter.queued.count(event.at.since(scheduled));
                    }
                }
                EventBody::StepCompleted { activation, .. } => self.ended(plan, state, meters, *activation, 0, event),
                EventBody::StepFailed { activation, error, .. } => {
                    self.ended(plan, state, meters, *activation, 1, event);
                    self.failed(plan, state, *activation, error, event.at);
                }
                EventBody::StepSkipped { activation, .. } => self.ended(plan, state, meters, *activation, 2, event),
                EventBody::StepCancelled { activation, .. } => self.ended(plan, state, meters, *activation, 3, event),
                EventBody::AttemptFinished { call: CallId::Step(activation), result, .. } => {
                    if let Some(meter) = meter(*activation) {
                        let outcome = match result {
                            Ok(_) => 0,
                            Err(error) if error.code == ErrorKind::Cancelled => 3,
                            Err(_) => 1,
                        };
                        meter.attempts[outcome].fetch_add(1, Relaxed);
                    }
                }
                EventBody::AttemptRejected { call: CallId::Step(activation), .. } => {
                    if let Some(meter) = meter(*activation) {
                        meter.attempts[2].fetch_add(1, Relaxed);
                    }
                }
                EventBody::RetryScheduled { call: CallId::Step(activation), .. } => {
                    if let Some(meter) = meter(*activation) {
                        meter.retries.fetch_add(1, Relaxed);
                    }
                }
                EventBody::TimeoutExceeded { scope: TimeoutScope::Attempt(CallId::Step(activation), _), .. } => {
                    if let Some(meter) = meter(*activation) {
                        meter.timeouts.fetch_add(1, Relaxed);
                    }
                }
                EventBody::ModelCalled(call) => lock(&self.ended).model_called(call),
                EventBody::ToolCalled(call) => lock(&self.ended).tool_called(call),
                EventBody::ApprovalRequested { .. } => {
                    self.approvals_requested.fetch_add(1, Relaxed);
                }
                EventBody::CircuitChanged(change) => {
                    let (from, to) = transition(change.state, &change.reason);
                    *lock(&self.ended).transitions.entry((from, to)).or_default() += 1;
                }
                EventBody::CompensationFinished { result, .. } => {
                    *lock(&self.ended).compensations.entry(outcome(*result)).or_default() += 1;
                }
                body if body.is_terminal() => {
                    if let Some(status) = status_after(body) {
                        let took = state.started_at().map(|start| event.at.since(start)).unwrap_or_default();
                        lock(&self.ended).count(plan.workflow().id(), status, took);
                    }
                }
                _ => {}
            }
        }
    }

    fn ended(
        &self,
        plan: &Plan,
        state: &State,
        meters: &[Option<Arc<Meter>>],
        activation: Activation,
        how: usize,
        event: &Event,
    ) {
        let Some(known) = state.activation(activation) else { return };
        match &meters[known.step.get()] {
            Some(meter) => {
                meter.steps[how].fetch_add(1, Relaxed);
                if let Some(start) = known.started_at {
                    meter.durations.count(event.at.since(start));
                }
            }
            None => {
                let is_approval = matches!(plan.valid_step(known.step).kind, ValidKind::Approval(_));
                if is_approval && known.started_at.is_some() {
                    self.approvals_settled.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// A failure is rare, and rendering it takes a look at all that may be secret.
    fn failed(&self, plan: &Plan, state: &State, activation: Activation, error: &Failure, at: Timestamp) {
        let Some(queued) = state.queued() else { return };
        let Some(step_path) = state.step_path(plan, activation) else { return };
        let mut message = error.message.clone();
        view::redactor(plan, state).1.redact_text(&mut message);
        let recent = RecentFailure { execution_id: queued.execution_id, step_path, code: error.code, message, at };
        let mut ended = lock(&self.ended);
        *ended.failures.entry(error.code).or_default() += 1;
        ended.recent.truncate(MAX_RECENT - 1);
        ended.recent.push_front(recent);
    }

    /// Counts an execution among those that wait for their turn, until what this returns is dropped.
    pub(crate) fn queued(&self) -> Queued<'_> {
        self.queued.fetch_add(1, Relaxed);
        Queued(&self.queued)
    }

    /// Counts what an execution waits for that another process has begun.
    pub(crate) fn taken_up(&self, plan: &Plan, state: &State) {
        let is_approval = |step: &&StepState| matches!(plan.valid_step(step.step).kind, ValidKind::Approval(_));
        let waiting = state.steps().iter().filter(|step| step.phase == Phase::Waiting).filter(is_approval);
        self.approvals_requested.fetch_add(waiting.count() as u64, Relaxed);
    }

    /// Counts how long an append took.
    pub(crate) fn appended(&self, took: Duration) {
        self.appends.count(took);
    }

    /// Counts a remark that an execution has no room for.
    pub(crate) fn left_out(&self) {
        self.remarks_left_out.fetch_add(1, Relaxed);
    }

    /// Reads what was counted; what the engine knows by itself is left at 0.
    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        let ended = lock(&self.ended);
        let callees = lock(&self.callees);
        let (requested, settled) = (self.approvals_requested.load(Relaxed), self.approvals_settled.load(Relaxed));
        MetricsSnapshot {
            executions: ended.executions.clone(),
            execution_durations: ended.durations.clone(),
            active: 0,
            waiting: 0,
            queued: self.queued.load(Relaxed),
            running: 0,
            ready: 0,
            callees: callees.iter().map(|(name, meter)| (Arc::clone(name), meter.snapshot())).collect(),
            circuits: BTreeMap::new(),
            circuit_transitions: ended.transitions.clone(),
            compensations: ended.compensations.clone(),
            approvals_waiting: requested.saturating_sub(settled),
            remarks_left_out: self.remarks_left_out.load(Relaxed),
            appends: self.appends.snapshot(),
            journal_bytes: None,
            failures: ended.failures.clone(),
            recent_failures: ended.recent.iter().cloned().collect(),
            usage: ended.usage,
            models: ended.models.clone(),
            agents_tools: ended.agents_tools.clone(),
        }
    }
}

/// An execution that waits for its turn.
#[derive(Debug)]
pub(crate) struct Queued<'a>(&'a AtomicU64);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Ended {
    fn count(&mut self, workflow: &str, status: ExecutionStatus, took: Duration) {
        let name = match self.workflows.get(workflow) {
            Some(name) => Arc::clone(name),
            None if self.workflows.len() < MAX_LABELS => Arc::from(workflow),
            None => Arc::from(OTHER),
        };
        self.workflows.insert(Arc::clone(&name));
        *self.executions.entry((name, status.as_str())).or_default() += 1;
        self.durations.entry(status.as_str()).or_default().add(took);
    }

    fn model_called(&mut self, call: &ModelCall) {
        let mut key = (Arc::clone(&call.provider), Arc::clone(&call.model));
        if self.models.len() >= MAX_LABELS && !self.models.contains_key(&key) {
            key = (OTHER.into(), OTHER.into());
        }
        let counted = self.models.entry(key).or_default();
        match &call.error {
            None => counted.succeeded += 1,
            Some(_) => counted.failed += 1,
        }
        if let Some(usage) = &call.usage {
            counted.usage.add(usage);
        }
    }

    fn tool_called(&mut self, call: &ToolCall) {
        let is_known = self.agents_tools.contains_key(&call.tool);
        let is_named = !call.is_denied && (is_known || self.agents_tools.len() < MAX_LABELS);
        let name = if is_named { Arc::clone(&call.tool) } else { OTHER.into() };
        let counted = self.agents_tools.entry(name).or_default();
        match &call.error {
            None => counted.succeeded += 1,
            Some(_) if call.is_denied => counted.rejected += 1,
            Some(_) => counted.failed += 1,
        }
    }
}

impl Meter {
    fn snapshot(&self) -> CalleeMetrics {
        let [completed, failed, skipped, cancelled] = self.steps.each_ref().map(|count| count.load(Relaxed));
        let [succeeded, attempts_failed, rejected, attempts_cancelled] =
            self.attempts.each_ref().map(|count| count.load(Relaxed));
        CalleeMetrics {
            is_tool: self.is_tool.load(Relaxed),
            completed,
            failed,
            skipped,
            cancelled,
            attempts: Attempts { succeeded, failed: attempts_failed, rejected, cancelled: attempts_cancelled },
            retries: self.retries.load(Relaxed),
            timeouts: self.timeouts.load(Relaxed),
            durations: self.durations.snapshot(),
            queued: self.queued.snapshot(),
        }
    }
}

impl Histogram {
    fn count(&self, duration: Duration) {
        self.buckets[bucket(duration)].fetch_add(1, Relaxed);
        self.sum.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    fn snapshot(&self) -> Durations {
        Durations {
            buckets: self.buckets.each_ref().map(|count| count.load(Relaxed)),
            sum: Duration::from_micros(self.sum.load(Relaxed)),
        }
    }
}

pub(super) fn bucket(duration: Duration) -> usize {
    BOUNDS.partition_point(|bound| *bound < duration)
}

/// The value of a label that is one too many.
const OTHER: &str = "other";

fn outcome(compensation: Compensation) -> &'static str {
    match compensation {
        Compensation::None => "none",
        Compensation::Complete => "complete",
        Compensation::Incomplete => "incomplete",
    }
}

/// The state of a circuit before and after a change. An open circuit lets a probe through, and the probe closes it or opens it again.
fn transition(to: CircuitStateName, reason: &str) -> (&'static str, &'static str) {
    match to {
        CircuitStateName::HalfOpen => ("open", "half-open"),
        CircuitStateName::Closed if reason == "reset" => ("open", "closed"),
        CircuitStateName::Closed => ("half-open", "closed"),
        CircuitStateName::Open if reason == "probe-failed" => ("half-open", "open"),
        CircuitStateName::Open => ("closed", "open"),
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
