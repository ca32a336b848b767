//! What the verifier accepts, with nothing left unproven, never fails because of a missing value or a wrong type.
//!
//! Schemas, agents that obey them and workflows whose expressions are drawn at random; what is accepted is run here many times,
//! by the rules of scheduling, with agents that answer anything their schema allows, and fail now and then.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

mod common;

use std::{borrow::Cow, collections::HashMap};

use orchestr8_schema::{
    AgentId, StepIndex, ValidStep, ValidWorkflow,
    condition::Condition,
    expression::{LoopField, Root, Scope, StepField, Template},
    json_schema::{JsonValidator, fill_defaults},
    policy::OnError,
    source::{Options, load_value},
    validate::{AgentCatalog, CallSchemas, LoopTest, ScopeIndex, ValidKind, ValidLoop, ValidMap},
    workflow::{OnItemError, StepKind, VersionRange},
};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Map, Value, json};

use common::schemas::{fragment_with_value, obey};

/// Agents `@a/x0`, `@a/x1`, …
#[derive(Clone, Debug)]
struct Agents(Vec<CallSchemas>);

impl Agents {
    fn get(&self, id: &str) -> &CallSchemas {
        &self.0[id["@a/x".len()..].parse::<usize>().unwrap()]
    }
}

impl AgentCatalog for Agents {
    fn versions(&self, _: &AgentId) -> Option<Vec<[u64; 3]>> {
        Some(vec![[1, 0, 0]])
    }

    fn ids(&self) -> Vec<AgentId> {
        Vec::new()
    }

    fn schemas(&self, id: &AgentId, _: &VersionRange) -> Option<CallSchemas> {
        Some(self.get(id.as_str()).clone())
    }
}

/// Decisions, read one by one; at the end all are 0.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    bytes: Vec<u8>,
    next: usize,
}

impl Choices {
    pub(crate) fn below(&mut self, count: usize) -> usize {
        let byte = self.bytes.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(byte) % count.max(1)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }
}

fn choices(most: usize) -> impl Strategy<Value = Choices> {
    vec(any::<u8>(), most).prop_map(|bytes| Choices { bytes, next: 0 })
}

/// Writes a path that a schema has, or once in a while does not have.
fn path_into(mut schema: &Value, text: &mut String, choices: &mut Choices) {
    for _ in 0..3 {
        if choices.one_in(3) {
            return;
        }
        if choices.one_in(20) {
            text.push_str([".z", ".a", "[0]"][choices.below(3)]);
            return;
        }
        if let Some(Value::Object(properties)) = schema.get("properties")
            && !properties.is_empty()
        {
            let (name, below) = properties.iter().nth(choices.below(properties.len())).unwrap();
            text.push('.');
            text.push_str(name);
            schema = below;
        } else if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
            text.push_str("[0]");
            schema = items;
        } else {
            return;
        }
    }
}

/// A workflow that is being drawn.
struct Draft<'a> {
    agents: &'a Agents,
    inputs: &'a Value,
    choices: Choices,
    /// The steps that are seen here, with the schemas of what they give.
    known: Vec<(String, Value)>,
    /// Further names that are seen here.
    names: Vec<(&'static str, Value)>,
    count: usize,
}

