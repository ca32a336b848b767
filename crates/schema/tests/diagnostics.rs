//! Every code: the smallest document that has it, and the place that is named.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

mod common;

use orchestr8_schema::{
    AgentId, Code,
    source::{Options, load},
    validate::AgentCatalog,
};
use serde_json::json;

struct Catalog;

impl AgentCatalog for Catalog {
    fn versions(&self, id: &AgentId) -> Option<Vec<[u64; 3]>> {
        (id.as_str() == "@acme/agent").then(|| vec![[1, 4, 0]])
    }

    fn ids(&self) -> Vec<AgentId> {
        vec!["@acme/agent".parse().unwrap()]
    }
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

fn one(lines: &[&str]) -> String {
    steps(&[step("a", lines)])
}

fn root(lines: &str) -> String {
    format!("{HEAD}{lines}\nsteps:\n{}", step("a", &[]))
}

/// Documents in which `‸` stands before the place that the diagnostic names.
fn table() -> Vec<(Code, String)> {
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
    add(Code::StepKind, format!("{HEAD}steps:\n  - id: a\n    ‸wait: {{}}\n"));
    add(Code::DuplicateStep, steps(&[step("a", &[]), step("‸a", &[])]));
    add(Code::Empty, format!("{HEAD}‸steps: []"));
    add(Code::SchemaVersion, root("schemaVersion: ‸2.0.0"));
    add(Code::SchemaHashForm, root("schemaHash: ‸abc"));
    add(Code::SchemaHash, root(&format!("schemaHash: ‸{}", "0a".repeat(32))));
    add(Code::KeyNotForKind, one(&["output: { ‸value: 1 }"]));
    add(Code::KeyNotForKind, one(&["‸compensate: {}"]));
    add(Code::KeyNotForKind, root("‸hooks: {}"));
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
    add(Code::UnknownAgent, steps(&[step("a", &[]).replace("\"@acme/agent\"", "‸\"@acme/agnet\"")]));
    add(Code::AgentVersion, steps(&[step("a", &[]).replace("\" }", "\", version: ‸^2.0.0 }")]));
    add(Code::ConstantViolatesSchema, root("inputs: { properties: { n: { type: integer, default: ‸x } } }"));
    add(
        Code::ConstantViolatesSchema,
        one(&["input: { mapping: { n: ‸x }, schema: { properties: { n: { type: integer } } } }"]),
    );
    add(Code::OutOfRange, one(&["policies: { retry: { maxAttempts: ‸11 } }"]));
    add(Code::OutOfRange, one(&["policies: { resilience: { retry: { baseDelay: ‸50 } } }"]));
    add(Code::OutOfRange, one(&["policies: { retry: { multiplier: ‸3 } }"]));
    add(Code::Contradiction, one(&["policies: { retry: { baseDelayMs: 2s, maxDelayMs: ‸1s } }"]));
    add(Code::ShortTimeout, one(&["policies: { timeout: ‸50 }"]));
    add(Code::CompositionOrder, root("policies: { resilience: { compositionOrder: ‸timeout-first } }"));
    add(Code::Alias, one(&["policies: { retry: { ‸baseDelay: 200 } }"]));
    add(Code::Ignored, root("policies: { resilience: { circuitBreaker: { ‸halfOpenRequests: 2 } } }"));
    add(Code::ExpressionNotEvaluated, root("context: { variables: { x: '‸${inputs.a}' } }").replace("'‸$", "‸'$"));
    table
}

fn options() -> Options<'static> {
    Options::new().strict(true).agents(&Catalog)
}

#[test]
fn each_code_names_its_place() {
    let mut seen = Vec::new();
    let mut snapshot = Vec::new();
    for (code, marked) in table() {
        let text = marked.replace('‸', "");
        let diagnostics = match load(&text, &options()) {
            Ok(valid) => valid.warnings().to_vec(),
            Err(invalid) => invalid.into_diagnostics(),
        };
        let Some(found) = diagnostics.iter().find(|found| found.code == code) else {
            panic!("no {code} in\n{text}\n{diagnostics:#?}");
        };
        if let Some(mark) = marked.find('‸') {
            let before = &marked[..mark];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            let span = found.span.unwrap_or_else(|| panic!("{found} has no span in\n{text}"));
            assert_eq!((span.line as usize, span.column as usize), (line, column), "{found}\n{text}");
        }
        seen.push(code);
        snapshot.push(json!({ "document": text, "diagnostics": diagnostics }));
    }
    // Two limits are tested by themselves.
    seen.push(Code::TooLong);
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !seen.contains(code)).collect();
    assert!(missing.is_empty(), "untested: {missing:?}");
    insta::assert_json_snapshot!(snapshot);
}

#[test]
fn the_example_has_no_problems_in_either_format() {
    for name in ["slice.json", "slice.yaml", "-"] {
        let valid = load(common::VERTICAL_SLICE, &options_without_agents().file_name(name)).unwrap();
        assert_eq!(valid.warnings(), []);
        assert_eq!((valid.steps().len(), valid.depth()), (2, 2));
    }
}

fn options_without_agents() -> Options<'static> {
    Options::new().strict(true)
}

#[test]
fn encodings_and_lengths_are_checked_first() {
    let message = |bytes: &[u8]| load(bytes, &options()).unwrap_err().diagnostics()[0].to_string();
    assert_eq!(message(b""), "error[O8001]: the document is empty");
    assert_eq!(message(b"\xff\xfea\0"), "error[O8001]: the text is UTF-16");
    assert_eq!(message(b"a: 1\nb: \xc3"), "error[O8001]: byte 8 is no UTF-8 (line 2, column 4)");
    assert!(message(&vec![b' '; 10_000_001]).starts_with("error[O8003]"));
    let with_mark = format!("\u{feff}{}", common::VERTICAL_SLICE);
    assert!(load(with_mark, &options_without_agents()).is_ok());
}

#[test]
fn no_depth_exhausts_a_small_stack() {
    let documents = [
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        format!("a: {}", "[".repeat(100_000)),
        format!("a: {}", "{a: ".repeat(100_000)),
        format!("a:\n {}1", "- ".repeat(100_000)),
        (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
    ];
    let check = move || {
        for document in documents {
            let invalid = load(document, &options()).unwrap_err();
            assert_eq!(invalid.diagnostics()[0].code, Code::TooDeep);
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap().join().unwrap();
}

#[test]
fn problems_come_in_the_order_of_the_document() {
    let text = "{ \"steps\": [ { \"id\": \"a b\", \"agent\": { \"id\": \"x\" }, \"colour\": 1 } ],\n \"version\": 1 }";
    let invalid = load(text, &Options::new()).unwrap_err();
    let found: Vec<_> = invalid.diagnostics().iter().map(|found| (found.code.as_str(), found.path.as_str())).collect();
    let expected = [
        ("O8101", ""),
        ("O8103", "/steps/0/id"),
        ("O8103", "/steps/0/agent/id"),
        ("O8104", "/steps/0/colour"),
        ("O8102", "/version"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_long_prompt_in_a_block_has_an_exact_place() {
    let text = one(&["input:", "  prompt: |", "    Dear ${inputs.name},", "    see ${steps.b.output}."]);
    let invalid = load(&text, &options_without_agents()).unwrap_err();
    let span = invalid.diagnostics()[0].span.unwrap();
    assert_eq!((span.line, span.column, span.end_column), (9, 15, 29), "{text}");
}
