//! What the journal must look like while what was done is undone.

use std::collections::HashMap;

use orchestr8_core::{
    machine::{State, Status},
    plan::Plan,
};
use orchestr8_schema::{
    event::{Activation, CallId, Event, EventBody, Reuse},
    workflow::CompensateOn,
};

use super::{
    origin::Origin,
    steps::{Blames, Steps},
};
use crate::simulate::invariant::Invariant;

/// What was seen of an execution's compensation.
#[derive(Debug, Default)]
pub(super) struct Undoing {
    /// When each activation ended, by number of events.
    ended: HashMap<Activation, u64>,
    sequence: u64,
    order: Vec<Activation>,
    /// How many of them have had their turn.
    turns: usize,
    current: Option<Activation>,
    /// The latest attempt of the current one.
    attempt: u32,
    is_over: bool,
    /// By number of events, when compensation began and ended.
    span: Option<(u64, u64)>,
    /// What was undone, as far as anybody knows.
    undone: Vec<Activation>,
}

impl Undoing {
    /// The step that is being undone, and the attempt at it.
    pub(super) fn current(&self) -> Option<(Activation, u32)> {
        self.current.map(|activation| (activation, self.attempt))
    }

    /// Whether anything was to be undone.
    pub(super) fn has_begun(&self) -> bool {
        self.span.is_some()
    }

    /// The execution goes on, with these steps as if their turn had never come.
    pub(super) fn reopened(&mut self, again: &[Activation], blames: &mut Blames) {
        if self.has_begun() {
            let message = "it is resumed though what it had done was undone".to_owned();
            blames.push((Invariant::CompensationOnce, message));
        }
        self.ended.retain(|activation, _| !again.contains(activation));
    }

    /// Says why there must be no fork that begins after so many events; absent if there may be one.
    pub(super) fn forbids(&self, sequence: u64, origin: &Origin, steps: &Steps) -> Option<String> {
        if self.span.is_some_and(|(began, ended)| (began..ended).contains(&sequence)) {
            return Some("the fork begins where things are being undone".to_owned());
        }
        let undone = self.undone.iter().map(|activation| steps.path(*activation)).find(|path| origin.has(path))?;
        Some(format!("the fork takes over the result of {undone}, which was undone since"))
    }

    /// Looks at an event that was folded into the state just now.
    pub(super) fn take(&mut self, plan: &Plan, state: &State, event: &Event, steps: &Steps, blames: &mut Blames) {
        self.sequence += 1;
        match &event.body {
            EventBody::CompensationStarted { order } => {
                let owed = owed(plan, state, steps);
                let stray = order.iter().find(|activation| !owed.contains(activation));
                let missing = owed.iter().find(|activation| !order.contains(activation));
                if let Some(stray) = stray {
                    let message = format!("{} is to be undone, and need not be", steps.path(*stray));
                    blames.push((Invariant::CompensationOnce, message));
                }
                if let Some(missing) = missing {
                    let message = format!("{} is left out of what is undone", steps.path(*missing));
                    blames.push((Invariant::CompensationOnce, message));
                }
            }
            EventBody::ExecutionFailed | EventBody::ExecutionCancelled { .. } if !self.has_begun() => {
                if let Some(missing) = owed(plan, state, steps).first() {
                    let message = format!("the execution ends, and {} was not undone", steps.path(*missing));
                    blames.push((Invariant::CompensationOnce, message));
                }
            }
            _ => {}
        }
        let mut blame = |message: String| blames.push((Invariant::CompensationOnce, message));
        match &event.body {
            EventBody::StepCompleted { activation, .. }
            | EventBody::StepFailed { activation, .. }
            | EventBody::StepCancelled { activation, .. } => {
                self.ended.insert(*activation, self.sequence);
            }
            EventBody::CompensationStarted { order } => {
                if !steps.is_ending() || !self.order.is_empty() {
                    blame("compensation began twice, or in an execution that goes on".to_owned());
                }
                self.order = order.to_vec();
                self.span = Some((self.sequence, u64::MAX));
                let newest_first =
                    self.order.windows(2).all(|pair| self.ended.get(&pair[0]) > self.ended.get(&pair[1]));
                if !newest_first || self.order.iter().any(|activation| !self.ended.contains_key(activation)) {
                    blame("steps are not undone in the order of their ends, the newest first".to_owned());
                }
            }
            EventBody::CompensationStepStarted { activation, .. } => {
                if self.current.is_some() || self.order.get(self.turns) != Some(activation) {
                    blame(format!("it is not the turn of {} to be undone", steps.path(*activation)));
                }
                (self.current, self.attempt) = (Some(*activation), 0);
                self.turns += 1;
            }
            EventBody::CompensationStepCompleted { activation }
            | EventBody::CompensationStepFailed { activation, .. } => {
                // One whose input cannot be evaluated fails without having begun.
                let fits = match self.current.take() {
                    Some(current) => current == *activation,
                    None => self.order.get(self.turns) == Some(activation),
                };
                if !fits {
                    blame(format!("{} is not being undone", steps.path(*activation)));
                }
            }
            EventBody::CompensationFinished { .. } if self.is_over => blame("compensation ended twice".to_owned()),
            EventBody::CompensationFinished { .. } => {
                self.is_over = true;
                self.span = self.span.map(|(began, _)| (began, self.sequence));
            }
            EventBody::AttemptStarted { call: CallId::Compensation(activation), attempt, .. } => {
                if self.current != Some(*activation) {
                    blame(format!("{} is undone out of turn", steps.path(*activation)));
                }
                self.attempt = *attempt;
                self.undone.push(*activation);
            }
            _ => {}
        }
    }
}

/// The steps that are to be undone at the end that the execution comes to.
fn owed(plan: &Plan, state: &State, steps: &Steps) -> Vec<Activation> {
    if state.cancelling().is_some_and(|request| request.superseded_by.is_some()) {
        return Vec::new();
    }
    let is_cancelled = matches!(state.status(), Status::Cancelling | Status::Cancelled);
    let all = (0..).map(Activation).zip(state.steps());
    let owed = all.filter(|(activation, known)| {
        let unit = plan.unit_of(known.step);
        let is_asked_for = if is_cancelled { unit.compensates_cancellation } else { unit.compensates_failure };
        let on = plan.declaration(known.step).compensate.as_ref().map(|compensation| compensation.on);
        is_asked_for
            && known.reuse != Some(Reuse::Reused)
            && match on {
                Some(CompensateOn::Completed) => steps.status(*activation) == Some("completed"),
                Some(CompensateOn::Attempt) => known.attempts > 0,
                None => false,
            }
    });
    owed.map(|(activation, _)| activation).collect()
}
