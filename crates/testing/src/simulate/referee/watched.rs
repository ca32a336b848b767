//! What the author of a workflow says always holds.

use std::sync::Arc;

use orchestr8_core::{
    machine::{State, Status},
    plan::Plan,
};
use orchestr8_schema::{
    event::{Activation, Event, EventBody},
    jmespath::JmesPath,
};
use serde_json::{Map, Value, json};

use crate::simulate::invariant::Invariant;

/// Expressions over the state of an execution, and the state as they see it.
#[derive(Debug)]
pub(super) struct Watched {
    always: Arc<[JmesPath]>,
    /// Which of them has been blamed: the first time tells most.
    is_broken: Vec<bool>,
    seen: Map<String, Value>,
    steps: Map<String, Value>,
    known: usize,
    count: u64,
}

impl Watched {
    pub(super) fn new(always: Arc<[JmesPath]>) -> Self {
        let is_broken = vec![false; always.len()];
        Self { always, is_broken, seen: Map::new(), steps: Map::new(), known: 0, count: 0 }
    }

    /// Looks at the state after an event.
    pub(super) fn take(&mut self, plan: &Plan, state: &State, event: &Event) -> Vec<(Invariant, String)> {
        if self.always.is_empty() {
            return Vec::new();
        }
        self.count += 1;
        let all = if matches!(event.body, EventBody::ExecutionReopened(_)) { 0 } else { self.known };
        self.known = state.steps().len();
        let new = (all..self.known).map(|index| Activation(index as u32));
        for activation in new.chain(event.body.activation()) {
            let path = state.step_path(plan, activation);
            if let Some((path, step)) = path.zip(state.activation(activation)) {
                let told = json!({
                    "status": step.phase.status(),
                    "attempts": step.attempts,
                    "output": step.output,
                    "error": step.error.as_ref().map(|error| json!({ "code": error.code.code(), "message": error.message })),
                });
                self.steps.insert(path.as_str().to_owned(), told);
            }
        }
        self.seen.insert("status".to_owned(), status(state.status()).into());
        self.seen.insert("events".to_owned(), self.count.into());
        self.seen.insert("inputs".to_owned(), json!(state.input()));
        self.seen.insert("outputs".to_owned(), json!(state.outputs()));
        self.seen.insert("error".to_owned(), json!(state.error().map(|error| error.code.code())));
        self.seen.insert("steps".to_owned(), Value::Object(std::mem::take(&mut self.steps)));
        let seen = Value::Object(std::mem::take(&mut self.seen));
        let mut blames = Vec::new();
        for (number, (always, is_broken)) in self.always.iter().zip(&mut self.is_broken).enumerate() {
            let message = match always.holds(&seen) {
                _ if *is_broken => continue,
                Ok(true) => continue,
                Ok(false) => format!("`{}` does not hold after {}", always.as_str(), event.body.name()),
                Err(error) => error.to_string(),
            };
            *is_broken = true;
            blames.push((Invariant::Always(number as u32), message));
        }
        if let Value::Object(mut seen) = seen {
            if let Some(Value::Object(steps)) = seen.remove("steps") {
                self.steps = steps;
            }
            self.seen = seen;
        }
        blames
    }
}

/// The status that views show.
fn status(status: Status) -> &'static str {
    match status {
        Status::Queued => "queued",
        Status::Paused => "paused",
        Status::Cancelling => "cancelling",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
        _ => "running",
    }
}
