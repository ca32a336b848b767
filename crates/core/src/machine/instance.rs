//! Scope instances: a list of steps of the plan, opened once.
//!
//! The workflow itself is one; so is each item of a map and each iteration of a loop. The activations of an instance have
//! successive numbers, so that a step of the plan is found by its position.

use std::sync::Arc;

use orchestr8_agent_base::context::StepIdentity;
use orchestr8_schema::{
    Failure, StepIndex, StepPath,
    event::Activation,
    validate::{ScopeIndex, ValidKind},
};
use serde_json::Value;

use super::{State, StepState, composite::Progress};
use crate::plan::{Plan, Unit};

/// The number of a scope instance.
pub(crate) type Place = u32;

/// A scope that was opened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ScopeInstance {
    /// Which one of the plan.
    pub(super) scope: ScopeIndex,
    /// The composite that opened it; none for the workflow itself.
    pub(super) opened_by: Option<Activation>,
    /// The item of a map or the iteration of a loop; otherwise 0.
    pub(super) number: u32,
    /// The number of its first activation.
    pub(super) base: u32,
    /// Activations that are not terminal, or have hooks to come.
    pub(super) live: u32,
    /// How many of the first activations are known to be terminal.
    pub(super) swept: u32,
    /// Whether all that is open in it is to be cancelled.
    pub(super) aborting: bool,
    /// Whether what follows from its end was decided.
    pub(super) ended: bool,
    /// The first fatal failure in it.
    pub(super) failed: Option<Arc<Failure>>,
    /// The value of the loop, or of the map's accumulator, that was there when it opened: that of a later time is another.
    pub(super) carried: Option<Arc<Value>>,
    /// What expressions see in there, if it belongs to a sub-workflow.
    pub(super) surroundings: Option<Arc<Surroundings>>,
}

/// What expressions see of a sub-workflow besides its steps.
#[derive(Debug, PartialEq)]
pub(super) struct Surroundings {
    pub(super) inputs: Arc<Value>,
    pub(super) variables: Value,
    pub(super) env: Value,
}

impl State {
    pub(super) fn open_root(&mut self, plan: &Plan) {
        self.open_instance(plan, ScopeIndex::ROOT, None, 0, None);
    }

    /// Opens a scope and returns its number.
    pub(super) fn open_instance(
        &mut self,
        plan: &Plan,
        scope: ScopeIndex,
        opened_by: Option<Activation>,
        number: u32,
        surroundings: Option<Arc<Surroundings>>,
    ) -> Place {
        let place = self.scopes.len() as Place;
        let base = self.steps.len() as u32;
        let steps = &plan.scopes()[scope.get()].steps;
        self.steps.extend(steps.iter().map(|&step| StepState::new(plan, step, place)));
        self.live += steps.len() as u32;
        self.scopes.push(ScopeInstance {
            scope,
            opened_by,
            number,
            base,
            live: steps.len() as u32,
            swept: 0,
            aborting: false,
            ended: false,
            failed: None,
            carried: None,
            surroundings,
        });
        place
    }

    /// Returns the activations of a scope instance.
    pub(super) fn activations(&self, place: Place) -> std::ops::Range<u32> {
        let base = self.scopes[place as usize].base;
        let end = self.scopes.get(place as usize + 1).map_or(self.steps.len() as u32, |next| next.base);
        base..end
    }

    /// Returns the activation of a step that stands in the same scope instance as another.
    pub(crate) fn sibling(&self, plan: &Plan, of: Activation, step: StepIndex) -> Activation {
        let scope = &self.scopes[self.steps[of.get()].scope as usize];
        Activation(scope.base + plan.steps()[step.get()].position)
    }

    /// Lists the activations that stand in the same scope instance, the given one included.
    pub(crate) fn siblings(&self, of: Activation) -> impl Iterator<Item = Activation> {
        self.activations(self.steps[of.get()].scope).map(Activation)
    }

