//! What a fork must make of the execution that it was made from.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use orchestr8_core::{
    machine::{Phase, State, fold},
    plan::Plan,
};
use orchestr8_schema::{
    ExecutionId, canonical,
    event::{Activation, CallId, Event, EventBody, ForkedFrom, Queued, Reuse},
    validate::ValidKind,
};
use serde_json::Value;

use super::steps::{Blames, Steps};
use crate::simulate::{fault::Checkpoint, invariant::Invariant};

/// What is known of the execution that a fork was made from.
#[derive(Debug)]
pub(super) struct Origin {
    from: ForkedFrom,
    /// By step path, what had completed at the checkpoint.
    results: BTreeMap<Arc<str>, Known>,
}

/// A result, and what it was the answer to. The workflow is the same, and so is whoever answers it.
#[derive(Debug)]
struct Known {
    input: Arc<Value>,
    output: Arc<Value>,
}

/// Finds after how many events a fork begins; absent if there is no such place.
pub(super) fn position(steps: &Steps, journal: &[Event], at: &Checkpoint) -> Option<u64> {
    match at {
        Checkpoint::Behind(sequence) => (1..=journal.len() as u64).contains(sequence).then_some(*sequence),
        Checkpoint::Before(path) => {
            let activation = steps.at(path)?;
            let is_its_turn = |event: &Event| matches!(event.body, EventBody::StepScheduled { activation: of, .. } if of == activation);
            journal.iter().position(is_its_turn).map(|before| before as u64)
        }
    }
}

impl Origin {
    /// Looks at an execution as it was after so many events.
    pub(super) fn of(plan: &Plan, execution_id: ExecutionId, journal: &[Event], sequence: u64) -> Self {
        let mut state = State::new(plan);
        for event in journal.iter().take(sequence as usize) {
            fold(plan, &mut state, event);
        }
        let steps = (0..).map(Activation).zip(state.steps()).filter(|(_, step)| step.phase == Phase::Completed);
        let results = steps.filter_map(|(activation, step)| {
            let kind = &plan.valid_step(step.step).kind;
            let is_leaf =
                matches!(kind, ValidKind::Agent | ValidKind::Tool | ValidKind::Wait(_) | ValidKind::Approval(_));
            let known = Known { input: step.input.clone()?, output: step.output.clone()? };
            is_leaf.then(|| Some((state.step_path(plan, activation)?.as_str().into(), known))).flatten()
        });
        Self { results: results.collect(), from: ForkedFrom { execution_id, sequence } }
    }

    /// Looks at an event of the fork that was folded into its state just now.
    pub(super) fn take(&self, state: &State, event: &Event, steps: &Steps, blames: &mut Blames) {
        let mut blame = |message: String| blames.push((Invariant::ReuseHolds, message));
        let takes_over = |activation: &Activation| {
            state.activation(*activation).is_some_and(|step| step.reuse == Some(Reuse::Reused))
        };
        match &event.body {
            EventBody::ExecutionQueued(queued) => {
                if let Some(message) = self.differs(queued) {
                    blame(message);
                }
            }
            EventBody::StepScheduled { activation, input, reuse, .. } => {
                let path = steps.path(*activation);
                let known =
                    self.results.get(path).map(|known| canonical::digest(&known.input) == canonical::digest(input));
                match (known, reuse) {
                    (None, None) | (Some(true), Some(Reuse::Reused)) | (Some(false), Some(Reuse::InputChanged)) => {}
                    (None, Some(_)) => {
                        blame(format!("{path} had not completed where the fork begins, and counts as known"));
                    }
                    (Some(true), _) => {
                        blame(format!("{path} has the input that it had, and its result is not taken over"));
                    }
                    (Some(false), _) => {
                        blame(format!("{path} has another input than it had, and its result is taken over"));
                    }
                }
            }
            EventBody::AttemptStarted { call: CallId::Step(activation), .. } if takes_over(activation) => {
                blame(format!("{} is called though its result is taken over", steps.path(*activation)));
            }
            EventBody::StepCompleted { activation, .. } if takes_over(activation) => {
                let path = steps.path(*activation);
                let given = state.activation(*activation).and_then(|step| step.output.as_ref());
                if given != self.results.get(path).map(|known| &known.output) {
                    blame(format!("{path} gives another result than the one that it takes over"));
                }
            }
            EventBody::CompensationStarted { order } => {
                if let Some(activation) = order.iter().find(|activation| takes_over(activation)) {
                    blame(format!("{} is to be undone, and the fork has not done it", steps.path(*activation)));
                }
            }
            _ => {}
        }
    }

    /// Whether something was done there whose result a fork would take over.
    pub(super) fn has(&self, path: &str) -> bool {
        self.results.contains_key(path)
    }

    fn differs(&self, queued: &Queued) -> Option<String> {
        if queued.forked_from != Some(self.from) {
            return Some(format!("the fork says it was made from {:?}, not {:?}", queued.forked_from, self.from));
        }
        let retained: HashMap<_, _> = queued
            .retained
            .iter()
            .flat_map(|all| all.iter())
            .map(|(path, known)| (path.as_str(), &known.output))
            .collect();
        let paths: BTreeSet<_> = retained.keys().copied().chain(self.results.keys().map(|path| &**path)).collect();
        let is_same = |path: &&str| retained.get(*path).copied() == self.results.get(*path).map(|known| &known.output);
        let strange = paths.into_iter().find(|path| !is_same(path))?;
        Some(format!("what the fork knows of {strange} is not what had completed where it begins"))
    }
}
