//! Conditions: truth, sugar, limits, and which steps they wait for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

mod common;

use common::{Shown, codes, load};
use orchestr8_schema::{StepIndex, jmespath::JmesPath};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

fn roots() -> Value {
    json!({
        "steps": {
            "fetch": { "status": "completed", "output": { "n": 7, "zero": 0, "list": ["a", "b"], "text": "hello", "empty": "" } },
            "web-search": { "status": "failed", "error": { "code": "TIMEOUT" } }
        },
        "inputs": { "flag": true, "no": false },
        "context": { "executionId": "e1" }
    })
}

fn holds(condition: &Value) -> Result<bool, String> {
    let workflow = load(json!([{ "id": "fetch" }, { "id": "web-search" }, { "id": "reader", "condition": condition }]))
        .map_err(|error| error.to_string())?;
    let scope = Shown { workflow: &workflow, roots: roots() };
    workflow.steps()[2].condition.as_ref().unwrap().holds(&scope).map_err(|error| error.to_string())
}

#[test]
fn truth_is_that_of_jmespath() {
    let table = [
        ("steps.fetch.output.n > `5`", true),
        ("steps.fetch.output.zero", true),
        ("steps.fetch.output.empty", false),
        ("steps.fetch.output.missing.deeper", false),
        ("steps.web-search.status == 'failed'", true),
        ("steps.web-search.error.code == 'TIMEOUT' && inputs.flag", true),
        ("contains(steps.fetch.output.list, 'b')", true),
        ("length(steps.fetch.output.list[?@ == 'a']) == `1`", true),
        ("steps.fetch | output.n == `7`", true),
        ("keys(steps.fetch.output)[0] == 'empty'", true),
        ("inputs.no || context.executionId == 'e1'", true),
        ("!(inputs.no)", true),
        ("${steps.fetch.output.list}", true),
        ("${steps.fetch.output.missing}", false),
        ("${steps.web-search.output.x ?? inputs.no}", false),
        ("${steps.fetch.output.zero}", true),
    ];
    for (text, expected) in table {
        assert_eq!(holds(&json!({ "if": text })), Ok(expected), "{text}");
        assert_eq!(holds(&json!({ "unless": text })), Ok(!expected), "unless {text}");
    }
    assert_eq!(holds(&json!({ "if": "inputs.flag", "unless": "inputs.flag" })), Ok(false));
    assert_eq!(holds(&json!({})), Ok(true));
}

#[test]
fn sugar_compares() {
    let table = [
        ("steps.fetch.output.n", "equals", json!(7.0), true),
        ("steps.fetch.output.n", "not-equals", json!("7"), true),
        ("steps.fetch.output.list", "equals", json!(["a", "b"]), true),
        ("steps.fetch.output.n", "greater-than", json!(6), true),
        ("steps.fetch.output.n", "less-than", json!("9"), false),
        ("steps.fetch.output.text", "less-than", json!("help"), true),
        ("steps.fetch.output.list", "contains", json!("a"), true),
        ("steps.fetch.output.text", "contains", json!("ell"), true),
        ("${steps.fetch.output}", "contains", json!("text"), true),
        ("steps.fetch.output.empty", "not-empty", json!(null), false),
        ("steps.fetch.output.missing", "equals", json!(null), true),
    ];
    for (expression, operator, value, expected) in table {
        let condition = json!({ "expression": expression, "operator": operator, "value": value });
        assert_eq!(holds(&condition), Ok(expected), "{condition}");
    }
}

#[test]
fn what_depends_on_chance_is_refused() {
    for text in ["steps.*.output", "keys(steps)", "@", "*", "steps", "length(@)", "steps.[fetch, reader]", "steps[0]"] {
        let error = holds(&json!({ "if": text })).unwrap_err();
        assert!(error.contains("O8307"), "{text}: {error}");
    }
    assert!(holds(&json!({ "if": "map(&@, steps.fetch.output.list)" })).is_ok(), "`@` is an element there");
}

#[test]
fn a_negation_that_swallows_only_the_root_is_a_warning() {
    // In JMESPath `!a.b` is `(!a).b`.
    assert_eq!(codes(load(json!([{ "id": "a", "condition": { "if": "!inputs.no" } }]))), ["O8312"]);
    assert_eq!(codes(load(json!([{ "id": "a", "condition": { "if": "!(inputs.no)" } }]))), [""; 0]);
}

#[test]
fn named_steps_become_soft_edges() {
    let workflow = load(json!([
        { "id": "a" },
        { "id": "b-1", "dependencies": ["a"] },
        { "id": "c" },
        {
            "id": "d",
            "dependencies": ["b-1"],
            "condition": { "if": "steps.a.output && steps.b-1.output", "unless": "${steps.c.output.x}" }
        }
    ]))
    .unwrap();
    // `a` is a dependency already, by way of `b-1`.
    assert_eq!(workflow.steps()[3].soft, [StepIndex(2)]);
    assert_eq!(workflow.depth(), 3);
}

