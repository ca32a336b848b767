//! Composites: they open scopes, their scopes end, and they end themselves.

use std::sync::Arc;

use orchestr8_schema::{
    ErrorKind, Failure,
    event::{Activation, ItemResult, LoopDecision, LoopVerdict, MapItems, Reuse, Signal, Timer},
    policy::OnFailure,
    validate::{ScopeIndex, ValidKind},
    workflow::OnItemError,
};
use serde_json::{Map, Value};

use super::Fold;
use crate::{
    machine::{
        Phase, State,
        agenda::Consequence,
        command::Sink,
        composite::{Composite, LoopProgress, MapProgress, Progress},
        hooks::Stage,
        instance::{Place, Surroundings},
    },
    plan::Plan,
};

impl<S: Sink> Fold<'_, S> {
    fn composite(&mut self, activation: Activation) -> Option<&mut Composite> {
        self.state.steps[activation.get()].composite.as_deref_mut()
    }

    fn map(&mut self, activation: Activation) -> Option<&mut MapProgress> {
        match &mut self.composite(activation)?.progress {
            Progress::Map(map) => Some(map),
            _ => None,
        }
    }

    fn looped(&mut self, activation: Activation) -> Option<&mut LoopProgress> {
        match &mut self.composite(activation)?.progress {
            Progress::Loop(looped) => Some(looped),
            _ => None,
        }
    }

    /// Opens a composite as far as nothing has to be decided.
    pub(super) fn open(&mut self, activation: Activation) {
        let plan = self.plan;
        let index = self.state.steps[activation.get()].step;
        let unit = plan.unit_of(index);
        let (progress, scope) = match &plan.valid_step(index).kind {
            ValidKind::Parallel(parallel) => (Progress::GROUP, Some(unit.global_scope(parallel.scope))),
            ValidKind::Workflow(_) => (Progress::GROUP, plan.steps()[index.get()].child),
            ValidKind::Branch(_) => (Progress::Branch { case: None, place: None }, None),
            ValidKind::Map(_) => (Progress::Map(MapProgress::default()), None),
            _ => {
                let looped = LoopProgress { next: 0, value: Arc::new(Value::Null), place: None, limit: false };
                (Progress::Loop(looped), None)
            }
        };
        let step = &mut self.state.steps[activation.get()];
        step.composite = Some(Box::new(Composite::new(progress)));
        let Some(scope) = scope else {
            step.phase = Phase::Deciding;
            return self.follow(Consequence::Decide(activation));
        };
        step.phase = Phase::Open;
        let opened = self.open_closed(activation, scope, 0);
        if let Some(Composite { progress: Progress::Group { place, .. }, .. }) = self.composite(activation) {
            *place = Some(opened);
        }
        if plan.steps()[index.get()].child.is_none() || !self.begin_hooks(activation, Stage::Opening) {
            self.release_all(opened);
        }
    }

    /// The first hooks of the workflow that a step runs have been called.
    pub(in crate::machine) fn release_group(&mut self, activation: Activation) {
        if let Some(place) = self.state.group_of(activation) {
            self.release_all(place);
        }
    }

    /// The last hooks of the workflow that a step runs have been called.
    pub(in crate::machine) fn hooks_ended(&mut self, activation: Activation) {
        if let Some(composite) = self.composite(activation) {
            composite.hooked = true;
        }
        self.follow(Consequence::Close(activation));
    }

    /// A guard has put another input in the place of the one that a step has.
    pub(in crate::machine) fn replace_input(&mut self, activation: Activation, input: &Arc<Value>) {
        let step = &mut self.state.steps[activation.get()];
        if step.reuse == Some(Reuse::Reused) && step.input.as_ref() != Some(input) {
            step.reuse = Some(Reuse::InputChanged);
        }
        step.input = Some(Arc::clone(input));
        if let Some(place) = self.state.group_of(activation) {
            let scope = self.state.scopes[place as usize].scope;
            self.state.scopes[place as usize].surroundings = surroundings(self.plan, self.state, activation, scope);
        }
    }

    fn open_scope(&mut self, activation: Activation, scope: ScopeIndex, number: u32) -> Place {
        let place = self.open_closed(activation, scope, number);
        self.release_all(place);
        place
    }

    /// Opens a scope whose steps have to wait for something else yet.
    fn open_closed(&mut self, activation: Activation, scope: ScopeIndex, number: u32) -> Place {
        let surroundings = surroundings(self.plan, self.state, activation, scope);
        let place = self.state.open_instance(self.plan, scope, Some(activation), number, surroundings);
        if let Some(composite) = self.composite(activation) {
            composite.open.push(place);
        }
        place
    }

    pub(super) fn branch_decided(&mut self, activation: Activation, taken: u32) {
        let plan = self.plan;
        let index = self.state.steps[activation.get()].step;
        let ValidKind::Branch(branch) = &plan.valid_step(index).kind else { return };
        let scope = branch.cases.get(taken as usize).map(|case| case.scope).or(branch.default);
        self.state.steps[activation.get()].phase = Phase::Open;
        let opened = scope
            .map(|scope| plan.unit_of(index).global_scope(scope))
            .filter(|scope| !plan.scopes()[scope.get()].steps.is_empty())
            .map(|scope| self.open_scope(activation, scope, 0));
        if let Some(Composite { progress: Progress::Branch { case, place }, .. }) = self.composite(activation) {
            (*case, *place) = (Some(taken), opened);
        }
        if opened.is_none() {
            self.close(activation, Ok(None));
        }
    }

    pub(super) fn map_opened(&mut self, activation: Activation, items: &Arc<MapItems>) {
        self.state.steps[activation.get()].phase = Phase::Open;
        if let Some(map) = self.map(activation) {
            map.items = Some(Arc::clone(items));
            map.results = vec![None; items.items.len()];
            map.early = vec![None; if items.accumulator.is_some() { items.items.len() } else { 0 }];
            map.accumulator.clone_from(&items.accumulator);
        }
        self.open_items(activation);
    }

    /// Opens as many items as may be open at once, or ends a map without any left.
    pub(in crate::machine) fn open_items(&mut self, activation: Activation) {
        let plan = self.plan;
        let index = self.state.steps[activation.get()].step;
        let ValidKind::Map(valid) = &plan.valid_step(index).kind else { return };
        let scope = plan.unit_of(index).global_scope(valid.scope);
        loop {
            let Some(composite) = self.composite(activation) else { return };
            let Progress::Map(map) = &mut composite.progress else { return };
            if map.next >= map.count() || composite.open.len() >= valid.concurrency as usize {
                break;
            }
            let number = map.next;
            map.next += 1;
            let accumulator = map.accumulator.clone();
            let place = self.open_scope(activation, scope, number);
            self.state.scopes[place as usize].carried = accumulator;
        }
        if self.map(activation).is_some_and(|map| map.finished == map.count()) {
            self.close(activation, Ok(None));
        }
    }

    pub(super) fn item_finished(&mut self, activation: Activation, index: u32, result: &Arc<ItemResult>) {
        let plan = self.plan;
        let ValidKind::Map(valid) = &plan.valid_step(self.state.steps[activation.get()].step).kind else { return };
        let Some(map) = self.map(activation) else { return };
        map.results[index as usize] = Some(Arc::clone(result));
        map.finished += 1;
        map.accumulator.clone_from(&result.accumulator);
        if valid.accumulator.is_some() {
            map.turn = index + 1;
            let early = map.early.get_mut(map.turn as usize).and_then(Option::take);
            // Only where items run one after another may their steps read the accumulator; the next one may be open already.
            let next = self.composite(activation).and_then(|composite| composite.open.first().copied());
            if let Some(place) = next.filter(|_| valid.concurrency == 1) {
                self.state.scopes[place as usize].carried.clone_from(&result.accumulator);
            }
            if let Some(place) = early {
                self.follow(Consequence::EndItem(place));
            }
        }
        match &result.outcome {
            Err(error) if valid.on_item_error == OnItemError::Fail => {
                let error = Failure::clone(error);
                self.close(activation, Err(Arc::new(error)));
            }
            _ => self.open_items(activation),
        }
    }

    pub(super) fn loop_decided(&mut self, activation: Activation, decision: &LoopDecision) {
        let Some(looped) = self.looped(activation) else { return };
        looped.value = Arc::clone(&decision.value);
        match decision.verdict {
            LoopVerdict::Continue { due_at } => {
                let step = &mut self.state.steps[activation.get()];
                step.phase = Phase::Open;
                step.due_at = due_at;
                if due_at.is_some() {
                    self.set(Timer::Wait(activation));
                } else {
                    self.begin_iteration(activation);
                }
            }
            LoopVerdict::Condition | LoopVerdict::Limit => {
                looped.limit = decision.verdict == LoopVerdict::Limit;
                self.close(activation, Ok(None));
            }
        }
    }

    pub(super) fn begin_iteration(&mut self, activation: Activation) {
        let plan = self.plan;
        let index = self.state.steps[activation.get()].step;
        let ValidKind::Loop(valid) = &plan.valid_step(index).kind else { return };
        let Some(looped) = self.looped(activation) else { return };
        let number = looped.next;
        looped.next += 1;
        let value = Arc::clone(&looped.value);
        let opened = self.open_scope(activation, plan.unit_of(index).global_scope(valid.scope), number);
        self.state.scopes[opened as usize].carried = Some(value);
        if let Some(looped) = self.looped(activation) {
            looped.place = Some(opened);
        }
    }

    pub(super) fn joined(&mut self, activation: Activation) {
        let plan = self.plan;
        if let Some(Composite { progress: Progress::Group { joined, .. }, .. }) = self.composite(activation) {
            *joined = true;
        }
        let ValidKind::Parallel(parallel) = &plan.valid_step(self.state.steps[activation.get()].step).kind else {
            return;
        };
        // The last step may have been the one that was still missing.
        let is_over = self.state.group_of(activation).is_some_and(|place| self.state.scopes[place as usize].ended);
        if parallel.cancel_remaining || is_over {
            self.close(activation, Ok(None));
        }
    }

    /// Counts a settled step of a group that does not need all of its steps.
    pub(super) fn count_joined(&mut self, activation: Activation) {
        let plan = self.plan;
        let step = &self.state.steps[activation.get()];
        let Some(group) = self.state.scopes[step.scope as usize].opened_by else { return };
        let place = step.scope as usize;
        let has_result = matches!(step.phase, Phase::Completed | Phase::Failed) && step.is_satisfied();
        let is_joined = plan.steps()[step.step.get()].is_joined;
        let ValidKind::Parallel(parallel) = &plan.valid_step(self.state.steps[group.get()].step).kind else { return };
        let Some(needed) = parallel.needed.filter(|_| is_joined) else { return };
        let Some(Composite { progress: Progress::Group { completed, lost, joined, .. }, .. }) = self.composite(group)
        else {
            return;
        };
        if *joined {
            return;
        }
        *(if has_result { &mut *completed } else { &mut *lost }) += 1;
        let possible = parallel.joined.len() as u32 - *lost;
        if *completed == needed && has_result {
            self.follow(Consequence::Join(group));
        } else if possible < needed {
            let error = self.state.scopes[place].failed.clone();
            let error = error.map_or_else(
                || {
                    let message = format!("only {possible} of the joined steps can still complete, and {needed} must");
                    Arc::new(Failure::new(ErrorKind::Validation, message))
                },
                |first| caused_by(&first),
            );
            self.close(group, Err(error));
        }
    }

    /// A failure that nobody catches: the scope that it happened in fails, if that is what its composite is like.
    pub(super) fn fatal(&mut self, activation: Activation, error: &Arc<Failure>) {
        let plan = self.plan;
        let place = self.state.steps[activation.get()].scope;
        let scope = &mut self.state.scopes[place as usize];
        let planned = &plan.scopes()[scope.scope.get()];
        let goes_on = planned.is_root && plan.units()[planned.unit].on_failure == OnFailure::Continue;
        let Some(composite) = scope.opened_by else {
            if goes_on {
                self.state.fatal.get_or_insert_with(|| Arc::clone(error));
                return self.settle(activation);
            }
            // What depends on it is skipped with everything else that is pending, not by the cascade.
            return self.follow(Consequence::Fail(Arc::clone(error)));
        };
        let step = self.state.steps[composite.get()].step;
        match &plan.valid_step(step).kind {
            ValidKind::Parallel(parallel) if parallel.needed.is_some() => {
                scope.failed.get_or_insert_with(|| Arc::clone(error));
                self.settle(activation);
            }
            ValidKind::Workflow(_) if goes_on => {
                scope.failed.get_or_insert_with(|| Arc::clone(error));
                self.settle(activation);
            }
            ValidKind::Map(map) => {
                scope.failed.get_or_insert_with(|| Arc::clone(error));
                scope.aborting = true;
                if map.on_item_error == OnItemError::Fail {
                    self.close(composite, Err(caused_by(error)));
                } else {
                    self.drop_hooks_inside();
                    self.follow(Consequence::Abort(place));
                }
            }
            _ => self.close(composite, Err(caused_by(error))),
        }
    }

    /// Ends a composite: what is open inside is cancelled first. A failure goes before an end without one.
    pub(in crate::machine) fn close(&mut self, activation: Activation, end: Result<Option<Arc<Value>>, Arc<Failure>>) {
        let phase = self.state.steps[activation.get()].phase;
        if !self.state.status.is_underway() || !phase.is_open() {
            return;
        }
        if phase != Phase::Closing {
            self.withdraw(activation);
            let step = &mut self.state.steps[activation.get()];
            step.phase = Phase::Closing;
            step.due_at = None;
            self.drop_hooks(activation);
            self.drop_hooks_inside();
            self.follow(Consequence::Close(activation));
        }
        if let Some(composite) = self.composite(activation)
            && !matches!(composite.end, Some(Err(_)))
        {
            composite.end = Some(end);
        }
    }

    /// Nothing of an item is left to do: its value is decided, with an accumulator once its turn has come.
    pub(in crate::machine) fn end_item(&mut self, activation: Activation, place: Place) {
        let number = self.state.scopes[place as usize].number;
        let Some(map) = self.map(activation).filter(|map| map.is_open(number)) else { return };
        match map.early.get_mut(number as usize) {
            Some(early) if number != map.turn => *early = Some(place),
            _ => self.follow(Consequence::EndItem(place)),
        }
    }

    /// A step has ended: if it was the last of its scope, that has ended, too.
    pub(super) fn leave(&mut self, activation: Activation) {
        let place = self.state.steps[activation.get()].scope;
        let scope = &mut self.state.scopes[place as usize];
        let Some(group) = scope.opened_by.filter(|_| scope.live == 0 && !scope.ended) else { return };
        scope.ended = true;
        let failed = scope.failed.clone();
        let (plan, step) = (self.plan, self.state.steps[group.get()].step);
        // At the end of an execution nothing more opens, and neither does it where something further out is ending.
        let goes_on = self.state.steps[group.get()].phase == Phase::Open
            && self.state.status.is_underway()
            && !self.state.is_aborted(group);
        let Some(composite) = self.composite(group) else { return };
        if let Some(at) = composite.open.iter().position(|open| *open == place) {
            composite.open.swap_remove(at);
        }
        if !goes_on {
            return;
        }
        match (&composite.progress, &plan.valid_step(step).kind) {
            // How it ends is a matter of counting, and what the count gives is told first.
            (Progress::Group { joined, .. }, ValidKind::Parallel(parallel)) if parallel.needed.is_some() => {
                if *joined {
                    self.close(group, Ok(None));
                }
            }
            (Progress::Group { .. }, _) => {
                self.close(group, failed.map_or(Ok(None), |error| Err(caused_by(&error))));
            }
            (Progress::Branch { .. }, _) => self.close(group, Ok(None)),
            (Progress::Map(_), _) => {
                self.end_item(group, place);
                self.open_items(group);
            }
            (Progress::Loop(_), _) => {
                self.state.steps[group.get()].phase = Phase::Deciding;
                self.follow(Consequence::Decide(group));
            }
        }
    }
}

