//! Values laid over others.

use serde_json::{Map, Value};

/// Merges objects deeply; of everything else the first one stays.
///
/// It recurses as deep as a document may be nested.
pub(crate) fn merged(ours: &Value, theirs: &Value) -> Value {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => Value::Object(merged_maps(ours, theirs)),
        _ => ours.clone(),
    }
}

/// Merges the entries of objects deeply.
pub(crate) fn merged_maps(ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Map<String, Value> {
    let mut result = theirs.clone();
    for (name, value) in ours {
        let value = theirs.get(name).map_or_else(|| value.clone(), |other| merged(value, other));
        result.insert(name.clone(), value);
    }
    result
}
