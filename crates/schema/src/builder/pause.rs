//! Waits, approvals and sub-workflows.

use std::time::Duration;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::{
    Draft, IntoTemplate, Provides,
    draft::Lower,
    state::State,
    value::{Given, Read},
};
use crate::{
    Code,
    workflow::{ApprovalStep, StepKind, WaitDuration, WaitStep, WaitUntil, WorkflowStep},
};

/// Waits for some time.
pub fn wait_for(duration: Duration) -> Draft<Wait, Value> {
    Draft::new(Wait(WaitFor::Time(duration)))
}

/// Waits until a time of RFC 3339.
pub fn wait_until(time: impl Provides<String>) -> Draft<Wait, Value> {
    Draft::new(Wait(WaitFor::Until(time.into_template())))
}

/// Waits for a signal; its payload is `payload` of the output.
pub fn signal(name: impl Into<String>) -> Draft<Wait, Value> {
    Draft::new(Wait(WaitFor::Signal(name.into())))
}

/// A wait; see [`wait_for`], [`wait_until`] and [`signal`].
#[derive(Debug)]
pub struct Wait(WaitFor);

#[derive(Debug)]
enum WaitFor {
    Time(Duration),
    Until(Given),
    Signal(String),
}

impl Lower for Wait {
    fn into_kind(self, state: &mut State) -> (StepKind, Vec<Read>) {
        let mut read = Vec::new();
        let wait = match self.0 {
            WaitFor::Time(duration) => WaitStep::Duration { duration: WaitDuration::Fixed(duration.into()) },
            WaitFor::Until(Given { value, reads, errors }) => {
                state.report_all(errors);
                read = reads;
                let text = value.as_str().unwrap_or_default().to_owned();
                let until = match text.parse() {
                    Ok(time) => WaitUntil::At(time),
                    Err(_) => WaitUntil::Template(text),
                };
                WaitStep::Until { until }
            }
            WaitFor::Signal(name) => match name.parse() {
                Ok(signal) => WaitStep::Signal { signal, timeout: None },
                Err(error) => {
                    state.report(Code::WrongForm, format!("`{name}` is no signal: {error}"));
                    WaitStep::Duration { duration: WaitDuration::Fixed(crate::Millis(0)) }
                }
            },
        };
        (StepKind::Wait(wait), read)
    }
}

/// Asks a person, and goes on when they approve. The output has `approved`, `answer`, `comment` and `by`.
pub fn approval(prompt: impl Provides<String>) -> Draft<Approval, Value> {
    Draft::new(Approval { prompt: prompt.into_template(), schema: None })
}

/// An approval; see [`approval`].
#[derive(Debug)]
pub struct Approval {
    prompt: Given,
    schema: Option<Value>,
}

impl<O> Draft<Approval, O> {
    /// Says of what form the answer must be.
    pub fn answer<A: JsonSchema>(mut self) -> Self {
        self.kind.schema = Some(SchemaGenerator::default().into_root_schema_for::<A>().to_value());
        self
    }
}

impl Lower for Approval {
    fn into_kind(self, state: &mut State) -> (StepKind, Vec<Read>) {
        let Given { value, reads, errors } = self.prompt;
        state.report_all(errors);
        let mut approval = ApprovalStep::new(value.as_str().unwrap_or_default());
        approval.schema = self.schema;
        (StepKind::Approval(approval), reads)
    }
}

/// Runs another workflow, by a path that begins with `./` or `../`, or by its id. The output is that workflow's.
pub fn sub_workflow(reference: impl Into<String>) -> Draft<SubWorkflow, Value> {
    Draft::new(SubWorkflow { reference: reference.into(), input: Given::default() })
}

/// A sub-workflow; see [`sub_workflow`].
#[derive(Debug)]
pub struct SubWorkflow {
    reference: String,
    input: Given,
}

impl<O> Draft<SubWorkflow, O> {
    /// Gives one field of the input.
    pub fn with(mut self, name: impl Into<String>, value: impl IntoTemplate) -> Self {
        self.kind.input.set(name.into(), value.into_template());
        self
    }
}

impl Lower for SubWorkflow {
    fn into_kind(self, state: &mut State) -> (StepKind, Vec<Read>) {
        let Given { value, reads, errors } = self.input;
        state.report_all(errors);
        (StepKind::Workflow(WorkflowStep::new(self.reference, value)), reads)
    }
}
