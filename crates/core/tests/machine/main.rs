//! Properties of the machine: over random workflows, schedules, answers, cancellations and hostile events.
//!
//! The driver here is pure. It knows only what commands tell it, and after each batch what it holds must be what the machine
//! calls outstanding.

#![expect(clippy::panic, reason = "a test that goes wrong says so by a panic")]

mod workflows;
mod world;

use std::collections::BTreeSet;

use orchestr8_agent_base::AgentRegistry;
use orchestr8_core::{
    machine::{Phase, State, Status, fold},
    plan::Plan,
};
use orchestr8_schema::{
    StepIndex, ValidWorkflow,
    api::Compensation,
    event::{Activation, CallId, Event, EventBody, EventSort, HookId, HookVerdict},
    workflow::{CompensateOn, HookPoint},
};
use orchestr8_testing::scripted;
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use self::{
    workflows::{Shapes, workflows},
    world::{Move, World, moves},
};

const ALL: Shapes = Shapes { early_joins: true };
/// Those whose result does not depend on the order in which steps end.
const ORDERLY: Shapes = Shapes { early_joins: false };

fn registry() -> AgentRegistry {
    let mut agents = AgentRegistry::new();
    agents.register(scripted("any")).expect("registered");
    agents
}

/// Compiles a random document; the few that are not valid by chance are left out.
fn plan(document: &Value) -> Result<Plan, TestCaseError> {
    let workflow = ValidWorkflow::from_value(document).map_err(|error| TestCaseError::reject(error.to_string()))?;
    Ok(Plan::compile(&workflow, &registry()).expect("it compiles"))
}

/// The activation of a step in the scope that another stands in.
fn sibling(world: &World<'_>, of: Activation, step: StepIndex) -> Activation {
    let path = |activation| world.state.step_path(world.plan, activation).expect("there is one").to_string();
    let place = path(of);
    let outer = place.rsplit_once('.').map(|(outer, _)| outer);
    let id = &world.plan.steps()[step.get()].id;
    let wanted = outer.map_or_else(|| id.to_string(), |outer| format!("{outer}.{id}"));
    let mut all = (0..world.state.steps().len() as u32).map(Activation);
    all.find(|activation| path(*activation) == wanted).expect("it stands beside it")
}

/// What is known of hooks, event by event.
#[derive(Default)]
struct HookBook {
    /// What is called now.
    open: BTreeSet<Activation>,
    called: Vec<(Activation, HookId)>,
    /// Steps that a guard prevented.
    denied: BTreeSet<Activation>,
    /// Steps that somebody went on from.
    settled: BTreeSet<Activation>,
    completed: BTreeSet<Activation>,
    failed: BTreeSet<Activation>,
    started: bool,
    ending: bool,
}

impl HookBook {
    fn note(&mut self, event: &Event) {
        match &event.body {
            EventBody::ExecutionStarted { .. } => self.started = true,
            EventBody::ExecutionCancelling(_) | EventBody::ExecutionFailing { .. } => {
                self.ending = true;
                self.open.clear();
                self.denied.clear();
            }
            EventBody::HookStarted { activation, hook, .. } => {
                assert!(!self.called.contains(&(*activation, *hook)), "{hook:?} about {activation:?} is called twice");
                assert!(!self.settled.contains(activation), "a hook about a step that others went on from");
                assert!(!self.denied.contains(activation), "a hook behind a guard that denied");
                let step = *activation != Activation::EXECUTION;
                assert!(!(self.ending && step), "a hook about a step while the execution is ending");
                match hook.point {
                    HookPoint::After | HookPoint::AfterStep => {
                        assert!(self.completed.contains(activation), "{hook:?} without an end");
                    }
                    HookPoint::OnStepError => assert!(self.failed.contains(activation), "{hook:?} without a failure"),
                    _ => {}
                }
                self.called.push((*activation, *hook));
                assert!(self.open.insert(*activation), "two hooks at once");
            }
            EventBody::HookFinished { activation, hook, result } => {
                self.open.remove(activation);
                if result.verdict == HookVerdict::Deny {
                    assert!(hook.point.allows_guards(), "nobody can deny at {hook:?}");
                    self.denied.insert(*activation);
                }
            }
            EventBody::AttemptStarted { call: CallId::Step(activation), .. } => {
                assert!(!self.open.contains(activation), "a step begins while a hook before it is called");
                assert!(!self.denied.contains(activation), "a step begins that a guard has denied");
            }
            EventBody::StepCompleted { activation, .. } => {
                self.completed.insert(*activation);
            }
            EventBody::StepFailed { activation, .. } => {
                self.failed.insert(*activation);
                // What follows a failure comes behind the guard that caused it.
                self.denied.remove(activation);
                self.open.remove(activation);
            }
            EventBody::StepCancelled { activation, .. } => {
                self.open.remove(activation);
            }
            _ => {}
        }
    }

