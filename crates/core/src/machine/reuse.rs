//! Reuse: a fork takes results over from the execution that it was made from, where nothing that they depend on has changed.
//!
//! What a result depends on is the step's input, and who answered it how: the agent with its version and configuration, the tool, or
//! what a wait or an approval says of itself. An agent sees nothing else of an execution. It is compared when the step's turn has come,
//! once its input is resolved; `step.scheduled` tells the verdict. Composites are never taken over as a whole: they open again, and
//! find what is inside.

use std::{collections::BTreeMap, sync::Arc};

use orchestr8_agent_base::context::input_digest;
use orchestr8_schema::{
    StepIndex, StepPath, canonical,
    event::{Activation, Retained, Reuse},
};
use serde_json::{Map, Value};

use super::{Phase, State, command::Sink, fold::Fold};
use crate::plan::Plan;

/// Who answers a step, and how: all that its result depends on but the input. Absent for composites.
fn maker(plan: &Plan, step: StepIndex) -> Option<Retained> {
    let kind = &plan.declaration(step).kind;
    let mut maker = Retained { kind: kind.key().into(), ..Retained::default() };
    match &plan.steps()[step.get()].leaf {
        Some(leaf) => {
            maker.callee = Arc::clone(leaf.callee.name());
            maker.version = Arc::clone(&leaf.version);
            maker.config_digest = digest(&Value::Object(Map::clone(&leaf.config)));
        }
        None if matches!(kind.key(), "wait" | "approval") => {
            maker.config_digest = digest(&serde_json::to_value(kind).unwrap_or_default());
        }
        None => return None,
    }
    Some(maker)
}

fn digest(value: &Value) -> Arc<str> {
    canonical::digest(value).into()
}

fn digest_of_input(plan: &Plan, step: StepIndex, input: &Value) -> Arc<str> {
    match &plan.steps()[step.get()].leaf {
        Some(leaf) => input_digest(&leaf.callee, input).into(),
        None => digest(input),
    }
}

/// Lists what a fork can take over from an execution in this state: the results of its completed steps.
pub(crate) fn retained(plan: &Plan, state: &State) -> BTreeMap<StepPath, Retained> {
    let completed = (0..).map(Activation).zip(&state.steps).filter(|(_, step)| step.phase == Phase::Completed);
    let versions = state.queued.as_ref().map(|queued| &queued.agent_versions);
    let results = completed.filter_map(|(activation, step)| {
        let mut retained = maker(plan, step.step)?;
        // That of the time when it was called; another one may be registered by now.
        if let Some(version) = versions.and_then(|versions| versions.get(step.step.get())) {
            retained.version = Arc::clone(version);
        }
        retained.input_digest = digest_of_input(plan, step.step, step.input.as_deref()?);
        retained.output = Arc::clone(step.output.as_ref()?);
        Some((state.path_of(plan, activation), retained))
    });
    results.collect()
}

impl State {
    /// What the execution that this one was made from has of a step.
    fn known_result(&self, plan: &Plan, activation: Activation) -> Option<&Retained> {
        let retained = self.queued.as_ref()?.retained.as_ref()?;
        retained.get(&self.path_of(plan, activation))
    }

    /// Judges whether a step may take its result over, given its resolved input; absent if there is none to take over.
    pub(super) fn judge_reuse(&self, plan: &Plan, activation: Activation, input: &Value) -> Option<Reuse> {
        let known = self.known_result(plan, activation)?;
        let step = self.steps[activation.get()].step;
        let maker = maker(plan, step)?;
        Some(if maker.kind != known.kind || maker.callee != known.callee {
            Reuse::CalleeChanged
        } else if maker.version != known.version {
            Reuse::VersionChanged
        } else if maker.config_digest != known.config_digest {
            Reuse::ConfigChanged
        } else if digest_of_input(plan, step, input) != known.input_digest {
            Reuse::InputChanged
        } else {
            Reuse::Reused
        })
    }
}

impl<S: Sink> Fold<'_, S> {
    /// Gives a step the result that it takes over. True if it takes one over.
    pub(super) fn take_over(&mut self, activation: Activation) -> bool {
        if self.state.steps[activation.get()].reuse != Some(Reuse::Reused) {
            return false;
        }
        let Some(output) = self.state.known_result(self.plan, activation).map(|known| Arc::clone(&known.output)) else {
            return false;
        };
        self.state.steps[activation.get()].output = Some(output);
        self.answered(activation);
        true
    }
}
