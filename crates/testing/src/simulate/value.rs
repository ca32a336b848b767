//! Values that a JSON Schema allows.

use orchestr8_schema::json_schema::JsonValidator;
use serde_json::{Map, Number, Value, json};

use super::chance::Chance;

/// How many values are tried before it is given up that the schema allows one.
const TRIES: u32 = 24;
/// How deep values are made; beyond, only what must be there is.
const MAX_DEPTH: u32 = 8;

/// Which of the values that a schema allows is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// As little as will do.
    Minimal,
    /// Everything that may be there.
    Maximal,
    /// At the bounds: empty, longest, largest.
    Edge,
    /// Anything between.
    Random,
}

/// Makes a value that a schema allows; absent if none was found.
pub(crate) fn value_of(schema: &JsonValidator, chance: &mut Chance) -> Option<Value> {
    let root = schema.schema();
    let tries = std::iter::once(None).chain((1..TRIES).map(Some));
    for attempt in tries {
        let style = match attempt {
            None => *chance.pick(&[Style::Minimal, Style::Maximal, Style::Edge, Style::Random])?,
            Some(1) => Style::Minimal,
            Some(_) => Style::Random,
        };
        let value = Maker { root, style, chance }.value(root, 0);
        if schema.validate(&value).is_ok() {
            return Some(value);
        }
    }
    None
}

struct Maker<'a> {
    root: &'a Value,
    style: Style,
    chance: &'a mut Chance,
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, depth: u32) -> Value {
        let Value::Object(schema) = schema else { return json!({}) };
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            let value = if self.style == Style::Minimal { values.first() } else { self.chance.pick(values) };
            return value.cloned().unwrap_or_default();
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|text| self.referred(text)) {
            let target = target.clone();
            return if depth < MAX_DEPTH { self.value(&target, depth + 1) } else { Value::Null };
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(Value::Array(choices)) = schema.get(key) {
                let choice = if self.style == Style::Minimal { choices.first() } else { self.chance.pick(choices) };
                let mut whole = schema.clone();
                whole.remove(key);
                if let Some(Value::Object(choice)) = choice {
                    whole.extend(choice.clone());
                }
                return self.value(&Value::Object(whole), depth);
            }
        }
        if let Some(Value::Array(parts)) = schema.get("allOf") {
            let mut whole = schema.clone();
            whole.remove("allOf");
            parts.iter().filter_map(Value::as_object).for_each(|part| unite(&mut whole, part));
            return self.value(&Value::Object(whole), depth);
        }
        self.of_type(schema, depth)
    }

    fn referred(&self, reference: &str) -> Option<&Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    fn of_type(&mut self, schema: &Map<String, Value>, depth: u32) -> Value {
        let named = match schema.get("type") {
            Some(Value::String(name)) => Some(name.as_str()),
            Some(Value::Array(names)) if self.style == Style::Minimal => names.first().and_then(Value::as_str),
            Some(Value::Array(names)) => self.chance.pick(names).and_then(Value::as_str),
            _ => None,
        };
        let guessed = || match schema {
            _ if schema.contains_key("properties") || schema.contains_key("required") => "object",
            _ if schema.contains_key("items") => "array",
            _ if schema.contains_key("minimum") || schema.contains_key("maximum") => "number",
            _ if schema.contains_key("minLength") || schema.contains_key("format") => "string",
            _ => "object",
        };
        match named.unwrap_or_else(guessed) {
            "null" => Value::Null,
            "boolean" => Value::Bool(self.style != Style::Minimal && self.chance.one_in(2)),
            "integer" => self.number(schema, true),
            "number" => self.number(schema, false),
            "string" => Value::String(self.text(schema)),
            "array" => self.array(schema, depth),
            _ => self.object(schema, depth),
        }
    }

    fn number(&mut self, schema: &Map<String, Value>, is_integer: bool) -> Value {
        let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
        let step = if is_integer { 1.0 } else { 0.001 };
        let low = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|low| low + step));
        let high = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|high| high - step));
        let (low, high) = match (low, high) {
            (Some(low), Some(high)) => (low, high),
            (Some(low), None) => (low, low + 1000.0),
            (None, Some(high)) => (high - 1000.0, high),
            (None, None) => (0.0, 1000.0),
        };
        let share = match self.style {
            Style::Minimal => 0.0,
            Style::Maximal => 1.0,
            Style::Edge => f64::from(u8::from(self.chance.one_in(2))),
            Style::Random => self.chance.below(1 << 20) as f64 / f64::from(1 << 20),
        };
        let mut number = low + (high - low) * share;
        if let Some(multiple) = bound("multipleOf").filter(|multiple| *multiple > 0.0) {
            number = ((number / multiple).ceil() * multiple).min((high / multiple).floor() * multiple);
        }
        if is_integer { json!(number.round() as i64) } else { Number::from_f64(number).map_or(json!(0), Value::Number) }
    }

    fn text(&mut self, schema: &Map<String, Value>) -> String {
        match schema.get("format").and_then(Value::as_str) {
            Some("date-time") => return "2025-01-17T09:00:00Z".to_owned(),
            Some("date") => return "2025-01-17".to_owned(),
            Some("time") => return "09:00:00Z".to_owned(),
            Some("email") => return format!("user{}@example.org", self.chance.below(100)),
            Some("uri" | "iri" | "uri-reference") => return format!("https://example.org/{}", self.chance.below(100)),
            Some("uuid") => return "0194709c-3c00-7000-8000-000000000000".to_owned(),
            Some("ipv4") => return "192.0.2.1".to_owned(),
            Some("ipv6") => return "2001:db8::1".to_owned(),
            Some("hostname") => return "example.org".to_owned(),
            _ => {}
        }
        let length = |key: &str| schema.get(key).and_then(Value::as_u64).map(|length| length as usize);
        let shortest = length("minLength").unwrap_or(0);
        let longest = length("maxLength").unwrap_or(shortest + 24).max(shortest);
        let length = match self.style {
            Style::Minimal => shortest,
            Style::Maximal => longest,
            Style::Edge if self.chance.one_in(2) => shortest,
            Style::Edge => longest,
            Style::Random => shortest + self.chance.below((longest - shortest + 1) as u64) as usize,
        };
        // Plain letters first, since a pattern is likelier to like them; now and then what texts trip over.
        let letters: &[char] = match self.style {
            Style::Edge => &['a', ' ', '"', '\\', '\n', 'ß', '漢', '🦀', '$', '{', '}'],
            _ => &['a', 'b', 'c', 'd', 'e', 'm', 'n', 'o', 'r', 's', 't'],
        };
        (0..length.min(4096)).map(|_| *self.chance.pick(letters).unwrap_or(&'a')).collect()
    }

    fn array(&mut self, schema: &Map<String, Value>, depth: u32) -> Value {
        let count = |key: &str| schema.get(key).and_then(Value::as_u64);
        let fewest = count("minItems").unwrap_or(0);
        let most = count("maxItems").unwrap_or(fewest + 3).max(fewest);
        let length = match self.style {
            _ if depth >= MAX_DEPTH => fewest,
            Style::Minimal => fewest,
            Style::Maximal => most.min(fewest + 8),
            Style::Edge if self.chance.one_in(2) => fewest,
            Style::Edge => most.min(fewest + 8),
            Style::Random => fewest + self.chance.below((most - fewest + 1).min(8)),
        };
        let fixed = schema.get("prefixItems").and_then(Value::as_array);
        let rest = schema.get("items").cloned().unwrap_or_else(|| json!({ "type": "string" }));
        let items = (0..length as usize).map(|index| {
            let own = fixed.and_then(|fixed| fixed.get(index)).cloned();
            self.value(&own.unwrap_or_else(|| rest.clone()), depth + 1)
        });
        Value::Array(items.collect())
    }

    fn object(&mut self, schema: &Map<String, Value>, depth: u32) -> Value {
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|known| known == name));
        let mut object = Map::new();
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let wanted = is_required(name)
                || depth < MAX_DEPTH
                    && match self.style {
                        Style::Minimal => false,
                        Style::Maximal => true,
                        Style::Edge | Style::Random => self.chance.one_in(2),
                    };
            if wanted {
                object.insert(name.clone(), self.value(property, depth + 1));
            }
        }
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                object.insert(name.to_owned(), json!("any"));
            }
        }
        Value::Object(object)
    }
}

