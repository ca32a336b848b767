//! Workflows drawn at random, with expressions that mostly lead somewhere.

use orchestr8_schema::{
    AgentId,
    id::ToolName,
    json_schema::JsonValidator,
    validate::{AgentCatalog, CallSchemas},
    workflow::VersionRange,
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

use crate::common::schemas::obey;

/// Agents `@a/x0`, `@a/x1`, …, which are also there as tools `x0`, `x1`, …
#[derive(Clone, Debug)]
pub(crate) struct Agents(pub(crate) Vec<CallSchemas>);

impl Agents {
    /// Returns what checks the inputs, agent after agent.
    pub(crate) fn validators(&self) -> Vec<JsonValidator> {
        let inputs = self.0.iter().map(|schemas| schemas.input.as_ref().unwrap());
        inputs.map(|input| JsonValidator::compile(input).unwrap()).collect()
    }

    /// Returns the number of an agent or a tool.
    pub(crate) fn number(id: &str) -> usize {
        id.trim_start_matches("@a/")["x".len()..].parse().unwrap()
    }

    /// Returns what an agent or a tool takes and gives.
    pub(crate) fn get(&self, id: &str) -> &CallSchemas {
        &self.0[Self::number(id)]
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

    fn tools(&self) -> Option<Vec<ToolName>> {
        Some((0..self.0.len()).map(|place| format!("x{place}").parse().unwrap()).collect())
    }

    fn tool_schemas(&self, name: &ToolName) -> Option<CallSchemas> {
        Some(self.get(name.as_str()).clone())
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

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }
}

pub(crate) fn choices(most: usize) -> impl Strategy<Value = Choices> {
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

/// A workflow that others may include as `./c0.json`, `./c1.json`, …
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) document: Value,
    pub(crate) inputs: Value,
    /// The schema of what it seems to give.
    pub(crate) outputs: Value,
}

/// A workflow that is being drawn.
pub(crate) struct Draft<'a> {
    agents: Agents,
    inputs: &'a Value,
    children: &'a [Child],
    choices: Choices,
    /// The steps that are seen here, with the schemas of what they give.
    known: Vec<(String, Value)>,
    /// The variables that are captured here, with the schemas of what they hold.
    captured: Vec<(String, Value)>,
    /// Those of the list of steps that was drawn last.
    left_behind: Vec<(String, Value)>,
    /// Further names that are seen here.
    names: Vec<(&'static str, Value)>,
    count: usize,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(agents: Agents, inputs: &'a Value, children: &'a [Child], choices: Choices) -> Self {
        let (known, captured, left_behind, names) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { agents, inputs, children, choices, known, captured, left_behind, names, count: 0 }
    }

    fn path(&mut self) -> String {
        let mut text = String::new();
        if !self.names.is_empty() && self.choices.one_in(2) {
            let (name, schema) = self.names[self.choices.below(self.names.len())].clone();
            text.push_str(name);
            path_into(&schema, &mut text, &mut self.choices);
            return text;
        }
        if !self.captured.is_empty() && self.choices.one_in(2) {
            let (name, schema) = self.captured[self.choices.below(self.captured.len())].clone();
            text.push_str(&format!("variables.{name}"));
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
                    text.push_str(["status", "attempts", "error", "error.code", "case", "case"][self.choices.below(6)]);
                } else {
                    text.push_str("output");
                    path_into(&schema, &mut text, &mut self.choices);
                }
            }
        }
        text
    }

    /// Writes a path to something of the kind that is asked for, if there is one at hand.
    fn path_to(&mut self, wanted: &Value) -> String {
        let wanted = kind_of(wanted);
        let mut fitting = Vec::new();
        let roots = std::iter::once(("inputs".to_owned(), self.inputs));
        let steps = self.known.iter().map(|(id, schema)| (format!("steps.{id}.output"), schema));
        let names = self.names.iter().map(|(name, schema)| ((*name).to_owned(), schema));
        let captured = self.captured.iter().map(|(name, schema)| (format!("variables.{name}"), schema));
        let mut todo: Vec<_> =
            roots.chain(steps).chain(names).chain(captured).map(|(path, schema)| (path, schema, 0)).collect();
        while let Some((path, schema, depth)) = todo.pop() {
            if depth < 3 {
                for (name, below) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    todo.push((format!("{path}.{name}"), below, depth + 1));
                }
            }
            if kind_of(schema) == wanted {
                fitting.push(path);
            }
        }
        if fitting.is_empty() || self.choices.one_in(3) {
            return self.path();
        }
        fitting.swap_remove(self.choices.below(fitting.len()))
    }

    fn expression(&mut self, wanted: &Value) -> Value {
        let mut text = format!("${{{}", self.path_to(wanted));
        for _ in 0..[0, 0, 1, 2, 3][self.choices.below(5)] {
            text.push_str(&format!(" ?? {}", self.path_to(wanted)));
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
        let (outside, uncaptured) = (self.known.len(), self.captured.len());
        let mut steps: Vec<Value> = Vec::new();
        for _ in 0..count {
            let id = format!("s{}", self.count);
            self.count += 1;
            let mut step = json!({ "id": id });
            let siblings: Vec<_> = self.known[outside..].iter().map(|(id, _)| id.clone()).collect();
            let dependencies: Vec<_> = siblings.into_iter().filter(|_| !self.choices.one_in(3)).collect();
            step["dependencies"] = json!(dependencies);
            let output = match self.choices.below(14) {
                0 if depth > 0 => self.parallel(&mut step, depth),
                1 if depth > 0 => self.branch(&mut step, depth),
                2 | 3 if depth > 0 => self.map(&mut step, depth),
                4 if depth > 0 => self.loop_(&mut step, depth),
                5 if !self.children.is_empty() => self.sub_workflow(&mut step),
                6 => self.tool(&mut step),
                7 => self.approval(&mut step),
                8 => self.wait(&mut step),
                _ => self.agent(&mut step),
            };
            if self.choices.one_in(6) {
                step["policies"] = json!({ "idempotencyKey": self.expression(&json!({ "type": "string" })) });
            }
            self.capture(&mut step, &output);
            if self.choices.one_in(6) {
                step["condition"] = self.condition();
            }
            match self.choices.below(6) {
                0 => step["onError"] = json!("continue"),
                1 => {
                    let fallback = format!("s{}", self.count);
                    self.count += 1;
                    step["onError"] = json!("fallback");
                    step["fallbackStepId"] = json!(fallback);
                    let mut stand_in = json!({ "id": fallback, "dependencies": step["dependencies"] });
                    let has_input = !self.choices.one_in(2);
                    match self.choices.below(3) {
                        0 if !self.children.is_empty() => {
                            self.sub_workflow(&mut stand_in);
                            without(&mut stand_in["workflow"], "input", has_input);
                        }
                        1 => {
                            self.tool(&mut stand_in);
                            without(&mut stand_in["tool"], "arguments", has_input);
                        }
                        _ => {
                            self.agent(&mut stand_in);
                            without(&mut stand_in, "input", has_input);
                        }
                    }
                    steps.push(stand_in);
                }
                _ => {}
            }
            steps.push(step);
            self.known.push((id, output));
            if self.choices.one_in(4) {
                steps.push(self.taker());
            }
        }
        self.left_behind = self.captured.split_off(uncaptured);
        let outputs: Map<_, _> = self.known.drain(outside..).collect();
        (steps, json!({ "type": "object", "properties": outputs }))
    }

    /// Draws a step that asks for exactly what the step before it seems to give.
    fn taker(&mut self) -> Value {
        let (given, schema) = self.known[self.known.len() - 1].clone();
        let id = format!("s{}", self.count);
        self.count += 1;
        let agent = self.agents.0.len();
        let input = json!({ "type": "object", "properties": { "a": all_there(&schema) }, "required": ["a"] });
        let output = json!({ "type": "string" });
        self.agents.0.push(CallSchemas { input: Some(input), output: Some(output.clone()), config: None });
        self.known.push((id.clone(), output));
        json!({
            "id": id,
            "agent": { "id": format!("@a/x{agent}") },
            "dependencies": [given],
            "input": { "a": format!("${{steps.{given}.output}}") },
        })
    }

    /// Draws what an agent or a tool is given; returns its number too, and the schemas of what it takes and gives.
    fn call(&mut self) -> (usize, Value, Value, Value) {
        let callee = self.choices.below(self.agents.0.len());
        let CallSchemas { input, output, .. } = self.agents.0[callee].clone();
        let wanted = input.unwrap();
        let given = self.value(&wanted, 0);
        (callee, if given.is_object() { given } else { json!({}) }, wanted, inlined(&output.unwrap()))
    }

    fn agent(&mut self, step: &mut Value) -> Value {
        let (agent, input, wanted, output) = self.call();
        step["agent"] = json!({ "id": format!("@a/x{agent}") });
        step["input"] = if self.choices.one_in(5) { json!({ "mapping": input }) } else { input };
        self.around(step, &wanted, &output);
        output
    }

    fn tool(&mut self, step: &mut Value) -> Value {
        let (tool, arguments, wanted, output) = self.call();
        step["tool"] = json!({ "name": format!("x{tool}"), "arguments": arguments });
        self.around(step, &wanted, &output);
        output
    }

    /// Draws what is called around a step: to undo it, and by its hooks. That sees the step, and nothing else.
    fn around(&mut self, step: &mut Value, input: &Value, output: &Value) {
        let known = std::mem::take(&mut self.known);
        let captured = std::mem::take(&mut self.captured);
        let names = std::mem::take(&mut self.names);
        let shown = |properties: Value| vec![("self", json!({ "type": "object", "properties": properties }))];
        let text = json!({ "type": "string" });
        let error = json!({ "type": "object", "properties": { "code": text, "message": text } });
        if self.choices.one_in(5) {
            let on = ["completed", "attempt"][self.choices.below(2)];
            self.names = shown(json!({ "input": input, "output": output, "status": text, "error": error }));
            let (agent, given, ..) = self.call();
            step["compensate"] = json!({ "agent": { "id": format!("@a/x{agent}") }, "input": given, "on": on });
        }
        for (point, properties) in [
            ("before", json!({ "input": input, "point": text })),
            ("after", json!({ "input": input, "output": output, "point": text, "status": text })),
            ("onError", json!({ "input": input, "error": error, "point": text, "status": text })),
        ] {
            if self.choices.one_in(8) {
                self.names = shown(properties);
                let (tool, given, ..) = self.call();
                step["hooks"][point] = json!([{ "tool": { "name": format!("x{tool}") }, "input": given }]);
            }
        }
        (self.known, self.captured, self.names) = (known, captured, names);
    }

    fn approval(&mut self, step: &mut Value) -> Value {
        let schema = if self.choices.one_in(2) { self.inputs.clone() } else { json!({ "type": "string" }) };
        step["approval"] = json!({ "prompt": self.expression(&json!({ "type": "string" })), "schema": schema });
        json!({
            "type": "object",
            "properties": {
                "approved": { "type": "boolean" }, "answer": schema,
                "comment": { "type": "string" }, "by": { "type": "string" }
            }
        })
    }

    fn wait(&mut self, step: &mut Value) -> Value {
        step["wait"] = if self.choices.one_in(3) { json!({ "signal": "go" }) } else { json!({ "duration": 5 }) };
        json!({ "type": "object", "properties": { "reason": { "type": "string" } } })
    }

    fn sub_workflow(&mut self, step: &mut Value) -> Value {
        let child = self.choices.below(self.children.len());
        let wanted = self.children[child].inputs.clone();
        let input = self.value(&wanted, 0);
        let input = if input.is_object() { input } else { json!({}) };
        step["workflow"] = json!({ "ref": format!("./c{child}.json"), "input": input });
        self.children[child].outputs.clone()
    }

    /// Lets a step set a variable of its own.
    fn capture(&mut self, step: &mut Value, output: &Value) {
        if !self.choices.one_in(3) {
            return;
        }
        let Some(Value::Object(properties)) = output.get("properties") else { return };
        if properties.is_empty() {
            return;
        }
        let (path, schema) = properties.iter().nth(self.choices.below(properties.len())).unwrap();
        let name = format!("v{}", self.count);
        step["output"]["capture"] = json!({ name.clone(): path });
        self.captured.push((name, schema.clone()));
    }

    /// Lets a composite give something else than its kind does.
    fn replaced(&mut self, step: &mut Value, output: Value) -> Value {
        if !self.choices.one_in(4) {
            return output;
        }
        let wanted =
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "integer" } } });
        step["output"]["value"] = self.value(&wanted, 0);
        wanted
    }

    /// The same, for a map or a loop, where nothing is seen but what its kind gives.
    fn replaced_whole(&mut self, step: &mut Value, output: Value) -> Value {
        let known = std::mem::take(&mut self.known);
        let captured = std::mem::take(&mut self.captured);
        let shown = json!({ "type": "object", "properties": { "output": output } });
        let names = std::mem::replace(&mut self.names, vec![("self", shown)]);
        let result = self.replaced(step, output);
        (self.known, self.captured, self.names) = (known, captured, names);
        result
    }

    fn parallel(&mut self, step: &mut Value, depth: usize) -> Value {
        let count = 1 + self.choices.below(2);
        let (steps, output) = self.steps(count, depth - 1);
        step["parallel"] = json!({ "steps": steps });
        match self.choices.below(6) {
            0 => step["parallel"]["join"] = json!("any"),
            1 => step["parallel"]["join"] = json!({ "atLeast": 1 }),
            _ => {}
        }
        let (outside, uncaptured) = (self.known.len(), self.captured.len());
        self.known.extend(output["properties"].as_object().unwrap().clone());
        self.captured.append(&mut self.left_behind);
        let output = self.replaced(step, output);
        self.known.truncate(outside);
        self.captured.truncate(uncaptured);
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
        self.replaced_whole(step, output)
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
        let mut value = wanted;
        if self.choices.one_in(4) {
            value = outputs;
        } else {
            looped["value"] = json!({ "a": self.value(&json!({ "type": "string" }), 1) });
        }
        self.known.pop();
        self.names = names;
        step["loop"] = looped;
        let output = json!({ "type": "object", "properties": { "value": value, "iterations": { "type": "integer" } } });
        self.replaced_whole(step, output)
    }

    /// Draws the whole workflow; returns the agents, of which there are more now, and the schema of what it seems to give.
    pub(crate) fn workflow(mut self, count: usize, depth: usize) -> (Agents, Value, Value) {
        let (steps, mut outputs) = self.steps(count, depth);
        let mut document = json!({
            "version": "1.0.0",
            "metadata": { "id": "w", "name": "W" },
            "inputs": self.inputs,
        });
        if self.choices.one_in(3) {
            self.known = outputs["properties"].as_object().unwrap().clone().into_iter().collect();
            self.captured = std::mem::take(&mut self.left_behind);
            let wanted = json!({ "type": "string" });
            document["outputs"] = json!({ "o": self.expression(&wanted) });
            outputs = json!({ "type": "object", "properties": { "o": wanted } });
        }
        // Whoever does not depend on a step that captures sees what is declared.
        if self.choices.one_in(2) {
            document["context"] = json!({ "variables": { "v1": "x", "v2": 3, "v3": { "a": "x" } } });
        }
        document["steps"] = Value::Array(steps);
        (self.agents, document, outputs)
    }
}

