//! Documents as a whole: reading, writing, and the schema of the format.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

mod common;

use std::sync::LazyLock;

use common::{VERTICAL_SLICE, codes, workflow};
use orchestr8_schema::{
    ValidWorkflow, Workflow,
    json_schema::{JsonValidator, PublishedSchema, fill_defaults, schema_hash, workflow_schema},
    source::{Limits, Options, load, load_value, parse},
    validate,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A workflow that uses every field.
fn everything() -> Value {
    json!({
        "version": "1.2.3", "schemaVersion": "1.0.0", "x-note": { "any": "thing" },
        "metadata": {
            "id": "all", "name": "All", "description": "d", "tags": ["t"],
            "createdAt": "2025-01-17T00:00:00.000Z", "updatedAt": "2025-01-18T00:00:00.000Z"
        },
        "inputs": { "type": "object", "properties": { "n": { "type": "integer", "default": 3 } } },
        "outputs": { "o": "${steps.b.output}" },
        "context": { "environment": { "A": "b" }, "variables": { "v": [1, null] }, "secretRefs": ["secret://p/key"] },
        "allowedEnvVars": ["HOME"],
        "steps": [
            {
                "id": "a", "name": "A", "description": "d", "agent": { "id": "@acme/agent", "version": "^1.0.0", "config": { "k": 1 } },
                "condition": { "if": "inputs.n > `1`", "unless": "env.HOME" },
                "input": {
                    "schema": { "type": "object" }, "mapping": { "x": "${inputs.n}" }, "transform": "@",
                    "expressionSecurity": { "maxExpansionDepth": 5, "maxExpansionSize": 100 }
                },
                "output": { "schema": { "type": "object" }, "capture": { "w": "items[0].name" } },
                "policies": {
                    "timeout": 2000, "deadline": 60000, "idempotencyKey": "k-${inputs.n}",
                    "retry": { "maxAttempts": 2, "baseDelayMs": 200, "maxDelayMs": 400, "jitterStrategy": "full-jitter", "jitter": false, "retryableErrors": ["NetworkError"] },
                    "circuitBreaker": {
                        "enabled": true, "failureThreshold": 2, "resetTimeoutMs": 1000, "halfOpenPolicy": "single-probe", "key": "k",
                        "keyStrategy": { "agentId": true, "includeTarget": false },
                        "errorClassification": { "countTimeouts": true, "countNetworkErrors": true, "count5xxErrors": false, "countRetryableErrors": true }
                    },
                    "rateLimit": { "key": "k", "requestsPerMinute": 5, "tokensPerMinute": 6, "maxWait": 7 },
                    "bulkhead": { "key": "k", "maxConcurrent": 2, "maxQueue": 0, "queueTimeout": 9 }
                },
                "onError": "fallback", "fallbackStepId": "f"
            },
            { "id": "f", "agent": { "id": "@acme/agent" }, "output": { "capture": ["y"] } },
            {
                "id": "b", "agent": { "id": "@acme/agent", "version": "~1.2.0" }, "dependencies": ["a"],
                "condition": { "expression": "${variables.w}", "operator": "greater-than", "value": 3 },
                "onError": "retry",
                "compensate": { "agent": { "id": "@acme/agent" }, "input": { "i": "${self.output.i}" }, "policies": { "timeout": 2000 }, "on": "attempt" },
                "hooks": {
                    "before": [{ "agent": { "id": "@acme/agent" }, "input": { "x": "${self.input}" }, "mode": "guard", "timeout": 1000 }],
                    "after": [{ "tool": { "name": "http.get" } }],
                    "onError": [{ "tool": { "name": "server:log" }, "input": "${self.error}" }]
                }
            },
            { "id": "t", "tool": { "name": "http.get", "arguments": { "url": "${inputs.n}" } } },
            {
                "id": "p", "output": { "value": "${steps.p1.output}" },
                "parallel": {
                    "steps": [{ "id": "p1", "agent": { "id": "@acme/agent" } }, { "id": "p2", "wait": { "duration": 5 } }],
                    "join": { "atLeast": 1 }, "cancelRemaining": false
                }
            },
            {
                "id": "c", "branch": {
                    "cases": [{ "name": "one", "when": "inputs.n", "steps": [{ "id": "c1", "wait": { "until": "2030-01-01T00:00:00.000Z" } }] }],
                    "default": { "steps": [] }
                }
            },
            {
                "id": "m", "map": {
                    "items": "${inputs.l ?? []}", "as": "file", "indexAs": "at", "key": "${file.path}", "concurrency": 4,
                    "steps": [{ "id": "m1", "wait": { "duration": "${file.wait}" } }],
                    "output": { "o": "${steps.m1.output}" }, "onItemError": "skip",
                    "accumulator": { "init": 0, "value": "${accumulator}" }, "maxItems": 5
                }
            },
            {
                "id": "l", "policies": { "deadline": 60000 },
                "loop": {
                    "until": "loop.value", "maxIterations": 3, "steps": [{ "id": "l1", "wait": { "signal": "go", "timeout": 1000 } }],
                    "init": { "a": 1 }, "value": "${steps.l1.output}", "delay": 10, "onLimit": "accept"
                }
            },
            {
                "id": "q",
                "approval": { "prompt": "Go ${inputs.n}?", "schema": { "type": "object" }, "timeout": 1000, "onTimeout": { "answer": {} } }
            },
            { "id": "u", "wait": { "until": "${inputs.when}" } }
        ],
        "hooks": {
            "beforeExecution": [{ "tool": { "name": "log" }, "mode": "guard" }], "afterExecution": [{ "tool": { "name": "log" } }],
            "onError": [{ "tool": { "name": "log" } }], "onCancel": [{ "tool": { "name": "log" } }],
            "beforeStep": [{ "tool": { "name": "log" } }], "afterStep": [{ "tool": { "name": "log" } }],
            "onStepError": [{ "tool": { "name": "log" } }]
        },
        "policies": {
            "timeout": { "global": 600000, "perStep": 2000 },
            "resilience": { "retry": { "maxAttempts": 4 } },
            "concurrency": { "maxConcurrentSteps": 3, "cleanupTimeoutMs": 1000 },
            "cancellation": { "gracePeriod": 0, "propagate": false },
            "onFailure": "continue",
            "compensation": { "onFailure": false, "onCancel": true, "timeout": 1000 },
            "budget": { "maxTokens": 10, "maxCostUsd": 0.5, "maxSteps": 3, "maxDuration": 1000 }
        }
    })
}

#[test]
fn every_field_is_read_and_written_back() {
    let mut document = everything();
    let valid = load_value(&document, &Options::new().strict(true)).unwrap();
    assert_eq!(valid.warnings(), []);
    document.as_object_mut().unwrap().shift_remove("x-note");
    assert_eq!(serde_json::to_value(&valid).unwrap(), document);
    assert_eq!(validate(valid.workflow().clone(), &Options::new()).unwrap(), valid);
}

#[test]
fn old_spellings_mean_the_same() {
    let read = |policies: Value| {
        let mut document = workflow(json!([{ "id": "a" }]));
        document["policies"] = policies;
        let valid = ValidWorkflow::from_value(&document).unwrap();
        let codes: Vec<_> = valid.warnings().iter().map(|found| found.code.as_str()).collect();
        (serde_json::to_value(&valid.workflow().policies).unwrap(), codes.join(" "))
    };
    let table = [
        (
            json!({ "resilience": { "retry": { "initialDelay": "1s", "maxDelay": 2000 } } }),
            json!({ "resilience": { "retry": { "baseDelayMs": 1000, "maxDelayMs": 2000 } } }),
            "O8601 O8601",
        ),
        (
            json!({ "resilience": { "retry": { "jitterStrategy": "none", "multiplier": 2, "backoff": "exponential" } } }),
            json!({ "resilience": { "retry": { "jitter": false } } }),
            "O8601 O8602 O8602",
        ),
        (
            json!({ "resilience": { "retry": { "jitterStrategy": "full", "retryableErrors": ["TIMEOUT"] } } }),
            json!({ "resilience": { "retry": { "jitterStrategy": "full-jitter", "retryableErrors": ["TimeoutError"] } } }),
            "O8601",
        ),
        (
            json!({ "resilience": { "circuitBreaker": { "recoveryTime": "1m", "halfOpenPolicy": "gradual" } } }),
            json!({ "resilience": { "circuitBreaker": { "resetTimeoutMs": 60000, "halfOpenPolicy": "single-probe" } } }),
            "O8601 O8601",
        ),
        (
            json!({ "cancellation": { "graceful": true, "timeout": 5000 } }),
            json!({ "cancellation": { "gracePeriod": 5000 } }),
            "O8601 O8601",
        ),
        (
            json!({ "cancellation": { "graceful": false, "abortSignal": true } }),
            json!({ "cancellation": { "gracePeriod": 0 } }),
            "O8601 O8602",
        ),
        (
            json!({ "resilience": { "compositionOrder": "retry-cb-timeout" }, "resilienceBudget": {} }),
            json!({}),
            "O8602 O8602",
        ),
        (json!({ "onFailure": null, "timeout": { "global": null } }), json!({ "timeout": {} }), ""),
    ];
    for (written, meant, warnings) in table {
        assert_eq!(read(written.clone()), (meant, warnings.to_owned()), "{written}");
    }
}

#[test]
fn a_broken_step_is_still_known_to_others() {
    let mut document =
        workflow(json!([{ "id": "a" }, { "id": "b", "dependencies": ["a"], "input": { "x": "${steps.a.output}" } }]));
    document["steps"][0]["agent"] = json!({});
    assert_eq!(codes(ValidWorkflow::from_value(&document)), ["O8101"]);
}

#[test]
fn inputs_are_filled_and_checked() {
    let valid = ValidWorkflow::from_value(&everything()).unwrap();
    assert_eq!(valid.check_input(json!({})), Ok(json!({ "n": 3 })));
    assert_eq!(valid.check_input(json!({ "n": "x" })).unwrap_err()[0].path(), "/n");
    assert!(valid.check_input(json!([])).is_err());
    let schema = json!({
        "properties": { "a": { "default": {}, "properties": { "b": { "default": 1 } } }, "l": { "items": { "$ref": "#/$defs/i" } } },
        "$defs": { "i": { "properties": { "c": { "default": true } } } }
    });
    let mut value = json!({ "l": [{}, { "c": null }] });
    fill_defaults(&schema, &mut value);
    assert_eq!(value, json!({ "l": [{ "c": true }, { "c": null }], "a": { "b": 1 } }));
}

#[test]
fn values_are_checked_without_coercion_and_with_formats() {
    let schema =
        json!({ "properties": { "n": { "type": "integer" }, "at": { "format": "date-time" } }, "required": ["x"] });
    let validator = JsonValidator::compile(&schema).unwrap();
    let violations = validator.validate(&json!({ "n": "1", "at": "yesterday" })).unwrap_err();
    let mut paths: Vec<_> = violations.iter().map(|violation| violation.path()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["", "/at", "/n"]);
}

#[test]
fn the_format_has_a_schema_that_accepts_what_is_read() {
    let schema = JsonValidator::compile(&workflow_schema()).unwrap();
    let slice: Value = serde_json::from_str(VERTICAL_SLICE).unwrap();
    let accepts = |document: &Value| schema.validate(document).is_ok();
    for document in [&slice, &everything()] {
        assert_eq!(schema.validate(document), Ok(()));
    }
    let mut lenient = slice.clone();
    lenient["steps"][0]["policies"] =
        json!({ "timeout": "30s", "x-why": 1, "retry": { "jitterStrategy": "full", "baseDelay": "1s" } });
    lenient["steps"][0]["dependsOn"] = json!([]);
    lenient["metadata"]["description"] = Value::Null;
    lenient["steps"][1]["condition"] = Value::Null;
    assert_eq!(schema.validate(&lenient), Ok(()));
    assert!(ValidWorkflow::from_value(&lenient).is_ok());
    let mutants: [fn(&mut Value); 11] = [
        |document| {
            document.as_object_mut().unwrap().shift_remove("version");
        },
        |document| document["version"] = json!(1),
        |document| document["metadata"]["id"] = json!(""),
        |document| document["steps"] = json!([]),
        |document| document["steps"][0]["id"] = json!("a b"),
        |document| {
            document["steps"][0].as_object_mut().unwrap().shift_remove("agent");
        },
        |document| document["steps"][0]["agent"]["id"] = json!("hello"),
        |document| document["steps"][0]["wait"] = json!({ "duration": 5 }),
        |document| document["steps"][0] = json!({ "id": "a", "parallel": { "steps": [{ "id": "b" }] } }),
        |document| document["steps"][0]["hooks"] = json!({ "before": [{ "mode": "guard" }] }),
        |document| document["policies"]["timeout"] = json!({ "global": "1.5s" }),
    ];
    for (number, mutate) in mutants.iter().enumerate() {
        let mut mutant = slice.clone();
        mutate(&mut mutant);
        assert!(!accepts(&mutant), "mutant {number}");
        assert!(ValidWorkflow::from_value(&mutant).is_err(), "mutant {number}");
    }
    assert_eq!(schema_hash().len(), 64);
}

/// Renew them with `ORCHESTR8_RENEW=1 cargo test -p orchestr8-schema --test documents`.
#[test]
fn published_schemas_are_current() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    for published in PublishedSchema::ALL {
        let path = folder.join(format!("{}.json", published.name()));
        let current = format!("{:#}\n", published.schema());
        JsonValidator::compile(&published.schema()).unwrap();
        if std::env::var_os("ORCHESTR8_RENEW").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &current).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == current, "{} is not current: set ORCHESTR8_RENEW=1 and run this test", path.display());
    }
}

