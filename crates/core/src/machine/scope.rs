//! What expressions see: the roots, shown from plan and state.

use std::borrow::Cow;

use orchestr8_schema::{
    StepIndex,
    event::Activation,
    expression::{ContextField, LoopField, OwnField, Root, Scope, StepField},
    validate::ValidKind,
    workflow::DefaultCase,
};
use serde_json::Value;

use super::{
    Phase, Rescue, State,
    composite::{Composite, MapProgress, Progress},
    instance::{Place, ScopeInstance},
};
use crate::plan::{Plan, Unit};

/// The view that expressions have at one place of an execution.
#[derive(Clone, Copy, Debug)]
pub struct StepScope<'a> {
    plan: &'a Plan,
    state: &'a State,
    place: Place,
    activation: Option<Activation>,
    /// What `self.output` shows.
    own_output: Option<&'a Value>,
    /// What `self` shows in a hook, an object.
    own: Option<&'a Value>,
    /// An item whose scope is not open, and its index.
    item: Option<(Activation, &'a Value, u32)>,
    /// The value of a loop, and the index, while it is decided how it goes on.
    value: Option<(Activation, &'a Value, u32)>,
}

impl<'a> StepScope<'a> {
    /// Makes the view of a step.
    pub fn of_step(plan: &'a Plan, state: &'a State, activation: Activation) -> Self {
        let place = state.steps[activation.get()].scope;
        Self { activation: Some(activation), ..Self::of_scope(plan, state, place) }
    }

    /// Makes the view of a step's compensation, which is that of the step and what became of it.
    pub(super) fn of_compensation(plan: &'a Plan, state: &'a State, activation: Activation) -> Self {
        let own_output = state.steps[activation.get()].output.as_deref();
        Self { own_output, ..Self::of_step(plan, state, activation) }
    }

    /// Makes the view of the workflow's `outputs`, which belong to no step.
    #[must_use]
    pub fn of_execution(plan: &'a Plan, state: &'a State) -> Self {
        Self::of_scope(plan, state, 0)
    }

    /// Makes the view of a composite's templates that see the steps inside.
    pub(super) fn of_scope(plan: &'a Plan, state: &'a State, place: Place) -> Self {
        let activation = state.scopes[place as usize].opened_by;
        Self { plan, state, place, activation, own_output: None, own: None, item: None, value: None }
    }

    /// Makes it the view of a hook about a step or the execution.
    pub(super) fn about(mut self, activation: Activation, own: &'a Value) -> Self {
        self.activation = Some(activation);
        self.own = Some(own);
        self
    }

    pub(super) fn own_output(mut self, output: &'a Value) -> Self {
        self.own_output = Some(output);
        self
    }

    pub(super) fn item(mut self, map: Activation, item: &'a Value, index: u32) -> Self {
        self.item = Some((map, item, index));
        self
    }

    pub(super) fn value(mut self, looped: Activation, value: &'a Value, index: u32) -> Self {
        self.value = Some((looped, value, index));
        self
    }

    fn unit(&self) -> &'a Unit {
        self.state.unit_of(self.plan, self.place)
    }

    fn context(&self, field: ContextField) -> Option<Value> {
        let queued = self.state.queued.as_ref()?;
        Some(Value::String(match field {
            ContextField::ExecutionId => queued.execution_id.to_string(),
            ContextField::CorrelationId => queued.correlation_id.to_string(),
            ContextField::WorkflowId => self.unit().workflow.id().to_owned(),
            ContextField::StepId => {
                let step = self.state.steps.get(self.activation?.get())?;
                self.plan.steps()[step.step.get()].id.to_string()
            }
            _ => return None,
        }))
    }

    /// Shows a step that is terminal; of any other, expressions see nothing.
    fn field(&self, step: StepIndex, field: StepField) -> Option<Cow<'a, Value>> {
        let (plan, state) = (self.plan, self.state);
        let activation = state.visible(plan, self.place, self.unit().global(step))?;
        let step = &state.steps[activation.get()];
        if !step.phase.is_terminal() {
            return None;
        }
        match field {
            StepField::Output => state.shown_output(plan, activation).map(Cow::Borrowed),
            #[cfg(planted)]
            StepField::Status if crate::planted::Defect::StatusMisread.is_made() && step.phase == Phase::Failed => {
                Some(Cow::Owned(Phase::Completed.status().into()))
            }
            StepField::Status => Some(Cow::Owned(step.phase.status().into())),
            StepField::Error => Some(Cow::Owned(serde_json::to_value(step.error.as_deref()?).ok()?)),
            StepField::Attempts => Some(Cow::Owned(step.attempts.into())),
            StepField::Case => state.case_of(plan, activation).map(|case| Cow::Owned(case.into())),
            StepField::RecoveredBy => {
                let fallback = plan.steps()[step.step.get()].fallback.filter(|_| step.rescue == Rescue::Recovered)?;
                Some(Cow::Owned(plan.steps()[fallback.get()].id.as_str().into()))
            }
            _ => None,
        }
    }

    /// Finds the composite of this step around the view, and the scope instance of it that the view is in.
    fn enclosing(&self, step: StepIndex) -> Option<(Activation, &'a ScopeInstance)> {
        let step = self.unit().global(step);
        self.state.around(self.place).find_map(|place| {
            let scope = &self.state.scopes[place as usize];
            let composite = scope.opened_by?;
            (self.state.steps[composite.get()].step == step).then_some((composite, scope))
        })
    }

    fn composite(&self, activation: Activation) -> Option<&'a Progress> {
        self.state.steps[activation.get()].composite.as_deref().map(|Composite { progress, .. }| progress)
    }

    fn map(&self, step: StepIndex) -> Option<(&'a MapProgress, u32)> {
        let (activation, scope) = self.enclosing(step)?;
        match self.composite(activation)? {
            Progress::Map(map) => Some((map, scope.number)),
            _ => None,
        }
    }

    /// The value of a loop in the iteration that the view is in, and its index.
    fn looped(&self, step: StepIndex) -> Option<(&'a Value, u32)> {
        let (_, scope) = self.enclosing(step)?;
        #[cfg(planted)]
        if crate::planted::Defect::IterationShifted.is_made() {
            return Some((scope.carried.as_deref()?, scope.number + 1));
        }
        Some((scope.carried.as_deref()?, scope.number))
    }

    /// What a view was given for this composite.
    fn given(&self, given: Option<(Activation, &'a Value, u32)>, step: StepIndex) -> Option<(&'a Value, u32)> {
        let (activation, value, number) = given?;
        (self.state.steps[activation.get()].step == self.unit().global(step)).then_some((value, number))
    }

    /// The value of a map's accumulator: as it is now where the next one is computed, and inside of an item as it was when that
    /// opened.
    fn accumulator(&self, step: StepIndex) -> Option<&'a Value> {
        let (map, scope) = self.enclosing(step)?;
        match self.composite(map)? {
            Progress::Map(progress) if self.activation == Some(map) => progress.accumulator.as_deref(),
            Progress::Map(_) => scope.carried.as_deref(),
            _ => None,
        }
    }
}

