//! JSON Schema (2020-12): validation of values, defaults, and the schemas of the formats themselves.

mod published;

use std::{fmt, sync::Arc};

use serde_json::Value;

pub use self::published::{PublishedSchema, schema_hash, workflow_schema};
use crate::problem::{escape, quote};

/// How deep defaults are filled in; it ends schemas that refer to themselves.
const MAX_DEPTH: usize = 64;

/// A compiled JSON Schema.
///
/// Values are checked as they are, without coercion; `format` is checked; a `$ref` to another document is refused when the
/// schema is compiled. Cloning is cheap.
///
/// ```
/// use orchestr8_schema::json_schema::JsonValidator;
/// use serde_json::json;
///
/// let validator = JsonValidator::compile(&json!({ "type": "object", "required": ["name"] }))?;
/// assert!(validator.validate(&json!({ "name": "Ada" })).is_ok());
/// let violations = validator.validate(&json!({})).unwrap_err();
/// assert_eq!(violations[0].to_string(), "\"name\" is a required property");
/// # Ok::<(), orchestr8_schema::json_schema::InvalidSchema>(())
/// ```
#[derive(Clone)]
pub struct JsonValidator {
    schema: Arc<Value>,
    compiled: Arc<jsonschema::Validator>,
}

impl JsonValidator {
    /// Compiles a schema.
    ///
    /// # Errors
    ///
    /// When the schema is not valid JSON Schema, or refers to another document.
    pub fn compile(schema: &Value) -> Result<Self, InvalidSchema> {
        let compiled = options().build(schema).map_err(|error| InvalidSchema::new(&error, schema))?;
        Ok(Self { schema: Arc::new(schema.clone()), compiled: Arc::new(compiled) })
    }

    /// Checks a value and returns everything that is wrong with it.
    ///
    /// # Errors
    ///
    /// When the value violates the schema: all violations, in the schema's order.
    pub fn validate(&self, value: &Value) -> Result<(), Vec<Violation>> {
        if self.compiled.is_valid(value) {
            return Ok(());
        }
        Err(self.compiled.iter_errors(value).map(|error| Violation::new(&error)).collect())
    }

    /// Returns the defaults that the schema itself does not accept; the path leads to the default.
    pub(crate) fn violated_defaults(&self) -> Vec<Violation> {
        let mut defaults = Vec::new();
        collect_defaults(&self.schema, &mut String::new(), &mut defaults, MAX_DEPTH);
        if defaults.is_empty() {
            return Vec::new();
        }
        let Ok(parts) = options().build_map(&self.schema) else { return Vec::new() };
        let violations = defaults.into_iter().flat_map(|(pointer, default)| {
            let errors = parts.get(&format!("#{pointer}")).map(|part| part.iter_errors(default));
            errors.into_iter().flatten().map(move |error| {
                let violation = Violation::new(&error);
                Violation { path: format!("{pointer}/default{}", violation.path), ..violation }
            })
        });
        violations.collect()
    }

    /// Returns the schema as it was given.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }
}

impl fmt::Debug for JsonValidator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonValidator").field(&self.schema).finish()
    }
}

impl PartialEq for JsonValidator {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
    }
}

/// One place where a value violates a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    path: String,
    message: String,
    missing: bool,
}

impl Violation {
    fn new(error: &jsonschema::ValidationError<'_>) -> Self {
        let missing = matches!(error.kind(), jsonschema::error::ValidationErrorKind::Required { .. });
        Self { path: error.instance_path().to_string(), message: clip(error.to_string()), missing }
    }

    pub(crate) fn not_an_object() -> Self {
        Self { path: String::new(), message: "the input is not an object".to_owned(), missing: false }
    }

    /// Whether a property that is required is not there.
    pub(crate) fn is_missing(&self) -> bool {
        self.missing
    }

    /// Returns the place in the value, a JSON pointer.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns what is wrong there.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Violations as one line of a message: the first five, each with its place.
#[derive(Clone, Copy, Debug)]
pub struct Violations<'a>(pub &'a [Violation]);

