//! Single mistakes: each changes a valid workflow in one place, and says what must be reported there.

use orchestr8_schema::Code;
use serde_json::{Map, Value, json};

/// What a mutation must lead to.
pub(crate) struct Mistake {
    pub(crate) code: Code,
    /// The place whose line is named.
    pub(crate) pointer: String,
}

type Pick<'a> = &'a dyn Fn(usize) -> usize;
type Mutation = fn(&mut Value, Pick<'_>) -> Option<Mistake>;

/// The classes of mistakes; each finds no place in some workflows.
pub(crate) const CLASSES: &[(&str, Mutation)] = &[
    ("unknown dependency", |document, pick| {
        let (pointer, step) = any_step(document, pick, |_| true)?;
        step.insert("dependencies".into(), json!(["nobody-has-this-id"]));
        at(Code::UnknownDependency, format!("{pointer}/dependencies/0"))
    }),
    ("self dependency", |document, pick| {
        let (pointer, step) = any_step(document, pick, |_| true)?;
        let id = step["id"].clone();
        step.insert("dependencies".into(), json!([id]));
        at(Code::SelfDependency, format!("{pointer}/dependencies/0"))
    }),
    ("duplicate dependency", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("dependencies"))?;
        let list = step["dependencies"].as_array_mut()?;
        list.push(list[0].clone());
        at(Code::DuplicateDependency, format!("{pointer}/dependencies/{}", list.len() - 1))
    }),
    ("dependency in another scope", |document, pick| {
        let inner = places(document).into_iter().find(|place| place.matches("/steps/").count() > 1)?;
        let id = document.pointer(&inner)?["id"].clone();
        let (pointer, step) = any_step(document, pick, |_| true)?;
        if pointer.rsplit_once('/').map(|(list, _)| list) == inner.rsplit_once('/').map(|(list, _)| list) {
            return None;
        }
        step.insert("dependencies".into(), json!([id]));
        at(Code::OtherScope, format!("{pointer}/dependencies/0"))
    }),
    ("cycle", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("dependencies"))?;
        let id = step["id"].clone();
        let first = step["dependencies"][0].clone();
        let (list, _) = pointer.rsplit_once('/')?;
        let place = document.pointer(list)?.as_array()?.iter().position(|other| other["id"] == first)?;
        let other = document.pointer_mut(&format!("{list}/{place}"))?.as_object_mut()?;
        if other.contains_key("fallbackStepId") || other.contains_key("dependencies") {
            return None;
        }
        other.insert("dependencies".into(), json!([id]));
        at(Code::Cycle, format!("{list}/{place}/dependencies/0"))
    }),
    ("step id twice", |document, pick| {
        let all = places(document);
        let (first, second) =
            (all.first()?.clone(), all.get(1 + pick(all.len().checked_sub(1).filter(|rest| *rest > 0)?))?.clone());
        let id = document.pointer(&first)?["id"].clone();
        document.pointer_mut(&second)?["id"] = id;
        at(Code::DuplicateStep, format!("{second}/id"))
    }),
    ("id missing", |document, pick| {
        let (pointer, step) = any_step(document, pick, |_| true)?;
        step.shift_remove("id");
        at(Code::Missing, pointer)
    }),
    ("id malformed", |document, pick| {
        let (pointer, step) = any_step(document, pick, |_| true)?;
        step["id"] = json!("two words");
        at(Code::WrongForm, format!("{pointer}/id"))
    }),
    ("unknown key", |document, pick| {
        let (pointer, step) = any_step(document, pick, |_| true)?;
        step.insert("dependancies".into(), json!([]));
        at(Code::UnknownKey, format!("{pointer}/dependancies"))
    }),
    ("wrong type", |document, pick| {
        let (pointer, step) = any_step(document, pick, |_| true)?;
        step.insert("description".into(), json!({ "en": "x" }));
        at(Code::WrongType, format!("{pointer}/description"))
    }),
    ("two kinds", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| !step.contains_key("approval"))?;
        step.insert("approval".into(), json!({ "prompt": "?" }));
        at(Code::StepKind, format!("{pointer}/approval"))
    }),
    ("no kind", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("wait"))?;
        step.shift_remove("wait");
        at(Code::StepKind, pointer)
    }),
    ("agent id malformed", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("agent"))?;
        step["agent"]["id"] = json!("hello-world");
        at(Code::WrongForm, format!("{pointer}/agent/id"))
    }),
    ("input on a tool", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("tool"))?;
        step.insert("input".into(), json!({}));
        at(Code::KeyNotForKind, format!("{pointer}/input"))
    }),
    ("alias beside the name", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("dependencies"))?;
        step.insert("dependsOn".into(), json!([]));
        at(Code::AliasAndName, format!("{pointer}/dependsOn"))
    }),
    ("empty body", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("loop"))?;
        step["loop"]["steps"] = json!([]);
        at(Code::Empty, format!("{pointer}/loop/steps"))
    }),
    ("no limit of iterations", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("loop"))?;
        step["loop"].as_object_mut()?.shift_remove("maxIterations");
        at(Code::Missing, format!("{pointer}/loop"))
    }),
    ("out of range", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("map"))?;
        step["map"]["concurrency"] = json!(10_001);
        at(Code::OutOfRange, format!("{pointer}/map/concurrency"))
    }),
    ("join of too many", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("parallel"))?;
        step["parallel"]["join"] = json!({ "atLeast": 100 });
        at(Code::OutOfRange, format!("{pointer}/parallel/join/atLeast"))
    }),
    ("reserved case", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("branch"))?;
        step["branch"]["cases"][0]["name"] = json!("default");
        at(Code::ReservedName, format!("{pointer}/branch/cases/0/name"))
    }),
    ("fallback missing", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| !step.contains_key("onError"))?;
        step.insert("onError".into(), json!("fallback"));
        at(Code::Fallback, format!("{pointer}/onError"))
    }),
    ("retry of a composite", |document, pick| {
        let (pointer, step) =
            any_step(document, pick, |step| step.contains_key("branch") && !step.contains_key("onError"))?;
        step.insert("onError".into(), json!("retry"));
        at(Code::RetryOnNonLeaf, format!("{pointer}/onError"))
    }),
    ("guard afterwards", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("hooks"))?;
        step["hooks"]["after"][0]["mode"] = json!("guard");
        at(Code::Guard, format!("{pointer}/hooks/after/0/mode"))
    }),
    ("sub-workflow nowhere", |document, pick| {
        let (pointer, step) = any_step(document, pick, |step| step.contains_key("workflow"))?;
        step["workflow"]["ref"] = json!("./nowhere.yaml");
        at(Code::SubWorkflow, format!("{pointer}/workflow/ref"))
    }),
    ("expression without end", |document, pick| reads(document, pick, "a ${inputs.a", Code::ExpressionSyntax)),
    ("unknown step", |document, pick| reads(document, pick, "${steps.nobody.output}", Code::UnknownStep)),
    ("unknown root", |document, pick| reads(document, pick, "${input.a}", Code::UnknownName)),
    ("forbidden name", |document, pick| reads(document, pick, "${inputs.__proto__}", Code::ForbiddenName)),
    ("too many parts", |document, pick| {
        reads(document, pick, "${inputs.a.b.c.d.e.f.g.h.i.j.k.l}", Code::ExpressionLimit)
    }),
    ("a secret", |document, pick| reads(document, pick, "${secrets.key}", Code::SecretInExpression)),
    ("a hidden variable", |document, pick| reads(document, pick, "${env.PATH}", Code::VariableNotAllowed)),
    ("self outside of hooks", |document, pick| reads(document, pick, "${self.output}", Code::RootOutOfScope)),
    ("not JMESPath", |document, pick| when(document, pick, "inputs.a ==", Code::ConditionSyntax)),
    ("unknown function", |document, pick| when(document, pick, "exec(inputs.a)", Code::UnknownFunction)),
    ("constant condition", |document, pick| when(document, pick, "`false`", Code::ConstantCondition)),
    ("not a JSON Schema", |document, pick| {
        let (pointer, step) =
            any_step(document, pick, |step| step.contains_key("agent") && !step.contains_key("output"))?;
        step.insert("output".into(), json!({ "schema": { "type": "nonsense" } }));
        at(Code::BadSchema, format!("{pointer}/output/schema/type"))
    }),
    ("another major version", |document, _| {
        document["schemaVersion"] = json!("2.0.0");
        at(Code::SchemaVersion, "/schemaVersion".into())
    }),
];

