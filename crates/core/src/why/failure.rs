//! Why a step failed: its attempts, what stood in their way, and the limits that decided.

use std::{fmt::Write as _, time::Duration};

use orchestr8_schema::{
    ErrorKind, Millis,
    event::{Activation, CallId, CircuitStateName, EventBody, HookVerdict, TimeoutScope, Timer},
    validate::ValidKind,
};

use super::Slice;
use crate::machine::Rescue;

impl Slice<'_> {
    pub(super) fn failed(&mut self, activation: Activation, depth: u32) {
        let step = &self.state.steps()[activation.get()];
        match step.rescue {
            Rescue::Recovered => {
                let recovered = self.last(activation, |body| matches!(body, EventBody::StepRecovered { .. }));
                if let Some((sequence, EventBody::StepRecovered { fallback, .. })) = recovered {
                    let text = format!(
                        "its fallback {} stood in for it, so that its failure is not fatal",
                        self.path(*fallback)
                    );
                    self.tell_of(depth, sequence, text, *fallback);
                }
            }
            Rescue::Lost => {
                let lost = self.last(activation, |body| matches!(body, EventBody::StepFallbackFailed { .. }));
                if let Some((sequence, EventBody::StepFallbackFailed { fallback, .. })) = lost {
                    let text = format!("its fallback {} {}, too", self.path(*fallback), self.became(*fallback));
                    self.tell_of(depth, sequence, text, *fallback);
                    self.follow(*fallback, depth + 1);
                }
            }
            Rescue::None | Rescue::Wanted | Rescue::Called => {}
        }
        let Some(error) = step.error.clone() else { return };
        let (Some(end), kind) = (self.end(activation), &self.plan.valid_step(step.step).kind) else { return };
        let is_reason = |body: &EventBody| {
            matches!(
                body,
                EventBody::TimerFired { timer: Timer::StepDeadline(_) }
                    | EventBody::TimeoutExceeded { scope: TimeoutScope::Step(_), .. }
                    | EventBody::BudgetExceeded { .. }
                    | EventBody::AttemptRejected { call: CallId::Step(_), is_final: true, .. }
            ) || matches!(body, EventBody::HookFinished { result, .. } if result.verdict == HookVerdict::Deny)
        };
        let inner = error.cause.as_ref().and_then(|cause| self.origin(cause)).filter(|inner| *inner != activation);
        match (self.last(activation, is_reason), inner) {
            (Some((sequence, EventBody::BudgetExceeded { budget, .. })), _) => {
                let balance = self.state.balances(self.plan).into_iter().find(|balance| balance.budget == *budget);
                let used = balance.map(|known| format!(": {} of {}", known.spent, known.limit)).unwrap_or_default();
                self.tell(depth, sequence, format!("{} of the budget is spent{used}", budget.key()));
            }
            (Some((sequence, EventBody::AttemptRejected { error, .. })), _) => {
                self.tell(depth, sequence, format!("its call was not made: {error}"));
                if error.code == ErrorKind::CircuitOpen {
                    self.circuit(sequence, depth + 1);
                }
                self.tries(activation, depth + 1);
            }
            (Some((sequence, EventBody::HookFinished { result, hook, .. })), _) => {
                let reason = result.reason.as_ref().map(|reason| format!(": {reason}"));
                let reason =
                    reason.or_else(|| result.error.as_ref().map(|error| format!(": {error}"))).unwrap_or_default();
                self.tell(depth, sequence, format!("guard {} of {} denied it{reason}", hook.index, hook.point.key()));
            }
            (Some((sequence, _)), _) => {
                self.tell(depth, sequence, "it took longer than its deadline, all attempts and waits included");
                if let Some(deadline) = self.planned(activation).deadline {
                    self.note(
                        depth + 1,
                        "policy",
                        format!("deadline {} is set by its policies", Millis::from(deadline)),
                    );
                }
                self.tries(activation, depth + 1);
            }
            (None, Some(inner)) => self.step_failed(inner, depth),
            (None, None) if matches!(kind, ValidKind::Approval(_)) => self.approval(activation, depth),
            (None, None) if matches!(kind, ValidKind::Wait(_)) && error.code == ErrorKind::Timeout => {
                self.wait_over(activation, depth);
            }
            (None, None) if step.attempts > 0 => self.tries(activation, depth),
            (None, None) => self.tell(depth, end, error.to_string()),
        }
    }

    /// Tells of the attempts of a step that failed, if there are any, and of what limited them.
    pub(super) fn tries(&mut self, activation: Activation, depth: u32) {
        let mut sequences = Vec::new();
        let mut kinds: Vec<ErrorKind> = Vec::new();
        let mut latest = None;
        let mut allowed: Option<Duration> = None;
        for (sequence, body) in self.about(activation) {
            match body {
                EventBody::AttemptStarted { call: CallId::Step(_), timeout, .. } => allowed = *timeout,
                EventBody::AttemptFinished { call: CallId::Step(_), result: Err(error), is_final, .. } => {
                    sequences.push(sequence);
                    kinds.push(error.code);
                    latest = Some((error, *is_final, allowed));
                }
                _ => {}
            }
        }
        let Some((error, is_final, allowed)) = latest else { return };
        let after = match (error.code, allowed) {
            (ErrorKind::Timeout, Some(allowed)) => format!(" after {}", Millis::from(allowed)),
            _ => format!(": {}", error.message),
        };
        let text = match kinds[..] {
            [kind] => format!("its attempt failed with {kind}{after}"),
            [first, ..] if kinds.iter().all(|kind| *kind == first) => {
                format!("{} attempts, each {first}{after}", kinds.len())
            }
            _ => {
                let mut names = String::new();
                for kind in &kinds {
                    let _ = write!(names, "{}{kind}", if names.is_empty() { "" } else { ", " });
                }
                format!("{} attempts: {names}{after}", kinds.len())
            }
        };
        let (made, code) = (kinds.len(), error.code);
        self.tell_all(depth, &sequences, text, None);
        if code == ErrorKind::Timeout && allowed.is_some() {
            self.timeout(activation, depth + 1);
        }
        if is_final {
            self.no_further(activation, code, made, depth + 1);
        }
    }

    /// Tells who says how long an attempt may take.
    fn timeout(&mut self, activation: Activation, depth: u32) {
        let Some(leaf) = &self.planned(activation).leaf else { return };
        let step = self.state.steps()[activation.get()].step;
        let policies = &self.plan.unit_of(step).workflow.workflow().policies;
        let of_workflow = policies.timeout.as_ref().and_then(|timeout| timeout.per_step);
        let who = if self.plan.declaration(step).policies.timeout.is_some() {
            "is set by its policies"
        } else if of_workflow.is_some() {
            "is set by the policies of the workflow"
        } else if leaf.callee.timeout().is_some() {
            "is what its agent says of itself; no policy sets it"
        } else {
            "is the default; no policy sets it"
        };
        self.note(depth, "policy", format!("timeout {} {who}", Millis::from(leaf.policy.timeout)));
    }

    /// Tells why no further attempt was made.
    fn no_further(&mut self, activation: Activation, code: ErrorKind, made: usize, depth: u32) {
        let Some(leaf) = &self.planned(activation).leaf else { return };
        let step = self.state.steps()[activation.get()].step;
        let own = &self.plan.declaration(step).policies.resilience.retry;
        let outer = &self.plan.unit_of(step).workflow.workflow().policies.resilience.retry;
        let text = if !leaf.policy.retryable.contains(&code) {
            if code.is_retryable() {
                format!("its policies do not try {code} again")
            } else {
                format!("{code} is not tried again")
            }
        } else if !leaf.callee.is_retryable() {
            "its agent says of itself that it is not to be tried again".to_owned()
        } else if made >= leaf.policy.max_attempts as usize {
            let who = match (own, outer) {
                (Some(retry), _) if retry.max_attempts.is_some() => "its policies allow no more",
                (_, Some(retry)) if retry.max_attempts.is_some() => "the policies of the workflow allow no more",
                _ => "that is the default; no policy sets more",
            };
            let attempts = if leaf.policy.max_attempts == 1 { "attempt" } else { "attempts" };
            format!("{} {attempts} at most: {who}", leaf.policy.max_attempts)
        } else {
            return;
        };
        self.note(depth, "policy", text);
    }

    /// Tells what opened the circuit that rejected a call.
    fn circuit(&mut self, rejected: u64, depth: u32) {
        let opened = |body: &EventBody| matches!(body, EventBody::CircuitChanged(change) if change.state == CircuitStateName::Open);
        match self.last_of_all(opened).filter(|(sequence, _)| *sequence < rejected) {
            Some((sequence, EventBody::CircuitChanged(change))) => {
                self.tell(depth, sequence, format!("circuit {} opened: {}", change.key, change.reason));
            }
            _ => self.note(depth, "policy", "another execution had opened the circuit"),
        }
    }
}
