//! Hooks: calls around steps, sub-workflows and the execution, one after another.
//!
//! The hooks of one stage are a *run*. A step has one before its call and one after its end, a workflow one before its first step
//! and one at its end. Nobody has two runs at once, so a run is found by the activation that it is about; that of the execution
//! itself is found by [`Activation::EXECUTION`].
//!
//! A run goes round: `hook.started` is decided, with the resolved input, and asks for the call; the call's final answer comes in as
//! `attempt.finished`; `hook.finished` is decided, which says what the answer means. Then it is the next hook's turn. What is behind the
//! run waits for its end: the step begins, or is settled; the scope of a workflow opens, or the terminal event is decided.
//!
//! Steps that end while their scope or the execution is ending have no run, and one that is under way is dropped.

mod decide;
mod fold;

use std::{collections::BTreeMap, sync::Arc};

use orchestr8_schema::{
    Failure, Timestamp,
    event::{Activation, CallId, EngineHook, EventBody, HookId, HookOwner},
    validate::ValidKind,
    workflow::{HookMode, HookPoint},
};
use serde_json::Value;

pub(super) use self::decide::{Turn, turn};
use super::{Call, Phase, State, Status, instance::Place};
use crate::plan::{Plan, PlanHook};

/// What is known of hooks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hooks {
    /// Whether there are any at all; false spares everybody else the question.
    pub(super) any: bool,
    runs: BTreeMap<Activation, HookRun>,
    /// Whether those at the end of the execution have run.
    ended: bool,
    /// The input that a guard has put in the place of the execution's.
    pub(super) input: Option<Arc<Value>>,
}

/// The hooks of one stage, being called.
#[derive(Clone, Debug, PartialEq)]
struct HookRun {
    stage: Stage,
    /// Whose turn it is, in the order of the stage.
    place: usize,
    call: HookCall,
    /// When the call in progress began.
    since: Timestamp,
}

/// When hooks are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A step's input is resolved.
    Before,
    /// A step has completed.
    After,
    /// A step has failed, and its scope may have to fail with it.
    Failed { fatal: bool },
    /// A workflow is about to run its first step.
    Opening,
    /// A workflow is about to end.
    Ending,
}

/// How far the call of a hook has come.
#[derive(Clone, Debug, PartialEq)]
enum HookCall {
    /// It is about to be called.
    Due,
    /// Its call is open; no attempt has begun.
    Called { input: Arc<Value> },
    /// An attempt is in progress.
    InAttempt { input: Arc<Value>, restart: u32 },
    /// The answer is in; what it means is about to be decided.
    Answered(Result<Arc<Value>, Arc<Failure>>),
}

/// A hook of a stage: its name, and where it is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HookRef {
    pub(crate) id: HookId,
    pub(crate) source: HookSource,
    /// The scope instance whose roots its template sees.
    pub(super) view: Place,
}

/// Where a hook is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookSource {
    /// The workflow file: the number of the hook in the plan.
    Plan(u32),
    /// The engine that started the execution: the place in the list that was recorded then.
    Engine(u32),
}

/// A hook that is being called.
#[derive(Debug)]
pub(crate) struct HookInProgress<'a> {
    pub(crate) hook: HookRef,
    pub(crate) input: Option<&'a Arc<Value>>,
    pub(crate) since: Timestamp,
}

impl Hooks {
    /// Whether somebody waits for hooks that are about an activation.
    pub(super) fn are_about(&self, activation: Activation) -> bool {
        self.runs.contains_key(&activation)
    }

    /// Whether the outcome of a running execution is fixed, and only told to hooks.
    pub(super) fn outcome_is_fixed(&self) -> bool {
        self.runs.get(&Activation::EXECUTION).is_some_and(|run| run.stage == Stage::Ending)
    }

    /// Whether there is something to decide about a run.
    pub(super) fn have_a_turn(&self, activation: Activation) -> bool {
        self.runs.get(&activation).is_some_and(|run| matches!(run.call, HookCall::Due | HookCall::Answered(_)))
    }