impl Progress {
    const GROUP: Self = Self::Group { place: None, completed: 0, lost: 0, joined: false };
}

impl State {
    /// Who takes a signal of this name next, and which.
    pub(in crate::machine) fn next_delivery(&self, plan: &Plan, name: &str) -> Option<(Activation, u64)> {
        self.signals.next(name, |signal, activation| self.is_for(plan, signal, activation))
    }

    /// Whether a signal that came during a pause is kept for a step that waits for it.
    pub(in crate::machine) fn is_signal_kept_for(&self, plan: &Plan, name: &str, activation: Activation) -> bool {
        self.signals.is_kept_for(name, activation, |signal, activation| self.is_for(plan, signal, activation))
    }

    fn is_for(&self, plan: &Plan, signal: &Signal, activation: Activation) -> bool {
        signal.step_path.as_ref().is_none_or(|path| *path == self.path_of(plan, activation))
    }

    /// The scope instance of a parallel group or of the workflow that a step runs, once it is open.
    pub(in crate::machine) fn group_of(&self, activation: Activation) -> Option<Place> {
        match self.progress(activation) {
            Some(Progress::Group { place, .. }) => *place,
            _ => None,
        }
    }

    /// How many joined steps of a group have completed.
    pub(in crate::machine) fn joined_count(&self, group: Activation) -> u32 {
        match self.steps[group.get()].composite.as_ref().map(|composite| &composite.progress) {
            Some(Progress::Group { completed, .. }) => *completed,
            _ => 0,
        }
    }

