//! Steps in steps: what inner steps see, who waits for whom, and what is evaluated where.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

mod common;

use std::borrow::Cow;

use common::codes;
use orchestr8_schema::{
    InvalidWorkflow, StepIndex, ValidWorkflow,
    expression::{LoopField, OwnField, Root, Scope},
    source::{Options, load_value},
    validate::{LoadError, LoopTest, ValidKind, WorkflowLoader},
};
use serde_json::{Value, json};

fn load(steps: Value) -> Result<ValidWorkflow, InvalidWorkflow> {
    load_with(steps, &json!({}))
}

/// Adds an agent to each step that has no kind, and further fields to the root.
fn load_with(mut steps: Value, more: &Value) -> Result<ValidWorkflow, InvalidWorkflow> {
    fn complete(value: &mut Value) {
        let kinds = ["agent", "tool", "parallel", "branch", "map", "loop", "workflow", "wait", "approval"];
        match value {
            Value::Array(items) => items.iter_mut().for_each(complete),
            Value::Object(map) => {
                if map.contains_key("id") && !kinds.iter().any(|kind| map.contains_key(*kind)) {
                    map.insert("agent".into(), json!({ "id": "@acme/agent" }));
                }
                let holders = ["parallel", "branch", "map", "loop", "steps", "cases", "default"];
                for key in holders {
                    if let Some(inner) = map.get_mut(key) {
                        complete(inner);
                    }
                }
            }
            _ => {}
        }
    }
    complete(&mut steps);
    let mut document = json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    load_value(&document, &Options::new())
}

fn soft<'w>(workflow: &'w ValidWorkflow, id: &str) -> Vec<&'w str> {
    let step = workflow.step(workflow.step_index(id).unwrap());
    step.soft.iter().map(|other| workflow.step(*other).id.as_str()).collect()
}

#[test]
fn a_reference_from_inside_counts_as_the_composites_own() {
    let steps = |dependencies: Value, text: &str| {
        json!([
            { "id": "a" },
            { "id": "m", "dependencies": dependencies, "map": { "items": [], "steps": [
                { "id": "g", "parallel": { "steps": [{ "id": "deep", "input": { "x": text } }] } }
            ] } }
        ])
    };
    assert!(load(steps(json!(["a"]), "${steps.a.output}")).is_ok());
    assert_eq!(codes(load(steps(json!([]), "${steps.a.output}"))), ["O8303"]);
    let waiting = load(steps(json!([]), "${steps.a.output ?? 1}")).unwrap();
    assert_eq!(soft(&waiting, "m"), ["a"]);
    assert!(soft(&waiting, "g").is_empty() && soft(&waiting, "deep").is_empty());

    // What the composite waits for may not wait for the composite.
    let mut ring = steps(json!([]), "${steps.a.output ?? 1}");
    ring[0]["dependencies"] = json!(["m"]);
    assert_eq!(codes(load(ring)), ["O8203"]);
    let own = steps(json!([]), "${steps.m.output ?? 1}");
    assert_eq!(codes(load(own)), ["O8203"], "a step inside waits for what holds it");
    assert_eq!(codes(load(steps(json!([]), "${steps.m.output}"))), ["O8303"]);
}

#[test]
fn inner_steps_are_visible_inside_only() {
    let group = json!({ "id": "g", "parallel": { "steps": [
        { "id": "x" },
        { "id": "y", "dependencies": ["x"], "input": { "v": "${steps.x.output}" } },
        { "id": "z", "input": { "v": "${steps.x.output}" } }
    ] } });
    assert_eq!(codes(load(json!([group]))), ["O8303"], "an order between inner steps is asked for as anywhere");
    let outside = |text: &str| json!([{ "id": "g", "parallel": { "steps": [{ "id": "x" }] } }, { "id": "r", "dependencies": ["g"], "input": { "v": text } }]);
    assert!(load(outside("${steps.g.output.x}")).is_ok());
    let invalid = load(outside("${steps.x.output}")).unwrap_err();
    assert_eq!(invalid.diagnostics()[0].code.as_str(), "O8302");
    assert_eq!(invalid.diagnostics()[0].help.as_deref(), Some("read `steps.g.output`"));
    let cases = json!([{ "id": "b", "branch": { "cases": [
        { "when": "inputs.a", "steps": [{ "id": "x" }] },
        { "when": "inputs.b", "steps": [{ "id": "y", "input": { "v": "${steps.x.output ?? 0}" } }] }
    ] } }]);
    assert_eq!(codes(load(cases)), ["O8302"], "cases do not see each other");
}

