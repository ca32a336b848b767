//! Hooks: whom they are called about, when, and what waits for them.

use std::collections::BTreeSet;

use orchestr8_core::machine::Status;
use orchestr8_schema::{
    event::{Activation, CallId, Event, EventBody, HookId, HookVerdict},
    workflow::HookPoint,
};

use crate::{invariants::sibling, world::World};

/// Each hook is called once at most, where it belongs, and nobody goes on from a step whose hooks have not ended.
pub(crate) fn are_called_where_they_belong(world: &World<'_>) {
    let mut book = HookBook::default();
    for event in &world.journal {
        book.note(event);
        let EventBody::StepScheduled { activation, .. } = event.body else { continue };
        let index = world.state.steps()[activation.get()].step;
        let (valid, unit) = (world.plan.valid_step(index), world.plan.unit_of(index));
        for awaited in valid.dependencies.iter().chain(&valid.soft) {
            book.settled(sibling(world, activation, unit.global(*awaited)));
        }
    }
    book.check(world);
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
