//! Where an execution's marked values come from: inputs, outputs and answers whose schemas mark something.

use std::collections::HashMap;

use orchestr8_schema::{
    StepIndex,
    event::{CallId, Event, EventBody},
    json_schema::JsonValidator,
    validate::{ScopeIndex, ValidKind},
};
use serde_json::{Map, Value};

use super::{Redactor, annotated};
use crate::{machine::State, plan::Plan};

/// The schemas of a workflow that mark something.
#[derive(Clone, Debug)]
pub(crate) struct Annotations {
    input: Option<Value>,
    /// Of the steps that have any.
    steps: HashMap<StepIndex, StepSchemas>,
}

#[derive(Clone, Debug, Default)]
struct StepSchemas {
    input: Vec<Value>,
    output: Vec<Value>,
    answer: Option<Value>,
    /// Of what undoes the step.
    undo_input: Option<Value>,
    undo_output: Option<Value>,
}

impl StepSchemas {
    fn of(plan: &Plan, step: StepIndex) -> Self {
        let (valid, planned) = (plan.valid_step(step), &plan.steps()[step.get()]);
        let callee = planned.leaf.as_ref().map(|leaf| &leaf.callee);
        let (child, answer) = match &valid.kind {
            ValidKind::Workflow(workflow) => (marked(workflow.inputs()), None),
            ValidKind::Approval(approval) => (None, marked(approval.schema.as_ref())),
            _ => (None, None),
        };
        let of_callee = marked(callee.and_then(|callee| callee.input_schema()));
        let input = [of_callee, marked(valid.input.schema()), child].into_iter().flatten().collect();
        let of_callee = marked(callee.and_then(|callee| callee.output_schema()));
        let output = [of_callee, marked(valid.output_schema.as_ref())].into_iter().flatten().collect();
        let undo = planned.compensation.as_ref().map(|leaf| &leaf.callee);
        let undo_input = marked(undo.and_then(|callee| callee.input_schema()));
        let undo_output = marked(undo.and_then(|callee| callee.output_schema()));
        Self { input, output, answer, undo_input, undo_output }
    }

    fn is_empty(&self) -> bool {
        let further = [&self.answer, &self.undo_input, &self.undo_output];
        self.input.is_empty() && self.output.is_empty() && further.iter().all(|schema| schema.is_none())
    }
}

fn marked(schema: Option<&JsonValidator>) -> Option<Value> {
    schema.map(JsonValidator::schema).filter(|schema| annotated::marks(schema)).cloned()
}