#[test]
fn other_documents_are_read_under_the_same_rules() {
    assert_eq!(parse("[1, {\"a\": null}]", &Options::new()).unwrap(), json!([1, { "a": null }]));
    assert!(parse("{\"a\": 1, \"a\": 2}", &Options::new()).is_err());
    let mut limits = Limits::default();
    limits.nodes = 3;
    assert!(parse("[1, 2, 3]", &Options::new().limits(limits)).is_err());
}

#[cfg(not(feature = "yaml"))]
#[test]
fn without_yaml_there_is_json_without_positions() {
    let invalid = load("{\"version\": 1}", &Options::new()).unwrap_err();
    assert!(invalid.diagnostics().iter().all(|found| found.span.is_none()));
    assert_eq!(load("version: 1", &Options::new()).unwrap_err().diagnostics()[0].code.as_str(), "O8006");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ -~äß€]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec(("(schema|mapping|[a-z]{1,4})", inner), 0..3)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Puts any value at any place of a document.
fn any_mutant() -> impl Strategy<Value = Value> {
    (any::<prop::sample::Index>(), any_json()).prop_map(|(index, value)| {
        let mut document = everything();
        let mut places = vec![String::new()];
        let mut next = 0;
        while next < places.len() {
            let place = places[next].clone();
            match document.pointer(&place) {
                Some(Value::Object(map)) => places.extend(map.keys().map(|key| format!("{place}/{key}"))),
                Some(Value::Array(items)) => places.extend((0..items.len()).map(|index| format!("{place}/{index}"))),
                _ => {}
            }
            next += 1;
        }
        let place: &String = index.get(&places);
        *document.pointer_mut(place).unwrap() = value;
        document
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_written_back_as_the_same(document in any_mutant()) {
        if let Ok(workflow) = Workflow::from_value(&document) {
            let written = serde_json::to_value(&workflow).unwrap();
            prop_assert_eq!(Workflow::from_value(&written).unwrap(), workflow);
        }
    }

    #[test]
    fn what_is_accepted_is_accepted_by_the_schema(document in any_mutant()) {
        if ValidWorkflow::from_value(&document).is_ok() {
            static SCHEMA: LazyLock<JsonValidator> = LazyLock::new(|| JsonValidator::compile(&workflow_schema()).unwrap());
            prop_assert_eq!(SCHEMA.validate(&document), Ok(()));
        }
    }

    #[test]
    fn text_and_value_give_the_same(document in any_mutant()) {
        let by_text = load(document.to_string(), &Options::new());
        let by_value = load_value(&document, &Options::new());
        let (mut by_text, mut by_value) = (codes(by_text), codes(by_value));
        // An object is where its first key is, or where it begins itself.
        by_text.sort();
        by_value.sort();
        prop_assert_eq!(by_text, by_value);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = load(bytes, &Options::new());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in r#"(version|steps|metadata|: |- |\n|  |\{|\}|\[|\]|,|"|'|&a |\*a|\||>|!|#|\?|ü|[a-z0-9]){0,40}"#) {
        let _ = load(text, &Options::new());
    }
}