#[test]
fn what_is_evaluated_behind_the_body_sees_its_steps() {
    let text = "${steps.x.output}";
    let parallel = json!([{ "id": "c", "parallel": { "steps": [{ "id": "x" }] }, "output": text }]);
    let map = |key: &str, value: Value| {
        let mut map = json!({ "items": [], "steps": [{ "id": "x" }] });
        map[key] = value;
        json!([{ "id": "c", "map": map }])
    };
    let looped = |key: &str, value: Value| {
        let mut looped = json!({ "maxIterations": 2, "onLimit": "accept", "steps": [{ "id": "x" }] });
        looped["until"] = json!("loop.index");
        looped[key] = value;
        json!([{ "id": "c", "loop": looped }])
    };
    for valid in [
        parallel,
        map("output", json!({ "v": text })),
        map("accumulator", json!({ "value": [text, "${accumulator}", "${item}"] })),
        looped("value", json!(text)),
        looped("until", json!("steps.x.output.done")),
    ] {
        assert_eq!(codes(load(valid.clone())), [""; 0], "{valid}");
    }
    let mut replaced = map("items", json!([]));
    replaced[0]["output"] = json!(text);
    let mut repeated = looped("value", json!(null));
    repeated[0]["loop"].as_object_mut().unwrap().shift_remove("until");
    repeated[0]["loop"]["while"] = json!("steps.x.output.more");
    for invalid in [map("items", json!(text)), map("key", json!(text)), looped("init", json!(text)), replaced, repeated]
    {
        assert_eq!(codes(load(invalid.clone())), ["O8302"], "{invalid}");
    }
}

#[test]
fn roots_of_maps_and_loops_are_visible_inside_only() {
    let nested = |item: &str, text: &str| {
        json!([{ "id": "outer", "map": { "items": "${inputs.files}", "steps": [
            { "id": "inner", "map": { "items": "${item.parts}", "as": item, "indexAs": "at", "steps": [
                { "id": "leaf", "input": { "v": text } }
            ] } }
        ] } }])
    };
    assert_eq!(codes(load(nested("part", "${item.x} ${index} ${part.y} ${at}"))), [""; 0]);
    assert_eq!(codes(load(nested("item", "x"))), ["O8108"]);
    assert_eq!(codes(load(nested("inputs", "x"))), ["O8108"]);
    assert_eq!(codes(load(nested("part", "${loop.index}"))), ["O8311"]);
    assert_eq!(codes(load(json!([{ "id": "a", "input": { "v": "${item.x}" } }]))), ["O8311"]);
    assert_eq!(codes(load(json!([{ "id": "a", "input": { "v": "${inputs.x ?? 'item.x'}" } }]))), [""; 0]);
    let body = |concurrency: u32, text: &str| {
        json!([{ "id": "m", "map": {
            "items": [], "concurrency": concurrency, "accumulator": { "init": 0, "value": "${accumulator}" },
            "steps": [{ "id": "x", "input": { "v": text } }]
        } }])
    };
    assert_eq!(codes(load(body(1, "${accumulator}"))), [""; 0]);
    assert_eq!(codes(load(body(2, "${accumulator}"))), ["O8510"]);
    assert_eq!(codes(load(body(2, "x"))), [""; 0], "behind the body it is in order, whatever runs at once");
}

/// Shows what maps, loops and hooks are about.
struct Frames;

impl Scope for Frames {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        Some(Cow::Owned(match root {
            Root::Item(StepIndex(map)) => json!({ "of": map, "name": "i" }),
            Root::ItemIndex(_) => json!(4),
            Root::Loop { field: LoopField::Index, .. } => json!(2),
            Root::Loop { field: LoopField::Value, step } => json!({ "score": 0.95, "of": step.0 }),
            Root::Own(OwnField::Output) => json!([1, 2]),
            Root::Own(OwnField::Point) => json!("after"),
            Root::Accumulator(_) => json!(10),
            _ => return None,
        }))
    }
}

