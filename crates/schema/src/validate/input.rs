//! Compilation of inputs, and of the schemas that stand in a workflow.

use serde_json::{Map, Value};

use super::{
    condition::{compile_jmespath, report_jmespath},
    policies,
    valid::ValidInput,
};
use crate::{
    Code,
    expression::{Template, compile::Compiler},
    json_schema::JsonValidator,
    problem::{At, Problems},
    workflow::Input,
};

impl Compiler<'_> {
    pub(super) fn input(&mut self, input: &Input, at: &At<'_>) -> ValidInput {
        match input {
            Input::Plain(map) => {
                // A plain object that looks structured is written under `mapping`.
                let template = if Input::looks_structured(map) {
                    self.object(map, &at.key("mapping"))
                } else {
                    self.object(map, at)
                };
                ValidInput::plain(template, true)
            }
            Input::Structured(input) => {
                let security = input.expression_security.unwrap_or_default();
                let limits = at.key("expressionSecurity");
                if !(1..=64).contains(&security.max_expansion_depth) {
                    policies::out_of_range("1 to 64", &limits.key("maxExpansionDepth"), self.problems);
                }
                if !(1..=10_485_760).contains(&security.max_expansion_size) {
                    policies::out_of_range("1 to 10485760", &limits.key("maxExpansionSize"), self.problems);
                }
                let outer = std::mem::replace(&mut self.max_depth, security.max_expansion_depth as usize);
                let mapping = at.key("mapping");
                let template = match &input.mapping {
                    Some(map) => self.object(map, &mapping),
                    None => Template::Literal(Value::Object(Map::new())),
                };
                self.max_depth = outer;
                let transform = input.transform.as_ref().and_then(|text| {
                    let compiled = compile_jmespath(self.problems, text);
                    compiled.map_err(|error| report_jmespath(self.problems, &error, text, &at.key("transform"))).ok()
                });
                let schema =
                    input.schema.as_ref().and_then(|schema| compile_schema(schema, &at.key("schema"), self.problems));
                if let (Template::Literal(value), Some(schema), None) = (&template, &schema, &input.transform) {
                    for violation in schema.validate(value).err().into_iter().flatten() {
                        let path = format!("{mapping}{}", violation.path());
                        self.problems.report(Code::ConstantViolatesSchema, path, violation.message());
                    }
                }
                let max_size = security.max_expansion_size;
                ValidInput { template, max_size, transform: transform.map(Box::new), schema, declared: true }
            }
        }
    }
}

/// Compiles a JSON Schema, and reports why it cannot be.
pub(crate) fn compile_schema(schema: &Value, at: &At<'_>, problems: &mut Problems) -> Option<JsonValidator> {
    match JsonValidator::compile(schema) {
        Ok(validator) => Some(validator),
        Err(error) => {
            problems.report(Code::BadSchema, format!("{at}{}", error.path()), error.to_string());
            None
        }
    }
}
