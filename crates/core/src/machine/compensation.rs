//! Compensation: what an execution has done is undone after it failed or was cancelled, the newest first.
//!
//! It begins once all running work has ended, so that nothing starts beside it. One step is undone after another, each by a call with
//! attempts and retries of its own; one that fails does not stop the others. All of it has a time limit, after which the rest is left
//! as it is.

use std::sync::Arc;

use orchestr8_schema::{
    ErrorKind, Failure, Timestamp,
    api::Compensation as Undone,
    event::{Activation, CallId, EventBody, Timer},
    expression::Template,
    json_schema::Violations,
    workflow::CompensateOn,
};
use serde_json::Value;

use super::{
    Call, Command, Phase, State, Status, StepState,
    command::Sink,
    decide::invalid,
    fold::{Fold, interrupted_too_often},
    scope::StepScope,
};
use crate::plan::Plan;

/// How far compensation has come.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Compensation {
    /// The steps to undo, in this order.
    order: Arc<[Activation]>,
    /// What became of the first of them: the calls that it took, and why it was not undone.
    ended: Vec<(u32, Option<Arc<Failure>>)>,
    /// The call for the one behind those.
    undoing: Option<Undoing>,
    /// By when all of it has to be done.
    due_at: Timestamp,
    /// Whether that time is over.
    is_late: bool,
    result: Option<Undone>,
}

/// A call that undoes a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Undoing {
    pub(crate) input: Arc<Value>,
    /// What the policy `idempotencyKey` gave.
    pub(crate) idempotency_key: Option<Arc<str>>,
    /// How often the present attempt was begun again after a crash.
    pub(crate) restarts: u32,
    /// When its latest attempt began.
    pub(crate) attempt_at: Option<Timestamp>,
    phase: Phase,
    attempts: u32,
    rejected: u32,
    /// When the next attempt is due, in backoff.
    due_at: Option<Timestamp>,
    error: Option<Arc<Failure>>,
}

/// What became of the compensation of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate<'a> {
    /// Its turn has not come.
    Pending,
    /// It is being undone; attempts so far.
    Running(u32),
    /// It was undone, in this many attempts.
    Completed(u32),
    /// It was not.
    Failed(u32, &'a Failure),
}

impl Undoing {
    /// Whether an attempt is in progress.
    pub(crate) fn is_in_attempt(&self) -> bool {
        self.phase == Phase::Running
    }
}

impl Compensation {
    /// The step that is undone now or next.
    fn head(&self) -> Option<Activation> {
        self.order.get(self.ended.len()).copied()
    }

    fn call(&self) -> Option<Call> {
        let (activation, undoing) = (self.head()?, self.undoing.as_ref()?);
        let (attempt, restart) = match undoing.phase {
            Phase::Scheduled | Phase::Between | Phase::Backoff => (undoing.attempts.saturating_add(1), 0),
            Phase::Running => (undoing.attempts, undoing.restarts.saturating_add(1)),
            _ => return None,
        };
        Some(Call {
            id: CallId::Compensation(activation),
            attempt,
            restart,
            tries_used: attempt.saturating_sub(1).saturating_add(undoing.rejected),
            not_before: undoing.due_at,
            deadline_at: Some(self.due_at),
        })
    }
}

impl State {
    /// Whether the execution is undoing what it has done.
    pub(crate) fn is_compensating(&self) -> bool {
        self.compensation.as_ref().is_some_and(|compensation| compensation.result.is_none())
    }

    /// Tells what became of compensation; one that goes on is incomplete.
    #[must_use]
    pub fn compensation(&self) -> Undone {
        self.compensation.as_ref().map_or(Undone::None, |known| known.result.unwrap_or(Undone::Incomplete))
    }

