//! What the journal must look like where steps hold steps: items, iterations, groups and branches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use orchestr8_core::{machine::State, plan::Plan};
use orchestr8_schema::{
    Failure, StepIndex,
    event::{Activation, Event, EventBody, ItemResult, LoopDecision, LoopVerdict, MapItems, Reuse},
    expression::Template,
    validate::{ScopeIndex, ValidKind, ValidWait},
    workflow::OnItemError,
};
use serde_json::{Value, json};

use super::{
    paths,
    sight::Witness,
    steps::{Blames, Steps},
};
use crate::simulate::invariant::Invariant;

/// By index, how the items of a map have ended.
type Items = BTreeMap<u32, Result<Arc<Value>, Arc<Failure>>>;

/// What was seen of the composites of one execution.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    items: HashMap<Activation, Items>,
    /// Maps that bear the failures of items.
    tolerant: BTreeSet<Activation>,
    /// By map, the items that have begun.
    begun: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// What maps run for.
    opened: HashMap<Activation, Arc<MapItems>>,
    /// What accumulators have come to.
    accumulated: HashMap<Activation, Arc<Value>>,
    /// By loop and iteration, the value that it begins with; by the number behind the last one, what it ended with.
    values: HashMap<(Activation, u32), Arc<Value>>,
    /// How loops were decided about last.
    decided: HashMap<Activation, Arc<LoopDecision>>,
}

impl Scopes {
    /// Looks at an event that was folded into the state just now.
    pub(super) fn take(&mut self, plan: &Plan, state: &State, event: &Event, steps: &Steps, blames: &mut Blames) {
        match &event.body {
            EventBody::StepScheduled { activation, .. } => self.opens(plan, state, *activation, steps, blames),
            EventBody::MapOpened { activation, items } => {
                self.opened.insert(*activation, Arc::clone(items));
                match &items.accumulator {
                    Some(first) => self.accumulated.insert(*activation, Arc::clone(first)),
                    None => self.accumulated.remove(activation),
                };
            }
            EventBody::LoopDecided { activation, decision } => {
                self.values.insert((*activation, decision.index), Arc::clone(&decision.value));
                self.decided.insert(*activation, Arc::clone(decision));
            }
            EventBody::ParallelJoined { activation, completed } => {
                Self::joined(plan, state, *activation, *completed, steps, blames);
            }
            EventBody::MapItemFinished { activation, index, result } => {
                self.item_finished(plan, state, *activation, (*index, result), steps, blames);
            }
            EventBody::StepCompleted { activation, .. } => {
                self.check_map(plan, state, *activation, steps, blames);
                Self::check_route(plan, state, *activation, steps, blames);
                self.check_output(plan, state, *activation, steps, blames);
            }
            _ => {}
        }
    }

    /// The item that a mark of a path names, and its index.
    pub(super) fn item(&self, map: Activation, mark: &str) -> Option<(&Value, u32)> {
        let items = self.opened.get(&map)?;
        let name = mark.strip_prefix('[')?.strip_suffix(']')?;
        let index = match &items.keys {
            None => name.parse().ok()?,
            Some(keys) => {
                let key: String = serde_json::from_str(name).ok()?;
                keys.iter().position(|known| **known == *key)? as u32
            }
        };
        Some((items.items.get(index as usize)?, index))
    }

    /// The value that an iteration of a loop begins with.
    pub(super) fn loop_value(&self, looped: Activation, iteration: u32) -> Option<&Value> {
        self.values.get(&(looped, iteration)).map(|value| &**value)
    }

    /// What stands before the ids of the steps of an item.
    fn inside_of_item(&self, path: &str, map: Activation, index: u32) -> Option<String> {
        let keys = self.opened.get(&map)?.keys.as_ref();
        Some(match keys {
            Some(keys) => format!("{path}[{}].", Value::from(&**keys.get(index as usize)?)),
            None => format!("{path}[{index}]."),
        })
    }

    /// The execution goes on, with these steps as if their turn had never come, or open again: an item that had ended a map by its
    /// failure has another turn.
    pub(super) fn reopened(&mut self, again: &[Activation]) {
        for map in again {
            if self.tolerant.contains(map) {
                continue;
            }
            if let Some(items) = self.items.get_mut(map) {
                items.retain(|_, outcome| outcome.is_ok());
            }
        }
    }