impl Draft<'_> {
    fn path(&mut self) -> String {
        let mut text = String::new();
        if !self.names.is_empty() && self.choices.one_in(2) {
            let (name, schema) = self.names[self.choices.below(self.names.len())].clone();
            text.push_str(name);
            path_into(&schema, &mut text, &mut self.choices);
            return text;
        }
        match self.choices.below(self.known.len() + 2) {
            0 | 1 => {
                text.push_str("inputs");
                path_into(self.inputs, &mut text, &mut self.choices);
            }
            step => {
                let (id, schema) = self.known[step - 2].clone();
                text.push_str(&format!("steps.{id}."));
                if self.choices.one_in(12) {
                    text.push_str(["status", "attempts", "error", "error.code", "case"][self.choices.below(5)]);
                } else {
                    text.push_str("output");
                    path_into(&schema, &mut text, &mut self.choices);
                }
            }
        }
        text
    }

    fn expression(&mut self, wanted: &Value) -> Value {
        let mut text = format!("${{{}", self.path());
        while self.choices.one_in(4) {
            text.push_str(&format!(" ?? {}", self.path()));
        }
        if self.choices.one_in(2) {
            let literal = obey(wanted, wanted, &mut |count| self.choices.below(count));
            text.push_str(&format!(" ?? {literal}"));
        }
        text.push('}');
        Value::String(match self.choices.below(8) {
            0 => format!("about {text}."),
            _ => text,
        })
    }

    /// Writes a value for a schema: expressions, constants, structures.
    fn value(&mut self, wanted: &Value, depth: usize) -> Value {
        match (self.choices.below(4), wanted.get("properties")) {
            (0 | 1, Some(Value::Object(properties))) if depth < 3 => {
                let required = wanted["required"].as_array();
                let mut map = Map::new();
                for (name, below) in properties {
                    let is_required = required.is_some_and(|names| names.iter().any(|known| known == name));
                    if (is_required && !self.choices.one_in(30)) || self.choices.one_in(2) {
                        map.insert(name.clone(), self.value(below, depth + 1));
                    }
                }
                if self.choices.one_in(20) {
                    map.insert("z".to_owned(), json!(1));
                }
                Value::Object(map)
            }
            (0, _) => obey(wanted, wanted, &mut |count| self.choices.below(count)),
            _ => self.expression(wanted),
        }
    }

    fn condition(&mut self) -> Value {
        let path = self.path();
        let text = match self.choices.below(5) {
            0 => path,
            1 => format!("{path} == 'x'"),
            2 => format!("{path} > `1` || !({})", self.path()),
            3 => format!("length({path}) > `1`"),
            _ => format!("{path} && type({path}) == 'string' && contains({path}, 'x')"),
        };
        json!({ "if": text })
    }

    /// Draws a list of steps that see each other; returns the schema of the object of their outputs.
    fn steps(&mut self, count: usize, depth: usize) -> (Vec<Value>, Value) {
        let outside = self.known.len();
        let mut steps: Vec<Value> = Vec::new();
        for _ in 0..count {
            let id = format!("s{}", self.count);
            self.count += 1;
            let mut step = json!({ "id": id });
            let siblings: Vec<_> = self.known[outside..].iter().map(|(id, _)| id.clone()).collect();
            let dependencies: Vec<_> = siblings.into_iter().filter(|_| !self.choices.one_in(3)).collect();
            step["dependencies"] = json!(dependencies);
            let output = match self.choices.below(10) {
                0 if depth > 0 => self.parallel(&mut step, depth),
                1 if depth > 0 => self.branch(&mut step, depth),
                2 | 3 if depth > 0 => self.map(&mut step, depth),
                4 if depth > 0 => self.loop_(&mut step, depth),
                _ => self.agent(&mut step),
            };
            if self.choices.one_in(6) {
                step["condition"] = self.condition();
            }
            match self.choices.below(6) {
                0 => step["onError"] = json!("continue"),
                // The step before stands in for the one before that.
                1 if steps.len() >= 2 => {
                    let fallback = steps[steps.len() - 1]["id"].clone();
                    let place = steps.len() - 2;
                    let served = &mut steps[place];
                    if served.get("onError").is_none() {
                        served["onError"] = json!("fallback");
                        served["fallbackStepId"] = fallback;
                    }
                }
                _ => {}
            }
            steps.push(step);
            self.known.push((id, output));
        }
        let outputs: Map<_, _> = self.known.drain(outside..).collect();
        (steps, json!({ "type": "object", "properties": outputs }))
    }

    fn agent(&mut self, step: &mut Value) -> Value {
        let agent = self.choices.below(self.agents.0.len());
        step["agent"] = json!({ "id": format!("@a/x{agent}") });
        let wanted = self.agents.0[agent].input.clone().unwrap();
        let input = self.value(&wanted, 0);
        step["input"] = if input.is_object() { input } else { json!({}) };
        self.agents.0[agent].output.clone().unwrap()
    }

    fn parallel(&mut self, step: &mut Value, depth: usize) -> Value {
        let count = 1 + self.choices.below(2);
        let (steps, output) = self.steps(count, depth - 1);
        step["parallel"] = json!({ "steps": steps });
        if self.choices.one_in(3) {
            step["parallel"]["join"] = json!("any");
        }
        output
    }

    fn branch(&mut self, step: &mut Value, depth: usize) -> Value {
        let when = self.condition()["if"].clone();
        let (steps, output) = self.steps(1, depth - 1);
        step["branch"] = json!({ "cases": [{ "when": when, "steps": steps }] });
        if self.choices.one_in(2) {
            let (steps, _) = self.steps(1, depth - 1);
            step["branch"]["default"] = json!({ "steps": steps });
        }
        output
    }

    fn map(&mut self, step: &mut Value, depth: usize) -> Value {
        let lists: Vec<(String, Value)> = self.lists();
        let (items, item) = match self.choices.below(lists.len() + 1) {
            0 => (json!(["x", "y"]), json!({ "type": "string" })),
            place => {
                let (path, item) = lists[place - 1].clone();
                (json!(format!("${{{path}}}")), item)
            }
        };
        let names = self.names.clone();
        // An inner map must not hide an outer one's names.
        let (name, index) =
            if names.iter().any(|(name, _)| *name == "item") { ("one", "at") } else { ("item", "index") };
        self.names.push((name, item));
        self.names.push((index, json!({ "type": "integer" })));
        let (steps, outputs) = self.steps(1, depth - 1);
        let inner = steps[0]["id"].as_str().unwrap().to_owned();
        step["map"] = json!({ "items": items, "as": name, "indexAs": index, "steps": steps });
        self.known.push((inner, outputs["properties"].as_object().unwrap().values().next().unwrap().clone()));
        let mut output = json!({ "type": "array", "items": outputs });
        if self.choices.one_in(2) {
            let wanted = json!({ "type": "string" });
            step["map"]["output"] = json!({ "o": self.expression(&wanted) });
            output = json!({ "type": "array" });
        }
        if self.choices.one_in(4) {
            self.names.push(("accumulator", json!({ "type": "array" })));
            let wanted = json!({ "type": "array", "items": { "type": "integer" } });
            step["map"]["accumulator"] = json!({ "init": self.value(&wanted, 0), "value": self.value(&wanted, 0) });
            output = wanted;
        }
        step["map"]["onItemError"] = json!(["fail", "continue", "skip"][self.choices.below(3)]);
        self.known.pop();
        self.names = names;
        output
    }

    /// Returns the paths to arrays that are always there, as far as that is seen at a glance.
    fn lists(&self) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        let roots = std::iter::once(("inputs".to_owned(), self.inputs));
        let steps = self.known.iter().map(|(id, schema)| (format!("steps.{id}.output"), schema));
        for (path, schema) in roots.chain(steps) {
            let mut look = |path: String, schema: &Value| {
                if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
                    found.push((path, items.clone()));
                }
            };
            look(path.clone(), schema);
            for (name, below) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                look(format!("{path}.{name}"), below);
            }
        }
        found
    }

    fn loop_(&mut self, step: &mut Value, depth: usize) -> Value {
        let wanted = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
        let init = json!({ "a": self.value(&json!({ "type": "string" }), 1) });
        let names = self.names.clone();
        self.names.retain(|(name, _)| *name != "loop");
        let shown = json!({ "type": "object", "properties": { "index": { "type": "integer" }, "value": wanted } });
        self.names.push(("loop", shown));
        let (steps, outputs) = self.steps(1, depth - 1);
        let inner = outputs["properties"].as_object().unwrap().iter().next().unwrap();
        let (inner, schema) = (inner.0.clone(), inner.1.clone());
        let kind = if self.choices.one_in(2) { "while" } else { "until" };
        let mut looped = json!({ "maxIterations": 3, "init": init, "steps": steps, "onLimit": "accept" });
        if kind == "while" {
            looped[kind] = self.condition()["if"].clone();
        }
        self.known.push((inner, schema));
        if kind == "until" {
            looped[kind] = self.condition()["if"].clone();
        }
        looped["value"] = json!({ "a": self.value(&json!({ "type": "string" }), 1) });
        self.known.pop();
        self.names = names;
        step["loop"] = looped;
        json!({ "type": "object", "properties": { "value": wanted, "iterations": { "type": "integer" } } })
    }

    fn workflow(mut self, count: usize) -> Value {
        let (steps, outputs) = self.steps(count, 2);
        let mut document = json!({
            "version": "1.0.0",
            "metadata": { "id": "w", "name": "W" },
            "inputs": self.inputs,
        });
        if self.choices.one_in(3) {
            self.known = outputs["properties"].as_object().unwrap().clone().into_iter().collect();
            let wanted = json!({ "type": "string" });
            document["outputs"] = json!({ "o": self.expression(&wanted) });
        }
        document["steps"] = Value::Array(steps);
        document
    }
}

