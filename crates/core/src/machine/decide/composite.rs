//! What composites decide: which way a branch takes, what a map runs for, whether a loop goes on, and what all of them give.

use std::{collections::HashSet, sync::Arc};

use orchestr8_schema::{
    ErrorKind, Failure,
    event::{Activation, EventBody, ItemResult, LoopDecision, LoopVerdict, MapItems},
    expression::{EvaluationError, Template},
    json_schema::Violations,
    validate::{LoopTest, ValidKind, ValidLoop, ValidMap},
    workflow::OnLimit,
};
use serde_json::{Map, Value};

use super::{fail, invalid, located};
use crate::{
    machine::{
        State,
        composite::{LoopProgress, MapProgress, Progress},
        instance::Place,
        scope::StepScope,
    },
    plan::Plan,
};

/// Takes the next way of a branch, a map or a loop.
pub(super) fn way(plan: &Plan, state: &State, activation: Activation) -> EventBody {
    let step = &state.steps[activation.get()];
    let progress = step.composite.as_ref().map(|composite| &composite.progress);
    let decided = match (&plan.valid_step(step.step).kind, progress) {
        (ValidKind::Branch(branch), _) => {
            let scope = StepScope::of_step(plan, state, activation);
            let mut holds = branch.cases.iter().map(|case| case.when.holds(&scope)).enumerate();
            let taken = holds.find_map(|(index, holds)| match holds {
                Ok(true) => Some(Ok(index)),
                Ok(false) => None,
                Err(error) => Some(Err(invalid(&format!("`when` of `{}`", branch.cases[index].name), &error))),
            });
            match taken {
                Some(taken) => taken.map(|index| EventBody::BranchDecided { activation, case: index as u32 }),
                None if branch.default.is_some() => {
                    Ok(EventBody::BranchDecided { activation, case: branch.cases.len() as u32 })
                }
                None => {
                    Err(Failure::new(ErrorKind::NoBranchMatched, "no case of the branch holds, and it has no default"))
                }
            }
        }
        (ValidKind::Map(map), _) => {
            items(plan, state, activation, map).map(|items| EventBody::MapOpened { activation, items: Arc::new(items) })
        }
        (ValidKind::Loop(looped), Some(Progress::Loop(progress))) => {
            iteration(plan, state, activation, looped, progress)
                .map(|decision| EventBody::LoopDecided { activation, decision: Arc::new(decision) })
        }
        _ => Err(Failure::new(ErrorKind::Internal, "the step has no ways to choose from")),
    };
    decided.unwrap_or_else(|error| fail(plan, state, activation, error))
}

fn items(plan: &Plan, state: &State, activation: Activation, map: &ValidMap) -> Result<MapItems, Failure> {
    let scope = StepScope::of_step(plan, state, activation);
    let value = evaluate(&map.items, &scope, "`items`")?;
    let Value::Array(items) = value else {
        return Err(Failure::new(ErrorKind::Validation, format!("`items` is {}, not an array", kind_of(&value))));
    };
    if items.len() > map.max_items as usize {
        let message = format!("there are {} items, and `maxItems` is {}", items.len(), map.max_items);
        return Err(Failure::new(ErrorKind::Validation, message));
    }
    let keys = map.key.as_ref().map(|key| keys(key, &items, |item, index| scope.item(activation, item, index)));
    let accumulator = map.accumulator.as_ref().map(|(init, _)| evaluate(init, &scope, "`accumulator.init`"));
    Ok(MapItems { keys: keys.transpose()?, accumulator: accumulator.transpose()?.map(Arc::new), items })
}

