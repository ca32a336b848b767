//! What the verifier accepts, with nothing left unproven, never fails because of a missing value or a wrong type.
//!
//! Schemas, agents that obey them and workflows of all kinds of steps whose expressions are drawn at random; what is accepted is
//! run here many times, by the rules of scheduling, with agents that answer anything their schema allows, and fail now and then.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper fails its test")]

#[path = "../common/mod.rs"]
mod common;
mod draft;
mod run;

use orchestr8_schema::{
    ValidWorkflow, Workflow,
    source::{Options, load_value},
    validate::{CallSchemas, LoadError, WorkflowLoader},
};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Map, Value, json};

use common::schemas::{fragment_with_value, obey};
use draft::{Agents, Child, Choices, Draft, choices};
use run::run;

/// Lets a property be what exactly one of two schemas allows, one of which allows all that the other does.
fn with_overlap(mut schema: Value, overlap: u8) -> Value {
    let either = match overlap {
        0 => json!([{ "type": "number" }, { "type": "integer" }]),
        1 => json!([{ "type": "string" }, { "const": "x" }]),
        _ => return schema,
    };
    schema["properties"]["d"] = json!({ "oneOf": either });
    schema
}

/// An object schema with up to three properties, and what else the fragment has.
fn object_schema() -> impl Strategy<Value = Value> {
    let field = (fragment_with_value(), any::<bool>(), 0..8_u8);
    (vec(field, 1..4), 0..3_u8).prop_map(|(fields, rest)| {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (place, (((schema, value), is_required, default), name)) in
            fields.into_iter().zip(["a", "b", "c"]).enumerate()
        {
            let mut schema = without_definitions(schema);
            if default == 0 && place < 2 && schema.is_object() {
                schema["default"] = value;
            }
            properties.insert(name.to_owned(), schema);
            if is_required || place == 0 {
                required.push(name);
            }
        }
        let mut schema = json!({ "type": "object", "properties": properties, "required": required });
        if rest > 0 {
            schema["additionalProperties"] = json!(false);
        }
        schema
    })
}

/// Lets the last property be anything, so that more of what is drawn fits.
fn with_room(mut schema: Value) -> Value {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return schema };
    if properties.len() > 1
        && let Some(last) = properties.values_mut().last()
    {
        *last = json!(true);
    }
    schema
}

/// Definitions at the root of a part would be elsewhere in the whole.
fn without_definitions(schema: Value) -> Value {
    if schema.get("$defs").is_some() { json!({ "type": "array", "items": { "type": "string" } }) } else { schema }
}

#[derive(Clone, Debug)]
struct Case {
    agents: Agents,
    inputs: Value,
    children: Vec<Child>,
    document: Value,
    runs: Vec<Choices>,
}

fn case() -> impl Strategy<Value = Case> {
    let agent = (
        (object_schema(), 0..4_u8).prop_map(|(schema, overlap)| with_overlap(with_room(schema), overlap)),
        prop_oneof![object_schema(), fragment_with_value().prop_map(|(schema, _)| schema)],
    )
        .prop_map(|(input, output)| CallSchemas { input: Some(input), output: Some(output), config: None });
    let child = (object_schema(), choices(100), 1..3_usize);
    (vec(agent, 1..4), vec(child, 0..3), object_schema(), choices(500), 1..6_usize, vec(choices(300), 4)).prop_map(
        |(agents, drawn, inputs, choices, count, runs)| {
            let mut agents = Agents(agents);
            let mut children = Vec::new();
            for (inputs, choices, count) in drawn {
                let (more, document, outputs) = Draft::new(agents, &inputs, &[], choices).workflow(count, 0);
                agents = more;
                children.push(Child { document, inputs, outputs });
            }
            let (agents, document, _) = Draft::new(agents, &inputs, &children, choices).workflow(count, 2);
            Case { agents, inputs, children, document, runs }
        },
    )
}

/// Verifies a workflow, and puts constants in the place of all that is complained about, until nothing is; so what is left of
/// its expressions is what the verifier says is right.
fn mended(case: &Case) -> Option<ValidWorkflow> {
    let mut included = Included(Vec::new());
    for child in &case.children {
        let child = mended_document(&child.document, case, &included)?;
        included.0.push(child.workflow().clone());
    }
    mended_document(&case.document, case, &included)
}

/// Finds `./c0.json`, `./c1.json`, …
struct Included(Vec<Workflow>);

impl WorkflowLoader for Included {
    fn resolve(&self, reference: &str, _: Option<&str>) -> Result<String, LoadError> {
        Ok(reference.trim_start_matches("./").to_owned())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        let place: usize = name.trim_start_matches('c').trim_end_matches(".json").parse().unwrap();
        Ok(serde_json::to_vec(&self.0[place]).unwrap())
    }
}

