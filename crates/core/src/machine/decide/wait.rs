//! When waits and approvals are over in any case.

use orchestr8_schema::{
    ErrorKind, Failure, Millis, Timestamp,
    event::{Activation, EventBody},
    validate::{ValidKind, ValidWait},
};
use serde_json::Value;

use super::fail;
use crate::{machine::State, plan::Plan};

/// Begins a wait or an approval.
pub(super) fn begin(plan: &Plan, state: &State, activation: Activation) -> EventBody {
    match due_at(plan, state, activation) {
        Ok(due_at) => EventBody::StepWaiting { activation, due_at },
        Err(message) => fail(plan, state, activation, Failure::new(ErrorKind::Validation, message)),
    }
}

fn due_at(plan: &Plan, state: &State, activation: Activation) -> Result<Option<Timestamp>, String> {
    let step = &state.steps[activation.get()];
    let after = |limit: Option<Millis>| limit.map(|limit| state.latest.plus(limit.as_duration()));
    let field = |name| step.input.as_deref().and_then(|input| input.get(name)).unwrap_or(&Value::Null);
    match &plan.valid_step(step.step).kind {
        ValidKind::Wait(ValidWait::Signal { timeout, .. }) => Ok(after(*timeout)),
        ValidKind::Approval(approval) => Ok(after(approval.timeout)),
        ValidKind::Wait(ValidWait::Duration) => {
            let duration = field("duration");
            let parsed = match duration {
                Value::Number(number) => number.as_u64().map(Millis),
                Value::String(text) => text.parse().ok(),
                _ => None,
            };
            let Some(duration) = parsed else {
                return Err(format!("`duration` is {duration}, neither milliseconds nor a text such as 30s"));
            };
            Ok(after(Some(duration)))
        }
        _ => {
            let until = field("until");
            let parsed = until.as_str().and_then(|text| text.parse().ok());
            parsed.map(Some).ok_or_else(|| format!("`until` is {until}, which is no time of RFC 3339"))
        }
    }
}
