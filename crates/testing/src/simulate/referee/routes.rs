//! Whether what was decided is what conditions and expressions give: they are evaluated once more.

use std::{borrow::Cow, cell::Cell};

use orchestr8_core::{
    machine::{State, scope::StepScope},
    plan::Plan,
};
use orchestr8_schema::{
    Millis, StepIndex, Timestamp,
    event::{Activation, Event, EventBody, LoopDecision, LoopVerdict, SkipReason},
    expression::{LoopField, Root, Scope, StepField, Template},
    policy::OnError,
    validate::{LoopTest, ValidKind, ValidLoop, ValidWait},
};
use serde_json::Value;

use super::steps::Steps;
use crate::simulate::invariant::Invariant;

/// Looks at an event that was stored just now.
pub(super) fn check(plan: &Plan, state: &State, event: &Event, steps: &Steps) -> Option<(Invariant, String)> {
    if let EventBody::ExecutionCompleted { outputs } = &event.body {
        let given = plan.workflow().resolve_outputs(&StepScope::of_execution(plan, state)).ok()?;
        let is_same = match (&given, outputs.as_deref()) {
            (None, None) => true,
            (Some(given), Some(Value::Object(outputs))) => given == outputs,
            _ => false,
        };
        let message = || "the outputs are others than the workflow gives".to_owned();
        return (!is_same).then(|| (Invariant::ResultIsAnswer, message()));
    }
    let activation = event.body.activation()?;
    let step = plan.valid_step(state.activation(activation)?.step);
    let scope = StepScope::of_step(plan, state, activation);
    let wrong = |what: &str| {
        let path = state.step_path(plan, activation);
        let path = path.as_ref().map_or("a step", |path| path.as_str());
        Some((Invariant::RouteIsKnown, format!("{path} {what}")))
    };
    if let EventBody::StepScheduled { input, .. } = &event.body
        && step.input.is_declared()
    {
        let own = state.activation(activation)?.step;
        let known = OfRecord { outside: scope, plan, steps, place: (activation, own), is_astray: Cell::new(false) };
        let given = step.input.resolve(&known);
        if known.is_astray.get() && given.as_ref() != Ok(&**input) {
            return wrong("sees what a step has given that has given nothing");
        }
    }
    match &event.body {
        EventBody::StepScheduled { .. } | EventBody::StepSkipped { reason: SkipReason::ConditionNotMet, .. } => {
            let runs = matches!(event.body, EventBody::StepScheduled { .. });
            match step.condition.as_ref().map(|condition| condition.holds(&scope)) {
                Some(holds) if holds != Ok(runs) => wrong("has another condition than it was taken for"),
                _ => None,
            }
        }
        EventBody::BranchDecided { case, .. } => {
            let ValidKind::Branch(branch) = &step.kind else { return None };
            let holds = branch.cases.iter().position(|case| case.when.holds(&scope) == Ok(true));
            let first = holds.unwrap_or(branch.cases.len());
            if first == *case as usize { None } else { wrong("takes another case than the first that holds") }
        }
        EventBody::MapOpened { items, .. } => {
            let ValidKind::Map(map) = &step.kind else { return None };
            let given = map.items.resolve(&scope, Template::MAX_OUTPUT_SIZE);
            let is_same = matches!(&given, Ok(Value::Array(given)) if *given == items.items);
            if is_same { None } else { wrong("runs for other items than it was given") }
        }
        EventBody::LoopDecided { decision, .. } => {
            let ValidKind::Loop(looped) = &step.kind else { return None };
            if is_loop_wrong(looped, decision, scope) { wrong("goes on, or ends, against its condition") } else { None }
        }
        EventBody::StepFailed { fatal, .. } => {
            let planned = &plan.steps()[state.activation(activation)?.step.get()];
            // Where a fallback fails, the failure that it was called for is the fatal one.
            let means = matches!(planned.on_error, OnError::Fail | OnError::Retry) && planned.serves.is_none();
            if *fatal == means { None } else { wrong("fails, and its failure is taken for another kind of failure") }
        }
        EventBody::StepWaiting { due_at, .. } if !lasts(&step.kind, state, event, *due_at) => {
            wrong("waits for another time than it should").map(|(_, message)| (Invariant::TimeLimits, message))
        }
        EventBody::ApprovalRequested { expires_at, .. } if *expires_at != state.activation(activation)?.due_at => {
            wrong("asks until another time than it waits").map(|(_, message)| (Invariant::TimeLimits, message))
        }
        EventBody::StepSkipped { reason: SkipReason::FallbackNotNeeded, .. } => {
            let serves = plan.steps()[state.activation(activation)?.step.get()].serves.is_some();
            if serves { None } else { wrong("was skipped as a fallback that it is not") }
        }
        _ => None,
    }
}

