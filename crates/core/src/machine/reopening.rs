//! Reopening: a failed execution goes on. What has completed is kept, and the unfinished rest is as if its turn had never come.
//!
//! What becomes of an activation follows from its phase and from what it stands in. Steps that completed or were recovered are kept.
//! A composite that had opened goes on where it was: it keeps its input, its items, its iteration and what completed inside. All
//! others return to pending, with a condition and an input that are resolved anew.
//!
//! Inside a composite, a scope whose steps all came to ends of their own stays as it is, tolerated failures included: the end
//! of an item or an iteration is a result of its composite, which later items may have been built on. Only a scope that was cut short
//! goes on.
//!
//! Scopes are gone through in the order in which they opened, so that what becomes of a composite is known before its inside is
//! looked at.

use std::collections::{BTreeMap, BTreeSet};

use orchestr8_schema::{
    Timestamp,
    api::Compensation,
    event::{Activation, Reopening, SkipReason},
    policy::OnError,
    validate::ValidKind,
    workflow::OnItemError,
};

use super::{
    Phase, Rescue, State, Status, StepState,
    accept::{Refusal, RefusalKind},
    agenda::{Agenda, Consequence},
    command::Sink,
    composite::Progress,
    fold::Fold,
    hooks::Stage,
    instance::Place,
};
use crate::plan::Plan;
#[cfg(planted)]
use crate::planted::Defect;

/// What a reopening makes of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It stays as it is.
    Kept,
    /// It is pending again.
    Again,
    /// A composite that goes on where it was.
    GoesOn,
}

/// What a reopening makes of everything.
struct Fates {
    /// By activation.
    steps: Vec<Fate>,
    /// By scope instance, whether it goes on.
    scopes: Vec<bool>,
    /// The scope instances that each composite has opened, in that order.
    inside: BTreeMap<Activation, Vec<Place>>,
}

/// Lists the steps of a failed execution that would be pending again if it were reopened, in the order of their activations.
#[must_use]
pub fn rerun(plan: &Plan, state: &State) -> Vec<Activation> {
    state.fates(plan).again()
}

impl Fates {
    fn of(&self, activation: Activation) -> Fate {
        self.steps[activation.get()]
    }

    fn all(&self, wanted: Fate) -> impl Iterator<Item = Activation> {
        let fates = (0..).map(Activation).zip(&self.steps);
        fates.filter(move |(_, fate)| **fate == wanted).map(|(activation, _)| activation)
    }

    fn again(&self) -> Vec<Activation> {
        self.all(Fate::Again).collect()
    }

    fn inside(&self, composite: Activation) -> &[Place] {
        self.inside.get(&composite).map_or(&[], Vec::as_slice)
    }

    fn goes_on(&self, place: Place) -> bool {
        self.scopes[place as usize]
    }
}

impl State {
    fn fates(&self, plan: &Plan) -> Fates {
        let mut inside: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (place, scope) in (0..).zip(&self.scopes) {
            if let Some(composite) = scope.opened_by {
                inside.entry(composite).or_default().push(place);
            }
        }
        let (steps, scopes) = (vec![Fate::Kept; self.steps.len()], vec![false; self.scopes.len()]);
        let mut fates = Fates { steps, scopes, inside };
        for place in 0..self.scopes.len() as Place {
            let goes_on = self.scopes[place as usize].opened_by.is_none_or(|composite| {
                fates.of(composite) == Fate::GoesOn && !self.has_come_to_its_end(plan, place, composite)
            });
            fates.scopes[place as usize] = goes_on;
            for activation in self.activations(place).filter(|_| goes_on).map(Activation) {
                fates.steps[activation.get()] = if self.is_kept(plan, activation) {
                    Fate::Kept
                } else if fates.inside.contains_key(&activation) {
                    Fate::GoesOn
                } else {
                    Fate::Again
                };
            }
        }
        fates
    }

    /// Whether a step has what others need of it: it completed or was recovered, or it stands in for one that did.
    fn is_kept(&self, plan: &Plan, activation: Activation) -> bool {
        let mut activation = activation;
        #[cfg(planted)]
        match self.steps[activation.get()].phase {
            Phase::Completed if Defect::CompletedReopened.is_made() => return false,
            Phase::Cancelled if Defect::UnfinishedLeftOut.is_made() => return true,
            _ => {}
        }
        // Verified chains of fallbacks have no cycles.
        loop {
            let step = &self.steps[activation.get()];
            let served = plan.steps()[step.step.get()].serves;
            match (step.phase, served) {
                (Phase::Completed, _) => return true,
                (Phase::Failed, _) => return step.rescue == Rescue::Recovered,
                (Phase::Skipped, Some(served)) if step.skip_reason == Some(SkipReason::FallbackNotNeeded) => {
                    activation = self.sibling(plan, activation, served);
                }
                _ => return false,
            }
        }
    }

