//! Comparing what was expected with what came.

use serde_json::Value;

/// How far a value has to be what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Objects may have further keys.
    Subset,
    Exact,
}

/// Where two values differ.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// The way from the root: keys and indices.
    pub(crate) way: Vec<String>,
    pub(crate) expected: Value,
    /// Absent if there is nothing.
    pub(crate) actual: Option<Value>,
}

/// Whether all that is expected is there.
pub(crate) fn contains(actual: &Value, expected: &Value) -> bool {
    difference(actual, expected, Extent::Subset).is_none()
}

/// Finds the first difference. `<any>`, `<uuid>` and `<time>` stand for any value, any UUID and any time.
pub(crate) fn difference(actual: &Value, expected: &Value, extent: Extent) -> Option<Difference> {
    let differs = |actual: Option<&Value>, expected: &Value| {
        Some(Difference { way: Vec::new(), expected: expected.clone(), actual: actual.cloned() })
    };
    let within = |key: String, found: Option<Difference>| {
        found.map(|mut found| {
            found.way.insert(0, key);
            found
        })
    };
    match (actual, expected) {
        (Value::Object(actual), Value::Object(wanted)) => {
            let missing = wanted.iter().find_map(|(key, value)| match actual.get(key) {
                Some(actual) => within(key.clone(), difference(actual, value, extent)),
                None => within(key.clone(), differs(None, value)),
            });
            let extra = || actual.keys().any(|key| !wanted.contains_key(key));
            match missing {
                None if extent == Extent::Exact && extra() => differs(Some(&Value::Object(actual.clone())), expected),
                missing => missing,
            }
        }
        (Value::Array(items), Value::Array(wanted)) if items.len() == wanted.len() => items
            .iter()
            .zip(wanted)
            .enumerate()
            .find_map(|(index, (item, wanted))| within(index.to_string(), difference(item, wanted, extent))),
        (Value::Number(actual), Value::Number(wanted)) if actual.as_f64() == wanted.as_f64() => None,
        (actual, Value::String(text)) if is_placeholder(actual, text) => None,
        (actual, expected) if actual == expected => None,
        (actual, expected) => differs(Some(actual), expected),
    }
}

fn is_placeholder(actual: &Value, text: &str) -> bool {
    match (text, actual) {
        ("<any>", _) => true,
        ("<uuid>", Value::String(actual)) => {
            let groups: Vec<_> = actual.split('-').map(str::len).collect();
            groups == [8, 4, 4, 4, 12]
                && actual.chars().all(|character| character == '-' || character.is_ascii_hexdigit())
        }
        ("<time>", actual) => serde_json::from_value::<orchestr8_schema::Timestamp>(actual.clone()).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_contained() {
        let actual = json!({ "a": 1, "b": [{ "c": "x", "d": null }], "id": "0193a1b2-1111-7222-8333-944455556666",
            "at": "2025-01-17T00:00:00.000Z" });
        for (expected, holds) in [
            (json!({}), true),
            (json!({ "a": 1.0, "b": [{ "d": null }] }), true),
            (json!({ "b": [] }), false),
            (json!({ "b": [{ "c": "y" }] }), false),
            (json!({ "e": null }), false),
            (json!({ "a": "<any>", "id": "<uuid>", "at": "<time>" }), true),
            (json!({ "a": "<uuid>" }), false),
            (json!({ "id": "<time>" }), false),
        ] {
            assert_eq!(contains(&actual, &expected), holds, "{expected}");
        }
        let found = difference(&actual, &json!({ "b": [{ "c": "y" }] }), Extent::Subset).unwrap();
        assert_eq!((found.way.join("."), found.actual), ("b.0.c".to_owned(), Some(json!("x"))));
        assert!(difference(&json!({ "a": 1, "b": 2 }), &json!({ "a": 1 }), Extent::Exact).is_some());
    }
}
