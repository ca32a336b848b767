//! Expressions: what they give, what they refuse, and what they cost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

mod common;

use common::{Shown, codes, load, workflow};
use orchestr8_schema::{ValidWorkflow, expression::Template};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Evaluates a value as the input of a step that depends on `fetch` and `web-search`.
fn evaluate(input: &Value) -> Result<Value, String> {
    let mut document = workflow(json!([
        { "id": "fetch" },
        { "id": "web-search" },
        { "id": "reader", "dependencies": ["fetch", "web-search"], "input": { "value": input } }
    ]));
    document["context"] = json!({ "variables": { "language": "en" }, "environment": { "REGION": "eu" } });
    let workflow = ValidWorkflow::from_value(&document).map_err(|error| error.to_string())?;
    let roots = json!({
        "steps": {
            "fetch": {
                "status": "completed", "attempts": 2,
                "output": { "n": 7, "none": null, "list": [1, { "name": "x" }], "odd key": "odd", "text": "a\"b", "0": "zero" }
            },
            "web-search": { "status": "skipped" }
        },
        "inputs": { "user": "Ada", "größe": 3, "template": "${inputs.user}" },
        "variables": { "language": "fr" },
        "env": { "REGION": "eu" },
        "context": { "executionId": "e1", "workflowId": "w", "stepId": "reader" },
        "metadata": { "id": "w", "name": "W", "tags": ["a"] }
    });
    let scope = Shown { workflow: &workflow, roots };
    let mut value = workflow.steps()[2].input.resolve(&scope).map_err(|error| error.to_string())?;
    Ok(value["value"].take())
}

#[test]
fn every_rule_of_the_language() {
    let table = [
        // A string that is exactly one expression keeps its type.
        ("${steps.fetch.output.n}", json!(7)),
        ("${ steps.fetch.output.list }", json!([1, { "name": "x" }])),
        ("${steps.fetch.attempts}", json!(2)),
        ("${steps.web-search.status}", json!("skipped")),
        ("${variables.language}", json!("fr")),
        ("${env.REGION}", json!("eu")),
        ("${metadata.tags[0]}", json!("a")),
        ("${context.executionId}", json!("e1")),
        ("${context}", json!({ "executionId": "e1", "workflowId": "w", "stepId": "reader" })),
        ("${variables}", json!({ "language": "fr" })),
        // Paths.
        ("${steps.fetch.output.list[1].name}", json!("x")),
        ("${steps.fetch.output[\"odd key\"]}", json!("odd")),
        ("${steps.fetch.output['odd key']}", json!("odd")),
        ("${steps.fetch.output.0}", json!("zero")),
        ("${inputs.größe}", json!(3)),
        // Mixed text.
        ("n is ${steps.fetch.output.n}!", json!("n is 7!")),
        ("${inputs.user}${inputs.user}", json!("AdaAda")),
        ("x ${steps.fetch.output.none}", json!("x null")),
        ("x ${steps.fetch.output.list}", json!("x [1,{\"name\":\"x\"}]")),
        ("x ${steps.fetch.output.text}", json!("x a\"b")),
        // Missing and null give way; the last one counts.
        ("${steps.web-search.output.a ?? inputs.user}", json!("Ada")),
        ("${steps.fetch.output.none ?? 'default'}", json!("default")),
        ("${steps.fetch.output.none || 'default'}", json!("default")),
        ("${steps.fetch.output.none}", json!(null)),
        ("${inputs.missing ?? steps.fetch.output.none}", json!(null)),
        ("${inputs.missing ?? null}", json!(null)),
        // Literals.
        ("${inputs.x ?? 'it\\'s'}", json!("it's")),
        ("${inputs.x ?? \"a\\u00e9\\n}\"}", json!("aé\n}")),
        ("${inputs.x ?? ''}", json!("")),
        ("${inputs.x ?? 1.5e3}", json!(1500.0)),
        ("${inputs.x ?? -2}", json!(-2)),
        ("${inputs.x ?? true}", json!(true)),
        ("${inputs.x ?? [1, \"}\", {\"a\": null}]}", json!([1, "}", { "a": null }])),
        ("${inputs.x ?? {\"a\": {\"b\": 1}}}", json!({ "a": { "b": 1 } })),
        ("${inputs.x ?? bare words }", json!("bare words")),
        ("${inputs.x ?? step.a}", json!("step.a")),
        ("${inputs.x ?? a|b?c}", json!("a|b?c")),
        ("${inputs.x ?? 1.2.3}", json!("1.2.3")),
        ("${inputs.x ?? loop}", json!("loop")),
        // Escapes, and text that only looks like an expression.
        ("$${inputs.user}", json!("${inputs.user}")),
        ("$$${inputs.user}", json!("$${inputs.user}")),
        ("costs $5, {x} and $", json!("costs $5, {x} and $")),
        ("${inputs.template}", json!("${inputs.user}")),
    ];
    for (text, expected) in table {
        assert_eq!(evaluate(&json!(text)), Ok(expected), "{text}");
    }
    let nested = json!({ "${inputs.user}": [1, "${inputs.user}", { "deep": "${steps.fetch.output.n}" }], "b": true });
    assert_eq!(evaluate(&nested), Ok(json!({ "${inputs.user}": [1, "Ada", { "deep": 7 }], "b": true })));
}