    /// Those at the end are called again at the next one.
    pub(super) fn begin_anew(&mut self) {
        self.runs.clear();
        self.ended = false;
    }
}

impl HookRun {
    fn new(stage: Stage) -> Self {
        Self { stage, place: 0, call: HookCall::Due, since: Timestamp::default() }
    }

    /// Describes the call that the run waits for; a pause takes back one without an attempt in progress.
    fn open_call(&self, activation: Activation, is_paused: bool) -> Option<Call> {
        let restart = match &self.call {
            HookCall::Called { .. } if !is_paused => 0,
            HookCall::InAttempt { restart, .. } => restart.saturating_add(1),
            _ => return None,
        };
        Some(Call {
            id: CallId::Hook(activation),
            attempt: 1,
            restart,
            tries_used: 0,
            not_before: None,
            deadline_at: None,
        })
    }
}

impl Stage {
    /// The stage in which a hook is called.
    fn of(hook: &HookId) -> Self {
        match hook.point {
            HookPoint::Before | HookPoint::BeforeStep => Self::Before,
            HookPoint::After | HookPoint::AfterStep => Self::After,
            HookPoint::OnStepError => Self::Failed { fatal: false },
            HookPoint::OnError if hook.owner == HookOwner::Step => Self::Failed { fatal: false },
            HookPoint::BeforeExecution => Self::Opening,
            HookPoint::AfterExecution | HookPoint::OnCancel | HookPoint::OnError => Self::Ending,
        }
    }
}

impl State {
    /// Describes the call of a hook that is open; absent if none is.
    pub(super) fn open_hook_call(&self, activation: Activation) -> Option<Call> {
        self.hooks.runs.get(&activation)?.open_call(activation, self.status == Status::Paused)
    }

    /// Describes all calls of hooks that are open.
    pub(super) fn open_hook_calls(&self) -> impl Iterator<Item = Call> {
        let is_paused = self.status == Status::Paused;
        self.hooks.runs.iter().filter_map(move |(activation, run)| run.open_call(*activation, is_paused))
    }

