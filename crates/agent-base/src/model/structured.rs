//! JSON of a schema, out of what a model has written.

use orchestr8_schema::json_schema::{JsonValidator, Violations};
use serde_json::{Map, Value, json};

/// Keywords that providers take; others are checked here alone.
const PORTABLE: [&str; 13] = [
    "type",
    "properties",
    "required",
    "items",
    "enum",
    "const",
    "description",
    "title",
    "anyOf",
    "allOf",
    "$ref",
    "$defs",
    "definitions",
];

/// Levels of a schema that are looked at; what is deeper is not sent.
const MAX_DEPTH: u32 = 32;

/// Returns the part of a schema that any provider takes: objects are closed, and keywords that not all know are left out.
#[must_use]
pub fn portable(schema: &Value) -> Value {
    part(schema, MAX_DEPTH)
}

fn part(schema: &Value, depth: u32) -> Value {
    let Value::Object(map) = schema else { return json!({}) };
    if depth == 0 {
        return json!({});
    }
    let mut kept = Map::new();
    for (key, value) in map.iter().filter(|(key, _)| PORTABLE.contains(&key.as_str())) {
        let value = match (key.as_str(), value) {
            ("properties" | "$defs" | "definitions", Value::Object(parts)) => {
                parts.iter().map(|(name, value)| (name.clone(), part(value, depth - 1))).collect()
            }
            ("items", value) => part(value, depth - 1),
            ("anyOf" | "allOf", Value::Array(parts)) => parts.iter().map(|value| part(value, depth - 1)).collect(),
            (_, value) => value.clone(),
        };
        kept.insert(key.clone(), value);
    }
    let is_object = kept.get("type") == Some(&json!("object")) || kept.contains_key("properties");
    if is_object {
        kept.insert("additionalProperties".to_owned(), json!(false));
    }
    Value::Object(kept)
}

/// Says, as system text, what the answer is to be.
pub(super) fn instruction(schema: &Value) -> String {
    format!("Answer with one JSON value that fits this JSON Schema, and with nothing else:\n{schema}")
}

/// Asks once more, with what was wrong.
pub(super) fn repair(problem: &str) -> String {
    format!("Your answer does not fit the schema: {problem}\nanswer with JSON only")
}

/// Finds JSON in a text and holds it against the schema.
///
/// # Errors
///
/// What is wrong, for the model.
pub(super) fn read(text: &str, validator: &JsonValidator) -> Result<Value, String> {
    let value = find(text).ok_or("there is no JSON in it")?;
    match validator.validate(&value) {
        Ok(()) => Ok(value),
        Err(violations) => Err(Violations(&violations).to_string()),
    }
}

/// Finds JSON: the whole text, else the first fenced block, else the widest object or array.
#[must_use]
pub fn find(text: &str) -> Option<Value> {
    let parsed = |text: &str| serde_json::from_str(text.trim()).ok();
    parsed(text).or_else(|| parsed(fenced(text)?)).or_else(|| widest(text))
}

fn fenced(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("```")?;
    // The first line may name the language.
    let (_, block) = after.split_once('\n')?;
    block.split_once("```").map(|(block, _)| block)
}

/// Places at which JSON might begin that are tried; a text of nothing but brackets is given up.
const MAX_TRIES: usize = 256;

fn widest(text: &str) -> Option<Value> {
    let mut widest: Option<(usize, Value)> = None;
    let mut at = 0;
    for _ in 0..MAX_TRIES {
        let Some(start) = text[at..].find(['{', '[']).map(|found| at + found) else { break };
        let mut stream = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        // What begins inside of what is broken is narrower, but may be whole.
        at = start + 1;
        if let Some(Ok(value)) = stream.next() {
            let length = stream.byte_offset();
            at = start + length;
            if widest.as_ref().is_none_or(|(known, _)| length > *known) {
                widest = Some((length, value));
            }
        }
    }
    widest.map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_in_the_order_that_is_promised() {
        for (text, expected) in [
            (" [1] ", json!([1])),
            ("Here:\n```json\n{\"a\": 1}\n```\nnot {\"b\": [1, 2, 3, 4]}", json!({ "a": 1 })),
            ("small {} and wide {\"a\": {\"b\": 1}} and [2]", json!({ "a": { "b": 1 } })),
            ("broken {\"a\": but [1, 2]", json!([1, 2])),
        ] {
            assert_eq!(find(text), Some(expected), "{text}");
        }
        assert_eq!(find("nothing"), None);
        assert_eq!(find(&"[".repeat(1 << 20)), None);
    }

    #[test]
    fn what_is_sent_of_a_schema_is_closed_and_portable() {
        let schema = json!({
            "type": "object", "required": ["a"], "additionalProperties": true, "minProperties": 1,
            "properties": { "a": { "type": "string", "minLength": 3, "pattern": "x" }, "b": { "type": "array", "items": { "properties": {} } } }
        });
        let expected = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": { "a": { "type": "string" }, "b": { "type": "array", "items": { "properties": {}, "additionalProperties": false } } }
        });
        assert_eq!(portable(&schema), expected);
    }
}
