//! What expressions must see at a place of an execution, from what the journal told: outputs, statuses, items and iterations are found here by
//! step paths and by events, and not by the way that the engine finds them.

use std::borrow::Cow;

use orchestr8_core::{
    machine::{State, scope::StepScope},
    plan::Plan,
};
use orchestr8_schema::{
    StepIndex,
    event::Activation,
    expression::{LoopField, Root, Scope, StepField},
};
use serde_json::{Map, Value};

use super::{paths, scopes::Scopes, steps::Steps};

/// The view of expressions at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    plan: &'a Plan,
    state: &'a State,
    steps: &'a Steps,
    scopes: &'a Scopes,
    /// For what follows from nothing that is looked at here: inputs, variables, environment.
    outside: StepScope<'a>,
    /// A step of the same workflow.
    own: Option<StepIndex>,
    /// What stands before the ids of steps beside it.
    prefix: &'a str,
    /// The running value of a map's accumulator, where the next one is computed.
    accumulator: Option<&'a Value>,
}

/// What was watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Witness<'a> {
    pub(super) plan: &'a Plan,
    pub(super) state: &'a State,
    pub(super) steps: &'a Steps,
    pub(super) scopes: &'a Scopes,
}

impl<'a> Witness<'a> {
    /// The view of a step.
    pub(super) fn of_step(self, activation: Activation) -> Sight<'a> {
        let path = self.steps.path(activation);
        let outside = StepScope::of_step(self.plan, self.state, activation);
        let own = self.state.activation(activation).map(|step| step.step);
        self.at(&path[..path.len() - paths::id(path).len()], outside, own)
    }

    /// The view of what a composite decides about the steps inside, at this place of them.
    pub(super) fn inside(self, composite: Activation, prefix: &'a str) -> Sight<'a> {
        let outside = StepScope::of_step(self.plan, self.state, composite);
        self.at(prefix, outside, self.state.activation(composite).map(|step| step.step))
    }

    /// The view of the execution's outputs.
    pub(super) fn of_execution(self) -> Sight<'a> {
        self.at("", StepScope::of_execution(self.plan, self.state), None)
    }

    fn at(self, prefix: &'a str, outside: StepScope<'a>, own: Option<StepIndex>) -> Sight<'a> {
        let Self { plan, state, steps, scopes } = self;
        Sight { plan, state, steps, scopes, outside, own, prefix, accumulator: None }
    }
}

impl<'a> Sight<'a> {
    pub(super) fn with_accumulator(self, accumulator: Option<&'a Value>) -> Self {
        Self { accumulator, ..self }
    }

    /// What the steps of a list have given, by id.
    pub(super) fn outputs_by_id(&self, steps: &[StepIndex]) -> Value {
        let outputs = steps.iter().filter_map(|step| {
            let id = &self.plan.steps()[step.get()].id;
            let activation = self.steps.at(&format!("{}{id}", self.prefix))?;
            Some((id.to_string(), Value::clone(self.steps.shown(activation)?)))
        });
        Value::Object(outputs.collect::<Map<_, _>>())
    }

    fn global(&self, step: StepIndex) -> StepIndex {
        self.own.map_or(step, |own| self.plan.unit_of(own).global(step))
    }

    /// Finds a step that is seen: beside the place, or further out.
    fn seen(&self, step: StepIndex) -> Option<Activation> {
        let step = self.global(step);
        let id = &self.plan.steps()[step.get()].id;
        let is_meant =
            |activation: &Activation| self.state.activation(*activation).is_some_and(|known| known.step == step);
        paths::prefixes(self.prefix).find_map(|prefix| self.steps.at(&format!("{prefix}{id}")).filter(is_meant))
    }

    /// Finds the item or iteration of a composite that the place is in.
    fn around(&self, composite: StepIndex) -> Option<(Activation, &'a str)> {
        let composite = self.global(composite);
        paths::prefixes(self.prefix).find_map(|prefix| {
            let (path, mark) = paths::mark(prefix)?;
            let activation = self.steps.at(path)?;
            (self.state.activation(activation)?.step == composite).then_some((activation, mark))
        })
    }
}

impl Scope for Sight<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Step { step, field: field @ (StepField::Output | StepField::Status) } => {
                let activation = self.seen(step)?;
                match field {
                    StepField::Output => self.steps.shown(activation).map(|output| Cow::Borrowed(&**output)),
                    _ => self.steps.status(activation).map(|status| Cow::Owned(status.into())),
                }
            }
            Root::Item(map) => match self.around(map) {
                Some((map, mark)) => self.scopes.item(map, mark).map(|(item, _)| Cow::Borrowed(item)),
                None => self.outside.root(root),
            },
            Root::ItemIndex(map) => match self.around(map) {
                Some((map, mark)) => self.scopes.item(map, mark).map(|(_, index)| Cow::Owned(index.into())),
                None => self.outside.root(root),
            },
            Root::Loop { step, field } => match self.around(step) {
                Some((looped, mark)) => {
                    let index: u32 = mark.strip_prefix('#')?.parse().ok()?;
                    match field {
                        LoopField::Index => Some(Cow::Owned(index.into())),
                        LoopField::Value => self.scopes.loop_value(looped, index).map(Cow::Borrowed),
                        _ => None,
                    }
                }
                None => self.outside.root(root),
            },
            Root::Accumulator(_) if self.accumulator.is_some() => self.accumulator.map(Cow::Borrowed),
            root => self.outside.root(root),
        }
    }
}