/// Lays one part of an `allOf` over what is known so far.
fn unite(whole: &mut Map<String, Value>, part: &Map<String, Value>) {
    for (key, value) in part {
        match (whole.get_mut(key), value) {
            (Some(Value::Object(known)), Value::Object(more)) if key == "properties" => known.extend(more.clone()),
            (Some(Value::Array(known)), Value::Array(more)) if key == "required" => known.extend(more.iter().cloned()),
            _ => {
                whole.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_obey_their_schema() {
        let schemas = [
            json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer", "minimum": 3, "maximum": 5 }, "b": { "type": "boolean" } } }),
            json!({ "type": "array", "items": { "type": "string", "minLength": 2, "maxLength": 3 }, "minItems": 1, "maxItems": 4 }),
            json!({ "oneOf": [{ "type": "string" }, { "type": "number", "exclusiveMinimum": 0 }] }),
            json!({ "allOf": [{ "required": ["x"], "properties": { "x": { "const": 1 } } }, { "required": ["y"], "properties": { "y": { "enum": ["p", "q"] } } }] }),
            json!({ "$defs": { "tree": { "type": "object", "required": ["v"], "properties": { "v": { "type": "null" }, "next": { "$ref": "#/$defs/tree" } } } }, "$ref": "#/$defs/tree" }),
            json!({ "type": ["null", "string"], "format": "date-time" }),
            json!({ "type": "number", "multipleOf": 0.5, "minimum": 1, "maximum": 2 }),
        ];
        for schema in &schemas {
            let validator = JsonValidator::compile(schema).unwrap();
            for seed in 0..200 {
                let value = value_of(&validator, &mut Chance::of(seed, "value"));
                assert!(value.is_some(), "no value of {schema} with seed {seed}");
            }
        }
    }

    #[test]
    fn a_schema_without_values_has_none() {
        let nothing = JsonValidator::compile(&json!({ "type": "string", "minLength": 3, "maxLength": 2 })).unwrap();
        assert_eq!(value_of(&nothing, &mut Chance::of(1, "value")), None);
    }
}
