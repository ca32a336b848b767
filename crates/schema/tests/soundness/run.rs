//! Executions of what was drawn, by the rules of scheduling, in which everything that is read and given is checked.

use std::{borrow::Cow, collections::HashMap};

use orchestr8_schema::{
    StepId, StepIndex, ValidStep, ValidWorkflow,
    condition::Condition,
    expression::{LoopField, OwnField, Root, Scope, StepField, Template},
    json_schema::{JsonValidator, fill_defaults},
    policy::OnError,
    validate::{LoopTest, ScopeIndex, ValidKind, ValidLoop, ValidMap, ValidWait},
    workflow::{Call, CompensateOn, HookPoint, OnItemError, StepKind},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    common::schemas::obey,
    draft::{Agents, Choices},
};

/// Runs a workflow by the rules of scheduling, and checks all that is read and given.
pub(crate) fn run(
    agents: &Agents,
    validators: &[JsonValidator],
    inputs: &Value,
    workflow: &ValidWorkflow,
    mut choices: Choices,
) -> Result<(), TestCaseError> {
    let mut input = obey(inputs, inputs, &mut |count| choices.below(count));
    fill_defaults(inputs, &mut input);
    if JsonValidator::compile(inputs).unwrap().validate(&input).is_ok() {
        execute(agents, validators, workflow, &mut choices, input)?;
    }
    Ok(())
}

/// Runs a workflow or a sub-workflow; none is a failure.
fn execute(
    agents: &Agents,
    validators: &[JsonValidator],
    workflow: &ValidWorkflow,
    choices: &mut Choices,
    input: Value,
) -> Result<Option<Value>, TestCaseError> {
    let records = vec![None; workflow.steps().len()];
    let variables = Value::Object(workflow.workflow().context.variables.clone());
    let values = HashMap::from([(Root::Variables, variables)]);
    let mut run = Run { agents, validators, workflow, choices: choices.clone(), input, records, values };
    let result = if run.scope(ScopeIndex::ROOT, None)? {
        let outputs = workflow.resolve_outputs(&run);
        prop_assert!(outputs.is_ok(), "outputs: {outputs:?}\n{run:#?}");
        Some(outputs.unwrap().map_or_else(|| run.by_id(ScopeIndex::ROOT), Value::Object))
    } else {
        None
    };
    *choices = run.choices;
    Ok(result)
}

/// What is known of an execution.
struct Run<'a> {
    agents: &'a Agents,
    validators: &'a [JsonValidator],
    workflow: &'a ValidWorkflow,
    choices: Choices,
    input: Value,
    records: Vec<Option<Record>>,
    /// Items, accumulators and values of loops.
    values: HashMap<Root, Value>,
}

#[derive(Clone, Debug, Default)]
struct Record {
    status: &'static str,
    needed: bool,
    recovered: bool,
    given: Option<Value>,
    fields: HashMap<StepField, Value>,
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "input {}\nvalues {:?}", self.input, self.values)?;
        for (step, record) in self.workflow.steps().iter().zip(&self.records) {
            writeln!(f, "{}: {record:?}", step.id)?;
        }
        write!(f, "{:#}", serde_json::to_value(self.workflow).unwrap())
    }
}

impl Scope for Run<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Step { step, field } => self.records[step.get()].as_ref()?.fields.get(&field).map(Cow::Borrowed),
            Root::Inputs => Some(Cow::Borrowed(&self.input)),
            other => self.values.get(&other).map(Cow::Borrowed),
        }
    }
}

