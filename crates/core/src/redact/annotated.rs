//! Values that a JSON Schema marks as secret.

use serde_json::{Map, Value};

use super::REDACTED;

/// The most steps of one walk through schema and value. A schema that takes more hides the whole value.
const MAX_STEPS: u32 = 100_000;

/// Whether a schema marks anything.
pub(super) fn marks(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => is_mark(map) || map.values().any(marks),
        Value::Array(items) => items.iter().any(marks),
        _ => false,
    }
}

/// Hides what a schema marks, and tells the texts in there.
pub(super) fn hide(schema: &Value, value: &mut Value, tell: &mut impl FnMut(&str)) {
    let mut walk = Walk { root: schema, steps: MAX_STEPS, tell };
    walk.schema(schema, value);
    if walk.steps == 0 {
        walk.hide(value);
    }
}

fn is_mark(schema: &Map<String, Value>) -> bool {
    schema.get("x-redact") == Some(&Value::Bool(true))
        || schema.get("writeOnly") == Some(&Value::Bool(true))
        || schema.get("format").and_then(Value::as_str) == Some("password")
}

struct Walk<'a, F> {
    root: &'a Value,
    steps: u32,
    tell: &'a mut F,
}

impl<F: FnMut(&str)> Walk<'_, F> {
    fn schema(&mut self, schema: &Value, value: &mut Value) {
        self.nested(schema, value, 0);
    }

    fn nested(&mut self, schema: &Value, value: &mut Value, depth: u32) {
        /// A schema that refers to itself without going into the value would never end.
        const MAX_DEPTH: u32 = 256;

        let Value::Object(schema) = schema else { return };
        if depth >= MAX_DEPTH {
            self.steps = 0;
        }
        if self.steps == 0 {
            return;
        }
        self.steps -= 1;
        if is_mark(schema) {
            self.hide(value);
            return;
        }
        let depth = depth + 1;
        for key in ["$ref", "$dynamicRef"] {
            let target = schema.get(key).and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
            if let Some(target) = target.and_then(|pointer| self.root.pointer(pointer)) {
                self.nested(target, value, depth);
            }
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            for part in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
                self.nested(part, value, depth);
            }
        }
        for key in ["if", "then", "else"] {
            if let Some(part) = schema.get(key) {
                self.nested(part, value, depth);
            }
        }
        for part in schema.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values) {
            self.nested(part, value, depth);
        }
        match value {
            Value::Object(map) => self.properties(schema, map, depth),
            Value::Array(items) => self.items(schema, items, depth),
            _ => {}
        }
    }

    fn properties(&mut self, schema: &Map<String, Value>, map: &mut Map<String, Value>, depth: u32) {
        let named = schema.get("properties").and_then(Value::as_object);
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        for (key, value) in map.iter_mut() {
            if let Some(part) = named.and_then(|named| named.get(key)) {
                self.nested(part, value, depth);
                continue;
            }
            // Which pattern fits is not asked: rather too much is hidden than too little.
            for part in patterns.into_iter().flat_map(Map::values) {
                self.nested(part, value, depth);
            }
            for key in ["additionalProperties", "unevaluatedProperties"] {
                if let Some(part) = schema.get(key) {
                    self.nested(part, value, depth);
                }
            }
        }
    }

    fn items(&mut self, schema: &Map<String, Value>, items: &mut [Value], depth: u32) {
        let first = schema.get("prefixItems").and_then(Value::as_array);
        for (index, value) in items.iter_mut().enumerate() {
            if let Some(part) = first.and_then(|first| first.get(index)) {
                self.nested(part, value, depth);
                continue;
            }
            for key in ["items", "contains", "unevaluatedItems"] {
                if let Some(part) = schema.get(key) {
                    self.nested(part, value, depth);
                }
            }
        }
    }

    fn hide(&mut self, value: &mut Value) {
        let mut todo = vec![&*value];
        while let Some(next) = todo.pop() {
            match next {
                Value::String(text) => (self.tell)(text),
                Value::Array(items) => todo.extend(items),
                Value::Object(map) => todo.extend(map.values()),
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        *value = REDACTED.into();
    }
}
