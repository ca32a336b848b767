//! Valid workflows of every shape, made from bytes: the same bytes make the same workflow, fewer bytes a smaller one.
#![allow(dead_code, reason = "each test uses a part of it")]

use orchestr8_schema::{
    source::Options,
    validate::{LoadError, WorkflowLoader},
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A workflow that is shown as JSON when a test fails.
#[derive(Clone)]
pub(crate) struct Document(pub(crate) Value);

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Workflows that are valid under [`options`], warnings aside.
pub(crate) fn any_workflow() -> impl Strategy<Value = Document> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Document(workflow(&bytes)))
}

/// Strict, with one workflow that can be included.
pub(crate) fn options() -> Options<'static> {
    Options::new().strict(true).workflows(&Child)
}

struct Child;

impl WorkflowLoader for Child {
    fn resolve(&self, reference: &str, _: Option<&str>) -> Result<String, LoadError> {
        if reference == "child" { Ok("child.json".into()) } else { Err(LoadError::new("there is only `child`")) }
    }

    fn read(&self, _: &str) -> Result<Vec<u8>, LoadError> {
        let child = json!({
            "version": "1.0.0", "metadata": { "id": "child", "name": "Child" },
            "steps": [{ "id": "only", "agent": { "id": "@acme/agent" } }]
        });
        Ok(child.to_string().into_bytes())
    }
}

/// Makes a workflow.
pub(crate) fn workflow(bytes: &[u8]) -> Value {
    let mut generator = Generator { bytes, at: 0, steps: 0, names: 0, captures: 0 };
    let mut scope = Scope::default();
    let steps = generator.steps(&mut scope, 3);
    let mut workflow = json!({
        "version": "1.2.3",
        "metadata": { "id": "generated", "name": "Generated", "tags": ["a"] },
        "inputs": { "type": "object", "properties": { "a": { "type": "integer", "default": 3 }, "list": { "type": "array" } } },
        "context": { "environment": { "REGION": "eu" }, "variables": { "v": { "deep": [1] }, "text": "t" } },
        "allowedEnvVars": ["HOME"],
        "steps": steps
    });
    if generator.chance(3) {
        let outputs = scope.settled.iter().map(|id| (id.clone(), json!(format!("${{steps.{id}.output ?? null}}"))));
        workflow["outputs"] = Value::Object(outputs.collect());
    }
    if generator.chance(3) {
        workflow["hooks"] = json!({
            "beforeExecution": [generator.hook(&["input", "point"], true)],
            "afterStep": [generator.hook(&["stepPath", "output", "status"], false)]
        });
    }
    if generator.chance(2) {
        workflow["policies"] = json!({
            "timeout": { "global": "25h", "perStep": 5000 },
            "resilience": generator.layers(),
            "concurrency": { "maxConcurrentSteps": 1 + generator.pick(20) },
            "onFailure": if generator.chance(2) { "stop" } else { "continue" },
            "compensation": { "onFailure": true, "timeout": "10s" },
            "budget": { "maxTokens": 1000, "maxCostUsd": 0.5 },
            "cancellation": { "gracePeriod": generator.pick(9000), "propagate": generator.chance(2) }
        });
    }
    workflow
}

/// What expressions may read at one place.
#[derive(Clone, Default)]
struct Scope {
    /// Steps outside that the enclosing composites depend on.
    outer: Vec<String>,
    /// Steps outside that come before the enclosing composites; only with a default.
    outer_before: Vec<String>,
    /// Steps of this scope, in the order of declaration.
    settled: Vec<String>,
    /// Items, indices, and fields of loops and maps.
    roots: Vec<String>,
    /// Variables that steps of this scope have set, and by which step.
    captured: Vec<(String, String)>,
}

struct Generator<'b> {
    bytes: &'b [u8],
    at: usize,
    steps: usize,
    names: usize,
    captures: usize,
}

