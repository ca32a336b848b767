//! Whether executions could go on under another workflow.
//!
//! The other workflow is tried out: the machine is given what the execution has come to, as a fork would give it, and decides until
//! something would have to be called. What it takes over on the way, and what it does not, is the answer. Nothing is stored or called.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use orchestr8_schema::{
    ExecutionId, StepIndex, StepPath, Timestamp, ValidWorkflow,
    event::{Activation, CallId, Event, EventBody, Queued, Reuse, Timer},
    validate::ValidKind,
};
use serde_json::{Map, Value, json};

use super::{
    Engine,
    fork::{Checkpoint, ForkError, ForkRequest, StepsById, chain},
    request::StartError,
};
use crate::{
    clock,
    execution::Snapshot,
    machine::{self, Command, Commands, Phase, State},
    plan::Plan,
    store::StoreError,
};

/// What would become of an execution under another workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Upgrade {
    /// The workflow is the one that it has.
    Same,
    /// It could go on: everything that has completed would be taken over.
    Compatible {
        /// What would differ from then on, for people, in the order of the workflow.
        differences: Vec<String>,
    },
    /// Something that has had its turn would have to run again, or would not have run.
    Diverges {
        /// The first step of which that is true.
        step_path: StepPath,
        /// Why, for people.
        because: String,
    },
}

impl Engine {
    /// Finds out whether an execution could go on under another workflow, from where it has come to. A [fork](Self::fork) with that
    /// workflow makes it so.
    ///
    /// Guards are taken to allow what they are asked about. A step whose attempt is in progress, or that waits, would begin anew.
    ///
    /// # Errors
    ///
    /// [`ForkError`] if there is no such execution, it undoes what it did, or it could not be started with that workflow at all.
    pub async fn check_upgrade(&self, id: ExecutionId, workflow: &ValidWorkflow) -> Result<Upgrade, ForkError> {
        let known = self.snapshot(id).await?;
        let Some(queued) = known.state().queued() else { return Err(StoreError::NotFound(id).into()) };
        if queued.workflow == *workflow {
            return Ok(Upgrade::Same);
        }
        let program = self.program(workflow).map_err(StartError::Plan)?;
        let new = Other { plan: &program.plan, steps: StepsById::new(&program.plan) };
        if let Some(divergence) = new.declared_otherwise(&known) {
            return Ok(divergence);
        }
        let request = ForkRequest::at(Checkpoint::Latest).workflow(workflow.clone());
        let (start, prepared) = self.prepare(&known, request)?;
        debug_assert!(prepared.dropped.is_empty(), "a step that is gone has been found");
        let clock = &*self.shared.clock;
        let (then, _) = start.into_queued(clock::execution_id(clock), &program.plan, &self.shared.hooks, clock)?;
        let state = try_out(&program.plan, then, clock.now());
        Ok(new.verdict(&known, &state))
    }
}

/// Lets the machine decide from the beginning, until something would have to be called.
fn try_out(plan: &Plan, queued: Arc<Queued>, at: Timestamp) -> State {
    let mut state = State::new(plan);
    let mut next = VecDeque::from([EventBody::ExecutionQueued(queued), EventBody::ExecutionStarted { epoch: 1 }]);
    let mut commands = Commands::new();
    while let Some(body) = next.pop_front() {
        machine::step(plan, &mut state, &Event { at, body }, &mut commands);
        for command in commands.drain(..) {
            match command {
                Command::Record(event) => next.push_front(event.body),
                Command::Call(call) if matches!(call.id, CallId::Hook(_)) => next.extend(allowed(call.id)),
                // The pause between two iterations is over.
                Command::SetTimer { timer: Timer::Wait(activation), .. } if is_loop(plan, &state, activation) => {
                    next.push_back(EventBody::TimerFired { timer: Timer::Wait(activation) });
                }
                _ => {}
            }
        }
    }
    state
}

