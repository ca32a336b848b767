//! Who waits for whom: references, fallbacks, captures, and large graphs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

mod common;

use common::{Shown, codes, load, workflow};
use orchestr8_schema::{StepIndex, ValidWorkflow};
use proptest::prelude::*;
use serde_json::{Value, json};

fn indices(steps: &[StepIndex]) -> Vec<u32> {
    steps.iter().map(|step| step.0).collect()
}

#[test]
fn references_need_a_transitive_dependency_or_a_default() {
    let steps = |reader: Value| json!([{ "id": "a" }, { "id": "b", "dependencies": ["a"] }, reader]);
    let transitive = json!({ "id": "c", "dependencies": ["b"], "input": { "x": "${steps.a.output}" } });
    let soft = json!({ "id": "c", "input": { "x": "${steps.a.output ?? steps.b.output ?? 'none'}" } });
    let hard = json!({ "id": "c", "input": { "x": "${steps.a.output ?? steps.b.output}" } });
    assert_eq!(indices(&load(steps(transitive)).unwrap().steps()[2].soft), [] as [u32; 0]);
    assert_eq!(indices(&load(steps(soft)).unwrap().steps()[2].soft), [0, 1]);
    assert_eq!(codes(load(steps(hard))), ["O8303", "O8303"]);
    let own = json!({ "id": "c", "input": { "x": "${steps.c.output}" } });
    assert_eq!(codes(load(steps(own))), ["O8303"]);
    let own_soft = json!({ "id": "c", "input": { "x": "${steps.c.output ?? 1}" } });
    assert_eq!(codes(load(steps(own_soft))), ["O8203"]);
}

#[test]
fn outputs_may_read_every_step() {
    let mut document = workflow(json!([{ "id": "a" }, { "id": "b" }]));
    document["outputs"] = json!({ "both": ["${steps.a.output}", "${steps.b.output ?? 0}"], "fixed": 1 });
    let valid = ValidWorkflow::from_value(&document).unwrap();
    let scope = Shown { workflow: &valid, roots: json!({ "steps": { "a": { "output": 1 }, "b": {} } }) };
    let outputs = valid.resolve_outputs(&scope).unwrap().unwrap();
    assert_eq!(Value::Object(outputs), json!({ "both": [1, 0], "fixed": 1 }));
}

#[test]
fn a_fallback_may_read_what_it_stands_in_for_but_nothing_it_waits_for_may_wait_for_that() {
    let failing = json!({ "id": "a", "onError": "fallback", "fallbackStepId": "f" });
    let reader = json!({ "id": "f", "input": { "why": "${steps.a.error.message ?? ''}" } });
    let valid = load(json!([failing, reader])).unwrap();
    assert_eq!((valid.steps()[0].fallback, valid.steps()[1].serves), (Some(StepIndex(1)), Some(StepIndex(0))));
    assert!(valid.steps()[1].soft.is_empty());

    let chained = json!([
        { "id": "a", "onError": "fallback", "fallbackStepId": "f" },
        { "id": "f", "onError": "fallback", "fallbackStepId": "g" },
        { "id": "g", "condition": { "if": "steps.a.error && steps.f.error" } }
    ]);
    assert!(load(chained).unwrap().steps()[2].soft.is_empty());

    let waits = json!([
        { "id": "a", "onError": "fallback", "fallbackStepId": "f" },
        { "id": "f", "input": { "x": "${steps.d.output ?? null}" } },
        { "id": "d", "dependencies": ["a"] }
    ]);
    assert_eq!(codes(load(waits)), ["O8203"]);
    let depends =
        json!([{ "id": "a", "onError": "fallback", "fallbackStepId": "f" }, { "id": "f", "dependencies": ["a"] }]);
    assert_eq!(codes(load(depends)), ["O8203"]);
}

/// What the last step reads as `variables.x`, when each step's output is its own id.
fn seen(steps: Value, declared: bool) -> Result<Value, Vec<String>> {
    let mut document = workflow(steps);
    if declared {
        document["context"] = json!({ "variables": { "x": "declared" } });
    }
    let valid = ValidWorkflow::from_value(&document)
        .map_err(|error| error.diagnostics().iter().map(|found| found.code.to_string()).collect::<Vec<_>>())?;
    let outputs: serde_json::Map<_, _> =
        valid.steps().iter().map(|step| (step.id.to_string(), json!({ "output": { "v": step.id } }))).collect();
    let scope = Shown { workflow: &valid, roots: json!({ "steps": outputs, "variables": { "x": "declared" } }) };
    let mut value = valid.steps().last().unwrap().input.resolve(&scope).unwrap();
    Ok(value["x"].take())
}