impl Scope for StepScope<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        let (plan, state) = (self.plan, self.state);
        match root {
            Root::Step { step, field } => self.field(step, field),
            Root::Inputs => Some(Cow::Borrowed(match state.surroundings(self.place) {
                Some(surroundings) => &*surroundings.inputs,
                None => &**state.input()?,
            })),
            Root::Variables => Some(Cow::Borrowed(match state.surroundings(self.place) {
                Some(surroundings) => &surroundings.variables,
                None => &*state.queued.as_ref()?.variables,
            })),
            Root::Env => Some(Cow::Borrowed(match state.surroundings(self.place) {
                Some(surroundings) => &surroundings.env,
                None => &*state.queued.as_ref()?.env,
            })),
            Root::Context(field) => self.context(field).map(Cow::Owned),
            Root::Metadata => Some(Cow::Borrowed(self.unit().metadata())),
            Root::Item(step) => match self.given(self.item, step) {
                Some((item, _)) => Some(Cow::Borrowed(item)),
                #[cfg(planted)]
                None if crate::planted::Defect::NeighbourSeen.is_made() => {
                    let neighbour =
                        self.map(step).and_then(|(map, number)| map.item(number ^ 1).or_else(|| map.item(number)));
                    neighbour.map(Cow::Borrowed)
                }
                None => self.map(step).and_then(|(map, number)| map.item(number)).map(Cow::Borrowed),
            },
            Root::ItemIndex(step) => match self.given(self.item, step) {
                Some((_, index)) => Some(Cow::Owned(index.into())),
                None => self.map(step).map(|(_, number)| Cow::Owned(number.into())),
            },
            Root::Accumulator(step) => self.accumulator(step).map(Cow::Borrowed),
            Root::Loop { step, field } => {
                let (value, index) = match self.given(self.value, step) {
                    Some(given) => given,
                    None => self.looped(step)?,
                };
                Some(match field {
                    LoopField::Value => Cow::Borrowed(value),
                    LoopField::Index => Cow::Owned(index.into()),
                    _ => return None,
                })
            }
            Root::Own(field) if self.own.is_some() => self.own?.get(field.as_str()).map(Cow::Borrowed),
            Root::Own(field) => {
                let activation = self.activation?;
                let step = &state.steps[activation.get()];
                match field {
                    OwnField::Output => self.own_output.map(Cow::Borrowed),
                    OwnField::Input => step.input.as_deref().map(Cow::Borrowed),
                    OwnField::StepId => Some(Cow::Owned(plan.steps()[step.step.get()].id.as_str().into())),
                    OwnField::StepPath => Some(Cow::Owned(state.path_of(plan, activation).as_str().into())),
                    OwnField::Status => Some(Cow::Owned(step.phase.status().into())),
                    OwnField::Error => Some(Cow::Owned(serde_json::to_value(step.error.as_deref()?).ok()?)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

impl State {
    /// What expressions see as a step's output: its own, or that of the fallback that recovered it.
    pub(crate) fn shown_output(&self, plan: &Plan, activation: Activation) -> Option<&Value> {
        let step = &self.steps[activation.get()];
        match step.phase {
            Phase::Completed => step.output.as_deref(),
            #[cfg(planted)]
            Phase::Failed if step.rescue == Rescue::Recovered && crate::planted::of_recovered().is_some() => {
                crate::planted::of_recovered()
            }
            Phase::Failed if step.rescue == Rescue::Recovered => {
                let fallback = plan.steps()[step.step.get()].fallback?;
                // A fallback can be recovered by its own, so it is asked in turn; verified chains have no cycles.
                self.shown_output(plan, self.sibling(plan, activation, fallback))
            }
            #[cfg(planted)]
            Phase::Skipped => crate::planted::of_skipped(),
            _ => None,
        }
    }

    /// The name of the case that a branch took.
    pub(crate) fn case_of<'a>(&self, plan: &'a Plan, activation: Activation) -> Option<&'a str> {
        let step = &self.steps[activation.get()];
        let Progress::Branch { case, .. } = step.composite.as_ref()?.progress else { return None };
        let ValidKind::Branch(branch) = &plan.valid_step(step.step).kind else { return None };
        Some(branch.cases.get(case? as usize).map_or(DefaultCase::NAME, |case| &*case.name))
    }

    /// The key of a map's item, if its items have keys.
    pub(crate) fn item_key(&self, map: Activation, index: u32) -> Option<&str> {
        match &self.steps.get(map.get())?.composite.as_ref()?.progress {
            Progress::Map(map) => map.key(index),
            _ => None,
        }
    }

    fn surroundings(&self, place: Place) -> Option<&super::instance::Surroundings> {
        self.around(place).find_map(|place| self.scopes[place as usize].surroundings.as_deref())
    }
}
