//! The stage of types, reached from files: what is reported, where, and what is accepted.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

use orchestr8_schema::{
    AgentId,
    id::ToolName,
    source::{Options, infer, load},
    validate::{AgentCatalog, CallSchemas, LoadError, WorkflowLoader},
    workflow::VersionRange,
};
use serde_json::json;

/// Agents as a shop has them.
struct Shop;

impl AgentCatalog for Shop {
    fn versions(&self, id: &AgentId) -> Option<Vec<[u64; 3]>> {
        self.ids().contains(id).then(|| vec![[1, 0, 0]])
    }

    fn ids(&self) -> Vec<AgentId> {
        ["@acme/find", "@acme/score", "@acme/mail", "@acme/echo"].map(|id| id.parse().unwrap()).to_vec()
    }

    fn schemas(&self, id: &AgentId, _: &VersionRange) -> Option<CallSchemas> {
        let (input, output, config) = match id.as_str() {
            "@acme/find" => (
                json!({
                    "type": "object",
                    "properties": { "query": { "type": "string", "minLength": 1 }, "limit": { "type": "integer", "minimum": 1 } },
                    "required": ["query"],
                    "additionalProperties": false
                }),
                json!({
                    "type": "object",
                    "properties": {
                        "files": { "type": "array", "items": { "$ref": "#/$defs/file" } },
                        "total": { "type": "integer" },
                        "next": { "type": ["string", "null"] },
                        "took": { "type": "number" }
                    },
                    "required": ["files", "total", "next"],
                    "$defs": {
                        "file": {
                            "type": "object",
                            "properties": { "path": { "type": "string" }, "size": { "type": "integer" } },
                            "required": ["path"]
                        }
                    }
                }),
                json!({
                    "type": "object",
                    "properties": { "depth": { "type": "integer" }, "token": { "type": "string" } },
                    "required": ["token"],
                    "additionalProperties": false
                }),
            ),
            "@acme/score" => (
                json!({
                    "type": "object",
                    "properties": { "file": { "type": "string" }, "weight": { "type": "number" } },
                    "required": ["file"]
                }),
                json!({
                    "type": "object",
                    "properties": { "value": { "type": "number" }, "grade": { "enum": ["good", "bad"] } },
                    "required": ["value", "grade"],
                    "additionalProperties": false
                }),
                json!(true),
            ),
            "@acme/mail" => (
                json!({
                    "type": "object",
                    "properties": {
                        "to": { "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] },
                        "text": { "type": "string" },
                        "files": { "type": "array", "items": { "type": "string" }, "minItems": 1 }
                    },
                    "required": ["to", "text"],
                    "additionalProperties": false
                }),
                json!({ "type": "object", "properties": { "id": { "type": "string" } }, "required": ["id"] }),
                json!(true),
            ),
            _ => return None,
        };
        Some(CallSchemas { input: Some(input), output: Some(output), config: Some(config) })
    }

    fn tool_schemas(&self, _: &ToolName) -> Option<CallSchemas> {
        let input = json!({ "type": "object", "properties": { "file": { "type": "string" } }, "required": ["file"] });
        Some(CallSchemas { input: Some(input), output: Some(json!({ "type": "object" })), config: None })
    }
}

/// A workflow that needs a file.
impl WorkflowLoader for Shop {
    fn resolve(&self, reference: &str, _: Option<&str>) -> Result<String, LoadError> {
        Ok(reference.to_owned())
    }

    fn read(&self, _: &str) -> Result<Vec<u8>, LoadError> {
        let text = "{ version: 1.0.0, metadata: { id: c, name: C },
            inputs: { type: object, properties: { file: { type: string } }, required: [file] },
            steps: [{ id: score, agent: { id: '@acme/score' }, input: { file: '${inputs.file}' } }] }";
        Ok(text.into())
    }
}