fn keys<'a>(
    template: &Template,
    items: &'a [Value],
    scope: impl Fn(&'a Value, u32) -> StepScope<'a>,
) -> Result<Vec<Arc<str>>, Failure> {
    let mut seen = HashSet::new();
    let mut keys = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let key: Arc<str> = match evaluate(template, &scope(item, index as u32), "`key`")? {
            Value::String(key) if key.chars().count() <= 128 => key.into(),
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string().into(),
            other => {
                let message = format!(
                    "`key` of item {index} is {}, not a text of at most 128 characters or an integer",
                    kind_of(&other)
                );
                return Err(Failure::new(ErrorKind::Validation, message));
            }
        };
        if !seen.insert(Arc::clone(&key)) {
            return Err(Failure::new(ErrorKind::Validation, format!("the key `{key}` of item {index} is taken")));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Decides about the iteration that would come next.
fn iteration(
    plan: &Plan,
    state: &State,
    activation: Activation,
    looped: &ValidLoop,
    progress: &LoopProgress,
) -> Result<LoopDecision, Failure> {
    let index = progress.next;
    let outside = StepScope::of_step(plan, state, activation);
    let value = match progress.place {
        None => Arc::new(evaluate(&looped.init, &outside, "`init`")?),
        Some(place) => match &looped.value {
            Some(value) => Arc::new(evaluate(value, &StepScope::of_scope(plan, state, place), "`value`")?),
            None => Arc::new(outputs_by_id(plan, state, place)),
        },
    };
    let goes_on = match (&looped.condition, progress.place) {
        (LoopTest::While(condition), _) => {
            condition.holds(&outside.value(activation, &value, index)).map_err(|error| invalid("`while`", &error))?
        }
        (LoopTest::Until(_), None) => true,
        (LoopTest::Until(condition), Some(place)) => {
            let scope = StepScope::of_scope(plan, state, place).value(activation, &value, index - 1);
            !condition.holds(&scope).map_err(|error| invalid("`until`", &error))?
        }
    };
    let verdict = if !goes_on {
        LoopVerdict::Condition
    } else if index >= looped.max_iterations {
        if looped.on_limit == OnLimit::Fail {
            let message = format!("the loop wants more than {} iterations", looped.max_iterations);
            return Err(Failure::new(ErrorKind::LoopLimit, message));
        }
        LoopVerdict::Limit
    } else {
        let delay = looped.delay.as_duration();
        let waits = progress.place.is_some() && !delay.is_zero();
        LoopVerdict::Continue { due_at: waits.then(|| state.latest.plus(delay)) }
    };
    Ok(LoopDecision { index, verdict, value })
}

/// An item of a map has ended: decides what it gives.
pub(super) fn item(plan: &Plan, state: &State, place: Place) -> Option<EventBody> {
    let scope = &state.scopes[place as usize];
    let activation = scope.opened_by?;
    let step = &state.steps[activation.get()];
    let (ValidKind::Map(map), Some(Progress::Map(progress))) =
        (&plan.valid_step(step.step).kind, step.composite.as_ref().map(|composite| &composite.progress))
    else {
        return None;
    };
    let result = match &scope.failed {
        Some(error) => Err(Arc::clone(error)),
        // Others may be open yet: what has no value is this item, and the map says what a failed item means.
        None => item_value(plan, state, place, map, progress).map_err(|mut error| {
            error.message = format!("item {}: {}", scope.number, error.message);
            Arc::new(located(plan, state, activation, error))
        }),
    };
    let result =
        result.unwrap_or_else(|error| ItemResult { outcome: Err(error), accumulator: progress.accumulator.clone() });
    Some(EventBody::MapItemFinished { activation, index: scope.number, result: Arc::new(result) })
}

fn item_value(
    plan: &Plan,
    state: &State,
    place: Place,
    map: &ValidMap,
    progress: &MapProgress,
) -> Result<ItemResult, Failure> {
    let inside = StepScope::of_scope(plan, state, place);
    let value = match &map.output {
        Some(output) => evaluate(output, &inside, "`output`")?,
        None => outputs_by_id(plan, state, place),
    };
    let accumulator = match &map.accumulator {
        Some((_, next)) => Some(Arc::new(evaluate(next, &inside, "`accumulator.value`")?)),
        None => progress.accumulator.clone(),
    };
    Ok(ItemResult { outcome: Ok(Arc::new(value)), accumulator })
}

/// A composite ends, and nothing inside is open: decides what it gives.
pub(super) fn end(plan: &Plan, state: &State, activation: Activation) -> EventBody {
    let step = &state.steps[activation.get()];
    match step.composite.as_ref().and_then(|composite| composite.end.as_ref()) {
        Some(Err(error)) => fail(plan, state, activation, Failure::clone(error)),
        Some(Ok(_)) => output(plan, state, activation).unwrap_or_else(|error| fail(plan, state, activation, error)),
        None => fail(plan, state, activation, Failure::new(ErrorKind::Internal, "the step has no end")),
    }
}

fn output(plan: &Plan, state: &State, activation: Activation) -> Result<EventBody, Failure> {
    let step = &state.steps[activation.get()];
    let valid = plan.valid_step(step.step);
    let place = match step.composite.as_ref().map(|composite| &composite.progress) {
        Some(Progress::Group { place, .. } | Progress::Branch { place, .. }) => *place,
        _ => None,
    };
    // A sub-workflow's own `outputs`; absent stands for the default output, which need not be stored.
    let mut output = match (&valid.kind, place) {
        (ValidKind::Workflow(child), Some(place)) => child
            .resolve_outputs(&StepScope::of_scope(plan, state, place))
            .map_err(|error| invalid("its outputs", &error))?
            .map(Value::Object),
        _ => None,
    };
    if let Some(template) = &valid.output_value {
        output = Some(match (&valid.kind, place) {
            (ValidKind::Parallel(_) | ValidKind::Branch(_), Some(place)) => {
                evaluate(template, &StepScope::of_scope(plan, state, place), "`output.value`")?
            }
            _ => {
                let own = output.unwrap_or_else(|| default_output(plan, state, activation));
                let scope = StepScope::of_step(plan, state, activation).own_output(&own);
                evaluate(template, &scope, "`output.value`")?
            }
        });
    }
    if let Some(schema) = &valid.output_schema {
        let shown = output.get_or_insert_with(|| default_output(plan, state, activation));
        schema.validate(shown).map_err(|violations| {
            let message = format!("the output does not fit the step's schema: {}", Violations(&violations));
            Failure::new(ErrorKind::Validation, message)
        })?;
    }
    Ok(EventBody::StepCompleted { activation, output: output.map(Arc::new) })
}

/// What the workflow gives that a step has run, before the step's own `output.value`; absent if it has no value.
pub(in crate::machine) fn child_output(plan: &Plan, state: &State, activation: Activation) -> Option<Arc<Value>> {
    let step = &state.steps[activation.get()];
    let (ValidKind::Workflow(child), Some(Progress::Group { place: Some(place), .. })) =
        (&plan.valid_step(step.step).kind, step.composite.as_ref().map(|composite| &composite.progress))
    else {
        return None;
    };
    let outputs = child.resolve_outputs(&StepScope::of_scope(plan, state, *place)).ok()?;
    Some(Arc::new(outputs.map_or_else(|| outputs_by_id(plan, state, *place), Value::Object)))
}

/// What the execution gives, if it has a value.
pub(in crate::machine) fn own_outputs(plan: &Plan, state: &State) -> Option<Value> {
    let outputs = plan.workflow().resolve_outputs(&StepScope::of_execution(plan, state)).ok()?;
    Some(outputs.map_or_else(|| outputs_by_id(plan, state, 0), Value::Object))
}

/// What a composite gives when nobody says otherwise.
pub(crate) fn default_output(plan: &Plan, state: &State, activation: Activation) -> Value {
    let step = &state.steps[activation.get()];
    match step.composite.as_ref().map(|composite| &composite.progress) {
        Some(Progress::Group { place: Some(place), .. } | Progress::Branch { place: Some(place), .. }) => {
            outputs_by_id(plan, state, *place)
        }
        Some(Progress::Map(map)) => match &map.accumulator {
            Some(accumulator) => Value::clone(accumulator),
            None => map
                .results
                .iter()
                .flatten()
                .filter_map(|result| match &result.outcome {
                    Ok(value) => Some(Value::clone(value)),
                    Err(error) => {
                        state.keeps_failed_items(plan, activation).then(|| serde_json::json!({ "error": error }))
                    }
                })
                .collect(),
        },
        Some(Progress::Loop(looped)) => serde_json::json!({
            "value": looped.value,
            "iterations": looped.next,
            "reason": if looped.limit { "limit" } else { "condition" },
        }),
        _ => Value::Object(Map::new()),
    }
}

/// The outputs of a scope instance's steps, by id.
pub(crate) fn outputs_by_id(plan: &Plan, state: &State, place: Place) -> Value {
    let outputs = state.activations(place).filter_map(|activation| {
        let output = state.shown_output(plan, Activation(activation))?;
        let step = &plan.steps()[state.steps[activation as usize].step.get()];
        Some((step.id.to_string(), output.clone()))
    });
    #[cfg(planted)]
    let outputs = outputs.skip(usize::from(crate::planted::Defect::GroupOutputCut.is_made() && place > 0));
    Value::Object(outputs.collect())
}

fn evaluate(template: &Template, scope: &StepScope<'_>, what: &str) -> Result<Value, Failure> {
    let resolved: Result<_, EvaluationError> = template.resolve(scope, Template::MAX_OUTPUT_SIZE);
    resolved.map_err(|error| invalid(what, &error))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