    /// Whether the steps of a scope inside a composite have all come to ends of their own, so that nothing in it is left to do.
    fn has_come_to_its_end(&self, plan: &Plan, place: Place, composite: Activation) -> bool {
        let is_over = |activation: Activation| {
            let step = &self.steps[activation.get()];
            let planned = &plan.steps()[step.step.get()];
            match step.phase {
                Phase::Completed | Phase::Skipped => true,
                Phase::Failed => {
                    // The failure of a fallback is told by the step that it serves.
                    step.rescue == Rescue::Recovered
                        || planned.serves.is_some()
                        || planned.on_error == OnError::Continue
                }
                _ => false,
            }
        };
        match &plan.valid_step(self.steps[composite.get()].step).kind {
            ValidKind::Parallel(parallel) if parallel.needed.is_some() => {
                parallel.needed.is_some_and(|needed| self.joined_results(plan, place) >= needed)
            }
            ValidKind::Map(map)
                if map.on_item_error != OnItemError::Fail && self.scopes[place as usize].failed.is_some() =>
            {
                true
            }
            _ => self.activations(place).map(Activation).all(is_over),
        }
    }

    /// How many of the steps that a group joins have completed or were recovered.
    fn joined_results(&self, plan: &Plan, place: Place) -> u32 {
        let has_result = |activation: &Activation| {
            let step = &self.steps[activation.get()];
            let ended = matches!(step.phase, Phase::Completed | Phase::Failed) && step.is_satisfied();
            ended && plan.steps()[step.step.get()].is_joined
        };
        self.activations(place).map(Activation).filter(has_result).count() as u32
    }
}

// === accept ===

/// Checks that an execution can be reopened like this.
pub(super) fn fits(plan: &Plan, state: &State, reopening: &Reopening) -> Result<(), Refusal> {
    if state.status != Status::Failed {
        return Err(Refusal::new("only a failed execution can be reopened"));
    }
    let is_undone = state.compensation() != Compensation::None;
    #[cfg(planted)]
    let is_undone = is_undone && !Defect::UndoneReopened.is_made();
    if is_undone {
        return Err(Refusal::new("what the execution had done was undone when it failed: it can only be forked"));
    }
    if let Some(budget) = reopening.budget.as_ref().and_then(|asked| state.lowered(plan, asked)) {
        let message = format!("a reopening raises limits, and `{}` is below what holds or is used", budget.key());
        return Err(Refusal::of_kind(RefusalKind::Invalid, message));
    }
    if reopening.rerun != rerun(plan, state) {
        return Err(Refusal::new("other steps than these are unfinished"));
    }
    Ok(())
}

// === fold ===

impl<S: Sink> Fold<'_, S> {
    pub(super) fn reopened(&mut self, reopening: &Reopening) {
        let (plan, at) = (self.plan, self.at);
        let fates = self.state.fates(plan);
        // Before its first step the execution has hooks of its own, which may be what failed.
        let had_begun = self.state.activations(0).any(|step| has_begun(&self.state.steps[step as usize]));

        let state = &mut *self.state;
        state.status = Status::Running;
        state.started_at.get_or_insert(at);
        state.timed_from = Some(at);
        (state.ended_at, state.fatal, state.ending) = (None, None, None);
        state.agenda = Agenda::default();
        state.hooks.begin_anew();
        state.ended.retain(|activation| fates.of(*activation) == Fate::Kept);
        state.reopen_ledger(plan, &reopening.rerun, reopening.budget.as_ref());
        let is_opening = |composite: &Activation| {
            let mut inside = fates.inside(*composite).iter().flat_map(|place| state.activations(*place));
            !inside.any(|step| has_begun(&state.steps[step as usize]))
        };
        let opening: BTreeSet<_> = fates.all(Fate::GoesOn).filter(is_opening).collect();
        state.set_back(plan, &fates, at);
        state.count_again(plan, &fates);

        self.set_deadlines();
        if had_begun || !self.begin_hooks(Activation::EXECUTION, Stage::Opening) {
            self.release_all(0);
        }
        self.tell_what_is_spare(0);
        for composite in fates.all(Fate::GoesOn) {
            self.go_on(composite, &fates, opening.contains(&composite));
        }
    }

    /// Lets a composite go on where it was.
    fn go_on(&mut self, composite: Activation, fates: &Fates, is_opening: bool) {
        let plan = self.plan;
        let is_child = plan.steps()[self.state.steps[composite.get()].step.get()].child.is_some();
        let live = || fates.inside(composite).iter().copied().filter(|place| fates.goes_on(*place));
        let is_over = live().next().is_none();
        if !(is_child && is_opening && self.begin_hooks(composite, Stage::Opening)) {
            for place in live() {
                self.release_all(place);
            }
        }
        for place in live() {
            self.tell_what_is_spare(place);
        }
        match self.state.progress(composite) {
            Some(Progress::Group { .. } | Progress::Branch { .. }) if is_over => self.close(composite, Ok(None)),
            Some(Progress::Loop(_)) if is_over => {
                self.state.steps[composite.get()].phase = Phase::Deciding;
                self.follow(Consequence::Decide(composite));
            }
            Some(Progress::Map(_)) => {
                for place in fates.inside(composite).iter().filter(|place| !fates.goes_on(**place)) {
                    self.end_item(composite, *place);
                }
                self.open_items(composite);
            }
            _ => {}
        }
    }

    /// Fallbacks whose steps are kept will not be called for.
    fn tell_what_is_spare(&mut self, place: Place) {
        let (plan, state) = (self.plan, &*self.state);
        let is_spare = |activation: &Activation| {
            let step = &state.steps[activation.get()];
            let served = plan.steps()[step.step.get()].serves.filter(|_| step.phase == Phase::Blocked);
            served.is_some_and(|served| state.steps[state.sibling(plan, *activation, served).get()].phase.is_terminal())
        };
        let spare: Vec<_> = state.activations(place).map(Activation).filter(is_spare).collect();
        for activation in spare {
            self.follow(Consequence::NotNeeded(activation));
        }
    }
}

