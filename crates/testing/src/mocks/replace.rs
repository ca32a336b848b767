//! Steps of other kinds than agent and tool that a mock answers for: they become steps that call a stand-in.

use indexmap::IndexMap;
use orchestr8_schema::{
    ValidWorkflow,
    policy::Budget,
    source::Options,
    test_file::{Mock, MockAnswer, MockTarget},
    workflow::StepKind,
};
use serde_json::{Map, Value, json};

use super::{Replaced, callees::Callees, nobody::replacement_id, place::place_of};

const WORKFLOWS: &str = "x-workflows";
const REFERENCES: &str = "x-references";

/// Makes the workflow that is executed with these mocks: mocked steps replaced, the budget tightened. `Err` says why that cannot be.
pub(crate) fn prepared(
    workflow: &ValidWorkflow,
    mocks: &IndexMap<MockTarget, Mock>,
    budget: Option<&Budget>,
    callees: &Callees,
) -> Result<(ValidWorkflow, Vec<Replaced>), String> {
    let replaced = to_replace(mocks, callees);
    if replaced.is_empty() && budget.is_none() {
        return Ok((workflow.clone(), replaced));
    }
    let bundle = workflow.to_bundle();
    let mut rewriting = Rewriting { bundle: &bundle, replaced: &replaced, workflows: Map::new() };
    let mut document = rewriting.document(&bundle, "");
    let workflows = rewriting.workflows;
    if let Value::Object(map) = &mut document {
        map.insert(WORKFLOWS.to_owned(), Value::Object(workflows));
        if let Some(budget) = budget {
            tighten(map, budget);
        }
    }
    let prepared = ValidWorkflow::from_bundle(&document, &Options::new()).map_err(|invalid| {
        let errors = invalid.diagnostics().iter().filter(|diagnostic| diagnostic.is_error());
        errors.map(|error| format!("{} ({})", error.message, error.path)).collect::<Vec<_>>().join("; ")
    })?;
    Ok((prepared, replaced))
}

/// The steps that are mocked and call nothing that could be mocked instead.
fn to_replace(mocks: &IndexMap<MockTarget, Mock>, callees: &Callees) -> Vec<Replaced> {
    let is_mocked = |place: &str, reference: Option<&str>| {
        mocks.iter().any(|(target, mock)| {
            mock.answer != MockAnswer::Real
                && match target {
                    MockTarget::Step(pattern) => place_of(pattern) == place,
                    MockTarget::Workflow(name) => reference == Some(&**name),
                    _ => false,
                }
        })
    };
    let others = callees.steps.iter().filter(|(_, kind)| !matches!(*kind, "agent" | "tool"));
    others
        .filter_map(|(place, _)| {
            let reference = callees.references.get(place);
            is_mocked(place, reference.map(String::as_str))
                .then(|| Replaced { place: place.clone(), reference: reference.cloned() })
        })
        .collect()
}

struct Rewriting<'a> {
    bundle: &'a Value,
    replaced: &'a [Replaced],
    /// The sub-workflows so far, each with a name of its own, since one that is included twice may be rewritten once.
    workflows: Map<String, Value>,
}