    /// Tells what became of the compensation of a step; absent if it is not to be undone.
    pub(crate) fn fate(&self, activation: Activation) -> Option<Fate<'_>> {
        let compensation = self.compensation.as_ref()?;
        let place = compensation.order.iter().position(|step| *step == activation)?;
        Some(match (compensation.ended.get(place), &compensation.undoing) {
            (Some((attempts, None)), _) => Fate::Completed(*attempts),
            (Some((attempts, Some(error))), _) => Fate::Failed(*attempts, error),
            (None, Some(undoing)) if place == compensation.ended.len() => Fate::Running(undoing.attempts),
            (None, _) => Fate::Pending,
        })
    }

    /// The call that undoes this step now.
    pub(crate) fn undoing(&self, activation: Activation) -> Option<&Undoing> {
        let compensation = self.compensation.as_ref()?;
        compensation.undoing.as_ref().filter(|_| compensation.head() == Some(activation))
    }

    /// The call of compensation that is open.
    pub(super) fn compensation_call(&self) -> Option<Call> {
        self.compensation.as_ref()?.call()
    }

    /// When compensation is over in any case, while it goes on.
    pub(super) fn compensation_due(&self) -> Option<Timestamp> {
        let compensation = self.compensation.as_ref().filter(|known| known.result.is_none() && !known.is_late)?;
        Some(compensation.due_at)
    }

    /// Whether the effect of a step was undone, or somebody has tried to.
    pub(crate) fn is_undone(&self, activation: Activation) -> bool {
        match self.fate(activation) {
            Some(Fate::Completed(_)) => true,
            Some(Fate::Running(attempts) | Fate::Failed(attempts, _)) => attempts > 0,
            Some(Fate::Pending) | None => false,
        }
    }

    /// The steps whose effects are to be undone, in the order of undoing.
    fn to_undo(&self, plan: &Plan) -> Vec<Activation> {
        if self.cancelling().is_some_and(|request| request.superseded_by.is_some()) {
            return Vec::new();
        }
        let is_asked_for = |step: &StepState| {
            let unit = plan.unit_of(step.step);
            match self.status {
                Status::Failing => unit.compensates_failure,
                _ => unit.compensates_cancellation,
            }
        };
        let qualifies = |activation: &Activation| {
            let step = &self.steps[activation.get()];
            let on = plan.valid_step(step.step).compensate.as_ref().map(|compensation| compensation.on);
            is_asked_for(step)
                && match on {
                    Some(CompensateOn::Completed) => step.phase == Phase::Completed,
                    Some(CompensateOn::Attempt) => step.attempts > 0,
                    None => false,
                }
        };
        self.ended.iter().rev().copied().filter(qualifies).collect()
    }
}

// === accept ===

/// Whether an event about compensation fits.
pub(super) fn fits(plan: &Plan, state: &State, body: &EventBody) -> bool {
    let Some(compensation) = &state.compensation else {
        let EventBody::CompensationStarted { order } = body else { return false };
        return state.status.is_ending() && state.live == 0 && !order.is_empty() && **order == *state.to_undo(plan);
    };
    if compensation.result.is_some() || !state.status.is_ending() {
        return false;
    }
    let phase_of = |activation: &Activation| {
        let undoing = compensation.undoing.as_ref().map(|undoing| undoing.phase);
        (compensation.head() == Some(*activation)).then_some(undoing)
    };
    match body {
        EventBody::CompensationStepStarted { activation, .. } => {
            phase_of(activation) == Some(None) && !compensation.is_late
        }
        EventBody::CompensationStepCompleted { activation } => {
            let succeeded = compensation.undoing.as_ref().is_some_and(|undoing| undoing.error.is_none());
            phase_of(activation) == Some(Some(Phase::Answered)) && succeeded
        }
        EventBody::CompensationStepFailed { activation, .. } => {
            matches!(phase_of(activation), Some(None | Some(Phase::Answered)))
        }
        EventBody::CompensationFinished { .. } => {
            compensation.undoing.is_none() && (compensation.is_late || compensation.head().is_none())
        }
        EventBody::AttemptStarted { call: CallId::Compensation(activation), attempt, restart, .. } => {
            let Some(undoing) = compensation.undoing.as_ref().filter(|_| compensation.head() == Some(*activation))
            else {
                return false;
            };
            match undoing.phase {
                Phase::Scheduled | Phase::Backoff => undoing.attempts.checked_add(1) == Some(*attempt) && *restart == 0,
                // The process that had begun it is gone.
                Phase::Running => {
                    undoing.attempts == *attempt
                        && undoing.restarts.checked_add(1) == Some(*restart)
                        && *restart <= State::MAX_RESTARTS
                }
                _ => false,
            }
        }
        EventBody::AttemptFinished { call: CallId::Compensation(activation), attempt, .. } => {
            phase_of(activation) == Some(Some(Phase::Running))
                && compensation.undoing.as_ref().map(|undoing| undoing.attempts) == Some(*attempt)
        }
        EventBody::AttemptRejected { call: CallId::Compensation(activation), .. } => {
            matches!(phase_of(activation), Some(Some(Phase::Scheduled | Phase::Backoff)))
        }
        EventBody::RetryScheduled { call: CallId::Compensation(activation), attempt, .. } => {
            phase_of(activation) == Some(Some(Phase::Between))
                && compensation.undoing.as_ref().and_then(|undoing| undoing.attempts.checked_add(1)) == Some(*attempt)
        }
        _ => false,
    }
}

