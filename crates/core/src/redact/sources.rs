//! Where an execution's marked values come from: inputs, outputs and answers whose schemas mark something.

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
pub(crate) struct Annotations<'a> {
    input: Option<&'a Value>,
    steps: Vec<StepSchemas<'a>>,
}

#[derive(Clone, Debug, Default)]
struct StepSchemas<'a> {
    input: Vec<&'a Value>,
    output: Vec<&'a Value>,
    answer: Option<&'a Value>,
    /// Of what undoes the step.
    undo_input: Option<&'a Value>,
    undo_output: Option<&'a Value>,
}

impl<'a> Annotations<'a> {
    pub(crate) fn of(plan: &'a Plan) -> Self {
        let own = |schema: Option<&'a JsonValidator>| {
            schema.map(JsonValidator::schema).filter(|schema| annotated::marks(schema))
        };
        let steps = plan.steps().iter().enumerate().map(|(index, step)| {
            let valid = plan.valid_step(StepIndex(index as u32));
            let callee = step.leaf.as_ref().map(|leaf| &leaf.callee);
            let (child, answer) = match &valid.kind {
                ValidKind::Workflow(workflow) => (own(workflow.inputs()), None),
                ValidKind::Approval(approval) => (None, own(approval.schema.as_ref())),
                _ => (None, None),
            };
            let of_callee = own(callee.and_then(|callee| callee.input_schema()));
            let input = [of_callee, own(valid.input.schema()), child].into_iter().flatten().collect();
            let of_callee = own(callee.and_then(|callee| callee.output_schema()));
            let output = [of_callee, own(valid.output_schema.as_ref())].into_iter().flatten().collect();
            let undo = step.compensation.as_ref().map(|leaf| &leaf.callee);
            let undo_input = own(undo.and_then(|callee| callee.input_schema()));
            let undo_output = own(undo.and_then(|callee| callee.output_schema()));
            StepSchemas { input, output, answer, undo_input, undo_output }
        });
        Self { input: own(plan.workflow().inputs()), steps: steps.collect() }
    }

    fn is_empty(&self) -> bool {
        let is_silent = |step: &StepSchemas<'_>| {
            let further = [step.answer, step.undo_input, step.undo_output];
            step.input.is_empty() && step.output.is_empty() && further.iter().all(Option::is_none)
        };
        self.input.is_none() && self.steps.iter().all(is_silent)
    }

    /// Learns what is marked in all that a state holds.
    pub(crate) fn learn_state(&self, redactor: &mut Redactor, state: &State) {
        if self.is_empty() {
            return;
        }
        if let Some(queued) = state.queued() {
            learn(redactor, self.input, &queued.input);
        }
        for step in state.steps() {
            let schemas = &self.steps[step.step.get()];
            if let Some(input) = &step.input {
                learn(redactor, schemas.input.iter().copied(), input);
            }
            if let Some(output) = &step.output {
                learn(redactor, schemas.output.iter().copied(), output);
                learn(redactor, schemas.answer, &output["answer"]);
            }
        }
    }

    /// Learns what is marked in an event; the state is the one before it, or a later one.
    pub(crate) fn learn_event(&self, redactor: &mut Redactor, state: &State, event: &Event) {
        let schemas = |activation| state.activation(activation).map(|step| &self.steps[step.step.get()]);
        match &event.body {
            EventBody::ExecutionQueued(queued) => learn(redactor, self.input, &queued.input),
            EventBody::StepScheduled { activation, input, .. } => {
                learn(redactor, schemas(*activation).into_iter().flat_map(|step| step.input.iter().copied()), input);
            }
            EventBody::AttemptFinished { call: CallId::Step(activation), result: Ok(output), .. }
            | EventBody::StepCompleted { activation, output: Some(output) } => {
                learn(redactor, schemas(*activation).into_iter().flat_map(|step| step.output.iter().copied()), output);
            }
            EventBody::CompensationStepStarted { activation, input, .. } => {
                learn(redactor, schemas(*activation).and_then(|step| step.undo_input), input);
            }
            EventBody::AttemptFinished { call: CallId::Compensation(activation), result: Ok(output), .. } => {
                learn(redactor, schemas(*activation).and_then(|step| step.undo_output), output);
            }
            EventBody::ApprovalAnswered { activation, answer } => {
                learn(redactor, schemas(*activation).and_then(|step| step.answer), &answer.answer);
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
        let schemas = |activation| state.activation(activation).map(|step| &self.steps[step.step.get()]);
        let mut hide = |key: &str, schema: &Value| {
            if let Some(value) = data.get_mut(key) {
                Redactor::hide_marked(schema, value);
            }
        };
        match &event.body {
            EventBody::ExecutionQueued(_) => self.input.into_iter().for_each(|schema| hide("input", schema)),
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
                let input = schemas(*activation).and_then(|step| step.undo_input);
                input.into_iter().for_each(|schema| hide("input", schema));
            }
            EventBody::AttemptFinished { call: CallId::Compensation(activation), .. } => {
                let output = schemas(*activation).and_then(|step| step.undo_output);
                output.into_iter().for_each(|schema| hide("output", schema));
            }
            EventBody::ApprovalAnswered { activation, .. } => {
                let answer = schemas(*activation).and_then(|step| step.answer);
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
        let schemas = &self.steps[step.get()];
        if let Some(input) = input {
            schemas.input.iter().for_each(|schema| Redactor::hide_marked(schema, input));
        }
        if let Some(output) = output {
            schemas.output.iter().for_each(|schema| Redactor::hide_marked(schema, output));
            if let (Some(schema), Some(answer)) = (schemas.answer, output.get_mut("answer")) {
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