impl Annotations {
    pub(crate) fn of(plan: &Plan) -> Self {
        let steps =
            (0..plan.steps().len() as u32).map(|index| (StepIndex(index), StepSchemas::of(plan, StepIndex(index))));
        Self {
            input: marked(plan.workflow().inputs()),
            steps: steps.filter(|(_, schemas)| !schemas.is_empty()).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.input.is_none() && self.steps.is_empty()
    }

    /// Learns what is marked in all that a state holds.
    pub(crate) fn learn_state(&self, redactor: &mut Redactor, state: &State) {
        if self.is_empty() {
            return;
        }
        if let Some(queued) = state.queued() {
            learn(redactor, &self.input, &queued.input);
        }
        for step in state.steps() {
            let Some(schemas) = self.steps.get(&step.step) else { continue };
            if let Some(input) = &step.input {
                learn(redactor, &schemas.input, input);
            }
            if let Some(output) = &step.output {
                learn(redactor, &schemas.output, output);
                learn(redactor, &schemas.answer, &output["answer"]);
            }
        }
    }

    /// Learns what is marked in an event; the state is the one before it, or a later one.
    pub(crate) fn learn_event(&self, redactor: &mut Redactor, state: &State, event: &Event) {
        let schemas = |activation| state.activation(activation).and_then(|step| self.steps.get(&step.step));
        match &event.body {
            EventBody::ExecutionQueued(queued) => learn(redactor, &self.input, &queued.input),
            EventBody::StepScheduled { activation, input, .. } => {
                learn(redactor, schemas(*activation).into_iter().flat_map(|step| &step.input), input);
            }
            EventBody::AttemptFinished { call: CallId::Step(activation), result: Ok(output), .. }
            | EventBody::StepCompleted { activation, output: Some(output) } => {
                learn(redactor, schemas(*activation).into_iter().flat_map(|step| &step.output), output);
            }
            EventBody::CompensationStepStarted { activation, input, .. } => {
                learn(redactor, schemas(*activation).into_iter().flat_map(|step| &step.undo_input), input);
            }
            EventBody::AttemptFinished { call: CallId::Compensation(activation), result: Ok(output), .. } => {
                learn(redactor, schemas(*activation).into_iter().flat_map(|step| &step.undo_output), output);
            }
            EventBody::ApprovalAnswered { activation, answer } => {
                learn(redactor, schemas(*activation).into_iter().flat_map(|step| &step.answer), &answer.answer);
            }
            _ => {}
        }
    }

    /// Hides what is marked in the rendered data of an event.
    pub(crate) fn hide(&self, plan: &Plan, state: &State, event: &Event, data: &mut Map<String, Value>) {
        if let EventBody::ExecutionCompleted { outputs: None } = &event.body
            && let Some(outputs) = data.get_mut("outputs")
        {
            self.hide_outputs(plan, outputs);
        }
        let schemas = |activation| state.activation(activation).and_then(|step| self.steps.get(&step.step));
        let mut hide = |key: &str, schema: &Value| {
            if let Some(value) = data.get_mut(key) {
                Redactor::hide_marked(schema, value);
            }
        };
        match &event.body {
            EventBody::ExecutionQueued(_) => self.input.iter().for_each(|schema| hide("input", schema)),
            EventBody::StepScheduled { activation, .. } => {
                let input = schemas(*activation).into_iter().flat_map(|step| &step.input);
                input.for_each(|schema| hide("input", schema));
            }
            EventBody::AttemptFinished { call: CallId::Step(activation), .. }
            | EventBody::StepCompleted { activation, .. } => {
                let output = schemas(*activation).into_iter().flat_map(|step| &step.output);
                output.for_each(|schema| hide("output", schema));
            }
            EventBody::CompensationStepStarted { activation, .. } => {
                let input = schemas(*activation).and_then(|step| step.undo_input.as_ref());
                input.into_iter().for_each(|schema| hide("input", schema));
            }
            EventBody::AttemptFinished { call: CallId::Compensation(activation), .. } => {
                let output = schemas(*activation).and_then(|step| step.undo_output.as_ref());
                output.into_iter().for_each(|schema| hide("output", schema));
            }
            EventBody::ApprovalAnswered { activation, .. } => {
                let answer = schemas(*activation).and_then(|step| step.answer.as_ref());
                answer.into_iter().for_each(|schema| hide("answer", schema));
            }
            _ => {}
        }
    }

    /// Hides what is marked in the outputs of an execution whose workflow declares none: those of its own steps, by id.
    pub(crate) fn hide_outputs(&self, plan: &Plan, outputs: &mut Value) {
        for &step in &plan.scopes()[ScopeIndex::ROOT.get()].steps {
            if let Some(output) = outputs.get_mut(plan.steps()[step.get()].id.as_str()) {
                self.hide_step(step, None, Some(output));
            }
        }
    }

    /// Hides what is marked in the input and the output of a step.
    pub(crate) fn hide_step(&self, step: StepIndex, input: Option<&mut Value>, output: Option<&mut Value>) {
        let Some(schemas) = self.steps.get(&step) else { return };
        if let Some(input) = input {
            schemas.input.iter().for_each(|schema| Redactor::hide_marked(schema, input));
        }
        if let Some(output) = output {
            schemas.output.iter().for_each(|schema| Redactor::hide_marked(schema, output));
            if let (Some(schema), Some(answer)) = (&schemas.answer, output.get_mut("answer")) {
                Redactor::hide_marked(schema, answer);
            }
        }
    }
}

fn learn<'a>(redactor: &mut Redactor, schemas: impl IntoIterator<Item = &'a Value>, value: &Value) {
    for schema in schemas {
        redactor.learn(schema, value);
    }
}