impl Rewriting<'_> {
    fn document(&mut self, document: &Value, prefix: &str) -> Value {
        let mut result = document.clone();
        let references = document.get(REFERENCES).and_then(Value::as_object).cloned().unwrap_or_default();
        let mut renamed = Map::new();
        if let Value::Object(map) = &mut result {
            map.remove(WORKFLOWS);
            if let Some(Value::Array(steps)) = map.get_mut("steps") {
                self.steps(steps, prefix, &references, &mut renamed);
            }
            map.insert(REFERENCES.to_owned(), Value::Object(renamed));
        }
        result
    }

    fn steps(
        &mut self,
        steps: &mut [Value],
        prefix: &str,
        known: &Map<String, Value>,
        renamed: &mut Map<String, Value>,
    ) {
        for step in steps {
            let Value::Object(step) = step else { continue };
            let id = step.get("id").and_then(Value::as_str).unwrap_or_default();
            let place = format!("{prefix}{id}");
            if let Some(number) = self.replaced.iter().position(|replaced| replaced.place == place) {
                replace(step, number);
                continue;
            }
            let inside = format!("{place}.");
            if let Some(Value::Object(included)) = step.get_mut("workflow") {
                let reference = included.get("ref").and_then(Value::as_str).unwrap_or_default();
                let child = known.get(reference).and_then(Value::as_str);
                let child = child.and_then(|name| self.bundle.get(WORKFLOWS)?.get(name));
                if let Some(child) = child {
                    let child = self.document(child, &inside);
                    let name = format!("./{}.json", self.workflows.len() + 1);
                    self.workflows.insert(name.clone(), child);
                    renamed.insert(name.clone(), Value::String(name.clone()));
                    included.insert("ref".to_owned(), Value::String(name));
                }
            }
            for kind in ["parallel", "map", "loop"] {
                if let Some(Value::Array(steps)) = step.get_mut(kind).and_then(|composite| composite.get_mut("steps")) {
                    self.steps(steps, &inside, known, renamed);
                }
            }
            let Some(branch) = step.get_mut("branch") else { continue };
            let default = branch.get_mut("default").and_then(|default| default.get_mut("steps")).map(Value::take);
            let mut default = default;
            if let Some(Value::Array(steps)) = &mut default {
                self.steps(steps, &inside, known, renamed);
            }
            if let (Some(default), Some(place)) =
                (default, branch.get_mut("default").and_then(|at| at.get_mut("steps")))
            {
                *place = default;
            }
            if let Some(Value::Array(cases)) = branch.get_mut("cases") {
                for case in cases {
                    if let Some(Value::Array(steps)) = case.get_mut("steps") {
                        self.steps(steps, &inside, known, renamed);
                    }
                }
            }
        }
    }
}

/// Makes a step of another kind one that calls its stand-in, once, and as long as it takes.
fn replace(step: &mut Map<String, Value>, number: usize) {
    let mut input = json!({});
    for kind in StepKind::KEYS {
        let Some(was) = step.remove(kind) else { continue };
        // What the kind resolves when its turn comes.
        let seen: &[&str] = match kind {
            "workflow" => {
                input = was.get("input").cloned().unwrap_or(input);
                continue;
            }
            "wait" => &["duration", "until", "signal"],
            "approval" => &["prompt"],
            "map" => &["items"],
            _ => &[],
        };
        let fields = seen.iter().filter_map(|name| Some(((*name).to_owned(), was.get(name)?.clone())));
        input = Value::Object(fields.collect());
    }
    match step.get_mut("output") {
        Some(Value::Object(output)) => {
            output.remove("value");
        }
        Some(_) => {
            step.remove("output");
        }
        None => {}
    }
    step.insert("agent".to_owned(), json!({ "id": replacement_id(number) }));
    step.insert("input".to_owned(), input);
    let policies = step.entry("policies").or_insert_with(|| json!({}));
    if let Value::Object(policies) = policies {
        policies.entry("timeout").or_insert_with(|| json!("24h"));
        policies.insert("retry".to_owned(), json!({ "maxAttempts": 1 }));
    }
}

/// Lowers the limits of a workflow's budget.
fn tighten(document: &mut Map<String, Value>, budget: &Budget) {
    let Ok(Value::Object(given)) = serde_json::to_value(budget) else { return };
    let policies = document.entry("policies").or_insert_with(|| json!({}));
    let Value::Object(policies) = policies else { return };
    let Value::Object(limits) = policies.entry("budget").or_insert_with(|| json!({})) else { return };
    for (name, limit) in given {
        let known = limits.get(&name).and_then(Value::as_f64);
        if known.is_none_or(|known| limit.as_f64().is_some_and(|limit| limit < known)) {
            limits.insert(name, limit);
        }
    }
}
