//! Files with one mistake each: the smallest document for each code, and the place that is named.
//!
//! `‸` stands before the place; it is no part of the document.

use orchestr8_schema::{
    AgentId, Code,
    id::ToolName,
    source::Options,
    validate::{AgentCatalog, CallSchemas, LoadError, Obstacle, WorkflowLoader},
    workflow::VersionRange,
};
use serde_json::{Map, Value, json};

/// A registry with two agents and a tool.
struct Catalog;

impl AgentCatalog for Catalog {
    fn versions(&self, id: &AgentId) -> Option<Vec<[u64; 3]>> {
        self.ids().contains(id).then(|| vec![[1, 4, 0]])
    }

    fn ids(&self) -> Vec<AgentId> {
        ["@acme/agent", "@acme/charge", "@acme/score"].map(|id| id.parse().expect("well formed")).to_vec()
    }

    fn is_irreversible(&self, id: &AgentId, _: &VersionRange) -> bool {
        id.as_str() == "@acme/charge"
    }

    fn tools(&self) -> Option<Vec<ToolName>> {
        Some(vec!["http.get".parse().expect("well formed")])
    }

    fn schemas(&self, id: &AgentId, _: &VersionRange) -> Option<CallSchemas> {
        let mut schemas = CallSchemas::default();
        if id.as_str() == "@acme/score" {
            schemas.input = Some(json!({
                "type": "object",
                "properties": { "file": { "type": "string" }, "weight": { "type": "number" } },
                "required": ["file"]
            }));
            schemas.output = Some(json!({
                "type": "object",
                "properties": { "value": { "type": "number" }, "note": { "type": "string" } },
                "required": ["value"],
                "additionalProperties": false
            }));
        }
        Some(schemas)
    }

    fn obstacle(&self, _: &AgentId, _: &VersionRange, config: Option<&Map<String, Value>>) -> Option<Obstacle> {
        let model = config?.get("model")?;
        Some(Obstacle { message: format!("nobody has model {model}"), help: Some("choose another".to_owned()) })
    }

    fn tool_schemas(&self, _: &ToolName) -> Option<CallSchemas> {
        let input = json!({ "type": "object", "properties": { "url": { "type": "string" } } });
        let output =
            json!({ "type": "object", "properties": { "status": { "type": "integer" } }, "required": ["status"] });
        let mut schemas = CallSchemas::default();
        (schemas.input, schemas.output) = (Some(input), Some(output));
        Some(schemas)
    }
}

/// A folder with a good workflow, a bad one, one that includes the document itself, and a chain that is too long.
struct Folder;

impl WorkflowLoader for Folder {
    fn resolve(&self, reference: &str, _: Option<&str>) -> Result<String, LoadError> {
        let name = reference.strip_prefix("./").ok_or_else(|| LoadError::new("no workflow has that id"))?;
        let known =
            ["child.yaml", "bad.yaml", "round.yaml", "workflow.yaml"].contains(&name) || name.starts_with("level-");
        if known { Ok(name.to_owned()) } else { Err(LoadError::new("there is no such file")) }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        let nested = |reference: &str| format!("{HEAD}steps:\n  - {{ id: a, workflow: {{ ref: {reference} }} }}\n");
        let text = match name {
            "bad.yaml" => format!("{HEAD}steps:\n  - id: a\n"),
            "round.yaml" => nested("./workflow.yaml"),
            name => match name.strip_prefix("level-").and_then(|level| level.parse::<u32>().ok()) {
                Some(level) => nested(&format!("./level-{}", level + 1)),
                None => steps(&[step("a", &[])]),
            },
        };
        Ok(text.into_bytes())
    }
}

/// Everything is looked up, and unknown keys are errors.
pub(crate) fn options() -> Options<'static> {
    Options::new().strict(true).agents(&Catalog).workflows(&Folder)
}

const HEAD: &str = "version: 1.0.0\nmetadata: { id: w, name: W }\n";

/// A step with further lines.
fn step(id: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!("  - id: {id}\n    agent: {{ id: \"@acme/agent\" }}\n{lines}")
}

fn steps(steps: &[String]) -> String {
    format!("{HEAD}steps:\n{}", steps.concat())
}

