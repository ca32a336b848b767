//! A step's input: any object as a template, or the structured form with a schema of its own.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

/// The input of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Any object; a template.
    Plain(Map<String, Value>),
    /// `{schema, mapping, expressionSecurity, transform}`.
    Structured(Box<StructuredInput>),
}

impl Input {
    /// Whether an object is meant as structured input: it has at least one key, all its keys are among the four, `mapping` and
    /// `schema` are objects where present.
    #[must_use]
    pub fn looks_structured(map: &Map<String, Value>) -> bool {
        const KEYS: [&str; 4] = ["schema", "mapping", "expressionSecurity", "transform"];
        let object = |key: &str| map.get(key).is_none_or(Value::is_object);
        !map.is_empty() && map.keys().all(|key| KEYS.contains(&key.as_str())) && object("mapping") && object("schema")
    }
}

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            // A plain object that would read back as structured goes under `mapping`, as an author would write it.
            Self::Plain(map) if Self::looks_structured(map) => {
                let mut outer = serializer.serialize_map(Some(1))?;
                outer.serialize_entry("mapping", map)?;
                outer.end()
            }
            Self::Plain(map) => map.serialize(serializer),
            Self::Structured(input) => input.serialize(serializer),
        }
    }
}

impl JsonSchema for Input {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Input".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let structured = generator.subschema_for::<StructuredInput>();
        json_schema!({ "type": "object", "anyOf": [structured, { "type": "object" }] })
    }
}

/// Input with a schema, a transformation or limits of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StructuredInput {
    /// JSON Schema that the result must satisfy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub schema: Option<Value>,
    /// The object to resolve; a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Map<String, Value>>,
    /// Limits of the expressions in `mapping`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression_security: Option<ExpressionSecurity>,
    /// A JMESPath expression applied to the resolved mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
}

/// Limits of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
pub struct ExpressionSecurity {
    /// Parts of a path below its root and name, 1–64; default 10.
    #[schemars(range(min = 1, max = 64))]
    pub max_expansion_depth: u32,
    /// Bytes of the result as JSON, 1–10485760; default 65536.
    #[schemars(range(min = 1, max = 10_485_760))]
    pub max_expansion_size: u64,
}

impl Default for ExpressionSecurity {
    fn default() -> Self {
        Self { max_expansion_depth: 10, max_expansion_size: 65_536 }
    }
}
