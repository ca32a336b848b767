//! What is made of a step's result.

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

/// What is made of a step's result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct Output {
    /// JSON Schema that the output must satisfy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub schema: Option<Value>,
    /// Variables that are set from the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// A template that replaces the output; composites only. It is evaluated in the inner scope; for map and loop on
    /// `self.output`, the default output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

impl Output {
    /// The schema of an output as files may write it.
    pub(super) fn or_text(generator: &mut SchemaGenerator) -> Schema {
        let object = generator.subschema_for::<Self>();
        json_schema!({ "anyOf": [object, { "type": "string" }] })
    }
}

/// Which parts of an output become variables.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Capture {
    /// Fields captured under their own names.
    Fields(Vec<String>),
    /// Variables and the paths in the output that they are set from, such as `items[0].name`.
    Paths(IndexMap<String, String>),
}