impl fmt::Display for Violations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for (index, violation) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// The error of a value that is no usable JSON Schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidSchema {
    path: String,
    message: String,
}

impl InvalidSchema {
    fn new(error: &jsonschema::ValidationError<'_>, schema: &Value) -> Self {
        if matches!(error.kind(), jsonschema::error::ValidationErrorKind::Referencing(_)) {
            let (path, target) = foreign_reference(schema).unwrap_or_default();
            let message = match target.as_str() {
                "" => "a `$ref` leads nowhere".to_owned(),
                target => format!("`{}` is not in this schema", quote(target)),
            };
            return Self { path, message };
        }
        Self { path: error.instance_path().to_string(), message: clip(error.to_string()) }
    }

    /// Returns the place in the schema, a JSON pointer.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn options<'a>() -> jsonschema::ValidationOptions<'a> {
    jsonschema::draft202012::options().should_validate_formats(true).offline()
}

/// Finds the first reference that cannot be followed.
fn foreign_reference(schema: &Value) -> Option<(String, String)> {
    let mut todo = vec![(String::new(), schema)];
    while let Some((path, value)) = todo.pop() {
        match value {
            Value::Array(items) => {
                todo.extend(items.iter().enumerate().map(|(index, item)| (format!("{path}/{index}"), item)));
            }
            Value::Object(map) => {
                for (key, value) in map {
                    let path = format!("{path}/{}", escape(key));
                    match value.as_str().filter(|_| key == "$ref" || key == "$dynamicRef") {
                        Some(target) => {
                            let local = target.strip_prefix('#').is_some_and(|at| schema.pointer(at).is_some());
                            if !local {
                                return Some((path, target.to_owned()));
                            }
                        }
                        None => todo.push((path, value)),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    None
}

/// Cuts a message that quotes a whole value.
fn clip(message: String) -> String {
    const LONGEST: usize = 300;
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

/// Finds where a schema has `default`s, in the places that [`fill_defaults`] looks at.
fn collect_defaults<'a>(schema: &'a Value, pointer: &mut String, found: &mut Vec<(String, &'a Value)>, depth: usize) {
    let (Some(map), Some(depth)) = (schema.as_object(), depth.checked_sub(1)) else { return };
    if let Some(default) = map.get("default") {
        found.push((pointer.clone(), default));
    }
    let end = pointer.len();
    for (name, property) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        pointer.push_str("/properties/");
        pointer.push_str(&escape(name));
        collect_defaults(property, pointer, found, depth);
        pointer.truncate(end);
    }
    if let Some(items) = map.get("items") {
        pointer.push_str("/items");
        collect_defaults(items, pointer, found, depth);
        pointer.truncate(end);
    }
}

/// Fills in what is absent and has a `default`: properties of objects, also nested ones, and of the items of arrays.
///
/// A value that is present, `null` included, is never replaced.
///
/// ```
/// use orchestr8_schema::json_schema::fill_defaults;
/// use serde_json::json;
///
/// let schema = json!({ "properties": { "language": { "default": "en" } } });
/// let mut value = json!({ "name": "Ada" });
/// fill_defaults(&schema, &mut value);
/// assert_eq!(value, json!({ "name": "Ada", "language": "en" }));
/// ```
pub fn fill_defaults(schema: &Value, value: &mut Value) {
    fill(schema, schema, value, MAX_DEPTH);
}

fn fill(root: &Value, schema: &Value, value: &mut Value, depth: usize) {
    let (Some(schema), Some(depth)) = (schema.as_object(), depth.checked_sub(1)) else { return };
    if let Some(target) = schema.get("$ref").and_then(Value::as_str)
        && let Some(target) = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
    {
        fill(root, target, value, depth);
    }
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        fill(root, part, value, depth);
    }
    match value {
        Value::Object(map) => {
            for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if !map.contains_key(name) {
                    let Some(default) = property.get("default") else { continue };
                    map.insert(name.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(name) {
                    fill(root, property, value, depth);
                }
            }
        }
        Value::Array(items) => {
            let Some(each) = schema.get("items") else { return };
            for item in items {
                fill(root, each, item, depth);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