/// What a hook answers that has nothing against it.
fn allowed(call: CallId) -> [EventBody; 2] {
    let result = Ok(Arc::new(json!({ "decision": "allow" })));
    [
        EventBody::AttemptStarted { call, attempt: 1, restart: 0, timeout: None, reserved: None },
        EventBody::AttemptFinished { call, attempt: 1, result, is_final: true, usage: None },
    ]
}

fn is_loop(plan: &Plan, state: &State, activation: Activation) -> bool {
    let step = state.activation(activation).map(|step| step.step);
    step.is_some_and(|step| matches!(plan.valid_step(step).kind, ValidKind::Loop(_)))
}

/// The other workflow.
struct Other<'a> {
    plan: &'a Plan,
    steps: StepsById,
}

impl Other<'_> {
    /// Finds the first step that has had its turn and is not there any more, is of another kind, or depends on others.
    fn declared_otherwise(&self, known: &Snapshot) -> Option<Upgrade> {
        let (plan, state) = (known.plan(), known.state());
        let had_its_turn = |step: &machine::StepState| step.scheduled_at.is_some() || step.phase == Phase::Completed;
        let all = (0..).map(Activation).zip(state.steps()).filter(|(_, step)| had_its_turn(step));
        all.into_iter().find_map(|(activation, step)| {
            let because = match self.steps.find(self.plan, &chain(plan, state, activation)) {
                None => "the workflow has no such step".to_owned(),
                Some(new) => {
                    let (before, after) = (plan.declaration(step.step), self.plan.declaration(new));
                    let gone = before.dependencies.iter().find(|id| !after.dependencies.contains(id));
                    let added = after.dependencies.iter().find(|id| !before.dependencies.contains(id));
                    match (before.kind.key() == after.kind.key(), gone, added) {
                        (false, ..) => format!("is a step of kind `{}` now", after.kind.key()),
                        (true, Some(gone), _) => format!("depends on {gone} no longer"),
                        (true, None, Some(added)) => format!("depends on {added} now"),
                        (true, None, None) => return None,
                    }
                }
            };
            Some(Upgrade::Diverges { step_path: state.path_of(plan, activation), because })
        })
    }

    /// Compares what has completed with what was taken over when the workflow was tried out.
    fn verdict(&self, known: &Snapshot, tried: &State) -> Upgrade {
        let (plan, state) = (known.plan(), known.state());
        let places: BTreeMap<_, _> = (0..)
            .map(Activation)
            .zip(tried.steps())
            .map(|(activation, step)| (tried.path_of(self.plan, activation), step))
            .collect();
        let mut differences = Vec::new();
        for (activation, step) in (0..).map(Activation).zip(state.steps()) {
            let path = state.path_of(plan, activation);
            let new = places.get(&path);
            if step.phase == Phase::Completed && !step.is_composite() {
                let because = match new.map(|new| (new.phase, new.reuse)) {
                    Some((_, Some(Reuse::Reused))) => continue,
                    Some((_, Some(Reuse::InputChanged))) => "has another input",
                    Some((_, Some(Reuse::CalleeChanged))) => "calls something else",
                    Some((_, Some(Reuse::VersionChanged))) => "calls another version of its agent",
                    Some((_, Some(Reuse::ConfigChanged))) => "is configured otherwise",
                    Some((Phase::Skipped, _)) => "would be skipped",
                    Some((Phase::Failed, _)) => "would fail",
                    // What comes before it has not ended; it is looked at when its turn comes.
                    _ => {
                        differences.push(format!("{path} is looked at when its turn comes again"));
                        continue;
                    }
                };
                return Upgrade::Diverges { step_path: path, because: because.to_owned() };
            }
            let begins =
                step.phase.is_in_flight() || matches!(step.phase, Phase::Between | Phase::Backoff | Phase::Waiting);
            if begins {
                differences.push(format!("{path} begins anew"));
            } else if step.phase == Phase::Failed && !step.is_composite() {
                differences.push(format!("{path} runs again: it has failed"));
            } else if step.phase == Phase::Skipped && new.is_some_and(|new| new.phase != Phase::Skipped) {
                differences.push(format!("{path} is skipped no longer"));
            }
        }
        differences.extend(self.changes(plan));
        Upgrade::Compatible { differences }
    }

    /// Says what is written otherwise.
    fn changes(&self, before: &Plan) -> Vec<String> {
        let (old, new) = (named(before), named(self.plan));
        let names: BTreeSet<_> = new.iter().map(|(name, _)| name).collect();
        let gone = old.iter().filter(|(name, _)| !names.contains(name));
        let mut changes: Vec<_> = gone.map(|(name, _)| format!("{name} is gone")).collect();
        let by_name: BTreeMap<_, _> = old.iter().map(|(name, step)| (name, *step)).collect();
        for (name, step) in &new {
            match by_name.get(name) {
                None => changes.push(format!("{name} is new")),
                Some(known) => {
                    let fields = differing(&own_fields(before, *known), &own_fields(self.plan, *step));
                    if !fields.is_empty() {
                        changes.push(format!("{name} has another {}", fields.join(", another ")));
                    }
                }
            }
        }
        let whole = |plan: &Plan| match serde_json::to_value(plan.workflow().workflow()) {
            Ok(Value::Object(mut document)) => {
                document.remove("steps");
                document
            }
            _ => Map::new(),
        };
        let fields = differing(&whole(before), &whole(self.plan));
        if !fields.is_empty() {
            changes.push(format!("the workflow has another {}", fields.join(", another ")));
        }
        changes
    }
}

