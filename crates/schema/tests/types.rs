//! Types against what JSON Schema means: nothing that is seen is wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

mod common;

use orchestr8_schema::{
    json_schema::{JsonValidator, fill_defaults},
    types::{Access, Problem, Type, Verdict},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use common::schemas::{any_schema, any_value, schema_with_value};

#[test]
fn what_does_not_fit_is_explained() {
    let target = Type::of_schema(&json!({
        "type": "object",
        "properties": {
            "people": { "type": "array", "items": { "$ref": "#/$defs/person" } },
            "mode": { "enum": ["fast", "careful"] }
        },
        "required": ["people"],
        "additionalProperties": false,
        "$defs": {
            "person": {
                "type": "object",
                "properties": { "name": { "type": "string", "minLength": 1 }, "boss": { "$ref": "#/$defs/person" } },
                "required": ["name"]
            }
        }
    }));
    let verdict = |source: &Type| match target.accepts(source) {
        Verdict::Proven => "proven".to_owned(),
        Verdict::Unproven(why) => format!("unproven: {why}"),
        Verdict::Refuted(mismatch) => mismatch.to_string(),
        _ => panic!("no other verdict"),
    };
    let value = |value: Value| verdict(&Type::of_value(&value));
    let schema = |person: Value| {
        verdict(&Type::of_schema(&json!({
            "type": "object",
            "properties": { "people": { "type": "array", "items": person } },
            "required": ["people"],
            "additionalProperties": false
        })))
    };
    insta::assert_debug_snapshot!(
        [
            value(json!({ "people": [{ "name": "Ada", "boss": { "name": "Grace" } }], "mode": "fast" })),
            value(json!({ "people": [{ "name": "Ada", "boss": { "name": 1 } }] })),
            value(json!({ "people": [{ "name": "" }] })),
            value(json!({ "mode": "slow", "people": [] })),
            value(json!({ "mode": "fast" })),
            value(json!({ "people": [], "mood": "fast" })),
            value(json!([])),
            schema(json!({ "type": "object", "properties": { "name": { "type": "string", "minLength": 3 } }, "required": ["name"], "additionalProperties": false })),
            schema(json!({ "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"], "additionalProperties": false })),
            schema(json!({ "type": "object", "properties": { "name": { "type": "string" } } })),
            schema(json!({ "type": ["object", "null"] })),
            schema(json!({ "type": "object", "not": { "required": ["x"] } })),
            schema(json!(true)),
        ],
        @r#"
    [
        "proven",
        "`people[0].boss.name`: expected string, found 1",
        "`people[0].name`: \"\" is shorter than 1 character",
        "`mode`: expected \"fast\" or \"careful\", found \"slow\"",
        "`people`: it is missing",
        "`mood`: there is no such property",
        "expected {people, mode?}, found array",
        "proven",
        "unproven: minLength",
        "`people[].name`: it may be missing",
        "`people[]`: expected {name, boss?}, but it may be null",
        "unproven: nothing says what the object contains",
        "unproven: nothing says what it is",
    ]
    "#
    );
}

#[test]
fn a_schema_that_refers_to_itself_is_compared_in_the_end() {
    let list = |payload: Value| {
        let list = json!({
            "$ref": "#/$defs/list",
            "$defs": { "list": { "oneOf": [
                { "type": "null" },
                { "type": "object", "properties": { "head": payload, "tail": { "$ref": "#/$defs/list" } }, "required": ["head", "tail"], "additionalProperties": false }
            ] } }
        });
        Type::of_schema(&list)
    };
    let (integers, numbers) = (list(json!({ "type": "integer" })), list(json!({ "type": "number" })));
    assert!(matches!(numbers.accepts(&integers), Verdict::Proven));
    let Verdict::Refuted(mismatch) = integers.accepts(&numbers) else { panic!() };
    assert_eq!(
        (&*mismatch.path, mismatch.problem),
        ("head", Problem::Disagree { expected: "integer".to_owned(), found: "number".to_owned() })
    );
}