#[test]
fn a_missing_value_names_the_expression() {
    assert_eq!(evaluate(&json!("${inputs.missing}")), Err("evaluating `${inputs.missing}`: it has no value".into()));
    let error = evaluate(&json!("x ${steps.web-search.output.a ?? inputs.b}")).unwrap_err();
    assert_eq!(error, "evaluating `${steps.web-search.output.a ?? inputs.b}`: none of its operands has a value");
}

#[test]
fn what_is_no_expression_is_refused() {
    let table = [
        ("${", "O8301"),
        ("${}", "O8301"),
        ("${ inputs.a", "O8301"),
        ("${inputs.a ??}", "O8301"),
        ("${inputs.a ?? 'x}", "O8301"),
        ("${inputs.a ?? [1,}", "O8301"),
        ("${inputs.a ?? ${inputs.b}}", "O8301"),
        ("${inputs.a ?? '${inputs.b}'}", "O8301"),
        ("${inputs.a ?? a\"b\"}", "O8301"),
        ("${inputs.a[x]}", "O8301"),
        ("${inputs.a inputs.b}", "O8301"),
        ("${steps.fetch}", "O8301"),
        ("${inputs.a ?? b ?? inputs.c}", "O8301"),
        ("${steps.nowhere.output}", "O8302"),
        ("${steps.fetch.result}", "O8304"),
        ("${metadata.title}", "O8304"),
        ("${context.user}", "O8304"),
        ("${inputs['constructor']}", "O8305"),
        ("${env.PATH ?? 'x'}", "O8310"),
        ("${context.secretRefs}", "O8309"),
        ("${self.output.x}", "O8311"),
        ("${inputs.a ?? 'größe'}", "O8306"),
    ];
    for (text, code) in table {
        let error = evaluate(&json!(text)).unwrap_err();
        assert!(error.contains(code), "{text}: {error}");
    }
    let long = format!("${{inputs.a ?? '{}'}}", "x".repeat(1024));
    assert!(evaluate(&json!(long)).unwrap_err().contains("O8306"));
    let chain = |operands| format!("${{{}}}", vec!["inputs.a"; operands].join(" ?? "));
    assert!(evaluate(&json!(chain(17))).unwrap_err().contains("O8306"));
    assert!(evaluate(&json!(chain(16))).unwrap_err().contains("no"), "sixteen operands are allowed");
}