/// An object schema with up to three properties, and what else the fragment has.
fn object_schema() -> impl Strategy<Value = Value> {
    let field = (fragment_with_value(), any::<bool>(), 0..8_u8);
    (vec(field, 1..4), 0..3_u8).prop_map(|(fields, rest)| {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (place, (((schema, value), is_required, default), name)) in
            fields.into_iter().zip(["a", "b", "c"]).enumerate()
        {
            let mut schema = without_definitions(schema);
            if default == 0 && place < 2 && schema.is_object() {
                schema["default"] = value;
            }
            properties.insert(name.to_owned(), schema);
            if is_required || place == 0 {
                required.push(name);
            }
        }
        let mut schema = json!({ "type": "object", "properties": properties, "required": required });
        if rest > 0 {
            schema["additionalProperties"] = json!(false);
        }
        schema
    })
}

/// Lets the last property be anything, so that more of what is drawn fits.
fn with_room(mut schema: Value) -> Value {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return schema };
    if properties.len() > 1
        && let Some(last) = properties.values_mut().last()
    {
        *last = json!(true);
    }
    schema
}

/// Definitions at the root of a part would be elsewhere in the whole.
fn without_definitions(schema: Value) -> Value {
    if schema.get("$defs").is_some() { json!({ "type": "array", "items": { "type": "string" } }) } else { schema }
}