#[test]
fn no_schema_takes_long() {
    // Each doubles what lies below; one refers to itself in every choice.
    let mut chain = json!({ "type": "string" });
    for _ in 0..20 {
        chain =
            json!({ "oneOf": [{ "type": "object", "properties": { "a": chain.clone() }, "required": ["a"] }, chain] });
        if chain.to_string().len() > 100_000 {
            break;
        }
    }
    let knot = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "oneOf": [
        { "type": "object", "properties": { "x": { "$ref": "#/$defs/a" }, "y": { "$ref": "#/$defs/a" } }, "required": ["x", "y"] },
        { "type": "object", "properties": { "y": { "$ref": "#/$defs/a" }, "x": { "$ref": "#/$defs/a" } }, "required": ["x", "y"] },
        { "$ref": "#/$defs/a" }
    ] } } });
    let many: Vec<_> = (0..1000).map(|n| json!({ "anyOf": [{ "const": n }, { "type": "null" }] })).collect();
    let wide = json!({ "allOf": many });
    for schema in [&chain, &knot, &wide] {
        let (left, right) = (Type::of_schema(schema), Type::of_schema(schema));
        let _ = left.accepts(&right);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_value_is_accepted_as_the_schema_accepts_it(schema in any_schema(), value in any_value()) {
        let valid = JsonValidator::compile(&schema).unwrap().validate(&value).is_ok();
        match Type::of_schema(&schema).accepts(&Type::of_value(&value)) {
            Verdict::Proven => prop_assert!(valid, "proven: {schema} {value}"),
            Verdict::Refuted(mismatch) => prop_assert!(!valid, "refuted: {schema} {value} {mismatch}"),
            _ => {}
        }
    }

    #[test]
    fn a_valid_value_is_seen_as_the_schema_says((schema, value) in schema_with_value()) {
        prop_assert!(JsonValidator::compile(&schema).unwrap().validate(&value).is_ok(), "the generator: {schema} {value}");
        let mut todo = vec![(Type::of_schema(&schema), &value)];
        while let Some((of, value)) = todo.pop() {
            if let Verdict::Refuted(mismatch) = of.accepts(&Type::of_value(value)) {
                prop_assert!(false, "{schema} {value}: {mismatch}");
            }
            for name in ["a", "b", "c", "d"] {
                match (of.property(name), value.get(name)) {
                    (Access::Present(below) | Access::MaybeAbsent { of: below, .. }, Some(value)) => todo.push((below, value)),
                    (Access::Present(_), None) => prop_assert!(false, "{schema} promises `{name}`, {value} lacks it"),
                    (Access::Impossible, Some(_)) => prop_assert!(false, "{schema} excludes `{name}`, {value} has it"),
                    _ => {}
                }
            }
            for index in 0..3 {
                match (of.index(index), value.get(index)) {
                    (Access::Present(below) | Access::MaybeAbsent { of: below, .. }, Some(value)) => todo.push((below, value)),
                    (Access::Present(_), None) => prop_assert!(false, "{schema} promises [{index}], {value} lacks it"),
                    (Access::Impossible, Some(_)) => prop_assert!(false, "{schema} excludes [{index}], {value} has it"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn what_is_proven_of_a_schema_holds_for_its_values((schema, value) in schema_with_value(), target in any_schema()) {
        if let Verdict::Proven = Type::of_schema(&target).accepts(&Type::of_schema(&schema)) {
            prop_assert_eq!(JsonValidator::compile(&target).unwrap().validate(&value), Ok(()), "{} {}", schema, target);
        }
    }

    #[test]
    fn filled_defaults_are_present(schema in any_schema(), value in any_value()) {
        let mut value = if value.is_object() { value } else { json!({}) };
        fill_defaults(&schema, &mut value);
        if JsonValidator::compile(&schema).unwrap().validate(&value).is_ok() {
            let of = Type::of_inputs(&schema);
            for name in ["a", "b", "c"] {
                match of.property(name) {
                    Access::Present(below) => {
                        prop_assert!(value.get(name).is_some(), "{} {}", schema, value);
                        let refuted = matches!(below.accepts(&Type::of_value(&value[name])), Verdict::Refuted(_));
                        prop_assert!(!refuted, "{} {}", schema, value);
                    }
                    Access::Impossible => prop_assert!(value.get(name).is_none(), "{} {}", schema, value),
                    _ => {}
                }
            }
        }
    }
}