    /// Somebody goes on from a step.
    fn settled(&mut self, activation: Activation) {
        assert!(!self.open.contains(&activation), "a step is settled before its hooks have ended");
        self.settled.insert(activation);
    }

    fn check(&self, world: &World<'_>) {
        let declared = &world.plan.workflow().workflow().hooks;
        let at_end = |point| {
            let about = |(activation, hook): &&(Activation, HookId)| {
                *activation == Activation::EXECUTION && hook.point == point
            };
            self.called.iter().filter(about).count()
        };
        // Those whose input has no value are not called.
        let callable = declared.after_execution.iter().filter(|hook| hook.input.is_none()).count();
        if self.started {
            assert!(at_end(HookPoint::AfterExecution) >= callable, "`afterExecution` is always called");
        }
        let errors = world.finished == Some(Status::Failed);
        assert!(errors || at_end(HookPoint::OnError) == 0, "`onError` without a failure");
    }
}

/// What the specification promises of every execution that has ended.
fn check_end(world: &World<'_>) {
    let steps = world.state.steps();
    assert!(steps.iter().all(|step| step.phase.is_terminal()), "a step is not terminal");
    let terminal = world.journal.iter().filter(|event| event.body.is_terminal()).count();
    assert_eq!(terminal, 1, "terminal events");
    assert!(world.journal.last().expect("not empty").body.is_terminal(), "the terminal event is not the last");

    let mut ended = BTreeSet::new();
    let mut hooks = HookBook::default();
    let mut ending = false;
    let mut paused = false;
    for event in &world.journal {
        let sort = event.body.sort();
        let goes_on = matches!(event.body, EventBody::StepCompleted { .. } | EventBody::StepFailed { .. });
        assert!(!paused || ending || sort != EventSort::Derived || goes_on, "{} in a pause", event.body.name());
        hooks.note(event);
        match &event.body {
            EventBody::ExecutionPaused { .. } => paused = true,
            EventBody::ExecutionResumed { .. } => paused = false,
            EventBody::StepCompleted { activation, .. }
            | EventBody::StepFailed { activation, .. }
            | EventBody::StepSkipped { activation, .. }
            | EventBody::StepCancelled { activation, .. } => {
                assert!(ended.insert(*activation), "{activation:?} ended twice");
            }
            EventBody::AttemptStarted { call: CallId::Step(activation), .. } => {
                assert!(!ended.contains(activation), "an attempt after the end of {activation:?}");
                assert!(!ending, "an attempt while the execution is ending");
                assert!(!paused, "an attempt in a pause");
            }
            EventBody::StepScheduled { activation, .. } => {
                assert!(!ending, "a step is scheduled while the execution is ending");
                let valid = world.plan.valid_step(steps[activation.get()].step);
                let unit = world.plan.unit_of(steps[activation.get()].step);
                for dependency in &valid.dependencies {
                    let dependency = sibling(world, *activation, unit.global(*dependency));
                    assert!(steps[dependency.get()].is_satisfied(), "scheduled before its dependency");
                    assert!(ended.contains(&dependency), "scheduled before its dependency has ended");
                    hooks.settled(dependency);
                }
                for soft in &valid.soft {
                    let soft = sibling(world, *activation, unit.global(*soft));
                    assert!(ended.contains(&soft), "scheduled before its soft dependency has ended");
                    hooks.settled(soft);
                }
            }
            EventBody::StepFallback { activation, .. } => {
                assert_eq!(steps[activation.get()].phase, Phase::Failed, "a fallback without a failure");
            }
            EventBody::ExecutionCancelling(_) | EventBody::ExecutionFailing { .. } => ending = true,
            _ => {}
        }
    }
    check_compensation(world);
    hooks.check(world);
    for step in steps {
        if step.phase == Phase::Skipped {
            assert_eq!(step.attempts, 0, "a skipped step had an attempt");
        }
    }
}