#[test]
fn limits_are_checked_before_and_while_evaluating() {
    let code = |text: String| codes(load(json!([{ "id": "a", "condition": { "if": text } }])));
    assert_eq!(code("x".repeat(4097)), ["O8306"]);
    assert_eq!(code(format!("{}inputs.a{}", "(".repeat(33), ")".repeat(33))), ["O8306"]);
    assert_eq!(code(format!("{}inputs.a", "!".repeat(33))), ["O8306"]);
    assert_eq!(code(format!("inputs{}", "[*]".repeat(100))), ["O8306"]);
    assert!(code(format!("{}inputs.a{}", "(".repeat(32), ")".repeat(32))).is_empty());

    // Twelve characters double a list.
    let doubling = JmesPath::compile(&format!("items{}", " | [@, @][]".repeat(40))).unwrap();
    let error = doubling.evaluate(&json!({ "items": [1] })).unwrap_err();
    assert!(error.to_string().contains("visits more than 100000 nodes"), "{error}");
    let wrapping = JmesPath::compile(&format!("items{}", " | [@]".repeat(500))).unwrap();
    assert!(wrapping.evaluate(&json!({ "items": 1 })).unwrap_err().to_string().contains("nested"));
    let large = json!({ "items": vec![1; 100_001] });
    assert!(JmesPath::compile("length(items)").unwrap().evaluate(&large).is_err());
}

#[test]
fn long_chains_fit_a_small_stack() {
    let check = || {
        let chains = [
            format!("inputs{}", ".a".repeat(2_040)),
            vec!["inputs.a"; 340].join(" || "),
            vec!["a"; 800].join(" | "),
            format!("inputs{}", "[0]".repeat(60)),
        ];
        for chain in chains {
            let path = JmesPath::compile(&chain).unwrap();
            assert_eq!(path.evaluate(&json!({ "inputs": {} })).unwrap(), json!(null));
        }
        let text = vec!["inputs.a"; 340].join(" || ");
        assert!(load(json!([{ "id": "a", "condition": { "if": text } }])).is_ok());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap().join().unwrap();
}

#[test]
fn functions_behave_as_documented() {
    let table = [
        ("sort_by(p, &age)[*].name", json!(["Ada", "Linus", "Grace"])),
        ("max_by(p, &age).name", json!("Grace")),
        ("min_by(p, &age).name", json!("Ada")),
        ("map(&name, p)", json!(["Grace", "Ada", "Linus"])),
        ("sum(p[*].age)", json!(172.0)),
        ("avg(`[]`)", json!(null)),
        ("join('-', sort(p[*].name))", json!("Ada-Grace-Linus")),
        ("p[::-1] | [0].name", json!("Linus")),
        ("p[-1].name", json!("Linus")),
        ("{ n: length(p), first: p[0].name }", json!({ "first": "Grace", "n": 3 })),
        ("max_by(`[]`, &a)", json!(null)),
    ];
    let data =
        json!({ "p": [{ "name": "Grace", "age": 85 }, { "name": "Ada", "age": 36 }, { "name": "Linus", "age": 51 }] });
    for (text, expected) in table {
        let value = JmesPath::compile(text).unwrap().evaluate(&data).unwrap();
        let equal = value == expected || value.as_f64().is_some_and(|number| Some(number) == expected.as_f64());
        assert!(equal, "{text}: {value}");
    }
    assert!(JmesPath::compile("sum(p)").unwrap().evaluate(&data).is_err());
    assert!(JmesPath::compile("sort_by(p, &x)").unwrap().evaluate(&data).is_err());
}

/// A condition of comparisons, and sometimes something more.
fn any_condition() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "steps.fetch.output.n",
        "steps.fetch.output.zero",
        "steps.fetch.output.text",
        "steps.fetch.output.empty",
        "steps.fetch.output.list",
        "steps.fetch.output.missing.deeper",
        "steps.fetch.output",
        "steps.fetch.status",
        "inputs.flag",
        "inputs.no",
        "`7.0`",
        "`0`",
        "`-0.0`",
        "`8.000000000000001`",
        "`[\"a\", \"b\"]`",
        "`{\"n\": 7.0}`",
        "`null`",
        "`true`",
        "'hello'",
        "length(steps.fetch.output.list)",
        "steps.fetch.output.list[0]",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 12, 2, |inner| {
        let operator = select(vec!["&&", "||", "==", "!=", "<", "<=", ">", ">="]);
        prop_oneof![
            3 => (inner.clone(), operator, inner.clone()).prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            1 => inner.prop_map(|part| format!("!({part})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_compiler_panic(
        text in r#"(steps\.|inputs|fetch|web-search|output|\$\{|\}|'|"|`|\[|\]|\(|\)|\*|@|&|\||!|==|<|\?|\.|,|:|\\|ü| |[a-z0-9-]){0,24}"#
    ) {
        let _ = holds(&json!({ "if": text }));
    }

    /// Simple conditions are evaluated in place; the result is that of the interpreter.
    #[test]
    fn every_condition_is_jmespath(text in any_condition()) {
        let value = JmesPath::compile(&text).unwrap().evaluate(&roots()).unwrap();
        let truth = match &value {
            Value::Null => false,
            Value::Bool(flag) => *flag,
            Value::Number(_) => true,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
        };
        prop_assert_eq!(holds(&json!({ "if": &text })), Ok(truth), "{}", text);
        let same = json!({ "expression": &text, "operator": "equals", "value": value });
        prop_assert_eq!(holds(&same), Ok(true), "{}", text);
    }
}