#[test]
fn limits_hold_at_run_time() {
    let workflow = load(json!([
        { "id": "a", "input": { "v": "${inputs.text}" } },
        { "id": "b", "input": { "mapping": { "v": "${inputs.text}" }, "expressionSecurity": { "maxExpansionSize": 20 } } },
        { "id": "c", "input": { "v": "x".repeat(70_000) } },
        { "id": "d", "input": { "mapping": { "v": "${inputs.a.b.c.d.e.f.g.h.i.j.k.l ?? 1}" }, "expressionSecurity": { "maxExpansionDepth": 11 } } }
    ]))
    .unwrap();
    let resolve = |step: usize, text: &str| {
        let scope = Shown { workflow: &workflow, roots: json!({ "inputs": { "text": text } }) };
        workflow.steps()[step].input.resolve(&scope)
    };
    // {"v":"…"} has 8 bytes besides the text.
    assert!(resolve(0, &"x".repeat(65_528)).is_ok());
    assert!(resolve(0, &"x".repeat(65_529)).is_err());
    assert!(resolve(0, &"\u{1}".repeat(65_528 / 6 + 1)).is_err(), "escapes count");
    assert!(resolve(1, &"x".repeat(12)).is_ok());
    assert!(resolve(1, &"x".repeat(13)).is_err());
    assert!(resolve(2, "").is_ok(), "what the author wrote out is not an expansion");
    assert!(resolve(3, "").is_ok());
}

#[test]
fn a_value_that_grows_with_each_step_fails_before_nobody_can_read_it() {
    let workflow = load(json!([{ "id": "a", "input": { "v": "${inputs.v}" } }])).unwrap();
    let nested = |depth: usize| (0..depth).fold(json!(1), |value, _| json!([value]));
    let resolve = |depth| {
        let scope = Shown { workflow: &workflow, roots: json!({ "inputs": { "v": nested(depth) } }) };
        workflow.steps()[0].input.resolve(&scope)
    };
    assert!(resolve(90).is_ok());
    assert!(resolve(110).unwrap_err().to_string().contains("nested"));
}

#[test]
fn a_template_without_expressions_is_one_literal() {
    let workflow = load(json!([
        { "id": "a" },
        { "id": "b", "input": { "a": [1, { "b": "$${x}" }] } },
        { "id": "c", "input": { "a": [1, { "b": "${inputs.x}" }] } }
    ]))
    .unwrap();
    let template = |step: usize| workflow.steps()[step].input.template();
    assert_eq!(*template(0), Template::Literal(json!({})));
    assert_eq!(*template(1), Template::Literal(json!({ "a": [1, { "b": "${x}" }] })));
    assert!(!template(2).is_literal());
}

#[test]
fn structured_input_maps_transforms_and_checks() {
    let workflow = load(json!([
        {
            "id": "a",
            "input": {
                "mapping": { "items": "${inputs.items}" },
                "transform": "{ names: items[?age > `40`].name }",
                "schema": { "type": "object", "properties": { "names": { "minItems": 1 } } }
            }
        },
        { "id": "b", "input": { "schema": "public" } },
        { "id": "c", "input": { "mapping": { "mapping": {} } } }
    ]))
    .unwrap();
    let resolve =
        |step: usize, roots: Value| workflow.steps()[step].input.resolve(&Shown { workflow: &workflow, roots });
    let people = json!({ "inputs": { "items": [{ "name": "Ada", "age": 36 }, { "name": "Grace", "age": 85 }] } });
    assert_eq!(resolve(0, people), Ok(json!({ "names": ["Grace"] })));
    let error = resolve(0, json!({ "inputs": { "items": [] } })).unwrap_err().to_string();
    assert_eq!(error, "checking the input against its schema: /names: [] has less than 1 item");
    assert_eq!(resolve(1, json!({})), Ok(json!({ "schema": "public" })));
    assert_eq!(resolve(2, json!({})), Ok(json!({ "mapping": {} })));
    assert_eq!(codes(load(json!([{ "id": "a", "input": { "transform": "foo(" } }]))), ["O8307"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_compiler_panic(text in r#"(\$\{|\}|\$|'|"|\[|\]|\{|\?\?|\|\||\.|steps|inputs|fetch|output|\\|ü| |[a-z0-9]){0,30}"#) {
        let _ = evaluate(&json!(text));
    }

    #[test]
    fn any_text_can_be_quoted(text in "[ -~]{0,60}") {
        let literal = text.replace('\\', "\\\\").replace('\'', "\\'");
        prop_assume!(!literal.contains("${"));
        prop_assert_eq!(evaluate(&json!(format!("${{inputs.x ?? '{literal}'}}"))), Ok(json!(text)));
        let escaped = text.replace("${", "$${");
        prop_assert_eq!(evaluate(&json!(escaped)), Ok(json!(text)));
    }
}