#[derive(Clone, Debug)]
struct Case {
    agents: Agents,
    inputs: Value,
    document: Value,
    runs: Vec<Choices>,
}

fn case() -> impl Strategy<Value = Case> {
    let agent = (
        object_schema().prop_map(with_room),
        prop_oneof![object_schema(), fragment_with_value().prop_map(|(schema, _)| schema)],
    )
        .prop_map(|(input, output)| CallSchemas { input: Some(input), output: Some(output), config: None });
    (vec(agent, 1..4), object_schema(), choices(400), 1..6_usize, vec(choices(300), 4)).prop_map(
        |(agents, inputs, choices, count, runs)| {
            let agents = Agents(agents);
            let draft =
                Draft { agents: &agents, inputs: &inputs, choices, known: Vec::new(), names: Vec::new(), count: 0 };
            let document = draft.workflow(count);
            Case { agents, inputs, document, runs }
        },
    )
}

/// Runs a workflow by the rules of scheduling, and checks all that is read and given.
fn run(case: &Case, workflow: &ValidWorkflow, mut choices: Choices) -> Result<(), TestCaseError> {
    let mut input = obey(&case.inputs, &case.inputs, &mut |count| choices.below(count));
    fill_defaults(&case.inputs, &mut input);
    if JsonValidator::compile(&case.inputs).unwrap().validate(&input).is_err() {
        return Ok(());
    }
    let count = workflow.steps().len();
    let mut run = Run { case, workflow, choices, input, records: vec![None; count], values: HashMap::new() };
    if run.scope(ScopeIndex::ROOT, None)? {
        let outputs = workflow.resolve_outputs(&run);
        prop_assert!(outputs.is_ok(), "outputs: {outputs:?}\n{run:#?}");
    }
    Ok(())
}