#[expect(clippy::unnecessary_wraps, reason = "what every mutation answers")]
fn at(code: Code, pointer: String) -> Option<Mistake> {
    Some(Mistake { code, pointer })
}

/// Gives an agent or a tool something to read.
fn reads(document: &mut Value, pick: Pick<'_>, text: &str, code: Code) -> Option<Mistake> {
    let (pointer, step) = any_step(document, pick, |step| step.contains_key("agent") || step.contains_key("tool"))?;
    if step.contains_key("tool") {
        step["tool"]["arguments"] = json!({ "v": [text] });
        return at(code, format!("{pointer}/tool/arguments/v/0"));
    }
    step.insert("input".into(), json!({ "v": [text] }));
    at(code, format!("{pointer}/input/v/0"))
}

/// Gives a step a condition.
fn when(document: &mut Value, pick: Pick<'_>, text: &str, code: Code) -> Option<Mistake> {
    let (pointer, step) = any_step(document, pick, |_| true)?;
    step.insert("condition".into(), json!({ "unless": text }));
    at(code, format!("{pointer}/condition/unless"))
}

/// Picks one of the steps of a certain kind.
fn any_step<'d>(
    document: &'d mut Value,
    pick: Pick<'_>,
    is_meant: impl Fn(&Map<String, Value>) -> bool,
) -> Option<(String, &'d mut Map<String, Value>)> {
    let mut all = places(document);
    all.retain(|place| document.pointer(place).and_then(Value::as_object).is_some_and(&is_meant));
    if all.is_empty() {
        return None;
    }
    let place = all.swap_remove(pick(all.len()));
    let step = document.pointer_mut(&place)?.as_object_mut()?;
    Some((place, step))
}

/// Returns the place of every step, in the order of the document.
fn places(document: &Value) -> Vec<String> {
    fn walk(value: &Value, pointer: &str, found: &mut Vec<String>) {
        let Some(map) = value.as_object() else { return };
        for (number, step) in map.get("steps").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let pointer = format!("{pointer}/steps/{number}");
            found.push(pointer.clone());
            for kind in ["parallel", "map", "loop", "branch"] {
                let Some(inner) = step.get(kind) else { continue };
                let pointer = format!("{pointer}/{kind}");
                walk(inner, &pointer, found);
                for (case, inner) in inner.get("cases").and_then(Value::as_array).into_iter().flatten().enumerate() {
                    walk(inner, &format!("{pointer}/cases/{case}"), found);
                }
                if let Some(inner) = inner.get("default") {
                    walk(inner, &format!("{pointer}/default"), found);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(document, "", &mut found);
    found
}