    fn item_finished(
        &mut self,
        plan: &Plan,
        state: &State,
        map: Activation,
        (index, result): (u32, &ItemResult),
        steps: &Steps,
        blames: &mut Blames,
    ) {
        let path = steps.path(map);
        let Some(known) = state.activation(map) else { return };
        let ValidKind::Map(valid) = &plan.valid_step(known.step).kind else { return };
        if valid.on_item_error != OnItemError::Fail {
            self.tolerant.insert(map);
        }
        let items = self.items.entry(map).or_default();
        if valid.accumulator.is_some() && items.len() != index as usize {
            blames.push((
                Invariant::JoinsCount,
                format!("item {index} of {path} had its turn as number {}", items.len()),
            ));
        }
        if items.insert(index, result.outcome.clone()).is_some() {
            blames.push((Invariant::EndsOnce, format!("item {index} of {path} ended twice")));
        }
        let accumulated = self.accumulated.get(&map).cloned();
        if let (Ok(value), Some(prefix)) = (&result.outcome, self.inside_of_item(path, map, index)) {
            let witness = Witness { plan, state, steps, scopes: self };
            let sight = witness.inside(map, &prefix).with_accumulator(accumulated.as_deref());
            let given = match &valid.output {
                Some(output) => output.resolve(&sight, Template::MAX_OUTPUT_SIZE).ok(),
                None => Some(sight.outputs_by_id(&inner_steps(plan, known.step, valid.scope))),
            };
            if given.as_ref() != Some(&**value) {
                blames.push((Invariant::ResultIsAnswer, format!("item {index} of {path} is not what its steps gave")));
            }
            let next = valid.accumulator.as_ref().map(|(_, next)| next.resolve(&sight, Template::MAX_OUTPUT_SIZE).ok());
            if next.is_some_and(|next| next.as_ref() != result.accumulator.as_deref()) {
                let message = format!("behind item {index} the accumulator of {path} is not what the item makes of it");
                blames.push((Invariant::ResultIsAnswer, message));
            }
        } else if result.outcome.is_err() && result.accumulator != accumulated {
            let message = format!("item {index} of {path} has no value, and changes the accumulator");
            blames.push((Invariant::ResultIsAnswer, message));
        }
        if let Some(accumulator) = &result.accumulator {
            self.accumulated.insert(map, Arc::clone(accumulator));
        }
    }

    /// What a composite gives is what the steps inside gave, unless it says otherwise.
    fn check_output(&self, plan: &Plan, state: &State, activation: Activation, steps: &Steps, blames: &mut Blames) {
        let Some(known) = state.activation(activation) else { return };
        let (valid, path) = (plan.valid_step(known.step), steps.path(activation));
        if valid.output_value.is_some() || known.reuse == Some(Reuse::Reused) {
            return;
        }
        let Some(output) = steps.output(activation) else { return };
        let inside = format!("{path}.");
        let witness = Witness { plan, state, steps, scopes: self };
        let given = match &valid.kind {
            ValidKind::Parallel(group) => {
                Some(witness.inside(activation, &inside).outputs_by_id(&inner_steps(plan, known.step, group.scope)))
            }
            ValidKind::Branch(branch) => {
                let scopes = branch.cases.iter().map(|case| case.scope).chain(branch.default);
                let all: Vec<_> = scopes.flat_map(|scope| inner_steps(plan, known.step, scope)).collect();
                Some(witness.inside(activation, &inside).outputs_by_id(&all))
            }
            ValidKind::Map(map) if map.accumulator.is_some() => {
                self.accumulated.get(&activation).map(|value| Value::clone(value))
            }
            ValidKind::Loop(_) => self.decided.get(&activation).map(|decision| {
                let reason = if decision.verdict == LoopVerdict::Limit { "limit" } else { "condition" };
                json!({ "value": decision.value, "iterations": decision.index, "reason": reason })
            }),
            ValidKind::Wait(ValidWait::Signal { .. }) => {
                steps.heard(activation).map(|payload| json!({ "reason": "signal", "payload": payload }))
            }
            ValidKind::Wait(_) => Some(json!({ "reason": "elapsed" })),
            _ => return,
        };
        if given.as_ref() != Some(&**output) {
            blames.push((Invariant::ResultIsAnswer, format!("{path} does not give what came of it")));
        }
    }

    /// The value of a loop is what its last iteration makes of it.
    pub(super) fn check_loop(witness: Witness<'_>, looped: Activation, decision: &LoopDecision) -> Option<String> {
        let Witness { plan, state, steps, .. } = witness;
        let known = state.activation(looped)?.step;
        let ValidKind::Loop(valid) = &plan.valid_step(known).kind else { return None };
        let (last, path) = (decision.index.checked_sub(1)?, steps.path(looped));
        let prefix = format!("{path}#{last}.");
        let sight = witness.inside(looped, &prefix);
        let given = match &valid.value {
            Some(value) => value.resolve(&sight, Template::MAX_OUTPUT_SIZE).ok(),
            None => Some(sight.outputs_by_id(&inner_steps(plan, known, valid.scope))),
        };
        (given.as_ref() != Some(&*decision.value)).then(|| format!("{path} has another value than its iteration gave"))
    }