impl Generator<'_> {
    /// Takes a number below `count`; 0 when there are no bytes left.
    fn pick(&mut self, count: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte) % count
    }

    /// Is true once in `of` times, and never without bytes.
    fn chance(&mut self, of: usize) -> bool {
        self.pick(of) == of - 1
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.pick(of.len())]
    }

    fn any_of(&mut self, values: &[Value]) -> Value {
        values[self.pick(values.len())].clone()
    }

    fn id(&mut self) -> String {
        self.steps += 1;
        let sign = if self.steps.is_multiple_of(3) { "-" } else { "" };
        format!("s{sign}{}", self.steps)
    }

    fn steps(&mut self, scope: &mut Scope, depth: usize) -> Vec<Value> {
        let count = 1 + self.pick(if depth == 3 { 5 } else { 3 });
        let mut steps = Vec::new();
        // The direct dependencies of each step are its transitive ones here, by construction.
        let mut closed: Vec<(String, Vec<String>)> = Vec::new();
        for _ in 0..count {
            let id = self.id();
            let mut dependencies = Vec::new();
            for (other, behind) in &closed {
                if self.chance(3) {
                    for id in behind.iter().chain([other]) {
                        if !dependencies.contains(id) {
                            dependencies.push(id.clone());
                        }
                    }
                }
            }
            let mut reader = scope.clone();
            reader.outer.extend(dependencies.iter().cloned());
            reader.outer_before.extend(scope.settled.iter().cloned());
            reader.captured.retain(|(_, setter)| dependencies.contains(setter));
            reader.settled.clear();
            let mut step = Map::new();
            step.insert("id".into(), json!(id));
            if !dependencies.is_empty() {
                step.insert("dependencies".into(), json!(dependencies));
            }
            let kind = self.kind(&mut step, &reader, depth);
            self.common(&mut step, kind, &reader);
            if kind == "agent" && self.chance(4) {
                self.captures += 1;
                let variable = format!("c{}", self.captures);
                let capture = json!({ "capture": { &variable: "items[0].name" }, "schema": { "type": "object" } });
                step.insert("output".into(), capture);
                scope.captured.push((variable, id.clone()));
            }
            let served = self.chance(6);
            if served {
                step.insert("onError".into(), json!("fallback"));
                let fallback = self.id();
                step.insert("fallbackStepId".into(), json!(fallback));
                steps.push(Value::Object(step));
                let why = format!("${{steps.{id}.error.message ?? 'unknown'}}");
                steps.push(json!({ "id": fallback, "agent": { "id": "@acme/agent" }, "input": { "why": why } }));
            } else {
                if self.chance(5) {
                    step.insert("onError".into(), json!("continue"));
                }
                steps.push(Value::Object(step));
            }
            scope.settled.push(id.clone());
            closed.push((id, dependencies));
        }
        steps
    }

    /// An expression that has the form of one, at least.
    fn expression(&mut self, scope: &Scope) -> String {
        let mut paths: Vec<String> =
            ["inputs.a", "inputs.list[0].name", "variables.v.deep[0]", "variables.text", "env.REGION"]
                .map(str::to_owned)
                .to_vec();
        paths.extend(["env.HOME", "context.executionId", "context.stepId", "metadata.name"].map(str::to_owned));
        paths.extend(scope.roots.iter().cloned());
        paths.extend(scope.outer.iter().map(|id| format!("steps.{id}.output.x")));
        paths.extend(scope.outer.iter().map(|id| format!("steps.{id}.status")));
        paths.extend(scope.captured.iter().map(|(variable, _)| format!("variables.{variable}")));
        let at = self.pick(paths.len());
        let mut operands = vec![paths[at].clone()];
        if self.chance(3) {
            operands.extend(scope.outer_before.iter().take(2).map(|id| format!("steps.{id}.output['a b']")));
            operands
                .push(self.one(&["null", "'text'", "1.5", "bare words", "[1, {\"a\": \"}\"}]", "\"q\""]).to_owned());
        }
        let operator = self.one(&[" ?? ", " || "]);
        format!("${{{}}}", operands.join(operator))
    }

    fn template(&mut self, scope: &Scope) -> Value {
        match self.pick(6) {
            0 => json!(self.expression(scope)),
            1 => json!(format!("{} and $${{that}} {}", self.expression(scope), self.expression(scope))),
            2 => json!({ "deep": [self.expression(scope), null, true], "schema": "public" }),
            3 => json!(["fixed", 1]),
            4 => json!("multi\nline: \"text\" # ü €"),
            _ => json!(1e3),
        }
    }

    fn predicate(&mut self, scope: &Scope) -> String {
        let mut tests: Vec<String> =
            ["inputs.a > `1`", "length(inputs.list) == `0` || env.REGION == 'eu'", "contains(variables.text, 't')"]
                .map(str::to_owned)
                .to_vec();
        tests.extend(scope.outer_before.iter().map(|id| format!("steps.{id}.status == 'completed'")));
        tests.extend(scope.roots.iter().map(|root| format!("{root} != `null`")));
        tests.push(self.expression(scope));
        let at = self.pick(tests.len());
        tests[at].clone()
    }

    fn call(&mut self) -> Value {
        match self.pick(3) {
            0 => json!({ "agent": { "id": "@acme/agent" } }),
            1 => json!({ "tool": { "name": "http.get" } }),
            _ => json!({ "agent": { "id": "@acme/other", "version": "^1.2.0", "config": { "k": [1] } } }),
        }
    }

    fn hook(&mut self, fields: &[&str], guard: bool) -> Value {
        let mut hook = self.call();
        if self.chance(2) {
            hook["input"] = json!({ "what": format!("${{self.{}}}", self.one(fields)) });
        }
        if guard && self.chance(2) {
            hook["mode"] = json!("guard");
        }
        if self.chance(2) {
            hook["timeout"] = json!("2s");
        }
        hook
    }

    fn layers(&mut self) -> Value {
        json!({
            "retry": { "maxAttempts": 1 + self.pick(10), "baseDelayMs": 100 + self.pick(200), "jitter": self.chance(2) },
            "circuitBreaker": { "failureThreshold": 1 + self.pick(9), "resetTimeoutMs": "30s" },
            "bulkhead": { "maxConcurrent": 1 + self.pick(9) },
            "rateLimit": { "requestsPerMinute": 1 + self.pick(9) }
        })
    }

    /// What every kind may have.
    fn common(&mut self, step: &mut Map<String, Value>, kind: &str, scope: &Scope) {
        if self.chance(4) {
            step.insert("name".into(), json!("A step"));
            step.insert("x-note".into(), json!([null]));
        }
        match self.pick(6) {
            3 => {
                step.insert("condition".into(), json!({ "if": self.predicate(scope) }));
            }
            4 => {
                step.insert("condition".into(), json!({ "unless": self.predicate(scope) }));
            }
            5 => {
                let operator = self.one(&["equals", "not-equals", "contains", "greater-than"]);
                let comparison =
                    json!({ "expression": self.expression(scope), "operator": operator, "value": [1, "a"] });
                step.insert("condition".into(), comparison);
            }
            _ => {}
        }
        if self.chance(5) {
            step.insert(
                "hooks".into(),
                json!({
                    "before": [self.hook(&["input", "stepPath"], true)],
                    "after": [self.hook(&["output.x", "status"], false)],
                    "onError": [self.hook(&["error.code"], false)]
                }),
            );
        }
        let leaf = kind == "agent" || kind == "tool";
        if leaf && self.chance(4) {
            let mut compensate = self.call();
            compensate["input"] = json!({ "id": "${self.output.id}", "was": "${self.input}" });
            compensate["on"] = json!(self.one(&["completed", "attempt"]));
            step.insert("compensate".into(), compensate);
        }
        if leaf && self.chance(4) {
            let mut policies = self.layers();
            policies["timeout"] = json!("3s");
            policies["deadline"] = json!(60000);
            policies["idempotencyKey"] = json!(format!("key {}", self.expression(scope)));
            step.insert("policies".into(), policies);
        }
    }

    /// Adds a kind's own fields, and returns its key.
    fn kind(&mut self, step: &mut Map<String, Value>, scope: &Scope, depth: usize) -> &'static str {
        let kinds = if depth == 0 { 4 } else { 9 };
        let kind =
            ["agent", "tool", "wait", "approval", "parallel", "branch", "map", "loop", "workflow"][self.pick(kinds)];
        let fields = match kind {
            "agent" => {
                if self.chance(2) {
                    step.insert("input".into(), json!({ "value": self.template(scope) }));
                } else if self.chance(3) {
                    step.insert(
                        "input".into(),
                        json!({ "mapping": { "v": self.template(scope) }, "schema": { "type": "object" }, "transform": "{ w: v }" }),
                    );
                }
                json!({ "id": "@acme/agent", "version": self.one(&["1.0.0", "^1.0.0", "~1.2.0"]) })
            }
            "tool" => {
                json!({ "name": self.one(&["http.get", "server:do_it"]), "arguments": { "v": self.template(scope) } })
            }
            "wait" => match self.pick(5) {
                0 => json!({ "duration": self.pick(200) }),
                1 => json!({ "until": "2030-01-01T00:00:00.000Z" }),
                2 => json!({ "signal": "go.now", "timeout": "24h" }),
                3 => json!({ "duration": self.expression(scope) }),
                _ => json!({ "until": self.expression(scope) }),
            },
            "approval" => json!({
                "prompt": format!("Go on with {}?", self.expression(scope)),
                "schema": { "type": "object", "properties": { "note": { "type": "string" } } },
                "timeout": 60_000,
                "onTimeout": self.any_of(&[json!("reject"), json!({ "answer": { "note": "none" } })])
            }),
            "workflow" => json!({ "ref": "child", "input": { "v": self.template(scope) } }),
            composite => {
                let mut inner = Scope { outer: scope.outer.clone(), ..scope.clone() };
                inner.captured.clear();
                inner.settled.clear();
                self.composite(composite, step, scope, inner, depth)
            }
        };
        step.insert(kind.into(), fields);
        kind
    }

    fn composite(
        &mut self,
        kind: &str,
        step: &mut Map<String, Value>,
        scope: &Scope,
        mut inner: Scope,
        depth: usize,
    ) -> Value {
        let below = depth - 1;
        self.names += 1;
        let number = self.names;
        // What is evaluated behind the body reads its steps.
        let after = |inner: &Scope| Scope { outer: [&*inner.outer, &*inner.settled].concat(), ..inner.clone() };
        match kind {
            "parallel" => {
                let steps = self.steps(&mut inner, below);
                if self.chance(3) {
                    step.insert("output".into(), json!({ "value": { "all": self.template(&after(&inner)) } }));
                }
                json!({ "join": self.any_of(&[json!("all"), json!("any"), json!({ "atLeast": 1 })]), "steps": steps })
            }
            "branch" => {
                let cases: Vec<Value> = (0..1 + self.pick(2))
                    .map(|case| {
                        let mut inner = inner.clone();
                        let when = format!("inputs.a != `{case}` && ({})", "inputs.list || `true`");
                        json!({ "name": format!("case {case}"), "when": when, "steps": self.steps(&mut inner, below) })
                    })
                    .collect();
                let default = if self.chance(2) { Vec::new() } else { self.steps(&mut inner, below) };
                json!({ "cases": cases, "default": { "steps": default } })
            }
            "map" => {
                let (item, index) = (format!("item{number}"), format!("index{number}"));
                inner.roots.extend([format!("{item}.path"), index.clone()]);
                let concurrency = 1 + self.pick(3);
                let accumulates = self.chance(2);
                if accumulates {
                    // That of a map around this one is hidden.
                    inner.roots.retain(|root| root != "accumulator");
                    inner.roots.extend((concurrency == 1).then(|| "accumulator".into()));
                }
                let before = Scope { roots: inner.roots.clone(), ..scope.clone() };
                let items = match self.pick(2) {
                    0 => json!("${inputs.list}"),
                    _ => json!([{ "path": self.expression(scope) }, { "path": "b" }]),
                };
                let steps = self.steps(&mut inner, below);
                let after = after(&inner);
                let mut map = json!({
                    "items": items, "as": item, "indexAs": index, "key": format!("${{{item}.path ?? '-'}}"),
                    "concurrency": concurrency, "steps": steps, "output": self.template(&after),
                    "onItemError": self.one(&["continue", "skip"]), "maxItems": 100
                });
                if accumulates {
                    let value = json!({ "sum": "${accumulator}", "with": self.template(&after) });
                    map["accumulator"] = json!({ "init": self.template(scope), "value": value });
                }
                if self.chance(2) {
                    map["key"] = json!(self.expression(&before));
                }
                if self.chance(3) {
                    step.insert("output".into(), json!("${self.output[0]}"));
                }
                map
            }
            _ => {
                inner.roots.retain(|root| !root.starts_with("loop."));
                inner.roots.extend(["loop.value.score".into(), "loop.index".into()]);
                let steps = self.steps(&mut inner, below);
                let after = after(&inner);
                let mut looped = json!({
                    "maxIterations": 1 + self.pick(100), "steps": steps, "init": { "text": self.template(scope) },
                    "value": self.template(&after), "delay": "1s", "onLimit": "accept"
                });
                let key = self.one(&["while", "until"]);
                looped[key] = json!("loop.value.score >= `0.9` || loop.index == `3`");
                looped
            }
        }
    }
}