impl Run<'_> {
    /// Runs a list of steps; false if one fails for good. With `enough`, failures do not count, and it may end early.
    fn scope(&mut self, scope: ScopeIndex, enough: Option<&[StepIndex]>) -> Result<bool, TestCaseError> {
        let steps = self.workflow.scope(scope).steps.clone();
        for step in &steps {
            self.records[step.get()] = None;
        }
        loop {
            let ready: Vec<StepIndex> = steps.iter().copied().filter(|step| self.is_ready(*step)).collect();
            if ready.is_empty() {
                break;
            }
            let step = ready[self.choices.below(ready.len())];
            self.step(step)?;
            let completed = |step: &StepIndex| {
                self.records[step.get()].as_ref().is_some_and(|record| record.status == "completed" || record.recovered)
            };
            match enough {
                Some(joined) if joined.iter().any(completed) => {
                    self.cancel(&steps);
                    return Ok(true);
                }
                Some(_) => {}
                None if steps.iter().any(|step| self.is_fatal(*step)) => return Ok(false),
                None => {}
            }
        }
        Ok(enough.is_none())
    }

    /// Ends the steps that are left.
    fn cancel(&mut self, steps: &[StepIndex]) {
        for step in steps {
            self.records[step.get()].get_or_insert_with(|| {
                let fields = [(StepField::Status, json!("cancelled")), (StepField::Attempts, json!(0))];
                Record { status: "cancelled", needed: true, fields: HashMap::from(fields), ..Record::default() }
            });
        }
    }

    fn is_settled(&self, step: StepIndex) -> bool {
        match &self.records[step.get()] {
            None => false,
            Some(record) if record.status == "failed" => {
                self.workflow.step(step).fallback.is_none_or(|fallback| self.records[fallback.get()].is_some())
            }
            Some(_) => true,
        }
    }

    fn is_ready(&self, step: StepIndex) -> bool {
        let declared = self.workflow.step(step);
        let served = declared.serves.is_none_or(|served| self.records[served.get()].is_some());
        let mut waits = declared.dependencies.iter().chain(&declared.soft);
        self.records[step.get()].is_none() && served && waits.all(|other| self.is_settled(*other))
    }

    fn is_fatal(&self, step: StepIndex) -> bool {
        let declared = self.workflow.step(step);
        let Some(record) = &self.records[step.get()] else { return false };
        record.status == "failed"
            && match declared.fallback {
                Some(fallback) => self.records[fallback.get()].is_some() && !record.recovered,
                None => declared.serves.is_none() && self.workflow.declaration(step).on_error != OnError::Continue,
            }
    }

    fn step(&mut self, step: StepIndex) -> Result<(), TestCaseError> {
        let declared = self.workflow.step(step).clone();
        let satisfied = declared.dependencies.iter().all(|other| {
            let record = self.records[other.get()].as_ref().unwrap();
            record.status == "completed" || record.recovered || !record.needed
        });
        let failed =
            |step: StepIndex| self.records[step.get()].as_ref().is_some_and(|record| record.status == "failed");
        let needed = declared.serves.is_none_or(failed);
        let mut record = Record { status: "skipped", needed: needed || !satisfied, ..Record::default() };
        let runs = satisfied && needed && self.holds(declared.condition.as_ref())?;
        let output = if runs { self.call(step, &declared, &mut record)? } else { None };
        if runs {
            record.status = if output.is_some() { "completed" } else { "failed" };
        }
        record.fields.insert(StepField::Status, json!(record.status));
        record.fields.insert(StepField::Attempts, json!(u8::from(runs)));
        if record.status == "failed" {
            let error = json!({ "code": "INTERNAL", "message": "no", "isRetryable": false, "attempts": 1 });
            record.fields.insert(StepField::Error, error);
        }
        if runs {
            if let Some(key) = &declared.idempotency_key {
                let key = self.resolve(key)?;
                prop_assert!(key.is_string(), "idempotency key of {}: {}\n{:?}", declared.id, key, self);
            }
            self.calls_around(&declared, &record, output.as_ref())?;
        }
        if let Some(output) = output {
            // A served step shows the output of what stands in for it.
            let mut served = declared.serves;
            while let Some(other) = served {
                let shown = self.records[other.get()].as_mut().unwrap();
                shown.recovered = true;
                shown.fields.insert(StepField::Output, output.clone());
                served = self.workflow.step(other).serves;
            }
            record.fields.insert(StepField::Output, output);
        }
        self.records[step.get()] = Some(record);
        Ok(())
    }

    fn holds(&self, condition: Option<&Condition>) -> Result<bool, TestCaseError> {
        let Some(condition) = condition else { return Ok(true) };
        let holds = condition.holds(self);
        prop_assert!(holds.is_ok(), "a condition: {:?}\n{:?}", holds, self);
        Ok(holds.unwrap())
    }

    fn resolve(&self, template: &Template) -> Result<Value, TestCaseError> {
        let value = template.resolve(self, Template::MAX_OUTPUT_SIZE);
        prop_assert!(value.is_ok(), "{:?}\n{:?}", value, self);
        Ok(value.unwrap())
    }

    /// Does what a step does; none is a failure.
    fn call(
        &mut self,
        step: StepIndex,
        declared: &ValidStep,
        record: &mut Record,
    ) -> Result<Option<Value>, TestCaseError> {
        let output = match &declared.kind {
            ValidKind::Agent | ValidKind::Tool => self.agent(step, declared, record)?,
            ValidKind::Workflow(child) => {
                let input = match self.inherited(declared) {
                    Some(given) => given,
                    None => self.input_of(declared)?,
                };
                let input = child.check_input(input);
                prop_assert!(input.is_ok(), "input of {}: {:?}\n{:?}", declared.id, input, self);
                execute(self.agents, self.validators, child, &mut self.choices, input.unwrap())?
            }
            ValidKind::Wait(wait) => {
                self.input_of(declared)?;
                match wait {
                    ValidWait::Signal { .. } => Some(json!({ "reason": "signal", "payload": [1] })),
                    _ => Some(json!({ "reason": "elapsed" })),
                }
            }
            ValidKind::Approval(approval) => {
                let prompt = self.input_of(declared)?;
                prop_assert!(prompt["prompt"].is_string(), "{}: {}\n{:?}", declared.id, prompt, self);
                let schema = approval.schema.as_ref();
                // An answer may be left out where the schema allows that.
                let may_be_null = schema.is_none_or(|schema| schema.validate(&Value::Null).is_ok());
                let schema = schema.map(JsonValidator::schema).filter(|_| !(may_be_null && self.choices.one_in(3)));
                let answer = schema.map(|schema| obey(schema, schema, &mut |count| self.choices.below(count)));
                let by = if self.choices.one_in(2) { json!("ada") } else { json!(null) };
                let output = json!({ "approved": true, "answer": answer, "comment": null, "by": by });
                (!self.choices.one_in(4)).then_some(output)
            }
            ValidKind::Parallel(parallel) => {
                let enough = parallel.needed.map(|_| &*parallel.joined);
                self.scope(parallel.scope, enough)?.then(|| self.by_id(parallel.scope))
            }
            ValidKind::Branch(branch) => {
                let mut taken = branch.default;
                if taken.is_some() {
                    record.fields.insert(StepField::Case, json!("default"));
                }
                for case in &branch.cases {
                    if self.holds(Some(&case.when))? {
                        taken = Some(case.scope);
                        record.fields.insert(StepField::Case, json!(&*case.name));
                        break;
                    }
                }
                match taken {
                    Some(scope) => self.scope(scope, None)?.then(|| self.by_id(scope)),
                    None => None,
                }
            }
            ValidKind::Map(map) => self.map(step, map)?,
            ValidKind::Loop(looped) => self.loop_(step, looped)?,
            _ => panic!("nothing else is drawn"),
        };
        let (Some(output), Some(value)) = (&output, &declared.output_value) else { return Ok(output) };
        if matches!(declared.kind, ValidKind::Map(_) | ValidKind::Loop(_)) {
            self.values.insert(Root::Own(OwnField::Output), output.clone());
        }
        Ok(Some(self.resolve(value)?))
    }

    fn input_of(&self, declared: &ValidStep) -> Result<Value, TestCaseError> {
        let given = declared.input.resolve(self);
        prop_assert!(given.is_ok(), "input of {}: {:?}\n{:?}", declared.id, given, self);
        Ok(given.unwrap())
    }

    /// Gives hooks and the compensation of a step that has ended what they ask for.
    fn calls_around(
        &mut self,
        declared: &ValidStep,
        record: &Record,
        output: Option<&Value>,
    ) -> Result<(), TestCaseError> {
        let completed = output.is_some();
        let hooks = declared.hooks.iter().filter(|hook| match hook.point {
            HookPoint::After => completed,
            HookPoint::OnError => !completed,
            _ => true,
        });
        let hooks = hooks.map(|hook| (&hook.call, hook.input.as_ref(), Some(hook.point)));
        let compensate = declared.compensate.iter().filter(|undo| completed || undo.on == CompensateOn::Attempt);
        let compensate = compensate.map(|undo| (&undo.call, Some(&undo.input), None));
        for (call, input, point) in hooks.chain(compensate) {
            let has_ended = point != Some(HookPoint::Before);
            let error = json!({ "code": "DENIED", "message": "no", "isRetryable": false, "attempts": 1 });
            let own = [
                (OwnField::StepId, Some(json!(declared.id))),
                (OwnField::StepPath, Some(json!(declared.id))),
                (OwnField::Input, record.given.clone()),
                (OwnField::Output, output.filter(|_| has_ended).cloned()),
                (OwnField::Error, Some(error).filter(|_| has_ended && !completed)),
                (OwnField::Point, point.map(|point| json!(point.key()))),
                (OwnField::Status, has_ended.then(|| json!(if completed { "completed" } else { "failed" }))),
            ];
            for (field, value) in own {
                self.values.remove(&Root::Own(field));
                self.values.extend(value.map(|value| (Root::Own(field), value)));
            }
            let given = self.resolve(input.unwrap())?;
            let name = match call {
                Call::Agent(agent) => agent.id.as_str(),
                Call::Tool(tool) => tool.name.as_str(),
            };
            self.fits(name, &given, &declared.id)?;
        }
        Ok(())
    }

    fn fits(&self, callee: &str, given: &Value, step: &StepId) -> Result<(), TestCaseError> {
        let fits = self.validators[Agents::number(callee)].validate(given);
        prop_assert!(fits.is_ok(), "{} gets {given}: {:?}\n{:?}", step, fits, self);
        Ok(())
    }

    fn by_id(&self, scope: ScopeIndex) -> Value {
        let outputs = self.workflow.scope(scope).steps.iter().filter_map(|step| {
            let output = self.records[step.get()].as_ref()?.fields.get(&StepField::Output)?;
            Some((self.workflow.step(*step).id.to_string(), output.clone()))
        });
        Value::Object(outputs.collect())
    }

    /// A fallback without input of its own is given that of the step that it stands in for.
    fn inherited(&self, declared: &ValidStep) -> Option<Value> {
        let served = declared.serves.filter(|_| !declared.input.is_declared())?;
        self.records[served.get()].as_ref()?.given.clone()
    }

    fn agent(
        &mut self,
        step: StepIndex,
        declared: &ValidStep,
        record: &mut Record,
    ) -> Result<Option<Value>, TestCaseError> {
        let given = match self.inherited(declared) {
            Some(given) => given,
            None => self.input_of(declared)?,
        };
        let callee = match &self.workflow.declaration(step).kind {
            StepKind::Agent(agent) => agent.agent.id.as_str(),
            StepKind::Tool(tool) => tool.name.as_str(),
            _ => panic!("it calls something"),
        };
        self.fits(callee, &given, &declared.id)?;
        let schemas = self.agents.get(callee);
        record.given = Some(given);
        let schema = schemas.output.as_ref().unwrap();
        let fails = self.choices.one_in(4);
        Ok((!fails).then(|| obey(schema, schema, &mut |count| self.choices.below(count))))
    }

    fn map(&mut self, step: StepIndex, map: &ValidMap) -> Result<Option<Value>, TestCaseError> {
        let items = self.resolve(&map.items)?;
        prop_assert!(items.is_array(), "items are {}\n{:?}", items, self);
        let mut running = match &map.accumulator {
            Some((init, _)) => Some(self.resolve(init)?),
            None => None,
        };
        let mut outputs = Vec::new();
        for (index, item) in items.as_array().unwrap().iter().enumerate() {
            self.values.insert(Root::Item(step), item.clone());
            self.values.insert(Root::ItemIndex(step), json!(index));
            if let Some(running) = &running {
                self.values.insert(Root::Accumulator(step), running.clone());
            }
            if !self.scope(map.scope, None)? {
                match map.on_item_error {
                    OnItemError::Fail => return Ok(None),
                    OnItemError::Continue => {
                        let error = json!({ "code": "INTERNAL", "message": "", "isRetryable": false, "attempts": 1 });
                        outputs.push(json!({ "error": error }));
                    }
                    OnItemError::Skip => {}
                }
                continue;
            }
            outputs.push(match &map.output {
                Some(output) => self.resolve(output)?,
                None => self.by_id(map.scope),
            });
            if let Some((_, value)) = &map.accumulator {
                running = Some(self.resolve(value)?);
            }
        }
        Ok(Some(running.unwrap_or(Value::Array(outputs))))
    }

    fn loop_(&mut self, step: StepIndex, looped: &ValidLoop) -> Result<Option<Value>, TestCaseError> {
        let mut value = self.resolve(&looped.init)?;
        let (mut iterations, mut reason) = (0, "limit");
        let root = |field| Root::Loop { step, field };
        while iterations < looped.max_iterations {
            self.values.insert(root(LoopField::Value), value.clone());
            self.values.insert(root(LoopField::Index), json!(iterations));
            if let LoopTest::While(condition) = &looped.condition
                && !self.holds(Some(condition))?
            {
                reason = "condition";
                break;
            }
            if !self.scope(looped.scope, None)? {
                return Ok(None);
            }
            iterations += 1;
            value = match &looped.value {
                Some(template) => self.resolve(template)?,
                None => self.by_id(looped.scope),
            };
            self.values.insert(root(LoopField::Value), value.clone());
            if let LoopTest::Until(condition) = &looped.condition
                && self.holds(Some(condition))?
            {
                reason = "condition";
                break;
            }
        }
        Ok(Some(json!({ "value": value, "iterations": iterations, "reason": reason })))
    }
}