    /// Whether failed items of a map stand in its output.
    pub(in crate::machine) fn keeps_failed_items(&self, plan: &Plan, map: Activation) -> bool {
        match &plan.valid_step(self.steps[map.get()].step).kind {
            ValidKind::Map(map) => map.on_item_error == OnItemError::Continue,
            _ => false,
        }
    }
}

/// The same failure, one scope further out.
fn caused_by(error: &Arc<Failure>) -> Arc<Failure> {
    let mut outer = Failure::clone(error);
    outer.cause = None;
    Arc::new(outer.caused_by(Arc::clone(error)))
}

/// What a sub-workflow sees besides its steps: its input, its variables, and of the process what both it and the execution may.
fn surroundings(plan: &Plan, state: &State, activation: Activation, scope: ScopeIndex) -> Option<Arc<Surroundings>> {
    let step = &state.steps[activation.get()];
    plan.steps()[step.step.get()].child.filter(|child| *child == scope)?;
    let declared = plan.units()[plan.scopes()[scope.get()].unit].workflow.workflow();
    let process = state.queued.as_ref().and_then(|queued| queued.env.as_object());
    let allowed = process.into_iter().flatten().filter(|(name, _)| declared.allowed_env_vars.contains(name));
    let mut env: Map<String, Value> = allowed.map(|(name, value)| (name.clone(), value.clone())).collect();
    let environment = declared.context.environment.iter();
    env.extend(environment.map(|(name, value)| (name.clone(), Value::String(value.clone()))));
    let inputs = step.input.clone().unwrap_or_default();
    let mut variables = declared.context.variables.clone();
    if let (None, Value::Object(input)) = (&declared.inputs, &*inputs) {
        let named = input.iter().filter(|(name, _)| declared.context.variables.contains_key(*name));
        variables.extend(named.map(|(name, value)| (name.clone(), value.clone())));
    }
    Some(Arc::new(Surroundings { inputs, variables: Value::Object(variables), env: Value::Object(env) }))
}