    /// Returns the hook that is being called about an activation.
    pub(crate) fn hook_in_progress(&self, plan: &Plan, activation: Activation) -> Option<HookInProgress<'_>> {
        let run = self.hooks.runs.get(&activation)?;
        let hook = *self.hooks_of(plan, activation, run.stage).get(run.place)?;
        let input = match &run.call {
            HookCall::Called { input } | HookCall::InAttempt { input, .. } => Some(input),
            HookCall::Due | HookCall::Answered(_) => None,
        };
        Some(HookInProgress { hook, input, since: run.since })
    }

    /// Whether an attempt of the hook that is called about an activation is in progress.
    pub(crate) fn is_hook_in_attempt(&self, activation: Activation) -> bool {
        self.hooks.runs.get(&activation).is_some_and(|run| matches!(run.call, HookCall::InAttempt { .. }))
    }

    /// Whether an attempt's event fits the hook that is being called.
    pub(super) fn accepts_hook_attempt(&self, activation: Activation, body: &EventBody) -> bool {
        let Some(run) = self.hooks.runs.get(&activation) else { return false };
        let begins = !matches!(self.status, Status::Paused | Status::Queued);
        match (body, &run.call) {
            (EventBody::AttemptStarted { attempt: 1, .. }, HookCall::Called { .. }) => begins,
            // Whoever takes the execution up begins an attempt again that was interrupted.
            (EventBody::AttemptStarted { attempt: 1, restart, .. }, HookCall::InAttempt { restart: before, .. }) => {
                begins && before.checked_add(1) == Some(*restart)
            }
            (EventBody::AttemptFinished { attempt: 1, is_final: true, .. }, HookCall::InAttempt { .. }) => true,
            (EventBody::AttemptRejected { is_final: true, .. }, HookCall::Called { .. }) => begins,
            _ => false,
        }
    }

    /// Whether it is this hook's turn to be called, or its answer's to be judged.
    pub(super) fn accepts_hook(&self, plan: &Plan, activation: Activation, id: &HookId, is_finished: bool) -> bool {
        if !matches!(self.status, Status::Running | Status::Failing | Status::Cancelling) {
            return false;
        }
        let expected = match self.hooks.runs.get(&activation) {
            Some(HookRun { stage, place, call: HookCall::Due, .. }) => Some((*stage, *place)),
            Some(HookRun { stage, place, call: HookCall::Answered(_), .. }) if is_finished => Some((*stage, *place)),
            Some(_) => None,
            None => self.is_about_to_end(plan, activation).then_some((Stage::Ending, 0)),
        };
        expected.is_some_and(|(stage, place)| {
            self.hooks_of(plan, activation, stage).get(place).is_some_and(|hook| hook.id == *id)
        })
    }

    /// Whether a workflow has nothing left to run, and its last hooks have not been called.
    fn is_about_to_end(&self, plan: &Plan, activation: Activation) -> bool {
        if !self.hooks.any {
            return false;
        }
        if activation == Activation::EXECUTION {
            return self.live == 0 && self.started_at.is_some() && !self.hooks.ended && !self.is_compensating();
        }
        self.steps.get(activation.get()).is_some_and(|step| {
            step.phase == Phase::Closing
                && self.status == Status::Running
                && matches!(plan.valid_step(step.step).kind, ValidKind::Workflow(_))
                && step.composite.as_ref().is_some_and(|composite| composite.open.is_empty() && !composite.hooked)
        })
    }

    /// Lists the hooks of a stage in the order in which they are called: those of the engine surround those of workflows, those of
    /// outer workflows those of inner ones, and these those of the step.
    fn hooks_of(&self, plan: &Plan, activation: Activation, stage: Stage) -> Vec<HookRef> {
        let mut list = HookList { state: self, plan, hooks: Vec::new() };
        let step = self.steps.get(activation.get());
        match (stage, step) {
            (Stage::Before, Some(step)) => {
                list.engine(HookPoint::BeforeStep);
                let units = self.units_around(plan, step.scope);
                for (depth, place) in units.iter().enumerate() {
                    list.workflow(HookPoint::BeforeStep, depth, *place);
                }
                list.step(HookPoint::Before, step.step.get(), step.scope);
            }
            (Stage::After, Some(step)) => {
                list.after(HookPoint::After, HookPoint::AfterStep, step.step.get(), step.scope);
            }
            (Stage::Failed { .. }, Some(step)) => {
                list.after(HookPoint::OnError, HookPoint::OnStepError, step.step.get(), step.scope);
            }
            (Stage::Opening, None) if activation == Activation::EXECUTION => {
                list.engine(HookPoint::BeforeExecution);
                list.workflow(HookPoint::BeforeExecution, 0, 0);
            }
            (Stage::Ending, None) if activation == Activation::EXECUTION => {
                let first = match self.status {
                    Status::Failing => Some(HookPoint::OnError),
                    Status::Cancelling => Some(HookPoint::OnCancel),
                    _ => None,
                };
                for point in first.into_iter().chain([HookPoint::AfterExecution]) {
                    list.workflow(point, 0, 0);
                    list.engine(point);
                }
            }
            (Stage::Opening | Stage::Ending, Some(step)) => {
                let Some(child) = plan.steps()[step.step.get()].child else { return list.hooks };
                let hooks = plan.units()[plan.scopes()[child.get()].unit].hooks.clone();
                let depth = self.units_around(plan, step.scope).len();
                let Some(view) = self.group_of(activation) else { return list.hooks };
                let failed = step.composite.as_ref().is_some_and(|composite| matches!(composite.end, Some(Err(_))));
                let points: &[HookPoint] = match stage {
                    Stage::Opening => &[HookPoint::BeforeExecution],
                    _ if failed => &[HookPoint::OnError, HookPoint::AfterExecution],
                    _ => &[HookPoint::AfterExecution],
                };
                for point in points {
                    list.planned(hooks.clone(), *point, HookOwner::Workflow { depth: depth as u32 }, view);
                }
            }
            _ => {}
        }
        list.hooks
    }

    /// Lists the scope instances of the workflows around a place, the outermost first.
    fn units_around(&self, plan: &Plan, place: Place) -> Vec<Place> {
        let is_root = |place: &Place| plan.scopes()[self.scopes[*place as usize].scope.get()].is_root;
        let mut units: Vec<_> = self.around(place).filter(is_root).collect();
        units.reverse();
        units
    }

    /// What is called, if it is known in the workflow, and what its answer means.
    fn known<'a>(&'a self, plan: &'a Plan, hook: &HookRef) -> Option<(Option<&'a PlanHook>, HookMode)> {
        match hook.source {
            HookSource::Plan(number) => {
                let planned = &plan.hooks()[number as usize];
                Some((Some(planned), planned.hook.mode))
            }
            HookSource::Engine(number) => Some((None, self.engine_hooks().get(number as usize)?.mode)),
        }
    }

    /// The hooks of the engine that started the execution.
    pub(crate) fn engine_hooks(&self) -> &[EngineHook] {
        self.queued.as_ref().map_or(&[], |queued| &queued.hooks)
    }

    /// Returns what the answer of a hook means that is called about an activation.
    pub(crate) fn mode_of(&self, plan: &Plan, activation: Activation, hook: &HookId) -> Option<HookMode> {
        let stage = self.hooks.runs.get(&activation).map_or(Stage::of(hook), |run| run.stage);
        let list = self.hooks_of(plan, activation, stage);
        list.iter().find(|known| known.id == *hook).map(|known| self.hook_mode(plan, known))
    }

    /// Returns what a hook's answer means.
    pub(crate) fn hook_mode(&self, plan: &Plan, hook: &HookRef) -> HookMode {
        self.known(plan, hook).map_or(HookMode::Observer, |(_, mode)| mode)
    }
}