fn mended_document(document: &Value, case: &Case, included: &Included) -> Option<ValidWorkflow> {
    let mut document = document.clone();
    for _ in 0..16 {
        let options = Options::new().agents(&case.agents).workflows(included);
        let places: Vec<String> = match load_value(&document, &options) {
            Ok(valid) if valid.unproven().unwrap().is_empty() => return Some(valid),
            Ok(valid) => valid.unproven().unwrap().iter().map(|unproven| unproven.path.clone()).collect(),
            Err(invalid) => {
                invalid.diagnostics().iter().filter(|found| found.is_error()).map(|found| found.path.clone()).collect()
            }
        };
        for place in places {
            if place.starts_with("/outputs") {
                document.as_object_mut().unwrap().remove("outputs");
                continue;
            }
            // The innermost step around the place, and the part of it that is meant.
            let parts: Vec<&str> = place.split('/').skip(1).collect();
            let last = (0..parts.len() - 1)
                .rev()
                .find(|at| parts[*at] == "steps" && parts[at + 1].parse::<usize>().is_ok())?;
            let step = document.pointer_mut(&format!("/{}", parts[..last + 2].join("/"))).unwrap();
            let part = &parts[last + 2..];
            match *part {
                ["condition", ..] => drop(step.as_object_mut().unwrap().remove("condition")),
                ["input" | "agent", ref name @ ..] => {
                    let schema = case.agents.get(step["agent"]["id"].as_str().unwrap()).input.clone().unwrap();
                    replace(&mut step["input"], name, &schema);
                }
                ["tool", ref name @ ..] => {
                    let schema = case.agents.get(step["tool"]["name"].as_str().unwrap()).input.clone().unwrap();
                    replace(&mut step["tool"]["arguments"], name.get(1..).unwrap_or_default(), &schema);
                }
                ["workflow", ref name @ ..] => {
                    let reference = step["workflow"]["ref"].as_str().unwrap();
                    let child: usize = reference.trim_start_matches("./c").trim_end_matches(".json").parse().unwrap();
                    let schema = &case.children[child].inputs;
                    replace(&mut step["workflow"]["input"], name.get(1..).unwrap_or_default(), schema);
                }
                ["approval", "prompt"] => step["approval"]["prompt"] = json!("well?"),
                ["compensate", ref name @ ..] => {
                    let agent = step["compensate"]["agent"]["id"].as_str().unwrap();
                    let schema = case.agents.get(agent).input.clone().unwrap();
                    replace(&mut step["compensate"]["input"], name.get(1..).unwrap_or_default(), &schema);
                }
                ["hooks", point, "0", ref name @ ..] => {
                    let hook = &mut step["hooks"][point][0];
                    let schema = case.agents.get(hook["tool"]["name"].as_str().unwrap()).input.clone().unwrap();
                    replace(&mut hook["input"], name.get(1..).unwrap_or_default(), &schema);
                }
                ["policies", ..] => drop(step.as_object_mut().unwrap().remove("policies")),
                ["output", ..] => drop(step.as_object_mut().unwrap().remove("output")),
                _ => return None,
            }
        }
    }
    None
}

/// Puts a constant that fits in the place of a part, or of all, of what something is given.
fn replace(given: &mut Value, name: &[&str], schema: &Value) {
    let constant = obey(schema, schema, &mut |_| 0);
    match name.first().filter(|name| constant.get(**name).is_some()) {
        Some(name) if given.is_object() => given[*name] = constant[*name].clone(),
        _ => *given = constant,
    }
}

/// More with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 100 };
    ProptestConfig { failure_persistence: None, cases, max_shrink_iters: 500, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_accepted_never_fails_for_a_reason_that_could_be_seen(case in case()) {
        if let Some(workflow) = mended(&case) {
            let validators = case.agents.validators();
            for choices in &case.runs {
                run(&case.agents, &validators, &case.inputs, &workflow, choices.clone())?;
            }
        }
    }
}

/// The property says something: most of what is drawn is run, and much is left in it.
#[test]
fn much_of_what_is_drawn_is_accepted() {
    let mut runner = TestRunner::deterministic();
    let kept = [
        "steps.s",
        "variables.v",
        "self.",
        "item",
        "loop.value",
        "accumulator",
        " ?? ",
        "\"if\"",
        "\"map\"",
        "\"loop\"",
        "\"branch\"",
        "\"parallel\"",
        "\"tool\"",
        "\"wait\"",
        "\"approval\"",
        "\"workflow\"",
        "\"compensate\"",
        "\"hooks\"",
        "\"mapping\"",
        "\"capture\"",
        "\"outputs\"",
        "\"onError\":[",
        "idempotencyKey",
        "fallback",
    ];
    let (mut accepted, mut found) = (0, kept.map(|_| 0));
    for _ in 0..150 {
        let case = case().new_tree(&mut runner).unwrap().current();
        if let Some(valid) = mended(&case) {
            let text = serde_json::to_string(&valid).unwrap();
            accepted += 1;
            for (found, kept) in found.iter_mut().zip(kept) {
                *found += usize::from(text.contains(kept));
            }
        }
    }
    assert!(accepted > 75 && found.iter().all(|found| *found > 2), "{accepted} accepted: {kept:?} {found:?}");
}