/// Whether a step's turn had come: it has an input, or an end of its own.
fn has_begun(step: &StepState) -> bool {
    step.scheduled_at.is_some()
        || match step.phase {
            Phase::Skipped => step.skip_reason != Some(SkipReason::WorkflowFailed),
            phase => phase != Phase::Cancelled,
        }
}

impl State {
    /// Makes steps pending again, and opens the composites that go on.
    fn set_back(&mut self, plan: &Plan, fates: &Fates, at: Timestamp) {
        for (step, fate) in self.steps.iter_mut().zip(&fates.steps) {
            match fate {
                Fate::Kept => {}
                Fate::Again => *step = StepState::new(plan, step.step, step.scope),
                Fate::GoesOn => {
                    step.phase = Phase::Open;
                    // Its deadline counts anew.
                    step.scheduled_at = Some(at);
                    (step.error, step.output, step.ended_at, step.due_at) = (None, None, None, None);
                    (step.blocked_by, step.skip_reason, step.rescue) = (None, None, Rescue::None);
                }
            }
        }
        for scope in self.scopes.iter_mut().zip(&fates.scopes).filter_map(|(scope, goes_on)| goes_on.then_some(scope)) {
            (scope.ended, scope.aborting, scope.swept) = (false, false, 0);
            scope.failed = None;
        }
        for composite in fates.all(Fate::GoesOn) {
            let places = fates.inside(composite);
            let results: u32 = places.iter().map(|place| self.joined_results(plan, *place)).sum();
            let Some(known) = self.steps[composite.get()].composite.as_deref_mut() else { continue };
            known.open = places.iter().copied().filter(|place| fates.goes_on(*place)).collect();
            (known.end, known.hooked) = (None, false);
            match &mut known.progress {
                Progress::Group { completed, lost, joined, .. } => {
                    (*completed, *lost, *joined) = (results, 0, false);
                }
                Progress::Map(map) => map.early.fill(None),
                Progress::Branch { .. } | Progress::Loop(_) => {}
            }
        }
    }

    /// Counts what lives in each scope, and for how many others each step of it waits.
    fn count_again(&mut self, plan: &Plan, fates: &Fates) {
        self.live = 0;
        for place in (0..self.scopes.len() as Place).filter(|place| fates.goes_on(*place)) {
            let activations = self.activations(place);
            let mut live = 0;
            for activation in activations.clone().map(Activation) {
                let step = &mut self.steps[activation.get()];
                let is_pending = fates.of(activation) == Fate::Again;
                // A fallback waits to be called for, too.
                step.waits_for = u32::from(is_pending && plan.steps()[step.step.get()].serves.is_some());
            }
            for activation in activations.map(Activation).filter(|activation| fates.of(*activation) != Fate::Kept) {
                live += 1;
                for edge in plan.graph().successors(self.steps[activation.get()].step) {
                    let to = self.sibling(plan, activation, edge.to);
                    self.steps[to.get()].waits_for += 1;
                }
            }
            self.live += live;
            self.scopes[place as usize].live = live;
        }
    }
}
