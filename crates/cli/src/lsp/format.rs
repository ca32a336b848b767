//! The workflow format, as its schema has it: which keys and values may stand where, and what they mean.

use std::sync::LazyLock;

use orchestr8_schema::{json_schema, workflow::StepKind};
use serde_json::Value;

use super::{schema, syntax::Token};

static SCHEMA: LazyLock<Value> = LazyLock::new(json_schema::workflow_schema);

/// A key that may be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) documentation: String,
    /// What the value is, in a word.
    pub(super) type_name: String,
    pub(super) is_required: bool,
    /// Whether the value is an object or an array.
    pub(super) is_collection: bool,
}

/// A value that may be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) value: Value,
    pub(super) documentation: String,
}

/// What may stand at one place.
#[derive(Debug)]
pub(super) struct Place {
    parts: Vec<&'static Value>,
}

/// Returns what may stand at a place in a document.
pub(super) fn at(path: &[Token]) -> Place {
    Place { parts: schema::walk(&SCHEMA, path) }
}

impl Place {
    /// Returns the keys that an object may have here.
    pub(super) fn keys(&self) -> Vec<Key> {
        schema::keys(&SCHEMA, &self.parts)
            .into_iter()
            .map(|(name, parts, is_required)| Key {
                name: name.to_owned(),
                documentation: schema::description(&parts).unwrap_or_default().to_owned(),
                type_name: schema::type_name(&SCHEMA, &parts),
                is_required,
                is_collection: schema::is_collection(&SCHEMA, &parts),
            })
            .collect()
    }

    /// Returns the values that may be chosen from here.
    pub(super) fn choices(&self) -> Vec<Choice> {
        schema::choices(&SCHEMA, &self.parts)
            .into_iter()
            .map(|(value, documentation)| Choice { value: value.clone(), documentation: documentation.to_owned() })
            .collect()
    }

    /// Returns what stands here, in a word, and what it means.
    pub(super) fn describe(&self) -> Option<(String, String)> {
        let description = schema::description(&self.parts)?;
        Some((schema::type_name(&SCHEMA, &self.parts), description.to_owned()))
    }
}

/// Whether a key of a step is out of place beside others that are there already: a second kind, or what belongs to another kind.
pub(super) fn is_out_of_place(key: &str, present: &[String]) -> bool {
    let Some(kind) = StepKind::KEYS.into_iter().find(|kind| present.iter().any(|key| key == kind)) else {
        return false;
    };
    match key {
        "input" => kind != "agent",
        "compensate" => !matches!(kind, "agent" | "tool"),
        key => key != kind && StepKind::KEYS.contains(&key),
    }
}

/// Whether a path leads to a step.
pub(super) fn is_step(path: &[Token]) -> bool {
    matches!(path, [.., Token::Key(steps), Token::Index(_)] if steps == "steps")
}
