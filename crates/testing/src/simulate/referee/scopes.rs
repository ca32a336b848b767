//! What the journal must look like where steps hold steps: items, iterations, groups and branches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use orchestr8_core::{machine::State, plan::Plan};
use orchestr8_schema::{
    Failure, StepIndex,
    event::{Activation, Event, EventBody, ItemResult},
    validate::ValidKind,
    workflow::OnItemError,
};
use serde_json::Value;

use super::steps::{Blames, Steps};
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
}

impl Scopes {
    /// Looks at an event that was folded into the state just now.
    pub(super) fn take(&mut self, plan: &Plan, state: &State, event: &Event, steps: &Steps, blames: &mut Blames) {
        match &event.body {
            EventBody::StepScheduled { activation, .. } => self.opens(plan, state, *activation, steps, blames),
            EventBody::ParallelJoined { activation, completed } => {
                Self::joined(plan, state, *activation, *completed, steps, blames);
            }
            EventBody::MapItemFinished { activation, index, result } => {
                self.item_finished(plan, state, *activation, (*index, result), steps, blames);
            }
            EventBody::StepCompleted { activation, .. } => {
                self.check_map(plan, state, *activation, steps, blames);
                Self::check_route(plan, state, *activation, steps, blames);
            }
            _ => {}
        }
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
        // Without a template of its own, an item's value is what its steps gave, by id.
        if let (Ok(value), None, None) = (&result.outcome, &valid.output, &valid.key) {
            let strays = value.as_object().into_iter().flatten().find(|(id, value)| {
                let inner = steps.at(&format!("{path}[{index}].{id}")).and_then(|inner| state.activation(inner));
                inner.is_none_or(|inner| inner.output.as_deref().is_some_and(|output| output != *value))
            });
            if let Some((id, _)) = strays {
                blames.push((Invariant::ResultIsAnswer, format!("item {index} of {path} has another item's {id}")));
            }
        }
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
        for (place, kind) in openings(&path) {
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
                    let item = path[..place + closing(&path[place..])].into();
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

/// The places in a step path at which an item (`[`) or an iteration (`#`) is named, keys left out.
fn openings(path: &str) -> Vec<(usize, char)> {
    let mut found = Vec::new();
    let (mut quoted, mut escaped) = (false, false);
    for (place, character) in path.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' | '#' if !quoted => found.push((place, character)),
            _ => {}
        }
    }
    found
}

/// The length of what begins with a `[` and ends with its `]`.
fn closing(text: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (place, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => return place + 1,
            _ => {}
        }
    }
    text.len()
}
