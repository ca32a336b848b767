//! Facts: keywords that hold for some values of a kind, such as `minimum`. They are compared, never computed with.

use serde_json::{Map, Value};

use crate::json_schema::JsonValidator;

/// Which keywords of facts belong to which kind of value.
pub(super) const NUMBER: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
pub(super) const TEXT: [&str; 4] = ["minLength", "maxLength", "pattern", "format"];
pub(super) const ARRAY: [&str; 1] = ["uniqueItems"];
pub(super) const OBJECT: [&str; 2] = ["minProperties", "maxProperties"];

/// Keywords that all values of a shape satisfy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts(Vec<(&'static str, Value)>);

impl Facts {
    pub(super) fn add(&mut self, keyword: &'static str, value: &Value) {
        if !self.0.iter().any(|(known, other)| *known == keyword && other == value) {
            self.0.push((keyword, value.clone()));
        }
    }

    pub(super) fn contains(&self, keyword: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == keyword)
    }

    pub(super) fn first(&self) -> Option<&'static str> {
        self.0.first().map(|(keyword, _)| *keyword)
    }

    /// Returns the first keyword that does not follow from other facts.
    pub(super) fn unproven_by(&self, other: &Self) -> Option<&'static str> {
        self.0.iter().find(|(keyword, value)| !other.imply(keyword, value)).map(|(keyword, _)| *keyword)
    }

    fn imply(&self, keyword: &str, value: &Value) -> bool {
        self.0.iter().any(|(known, have)| {
            let stronger = match (*known, keyword) {
                ("minimum" | "exclusiveMinimum", "minimum")
                | ("exclusiveMinimum", "exclusiveMinimum")
                | ("minLength", "minLength")
                | ("minProperties", "minProperties") => at_most(value, have),
                ("minimum", "exclusiveMinimum") => at_most(value, have) && !at_most(have, value),
                ("maximum" | "exclusiveMaximum", "maximum")
                | ("exclusiveMaximum", "exclusiveMaximum")
                | ("maxLength", "maxLength")
                | ("maxProperties", "maxProperties") => at_most(have, value),
                ("maximum", "exclusiveMaximum") => at_most(have, value) && !at_most(value, have),
                _ => false,
            };
            stronger || (*known == keyword && have == value)
        })
    }

    /// Returns how a value violates one of them.
    pub(super) fn violation(&self, value: &Value) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let each = self.0.iter().map(|(keyword, of)| Map::from_iter([((*keyword).to_owned(), of.clone())]));
        let schema = serde_json::json!({ "allOf": each.collect::<Vec<_>>() });
        match JsonValidator::compile(&schema) {
            Ok(validator) => validator.validate(value).err()?.first().map(|violation| violation.message().to_owned()),
            // The whole schema has been compiled before; nothing can be wrong with a part of it.
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Whether one number is at most another; false where rounding could hide the answer.
fn at_most(left: &Value, right: &Value) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.abs() < EXACT && right.abs() < EXACT && left <= right,
        _ => false,
    }
}
