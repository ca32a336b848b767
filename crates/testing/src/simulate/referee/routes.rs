//! Whether what was decided is what conditions and expressions give: they are evaluated once more.

use std::borrow::Cow;

use orchestr8_core::{machine::State, plan::Plan};
use orchestr8_schema::{
    Millis, Timestamp, ValidStep,
    event::{Activation, Event, EventBody, LoopDecision, LoopVerdict, SkipReason},
    expression::{LoopField, Root, Scope, Template},
    policy::OnError,
    validate::{LoopTest, ValidKind, ValidLoop, ValidWait},
};
use serde_json::Value;

use super::{
    scopes::Scopes,
    sight::{Sight, Witness},
};
use crate::simulate::invariant::Invariant;

/// Looks at an event that was stored just now.
pub(super) fn check(witness: Witness<'_>, event: &Event) -> Option<(Invariant, String)> {
    let Witness { plan, state, .. } = witness;
    if let EventBody::ExecutionCompleted { outputs } = &event.body {
        let given = plan.workflow().resolve_outputs(&witness.of_execution()).ok()?;
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
    let scope = witness.of_step(activation);
    let wrong = |what: &str| {
        let path = state.step_path(plan, activation);
        let path = path.as_ref().map_or("a step", |path| path.as_str());
        Some((Invariant::RouteIsKnown, format!("{path} {what}")))
    };
    if let EventBody::StepScheduled { input, .. } = &event.body {
        let own = state.activation(activation)?.step;
        let served = plan.steps()[own.get()].serves.filter(|_| !step.input.is_declared());
        let is_right = match served {
            // A fallback without an input has that of the step that it stands in for.
            Some(served) => witness.steps.beside(plan, activation, served).is_some_and(|served| {
                state.activation(served).is_some_and(|served| served.input.as_ref() == Some(input))
            }),
            None => step.input.resolve(&scope).as_ref() == Ok(&**input),
        };
        if !is_right {
            let (invariant, message) = wrong("is given another input than it should be")?;
            return Some((invariant, message));
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
            if let Some(message) = Scopes::check_loop(witness, activation, decision) {
                return Some((Invariant::ResultIsAnswer, message));
            }
            if is_loop_wrong(witness, activation, looped, decision) {
                wrong("goes on, or ends, against its condition")
            } else {
                None
            }
        }
        EventBody::StepFailed { .. } if could_begin(plan, state, activation, step, &scope) => {
            wrong("fails without its turn having come, and nothing keeps it from being given its input")
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

/// Whether a step whose turn has not come has everything that it takes: its condition has a value, and so has its input, which fits.
fn could_begin(plan: &Plan, state: &State, activation: Activation, step: &ValidStep, scope: &Sight<'_>) -> bool {
    let Some(known) = state.activation(activation).filter(|known| known.scheduled_at.is_none()) else { return false };
    if !step.input.is_declared() || step.idempotency_key.is_some() {
        return false;
    }
    let schema = plan.steps()[known.step.get()].leaf.as_ref().and_then(|leaf| leaf.callee.input_schema());
    let is_composite = plan.steps()[known.step.get()].child.is_some();
    step.condition.as_ref().is_none_or(|condition| condition.holds(scope).is_ok())
        && !is_composite
        && step.input.resolve(scope).is_ok_and(|input| schema.is_none_or(|schema| schema.validate(&input).is_ok()))
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

/// Whether a loop goes on as its condition says.
fn is_loop_wrong(witness: Witness<'_>, activation: Activation, looped: &ValidLoop, decision: &LoopDecision) -> bool {
    let (path, index) = (witness.steps.path(activation), decision.index);
    let inside = index.checked_sub(1).map(|last| format!("{path}#{last}."));
    if inside.is_none() {
        let init = looped.init.resolve(&witness.of_step(activation), Template::MAX_OUTPUT_SIZE);
        if init.as_ref() != Ok(&*decision.value) {
            return true;
        }
    }
    let goes_on = match (&looped.condition, &inside) {
        (LoopTest::Until(_), None) => Ok(true),
        (LoopTest::Until(condition), Some(inside)) => {
            let place = witness.inside(activation, inside);
            condition.holds(&AtTurn { place, value: &decision.value, index: index - 1 }).map(|holds| !holds)
        }
        (LoopTest::While(condition), _) => {
            condition.holds(&AtTurn { place: witness.of_step(activation), value: &decision.value, index })
        }
    };
    let expected = match goes_on {
        Ok(false) => decision.verdict == LoopVerdict::Condition,
        Ok(true) if index >= looped.max_iterations => decision.verdict == LoopVerdict::Limit,
        Ok(true) => matches!(decision.verdict, LoopVerdict::Continue { .. }),
        Err(_) => false,
    };
    !expected
}

/// What the condition of a loop sees between two iterations.
struct AtTurn<'a> {
    place: Sight<'a>,
    value: &'a Value,
    index: u32,
}

impl Scope for AtTurn<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Loop { field: LoopField::Value, .. } => Some(Cow::Borrowed(self.value)),
            Root::Loop { field: LoopField::Index, .. } => Some(Cow::Owned(self.index.into())),
            root => self.place.root(root),
        }
    }
}
