//! What the events of hooks change: a run begins, goes on, and ends, and then what waited for it goes on.

use std::sync::Arc;

use orchestr8_schema::{
    ErrorKind, Failure, Timestamp,
    event::{Activation, CallId, EventBody, HookId, HookResult, HookVerdict, Timer},
};
use serde_json::Value;

use super::{HookCall, HookRun, Stage};
use crate::machine::{Command, State, agenda::Consequence, command::Sink, fold::Fold};

impl<S: Sink> Fold<'_, S> {
    /// Begins the hooks of a stage. False if there are none, or nothing begins any more.
    pub(in crate::machine) fn begin_hooks(&mut self, activation: Activation, stage: Stage) -> bool {
        let begins = self.has_hooks(activation, stage);
        if begins {
            self.state.hooks.runs.insert(activation, HookRun::new(stage));
            self.follow(Consequence::Hook(activation));
        }
        begins
    }

    /// Whether there are hooks at a stage, and they are still called.
    pub(in crate::machine) fn has_hooks(&self, activation: Activation, stage: Stage) -> bool {
        let state = &*self.state;
        state.hooks.any
            && state.status.is_underway()
            && (activation == Activation::EXECUTION || !state.is_aborted(activation))
            && !state.hooks_of(self.plan, activation, stage).is_empty()
    }

    pub(in crate::machine) fn hook_started(&mut self, activation: Activation, hook: &HookId, input: &Arc<Value>) {
        let at = self.at;
        let run = self.run(activation, hook);
        run.call = HookCall::Called { input: Arc::clone(input) };
        run.since = at;
        if let Some(call) = self.state.open_hook_call(activation) {
            self.out.push(Command::Call(call));
        }
    }

    /// Finds a run; the last one of a workflow begins with its first event.
    fn run(&mut self, activation: Activation, hook: &HookId) -> &mut HookRun {
        if activation == Activation::EXECUTION && !self.state.hooks.runs.contains_key(&activation) {
            self.clear(Timer::ExecutionDeadline);
        }
        self.state.hooks.runs.entry(activation).or_insert_with(|| HookRun::new(Stage::of(hook)))
    }

    pub(in crate::machine) fn hook_attempt(&mut self, activation: Activation, body: &EventBody) {
        let Some(run) = self.state.hooks.runs.get_mut(&activation) else { return };
        match (body, &run.call) {
            (
                EventBody::AttemptStarted { restart, .. },
                HookCall::Called { input } | HookCall::InAttempt { input, .. },
            ) => {
                run.call = HookCall::InAttempt { input: Arc::clone(input), restart: *restart };
                return;
            }
            (EventBody::AttemptFinished { result, .. }, _) => run.call = HookCall::Answered(result.clone()),
            (EventBody::AttemptRejected { error, .. }, _) => run.call = HookCall::Answered(Err(Arc::clone(error))),
            _ => return,
        }
        self.follow(Consequence::Hook(activation));
    }

    pub(in crate::machine) fn hook_finished(&mut self, activation: Activation, hook: &HookId, result: &HookResult) {
        let run = self.run(activation, hook);
        run.place += 1;
        run.call = HookCall::Due;
        let (stage, place) = (run.stage, run.place);
        match &result.verdict {
            HookVerdict::Deny => {
                self.state.hooks.runs.remove(&activation);
                return self.denied(activation, stage, result);
            }
            HookVerdict::Replace(input) if activation == Activation::EXECUTION => {
                self.state.hooks.input = Some(Arc::clone(input));
            }
            HookVerdict::Replace(input) => self.replace_input(activation, input),
            HookVerdict::Allow => {}
        }
        if self.state.hooks_of(self.plan, activation, stage).len() > place {
            return self.follow(Consequence::Hook(activation));
        }
        self.state.hooks.runs.remove(&activation);
        match stage {
            Stage::Before => self.proceed(activation),
            Stage::After => self.conclude(activation, None),
            Stage::Failed { fatal } => self.conclude(activation, Some(fatal)),
            Stage::Opening if activation == Activation::EXECUTION => self.release_all(0),
            Stage::Opening => self.release_group(activation),
            Stage::Ending if activation == Activation::EXECUTION => self.state.hooks.ended = true,
            Stage::Ending => self.hooks_ended(activation),
        }
    }

    /// A guard has prevented what was to come.
    fn denied(&mut self, activation: Activation, stage: Stage, result: &HookResult) {
        let error = Arc::new(denial(result, self.at));
        match stage {
            Stage::Before => {
                self.state.steps[activation.get()].error = Some(error);
                self.answered(activation);
            }
            Stage::Opening if activation == Activation::EXECUTION => self.follow(Consequence::Fail(error)),
            Stage::Opening => self.close(activation, Err(error)),
            // Guards stand at no other point.
            Stage::After => self.conclude(activation, None),
            Stage::Failed { fatal } => self.conclude(activation, Some(fatal)),
            Stage::Ending if activation == Activation::EXECUTION => self.state.hooks.ended = true,
            Stage::Ending => self.hooks_ended(activation),
        }
    }

    /// Drops the hooks that are about an activation, with the call in progress.
    pub(in crate::machine) fn drop_hooks(&mut self, activation: Activation) {
        if let Some(run) = self.state.hooks.runs.remove(&activation)
            && run.open_call(activation, self.state.takes_back()).is_some()
        {
            let reason = "what the hook is about has ended".into();
            self.out.push(Command::AbortCall { call: CallId::Hook(activation), reason, force: true });
        }
    }

    /// Drops the hooks after steps in scopes that are ending.
    pub(in crate::machine) fn drop_hooks_inside(&mut self) {
        self.drop_hooks_where(|state, activation| {
            state.steps.get(activation.get()).is_some_and(|step| step.phase.is_terminal())
                && state.is_aborted(activation)
        });
    }

    /// Drops all hooks, since the execution is ending.
    pub(in crate::machine) fn drop_all_hooks(&mut self) {
        self.drop_hooks_where(|_, _| true);
    }

    fn drop_hooks_where(&mut self, wanted: impl Fn(&State, Activation) -> bool) {
        if self.state.hooks.runs.is_empty() {
            return;
        }
        let dropped: Vec<_> =
            self.state.hooks.runs.keys().copied().filter(|activation| wanted(self.state, *activation)).collect();
        for activation in dropped {
            // One that is dropped may end a scope, and with it others.
            if !self.state.hooks.are_about(activation) {
                continue;
            }
            self.drop_hooks(activation);
            if self.state.steps.get(activation.get()).is_some_and(|step| step.phase.is_terminal()) {
                self.depart(activation);
            }
        }
    }

    /// A pause takes back hooks that have not begun.
    pub(in crate::machine) fn take_back_hooks(&mut self) {
        for (activation, run) in &self.state.hooks.runs {
            if matches!(run.call, HookCall::Called { .. }) {
                let (call, reason) = (CallId::Hook(*activation), "the execution is paused".into());
                self.out.push(Command::AbortCall { call, reason, force: true });
            }
        }
    }

    /// Asks again for the hooks that a pause took back.
    pub(in crate::machine) fn call_hooks_again(&mut self) {
        for (activation, run) in &self.state.hooks.runs {
            if matches!(run.call, HookCall::Called { .. })
                && let Some(call) = run.open_call(*activation, false)
            {
                self.out.push(Command::Call(call));
            }
        }
    }
}

/// The failure of what a guard has prevented.
fn denial(result: &HookResult, at: Timestamp) -> Failure {
    let message = match &result.reason {
        Some(reason) => format!("a guard has denied it: {reason}"),
        None if result.error.is_some() => "a guard has denied it, since it failed itself".to_owned(),
        None => "a guard has denied it".to_owned(),
    };
    let mut failure = Failure::new(ErrorKind::Denied, message);
    failure.timestamp = Some(at);
    match &result.error {
        Some(error) => failure.caused_by(Arc::clone(error)),
        None => failure,
    }
}
