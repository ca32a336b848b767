//! Test files: what may be written, what it means, and where mistakes are named.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

use std::{fmt::Write as _, sync::LazyLock};

use orchestr8_schema::{
    ErrorKind, InvalidDocument,
    json_schema::{JsonValidator, PublishedSchema},
    source::{Loaded, Options},
    test_file::{Action, MockAnswer, MockTarget, Moment, Scenario, StepPattern, TestFile},
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The example of the specification, with a table and everything else that may be written.
const EVERYTHING: &str = r#"
# yaml-language-server: $schema=docs/schema/test.json
workflow: ./review.yaml
strict: true
x-owner: somebody
defaults:
  given: { input: { topic: rust, deep: { a: 1, b: 2 } }, seed: 3, env: { HOME: /home } }
  mocks: { "model:smart": { returns: text }, "workflow:./onboard.yaml": { hang: true } }
tests:
  - name: falls back when search is down, and a person approves next day
    given:
      seed: 7
      now: 2025-01-17T09:00:00Z
      input: { deep: { b: 3 } }
      variables: {}
      env: { USER: ada }
      secrets: { "secret://p/key": canary }
      budget: { maxTokens: 10, maxCostUsd: 0.5, maxSteps: 3, maxDuration: 1h }
      config: { execution: { maxConcurrent: 2 } }
    mocks:
      search: { fail: { code: NETWORK, message: down } }
      "reviews[*].score": { returns: { score: "${input.base ?? 3}", text: "of ${input.name}" } }
      'reviews["a.md"].score':
        by:
          - { when: "attempt > `1`", returns: null }
          - { when: input.file, sequence: [{ returns: 1 }, { returns: 2, after: 1s }] }
          - { real: true }
      "agent:@acme/publish": { returns: { ok: true }, after: 2s }
      "tool:github:open-pr": { sequence: [{ fail: { code: RATE_LIMITED, retryAfter: 30s } }, { returns: { number: 42 } }] }
    when:
      - { at: 24h, approve: publish-gate, answer: { note: fine }, comment: yes, by: ada }
      - { on: { type: step.failed, stepPath: search, attempt: 3 }, reject: "reviews[*].gate", by: ada }
      - { at: 25h, signal: released, payload: { tag: v1 }, step: released }
      - { at: 25h, cancel: true }
      - { at: 26h, pause: because }
      - { at: 27h, resume: true }
      - { at: 28h, crash: true }
      - { at: 29h, advance: 2h }
    then:
      status: completed
      compensation: none
      outputs: { publish: { ok: true } }
      exact: false
      steps:
        search: { status: failed, attempts: 3, error: { code: NETWORK } }
        "refine#1.critic": { output: { score: 1 }, input: null, case: large, skipReason: condition-not-met, recoveredBy: other }
      errors: [{ code: TIMEOUT, message: too long, stepPath: fetch }]
      order: [search, search-fallback, publish]
      calls: { search: 3, "tool:github:open-pr": 2 }
      journal: { contains: [{ type: step.fallback }], absent: [{ type: circuit.opened }] }
      usage: { inputTokens: { max: 100 }, outputTokens: 5, cacheReadTokens: 0, cacheCreationTokens: 0, costUsd: { min: 0, max: 1.5 } }
      duration: { max: 26h }
      waiting: [publish-gate]
    cases:
      - name: as it is
      - name: with another seed
        given: { seed: 8, input: { topic: go } }
        then: { status: failed, steps: { search: { attempts: 2 } } }
  - name: does not validate
    then: { diagnostics: [O8303, O8104] }
"#;

fn read(text: &str) -> Result<Loaded<TestFile>, InvalidDocument> {
    TestFile::read(text, &Options::new())
}

fn everything() -> (Loaded<TestFile>, Vec<Scenario>) {
    let file = read(EVERYTHING).unwrap();
    let scenarios = file.value.scenarios();
    (file, scenarios)
}

#[test]
fn a_row_lies_over_its_test_and_that_over_the_defaults() {
    let (file, scenarios) = everything();
    assert_eq!(file.warnings, []);
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name.rsplit(" / ").next().unwrap()).collect();
    assert_eq!(names, ["as it is", "with another seed", "does not validate"]);
    let [first, second, third] = &*scenarios else { panic!() };
    assert_eq!(first.given.input, Some(json!({ "topic": "rust", "deep": { "a": 1, "b": 3 } })));
    assert_eq!(second.given.input, Some(json!({ "topic": "go", "deep": { "a": 1, "b": 3 } })));
    assert_eq!([first, second, third].map(|scenario| scenario.given.seed), [Some(7), Some(8), Some(3)]);
    assert_eq!(first.given.env.keys().collect::<Vec<_>>(), ["HOME", "USER"]);
    let search: StepPattern = "search".parse().unwrap();
    assert_eq!([first, second].map(|scenario| scenario.then.steps[&search].attempts), [Some(3), Some(2)]);
    assert_eq!(second.then.steps[&search].error.as_ref().map(|error| error.code), Some(ErrorKind::Network));
    assert_eq!((first.own_mocks, first.mocks.len(), third.mocks.len()), (5, 7, 2));
    let moments = first.when.iter().map(|stimulus| matches!(stimulus.moment, Moment::On(_)));
    assert_eq!(moments.filter(|on| *on).count(), 1);
    assert_eq!(first.when[4].action, Action::Pause { reason: Some("because".to_owned()) });
}