struct HookList<'a> {
    state: &'a State,
    plan: &'a Plan,
    hooks: Vec<HookRef>,
}

impl HookList<'_> {
    fn engine(&mut self, point: HookPoint) {
        let known = self.state.engine_hooks().iter().enumerate().filter(|(_, hook)| hook.points.contains(&point));
        self.hooks.extend(known.map(|(number, _)| {
            let number = number as u32;
            let id = HookId { owner: HookOwner::Engine, point, index: number };
            HookRef { id, source: HookSource::Engine(number), view: 0 }
        }));
    }

    /// The hooks that a workflow has at a point; the place is that of its own list of steps.
    fn workflow(&mut self, point: HookPoint, depth: usize, place: Place) {
        let unit = self.state.unit_of(self.plan, place);
        self.planned(unit.hooks.clone(), point, HookOwner::Workflow { depth: depth as u32 }, place);
    }

    fn step(&mut self, point: HookPoint, step: usize, place: Place) {
        self.planned(self.plan.steps()[step].hooks.clone(), point, HookOwner::Step, place);
    }

    fn after(&mut self, own: HookPoint, outer: HookPoint, step: usize, place: Place) {
        self.step(own, step, place);
        let units = self.state.units_around(self.plan, place);
        for (depth, place) in units.iter().enumerate().rev() {
            self.workflow(outer, depth, *place);
        }
        self.engine(outer);
    }

    fn planned(&mut self, hooks: std::ops::Range<u32>, point: HookPoint, owner: HookOwner, view: Place) {
        let plan = self.plan;
        let at_point = hooks.map(|number| (number, &plan.hooks()[number as usize].hook));
        self.hooks.extend(at_point.filter(|(_, hook)| hook.point == point).map(|(number, hook)| HookRef {
            id: HookId { owner, point, index: hook.index },
            source: HookSource::Plan(number),
            view,
        }));
    }
}