#[test]
fn captures_are_causal() {
    let capture = json!({ "capture": { "x": "v" } });
    let read = json!({ "x": "${variables.x}" });
    let chain = |dependencies: Value| {
        json!([
            { "id": "a", "output": capture },
            { "id": "b", "dependencies": ["a"], "output": capture },
            { "id": "c", "dependencies": dependencies, "input": read }
        ])
    };
    assert_eq!(seen(chain(json!(["a"])), true), Ok(json!("a")));
    assert_eq!(seen(chain(json!(["b"])), true), Ok(json!("b")), "the last in dependency order");
    assert_eq!(seen(chain(json!(["a", "b"])), true), Ok(json!("b")));
    assert_eq!(seen(chain(json!([])), true), Ok(json!("declared")), "nobody else's");
    assert_eq!(seen(chain(json!([])), false), Err(vec!["O8303".to_owned()]));

    let mut soft = chain(json!([]));
    soft[2]["input"] = json!({ "x": "${variables.x ?? 'none'}" });
    assert_eq!(seen(soft.clone(), false), Ok(json!("b")));
    assert_eq!(indices(&load(soft).unwrap().steps()[2].soft), [1]);

    let mut whole = chain(json!(["b"]));
    whole[2]["input"] = json!({ "x": "${variables}" });
    assert_eq!(seen(whole, true), Ok(json!({ "x": "b" })));

    let concurrent = json!([{ "id": "a", "output": capture }, { "id": "b", "output": capture }]);
    assert_eq!(codes(load(concurrent)), ["O8313"]);
    let ordered_by_reading = json!([
        { "id": "a", "output": capture },
        { "id": "b", "output": capture, "condition": { "if": "steps.a.status" } }
    ]);
    assert_eq!(codes(load(ordered_by_reading)), [""; 0]);
}

#[test]
fn captures_reach_conditions_and_many_steps() {
    let mut steps = vec![json!({ "id": "s0", "output": { "capture": ["x"] } })];
    for index in 1..30 {
        steps.push(json!({
            "id": format!("s{index}"),
            "dependencies": [format!("s{}", index - 1)],
            "condition": { "if": "variables.x == 'go'" },
            "output": { "capture": ["x"] }
        }));
    }
    let valid = load(Value::Array(steps)).unwrap();
    let scope = Shown { workflow: &valid, roots: json!({ "steps": { "s28": { "output": { "x": "go" } } } }) };
    let holds = |step: usize| valid.steps()[step].condition.as_ref().unwrap().holds(&scope).unwrap();
    assert!(holds(29) && !holds(28), "each reads its own dependency's");
}

#[test]
fn each_knot_is_reported_once_and_what_waits_for_it_is_not() {
    let invalid = load(json!([
        { "id": "behind", "dependencies": ["a"] },
        { "id": "a", "dependencies": ["b", "c"] },
        { "id": "b", "dependencies": ["a"] },
        { "id": "c", "dependencies": ["b", "x"] },
        { "id": "x", "dependencies": ["z"] },
        { "id": "y", "dependencies": ["x"] },
        { "id": "z", "condition": { "if": "steps.y.status" } }
    ]))
    .unwrap_err();
    let messages: Vec<_> = invalid.diagnostics().iter().map(|found| found.message.as_str()).collect();
    assert_eq!(messages, ["Circular dependency detected: a → b → a", "Circular dependency detected: x → z → y → x"]);
}

/// A chain in which each step reads the one before, and the first.
fn chain(count: usize) -> Value {
    let steps = (0..count).map(|index| match index {
        0 => json!({ "id": "s0" }),
        _ => json!({
            "id": format!("s{index}"),
            "dependencies": [format!("s{}", index - 1)],
            "input": { "last": format!("${{steps.s{}.output}}", index - 1), "far": format!("${{steps.s{}.output}}", index / 2) }
        }),
    });
    workflow(steps.collect())
}

#[test]
fn a_chain_of_ten_thousand_steps_is_no_trouble() {
    let document = chain(10_000);
    let check = move || {
        let valid = ValidWorkflow::from_value(&document).unwrap();
        assert_eq!((valid.depth(), valid.steps().len()), (10_000, 10_000));
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap().join().unwrap();
    assert_eq!(codes(ValidWorkflow::from_value(&chain(10_001))), ["O8005"]);
}

#[test]
fn a_ring_of_ten_thousand_steps_is_one_cycle() {
    let steps = (0..10_000)
        .map(|index| json!({ "id": format!("s{index}"), "dependencies": [format!("s{}", (index + 1) % 10_000)] }));
    let invalid = load(steps.collect()).unwrap_err();
    assert_eq!(invalid.diagnostics().len(), 1);
    assert!(invalid.diagnostics()[0].message.starts_with("Circular dependency detected: s0 → s1 → s2"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Compares with the obvious, slow way.
    #[test]
    fn the_graph_agrees_with_a_search(edges in proptest::collection::vec((0..24_usize, 0..24_usize), 0..60), reads in proptest::collection::vec((0..24_usize, 0..24_usize), 0..40)) {
        let mut hard = vec![Vec::new(); 24];
        for (a, b) in edges {
            // Towards lower numbers only, so that there is no cycle.
            if a != b && !hard[a.max(b)].contains(&a.min(b)) {
                hard[a.max(b)].push(a.min(b));
            }
        }
        let mut before = vec![[false; 24]; 24];
        for step in 0..24 {
            for dependency in hard[step].clone() {
                before[step][dependency] = true;
                let behind = before[dependency];
                before[step].iter_mut().zip(behind).for_each(|(known, other)| *known |= other);
            }
        }
        let mut inputs = vec![Vec::new(); 24];
        for (reader, target) in &reads {
            if reader != target {
                inputs[*reader].push(*target);
            }
        }
        let steps = (0..24).map(|step| json!({
            "id": format!("s{step}"),
            "dependencies": hard[step].iter().map(|other| format!("s{other}")).collect::<Vec<_>>(),
            "input": { "x": inputs[step].iter().map(|other| format!("${{steps.s{other}.output}}")).collect::<Vec<_>>() }
        }));
        let wrong = inputs.iter().enumerate().map(|(step, list)| list.iter().filter(|other| !before[step][**other]).count()).sum::<usize>();
        prop_assert_eq!(codes(load(steps.collect())).len(), wrong);
    }
}