/// Each compensation ends at most once, in reverse order of the ends of the steps, and only what qualifies is undone.
fn check_compensation(world: &World<'_>) {
    let mut ended = Vec::new();
    let mut undone = Vec::new();
    let mut attempted = BTreeSet::new();
    let mut completed = BTreeSet::new();
    for event in &world.journal {
        match &event.body {
            EventBody::AttemptStarted { call: CallId::Step(activation), .. } => drop(attempted.insert(*activation)),
            EventBody::StepCompleted { activation, .. } => {
                ended.push(*activation);
                completed.insert(*activation);
            }
            EventBody::StepFailed { activation, .. } | EventBody::StepCancelled { activation, .. } => {
                ended.push(*activation);
            }
            EventBody::CompensationStepCompleted { activation }
            | EventBody::CompensationStepFailed { activation, .. } => undone.push(*activation),
            _ => {}
        }
    }
    let places: Vec<_> = undone.iter().map(|step| ended.iter().rposition(|ended| ended == step)).collect();
    assert!(places.is_sorted_by(|one, other| one > other), "undone in another order: {undone:?}");
    for step in &undone {
        let valid = world.plan.valid_step(world.state.steps()[step.get()].step);
        let qualifies = match valid.compensate.as_ref().expect("it can be undone").on {
            CompensateOn::Completed => completed.contains(step),
            CompensateOn::Attempt => attempted.contains(step),
        };
        assert!(qualifies, "{step:?} is undone and does not qualify");
    }
    let has_failed = |body: &EventBody| matches!(body, EventBody::CompensationStepFailed { .. });
    let result = match world.journal.iter().any(|event| has_failed(&event.body)) {
        true => Compensation::Incomplete,
        false if undone.is_empty() => Compensation::None,
        false => Compensation::Complete,
    };
    assert_eq!(world.state.compensation(), result);
}

/// How many cases each property is tried on; `ORCHESTR8_CASES` sets another number for a longer run.
fn cases() -> ProptestConfig {
    let cases = std::env::var("ORCHESTR8_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(cases.unwrap_or(300))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_schedule_keeps_the_invariants(document in workflows(ALL), moves in moves()) {
        let plan = plan(&document)?;
        let mut world = World::new(&plan);
        world.start(json!({ "yes": true, "no": false }));
        for action in &moves {
            if world.finished.is_some() {
                break;
            }
            world.act(action);
        }
        world.settle();
        check_end(&world);
        // Nothing fits any more.
        let refused = !world.event(EventBody::ExecutionStarted { epoch: 2 });
        prop_assert!(refused);
    }

    #[test]
    fn order_of_completion_does_not_matter(document in workflows(ORDERLY), one in moves(), other in moves()) {
        let plan = plan(&document)?;
        let run = |moves: &[Move]| {
            let mut world = World::new(&plan);
            world.start(json!({ "yes": true, "no": false }));
            for action in moves.iter().filter(|action| matches!(action, Move::Start(_) | Move::Succeed(_))) {
                if world.finished.is_none() {
                    world.act(action);
                }
            }
            world.settle();
            // Where something fails fatally, if only in a scope, what else still ran depends on when it failed.
            let is_fatal = |event: &Event| matches!(event.body, EventBody::StepFailed { fatal: true, .. });
            let orderly = world.finished == Some(Status::Completed) && !world.journal.iter().any(is_fatal);
            orderly.then(|| world.results())
        };
        prop_assert_eq!(run(&one), run(&other));
    }

    #[test]
    fn folding_any_mixture_of_events_never_panics(document in workflows(ALL), moves in moves(), picks in prop::collection::vec(any::<Index>(), 0..60)) {
        let plan = plan(&document)?;
        let mut world = World::new(&plan);
        world.start(json!({ "yes": true, "no": false }));
        for action in &moves {
            if world.finished.is_none() {
                world.act(action);
            }
        }
        let mut state = State::new(&plan);
        for pick in &picks {
            fold(&plan, &mut state, &world.journal[pick.index(world.journal.len())]);
        }
    }
}