#[test]
fn roots_name_the_composite_that_they_belong_to() {
    let workflow = load(json!([{ "id": "m", "map": { "items": [], "steps": [
        { "id": "l", "loop": { "until": "loop.value.score >= `0.9` && item.name == 'i'", "maxIterations": 3, "steps": [
            { "id": "x", "input": { "item": "${item}", "all": "${loop}", "n": "${index}" },
              "hooks": { "after": [{ "tool": { "name": "t" }, "input": { "self": "${self}", "at": "${self.point}" } }] } }
        ] } }
    ] } }]))
    .unwrap();
    let leaf = workflow.step(workflow.step_index("x").unwrap());
    let input = leaf.input.resolve(&Frames).unwrap();
    let value = json!({ "score": 0.95, "of": 1 });
    assert_eq!(input, json!({ "item": { "of": 0, "name": "i" }, "all": { "index": 2, "value": value }, "n": 4 }));
    let hook = leaf.hooks[0].input.as_ref().unwrap().resolve(&Frames, 1000).unwrap();
    assert_eq!(hook, json!({ "self": { "output": [1, 2], "point": "after" }, "at": "after" }));
    let ValidKind::Loop(looped) = &workflow.step(StepIndex(1)).kind else { panic!("it is a loop") };
    let LoopTest::Until(until) = &looped.condition else { panic!("it ends") };
    assert_eq!(until.holds(&Frames), Ok(true));
}

#[test]
fn captures_stay_in_their_scope_and_are_seen_below() {
    let capture = json!({ "capture": { "x": "v" } });
    let read = json!({ "v": "${variables.x}" });
    let target = |workflow: &ValidWorkflow, reader: &str| {
        let template = format!("{:?}", workflow.step(workflow.step_index(reader).unwrap()).input.template());
        workflow.steps().iter().position(|step| {
            let index = workflow.step_index(step.id.as_str()).unwrap();
            template.contains(&format!("step: {index:?}"))
        })
    };
    let workflow = load(json!([
        { "id": "a", "output": capture },
        { "id": "g", "dependencies": ["a"], "parallel": { "steps": [
            { "id": "outer-reader", "input": read },
            { "id": "b", "output": capture },
            { "id": "inner-reader", "dependencies": ["b"], "input": read }
        ] } }
    ]))
    .unwrap();
    assert_eq!(target(&workflow, "outer-reader"), Some(0), "the composite depends on `a`");
    assert_eq!(target(&workflow, "inner-reader"), Some(3), "the nearest scope comes first");
    let escaped = json!([{ "id": "g", "parallel": { "steps": [{ "id": "b", "output": capture }] } }, { "id": "c", "dependencies": ["g"], "input": read }]);
    assert_eq!(codes(load(escaped)), ["O8304"]);
    // Two cases are never both taken, and two scopes are two variables.
    let cases = json!([{ "id": "b", "branch": { "cases": [
        { "when": "inputs.a", "steps": [{ "id": "x", "output": capture }] },
        { "when": "inputs.b", "steps": [{ "id": "y", "output": capture }] }
    ] } }]);
    assert_eq!(codes(load(cases)), [""; 0]);
}