    /// Lists the activations right inside of a composite, in the order in which they opened.
    pub(crate) fn inside(&self, composite: Activation) -> Vec<Activation> {
        let places =
            (0..self.scopes.len() as Place).filter(|place| self.scopes[*place as usize].opened_by == Some(composite));
        places.flat_map(|place| self.activations(place)).map(Activation).collect()
    }

    /// Returns the item of the map or the iteration of the loop that an activation stands in; otherwise 0.
    pub(crate) fn number_of(&self, activation: Activation) -> u32 {
        self.scopes[self.steps[activation.get()].scope as usize].number
    }

    /// Finds the activation of a step that is visible from a scope instance: in it, or around it.
    pub(super) fn visible(&self, plan: &Plan, from: Place, step: StepIndex) -> Option<Activation> {
        let planned = plan.steps().get(step.get())?;
        self.around(from)
            .find(|place| self.scopes[*place as usize].scope == planned.scope)
            .map(|place| Activation(self.scopes[place as usize].base + planned.position))
    }

    /// Lists a scope instance and those around it, from the inside out.
    pub(super) fn around(&self, from: Place) -> impl Iterator<Item = Place> {
        std::iter::successors(Some(from), |place| {
            let opened_by = self.scopes[*place as usize].opened_by?;
            Some(self.steps[opened_by.get()].scope)
        })
    }

    /// Lists the runs of sub-workflows that an activation stands in and whose policies limit how much of them is in progress at once.
    pub(crate) fn shares_of(&self, plan: &Plan, activation: Activation) -> impl Iterator<Item = (Place, u32)> {
        self.around(self.steps[activation.get()].scope).filter_map(|place| {
            let scope = &self.scopes[place as usize];
            let planned = &plan.scopes()[scope.scope.get()];
            let run = scope.opened_by.filter(|_| planned.is_root);
            run.and_then(|_| Some((place, plan.units()[planned.unit].max_concurrent_steps?)))
        })
    }

    /// Returns the workflow that a scope instance belongs to, as the plan knows it.
    pub(super) fn unit_of<'a>(&self, plan: &'a Plan, place: Place) -> &'a Unit {
        &plan.units()[plan.scopes()[self.scopes[place as usize].scope.get()].unit]
    }

    /// Returns the composite that an activation stands in; none for those of the workflow's own list.
    pub(crate) fn parent_of(&self, activation: Activation) -> Option<Activation> {
        self.scopes[self.steps[activation.get()].scope as usize].opened_by
    }

    /// Renders an activation's place in the workflow.
    pub(crate) fn path_of(&self, plan: &Plan, activation: Activation) -> StepPath {
        let step = &self.steps[activation.get()];
        let id = &plan.steps()[step.step.get()].id;
        let scope = &self.scopes[step.scope as usize];
        let Some(composite) = scope.opened_by else { return StepPath::from(id) };
        let outer = self.path_of(plan, composite);
        let opener = &self.steps[composite.get()];
        match (&plan.valid_step(opener.step).kind, opener.composite.as_ref().map(|composite| &composite.progress)) {
            (ValidKind::Map(_), Some(Progress::Map(map))) => match map.key(scope.number) {
                Some(key) => outer.in_keyed_item(key, id),
                None => outer.in_item(scope.number, id),
            },
            (ValidKind::Loop(_), _) => outer.in_iteration(scope.number, id),
            _ => outer.inside(id),
        }
    }

    /// Makes the identity that an agent sees of an activation.
    pub(crate) fn identity(&self, plan: &Plan, activation: Activation) -> StepIdentity {
        let id = &plan.steps()[self.steps[activation.get()].step.get()].id;
        StepIdentity::new(id.clone(), self.path_of(plan, activation), self.visit_of(plan, activation))
    }

    /// Returns how often an activation's place was entered before: the iteration of the loop that it stands in, else 0.
    pub(crate) fn visit_of(&self, plan: &Plan, activation: Activation) -> u32 {
        let scope = &self.scopes[self.steps[activation.get()].scope as usize];
        match scope.opened_by.map(|composite| &plan.valid_step(self.steps[composite.get()].step).kind) {
            Some(ValidKind::Loop(_)) => scope.number,
            _ => 0,
        }
    }
}
