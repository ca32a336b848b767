//! Walking JSON Schemas: what they say about the value at a path, whatever they are composed of.
//!
//! Whatever cannot be followed says nothing: `$ref` to elsewhere, `not`, patterns of names. Alternatives are all followed.

use serde_json::Value;

use super::syntax::Token;

/// How many parts of a schema say something about one place at most, and how many references are followed to find them.
const MAX_PARTS: usize = 64;

/// Returns the parts of a schema that say something about the value at a path.
pub(super) fn walk<'s>(root: &'s Value, path: &[Token]) -> Vec<&'s Value> {
    let mut parts = expand(root, vec![root]);
    for token in path {
        let below = parts.iter().filter_map(|part| match token {
            Token::Key(key) => part
                .get("properties")
                .and_then(|properties| properties.get(key))
                .or_else(|| part.get("additionalProperties")),
            Token::Index(index) => {
                part.get("prefixItems").and_then(|items| items.get(*index)).or_else(|| part.get("items"))
            }
        });
        parts = expand(root, below.collect());
    }
    parts
}

/// Follows references and compositions.
fn expand<'s>(root: &'s Value, parts: Vec<&'s Value>) -> Vec<&'s Value> {
    let mut found: Vec<&Value> = Vec::new();
    let mut todo = parts;
    todo.reverse();
    while let Some(part) = todo.pop() {
        if found.len() == MAX_PARTS {
            break;
        }
        if found.iter().any(|known| std::ptr::eq(*known, part)) {
            continue;
        }
        found.push(part);
        let target =
            part.get("$ref").and_then(Value::as_str).and_then(|target| root.pointer(target.strip_prefix('#')?));
        let composed = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| part.get(key)?.as_array()).flatten();
        let from = todo.len();
        todo.extend(target.into_iter().chain(composed));
        todo[from..].reverse();
    }
    found
}

/// Returns the keys of an object, each with what is said about its value, and whether it is required.
pub(super) fn keys<'s>(root: &'s Value, parts: &[&'s Value]) -> Vec<(&'s str, Vec<&'s Value>, bool)> {
    let mut keys: Vec<(&str, Vec<&Value>, bool)> = Vec::new();
    for part in parts {
        let required = |name: &str| {
            let names = part.get("required").and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|other| other == name))
        };
        for (name, value) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
            match keys.iter_mut().find(|(known, ..)| known == name) {
                Some((_, values, is_required)) => {
                    values.extend(expand(root, vec![value]));
                    *is_required &= required(name);
                }
                None => keys.push((name, expand(root, vec![value]), required(name))),
            }
        }
    }
    keys
}

/// Returns the values that a schema names one by one.
pub(super) fn choices<'s>(root: &'s Value, parts: &[&'s Value]) -> Vec<(&'s Value, &'s str)> {
    static BOTH: [Value; 2] = [Value::Bool(true), Value::Bool(false)];
    let mut choices: Vec<(&Value, &str)> = Vec::new();
    for part in expand(root, parts.to_vec()) {
        let description = part.get("description").and_then(Value::as_str).unwrap_or_default();
        let named = part.get("enum").and_then(Value::as_array).into_iter().flatten().chain(part.get("const"));
        let named: Vec<&Value> =
            if types(part).any(|name| name == "boolean") { BOTH.iter().collect() } else { named.collect() };
        for value in named {
            if !choices.iter().any(|(known, _)| *known == value) {
                choices.push((value, description));
            }
        }
    }
    choices
}

/// Returns the outermost description.
pub(super) fn description<'s>(parts: &[&'s Value]) -> Option<&'s str> {
    parts.iter().find_map(|part| part.get("description").and_then(Value::as_str))
}

/// Says in a word what a value is: `string`, `integer | null`, `any`.
pub(super) fn type_name(root: &Value, parts: &[&Value]) -> String {
    let mut names: Vec<String> = Vec::new();
    for part in expand(root, parts.to_vec()) {
        let constants =
            part.get("const").into_iter().chain(part.get("enum").and_then(Value::as_array).into_iter().flatten());
        let constants: Vec<String> = constants.map(Value::to_string).collect();
        let own: Vec<String> =
            if constants.is_empty() { types(part).map(|name| named(root, part, name)).collect() } else { constants };
        for name in own {
            if !names.contains(&name) && name != "null" {
                names.push(name);
            }
        }
    }
    // A format speaks of itself more often than of null, which is as good as absent.
    if names.is_empty() { "any".to_owned() } else { names.join(" | ") }
}

fn named(root: &Value, part: &Value, name: &str) -> String {
    match (name, part.get("items")) {
        ("array", Some(items)) => {
            let inner = expand(root, vec![items]);
            let inner = inner.iter().find_map(|part| types(part).next()).unwrap_or("any");
            format!("array of {inner}")
        }
        (name, _) => name.to_owned(),
    }
}

/// Whether only an object or an array may stand there.
pub(super) fn is_collection(root: &Value, parts: &[&Value]) -> bool {
    let parts = expand(root, parts.to_vec());
    let mut names = parts.iter().flat_map(|part| types(part)).filter(|name| *name != "null").peekable();
    names.peek().is_some() && names.all(|name| name == "object" || name == "array")
}

fn types(part: &Value) -> impl Iterator<Item = &str> {
    let types = part.get("type");
    let one = types.and_then(Value::as_str);
    one.into_iter().chain(types.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str))
}