#[test]
fn variables_as_a_whole_are_those_that_can_be_named() {
    let variables = json!({ "variables": { "d": 0, "e": 0 } });
    let capture = |names: Value| json!({ "capture": names });
    let all = json!({ "all": "${variables}" });
    let steps = json!([
        { "id": "a", "output": capture(json!(["x", "d"])) },
        { "id": "b", "dependencies": ["a"], "onError": "continue", "output": capture(json!(["d", "y"])) },
        { "id": "near", "dependencies": ["a"], "input": all },
        { "id": "far", "input": { "all": "${variables}", "named": "${variables.x ?? 'none'}", "d": "${variables.d}" } },
        { "id": "g", "parallel": { "steps": [{ "id": "in", "output": capture(json!(["z"])) }] }, "output": { "value": all } }
    ]);
    let outputs = json!({ "all": "${variables}", "x": "${variables.x}", "d": "${variables.d}", "e": "${variables.e}" });
    let workflow = load_with(steps, &json!({ "context": variables, "outputs": outputs })).unwrap();
    let given =
        |id: &str, scope: &dyn Scope| workflow.step(workflow.step_index(id).unwrap()).input.resolve(scope).unwrap();
    let shown = |b: Value| common::Shown {
        workflow: &workflow,
        roots: json!({
            "variables": { "d": 0, "e": 0 },
            "steps": { "a": { "output": { "x": 1, "d": 1 } }, "b": b, "in": { "output": { "z": 3 } } }
        }),
    };
    let both = shown(json!({ "output": { "y": 2, "d": 2 } }));
    assert_eq!(given("near", &both)["all"], json!({ "d": 1, "e": 0, "x": 1 }));
    let far = json!({ "all": { "d": 0, "e": 0 }, "named": 1, "d": 0 });
    assert_eq!(given("far", &both), far, "what is waited for by its name belongs to nothing else");
    let value = workflow.steps()[4].output_value.as_ref().unwrap().resolve(&both, 1000).unwrap();
    assert_eq!(value["all"], json!({ "d": 0, "e": 0, "z": 3 }));
    let outputs = |scope: &dyn Scope| Value::Object(workflow.resolve_outputs(scope).unwrap().unwrap());
    let all = json!({ "d": 2, "e": 0, "x": 1, "y": 2 });
    assert_eq!(outputs(&both), json!({ "all": all, "x": 1, "d": 2, "e": 0 }), "the last capture of all");
    let failed = shown(json!({}));
    let all = json!({ "d": 1, "e": 0, "x": 1 });
    assert_eq!(outputs(&failed), json!({ "all": all, "x": 1, "d": 1, "e": 0 }), "what was not captured is as before");
}

#[test]
fn joined_are_the_last_steps_of_a_group_without_fallbacks() {
    let workflow = load(json!([{ "id": "g", "parallel": { "join": { "atLeast": 2 }, "steps": [
        { "id": "a" },
        { "id": "b", "dependencies": ["a"], "onError": "fallback", "fallbackStepId": "f" },
        { "id": "f" },
        { "id": "c" }
    ] } }]))
    .unwrap();
    let ValidKind::Parallel(group) = &workflow.step(StepIndex(0)).kind else { panic!("it is a group") };
    let joined: Vec<_> = group.joined.iter().map(|step| workflow.step(*step).id.as_str()).collect();
    assert_eq!((joined, group.needed), (vec!["b", "c"], Some(2)));
    assert_eq!(workflow.depth(), 4, "the group, a, b, and the fallback behind it");
}

#[test]
fn hooks_of_the_workflow_see_what_does_not_depend_on_chance() {
    let hooks = |point: &str, text: &str| {
        let hooks = json!({ "hooks": { point: [{ "tool": { "name": "t" }, "input": text }] } });
        codes(load_with(json!([{ "id": "a" }]), &hooks))
    };
    assert_eq!(hooks("afterExecution", "${steps.a.output}"), [""; 0]);
    assert_eq!(hooks("onError", "${steps.a.error ?? self.error}"), [""; 0]);
    assert_eq!(hooks("beforeStep", "${self.stepPath}"), [""; 0]);
    assert_eq!(hooks("beforeStep", "${steps.a.output ?? 1}"), ["O8311"]);
    assert_eq!(hooks("beforeExecution", "${self.output}"), ["O8304"]);
}

#[test]
fn steps_that_never_run_are_found_through_others() {
    let chain = json!([
        { "id": "a", "condition": { "unless": "`true`" } },
        { "id": "b", "dependencies": ["a"] },
        { "id": "c", "dependencies": ["b"] },
        { "id": "d", "input": { "v": "${steps.a.output ?? 0}" } }
    ]);
    assert_eq!(codes(load(chain)), ["O8312", "O8211", "O8211"]);
    let looped = |key: &str, text: &str, on_limit: &str| {
        let steps = json!([{ "id": "x", "input": { "v": "${inputs.v}" } }]);
        codes(load(
            json!([{ "id": "l", "loop": { key: text, "maxIterations": 2, "onLimit": on_limit, "steps": steps } }]),
        ))
    };
    assert_eq!(looped("until", "inputs.done", "fail"), ["O8212"]);
    assert_eq!(looped("until", "`false`", "accept"), [""; 0], "a number of iterations is meant");
    assert_eq!(looped("until", "steps.x.output", "fail"), [""; 0]);
    assert_eq!(looped("while", "loop.index < `5`", "fail"), [""; 0]);
}

/// Sub-workflows by their texts' names: `n` includes `n-1`, `0` is a leaf, `twice` includes `0` two times.
struct Numbers;