// === fold ===

impl<S: Sink> Fold<'_, S> {
    /// Changes compensation as an event about it says.
    pub(super) fn compensation(&mut self, body: &EventBody) {
        if let EventBody::CompensationStarted { order } = body {
            return self.compensation_started(order);
        }
        let at = self.at;
        let Some(compensation) = self.state.compensation.as_deref_mut() else { return };
        let attempts = compensation.undoing.as_ref().map_or(0, |undoing| undoing.attempts);
        match (body, &mut compensation.undoing) {
            (EventBody::CompensationStepStarted { input, idempotency_key, .. }, undoing) => {
                *undoing = Some(Undoing {
                    input: Arc::clone(input),
                    idempotency_key: idempotency_key.clone(),
                    restarts: 0,
                    attempt_at: None,
                    phase: Phase::Scheduled,
                    attempts: 0,
                    rejected: 0,
                    due_at: None,
                    error: None,
                });
                if let Some(call) = compensation.call() {
                    self.out.push(Command::Call(call));
                }
            }
            (EventBody::CompensationStepCompleted { .. }, undoing) => {
                *undoing = None;
                compensation.ended.push((attempts, None));
            }
            (EventBody::CompensationStepFailed { error, .. }, undoing) => {
                *undoing = None;
                compensation.ended.push((attempts, Some(Arc::clone(error))));
            }
            (EventBody::CompensationFinished { result }, _) => {
                self.clear(Timer::Compensation);
                if let Some(compensation) = self.state.compensation.as_deref_mut() {
                    compensation.result = Some(*result);
                }
            }
            (EventBody::AttemptStarted { attempt, restart, .. }, Some(undoing)) => {
                undoing.phase = Phase::Running;
                (undoing.attempts, undoing.restarts) = (*attempt, *restart);
                (undoing.attempt_at, undoing.due_at) = (Some(at), None);
            }
            (EventBody::AttemptFinished { result, is_final, .. }, Some(undoing)) => {
                undoing.error = result.as_ref().err().cloned();
                undoing.phase = if *is_final { Phase::Answered } else { Phase::Between };
            }
            (EventBody::AttemptRejected { error, is_final, .. }, Some(undoing)) => {
                undoing.rejected = undoing.rejected.saturating_add(1);
                undoing.error = Some(Arc::clone(error));
                undoing.phase = if *is_final { Phase::Answered } else { Phase::Between };
            }
            (EventBody::RetryScheduled { due_at, .. }, Some(undoing)) => {
                undoing.phase = Phase::Backoff;
                undoing.due_at = Some(*due_at);
            }
            _ => {}
        }
    }

    fn compensation_started(&mut self, order: &Arc<[Activation]>) {
        self.state.compensation = Some(Box::new(Compensation {
            order: Arc::clone(order),
            ended: Vec::new(),
            undoing: None,
            due_at: self.at.plus(self.plan.limits().compensation),
            is_late: false,
            result: None,
        }));
        self.clear(Timer::Grace);
        if let Some(ending) = &mut self.state.ending {
            ending.grace_until = None;
        }
        self.set(Timer::Compensation);
    }

    /// Another driver goes on with compensation, which has all of its time anew.
    pub(super) fn compensation_recovered(&mut self) {
        let due_at = self.at.plus(self.plan.limits().compensation);
        let Some(compensation) = self.state.compensation.as_deref_mut() else { return };
        if !compensation.is_late {
            compensation.due_at = due_at;
        }
        if let Some(undoing) = &mut compensation.undoing
            && undoing.phase == Phase::Running
            && undoing.restarts >= State::MAX_RESTARTS
        {
            undoing.error = Some(Arc::new(interrupted_too_often()));
            undoing.phase = Phase::Answered;
        }
    }

    /// The time of compensation is over: what runs is dropped, and the rest is left as it is.
    pub(super) fn compensation_late(&mut self) {
        let Some(compensation) = self.state.compensation.as_deref_mut() else { return };
        let open = compensation.call();
        compensation.is_late = true;
        let (Some(call), Some(undoing)) = (open, &mut compensation.undoing) else { return };
        let mut error = Failure::new(ErrorKind::Timeout, "the time of compensation is over");
        if let Some(last) = undoing.error.take() {
            error = error.caused_by(last);
        }
        undoing.error = Some(Arc::new(error));
        undoing.phase = Phase::Answered;
        self.out.push(Command::AbortCall {
            call: call.id,
            reason: "the time of compensation is over".into(),
            force: true,
        });
    }

    /// Notes that a step has ended, if it may have to be undone.
    pub(super) fn note_end(&mut self, activation: Activation) {
        if self.plan.steps()[self.state.steps[activation.get()].step.get()].compensation.is_some() {
            self.state.ended.push(activation);
        }
    }
}