#[test]
fn what_a_mock_returns_reads_the_input_of_the_call() {
    use orchestr8_schema::expression::{OwnField, Root, Scope};
    use std::borrow::Cow;

    struct Call(Value);
    impl Scope for Call {
        fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
            (root == Root::Own(OwnField::Input)).then(|| Cow::Borrowed(&self.0))
        }
    }

    let (_, scenarios) = everything();
    let target: MockTarget = "reviews[*].score".parse().unwrap();
    let MockAnswer::Returns(template) = &scenarios[0].mocks[&target].answer else { panic!() };
    let resolve = |input| template.resolve(&Call(input), 65536).unwrap();
    assert_eq!(resolve(json!({ "name": "x" })), json!({ "score": 3, "text": "of x" }));
    assert_eq!(resolve(json!({ "name": "x", "base": [1] })), json!({ "score": [1], "text": "of x" }));
}

#[test]
fn a_check_knows_its_line() {
    let (file, scenarios) = everything();
    let line = |scenario: &Scenario, keys: &[&str]| {
        let span = scenario.span(&file.places, keys).unwrap();
        EVERYTHING.lines().nth(span.line as usize - 1).unwrap().trim().to_owned()
    };
    let attempts = ["then", "steps", "search", "attempts"];
    assert!(line(&scenarios[0], &attempts).starts_with("search: { status: failed, attempts: 3"));
    assert!(line(&scenarios[1], &attempts).starts_with("then: { status: failed, steps: { search: { attempts: 2 }"));
    assert!(line(&scenarios[1], &["then", "steps", "search", "status"]).starts_with("search: { status: failed"));
    assert!(line(&scenarios[0], &["then", "steps", "refine#1.critic"]).starts_with("\"refine#1.critic\""));
    assert!(line(&scenarios[2], &["then", "status"]).starts_with("then: { diagnostics"));
    let text = |pointer: &str| file.places.range(pointer).map(|range| &file.places.text()[range]);
    assert_eq!(text("/tests/0/then/status"), Some("completed"));
    assert_eq!(text("/tests/0/then/outputs"), Some("{ publish: { ok: true } }"));
    let steps = text("/tests/0/then/steps").unwrap();
    assert!(steps.starts_with("search: {") && steps.ends_with("recoveredBy: other }"), "{steps}");
    assert_eq!(text("/tests/7"), None);
}