impl WorkflowLoader for Numbers {
    fn resolve(&self, reference: &str, _: Option<&str>) -> Result<String, LoadError> {
        Ok(reference.to_owned())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        let steps = match name.parse::<u32>() {
            Ok(0) => json!([{ "id": "leaf", "agent": { "id": "@acme/agent" } }]),
            Ok(level) => json!([{ "id": "next", "workflow": { "ref": (level - 1).to_string() } }]),
            Err(_) => json!([{ "id": "a", "workflow": { "ref": "0" } }, { "id": "b", "workflow": { "ref": "0" } }]),
        };
        let document = json!({ "version": "1.0.0", "metadata": { "id": name, "name": name }, "steps": steps });
        Ok(document.to_string().into_bytes())
    }
}

#[test]
fn sub_workflows_are_validated_once_and_nest_sixteen_deep() {
    let load = |reference: &str| {
        let steps = json!([{ "id": "s", "workflow": { "ref": reference } }, { "id": "t", "workflow": { "ref": "0" } }]);
        let document = json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps });
        load_value(&document, &Options::new().workflows(&Numbers))
    };
    assert!(load("15").is_ok());
    assert_eq!(codes(load("16")), ["O8209"]);
    assert_eq!(load("16").unwrap_err().diagnostics()[0].file.as_deref(), Some("1"));
    let twice = load("twice").unwrap();
    let child = |workflow: &ValidWorkflow, step: u32| match &workflow.step(StepIndex(step)).kind {
        ValidKind::Workflow(child) => child.clone(),
        _ => panic!("it is a sub-workflow"),
    };
    let (first, second) = (child(&twice, 0), child(&twice, 1));
    assert!(child(&first, 0).is_same(&child(&first, 1)) && child(&first, 0).is_same(&second));
}

#[test]
fn a_bundle_holds_all_sub_workflows_once() {
    let steps = json!([{ "id": "s", "workflow": { "ref": "twice" } }, { "id": "t", "workflow": { "ref": "2" } }]);
    let document = json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps });
    let workflow = load_value(&document, &Options::new().workflows(&Numbers)).unwrap();
    let bundle = workflow.to_bundle();
    assert_eq!(bundle["x-workflows"].as_object().unwrap().len(), 4, "twice, 0, 2 and 1");
    let again = ValidWorkflow::from_bundle(&bundle, &Options::new().strict(true)).unwrap();
    assert_eq!((&again, again.to_bundle()), (&workflow, bundle.clone()));

    let mut incomplete = bundle;
    incomplete["x-workflows"].as_object_mut().unwrap().shift_remove("2.json");
    assert_eq!(codes(ValidWorkflow::from_bundle(&incomplete, &Options::new()))[0], "O8208");
    let plain = ValidWorkflow::from_value(&common::workflow(json!([{ "id": "a" }]))).unwrap();
    assert_eq!(plain.to_bundle(), serde_json::to_value(&plain).unwrap());
}

#[test]
fn what_was_validated_before_is_not_judged_again() {
    let mut steps: Vec<_> =
        (0..10_001).map(|number| json!({ "id": format!("s{number}"), "wait": { "signal": "go" } })).collect();
    steps[0]["condition"] = json!({ "if": "contains(inputs.l)" });
    steps[1] = json!({ "id": "s1", "approval": { "prompt": "x", "schema": { "type": "integer" }, "timeout": "1s",
        "onTimeout": { "answer": "no" } } });
    steps[2]["condition"] = json!({ "if": "length(`1`)" });
    let document = json!({ "version": "1.0.0", "metadata": { "id": "old", "name": "Old" }, "steps": steps });
    assert_eq!(codes(ValidWorkflow::from_bundle(&document, &Options::new()))[0], "O8005");
    let read = ValidWorkflow::from_bundle(&document, &Options::new().stored(true)).unwrap();
    assert_eq!(read.steps().len(), 10_001);
    let found: Vec<_> = read.warnings().iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(found, ["O8407", "O8307"]);

    let broken = json!({ "version": "1.0.0", "metadata": { "id": "old", "name": "Old" }, "steps": [{ "id": "a" }] });
    assert!(ValidWorkflow::from_bundle(&broken, &Options::new().stored(true)).is_err());
}