/// Whether a wait, or an approval, lasts until the time that it should; one whose end is a time is not looked at.
fn lasts(kind: &ValidKind, state: &State, event: &Event, due_at: Option<Timestamp>) -> bool {
    let until = |limit: Option<Millis>| limit.map(|limit| event.at.plus(limit.as_duration()));
    match kind {
        ValidKind::Wait(ValidWait::Signal { timeout, .. }) => due_at == until(*timeout),
        ValidKind::Approval(approval) => due_at == until(approval.timeout),
        ValidKind::Wait(ValidWait::Duration) => {
            let known = event.body.activation().and_then(|activation| state.activation(activation));
            match known.and_then(|known| known.input.as_deref()?.get("duration")) {
                Some(Value::Number(number)) => due_at == until(number.as_u64().map(Millis)),
                Some(Value::String(text)) => due_at == until(text.parse().ok()),
                _ => false,
            }
        }
        _ => true,
    }
}

/// Whether a loop goes on as its `until` says, where that reads nothing of the steps inside; a loop with `while` is not looked at.
fn is_loop_wrong(looped: &ValidLoop, decision: &LoopDecision, scope: StepScope<'_>) -> bool {
    let LoopTest::Until(condition) = &looped.condition else { return false };
    let Some(last) = decision.index.checked_sub(1) else {
        let init = looped.init.resolve(&scope, Template::MAX_OUTPUT_SIZE);
        return decision.verdict == LoopVerdict::Condition || init.as_ref() != Ok(&*decision.value);
    };
    let seen = AfterIteration { outside: scope, value: &decision.value, last, reads_steps: Cell::new(false) };
    let is_over = condition.holds(&seen);
    if seen.reads_steps.get() {
        return false;
    }
    let expected = match is_over {
        Ok(true) => decision.verdict == LoopVerdict::Condition,
        Ok(false) if decision.index >= looped.max_iterations => decision.verdict == LoopVerdict::Limit,
        Ok(false) => matches!(decision.verdict, LoopVerdict::Continue { .. }),
        Err(_) => false,
    };
    !expected
}

/// What a step sees, but of outputs only those that the journal knows of.
struct OfRecord<'a> {
    outside: StepScope<'a>,
    plan: &'a Plan,
    steps: &'a Steps,
    place: (Activation, StepIndex),
    /// An output was shown that the journal does not know of.
    is_astray: Cell<bool>,
}

impl Scope for OfRecord<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        let shown = self.outside.root(root)?;
        let Root::Step { step, field: StepField::Output } = root else { return Some(shown) };
        let (activation, own) = self.place;
        let step = self.plan.unit_of(own).global(step);
        let is_known = self.steps.has_given(self.plan, activation, step);
        self.is_astray.set(self.is_astray.get() || !is_known);
        is_known.then_some(shown)
    }
}

/// What `until` sees of a loop after an iteration.
struct AfterIteration<'a> {
    outside: StepScope<'a>,
    value: &'a Value,
    last: u32,
    reads_steps: Cell<bool>,
}

impl Scope for AfterIteration<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Loop { field: LoopField::Value, .. } => Some(Cow::Borrowed(self.value)),
            Root::Loop { field: LoopField::Index, .. } => Some(Cow::Owned(self.last.into())),
            Root::Step { .. } => {
                self.reads_steps.set(true);
                None
            }
            root => self.outside.root(root),
        }
    }
}