pub(crate) fn one(lines: &[&str]) -> String {
    steps(&[step("a", lines)])
}

fn root(lines: &str) -> String {
    format!("{HEAD}{lines}\nsteps:\n{}", step("a", &[]))
}

const INNER: &str = "{ id: inner, tool: { name: http.get } }";

/// A step `a` of some kind; `INNER` and `OTHER` are steps in it.
fn kind(lines: &str) -> String {
    let lines = lines.replace("INNER", INNER).replace("OTHER", &INNER.replace("inner", "other"));
    format!("{HEAD}steps:\n  - id: a\n    {lines}\n")
}

/// Documents in which `‸` stands before the place that the diagnostic names.
pub(crate) fn table() -> Vec<(Code, String)> {
    let mut table = Vec::new();
    let mut add = |code, text: String| table.push((code, text));
    add(Code::Syntax, "{\"version\": \"1.0.0\" ‸\"metadata\": {}}".into());
    add(Code::Syntax, "a: ‸[1, 2".into());
    add(Code::Syntax, "a: 1\n‸---\nb: 2".into());
    add(Code::Syntax, "a: ‸.nan".into());
    add(Code::DuplicateKey, root("version: 1.0.0").replacen("\nversion", "\n‸version", 1));
    add(Code::DuplicateKey, "{\"version\":\"1.0.0\",\"metadata\":{\"id\":\"w\",\"name\":\"W\",‸\"id\":\"w\"},\"steps\":[{\"id\":\"a\",\"agent\":{\"id\":\"@acme/agent\"}}]}".into());
    add(Code::TooDeep, format!("a: {}‸[1{}", "[".repeat(63), "]".repeat(64)));
    add(Code::TooDeep, format!("{{\"a\": {}‸[1{}}}", "[".repeat(63), "]".repeat(64)));
    let bomb = |name: &str, of: &str| format!("{name}: &{name} [{}]\n", vec![of; 32].join(", "));
    add(
        Code::TooManyNodes,
        [bomb("a", "1"), bomb("b", "*a"), bomb("c", "*b"), format!("d: [{}‸*c]", "*c, ".repeat(27))].concat(),
    );
    add(Code::WrongFormat, "<workflow/>".into());
    add(Code::WrongFormat, "---\nid: x\n---\n<process_flow/>".into());
    add(Code::WrongFormat, "[workflow]\nid = \"x\"".into());
    add(Code::NotAnObject, "‸- 1".into());
    add(Code::Missing, "version: 1.0.0\n‸metadata: { id: w }\nsteps:\n".to_owned() + &step("a", &[]));
    add(Code::Missing, one(&["policies: { ‸rateLimit: {} }"]));
    add(Code::WrongType, root("policies: { timeout: ‸5000 }"));
    add(Code::WrongType, root("allowedEnvVars: [‸1]"));
    add(Code::WrongForm, steps(&[step("a", &[]).replace("\"@acme/agent\"", "‸hello")]));
    add(Code::WrongForm, one(&["onError: ‸ignore"]));
    add(Code::WrongForm, one(&["policies: { deadline: ‸1.5s }"]));
    add(Code::WrongForm, root("context: { secretRefs: [‸openai] }"));
    add(Code::UnknownKey, one(&["‸dependancies: []"]));
    add(Code::UnknownKey, root("policies: { ‸retry: {} }"));
    add(Code::StepKind, one(&["‸map: {}"]));
    add(Code::StepKind, format!("{HEAD}steps:\n  - ‸id: a\n"));
    add(Code::StepKind, one(&["hooks: { before: [{ ‸input: 1 }] }"]));
    add(Code::DuplicateStep, steps(&[step("a", &[]), step("‸a", &[])]));
    add(Code::Empty, format!("{HEAD}‸steps: []"));
    add(Code::SchemaVersion, root("schemaVersion: ‸2.0.0"));
    add(Code::SchemaHashForm, root("schemaHash: ‸abc"));
    add(Code::SchemaHash, root(&format!("schemaHash: ‸{}", "0a".repeat(32))));
    add(Code::KeyNotForKind, one(&["output: { ‸value: 1 }"]));
    add(Code::AliasAndName, one(&["dependencies: []", "‸dependsOn: []"]));
    add(Code::AliasAndName, one(&["policies: { retry: {}, resilience: { ‸retry: {} } }"]));
    add(Code::UnknownDependency, steps(&[step("fetch", &[]), step("b", &["dependencies: [‸fech]"])]));
    add(Code::UnknownDependency, one(&["dependsOn: [‸b]"]));
    add(Code::SelfDependency, one(&["dependencies: [‸a]"]));
    add(Code::Cycle, steps(&[step("a", &["dependencies: [‸b]"]), step("b", &["dependencies: [a]"])]));
    add(
        Code::Cycle,
        steps(&[step("‸a", &["input: { x: \"${steps.b.output ?? null}\" }"]), step("b", &["dependencies: [a]"])]),
    );
    let fallback = &["onError: fallback", "fallbackStepId: f"];
    add(
        Code::Cycle,
        steps(&[step("‸a", fallback), step("f", &["dependencies: [d]"]), step("d", &["dependencies: [a]"])]),
    );
    add(Code::DuplicateDependency, steps(&[step("a", &[]), step("b", &["dependencies: [a, ‸a]"])]));
    add(Code::Fallback, one(&["onError: ‸fallback"]));
    add(Code::Fallback, one(&["onError: fallback", "fallbackStepId: ‸a"]));
    add(Code::Fallback, one(&["‸fallbackStepId: b"]));
    let back = &["onError: fallback", "fallbackStepId: a"];
    add(Code::FallbackCycle, steps(&[step("a", &["onError: fallback", "fallbackStepId: ‸f"]), step("f", back)]));
    add(
        Code::SharedFallback,
        steps(&[step("a", fallback), step("b", &["onError: fallback", "fallbackStepId: ‸f"]), step("f", &[])]),
    );
    add(Code::ExpressionSyntax, one(&["input: { x: 'hi ‸${inputs.a' }"]));
    add(Code::ExpressionSyntax, one(&["input: { x: \"${‸'a'}\" }"]));
    add(Code::ExpressionSyntax, one(&["input: { x: '${inputs.a ?? ‸1 ?? inputs.b}' }"]));
    add(Code::ExpressionSyntax, one(&["output: { capture: { x: ‸a..b } }"]));
    add(Code::UnknownStep, one(&["input: { x: '${‸steps.step3.output}' }"]));
    add(
        Code::NotADependency,
        steps(&[step("fetch", &[]), step("report", &["input:", "  message: ‸${steps.fetch.output.body}"])]),
    );
    add(
        Code::NotADependency,
        steps(&[step("a", &["output: { capture: [x] }"]), step("b", &["input: { x: '‸${variables.x}' }"])]),
    );
    add(Code::UnknownName, one(&["input: { x: '${‸step.a}' }"]));
    add(Code::UnknownName, one(&["input: { x: 'a ${‸variables.nme} b' }"]));
    add(Code::UnknownName, one(&["condition: { if: ‸foo.bar }"]));
    add(Code::ForbiddenName, one(&["input: { x: '${‸inputs.__proto__}' }"]));
    add(Code::ExpressionLimit, one(&["input: { x: '${‸inputs.a.b.c.d.e.f.g.h.i.j.k.l}' }"]));
    add(
        Code::ConditionSyntax,
        one(&["condition: { if: '‸length(inputs.x' }"]).replace("‸length(inputs.x", "length(inputs.‸x"),
    );
    add(Code::ConditionSyntax, one(&["condition: { if: 'keys(‸@)' }"]));
    add(Code::ConditionSyntax, one(&["condition: { unless: ‸steps.*.output }"]));
    add(Code::ConditionSyntax, one(&["condition: { if: '!(‸contains(inputs.l))' }"]));
    add(Code::ConditionSyntax, one(&["condition: { if: '‸length(inputs.l, inputs.l)' }"]));
    add(Code::ConditionSyntax, one(&["condition: { if: '‸sort_by(inputs.l, inputs.l)' }"]));
    add(Code::ConditionSyntax, one(&["condition: { if: ‸length(`1`) }"]));
    add(Code::ConditionSyntax, one(&["input: { mapping: { a: 1 }, transform: '{ n: ‸sum() }' }"]));
    add(Code::ConditionSyntax, one(&["condition: { if: ‸'a ${inputs.x}' }"]));
    add(Code::UnknownFunction, one(&["condition: { if: 'inputs.x > `1` && ‸exec(inputs.x)' }"]));
    add(Code::UnknownFunction, one(&["condition: { expression: inputs.x, operator: ‸matches }"]));
    add(Code::SecretInExpression, one(&["input: { x: '${‸secrets.key}' }"]));
    add(Code::VariableNotAllowed, one(&["input: { x: '${‸env.HOME}' }"]));
    add(Code::RootOutOfScope, one(&["input: { x: '${‸loop.index}' }"]));
    add(Code::ConstantCondition, one(&["condition: { if: ‸'`false`' }"]));
    add(
        Code::ConcurrentCaptures,
        steps(&[step("a", &["output: { capture: [x] }"]), step("b", &["output: { ‸capture: [x] }"])]),
    );
    add(Code::BadSchema, one(&["output: { schema: { type: ‸nonsense } }"]));
    add(Code::BadSchema, root("inputs: { $ref: ‸'https://example.org/schema' }"));
    let score = |lines: &str| {
        let step = step("b", &["dependencies: [a]", lines]).replace("@acme/agent", "@acme/score");
        let first = format!("  - id: a\n    tool: {{ name: http.get, arguments: {{ url: x }} }}\n{step}");
        format!("{HEAD}steps:\n{first}")
    };
    add(Code::NoSuchProperty, score("input: { file: x, weight: '${‸steps.a.output.statsu}' }"));
    add(Code::NoSuchProperty, score("input: { file: '${‸steps.a.output.body}' }"));
    add(Code::NoSuchProperty, score("output: { capture: [‸vlue] }\n    input: { file: x }"));
    add(Code::TypeMismatch, score("input: { file: '‸${steps.a.output.status}' }"));
    add(Code::TypeMismatch, score("input: { file: x, weight: ‸'a ${steps.a.status}' }"));
    add(Code::TypeMismatch, kind("map: { items: ‸'${metadata.name}', steps: [INNER] }"));
    add(Code::MissingInput, score("‸input: { weight: 1 }"));
    add(Code::ConstantViolatesSchema, score("input: { file: x, weight: ‸heavy }"));
    add(Code::UnknownAgent, steps(&[step("a", &[]).replace("\"@acme/agent\"", "‸\"@acme/agnet\"")]));
    add(Code::AgentVersion, steps(&[step("a", &[]).replace("\" }", "\", version: ‸^2.0.0 }")]));
    add(Code::ConstantViolatesSchema, root("inputs: { properties: { n: { type: integer, default: ‸x } } }"));
    add(
        Code::ConstantViolatesSchema,
        one(&["input: { mapping: { n: ‸x }, schema: { properties: { n: { type: integer } } } }"]),
    );
    add(Code::Obstacle, steps(&[step("a", &[]).replace("\" }", "\", ‸config: { model: x } }")]));
    add(Code::OutOfRange, one(&["policies: { retry: { maxAttempts: ‸11 } }"]));
    add(Code::OutOfRange, one(&["policies: { resilience: { retry: { baseDelay: ‸50 } } }"]));
    add(Code::OutOfRange, one(&["policies: { retry: { multiplier: ‸3 } }"]));
    add(Code::Contradiction, one(&["policies: { retry: { baseDelayMs: 2s, maxDelayMs: ‸1s } }"]));
    add(Code::ShortTimeout, one(&["policies: { timeout: ‸50 }"]));
    add(Code::CompositionOrder, root("policies: { resilience: { compositionOrder: ‸timeout-first } }"));
    add(Code::Alias, one(&["policies: { retry: { ‸baseDelay: 200 } }"]));
    add(Code::Ignored, root("policies: { resilience: { circuitBreaker: { ‸halfOpenRequests: 2 } } }"));
    add(Code::ExpressionNotEvaluated, root("context: { variables: { x: '‸${inputs.a}' } }").replace("'‸$", "‸'$"));
    add(Code::TooLong, " ".repeat(10_000_001));
    add(Code::ReservedName, kind("branch: { cases: [{ name: ‸default, when: inputs.x, steps: [INNER] }] }"));
    add(Code::ReservedName, kind("map: { items: [], as: ‸steps, steps: [INNER] }"));
    add(
        Code::ReservedName,
        kind("map: { items: [], steps: [{ id: m, ‸map: { items: [], indexAs: j, steps: [INNER] } }] }"),
    );
    add(Code::StepKind, one(&["hooks: { before: [{ ‸input: 1 }] }"]));
    add(Code::Empty, kind("parallel: { ‸steps: [] }"));
    add(Code::Empty, kind("branch: { ‸cases: [] }"));
    add(Code::Missing, kind("loop: { until: inputs.x, steps: [INNER] }").replace("loop", "‸loop"));
    add(Code::WrongForm, kind("loop: { ‸until: inputs.x, while: inputs.x, maxIterations: 3, steps: [INNER] }"));
    add(Code::WrongForm, kind("wait: { duration: 5s, ‸signal: go }"));
    add(Code::WrongForm, kind("wait: { until: ‸tomorrow }"));
    add(Code::WrongType, kind("map: { items: ‸inputs.files, steps: [INNER] }"));
    add(Code::WrongType, one(&["hooks: { ‸before: { agent: { id: \"@acme/agent\" } } }"]));
    add(Code::KeyNotForKind, kind("tool: { name: http.get }\n    ‸input: { url: x }"));
    add(Code::KeyNotForKind, kind("wait: { duration: 5s, ‸timeout: 1s }"));
    add(Code::KeyNotForKind, kind("wait: { signal: go }\n    ‸compensate: { tool: { name: http.get } }"));
    add(Code::OutOfRange, kind("parallel: { join: { atLeast: ‸2 }, steps: [INNER] }"));
    add(Code::OutOfRange, kind("wait: { duration: ‸70000000h }"));
    add(Code::OutOfRange, kind("approval: { prompt: x, timeout: ‸70000000h }"));
    add(
        Code::ConstantViolatesSchema,
        kind("approval: { prompt: x, schema: { type: integer }, timeout: 5s, onTimeout: { answer: ‸no } }"),
    );
    add(Code::Missing, one(&["policies: { ‸bulkhead: { maxQueue: 3 } }"]));
    add(Code::OutOfRange, kind("map: { items: [], concurrency: ‸0, steps: [INNER] }"));
    add(Code::OutOfRange, kind("loop: { until: loop.value, maxIterations: ‸10001, steps: [INNER] }"));
    add(Code::DuplicateStep, kind("parallel: { steps: [{ id: ‸a, wait: { duration: 5s } }] }"));
    add(Code::SubWorkflow, kind("workflow: { ref: ‸./nowhere.yaml }"));
    add(Code::SubWorkflow, kind("workflow: { ref: ‸onboarding }"));
    add(Code::SubWorkflowNesting, kind("workflow: { ref: ‸./workflow.yaml }"));
    add(Code::SubWorkflowNesting, kind("workflow: { ref: ./round.yaml }"));
    add(Code::SubWorkflowNesting, kind("workflow: { ref: ./level-0 }"));
    add(Code::StepKind, kind("workflow: { ref: ./bad.yaml }"));
    add(
        Code::OtherScope,
        steps(&[format!("  - id: g\n    parallel: {{ steps: [{INNER}] }}\n"), step("b", &["dependencies: [‸inner]"])]),
    );
    add(
        Code::OtherScope,
        steps(&[
            step("b", &[]),
            format!("  - id: g\n    parallel: {{ steps: [{}] }}\n", INNER.replace("} }", "}, dependencies: [‸b] }")),
        ]),
    );
    add(Code::Unreachable, steps(&[step("a", &["condition: { if: '`false`' }"]), step("‸b", &["dependencies: [a]"])]));
    add(
        Code::Unreachable,
        kind("branch: { cases: [{ when: '`true`', steps: [INNER] }, { ‸when: inputs.x, steps: [OTHER] }] }"),
    );
    add(
        Code::Unreachable,
        kind("branch: { cases: [{ when: inputs.x, steps: [INNER] }, { when: ‸inputs.x, steps: [OTHER] }] }"),
    );
    add(Code::EndlessLoop, kind("loop: { until: ‸inputs.done, maxIterations: 3, steps: [INNER] }"));
    add(Code::EndlessLoop, kind("loop: { while: ‸'`true`', maxIterations: 3, steps: [INNER] }"));
    add(
        Code::UnknownStep,
        steps(&[
            format!("  - id: g\n    parallel: {{ steps: [{INNER}] }}\n"),
            step("b", &["dependencies: [g]", "input: { x: '${‸steps.inner.output}' }"]),
        ]),
    );
    add(
        Code::NotADependency,
        steps(&[
            step("b", &[]),
            "  - id: m\n    map:\n      items: []\n      steps: [{ id: i, tool: { name: http.get, arguments: { x: ‸\"${steps.b.output}\" } } }]\n"
                .replace("‸\"$", "\"‸$"),
        ]),
    );
    add(Code::ExpressionLimit, one(&[&format!("input: {{ x: \"${{inputs.a ?? ‸'{}'}}\" }}", "x".repeat(1100))]));
    add(
        Code::ConditionSyntax,
        kind("branch: { cases: [{ when: 'inputs.x ==‸', steps: [INNER] }] }").replace("==‸", "=‸="),
    );
    add(Code::RootOutOfScope, one(&["input: { x: '${‸item}' }"]));
    add(Code::RootOutOfScope, kind("loop: { until: ‸item.x, maxIterations: 3, steps: [INNER] }"));
    add(
        Code::RootOutOfScope,
        root("hooks: { beforeStep: [{ tool: { name: http.get }, input: '${‸steps.a.output}' }] }"),
    );
    add(Code::UnknownName, one(&["hooks: { before: [{ tool: { name: http.get }, input: '${‸self.output}' }] }"]));
    add(Code::ConstantCondition, kind("loop: { while: ‸'`false`', maxIterations: 3, steps: [INNER] }"));
    add(
        Code::ConcurrentCaptures,
        kind(
            "parallel: { steps: [{ id: i, tool: { name: http.get }, output: { capture: [x] } }, { id: j, tool: { name: http.get }, output: { ‸capture: [x] } }] }",
        ),
    );
    add(Code::BadSchema, kind("approval: { prompt: ok?, schema: { type: ‸nonsense } }"));
    add(Code::UnknownAgent, kind("tool: { name: ‸http.gte }"));
    add(Code::UnknownAgent, one(&["hooks: { after: [{ agent: { id: ‸\"@acme/agnet\" } }] }"]));
    add(Code::UnknownAgent, one(&["compensate: { tool: { name: ‸undo } }"]));
    add(Code::NoEffect, kind("map: { items: [], steps: [INNER] }\n    policies: { ‸retry: { maxAttempts: 2 } }"));
    add(Code::NoEffect, kind("wait: { signal: go }\n    policies: { ‸timeout: 5s }"));
    add(Code::NoEffect, kind("approval: { prompt: ok?, ‸onTimeout: reject }"));
    add(
        Code::ShortDeadline,
        kind("wait: { duration: ‸2h }").replace("steps:", "policies: { timeout: { global: 5m } }\nsteps:"),
    );
    add(Code::ShortDeadline, kind("approval: { prompt: ok?, timeout: ‸2h }\n    policies: { deadline: 1h }"));
    add(Code::RetryOnNonLeaf, kind("parallel: { steps: [INNER] }\n    onError: ‸retry"));
    add(Code::Guard, one(&["hooks: { after: [{ tool: { name: http.get }, mode: ‸guard }] }"]));
    add(Code::Guard, root("hooks: { afterStep: [{ tool: { name: http.get }, mode: ‸guard }] }"));
    add(
        Code::Irreversible,
        steps(&[step("charge", &[]).replace("agent: { id: \"@acme/agent", "‸agent: { id: \"@acme/charge")]),
    );
    add(
        Code::RacingAccumulator,
        kind(
            "map: { items: [], concurrency: 2, accumulator: { init: 0, value: 1 }, steps: [{ id: i, tool: { name: http.get, arguments: { x: '${‸accumulator}' } } }] }",
        ),
    );
    add(Code::ExpressionNotEvaluated, kind("agent: { id: \"@acme/agent\", config: { model: ‸\"${inputs.m}\" } }"));
    add(
        Code::ExpressionNotEvaluated,
        one(&["condition: { expression: inputs.a, operator: equals, value: ‸\"${inputs.b}\" }"]),
    );
    table
}