#[test]
fn mistakes_are_named_at_their_lines() {
    let test = |rest: &str| format!("workflow: w\ntests:\n- name: a\n{rest}");
    let texts = [
        "workflow: w.yaml".to_owned(),
        "[]".to_owned(),
        "<test/>".to_owned(),
        "workflow: ''\ntests: []".to_owned(),
        test("- name: a"),
        test("  than: {}"),
        test("  given: { budget: { maxSteps: 0 } }"),
        test("  given: { now: yesterday }"),
        test("  mocks: { 'agent:hello': { returns: 1 } }"),
        test("  mocks: { a: { returns: 1, fail: { code: NETWORK } } }"),
        test("  mocks: { a: { after: 1s } }"),
        test("  mocks: { a: { sequence: [] } }"),
        test("  mocks: { a: { fail: { code: NETWROK } } }"),
        test("  mocks: { a: { returns: '${steps.b.output}' } }"),
        test("  mocks: { a: { by: [{ when: 'exec(input)', returns: 1 }] } }"),
        test("  when:\n  - { at: 2h, pause: true }\n  - { at: 1h, resume: true }"),
        test("  when: [{ at: 2h, crash: false }]"),
        test("  when: [{ pause: true }]"),
        test("  when: [{ on: { type: step.faild }, crash: true }]"),
        test("  when: [{ at: 1h, pause: true, answer: 3 }]"),
        test("  then: { status: complete }"),
        test("  then:\n    steps: { a: { attempts: three } }"),
        test("  then:\n    steps:\n      a b: {}"),
        test("  then: { duration: { min: 2h, max: 1h } }"),
        test("  then: { usage: { costUsd: {} } }"),
        test("  then: { diagnostics: [O9999] }"),
    ];
    let mut report = String::new();
    for text in texts {
        let invalid = read(&text).map(|_| ()).unwrap_err();
        let last = text.lines().last().unwrap();
        writeln!(report, "{last}").unwrap();
        for found in invalid.diagnostics() {
            let help = found.help.as_ref().map(|help| format!("\n    help: {help}")).unwrap_or_default();
            writeln!(report, "  {found}{help}").unwrap();
        }
    }
    insta::assert_snapshot!(report);
}

/// Puts any value at any place of the example.
fn any_mutant() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        any::<i32>().prop_map(Value::from),
        "(step\\.failed|NETWORK|1h|\\$\\{input\\.x\\}|search|[a-z$]{0,4})".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}])),
        Just(json!({ "returns": 1 })),
        Just(json!({ "min": 1 })),
    ];
    (any::<prop::sample::Index>(), value).prop_map(|(index, value)| {
        let options = Options::new();
        let mut document = orchestr8_schema::source::parse(EVERYTHING, &options).unwrap();
        let mut places = Vec::new();
        let mut todo = vec![(String::new(), &document)];
        while let Some((place, value)) = todo.pop() {
            match value {
                Value::Object(map) => {
                    todo.extend(map.iter().map(|(key, value)| (format!("{place}/{}", key.replace('/', "~1")), value)));
                }
                Value::Array(items) => {
                    todo.extend(items.iter().enumerate().map(|(index, value)| (format!("{place}/{index}"), value)));
                }
                _ => {}
            }
            places.push(place);
        }
        let place: &String = index.get(&places);
        *document.pointer_mut(place).unwrap() = value;
        document
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_is_accepted_by_the_schema(document in any_mutant()) {
        static SCHEMA: LazyLock<JsonValidator> = LazyLock::new(|| JsonValidator::compile(&PublishedSchema::Test.schema()).unwrap());
        if let Ok(file) = read(&document.to_string()) {
            prop_assert_eq!(SCHEMA.validate(&document), Ok(()));
            prop_assert!(!file.value.scenarios().is_empty());
        }
    }
}

#[test]
fn the_schema_refuses_unknown_keys_as_the_reader_does() {
    let schema = JsonValidator::compile(&PublishedSchema::Test.schema()).unwrap();
    let document = orchestr8_schema::source::parse(EVERYTHING, &Options::new()).unwrap();
    assert_eq!(schema.validate(&document), Ok(()));
    for place in
        ["", "/defaults", "/tests/0", "/tests/0/given", "/tests/0/then", "/tests/0/when/0", "/tests/0/mocks/search"]
    {
        for (key, is_valid) in [("wrong", false), ("x-note", true)] {
            let mut document = document.clone();
            document.pointer_mut(place).unwrap()[key] = json!(1);
            assert_eq!(schema.validate(&document).is_ok(), is_valid, "{place}/{key}");
            assert_eq!(read(&document.to_string()).is_ok(), is_valid, "{place}/{key}");
        }
    }
}