/// What is known of an execution.
struct Run<'a> {
    case: &'a Case,
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
                Some(joined) if joined.iter().any(completed) => return Ok(true),
                Some(_) => {}
                None if steps.iter().any(|step| self.is_fatal(*step)) => return Ok(false),
                None => {}
            }
        }
        Ok(enough.is_none())
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
            record.fields.insert(StepField::Error, json!({ "code": "INTERNAL" }));
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
            ValidKind::Agent => self.agent(step, declared, record)?,
            ValidKind::Parallel(parallel) => {
                let enough = parallel.needed.map(|_| &*parallel.joined);
                self.scope(parallel.scope, enough)?.then(|| self.by_id(parallel.scope))
            }
            ValidKind::Branch(branch) => {
                let mut taken = branch.default;
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
        Ok(output)
    }

    fn by_id(&self, scope: ScopeIndex) -> Value {
        let outputs = self.workflow.scope(scope).steps.iter().filter_map(|step| {
            let output = self.records[step.get()].as_ref()?.fields.get(&StepField::Output)?;
            Some((self.workflow.step(*step).id.to_string(), output.clone()))
        });
        Value::Object(outputs.collect())
    }

    fn agent(
        &mut self,
        step: StepIndex,
        declared: &ValidStep,
        record: &mut Record,
    ) -> Result<Option<Value>, TestCaseError> {
        let inherited = declared.serves.filter(|_| !declared.input.is_declared());
        let inherited = inherited.and_then(|served| self.records[served.get()].as_ref()?.given.clone());
        let given = match inherited {
            Some(given) => given,
            None => {
                let given = declared.input.resolve(self);
                prop_assert!(given.is_ok(), "input of {}: {:?}\n{:?}", declared.id, given, self);
                given.unwrap()
            }
        };
        let StepKind::Agent(agent) = &self.workflow.declaration(step).kind else { panic!("it is an agent") };
        let schemas = self.case.agents.get(agent.agent.id.as_str());
        let fits = JsonValidator::compile(schemas.input.as_ref().unwrap()).unwrap().validate(&given);
        prop_assert!(fits.is_ok(), "{} gets {given}: {:?}\n{:?}", declared.id, fits, self);
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
                    OnItemError::Continue => outputs.push(json!({ "error": { "code": "INTERNAL" } })),
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

/// Verifies a workflow, and puts constants in the place of all that is complained about, until nothing is; so what is left of
/// its expressions is what the verifier says is right.
fn mended(case: &Case) -> Option<ValidWorkflow> {
    let mut document = case.document.clone();
    for _ in 0..12 {
        let places: Vec<String> = match load_value(&document, &Options::new().agents(&case.agents)) {
            Ok(valid) if valid.unproven().unwrap().is_empty() => return Some(valid),
            Ok(valid) => valid.unproven().unwrap().iter().map(|unproven| unproven.path.clone()).collect(),
            Err(invalid) => {
                invalid.diagnostics().iter().filter(|found| found.is_error()).map(|found| found.path.clone()).collect()
            }
        };
        for place in places {
            if place.starts_with("/outputs") {
                document.as_object_mut().unwrap().remove("outputs");
                continue;
            }
            // The innermost step around the place, and the part of it that is meant.
            let parts: Vec<&str> = place.split('/').skip(1).collect();
            let last = (0..parts.len() - 1)
                .rev()
                .find(|at| parts[*at] == "steps" && parts[at + 1].parse::<usize>().is_ok())?;
            let step = document.pointer_mut(&format!("/{}", parts[..last + 2].join("/"))).unwrap();
            let part = &parts[last + 2..];
            match *part {
                ["condition", ..] => drop(step.as_object_mut().unwrap().remove("condition")),
                ["input" | "agent", ref name @ ..] => {
                    let agent = step["agent"]["id"].as_str().unwrap();
                    let schema = case.agents.get(agent).input.clone().unwrap();
                    let constant = obey(&schema, &schema, &mut |_| 0);
                    let name = name.first().filter(|name| constant.get(**name).is_some());
                    match name {
                        Some(name) if step["input"].is_object() => step["input"][*name] = constant[*name].clone(),
                        _ => step["input"] = constant,
                    }
                }
                ["map", "items"] => step["map"]["items"] = json!(["x"]),
                ["map", part @ ("output" | "accumulator"), ..] => {
                    drop(step["map"].as_object_mut().unwrap().remove(part));
                }
                ["loop", part @ ("init" | "value"), ..] => step["loop"][part] = json!({ "a": "x" }),
                ["loop", part @ ("while" | "until")] => step["loop"][part] = json!("loop.index > `1`"),
                ["branch", "cases", "0", "when"] => step["branch"]["cases"][0]["when"] = json!("inputs"),
                _ => return None,
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 250, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_never_fails_for_a_reason_that_could_be_seen(case in case()) {
        if let Some(workflow) = mended(&case) {
            for choices in &case.runs {
                run(&case, &workflow, choices.clone())?;
            }
        }
    }
}

/// The property says something: most of what is drawn is run, and much is left in it.
#[test]
fn much_of_what_is_drawn_is_accepted() {
    let mut runner = TestRunner::deterministic();
    let kept =
        ["steps.s", "\"if\"", "\"map\"", "\"loop\"", "\"branch\"", "\"parallel\"", "item", "loop.value", "fallback"];
    let (mut accepted, mut found) = (0, kept.map(|_| 0));
    for _ in 0..150 {
        let case = case().new_tree(&mut runner).unwrap().current();
        if let Some(valid) = mended(&case) {
            let text = serde_json::to_string(&valid).unwrap();
            accepted += 1;
            for (found, kept) in found.iter_mut().zip(kept) {
                *found += usize::from(text.contains(kept));
            }
        }
    }
    assert!(accepted > 75 && found.iter().all(|found| *found > 5), "{accepted} accepted: {kept:?} {found:?}");
}