/// Writes a document as YAML in block style, and says on which line each value begins, from 1.
pub(crate) fn to_yaml(document: &Value) -> (String, std::collections::HashMap<String, u32>) {
    let mut yaml = Yaml { text: String::new(), lines: std::collections::HashMap::new(), line: 1 };
    yaml.value(document, 0, "");
    (yaml.text, yaml.lines)
}

struct Yaml {
    text: String,
    lines: std::collections::HashMap<String, u32>,
    line: u32,
}

impl Yaml {
    fn put(&mut self, text: &str) {
        self.line += text.matches('\n').count() as u32;
        self.text.push_str(text);
    }

    /// Writes what stands behind `- ` or below a key.
    fn value(&mut self, value: &Value, indent: usize, pointer: &str) {
        self.lines.insert(pointer.to_owned(), self.line);
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (position, (key, value)) in map.iter().enumerate() {
                    if position > 0 {
                        self.put(&" ".repeat(indent));
                    }
                    let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                    let simple = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                    let key = if simple { key.clone() } else { json!(key).to_string() };
                    self.lines.insert(pointer.clone(), self.line);
                    self.put(&format!("{key}:"));
                    self.below(value, indent + 2, &pointer);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        self.put(&" ".repeat(indent));
                    }
                    self.put("- ");
                    self.value(item, indent + 2, &format!("{pointer}/{position}"));
                }
            }
            // JSON's scalars and empty collections are YAML's.
            other => self.put(&format!("{other}\n")),
        }
    }

    fn below(&mut self, value: &Value, indent: usize, pointer: &str) {
        let line = self.line;
        let is_block = value.as_object().is_some_and(|map| !map.is_empty())
            || value.as_array().is_some_and(|items| !items.is_empty());
        if is_block {
            self.put(&format!("\n{}", " ".repeat(indent)));
        } else {
            self.put(" ");
        }
        self.value(value, indent, pointer);
        // What is a block is pointed at by its key.
        self.lines.insert(pointer.to_owned(), line);
    }
}