// === decide ===

/// Decides what is undone next, once all running work has ended; absent if nothing follows at once.
pub(super) fn next(plan: &Plan, state: &State) -> Option<EventBody> {
    let Some(compensation) = &state.compensation else {
        let order = state.to_undo(plan);
        return (!order.is_empty()).then(|| EventBody::CompensationStarted { order: order.into() });
    };
    if compensation.result.is_some() {
        return None;
    }
    match (compensation.head(), &compensation.undoing) {
        (Some(activation), Some(undoing)) if undoing.phase == Phase::Answered => Some(match &undoing.error {
            None => EventBody::CompensationStepCompleted { activation },
            Some(error) => {
                let mut error = Failure::clone(error);
                error.attempts = undoing.attempts;
                failed(plan, state, activation, error)
            }
        }),
        (Some(_), Some(_)) => None,
        (Some(activation), None) if !compensation.is_late => Some(begin(plan, state, activation)),
        (_, None) | (None, Some(_)) => {
            let is_complete =
                compensation.head().is_none() && compensation.ended.iter().all(|(_, error)| error.is_none());
            let result = if is_complete { Undone::Complete } else { Undone::Incomplete };
            Some(EventBody::CompensationFinished { result })
        }
    }
}

/// The turn of a step's compensation has come: its input is evaluated, once.
fn begin(plan: &Plan, state: &State, activation: Activation) -> EventBody {
    match resolve(plan, state, activation) {
        Ok((input, idempotency_key)) => {
            EventBody::CompensationStepStarted { activation, input: Arc::new(input), idempotency_key }
        }
        Err(error) => failed(plan, state, activation, error),
    }
}

fn resolve(plan: &Plan, state: &State, activation: Activation) -> Result<(Value, Option<Arc<str>>), Failure> {
    let step = state.steps[activation.get()].step;
    let (Some(valid), Some(leaf)) = (&plan.valid_step(step).compensate, &plan.steps()[step.get()].compensation) else {
        return Err(Failure::new(ErrorKind::Internal, "nothing undoes the step"));
    };
    let scope = StepScope::of_compensation(plan, state, activation);
    let input = valid.input.resolve(&scope, Template::MAX_INPUT_SIZE);
    let input = input.map_err(|error| invalid("the input of its compensation", &error))?;
    if let Some(schema) = leaf.callee.input_schema() {
        schema.validate(&input).map_err(|violations| {
            let callee = leaf.callee.name();
            let message = format!(
                "the input of its compensation does not fit the schema of {callee}: {}",
                Violations(&violations)
            );
            Failure::new(ErrorKind::Validation, message)
        })?;
    }
    let key = match valid.idempotency_key.as_ref().map(|key| key.resolve(&scope, Template::MAX_INPUT_SIZE)) {
        None => None,
        Some(Ok(Value::String(key))) if !key.is_empty() && key.chars().count() <= 255 => Some(key.into()),
        Some(Ok(_)) => {
            let message = "the idempotency key of its compensation is no text of 1 to 255 characters";
            return Err(Failure::new(ErrorKind::Validation, message));
        }
        Some(Err(error)) => return Err(invalid("the idempotency key of its compensation", &error)),
    };
    Ok((input, key))
}

fn failed(plan: &Plan, state: &State, activation: Activation, mut error: Failure) -> EventBody {
    error.step_path = Some(state.path_of(plan, activation));
    error.timestamp = Some(state.latest);
    EventBody::CompensationStepFailed { activation, error: Arc::new(error) }
}
