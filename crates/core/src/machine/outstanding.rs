//! What is open, for a driver with nothing in hand.

use orchestr8_schema::event::{Activation, CallId, Timer};

use super::{
    Command, Commands, State,
    fold::{is_asked, open_call, timer_due},
};
use crate::plan::Plan;

/// Puts out the effects that are still open: the calls that steps wait for, the timers, and the approvals. A driver that takes an execution up
/// carries these out and nothing else.
///
/// At the end of every batch they are what the commands opened and did not close.
pub fn outstanding(plan: &Plan, state: &State, out: &mut Commands) {
    if state.status.is_terminal() {
        return;
    }
    let told = state.ending.as_ref().is_some_and(|ending| ending.propagate);
    let timer = |timer| timer_due(plan, state, timer).map(|due_at| Command::SetTimer { timer, due_at });
    out.extend(timer(Timer::ExecutionDeadline));
    for (index, step) in state.steps.iter().enumerate() {
        let activation = Activation(index as u32);
        out.extend(timer(Timer::StepDeadline(activation)));
        out.extend(timer(Timer::Wait(activation)));
        if is_asked(plan, state, activation) {
            out.push(Command::RequestApproval { activation, expires_at: step.due_at });
        }
        out.extend(open_call(plan, state, activation).map(Command::Call));
        if told && step.phase.is_in_flight() {
            let call = CallId::Step(activation);
            out.push(Command::AbortCall { call, reason: "the execution is ending".into(), force: false });
        }
    }
    out.extend(state.open_hook_calls().map(Command::Call));
    out.extend(timer(Timer::Grace));
    out.extend(state.compensation_call().map(Command::Call));
    out.extend(timer(Timer::Compensation));
}