/// Takes a key away, unless it is to stay.
fn without(value: &mut Value, key: &str, stays: bool) {
    if !stays {
        value.as_object_mut().unwrap().remove(key);
    }
}

/// The same schema, without references: it can stand anywhere.
fn inlined(schema: &Value) -> Value {
    fn inline(schema: &Value, root: &Value) -> Value {
        match schema {
            Value::Object(map) => match map.get("$ref").and_then(Value::as_str) {
                Some(target) => inline(root.pointer(target.trim_start_matches('#')).unwrap(), root),
                None => {
                    let entries = map.iter().filter(|(key, _)| *key != "$defs");
                    Value::Object(entries.map(|(key, value)| (key.clone(), inline(value, root))).collect())
                }
            },
            Value::Array(items) => items.iter().map(|item| inline(item, root)).collect(),
            other => other.clone(),
        }
    }
    inline(schema, schema)
}

/// The type that a schema names first.
fn kind_of(schema: &Value) -> Option<&Value> {
    schema.get("type").or_else(|| schema["oneOf"].get(0)?.get("type"))
}

/// The same schema, with all that it declares required: what one takes for granted at a glance.
fn all_there(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut strict: Map<_, _> = map.iter().map(|(key, value)| (key.clone(), all_there(value))).collect();
            if let Some(Value::Object(properties)) = map.get("properties")
                && map.contains_key("type")
                && !map.contains_key("required")
            {
                strict.insert("required".to_owned(), properties.keys().map(|name| json!(name)).collect());
            }
            Value::Object(strict)
        }
        Value::Array(items) => items.iter().map(all_there).collect(),
        other => other.clone(),
    }
}