    /// A branch that completes has taken a case, or its default.
    fn check_route(plan: &Plan, state: &State, activation: Activation, steps: &Steps, blames: &mut Blames) {
        let Some(known) = state.activation(activation) else { return };
        let ValidKind::Branch(branch) = &plan.valid_step(known.step).kind else { return };
        let inner = format!("{}.", steps.path(activation));
        let scopes = branch.cases.iter().map(|case| case.scope).chain(branch.default);
        let unit = plan.unit_of(known.step);
        let is_empty = |scope| plan.scopes()[unit.global_scope(scope).get()].steps.is_empty();
        let went = steps.has_path_below(&inner) || scopes.into_iter().any(is_empty);
        if !went {
            blames.push((Invariant::RouteIsKnown, format!("{} completed and took no way", steps.path(activation))));
        }
    }

    /// Counts the items and iterations around a step that is scheduled.
    fn opens(&mut self, plan: &Plan, state: &State, activation: Activation, steps: &Steps, blames: &mut Blames) {
        let path = Arc::<str>::from(steps.path(activation));
        for (place, kind) in paths::openings(&path) {
            let Some(composite) = steps.at(&path[..place]) else { continue };
            let Some(known) = state.activation(composite) else { continue };
            match &plan.valid_step(known.step).kind {
                ValidKind::Loop(known) if kind == '#' => {
                    let digits = path[place + 1..].split('.').next().and_then(|digits| digits.parse::<u32>().ok());
                    if digits.is_some_and(|index| index >= known.max_iterations) {
                        let message = format!("{path} is beyond {} iterations", known.max_iterations);
                        blames.push((Invariant::ScopeLimits, message));
                    }
                }
                // With an accumulator an item may be over before its turn to be told comes.
                ValidKind::Map(known) if kind == '[' && known.accumulator.is_none() => {
                    let item = path[..place + paths::closing(&path[place..])].into();
                    let begun = self.begun.entry(path[..place].into()).or_default();
                    begun.insert(item);
                    let over = self.items.get(&composite).map_or(0, BTreeMap::len);
                    if begun.len().saturating_sub(over) > known.concurrency as usize {
                        let message = format!("{} has over {} items open", &path[..place], known.concurrency);
                        blames.push((Invariant::ScopeLimits, message));
                    }
                }
                _ => {}
            }
        }
    }

    fn joined(plan: &Plan, state: &State, group: Activation, completed: u32, steps: &Steps, blames: &mut Blames) {
        let Some(known) = state.activation(group) else { return };
        let ValidKind::Parallel(parallel) = &plan.valid_step(known.step).kind else { return };
        let unit = plan.unit_of(known.step);
        let of_group = |step: &StepIndex| {
            let id = &plan.steps()[unit.global(*step).get()].id;
            steps.at(&format!("{}.{id}", steps.path(group)))
        };
        let joined: Vec<_> = parallel.joined.iter().filter_map(of_group).collect();
        let good = joined.iter().filter(|step| steps.has_result(**step)).count();
        let enough = match parallel.needed {
            Some(needed) => good >= needed as usize,
            None => joined.iter().all(|step| steps.is_settled(plan, state, *step)),
        };
        if !enough || good != completed as usize {
            let message =
                format!("{} joined at {completed}, with {good} of {} ended well", steps.path(group), joined.len());
            blames.push((Invariant::JoinsCount, message));
        }
    }

    fn check_map(&self, plan: &Plan, state: &State, activation: Activation, steps: &Steps, blames: &mut Blames) {
        let Some(known) = state.activation(activation) else { return };
        let ValidKind::Map(map) = &plan.valid_step(known.step).kind else { return };
        let Some(Value::Array(output)) = known.output.as_deref().filter(|_| map.accumulator.is_none()) else { return };
        let items = self.items.get(&activation);
        let values = items.into_iter().flat_map(BTreeMap::values);
        let told: Vec<_> = values.filter(|value| value.is_ok() || map.on_item_error != OnItemError::Skip).collect();
        let fits = told.len() == output.len()
            && told.iter().zip(output).all(|(told, value)| match told {
                Ok(told) => **told == *value,
                Err(_) => value.get("error").is_some(),
            });
        if !fits {
            let message = format!("the output of {} is not its items in their order", steps.path(activation));
            blames.push((Invariant::JoinsCount, message));
        }
    }
}

/// The steps of a list that a composite opens.
fn inner_steps(plan: &Plan, composite: StepIndex, scope: ScopeIndex) -> Vec<StepIndex> {
    plan.scopes()[plan.unit_of(composite).global_scope(scope).get()].steps.to_vec()
}
