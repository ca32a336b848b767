//! Whether hooks have had their turns.

use std::collections::{HashMap, HashSet};

use orchestr8_core::{machine::State, plan::Plan};
use orchestr8_schema::{
    ValidWorkflow,
    event::{Activation, CallId, Event, EventBody, Reuse},
    workflow::HookPoint,
};

use super::{
    paths,
    steps::{Blames, Steps},
};
use crate::simulate::invariant::Invariant;

/// What was seen of the hooks of one execution.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    /// By what they are about and their point, how many have answered.
    done: HashMap<(Activation, HookPoint), usize>,
    /// Those whose turn it is, and about what, that somebody was called for.
    called: HashSet<Activation>,
    has_begun: bool,
    is_reopened: bool,
}

impl Hooks {
    /// Looks at an event that was folded into the state just now.
    pub(super) fn take(&mut self, plan: &Plan, state: &State, event: &Event, steps: &Steps, blames: &mut Blames) {
        let mut blame = |message: String| blames.push((Invariant::HooksOnce, message));
        match &event.body {
            EventBody::ExecutionReopened(reopening) => {
                self.is_reopened = true;
                self.done.retain(|(about, _), _| *about != Activation::EXECUTION && !reopening.rerun.contains(about));
            }
            EventBody::AttemptStarted { call: CallId::Hook(about), .. } => {
                self.called.insert(*about);
            }
            EventBody::HookFinished { activation, hook, result } => {
                if !self.called.remove(activation) && result.error.is_none() {
                    blame(format!(
                        "a hook about {} counts as having answered, and was not called",
                        steps.path(*activation)
                    ));
                }
                *self.done.entry((*activation, hook.point)).or_default() += 1;
            }
            EventBody::StepScheduled { .. } if !self.has_begun => {
                self.has_begun = true;
                let wanted = of_workflow(plan.workflow(), HookPoint::BeforeExecution);
                if !self.is_reopened && self.count(Activation::EXECUTION, HookPoint::BeforeExecution) < wanted {
                    blame("a step has begun before the hooks that come before the execution".to_owned());
                }
            }
            EventBody::StepStarted { activation } | EventBody::StepWaiting { activation, .. } => {
                let points = [HookPoint::BeforeStep, HookPoint::Before];
                self.check(plan, state, *activation, points, steps, blames);
            }
            EventBody::ExecutionCompleted { .. } => {
                // A step that ended while an earlier end of the execution was under way had no turn then, and has none later.
                let own = if self.is_reopened { 0 } else { state.own_steps().len() as u32 };
                for activation in (0..own).map(Activation) {
                    match steps.status(activation) {
                        Some("completed") => {
                            let points = [HookPoint::After, HookPoint::AfterStep];
                            self.check(plan, state, activation, points, steps, blames);
                        }
                        Some("failed") => {
                            let points = [HookPoint::OnError, HookPoint::OnStepError];
                            self.check(plan, state, activation, points, steps, blames);
                        }
                        _ => {}
                    }
                }
                self.check_end(plan, state, &[HookPoint::AfterExecution], blames);
            }
            EventBody::ExecutionFailed => {
                self.check_end(plan, state, &[HookPoint::OnError, HookPoint::AfterExecution], blames);
            }
            EventBody::ExecutionCancelled { .. } => {
                self.check_end(plan, state, &[HookPoint::OnCancel, HookPoint::AfterExecution], blames);
            }
            _ => {}
        }
    }

    fn count(&self, about: Activation, point: HookPoint) -> usize {
        self.done.get(&(about, point)).copied().unwrap_or_default()
    }

    /// A step has had all the hooks of these points.
    fn check(
        &self,
        plan: &Plan,
        state: &State,
        activation: Activation,
        points: [HookPoint; 2],
        steps: &Steps,
        blames: &mut Blames,
    ) {
        let Some(known) = state.activation(activation).filter(|known| known.reuse != Some(Reuse::Reused)) else {
            return;
        };
        let own = &plan.valid_step(known.step).hooks;
        for point in points {
            let of_step = own.iter().filter(|hook| hook.point == point).count();
            let of_units = |point| {
                let own = of_workflow(&plan.unit_of(known.step).workflow, point);
                let path = steps.path(activation);
                let prefix = &path[..path.len() - paths::id(path).len()];
                let around = paths::prefixes(prefix).filter_map(|prefix| {
                    let outer = steps.at(paths::mark(prefix).map_or(prefix.strip_suffix('.')?, |(path, _)| path))?;
                    let step = state.activation(outer)?.step;
                    let is_unit = plan.steps()[step.get()].child.is_some();
                    is_unit.then(|| of_workflow(&plan.unit_of(step).workflow, point))
                });
                own + around.sum::<usize>()
            };
            let wanted = match point {
                HookPoint::BeforeStep | HookPoint::AfterStep | HookPoint::OnStepError => of_units(point),
                _ => of_step,
            };
            let done = self.count(activation, point);
            if done != wanted {
                let (path, key) = (steps.path(activation), point.key());
                let message = format!("{path} has had {done} hooks at `{key}`, of {wanted}");
                blames.push((Invariant::HooksOnce, message));
            }
        }
    }

    /// The execution has had all the hooks of these points.
    fn check_end(&self, plan: &Plan, state: &State, points: &[HookPoint], blames: &mut Blames) {
        // What was never taken up has nothing to tell.
        if state.started_at().is_none() {
            return;
        }
        for point in points {
            let (done, wanted) = (self.count(Activation::EXECUTION, *point), of_workflow(plan.workflow(), *point));
            if done != wanted {
                let message = format!("the execution has had {done} hooks at `{}`, of {wanted}", point.key());
                blames.push((Invariant::HooksOnce, message));
            }
        }
    }
}

/// How many hooks a workflow has at a point.
fn of_workflow(workflow: &ValidWorkflow, point: HookPoint) -> usize {
    workflow.workflow().hooks.iter().filter(|(at, _)| *at == point).map(|(_, hooks)| hooks.len()).sum()
}