fn head(steps: &str) -> String {
    format!(
        "version: 1.0.0
metadata: {{ id: w, name: W }}
inputs:
  type: object
  properties:
    query: {{ type: string, minLength: 1 }}
    limit: {{ type: integer, minimum: 1, default: 10 }}
    who: {{ type: object, properties: {{ name: {{ type: string }} }}, required: [name] }}
    weight: {{ type: string }}
  required: [query]
context:
  variables: {{ greeting: Hello, many: 3 }}
steps:
  - id: find
    agent: {{ id: \"@acme/find\" }}
    input: {{ query: \"${{inputs.query}}\", limit: \"${{inputs.limit}}\" }}
{steps}"
    )
}

fn check(text: &str) -> String {
    let options = Options::new().strict(true).agents(&Shop).workflows(&Shop).file_name("w.yaml");
    let lines: Vec<&str> = text.lines().collect();
    match load(text, &options) {
        Ok(valid) => {
            let unproven = valid.unproven().unwrap().iter();
            unproven.map(|unproven| format!("unproven {}: {}\n", unproven.path, unproven.reason)).collect()
        }
        Err(invalid) => invalid
            .diagnostics()
            .iter()
            .map(|found| {
                let span = found.span.unwrap_or_else(|| panic!("{found} has no place"));
                let line = lines[span.line as usize - 1];
                let end = if span.end_line == span.line { span.end_column as usize - 1 } else { line.chars().count() };
                let marked: String = line.chars().take(end).skip(span.column as usize - 1).collect();
                let help = found.help.as_ref().map(|help| format!("\n    help: {help}")).unwrap_or_default();
                format!("{}: {}\n    at {marked}{help}\n", found.code, found.message)
            })
            .collect(),
    }
}

#[test]
fn types_are_told_of_what_is_wrong_elsewhere() {
    let text = head(
        r#"  - id: scores
    dependencies: [find]
    map:
      items: "${steps.find.output.files}"
      as: file
      onItemError: continue
      steps:
        - id: score
          agent: { id: "@acme/score" }
          input: { file: "${file.path}", weight: heavy }
  - id: mended
    dependencies: [scores]
    loop:
      until: steps.again.output.value > `1`
      maxIterations: 3
      init: { best: 0 }
      value: { best: "${steps.again.output.value}" }
      steps:
        - id: again
          agent: { id: "@acme/score" }
          input: { file: "${loop.value.nothing}" }
"#,
    );
    let inferred = infer(text, &Options::new().agents(&Shop).file_name("w.yaml")).unwrap();
    let output = |step| inferred.output(step).map(ToString::to_string);
    assert_eq!(output("/steps/1").as_deref(), Some("array of {score} or {error}"));
    assert_eq!(output("/steps/1/map/steps/0").as_deref(), Some("{value, grade}"));
    assert_eq!(output("/steps/2").as_deref(), Some("{value, iterations, reason}"));
    assert_eq!(output("/steps/7"), None);
    let name = |place, name| inferred.name(place, name).map(ToString::to_string);
    assert_eq!(name("/steps/1/map/steps/0/input", "file").as_deref(), Some("{path, size?}"));
    assert_eq!(name("/steps/2/loop/steps/0", "loop").as_deref(), Some("{index, value}"));
    assert_eq!(name("/steps/0", "file"), None);
}

/// The steps behind `find`, and what is said about them.
#[test]
fn each_mistake_is_named_at_its_place() {
    let table = [
        ("a path that cannot be", "
  - id: score
    agent: { id: '@acme/score' }
    dependencies: [find]
    input: { file: '${steps.find.output.files[0].pth}', weight: '${steps.find.output.total.x}' }"),
        ("paths that may lead nowhere", "
  - id: score
    agent: { id: '@acme/score' }
    dependencies: [find]
    input: { file: '${steps.find.output.files[0].path}', weight: '${steps.find.output.took}' }
  - id: mail
    agent: { id: '@acme/mail' }
    input: { to: '${inputs.who}', text: '${inputs.whom}' }"),
        ("another type", "
  - id: score
    agent: { id: '@acme/score' }
    dependencies: [find]
    input: { file: '${steps.find.output.total}', weight: '${inputs.weight ?? 1}' }
  - id: mail
    agent: { id: '@acme/mail' }
    dependencies: [find]
    input: { to: { name: '${steps.find.output.next}' }, text: Hi, files: '${steps.find.output.files}' }"),
        ("missing and surplus input", "
  - id: score
    agent: { id: '@acme/score' }
  - id: mail
    agent: { id: '@acme/mail' }
    input: { to: {}, txt: Hi }"),
        ("constants", "
  - id: again
    agent: { id: '@acme/find', config: { depth: deep } }
    input: { query: '', limit: 1.5 }
  - id: mail
    agent: { id: '@acme/mail' }
    input: { to: { name: Ada }, text: 1, files: [] }"),
        ("a text is no number", "
  - id: again
    agent: { id: '@acme/find' }
    input: { query: x, limit: '${variables.many} ' }
  - id: more
    agent: { id: '@acme/find' }
    input: { query: x, limit: '${variables.greeting}' }"),
        ("conditions", "
  - id: score
    agent: { id: '@acme/score' }
    dependencies: [find]
    condition: { if: 'steps.find.output.files[?siz > `1`] && length(steps.find.output.files) > `1`' }
    input: { file: x }
  - id: mail
    agent: { id: '@acme/mail' }
    dependencies: [score]
    condition: { if: \"steps.score.output.vale > `1` && length(steps.score.output.value) > `1` && steps.score.output.grade == 'good'\" }
    input: { to: { name: Ada }, text: x }"),
        ("schemas that contradict", "
  - id: score
    agent: { id: '@acme/score' }
    input: { file: x }
    output: { schema: { type: array }, capture: { v: vlue } }"),
        ("a fallback takes the input", "
  - id: score
    agent: { id: '@acme/score' }
    input: { file: x }
    onError: fallback
    fallbackStepId: other
  - id: other
    agent: { id: '@acme/find' }
  - id: end
    agent: { id: '@acme/score' }
    dependencies: [score]
    input: { file: '${steps.score.output.grade}' }"),
        ("a fallback of another kind takes it, too, unless its own is empty", "
  - id: score
    agent: { id: '@acme/score' }
    input: { file: x }
    onError: fallback
    fallbackStepId: other
  - id: other
    agent: { id: '@acme/score' }
    input: {}
  - id: again
    agent: { id: '@acme/find' }
    input: { query: x }
    onError: fallback
    fallbackStepId: tool
  - id: tool
    tool: { name: x }
    onError: fallback
    fallbackStepId: child
  - id: child
    workflow: { ref: ./c.yaml }"),
        ("a branch that was recovered may have taken no case", "
  - id: route
    branch: { cases: [{ when: inputs.who, steps: [{ id: big, agent: { id: '@acme/score' }, input: { file: b } }] }] }
    onError: fallback
    fallbackStepId: other
  - id: other
    agent: { id: '@acme/score' }
    input: { file: x }
  - id: end
    agent: { id: '@acme/score' }
    dependencies: [route]
    input: { file: '${steps.route.case}' }"),
        ("texts", "
  - id: ask
    approval: { prompt: '${inputs.limit}' }
  - id: score
    agent: { id: '@acme/score' }
    dependencies: [find]
    input: { file: x }
    policies: { idempotencyKey: '${steps.find.output.next}' }
    compensate: { agent: { id: '@acme/echo' }, policies: { idempotencyKey: '${self.output.value}' } }"),
        ("what is around a step", "
  - id: score
    agent: { id: '@acme/score' }
    input: { file: x }
    compensate: { tool: { name: x }, on: attempt, input: { file: '${self.output.grade}' } }
    hooks:
      before: [{ tool: { name: x }, input: { file: '${self.point.x}' } }]
      onError: [{ tool: { name: x }, input: { file: '${self.error.cod}' } }]"),
    ];
    let shown: String =
        table.iter().map(|(name, steps)| format!("== {name}{steps}\n--\n{}\n", check(&head(steps)))).collect();
    insta::assert_snapshot!(shown);
}

#[test]
fn what_is_always_there_is_not_doubted() {
    let steps = "
  - id: ask
    approval: { prompt: 'Go?', schema: { type: object, required: [note], properties: { note: { type: string } } } }
  - id: scores
    map: { items: [], onItemError: continue, steps: [{ id: one, tool: { name: x, arguments: { file: x } } }] }
  - id: score
    agent: { id: '@acme/score' }
    dependencies: [ask, scores]
    input: { file: '${steps.ask.output.answer.note}', weight: '${steps.scores.attempts}' }
    policies: { idempotencyKey: 'k-${steps.scores.attempts}' }
    compensate: { tool: { name: x }, input: { file: '${self.status}' }, policies: { idempotencyKey: '${self.stepPath}' } }
    hooks:
      before: [{ tool: { name: x }, input: { file: '${self.point}' } }]
      after: [{ tool: { name: x }, input: { file: '${self.status}', more: ['${self.point}', '${self.output.grade}'] } }]
      onError:
        - tool: { name: x }
          input: { file: '${self.error.code}', more: ['${self.error.message}', '${self.point}', '${self.status}'] }
  - id: first
    tool: { name: x, arguments: { file: x } }
    onError: fallback
    fallbackStepId: second
  - id: second
    tool: { name: x }
    onError: fallback
    fallbackStepId: third
  - id: third
    workflow: { ref: ./c.yaml }
";
    assert_eq!(check(&head(steps)), "");
}

#[test]
fn what_is_right_is_accepted_and_what_cannot_be_seen_is_said() {
    let table = [
        (
            "all of it",
            "
  - id: score
    agent: { id: '@acme/score' }
    dependencies: [find]
    condition: { if: 'length(steps.find.output.files) > `0` && steps.find.output.files[0].size' }
    input:
      file: '${steps.find.output.files[0].path ?? steps.find.output.next ?? ''none''}'
      weight: '${steps.find.output.took ?? steps.find.output.total}'
  - id: mail
    agent: { id: '@acme/mail' }
    input:
      to: { name: 'dear ${variables.greeting}' }
      text: '${variables.greeting}, ${steps.score.output.value ?? ''no score''}, $${not}'
      files: ['${inputs.query}']",
        ),
        (
            "what is not known",
            "
  - id: echo
    agent: { id: '@acme/echo' }
    input: '${steps.find.output.files}'
  - id: echo2
    agent: { id: '@acme/echo' }
  - id: mail
    agent: { id: '@acme/mail' }
    dependencies: [echo2]
    input: { to: { name: '${steps.echo2.output.name}' }, text: '${steps.echo2.output ?? 1}' }
  - id: again
    agent: { id: '@acme/find' }
    dependencies: [echo2]
    input: { query: '${steps.echo2.status}', limit: '${variables.many}' }"
                .replace("\n  - id: echo\n    agent: { id: '@acme/echo' }\n    input: '${steps.find.output.files}'", "")
                .leak(),
        ),
    ];
    let shown: String =
        table.iter().map(|(name, steps)| format!("== {name}{steps}\n--\n{}\n", check(&head(steps)))).collect();
    insta::assert_snapshot!(shown);
}

/// Composites around the same agents; `find` comes first.
#[test]
fn what_composites_show_and_give_is_known() {
    let table = [
        ("a map gives its items what they are, and an array", "
  - id: all
    dependencies: [find]
    map:
      items: '${steps.find.output.files}'
      as: file
      key: '${file.size}'
      steps:
        - { id: score, agent: { id: '@acme/score' }, input: { file: '${file.name}', weight: '${index}' } }
      output: '${steps.score.output.vlue}'
  - id: sum
    agent: { id: '@acme/score' }
    dependencies: [all]
    input: { file: '${steps.all.output}' }
  - id: none
    map: { items: '${inputs.who.name ?? null}', steps: [{ id: inner, tool: { name: x } }] }"),
        ("a loop's value is what it began with, or what came of it", "
  - id: refine
    loop:
      until: loop.value.text && steps.again.output.took
      maxIterations: 3
      init: { score: 0, text: '${inputs.query}' }
      steps:
        - { id: again, agent: { id: '@acme/find' }, input: { query: '${loop.value.text}', limit: '${loop.value.score}' } }
      value: { score: '${steps.again.output.total}', text: '${steps.again.output.next}' }
  - id: last
    agent: { id: '@acme/score' }
    dependencies: [refine]
    input: { file: '${steps.refine.output.value.text}', weight: '${steps.refine.output.iteration}' }"),
        ("a branch gives what one of its cases gives", "
  - id: route
    branch:
      cases:
        - { name: large, when: 'inputs.limit > `5`', steps: [{ id: big, agent: { id: '@acme/score' }, input: { file: b } }] }
        - { when: 'inputs.limt', steps: [{ id: small, agent: { id: '@acme/score' }, input: { file: s } }] }
      default: { steps: [] }
  - id: after
    agent: { id: '@acme/score' }
    dependencies: [route]
    input: { file: '${steps.route.case}', weight: '${steps.route.output.big.value}' }
  - id: better
    agent: { id: '@acme/score' }
    dependencies: [route]
    input: { file: x, weight: '${steps.route.output.big.value ?? steps.route.output.small.valu ?? 0}' }"),
        ("of a race not all have an output", "
  - id: both
    parallel:
      steps:
        - { id: one, agent: { id: '@acme/score' }, input: { file: a } }
        - { id: two, agent: { id: '@acme/score' }, input: { file: b }, condition: { if: inputs.who } }
    output: '${steps.one.output.value}'
  - id: race
    parallel:
      join: any
      steps:
        - { id: mirror, agent: { id: '@acme/score' }, input: { file: a } }
        - { id: other, agent: { id: '@acme/score' }, input: { file: b } }
  - id: end
    agent: { id: '@acme/score' }
    dependencies: [both, race]
    input: { file: '${steps.both.output}', weight: '${steps.race.output.mirror.value}' }"),
        ("approvals, waits, compensation and hooks", "
  - id: ask
    approval: { prompt: 'Go, ${inputs.name}?', schema: { type: object, properties: { note: { type: string } } } }
  - id: pause
    wait: { duration: '${inputs.who ?? null}' }
  - id: mail
    agent: { id: '@acme/mail' }
    dependencies: [ask, pause]
    input: { to: { name: '${steps.ask.output.approvd}' }, text: '${steps.pause.output.payload}' }
    compensate: { agent: { id: '@acme/score' }, input: { file: '${self.output.idd}', weight: '${self.input.text}' } }
    hooks: { before: [{ agent: { id: '@acme/score' }, input: { file: '${self.input.to.nme}' } }] }"),
    ];
    let shown: String =
        table.iter().map(|(name, steps)| format!("== {name}{steps}\n--\n{}\n", check(&head(steps)))).collect();
    insta::assert_snapshot!(shown);
}