/// All steps of a plan, by the ids of those around them and their own.
fn named(plan: &Plan) -> Vec<(String, StepIndex)> {
    let mut named = Vec::new();
    let mut open: Vec<(String, StepIndex)> = Vec::new();
    let own = plan.scopes().first().map_or(&[][..], |scope| &scope.steps);
    open.extend(own.iter().rev().map(|step| (plan.steps()[step.get()].id.to_string(), *step)));
    while let Some((name, step)) = open.pop() {
        for scope in plan.scopes_inside(step).into_iter().rev() {
            let inside = plan.scopes()[scope.get()].steps.iter().rev();
            open.extend(inside.map(|inner| (format!("{name}.{}", plan.steps()[inner.get()].id), *inner)));
        }
        named.push((name, step));
    }
    named
}

/// What a step says of itself, by key; its policies each by its own, and without the steps inside.
fn own_fields(plan: &Plan, step: StepIndex) -> Map<String, Value> {
    let declared = plan.declaration(step);
    let Ok(Value::Object(mut fields)) = serde_json::to_value(declared) else { return Map::new() };
    if let Some(Value::Object(policies)) = fields.remove("policies") {
        fields.extend(policies);
    }
    if let Some(inside) = fields.get_mut(declared.kind.key()).filter(|_| !plan.scopes_inside(step).is_empty()) {
        remove_steps(inside);
    }
    fields
}

/// Takes the steps out of a composite: its own, and those of its cases.
fn remove_steps(value: &mut Value) {
    let Value::Object(composite) = value else { return };
    composite.remove("steps");
    for key in ["cases", "default"] {
        let cases = match composite.get_mut(key) {
            Some(Value::Array(cases)) => cases.as_mut_slice(),
            Some(case) => std::slice::from_mut(case),
            None => &mut [],
        };
        for case in cases.iter_mut().filter_map(Value::as_object_mut) {
            case.remove("steps");
        }
    }
}

/// The keys under which two objects differ, in order.
fn differing(one: &Map<String, Value>, other: &Map<String, Value>) -> Vec<String> {
    let mut keys: Vec<_> = one.keys().chain(other.keys()).filter(|key| one.get(*key) != other.get(*key)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().cloned().collect()
}
